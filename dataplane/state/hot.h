/* Hot aggregates: the last N windows of each definition in memory, for readers of other threads. The merge
 * thread puts rows in; readers copy out under a lock that is held for a row at a time. Bounded by bytes.
 * Rebuilt after a restart from the output log, as far as that reaches.
 *
 * A window here is the rows of one (definition, start, end); of sessions, which have an end each, those that
 * end within one minute. When there is no room, the oldest window of the definition that holds most goes
 * first. A window that went does not come back in part: later rows of it, or of older ones, are not taken. */
#ifndef SLUICE_HOT_H
#define SLUICE_HOT_H

#include <stdint.h>

#include "row.h"

#define HOT_SESSION_MS 60000 /* sessions that end within it are one window */

struct hot;
/* windows_kept: of each definition, at least 1. bytes_max: of the rows and what is needed to find them. NULL
 * without memory. */
struct hot *hot_new(uint32_t windows_kept, size_t bytes_max);
void hot_free(struct hot *h);
/* rec: a merged ROW (not an alert), checked. The highest revision of a (uid, start, end, key) stays. A row
 * for which there is no memory is left out and counted. Merge thread. */
void hot_put(struct hot *h, const struct record *rec);
/* Calls back for each row of a window's definition with end in (from, to], newest window first, rows of one
 * window by key; the record is the callback's for the call, which may call anything here. Rows that are put
 * meanwhile may be seen or not, none is seen twice. Stops when it returns non-zero and returns that. -ENOMEM:
 * ended early without memory. Any thread. */
int hot_each(struct hot *h, uint64_t uid, int64_t from_end_ms, int64_t to_end_ms,
	int (*each)(void *arg, const struct record *rec), void *arg);

struct hot_stats {
	uint64_t rows, windows, bytes;
	uint64_t evicted; /* windows that went for want of bytes */
	uint64_t refused; /* rows of windows that had gone, or without memory */
};
/* Any thread. */
void hot_stats(struct hot *h, struct hot_stats *out);

#endif
