/* agg_plain_slide() of narrow cells (agg_narrow.h), a row of a hopping window: in the loop over keys, since a
 * call would cost as much as a part. Pure; any thread. */
#ifndef SLUICE_AGG_SLIDE_H
#define SLUICE_AGG_SLIDE_H

#include "agg_plain.h"
#include "agg_priv.h"

/* Of a set, for many rows. */
struct agg_slide {
	const struct agg_part *part, *last, *narrow;
	const uint8_t *empty; /* a narrow cell in which nothing is */
};

static inline struct agg_slide agg_slide_of(const struct agg_set *set)
{
	return (struct agg_slide){set->part, set->part + set->part_count, set->narrow->part,
		(const uint8_t *)set->narrow->empty};
}

/* Returns the end; *any: the counter in the window is not 0. */
static inline uint8_t *agg_slide_count(uint8_t *cell, uint64_t in, uint64_t out, uint8_t *to, bool *any)
{
	uint64_t n = agg_u64(cell) + in;

	agg_u64_set(cell, n - out);
	*any = n != 0;
	if (n < 0x80) { /* most are */
		*to = (uint8_t)n;
		return to + 1;
	}
	return to + varint_put_wide(to, agg_count_add(n, 0));
}

/* Returns the end, if the sum is to be put. */
uint8_t *agg_slide_sum_wide(
	uint8_t *cell, unsigned __int128 in, unsigned __int128 out, uint8_t *to, bool put);

/* The same of sums that 64 bits hold, as most are. */
static inline uint8_t *agg_slide_sum(uint8_t *cell, int64_t in, int64_t out, uint8_t *to, bool put)
{
	int64_t low = (int64_t)agg_u64(cell), high = (int64_t)agg_u64(cell + 8), v, rest;

	if (__builtin_expect(high != low >> 63 || __builtin_add_overflow(low, in, &v) ||
				     __builtin_sub_overflow(v, out, &rest),
		    0))
		return agg_slide_sum_wide(
			cell, (unsigned __int128)(__int128)in, (unsigned __int128)(__int128)out, to, put);
	agg_u64_set(cell, (uint64_t)rest);
	agg_u64_set(cell + 8, (uint64_t)(rest >> 63));
	return put ? to + varint_put_wide(to, varint_zigzag(v)) : to;
}

/* in, out: narrow cells, or s->empty. */
static inline uint8_t *agg_slide_narrow(
	const struct agg_slide *s, uint8_t *sum, const uint8_t *in, const uint8_t *out, uint8_t *to)
{
	const struct agg_part *part = s->part, *narrow = s->narrow;
	bool any, present = false;

	for (; part < s->last; part++, narrow++) {
		uint8_t *cell = sum + part->offset;
		const uint8_t *p = in + narrow->offset, *q = out + narrow->offset;

		if (part->kind == AGG_PART_SUM) {
			to = agg_slide_sum(cell, agg_narrow_sum(p), agg_narrow_sum(q), to, present);
			continue;
		}
		to = agg_slide_count(cell, *p, *q, to, &any);
		present = part->kind == AGG_PART_PRESENT ? any : present;
	}
	return to;
}

#endif
