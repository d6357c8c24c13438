/* What must be kept, and for whom: the floor, segments that are given up when there is no room, limits of
 * sinks that are behind. Keeper; retention_floor(): any thread. */
#include "journal_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define ALARM_ON 0.8 /* of the limit, or of what the journal holds */
#define ALARM_OFF 0.7

/* What it was seen at: loaded once, since a sink may find its position meanwhile. */
struct consumer_place {
	uint64_t position, skip_to;
};

static struct consumer_place consumer_place(const struct journal_consumer *c)
{
	return (struct consumer_place){atomic_load_explicit(&c->position, memory_order_acquire),
		atomic_load_explicit(&c->skip_to, memory_order_acquire)};
}

static uint64_t place_floor(struct consumer_place at, uint64_t unknown)
{
	uint64_t position = at.position == CONSUMER_UNKNOWN ? unknown : at.position;

	return position > at.skip_to ? position : at.skip_to;
}

static uint64_t consumer_floor(const struct journal_consumer *c)
{
	return place_floor(consumer_place(c), atomic_load_explicit(&c->stood, memory_order_relaxed));
}

/* Of all consumers, or of those for which nothing may be given up. */
static uint64_t floor_of(struct journal *j, uint32_t partition, bool hard)
{
	uint32_t count = atomic_load_explicit(&j->consumer_count, memory_order_acquire);
	uint64_t floor = UINT64_MAX;

	for (uint32_t i = 0; i < count; i++) {
		const struct journal_consumer *c = &j->consumer[i];
		uint64_t own;

		if (c->partition != partition ||
			(hard && atomic_load_explicit(&c->may_skip, memory_order_acquire)))
			continue;
		own = consumer_floor(c);
		if (own < floor)
			floor = own;
	}
	return floor;
}

uint64_t retention_floor(struct journal *j, uint32_t partition)
{
	uint64_t floor = floor_of(j, partition, false);

	return floor == UINT64_MAX && j->params.derived ? 0 : floor;
}

/* Who needs the oldest segment, which could be used again otherwise: the one that is furthest behind. Under
 * the part's lock, as the table is. NULL: nobody. */
static const struct journal_consumer *holder_of(const struct journal_part *part, uint64_t *floor)
{
	struct journal *j = part->journal;
	uint32_t count = atomic_load_explicit(&j->consumer_count, memory_order_acquire);
	const struct journal_consumer *holder = NULL;

	*floor = part->seg_count < JOURNAL_SEGMENTS_LEAST ? 0 : part->seg[1].first_offset;
	for (uint32_t i = 0; i < count; i++) {
		const struct journal_consumer *c = &j->consumer[i];

		if (c->partition != part->index || consumer_floor(c) >= *floor)
			continue;
		holder = c;
		*floor = consumer_floor(c);
	}
	return holder;
}

void retention_full_text(struct journal_part *part, char *text, size_t bytes)
{
	const char *cause = __atomic_load_n(&part->stats.disk_full, __ATOMIC_RELAXED)
				    ? "the disk has no room for a further segment"
				    : "there is no free segment";
	const struct journal_consumer *holder;
	uint64_t floor;

	pthread_mutex_lock(&part->lock);
	holder = holder_of(part, &floor);
	if (holder)
		snprintf(text, bytes, "%s, and %s holds all %u, from offset %" PRIu64 " on", cause,
			holder->name, part->seg_count, floor);
	else
		snprintf(text, bytes, "%s, and of %u none can be used again", cause, part->seg_count);
	pthread_mutex_unlock(&part->lock);
}

static int give_up_for(struct journal_part *part, uint64_t to, enum journal_skip reason, struct err *err)
{
	struct journal *j = part->journal;
	uint32_t count = atomic_load_explicit(&j->consumer_count, memory_order_acquire);
	int rc = 0;

	for (uint32_t i = 0; i < count && rc == 0; i++) {
		struct journal_consumer *c = &j->consumer[i];

		if (c->partition == part->index && consumer_floor(c) < to)
			rc = skip_order(part, c, to, reason, err);
	}
	return rc;
}

bool retention_give_up(struct journal_part *part)
{
	struct journal *j = part->journal;
	struct part_tail tail;
	uint64_t to = 0;
	struct err err;

	if (!j->params.drop_old)
		return false;
	tail_get(part, &tail);
	pthread_mutex_lock(&part->lock);
	/* Not before it is needed: the segment in force has room for as much again. */
	if (part->seg_count >= 3 && (tail.segment > part->seg[part->seg_count - 1].number ||
					    tail.file_offset >= j->meta.segment_bytes / 2))
		to = part->seg[1].first_offset;
	pthread_mutex_unlock(&part->lock);
	if (to == 0 || to > tail.offset || floor_of(j, part->index, true) < to)
		return false;
	if (give_up_for(part, to, JOURNAL_SKIP_FULL, &err) != 0) {
		log_error("journal", "nothing can be given up partition=%u reason=\"%s\"", part->index,
			err.text);
		return false;
	}
	return retention_floor(j, part->index) >= to;
}

