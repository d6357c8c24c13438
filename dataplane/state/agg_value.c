/* Values out of packed cells. In: packed bytes, which may be any. Out: numbers and borrowed texts. Pure. */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "agg_priv.h"

/* Where the values of one spec are made from. */
struct source {
	const struct agg_set *set;
	const struct agg_spec *spec;
	const uint8_t *at;
	const struct agg_view *view;
	int (*each)(void *arg, const struct agg_value *v);
	void *arg;
};

static const struct agg_view *view_of(const struct source *s, enum agg_part_kind kind)
{
	return &s->view[s->at[kind]];
}

/* Without its list, which is long, and filled by whoever has one. */
static inline void value_start(struct agg_value *v, const struct source *s, enum agg_value_kind kind)
{
	memset(v, 0, offsetof(struct agg_value, top));
	v->label = s->spec->label;
	v->kind = kind;
}

static const char *label_of(const struct source *s, uint32_t index)
{
	return s->set->label[s->spec - s->set->spec][index];
}

static const struct {
	const char *name;
	uint32_t percent;
} quantile[AGG_VALUE_LABELS] = {{"p50", 50}, {"p95", 95}, {"p99", 99}};

static void label_make(struct agg_set *set, uint32_t spec, uint32_t index, const char *function)
{
	snprintf(set->label[spec][index], AGG_VALUE_LABEL_BYTES, "%s_%s", function,
		field_table[set->spec[spec].field].name);
}

void agg_value_labels(struct agg_set *set)
{
	for (uint32_t i = 0; i < set->spec_count; i++) {
		if (set->spec[i].kind == AGG_variance)
			label_make(set, i, 0, "stddev");
		for (uint32_t k = 0; k < AGG_VALUE_LABELS && set->spec[i].kind == AGG_quantiles; k++)
			label_make(set, i, k, quantile[k].name);
	}
}

static int u64_give(const struct source *s, uint64_t n)
{
	struct agg_value v;

	value_start(&v, s, AGG_VALUE_U64);
	v.u64 = n;
	return s->each(s->arg, &v);
}

/* A double that is none (no value, or beyond the range of doubles) is given as no value. */
static int f64_give(const struct source *s, const char *label, double number)
{
	struct agg_value v;

	value_start(&v, s, isfinite(number) ? AGG_VALUE_F64 : AGG_VALUE_NONE);
	v.f64 = number;
	v.label = label;
	return s->each(s->arg, &v);
}

/* SUM, MIN, MAX */
static int number_give(const struct source *s, enum agg_part_kind kind)
{
	const struct agg_view *view = view_of(s, kind);
	struct agg_value v;

	if (!agg_field_decimal(s->spec->field))
		return f64_give(s, s->spec->label, view_of(s, AGG_PART_PRESENT)->n ? view->number : NAN);
	value_start(&v, s, AGG_VALUE_DECIMAL);
	v.decimal = view->decimal;
	if (!view_of(s, AGG_PART_PRESENT)->n)
		v.kind = AGG_VALUE_NONE;
	return s->each(s->arg, &v);
}

static int avg_give(const struct source *s)
{
	double n = (double)view_of(s, AGG_PART_PRESENT)->n;
	const struct agg_view *sum = view_of(s, AGG_PART_SUM);

	return f64_give(s, s->spec->label,
		agg_field_decimal(s->spec->field) ? (double)sum->decimal / (n * 1e6) : sum->number / n);
}

static int variance_give(const struct source *s)
{
	double n = (double)view_of(s, AGG_PART_PRESENT)->n, variance = view_of(s, AGG_PART_MOMENTS)->m2 / n;
	int rc = f64_give(s, s->spec->label, variance);

	return rc ? rc : f64_give(s, label_of(s, 0), sqrt(variance));
}

static int edge_give(const struct source *s, enum agg_part_kind kind)
{
	const struct agg_view *view = view_of(s, kind);
	struct agg_value v;

	value_start(&v, s, AGG_VALUE_TEXT);
	v.text = view->text;
	v.text_bytes = view->text_bytes;
	if (!view->has_text) {
		v.kind = AGG_VALUE_NONE;
	} else if (agg_field_decimal(s->spec->field)) {
		v.kind = AGG_VALUE_DECIMAL;
		v.decimal = (int64_t)agg_u64(view->text);
	} else if (field_table[s->spec->field].kind == FIELD_KIND_NUMBER) {
		return f64_give(s, s->spec->label, agg_f64(view->text));
	}
	return s->each(s->arg, &v);
}

