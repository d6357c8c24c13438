/* Threads of the journal: starting and stopping them; consumers; numbers. Control threads. */
#include "journal_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void nap(void)
{
	const struct timespec t = {0, 1000000};

	nanosleep(&t, NULL);
}

static int part_start(struct journal_part *part, struct err *err)
{
	char name[16];
	int rc;

	part->pack_max = part->journal->handoff->batch_bytes / (uint32_t)sizeof(struct record) + 1;
	part->pack_at = calloc(part->pack_max, sizeof *part->pack_at);
	part->pack_hash = calloc(part->pack_max, sizeof *part->pack_hash);
	part->pack_guess = calloc(part->pack_max, sizeof *part->pack_guess);
	if (!part->pack_at || !part->pack_hash || !part->pack_guess)
		return err_set(err, -ENOMEM, "journal: out of memory");
	/* From here on there may be blocks behind the mark. */
	part->mark.flags = part->journal->params.durability == JOURNAL_COMMIT ? 0 : MARK_F_LAZY;
	rc = store_mark_write(part->mark_fd, &part->mark);
	if (rc != 0)
		return err_set(err, rc, "%s/durable: %s", part->dir, strerror(-rc));
	part->start_due = !part->journal->params.derived;
	rc = pthread_create(&part->keeper, NULL, keeper_main, part);
	if (rc != 0)
		return err_set(err, -rc, "journal: no thread for a keeper: %s", strerror(rc));
	part->keeper_runs = true;
	snprintf(name, sizeof name, "keeper-%u", part->index);
	pthread_setname_np(part->keeper, name);
	return 0;
}

static int part_start_writer(struct journal_part *part, struct err *err)
{
	char name[16];
	int rc = pthread_create(&part->writer, NULL, writer_main, part);

	if (rc != 0)
		return err_set(err, -rc, "journal: no thread for a writer: %s", strerror(rc));
	part->writer_runs = true;
	snprintf(name, sizeof name, "journal-%u", part->index);
	pthread_setname_np(part->writer, name);
	while ((rc = atomic_load_explicit(&part->writer_ready, memory_order_acquire)) == 0)
		nap();
	return rc < 0 ? err_set(err, rc, "journal: io_uring: %s", strerror(-rc)) : 0;
}

static uint64_t ids_memory(const struct dedup *d)
{
	return d->window_ms ? ((uint64_t)d->mask + 1) * sizeof *d->bucket + d->ids_max * sizeof *d->ring : 0;
}

/* What it may hold at most, by configuration: nothing of it grows with load or time. */
static void memory_say(const struct journal *j)
{
	const struct journal_params *p = &j->params;
	const struct handoff *h = j->handoff;
	uint64_t batches = (uint64_t)h->workers * h->partitions * h->batches * h->batch_bytes;
	uint64_t blocks = 0, ids = 0;

	for (uint32_t i = 0; i < p->partitions; i++) {
		blocks += j->part[i].cache.memory_bytes;
		ids += ids_memory(&j->part[i].dedup);
	}
	log_info("journal",
		"memory at most: bytes=%" PRIu64 " batches=%" PRIu64 " blocks=%" PRIu64
		" (of a partition: in flight=%u cached=%u) ids=%" PRIu64 " dir=%s",
		batches + blocks + ids, batches, blocks, p->inflight, p->cache_blocks, ids, p->dir);
}

int journal_start(struct journal *j, struct handoff *handoff, struct err *err)
{
	int rc = 0;

	if (j->started)
		return err_set(err, -EINVAL, "journal: started already");
	if (handoff->partitions != j->params.partitions)
		return err_set(err, -EINVAL, "journal: lanes for %u partitions, the journal has %u",
			handoff->partitions, j->params.partitions);
	if (handoff->batch_bytes + 2 * BLOCK_HEADER_BYTES > j->params.block_bytes)
		return err_set(err, -EINVAL,
			"journal: a batch (worker.batch_bytes %u) must fit into a block (journal.block_bytes "
			"%u, less 2048)",
			handoff->batch_bytes, j->params.block_bytes);
	j->handoff = handoff;
	j->started = true;
	memory_say(j);
	rc = compress_start(j, err);
	for (uint32_t i = 0; i < j->params.partitions && rc == 0; i++)
		rc = part_start(&j->part[i], err);
	/* The first segments are being written meanwhile: events that come now would have to wait for them.
	 */
	for (uint32_t i = 0; i < j->params.partitions && rc == 0; i++)
		while (atomic_load_explicit(&j->part[i].next_state, memory_order_acquire) == NEXT_WANTED)
			nap();
	for (uint32_t i = 0; i < j->params.partitions && rc == 0; i++)
		rc = part_start_writer(&j->part[i], err);
	if (rc != 0)
		journal_stop(j);
	return rc;
}

