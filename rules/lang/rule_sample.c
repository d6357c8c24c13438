/* `tests:` of a rule: samples as YAML mappings become struct event by the schema's key table, as the parsers
 * would make it from JSON. A sample may lack required keys. Set-up only. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "record.h"
#include "rule_read_priv.h"

struct sample_builder {
	struct rule_sample *sample;
	uint8_t *raw, *tail;
	uint32_t raw_bytes, tail_bytes;
	uint64_t keys; /* fields given, before the type is known */
};

static const struct key_info *key_find(enum key_scope scope, const char *key)
{
	for (uint32_t i = 0; i < key_count; i++)
		if (key_table[i].scope == scope && !strcmp(key_table[i].key, key))
			return &key_table[i];
	return NULL;
}

static int key_unknown(struct rule_reader *rd, const struct ynode *n, enum key_scope scope)
{
	const char *names[66];
	uint32_t count = 0;

	if (scope == KEY_SCOPE_TOP)
		names[count++] = "type";
	for (uint32_t i = 0; i < key_count && count < 65; i++)
		if (key_table[i].scope == scope)
			names[count++] = key_table[i].key;
	return rule_err_unknown(rd, n, true, "key of a sample", names, count);
}

/* Bytes of raw text that the sample's scalars can need; bounded before anything is copied. */
static uint64_t raw_need(const struct ynode *send)
{
	uint64_t bytes = 2;

	YNODE_EACH (it, send) {
		bytes += it->text_bytes;
		if (it->kind == YNODE_MAP)
			YNODE_EACH (below, it)
				bytes += below->text_bytes;
	}
	return bytes;
}

static void put_text(struct sample_builder *b, enum field_id field, const char *text, size_t bytes)
{
	b->sample->ev.field[field] = (struct span){(uint16_t)b->raw_bytes, (uint16_t)bytes};
	if (bytes)
		memcpy(b->raw + b->raw_bytes, text, bytes);
	b->raw_bytes += (uint32_t)bytes;
}

/* The 8 bytes that the parser puts into the tail. */
static bool number_of(const struct ynode *n, enum field_kind kind, uint8_t out[8])
{
	double number;
	int64_t millionths;

	if (!value_number(n, &number))
		return false;
	memcpy(out, &number, sizeof number);
	if (kind != FIELD_KIND_DECIMAL)
		return true;
	number *= (double)FIELD_DECIMAL_ONE;
	if (fabs(number) > (double)FIELD_DECIMAL_MAX)
		return false;
	millionths = llround(number);
	memcpy(out, &millionths, sizeof millionths);
	return true;
}

static int put_value(
	struct rule_reader *rd, struct sample_builder *b, const struct ynode *n, enum field_id field)
{
	const struct field_info *f = &field_table[field];
	uint8_t number[8];

	if (b->keys & 1ull << field)
		return rule_err_key(rd, n, "%s: the field %s is given twice", n->key, f->name);
	if (value_is_null(n))
		return rule_err(
			rd, n, "%s: a value is missing; leave the key out for an event without it", n->key);
	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "%s: expected one value", n->key);
	b->keys |= 1ull << field;
	switch (f->kind) {
	case FIELD_KIND_TEXT:
		if (n->text_bytes < f->len_min || n->text_bytes > f->len_max)
			return rule_err(rd, n, "%s: %zu bytes; the field holds %u to %u", n->key,
				n->text_bytes, f->len_min, f->len_max);
		break;
	case FIELD_KIND_UUID:
		if (!value_uuid(n->text, n->text_bytes, b->sample->ev.event_id))
			return rule_err(rd, n, "%s: expected a UUID", n->key);
		break;
	case FIELD_KIND_TIME:
		if (!value_time(n, &b->sample->ev.event_time_ms))
			return rule_err(rd, n,
				"%s: expected milliseconds since the epoch or a time like "
				"2026-01-31T12:00:00Z",
				n->key);
		break;
	default:
		if (!number_of(n, f->kind, number))
			return rule_err(rd, n, "%s: expected a number", n->key);
		memcpy(b->tail + b->tail_bytes, number, sizeof number);
		/* relative to the tail for now: raw_bytes is not final */
		b->sample->ev.field[field] = (struct span){(uint16_t)b->tail_bytes, sizeof number};
		b->tail_bytes += sizeof number;
		return 0;
	}
	put_text(b, field, n->text, n->text_bytes);
	return 0;
}

static int put_attributes(struct rule_reader *rd, struct sample_builder *b, const struct ynode *n)
{
	int rc = 0;

	if (n->kind != YNODE_MAP)
		return rule_err(rd, n, "attributes: expected a mapping");
	if (b->keys & FBIT(attributes))
		return rule_err_key(rd, n, "attributes: given twice");
	b->keys |= FBIT(attributes);
	put_text(b, FIELD_attributes, "{}", 2);
	YNODE_EACH (it, n) {
		const struct key_info *key = key_find(KEY_SCOPE_ATTR, it->key);

		if (key)
			rc = put_value(rd, b, it, key->field);
		if (rc)
			return rc;
	}
	return 0;
}

