/* Windows by attributes: events as JSON through the parser and the stage, against counts of what the events
 * were written from; saves and loads between; and records that no parser has seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "stage_rig.h"

#define EVENTS 6000u
#define BLOCK_EVENTS 50u
#define LONG_BYTES 3000u
#define ABSENT ((const char *)0)

/* A value as it is written, and the text that it groups by. */
struct value {
	const char *json, *text;
	bool container; /* it is there, but it is no text */
};

static char long_json[LONG_BYTES + 3], escaped_json[6 * 2043 + 3], escaped_text[2044],
	over_json[6 * 2047 + 3];

static struct value values[] = {
	{"\"free\"", "free", false},
	{"\"pro\"", "pro", false},
	{"\"pr\\u006f\"", "pro", false},
	{"\"\\\"\\\\\\n\\ud83d\\ude00\\u00e9\"", "\"\\\n\xf0\x9f\x98\x80\xc3\xa9", false},
	{"\"\"", "", false},
	{"12.50", "12.50", false},
	{"-1e3", "-1e3", false},
	{"true", "true", false},
	{"false", "false", false},
	{"\"true\"", "true", false},
	{"{\"a\":\"free\"}", ABSENT, true},
	{"[\"free\"]", ABSENT, true},
	{long_json, long_json, false},
	{escaped_json, escaped_text, false},
	{over_json, over_json, false},
	{"null", ABSENT, false},
};
#define VALUES ((uint32_t)(sizeof values / sizeof *values))

struct made {
	int64_t at_ms;
	const char *country;	  /* NULL: none */
	const struct value *plan; /* NULL: none */
	const char *method;	  /* of request.method; NULL: none */
};

static struct json_parser *jp;
static struct made made[EVENTS];
static struct bytes records;
static size_t block_at[EVENTS / BLOCK_EVENTS + 1];

static void values_make(void)
{
	long_json[0] = long_json[LONG_BYTES + 1] = '"';
	memset(long_json + 1, 'x', LONG_BYTES);
	/* as long as it is written it is no key, but what it says is one: 2 + 2043 bytes, one of them behind
	 * it */
	escaped_json[0] = over_json[0] = '"';
	for (int i = 0; i < 2047; i++) {
		memcpy(over_json + 1 + 6 * i, "\\u0079", 6);
		if (i < 2043)
			memcpy(escaped_json + 1 + 6 * i, "\\u0079", 6);
	}
	over_json[6 * 2047 + 1] = escaped_json[6 * 2043 + 1] = '"';
	memset(escaped_text, 'y', 2043);
}

/* The value that the event has: in attributes, else in properties, else of its own; null is none. */
static void event_make(struct made *m, char *json, size_t room, uint64_t *seed)
{
	const char *const places[] = {
		stage_below(seed, 4) ? "\"attributes\":{" : "\"attribut\\u0065s\":{", "\"properties\":{", ""};
	static const char *const countries[] = {"DE", "FR", "\xc3\xa9", ""};
	const struct value *of_place[3] = {0};
	size_t n;

	m->country = stage_below(seed, 4) ? countries[stage_below(seed, 4)] : NULL;
	m->plan = NULL;
	m->method = NULL;
	n = (size_t)snprintf(json, room,
		"{\"type\":\"page_view\",\"user_id\":\"u\",\"page\":\"/\",\"ts\":%lld", (long long)m->at_ms);
	if (m->country)
		n += (size_t)snprintf(json + n, room - n, ",\"country\":\"%s\"", m->country);
	for (int i = 0; i < 3; i++) {
		const char *comma = i == 2 ? "," : "";
		bool nested = stage_below(seed, 2);

		n += (size_t)snprintf(json + n, room - n, "%s%s", i == 2 ? "" : ",", places[i]);
		if (!stage_below(seed, 2)) {
			of_place[i] = &values[stage_below(seed, stage_below(seed, 20) ? 12 : VALUES)];
			n += (size_t)snprintf(json + n, room - n, "%s\"%s\":%s", comma,
				stage_below(seed, 3) ? "my plan" : "m\\u0079 pl\\u0061n", of_place[i]->json);
			comma = ",";
		}
		if (!m->method && !stage_below(seed, 4)) {
			m->method = stage_below(seed, 2) ? "GET" : "POST";
			n += (size_t)snprintf(json + n, room - n, "%s\"request%s\":%s\"%s\"%s", comma,
				nested ? "" : ".method", nested ? "{\"x\":1,\"method\":" : "", m->method,
				nested ? "}" : "");
		}
		n += (size_t)snprintf(json + n, room - n, "}");
		if (!m->plan && of_place[i] && (of_place[i]->text || of_place[i]->container))
			m->plan = of_place[i];
	}
	assert_true(n < room);
}

