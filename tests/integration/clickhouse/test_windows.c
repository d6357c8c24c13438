/* Against the real engine (SLUICE_CH_URL): rows of two nodes, with revisions, sent twice, add up in plain
 * queries to what one node with all events has; roll-ups to hours and days of several days and months, and
 * views, too. Started by with_server.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "ch_ddl.h"
#include "ch_rows.h"
#include "made_rows.h"
#include "view_row.h"
#include "windows_server.h"

#define START_MS 1794960000000ll /* 2026-11-18T00:00:00Z */
#define MINUTE_MS 60000ll
#define PAGES 4
#define EVENTS 700		       /* of a minute and page */
#define EARLY_EVENTS (EVENTS * 9 / 10) /* the others come late, with a revision */

/* Minutes that have events, from START_MS on: the ends of hours, days and of a month are among them, an hour
 * and a day that have one minute alone, days without any. */
static const int64_t minute_at[] = {
	0, 1, 59, 60, 1439, 1440, 2 * 1440 + 721, 2 * 1440 + 779, 12 * 1440 + 1439, 13 * 1440, 13 * 1440 + 1};
#define MINUTES (sizeof minute_at / sizeof *minute_at)

static const char *const window_text[] = {
	"name=page_minute kind=tumbling size=1m by=page,country,attributes.a`b\\c,attributes.plan "
	"lateness=1m rollup=1h,1d aggregates='count, count(status=ok), sum(amount), min(amount), "
	"max(metric), "
	"avg(metric), variance(metric), error_rate, distinct(user_id), quantiles(metric), top(referrer,20), "
	"first(referrer), last(metric)'",
	"name=visits kind=session gap=30m by=user_id aggregates='count, sum(amount), last(referrer), "
	"max(metric), "
	"quantiles(metric), distinct(referrer), top(referrer,3)'",
	"name=buy kind=funnel size=1h within=1h by=user_id steps='look: type = page_view; pay: type = "
	"transaction'"};

static json_t *rows_of(const char *sql)
{
	json_t *doc, *rows;

	run(sql);
	doc = json_loadb(http.answer.body, http.answer.body_bytes, 0, NULL);
	rows = json_incref(json_object_get(doc, "data"));
	json_decref(doc);
	assert_non_null(rows);
	return rows;
}

static int open_all(void **state)
{
	(void)state;
	server_open(window_text, sizeof window_text / sizeof *window_text);
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	server_close();
	return 0;
}

/* Each block twice with its token, which holds `range`. */
static void send_all(const struct ch_rows *rows, const char *range)
{
	for (uint32_t i = 0; i < 2 * rows->block_count; i++) {
		const struct ch_block *block = rows->block[i / 2];
		struct bytes body = {0};
		size_t bytes;
		char *sql, token[400];
		FILE *out = open_memstream(&sql, &bytes);
		struct err err;

		snprintf(token, sizeof token, "%s-%s-%u-%s", rows->node, range, i / 2, block->table->token);
		ch_ddl_insert(out, &cfg, block->table);
		fclose(out);
		assert_int_equal(native_block_write(&block->native, &body), 0);
		if (ch_http_insert(&http, sql, token, body.data, body.bytes, &err))
			fail_msg("%s", err.text);
		bytes_free(&body);
		free(sql);
	}
}

/* Adds all records as offsets from first on; returns the next one. */
static uint64_t rows_take(struct ch_rows *rows, const char *node, const struct bytes *records, uint64_t first)
{
	uint64_t offset = first;
	struct err err;

	ch_rows_init(rows, node, 0xfeed, 4, NULL);
	rows->log = SINK_LOG_OUTPUT;
	rows->plan = &plan;
	rows->input_epoch = 0xbeef;
	for (size_t at = 0; at < records->bytes; offset++) {
		const struct record *rec = (const struct record *)(records->data + at);

		assert_true(record_valid(rec, records->bytes - at));
		if (ch_rows_add(rows, rec, offset, 0, &err))
			fail_msg("%s", err.text);
		at += rec->bytes;
	}
	return offset;
}

static uint32_t key_of(uint8_t *key, int page)
{
	char text[16];
	uint32_t n;

	snprintf(text, sizeof text, "/p'\\%d", page);
	n = made_key_add(key, 0, page ? text : NULL); /* page 0: absent */
	n = made_key_add(key, n, page % 2 ? "DE" : "\xc3\xa9");
	return made_key_add(key, made_key_add(key, n, page % 2 ? "`x'" : NULL), "pro");
}

static uint64_t event_of(size_t minute, int page, uint64_t n)
{
	return (minute * PAGES + (uint64_t)page) * EVENTS + n;
}

