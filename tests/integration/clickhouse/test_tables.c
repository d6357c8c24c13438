/* Against the real engine (SLUICE_CH_URL): tables are made, refused when they do not fit, and give back what
 * was encoded, column by column. Started by with_server.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>

#include "ch_check.h"
#include "ch_ddl.h"
#include "ch_http.h"
#include "ch_rows.h"
#include "clickhouse.h"
#include "drops.h"
#include "made_event.h"
#include "table_rules.h"

#define EPOCH 0xfedcba9876543210ull
#define TS 1794960000123ll /* November 2026 */
#define DAY_MS 86400000ll

static struct made_event made;

static struct config_clickhouse config_of(const char *database)
{
	struct config_clickhouse cfg = {.enabled = true,
		.create = true,
		.range_events = 50000,
		.range_age = 100,
		.dedup_window = 1000,
		.ttl_months = 0,
		.timeout = 30000};

	snprintf(cfg.url, sizeof cfg.url, "%s", getenv("SLUICE_CH_URL"));
	snprintf(cfg.database, sizeof cfg.database, "%s", database);
	snprintf(cfg.user, sizeof cfg.user, "default");
	return cfg;
}

static void connect_to(struct ch_http *h, const struct config_clickhouse *cfg)
{
	struct err err;

	if (ch_http_open(h, cfg, NULL, NULL, &err))
		fail_msg("%s", err.text);
}

static void run(struct ch_http *h, const char *sql)
{
	struct err err;

	if (ch_http_query(h, sql, 20000, &err))
		fail_msg("%s: %s", sql, err.text);
}

static void query_is(struct ch_http *h, const char *sql, const char *expected)
{
	run(h, sql);
	assert_string_equal(h->answer.body, expected);
}

/* The start-up check of a daemon without a state stage. */
static int check(struct ch_http *h, const struct config_clickhouse *cfg, struct err *err)
{
	struct ch_catalog *catalog;
	bool misfit;
	int rc;

	assert_int_equal(ch_catalog_make(&catalog, CH_LOG_INPUT, NULL, err), 0);
	rc = ch_check_tables(h, cfg, catalog, &misfit, err);
	assert_int_equal(misfit, rc == -EINVAL);
	ch_catalog_free(catalog);
	return rc;
}

static void fresh(struct ch_http *h, const struct config_clickhouse *cfg)
{
	char sql[400];
	struct err err;

	connect_to(h, cfg);
	snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS `%s` SYNC", cfg->database);
	run(h, sql);
	if (check(h, cfg, &err))
		fail_msg("%s", err.text);
}

static int send_block(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_block *block,
	const char *token, struct err *err)
{
	struct bytes body = {0};
	char *sql;
	size_t bytes;
	FILE *out = open_memstream(&sql, &bytes);
	int rc;

	ch_ddl_insert(out, cfg, block->table);
	fclose(out);
	assert_int_equal(native_block_write(&block->native, &body), 0);
	rc = ch_http_insert(h, sql, token, body.data, body.bytes, err);
	bytes_free(&body);
	free(sql);
	return rc;
}

/* Sends all blocks, each twice with its token: the second must not count. */
static void send_all(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_rows *rows)
{
	for (uint32_t i = 0; i < rows->block_count; i++)
		for (int again = 0; again < 2; again++) {
			struct err err;
			char token[400];

			snprintf(token, sizeof token, "%s-%u-%u", cfg->database, i, rows->block[i]->month);
			if (send_block(h, cfg, rows->block[i], token, &err))
				fail_msg("%s", err.text);
		}
}

static const char *const odd_texts[] = {"", "plain", "\xf0\x9f\x98\x80 emoji", "tab\tnewline\nquote'\"\\",
	"\xc3\xa9\xcc\x81", "\x01\x1f\x7f", "\xe2\x80\xa8line separator", "NULL", "\\N", "0"};
#define ODD_TEXTS (sizeof odd_texts / sizeof *odd_texts)

static const char *odd(uint64_t n)
{
	return odd_texts[n % ODD_TEXTS];
}

static const struct record *click_make(uint64_t n)
{
	char user[40];

	snprintf(user, sizeof user, "u%lu", n);
	made_begin(&made, EVENT_TYPE_click,
		n % 3 ? "{\"page\":\"/x\",\"x-new\": [1,{\"a\":\"}\"}] ,\"user_id\":\"u\"}"
		      : "{\"page\":\"/x\"}",
		TS + (int64_t)n, n);
	made_text(&made, FIELD_user_id, user);
	made_text(&made, FIELD_page, odd(n));
	if (n % 2)
		made_text(&made, FIELD_referrer, odd(n / 2));
	made_text(&made, FIELD_country, odd(n * 7));
	if (n % 5)
		made_text(&made, FIELD_device, user); /* many keys: wider dictionary indexes */
	return made_end(&made, n % 4 ? 0 : RECORD_F_ID_MADE);
}

