/* Packed cells of counters and decimal sums alone, which most windows have: checked, added up and written
 * without a cell. The same bytes as by way of one (agg.h). Pure; any thread. */
#ifndef SLUICE_AGG_PLAIN_H
#define SLUICE_AGG_PLAIN_H

#include <emmintrin.h>

#include "agg.h"
#include "agg_count.h"

#define AGG_PLAIN_MAX 16 /* parts of such a set */
/* Room that agg_plain_pack() may write to. */
#define AGG_PLAIN_BYTES (AGG_PLAIN_MAX * 24u)

/* How many parts a set of this kind has; 0: it is of another, and nothing below may be called with it. */
uint32_t agg_plain(const struct agg_set *set);
/* As agg_packed_valid(). Any bytes; 16 from their beginning on, and 8 behind them, must be readable. */
bool agg_plain_valid(const struct agg_set *set, const uint8_t *packed, size_t bytes);
/* The same of most cells in a few steps: true of a packed cell of at most 16 bytes in which no number is 0,
 * so that all sums are there, and none has more bytes than a counter may have. Else it says nothing. parts:
 * as agg_plain(), or 0: false. 16 bytes can be read. */
static inline bool agg_plain_short(uint32_t parts, const uint8_t *packed, size_t bytes)
{
	__m128i v = _mm_loadu_si128((const __m128i *)packed);
	uint32_t inside = (1u << (bytes & 31)) - 1, zero, more, run, wide;

	if (bytes - 1 >= 16)
		return false;
	more = (uint32_t)_mm_movemask_epi8(v) & inside; /* bytes that are not a number's last */
	zero = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) & inside;
	wide = (uint32_t)__builtin_popcount(more);
	if ((zero | more >> (bytes - 1)) || bytes - wide != parts)
		return false;
	run = more & more >> 1; /* six in a row */
	run &= run >> 2;
	return wide < AGG_COUNT_BYTES || !(run & run >> 2);
}
_Static_assert(AGG_COUNT_BYTES == 6, "six bytes that are not the last one are too many");

/* value[part] += packed. False: not a packed cell of the set; any bytes. */
bool agg_plain_add(
	const struct agg_set *set, __int128 value[AGG_PLAIN_MAX], const uint8_t *packed, size_t bytes);
/* Returns the end. */
uint8_t *agg_plain_pack(const struct agg_set *set, const __int128 value[AGG_PLAIN_MAX], uint8_t *to);

/* sum += in; packs it as agg_cell_pack() would, and returns the end; sum -= out. in, out: cells, or NULL. */
uint8_t *agg_plain_slide(const struct agg_set *set, void *sum, const void *in, const void *out, uint8_t *to);
/* The same of narrow cells: agg_slide.h. */
/* As agg_cell_merge(). */
void agg_plain_merge(const struct agg_set *set, void *dst, const void *src);
/* dst -= src. False: that is less than nothing, or not of counters that were added up; dst says nothing then.
 */
bool agg_plain_subtract(const struct agg_set *set, void *dst, const void *src);
/* total += src, of sums how far they are from 0. False: a counter is at its bound, or a sum so far from 0
 * that what cells of this total add up to might not be packed as it is; total says nothing then. */
bool agg_plain_total(const struct agg_set *set, void *total, const void *src);

#endif
