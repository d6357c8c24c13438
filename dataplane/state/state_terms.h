/* The terms under which a partition's rows are computed: what its output depends on beside its input. They
 * stand in the input journal as a note (journal_note()), alone in its block, in every partition: from there
 * on they hold. So a replay from any point, or from the beginning, changes over where the first run did.
 * State begins at the first note; what stands before it is not counted.
 *
 *   event=windows step_ms=N out_of_orderness_ms=N memory=N marks=1 uids=HEX16,HEX16,...
 *
 * marks=1 is missing in notes of versions that put out no mark of definitions behind it (row.h): neither does
 * a replay of them.
 *
 * Pure; any thread. */
#ifndef SLUICE_STATE_TERMS_H
#define SLUICE_STATE_TERMS_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"
#include "journal.h"
#include "stage.h"
#include "window.h"

struct state_terms {
	int64_t step_ms;
	uint64_t out_of_orderness_ms;
	uint64_t memory_bytes;
	uint32_t window_count;
	uint64_t window_uid[WINDOWS_MAX]; /* ascending */
	bool marks;			  /* of a note, no term itself: see above */
};

void state_terms_make(struct state_terms *t, const struct config *cfg, const struct window_plan *plan);
bool state_terms_equal(const struct state_terms *a, const struct state_terms *b);
/* Text of the note; at most JOURNAL_NOTE_MAX bytes. */
void state_terms_print(const struct state_terms *t, char out[JOURNAL_NOTE_MAX + 1]);
/* 1: the block is such a note, *t is filled. 0: it is not. -EBADMSG: it would be one, but cannot be read. */
int state_terms_of_block(const struct journal_block *block, struct state_terms *t, struct err *err);
/* Of the newest good checkpoint of partition 0, if it is of this input journal. 1: *t is filled. 0: there is
 * none. -EPROTO: it is of a version that this binary does not read. Reads files. */
int state_terms_newest(const char *checkpoint_dir, uint64_t epoch, struct state_terms *t, struct err *err);
/* A fresh stage under these terms; *plan is the caller's, and outlives the stage. */
int state_terms_stage(const struct state_terms *t, struct window_store *store, uint32_t partition,
	uint64_t source_idle_ms, cep_rules_get rules, void *rules_arg, stage_emit emit, void *arg,
	struct window_plan **plan, struct stage **stage, struct err *err);

#endif