static void add(struct ch_rows *rows, const struct record *rec, uint64_t offset)
{
	struct err err;

	assert_true(record_valid(rec, rec->bytes));
	if (ch_rows_add(rows, rec, offset, 1, &err))
		fail_msg("%s", err.text);
}

static void cell_hex_is(json_t *row, size_t column, const char *expected)
{
	char hex[512];

	hex[0] = 0;
	for (size_t i = 0; expected[i]; i++)
		snprintf(hex + 2 * i, sizeof hex - 2 * i, "%02X", (unsigned char)expected[i]);
	assert_string_equal(json_string_value(json_array_get(row, column)), hex);
}

static json_t *rows_of(struct ch_http *h, const char *sql, size_t count)
{
	json_t *doc, *rows;

	run(h, sql);
	doc = json_loads(h->answer.body, 0, NULL);
	rows = json_incref(json_object_get(doc, "data"));
	json_decref(doc);
	assert_int_equal(json_array_size(rows), count);
	return rows;
}

#define CLICKS 70000u /* more keys in `device` than 16 bits hold */

static void test_clicks(void **state)
{
	struct config_clickhouse cfg = config_of("t_clicks");
	struct ch_rows rows;
	struct ch_http h;
	json_t *got;

	(void)state;
	fresh(&h, &cfg);
	ch_rows_init(&rows, "node 'q' \\", EPOCH, 3, (struct ruleset_store *)&rows);
	for (uint64_t n = 0; n < CLICKS; n++)
		add(&rows, click_make(n), 1000 + n);
	assert_int_equal(rows.block_count, 1);
	assert_int_equal(rows.tally.events, CLICKS);
	send_all(&h, &cfg, &rows);
	query_is(&h,
		"SELECT count(), uniqExact(_offset), min(_offset), max(_offset), any(_node), "
		"uniqExact(_node), any(_epoch), "
		"any(_partition) FROM t_clicks.clicks_raw FORMAT TabSeparated",
		"70000\t70000\t1000\t70999\tnode \\'q\\' \\\\\t1\t18364758544493064720\t3\n");
	query_is(&h,
		"SELECT count(), sum(rows) FROM system.parts WHERE active AND database = 't_clicks' FORMAT "
		"TabSeparated",
		"1\t70000\n");
	got = rows_of(&h,
		"SELECT toString(event_id), hex(user_id), toString(toUnixTimestamp64Milli(ts)), hex(page), "
		"hex(referrer), hex(country), "
		"hex(device), extra, toString(_flags), toString(toUnixTimestamp64Milli(_receive_time)), "
		"toString(_source), "
		"toString(_source_port), toString(_listener_port), toString(length(_tags)) FROM "
		"t_clicks.clicks_raw WHERE _offset "
		"IN (1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 70990, 70991, 70992, 70993, "
		"70994) ORDER BY "
		"_offset FORMAT JSONCompact",
		15);
	for (size_t i = 0; i < 15; i++) {
		uint64_t n = i < 10 ? i : 69980 + i;
		json_t *row = json_array_get(got, i);
		char user[40], text[64];

		snprintf(user, sizeof user, "u%lu", n);
		snprintf(text, sizeof text, "10111213-1415-1617-0000-%012lx", n);
		assert_string_equal(json_string_value(json_array_get(row, 0)), text);
		cell_hex_is(row, 1, user);
		snprintf(text, sizeof text, "%lld", TS + (long long)n);
		assert_string_equal(json_string_value(json_array_get(row, 2)), text);
		cell_hex_is(row, 3, odd(n));
		cell_hex_is(row, 4, n % 2 ? odd(n / 2) : "");
		cell_hex_is(row, 5, odd(n * 7));
		cell_hex_is(row, 6, n % 5 ? user : "");
		assert_string_equal(json_string_value(json_array_get(row, 7)),
			n % 3 ? "{\"x-new\": [1,{\"a\":\"}\"}]}" : "");
		assert_string_equal(json_string_value(json_array_get(row, 8)), n % 4 ? "0" : "1");
		snprintf(text, sizeof text, "%lld", TS + (long long)n + 7);
		assert_string_equal(json_string_value(json_array_get(row, 9)), text);
		assert_string_equal(json_string_value(json_array_get(row, 10)), "::ffff:10.1.2.3");
		assert_string_equal(json_string_value(json_array_get(row, 11)), "40001");
		assert_string_equal(json_string_value(json_array_get(row, 12)), "9001");
		assert_string_equal(json_string_value(json_array_get(row, 13)), "0");
	}
	json_decref(got);
	ch_rows_free(&rows);
	ch_http_close(&h);
}

