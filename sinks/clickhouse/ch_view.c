/* SQL of roll-ups and of views for people: values computed from merged columns, by the formulas of
 * docs/sketches.md. Pure. */
#include <string.h>

#include "ch_catalog.h"
#include "ch_ddl.h"

static void name_put(FILE *out, const struct config_clickhouse *cfg, const char *name)
{
	ch_ddl_name(out, cfg->database);
	fputc('.', out);
	ch_ddl_name(out, name);
}

static void column_put(FILE *out, const char *from, const char *name)
{
	fprintf(out, "%s.", from);
	ch_ddl_name(out, name);
}

/* ---- roll-ups ---- */

static void rollup_column(FILE *out, const struct ch_rollup *r, const struct ch_column *column)
{
	switch (column->value) {
	case CH_VALUE_SIZE:
		ch_ddl_text(out, r->size);
		break;
	case CH_VALUE_START:
		fprintf(out,
			"toDateTime64(toStartOfInterval(t.window_start, toIntervalSecond(%ld), 'UTC'), 3)",
			r->size_ms / 1000);
		break;
	case CH_VALUE_END:
		fprintf(out,
			"toDateTime64(max(toStartOfInterval(t.window_start, toIntervalSecond(%ld), 'UTC')) + "
			"toIntervalSecond(%ld), 3)",
			r->size_ms / 1000, r->size_ms / 1000);
		break;
	default:
		if (column->merge)
			fprintf(out, "%s(", column->merge);
		column_put(out, "t", column->name);
		if (column->merge)
			fputc(')', out);
	}
	fputs(" AS ", out);
	ch_ddl_name(out, column->name);
}

void ch_view_rollup(FILE *out, const struct config_clickhouse *cfg, const struct ch_entry *e)
{
	fputs("CREATE MATERIALIZED VIEW IF NOT EXISTS ", out);
	name_put(out, cfg, e->rollup->view);
	fputs(" TO ", out);
	name_put(out, cfg, e->table.name);
	fputs(" AS\nSELECT\n", out);
	for (uint32_t i = 0; i < e->table.column_count; i++) {
		fputs("    ", out);
		rollup_column(out, e->rollup, &e->table.column[i]);
		fputs(i + 1 < e->table.column_count ? ",\n" : "\nFROM ", out);
	}
	name_put(out, cfg, e->window->name);
	fputs(" AS t\nWHERE t.window = ", out);
	ch_ddl_text(out, e->window->size);
	fputs("\nGROUP BY window, window_start", out);
	for (uint32_t i = 0; i < e->table.column_count; i++)
		if (e->table.column[i].value == CH_VALUE_GROUP ||
			e->table.column[i].value == CH_VALUE_OTHER) {
			fputs(", ", out);
			column_put(out, "t", e->table.column[i].name);
		}
}

/* ---- values: SELECT values FROM (SELECT *, helpers FROM (SELECT merged columns GROUP BY ...)) ----
 *
 * Helpers stand in a query of their own, as scalars, since what a lambda captures is copied for each of its
 * elements. */

static bool is_identity(const struct ch_column *column)
{
	return column->value == CH_VALUE_SIZE || column->value == CH_VALUE_START ||
	       column->value == CH_VALUE_GROUP || column->value == CH_VALUE_OTHER;
}

/* Ertl's improved estimator (hll.h) over the registers that are not 0: of 2^14 registers of 0 to 51. Its term
 * for registers of 51, which take some 10^15 values, is left out. */
static void distinct_helpers(FILE *out, const char *label)
{
	fprintf(out,
		",\n        (16384 - length(m.`%s`.1)) / 16384 AS `%s_zeros`,\n"
		"        arraySum(v -> exp2(-toFloat64(v)), m.`%s`.2) AS `%s_sum`",
		label, label, label, label);
}

static void distinct_value(FILE *out, const char *label)
{
	fprintf(out,
		"toUInt64(round(if(d.`%s_zeros` = 1, 0., 268435456 / (2 * log(2)) / (d.`%s_sum` + 16384 * "
		"(d.`%s_zeros` + arraySum(k -> pow(d.`%s_zeros`, exp2(k)) * exp2(k - 1), range(1, 40))))))) "
		"AS `%s`",
		label, label, label, label, label);
}

