/* From merged rows of windows to column values. A row with a revision above 0 gives what came since the one
 * before (its delta), so that rows add up. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "ch_source_priv.h"
#include "ch_window.h"

struct row_put {
	struct native_block *block;
	const struct ch_window *window;
	uint32_t first; /* column of index 0 */
};

static void put_group(struct native_block *b, uint32_t i, const struct row *row, uint32_t index)
{
	const uint8_t *data;
	uint32_t bytes;

	row_key_part(row, index, &data, &bytes);
	native_put_text(b, i, data, bytes);
}

/* The last part of the key. */
static void put_step(struct native_block *b, uint32_t i, const struct row *row)
{
	const uint8_t *data = NULL, *part;
	uint32_t bytes = 0, n;

	for (uint32_t k = 0; row_key_part(row, k, &part, &n); k++) {
		data = part;
		bytes = n;
	}
	native_put_text(b, i, data, bytes);
}

static void put_vector(struct native_block *b, uint32_t i, const struct agg_column_value *v)
{
	for (uint32_t k = 0; k < v->item_count; k++)
		native_put_item_pair(b, i, v->item[k].index, v->item[k].value);
	native_put_array_end(b, i);
}

static void put_top(
	struct native_block *b, uint32_t i, const struct agg_top_item *top, uint32_t count, bool error)
{
	for (uint32_t k = 0; k < count; k++)
		native_put_item_count(b, i, top[k].text, top[k].bytes, error ? top[k].error : top[k].count);
	native_put_array_end(b, i);
}

/* What is not there must lose against everything. */
static void put_edge(struct native_block *b, uint32_t i, const struct agg_column_value *v, bool first)
{
	struct native_order order = {v->order.time_ms, v->order.partition, v->order.offset};

	if (!v->present)
		order = first ? (struct native_order){INT64_MAX, UINT32_MAX, UINT64_MAX}
			      : (struct native_order){INT64_MIN, 0, 0};
	native_put_ordered(b, i, &order, v->text, v->text_bytes);
}

static int put_part(void *arg, uint32_t index, const struct agg_column_value *v)
{
	const struct row_put *put = arg;
	const struct agg_column *part = &put->window->part[index];
	struct native_block *b = put->block;
	uint32_t i = put->first + index;

	switch (part->kind) {
	case AGG_COLUMN_COUNT:
		native_put_uint(b, i, v->u64);
		break;
	case AGG_COLUMN_SUM:
	case AGG_COLUMN_MIN:
	case AGG_COLUMN_MAX:
		if (!v->present && part->kind != AGG_COLUMN_SUM)
			native_put_null(b, i);
		else if (part->decimal)
			native_put_decimal(b, i, v->decimal);
		else
			native_put_double(b, i, v->f64);
		break;
	case AGG_COLUMN_REGISTERS:
	case AGG_COLUMN_BUCKETS:
		put_vector(b, i, v);
		break;
	case AGG_COLUMN_TOP:
		put_top(b, i, v->top, v->top_count, part->second);
		break;
	case AGG_COLUMN_FIRST:
	case AGG_COLUMN_LAST:
		put_edge(b, i, v, part->kind == AGG_COLUMN_FIRST);
		break;
	}
	return 0;
}

static void put_missing(struct native_block *b, uint32_t i, enum native_type type)
{
	switch (type) {
	case NATIVE_UINT64:
		native_put_uint(b, i, 0);
		break;
	case NATIVE_COUNTS:
		native_put_array_end(b, i);
		break;
	case NATIVE_STRING:
		native_put_text(b, i, "", 0);
		break;
	default:
		native_put_null(b, i);
	}
}

/* The column's type follows from the definition, and so does the value's kind, unless there is no value. */
static int put_label(void *arg, const struct agg_value *v)
{
	struct row_put *put = arg;
	struct native_block *b = put->block;
	uint32_t i = put->first++;
	enum native_type type = b->column[i].type;

	if (v->kind == AGG_VALUE_U64 && type == NATIVE_UINT64)
		native_put_uint(b, i, v->u64);
	else if (v->kind == AGG_VALUE_F64 && type == NATIVE_FLOAT64_NULL)
		native_put_double(b, i, v->f64);
	else if (v->kind == AGG_VALUE_DECIMAL && type == NATIVE_DECIMAL38_NULL)
		native_put_decimal(b, i, v->decimal);
	else if (v->kind == AGG_VALUE_TEXT && type == NATIVE_STRING)
		native_put_text(b, i, v->text, v->text_bytes);
	else if (v->kind == AGG_VALUE_TOP && type == NATIVE_COUNTS)
		put_top(b, i, v->top, v->top_count, false);
	else
		put_missing(b, i, type);
	return 0;
}

/* Columns that are neither parts nor labels. */
static void put_plain(
	struct native_block *b, uint32_t i, const struct ch_column *column, const struct ch_source *src)
{
	const struct row *row = row_of(src->rec);

	switch (column->value) {
	case CH_VALUE_SIZE:
		native_put_text(b, i, src->window->size, strlen(src->window->size));
		break;
	case CH_VALUE_START:
		native_put_time(b, i, ch_time_clamp(row->start_ms));
		break;
	case CH_VALUE_END:
		native_put_time(b, i, ch_time_clamp(row->end_ms));
		break;
	case CH_VALUE_GROUP:
		put_group(b, i, row, column->index);
		break;
	case CH_VALUE_STEP:
		put_step(b, i, row);
		break;
	case CH_VALUE_OTHER:
		native_put_uint(b, i, (row->flags & ROW_F_OTHER) != 0);
		break;
	case CH_VALUE_ROW_CUT:
		native_put_uint(b, i, (row->flags & ROW_F_CUT) != 0);
		break;
	case CH_VALUE_REVISION:
		native_put_uint(b, i, row->revision);
		break;
	case CH_VALUE_DEFINITION:
		native_put_uint(b, i, row->window_uid);
		break;
	default:
		assert(!"a value that no row has");
	}
}

int ch_put_row(
	struct native_block *b, const struct ch_source *src, struct agg_register *item, struct err *err)
{
	const struct ch_window *w = src->window;
	const struct row *row = row_of(src->rec);
	bool delta = w->merges && row->revision && row->delta_bytes;
	const uint8_t *packed = delta ? row_delta(row) : row_agg(row);
	uint32_t bytes = delta ? row->delta_bytes : row->agg_bytes;
	const struct ch_row_at at = {src->rec, record_payload(src->rec), src->offset};
	const struct ch_run run = ch_run_of(src->rows, &at, 1);
	struct row_put put = {b, w, UINT32_MAX};
	int rc;

	for (uint32_t i = 0; i < w->table.column_count; i++) {
		const struct ch_column *column = &w->table.column[i];

		if (column->value == CH_VALUE_PART || column->value == CH_VALUE_LABEL)
			put.first = i < put.first ? i : put.first; /* they stand together */
		else if (!ch_put_common(b, i, column->value, &run))
			put_plain(b, i, column, src);
	}
	if (w->merges)
		rc = agg_column_values(
			w->def->aggs, w->part, w->part_count, packed, bytes, item, put_part, &put);
	else
		rc = agg_values(w->def->aggs, packed, bytes, put_label, &put);
	if (rc)
		return err_set(err, -EINVAL,
			"clickhouse: a row of window %s has other aggregates than its definition",
			w->def->name);
	native_row_end(b);
	return 0;
}
