/* Rows and alerts of the state stage as JSON: every kind of value, absent fields, and keys of any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "agg_record.h"
#include "row_json.h"

#define MINUTE_MS 60000ll
#define START_MS 1794960000000ll /* 2026-11-18T00:00:00Z */

static struct window_def *def_of(const char *text)
{
	struct window_def *def = NULL;
	struct err err;

	if (window_def_parse(&def, text, &err))
		fail_msg("%s: %s", text, err.text);
	return def;
}

/* The packed cell of some events of a page. */
static void cell_pack(const struct window_def *def, uint32_t events, struct bytes *out)
{
	struct agg_arena *a = agg_arena_new(1 << 20);
	void *cell = aligned_alloc(64, 4096);

	assert_true(agg_set_cell_bytes(def->aggs) <= 4096);
	agg_cell_init(def->aggs, cell);
	for (uint32_t i = 0; i < events; i++) {
		static struct agg_record r;
		double metric = 0.1 + i;
		int64_t amount = 1250000 + i;

		agg_record_start(&r);
		agg_record_text(&r, FIELD_page, i % 3 ? "/a" : "/\"b\xff", i % 3 ? 2 : 4);
		agg_record_text(&r, FIELD_user_id, "u1", 2);
		agg_record_number(&r, FIELD_metric, &metric);
		agg_record_number(&r, FIELD_amount, &amount);
		assert_true(agg_cell_add(
			def->aggs, cell, a, agg_record_done(&r), &(struct agg_order){START_MS + i, 0, i}));
	}
	agg_cell_pack(def->aggs, cell, a, out);
	free(cell);
	agg_arena_free(a);
}

static size_t key_part(uint8_t *at, const void *text, size_t bytes)
{
	uint16_t n = text ? (uint16_t)bytes : ROW_KEY_ABSENT;

	memcpy(at, &n, sizeof n);
	memcpy(at + sizeof n, text ? text : "", text ? bytes : 0);
	return sizeof n + (text ? bytes : 0);
}

static const struct record *row_make(struct bytes *out, const struct window_def *def, enum row_type type,
	const uint8_t *key, size_t key_bytes, uint32_t events, uint32_t flags)
{
	struct bytes packed = {0};
	struct row row = {.window_uid = def->uid,
		.start_ms = START_MS,
		.end_ms = START_MS + MINUTE_MS,
		.revision = 2,
		.flags = flags,
		.key_bytes = (uint32_t)key_bytes};

	cell_pack(def, events, &packed);
	row.agg_bytes = (uint32_t)packed.bytes;
	bytes_reset(out);
	row_put(out, type, &row, key, packed.data, NULL, 1, START_MS);
	bytes_free(&packed);
	assert_true(row_valid((const struct record *)out->data));
	return (const struct record *)out->data;
}

static json_t *json_of(const struct record *rec, const struct window_def *def)
{
	struct bytes out = {0};
	json_error_t fault;
	struct err err;
	json_t *json;

	assert_int_equal(row_put_json(&out, rec, def, "box-1", &err), 0);
	json = json_loadb((const char *)out.data, out.bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &fault);
	if (!json)
		fail_msg("%s in %.*s", fault.text, (int)out.bytes, (const char *)out.data);
	bytes_free(&out);
	return json;
}

static void text_is(json_t *json, const char *name, const char *expected)
{
	const char *text = json_string_value(json_object_get(json, name));

	if (!text || strcmp(text, expected) != 0)
		fail_msg("%s: '%s', not '%s'", name, text ? text : "(none)", expected);
}

static const char window_text[] =
	"name=page_minute kind=tumbling size=1m by=page,country "
	"aggregates='count, sum(amount), avg(metric), max(metric), distinct(user_id), quantiles(metric), "
	"top(page,2), first(page), last(referrer), error_rate, variance(value)'";

