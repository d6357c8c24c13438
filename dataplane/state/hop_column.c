/* Columns of plain hopping windows; see hop_column.h. State thread of a partition. */
#include "hop_column.h"

#define CLASS_COLUMN 0u
#define CLASS_SUM 1u
#define LINE_BYTES 64u

static uint32_t sum_stride(uint32_t bytes)
{
	if (bytes > LINE_BYTES)
		return (bytes + 7) & ~7u;
	return bytes > LINE_BYTES / 2 ? LINE_BYTES : LINE_BYTES / 2; /* none is in two lines */
}

void hop_store_init(
	struct hop_store *s, const struct agg_set *aggs, uint32_t cell_bytes, struct huge_pool *pool)
{
	s->aggs = aggs;
	s->narrow = agg_narrow(aggs);
	s->slab.pool = pool;
	/* alignment is of parts that plain cells do not have */
	s->cell_stride = ((uint32_t)agg_set_cell_bytes(s->narrow) + 3) & ~3u;
	s->sum_stride = sum_stride((uint32_t)sizeof(struct hop_sum) + cell_bytes);
	s->item_stride = ((uint32_t)sizeof(struct hop_aside_item) + cell_bytes + 7) & ~7u;
}

void hop_store_free(struct hop_store *s)
{
	free(s->sum);
	free(s->taken);
	huge_slab_free(&s->slab);
}

/* ---- numbers ---- */

static void sum_chunk_make(struct hop_store *s)
{
	if (s->sum_count == s->sum_room) {
		s->sum_room = s->sum_room * 2 + 4;
		s->sum = must_realloc(s->sum, s->sum_room, sizeof *s->sum);
		s->taken = must_realloc(s->taken, s->sum_room, sizeof *s->taken);
	}
	s->taken[s->sum_count] = (struct hop_taken){.count = 0};
	s->sum[s->sum_count++] = huge_piece_take(&s->slab, CLASS_SUM, (size_t)HOP_CHUNK * s->sum_stride);
}

uint32_t hop_number_take(struct hop_store *s, uint32_t ref)
{
	struct hop_taken *taken;
	struct hop_sum *sum;
	uint32_t number, word = 0;

	while (s->low < s->sum_count && s->taken[s->low].count == HOP_CHUNK)
		s->low++;
	if (s->low == s->sum_count)
		sum_chunk_make(s);
	taken = &s->taken[s->low];
	while (!~taken->bit[word])
		word++;
	number = s->low * HOP_CHUNK + word * 64 + (uint32_t)__builtin_ctzll(~taken->bit[word]);
	taken->bit[word] |= 1ull << number % 64;
	taken->count++;
	if (number >= s->numbers)
		s->numbers = (s->low + 1) * HOP_CHUNK;
	sum = hop_sum_at(s, number);
	*sum = (struct hop_sum){.ref = ref};
	agg_cell_init(s->aggs, hop_sum_cell(sum));
	return number;
}

void hop_number_give(struct hop_store *s, uint32_t number)
{
	uint32_t chunk = number / HOP_CHUNK;

	s->taken[chunk].bit[number % HOP_CHUNK / 64] &= ~(1ull << number % 64);
	s->taken[chunk].count--;
	s->low = chunk < s->low ? chunk : s->low;
	while (s->numbers && !s->taken[s->numbers / HOP_CHUNK - 1].count)
		s->numbers -= HOP_CHUNK;
}

/* ---- aside ---- */

/* The slot of a number, or the empty one in which it would be. */
static uint32_t *aside_slot(const struct hop_store *s, const struct hop_column *column, uint32_t number)
{
	const struct hop_aside *aside = &column->aside;
	uint32_t at = hop_aside_home(aside, number);

	while (aside->slot[at] && hop_aside_item(s, column, aside->slot[at] - 1)->number != number)
		at = (at + 1) & (aside->slots - 1);
	return &aside->slot[at];
}

static struct hop_aside_item *aside_item_find(
	const struct hop_store *s, const struct hop_column *column, uint32_t number)
{
	uint32_t slot = column->aside.slots ? *aside_slot(s, column, number) : 0;

	return slot ? hop_aside_item(s, column, slot - 1) : NULL;
}