/* Of a minute and page: node `node` has every event whose number is of it. */
static void node_row(struct bytes *out, int node, size_t minute, int page, bool revised)
{
	const struct window_def *def = plan.def[0];
	int64_t start = START_MS + minute_at[minute] * MINUTE_MS;
	struct made_cell first, late;
	uint8_t key[64];
	uint32_t key_bytes = key_of(key, page);

	made_cell_open(&first, def);
	made_cell_open(&late, def);
	for (uint64_t n = 0; n < EVENTS; n++)
		if ((int)(n % 5 < 2) == node)
			made_cell_add(n < EARLY_EVENTS ? &first : &late, event_of(minute, page, n));
	made_cell_pack(&late);
	if (revised)
		assert_true(agg_cell_merge(def->aggs, first.cell, first.arena, late.cell, late.arena));
	made_cell_pack(&first);
	made_row(out, ROW_WINDOW, start, start + MINUTE_MS, key, key_bytes, &first, revised ? &late : NULL);
	made_cell_close(&first);
	made_cell_close(&late);
}

/* First rows of both nodes, or all revisions; each INSERT twice. */
static void nodes_send(bool revised)
{
	static struct ch_rows rows;
	struct bytes records = {0};
	const uint64_t count = MINUTES * PAGES;

	for (int node = 0; node < 2; node++) {
		bytes_reset(&records);
		for (size_t minute = 0; minute < MINUTES; minute++)
			for (int page = 0; page < PAGES; page++)
				node_row(&records, node, minute, page, revised);
		assert_int_equal(rows_take(&rows, node ? "box b" : "box a", &records, revised ? count : 0),
			revised ? 2 * count : count);
		assert_int_equal(rows.tally.rows, count);
		send_all(&rows, revised ? "revised" : "first");
		ch_rows_free(&rows);
	}
	bytes_free(&records);
}

#define QUOTED                                                                                               \
	" FORMAT JSON SETTINGS output_format_json_quote_decimals = 1, "                                      \
	"output_format_json_quote_64bit_integers "                                                           \
	"= 1"

static json_t *row_find(json_t *rows, const char *page)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i,
		row) if (strcmp(json_string_value(json_object_get(row, "page")), page) == 0) return row;
	fail_msg("no row of page '%s'", page);
	return NULL;
}

/* Rows of one window of a view: those of the minutes in it that have events, of these the first `events`. */
static void window_check(json_t *rows, int64_t start_ms, int64_t size_ms, const char *size, uint64_t events)
{
	assert_int_equal(json_array_size(rows), PAGES);
	for (int page = 0; page < PAGES; page++) {
		struct made_cell cell;
		json_t *row;
		char name[16];

		snprintf(name, sizeof name, page ? "/p'\\%d" : "", page);
		row = row_find(rows, name);
		made_cell_open(&cell, plan.def[0]);
		for (size_t minute = 0; minute < MINUTES; minute++) {
			int64_t at = START_MS + minute_at[minute] * MINUTE_MS - start_ms;

			for (uint64_t n = 0; at >= 0 && at < size_ms && n < events; n++)
				made_cell_add(&cell, event_of(minute, page, n));
		}
		made_cell_pack(&cell);
		row_check(row, &cell);
		assert_string_equal(json_string_value(json_object_get(row, "window")), size);
		assert_int_equal(number_of(row, "end_ms"), start_ms + size_ms);
		assert_string_equal(
			json_string_value(json_object_get(row, "attributes.a`b\\c")), page % 2 ? "`x'" : "");
		made_cell_close(&cell);
	}
}

/* A view has the windows that have events, and no other. */
static void view_check(const char *view, int64_t size_ms, const char *size, uint64_t events)
{
	uint64_t windows = 0;
	char sql[600], all[64];

	for (size_t minute = 0; minute < MINUTES; minute++) {
		int64_t start = START_MS + minute_at[minute] * MINUTE_MS / size_ms * size_ms;
		json_t *rows;

		if (minute && START_MS + minute_at[minute - 1] * MINUTE_MS >= start)
			continue;
		windows++;
		snprintf(sql, sizeof sql,
			"SELECT *, toUnixTimestamp64Milli(window_end) AS end_ms FROM w.%s WHERE window_start "
			"= fromUnixTimestamp64Milli(toInt64(%lld))" QUOTED,
			view, (long long)start);
		rows = rows_of(sql);
		window_check(rows, start, size_ms, size, events);
		json_decref(rows);
	}
	snprintf(sql, sizeof sql, "SELECT count() FROM w.%s FORMAT TabSeparated", view);
	run(sql);
	snprintf(all, sizeof all, "%lu\n", windows * PAGES);
	assert_string_equal(http.answer.body, all);
}

static void views_check(uint64_t events)
{
	view_check("page_minute_agg_view", MINUTE_MS, "1m", events);
	view_check("page_minute_agg_1h_view", 60 * MINUTE_MS, "1h", events);
	view_check("page_minute_agg_1d_view", 1440 * MINUTE_MS, "1d", events);
}