static void test_row(void **state)
{
	struct window_def *def = def_of(window_text);
	struct bytes out = {0};
	struct bytes text = {0};
	uint8_t key[64];
	size_t n = key_part(key, "/x", 2);
	struct err err;
	json_t *json, *top;

	(void)state;
	n += key_part(key + n, NULL, 0);
	json = json_of(row_make(&out, def, ROW_WINDOW, key, n, 4, ROW_F_CUT), def);
	text_is(json, "window", "page_minute");
	text_is(json, "kind", "tumbling");
	text_is(json, "start", "2026-11-18T00:00:00.000Z");
	text_is(json, "end", "2026-11-18T00:01:00.000Z");
	text_is(json, "page", "/x");
	text_is(json, "node", "box-1");
	text_is(json, "first_page", "/\"b\xef\xbf\xbd");
	assert_true(json_is_null(json_object_get(json, "country")));
	assert_true(json_is_null(json_object_get(json, "last_referrer")));
	assert_true(json_is_null(json_object_get(json, "variance_value")));
	assert_true(json_is_false(json_object_get(json, "other")));
	assert_true(json_is_true(json_object_get(json, "cut")));
	assert_int_equal(json_integer_value(json_object_get(json, "start_ms")), START_MS);
	assert_int_equal(json_integer_value(json_object_get(json, "end_ms")), START_MS + MINUTE_MS);
	assert_int_equal(json_integer_value(json_object_get(json, "revision")), 2);
	assert_int_equal(json_integer_value(json_object_get(json, "count")), 4);
	assert_int_equal(json_integer_value(json_object_get(json, "distinct_user_id")), 1);
	assert_true(json_real_value(json_object_get(json, "max_metric")) == 3.1);
	assert_true(fabs(json_number_value(json_object_get(json, "p50_metric")) - 1.1) < 0.011 * 1.1);
	top = json_object_get(json, "top_page");
	assert_int_equal(json_array_size(top), 2);
	text_is(json_array_get(top, 1), "value", "/a");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(top, 0), "count")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(top, 0), "error")), 0);
	json_decref(json);
	/* Exact to the last digit. */
	assert_int_equal(row_put_json(&text, (const struct record *)out.data, def, "n", &err), 0);
	bytes_put(&text, "", 1);
	assert_non_null(strstr((const char *)text.data, "\"sum_amount\":5.000006,"));
	bytes_free(&text);
	bytes_free(&out);
	window_def_free(def);
}

/* `other` has no group fields at all; its key is not that of events that lack them. */
static void test_other(void **state)
{
	struct window_def *def = def_of(window_text);
	struct bytes out = {0};
	json_t *json = json_of(row_make(&out, def, ROW_WINDOW, NULL, 0, 0, ROW_F_OTHER), def);

	(void)state;
	assert_true(json_is_true(json_object_get(json, "other")));
	assert_true(json_is_null(json_object_get(json, "page")));
	assert_true(json_is_null(json_object_get(json, "country")));
	assert_int_equal(json_integer_value(json_object_get(json, "count")), 0);
	assert_true(json_is_null(json_object_get(json, "avg_metric")));
	assert_true(json_is_null(json_object_get(json, "first_page")));
	assert_int_equal(json_array_size(json_object_get(json, "top_page")), 0);
	json_decref(json);
	bytes_free(&out);
	window_def_free(def);
}

static void number_key(const struct window_def *def, const char *text, bool number)
{
	struct bytes out = {0};
	uint8_t key[64];
	json_t *json =
		json_of(row_make(&out, def, ROW_WINDOW, key, key_part(key, text, strlen(text)), 1, 0), def);
	json_t *value = json_object_get(json, "metric");

	if (number != json_is_number(value) || (!number && !json_is_string(value)))
		fail_msg("%s", text);
	json_decref(json);
	bytes_free(&out);
}

static void test_number_groups(void **state)
{
	struct window_def *def = def_of("name=m kind=tumbling size=1m by=metric aggregates=count");
	static const char *const good[] = {"0", "-1", "12.5", "1e+20", "1.5e-07", "-0.25"},
				 *const bad[] = {"", "-", "01", "1.", ".5", "nan", "-inf", "1e", "1e+", "0x1",
					 "1 ", "1,2", "\"", "1}"};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		number_key(def, good[i], true);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		number_key(def, bad[i], false);
	window_def_free(def);
}

static void test_funnel_and_session(void **state)
{
	struct window_def *def =
		def_of("name=f kind=funnel size=1h within=1h types=page_view,session by=user_id "
		       "steps='view: type = page_view; open: type = session'");
	struct bytes out = {0};
	uint8_t key[64];
	json_t *json = json_of(row_make(&out, def, ROW_FUNNEL, key, key_part(key, "open", 4), 3, 0), def);

	(void)state;
	text_is(json, "kind", "funnel");
	text_is(json, "step", "open");
	assert_int_equal(json_integer_value(json_object_get(json, "count")), 3);
	json_decref(json);
	window_def_free(def);
	def = def_of("name=s kind=session gap=30m by=user_id aggregates='count, last(page)'");
	json = json_of(row_make(&out, def, ROW_SESSION, key, key_part(key, "u9", 2), 2, 0), def);
	text_is(json, "kind", "session");
	text_is(json, "user_id", "u9");
	text_is(json, "last_page", "/a");
	json_decref(json);
	window_def_free(def);
	bytes_free(&out);
}

