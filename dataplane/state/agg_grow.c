/* Parts that are sketches: from a cell's bytes to the sketches' own functions. Pure. */
#include "agg_priv.h"

/* Cells are 8-byte aligned, and so is each part's offset. */
#define SKETCH(fn, type, prefix)                                                                             \
	void agg_part_##fn##_init(const struct agg_part *part, uint8_t *cell)                                \
	{                                                                                                    \
		memset(cell + part->offset, 0, sizeof(struct type));                                         \
	}                                                                                                    \
	void agg_part_##fn##_release(const struct agg_part *part, uint8_t *cell, struct agg_arena *a)        \
	{                                                                                                    \
		prefix##_release((struct type *)(cell + part->offset), a);                                   \
	}                                                                                                    \
	void agg_part_##fn##_pack(const struct agg_part *part, const uint8_t *cell,                          \
		const struct agg_arena *a, struct bytes *out)                                                \
	{                                                                                                    \
		prefix##_pack((const struct type *)(cell + part->offset), a, out);                           \
	}
SKETCH(distinct, hll, hll)
SKETCH(quantiles, dds, dds)
SKETCH(top, topk, topk)

bool agg_part_distinct_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,
	const uint8_t *src, const struct agg_arena *src_arena)
{
	return hll_merge(
		(struct hll *)(cell + part->offset), a, (const struct hll *)(src + part->offset), src_arena);
}

void agg_part_distinct_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	(void)part;
	(void)n;
	hll_read(c, &view->distinct);
}

bool agg_part_distinct_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, uint64_t n,
	const struct agg_view *view)
{
	(void)n;
	return hll_join((struct hll *)(cell + part->offset), a, &view->distinct);
}

uint32_t agg_part_distinct_packed_max(const struct agg_part *part)
{
	(void)part;
	return HLL_PACKED_MAX;
}

bool agg_part_quantiles_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,
	const uint8_t *src, const struct agg_arena *src_arena)
{
	return dds_merge(
		(struct dds *)(cell + part->offset), a, (const struct dds *)(src + part->offset), src_arena);
}

void agg_part_quantiles_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	(void)part;
	(void)n;
	dds_read(c, &view->quantiles);
}

bool agg_part_quantiles_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, uint64_t n,
	const struct agg_view *view)
{
	(void)n;
	return dds_join((struct dds *)(cell + part->offset), a, &view->quantiles);
}

uint32_t agg_part_quantiles_packed_max(const struct agg_part *part)
{
	(void)part;
	return DDS_PACKED_MAX;
}

bool agg_part_top_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, const uint8_t *src,
	const struct agg_arena *src_arena)
{
	return topk_merge((struct topk *)(cell + part->offset), a, topk_capacity(part->k),
		(const struct topk *)(src + part->offset), src_arena);
}

void agg_part_top_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	(void)n;
	topk_read(c, topk_capacity(part->k), &view->top);
}

bool agg_part_top_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, uint64_t n,
	const struct agg_view *view)
{
	(void)n;
	return topk_join((struct topk *)(cell + part->offset), a, topk_capacity(part->k), &view->top);
}

uint32_t agg_part_top_packed_max(const struct agg_part *part)
{
	return 2 + topk_capacity(part->k) * TOPK_ITEM_PACKED_MAX;
}
