/* The list of tables and statements. Pure. */
#include "ch_catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ch_ddl.h"

static struct ch_entry *entry_find(const struct ch_catalog *c, const char *name)
{
	for (uint32_t i = 0; i < c->count; i++)
		if (strcmp(c->entry[i].table.name, name) == 0)
			return &c->entry[i];
	return NULL;
}

static struct ch_entry *entry_add(struct ch_catalog *c, const struct ch_table *table)
{
	struct ch_entry *e = &c->entry[c->count++];

	*e = (struct ch_entry){.table = *table};
	return e;
}

static void statics_add(struct ch_catalog *c, unsigned logs)
{
	for (int id = 0; id < CH_TABLE_COUNT; id++) {
		const struct ch_table *table = ch_table_get((enum ch_table_id)id);

		if (table->logs & logs)
			entry_add(c, table);
	}
}

/* ---- windows ---- */

/* The table gets the columns of another window, too. */
static int entry_join(struct ch_entry *e, const struct ch_window *w, struct err *err)
{
	for (uint32_t i = 0; i < w->table.column_count; i++) {
		const struct ch_column *column = &w->table.column[i];
		const struct ch_column *have = ch_table_column(&e->table, column->name);
		char type[CH_TYPE_BYTES], other[CH_TYPE_BYTES];

		if (!have && e->table.column_count < NATIVE_COLUMNS_MAX) {
			*ch_table_column_add(&e->table, column->name, column->type, column->value) = *column;
			continue;
		}
		if (!have)
			return err_set(err, -EINVAL, "clickhouse: table %s would have more than %d columns",
				w->name, NATIVE_COLUMNS_MAX);
		ch_column_type(type, column);
		ch_column_type(other, have);
		if (strcmp(type, other) != 0)
			return err_set(err, -EINVAL,
				"clickhouse: windows %s and %s share table %s, but column %s would be %s of "
				"the one and %s of the other: give one of them another name",
				e->window->def->name, w->def->name, w->name, column->name, other, type);
	}
	return 0;
}

static int window_add(struct ch_catalog *c, const struct ch_window *w, struct err *err)
{
	struct ch_entry *e = entry_find(c, w->name);

	if (!e) {
		entry_add(c, &w->table)->window = w;
		return 0;
	}
	if (!w->merges || !e->window->merges)
		return err_set(err, -EINVAL,
			"clickhouse: windows %s and %s would both go to table %s: give one of them another "
			"name",
			e->window->def->name, w->def->name, w->name);
	for (uint32_t i = 0; i < c->window_count; i++)
		if (c->window[i] != w && strcmp(c->window[i]->name, w->name) == 0 &&
			strcmp(c->window[i]->size, w->size) == 0)
			return err_set(err, -EINVAL,
				"clickhouse: windows %s and %s would both be `%s` in table %s: give one of "
				"them another name",
				c->window[i]->def->name, w->def->name, w->size, w->name);
	return entry_join(e, w, err);
}

/* What identifies a row of a roll-up, and what merges. */
static void rollup_columns(struct ch_table *to, const struct ch_table *from)
{
	to->column_count = 0;
	for (uint32_t i = 0; i < from->column_count; i++) {
		const struct ch_column *column = &from->column[i];
		bool identity = column->value == CH_VALUE_SIZE || column->value == CH_VALUE_START ||
				column->value == CH_VALUE_GROUP || column->value == CH_VALUE_OTHER;

		if (identity || column->merge || column->value == CH_VALUE_END)
			*ch_table_column_add(to, column->name, column->type, column->value) = *column;
		if (column->value == CH_VALUE_END)
			to->column[to->column_count - 1].merge = "max";
	}
}

static int rollup_add(
	struct ch_catalog *c, const struct ch_window *w, const struct ch_rollup *r, struct err *err)
{
	struct ch_entry *e = entry_find(c, r->name);

	if (e)
		return err_set(err, -EINVAL,
			"clickhouse: windows %s and %s would both fill table %s: one roll-up of a size is "
			"enough",
			e->window->def->name, w->def->name, r->name);
	e = entry_add(c, &w->table);
	e->window = w;
	e->rollup = r;
	e->table.name = e->table.token = r->name;
	e->table.aggregating = true;
	rollup_columns(&e->table, &w->table);
	return 0;
}

