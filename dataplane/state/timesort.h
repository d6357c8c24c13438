/* Sorting by time what begins with its time: stable, linear in the bits that tell the times apart. Pure;
 * scratch memory is the caller's. */
#ifndef SLUICE_TIMESORT_H
#define SLUICE_TIMESORT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TIMESORT_BITS 11u
#define TIMESORT_PLACES (1u << TIMESORT_BITS)

static inline __attribute__((always_inline)) uint32_t timesort_place(
	const uint8_t *item, int64_t least, uint32_t shift)
{
	int64_t time_ms;

	memcpy(&time_ms, item, sizeof time_ms);
	return ((uint64_t)time_ms - (uint64_t)least) >> shift & (TIMESORT_PLACES - 1);
}

/* `count` items of `bytes` each, whose times are all from least to most; scratch: room for as many. Returns
 * which of the two has the result. Always inline: sizes are constants then. */
static inline __attribute__((always_inline)) void *timesort(
	void *items, void *scratch, size_t count, size_t bytes, int64_t least, int64_t most)
{
	uint64_t span = (uint64_t)most - (uint64_t)least;
	uint8_t *from = items, *to = scratch, *was;

	for (uint32_t shift = 0; shift < 64 && span >> shift; shift += TIMESORT_BITS) {
		size_t place[TIMESORT_PLACES] = {0}, sum = 0;

		for (size_t i = 0; i < count; i++)
			place[timesort_place(from + i * bytes, least, shift)]++;
		for (uint32_t i = 0; i < TIMESORT_PLACES; i++) {
			size_t n = place[i];

			place[i] = sum;
			sum += n;
		}
		for (size_t i = 0; i < count; i++) {
			const uint8_t *item = from + i * bytes;

			memcpy(to + place[timesort_place(item, least, shift)]++ * bytes, item, bytes);
		}
		was = from;
		from = to;
		to = was;
	}
	return from;
}

#endif
