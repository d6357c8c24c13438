/* Make what is missing, compare what is there: when a server is used first, and when it was away. Results
 * come as JSON, read by jansson. */
#include "ch_check.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ch_ddl.h"
#include "ch_statement.h"

#define CHECK_MS_MAX 5000u
#define VIEW_DEPTH_MAX 8 /* views that feed views */

/* Why a table needs its window, and how to give it one. */
#define WINDOW_HELP "without it a repeated INSERT counts twice"

/* Runs the statement that was written and frees it. */
static int sql_run(struct ch_statement *sql, struct ch_http *h, struct err *err)
{
	return ch_statement_run(
		sql, h, NULL, h->timeout_ms < CHECK_MS_MAX ? h->timeout_ms : CHECK_MS_MAX, err);
}

/* Runs a SELECT ... FORMAT JSONCompact and returns its rows (an array of arrays); *doc is to be freed. */
static int sql_rows(struct ch_statement *sql, struct ch_http *h, json_t **doc, json_t **rows, struct err *err)
{
	json_error_t fault = {0};
	int rc;

	*doc = NULL;
	rc = sql_run(sql, h, err);
	if (rc)
		return rc;
	*doc = json_loadb(h->answer.body, h->answer.body_bytes, JSON_REJECT_DUPLICATES, &fault);
	*rows = json_object_get(*doc, "data");
	if (json_is_array(*rows))
		return 0;
	json_decref(*doc);
	*doc = NULL;
	return err_set(err, -EPROTO, "clickhouse: answer is not the JSON that was asked for: %s", fault.text);
}

/* Text of a cell; "" if there is none, so that evil shapes only fail to match. */
static const char *cell(json_t *rows, size_t row, size_t column)
{
	const char *text = json_string_value(json_array_get(json_array_get(rows, row), column));

	return text ? text : "";
}

/* ---- making ---- */

static int create_all(struct ch_http *h, const struct config_clickhouse *cfg,
	const struct ch_catalog *catalog, struct err *err)
{
	bool more = true;
	int rc = 0;

	for (uint32_t n = 0; rc == 0 && more; n++) {
		struct ch_statement sql;

		rc = ch_statement_open(&sql, err);
		if (rc)
			break;
		more = ch_catalog_statement(catalog, cfg, n, sql.out);
		if (more)
			rc = sql_run(&sql, h, err);
		else
			ch_statement_drop(&sql);
	}
	if (rc)
		err_prefix(err, "creating tables (clickhouse.create)");
	return rc;
}

/* ---- columns ---- */

/* The row of system.columns about a column, or -1. */
static int column_row(json_t *rows, const char *table, const char *column)
{
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (strcmp(cell(rows, i, 0), table) == 0 && strcmp(cell(rows, i, 1), column) == 0)
			return (int)i;
	return -1;
}

static int column_compare(const char *database, const struct ch_table *table, const struct ch_column *column,
	json_t *rows, struct err *err)
{
	int at = column_row(rows, table->name, column->name);
	size_t i = (size_t)at;
	char expected[CH_TYPE_BYTES];

	if (at < 0)
		return 0;
	ch_column_type(expected, column);
	if (strcmp(cell(rows, i, 2), expected) != 0)
		return err_set(err, -EINVAL,
			"clickhouse: table %s.%s: column %s has type %s, expected %s: "
			"change or rename it (a value of a window can have another name, by `as NAME`)",
			database, table->name, column->name, cell(rows, i, 2), expected);
	if (strcmp(cell(rows, i, 3), "MATERIALIZED") == 0 || strcmp(cell(rows, i, 3), "ALIAS") == 0)
		return err_set(err, -EINVAL,
			"clickhouse: table %s.%s: column %s is %s and cannot be written, expected an "
			"ordinary column",
			database, table->name, column->name, cell(rows, i, 3));
	if (table->aggregating && column->value == CH_VALUE_GROUP && strcmp(cell(rows, i, 4), "1") != 0)
		return err_set(err, -EINVAL,
			"clickhouse: table %s.%s: column %s is not in its sorting key, so rows of different "
			"groups would become one: drop the view that fills it and rename it, and both are "
			"made "
			"again",
			database, table->name, column->name);
	return 0;
}

/* A roll-up's rows merge by its key: a group that is not in it would be lost. New columns can only stand last
 * there. */
static void key_put(FILE *out, const struct ch_table *table, json_t *rows)
{
	fputs(", MODIFY ORDER BY (window, window_start", out);
	for (int missing = 0; missing < 2; missing++) {
		for (uint32_t i = 0; i < table->column_count; i++) {
			const struct ch_column *column = &table->column[i];

			if (column->value != CH_VALUE_GROUP ||
				(column_row(rows, table->name, column->name) < 0) != missing)
				continue;
			fputs(", ", out);
			ch_ddl_word(out, column->name);
		}
		fputs(missing ? ")" : ", other", out);
	}
}

