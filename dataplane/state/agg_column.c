/* Columns of packed cells: see agg_column.h. In: packed bytes, which may be any. Pure. */
#include "agg_column.h"

#include <errno.h>
#include <stdio.h>

#include "agg_priv.h"
#include "value_text.h"

/* ---- the list ---- */

struct columns {
	const struct agg_set *set;
	struct agg_column *out;
	uint32_t count;
	uint8_t spec;
};

/* Of the same part of the same values. */
static bool column_same(const struct columns *c, const struct agg_column *a, enum agg_part_kind part)
{
	const struct agg_spec *have = &c->set->spec[a->spec], *want = &c->set->spec[c->spec];

	return a->part == part && (agg_part_whole(part) || have->field == want->field) &&
	       part != AGG_PART_MATCH;
}

/* Adds a column unless it is there: several aggregates may need it. */
static struct agg_column *column_add(
	struct columns *c, const char *name, enum agg_column_kind kind, enum agg_part_kind part)
{
	struct agg_column *column = &c->out[c->count];

	for (uint32_t i = 0; i < c->count; i++)
		if (strcmp(c->out[i].name, name) == 0 && column_same(c, &c->out[i], part))
			return &c->out[i];
	*column = (struct agg_column){.kind = kind,
		.spec = c->spec,
		.part = (uint8_t)part,
		.at = c->set->at[c->spec][part],
		.present_at = c->set->at[c->spec][AGG_PART_PRESENT]};
	snprintf(column->name, sizeof column->name, "%s", name);
	c->count++;
	return column;
}

/* PREFIX_FIELD */
static struct agg_column *field_add(
	struct columns *c, const char *prefix, enum agg_column_kind kind, enum agg_part_kind part)
{
	char name[AGG_COLUMN_NAME_BYTES];

	snprintf(name, sizeof name, "%.8s_%.60s", prefix, field_table[c->set->spec[c->spec].field].name);
	return column_add(c, name, kind, part);
}

static void number_add(struct columns *c, enum agg_column_kind kind, enum agg_part_kind part)
{
	const struct agg_spec *spec = &c->set->spec[c->spec];

	column_add(c, spec->label, kind, part)->decimal = agg_field_decimal(spec->field);
}

static void top_add(struct columns *c, const struct agg_spec *spec)
{
	char name[AGG_COLUMN_NAME_BYTES];

	snprintf(name, sizeof name, "%.63s_error", spec->label);
	column_add(c, spec->label, AGG_COLUMN_TOP, AGG_PART_TOP);
	column_add(c, name, AGG_COLUMN_TOP, AGG_PART_TOP)->second = true;
}

static void spec_add(struct columns *c, const struct agg_spec *spec)
{
	bool decimal = agg_field_decimal(spec->field);

	switch (spec->kind) {
	case AGG_count:
		column_add(c, spec->label, AGG_COLUMN_COUNT,
			spec->value_bytes ? AGG_PART_MATCH : AGG_PART_COUNT);
		break;
	case AGG_avg:
		field_add(c, "n", AGG_COLUMN_COUNT, AGG_PART_PRESENT);
		field_add(c, "sum", AGG_COLUMN_SUM, AGG_PART_SUM)->decimal = decimal;
		break;
	case AGG_sum:
		number_add(c, AGG_COLUMN_SUM, AGG_PART_SUM);
		break;
	case AGG_min:
		number_add(c, AGG_COLUMN_MIN, AGG_PART_MIN);
		break;
	case AGG_max:
		number_add(c, AGG_COLUMN_MAX, AGG_PART_MAX);
		break;
	case AGG_variance:
		field_add(c, "n", AGG_COLUMN_COUNT, AGG_PART_PRESENT);
		field_add(c, "m1", AGG_COLUMN_SUM, AGG_PART_MOMENTS);
		field_add(c, "m2", AGG_COLUMN_SUM, AGG_PART_MOMENTS)->second = true;
		break;
	case AGG_error_rate:
		column_add(c, "count", AGG_COLUMN_COUNT, AGG_PART_COUNT);
		column_add(c, "errors", AGG_COLUMN_COUNT, AGG_PART_ERRORS);
		break;
	case AGG_distinct:
		column_add(c, spec->label, AGG_COLUMN_REGISTERS, AGG_PART_DISTINCT);
		break;
	case AGG_quantiles:
		column_add(c, spec->label, AGG_COLUMN_BUCKETS, AGG_PART_QUANTILES);
		break;
	case AGG_top:
		top_add(c, spec);
		break;
	case AGG_first:
		column_add(c, spec->label, AGG_COLUMN_FIRST, AGG_PART_FIRST);
		break;
	case AGG_last:
		column_add(c, spec->label, AGG_COLUMN_LAST, AGG_PART_LAST);
		break;
	default:
		break;
	}
}

