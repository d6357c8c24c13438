/* `tests:` of a rule: samples as YAML mappings become the JSON of an event and its struct event, by the
 * schema's key table, as the parsers would make it from that JSON. A sample may lack required keys. Set-up
 * only. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"
#include "record.h"
#include "rule_read_priv.h"

struct sample_builder {
	struct rule_sample *sample;
	const struct rule *rule;
	FILE *raw;     /* JSON */
	uint8_t *tail; /* FIELD_ID_MAX numbers, then decoded texts; allocated */
	uint32_t tail_bytes;
	uint64_t keys;	  /* fields given */
	uint64_t in_tail; /* of those: the span counts from the tail's start until raw is complete */
};

static const struct key_info *key_find(enum key_scope scope, const char *key)
{
	for (uint32_t i = 0; i < key_count; i++)
		if (key_table[i].scope == scope && !strcmp(key_table[i].key, key))
			return &key_table[i];
	return NULL;
}

static int key_unknown(struct rule_reader *rd, const struct ynode *n)
{
	const char *names[66];
	uint32_t count = 0;

	names[count++] = "type";
	for (uint32_t i = 0; i < key_count && count < 65; i++)
		if (key_table[i].scope == KEY_SCOPE_TOP)
			names[count++] = key_table[i].key;
	return rule_err_unknown(rd, n, true, "key of a sample", names, count);
}

/* True if a test looks at an attribute under this name: only then an unknown key is no misspelt one. */
static bool attr_named(const struct cond *c, const char *key)
{
	size_t bytes = strlen(key);

	if (c->attr && !strncmp(c->attr, key, bytes) && (!c->attr[bytes] || c->attr[bytes] == '.'))
		return true;
	for (const struct cond *it = c->child; it; it = it->next)
		if (attr_named(it, key))
			return true;
	return false;
}

static bool attr_wanted(const struct rule *rule, const char *key)
{
	for (uint32_t i = 0; rule->state && i < rule->state->spec.step_count; i++)
		if (rule->state->when[i] && attr_named(rule->state->when[i], key))
			return true;
	return attr_named(rule->when, key);
}

/* ---- JSON ---- */

/* A JSON string. True if something had to be escaped. */
static bool put_string(FILE *out, const char *text, size_t bytes)
{
	bool escaped = false;

	putc('"', out);
	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == '"' || c == '\\') {
			fprintf(out, "\\u%04x", c);
			escaped = true;
		} else {
			putc(c, out);
		}
	}
	putc('"', out);
	return escaped;
}

/* Numbers as they stand there if JSON has that form. */
static void put_number(FILE *out, const struct ynode *n, double number)
{
	const uint8_t *text = (const uint8_t *)n->text, *end = text + n->text_bytes;
	struct number as_json;

	if (number_walk(text, end, &as_json) == end)
		fwrite(text, 1, n->text_bytes, out);
	else
		fprintf(out, "%.17g", number);
}

static void put_scalar(FILE *out, const struct ynode *n)
{
	double number;
	bool word;

	if (value_is_null(n))
		fputs("null", out);
	else if (value_bool(n, &word))
		fputs(word ? "true" : "false", out);
	else if (value_number(n, &number))
		put_number(out, n, number);
	else
		put_string(out, n->text, n->text_bytes);
}

/* Any value below a key that is no field. */
static int put_json(struct rule_reader *rd, FILE *out, const struct ynode *n, uint32_t depth)
{
	const char *comma = "";
	bool map = n->kind == YNODE_MAP;
	int rc = 0;

	if (n->kind == YNODE_SCALAR) {
		put_scalar(out, n);
		return 0;
	}
	if (depth == EVENT_DEPTH_MAX)
		return rule_err(rd, n, "nested deeper than an event may be (%d)", EVENT_DEPTH_MAX);
	putc(map ? '{' : '[', out);
	YNODE_EACH (it, n) {
		fputs(comma, out);
		comma = ",";
		if (map) {
			put_string(out, it->key, strlen(it->key));
			putc(':', out);
		}
		rc = put_json(rd, out, it, depth + 1);
		if (rc)
			return rc;
	}
	putc(map ? '}' : ']', out);
	return 0;
}

/* ---- fields ---- */