/* Tables and views share their names, and making a view anew would put it in a table's place. */
static int view_names_check(const struct ch_catalog *c, struct err *err)
{
	for (uint32_t i = 0; i < c->count; i++) {
		const struct ch_entry *e = &c->entry[i];
		char view[CH_VIEW_NAME_BYTES];
		const char *names[] = {view, e->rollup ? e->rollup->view : view};

		ch_view_name(view, e->table.name);
		for (int k = 0; e->window && k < 2; k++)
			if (entry_find(c, names[k]))
				return err_set(err, -EINVAL,
					"clickhouse: table %s has the name of a view of window %s: give one "
					"of them another name",
					names[k], e->window->def->name);
	}
	return 0;
}

/* The server has the length of a text as a part of its column, NAME.size: beside that a column of this name
 * can be written, but not be read. */
static int parts_check(const struct ch_catalog *c, struct err *err)
{
	static const char part[] = ".size";

	for (uint32_t i = 0; i < c->count; i++) {
		const struct ch_table *table = &c->entry[i].table;

		for (uint32_t k = 0; k < table->column_count; k++) {
			const char *name = table->column[k].name;
			size_t n = strlen(name);
			config_str of;

			if (n < sizeof part || strcmp(name + n - (sizeof part - 1), part) != 0)
				continue;
			snprintf(of, sizeof of, "%.*s", (int)(n - (sizeof part - 1)), name);
			if (ch_table_column(table, of))
				return err_set(err, -EINVAL,
					"clickhouse: table %s: %s is the length of column %s there, and no "
					"column beside it: group by one of them, or set the window's "
					"`clickhouse: false`",
					table->name, name, of);
		}
	}
	return 0;
}

static int windows_add(struct ch_catalog *c, const struct window_plan *plan, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < plan->count && !rc; i++) {
		if (!plan->def[i]->to_clickhouse)
			continue;
		rc = ch_window_make(&c->window[c->window_count], plan->def[i], err);
		if (!rc)
			rc = window_add(c, c->window[c->window_count++], err);
	}
	for (uint32_t i = 0; i < c->window_count; i++)
		for (uint32_t k = 0; k < c->window[i]->rollup_count && !rc; k++)
			rc = rollup_add(c, c->window[i], &c->window[i]->rollup[k], err);
	if (!rc)
		rc = parts_check(c, err);
	return rc ? rc : view_names_check(c, err);
}

int ch_catalog_make(struct ch_catalog **out, unsigned logs, const struct window_plan *plan, struct err *err)
{
	struct ch_catalog *c = calloc(1, sizeof *c);
	int rc = 0;

	*out = NULL;
	if (c)
		c->entry = calloc(CH_CATALOG_MAX, sizeof *c->entry);
	if (!c || !c->entry)
		rc = err_set(err, -ENOMEM, "clickhouse: no memory for the list of tables");
	if (!rc)
		statics_add(c, logs);
	if (!rc && plan && (logs & CH_LOG_OUTPUT))
		rc = windows_add(c, plan, err);
	if (rc)
		ch_catalog_free(c);
	else
		*out = c;
	return rc;
}

void ch_catalog_free(struct ch_catalog *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->window_count; i++)
		ch_window_free(c->window[i]);
	free(c->entry);
	free(c);
}

/* ---- statements ---- */

static bool is_rollup(const struct ch_entry *e)
{
	return e->rollup != NULL;
}

/* Sessions are values already. */
bool ch_entry_viewed(const struct ch_entry *e)
{
	return e->window && (e->window->merges || e->window->def->kind == WINDOW_FUNNEL);
}

/* The n-th entry of a sort, or NULL; takes the number of all from *n if there are fewer. */
static const struct ch_entry *entry_nth(
	const struct ch_catalog *c, bool (*of)(const struct ch_entry *e), uint32_t *n)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < c->count; i++)
		if (of(&c->entry[i]) && at++ == *n)
			return &c->entry[i];
	*n -= at;
	return NULL;
}

bool ch_catalog_statement(
	const struct ch_catalog *c, const struct config_clickhouse *cfg, uint32_t n, FILE *out)
{
	const struct ch_entry *e;

	if (n == 0) {
		ch_ddl_database(out, cfg);
		return true;
	}
	if (n <= c->count) {
		ch_ddl_table(out, cfg, &c->entry[n - 1].table);
		return true;
	}
	n -= 1 + c->count;
	e = entry_nth(c, is_rollup, &n);
	if (e) {
		ch_view_rollup(out, cfg, e);
		return true;
	}
	e = entry_nth(c, ch_entry_viewed, &n);
	if (e)
		ch_view_people(out, cfg, c, e);
	return e != NULL;
}