/* All that are missing, in one statement that adds them. */
static int columns_missing(const char *database, const struct ch_table *table, json_t *rows, struct err *err)
{
	const char *first = "";
	char type[CH_TYPE_BYTES];
	uint32_t count = 0;
	bool groups = false;
	struct ch_statement sql;
	int rc = ch_statement_open(&sql, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < table->column_count; i++) {
		if (column_row(rows, table->name, table->column[i].name) >= 0)
			continue;
		if (!count++)
			first = table->column[i].name;
		ch_column_type(type, &table->column[i]);
		fputs(count > 1 ? ", ADD COLUMN " : " ADD COLUMN ", sql.out);
		ch_ddl_word(sql.out, table->column[i].name);
		fprintf(sql.out, " %s", type);
		groups |= table->column[i].value == CH_VALUE_GROUP;
	}
	if (groups && table->aggregating)
		key_put(sql.out, table, rows);
	rc = ch_statement_end(&sql, err);
	if (rc == 0 && count)
		rc = err_set(err, -EINVAL,
			"clickhouse: table %s.%s: column %s is missing; run: ALTER TABLE %s.%s%s", database,
			table->name, first, database, table->name, sql.text);
	free(sql.text);
	return rc;
}

/* A view that was made for fewer columns would leave the others empty. */
static int view_columns_check(const char *database, const struct ch_entry *e, json_t *rows, struct err *err)
{
	for (uint32_t i = 0; i < e->table.column_count; i++)
		if (column_row(rows, e->rollup->view, e->table.column[i].name) < 0)
			return err_set(err, -EINVAL,
				"clickhouse: materialized view %s.%s does not give column %s of %s: drop it, "
				"and it is made again as `sluicectl schema clickhouse` prints it",
				database, e->rollup->view, e->table.column[i].name, e->table.name);
	return 0;
}

/* The tables of a catalog, and the views that fill its roll-ups. */
static void names_put(FILE *out, const struct ch_catalog *catalog)
{
	fputs(" IN (''", out);
	for (uint32_t i = 0; i < catalog->count; i++) {
		fputs(", ", out);
		ch_ddl_text(out, catalog->entry[i].table.name);
		if (!catalog->entry[i].rollup)
			continue;
		fputs(", ", out);
		ch_ddl_text(out, catalog->entry[i].rollup->view);
	}
	fputc(')', out);
}

static int columns_read(struct ch_http *h, const struct config_clickhouse *cfg,
	const struct ch_catalog *catalog, json_t **doc, json_t **rows, struct err *err)
{
	struct ch_statement sql;
	int rc = ch_statement_open(&sql, err);

	if (rc)
		return rc;
	fputs("SELECT table, name, type, default_kind, toString(is_in_sorting_key) FROM system.columns WHERE "
	      "database = ",
		sql.out);
	ch_ddl_text(sql.out, cfg->database);
	fputs(" AND table", sql.out);
	names_put(sql.out, catalog);
	fputs(CH_WHOLE_SETTINGS " FORMAT JSONCompact", sql.out);
	return sql_rows(&sql, h, doc, rows, err);
}

/* views: those that fill roll-ups are there, too. */
static int columns_check(struct ch_http *h, const struct config_clickhouse *cfg,
	const struct ch_catalog *catalog, bool views, struct err *err)
{
	json_t *doc = NULL, *rows = NULL;
	int rc = columns_read(h, cfg, catalog, &doc, &rows, err);

	for (uint32_t n = 0; rc == 0 && n < catalog->count; n++) {
		const struct ch_entry *e = &catalog->entry[n];

		for (uint32_t i = 0; rc == 0 && i < e->table.column_count; i++)
			rc = column_compare(cfg->database, &e->table, &e->table.column[i], rows, err);
		if (rc == 0)
			rc = columns_missing(cfg->database, &e->table, rows, err);
		if (rc == 0 && e->rollup && views)
			rc = view_columns_check(cfg->database, e, rows, err);
	}
	json_decref(doc);
	return rc;
}

/* ---- engine, partition key, window ---- */

/* The value of a setting in "... SETTINGS a = 1, b = 2", or `missing`. */
static uint64_t setting_of(const char *engine, const char *name, uint64_t missing)
{
	size_t bytes = strlen(name);

	for (const char *p = strstr(engine, "SETTINGS "); p && (p = strstr(p, name)); p += bytes) {
		bool begins = p[-1] == ' ' || p[-1] == ',';

		if (begins && strncmp(p + bytes, " = ", 3) == 0)
			return strtoull(p + bytes + 3, NULL, 10);
	}
	return missing;
}

/* -EINVAL unless repeated blocks are recognised. Replicated engines do it by default, with a window of their
 * own. */