/* The same rows made again give the same bytes. */
static void test_repeatable(void **state)
{
	struct bytes body[2] = {{0}, {0}};
	struct ch_rows rows;

	(void)state;
	ch_rows_init(&rows, "n1", EPOCH, 3, NULL);
	for (int i = 0; i < 2; i++) {
		ch_rows_clear(&rows);
		for (uint64_t n = 0; n < 5000; n++)
			add(&rows, click_make(n), n);
		assert_int_equal(native_block_write(&rows.block[0]->native, &body[i]), 0);
	}
	assert_int_equal(body[0].bytes, body[1].bytes);
	assert_memory_equal(body[0].data, body[1].data, body[0].bytes);
	bytes_free(&body[0]);
	bytes_free(&body[1]);
	ch_rows_free(&rows);
}

static void test_platform_alerts_dead(void **state)
{
	static const uint16_t hits[] = {0, 1, 2, 3};
	struct config_clickhouse cfg = config_of("t_platform");
	struct ch_rows rows;
	struct ch_http h;

	(void)state;
	fresh(&h, &cfg);
	ch_rows_init(&rows, "n1", EPOCH, 0, (struct ruleset_store *)&rows);
	for (uint64_t n = 0; n < 4; n++) {
		made_begin(&made, EVENT_TYPE_platform, "{\"source\":\"web\",\"attributes\":{},\"zone\":1}",
			TS, n);
		made_text(&made, FIELD_source, "web");
		if (n != 1)
			made_text(&made, FIELD_attributes, "{\"a\":1}");
		if (n != 2)
			made_number(&made, FIELD_metric, n == 3 ? -0.0 : 42.5);
		made_text(&made, FIELD_user_id, n ? "u1" : "u0");
		made.ev.hit = hits;
		made.ev.hit_count = n == 0 ? 0 : 4;
		add(&rows, made_end(&made, n == 3 ? RECORD_F_SUPPRESSED : 0), n);
	}
	made_begin(&made, EVENT_TYPE_NONE, "\xff\xfe{not json", TS, 9);
	add(&rows, made_refused(&made, DROP_missing_field, FIELD_user_id, 5), 4);
	assert_int_equal(rows.tally.events, 3);
	assert_int_equal(rows.tally.suppressed, 1);
	assert_int_equal(rows.tally.alerts, 6);
	assert_int_equal(rows.tally.dead, 1);
	send_all(&h, &cfg, &rows);
	query_is(&h,
		"SELECT _offset, type, source, attributes, metric, user_id, status, extra, _tags FROM "
		"t_platform.events_raw ORDER BY _offset "
		"FORMAT TabSeparated",
		"0\tplatform\tweb\t{\"a\":1}\t42.5\tu0\t\t{\"zone\":1}\t[]\n"
		"1\tplatform\tweb\t\t42.5\tu1\t\t{\"zone\":1}\t['tag-a','alert-b','both-d']\n"
		"2\tplatform\tweb\t{\"a\":1}\t\\N\tu1\t\t{\"zone\":1}\t['tag-a','alert-b','both-d']\n");
	query_is(&h,
		"SELECT alert_id, rule_id, title, severity, generation, ruleset, type, key, "
		"toUnixTimestamp64Milli(ts), ts = first_time AND ts "
		"= last_time AND event_ids = [event_id] AND evidence_total = 1, evidence FROM "
		"t_platform.alerts WHERE _offset = 3 ORDER BY rule_id FORMAT TabSeparated",
		"n1/fedcba9876543210/0/3/alert-b\talert-b\tB "
		"\"it\\'s\"\thigh\t1\t00112233445566aa\tplatform\tu1\t1794960000123\t1\t['n1/"
		"fedcba9876543210/0/3']\n"
		"n1/fedcba9876543210/0/3/"
		"both-d\tboth-d\tD\tcritical\t1\t00112233445566aa\tplatform\tu1\t1794960000123\t1\t['n1/"
		"fedcba9876543210/0/3']\n");
	query_is(&h, "SELECT count() FROM t_platform.alerts FORMAT TabSeparated", "6\n");
	query_is(&h,
		"SELECT reason, field, type, hex(raw), cut, _offset, _source_port FROM "
		"t_platform.dead_letters FORMAT TabSeparated",
		"missing_field\tuser_id\t\tFFFE7B6E6F\t1\t4\t40001\n");
	ch_rows_free(&rows);
	ch_http_close(&h);
}

