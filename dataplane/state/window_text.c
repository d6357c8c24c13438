/* A definition as one line: `name="page_minute" kind=tumbling size=1m by="page,country" ...`, the keys of
 * config.def in their order, values as config.def reads and prints them. The line's hash is the definition's
 * uid, so its form is on disk: a key that is added later must be left out of the line where it has its
 * default. Set-up only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_table.h"
#include "hash.h"
#include "nearest.h"
#include "window_priv.h"

#define KINDS_ALL 0xffu
#define KIND(name) (1u << WINDOW_##name)

/* A funnel had no aggregates once: where it only counts its line is still the same. */
static bool key_left_out(const struct config_key *key, const struct config_windows *cw, const char *value)
{
	return cw->kind == WINDOW_FUNNEL && !strcmp(key->name, "aggregates") && !strcmp(value, key->def);
}

/* Keys that not every kind has. */
static const struct {
	const char *key;
	uint32_t kinds;
} key_kinds[] = {
	{"size", KIND(TUMBLING) | KIND(HOPPING) | KIND(FUNNEL)},
	{"slide", KIND(HOPPING)},
	{"gap", KIND(SESSION)},
	{"within", KIND(FUNNEL)},
	{"steps", KIND(FUNNEL)},
	{"lateness", KIND(TUMBLING) | KIND(HOPPING)},
	{"anomaly", KIND(TUMBLING) | KIND(HOPPING)},
	{"rollup", KIND(TUMBLING)},
};

static const struct config_section *windows_section(void)
{
	return config_section_find("windows", strlen("windows"));
}

/* Row of the table by number: those of `windows`, in order; NULL behind the last. */
static const struct config_key *windows_key(uint32_t index)
{
	for (uint32_t i = 0; i < config_key_count; i++)
		if (!strcmp(config_key_table[i].section, "windows") && !index--)
			return &config_key_table[i];
	return NULL;
}

bool window_text_has(const char *key, uint64_t kind)
{
	for (size_t i = 0; i < sizeof key_kinds / sizeof *key_kinds; i++)
		if (!strcmp(key_kinds[i].key, key))
			return key_kinds[i].kinds >> kind & 1;
	return true;
}

void window_text_value(const struct config_windows *cw, const char *key, char *out, size_t cap)
{
	config_value_print(config_key_find(windows_section(), key, strlen(key)), cw, out, cap);
}

uint64_t window_text_uid(const char *text)
{
	uint64_t uid = hash_bytes(text, strlen(text), 0);

	return uid ? uid : 1; /* 0 says: no window */
}

/* ---- printing ---- */

static void text_put(struct bytes *out, const char *text)
{
	bytes_put(out, text, strlen(text));
}

static void value_put(struct bytes *out, const struct config_key *key, const char *value)
{
	text_put(out, out->bytes ? " " : "");
	text_put(out, key->name);
	text_put(out, "=");
	if (!config_key_is_text(key)) {
		text_put(out, value);
		return;
	}
	text_put(out, "\"");
	for (const char *p = value; *p; p++) {
		if (*p == '"' || *p == '\\')
			text_put(out, "\\");
		bytes_put(out, p, 1);
	}
	text_put(out, "\"");
}

char *window_text_print(const struct config_windows *cw)
{
	const struct config_key *key;
	struct bytes out = {0};

	for (uint32_t i = 0; (key = windows_key(i)) != NULL; i++) {
		config_text value;

		if (!window_text_has(key->name, cw->kind))
			continue;
		config_value_print(key, cw, value, sizeof value);
		if ((!config_key_is_text(key) || *value) && !key_left_out(key, cw, value))
			value_put(&out, key, value);
	}
	bytes_put(&out, "", 1);
	if (!out.failed)
		return (char *)out.data;
	bytes_free(&out);
	return NULL;
}

/* ---- reading ---- */

static int key_unknown(const char *name, struct err *err)
{
	const char *near = config_nearest(windows_section(), name);

	return err_set(err, -EINVAL, "windows.%.60s: unknown key%s%s%s", name, near ? "; did you mean " : "",
		near ? near : "", near ? "?" : "");
}

/* A value, bare up to a blank or in quotes of either kind; *p moves behind it. */
static int value_get(const char **p, config_text out, struct err *err)
{
	char quote = **p == '"' || **p == '\'' ? *(*p)++ : ' ';
	size_t n = 0;

	for (; **p && **p != quote; (*p)++) {
		if (**p == '\\' && quote != ' ' && (*p)[1])
			(*p)++;
		if (n == sizeof(config_text) - 1)
			return err_set(err, -EINVAL, "longer than %zu bytes", n);
		out[n++] = **p;
	}
	out[n] = 0;
	if (quote != ' ' && !**p)
		return err_set(err, -EINVAL, "the quotes have no end");
	*p += quote != ' ';
	return 0;
}

int window_text_read(struct config_windows *cw, const char *text, struct err *err)
{
	const struct config_section *section = windows_section();
	const struct config_key *key;
	uint64_t seen = 0;

	memset(cw, 0, sizeof *cw);
	for (uint32_t i = 0; (key = windows_key(i)) != NULL; i++)
		if (key->def && config_value_parse(key, cw, key->def, err))
			return -EINVAL;
	for (const char *p = text + strspn(text, " "); *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, "= ");
		config_text value;
		char name[64];
		int rc;

		if (!n || n >= sizeof name || p[n] != '=')
			return err_set(err, -EINVAL, "'%.40s': expected KEY=VALUE", p);
		memcpy(name, p, n);
		name[n] = 0;
		key = config_key_find(section, name, n);
		if (!key)
			return key_unknown(name, err);
		if (seen >> (key - config_key_table) % 64 & 1)
			return err_set(err, -EINVAL, "windows.%s: given twice", name);
		seen |= 1ull << (key - config_key_table) % 64;
		p += n + 1;
		rc = value_get(&p, value, err);
		if (rc)
			err_prefix(err, "windows.%s", name);
		else
			rc = config_value_parse(key, cw, value, err);
		if (rc)
			return rc;
		if (*p && *p != ' ')
			return err_set(err, -EINVAL, "'%.40s': expected a blank between keys", p);
	}
	if (!cw->name[0])
		return err_set(err, -EINVAL, "windows.name: missing");
	return 0;
}
