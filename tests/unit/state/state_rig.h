/* A running state stage for tests: input journal, two workers' part played by the test, output log, and the
 * comparison with an offline replay. Simulated time: the events' clock runs much faster than the wall's. */
#ifndef SLUICE_STATE_RIG_H
#define SLUICE_STATE_RIG_H

#include "journal_rig.h"
#include "state.h"
#include "state_replay.h"

#define SRIG_WORKERS 2
#define SRIG_EVENT_MS 7 /* between events, of simulated time */

struct srig {
	char dir[128]; /* node.data_dir */
	struct config cfg;
	struct rig rig; /* its journal is the input */
	struct state *state;
	bool archive;	  /* a consumer holds the whole input */
	int64_t start_ms; /* simulated time of event 0 */
};

/* dir NULL: a new directory. `windows`: a set of definitions, 0 to 2, each differs in part from the others.
 * Small segments, checkpoints as often as every_ms. */
void srig_init(struct srig *r, const char *dir, uint32_t partitions, int windows, uint64_t every_ms);
/* journal_open, state_open. */
int srig_open(struct srig *r, struct err *err);
/* journal_start, state_start. */
void srig_start(struct srig *r);
/* Events first..first+count-1 as worker `worker` sees them: disorder, late ones, duplicates, five types. */
void srig_feed(struct srig *r, uint32_t worker, uint64_t first, uint64_t count);
/* Waits until the stage has taken what is durable, and the merge what came of it; false: something has
 * failed. */
bool srig_settle(struct srig *r);
/* journal_stop, state_stop; then close. */
void srig_stop(struct srig *r, uint64_t drain_ms);
void srig_close(struct srig *r);
void srig_free(struct srig *r); /* and removes the directory */

/* Replays the journal under dir, all of it, under the definitions that it names; params: emit and rules are
 * the caller's. As state_replay(). */
int srig_replay(const char *dir, struct state_replay_params *params, struct state_replay_result *result,
	struct err *err);

struct srig_check {
	uint64_t replayed, compared, longer, differing, rows, merged, late;
	uint64_t missing[17]; /* what replay gives beyond the end of each log */
	uint64_t log_end[17]; /* of each partition of the output log */
	bool complete;	      /* the log has all that the replay gives */
	char fault[300];
};
/* Replays the journal under dir and compares with the output log there, record by record. False: they differ,
 * the log is longer than the replay, or offsets are not dense. rules: of rules with state, NULL: there are
 * none. */
bool srig_check(const char *dir, cep_rules_get rules, void *rules_arg, struct srig_check *out);

#endif
