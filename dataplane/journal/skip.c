/* What consumers will not get, by name and with a count: ranges that were given up for want of room or for
 * lag, and damaged ones. p<k>/skipped, two slots written in turn, each whole by its CRC; its room is taken
 * when it is made, so that a full disk cannot keep a range from being written down.
 *
 * A range is *ordered* by the keeper, which does not know where a consumer that is away stands: `from` is
 * then a lower bound. The consumer *takes* it: `from` becomes what it has committed, durably, before it
 * commits the offset behind; so whatever crashes in between, the count is exact. It is *done* when that is
 * committed.
 *
 * Under part->skip_lock; keeper, sink threads, set-up thread, whoever asks for numbers. */
#include "journal_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32c.h"

static uint32_t slot_crc(const struct skip_slot *slot)
{
	struct skip_slot s = *slot;

	s.crc = 0;
	return crc32c(0, &s, sizeof s);
}

static bool slot_good(const struct skip_slot *s, uint64_t epoch, uint32_t partition)
{
	if (s->magic != SKIP_MAGIC || s->version != JOURNAL_FORMAT_VERSION || s->crc != slot_crc(s) ||
		s->epoch != epoch || s->partition != partition || s->entry_count > SKIP_ENTRIES ||
		s->total_count > SKIP_TOTALS)
		return false;
	for (uint32_t i = 0; i < s->entry_count; i++)
		if (s->entry[i].from > s->entry[i].to || s->entry[i].flags == SKIP_F_DONE ||
			s->entry[i].flags > (SKIP_F_TAKEN | SKIP_F_DONE) ||
			s->entry[i].reason < JOURNAL_SKIP_FULL || s->entry[i].reason > JOURNAL_SKIP_DAMAGED ||
			!memchr(s->entry[i].name, 0, SKIP_NAME_BYTES))
			return false;
	for (uint32_t i = 0; i < s->total_count; i++)
		if (!memchr(s->total[i].name, 0, SKIP_NAME_BYTES))
			return false;
	return true;
}

static bool slot_blank(const struct skip_slot *s)
{
	const uint8_t *p = (const uint8_t *)s;

	return p[0] == 0 && memcmp(p, p + 1, sizeof *s - 1) == 0;
}