/* What comes from outside stands in keys and texts: any bytes must give valid JSON, of the right keys. */
static void test_any_bytes(void **state)
{
	struct window_def *def =
		def_of("name=s kind=tumbling size=1m by=page,metric aggregates='count, top(page,5)'");
	uint64_t x = 88172645463325252ull;
	struct bytes out = {0};

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t key[128], data[48];
		size_t n = 0;
		json_t *json;

		for (int part = 0; part < round % 4; part++) {
			size_t bytes = (size_t)(x >> 17) % sizeof data;

			for (size_t i = 0; i < bytes; i++) {
				x ^= x << 13, x ^= x >> 7, x ^= x << 17;
				data[i] = (uint8_t)(x >> 32) & (uint8_t)(round & 1 ? 0x3f : 0xff);
			}
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			if (n + bytes + 2 < sizeof key)
				n += key_part(key + n, x & 8 ? data : NULL, bytes);
		}
		json = json_of(row_make(&out, def, ROW_WINDOW, key, n, (uint32_t)round % 5, 0), def);
		assert_int_equal(json_object_size(json), 14);
		json_decref(json);
	}
	bytes_free(&out);
	window_def_free(def);
}

/* Aggregates of another definition are told, not guessed at. */
static void test_foreign_aggregates(void **state)
{
	struct window_def *a = def_of("name=a kind=tumbling size=1m aggregates='count, sum(metric)'");
	struct window_def *b = def_of("name=b kind=tumbling size=1m aggregates='first(page), top(page)'");
	struct bytes out = {0};
	struct bytes text = {0};
	struct err err;

	(void)state;
	assert_int_equal(
		row_put_json(&text, row_make(&out, a, ROW_WINDOW, NULL, 0, 9, 0), b, "n", &err), -EINVAL);
	bytes_free(&text);
	bytes_free(&out);
	window_def_free(a);
	window_def_free(b);
}

