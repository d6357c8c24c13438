/* The state stage over a journal as it lies there, in one thread: no daemon, no lock, nothing is written.
 * What it gives is what a running stage must have written into its output log, record by record: for tests,
 * for looking back, and for trying other definitions on old input. */
#ifndef SLUICE_STATE_REPLAY_H
#define SLUICE_STATE_REPLAY_H

#include "state_terms.h"

struct state_replay_params {
	const char *journal_dir; /* the input journal */
	/* Definitions that the notes in the journal name. NULL with a plan. */
	struct window_store *windows;
	/* Not NULL: these hold from the first block on, and notes are passed over. Both or none; borrowed. */
	const struct window_plan *plan;
	const struct state_terms *terms;
	/* Where a journal that goes on from another one finds what it begins with, if the replay is from the
	 * first block on and under the journal's own definitions: the savepoint of the change. Where the
	 * beginning of a partition is gone they say which definitions were in force there (state_begin.h).
	 * NULL: state begins empty, notes alone name definitions. */
	const char *checkpoint_dir;
	/* Where merge_bounds_read() finds what the merge took, without a plan. NULL, or nothing there: as the
	 * first terms that are known say. */
	const char *state_dir;
	/* Blocks whose last receive time lies in [from_ms, to_ms); state before them is empty. */
	int64_t from_ms, to_ms;
	uint32_t partition;  /* only this one; UINT32_MAX: all */
	cep_rules_get rules; /* stateful rules; NULL: none */
	void *rules_arg;
	uint64_t source_idle_ms;
	/* Called with each record and its offset in the output log of a run over the same input; non-zero
	 * ends the replay with that value. May be NULL. `partition`: P for merged records. */
	int (*emit)(void *arg, uint32_t partition, uint64_t offset, const struct record *rec);
	void *arg;
};

struct state_replay_log {      /* a partition: of the input, and of the output made of it */
	uint64_t input_offset; /* behind the last record that was taken */
	uint64_t first_offset; /* of the first record that was kept, if any */
	uint64_t blocks, records, events;
	uint64_t passed_over; /* events before the first definitions that are known: in no row */
	uint64_t emitted;
	uint64_t kinds[8]; /* of the emitted, by record_kind */
	uint32_t crc;	   /* CRC32C of all emitted records, in order */
	bool damaged;	   /* it ends at a block that is not intact */
	char fault[160];
	/* Not "": what it begins with is gone. Says from where on it is replayed, what that means, and under
	 * which definitions. */
	char begin[360];
	bool off; /* there no definitions were in force, for certain: what was passed over is in no row of the
		     running stage either */
};

struct state_replay_result {
	uint32_t partitions;	      /* P */
	struct state_replay_log *log; /* P + 1; the last: merged. Caller frees */
	uint64_t incomplete;	      /* partial rows that the merge left out: struct merge_stats */
};

/* 0; what emit returned; -ENOENT: no definitions are known, and no plan was given; -ENODATA: no savepoint;
 * -errno. */
int state_replay(
	const struct state_replay_params *params, struct state_replay_result *result, struct err *err);

#endif
