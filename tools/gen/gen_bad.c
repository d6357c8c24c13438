/* Malformed events: one defect each, so that the reason of the refusal is certain. Drafts here are plain
 * ASCII without escapes. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "gen_event.h"

#define BAD(name_, reason_, types_, help_) [GEN_BAD_##name_] = {#name_, DROP_##reason_, types_, help_},
const struct gen_bad_info gen_bad_table[GEN_BAD_COUNT] = {
#include "gen_bad.def"
};
#undef BAD

#define DAY_MS 86400000ll

static struct gen_field *append(struct gen_draft *d)
{
	assert(d->top_count < sizeof d->top / sizeof *d->top);
	return &d->top[d->top_count++];
}

static void remove_top(struct gen_draft *d, const struct gen_field *f)
{
	uint32_t at = (uint32_t)(f - d->top);

	memmove(&d->top[at], &d->top[at + 1], (d->top_count - at - 1) * sizeof *d->top);
	d->top_count--;
}

static struct gen_field *time_field(struct gen_draft *d)
{
	struct gen_field *f = gen_draft_top(d, "ts");

	return f ? f : gen_draft_top(d, "timestamp");
}

/* The first of these keys that the draft has; NULL ends the list. */
static struct gen_field *first_of(struct gen_draft *d, const char *const *keys)
{
	struct gen_field *f = NULL;

	for (; *keys && !f; keys++)
		f = gen_draft_top(d, *keys);
	return f;
}

/* A required key that does not decide the event's type, as a listener without a fixed type must still tell
 * it. */
static struct gen_field *required_field(struct gen_draft *d, struct gen_rng *rng)
{
	static const char *const keys[] = {"user_id", "device_id", NULL};
	struct gen_field *who =
		gen_draft_top(d, "name") && gen_draft_top(d, "user_id") ? NULL : first_of(d, keys);

	/* custom events need no user */
	return who && gen_rng_below(rng, 2) ? who : time_field(d);
}

/* Keys with a text value, of which each event has one. */
static const char *const text_keys[] = {"page", "source", "name", "merchant", NULL};

static struct gen_field *text_field(struct gen_draft *d)
{
	return first_of(d, text_keys);
}

static struct gen_field *number_field(struct gen_draft *d)
{
	static const char *const keys[] = {"value", "amount", NULL};
	struct gen_field *f = first_of(d, keys);

	for (uint32_t i = 0; i < d->attr_count && !f; i++)
		if (!strcmp(d->attr[i].key, "metric"))
			f = &d->attr[i];
	assert(f); /* GEN_NUMBER */
	return f;
}

static struct gen_field *object_field(struct gen_draft *d)
{
	static const char *const keys[] = {"attributes", "properties", NULL};

	return first_of(d, keys);
}

static void make_long(struct gen_field *f, uint32_t bytes)
{
	f->value[0] = '"';
	memset(f->value + 1, 'x', bytes);
	memcpy(f->value + 1 + bytes, "\"", 2);
	f->bytes = bytes + 2;
}

static void spoil_value(enum gen_bad_kind kind, struct gen_draft *d, struct gen_rng *rng)
{
	struct gen_field *f = text_field(d), *user = gen_draft_top(d, "user_id");

	switch (kind) {
	case GEN_BAD_number_for_text:
		gen_field_raw(f, f->key, gen_rng_below(rng, 2) ? "42" : "-1.5e3");
		break;
	case GEN_BAD_object_for_text:
		gen_field_raw(f, f->key, gen_rng_below(rng, 2) ? "{\"a\":1}" : "[\"/home\"]");
		break;
	case GEN_BAD_text_for_object:
		f = object_field(d);
		gen_field_text(f, f->key, "status=ok");
		break;
	case GEN_BAD_text_for_number:
		f = number_field(d);
		gen_field_text(f, f->key, "42.7");
		break;
	case GEN_BAD_huge_number:
		f = number_field(d);
		gen_field_raw(f, f->key, gen_rng_below(rng, 2) ? "1e400" : "-2.5E+999");
		break;
	case GEN_BAD_fine_amount:
		f = number_field(d);
		gen_field_raw(f, f->key, gen_rng_below(rng, 2) ? "0.0000001" : "12.5000009");
		break;
	case GEN_BAD_bad_address:
		f = gen_draft_top(d, "ip");
		gen_field_text(f, f->key, gen_rng_below(rng, 2) ? "203.0.113.256" : "2001:db8:::1");
		break;
	case GEN_BAD_long_text:
		f = user ? user : f; /* limits: user_id 256, source and name 128 */
		make_long(f, user ? 257 + gen_rng_below(rng, 60) : 129 + gen_rng_below(rng, 60));
		break;
	case GEN_BAD_deep:
		f = append(d);
		f->key = "nest";
		memset(f->value, '[', 40);
		memset(f->value + 40, ']', 40);
		f->bytes = 80;
		break;
	default:
		break;
	}
}