/* Ranges over month ends, also far from today: one block a month, one part a block, in the month that we
 * said. */
static void test_months(void **state)
{
	static const int64_t times[] = {1793491199999, 1793491200000, /* 31 Oct / 1 Nov 2026 */
		951782399999, 951868800000,			      /* 28 Feb / 1 Mar 2000 */
		-1, 0, -2208988800000, INT64_MIN, INT64_MAX, 10413791999999, 4107542399999, 4107542400000};
	struct config_clickhouse cfg = config_of("t_months");
	struct ch_rows rows;
	struct ch_http h;
	uint32_t blocks;

	(void)state;
	fresh(&h, &cfg);
	ch_rows_init(&rows, "n1", EPOCH, 0, NULL);
	for (uint64_t n = 0; n < sizeof times / sizeof *times; n++) {
		made_begin(&made, EVENT_TYPE_click, "{}", times[n], n);
		made_text(&made, FIELD_user_id, "u");
		made.ev.event_time_ms = times[n];
		record_write_event(made.record, &made.ev, 1, TS, 0);
		add(&rows, (const struct record *)made.record, n);
	}
	blocks = rows.block_count;
	assert_int_equal(blocks, 10);
	send_all(&h, &cfg, &rows);
	for (uint32_t i = 0; i < blocks; i++) {
		char sql[256], expected[64];

		snprintf(sql, sizeof sql,
			"SELECT count(), sum(rows) FROM system.parts WHERE active AND database = 't_months' "
			"AND partition = '%u' FORMAT "
			"TabSeparated",
			rows.block[i]->month);
		snprintf(expected, sizeof expected, "1\t%u\n", rows.block[i]->native.row_count);
		query_is(&h, sql, expected);
	}
	query_is(&h, "SELECT count() FROM t_months.clicks_raw FORMAT TabSeparated", "12\n");
	ch_rows_free(&rows);
	ch_http_close(&h);
}

/* A block that is larger than every limit at which servers cut or gather blocks by default still is one part.
 */
static void test_one_part(void **state)
{
	static char page[2001];
	struct config_clickhouse cfg = config_of("t_part");
	uint64_t offset = 0;
	struct ch_rows rows;
	struct ch_http h;
	struct err err;
	char expected[64];
	int rc = 0;

	(void)state;
	memset(page, 'p', sizeof page - 1);
	fresh(&h, &cfg);
	ch_rows_init(&rows, "n1", EPOCH, 0, NULL);
	for (; rc == 0; offset++) {
		made_begin(&made, EVENT_TYPE_click, "{}", TS, offset);
		made_text(&made, FIELD_user_id, "u");
		made_text(&made, FIELD_page, page);
		rc = ch_rows_add(&rows, made_end(&made, 0), offset, 1, &err);
	}
	assert_int_equal(rc, 1); /* full by bytes */
	assert_in_range(rows.row_count, 10000, 20000);
	send_all(&h, &cfg, &rows);
	snprintf(expected, sizeof expected, "1\t%lu\n", rows.row_count);
	query_is(&h,
		"SELECT count(), sum(rows) FROM system.parts WHERE database = 't_part' AND level = 0 FORMAT "
		"TabSeparated",
		expected);
	ch_rows_free(&rows);
	ch_http_close(&h);
}

static void check_refuses(
	struct ch_http *h, const struct config_clickhouse *cfg, const char *word, const char *word2)
{
	struct err err = {0};
	int rc = check(h, cfg, &err);

	if (rc != -EINVAL || !strstr(err.text, word) || !strstr(err.text, word2))
		fail_msg("expected a refusal with '%s' and '%s', got %d: %s", word, word2, rc, err.text);
}

