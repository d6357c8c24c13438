/* Hot aggregates: the last N windows of each definition in memory, for readers of other threads. The merge
 * thread puts rows in; readers copy out under a lock that is held for a row at a time. Bounded by bytes; the
 * oldest window goes first. Rebuilt after a restart from the output log, as far as that reaches. */
#ifndef SLUICE_HOT_H
#define SLUICE_HOT_H

#include <stdint.h>

#include "row.h"

struct hot;
struct hot *hot_new(uint32_t windows_kept, size_t bytes_max);
void hot_free(struct hot *h);
/* rec: a merged ROW. The highest revision of a (uid, start, end, key) stays. Merge thread. */
void hot_put(struct hot *h, const struct record *rec);
/* Calls back for each row of a window's definition with end in (from, to], newest window first, rows of one
 * window by key; the record is the callback's for the call. Stops when it returns non-zero and returns that.
 * Any thread. */
int hot_each(struct hot *h, uint64_t uid, int64_t from_end_ms, int64_t to_end_ms,
	int (*each)(void *arg, const struct record *rec), void *arg);

#endif
