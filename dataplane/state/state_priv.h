/* What the files of the running state stage share. Threads: one a partition (state_part.c), the merge
 * (state_merge.c), the saver (state_save.c), control threads (state.c, state_run.c). Each field names its
 * writer. */
#ifndef SLUICE_STATE_PRIV_H
#define SLUICE_STATE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "state.h"
#include "state_terms.h"

#define STATE_PATH_BYTES 320u
#define STATE_SEQ_FIRST 1u /* of a checkpoint made with the output log: nothing in it */

/* Batches into the output log: hold the largest record (a row with two packed cells, or a late event). */
#define STATE_BATCH_BYTES (136u << 10)
#define STATE_BLOCK_BYTES (256u << 10)
#define STATE_BATCHES 4u
#define STATE_SEAL_NS 2000000u	     /* age at which an open batch is sealed though more is coming */
#define STATE_SHOW_NS 5000000u	     /* age at which numbers are shown again though more is coming */
#define STATE_WAIT_MS 20u	     /* for input */
#define STATE_PRESSURE_NS 200000000u /* between checkpoints that a full log asks for */

/* ---- state_out.c: one partition of the output log, as its producer sees it. Producer's thread. ---- */
struct state_out {
	struct state *state;
	uint32_t partition;
	int consumer;		 /* the producer's own, for the overlap that a replay is compared with */
	_Atomic uint64_t offset; /* of the next record emitted */
	uint64_t compare_from;	 /* records before it are gone from the log */
	uint64_t compare_end; /* durable end when the stage was started: from here on records are appended */
	struct batch *batch;  /* open, or NULL */
	struct journal_reader *reader; /* for comparing */
	struct journal_block block;
	const uint8_t *at; /* next record of block */
	uint64_t at_offset;
	_Atomic uint64_t compared, skipped, appended, mismatches;
	_Atomic bool waiting; /* for room in the log */
};
int out_open(struct state_out *o, struct state *s, uint32_t partition, uint64_t offset, struct err *err);
void out_close(struct state_out *o);
/* 0; -EILSEQ: the log has another record at this offset; -EIO: the log has failed; -ECANCELED: stopped while
 * the log was full. */
int out_emit(struct state_out *o, const struct record *rec, struct err *err);
void out_seal(struct state_out *o);
/* To be called while waiting for what was emitted to become durable: where the log is full, lets go of the
 * overlap. */
void out_yield(struct state_out *o);
/* Seals if the open batch is old. */
void out_seal_aged(struct state_out *o, uint64_t now_ns);

/* ---- state_save.c: checkpoints on their way to disk ---- */
enum { SAVE_IDLE, SAVE_POSTED };
struct state_save {	   /* one a producer */
	_Atomic int state; /* the producer fills and posts (release); the saver takes */
	uint32_t who;
	uint32_t out_partition;
	struct checkpoint_info info; /* its output_offset must be durable before it is written */
	struct bytes body;
	uint64_t progress;   /* what is in it: the producer's measure of its input */
	uint64_t request;    /* number of the request that it answers, among others */
	uint64_t *positions; /* merge: of each partial log; P of them */
	/* saver's results */
	_Atomic uint64_t saved;	 /* progress of the last one that was written; UINT64_MAX: none */
	_Atomic uint64_t same;	 /* how many were, one after the other, of this progress */
	_Atomic uint64_t served; /* requests up to this one are answered, or have failed; the producer sets
				    it, too, when there is nothing new to save */
	_Atomic uint64_t count, failures, seq, bytes, ns;
	_Atomic int64_t ms;
	_Atomic uint64_t gather_ns; /* producer's: how long it took to give its state away */
	/* producer's */
	uint64_t due_ns, pressure_ns, next_seq, began_ns;
};
void *saver_main(void *arg);
/* True if a checkpoint is due now: by time, by request, or since a log is full (pressure). */
bool save_due(struct state *s, struct state_save *v, uint64_t progress, bool pressure);
/* Hands v->info and v->body over; v must be idle. */
void save_post(struct state *s, struct state_save *v, uint64_t progress);
/* Waits until v is idle, or the stop deadline has passed. o: the producer's. */
void save_wait(struct state *s, struct state_save *v, struct state_out *o);
/* Before the saver runs, then the saver: what the merge's checkpoint `seq` needs of the partial logs. */
void save_positions_keep(struct state *s, uint64_t seq, const uint64_t *positions);
/* Begins v->info and empties v->body. */
void save_info(const struct state *s, struct state_save *v, const struct state_out *o);

