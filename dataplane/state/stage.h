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
 * Rows come out in event-time steps of plan->step_ms. The step of a row is the first multiple of it at or
 * after the window's end (funnel: end + within; revision: the step after the one that the watermark had
 * reached when the event came), whatever the watermark jumps over: so partitions can be merged by step. Rows
 * of a step come in row order, behind them a mark; a mark also stands for the step that the watermark has
 * come to. Late events come out at once.
 *
 * Which events count: RECORD_EVENT without RECORD_F_SUPPRESSED that pass the filter, with times of at most
 * 2^52 ms. Other kinds only count as records, but ticks, and suppressed events, move the watermark. For each
 * definition events = window.events + filtered + late. An event is one of
 *
 *   filtered: no event for this definition, or (session, funnel) without the key's field;
 *
 *   late: for all of its windows, or without a pane: 65536 windows of a definition can be open, and as
 *   many be revised by the next step (1024, or one event's, where memory is used up). A RECORD_LATE is
 *   emitted, once for all definitions;
 *
 *   events: else; of these late_allowed: of windows that had been emitted, which come out as revisions, all
 *   of a window and a step under one number, which is the partition's: 1, 2, ...
 *
 * Hopping: an event that is late for some of its windows counts in the others; those that could be revised
 * are so together, or, without room, none (late_panes); the slide is a multiple of plan->step_ms.
 *
 * Sessions: an event at t is [t, t + gap); intervals of a key that overlap or touch are one session, as in
 * Flink's TimeWindow.intersects(), as long as the watermark has not reached its end. Late: it touches no such
 * session, and t + gap <= watermark. No lateness.
 *
 * Funnels: late is an event before the watermark; the others wait until it has passed them, and are looked at
 * in the order (event time, offset). An event that could be the first step begins an attempt if the user has
 * none that is open: it counts in the tumbling window of its time. While an attempt is open, until its last
 * step or `within` after its first (that millisecond included), an event counts if it could be the next step,
 * and as no more than one step; whatever else comes, the first step again too, changes nothing. So each
 * (attempt, step) counts once, in the window of the attempt. Rows: key = the step's name alone; only of steps
 * that were reached, or, with conversion_rate, of all. Users beyond keys_max, and new ones where
 * memory is used up, are not followed: their events are counted as `other`, in no row. Where
 * memory is used up those who are there go on, by events that could be another step than the first; twice as
 * many of these as there are steps may wait of each, and what is refused counts as `other`, too.
 *
 * Stateful rules (cep.h): a note "event=rules generation=N", alone in its block, puts generation N in force
 * behind it. Hits mean the generation in their block's header. Alerts of an event come out before it would as
 * a late one, and behind all late ones before it; those of a step before the step's rows. Suppressed events
 * count.
 *
 * Memory: keys beyond keys_max (tumbling: of a window; hopping: that are in any pane; sessions: at a time)
 * and keys that are too long go to the key `other`. When the logical bytes of all windows together have
 * reached memory_bytes new keys do so, too, and in hopping windows known keys in new panes; sketches and
 * texts do not grow, which marks rows ROW_F_CUT. That is looked at after each 1024th offset, and is saved, so
 * that it is decided alike in every replay; the bound may be exceeded by what 1024 records need, and by what
 * may wait of a funnel's users. Logical bytes are made of counts and lengths alone. Where the machine has no
 * memory the process ends. */
#ifndef SLUICE_STAGE_H
#define SLUICE_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "cep.h"
#include "journal.h"
#include "window.h"

struct stage_params {
	const struct window_plan *plan; /* borrowed for life */
	uint32_t partition;
	uint64_t out_of_orderness_ms;
	uint64_t source_idle_ms;
	size_t memory_bytes; /* logical bound of all windows of this partition together */
	/* Stateful rules of a generation; NULL: there are none, and notes about them are passed over.
	 * Generations that a saved state or a block in hand names must be there. */
	cep_rules_get rules;
	void *rules_arg;
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
 * that cannot be, or that does not lie behind what was taken. */
int stage_block(struct stage *st, const struct journal_block *block, uint64_t from, struct err *err);

/* The whole state as bytes, canonical; and back. Load needs a fresh stage of a plan; windows of the saved
 * state that the plan does not have are dropped and counted in *dropped, those that the saved state does not
 * have start empty. -EINVAL for bytes that are no saved state of this version. Hostile bytes are
 * refused; the stage is then only good for freeing. */
void stage_save(const struct stage *st, struct bytes *out);
int stage_load(struct stage *st, const uint8_t *data, size_t bytes, uint32_t *dropped, struct err *err);
/* Whether these bytes are a state that a newer version has saved, or that of the rules in it is: of format
 * *is, this one reads up to *reads. */
bool stage_saved_newer(const uint8_t *data, size_t bytes, uint32_t *is, uint32_t *reads);

/* Behind the block of a note that names the definitions: puts out a mark of the step where this partition
 * stands, which says that they are in force (row.h), and of those that the state loaded did not have from
 * when on windows are whole: windows that start behind the watermark's bound of event times, and behind the
 * latest event that came to the stage before; sessions, `gap` later. Funnels begin with what comes. 0 or what
 * emit returned. note: or NULL: of a version that said nothing, and whose windows all count as whole. */
int stage_definitions(struct stage *st, const struct journal_block *note);

/* Another number of partitions: into a fresh stage, what of the saved states of all `count` old partitions,
 * in order, is its own among `partitions` new ones. All of them stand at one step, else -EINVAL: a hopping
 * window's panes are gone where it was computed, so that no state can be put back to an earlier step; and
 * rows between two steps would be missing, or come twice. Sessions and funnel users go where the events of
 * their key go now. Cells of tumbling and hopping windows, counts of funnels, keys `other`, and counters may
 * lie in any partition, since the merge adds up rows: those of old partition i go to i % partitions. The
 * watermark is the lowest. The input begins anew at offset 0; waiting events of funnels come before it.
 * first() and last() of events with one time go by the old partitions and offsets. Any bytes are safe; after
 * an error the stage is only good for freeing. */
struct stage_saved {
	const uint8_t *data;
	size_t bytes;
};
int stage_gather(struct stage *st, const struct stage_saved *saved, uint32_t count, uint32_t partitions,
	struct err *err);

/* ---- numbers: written by the stage's thread, each word read racily by anyone ---- */
struct stage_window_stats {
	uint64_t uid;
	uint64_t events;       /* counted into a window (once per event) */
	uint64_t filtered;     /* not of this window, see above */
	uint64_t late;	       /* late for all windows of the definition */
	uint64_t no_room;      /* of these, for want of a pane; since this stage was made */
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
	uint64_t row_records;		/* in which these rows lie */
	uint64_t alerts;		/* of stateful rules, since this stage was made */
	int64_t watermark_ms, step_ms;
	uint32_t window_count;
	struct stage_window_stats window[WINDOWS_MAX]; /* in plan order */
	uint32_t source_count;
	struct stage_source source[STAGE_SOURCES_MAX];
};
const struct stage_stats *stage_stats(const struct stage *st);
/* The stateful rules' numbers; NULL without params.rules. */
struct cep *stage_rules(const struct stage *st);

#endif