/* Bytes from an offset to the durable end, by the table of segments: records of a segment count alike. Under
 * the lock. */
static uint64_t bytes_behind(const struct journal_part *part, uint64_t offset, const struct part_tail *tail)
{
	uint64_t segment_bytes = part->journal->meta.segment_bytes;
	double behind = 0;

	for (uint32_t i = part->seg_count; i-- > 0;) {
		const struct segment_entry *seg = &part->seg[i];
		bool last = i + 1 == part->seg_count || seg[1].first_offset > tail->offset;
		uint64_t end = last ? tail->offset : seg[1].first_offset;
		uint64_t bytes = seg->number < tail->segment ? segment_bytes : tail->file_offset;

		if (seg->number > tail->segment || end <= seg->first_offset)
			continue;
		if (end <= offset)
			break;
		if (offset <= seg->first_offset)
			behind += (double)bytes;
		else
			behind += (double)bytes * (double)(end - offset) / (double)(end - seg->first_offset);
	}
	return (uint64_t)behind;
}

static void lag_alarm(struct journal_part *part, struct journal_consumer *c, uint64_t lag, uint64_t limit)
{
	bool was = atomic_load_explicit(&c->lag_alarm, memory_order_relaxed);
	bool now = (double)lag >= (double)limit * (was ? ALARM_OFF : ALARM_ON);
	const char *log = part->journal->params.derived ? " log=output" : "";

	if (now == was)
		return;
	atomic_store_explicit(&c->lag_alarm, now, memory_order_relaxed);
	if (now)
		log_warn("journal",
			"SINK FAR BEHIND: sink=%s partition=%u bytes=%" PRIu64 " of=%" PRIu64
			", at which %s%s",
			c->name, part->index, lag, limit,
			c->lag_limit && c->lag_skip	 ? "it skips to the newest records"
			: part->journal->params.drop_old ? "the oldest records are given up"
			: part->journal->params.derived	 ? "the state stage waits"
							 : "new events are dropped",
			log);
	else
		log_info("journal", "a sink has caught up sink=%s partition=%u%s", c->name, part->index, log);
}

/* Bytes that the partition holds at most for who is behind: fewer segments than it may have where the disk
 * has no room for a further one. The keeper's. */
static uint64_t lag_room(struct journal_part *part)
{
	uint64_t segments = part->journal->params.segments_max;

	pthread_mutex_lock(&part->lock);
	if (part->stats.disk_full && part->seg_count < segments)
		segments = part->seg_count;
	pthread_mutex_unlock(&part->lock);
	return (segments > 2 ? segments - 1 : 1) * part->journal->meta.segment_bytes;
}

/* How far it is behind where it stands; until that is known, where it stood last, or else the start. */
static uint64_t lag_of(struct journal_part *part, const struct journal_consumer *c, struct consumer_place at,
	const struct part_tail *tail)
{
	uint64_t stood = atomic_load_explicit(&c->stood, memory_order_relaxed);

	return bytes_behind(part, place_floor(at, stood ? stood : c->lag_from), tail);
}

/* The same, as far as it is certain, which is no more: where it stood last may be a little less than is true,
 * and nothing is to be given up for that, unless new events would be dropped instead. */
static uint64_t lag_certain(struct journal_part *part, const struct journal_consumer *c,
	struct consumer_place at, const struct part_tail *tail)
{
	if (atomic_load_explicit(&part->next_state, memory_order_relaxed) == NEXT_FULL)
		return lag_of(part, c, at, tail);
	return bytes_behind(part, place_floor(at, c->lag_from), tail);
}

void retention_lag(struct journal_part *part)
{
	struct journal *j = part->journal;
	uint32_t count = atomic_load_explicit(&j->consumer_count, memory_order_acquire);
	uint64_t room = lag_room(part);
	struct part_tail tail;
	struct err err;

	tail_get(part, &tail);
	for (uint32_t i = 0; i < count; i++) {
		struct journal_consumer *c = &j->consumer[i];
		struct consumer_place at = consumer_place(c);
		uint64_t lag, limit;
		bool over;

		if (c->partition != part->index || !atomic_load_explicit(&c->may_skip, memory_order_acquire))
			continue;
		pthread_mutex_lock(&part->lock);
		lag = lag_of(part, c, at, &tail);
		over = c->lag_skip && c->lag_limit && lag >= c->lag_limit &&
		       lag_certain(part, c, at, &tail) >= c->lag_limit;
		pthread_mutex_unlock(&part->lock);
		limit = c->lag_limit && c->lag_limit < room ? c->lag_limit : room;
		atomic_store_explicit(&c->lag_bytes, lag, memory_order_relaxed);
		lag_alarm(part, c, lag, limit);
		if (over && skip_order(part, c, tail.offset, JOURNAL_SKIP_LAG, &err) != 0)
			log_error("journal", "a sink cannot skip sink=%s partition=%u reason=\"%s\"", c->name,
				part->index, err.text);
	}
}
