/* Make what is missing, compare what is there: when a server is used first, and when it was away. Results
 * come as JSON, read by jansson. */
#include "ch_check.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ch_compare.h"
#include "ch_ddl.h"
#include "ch_faults.h"
#include "ch_statement.h"

#define CHECK_MS_MAX 5000u
#define VIEW_DEPTH_MAX 8 /* views that feed views */

/* Where all faults stand that an error has no room for. */
#define ALL_FAULTS "`sluicectl schema clickhouse --diff --config FILE` prints what to run"

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

/* ---- what is there ---- */

/* SELECT `what` of our database for the tables of a catalog and the views that fill its roll-ups; people:
 * and for people's. */
static int names_read(struct ch_http *h, const struct ch_compare *c, const char *what, bool people,
	json_t **doc, json_t **rows, struct err *err)
{
	struct ch_statement sql;
	int rc = ch_statement_open(&sql, err);

	if (rc)
		return rc;
	fprintf(sql.out, "SELECT %s IN (''", what);
	for (uint32_t i = 0; i < c->catalog->count; i++) {
		const struct ch_entry *e = &c->catalog->entry[i];
		char view[CH_VIEW_NAME_BYTES];
		const char *name[] = {e->table.name, e->rollup ? e->rollup->view : NULL, NULL};

		ch_view_name(view, e->table.name);
		if (people && ch_entry_viewed(e))
			name[2] = view;
		for (int k = 0; k < 3; k++) {
			fputs(name[k] ? ", " : "", sql.out);
			if (name[k])
				ch_ddl_text(sql.out, name[k]);
		}
	}
	fputs(") AND database = ", sql.out);
	ch_ddl_text(sql.out, c->cfg->database);
	fputs(CH_WHOLE_SETTINGS " FORMAT JSONCompact", sql.out);
	return sql_rows(&sql, h, doc, rows, err);
}

/* people: with the views, else the tables alone. */
static int catalog_look(struct ch_http *h, const struct config_clickhouse *cfg,
	const struct ch_catalog *catalog, bool people, struct ch_faults *f, struct err *err)
{
	struct ch_compare c = {.cfg = cfg, .catalog = catalog};
	json_t *tables = NULL, *columns = NULL;
	int rc = names_read(h, &c,
		"name, engine, engine_full, partition_key, timezone(), sorting_key FROM system.tables "
		"WHERE name",
		people, &tables, &c.tables, err);

	if (rc == 0)
		rc = names_read(h, &c,
			"table, name, type, default_kind, toString(is_in_sorting_key) FROM system.columns "
			"WHERE table",
			false, &columns, &c.columns, err);
	if (rc == 0)
		ch_compare_tables(&c, f);
	if (rc == 0 && people)
		ch_compare_views(&c, f);
	json_decref(tables);
	json_decref(columns);
	return rc;
}

/* ---- materialized views ---- */

/* The views that read any of the given tables: name, where they write, that table's engine, what they read. A
 * view without TO writes to a hidden table named by its own uuid. */
static const char view_sql[] =
	"SELECT concat(v.database, '.', v.name), t.engine, t.engine_full, t.database, t.name, "
	"concat(s.database, '.', s.name) FROM (SELECT database, name, "
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
		if (strcmp(ch_cell(rows, k, 3), ch_cell(rows, i, 3)) == 0 &&
			strcmp(ch_cell(rows, k, 4), ch_cell(rows, i, 4)) == 0)
			return true;
	return false;
}

/* What a walk from view to view has. */
struct views_look {
	struct ch_http *h;
	const struct config_clickhouse *cfg;
	struct ch_faults *f;
};

static void view_check(const struct views_look *v, json_t *rows, size_t i, struct ch_statement *next)
{
	struct ch_target_table t = {.database = ch_cell(rows, i, 3),
		.name = ch_cell(rows, i, 4),
		.engine = ch_cell(rows, i, 1),
		.engine_full = ch_cell(rows, i, 2)};
	struct err writer;

	if (!t.name[0] || strcmp(t.engine, "Null") == 0)
		return; /* target gone or throws rows away: nothing to count twice */
	err_set(&writer, 0, "materialized view %.200s of %.200s writes to ", ch_cell(rows, i, 0),
		ch_cell(rows, i, 5));
	if (ch_compare_window(v->cfg, &t, writer.text, v->f) && !target_listed(rows, i))
		table_put(next, t.database, t.name);
}