void journal_stop(struct journal *j)
{
	for (uint32_t i = 0; i < j->params.partitions; i++)
		atomic_store_explicit(&j->part[i].writer_stop, true, memory_order_release);
	for (uint32_t i = 0; i < j->params.partitions; i++) {
		struct journal_part *part = &j->part[i];

		if (part->writer_runs)
			pthread_join(part->writer, NULL);
		if (part->keeper_runs) {
			pthread_mutex_lock(&part->lock);
			part->keeper_stop = true;
			pthread_cond_signal(&part->keeper_cond);
			pthread_mutex_unlock(&part->lock);
			pthread_join(part->keeper, NULL);
			keeper_mark(part,
				part->failed || !part->writer_runs || !sync_last(part) ? 0 : MARK_F_CLEAN);
		}
		part->writer_runs = part->keeper_runs = false;
	}
	compress_stop(j);
	j->stopped = true;
}

/* ---- notes ---- */

/* True once the note is durable in the partition, or never will be. */
static bool note_settled(const struct journal_part *part)
{
	if (__atomic_load_n(&part->stats.failed, __ATOMIC_RELAXED))
		return true;
	/* Acquire: pairs with the release in pack_note(). */
	return atomic_load_explicit(&part->note_state, memory_order_acquire) == NOTE_NONE &&
	       atomic_load_explicit(&part->durable_offset, memory_order_acquire) >=
		       atomic_load_explicit(&part->note_end, memory_order_relaxed);
}

static int note_wait(struct journal *j, uint32_t timeout_ms, struct err *err)
{
	uint64_t end_ns = clock_mono_ns() + timeout_ms * 1000000ull;

	for (uint32_t i = 0; i < j->params.partitions; i++) {
		const struct journal_part *part = &j->part[i];

		while (!note_settled(part) && clock_mono_ns() < end_ns)
			nap();
		if (!note_settled(part))
			return err_set(err, -ETIMEDOUT,
				"journal: the note is not durable in partition %u yet%s", i,
				__atomic_load_n(&part->stats.full, __ATOMIC_RELAXED) ? ", which is full"
										     : "");
	}
	for (uint32_t i = 0; i < j->params.partitions; i++)
		if (__atomic_load_n(&j->part[i].stats.failed, __ATOMIC_RELAXED))
			return err_set(err, -EIO, "journal: partition %u has failed", i);
	return 0;
}

/* text, or a tick. */
static int note_post(
	struct journal *j, const char *text, int64_t tick_ms, uint32_t timeout_ms, struct err *err)
{
	int rc = 0;

	if (j->params.derived || !j->started || j->stopped)
		return err_set(err, -EINVAL, "journal: it takes no notes now");
	pthread_mutex_lock(&j->note_lock);
	for (uint32_t i = 0; i < j->params.partitions && rc == 0; i++)
		if (!note_settled(&j->part[i]))
			rc = err_set(
				err, -EBUSY, "journal: a note before this one is not in partition %u yet", i);
	for (uint32_t i = 0; i < j->params.partitions && rc == 0; i++) {
		struct journal_part *part = &j->part[i];

		snprintf(part->note_text, sizeof part->note_text, "%s", text ? text : "");
		part->note_is_tick = !text;
		part->note_tick_ms = tick_ms;
		atomic_store_explicit(&part->note_state, NOTE_POSTED, memory_order_release);
	}
	if (rc == 0)
		rc = note_wait(j, timeout_ms, err);
	pthread_mutex_unlock(&j->note_lock);
	return rc;
}