static void events_make(uint64_t seed)
{
	static uint8_t raw[65536 + EVENT_PAD_BYTES];
	static const struct parse_limits limits = {0, 300000};
	int64_t at_ms = RIG_TIME;

	bytes_reset(&records);
	for (uint32_t i = 0; i < EVENTS; i++) {
		struct event ev;
		uint8_t *to;

		if (i % BLOCK_EVENTS == 0)
			block_at[i / BLOCK_EVENTS] = records.bytes;
		at_ms += stage_below(&seed, 20);
		made[i].at_ms = at_ms - stage_below(&seed, 400);
		event_make(&made[i], (char *)raw, sizeof raw, &seed);
		json_parser_reset(jp);
		json_parse_event(
			jp, raw, (uint32_t)strlen((char *)raw), EVENT_TYPE_NONE, at_ms, &limits, &ev);
		if (ev.refused)
			fail_msg("%s: %u", (char *)raw, ev.refused);
		to = bytes_room(&records, record_bytes_of(&ev));
		record_write_event(to, &ev, 7, at_ms, 0);
	}
	block_at[EVENTS / BLOCK_EVENTS] = records.bytes;
}

/* ---- what must come out ---- */

enum part { PART_PLAN, PART_METHOD, PART_COUNTRY };

struct want {
	int64_t start_ms, end_ms;
	char key[2200]; /* as row_text() has it */
	uint64_t count;
};
static struct want *want;
static uint32_t wants, wants_room;

static void want_add(int64_t start_ms, int64_t size_ms, const char *key)
{
	for (uint32_t i = 0; i < wants; i++)
		if (want[i].start_ms == start_ms && want[i].end_ms == start_ms + size_ms &&
			!strcmp(want[i].key, key)) {
			want[i].count++;
			return;
		}
	if (wants == wants_room) {
		wants_room = wants_room * 2 + 64;
		want = realloc(want, wants_room * sizeof *want);
	}
	want[wants] = (struct want){.start_ms = start_ms, .end_ms = start_ms + size_ms, .count = 1};
	snprintf(want[wants++].key, sizeof want->key, "%s", key);
}

static void key_text(char out[2200], const struct made *m, const enum part *part, uint32_t parts)
{
	size_t n = 0, key_bytes = 0;

	out[0] = 0;
	for (uint32_t i = 0; i < parts; i++) {
		const char *text = part[i] == PART_COUNTRY ? m->country : m->method;

		if (part[i] == PART_PLAN)
			text = m->plan ? m->plan->text : ABSENT;
		key_bytes += 2 + (text ? strlen(text) : 0);
		if (key_bytes > WINDOW_KEY_BYTES_MAX) {
			snprintf(out, 2200, "other");
			return;
		}
		n += (size_t)snprintf(
			out + n, 2200 - n, "%s%s%s", text ? "[" : "-", text ? text : "", text ? "]" : "");
	}
}

/* keys_max: groups that come first have their own row; 0: all have. */
static void wants_make(
	int64_t size_ms, int64_t slide_ms, const enum part *part, uint32_t parts, uint32_t keys_max)
{
	wants = 0;
	for (uint32_t i = 0; i < EVENTS; i++) {
		int64_t last = made[i].at_ms / slide_ms * slide_ms;
		char key[2200];

		key_text(key, &made[i], part, parts);
		for (int64_t start = last; start > made[i].at_ms - size_ms; start -= slide_ms) {
			uint32_t groups = 0;
			bool known = false;

			for (uint32_t k = 0; k < wants && keys_max; k++) {
				bool here = want[k].start_ms == start && strcmp(want[k].key, "other") != 0;

				groups += here;
				known |= here && !strcmp(want[k].key, key);
			}
			want_add(start, size_ms, keys_max && !known && groups >= keys_max ? "other" : key);
		}
	}
}

static int count_take(void *arg, const struct agg_value *v)
{
	*(uint64_t *)arg = v->u64;
	return 0;
}

