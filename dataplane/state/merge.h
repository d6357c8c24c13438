/* The merge stage: the partial rows of all partitions in, merged rows and anomaly alerts out. A pure function
 * of the P partial logs, whatever the order in which their records become readable: a row of step s is folded
 * when every partition has shown a mark or row beyond s or a mark of s; equal (step, uid, end, start, key)
 * are folded by partition index, and come out in row order.
 *
 * Revisions (definitions with lateness): a merged window is kept until its lateness has passed in all
 * partitions; a partial with revision > 0 is added to it and the whole comes out again with the next revision
 * number, with the delta beside it. Anomalies are computed over merged rows of revision 0, per window and
 * group, in that order. */
#ifndef SLUICE_MERGE_H
#define SLUICE_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "row.h"
#include "stage.h"
#include "window.h"

struct merge_params {
	/* Definitions of the windows in the logs: looked up by uid. Borrowed. */
	const struct window_def *(*window)(void *arg, uint64_t uid);
	void *window_arg;
	uint32_t partitions;
	size_t memory_bytes; /* logical bound of retained windows and anomaly baselines */
};

struct merge;
int merge_new(
	struct merge **out, const struct merge_params *params, stage_emit emit, void *arg, struct err *err);
void merge_free(struct merge *m);

/* A partition whose next record is needed before anything more can come out, or -1 if every head is known
 * (then call merge_run()). Start from `after` + 1 round-robin, so that a caller can try each. */
int merge_wants(const struct merge *m, int after);
/* Feeds records of one partition in order. A record is copied if it is kept. `offset`: in the partial log. */
int merge_feed(
	struct merge *m, uint32_t partition, const struct record *rec, uint64_t offset, struct err *err);
/* Emits all that is decided. 0, or what emit returned. */
int merge_run(struct merge *m, struct err *err);
/* First offset of the partial log that a merge loaded from a save of now must be fed. */
uint64_t merge_position(const struct merge *m, uint32_t partition);

/* Only between a merge_run() and the next feed. Heads that are buffered are not saved: positions say where to
 * resume. */
void merge_save(const struct merge *m, struct bytes *out);
int merge_load(struct merge *m, const uint8_t *data, size_t bytes, struct err *err);

struct merge_stats { /* one writer; read racily */
	uint64_t rows_in, rows_out, revisions, alerts,
		late_lost; /* late_lost: partials of windows no longer kept */
	int64_t step_ms;   /* all steps up to this one are out */
	uint32_t held_by;  /* partition whose mark is lowest: it holds all back */
	uint64_t retained, memory_bytes;
};
const struct merge_stats *merge_stats(const struct merge *m);

/* Checks the anomaly text of a definition. */
int merge_anomaly_check(const char *text, const struct agg_set *aggs, struct err *err);

#endif
