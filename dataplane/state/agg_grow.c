/* Parts that are sketches: between cells' bytes and the sketches' own functions. Without content yet: they
 * count nothing. */
#include "agg_priv.h"
#define NONE(fn)                                                                                             \
	void agg_part_##fn##_init(const struct agg_part *part, uint8_t *cell)                                \
	{                                                                                                    \
		(void)part;                                                                                  \
		(void)cell;                                                                                  \
	}                                                                                                    \
	bool agg_part_##fn##_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,          \
		const uint8_t *src, const struct agg_arena *src_arena)                                       \
	{                                                                                                    \
		(void)part, (void)cell, (void)a, (void)src, (void)src_arena;                                 \
		return true;                                                                                 \
	}                                                                                                    \
	void agg_part_##fn##_pack(const struct agg_part *part, const uint8_t *cell,                          \
		const struct agg_arena *a, struct bytes *out)                                                \
	{                                                                                                    \
		(void)part, (void)cell, (void)a, (void)out;                                                  \
	}                                                                                                    \
	void agg_part_##fn##_read(                                                                           \
		const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)            \
	{                                                                                                    \
		(void)part, (void)c, (void)n, (void)view;                                                    \
	}                                                                                                    \
	bool agg_part_##fn##_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,           \
		uint64_t n, const struct agg_view *view)                                                     \
	{                                                                                                    \
		(void)part, (void)cell, (void)a, (void)n, (void)view;                                        \
		return true;                                                                                 \
	}                                                                                                    \
	void agg_part_##fn##_release(const struct agg_part *part, uint8_t *cell, struct agg_arena *a)        \
	{                                                                                                    \
		(void)part, (void)cell, (void)a;                                                             \
	}                                                                                                    \
	uint32_t agg_part_##fn##_packed_max(const struct agg_part *part)                                     \
	{                                                                                                    \
		(void)part;                                                                                  \
		return 0;                                                                                    \
	}
NONE(distinct)
NONE(quantiles)
NONE(top)
