/* Narrow cells: enough for keys that have few events with small numbers, as most keys have. Counters take one
 * byte, decimal sums five; everything else is as in other cells, and nothing is rounded. Its first byte is
 * how many events it took; whoever adds counts that up, before, and asks agg_narrow_takes(): so no counter
 * and no sum overflows. What does not fit goes on in an ordinary cell. Pure; one thread, memory is the
 * caller's.
 *
 * A narrow cell's second byte is 4-byte aligned. */
#ifndef SLUICE_AGG_NARROW_H
#define SLUICE_AGG_NARROW_H

#include "agg_run.h"

#define AGG_NARROW_EVENTS UINT8_MAX
#define AGG_NARROW_WIDE_MAX 512u /* bytes of an ordinary cell; larger ones have no narrow ones */

/* The same aggregates over narrow cells: for agg_cell_init(), agg_cell_prefetch(), agg_run_prefetch(),
 * agg_run_add(); agg_set_cell_bytes() counts the first byte along, at least 5 in all. The set's. NULL: it has
 * none. */
const struct agg_set *agg_narrow(const struct agg_set *set);

/* Of a run's events, those with numbers that a narrow cell does not take. */
uint64_t agg_narrow_large(struct agg_run *run, const struct agg_set *set, uint64_t events);
/* Counts an event that is not one of those; false: the cell has as many as it takes. */
static inline bool agg_narrow_takes(uint8_t *cell)
{
	if (*cell == AGG_NARROW_EVENTS)
		return false;
	++*cell;
	return true;
}

/* The ordinary cell of the same content, which has the same growing parts. */
void agg_narrow_widen(const struct agg_set *set, const uint8_t *narrow, void *cell);
/* And back. False: it does not fit. */
bool agg_narrow_fit(const struct agg_set *set, const void *cell, uint8_t *narrow);

#endif