static void row_text(char out[2200], const struct row *row)
{
	const uint8_t *data;
	uint32_t bytes;
	size_t n = 0;

	out[0] = 0;
	if (row->flags & ROW_F_OTHER)
		snprintf(out, 2200, "other");
	for (uint32_t i = 0; row_key_part(row, i, &data, &bytes); i++)
		n += (size_t)snprintf(out + n, 2200 - n, "%s%.*s%s", data ? "[" : "-", (int)bytes,
			data ? (const char *)data : "", data ? "]" : "");
}

/* All rows of this window are those that are wanted. */
static void rows_check(const struct bytes *out, const struct window_def *def)
{
	const struct record *rec;
	uint32_t rows = 0;
	size_t at = 0;

	while ((rec = rig_next(out, &at))) {
		const struct row *row = row_of(rec);
		uint64_t count = 0;
		char key[2200];
		uint32_t i = 0;

		if (rec->kind != RECORD_ROW || row->window_uid != def->uid)
			continue;
		rows++;
		row_text(key, row);
		while (i < wants && (want[i].start_ms != row->start_ms || want[i].end_ms != row->end_ms ||
					    strcmp(want[i].key, key) != 0))
			i++;
		assert_int_equal(agg_values(def->aggs, row_agg(row), row->agg_bytes, count_take, &count), 0);
		if (i == wants || want[i].count != count)
			fail_msg("%lld %.60s: %lu, not %lu", (long long)row->start_ms - RIG_TIME, key, count,
				i < wants ? want[i].count : 0);
	}
	assert_int_equal(rows, wants);
}

static void blocks_run(struct stage *st, uint32_t first, uint32_t end)
{
	struct err err;

	for (uint32_t i = first; i < end; i++) {
		bool last = (i + 1) * BLOCK_EVENTS == EVENTS;
		struct journal_block b = {.partition = 3,
			.first_offset = (uint64_t)i * BLOCK_EVENTS,
			.record_count = BLOCK_EVENTS,
			.bytes = (uint32_t)(block_at[i + 1] - block_at[i]),
			.receive_last_ms = RIG_TIME,
			.watermark_ms = last ? RIG_TIME + 100 * 86400000ll : INT64_MIN,
			.data = records.data + block_at[i]};

		if (stage_block(st, &b, b.first_offset, &err))
			fail_msg("%s", err.text);
	}
}

/* Rows of all events, with saves and loads between. */
static void all_run(const struct window_plan *plan, struct bytes *out)
{
	struct stage *st = rig_stage(plan, 1000, SIZE_MAX, out);
	uint32_t blocks = EVENTS / BLOCK_EVENTS;

	for (uint32_t i = 0; i < blocks; i += blocks / 4) {
		blocks_run(st, i, i + blocks / 4);
		st = rig_reload(st, plan, 1000, SIZE_MAX, out);
	}
	assert_int_equal(stage_stats(st)->late, 0);
	stage_free(st);
}

static void check(const char *text)
{
	struct window_plan *plan = rig_plan(1000, 1, &text);
	struct bytes out = {0};

	all_run(plan, &out);
	rows_check(&out, plan->def[0]);
	window_plan_free(plan);
	bytes_free(&out);
}

static void test_windows(void **state)
{
	static const enum part one[] = {PART_PLAN}, two[] = {PART_COUNTRY, PART_METHOD},
			       three[] = {PART_METHOD, PART_COUNTRY, PART_PLAN};

	(void)state;
	for (uint64_t seed = 1; seed < 4; seed++) {
		events_make(seed);
		wants_make(2000, 2000, one, 1, 0);
		check("name=w kind=tumbling size=2s by='\"attributes.my plan\"'");
		wants_make(2000, 2000, one, 1, 3);
		check("name=w kind=tumbling size=2s keys_max=3 by='\"attributes.my plan\"'");
		wants_make(5000, 1000, two, 2, 0);
		check("name=w kind=hopping size=5s slide=1s by=country,attributes.request.method");
		wants_make(3000, 1000, three, 3, 0);
		check("name=w kind=hopping size=3s slide=1s "
		      "by='attributes.request.method,country,\"attributes.my plan\"'");
	}
}

#define TOGETHER 4u

/* As many windows as a stage has, and more attributes than a walk finds, with those that several windows
 * share: each has the rows that it has alone. */