static int window_check(const char *table, const char *engine, const char *full, struct err *err)
{
	bool replicated = strncmp(engine, "Replicated", 10) == 0 || strncmp(engine, "Shared", 6) == 0;
	const char *name =
		replicated ? "replicated_deduplication_window" : "non_replicated_deduplication_window";

	if (!strstr(engine, "MergeTree"))
		return err_set(err, -EINVAL,
			"clickhouse: table %s has engine %s, expected a MergeTree: no other recognises a "
			"repeated INSERT",
			table, engine);
	if (setting_of(full, name, replicated ? 1 : 0) == 0)
		return err_set(err, -EINVAL,
			"clickhouse: table %s: %s is 0, expected more; " WINDOW_HELP
			"; run: ALTER TABLE %s MODIFY SETTING %s = 10000",
			table, name, table, name);
	return 0;
}

/* One INSERT must become one part: by UTC months or not partitioned. */
static int partition_check(
	const char *name, const struct ch_table *table, const char *key, const char *zone, struct err *err)
{
	char ours[64], local[64];
	bool utc = strcmp(zone, "UTC") == 0 || strcmp(zone, "Etc/UTC") == 0;

	snprintf(ours, sizeof ours, CH_PARTITION_KEY, table->time);
	snprintf(local, sizeof local, "toYYYYMM(%s)", table->time);
	if (!key[0] || strcmp(key, "tuple()") == 0 || strcmp(key, ours) == 0 ||
		(utc && strcmp(key, local) == 0))
		return 0;
	return err_set(err, -EINVAL,
		"clickhouse: table %s: PARTITION BY %s (time zone %s), expected %s or none", name, key, zone,
		ours);
}

/* -1: it is not there, or twice. */
static int table_row(json_t *rows, const char *table)
{
	int row = -1;

	for (size_t i = 0; i < json_array_size(rows); i++) {
		if (strcmp(cell(rows, i, 0), table) != 0)
			continue;
		if (row >= 0)
			return -1;
		row = (int)i;
	}
	return row;
}

static int table_check(
	const struct config_clickhouse *cfg, const struct ch_table *table, json_t *rows, struct err *err)
{
	int at = table_row(rows, table->name);
	size_t i = (size_t)at;
	char name[400];
	int rc;

	snprintf(name, sizeof name, "%s.%s", cfg->database, table->name);
	if (at < 0)
		return err_set(err, -EINVAL,
			"clickhouse: table %s does not exist%s; `sluicectl schema clickhouse` prints what is "
			"needed",
			name, cfg->create ? "" : " (clickhouse.create is false)");
	rc = window_check(name, cell(rows, i, 1), cell(rows, i, 2), err);
	return rc ? rc : partition_check(name, table, cell(rows, i, 3), cell(rows, i, 4), err);
}

static int tables_check(struct ch_http *h, const struct config_clickhouse *cfg,
	const struct ch_catalog *catalog, struct err *err)
{
	json_t *doc = NULL, *rows = NULL;
	struct ch_statement sql;
	int rc = ch_statement_open(&sql, err);

	if (rc)
		return rc;
	fputs("SELECT name, engine, engine_full, partition_key, timezone() FROM system.tables WHERE database "
	      "= ",
		sql.out);
	ch_ddl_text(sql.out, cfg->database);
	fputs(" AND name", sql.out);
	names_put(sql.out, catalog);
	fputs(CH_WHOLE_SETTINGS " FORMAT JSONCompact", sql.out);
	rc = sql_rows(&sql, h, &doc, &rows, err);
	for (uint32_t i = 0; rc == 0 && i < catalog->count; i++)
		rc = table_check(cfg, &catalog->entry[i].table, rows, err);
	json_decref(doc);
	return rc;
}

/* ---- materialized views ---- */

/* The views that read any of the given tables: name, where they write, that table's engine, what they read. A
 * view without TO writes to a hidden table named by its own uuid. */
static const char view_sql[] =
	"SELECT concat(v.database, '.', v.name), concat(t.database, '.', t.name), t.engine, t.engine_full, "
	"t.database, t.name, concat(s.database, '.', s.name) FROM (SELECT database, name, "
	"arrayJoin(arrayZip(dependencies_database, dependencies_table)) AS d FROM system.tables "
	"WHERE (database, name) IN (%s)) AS s "
	"INNER JOIN (SELECT database, name, if(extract(create_table_query, ' TO ([^ (]+)') = '', "
	"concat(database, "
	"'..inner_id.', toString(uuid)), replaceAll(extract(create_table_query, ' TO ([^ (]+)'), '`', '')) "
	"AS target "
	"FROM system.tables WHERE engine = 'MaterializedView') AS v ON v.database = s.d.1 AND v.name = s.d.2 "
	"LEFT JOIN system.tables AS t ON concat(t.database, '.', t.name) = v.target" CH_WHOLE_SETTINGS
	" FORMAT JSONCompact";

