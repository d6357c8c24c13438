/* Rows of windows for tests of the ClickHouse sink: cells that are filled with made-up events, and merged
 * rows made of them as the state stage makes them. */
#ifndef SLUICE_MADE_ROWS_H
#define SLUICE_MADE_ROWS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agg_record.h"
#include "window.h"
#include "row.h"

struct made_cell {
	const struct window_def *def;
	struct agg_arena *arena;
	void *cell;
	struct bytes packed;
};

static inline void made_cell_open(struct made_cell *c, const struct window_def *def)
{
	*c = (struct made_cell){.def = def, .arena = agg_arena_new(8 << 20)};
	c->cell = aligned_alloc(64, (agg_set_cell_bytes(def->aggs) + 63) / 64 * 64);
	if (!c->arena || !c->cell)
		abort();
	agg_cell_init(def->aggs, c->cell);
}

static inline void made_cell_close(struct made_cell *c)
{
	bytes_free(&c->packed);
	free(c->cell);
	agg_arena_free(c->arena);
}

static inline void made_cell_pack(struct made_cell *c)
{
	bytes_reset(&c->packed);
	agg_cell_pack(c->def->aggs, c->cell, c->arena, &c->packed);
}

/* Event number n: its fields follow from n. Some lack a metric, amount or page. */
static inline void made_cell_add(struct made_cell *c, uint64_t n)
{
	static struct agg_record r;
	uint64_t x = n * 0x9e3779b97f4a7c15ull >> 7;
	double metric = (double)(x % 200000) / 100 - 500;
	int64_t amount = (int64_t)(x % 9999999) - 1000000;
	char text[32];
	int bytes;

	agg_record_start(&r);
	bytes = snprintf(text, sizeof text, "user-%lu", x % 700);
	agg_record_text(&r, FIELD_user_id, text, (size_t)bytes);
	bytes = snprintf(text, sizeof text, "/r'%lu", x % 6);
	agg_record_text(&r, FIELD_referrer, text, (size_t)bytes);
	agg_record_text(&r, FIELD_status, n % 9 ? "ok" : "error", n % 9 ? 2 : 5);
	if (n % 7)
		agg_record_number(&r, FIELD_metric, &metric);
	if (n % 5)
		agg_record_number(&r, FIELD_amount, &amount);
	if (!agg_cell_add(c->def->aggs, c->cell, c->arena, agg_record_done(&r),
		    &(struct agg_order){(int64_t)(x % 50), (uint32_t)(n % 3), n}))
		abort();
}

static inline uint32_t made_key_add(uint8_t *key, uint32_t at, const char *text)
{
	uint16_t n = text ? (uint16_t)strlen(text) : ROW_KEY_ABSENT;

	memcpy(key + at, &n, sizeof n);
	if (text)
		memcpy(key + at + sizeof n, text, n);
	return at + (uint32_t)sizeof n + (text ? n : 0);
}

/* Appends a row; delta NULL: revision 0. Both cells must be packed. */
static inline void made_row(struct bytes *out, enum row_type type, int64_t start_ms, int64_t end_ms,
	const uint8_t *key, uint32_t key_bytes, const struct made_cell *cell, const struct made_cell *delta)
{
	struct row row = {.window_uid = cell->def->uid,
		.start_ms = start_ms,
		.end_ms = end_ms,
		.step_ms = end_ms,
		.revision = delta ? 1 : 0,
		.key_bytes = key_bytes,
		.agg_bytes = (uint32_t)cell->packed.bytes,
		.delta_bytes = delta ? (uint32_t)delta->packed.bytes : 0};

	row_put(out, type, &row, key, cell->packed.data, delta ? delta->packed.data : NULL, 1,
		end_ms + 11000);
}

#endif
