/* Tables of windows: which one, with which columns, and which cannot stand together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "ch_catalog.h"
#include "ch_ddl.h"
#include "clickhouse.h"

static struct window_def *def_of(const char *text)
{
	struct window_def *def = NULL;
	struct err err;

	if (window_def_parse(&def, text, &err))
		fail_msg("%s: %s", text, err.text);
	return def;
}

static void table_is(const char *text, const char *name, const char *size)
{
	struct window_def *def = def_of(text);
	struct ch_window *w;
	struct err err;

	if (ch_window_make(&w, def, &err))
		fail_msg("%s: %s", text, err.text);
	assert_string_equal(w->name, name);
	assert_string_equal(w->size, size);
	ch_window_free(w);
	window_def_free(def);
}

static void test_names(void **state)
{
	(void)state;
	table_is("name=page_minute kind=tumbling size=1m by=page", "page_minute_agg", "1m");
	table_is("name=source_5s kind=tumbling size=5s by=source", "agg_source", "5s");
	table_is("name=source_60s kind=tumbling size=1m by=source", "agg_source", "60s");
	/* A name that ends in another size is a name. */
	table_is("name=source_5s kind=tumbling size=1m by=source", "source_5s_agg", "1m");
	table_is("name=last_1d kind=hopping size=1d slide=1h", "agg_last", "1d");
	table_is("name=a_b_1h kind=tumbling size=1h", "agg_a_b", "1h");
	table_is("name=visits kind=session gap=30m by=user_id", "visits", "");
	table_is("name=buy kind=funnel size=1h within=1h by=user_id steps='a: type = page_view; b: type = "
		 "conversion'",
		"buy", "");
}

static struct window_plan *plan_of(const char *const *text)
{
	static struct window_plan plan;

	plan.count = 0;
	for (; *text; text++)
		plan.def[plan.count++] = def_of(*text);
	return &plan;
}

static void plan_end(struct window_plan *plan)
{
	for (uint32_t i = 0; i < plan->count; i++)
		window_def_free(plan->def[i]);
}

static const struct ch_table *table_of(const struct ch_catalog *c, const char *name)
{
	for (uint32_t i = 0; i < c->count; i++)
		if (strcmp(c->entry[i].table.name, name) == 0)
			return &c->entry[i].table;
	fail_msg("no table %s", name);
	return NULL;
}

static void type_is(const struct ch_table *table, const char *name, const char *type)
{
	const struct ch_column *column = ch_table_column(table, name);
	char text[CH_TYPE_BYTES];

	if (!column)
		fail_msg("no column %s", name);
	ch_column_type(text, column);
	assert_string_equal(text, type);
}

/* What merges is declared so; fields have the schema's types; numbers in keys are their text. */
static void test_columns(void **state)
{
	static const char *const text[] = {
		"name=w kind=tumbling size=1m by=country,page,metric "
		"aggregates='count, sum(amount), avg(metric), min(amount), max(metric), distinct(user_id), "
		"quantiles(amount), top(page), first(page), last(amount), variance(metric)'",
		"name=s kind=session gap=1m by=user_id aggregates='count, sum(amount), last(metric), "
		"first(page), quantiles(metric), variance(metric), distinct(page), top(page,3)'",
		"name=f kind=funnel size=1h within=1h by=user_id steps='a: type = click; b: type = session'",
		NULL};
	struct window_plan *plan = plan_of(text);
	const struct ch_table *t;
	struct ch_catalog *c;
	struct err err;

	(void)state;
	assert_int_equal(ch_catalog_make(&c, CH_LOG_OUTPUT, plan, &err), 0);
	t = table_of(c, "w_agg");
	type_is(t, "country", "LowCardinality(String)");
	type_is(t, "page", "String");
	type_is(t, "metric", "String");
	type_is(t, "sum_amount", "SimpleAggregateFunction(sum, Decimal(38, 6))");
	type_is(t, "sum_metric", "SimpleAggregateFunction(sum, Float64)");
	type_is(t, "n_metric", "SimpleAggregateFunction(sum, UInt64)");
	type_is(t, "min_amount", "SimpleAggregateFunction(min, Nullable(Decimal(38, 6)))");
	type_is(t, "max_metric", "SimpleAggregateFunction(max, Nullable(Float64))");
	type_is(t, "distinct_user_id", "SimpleAggregateFunction(maxMap, Tuple(Array(UInt16), Array(UInt8)))");
	type_is(t, "quantiles_amount", "SimpleAggregateFunction(sumMap, Tuple(Array(Int32), Array(UInt64)))");
	type_is(t, "top_page_error", "SimpleAggregateFunction(sumMap, Tuple(Array(String), Array(UInt64)))");
	type_is(t, "first_page", "SimpleAggregateFunction(min, Tuple(Int64, UInt32, UInt64, String))");
	type_is(t, "last_amount", "SimpleAggregateFunction(max, Tuple(Int64, UInt32, UInt64, String))");
	t = table_of(c, "s");
	assert_null(ch_table_column(t, "window"));
	type_is(t, "user_id", "String");
	type_is(t, "sum_amount", "Nullable(Decimal(38, 6))");
	type_is(t, "last_metric", "Nullable(Float64)");
	type_is(t, "first_page", "String");
	type_is(t, "p95_metric", "Nullable(Float64)");
	type_is(t, "stddev_metric", "Nullable(Float64)");
	type_is(t, "distinct_page", "UInt64");
	type_is(t, "top_page", "Tuple(Array(String), Array(UInt64))");
	t = table_of(c, "f");
	type_is(t, "step", "LowCardinality(String)");
	type_is(t, "count", "UInt64");
	for (uint32_t i = 0; i < c->count; i++)
		type_is(&c->entry[i].table, "_offset", "UInt64");
	ch_catalog_free(c);
	plan_end(plan);
}

