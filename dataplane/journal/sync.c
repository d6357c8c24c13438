/* When a written block counts as durable, by journal.durability. COMMIT: with its write, which is synced
 * (RWF_DSYNC). INTERVAL: when a sync that began after the write has ended; one is under way at most, and
 * takes all along that was written before. ASYNC: with its write; only full segments and the end are synced
 * here, and only these does the durable mark name. */
#include "journal_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

void sync_publish(struct journal_part *part, const struct part_end *end)
{
	for (int i = 0; i < 8; i++)
		stat_set(&part->stats.records[i], end->records[i]);
	stat_set(&part->stats.durable_bytes, end->bytes);
	stat_set(&part->stats.blocks, end->tail.seq);
	stat_set((uint64_t *)&part->stats.watermark_ms, (uint64_t)end->watermark_ms);
	stat_set((uint64_t *)&part->stats.receive_last_ms, (uint64_t)end->receive_last_ms);
	__atomic_store_n(&part->stats.generation, end->generation, __ATOMIC_RELAXED);
	atomic_store_explicit(&part->watermark_ms, end->watermark_ms, memory_order_relaxed);
	tail_set(part, &end->tail);
	tail_wake(part, end->wakes);
	if (part->journal->handoff->acks)
		ack_lanes_ring(part->journal->handoff->acks);
}

void sync_written(struct journal_part *part, uint32_t slot, const struct part_end *end)
{
	uint32_t wakes;

	if (part->journal->params.durability != JOURNAL_INTERVAL) {
		sync_publish(part, end);
		return;
	}
	wakes = part->written.wakes | end->wakes;
	part->written = *end;
	part->written.wakes = wakes;
	part->fd_dirty[slot] = true;
}

bool sync_pending(const struct journal_part *part)
{
	return part->fd_dirty[0] || part->fd_dirty[1] || part->sync_flights;
}

void sync_run(struct journal_part *part, uint64_t now_ns, bool now)
{
	if (part->sync_flights || part->failed || !sync_pending(part) || (!now && now_ns < part->sync_due_ns))
		return;
	part->syncing = part->written;
	part->written.wakes = 0;
	part->sync_due_ns = now_ns + part->journal->params.sync_every_us * 1000;
	for (uint32_t slot = 0; slot < 2; slot++) {
		struct io_uring_sqe *sqe;

		if (!part->fd_dirty[slot])
			continue;
		sqe = io_uring_get_sqe(&part->ring);
		io_uring_prep_fsync(sqe, (int)slot, IORING_FSYNC_DATASYNC);
		sqe->flags |= IOSQE_FIXED_FILE;
		sqe->user_data = SYNC_TAG;
		part->fd_dirty[slot] = false;
		part->sync_flights++;
	}
	if (io_uring_submit(&part->ring) < 0) { /* nothing was taken: no completion will come */
		part->sync_flights = 0;
		writer_fail(part, "a sync cannot be submitted", EIO);
	}
	crash_point("journal_sync_submitted");
}

void sync_done(struct journal_part *part, int result)
{
	part->sync_flights--;
	/* What the kernel could not write it may have thrown away: nothing behind it will ever be sure. */
	if (result < 0)
		writer_fail(part, "a sync failed", -result);
	if (part->sync_flights || part->failed)
		return;
	crash_point("journal_sync_completed");
	sync_publish(part, &part->syncing);
}

bool sync_slot_clean(struct journal_part *part, uint32_t slot)
{
	if (!part->fd_dirty[slot] && !part->sync_flights)
		return true;
	sync_run(part, clock_mono_ns(), true);
	return false;
}

/* ---- JOURNAL_ASYNC: the keeper ---- */

static int segment_sync(const struct journal_part *part, uint64_t number, struct err *err)
{
	int fd = segment_open(part->dir, number, true, err), rc = 0;

	if (fd < 0)
		return fd;
	if (fdatasync(fd) != 0)
		rc = err_set(err, -errno, "segment %" PRIu64 ": fdatasync: %s", number, strerror(errno));
	close(fd);
	return rc;
}

/* Where the next segment begins that is full and not synced. */
static bool next_full(struct journal_part *part, struct part_tail *end)
{
	uint64_t durable = atomic_load(&part->durable_seq);
	bool found = false;

	pthread_mutex_lock(&part->lock);
	for (uint32_t i = 1; i < part->seg_count && !found; i++) {
		const struct segment_entry *seg = &part->seg[i];

		found = seg->first_seq > part->synced.seq && seg->first_seq <= durable;
		if (found)
			*end = (struct part_tail){
				seg->first_seq, seg->first_offset, seg->number, 0, seg->prev_crc};
	}
	pthread_mutex_unlock(&part->lock);
	return found;
}

void sync_full_segments(struct journal_part *part)
{
	struct part_tail end;
	struct err err;

	while (part->journal->params.durability == JOURNAL_ASYNC && !part->sync_lost &&
		next_full(part, &end)) {
		if (segment_sync(part, end.segment - 1, &err) != 0) {
			part->sync_lost = true;
			log_error("journal", "cannot sync partition=%u error=\"%s\"", part->index, err.text);
			return;
		}
		part->synced = end;
		atomic_store_explicit(&part->synced_seq, end.seq, memory_order_relaxed);
	}
}

bool sync_last(struct journal_part *part)
{
	if (part->journal->params.durability != JOURNAL_ASYNC)
		return true;
	/* A second sync says yes without having written what the first has thrown away. */
	if (part->sync_lost)
		return false;
	for (int slot = 0; slot < 2; slot++)
		if (part->fd[slot] >= 0 && fdatasync(part->fd[slot]) != 0) {
			log_error("journal", "cannot sync partition=%u error=\"%s\"", part->index,
				strerror(errno));
			return false;
		}
	tail_get(part, &part->synced);
	return true;
}

void sync_mark_tail(struct journal_part *part, struct part_tail *tail)
{
	if (part->journal->params.durability == JOURNAL_ASYNC)
		*tail = part->synced;
	else
		tail_get(part, tail);
}