/* Two nodes, everything sent twice: minutes, hours and days are what one node would say, with the events that
 * have come so far, and again when each minute is revised. */
static void test_two_nodes(void **state)
{
	char all[64];

	(void)state;
	nodes_send(false);
	views_check(EARLY_EVENTS);
	nodes_send(true);
	run("SELECT count() - uniqExact(_node, _epoch, _partition, _offset), count() FROM w.page_minute_agg "
	    "FORMAT "
	    "TabSeparated");
	snprintf(all, sizeof all, "0\t%lu\n", 2 * 2 * MINUTES * PAGES);
	assert_string_equal(http.answer.body, all);
	views_check(EVENTS);
}

/* Nothing in a cell: values that are no numbers, and no refusal by the server. */
static void test_empty_cell(void **state)
{
	static struct ch_rows rows;
	struct bytes records = {0};
	struct made_cell cell;
	json_t *view, *row;
	uint8_t key[64];

	(void)state;
	made_cell_open(&cell, plan.def[0]);
	made_cell_pack(&cell);
	made_row(&records, ROW_WINDOW, START_MS - MINUTE_MS, START_MS, key,
		made_key_add(key, made_key_add(key, 0, "/none"), ""), &cell, NULL);
	rows_take(&rows, "box c", &records, 0);
	send_all(&rows, "more");
	ch_rows_free(&rows);
	view = rows_of("SELECT * FROM w.page_minute_agg_view WHERE page = '/none'" QUOTED);
	row = json_array_get(view, 0);
	assert_string_equal(json_string_value(json_object_get(row, "count")), "0");
	assert_string_equal(json_string_value(json_object_get(row, "distinct_user_id")), "0");
	assert_string_equal(json_string_value(json_object_get(row, "first_referrer")), "");
	assert_true(json_is_null(json_object_get(row, "avg_metric")));
	assert_true(json_is_null(json_object_get(row, "p50_metric")));
	assert_true(json_is_null(json_object_get(row, "max_metric")));
	assert_true(json_is_null(json_object_get(row, "error_rate")));
	json_decref(view);
	made_cell_close(&cell);
	bytes_free(&records);
}

static void test_sessions_and_funnels(void **state)
{
	static struct ch_rows rows;
	struct bytes records = {0};
	struct made_cell cell, few;
	json_t *data;
	uint8_t key[64];

	(void)state;
	made_cell_open(&cell, plan.def[1]);
	for (uint64_t n = 0; n < 200; n++)
		made_cell_add(&cell, n);
	made_cell_pack(&cell);
	made_row(&records, ROW_SESSION, START_MS, START_MS + 99 * MINUTE_MS, key, made_key_add(key, 0, "u'1"),
		&cell, NULL);
	made_cell_open(&few, plan.def[2]);
	for (uint64_t n = 0; n < 40; n++) {
		made_cell_add(&few, n);
		if (n != 9 && n != 39)
			continue;
		made_cell_pack(&few);
		made_row(&records, ROW_FUNNEL, START_MS, START_MS + 60 * MINUTE_MS, key,
			made_key_add(key, 0, n == 9 ? "pay" : "look"), &few, NULL);
	}
	rows_take(&rows, "box a", &records, 0);
	assert_int_equal(rows.tally.rows, 3);
	send_all(&rows, "more");
	ch_rows_free(&rows);
	data = rows_of("SELECT * REPLACE (arrayMap((x, y) -> (x, y), top_referrer.1, top_referrer.2) AS "
		       "top_referrer) "
		       "FROM w.visits" QUOTED);
	assert_int_equal(json_array_size(data), 1);
	row_check(json_array_get(data, 0), &cell);
	assert_string_equal(json_string_value(json_object_get(json_array_get(data, 0), "user_id")), "u'1");
	json_decref(data);
	run("SELECT step, count, rate FROM w.buy_view ORDER BY step FORMAT TabSeparated");
	assert_string_equal(http.answer.body, "look\t40\t1\npay\t10\t0.25\n");
	made_cell_close(&cell);
	made_cell_close(&few);
	bytes_free(&records);
}