static void test_refusals(void **state)
{
	struct config_clickhouse cfg = config_of("t_refuse");
	struct ch_http h;

	(void)state;
	fresh(&h, &cfg);
	run(&h, "ALTER TABLE t_refuse.clicks_raw MODIFY COLUMN referrer LowCardinality(String)");
	check_refuses(&h, &cfg, "column referrer has type LowCardinality(String)", "expected String");
	run(&h, "ALTER TABLE t_refuse.clicks_raw MODIFY COLUMN referrer String");
	run(&h, "ALTER TABLE t_refuse.events_raw DROP COLUMN metric");
	check_refuses(&h, &cfg, "t_refuse.events_raw: column metric is missing",
		"ADD COLUMN metric Nullable(Float64)");
	run(&h, "ALTER TABLE t_refuse.events_raw ADD COLUMN metric Nullable(Float64)");
	run(&h, "ALTER TABLE t_refuse.clicks_raw ADD COLUMN mine String DEFAULT page");
	assert_int_equal(check(&h, &cfg, NULL), 0);
	run(&h, "ALTER TABLE t_refuse.alerts MODIFY SETTING non_replicated_deduplication_window = 0");
	check_refuses(
		&h, &cfg, "t_refuse.alerts: non_replicated_deduplication_window is 0", "MODIFY SETTING");
	run(&h, "ALTER TABLE t_refuse.alerts MODIFY SETTING non_replicated_deduplication_window = 100");
	run(&h, "CREATE TABLE t_refuse.agg (page String, n UInt64) ENGINE = SummingMergeTree ORDER BY page");
	run(&h, "CREATE MATERIALIZED VIEW t_refuse.mv TO t_refuse.agg AS SELECT page, count() AS n FROM "
		"t_refuse.clicks_raw GROUP BY page");
	check_refuses(&h, &cfg, "materialized view t_refuse.mv",
		"t_refuse.agg: non_replicated_deduplication_window is 0");
	run(&h, "ALTER TABLE t_refuse.agg MODIFY SETTING non_replicated_deduplication_window = 100");
	assert_int_equal(check(&h, &cfg, NULL), 0);
	run(&h, "CREATE MATERIALIZED VIEW t_refuse.mv2 ENGINE = SummingMergeTree ORDER BY page AS SELECT "
		"page, n FROM t_refuse.agg");
	check_refuses(&h, &cfg, "materialized view t_refuse.mv2 of t_refuse.agg", "inner_id");
	run(&h, "DROP TABLE t_refuse.mv2 SYNC");
	run(&h, "DROP TABLE t_refuse.dead_letters SYNC");
	cfg.create = false;
	check_refuses(&h, &cfg, "t_refuse.dead_letters does not exist", "sluicectl schema clickhouse");
	run(&h, "CREATE TABLE t_refuse.dead_letters (x UInt8) ENGINE = Null");
	check_refuses(&h, &cfg, "t_refuse.dead_letters has engine Null", "MergeTree");
	run(&h, "DROP TABLE t_refuse.dead_letters SYNC");
	run(&h, "CREATE TABLE t_refuse.dead_letters (_receive_time DateTime64(3)) ENGINE = MergeTree ORDER "
		"BY tuple() PARTITION BY "
		"toYYYYMMDD(_receive_time) SETTINGS non_replicated_deduplication_window = 5");
	check_refuses(&h, &cfg, "PARTITION BY toYYYYMMDD(_receive_time)",
		"expected toYYYYMM(_receive_time, 'UTC')");
	ch_http_close(&h);
}

/* Errors of the server are told apart: what will never work, and what may. */
static void test_errors(void **state)
{
	struct config_clickhouse cfg = config_of("t_errors");
	struct ch_http h;
	struct err err;

	(void)state;
	connect_to(&h, &cfg);
	assert_int_equal(ch_http_query(&h, "SELECT * FROM no_such_table", 60000, &err), -EINVAL);
	assert_non_null(strstr(err.text, "no_such_table"));
	assert_int_equal(ch_http_query(&h, "SELEKT", 60000, &err), -EINVAL);
	assert_int_equal(ch_http_query(&h, "SELECT throwIf(1)", 60000, &err), -EAGAIN);
	assert_int_equal(ch_http_query(&h, "SELECT 1", 60000, &err), 0);
	assert_int_equal(
		ch_http_query(&h,
			"SELECT sleep(3) SETTINGS function_sleep_max_microseconds_per_block = 5000000", 300,
			&err),
		-ETIMEDOUT);
	assert_int_equal(ch_http_query(&h, "SELECT 1", 60000, &err), 0);
	ch_http_close(&h);
	snprintf(cfg.user, sizeof cfg.user, "nobody");
	connect_to(&h, &cfg);
	assert_int_equal(ch_http_query(&h, "SELECT 1", 60000, &err), -EINVAL);
	ch_http_close(&h);
	snprintf(cfg.url, sizeof cfg.url, "http://127.0.0.1:1");
	connect_to(&h, &cfg);
	assert_int_equal(ch_http_query(&h, "SELECT 1", 60000, &err), -ECONNREFUSED);
	ch_http_close(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clicks),
		cmocka_unit_test(test_repeatable),
		cmocka_unit_test(test_platform_alerts_dead),
		cmocka_unit_test(test_months),
		cmocka_unit_test(test_one_part),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