static void test_alert(void **state)
{
	static const char *const text[4] = {
		"page_minute:zscore(count,60,4)", "Unusual \"count\"", "high", "/x\xff"};
	struct row_alert a = {.id = {1, 2, 3},
		.first_ms = START_MS,
		.last_ms = START_MS + MINUTE_MS,
		.score = 5.25,
		.value = NAN,
		.expected = 12,
		.evidence_count = 1,
		.evidence_total = 7};
	const struct row_evidence evidence = {3, 0, 44};
	struct bytes out = {0};
	struct bytes json = {0};
	json_t *back;

	(void)state;
	a.rule_bytes = (uint16_t)strlen(text[0]);
	a.title_bytes = (uint16_t)strlen(text[1]);
	a.severity_bytes = (uint16_t)strlen(text[2]);
	a.key_bytes = (uint16_t)strlen(text[3]);
	row_put_alert(&out, &a, text, &evidence, START_MS);
	assert_true(row_valid((const struct record *)out.data));
	row_alert_put_json(&json, (const struct record *)out.data, "page_minute", "box-1", 0x2a);
	back = json_loadb((const char *)json.data, json.bytes, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(back);
	text_is(back, "alert_id", "01020300-0000-0000-0000-000000000000");
	text_is(back, "rule_id", text[0]);
	text_is(back, "title", text[1]);
	text_is(back, "severity", "high");
	text_is(back, "key", "/x\xef\xbf\xbd");
	text_is(back, "window", "page_minute");
	assert_string_equal(json_string_value(json_array_get(json_object_get(back, "evidence"), 0)),
		"box-1/000000000000002a/3/44");
	assert_int_equal(json_integer_value(json_object_get(back, "evidence_total")), 7);
	assert_true(json_is_null(json_object_get(back, "value")));
	assert_true(json_real_value(json_object_get(back, "score")) == 5.25);
	assert_int_equal(json_integer_value(json_object_get(back, "last_time")), START_MS + MINUTE_MS);
	json_decref(back);
	bytes_free(&json);
	bytes_free(&out);
}

/* Of a stateful rule: which rules were in force, and the events by id, also where the address is not known.
 */
static void test_rule_alert(void **state)
{
	static const char *const text[5] = {"card-testing", "Many cards", "high", "ip=203.0.113.7", "00ff"};
	static const struct row_rule_evidence evidence[2] = {
		{.partition = 3, .offset = 44, .time_ms = START_MS, .event_id = {1, 2}},
		{.partition = UINT32_MAX, .time_ms = INT64_MIN, .event_id = {9}}};
	struct row_rule_alert a = {.head = {.id = {5},
					   .first_ms = START_MS,
					   .last_ms = START_MS + 9,
					   .value = 6,
					   .expected = 5,
					   .evidence_count = 2,
					   .evidence_total = 6,
					   .rule_bytes = 12,
					   .title_bytes = 10,
					   .severity_bytes = 4,
					   .key_bytes = 14},
		.rule_uid = 8,
		.generation = 12,
		.version_bytes = 4};
	struct bytes out = {0}, json = {0};
	const struct record *rec;
	json_t *back;

	(void)state;
	row_put_rule_alert(&out, &a, text, evidence, START_MS);
	rec = (const struct record *)out.data;
	assert_true(record_valid(rec, out.bytes) && row_valid(rec) && row_is_alert(rec));
	assert_memory_equal(rec->event_id, evidence[1].event_id, 16);
	row_alert_put_json(&json, rec, "", "box-1", 0x2a);
	back = json_loadb((const char *)json.data, json.bytes, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(back);
	text_is(back, "rule_id", "card-testing");
	text_is(back, "key", "ip=203.0.113.7");
	text_is(back, "ruleset", "00ff");
	assert_int_equal(json_integer_value(json_object_get(back, "generation")), 12);
	assert_string_equal(json_string_value(json_array_get(json_object_get(back, "evidence"), 0)),
		"box-1/000000000000002a/3/44");
	assert_true(json_is_null(json_array_get(json_object_get(back, "evidence"), 1)));
	assert_string_equal(json_string_value(json_array_get(json_object_get(back, "event_ids"), 1)),
		"09000000-0000-0000-0000-000000000000");
	assert_int_equal(json_integer_value(json_object_get(back, "evidence_total")), 6);
	((struct row_rule_alert *)(out.data + sizeof *rec))->version_bytes = 5; /* beyond its end */
	assert_false(row_valid(rec));
	json_decref(back);
	bytes_free(&json);
	bytes_free(&out);
}

static void name_refused(const char *aggregates)
{
	struct window_def *def = NULL;
	char text[200];
	struct err err;

	snprintf(text, sizeof text, "name=w kind=tumbling size=1m by=page aggregates='%s'", aggregates);
	if (window_def_parse(&def, text, &err) != -EINVAL || !strstr(err.text, "has another meaning in rows"))
		fail_msg("%s is not refused", text);
}

/* The names of an object can never meet: values cannot be given a name that stands for something else, and no
 * field has one of the fixed names. */
static void test_names_are_disjoint(void **state)
{
	static const char *const fixed[] = {"window", "kind", "start", "end", "start_ms", "end_ms", "step",
		"other", "cut", "revision", "node"};

	(void)state;
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
		char text[64];

		snprintf(text, sizeof text, "count as %s", fixed[i]);
		name_refused(text);
		for (int id = 1; id < FIELD_ID_MAX; id++)
			if (field_table[id].name)
				assert_string_not_equal(field_table[id].name, fixed[i]);
	}
	name_refused("count as page");
	name_refused("count as p95_metric, quantiles(metric)");
	name_refused("count as stddev_metric, variance(metric)");
	name_refused("count as _offset");
}

/* A group by an attribute is a text or null under its whole name, whatever that is. */
static void test_attributes(void **state)
{
	struct window_def *def =
		def_of("name=w kind=tumbling size=1m by='attributes.plan,\"attributes.a\\\\\"b "
		       "\\\\\\\\\",attributes.none,page'");
	struct bytes out = {0};
	uint8_t key[64];
	size_t n = key_part(key, "12.50", 5);
	json_t *json;

	(void)state;
	n += key_part(key + n, "\"\xff", 2);
	n += key_part(key + n, NULL, 0);
	n += key_part(key + n, "/p", 2);
	json = json_of(row_make(&out, def, ROW_WINDOW, key, n, 1, 0), def);
	text_is(json, "attributes.plan", "12.50");
	text_is(json, "attributes.a\"b \\", "\"\xef\xbf\xbd");
	assert_true(json_is_null(json_object_get(json, "attributes.none")));
	text_is(json, "page", "/p");
	json_decref(json);
	bytes_free(&out);
	window_def_free(def);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_row), cmocka_unit_test(test_other),
		cmocka_unit_test(test_attributes), cmocka_unit_test(test_number_groups),
		cmocka_unit_test(test_funnel_and_session), cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_foreign_aggregates), cmocka_unit_test(test_alert),
		cmocka_unit_test(test_rule_alert), cmocka_unit_test(test_names_are_disjoint)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
