/* With which terms the replay of a partition begins whose first records are gone: their segment was used
 * again, and with it the note that named the definitions. What is kept may still say it: checkpoints, and
 * notes that come later. Offline; reads files; any thread. */
#ifndef SLUICE_STATE_BEGIN_H
#define SLUICE_STATE_BEGIN_H

#include "state_terms.h"

struct state_begin {
	uint64_t offset; /* of the first record that is kept */
	bool looked;	 /* what follows was looked for: the beginning is gone */
	bool known;	 /* these terms are the best that is known */
	bool certain;	 /* they, or none if not known, were in force there: no note stands in between */
	struct state_terms terms;
	char from[120]; /* where they were taken from, in words */
};

/* Fills begin[] of each partition, or of `partition` alone if it is not UINT32_MAX. checkpoint_dir NULL:
 * without. `before`: the journal goes on from another one; where the beginning of one partition is gone what
 * it began with fits none, so that all are looked for. */
int state_begin_find(const char *journal_dir, const char *checkpoint_dir, const struct journal_meta *meta,
	uint32_t partition, struct state_begin *begin, struct err *err);

/* The first note of a partition that stands before offset `limit`. */
struct state_note {
	bool found;
	bool whole; /* all that was looked at is intact */
	uint64_t offset;
	struct state_terms terms;
};
int state_note_first(const char *journal_dir, uint32_t partition, uint64_t limit, struct state_note *note,
	struct err *err);

#endif