void *hop_aside_find(const struct hop_store *s, const struct hop_column *column, uint32_t number)
{
	struct hop_aside_item *item = aside_item_find(s, column, number);

	return item ? hop_aside_cell(item) : NULL;
}

static void aside_grow(struct hop_store *s, struct hop_column *column)
{
	struct hop_aside *aside = &column->aside;

	aside->slots = aside->slots ? aside->slots * 2 : 8;
	free(aside->slot);
	aside->slot = must_calloc(aside->slots, sizeof *aside->slot);
	for (uint32_t i = 0; i < aside->count; i++) {
		uint32_t number = hop_aside_item(s, column, i)->number;

		if (number != HOP_ASIDE_NONE)
			*aside_slot(s, column, number) = i + 1;
	}
}

void *hop_aside_get(struct hop_store *s, struct hop_column *column, uint32_t number)
{
	struct hop_aside *aside = &column->aside;
	void *cell = hop_aside_find(s, column, number);
	struct hop_aside_item *item;
	uint32_t i = aside->count, block = hop_aside_block(i);

	if (cell)
		return cell;
	if (2 * i >= aside->slots)
		aside_grow(s, column);
	if (i == hop_aside_first(block)) {
		aside->block = must_realloc(aside->block, block + 1, sizeof *aside->block);
		aside->block[block] = must_realloc(NULL, HOP_ASIDE_BLOCK << block, s->item_stride);
	}
	item = hop_aside_item(s, column, i);
	*item = (struct hop_aside_item){.number = number};
	agg_cell_init(s->aggs, hop_aside_cell(item));
	*aside_slot(s, column, number) = i + 1;
	aside->count++;
	return hop_aside_cell(item);
}

bool hop_cell_fit(const struct hop_store *s, const void *wide, uint8_t *cell)
{
	if (agg_narrow_fit(s->aggs, wide, cell) && *cell && *cell <= HOP_CELL_FULL)
		return true;
	memset(cell, 0, s->cell_stride);
	*cell = HOP_CELL_ASIDE;
	return false;
}

void *hop_cell_widen(struct hop_store *s, struct hop_column *column, uint32_t number, uint8_t *cell)
{
	void *wide = hop_aside_get(s, column, number);

	if (*cell != HOP_CELL_ASIDE) {
		agg_narrow_widen(s->aggs, cell, wide);
		memset(cell, 0, s->cell_stride);
		*cell = HOP_CELL_ASIDE;
	}
	return wide;
}

/* ---- columns ---- */

uint8_t *hop_chunk_make(struct hop_store *s, struct hop_column *column, uint32_t number)
{
	uint32_t at = number / HOP_CHUNK, first = at * HOP_CHUNK;
	uint8_t *chunk = huge_piece_take(&s->slab, CLASS_COLUMN, (size_t)HOP_CHUNK * s->cell_stride);

	memset(chunk, 0, (size_t)HOP_CHUNK * s->cell_stride);
	if (at >= column->chunk_count) {
		uint32_t count = at + 1 + at / 2;

		column->chunk = must_realloc(column->chunk, count, sizeof *column->chunk);
		memset(column->chunk + column->chunk_count, 0,
			(count - column->chunk_count) * sizeof *column->chunk);
		column->chunk_count = count;
	}
	column->chunk[at] = chunk;
	for (uint32_t i = 0; column->aside.count && i < HOP_CHUNK; i++) {
		struct hop_aside_item *item = aside_item_find(s, column, first + i);

		if (item && hop_cell_fit(s, hop_aside_cell(item), chunk + (size_t)i * s->cell_stride))
			item->number = HOP_ASIDE_NONE;
	}
	return chunk + (size_t)(number - first) * s->cell_stride;
}

void hop_column_free(struct hop_store *s, struct hop_column *column)
{
	const struct hop_aside *aside = &column->aside;

	for (uint32_t i = 0; i < column->chunk_count; i++)
		if (column->chunk[i])
			huge_piece_give(&s->slab, CLASS_COLUMN, column->chunk[i]);
	for (uint32_t i = 0; hop_aside_first(i) < aside->count; i++)
		free(aside->block[i]);
	free(aside->block);
	free(aside->slot);
	free(column->chunk);
}