static int quantiles_give(const struct source *s)
{
	struct dds_list list;
	int rc = 0;

	dds_view_list(&view_of(s, AGG_PART_QUANTILES)->quantiles, &list);
	for (uint32_t i = 0; !rc && i < AGG_VALUE_LABELS; i++) {
		double value = NAN;

		dds_list_quantile(&list, quantile[i].percent, &value);
		rc = f64_give(s, label_of(s, i), value);
	}
	return rc;
}

static int top_give(const struct source *s)
{
	struct agg_value v;

	value_start(&v, s, AGG_VALUE_TOP);
	v.top_count = topk_view_top(&view_of(s, AGG_PART_TOP)->top, s->spec->k, v.top);
	return s->each(s->arg, &v);
}

static int spec_give(const struct source *s)
{
	switch (s->spec->kind) {
	case AGG_count:
		return u64_give(s, view_of(s, s->spec->value_bytes ? AGG_PART_MATCH : AGG_PART_COUNT)->n);
	case AGG_sum:
		return number_give(s, AGG_PART_SUM);
	case AGG_min:
		return number_give(s, AGG_PART_MIN);
	case AGG_max:
		return number_give(s, AGG_PART_MAX);
	case AGG_avg:
		return avg_give(s);
	case AGG_variance:
		return variance_give(s);
	case AGG_error_rate:
		return f64_give(s, s->spec->label,
			(double)view_of(s, AGG_PART_ERRORS)->n / (double)view_of(s, AGG_PART_COUNT)->n);
	case AGG_conversion_rate:
		return f64_give(s, s->spec->label,
			(double)view_of(s, AGG_PART_COUNT)->n / (double)view_of(s, AGG_PART_ENTERED)->n);
	case AGG_distinct:
		return u64_give(s, hll_view_estimate(&view_of(s, AGG_PART_DISTINCT)->distinct));
	case AGG_quantiles:
		return quantiles_give(s);
	case AGG_top:
		return top_give(s);
	case AGG_first:
		return edge_give(s, AGG_PART_FIRST);
	case AGG_last:
		return edge_give(s, AGG_PART_LAST);
	default:
		return 0;
	}
}

int agg_values(const struct agg_set *set, const uint8_t *packed, size_t bytes,
	int (*each)(void *arg, const struct agg_value *v), void *arg)
{
	struct agg_view view[AGG_PARTS_MAX];
	int rc = agg_read(set, packed, bytes, view);

	for (uint32_t i = 0; !rc && i < set->spec_count; i++) {
		struct source s = {set, &set->spec[i], set->at[i], view, each, arg};

		rc = spec_give(&s);
	}
	return rc;
}

int agg_view_registers(const struct agg_set *set, const struct agg_view *view, uint32_t index,
	struct agg_register *out, uint32_t max)
{
	struct dds_list list;
	uint32_t from, n;

	switch (set->spec[index].kind) {
	case AGG_distinct:
		return (int)hll_view_registers(&view[set->at[index][AGG_PART_DISTINCT]].distinct, out, max);
	case AGG_quantiles:
		dds_view_list(&view[set->at[index][AGG_PART_QUANTILES]].quantiles, &list);
		from = list.count && list.item[0].index == DDS_KEY_IGNORED;
		n = list.count - from < max ? list.count - from : max;
		memcpy(out, list.item + from, n * sizeof *out);
		return (int)n;
	default:
		return -EINVAL;
	}
}

int agg_registers(const struct agg_set *set, const uint8_t *packed, size_t bytes, uint32_t index,
	struct agg_register *out, uint32_t max)
{
	struct agg_view view[AGG_PARTS_MAX];
	int rc = agg_read(set, packed, bytes, view);

	return rc || index >= set->spec_count ? -EINVAL : agg_view_registers(set, view, index, out, max);
}
