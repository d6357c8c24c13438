/* Any bytes as an event, written anew under one of some configurations, which the first byte chooses. What
 * the parser takes stays JSON to the parser; each field holds what its row says, or what it held, cards
 * masked; no field changes for a row of another one. What it refuses is written anew as well, or its bytes
 * are withheld. */
#include "../../unit/parse/parse_util.h"

#include <sys/stat.h>
#include <unistd.h>

#include "cards.h"
#include "protect.h"

static const char *const rows[] = {"",
	"protect:\n- {field: user_id, action: hash, key_file: %s}\n- {field: page}\n"
	"- {field: attributes.a, action: drop}\n- {field: metric, action: drop}\n",
	"protect:\n- {field: message}\n- {field: properties, action: drop}\n- {field: properties.a}\n"
	"- {field: card, action: hash, key_file: %s}\n- {field: ip, action: drop}\n- {field: status, types: "
	"log}\n"};
#define ROWS (sizeof rows / sizeof *rows)

struct setting {
	struct config cfg;
	struct protector *pt;
};

static struct setting setting[ROWS][3];

static void setting_make(struct setting *s, const char *text, const char *cards)
{
	char path[] = "/tmp/sluice-fuzz-XXXXXX", yaml[2048], format[2048];
	struct err err = {0};
	int fd = mkstemp(path), n;

	snprintf(format, sizeof format, "%sprivacy: {cards: %s}\n", text, cards);
	/* every %s is the key file */
	n = snprintf(yaml, sizeof yaml, format, path, path);
	if (fd < 0 || write(fd, "000102030405060708090a0b0c0d0e0f", 32) != 32 || close(fd))
		abort();
	config_defaults(&s->cfg);
	if (config_parse(&s->cfg, yaml, (size_t)n, "fuzz", &err) || protector_new(&s->pt, &s->cfg, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	unlink(path);
}

static void settings_make(void)
{
	static const char *const cards[] = {"off", "mask", "count"};

	for (size_t i = 0; i < ROWS; i++)
		for (size_t c = 0; c < 3; c++)
			setting_make(&setting[i][c], rows[i], cards[c]);
}

/* What the configuration does to a field of an event of this type; -1: nothing. */
static int action_of(const struct setting *s, uint8_t type, enum field_id field)
{
	for (uint32_t i = 0; i < s->cfg.protect_count; i++)
		if (!strcmp(s->cfg.protect[i].field, field_table[field].name) &&
			(!s->cfg.protect[i].types[0] ||
				!strcmp(s->cfg.protect[i].types, type_table[type].name)))
			return (int)s->cfg.protect[i].action;
	return -1;
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void field_check(
	const struct setting *s, const struct event *before, const struct event *after, enum field_id f)
{
	bool kept = after->field_mask >> f & 1, text = field_table[f].kind == FIELD_KIND_TEXT;
	uint32_t a_bytes, b_bytes;
	const uint8_t *a = event_field(before, f, &a_bytes), *b;
	uint8_t copy[EVENT_BYTES_MAX];

	switch (action_of(s, before->type, f)) {
	case 2:
		must(!kept);
		return;
	case 1:
		must(kept);
		b = event_field(after, f, &b_bytes);
		must(b_bytes == 32 && strspn((const char *)b, "0123456789abcdef") >= 32);
		return;
	case 0:
		must(kept);
		b = event_field(after, f, &b_bytes);
		must(b_bytes == 3 && !memcmp(b, "***", 3));
		return;
	}
	must(kept);
	if (field_table[f].kind == FIELD_KIND_OBJECT)
		return;
	b = event_field(after, f, &b_bytes);
	must(a_bytes == b_bytes);
	memcpy(copy, a, a_bytes);
	if (s->cfg.privacy.cards == 1 && text && f != FIELD_user_id && f != FIELD_session_id &&
		f != FIELD_device_id)
		cards_find(copy, a_bytes, CARDS_PLAIN, true);
	must(!memcmp(copy, b, a_bytes));
}

static void accepted(const struct setting *s, struct json_parser *again, struct event *ev)
{
	struct event before = *ev, back;
	struct protect_stats stats = {0};
	uint8_t *copy;

	if (!protect_event(s->pt, ev, &stats))
		return;
	must(ev->raw_bytes + ev->tail_bytes <= EVENT_BYTES_MAX && !(ev->field_mask & ~before.field_mask));
	for (uint64_t left = before.field_mask; left; left &= left - 1)
		field_check(s, &before, ev, (enum field_id)__builtin_ctzll(left));
	copy = padded_copy(ev->raw, ev->raw_bytes);
	json_parser_reset(again);
	json_parse_event(again, copy, ev->raw_bytes, EVENT_TYPE_NONE, NOW_MS, &limits_any, &back);
	/* An address that is masked is none any more; everything else reads as it was written. */
	must(!back.refused || (back.refused == DROP_bad_value && back.refused_field == FIELD_ip));
	if (!back.refused) {
		uint64_t enriched = event_enriched_mask;

		must(back.type == ev->type && (back.field_mask & ~enriched) == (ev->field_mask & ~enriched));
		for (uint64_t left = back.field_mask; left; left &= left - 1) {
			uint32_t a_bytes, b_bytes;
			enum field_id f = (enum field_id)__builtin_ctzll(left);
			const uint8_t *a = event_field(&back, f, &a_bytes), *b = event_field(ev, f, &b_bytes);

			must(a_bytes == b_bytes && !memcmp(a, b, a_bytes));
		}
	}
	free(copy);
}

static void refused(const struct setting *s, struct json_parser *again, struct event *ev)
{
	struct protect_stats stats = {0};
	struct event any = *ev, back;
	uint8_t *copy;

	protect_refused(s->pt, &any, ev->refused % 2 ? PROTECT_TEXT : PROTECT_PACKED, &stats);
	switch (ev->refused) {
	case DROP_bad_json:
	case DROP_bad_utf8:
	case DROP_too_deep:
	case DROP_too_long:
		return;
	default:
		break;
	}
	if (!protect_refused(s->pt, ev, PROTECT_JSON, &stats))
		return;
	copy = padded_copy(ev->raw, ev->raw_bytes);
	json_parser_reset(again);
	json_parse_event(again, copy, ev->raw_bytes, EVENT_TYPE_NONE, NOW_MS, &limits_any, &back);
	must(back.refused != DROP_bad_json && back.refused != DROP_bad_utf8 && back.refused != DROP_too_deep);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct json_parser *jp, *again;
	const struct setting *s;
	struct event ev;
	uint8_t *copy;

	if (!jp) {
		jp = json_parser_new(0);
		again = json_parser_new(0);
		settings_make();
	}
	if (!jp || !again || bytes < 1 || bytes > EVENT_BYTES_MAX)
		return 0;
	s = &setting[data[0] % ROWS][data[0] / ROWS % 3];
	copy = padded_copy(data + 1, bytes - 1);
	json_parser_reset(jp);
	json_parse_event(jp, copy, (uint32_t)bytes - 1, EVENT_TYPE_NONE, NOW_MS, &limits_any, &ev);
	if (ev.refused)
		refused(s, again, &ev);
	else
		accepted(s, again, &ev);
	free(copy);
	return 0;
}
