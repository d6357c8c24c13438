/* Tables and views that do not fit their windows, at a real engine: what is said, and that it mends them.
 * Started by with_server.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "ch_faults.h"
#include "windows_server.h"

static const char *const window_text[] = {"name=page_minute kind=tumbling size=1m "
					  "by=page,country,attributes.a`b\\c,attributes.plan rollup=1h,1d "
					  "aggregates='count, sum(amount)'",
	"name=visits kind=session gap=30m by=user_id aggregates='count, sum(amount)'"};

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

static void refused_with(const char *a, const char *b)
{
	struct err err = {0};
	int rc = check(&err);

	if (rc != -EINVAL || !strstr(err.text, a) || !strstr(err.text, b))
		fail_msg("expected a refusal with '%s' and '%s', got %d: %s", a, b, rc, err.text);
}

/* A roll-up from before its window had a group: the statement puts it into the key as well, else rows would
 * merge; behind that which the table has, whatever its order: groups may have come before. */
static void group_refused(const char *key)
{
	char statement[600];

#define ROLLUP "w.page_minute_agg_1h"
#define ADDED "ADD COLUMN `attributes.a\\`b\\\\c` String, ADD COLUMN `attributes.plan` String"
#define KEYED ", MODIFY ORDER BY (%s, `attributes.a\\`b\\\\c`, `attributes.plan`)"
	run("RENAME TABLE " ROLLUP " TO w.kept");
	snprintf(statement, sizeof statement,
		"CREATE TABLE " ROLLUP
		" ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(window_start, 'UTC') ORDER "
		"BY (%s) SETTINGS non_replicated_deduplication_window = 100 AS "
		"SELECT * EXCEPT (`attributes.a\\`b\\\\c`, `attributes.plan`) FROM w.kept WHERE 0",
		key);
	run(statement);
	run("DROP TABLE w.kept SYNC");
	snprintf(statement, sizeof statement, "ALTER TABLE " ROLLUP " " ADDED KEYED, key);
	refused_with(ROLLUP ": column attributes.a`b\\c is missing; run: ", statement);
	run("ALTER TABLE " ROLLUP " " ADDED);
	refused_with(ROLLUP ": column attributes.a`b\\c is not in its sorting key", "rename it");
	run("ALTER TABLE " ROLLUP " DROP COLUMN `attributes.a\\`b\\\\c`, DROP COLUMN `attributes.plan`");
	run(statement);
}

/* What is wrong with tables and views is said at once, and mended by what is said; an empty database: by what
 * is printed. */
static void test_all_at_once(void **state)
{
	static const char *const said[] = {"w.alerts: column score is missing, and 2 more; run: ",
		"ALTER TABLE w.alerts ADD COLUMN score Nullable(Float64)",
		"ALTER TABLE w.visits ADD COLUMN sum_amount Nullable(Decimal(38, 6))",
		"DROP VIEW w.page_minute_agg_1h_mv"};
	struct err err = {0};
	char *sql, *save = NULL;

	(void)state;
	run("ALTER TABLE w.alerts DROP COLUMN score");
	run("ALTER TABLE w.visits DROP COLUMN sum_amount");
	run("DROP VIEW w.page_minute_agg_1h_mv SYNC");
	run("CREATE MATERIALIZED VIEW w.page_minute_agg_1h_mv TO w.page_minute_agg_1h AS SELECT window, "
	    "window_start, sum(count) AS count FROM w.page_minute_agg GROUP BY window, window_start");
	for (size_t i = 0; i < sizeof said / sizeof *said; i++)
		refused_with(said[i], "");
	assert_int_equal(check(&err), -EINVAL);
	sql = strstr(err.text, "run: ") + 5;
	for (char *one = strtok_r(sql, ";", &save); one; one = strtok_r(NULL, ";", &save))
		run(one);
	if (check(&err))
		fail_msg("%s", err.text);
	run("SELECT count() FROM system.columns WHERE database = 'w' AND table = 'page_minute_agg_1h_mv' AND "
	    "name = 'sum_amount' FORMAT TabSeparated");
	assert_string_equal(http.answer.body, "1\n"); /* made again */
}

