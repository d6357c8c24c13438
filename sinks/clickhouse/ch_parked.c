/* Ranges that stay at their server. Whether one that was not answered is there nobody knows but its server:
 * an INSERT may lie in a socket of a server that is frozen, and be done hours later. So such a range waits
 * for that server, and is finished there, by its tokens; what comes after it goes elsewhere. No two servers
 * ever get the same range but when the operator says that one is gone for good. The part's sink thread. */
#include <errno.h>
#include <string.h>

#include "ch_part_priv.h"
#include "clock.h"
#include "crash.h"
#include "log.h"

int ch_step_write(struct ch_part *p, bool pending, struct err *err)
{
	struct ch_intent next = p->intent.last;

	next.epoch = p->rows.epoch;
	next.partition = p->part->partition;
	snprintf(next.node, sizeof next.node, "%s", p->rows.node);
	next.pending = pending;
	next.range = p->range;
	return ch_intent_write(&p->intent, &next, err);
}

void ch_parked_tell(struct ch_part *p, uint64_t position)
{
	const struct ch_intent *last = &p->intent.last;
	uint64_t records = 0, from = UINT64_MAX;

	for (uint32_t i = 0; i < last->parked_count; i++) {
		records += last->parked[i].to - last->parked[i].from;
		from = last->parked[i].from < from ? last->parked[i].from : from;
	}
	sink_park(p->part, position, records, from);
}

int ch_range_park(struct ch_part *p, struct err *err)
{
	struct ch_intent next;
	int rc = 0;

	/* Some may have come back: nobody has looked since this one was begun. */
	if (p->intent.last.parked_count == CH_PARKED_MAX)
		rc = ch_parked_tend(p, err);
	if (rc)
		return rc;
	next = p->intent.last;
	if (next.parked_count == CH_PARKED_MAX)
		return err_set(
			err, -EAGAIN, "clickhouse: %d ranges wait for servers that are away", CH_PARKED_MAX);
	next.parked[next.parked_count++] = next.range;
	next.pending = false;
	next.range = (struct ch_range){.from = next.range.to, .to = next.range.to};
	rc = ch_intent_write(&p->intent, &next, err);
	if (rc)
		return rc;
	crash_point("ch_parked");
	log_warn("clickhouse", "partition=%u range=%lu-%lu waits for %s, what follows goes to %s",
		p->part->partition, next.parked[next.parked_count - 1].from, next.range.to,
		next.parked[next.parked_count - 1].endpoint, p->target[p->current].endpoint.name);
	ch_parked_tell(p, next.range.to);
	return 0;
}

int ch_range_again(struct ch_part *p, const struct ch_range *range, struct err *err)
{
	uint32_t crc;
	int rc;

	p->range = *range;
	p->ambiguous = true;
	p->ours = true;
	atomic_fetch_add(&p->part->stats.retries, 1);
	log_info("clickhouse", "partition=%u range=%lu-%lu is sent again to %s", p->part->partition,
		range->from, range->to, range->endpoint);
	rc = ch_range_reload(p, &p->rows, range->from, range->to, err);
	if (rc == 0)
		rc = ch_range_crc(p, &crc, err);
	if (rc)
		return rc;
	p->recoded = crc != range->body_crc || p->rows.block_count != range->insert_count;
	/* One that is put back may encode differently, if it can be told which it is. */
	if (p->recoded && (range->settled || range->split_to ||
				  (range->confirmed && p->rows.block_count != range->insert_count)))
		return err_set(err, -EINVAL,
			"clickhouse: range %lu-%lu of partition %u went in pieces or is put back, and now "
			"encodes "
			"differently (another "
			"version or other rules): finish it with the version that began it",
			range->from, range->to, p->part->partition);
	if (p->recoded)
		log_error("clickhouse",
			"partition=%u range=%lu-%lu encodes differently than when it was first sent (another "
			"version or other rules); its tokens keep it single",
			p->part->partition, range->from, range->to);
	if (range->settled || range->split_to)
		rc = ch_split_resumed(p, err);
	return rc ? rc : ch_range_send(p, true, err);
}

static int parked_of(const struct ch_part *p, uint32_t target)
{
	const struct ch_intent *last = &p->intent.last;

	for (uint32_t i = 0; i < last->parked_count; i++)
		if (strcmp(last->parked[i].endpoint, p->target[target].endpoint.name) == 0)
			return (int)i;
	return -1;
}

/* Parked range number i is not waited for any more. */
static int parked_remove(struct ch_part *p, uint32_t i, struct err *err)
{
	struct ch_intent next = p->intent.last;
	int rc;

	next.parked_count--;
	memmove(&next.parked[i], &next.parked[i + 1], (next.parked_count - i) * sizeof *next.parked);
	memset(&next.parked[next.parked_count], 0, sizeof *next.parked);
	rc = ch_intent_write(&p->intent, &next, err);
	crash_point("ch_unparked");
	return rc;
}

/* Its records cannot be read any more: it is skipped as a whole. Its server, which is in use, says how much
 * of it has come. */
