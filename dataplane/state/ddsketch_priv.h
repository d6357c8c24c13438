/* DDSketch from inside: sparse entries, and arrays of buckets. */
#ifndef SLUICE_DDSKETCH_PRIV_H
#define SLUICE_DDSKETCH_PRIV_H

#include "ddsketch.h"

/* Before the counts of an array block: positive buckets, then negative ones by ascending magnitude. */
struct dense_head {
	uint64_t zero, ignored;
	int32_t negative_low; /* magnitude's key */
	uint32_t negative_n;
};

static inline uint32_t entry_make(int32_t key, uint64_t count)
{
	return (uint32_t)(key - DDS_KEY_IGNORED) << DDS_COUNT_BITS | (uint32_t)count;
}

static inline int32_t entry_key(uint32_t entry)
{
	return (int32_t)(entry >> DDS_COUNT_BITS) + DDS_KEY_IGNORED;
}

static inline uint64_t entry_count(uint32_t entry)
{
	return entry & (DDS_SPARSE_COUNT - 1);
}

static inline bool is_dense(const struct dds *d)
{
	return dds_has_block(d) && d->marked >= DDS_DENSE32 << DDS_COUNT_BITS;
}

/* Gives it this block, of a form that has one; arrays' place follows. */
static inline void block_set(struct dds *d, uint32_t block, uint32_t form)
{
	*d = (struct dds){.entry = {0}};
	d->block = block;
	d->marked = form << DDS_COUNT_BITS;
}

static inline uint32_t sparse_bytes(uint32_t n)
{
	return n <= DDS_INLINE ? 0 : n * (uint32_t)sizeof(uint32_t);
}

static inline uint32_t *entries(struct dds *d, const struct agg_arena *a)
{
	return dds_has_block(d) ? agg_arena_at(a, d->block) : d->entry;
}

static inline uint32_t dense_bytes(uint32_t form, uint32_t n, uint32_t negative_n)
{
	uint32_t width = form == DDS_DENSE64 ? 8 : 4;

	return (uint32_t)sizeof(struct dense_head) + width * (n + negative_n);
}

static inline uint32_t block_bytes(const struct dds *d, const struct agg_arena *a)
{
	const struct dense_head *head;

	if (!is_dense(d))
		return sparse_bytes(dds_form(d));
	head = agg_arena_at(a, d->block);
	return dense_bytes(dds_form(d), d->n, head->negative_n);
}

static inline uint64_t dense_get(const struct dense_head *head, uint32_t form, uint32_t i)
{
	return form == DDS_DENSE64 ? ((const uint64_t *)(head + 1))[i] : ((const uint32_t *)(head + 1))[i];
}

static inline void dds_list_put(struct dds_list *list, int32_t key, uint64_t count)
{
	if (count)
		list->item[list->count++] = (struct agg_register){key, count};
}

#endif