int skip_make(const char *part_dir, struct err *err)
{
	static const uint8_t zero[2 * SKIP_SLOT_BYTES];
	char path[PATH_BYTES + 16], temp[PATH_BYTES + 16];
	int fd, rc = 0;

	snprintf(path, sizeof path, "%s/skipped", part_dir);
	snprintf(temp, sizeof temp, "%s/skipped.tmp", part_dir);
	fd = open(temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", temp, strerror(errno));
	errno = ENOSPC; /* of a short write */
	if (pwrite(fd, zero, sizeof zero, 0) != (ssize_t)sizeof zero || fsync(fd) != 0 ||
		rename(temp, path) != 0)
		rc = -errno;
	close(fd);
	if (rc == 0)
		rc = durable_dir_sync(part_dir);
	else
		(void)unlink(temp);
	return rc ? err_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

static int skip_load(struct journal_part *part, struct err *err)
{
	struct skip_slot *slot = malloc(sizeof *slot);
	bool found = false, damaged = false;

	if (!slot)
		return err_set(err, -ENOMEM, "journal: out of memory");
	for (uint32_t i = 0; i < 2; i++) {
		ssize_t n = pread(part->skip_fd, slot, sizeof *slot, i * SKIP_SLOT_BYTES);

		if (n == (ssize_t)sizeof *slot && slot_blank(slot))
			continue;
		if (n != (ssize_t)sizeof *slot || !slot_good(slot, part->journal->meta.epoch, part->index)) {
			damaged = true;
			continue;
		}
		if (!found || slot->write_count > part->skips->write_count)
			*part->skips = *slot;
		found = true;
	}
	free(slot);
	if (damaged && !found)
		return err_set(err, -EINVAL,
			"%s/skipped is damaged: what was given up for sinks is not known. Restore it, or "
			"remove it "
			"(a sink for which records are gone then refuses to go on)",
			part->dir);
	return 0;
}

int skip_open(struct journal_part *part, struct err *err)
{
	char path[PATH_BYTES + 16];
	int rc;

	snprintf(path, sizeof path, "%s/skipped", part->dir);
	if (access(path, F_OK) != 0 && errno == ENOENT) { /* a journal of an earlier version */
		rc = skip_make(part->dir, err);
		if (rc != 0)
			return rc;
	}
	part->skips = calloc(1, sizeof *part->skips);
	if (!part->skips)
		return err_set(err, -ENOMEM, "journal: out of memory");
	part->skip_fd = open(path, O_RDWR | O_DSYNC | O_CLOEXEC);
	if (part->skip_fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	return skip_load(part, err);
}

/* Makes *next durable, then the one in force. Under the lock. */
static int skip_write(struct journal_part *part, struct skip_slot *next, struct err *err)
{
	ssize_t n;

	next->magic = SKIP_MAGIC;
	next->version = JOURNAL_FORMAT_VERSION;
	next->epoch = part->journal->meta.epoch;
	next->partition = part->index;
	next->write_count = part->skips->write_count + 1;
	next->crc = slot_crc(next);
	errno = EIO; /* of a short write */
	n = pwrite(part->skip_fd, next, sizeof *next, (off_t)(next->write_count % 2 * SKIP_SLOT_BYTES));
	if (n != (ssize_t)sizeof *next)
		return err_set(err, -errno, "%s/skipped: %s", part->dir, strerror(errno));
	*part->skips = *next;
	crash_point("journal_skip_written");
	return 0;
}

/* ---- entries: on a copy that skip_write() then makes durable ---- */

static bool entry_open(const struct skip_entry *e, const char *name)
{
	return !(e->flags & SKIP_F_DONE) && strcmp(e->name, name) == 0;
}

static void entry_remove(struct skip_slot *s, uint32_t at)
{
	s->entry_count--;
	memmove(&s->entry[at], &s->entry[at + 1], (s->entry_count - at) * sizeof s->entry[0]);
	memset(&s->entry[s->entry_count], 0, sizeof s->entry[0]);
}

/* Adds the oldest range that is done to its consumer's total. */
static bool entry_fold(struct skip_slot *s)
{
	for (uint32_t i = 0; i < s->entry_count; i++) {
		const struct skip_entry *e = &s->entry[i];
		uint32_t k = 0;

		if (!(e->flags & SKIP_F_DONE))
			continue;
		while (k < s->total_count && strcmp(s->total[k].name, e->name) != 0)
			k++;
		if (k == SKIP_TOTALS)
			continue;
		if (k == s->total_count)
			memcpy(s->total[s->total_count++].name, e->name, SKIP_NAME_BYTES);
		s->total[k].ranges++;
		s->total[k].records += e->to - e->from;
		entry_remove(s, i);
		return true;
	}
	return false;
}

static struct skip_entry *entry_add(struct skip_slot *s, const char *name, uint64_t from, uint64_t to,
	enum journal_skip reason, uint32_t flags)
{
	struct skip_entry *e;

	if (s->entry_count == SKIP_ENTRIES && !entry_fold(s))
		return NULL;
	e = &s->entry[s->entry_count++];
	*e = (struct skip_entry){
		.from = from, .to = to, .time_ms = clock_wall_ms(), .reason = reason, .flags = flags};
	snprintf(e->name, sizeof e->name, "%s", name);
	return e;
}

/* Where the consumer has to go on, by the ranges that are not done; 0: there are none. */
static uint64_t skip_end(const struct skip_slot *s, const char *name)
{
	uint64_t to = 0;

	for (uint32_t i = 0; i < s->entry_count; i++)
		if (entry_open(&s->entry[i], name) && s->entry[i].to > to)
			to = s->entry[i].to;
	return to;
}

void skip_consumer_init(struct journal_part *part, struct journal_consumer *c)
{
	pthread_mutex_lock(&part->skip_lock);
	atomic_store(&c->skip_to, part->skips ? skip_end(part->skips, c->name) : 0);
	pthread_mutex_unlock(&part->skip_lock);
}

/* ---- the keeper ---- */

int skip_order(struct journal_part *part, struct journal_consumer *c, uint64_t to, enum journal_skip reason,
	struct err *err)
{
	uint64_t position = atomic_load_explicit(&c->position, memory_order_acquire), from;
	struct skip_entry *last = NULL;
	struct skip_slot next;
	int rc = 0;

	pthread_mutex_lock(&part->skip_lock);
	next = *part->skips;
	for (uint32_t i = 0; i < next.entry_count; i++)
		if (entry_open(&next.entry[i], c->name))
			last = &next.entry[i];
	from = position == CONSUMER_UNKNOWN ? stat_get(&part->stats.oldest_offset) : position;
	if (last && last->to > from)
		from = last->to;
	if (from < to) {
		if (last && !(last->flags & SKIP_F_TAKEN) && last->reason == reason && last->to >= from)
			last->to = to;
		else if (!entry_add(&next, c->name, from, to, reason, 0))
			rc = err_set(err, -ENOSPC, "%s/skipped: too many ranges at once", part->dir);
		if (rc == 0)
			rc = skip_write(part, &next, err);
		if (rc == 0) /* release: what it says is durable */
			atomic_store_explicit(&c->skip_to, to, memory_order_release);
	}
	pthread_mutex_unlock(&part->skip_lock);
	if (rc == 0 && from < to)
		log_error("journal",
			"RECORDS GIVEN UP: sink=%s partition=%u offsets=%" PRIu64 "-%" PRIu64
			" at most=%" PRIu64 " reason=%s%s",
			c->name, part->index, from, to - 1, to - from, journal_skip_name[reason],
			part->journal->params.derived ? " log=output" : "");
	return rc;
}

/* ---- consumers ---- */

const char *const journal_skip_name[] = {"", "full", "lag", "damaged"};

uint64_t journal_skip_wanted(const struct journal *j, int consumer, uint64_t position)
{
	uint64_t to = atomic_load_explicit(&j->consumer[consumer].skip_to, memory_order_acquire);

	return to > position ? to : position;
}

/* The open ranges of the consumer begin at its position, and are taken. Returns where they end. */
static int entries_take(
	struct skip_slot *s, const char *name, uint64_t position, uint64_t *end, struct err *err)
{
	uint64_t at = position;

	for (uint32_t i = 0; i < s->entry_count; i++) {
		struct skip_entry *e = &s->entry[i];

		if (!entry_open(e, name))
			continue;
		if (e->to <= at) { /* it was delivered before the order came to it */
			if (e->flags & SKIP_F_TAKEN)
				e->flags |= SKIP_F_DONE;
			else
				entry_remove(s, i--);
			continue;
		}
		if (at < e->from)
			return err_set(err, -EINVAL,
				"records from offset %" PRIu64 " to %" PRIu64
				" were removed, although nobody has given them up",
				at, e->from);
		e->from = at;
		e->flags |= SKIP_F_TAKEN;
		at = e->to;
	}
	*end = at;
	return 0;
}

int journal_skip_take(struct journal *j, int consumer, uint64_t position, uint64_t to_min,
	enum journal_skip reason, uint64_t *to, struct err *err)
{
	struct journal_consumer *c = &j->consumer[consumer];
	struct journal_part *part = &j->part[c->partition];
	struct skip_slot next;
	uint64_t end = position;
	int rc;

	pthread_mutex_lock(&part->skip_lock);
	next = *part->skips;
	rc = entries_take(&next, c->name, position, &end, err);
	if (rc == 0 && to_min > end) {
		if (!entry_add(&next, c->name, end, to_min, reason, SKIP_F_TAKEN))
			rc = err_set(err, -ENOSPC, "%s/skipped: too many ranges at once", part->dir);
		end = to_min;
	}
	if (rc == 0 && end > position)
		rc = skip_write(part, &next, err);
	if (rc == 0) {
		atomic_store_explicit(&c->skip_to, skip_end(part->skips, c->name), memory_order_release);
		*to = end;
	}
	pthread_mutex_unlock(&part->skip_lock);
	if (rc == 0 && end > position)
		log_error("journal",
			"RECORDS SKIPPED: sink=%s partition=%u offsets=%" PRIu64 "-%" PRIu64 " count=%" PRIu64
			"%s",
			c->name, part->index, position, end - 1, end - position,
			j->params.derived ? " log=output" : "");
	crash_point("journal_skip_taken");
	return rc;
}

int journal_skip_lost(struct journal *j, int consumer, uint64_t from, uint64_t to, enum journal_skip reason,
	struct err *err)
{
	struct journal_consumer *c = &j->consumer[consumer];
	struct journal_part *part = &j->part[c->partition];
	struct skip_slot next;
	bool known = false;
	int rc = 0;

	pthread_mutex_lock(&part->skip_lock);
	next = *part->skips;
	for (uint32_t i = 0; i < next.entry_count; i++) {
		const struct skip_entry *e = &next.entry[i];

		known |= (e->flags & SKIP_F_DONE) && e->from == from && e->to == to &&
			 strcmp(e->name, c->name) == 0;
	}
	if (!known) {
		if (entry_add(&next, c->name, from, to, reason, SKIP_F_TAKEN | SKIP_F_DONE))
			rc = skip_write(part, &next, err);
		else
			rc = err_set(err, -ENOSPC, "%s/skipped: too many ranges at once", part->dir);
	}
	pthread_mutex_unlock(&part->skip_lock);
	if (rc == 0 && !known)
		log_error("journal",
			"RECORDS SKIPPED: sink=%s partition=%u offsets=%" PRIu64 "-%" PRIu64 " count=%" PRIu64
			" reason=%s%s",
			c->name, part->index, from, to - 1, to - from, journal_skip_name[reason],
			j->params.derived ? " log=output" : "");
	crash_point("journal_skip_lost");
	return rc;
}

void journal_skip_passed(struct journal *j, int consumer, uint64_t position)
{
	struct journal_consumer *c = &j->consumer[consumer];
	struct journal_part *part = &j->part[c->partition];
	struct skip_slot next;
	bool moved = false;
	struct err err;
	int rc = 0;

	if (atomic_load_explicit(&c->skip_to, memory_order_acquire) == 0)
		return;
	pthread_mutex_lock(&part->skip_lock);
	next = *part->skips;
	for (uint32_t i = 0; i < next.entry_count; i++) {
		struct skip_entry *e = &next.entry[i];

		if (!entry_open(e, c->name) || e->to > position)
			continue;
		moved = true;
		if (e->flags & SKIP_F_TAKEN)
			e->flags |= SKIP_F_DONE;
		else
			entry_remove(&next, i--);
	}
	if (moved)
		rc = skip_write(part, &next, &err);
	if (rc == 0)
		atomic_store_explicit(&c->skip_to, skip_end(part->skips, c->name), memory_order_release);
	pthread_mutex_unlock(&part->skip_lock);
	if (rc != 0)
		log_warn("journal", "%s", err.text); /* at the next commit again */
}

uint64_t journal_skipped(const struct journal *j, int consumer, uint64_t from, uint64_t to)
{
	const struct journal_consumer *c = &j->consumer[consumer];
	struct journal_part *part = &j->part[c->partition];
	uint64_t sum = 0;

	pthread_mutex_lock(&part->skip_lock);
	for (uint32_t i = 0; i < part->skips->entry_count; i++) {
		const struct skip_entry *e = &part->skips->entry[i];
		uint64_t low = e->from > from ? e->from : from, high = e->to < to ? e->to : to;

		if ((e->flags & SKIP_F_TAKEN) && low < high && strcmp(e->name, c->name) == 0)
			sum += high - low;
	}
	pthread_mutex_unlock(&part->skip_lock);
	return sum;
}

uint64_t journal_consumer_oldest(const struct journal *j, int consumer)
{
	const struct journal_consumer *c = &j->consumer[consumer];
	struct journal_part *part = &j->part[c->partition];
	uint64_t oldest = stat_get(&part->stats.oldest_offset);

	pthread_mutex_lock(&part->skip_lock);
	for (uint32_t i = 0; i < part->skips->entry_count; i++)
		if (entry_open(&part->skips->entry[i], c->name) && part->skips->entry[i].from < oldest)
			oldest = part->skips->entry[i].from;
	pthread_mutex_unlock(&part->skip_lock);
	return oldest;
}

void journal_consumer_limit(struct journal *j, int consumer, const struct journal_limits *limits)
{
	struct journal_consumer *c = &j->consumer[consumer];
	struct part_tail tail;

	tail_get(&j->part[c->partition], &tail);
	c->lag_from = tail.offset;
	atomic_store_explicit(
		&c->stood, stood_position(&j->part[c->partition], c->name), memory_order_relaxed);
	c->lag_limit = limits->lag_bytes;
	c->lag_skip = limits->lag_skip;
	atomic_store_explicit(&c->may_skip, true, memory_order_release);
}

/* ---- numbers ---- */

static void totals_add(const struct skip_slot *s, const char *name, struct journal_consumer_stats *out)
{
	for (uint32_t i = 0; i < s->total_count; i++)
		if (strcmp(s->total[i].name, name) == 0) {
			out->skipped += s->total[i].records;
			out->skip_ranges += s->total[i].ranges;
		}
	for (uint32_t i = 0; i < s->entry_count; i++) {
		const struct skip_entry *e = &s->entry[i];

		if (strcmp(e->name, name) != 0)
			continue;
		if (e->flags & SKIP_F_TAKEN) {
			out->skipped += e->to - e->from;
			out->skip_ranges++;
			out->last_from = e->from;
			out->last_to = e->to;
			out->last_reason = e->reason;
		} else {
			out->given_up += e->to - e->from;
		}
	}
}

void journal_consumer_stats(const struct journal *j, int consumer, struct journal_consumer_stats *out)
{
	struct journal_consumer *c = &j->consumer[consumer];
	struct journal_part *part = &j->part[c->partition];

	*out = (struct journal_consumer_stats){
		.lag_bytes = atomic_load_explicit(&c->lag_bytes, memory_order_relaxed),
		.lag_limit = c->lag_limit,
		.lag_alarm = atomic_load_explicit(&c->lag_alarm, memory_order_relaxed),
		.stood = atomic_load_explicit(&c->stood, memory_order_relaxed),
	};
	pthread_mutex_lock(&part->skip_lock);
	totals_add(part->skips, c->name, out);
	pthread_mutex_unlock(&part->skip_lock);
}

void skip_damage(struct journal_part *part, uint64_t from, uint64_t to, uint64_t segment,
	uint64_t file_offset, const char *fault)
{
	struct skip_slot next;
	struct err err;
	int rc = 0;

	if (from >= to) /* met from behind: who comes from before it knows the range */
		return;
	pthread_mutex_lock(&part->skip_lock);
	next = *part->skips;
	for (uint32_t i = 0; i < next.entry_count; i++)
		if (strcmp(next.entry[i].name, SKIP_DAMAGE_NAME) == 0 && next.entry[i].from == from)
			goto known;
	if (entry_add(&next, SKIP_DAMAGE_NAME, from, to, JOURNAL_SKIP_DAMAGED, SKIP_F_TAKEN | SKIP_F_DONE))
		rc = skip_write(part, &next, &err);
	log_error("journal",
		"DAMAGED BLOCK: partition=%u segment=%" PRIu64 " byte=%" PRIu64
		" fault=\"%s\" lost offsets=%" PRIu64 "-%" PRIu64 " count=%" PRIu64,
		part->index, segment, file_offset, fault, from, to - 1, to - from);
	if (rc != 0)
		log_error("journal", "%s", err.text);
known:
	pthread_mutex_unlock(&part->skip_lock);
}

void skip_damage_stats(struct journal_part *part, struct journal_partition_stats *out)
{
	struct journal_consumer_stats sum = {0};

	pthread_mutex_lock(&part->skip_lock);
	if (part->skips)
		totals_add(part->skips, SKIP_DAMAGE_NAME, &sum);
	pthread_mutex_unlock(&part->skip_lock);
	out->damaged_ranges = sum.skip_ranges;
	out->damaged_records = sum.skipped;
}