/* Without clickhouse.create what is missing is a fault, too; what is printed makes all of it. */
static void test_nothing_there(void **state)
{
	struct config_clickhouse kept = cfg;
	struct ch_catalog *catalog = NULL;
	struct ch_faults faults;
	struct err err;
	char *sql, *next;
	size_t bytes;
	FILE *out = open_memstream(&sql, &bytes);

	(void)state;
	cfg.create = false;
	snprintf(cfg.database, sizeof cfg.database, "w_empty");
	run("DROP DATABASE IF EXISTS w_empty SYNC");
	refused_with("w_empty.alerts does not exist (clickhouse.create is false), and ",
		"more: `sluicectl schema clickhouse --diff");
	assert_int_equal(ch_catalog_make(&catalog, CH_LOG_OUTPUT, &plan, &err), 0);
	assert_int_equal(ch_check_look(&http, &cfg, catalog, &faults, &err), 0);
	assert_int_equal(ch_faults_print(&faults, out), 0);
	fclose(out);
	ch_faults_free(&faults);
	ch_catalog_free(catalog);
	for (char *one = sql; *one; one = next) {
		next = strstr(one, ";\n\n");
		*next = 0;
		next += 3;
		run(one);
	}
	free(sql);
	if (check(&err))
		fail_msg("%s", err.text);
	run("SELECT count() FROM w_empty.page_minute_agg_1d_view FORMAT TabSeparated");
	run("DROP DATABASE w_empty SYNC");
	cfg = kept;
}

/* An installation that is older than its windows or than this program: what is missing, in one statement. */
static void test_start_up_check(void **state)
{
	struct err err;

	(void)state;
	run("ALTER TABLE w.alerts DROP COLUMN score, DROP COLUMN event_ids, DROP COLUMN window");
	refused_with("w.alerts: column window is missing; run: ALTER TABLE w.alerts ADD COLUMN window "
		     "LowCardinality(String), ADD COLUMN score Nullable(Float64), ADD COLUMN event_ids "
		     "Array(UUID)",
		"");
	run("ALTER TABLE w.alerts ADD COLUMN window LowCardinality(String), ADD COLUMN score "
	    "Nullable(Float64), ADD COLUMN event_ids Array(UUID)");
	run("ALTER TABLE w.visits DROP COLUMN sum_amount");
	refused_with(
		"w.visits: column sum_amount is missing", "ADD COLUMN sum_amount Nullable(Decimal(38, 6))");
	run("ALTER TABLE w.visits ADD COLUMN sum_amount Nullable(Decimal(38, 6))");
	group_refused("window, window_start, page, country, other");
	group_refused("window, window_start, country, other, page");
	run("DROP TABLE w.page_minute_agg_1h_mv SYNC");
	run("CREATE MATERIALIZED VIEW w.page_minute_agg_1h_mv TO w.page_minute_agg_1h AS SELECT window, "
	    "window_start, "
	    "sum(count) AS count FROM w.page_minute_agg GROUP BY window, window_start");
	refused_with("view w.page_minute_agg_1h_mv does not give column window_end",
		"run: DROP VIEW w.page_minute_agg_1h_mv");
	run("DROP TABLE w.page_minute_agg_1h_mv SYNC");
	run("ALTER TABLE w.page_minute_agg_1h MODIFY SETTING non_replicated_deduplication_window = 0");
	refused_with("w.page_minute_agg_1h: non_replicated_deduplication_window is 0", "ALTER TABLE");
	run("ALTER TABLE w.page_minute_agg_1h MODIFY SETTING non_replicated_deduplication_window = 100");
	if (check(&err))
		fail_msg("%s", err.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_start_up_check),
		cmocka_unit_test(test_all_at_once), cmocka_unit_test(test_nothing_there)};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
