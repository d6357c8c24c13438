/* Counters that stand in packed cells: they saturate, so that a counter's bytes are bounded whatever is
 * merged. 2^42 events: five days at ten million a second, in one window of one key. */
#ifndef SLUICE_AGG_COUNT_H
#define SLUICE_AGG_COUNT_H

#include <stdint.h>

#define AGG_COUNT_BITS 42
#define AGG_COUNT_BYTES 6 /* as LEB128 */
#define AGG_COUNT_MAX ((1ull << AGG_COUNT_BITS) - 1)

/* Both at most AGG_COUNT_MAX, or beyond by what was counted since. Associative. */
static inline uint64_t agg_count_add(uint64_t a, uint64_t b)
{
	return a + b < AGG_COUNT_MAX ? a + b : AGG_COUNT_MAX;
}

#endif