static void test_alerts_and_late(void **state)
{
	static const char *const text[4] = {"page_minute/zscore", "Odd 'count'", "high", "/p|DE"};
	struct row_alert a = {.id = {0xab},
		.first_ms = START_MS,
		.last_ms = START_MS + MINUTE_MS,
		.score = 4.5,
		.value = 100,
		.expected = 12.25,
		.window_uid = plan.def[0]->uid,
		.evidence_count = 1,
		.evidence_total = 9,
		.rule_bytes = 18,
		.title_bytes = 11,
		.severity_bytes = 4,
		.key_bytes = 5};
	static const struct row_evidence evidence = {.partition = 2, .offset = 17};
	static struct agg_record r;
	static struct ch_rows rows;
	struct bytes records = {0};
	struct record *rec;

	(void)state;
	row_put_alert(&records, &a, text, &evidence, START_MS + 2 * MINUTE_MS);
	row_put_mark(&records, START_MS, START_MS);
	agg_record_start(&r);
	agg_record_text(&r, FIELD_user_id, "late user", 9);
	rec = (struct record *)agg_record_done(&r);
	rec->event_time_ms = START_MS - 5;
	memset(rec->event_id, 0x11, 16);
	row_put_late(&records, rec, plan.def[0]->uid, 4711);
	rows_take(&rows, "box a", &records, 0);
	assert_int_equal(rows.tally.alerts, 1);
	assert_int_equal(rows.tally.late, 1);
	assert_int_equal(rows.tally.other, 1);
	send_all(&rows, "more");
	ch_rows_free(&rows);
	run("SELECT alert_id, rule_id, title, severity, key, window, score, value, expected, type, event_id, "
	    "toUnixTimestamp64Milli(first_time), toUnixTimestamp64Milli(ts), _offset, hex(_epoch), evidence, "
	    "event_ids, "
	    "evidence_total FROM w.alerts FORMAT "
	    "TabSeparatedRaw");
	assert_string_equal(http.answer.body, "ab000000-0000-0000-0000-000000000000\tpage_minute/zscore\tOdd "
					      "'count'\thigh\t/p|DE\tpage_minute\t4.5\t"
					      "100\t12.25\t\t00000000-0000-0000-0000-"
					      "000000000000\t1794960000000\t1794960060000\t0\tFEED\t"
					      "['box a/000000000000beef/2/17']\t[]\t9\n");
	run("SELECT window, type, key, raw, toUnixTimestamp64Milli(ts), event_id, hex(_input_epoch), "
	    "_input_partition, "
	    "_input_offset, _offset FROM w.events_late FORMAT TabSeparatedRaw");
	assert_string_equal(http.answer.body,
		"page_minute\tplatform\tlate user\tlate "
		"user\t1794959999995\t11111111-1111-1111-1111-111111111111\tBEEF"
		"\t4\t4711\t2\n");
	bytes_free(&records);
}

/* Of a rule over time: each event by address, where it is known, and by id; how many there were in all. */
static void test_rule_alert(void **state)
{
	static const char *const text[5] = {"cards", "Cards", "low", "ip=192.0.2.1", "00112233445566aa"};
	static const struct row_rule_evidence evidence[3] = {
		{.partition = 0, .offset = 1, .event_id = {0x01}},
		{.partition = UINT32_MAX, .event_id = {0x02}},
		{.partition = 3, .offset = UINT64_MAX - 1, .event_id = {[15] = 0xff}}};
	static struct ch_rows rows;
	struct row_rule_alert a = {.head = {.id = {0xcd},
					   .first_ms = START_MS,
					   .last_ms = START_MS + 5,
					   .value = 5,
					   .expected = 5,
					   .score = 1,
					   .evidence_count = 3,
					   .evidence_total = 40,
					   .rule_bytes = 5,
					   .title_bytes = 5,
					   .severity_bytes = 3,
					   .key_bytes = 12},
		.rule_uid = 1,
		.generation = 7,
		.version_bytes = 16};
	struct bytes records = {0};

	(void)state;
	row_put_rule_alert(&records, &a, text, evidence, START_MS + MINUTE_MS);
	a.head.evidence_count = 0;
	a.head.id[0] = 0xce;
	row_put_rule_alert(&records, &a, text, evidence, START_MS + MINUTE_MS);
	rows_take(&rows, "box b", &records, 0);
	assert_int_equal(rows.tally.alerts, 2);
	send_all(&rows, "more");
	ch_rows_free(&rows);
	run("SELECT key, generation, ruleset, event_id, evidence, event_ids, evidence_total FROM w.alerts "
	    "WHERE rule_id = "
	    "'cards' ORDER BY alert_id FORMAT TabSeparatedRaw");
	assert_string_equal(http.answer.body,
		"ip=192.0.2.1\t7\t00112233445566aa\t00000000-0000-0000-0000-0000000000ff\t"
		"['box b/000000000000beef/0/1','','box b/000000000000beef/3/18446744073709551614']\t"
		"['01000000-0000-0000-0000-000000000000','02000000-0000-0000-0000-000000000000',"
		"'00000000-0000-0000-0000-0000000000ff']\t40\n"
		"ip=192.0.2.1\t7\t00112233445566aa\t00000000-0000-0000-0000-000000000000\t[]\t[]\t40\n");
	bytes_free(&records);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_nodes),
		cmocka_unit_test(test_empty_cell), cmocka_unit_test(test_sessions_and_funnels),
		cmocka_unit_test(test_alerts_and_late), cmocka_unit_test(test_rule_alert)};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
