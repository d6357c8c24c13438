/* See ch_compare.h. */
#include "ch_compare.h"

#include <stdlib.h>
#include <string.h>

#include "ch_ddl.h"

const char *ch_cell(json_t *rows, size_t row, size_t column)
{
	const char *text = json_string_value(json_array_get(json_array_get(rows, row), column));

	return text ? text : "";
}

static void name_put(FILE *out, const char *database, const char *name)
{
	ch_ddl_word(out, database);
	fputc('.', out);
	ch_ddl_word(out, name);
}

/* -1: it is not there, or twice. */
static int table_row(const struct ch_compare *c, const char *table)
{
	int row = -1;

	for (size_t i = 0; i < json_array_size(c->tables); i++) {
		if (strcmp(ch_cell(c->tables, i, 0), table) != 0)
			continue;
		if (row >= 0)
			return -1;
		row = (int)i;
	}
	return row;
}

/* The row of system.columns about a column, or -1. */
static int column_row(const struct ch_compare *c, const char *table, const char *column)
{
	for (size_t i = 0; i < json_array_size(c->columns); i++)
		if (strcmp(ch_cell(c->columns, i, 0), table) == 0 &&
			strcmp(ch_cell(c->columns, i, 1), column) == 0)
			return (int)i;
	return -1;
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

/* Replicated engines recognise repeated blocks by default, with a window of their own. */
bool ch_compare_window(const struct config_clickhouse *cfg, const struct ch_target_table *t,
	const char *writer, struct ch_faults *f)
{
	bool replicated = strncmp(t->engine, "Replicated", 10) == 0 || strncmp(t->engine, "Shared", 6) == 0;
	const char *setting =
		replicated ? "replicated_deduplication_window" : "non_replicated_deduplication_window";

	if (!strstr(t->engine, "MergeTree")) {
		ch_fault_note(f, CH_FAULT_WRONG,
			"%stable %s.%s has engine %s, expected a MergeTree: no other recognises a repeated "
			"INSERT",
			writer, t->database, t->name, t->engine);
		return false;
	}
	if (setting_of(t->engine_full, setting, replicated ? 1 : 0))
		return true;
	ch_fault_note(f, CH_FAULT_WRONG,
		"%stable %s.%s: %s is 0, expected more; without it a repeated INSERT counts twice", writer,
		t->database, t->name, setting);
	fputs("ALTER TABLE ", f->sql.out);
	name_put(f->sql.out, t->database, t->name);
	fprintf(f->sql.out, " MODIFY SETTING %s = %lu", setting, cfg->dedup_window);
	return false;
}

/* One INSERT must become one part: by UTC months or not partitioned. */
static void partition_compare(
	const struct ch_compare *c, const struct ch_table *table, size_t row, struct ch_faults *f)
{
	const char *key = ch_cell(c->tables, row, 3), *zone = ch_cell(c->tables, row, 4);
	char ours[64], local[64];
	bool utc = strcmp(zone, "UTC") == 0 || strcmp(zone, "Etc/UTC") == 0;

	snprintf(ours, sizeof ours, CH_PARTITION_KEY, table->time);
	snprintf(local, sizeof local, "toYYYYMM(%s)", table->time);
	if (!key[0] || strcmp(key, "tuple()") == 0 || strcmp(key, ours) == 0 ||
		(utc && strcmp(key, local) == 0))
		return;
	ch_fault_note(f, CH_FAULT_WRONG, "table %s.%s: PARTITION BY %s (time zone %s), expected %s or none",
		c->cfg->database, table->name, key, zone, ours);
}

static void table_missing(const struct ch_compare *c, const struct ch_table *table, struct ch_faults *f)
{
	ch_fault_note(f, CH_FAULT_MISSING, "table %s.%s does not exist%s", c->cfg->database, table->name,
		c->cfg->create ? "" : " (clickhouse.create is false)");
	ch_ddl_table(f->sql.out, c->cfg, table);
}

/* ---- columns ---- */

static void column_compare(const struct ch_compare *c, const struct ch_table *table,
	const struct ch_column *column, struct ch_faults *f)
{
	int at = column_row(c, table->name, column->name);
	size_t i = (size_t)at;
	const char *type = ch_cell(c->columns, i, 2), *kind = ch_cell(c->columns, i, 3);
	char expected[CH_TYPE_BYTES];

	if (at < 0)
		return;
	ch_column_type(expected, column);
	if (strcmp(type, expected) != 0)
		ch_fault_note(f, CH_FAULT_WRONG,
			"table %s.%s: column %s has type %s, expected %s: change or rename it (a value of a "
			"window can have another name, by `as NAME`)",
			c->cfg->database, table->name, column->name, type, expected);
	else if (strcmp(kind, "MATERIALIZED") == 0 || strcmp(kind, "ALIAS") == 0)
		ch_fault_note(f, CH_FAULT_WRONG,
			"table %s.%s: column %s is %s and cannot be written, expected an ordinary column",
			c->cfg->database, table->name, column->name, kind);
	else if (table->aggregating && column->value == CH_VALUE_GROUP &&
		 strcmp(ch_cell(c->columns, i, 4), "1") != 0)
		ch_fault_note(f, CH_FAULT_WRONG,
			"table %s.%s: column %s is not in its sorting key, so rows of different groups would "
			"become one: drop the view that fills it and rename it, and both are made again",
			c->cfg->database, table->name, column->name);
}

/* A roll-up's rows merge by its key: a group that is not in it would be lost. The server takes only the key
 * that it has, as it stands, with new columns behind it. */
static void key_put(const struct ch_compare *c, const struct ch_table *table, FILE *out)
{
	const char *key = ch_cell(c->tables, (size_t)table_row(c, table->name), 5);

	fprintf(out, ", MODIFY ORDER BY (%s", key);
	for (uint32_t i = 0; i < table->column_count; i++) {
		const struct ch_column *column = &table->column[i];

		if (column->value != CH_VALUE_GROUP || column_row(c, table->name, column->name) >= 0)
			continue;
		fputs(*key ? ", " : "", out);
		ch_ddl_word(out, column->name);
		key = ",";
	}
	fputs(")", out);
}

/* The first of its columns that is not there, in what has the name; NULL: all are. */
static const char *column_lacking(const struct ch_compare *c, const struct ch_table *table, const char *name)
{
	for (uint32_t i = 0; i < table->column_count; i++)
		if (column_row(c, name, table->column[i].name) < 0)
			return table->column[i].name;
	return NULL;
}

/* All that are missing, in one statement that adds them. */
static void columns_missing(const struct ch_compare *c, const struct ch_table *table, struct ch_faults *f)
{
	const char *first = column_lacking(c, table, table->name), *comma = "";
	FILE *out = f->sql.out;
	bool groups = false;

	if (!first)
		return;
	ch_fault_note(
		f, CH_FAULT_WRONG, "table %s.%s: column %s is missing", c->cfg->database, table->name, first);
	fputs("ALTER TABLE ", out);
	name_put(out, c->cfg->database, table->name);
	for (uint32_t i = 0; i < table->column_count; i++) {
		const struct ch_column *column = &table->column[i];
		char type[CH_TYPE_BYTES];

		if (column_row(c, table->name, column->name) >= 0)
			continue;
		ch_column_type(type, column);
		fprintf(out, "%s ADD COLUMN ", comma);
		ch_ddl_word(out, column->name);
		fprintf(out, " %s", type);
		comma = ",";
		groups |= column->value == CH_VALUE_GROUP;
	}
	if (groups && table->aggregating)
		key_put(c, table, out);
}

void ch_compare_tables(const struct ch_compare *c, struct ch_faults *f)
{
	bool any = false;

	for (uint32_t i = 0; i < c->catalog->count; i++)
		any |= table_row(c, c->catalog->entry[i].table.name) >= 0;
	if (!any) {
		ch_fault_note(f, CH_FAULT_FOLLOWS, "%s", "");
		ch_ddl_database(f->sql.out, c->cfg);
	}
	for (uint32_t i = 0; i < c->catalog->count; i++) {
		const struct ch_table *table = &c->catalog->entry[i].table;
		int row = table_row(c, table->name);
		struct ch_target_table t = {.database = c->cfg->database,
			.name = table->name,
			.engine = ch_cell(c->tables, (size_t)row, 1),
			.engine_full = ch_cell(c->tables, (size_t)row, 2)};

		if (row < 0) {
			table_missing(c, table, f);
			continue;
		}
		ch_compare_window(c->cfg, &t, "", f);
		partition_compare(c, table, (size_t)row, f);
		for (uint32_t k = 0; k < table->column_count; k++)
			column_compare(c, table, &table->column[k], f);
		columns_missing(c, table, f);
	}
}

/* ---- views ---- */

/* One that was made for fewer columns would leave the others empty. */
static void rollup_compare(const struct ch_compare *c, const struct ch_entry *e, struct ch_faults *f)
{
	const char *view = e->rollup->view, *lacking;

	if (table_row(c, view) < 0) {
		ch_fault_note(f, CH_FAULT_MISSING, "materialized view %s.%s does not exist%s",
			c->cfg->database, view, c->cfg->create ? "" : " (clickhouse.create is false)");
		ch_view_rollup(f->sql.out, c->cfg, e);
		return;
	}
	lacking = column_lacking(c, &e->table, view);
	if (!lacking)
		return;
	ch_fault_note(f, CH_FAULT_WRONG, "materialized view %s.%s does not give column %s of %s%s",
		c->cfg->database, view, lacking, e->table.name,
		c->cfg->create ? " (once it is dropped it is made again)" : "");
	fputs("DROP VIEW ", f->sql.out);
	name_put(f->sql.out, c->cfg->database, view);
	ch_fault_note(f, CH_FAULT_FOLLOWS, "%s", "");
	ch_view_rollup(f->sql.out, c->cfg, e);
}

void ch_compare_views(const struct ch_compare *c, struct ch_faults *f)
{
	for (uint32_t i = 0; i < c->catalog->count; i++)
		if (c->catalog->entry[i].rollup)
			rollup_compare(c, &c->catalog->entry[i], f);
	for (uint32_t i = 0; i < c->catalog->count; i++) {
		const struct ch_entry *e = &c->catalog->entry[i];
		char view[CH_VIEW_NAME_BYTES];

		ch_view_name(view, e->table.name);
		if (!ch_entry_viewed(e) ||
			(table_row(c, view) >= 0 && !column_lacking(c, &e->table, e->table.name)))
			continue;
		ch_fault_note(f, CH_FAULT_FOLLOWS, "%s", "");
		ch_view_people(f->sql.out, c->cfg, c->catalog, e);
	}
}
