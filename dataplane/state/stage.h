/* The state stage of one partition: journal blocks in, partial rows, late events and marks out. A pure
 * function of the blocks: no clock, no thread, no I/O, no random number; the same bytes come out in every
 * replay, whatever the batch sizes of the calls, and across a save and load at any block boundary.
 *
 * Event time: the watermark before a record is the highest of (a) min(event time, receive time) -
 * out-of-orderness over the event records before it, (b) ticks before it, (c) the watermarks of whole blocks
 * before it (these count events that rules dropped and duplicates, too). A window [start, end) closes when
 * the watermark reaches end; an event is late for it when the watermark has reached end + lateness. This is
 * Flink's rule with per-record watermarks of max - bound - 1 ms.
 *
 * Rows come out in event-time steps of plan->step_ms: when the watermark passes a multiple of it, rows of all
 * windows that end at or before it are emitted in row order, then a mark. So the output is a function of each
 * partition's input alone, and partitions can be merged by step. */
#ifndef SLUICE_STAGE_H
#define SLUICE_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "journal.h"
#include "window.h"

struct stage_params {
	const struct window_plan *plan; /* borrowed for life */
	uint32_t partition;
	uint64_t out_of_orderness_ms;
	uint64_t source_idle_ms;
	size_t memory_bytes; /* logical bound of all windows of this partition together */
};

/* Takes one record of the output log; records come in order, each exactly once. The bytes are the stage's
 * until the call returns. Non-zero ends stage_block() with that value; the stage is then only good for
 * freeing. */
typedef int (*stage_emit)(void *arg, const struct record *rec);

struct stage;
int stage_new(
	struct stage **out, const struct stage_params *params, stage_emit emit, void *arg, struct err *err);
void stage_free(struct stage *st);

/* Takes the block's records from offset `from` on. 0, or what emit returned, or -EBADMSG with err for a block
 * that cannot be. */
int stage_block(struct stage *st, const struct journal_block *block, uint64_t from, struct err *err);

/* The whole state as bytes, canonical; and back. Load needs a fresh stage of a plan; windows of the saved
 * state that the plan does not have are dropped and counted in *dropped, those that the saved state does not
 * have start empty. -EINVAL for bytes that are no saved state of this version or the one before. Hostile
 * bytes are refused. */
void stage_save(const struct stage *st, struct bytes *out);
int stage_load(struct stage *st, const uint8_t *data, size_t bytes, uint32_t *dropped, struct err *err);

/* ---- numbers: written by the stage's thread, each word read racily by anyone ---- */
struct stage_window_stats {
	uint64_t uid;
	uint64_t events;       /* counted into a window (once per event) */
	uint64_t filtered;     /* not of this window: type, filter, or no group field where one is needed */
	uint64_t late;	       /* late for all windows of the definition */
	uint64_t late_allowed; /* late for a window that had been emitted, and revised */
	uint64_t
		late_panes; /* (event, window) pairs that were too late while another window took the event */
	uint64_t rows, revisions;
	uint64_t other;	       /* events that went to the key `other` */
	uint64_t cut;	       /* updates that lost a sketch or text for lack of memory */
	uint64_t keys;	       /* live (pane, key) pairs, sessions or funnel users */
	uint64_t memory_bytes; /* logical */
	int64_t closed_ms;     /* windows that end at or before this are closed */
};
struct stage_source { /* a listener, by UDP port */
	uint16_t port;
	bool idle;
	uint64_t events;
	int64_t event_time_max_ms, receive_last_ms;
};
#define STAGE_SOURCES_MAX 64
struct stage_stats {
	uint64_t input_offset;		/* next record to be taken */
	uint64_t records, events, late; /* late: events with a RECORD_LATE */
	uint64_t rows, marks;		/* emitted */
	int64_t watermark_ms, step_ms;
	uint32_t window_count;
	struct stage_window_stats window[WINDOWS_MAX]; /* in plan order */
	uint32_t source_count;
	struct stage_source source[STAGE_SOURCES_MAX];
};
const struct stage_stats *stage_stats(const struct stage *st);

#endif