int journal_note(struct journal *j, const char *text, uint32_t timeout_ms, struct err *err)
{
	if (strnlen(text, JOURNAL_NOTE_MAX + 1) > JOURNAL_NOTE_MAX)
		return err_set(err, -EINVAL, "journal: the text of a note is longer than %u bytes",
			JOURNAL_NOTE_MAX);
	return note_post(j, text, 0, timeout_ms, err);
}

int journal_tick(struct journal *j, int64_t watermark_ms, uint32_t timeout_ms, struct err *err)
{
	return note_post(j, NULL, watermark_ms, timeout_ms, err);
}

/* ---- consumers ---- */

int journal_consumer_add(struct journal *j, uint32_t partition, const char *name, struct err *err)
{
	uint32_t count;
	int id = -1;

	if (partition >= j->params.partitions)
		return err_set(err, -EINVAL, "journal has no partition %u", partition);
	if (strlen(name) >= SKIP_NAME_BYTES)
		return err_set(err, -ENAMETOOLONG, "journal: consumer %.60s: its name is too long", name);
	pthread_mutex_lock(&j->consumer_lock);
	count = atomic_load_explicit(&j->consumer_count, memory_order_relaxed);
	for (uint32_t i = 0; i < count && id < 0; i++)
		if (j->consumer[i].partition == partition && strcmp(j->consumer[i].name, name) == 0)
			id = (int)i;
	if (id < 0 && count < CONSUMERS_MAX) {
		struct journal_consumer *c = &j->consumer[count];

		snprintf(c->name, sizeof c->name, "%s", name);
		c->partition = partition;
		skip_consumer_init(&j->part[partition], c);
		atomic_store_explicit(&c->position, CONSUMER_UNKNOWN, memory_order_relaxed);
		/* Release: pairs with retention_floor(). */
		atomic_store_explicit(&j->consumer_count, count + 1, memory_order_release);
		id = (int)count;
	}
	pthread_mutex_unlock(&j->consumer_lock);
	return id >= 0 ? id : err_set(err, -ENOSPC, "journal: more than %u consumers", CONSUMERS_MAX);
}

void journal_consumer_set(struct journal *j, int consumer, uint64_t offset)
{
	atomic_store_explicit(&j->consumer[consumer].position, offset, memory_order_release);
}

/* ---- numbers ---- */

void journal_stats(const struct journal *j, uint32_t partition, struct journal_partition_stats *out)
{
	struct journal_part *part = &j->part[partition];
	uint64_t floor = retention_floor((struct journal *)j, partition);
	const uint64_t *from = (const uint64_t *)&part->stats;
	uint64_t *to = (uint64_t *)out;
	struct part_tail tail;

	_Static_assert(sizeof part->stats % 8 == 0, "copied by words");
	/* First, since it is written last: what is counted beside it then covers it. */
	tail_get(part, &tail);
	for (size_t i = 0; i < sizeof part->stats / 8; i++)
		to[i] = stat_get(from + i);
	out->durable_offset = tail.offset;
	out->segments_max = j->params.segments_max;
	out->segments_used = 0;
	out->oldest_lag_bytes = out->disk_bytes = out->compressed_segments = 0;
	pthread_mutex_lock(&part->lock);
	for (uint32_t i = 0; i < part->seg_count; i++) {
		bool last = i + 1 == part->seg_count;

		out->disk_bytes += segment_disk_bytes(part, &part->seg[i]);
		out->compressed_segments += part->seg[i].compressed_bytes != 0;
		if (!last && part->seg[i + 1].first_offset <= floor)
			continue;
		out->segments_used++;
		if (floor < tail.offset)
			out->oldest_lag_bytes += part->seg[i].number < tail.segment ? j->params.segment_bytes
										    : tail.file_offset;
	}
	pthread_mutex_unlock(&part->lock);
	skip_damage_stats(part, out);
}

uint64_t journal_durable_offset(const struct journal *j, uint32_t partition)
{
	return atomic_load_explicit(&j->part[partition].durable_offset, memory_order_acquire);
}
