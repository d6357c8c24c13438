/* How much memory the merge takes, by step: DIR/merge-memory. What comes out depends on it, and it may change
 * from run to run; so where it did stands in the order of the rows, and a merge from any checkpoint, or over
 * the whole journal, changes over at the same row. Owner's thread. */
#ifndef SLUICE_MERGE_BOUNDS_H
#define SLUICE_MERGE_BOUNDS_H

#include <stdint.h>

#include "err.h"

#define MERGE_BOUNDS_MAX 64 /* of changes that far back rows are hardly kept */

struct merge_bound { /* for rows of steps behind this one */
	int64_t behind_ms;
	uint64_t bytes;
};
struct merge_bounds {
	uint32_t count;				 /* at least 1 */
	struct merge_bound at[MERGE_BOUNDS_MAX]; /* ascending; the first is behind INT64_MIN */
};

/* One bound for all steps. */
void merge_bounds_init(struct merge_bounds *b, uint64_t bytes);
/* Another one, behind a step that no row has come of. Not before the last change: that has then not been
 * used, and this one takes its place. The oldest goes where there is no room. */
void merge_bounds_add(struct merge_bounds *b, int64_t behind_ms, uint64_t bytes);
/* Of the rows of a step; *until_ms: the last step that it is for. */
uint64_t merge_bounds_of(const struct merge_bounds *b, int64_t step_ms, int64_t *until_ms);
uint64_t merge_bounds_last(const struct merge_bounds *b);
uint64_t merge_bounds_largest(const struct merge_bounds *b);

/* -ENOENT: no such file. -EBADMSG: damaged, or of a newer version. */
int merge_bounds_read(struct merge_bounds *b, const char *dir, struct err *err);
int merge_bounds_write(const struct merge_bounds *b, const char *dir, struct err *err);

#endif