/* The 8 bytes that the parser puts into the tail. */
static bool number_of(const struct ynode *n, enum field_kind kind, uint8_t out[8], double *number)
{
	int64_t millionths;

	if (!value_number(n, number))
		return false;
	memcpy(out, number, sizeof *number);
	if (kind != FIELD_KIND_DECIMAL)
		return true;
	if (fabs(*number) > (double)(FIELD_DECIMAL_MAX / FIELD_DECIMAL_ONE))
		return false;
	millionths = llround(*number * (double)FIELD_DECIMAL_ONE);
	memcpy(out, &millionths, sizeof millionths);
	return true;
}

static int put_tail(
	struct rule_reader *rd, struct sample_builder *b, enum field_id field, const void *data, size_t bytes)
{
	uint8_t *grown = realloc(b->tail, b->tail_bytes + bytes + 1);

	if (!grown)
		return rule_no_memory(rd);
	b->tail = grown;
	memcpy(b->tail + b->tail_bytes, data, bytes);
	b->sample->ev.field[field] = (struct span){(uint16_t)b->tail_bytes, (uint16_t)bytes};
	b->in_tail |= 1ull << field;
	b->tail_bytes += (uint32_t)bytes;
	return b->tail_bytes > EVENT_BYTES_MAX ? rule_err(rd, rd->tree->root, "a sample is too large") : 0;
}

static int put_text(
	struct rule_reader *rd, struct sample_builder *b, const struct ynode *n, enum field_id field)
{
	long at = ftell(b->raw) + 1;

	if (put_string(b->raw, n->text, n->text_bytes))
		return put_tail(rd, b, field, n->text, n->text_bytes);
	b->sample->ev.field[field] = (struct span){(uint16_t)at, (uint16_t)n->text_bytes};
	return 0;
}

static int value_check(
	struct rule_reader *rd, struct sample_builder *b, const struct ynode *n, enum field_id field)
{
	const struct field_info *f = &field_table[field];

	if (f->kind == FIELD_KIND_TEXT && (n->text_bytes < f->len_min || n->text_bytes > f->len_max))
		return rule_err(rd, n, "%s: %zu bytes; the field holds %u to %u", n->key, n->text_bytes,
			f->len_min, f->len_max);
	if (f->kind == FIELD_KIND_UUID && !value_uuid(n->text, n->text_bytes, b->sample->ev.event_id))
		return rule_err(rd, n, "%s: expected a UUID", n->key);
	if (f->kind == FIELD_KIND_TIME && !value_time(n, &b->sample->ev.event_time_ms))
		return rule_err(rd, n,
			"%s: expected milliseconds since the epoch or a time like 2026-01-31T12:00:00Z",
			n->key);
	return 0;
}

/* One value of a field that has none yet. */
static int field_take(
	struct rule_reader *rd, struct sample_builder *b, const struct ynode *n, enum field_id field)
{
	if (b->keys & 1ull << field)
		return rule_err_key(
			rd, n, "%s: the field %s is given twice", n->key, field_table[field].name);
	if (value_is_null(n))
		return rule_err(
			rd, n, "%s: a value is missing; leave the key out for an event without it", n->key);
	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "%s: expected one value", n->key);
	b->keys |= 1ull << field;
	return 0;
}

/* What enrichment would fill: no key of a sender's object, but a field that rules see. */
static int put_enriched(
	struct rule_reader *rd, struct sample_builder *b, const struct ynode *n, enum field_id field)
{
	int rc = field_take(rd, b, n, field);

	if (rc == 0)
		rc = value_check(rd, b, n, field);
	return rc ? rc : put_tail(rd, b, field, n->text, n->text_bytes);
}

static int put_value(
	struct rule_reader *rd, struct sample_builder *b, const struct ynode *n, enum field_id field)
{
	const struct field_info *f = &field_table[field];
	uint8_t eight[8];
	double number;
	int rc = field_take(rd, b, n, field);

	if (rc)
		return rc;
	if (!field_kind_is_number(f->kind)) {
		rc = value_check(rd, b, n, field);
		return rc ? rc : put_text(rd, b, n, field);
	}
	if (!number_of(n, f->kind, eight, &number))
		return rule_err(rd, n, "%s: expected a number", n->key);
	put_number(b->raw, n, number);
	return put_tail(rd, b, field, eight, sizeof eight);
}

/* Fields of the type stand below `attributes` too; everything else is kept as it is. */
static int put_object(
	struct rule_reader *rd, struct sample_builder *b, const struct ynode *n, enum field_id field)
{
	uint64_t uses = type_table[b->sample->ev.type].uses;
	const char *comma = "{";
	long start = ftell(b->raw);
	int rc = 0;

