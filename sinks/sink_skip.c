/* Past what was given up or is damaged. Sink threads. */
#include "sink_skip.h"

#include <errno.h>

bool sink_skip_wanted(const struct sink_part *part, uint64_t position)
{
	return journal_skip_wanted(part->journal, part->consumer, position) > position;
}

static int skip_to(const struct sink_span *span, uint64_t to_min, struct err *err)
{
	struct sink_part *part = span->part;
	int rc = *span->next > *span->committed ? span->commit(span->sink, err) : 0;
	uint64_t to = *span->committed;

	if (rc == 0)
		rc = journal_skip_take(
			part->journal, part->consumer, to, to_min, JOURNAL_SKIP_DAMAGED, &to, err);
	if (rc || to == *span->committed)
		return rc;
	if (journal_reader_seek(span->reader, to, err))
		return -EIO;
	*span->next = to;
	return span->commit(span->sink, err);
}

int sink_skip(const struct sink_span *span, struct err *err)
{
	return skip_to(span, 0, err);
}

int sink_unreadable(const struct sink_span *span, int rc, struct err *err)
{
	uint64_t to;

	if (rc == -ERANGE && sink_skip_wanted(span->part, *span->next))
		return skip_to(span, 0, err);
	if (rc != -EBADMSG)
		return rc == -EAGAIN || rc == -ECANCELED ? -EIO : rc;
	return journal_reader_resync(span->reader, &to, err) ? -EIO : skip_to(span, to, err);
}
