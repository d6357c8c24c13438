/* Memory of cells' growing parts, from inside: blocks of size classes, named by handles that stay good when
 * the memory moves. Pointers do not: take them anew after each agg_arena_swap().
 *
 * What counts against the bound is the sum of the live blocks' class sizes. A part's block always has the
 * class of what its content needs, whatever came before, so the sum is a function of the cells' contents: the
 * same after a save and load, which have other free lists and another order of blocks. Physical memory is the
 * peak of each class, rounded up to slabs.
 *
 * One thread. Physical memory that cannot be had ends the process: to refuse instead would make the output
 * depend on the machine. */
#ifndef SLUICE_AGG_ARENA_H
#define SLUICE_AGG_ARENA_H

#include <stdint.h>

#include "agg.h"

#define AGG_ARENA_UNIT 8u
#define AGG_ARENA_CLASSES 32
#define AGG_ARENA_SLAB 4096u
#define AGG_BLOCK_BYTES_MAX 49152u

struct agg_arena {
	uint8_t *base;
	size_t top;	 /* bytes handed out to slabs */
	size_t capacity; /* of the mapping */
	size_t used, bytes_max;
	uint32_t free[AGG_ARENA_CLASSES]; /* handles; a free block's first word is the next */
	struct {
		size_t at, end;
	} slab[AGG_ARENA_CLASSES];
};

/* Two classes of blocks an octave: 16, 24, 32, 48, 64, 96, ... bytes. */
static inline uint32_t agg_block_class(uint32_t bytes)
{
	uint32_t octave;

	if (bytes <= 16)
		return 0;
	octave = 31 - (uint32_t)__builtin_clz(bytes - 1); /* 2^octave < bytes <= 2^(octave + 1) */
	return 2 * (octave - 4) + (bytes > 3u << (octave - 1) ? 2 : 1);
}

static inline uint32_t agg_block_class_bytes(uint32_t class)
{
	return (class & 1 ? 24u : 16u) << (class / 2);
}

/* Bytes of the block that `bytes` need; 0 for none. */
static inline uint32_t agg_block_bytes(uint32_t bytes)
{
	return bytes ? agg_block_class_bytes(agg_block_class(bytes)) : 0;
}

/* True if a block of `from` bytes could be given back for one of `to` bytes. */
static inline bool agg_arena_fits(const struct agg_arena *a, uint32_t from, uint32_t to)
{
	return a->used - agg_block_bytes(from) + agg_block_bytes(to) <= a->bytes_max;
}

/* A block of `bytes`, not cleared; 0: the bound. */
uint32_t agg_arena_take(struct agg_arena *a, uint32_t bytes);
/* A block of `bytes` that will stand in for another of `instead` bytes, which is given back by the caller
 * after copying. Never 0: the caller has asked agg_arena_fits(). */
uint32_t agg_arena_swap(struct agg_arena *a, uint32_t bytes);
void agg_arena_give(struct agg_arena *a, uint32_t handle, uint32_t bytes);

static inline void *agg_arena_at(const struct agg_arena *a, uint32_t handle)
{
	return a->base + (size_t)handle * AGG_ARENA_UNIT;
}

#endif
