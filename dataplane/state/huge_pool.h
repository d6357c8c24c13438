/* Blocks of 2 MiB, as huge pages where the machine gives them: tables that are touched at random would else
 * pay a page walk a touch. What is given back is kept for the next pane, as far as KEPT goes, so that a new
 * pane does not begin with cleared pages. State thread of a partition; owns what lies in it, not what is out.
 */
#ifndef SLUICE_HUGE_POOL_H
#define SLUICE_HUGE_POOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "must.h"

#define HUGE_BLOCK_BYTES ((size_t)2 << 20)
#define HUGE_POOL_KEPT 64u

struct huge_pool {
	void *kept[HUGE_POOL_KEPT];
	uint32_t count;
};

/* Not cleared. */
static inline void *huge_take(struct huge_pool *pool)
{
	void *block;

	if (pool->count)
		return pool->kept[--pool->count];
	block = aligned_alloc(HUGE_BLOCK_BYTES, HUGE_BLOCK_BYTES);
	must(block);
	(void)madvise(block, HUGE_BLOCK_BYTES, MADV_HUGEPAGE); /* a hint */
	return block;
}

static inline void huge_give(struct huge_pool *pool, void *block)
{
	if (pool->count < HUGE_POOL_KEPT)
		pool->kept[pool->count++] = block;
	else
		free(block);
}

static inline void huge_pool_free(struct huge_pool *pool)
{
	while (pool->count)
		free(pool->kept[--pool->count]);
}

/* Pieces of a few sizes cut from such blocks; sizes are multiples of 8, and their classes the caller's. They
 * go back class by class, or all at once. */
#define HUGE_CLASSES 16u
struct huge_slab {
	struct huge_pool *pool;
	uint8_t **block;
	uint32_t count, room;
	size_t used; /* of the last block */
	void *freed[HUGE_CLASSES];
};

static inline void *huge_piece_take(struct huge_slab *slab, uint32_t class, size_t bytes)
{
	void *piece = slab->freed[class];

	if (piece) {
		slab->freed[class] = *(void **)piece;
		return piece;
	}
	if (!slab->count || HUGE_BLOCK_BYTES - slab->used < bytes) {
		if (slab->count == slab->room) {
			slab->room = slab->room * 2 + 8;
			slab->block = must_realloc(slab->block, slab->room, sizeof *slab->block);
		}
		slab->block[slab->count++] = huge_take(slab->pool);
		slab->used = 0;
	}
	piece = slab->block[slab->count - 1] + slab->used;
	slab->used += bytes;
	return piece;
}

static inline void huge_piece_give(struct huge_slab *slab, uint32_t class, void *piece)
{
	*(void **)piece = slab->freed[class];
	slab->freed[class] = piece;
}

static inline void huge_slab_free(struct huge_slab *slab)
{
	for (uint32_t i = 0; i < slab->count; i++)
		huge_give(slab->pool, slab->block[i]);
	free(slab->block);
	*slab = (struct huge_slab){.pool = slab->pool};
}

#endif
