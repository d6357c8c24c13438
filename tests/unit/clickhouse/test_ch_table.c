/* Tables and months, against the C library's calendar; the DDL names every column of the schema. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "ch_table.h"
#include "clickhouse.h"

static void test_months(void **state)
{
	(void)state;
	for (int64_t ms = -2208988800000ll; ms < 10413792000000ll; ms += 86399999ll * 3 + 1) {
		time_t s = (time_t)(ms >= 0 ? ms / 1000 : -((-ms + 999) / 1000));
		struct tm tm;

		gmtime_r(&s, &tm);
		assert_int_equal(ch_month_of(ms), (tm.tm_year + 1900) * 100 + tm.tm_mon + 1);
	}
	assert_int_equal(ch_month_of(INT64_MIN), 190001);
	assert_int_equal(ch_month_of(INT64_MAX), 229912);
}

static void test_month_spans(void **state)
{
	(void)state;
	for (int64_t ms = -2208988800000ll; ms < 10413792000000ll; ms += 86399999ll * 9 + 1) {
		uint32_t month = ch_month_of(ms);
		int64_t from, to;

		ch_month_span(ms, &from, &to);
		assert_true(from <= ms && ms < to);
		assert_int_equal(ch_month_of(from), month);
		assert_int_equal(ch_month_of(to - 1), month);
		assert_true(from == -2208988800000ll || ch_month_of(from - 1) != month);
		assert_true(to == 10413792000000ll || ch_month_of(to) != month);
	}
}

static const struct ch_column *column_find(enum ch_table_id id, const char *name)
{
	const struct ch_table *t = ch_table_get(id);

	for (uint32_t i = 0; i < t->column_count; i++)
		if (strcmp(t->column[i].name, name) == 0)
			return &t->column[i];
	return NULL;
}

/* Every field that a type uses has a column in its table; names are unique; each table has the address. */
static void test_columns(void **state)
{
	(void)state;
	for (uint8_t type = 1; type < EVENT_TYPE_MAX; type++)
		for (const uint8_t *f = type_table[type].column; type_table[type].name && *f; f++)
			assert_non_null(column_find(ch_table_of_type(type), field_table[*f].name));
	for (int id = 0; id < CH_TABLE_COUNT; id++) {
		const struct ch_table *t = ch_table_get((enum ch_table_id)id);
		static const char *const address[] = {
			"_node", "_epoch", "_partition", "_offset", "_receive_time"};

		for (size_t i = 0; i < sizeof address / sizeof *address; i++)
			assert_non_null(column_find((enum ch_table_id)id, address[i]));
		assert_non_null(column_find((enum ch_table_id)id, t->time));
		for (uint32_t i = 0; i < t->column_count; i++)
			assert_ptr_equal(column_find((enum ch_table_id)id, t->column[i].name), &t->column[i]);
		for (uint32_t i = 0; i < t->index_count; i++)
			assert_non_null(column_find((enum ch_table_id)id, t->index[i]));
	}
	assert_int_equal(column_find(CH_TABLE_events_raw, "metric")->type, NATIVE_FLOAT64_NULL);
}

static void test_ddl(void **state)
{
	static struct config cfg = {
		.clickhouse = {.database = "we`ird", .dedup_window = 777, .ttl_months = 3}};
	struct err err;
	size_t bytes;
	char *text;
	FILE *out = open_memstream(&text, &bytes);

	(void)state;
	assert_int_equal(clickhouse_schema_ddl(&cfg, out, &err), 0);
	fclose(out);
	assert_non_null(strstr(text, "CREATE DATABASE IF NOT EXISTS `we\\`ird`;"));
	assert_non_null(strstr(text, "CREATE TABLE IF NOT EXISTS `we\\`ird`.`clicks_raw`"));
	assert_non_null(strstr(text, "`country` LowCardinality(String),"));
	assert_non_null(strstr(text, "PARTITION BY toYYYYMM(ts, 'UTC')"));
	assert_non_null(strstr(text, "TTL toDateTime(ts) + INTERVAL 3 MONTH"));
	assert_non_null(strstr(text, "non_replicated_deduplication_window = 777"));
	assert_non_null(strstr(text, "INDEX bf_user_id user_id TYPE bloom_filter"));
	assert_null(strstr(text, "events_late")); /* of the state stage, which is off */
	free(text);
	snprintf(cfg.clickhouse.database, sizeof cfg.clickhouse.database, "a\nb");
	assert_int_equal(clickhouse_schema_ddl(&cfg, stderr, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_months),
		cmocka_unit_test(test_month_spans),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_ddl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