static void test_together(void **state)
{
	static const enum part one[] = {PART_PLAN}, two[] = {PART_COUNTRY, PART_METHOD},
			       three[] = {PART_METHOD, PART_COUNTRY, PART_PLAN};
	static const struct {
		const char *text;
		int64_t size_ms, slide_ms;
		const enum part *part;
		uint32_t parts;
	} w[TOGETHER] = {
		{"name=w0 kind=tumbling size=2s by='\"attributes.my plan\"'", 2000, 2000, one, 1},
		{"name=w1 kind=hopping size=5s slide=1s by=country,attributes.request.method", 5000, 1000,
			two, 2},
		{"name=w2 kind=hopping size=3s slide=1s "
		 "by='attributes.request.method,country,\"attributes.my "
		 "plan\"'",
			3000, 1000, three, 3},
		{"name=w3 kind=tumbling size=1s types=page_view by='\"attributes.my plan\"'", 1000, 1000, one,
			1},
	};
	char filler[WINDOWS_MAX - TOGETHER][200];
	const char *text[WINDOWS_MAX];
	struct window_plan *plan;
	struct bytes out = {0};

	(void)state;
	for (uint32_t i = 0; i < WINDOWS_MAX - TOGETHER; i++) {
		snprintf(filler[i], sizeof filler[i],
			"name=f%u kind=tumbling size=1d "
			"by=attributes.f%u,attributes.request.f%u,attributes.g%u,attributes.request.method",
			i, i, i, i);
		text[TOGETHER + i] = filler[i];
	}
	for (uint32_t i = 0; i < TOGETHER; i++)
		text[i] = w[i].text;
	plan = rig_plan(1000, WINDOWS_MAX, text);
	events_make(5);
	all_run(plan, &out);
	for (uint32_t i = 0; i < WINDOWS_MAX; i++) {
		uint32_t k = (uint32_t)(plan->def[i]->name[1] - '0');

		if (plan->def[i]->name[0] != 'w')
			continue;
		wants_make(w[k].size_ms, w[k].slide_ms, w[k].part, w[k].parts, 0);
		rows_check(&out, plan->def[i]);
	}
	window_plan_free(plan);
	bytes_free(&out);
}

/* Any bytes as an event's: nothing is read beyond them, what comes out is well-formed. */
static void test_any_bytes(void **state)
{
	static const char *const raw[] = {"", "{", "{\"", "{\"a\"", "{\"a\":", "{\"a\":\"",
		"{\"a\":\"\\\\u\"}", "{\"a\":\"\\u\"", "{\"a\":\"\\ud83d\"", "{\"a\":\"\\ud83d\\u\"",
		"{\"\\u\":1", "{\"\\ud800\"", "{\"\\u006\":1}", "{\"a\":\"x\\q\"}",
		"{\"a\":{\"a\":{\"a\":", "[1]", "x", "{\"a\":\x80\xff}",
		"{\"attributes\":{\"a\":\"\\u0061\"}}", "{\"attributes\":\"\\u00\"}"};
	static const char text[] = "name=w kind=tumbling size=1s by=attributes.a,attributes.a.a";
	const char *list[] = {text};
	struct window_plan *p = rig_plan(1000, 1, list);
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
		uint32_t bytes = (uint32_t)strlen(raw[i]), room;
		struct event ev = {.raw = (const uint8_t *)raw[i],
			.raw_bytes = bytes,
			.type = EVENT_TYPE_click,
			.event_time_ms = RIG_TIME};
		struct bytes out = {0};
		struct stage *st = rig_stage(p, 1000, SIZE_MAX, &out);
		struct journal_block b = {.partition = 3,
			.record_count = 1,
			.watermark_ms = RIG_TIME + 10000,
			.receive_last_ms = RIG_TIME};
		uint8_t *record;
		size_t at = 0;

		room = record_bytes_of(&ev);
		record = aligned_alloc(8, room); /* nothing behind it */
		record_write_event(record, &ev, 7, RIG_TIME, 0);
		b.bytes = room;
		b.data = record;
		if (stage_block(st, &b, 0, &err))
			fail_msg("%s", err.text);
		while (rig_next(&out, &at))
			;
		stage_free(st);
		bytes_free(&out);
		free(record);
	}
	window_plan_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_windows), cmocka_unit_test(test_together),
		cmocka_unit_test(test_any_bytes)};
	int rc;

	values_make();
	jp = json_parser_new(0);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	json_parser_free(jp);
	bytes_free(&records);
	free(want);
	return rc;
}
