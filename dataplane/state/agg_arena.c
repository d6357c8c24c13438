/* The arena: see agg_arena.h. In: sizes. Out: handles. One mapping, grown in place or moved by the kernel;
 * slabs of one class each are cut from it, freed blocks are reused within their class. */
#include "agg_arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CAPACITY_MIN (64u << 10)
#define HUGE_FROM (8u << 20) /* larger mappings ask for huge pages: cells are touched at random */

struct agg_arena *agg_arena_new(size_t bytes_max)
{
	struct agg_arena *a = calloc(1, sizeof *a);

	if (a)
		a->bytes_max = bytes_max;
	return a;
}

void agg_arena_free(struct agg_arena *a)
{
	if (!a)
		return;
	if (a->base)
		munmap(a->base, a->capacity);
	free(a);
}

void agg_arena_limit(struct agg_arena *a, size_t bytes_max)
{
	a->bytes_max = bytes_max;
}

/* Memory up to what this use took is kept for the next, the rest given back. */
void agg_arena_reset(struct agg_arena *a)
{
	size_t keep = (a->top + CAPACITY_MIN - 1) / CAPACITY_MIN * CAPACITY_MIN;

	if (keep < CAPACITY_MIN)
		keep = CAPACITY_MIN;
	if (a->base && keep < a->capacity) {
		uint8_t *base = mremap(a->base, a->capacity, keep, 0);

		if (base != MAP_FAILED)
			a->capacity = keep;
	}
	a->top = 0;
	a->used = 0;
	memset(a->free, 0, sizeof a->free);
	memset(a->slab, 0, sizeof a->slab);
}

size_t agg_arena_used(const struct agg_arena *a)
{
	return a->used;
}

size_t agg_arena_mapped(const struct agg_arena *a)
{
	return a->top;
}

static void arena_grow(struct agg_arena *a, size_t need)
{
	size_t capacity = a->capacity ? a->capacity : CAPACITY_MIN;
	void *base;

	while (capacity < need)
		capacity += capacity / 2 / CAPACITY_MIN * CAPACITY_MIN + CAPACITY_MIN;
	if (a->base)
		base = mremap(a->base, a->capacity, capacity, MREMAP_MAYMOVE);
	else
		base = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED || capacity / AGG_ARENA_UNIT > UINT32_MAX)
		abort();
	a->base = base;
	a->capacity = capacity;
	if (capacity >= HUGE_FROM)
		(void)madvise(base, capacity, MADV_HUGEPAGE); /* speed only */
}

static void slab_new(struct agg_arena *a, uint32_t class)
{
	uint32_t bytes = agg_block_class_bytes(class);
	/* blocks per slab: whole ones, at least one; slabs start on cache lines */
	size_t slab = bytes >= AGG_ARENA_SLAB ? bytes : AGG_ARENA_SLAB / bytes * bytes;

	if (!a->top)
		a->top = 64; /* handle 0 is none */
	if (a->top + slab > a->capacity)
		arena_grow(a, a->top + slab);
	a->slab[class].at = a->top;
	a->slab[class].end = a->top + slab;
	a->top += (slab + 63) & ~(size_t)63;
}

uint32_t agg_arena_swap(struct agg_arena *a, uint32_t bytes)
{
	uint32_t class = agg_block_class(bytes), handle = a->free[class];

	assert(bytes && class < AGG_ARENA_CLASSES);
	a->used += agg_block_class_bytes(class);
	if (handle) {
		memcpy(&a->free[class], agg_arena_at(a, handle), sizeof a->free[class]);
		return handle;
	}
	if (a->slab[class].at == a->slab[class].end)
		slab_new(a, class);
	handle = (uint32_t)(a->slab[class].at / AGG_ARENA_UNIT);
	a->slab[class].at += agg_block_class_bytes(class);
	return handle;
}

uint32_t agg_arena_take(struct agg_arena *a, uint32_t bytes)
{
	return agg_arena_fits(a, 0, bytes) ? agg_arena_swap(a, bytes) : 0;
}

void agg_arena_give(struct agg_arena *a, uint32_t handle, uint32_t bytes)
{
	uint32_t class = agg_block_class(bytes);

	memcpy(agg_arena_at(a, handle), &a->free[class], sizeof a->free[class]);
	a->free[class] = handle;
	a->used -= agg_block_class_bytes(class);
}