void gen_bad_draft(enum gen_bad_kind kind, struct gen_draft *d, struct gen_rng *rng, int64_t ts_ms)
{
	struct gen_field *time = time_field(d), *id = gen_draft_top(d, "event_id"), *f;

	switch (kind) {
	case GEN_BAD_missing:
		remove_top(d, required_field(d, rng));
		break;
	case GEN_BAD_null:
		f = required_field(d, rng);
		gen_field_raw(f, f->key, "null");
		break;
	case GEN_BAD_future:
		gen_field_number(time, time->key, ts_ms + DAY_MS);
		break;
	case GEN_BAD_past:
		gen_field_number(time, time->key, ts_ms - 60 * DAY_MS);
		break;
	case GEN_BAD_time_text:
		gen_field_text(time, time->key, gen_rng_below(rng, 2) ? "yesterday" : "2025-13-41T25:61:00Z");
		break;
	case GEN_BAD_bad_id:
		if (!id)
			id = append(d);
		gen_field_text(id, "event_id",
			gen_rng_below(rng, 2) ? "not-a-uuid" : "0123456g-89ab-4def-8123-456789abcdef");
		break;
	case GEN_BAD_key_twice:
		f = text_field(d); /* before append(): it looks through the keys */
		*append(d) = *f;
		break;
	case GEN_BAD_leading_zero:
		gen_field_raw(append(d), "seq", "0017");
		break;
	case GEN_BAD_nan:
		gen_field_raw(append(d), "ratio", "NaN");
		break;
	case GEN_BAD_type:
		f = gen_draft_top(d, "type");
		gen_field_text(f ? f : append(d), "type", "nosuchtype");
		break;
	default:
		spoil_value(kind, d, rng);
	}
}

static void insert(struct gen_event *ev, uint32_t at, const char *data, uint32_t bytes)
{
	assert(ev->bytes + bytes <= sizeof ev->raw);
	memmove(ev->raw + at + bytes, ev->raw + at, ev->bytes - at);
	memcpy(ev->raw + at, data, bytes);
	ev->bytes += bytes;
}

/* Offset of the first byte of the text that is the value of one of text_keys. */
static uint32_t text_at(const struct gen_event *ev)
{
	const char *p = NULL;
	char quoted[32];

	for (const char *const *key = text_keys; *key && !p; key++) {
		snprintf(quoted, sizeof quoted, "\"%s\"", *key);
		p = memmem(ev->raw, ev->bytes, quoted, strlen(quoted));
	}
	assert(p);
	p = memchr(p + strlen(quoted), '"', ev->bytes - (size_t)(p - ev->raw) - strlen(quoted));
	assert(p);
	return (uint32_t)(p + 1 - ev->raw);
}

static void truncate_text(struct gen_event *ev, struct gen_rng *rng)
{
	/* what is cut off may not take the event_id with it: the truth file names it */
	uint32_t keep_min = ev->has_id ? 60 : 1;

	ev->bytes = keep_min + gen_rng_below(rng, ev->bytes - keep_min);
}

void gen_bad_text(enum gen_bad_kind kind, struct gen_event *ev, struct gen_rng *rng)
{
	static const char *const trailing[] = {"x", " {}", "}", ",", " null"};
	static const char control[] = {1, 0x1f, '\t', '\b'};
	const char *tail;

	switch (kind) {
	case GEN_BAD_truncated:
		truncate_text(ev, rng);
		break;
	case GEN_BAD_trailing_comma:
		insert(ev, ev->bytes - 1, ",", 1);
		break;
	case GEN_BAD_trailing_bytes:
		tail = trailing[gen_rng_below(rng, 5)];
		insert(ev, ev->bytes, tail, (uint32_t)strlen(tail));
		break;
	case GEN_BAD_single_quotes:
		insert(ev, ev->bytes - 1, ",\"tag\":'a'", 10);
		break;
	case GEN_BAD_bare_key:
		insert(ev, ev->bytes - 1, ",tag:\"a\"", 8);
		break;
	case GEN_BAD_array:
		insert(ev, 0, "[", 1);
		insert(ev, ev->bytes, "]", 1);
		break;
	case GEN_BAD_control_byte:
		insert(ev, text_at(ev), &control[gen_rng_below(rng, 4)], 1);
		break;
	case GEN_BAD_bad_escape:
		tail = gen_rng_below(rng, 2) ? "\\x41" : "\\u12G4";
		insert(ev, text_at(ev), tail, (uint32_t)strlen(tail));
		break;
	case GEN_BAD_invalid_byte:
		insert(ev, text_at(ev), "\xff", 1);
		break;
	case GEN_BAD_overlong:
		insert(ev, text_at(ev), "\xc0\xaf", 2);
		break;
	case GEN_BAD_surrogate:
		insert(ev, text_at(ev), "\xed\xa0\x80", 3);
		break;
	default:
		break;
	}
}
