/* The state stage as the daemon runs it: one thread a partition (journal reader -> stage -> output log), one
 * merge thread (partial logs -> merge -> output log), checkpoints. Recovery: newest checkpoint, replay of the
 * journal from there; what the replay emits is compared byte by byte with what the output log already has,
 * and only what is beyond its durable end is appended. A difference stops the partition with an explanation:
 * determinism is checked, not hoped for.
 *
 * The output log is a journal of its own (P + 1 partitions, derived: no records of its own, no deduplication)
 * at data_dir/output; sinks read it as they read the input journal. */
#ifndef SLUICE_STATE_H
#define SLUICE_STATE_H

#include "batch.h"
#include "checkpoint.h"
#include "hot.h"
#include "journal.h"
#include "merge.h"
#include "stage.h"

struct state;

/* Opens (or makes) the output log, the window store, reads checkpoints; registers as a consumer of both logs,
 * so that retention keeps what replay needs: hence before journal_start(). cfg and input outlive the state.
 * -EINVAL: what is on disk does not fit together; the text says what to do. */
int state_open(struct state **out, const struct config *cfg, struct journal *input, struct err *err);
/* Of the output log of a journal with so many partitions. */
void state_output_params(const struct config *cfg, uint32_t partitions, struct journal_params *p);
struct journal *state_output(struct state *s); /* for sinks: register them before state_start() */
struct window_store *state_windows(struct state *s);
const struct window_plan *state_plan(const struct state *s);
/* After rte_eal_init() and journal_start(), before the first batch: notes the terms (state_terms.h) in the
 * input journal, starts the output log's writers and the threads. Recovery goes on in the threads and shows
 * its progress. */
int state_start(struct state *s, struct err *err);
/* Takes what is durable in the input journal, checkpoints, ends threads and writers. After journal_stop().
 * deadline_ns: monotonic; what is not done by then is replayed after the next start. Readers of the output
 * log may go on until close. */
void state_stop(struct state *s, uint64_t deadline_ns);
/* Brings forward the deadline of a stop that is under way, or that is just about to begin. Any thread. */
void state_hurry(struct state *s, uint64_t deadline_ns);
void state_close(struct state *s);

/* What another number of partitions starts from, into a new directory of state: after state_stop(), before
 * close, where journal_tick() has brought all partitions to one watermark. -EIO: something has not ended in
 * order, or not in time; -EINVAL: partitions stand at different steps, or what was written cannot be loaded.
 * What lies in state_dir then is of no use. They are a savepoint, so that a replay of what comes has
 * something to begin with. */
#define STATE_SAVEPOINT_GATHERED "epoch"
struct state_gather_to {
	const char *state_dir; /* made here: windows/ and checkpoints/ */
	uint64_t input_epoch, output_epoch;
	uint32_t partitions;
};
int state_gather(struct state *s, const struct state_gather_to *to, struct err *err);

extern const char *const state_phase_name[];
enum state_phase { STATE_OFF, STATE_RECOVERING, STATE_RUNNING, STATE_FAILED, STATE_STOPPED };
struct state_counts {
	uint64_t records, events, late, rows, row_records, marks, alerts;
};
struct state_part_stats {
	enum state_phase phase;
	char error[256];
	struct stage_stats stage;
	struct stage_stats base; /* the same when this stage was made: at the start, or where terms changed */
	struct state_counts run; /* since the start, whatever stages there were */
	struct state_counts replay; /* of these, up to replay_to */
	uint64_t output_offset;	    /* of the next record */
	uint64_t compared;	    /* records that replay regenerated and found equal */
	uint64_t skipped;	    /* that were not in the log any more */
	uint64_t appended;	    /* that were new */
	uint64_t mismatches;	    /* that were not equal: 0, or 1 and the partition has stopped */
	bool waiting;		    /* the output log is full */
	uint64_t replay_from,
		replay_to; /* input offsets: recovery's progress is stage.input_offset between them */
	uint64_t checkpoints, checkpoint_failures, checkpoint_seq, checkpoint_bytes;
	uint64_t checkpoint_gather_ns; /* how long the partition stood still for the last one */
	uint64_t checkpoint_ns;	       /* how long it then took to write it */
	int64_t checkpoint_ms;	       /* wall clock of the last one; 0: none */
};
struct state_stats {
	uint32_t partitions;
	struct merge_stats merge;
	enum state_phase merge_phase;
	char merge_error[256];
	uint64_t merge_output_offset, merge_compared, merge_skipped, merge_appended, merge_mismatches;
	uint64_t merge_checkpoints, merge_checkpoint_failures, merge_checkpoint_seq, merge_checkpoint_bytes;
	uint64_t merge_checkpoint_gather_ns, merge_checkpoint_ns;
	int64_t merge_checkpoint_ms;
	bool merge_waiting;
};
void state_stats(const struct state *s, struct state_stats *out);
void state_part_stats(const struct state *s, uint32_t partition, struct state_part_stats *out);
/* Where the stages get stateful rules from; before state_start(). Without it there are none. */
void state_rules(struct state *s, cep_rules_get rules, void *arg);
/* The lowest generation of rules that a checkpoint or savepoint names which was there when the state was
 * opened; 0: none does. What it names must stay, or that one cannot be loaded. */
uint32_t state_generation_floor(const struct state *s);
/* Numbers of the stateful rules of a partition's stage, by uid, as of its last show; at most `room` of them.
 * Returns how many there are. Any thread. */
uint32_t state_rule_stats(const struct state *s, uint32_t partition, struct cep_stats *out, uint32_t room);
/* Its totals over all rules with state there were. Any thread. */
void state_rule_totals(const struct state *s, uint32_t partition, struct cep_totals *out);
struct hot *state_hot(struct state *s);
/* Asks every thread for a checkpoint and waits for it; where nothing is new the last one stands. savepoint: a
 * name of letters, digits, - _ . for a second set of files (checkpoint.h) that stay until removed by hand;
 * NULL: none. -ETIMEDOUT; -EIO: one has failed. */
int state_checkpoint(struct state *s, const char *savepoint, uint32_t timeout_ms, struct err *err);

#endif