/* ---- a partition ---- */
struct part_shown {			/* what others see: as of the end of one block */
	struct stage_stats stage, base; /* base: when the stage was made */
	struct state_counts run, replay;
	uint64_t input_offset, output_offset, compared, skipped, appended;
	char error[256];
	struct cep_stats *rules; /* rule_count of them */
	uint32_t rule_count, rule_room;
	struct cep_totals rule_totals;
};
struct state_part {
	struct state *state;
	uint32_t partition;
	pthread_t thread;
	bool runs;
	int consumer;		     /* of the input journal */
	struct checkpoint_info from; /* what it starts from */
	struct bytes body;	     /* of that; freed when it is loaded */
	struct journal_reader *reader;
	struct state_terms terms;
	struct window_plan *plan; /* of the stage */
	struct stage *stage;	  /* NULL before the first note */
	struct stage_stats base;
	struct state_counts carry, replay; /* of stages before this one; when replay had ended */
	pthread_mutex_t shown_lock;
	struct part_shown shown; /* under shown_lock */
	uint64_t shown_ns;
	bool shown_old;
	struct state_out out;
	struct state_save save;
	struct err emit_err;
	bool save_now;		       /* after a change of terms */
	uint64_t replay_to, replay_ns; /* its end; when it began */
	uint32_t replay_quarters;      /* that the log was told of */
	_Atomic uint64_t input_offset;
	_Atomic int phase;
	char error[256];  /* under stage_lock */
	uint64_t full_ns; /* when the input was last asked whether it is full */
	bool full;
};
void *part_main(void *arg);
/* Body of a partition's checkpoint: terms, then what stage_save() gives. */
void part_body(const struct state_terms *t, const struct stage *st, struct bytes *out);
int part_body_terms(const uint8_t *data, size_t bytes, struct state_terms *t, size_t *head, struct err *err);

/* ---- the merge ---- */
struct merge_saved {
	uint64_t seq;	     /* 0: none */
	uint64_t *positions; /* P */
};

struct state_merge {
	struct state *state;
	pthread_t thread;
	bool runs;
	struct checkpoint_info from;
	struct bytes body;
	struct merge *merge;
	struct merge_bounds bounds;
	pthread_mutex_t shown_lock;
	struct merge_stats shown; /* under shown_lock */
	uint64_t shown_ns;
	char error[256];	   /* under shown_lock */
	struct merge_input *input; /* P, its thread's */
	uint64_t fed;
	uint64_t full_ns; /* when the partial logs were last asked whether one is full */
	bool full;
	int *consumer;		   /* P, of the partial logs */
	struct merge_saved *saved; /* checkpoints_kept + 1; saver's */
	struct state_out out;
	struct state_save save;
	struct err emit_err;
	_Atomic int phase;
};
void *merge_main(void *arg);
int merge_state_init(struct state *s); /* memory: -ENOMEM */
/* Bounds of its memory, of the runs before; of a new state the configured one. Behind recover_state(). */
int merge_bounds_begin(struct state *s, struct err *err);
void merge_state_free(struct state *s);

struct state {
	const struct config *cfg;
	struct journal *input, *output;
	char state_dir[STATE_PATH_BYTES], output_dir[STATE_PATH_BYTES], checkpoint_dir[STATE_PATH_BYTES];
	uint32_t partitions; /* P */
	struct window_store *windows;
	struct window_plan *plan;
	struct state_terms terms; /* as configured */
	cep_rules_get rules;
	void *rules_arg;
	uint32_t generation_floor; /* set-up thread */
	struct hot *hot;
	struct handoff handoff;
	bool handoff_made, output_runs, saver_runs;
	pthread_t saver;
	pthread_mutex_t write_lock; /* of the directory of checkpoints */
	pthread_mutex_t save_lock;
	pthread_cond_t save_cond;
	pthread_mutex_t request_lock; /* one state_checkpoint() at a time */
	_Atomic uint64_t request;     /* number of the last one */
	_Atomic bool stop_parts, stop_merge, stop_saver;
	_Atomic uint64_t stop_deadline_ns; /* 0: not stopping */
	/* state_hurry()'s; apart, so that it holds also if the stop begins only now. 0: none */
	_Atomic uint64_t hurry_deadline_ns;
	struct state_part *part; /* P */
	struct state_merge merge;
};

static inline bool state_gives_up(const struct state *s, uint64_t now_ns)
{
	uint64_t deadline = atomic_load_explicit(&s->stop_deadline_ns, memory_order_relaxed);
	uint64_t hurry = atomic_load_explicit(&s->hurry_deadline_ns, memory_order_relaxed);

	return deadline && (now_ns > deadline || (hurry && now_ns > hurry));
}
void state_nap(uint32_t us);
/* "begin anew" in words, for refusals. */
void state_anew(const struct state *s, char out[2 * STATE_PATH_BYTES]);
/* Remembers, logs. */
void part_fail(struct state_part *p, const char *text);

/* ---- state_recover.c: what to start from; refusals ---- */
/* Before the output log is opened, which would make it: refuses if only the log is gone. */
int recover_output_check(const struct state *s, uint32_t checkpoints, struct err *err);
/* Finds the checkpoints to start from, checks them against both logs, sets the consumers' positions; makes
 * the first checkpoints of a new state. */
int recover_state(struct state *s, const struct checkpoint_entry *list, uint32_t count, struct err *err);

#endif