static int parked_abandon(struct ch_part *p, uint32_t i, enum journal_skip reason, struct err *err)
{
	const struct ch_range range = p->intent.last.parked[i];
	uint64_t position = atomic_load(&p->part->stats.position), rows;
	struct journal *j = p->part->journal;
	int rc = ch_rows_there(p, range.from, range.to, &rows, err);

	p->ours = false;
	if (rc)
		return rc;
	p->ours = true;
	log_error("clickhouse",
		"partition=%u range=%lu-%lu waited for %s and cannot be read any more: it is skipped; the "
		"server has rows=%lu of it",
		p->part->partition, range.from, range.to, range.endpoint, rows);
	rc = journal_skip_lost(j, p->part->consumer, range.from, range.to, reason, err);
	if (rc == 0)
		rc = parked_remove(p, i, err);
	if (rc)
		return rc;
	atomic_fetch_add(&p->part->stats.skipped, range.to - range.from);
	journal_skip_passed(j, p->part->consumer, position);
	sink_committed(p->part, position, &(struct sink_tally){0});
	ch_parked_tell(p, position);
	return 0;
}

/* Whether what failed was that its records are damaged, or gone. */
static bool parked_unreadable(
	struct ch_part *p, const struct ch_range *range, int rc, enum journal_skip *reason)
{
	struct journal_partition_stats stats;
	struct err ignored;
	uint64_t to;

	if (!p->ours)
		return false;
	*reason = JOURNAL_SKIP_DAMAGED;
	if (rc == -EBADMSG && p->reader && journal_reader_resync(p->reader, &to, &ignored) == 0) {
		p->reader_at = to;
		return to > range->from;
	}
	*reason = JOURNAL_SKIP_FULL;
	journal_stats(p->part->journal, p->part->partition, &stats);
	return stats.oldest_offset > range->from;
}

/* Parked range number i, whose server is in use. */
static int parked_finish(struct ch_part *p, uint32_t i, struct err *err)
{
	struct ch_range range = p->intent.last.parked[i];
	enum journal_skip reason;
	int rc;

	p->in_parked = true;
	p->parked_index = i;
	rc = ch_range_again(p, &range, err);
	p->in_parked = false;
	if (rc && parked_unreadable(p, &range, rc, &reason))
		return parked_abandon(p, i, reason, err);
	if (rc)
		return rc;
	rc = parked_remove(p, i, err);
	p->ours = rc != 0;
	if (rc)
		return rc;
	ch_target_good(p);
	sink_committed(p->part, atomic_load(&p->part->stats.position), &p->rows.tally);
	ch_parked_tell(p, atomic_load(&p->part->stats.position));
	return 0;
}

/* What waits for the server in use. Only what ends the run is an error: the server may go away again. */
static int parked_finish_all(struct ch_part *p, struct err *err)
{
	uint32_t target = p->current;
	int i;

	while ((i = parked_of(p, target)) >= 0) {
		int rc = parked_finish(p, (uint32_t)i, err);

		if (rc && (rc == -ENOMEM || rc == -ECANCELED || p->ours))
			return rc;
		if (rc) {
			sink_error(p->part, err->text);
			ch_target_away(p, target, rc, err);
			return 0;
		}
	}
	return 0;
}

int ch_parked_tend(struct ch_part *p, struct err *err)
{
	uint32_t preferred = p->current;

	if (p->target_count == 1 && !p->intent.last.parked_count)
		return 0;
	for (uint32_t i = 0; i < p->target_count; i++) {
		bool waited_for = parked_of(p, i) >= 0, current = i == p->current && p->target[i].fit;
		struct err why;
		int rc;

		if ((i >= preferred && !waited_for) || (!current && !ch_target_due(p, i)))
			continue;
		rc = current ? 0 : ch_target_use(p, i, &why);
		if (rc == -ECANCELED || rc == -ENOMEM) {
			*err = why;
			return rc;
		}
		if (rc == 0 && (rc = parked_finish_all(p, err)))
			return rc;
	}
	return ch_target_best(p, err);
}

static bool rebind(struct ch_part *p, struct ch_range *range)
{
	const char *to = p->target[p->current].endpoint.name;

	if (ch_target_find(p, range->endpoint) >= 0 || !ch_target_lost(p, range->endpoint))
		return false;
	log_warn("clickhouse",
		"partition=%u range=%lu-%lu goes to %s: %s, which may have it, is gone for good "
		"(clickhouse.lost)",
		p->part->partition, range->from, range->to, to, range->endpoint);
	snprintf(range->endpoint, sizeof range->endpoint, "%s", to);
	/* The other one has none of its pieces. A record of it that is a dead letter may be one twice. */
	range->settled = range->confirmed = 0;
	range->split_from = range->split_to = 0;
	return true;
}

int ch_parked_rebind(struct ch_part *p, struct err *err)
{
	struct ch_intent next = p->intent.last;
	bool changed = next.pending && rebind(p, &next.range);

	for (uint32_t i = 0; i < next.parked_count; i++)
		changed |= rebind(p, &next.parked[i]);
	return changed ? ch_intent_write(&p->intent, &next, err) : 0;
}
