/* config.def as data, and the conversions between values and text. Constant tables, no state. */
#include "config_table.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "nearest.h"

#define SECTION(name, help)
#define LIST(name, max, help)
#define KEY(section, name, type, def, min, max, reload, help)                                                \
	{#section, #name, CONFIG_KIND_##type, def, NULL, min, max, #reload, help,                            \
		offsetof(struct config_##section, name)},
#define ENUM(section, name, choices, def, reload, help)                                                      \
	{#section, #name, CONFIG_KIND_ENUM, def, choices, 0, 0, #reload, help,                               \
		offsetof(struct config_##section, name)},
#define END(name)
const struct config_key config_key_table[] = {
#include "config.def"
};
#undef SECTION
#undef LIST
#undef KEY
#undef ENUM
const uint32_t config_key_count = sizeof config_key_table / sizeof *config_key_table;

#define SECTION(name, help)                                                                                  \
	{#name, help, false, 1, offsetof(struct config, name), sizeof(struct config_##name), 0, 0},
#define LIST(name, max, help)                                                                                \
	{#name, help, true, max, offsetof(struct config, name), sizeof(struct config_##name),                \
		offsetof(struct config, from.name), offsetof(struct config, name##_count)},
#define KEY(section, name, type, def, min, max, reload, help)
#define ENUM(section, name, choices, def, reload, help)
const struct config_section config_section_table[] = {
#include "config.def"
};
const uint32_t config_section_count = sizeof config_section_table / sizeof *config_section_table;

struct unit {
	const char *suffix;
	uint64_t factor; /* durations: in microseconds */
};

static const struct unit duration_units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000},
	{"h", 3600000000u}, {"d", 86400000000u}, {0}};
static const struct unit byte_units[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {0}};

const char *config_kind_name(enum config_kind kind)
{
	static const char *const name[] = {
		"text", "text", "number", "bytes", "duration", "duration", "boolean", "choice"};

	return name[kind];
}

bool config_key_is_text(const struct config_key *key)
{
	return key->kind == CONFIG_KIND_STR || key->kind == CONFIG_KIND_TEXT;
}

size_t config_key_bytes(const struct config_key *key)
{
	switch (key->kind) {
	case CONFIG_KIND_STR:
		return sizeof(config_str);
	case CONFIG_KIND_TEXT:
		return sizeof(config_text);
	case CONFIG_KIND_BOOL:
		return sizeof(bool);
	default:
		return sizeof(uint64_t);
	}
}

static bool name_is(const char *have, const char *name, size_t bytes)
{
	return strlen(have) == bytes && memcmp(have, name, bytes) == 0;
}

const struct config_section *config_section_find(const char *name, size_t bytes)
{
	for (uint32_t i = 0; i < config_section_count; i++)
		if (name_is(config_section_table[i].name, name, bytes))
			return &config_section_table[i];
	return NULL;
}

const struct config_key *config_key_find(const struct config_section *section, const char *name, size_t bytes)
{
	for (uint32_t i = 0; i < config_key_count; i++)
		if (!strcmp(config_key_table[i].section, section->name) &&
			name_is(config_key_table[i].name, name, bytes))
			return &config_key_table[i];
	return NULL;
}

const char *config_nearest(const struct config_section *section, const char *name)
{
	struct nearest near = nearest_to(name);

	for (uint32_t i = 0; section && i < config_key_count; i++)
		if (!strcmp(config_key_table[i].section, section->name))
			nearest_offer(&near, config_key_table[i].name);
	for (uint32_t i = 0; !section && i < config_section_count; i++)
		nearest_offer(&near, config_section_table[i].name);
	return near.name;
}

/* ---- text to value ---- */

/* Digits, then a unit of the list (or, if bare_factor is not 0, none). False: not such a number, or too
 * large. */
static bool number_parse(const char *text, const struct unit *units, uint64_t bare_factor, uint64_t *out)
{
	uint64_t v = 0;
	const char *p = text;

	if (!isdigit((unsigned char)*p))
		return false;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	while (*p == ' ')
		p++;
	if (!*p && bare_factor)
		return !__builtin_mul_overflow(v, bare_factor, out);
	for (; units && units->suffix; units++)
		if (*p && !strcmp(p, units->suffix))
			return !__builtin_mul_overflow(v, units->factor, out);
	return false;
}

static bool unit_there(const char *text)
{
	return !strchr("0123456789 ", text[strlen(text) - 1]);
}

/* Nobody knows of which unit a number alone is meant to be, but of 0. */
static bool duration_parse(const char *text, uint64_t held_us, uint64_t *out)
{
	uint64_t us;

	if (!number_parse(text, duration_units, held_us, &us) || us % held_us || (us && !unit_there(text)))
		return false;
	*out = us / held_us;
	return true;
}

bool config_duration(const char *text, uint64_t *ms)
{
	return duration_parse(text, 1000, ms) && unit_there(text);
}

bool config_bytes(const char *text, uint64_t *bytes)
{
	return number_parse(text, byte_units, 1, bytes);
}

static bool choice_parse(const char *choices, const char *text, uint64_t *out)
{
	size_t bytes = strlen(text);

	*out = 0;
	for (const char *p = choices;; p++, (*out)++) {
		size_t n = strcspn(p, "|");

		if (n == bytes && !memcmp(p, text, n))
			return true;
		p += n;
		if (!*p)
			return false;
	}
}

static bool text_starts(const unsigned char *text, const char *head)
{
	return strncmp((const char *)text, head, strlen(head)) == 0;
}

/* UTF-8 without control characters: names go into logs, metrics, topics. */
static bool text_clean(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		unsigned n = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : (*p & 0xf0) == 0xe0 ? 2 : 3;

		if (*p < 0x20 || *p == 0x7f || (*p >= 0x80 && *p < 0xc2) || *p > 0xf4)
			return false;
		if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
			(*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f) ||
			(*p == 0xc2 && p[1] < 0xa0))
			return false;
		/* Line separators, byte order mark, non-characters: YAML would fold or refuse them. */
		if (*p >= 0xe2 && (text_starts(p, "\xe2\x80\xa8") || text_starts(p, "\xe2\x80\xa9") ||
					  text_starts(p, "\xef\xbb\xbf") ||
					  (p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe)))
			return false;
		for (p++; n; n--, p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}

static bool value_get(const struct config_key *key, const char *text, uint64_t *v)
{
	switch (key->kind) {
	case CONFIG_KIND_STR:
	case CONFIG_KIND_TEXT:
		*v = strlen(text);
		return text_clean(text) && *v < config_key_bytes(key);
	case CONFIG_KIND_UINT:
		return number_parse(text, NULL, 1, v);
	case CONFIG_KIND_BYTES:
		return number_parse(text, byte_units, 1, v);
	case CONFIG_KIND_MS:
		return duration_parse(text, 1000, v);
	case CONFIG_KIND_US:
		return duration_parse(text, 1, v);
	case CONFIG_KIND_BOOL:
		*v = !strcmp(text, "true");
		return *v || !strcmp(text, "false");
	case CONFIG_KIND_ENUM:
		return choice_parse(key->choices, text, v);
	}
	return false;
}

int config_value_parse(const struct config_key *key, void *base, const char *text, struct err *err)
{
	char *at = (char *)base + key->offset, expected[192];
	bool ranged = key->kind != CONFIG_KIND_ENUM && key->kind != CONFIG_KIND_BOOL;
	uint64_t v = 0;

	if (!value_get(key, text, &v) || (ranged && (v < key->min || v > key->max))) {
		char has[32] = "";

		config_key_expected(key, expected, sizeof expected);
		if (config_key_is_text(key) && v > key->max)
			snprintf(has, sizeof has, ", has %" PRIu64, v);
		return err_set(err, -EINVAL, "%s.%s: '%.80s': expected %s%s", key->section, key->name, text,
			expected, has);
	}
	if (config_key_is_text(key)) {
		memset(at, 0, config_key_bytes(key));
		memcpy(at, text, v);
	} else if (key->kind == CONFIG_KIND_BOOL) {
		bool b = v != 0;

		memcpy(at, &b, sizeof b);
	} else {
		memcpy(at, &v, sizeof v);
	}
	return 0;
}

/* ---- value to text ---- */

static void units_print(uint64_t v, const struct unit *units, char *out, size_t cap)
{
	const struct unit *best = units;

	for (const struct unit *u = units; v && u->suffix; u++)
		if (v % u->factor == 0)
			best = u;
	snprintf(out, cap, "%" PRIu64 "%s", v / best->factor, best->suffix);
}

static void number_print(enum config_kind kind, uint64_t v, char *out, size_t cap)
{
	uint64_t us;

	if (kind == CONFIG_KIND_BYTES)
		units_print(v, byte_units, out, cap);
	else if (kind == CONFIG_KIND_US)
		units_print(v, duration_units, out, cap);
	else if (kind == CONFIG_KIND_MS && v && !__builtin_mul_overflow(v, 1000u, &us))
		units_print(us, duration_units, out, cap);
	else
		snprintf(out, cap, "%" PRIu64 "%s", v, kind == CONFIG_KIND_MS ? "ms" : "");
}

void config_value_print(const struct config_key *key, const void *base, char *out, size_t cap)
{
	const char *at = (const char *)base + key->offset, *choice = key->choices;
	uint64_t v = 0;
	bool b;

	switch (key->kind) {
	case CONFIG_KIND_STR:
	case CONFIG_KIND_TEXT:
		snprintf(out, cap, "%.*s", (int)config_key_bytes(key) - 1, at);
		break;
	case CONFIG_KIND_BOOL:
		memcpy(&b, at, sizeof b);
		snprintf(out, cap, "%s", b ? "true" : "false");
		break;
	case CONFIG_KIND_ENUM:
		memcpy(&v, at, sizeof v);
		for (; v && *choice; v--)
			choice += strcspn(choice, "|") + 1;
		snprintf(out, cap, "%.*s", (int)strcspn(choice, "|"), choice);
		break;
	default:
		memcpy(&v, at, sizeof v);
		number_print(key->kind, v, out, cap);
	}
}

void config_key_expected(const struct config_key *key, char *out, size_t cap)
{
	static const char *const noun[] = {[CONFIG_KIND_UINT] = "a number",
		[CONFIG_KIND_BYTES] = "bytes (as 4096, 64KiB, 1MiB, 2GiB)",
		[CONFIG_KIND_MS] = "a duration with its unit (as 500ms, 10s, 5m, 1h, 30d)",
		[CONFIG_KIND_US] = "a duration with its unit (as 50us, 1ms, 1s)"};
	char lo[32], hi[32];

	if (key->kind == CONFIG_KIND_BOOL) {
		snprintf(out, cap, "true or false");
	} else if (key->kind == CONFIG_KIND_ENUM) {
		size_t n = (size_t)snprintf(out, cap, "one of %s", key->choices);

		for (size_t i = 0; i < n && i < cap; i++)
			out[i] = out[i] == '|' ? ' ' : out[i];
	} else if (config_key_is_text(key)) {
		snprintf(out, cap, "text of %" PRIu64 " to %" PRIu64 " bytes", key->min, key->max);
	} else {
		number_print(key->kind, key->min, lo, sizeof lo);
		number_print(key->kind, key->max, hi, sizeof hi);
		snprintf(out, cap, "%s from %s to %s", noun[key->kind], lo, hi);
	}
}

static void key_print(
	const struct config_key *key, const void *base, FILE *out, const char *indent, bool help)
{
	config_text text;

	config_value_print(key, base, text, sizeof text);
	if (help)
		fprintf(out, "  # %s\n", key->help);
	fprintf(out, "%s%s: ", indent, key->name);
	if (!config_key_is_text(key)) {
		fprintf(out, "%s\n", text);
		return;
	}
	fputc('"', out);
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fputc('\\', out);
		fputc(*p, out);
	}
	fputs("\"\n", out);
}

void config_print(const struct config *cfg, FILE *out, bool help)
{
	for (uint32_t s = 0; s < config_section_count; s++) {
		const struct config_section *section = &config_section_table[s];
		const char *base = (const char *)cfg + section->offset;
		uint32_t count = 1;

		if (section->is_list)
			memcpy(&count, (const char *)cfg + section->count_offset, sizeof count);
		if (help)
			fprintf(out, "# %s\n", section->help);
		fprintf(out, "%s:%s\n", section->name, count ? "" : " []");
		for (uint32_t i = 0; i < count; i++, base += section->stride) {
			const char *indent = section->is_list ? "  - " : "  ";

			for (uint32_t k = 0; k < config_key_count; k++) {
				if (strcmp(config_key_table[k].section, section->name) != 0)
					continue;
				key_print(&config_key_table[k], base, out, indent, help && i == 0);
				indent = section->is_list ? "    " : "  ";
			}
		}
	}
}