/* What is no number has a key below all others and is not looked at. */
static void quantiles_helpers(FILE *out, const char *label)
{
	fprintf(out,
		",\n        arrayFilter(k -> k > -131072, m.`%s`.1) AS `%s_keys`,\n"
		"        arrayCumSum(arrayFilter((c, k) -> k > -131072, m.`%s`.2, m.`%s`.1)) AS "
		"`%s_counts`,\n"
		"        arraySum(arrayFilter((c, k) -> k > -131072, m.`%s`.2, m.`%s`.1)) AS `%s_n`",
		label, label, label, label, label, label, label, label);
}

/* The value of the bucket (ddsketch.h) that holds rank floor(percent / 100 (n - 1)). */
static void quantile_value(FILE *out, const char *label, const char *field, int percent)
{
	fprintf(out,
		"if(d.`%s_n` = 0, NULL, arrayMap(k -> if(k = 0, 0., sign(k) * exp2((abs(k) - 36000) / 35) * "
		"2 * "
		"exp2(1 / 35) / (1 + exp2(1 / 35))), [d.`%s_keys`[arrayFirstIndex(x -> x > intDiv(%d * "
		"(d.`%s_n` - 1), 100), d.`%s_counts`)]])[1]) AS `p%d_%s`",
		label, label, percent, label, label, percent, field);
}

static void spec_helpers(FILE *out, const struct agg_spec *spec)
{
	if (spec->kind == AGG_distinct)
		distinct_helpers(out, spec->label);
	else if (spec->kind == AGG_quantiles)
		quantiles_helpers(out, spec->label);
}

static void spec_value(FILE *out, const struct agg_spec *spec)
{
	const char *field = spec->field != FIELD_NONE ? field_table[spec->field].name : "";
	const char *label = spec->label;

	switch (spec->kind) {
	case AGG_avg:
		fprintf(out, "toFloat64(d.`sum_%s`) / nullIf(d.`n_%s`, 0) AS `%s`", field, field, label);
		break;
	case AGG_variance:
		fprintf(out,
			"greatest(0., d.`m2_%s` / nullIf(d.`n_%s`, 0) - pow(d.`m1_%s` / nullIf(d.`n_%s`, 0), "
			"2)) AS `%s`,\n    sqrt(`%s`) AS `stddev_%s`",
			field, field, field, field, label, label, field);
		break;
	case AGG_error_rate:
		fprintf(out, "d.errors / nullIf(d.count, 0) AS `%s`", label);
		break;
	case AGG_distinct:
		distinct_value(out, label);
		break;
	case AGG_quantiles:
		quantile_value(out, label, field, 50);
		fputs(",\n    ", out);
		quantile_value(out, label, field, 95);
		fputs(",\n    ", out);
		quantile_value(out, label, field, 99);
		break;
	case AGG_top:
		fprintf(out,
			"arraySlice(arraySort(x -> (-toInt64(x.2), x.1), arrayZip(d.`%s`.1, d.`%s`.2)), 1, "
			"%u) "
			"AS `%s`",
			label, label, spec->k, label);
		break;
	case AGG_first:
	case AGG_last:
		fprintf(out, "d.`%s`.4 AS `%s`", label, label);
		break;
	default:
		fprintf(out, "d.`%s` AS `%s`", label, label);
	}
}

/* The aggregates of all windows of a table, each once; a roll-up has those of its own window. */
struct specs {
	uint32_t count;
	const struct agg_spec *spec[WINDOWS_MAX * AGG_MAX];
};

static void specs_take(struct specs *s, const struct ch_window *w)
{
	for (uint32_t i = 0; i < agg_set_count(w->def->aggs); i++) {
		const struct agg_spec *spec = agg_set_spec(w->def->aggs, i);
		uint32_t k = 0;

		while (k < s->count && strcmp(s->spec[k]->label, spec->label) != 0)
			k++;
		if (k == s->count)
			s->spec[s->count++] = spec;
	}
}

