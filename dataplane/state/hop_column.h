/* What plain hopping windows (hop_sum.c) hold of their keys: by the number of a key, so that what one pane
 * has of all keys lies together. State thread of a partition; all memory the window's.
 *
 * A key has a number as long as it has an element. By number there are its sum, and in each pane a narrow
 * cell (agg_narrow.h) in a column; both in chunks of so many numbers, which never move. What a narrow cell
 * does not hold, and what is in panes so empty that a column would cost more than the elements in it, stands
 * aside: in ordinary cells, found by a table of the pane. */
#ifndef SLUICE_HOP_COLUMN_H
#define SLUICE_HOP_COLUMN_H

#include "pane.h"

#define HOP_CHUNK 256u /* numbers of a chunk */

/* The first byte of a narrow cell: 0 if the key has no element there, or how many events it took. */
#define HOP_CELL_FULL 254u  /* it takes no more */
#define HOP_CELL_ASIDE 255u /* the element stands aside; the cell's other bytes are zero */

/* Of a key; the cell of its sum follows. */
struct hop_sum {
	uint32_t closed; /* elements of panes up to the last closed one that windows still need */
	uint32_t gone;	 /* elements that none needs any more */
	uint32_t ref;	 /* of the key's entry */
	uint32_t reserved;
};

/* Of a key's entry. */
struct hop_value {
	uint32_t number;
	uint32_t made; /* elements, gone ones as well */
};

struct hop_aside {
	uint32_t count;
	uint32_t slots;	 /* a power of two; 0: nothing was put aside */
	uint32_t *slot;	 /* by hash of the number: item + 1; 0: empty */
	uint8_t **block; /* each of twice as many items as the one before */
};
#define HOP_ASIDE_BLOCK 8u	  /* items of the first */
#define HOP_ASIDE_NONE UINT32_MAX /* number of an item that went into the column */

/* The cell follows. */
struct hop_aside_item {
	uint32_t number;
	uint32_t reserved;
};

struct hop_column {
	uint8_t **chunk; /* NULL: no element */
	uint32_t chunk_count;
	struct hop_aside aside;
};

/* Numbers of a chunk that keys have. */
struct hop_taken {
	uint64_t bit[HOP_CHUNK / 64];
	uint32_t count;
};

struct hop_store {
	struct huge_slab slab;
	const struct agg_set *aggs, *narrow;
	uint32_t cell_stride, sum_stride, item_stride;
	uint8_t **sum;		 /* chunks */
	struct hop_taken *taken; /* of each chunk of sums */
	uint32_t sum_count, sum_room;
	uint32_t numbers; /* keys have none from here on; whole chunks */
	uint32_t low;	  /* no chunk before it has a free one */
};

void hop_store_init(
	struct hop_store *s, const struct agg_set *aggs, uint32_t cell_bytes, struct huge_pool *pool);
void hop_store_free(struct hop_store *s);

/* A number, with an empty sum: of the first chunk that has a free one, so that columns grow dense again when
 * many keys have gone. */
uint32_t hop_number_take(struct hop_store *s, uint32_t ref);
void hop_number_give(struct hop_store *s, uint32_t number);

void hop_column_free(struct hop_store *s, struct hop_column *column);
/* Makes the chunk of this number; elements of its numbers that stand aside come into it, if they fit. */
uint8_t *hop_chunk_make(struct hop_store *s, struct hop_column *column, uint32_t number);
/* The ordinary cell of an element that stands aside; it never moves. NULL: there is none. */
void *hop_aside_find(const struct hop_store *s, const struct hop_column *column, uint32_t number);
/* The same, made if it is not there. */
void *hop_aside_get(struct hop_store *s, struct hop_column *column, uint32_t number);
/* Makes an empty narrow cell one of the same content as an ordinary one. False: it does not fit, and stands
 * aside. */
bool hop_cell_fit(const struct hop_store *s, const void *wide, uint8_t *cell);
/* The ordinary cell of a narrow one that does not do any more, and goes aside. */
void *hop_cell_widen(struct hop_store *s, struct hop_column *column, uint32_t number, uint8_t *cell);

static inline struct hop_sum *hop_sum_at(const struct hop_store *s, uint32_t number)
{
	return (struct hop_sum *)(s->sum[number / HOP_CHUNK] + (size_t)(number % HOP_CHUNK) * s->sum_stride);
}
static inline void *hop_sum_cell(struct hop_sum *sum)
{
	return sum + 1;
}

/* NULL: no chunk is there. */
static inline uint8_t *hop_cell_at(
	const struct hop_store *s, const struct hop_column *column, uint32_t number)
{
	uint8_t *chunk = number / HOP_CHUNK < column->chunk_count ? column->chunk[number / HOP_CHUNK] : NULL;

	return chunk ? chunk + (size_t)(number % HOP_CHUNK) * s->cell_stride : NULL;
}

/* The block of item i; and its first item. */
static inline uint32_t hop_aside_block(uint32_t i)
{
	return 31 - (uint32_t)__builtin_clz(i / HOP_ASIDE_BLOCK + 1);
}
static inline uint32_t hop_aside_first(uint32_t block)
{
	return HOP_ASIDE_BLOCK * ((1u << block) - 1);
}
static inline struct hop_aside_item *hop_aside_item(
	const struct hop_store *s, const struct hop_column *column, uint32_t i)
{
	uint32_t block = hop_aside_block(i);

	return (struct hop_aside_item *)(column->aside.block[block] +
					 (size_t)(i - hop_aside_first(block)) * s->item_stride);
}
/* Where the search for a number begins. */
static inline uint32_t hop_aside_home(const struct hop_aside *aside, uint32_t number)
{
	return (uint32_t)((uint64_t)(number * 0x9e3779b1u) * aside->slots >> 32);
}
static inline void *hop_aside_cell(struct hop_aside_item *item)
{
	return item + 1;
}

/* The key has an element in the pane. */
static inline bool hop_column_has(const struct hop_store *s, const struct hop_column *column, uint32_t number)
{
	const uint8_t *cell = hop_cell_at(s, column, number);

	return cell && *cell ? true : hop_aside_find(s, column, number) != NULL;
}

#endif