	if (n->kind != YNODE_MAP)
		return rule_err(rd, n, "%s: expected a mapping", n->key);
	if (b->keys & 1ull << field)
		return rule_err_key(rd, n, "%s: given twice", n->key);
	b->keys |= 1ull << field;
	YNODE_EACH (it, n) {
		const struct key_info *key =
			field == FIELD_attributes ? key_find(KEY_SCOPE_ATTR, it->key) : NULL;

		fputs(comma, b->raw);
		comma = ",";
		put_string(b->raw, it->key, strlen(it->key));
		putc(':', b->raw);
		rc = key && uses >> key->field & 1 ? put_value(rd, b, it, key->field)
						   : put_json(rd, b->raw, it, 2);
		if (rc)
			return rc;
	}
	fputs(n->count ? "}" : "{}", b->raw);
	b->sample->ev.field[field] = (struct span){(uint16_t)start, (uint16_t)(ftell(b->raw) - start)};
	return 0;
}

static int put_keys(struct rule_reader *rd, struct sample_builder *b, const struct ynode *send)
{
	const struct type_info *type = &type_table[b->sample->ev.type];
	const char *comma = "{";
	int rc = 0;

	YNODE_EACH (it, send) {
		const struct key_info *key = key_find(KEY_SCOPE_TOP, it->key);
		bool is_type = !strcmp(it->key, "type"), known = key && type->uses >> key->field & 1;
		enum field_id enriched = key ? FIELD_NONE : field_by_name(it->key, strlen(it->key));

		if (event_enriched_mask >> enriched & 1) {
			rc = put_enriched(rd, b, it, enriched);
			if (rc)
				return rc;
			continue;
		}
		if (!is_type && !known && !attr_wanted(b->rule, it->key)) {
			if (!key)
				return key_unknown(rd, it);
			return rule_err(rd, send, "the sample is a %s event, which has no field %s",
				type->name, field_table[key->field].name);
		}
		fputs(comma, b->raw);
		comma = ",";
		put_string(b->raw, it->key, strlen(it->key));
		putc(':', b->raw);
		if (!known)
			rc = put_json(rd, b->raw, it, 1);
		else if (field_table[key->field].kind == FIELD_KIND_OBJECT)
			rc = put_object(rd, b, it, key->field);
		else
			rc = put_value(rd, b, it, key->field);
		if (rc)
			return rc;
	}
	fputs(*comma == ',' ? "}" : "{}", b->raw);
	return 0;
}

/* Fields that the sample's keys would be if the type had them all. */
static uint64_t fields_given(const struct ynode *send)
{
	uint64_t given = 0;

	YNODE_EACH (it, send) {
		const struct key_info *key = key_find(KEY_SCOPE_TOP, it->key);

		given |= key ? 1ull << key->field : 0;
		if (!key || key->field != FIELD_attributes || it->kind != YNODE_MAP)
			continue;
		YNODE_EACH (below, it) {
			key = key_find(KEY_SCOPE_ATTR, below->key);
			given |= key ? 1ull << key->field : 0;
		}
	}
	return given;
}

/* As `type:` says, else the type that has most of the given fields; the first of equals. */
static int type_choose(struct rule_reader *rd, struct sample_builder *b, const struct ynode *send)
{
	const struct ynode *n = ynode_get(send, "type");
	const char *names[EVENT_TYPE_MAX];
	uint64_t given = fields_given(send);
	int best = -1;

	if (n && n->kind == YNODE_SCALAR)
		b->sample->ev.type = event_type_by_name(n->text, n->text_bytes);
	else if (n)
		return rule_err(rd, n, "type: expected the name of an event type");
	if (n && !b->sample->ev.type)
		return rule_err_unknown(
			rd, n, false, "event type", names, rule_type_names(names, EVENT_TYPE_MAX));
	for (uint32_t i = 1; i < EVENT_TYPE_MAX && !n; i++) {
		int have = __builtin_popcountll(given & type_table[i].uses);

		if (type_table[i].name && have > best) {
			best = have;
			b->sample->ev.type = (uint8_t)i;
		}
	}
	return 0;
}

