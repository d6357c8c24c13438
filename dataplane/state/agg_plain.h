/* Packed cells of counters and decimal sums alone, which most windows have: checked, added up and written
 * without a cell. The same bytes as by way of one (agg.h). Pure; any thread. */
#ifndef SLUICE_AGG_PLAIN_H
#define SLUICE_AGG_PLAIN_H

#include "agg.h"

#define AGG_PLAIN_MAX 16 /* parts of such a set */
/* Room that agg_plain_pack() may write to. */
#define AGG_PLAIN_BYTES (AGG_PLAIN_MAX * 24u)

/* True if a set is of this kind; else nothing below may be called with it. */
bool agg_plain(const struct agg_set *set);
/* As agg_packed_valid(). Any bytes; 16 from their beginning on, and 8 behind them, must be readable. */
bool agg_plain_valid(const struct agg_set *set, const uint8_t *packed, size_t bytes);
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

#endif
