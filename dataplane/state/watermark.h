/* Event time of a partition: which times count, what an event makes of the watermark, and its steps. For the
 * state stage, and for whoever follows it. Pure. */
#ifndef SLUICE_WATERMARK_H
#define SLUICE_WATERMARK_H

#include <stdbool.h>
#include <stdint.h>

/* Event times beyond are taken by no window and move no watermark: sums of times then never overflow. */
#define STAGE_TIME_MAX ((int64_t)1 << 52)

static inline bool stage_time_usable(int64_t t)
{
	return (uint64_t)t + STAGE_TIME_MAX <= 2 * (uint64_t)STAGE_TIME_MAX;
}

/* Where an event raises the watermark to, if it stands lower. Usable times. */
static inline int64_t stage_event_mark(int64_t event_ms, int64_t receive_ms, uint64_t out_of_orderness_ms)
{
	return (event_ms < receive_ms ? event_ms : receive_ms) - (int64_t)out_of_orderness_ms;
}

/* The multiple of unit at or before t. */
static inline int64_t stage_floor(int64_t t, int64_t unit)
{
	int64_t rest = t % unit;

	return t - (rest < 0 ? rest + unit : rest);
}

#endif