/* Sizes of one name share a table, which has the columns of all. */
static void test_shared_table(void **state)
{
	static const char *const text[] = {
		"name=source_5s kind=tumbling size=5s by=source aggregates='count'",
		"name=source_1m kind=tumbling size=1m by=source,status aggregates='count, sum(metric)' "
		"rollup=1h,1d",
		"name=hidden kind=tumbling size=1m clickhouse=false", NULL};
	struct window_plan *plan = plan_of(text);
	const struct ch_table *t;
	struct ch_catalog *c;
	struct err err;

	(void)state;
	assert_int_equal(ch_catalog_make(&c, CH_LOG_OUTPUT, plan, &err), 0);
	assert_int_equal(c->window_count, 2);
	t = table_of(c, "agg_source");
	type_is(t, "status", "LowCardinality(String)");
	type_is(t, "sum_metric", "SimpleAggregateFunction(sum, Float64)");
	/* The INSERT of each has its own columns, and its tokens are no other's. */
	assert_null(ch_table_column(&c->window[0]->table, "sum_metric"));
	assert_non_null(ch_table_column(&c->window[1]->table, "sum_metric"));
	assert_string_not_equal(c->window[0]->token, c->window[1]->token);
	t = table_of(c, "agg_source_1h");
	assert_true(t->aggregating);
	assert_null(ch_table_column(t, "_offset"));
	assert_non_null(
		strstr(t->order_by, "other")); /* what merges by it must not mix it with absent fields */
	type_is(t, "window_end", "SimpleAggregateFunction(max, DateTime64(3))");
	table_of(c, "agg_source_1d");
	ch_catalog_free(c);
	plan_end(plan);
}

static void refused(const char *const *text, const char *words)
{
	struct window_plan *plan = plan_of(text);
	struct ch_catalog *c;
	struct err err;

	assert_int_equal(ch_catalog_make(&c, CH_LOG_BOTH, plan, &err), -EINVAL);
	assert_null(c);
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
	plan_end(plan);
}

static void test_refused(void **state)
{
	static const char *const fixed[] = {"name=alerts kind=session gap=1m by=user_id", NULL};
	static const char *const rollups[] = {"name=x_1m kind=tumbling size=1m",
		"name=x_1h kind=tumbling size=1h aggregates='count, sum(metric)' rollup=1d",
		"name=x_2h kind=tumbling size=2h rollup=1d", NULL};
	static const char *const kinds[] = {
		"name=x_1m kind=tumbling size=1m", "name=agg_x kind=session gap=1m by=user_id", NULL};
	static const char *const renamed[] = {
		"name=x kind=tumbling size=1m aggregates='sum(amount) as count, error_rate'", NULL};
	static const char *const rollup_name[] = {"name=x_1h kind=tumbling size=1h rollup=1d",
		"name=agg_x_1d kind=session gap=1m by=user_id", NULL};

	static const char *const view[] = {
		"name=x kind=tumbling size=1m", "name=x_agg_view kind=session gap=1m by=user_id", NULL};
	static const char *const filler[] = {"name=x kind=tumbling size=1m rollup=1h",
		"name=x_agg_1h_mv kind=session gap=1m by=user_id", NULL};
	static const char *const length[] = {
		"name=x kind=tumbling size=1m by=attributes.file,attributes.file.size", NULL};
	static const char *const lengths[] = {"name=x_1m kind=tumbling size=1m by=attributes.file.size",
		"name=x_1h kind=tumbling size=1h by=attributes.file", NULL};

	(void)state;
	refused(length, "table x_agg: attributes.file.size is the length of column attributes.file there");
	refused(lengths, "table agg_x: attributes.file.size is the length of column attributes.file there");
	refused(fixed, "window alerts would go to table alerts, which is for something else");
	refused(rollups, "windows x_1h and x_2h would both fill table agg_x_1d");
	refused(renamed, "window x would have two columns count");
	refused(kinds, "windows x_1m and agg_x would both go to table agg_x");
	refused(rollup_name, "windows agg_x_1d and x_1h would both fill table agg_x_1d");
	refused(view, "table x_agg_view has the name of a view of window x");
	refused(filler, "table x_agg_1h_mv has the name of a view of window x");
}