static int put_keys(struct rule_reader *rd, struct sample_builder *b, const struct ynode *send)
{
	int rc = 0;

	YNODE_EACH (it, send) {
		const struct key_info *key = key_find(KEY_SCOPE_TOP, it->key);

		if (!strcmp(it->key, "type"))
			continue;
		if (!key)
			return key_unknown(rd, it, KEY_SCOPE_TOP);
		rc = field_table[key->field].kind == FIELD_KIND_OBJECT ? put_attributes(rd, b, it)
								       : put_value(rd, b, it, key->field);
		if (rc)
			return rc;
	}
	return 0;
}

/* As `type:` says, else the type that has most of the given fields; the first of equals. */
static int type_choose(struct rule_reader *rd, struct sample_builder *b, const struct ynode *send)
{
	const struct ynode *n = ynode_get(send, "type");
	const char *names[EVENT_TYPE_MAX];
	int best = -1;
	uint64_t extra;

	if (n && n->kind == YNODE_SCALAR)
		b->sample->ev.type = event_type_by_name(n->text, n->text_bytes);
	else if (n)
		return rule_err(rd, n, "type: expected the name of an event type");
	if (n && !b->sample->ev.type)
		return rule_err_unknown(
			rd, n, false, "event type", names, rule_type_names(names, EVENT_TYPE_MAX));
	for (uint32_t i = 1; i < EVENT_TYPE_MAX && !n; i++) {
		int have = __builtin_popcountll(b->keys & type_table[i].uses);

		if (type_table[i].name && have > best) {
			best = have;
			b->sample->ev.type = (uint8_t)i;
		}
	}
	extra = b->keys & ~type_table[b->sample->ev.type].uses;
	if (extra)
		return rule_err(rd, send, "the sample is a %s event, which has no field %s",
			type_table[b->sample->ev.type].name, field_table[__builtin_ctzll(extra)].name);
	return 0;
}

static int sample_read(struct rule_reader *rd, const struct ynode *send, struct rule_sample **out)
{
	struct sample_builder b = {0};
	struct event *ev;
	uint64_t need;
	int rc;

	if (send->kind != YNODE_MAP)
		return rule_err(rd, send, "expected an event, as in {user_id: u1, page: /login}");
	need = raw_need(send) + FIELD_ID_MAX * sizeof(double);
	if (need > EVENT_BYTES_MAX)
		return rule_err(
			rd, send, "the sample is larger than an event can be (%u bytes)", EVENT_BYTES_MAX);
	b.sample = rule_pool_get(rd->pool, 1, sizeof *b.sample);
	b.raw = rule_pool_get(rd->pool, 1, need + EVENT_PAD_BYTES);
	b.tail = rule_pool_get(rd->pool, FIELD_ID_MAX, sizeof(double));
	if (!b.sample || !b.raw || !b.tail)
		return rule_no_memory(rd);
	b.sample->line = send->line;
	rc = put_keys(rd, &b, send);
	if (!rc)
		rc = type_choose(rd, &b, send);
	ev = &b.sample->ev;
	ev->raw = b.raw;
	ev->tail = b.tail;
	ev->raw_bytes = b.raw_bytes;
	ev->tail_bytes = b.tail_bytes;
	ev->field_mask = b.keys;
	for (uint32_t i = 1; i < FIELD_ID_MAX; i++)
		if (b.keys & 1ull << i && field_kind_is_number(field_table[i].kind))
			ev->field[i].offset = (uint16_t)(ev->field[i].offset + b.raw_bytes);
	*out = b.sample;
	return rc;
}

static int expect_read(struct rule_reader *rd, const struct ynode *n, const struct rule *rule, uint8_t *out)
{
	static const char *const names[] = {"alert", "tag", "drop", "none"};
	static const uint8_t actions[] = {RULE_ACTION_ALERT, RULE_ACTION_TAG, RULE_ACTION_DROP, 0};

	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "expect: expected alert, tag, drop or none");
	for (uint32_t i = 0; i < 4; i++) {
		if (strcmp(n->text, names[i]))
			continue;
		if (actions[i] && !(rule->info.actions & actions[i]))
			return rule_err(rd, n, "expect: %s, but `then` has no %s", names[i], names[i]);
		*out = actions[i];
		return 0;
	}
	return rule_err_unknown(rd, n, false, "expectation", names, 4);
}

int samples_read(struct rule_reader *rd, const struct ynode *tests, struct rule *rule)
{
	static const char *const names[] = {"send", "expect"};
	struct rule_sample **tail = &rule->sample;

	if (tests->kind != YNODE_SEQ)
		return rule_err(rd, tests, "tests: expected a list of {send: [...], expect: ...}");
	YNODE_EACH (test, tests) {
		const struct ynode *send = ynode_get(test, "send"), *expect = ynode_get(test, "expect");
		uint8_t action = 0;
		int rc;

		if (test->kind == YNODE_MAP)
			YNODE_EACH (it, test)
				if (it != send && it != expect)
					return rule_err_unknown(rd, it, true, "key of a test", names, 2);
		if (!send || !expect || send->kind != YNODE_SEQ || !send->count)
			return rule_err(
				rd, test, "a test is {send: [ {event}, ... ], expect: alert|tag|drop|none}");
		rc = expect_read(rd, expect, rule, &action);
		YNODE_EACH (it, send) {
			if (!rc)
				rc = sample_read(rd, it, tail);
			if (rc)
				return rc;
			(*tail)->expect = action;
			tail = &(*tail)->next;
		}
	}
	return 0;
}
