/* The merge stage: the partial rows of all partitions in, merged rows and anomaly alerts out. A pure function
 * of the P partial logs, whatever the order in which their records become readable: a row of step s is folded
 * when every partition has shown a mark or row beyond s or a mark of s; equal (step, uid, end, start, key)
 * are folded by partition index, and come out in row order.
 *
 * Revisions (definitions with lateness): a merged window is kept until its lateness has passed in all
 * partitions; a partial that comes for it is added to it, and the whole comes out again with the next
 * revision number, with the delta beside it. All partials of one window and key in one step make one
 * revision. A window whose first partial is a late one comes out as revision 0. If memory is short the
 * windows that could be revised for the shortest time are put out; what comes for them is counted as
 * late_lost.
 *
 * Definitions: marks of a partition say which are in force in it from their step on, and from when on windows
 * of a new one are whole there. A row of step s comes out if its definition is in force in all partitions at
 * s, and its window starts where it is whole in all; else it is left out, and counted (incomplete). A
 * partition that has said nothing yet (logs of older versions) has all that none of the others says to have
 * begun.
 *
 * After the last row of a step comes a RECORD_MARK of that step; steps without rows have none.
 * receive_time_ms of rows is the highest of their partials', of marks that of their rows. Flags are ORed.
 *
 * Funnels: a row for each step's name, with its packed count; the conversion rate of a step is its count
 * divided by that of the first step (of all) or of the one before (of those who came so far), and is left to
 * readers: a rate could not be merged over boxes.
 *
 * Anomalies (anomaly.h) are judged on merged rows of revision 0, per window and group, in the order in which
 * they come out; a ROW_ALERT stands right behind its row. Its rule is anomaly:WINDOW:DETECTOR(LABEL), its key
 * readable text (source=web, country=GB), its score the distance in deviations, its severity high from twice
 * the detector's K on, else medium; evidence_total is the count of the window's events, and there are no
 * addresses.
 *
 * Pure, one thread: no clock, no I/O. After an error a merge is only good for freeing (but -EAGAIN). */
#ifndef SLUICE_MERGE_H
#define SLUICE_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "merge_bounds.h"
#include "row.h"
#include "stage.h"
#include "window.h"

struct merge_params {
	/* Definitions of the windows in the logs: looked up by uid. Borrowed. */
	const struct window_def *(*window)(void *arg, uint64_t uid);
	void *window_arg;
	uint32_t partitions;
	int64_t step_ms; /* of the plan */
	/* Logical bound: half for windows that may be revised, half for baselines. By steps, borrowed; NULL:
	 * memory_bytes for all. */
	const struct merge_bounds *bounds;
	size_t memory_bytes;
	/* The beginning of a log may be missing, and with it what was said of definitions: who has said
	 * nothing then does not lack those that others say to have begun. */
	bool silent_has_all;
};

struct merge;
int merge_new(
	struct merge **out, const struct merge_params *params, stage_emit emit, void *arg, struct err *err);
void merge_free(struct merge *m);

/* A partition whose next record is needed before anything more can come out, or -1 if every head is known
 * (then call merge_run()). Start from `after` + 1 round-robin, so that a caller can try each. */
int merge_wants(const struct merge *m, int after);
/* Feeds a record of one partition: a row, a mark or what is passed over, in log order; it has passed
 * record_valid(). A record is copied if it is kept. `offset`: in the partial log, ascending. -EAGAIN: as much
 * of that partition waits as may (about 1 MiB); merge_run() and feed whom merge_wants() names. -EBADMSG: a
 * record that cannot stand there. -ENOENT: a window without a definition. Any bytes are safe. */
int merge_feed(
	struct merge *m, uint32_t partition, const struct record *rec, uint64_t offset, struct err *err);
/* A record that merge_feed() passes over: whom the merge wants stays the same. */
static inline bool merge_passes_over(const struct record *rec)
{
	return rec->kind == RECORD_LATE || (rec->kind == RECORD_ROW && rec->type == ROW_RULE_ALERT);
}
/* Emits all that is decided. 0, or what emit returned. */
int merge_run(struct merge *m, struct err *err);
/* No row of a step behind this one has come out of this merge; INT64_MIN: none at all has. Of what had come
 * out before a save one that was loaded may know less than stats->step_ms was then. */
int64_t merge_reached(struct merge *m);
/* params->bounds has another last entry, behind what was reached. */
void merge_bounds_changed(struct merge *m);
/* First offset of the partial log that a merge loaded from a save of now must be fed. */
uint64_t merge_position(const struct merge *m, uint32_t partition);

/* Only between a merge_run() and the next feed. Heads that are buffered are not saved: positions say where to
 * resume. */
void merge_save(const struct merge *m, struct bytes *out);
/* Into a fresh merge. Windows and baselines of definitions that are not there any more are left out. -EINVAL:
 * not what a save makes, of this version and number of partitions. Hostile bytes are refused. */
int merge_load(struct merge *m, const uint8_t *data, size_t bytes, struct err *err);
/* As stage_saved_newer(). */
bool merge_saved_newer(const uint8_t *data, size_t bytes, uint32_t *is, uint32_t *reads);

/* The same for a save of any number of partitions, all at one step (else -EINVAL), with no row waiting: then
 * merge_position() of each was its log's end, which the caller has checked. The new partial logs begin at
 * offset 0, behind that step (stage_gather()). */
int merge_gather(struct merge *m, const uint8_t *data, size_t bytes, struct err *err);

struct merge_stats {
	uint64_t rows_in, rows_out, revisions, alerts,
		late_lost;   /* late_lost: partials of windows no longer kept */
	uint64_t incomplete; /* partials that were left out: of windows of which a change of definitions has
				taken away a part */
	int64_t step_ms;     /* all steps up to this one are out */
	uint32_t held_by;    /* the partition that holds all back: of those still needed, the least far one */
	uint64_t retained, memory_bytes;
	uint64_t groups;	 /* that have baselines */
	uint64_t groups_evicted; /* forgotten for newer ones */
	uint64_t groups_refused; /* rows that were not judged for lack of room */
};
/* As of now, behind a merge_run() or while merge_wants() names somebody: else step_ms is a step whose rows
 * are still to come out. Not between a failed call and merge_free(). */
const struct merge_stats *merge_stats(struct merge *m);

/* Checks the anomaly text of a definition: what can be seen without the windows' sizes. */
int merge_anomaly_check(const char *text, const struct agg_set *aggs, struct err *err);
/* The whole of it: a period of seasonal() must be a multiple of the windows' distance, of at most two weeks
 * of minutes; sessions have no periods. Other detectors that pass the check above pass this one. */
int merge_anomaly_check_window(const struct window_def *def, struct err *err);

#endif