/* Raw bytes and tail into the pool, and the spans to where they are now. */
static int sample_finish(struct rule_reader *rd, struct sample_builder *b, const struct ynode *send,
	const char *raw, size_t raw_bytes)
{
	struct event *ev = &b->sample->ev;
	uint8_t *copy;

	if (raw_bytes + b->tail_bytes > EVENT_BYTES_MAX)
		return rule_err(
			rd, send, "the sample is larger than an event can be (%u bytes)", EVENT_BYTES_MAX);
	copy = rule_pool_get(rd->pool, 1, raw_bytes + b->tail_bytes + 2 * EVENT_PAD_BYTES);
	if (!copy)
		return rule_no_memory(rd);
	memcpy(copy, raw, raw_bytes);
	if (b->tail_bytes)
		memcpy(copy + raw_bytes + EVENT_PAD_BYTES, b->tail, b->tail_bytes);
	ev->raw = copy;
	ev->tail = copy + raw_bytes + EVENT_PAD_BYTES;
	ev->raw_bytes = (uint32_t)raw_bytes;
	ev->tail_bytes = b->tail_bytes;
	ev->field_mask = b->keys;
	for (uint32_t i = 1; i < FIELD_ID_MAX; i++)
		if (b->in_tail >> i & 1)
			ev->field[i].offset = (uint16_t)(ev->field[i].offset + raw_bytes);
	return 0;
}

static int sample_read(
	struct rule_reader *rd, const struct ynode *send, const struct rule *rule, struct rule_sample **out)
{
	struct sample_builder b = {.rule = rule};
	char *raw = NULL;
	size_t raw_bytes = 0;
	int rc;

	if (send->kind != YNODE_MAP)
		return rule_err(rd, send, "expected an event, as in {user_id: u1, page: /login}");
	b.sample = rule_pool_get(rd->pool, 1, sizeof *b.sample);
	b.raw = open_memstream(&raw, &raw_bytes);
	if (!b.sample || !b.raw) {
		rc = rule_no_memory(rd);
	} else {
		b.sample->line = send->line;
		rc = type_choose(rd, &b, send);
		rc = rc ? rc : put_keys(rd, &b, send);
	}
	if (b.raw && fclose(b.raw) && !rc)
		rc = rule_no_memory(rd);
	rc = rc ? rc : sample_finish(rd, &b, send, raw, raw_bytes);
	*out = b.sample;
	free(raw);
	free(b.tail);
	return rc;
}

static int expect_read(struct rule_reader *rd, const struct ynode *n, const struct rule *rule, uint8_t *out)
{
	static const char *const names[] = {"alert", "tag", "drop", "route", "none"};
	static const uint8_t actions[] = {
		RULE_ACTION_ALERT, RULE_ACTION_TAG, RULE_ACTION_DROP, RULE_ACTION_ROUTE, 0};

	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "expect: expected alert, tag, drop, route or none");
	for (uint32_t i = 0; i < 5; i++) {
		if (strcmp(n->text, names[i]))
			continue;
		if (rule->state && actions[i] && actions[i] != RULE_ACTION_ALERT)
			return rule_err(rd, n, "expect: a rule with state gives alert or none");
		if (actions[i] && !(rule->info.actions & actions[i]))
			return rule_err(rd, n,
				"expect: %s, but `then` has no %s: expected an action that stands there, or "
				"none",
				names[i], names[i]);
		*out = actions[i];
		return 0;
	}
	return rule_err_unknown(rd, n, false, "expectation", names, 5);
}

/* The events of a test, appended at *tail. */
static int test_read(struct rule_reader *rd, const struct ynode *send, const struct rule *rule,
	uint32_t index, uint8_t action, struct rule_sample ***tail)
{
	struct sample_repeat repeat;
	const struct ynode *one;
	uint64_t events = 0;
	int rc = 0;

	YNODE_EACH (it, send) {
		rc = repeat_read(rd, it, &repeat);
		events += repeat.times;
		if (!rc && events > RULE_TEST_EVENTS_MAX)
			rc = rule_err(rd, send, "send: more than %d events", RULE_TEST_EVENTS_MAX);
		for (uint64_t i = 0; i < repeat.times && !rc; i++) {
			rc = repeat_event(rd, &repeat, i, &one);
			rc = rc ? rc : sample_read(rd, one, rule, *tail);
			if (rc)
				break;
			if (rule->state && !((**tail)->ev.field_mask & FBIT(ts)))
				rc = rule_err(
					rd, it, "send: of a rule with state each event needs its time, `ts`");
			(**tail)->expect = action;
			(**tail)->test = index;
			*tail = &(**tail)->next;
		}
		if (rc)
			return rc;
	}
	return 0;
}

int samples_read(struct rule_reader *rd, const struct ynode *tests, struct rule *rule)
{
	static const char *const names[] = {"send", "expect"};
	struct rule_sample **tail = &rule->sample;
	uint32_t index = 0;

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
		rc = rc ? rc : test_read(rd, send, rule, index++, action, &tail);
		if (rc)
			return rc;
	}
	return 0;
}
