/* How a sink gets past records that were given up (journal.when_full, lag limits) or are damaged. Sink
 * threads. */
#ifndef SINK_SKIP_H
#define SINK_SKIP_H

#include "journal.h"
#include "sink.h"

/* A sink that takes records into a span, [*committed, *next), and commits it. Borrowed for the call. */
struct sink_span {
	struct sink_part *part;
	struct journal_reader *reader;
	uint64_t *next;
	const uint64_t *committed;
	int (*commit)(void *sink, struct err *err); /* 0: *committed is *next */
	void *sink;
};

/* Records at `position` were given up. */
bool sink_skip_wanted(const struct sink_part *part, uint64_t position);

/* Goes behind what was given up, and commits that. What was taken before is committed first, so that the
 * count begins with what nobody has. 0, also when there was nothing to skip; -EIO if the reader cannot go
 * there; what commit says. */
int sink_skip(const struct sink_span *span, struct err *err);

/* journal_reader_next() has failed with `rc`: at what was given up, or at damage? Then that is skipped, and 0
 * or what commit says is returned. Else the reader's error; -EIO for -EAGAIN and -ECANCELED, which mean other
 * things to a sink. */
int sink_unreadable(const struct sink_span *span, int rc, struct err *err);

#endif