/* The views of the tables in `list`, which is freed; their targets come into *next. */
static int views_check_level(
	const struct views_look *v, struct ch_statement *list, struct ch_statement *next, struct err *err)
{
	json_t *doc = NULL, *rows = NULL;
	struct ch_statement sql;
	int rc = ch_statement_open(&sql, err);

	if (rc == 0) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		fprintf(sql.out, view_sql, list->text);
#pragma GCC diagnostic pop
		rc = sql_rows(&sql, v->h, &doc, &rows, err);
	}
	free(list->text);
	for (size_t i = 0; rc == 0 && i < json_array_size(rows); i++)
		view_check(v, rows, i, next);
	json_decref(doc);
	return rc;
}

/* Those of our tables, then those that read their targets, and so on: a query a level. */
static int views_look(const struct views_look *v, const struct ch_catalog *catalog, struct err *err)
{
	struct ch_statement list, next;
	int rc = ch_statement_open(&list, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < catalog->count; i++)
		table_put(&list, v->cfg->database, catalog->entry[i].table.name);
	rc = ch_statement_end(&list, err);
	for (uint32_t depth = 0; rc == 0 && list.bytes; depth++) {
		rc = ch_statement_open(&next, err);
		if (rc) {
			free(list.text);
			return rc;
		}
		rc = views_check_level(v, &list, &next, err);
		if (rc) {
			ch_statement_drop(&next);
			return rc;
		}
		rc = ch_statement_end(&next, err);
		list = next;
		if (rc == 0 && depth == VIEW_DEPTH_MAX && list.bytes) {
			ch_fault_note(
				v->f, CH_FAULT_WRONG, "views of views of %s nest too deep", v->cfg->database);
			break;
		}
	}
	if (rc == 0)
		free(list.text);
	return rc;
}

/* ---- all of it ---- */

int ch_check_look(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_catalog *catalog,
	struct ch_faults *f, struct err *err)
{
	struct views_look v = {.h = h, .cfg = cfg, .f = f};
	int rc = ch_faults_open(f, err);

	if (rc)
		return rc;
	rc = catalog_look(h, cfg, catalog, true, f, err);
	if (rc == 0)
		rc = views_look(&v, catalog, err);
	return rc ? rc : ch_faults_end(f, err);
}

/* A look: 0, or -EINVAL, *misfit, with what is wrong; *missing: what clickhouse.create makes. */
static int tables_look(struct ch_http *h, const struct config_clickhouse *cfg,
	const struct ch_catalog *catalog, bool create, bool *missing, bool *misfit, struct err *err)
{
	struct ch_faults f;
	int rc = ch_check_look(h, cfg, catalog, &f, err);

	if (rc == 0) {
		rc = ch_faults_text(&f, create, ALL_FAULTS, err);
		*misfit = rc == -EINVAL;
		*missing = ch_faults_missing(&f);
	}
	ch_faults_free(&f);
	return rc;
}

/* What is wrong comes before what is missing: a server may refuse a view, even one that is there, because a
 * table lacks a column. */
int ch_check_tables(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_catalog *catalog,
	bool *misfit, struct err *err)
{
	bool missing = false;
	int rc;

	*misfit = false;
	rc = tables_look(h, cfg, catalog, cfg->create, &missing, misfit, err);
	if (rc || !cfg->create)
		return rc;
	rc = create_all(h, cfg, catalog, err);
	return rc || !missing ? rc : tables_look(h, cfg, catalog, false, &missing, misfit, err);
}

int ch_check_window(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_window *w,
	bool *misfit, struct err *err)
{
	struct ch_entry entry = {.table = w->table, .window = w};
	struct ch_catalog one = {.count = 1, .entry = &entry};
	struct ch_faults f;
	int rc = 0;

	*misfit = false;
	if (cfg->create) {
		struct ch_statement sql;

		rc = ch_statement_open(&sql, err);
		if (rc)
			return rc;
		ch_ddl_table(sql.out, cfg, &w->table);
		rc = sql_run(&sql, h, err);
		if (rc)
			return rc;
	}
	rc = ch_faults_open(&f, err);
	if (rc)
		return rc;
	rc = catalog_look(h, cfg, &one, false, &f, err);
	if (rc == 0)
		rc = ch_faults_end(&f, err);
	if (rc == 0) {
		rc = ch_faults_text(&f, false, NULL, err);
		*misfit = rc == -EINVAL;
	}
	ch_faults_free(&f);
	return rc;
}