/* Columns of attributes have their names, whatever is in them, in every statement. */
static void test_attributes(void **state)
{
	static const char *const text[] = {"name=x kind=tumbling size=1m rollup=1h "
					   "by='country,attributes.plan,attributes.a`b\\\\c'",
		NULL};
	static const char quoted[] = "`attributes.a\\`b\\\\c`";
	static const struct config_clickhouse ch = {.database = "rt"};
	struct window_plan *plan = plan_of(text);
	uint32_t statements = 0;
	struct ch_catalog *c;
	struct err err;

	(void)state;
	assert_int_equal(ch_catalog_make(&c, CH_LOG_OUTPUT, plan, &err), 0);
	type_is(table_of(c, "x_agg"), "attributes.plan", "String");
	type_is(table_of(c, "x_agg_1h"), "attributes.a`b\\c", "String");
	assert_string_equal(table_of(c, "x_agg")->order_by,
		"(window, window_start, country, `attributes.plan`, `attributes.a\\`b\\\\c`, other)");
	for (uint32_t n = 0;; n++) {
		size_t bytes;
		char *sql;
		FILE *out = open_memstream(&sql, &bytes);
		bool more = ch_catalog_statement(c, &ch, n, out);

		fclose(out);
		if (more && strstr(sql, "x_agg")) {
			const char *bare = strstr(sql, "a`b");

			assert_non_null(strstr(sql, quoted));
			assert_non_null(strstr(sql, "`attributes.plan`"));
			assert_null(bare);
			statements++;
		}
		free(sql);
		if (!more)
			break;
	}
	assert_int_equal(statements, 5); /* two tables, two views, what fills the roll-up */
	ch_catalog_free(c);
	plan_end(plan);
}

/* All that is printed: in an order that can be run, each statement once. */
static void test_schema(void **state)
{
	static struct config cfg;
	struct err err;
	size_t bytes;
	char *text;
	FILE *out = open_memstream(&text, &bytes);

	(void)state;
	config_defaults(&cfg);
	cfg.state.enabled = true;
	assert_int_equal(clickhouse_schema_ddl(&cfg, out, &err), 0);
	fclose(out);
	assert_non_null(strstr(text, "CREATE TABLE IF NOT EXISTS `rt`.`page_minute_agg`\n"));
	assert_non_null(strstr(text, "CREATE TABLE IF NOT EXISTS `rt`.`agg_source`\n"));
	assert_non_null(strstr(text, "CREATE TABLE IF NOT EXISTS `rt`.`sessions`\n"));
	assert_non_null(strstr(text, "CREATE TABLE IF NOT EXISTS `rt`.`events_late`\n"));
	assert_true(strstr(text, "TABLE IF NOT EXISTS `rt`.`agg_source_1h`") <
		    strstr(text, "CREATE MATERIALIZED VIEW IF NOT EXISTS `rt`.`agg_source_1h_mv` TO"));
	assert_true(strstr(text, "MATERIALIZED VIEW IF NOT EXISTS `rt`.`agg_source_1h_mv`") <
		    strstr(text, "CREATE OR REPLACE VIEW `rt`.`agg_source_1h_view`"));
	assert_null(
		strstr(strstr(text, "`rt`.`agg_source`\n") + 1, "TABLE IF NOT EXISTS `rt`.`agg_source`\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_columns),
		cmocka_unit_test(test_shared_table), cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_schema)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