static void specs_of(struct specs *s, const struct ch_catalog *c, const struct ch_entry *e)
{
	s->count = 0;
	if (e->rollup)
		specs_take(s, e->window);
	for (uint32_t i = 0; i < c->window_count && !e->rollup; i++)
		if (strcmp(c->window[i]->name, e->table.name) == 0)
			specs_take(s, c->window[i]);
}

static void merged_put(FILE *out, const struct config_clickhouse *cfg, const struct ch_entry *e)
{
	const char *comma = "";

	fputs("    FROM (\n        SELECT ", out);
	for (uint32_t i = 0; i < e->table.column_count; i++) {
		const struct ch_column *column = &e->table.column[i];
		const char *merge = column->value == CH_VALUE_END ? "max" : column->merge;

		if (!is_identity(column) && !merge)
			continue;
		fputs(comma, out);
		fprintf(out, merge ? "%s(" : "%s", merge ? merge : "");
		column_put(out, "t", column->name);
		fputs(merge ? ") AS " : " AS ", out);
		ch_ddl_name(out, column->name);
		comma = ",\n            ";
	}
	fputs("\n        FROM ", out);
	name_put(out, cfg, e->table.name);
	fputs(" AS t\n        GROUP BY ", out);
	comma = "";
	for (uint32_t i = 0; i < e->table.column_count; i++)
		if (is_identity(&e->table.column[i])) {
			fputs(comma, out);
			column_put(out, "t", e->table.column[i].name);
			comma = ", ";
		}
	fputs("\n    ) AS m\n) AS d", out);
}

void ch_view_name(char out[CH_VIEW_NAME_BYTES], const char *table)
{
	snprintf(out, CH_VIEW_NAME_BYTES, "%s_view", table);
}

static void view_begin(FILE *out, const struct config_clickhouse *cfg, const char *table)
{
	char name[CH_VIEW_NAME_BYTES];

	ch_view_name(name, table);
	fputs("CREATE OR REPLACE VIEW ", out);
	name_put(out, cfg, name);
	fputs(" AS\nSELECT ", out);
}

/* Of those who took the first step, how many came to each. */
static void funnel_put(FILE *out, const struct config_clickhouse *cfg, const struct ch_entry *e)
{
	const struct window_def *def = e->window->def;

	fputs("f.window_start AS window_start, f.window_end AS window_end, f.step AS step, f.users AS "
	      "count,\n"
	      "    f.users / nullIf(sumIf(f.users, f.step = ",
		out);
	ch_ddl_text(out, def->step_name[0]);
	fputs(") OVER (PARTITION BY f.window_start), 0) AS rate\nFROM (\n"
	      "    SELECT t.window_start AS window_start, max(t.window_end) AS window_end, t.step AS step, "
	      "sum(t.count) AS users\n    FROM ",
		out);
	name_put(out, cfg, e->table.name);
	fputs(" AS t\n    GROUP BY t.window_start, t.step\n) AS f", out);
}

void ch_view_people(
	FILE *out, const struct config_clickhouse *cfg, const struct ch_catalog *c, const struct ch_entry *e)
{
	struct specs specs;

	view_begin(out, cfg, e->table.name);
	if (!e->window->merges) {
		funnel_put(out, cfg, e);
		return;
	}
	specs_of(&specs, c, e);
	for (uint32_t i = 0; i < e->table.column_count; i++)
		if (is_identity(&e->table.column[i]) || e->table.column[i].value == CH_VALUE_END) {
			column_put(out, "d", e->table.column[i].name);
			fputs(" AS ", out);
			ch_ddl_name(out, e->table.column[i].name);
			fputs(",\n    ", out);
		}
	for (uint32_t i = 0; i < specs.count; i++) {
		fputs(i ? ",\n    " : "", out);
		spec_value(out, specs.spec[i]);
	}
	fputs("\nFROM (\n    SELECT m.*", out);
	for (uint32_t i = 0; i < specs.count; i++)
		spec_helpers(out, specs.spec[i]);
	fputc('\n', out);
	merged_put(out, cfg, e);
}