static void table_put(struct ch_statement *list, const char *database, const char *table)
{
	fputs(ftell(list->out) > 0 ? ", (" : "(", list->out);
	ch_ddl_text(list->out, database);
	fputs(", ", list->out);
	ch_ddl_text(list->out, table);
	fputc(')', list->out);
}

/* Whether a view further up writes to the same table. */
static bool target_listed(json_t *rows, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(cell(rows, k, 4), cell(rows, i, 4)) == 0 &&
			strcmp(cell(rows, k, 5), cell(rows, i, 5)) == 0)
			return true;
	return false;
}

static int view_check(json_t *rows, size_t i, struct ch_statement *next, struct err *err)
{
	int rc;

	if (!cell(rows, i, 5)[0] || strcmp(cell(rows, i, 2), "Null") == 0)
		return 0; /* target gone or throws rows away: nothing to count twice */
	rc = window_check(cell(rows, i, 1), cell(rows, i, 2), cell(rows, i, 3), err);
	if (rc)
		err_prefix(
			err, "materialized view %s of %s writes to it", cell(rows, i, 0), cell(rows, i, 6));
	else if (!target_listed(rows, i))
		table_put(next, cell(rows, i, 4), cell(rows, i, 5));
	return rc;
}

/* The views of the tables in `list`, which is freed; their targets come into *next. */
static int views_check_level(
	struct ch_http *h, struct ch_statement *list, struct ch_statement *next, struct err *err)
{
	json_t *doc = NULL, *rows = NULL;
	struct ch_statement sql;
	int rc = ch_statement_open(&sql, err);

	if (rc == 0) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		fprintf(sql.out, view_sql, list->text);
#pragma GCC diagnostic pop
		rc = sql_rows(&sql, h, &doc, &rows, err);
	}
	free(list->text);
	for (size_t i = 0; rc == 0 && i < json_array_size(rows); i++)
		rc = view_check(rows, i, next, err);
	json_decref(doc);
	return rc;
}

/* Those of our tables, then those that read their targets, and so on: a query a level. */
static int views_check(struct ch_http *h, const struct config_clickhouse *cfg,
	const struct ch_catalog *catalog, struct err *err)
{
	struct ch_statement list, next;
	int rc = ch_statement_open(&list, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < catalog->count; i++)
		table_put(&list, cfg->database, catalog->entry[i].table.name);
	rc = ch_statement_end(&list, err);
	for (uint32_t depth = 0; rc == 0 && list.bytes; depth++) {
		rc = ch_statement_open(&next, err);
		if (rc) {
			free(list.text);
			return rc;
		}
		rc = views_check_level(h, &list, &next, err);
		if (rc == 0 && depth == VIEW_DEPTH_MAX && ftell(next.out) > 0)
			rc = err_set(err, -EINVAL, "clickhouse: views of views of %s nest too deep",
				cfg->database);
		if (rc) {
			ch_statement_drop(&next);
			return rc;
		}
		rc = ch_statement_end(&next, err);
		list = next;
	}
	if (rc == 0)
		free(list.text);
	return rc;
}

/* A server may refuse a view, even one that is there, because a table lacks a column: then what to run is
 * said instead. */
static int create_failed(struct ch_http *h, const struct config_clickhouse *cfg,
	const struct ch_catalog *catalog, int rc, struct err *err)
{
	struct err columns;

	if (rc != -EINVAL || tables_check(h, cfg, catalog, &columns) ||
		columns_check(h, cfg, catalog, false, &columns) != -EINVAL)
		return rc;
	*err = columns;
	return -EINVAL;
}

int ch_check_tables(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_catalog *catalog,
	struct err *err)
{
	int rc = cfg->create ? create_all(h, cfg, catalog, err) : 0;

	if (rc)
		return create_failed(h, cfg, catalog, rc, err);
	rc = tables_check(h, cfg, catalog, err);
	if (rc == 0)
		rc = columns_check(h, cfg, catalog, true, err);
	return rc ? rc : views_check(h, cfg, catalog, err);
}

int ch_check_window(
	struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_window *w, struct err *err)
{
	struct ch_entry entry = {.table = w->table, .window = w};
	struct ch_catalog one = {.count = 1, .entry = &entry};
	int rc = 0;

	if (cfg->create) {
		struct ch_statement sql;

		rc = ch_statement_open(&sql, err);
		if (rc)
			return rc;
		ch_ddl_table(sql.out, cfg, &w->table);
		rc = sql_run(&sql, h, err);
	}
	if (rc == 0)
		rc = tables_check(h, cfg, &one, err);
	return rc ? rc : columns_check(h, cfg, &one, true, err);
}