uint32_t agg_columns(const struct agg_set *set, struct agg_column out[AGG_COLUMNS_MAX])
{
	struct columns c = {.set = set, .out = out};

	for (; c.spec < set->spec_count; c.spec++)
		spec_add(&c, &set->spec[c.spec]);
	return c.count;
}

/* ---- values ---- */

/* From the part's view, of n values; m2 of the moments is the sum of squared differences from the mean. */
static inline void number_get(
	const struct agg_column *column, const struct agg_view *view, uint64_t n, struct agg_column_value *v)
{
	if (column->part == AGG_PART_MOMENTS) {
		v->present = true;
		v->decimal = 0;
		v->f64 = !n		  ? 0
			 : column->second ? view->m2 + view->number * view->number * (double)n
					  : view->number * (double)n;
		return;
	}
	v->present = n > 0; /* else the numbers are 0 */
	v->f64 = view->number;
	v->decimal = view->decimal;
}

/* Numbers stand in the cell as their bytes. */
static void edge_get(const struct agg_spec *spec, const struct agg_view *view, char text[DECIMAL_TEXT_BYTES],
	struct agg_column_value *v)
{
	v->present = view->has_text;
	v->order = view->order;
	v->text = view->text;
	v->text_bytes = view->has_text ? view->text_bytes : 0;
	if (!v->present)
		return;
	if (agg_field_decimal(spec->field))
		v->text_bytes = (uint32_t)decimal_text(text, (int64_t)agg_u64(view->text));
	else if (field_table[spec->field].kind == FIELD_KIND_NUMBER)
		v->text_bytes = (uint32_t)number_text(text, agg_f64(view->text));
	else
		return;
	v->text = (const uint8_t *)text;
}

struct read { /* a packed cell */
	const struct agg_set *set;
	const struct agg_view *view;
	struct agg_register *item;
	uint32_t top_spec; /* whose list `top` has; AGG_MAX: none */
	uint32_t top_count;
	struct agg_top_item top[100];
};

/* Columns that are lists. */
static __attribute__((noinline)) int list_get(
	struct read *r, const struct agg_column *column, struct agg_column_value *v)
{
	int n;

	if (column->kind != AGG_COLUMN_TOP) {
		n = agg_view_registers(r->set, r->view, column->spec, r->item, AGG_REGISTERS_MAX);
		v->item = r->item;
		v->item_count = n < 0 ? 0 : (uint32_t)n;
		return n < 0 ? n : 0;
	}
	if (r->top_spec != column->spec) { /* else it is that of the column before: counts, then errors */
		r->top_spec = column->spec;
		r->top_count = topk_view_top(&r->view[column->at].top, r->set->spec[column->spec].k, r->top);
	}
	v->top = r->top;
	v->top_count = r->top_count;
	return 0;
}

int agg_column_values(const struct agg_set *set, const struct agg_column *column, uint32_t count,
	const uint8_t *packed, size_t bytes, struct agg_register *item,
	int (*each)(void *arg, uint32_t index, const struct agg_column_value *v), void *arg)
{
	struct agg_view view[AGG_PARTS_MAX];
	struct read r; /* large, and seldom needed */
	struct agg_column_value v;
	char text[DECIMAL_TEXT_BYTES];
	int rc = agg_read(set, packed, bytes, view);

	r.set = set;
	r.view = view;
	r.item = item;
	r.top_spec = AGG_MAX;
	for (uint32_t i = 0; !rc && i < count; i++) {
		const struct agg_column *c = &column[i];

		switch (c->kind) {
		case AGG_COLUMN_COUNT:
			v.present = true;
			v.u64 = view[c->at].n;
			break;
		case AGG_COLUMN_SUM:
		case AGG_COLUMN_MIN:
		case AGG_COLUMN_MAX:
			number_get(c, &view[c->at], view[c->present_at].n, &v);
			break;
		case AGG_COLUMN_FIRST:
		case AGG_COLUMN_LAST:
			edge_get(&set->spec[c->spec], &view[c->at], text, &v);
			break;
		default:
			rc = list_get(&r, c, &v);
		}
		if (!rc)
			rc = each(arg, i, &v);
	}
	return rc;
}
