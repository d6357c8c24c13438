/* Rows of views and tables as JSON against the cell of all events that they stand for. */
#ifndef SLUICE_VIEW_ROW_H
#define SLUICE_VIEW_ROW_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>

#include "agg_column.h"
#include "hll.h"
#include "made_rows.h"
#include "value_text.h"

struct expected {
	json_t *row; /* of the view */
	const struct made_cell *cell;
};

static inline double number_of(json_t *row, const char *name)
{
	json_t *v = json_object_get(row, name);

	if (json_is_string(v))
		return strtod(json_string_value(v), NULL);
	return json_is_number(v) ? json_number_value(v) : NAN;
}

static inline void near(const char *name, double have, double want, double relative)
{
	if (!(fabs(have - want) <= relative * fabs(want)))
		fail_msg("%s: %.17g, expected %.17g", name, have, want);
}

/* The same estimator over the same registers. */
static inline void distinct_check(const struct expected *e, const struct agg_value *v)
{
	static struct agg_register item[AGG_REGISTERS_MAX];
	static uint8_t registers[HLL_REGISTERS];
	const struct agg_set *set = e->cell->def->aggs;
	int n = -1;

	for (uint32_t i = 0; i < agg_set_count(set); i++)
		if (strcmp(agg_set_spec(set, i)->label, v->label) == 0)
			n = agg_registers(
				set, e->cell->packed.data, e->cell->packed.bytes, i, item, AGG_REGISTERS_MAX);
	assert_true(n > 0);
	memset(registers, 0, sizeof registers);
	for (int i = 0; i < n; i++)
		registers[item[i].index] = (uint8_t)item[i].value;
	near("estimate", number_of(e->row, v->label), round(hll_estimate(registers)), 1e-12);
	near("distinct", number_of(e->row, v->label), (double)v->u64, 0.04);
}

static inline void top_check(const struct expected *e, const struct agg_value *v)
{
	json_t *top = json_object_get(e->row, v->label);
	uint64_t found = 0;

	assert_int_equal(json_array_size(top), v->top_count);
	for (uint32_t i = 0; i < v->top_count; i++)
		for (size_t k = 0; k < json_array_size(top); k++) {
			json_t *pair = json_array_get(top, k);
			const char *text = json_string_value(json_array_get(pair, 0));

			if (strlen(text) != v->top[i].bytes ||
				memcmp(text, v->top[i].text, v->top[i].bytes) != 0)
				continue;
			assert_int_equal(strtoull(json_string_value(json_array_get(pair, 1)), NULL, 10),
				v->top[i].count);
			found++;
		}
	assert_int_equal(found, v->top_count);
}

static inline int value_check(void *arg, const struct agg_value *v)
{
	const struct expected *e = arg;
	json_t *have = json_object_get(e->row, v->label);
	char text[DECIMAL_TEXT_BYTES];

	assert_non_null(have);
	assert_int_not_equal(v->kind, AGG_VALUE_NONE);
	if (strncmp(v->label, "distinct", 8) == 0) {
		distinct_check(e, v);
	} else if (v->kind == AGG_VALUE_TOP) {
		top_check(e, v);
	} else if (v->kind == AGG_VALUE_U64) {
		assert_int_equal(strtoull(json_string_value(have), NULL, 10), v->u64);
	} else if (v->kind == AGG_VALUE_DECIMAL) {
		decimal_text(text, v->decimal);
		assert_string_equal(json_string_value(have), text);
	} else if (v->kind == AGG_VALUE_TEXT) {
		assert_int_equal(strlen(json_string_value(have)), v->text_bytes);
		assert_memory_equal(json_string_value(have), v->text, v->text_bytes);
	} else if (strncmp(v->label, "max", 3) == 0 || strncmp(v->label, "last", 4) == 0) {
		assert_true(number_of(e->row, v->label) == v->f64); /* to the last bit */
	} else {
		near(v->label, number_of(e->row, v->label), v->f64, 1e-9);
	}
	return 0;
}

static inline void row_check(json_t *row, const struct made_cell *cell)
{
	struct expected e = {row, cell};

	assert_int_equal(
		agg_values(cell->def->aggs, cell->packed.data, cell->packed.bytes, value_check, &e), 0);
}

#endif
