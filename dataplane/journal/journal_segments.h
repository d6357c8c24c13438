/* The segments of a partition as they lie there, offline: what stands in the header of the first block of
 * each. */
#ifndef SLUICE_JOURNAL_SEGMENTS_H
#define SLUICE_JOURNAL_SEGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct journal_segment_head {
	uint64_t number;
	bool any; /* it has a block; else the rest is 0 */
	uint64_t first_seq, first_offset;
	uint32_t generation;
	int64_t receive_first_ms;
};

/* The oldest first; each returns non-zero to end it. Returns that, 0, or -errno. */
int journal_segments(const char *dir, uint32_t partition,
	int (*each)(void *arg, const struct journal_segment_head *head), void *arg, struct err *err);

#endif
