/* Blocks of a partition: opening, building, submitting, completion in order. Writer thread (loop.c). */
#include "journal_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "crc32c.h"

void writer_fail(struct journal_part *part, const char *what, int code)
{
	uint64_t events = part->totals.records[RECORD_EVENT] - part->stats.records[RECORD_EVENT];
	uint64_t refused = part->totals.records[RECORD_REFUSED] - part->stats.records[RECORD_REFUSED];

	uint64_t shadows = part->totals.records[RECORD_SHADOW & 7] - part->stats.records[RECORD_SHADOW & 7];

	if (part->failed)
		return;
	part->failed = true;
	log_error("journal",
		"PARTITION STOPPED: %s: %s partition=%u block=%" PRIu64 " durable_offset=%" PRIu64, what,
		strerror(code), part->index, part->place.seq, atomic_load(&part->durable_offset));
	drop_count(part, DROP_journal_failed, events);
	drop_count(part, DROP_shadow_lost, shadows);
	stat_set(&part->stats.refused_lost, part->stats.refused_lost + refused);
	__atomic_store_n(&part->stats.failed, 1, __ATOMIC_RELAXED);
}

/* ---- completion ---- */

static uint32_t writer_wakes(const struct journal_part *part, const struct block_header *h)
{
	uint32_t often = (part->journal->params.cache_blocks + 3) / 4, wakes = JOURNAL_WAKE_EVERY;

	if (h->block_seq % often == 0)
		wakes |= JOURNAL_WAKE_OFTEN;
	if (h->counts.matched)
		wakes |= JOURNAL_WAKE_MATCHED;
	if (h->counts.kind[RECORD_REFUSED])
		wakes |= JOURNAL_WAKE_REFUSED;
	return wakes;
}

static void writer_publish(struct journal_part *part, uint32_t slot, uint32_t buf)
{
	const struct block_header *h = (const struct block_header *)part->cache.buf[buf].mem;
	struct block_place at = part->place;
	struct part_end end = {.bytes = h->journal_bytes,
		.watermark_ms = h->watermark_ms,
		.receive_last_ms = h->receive_last_ms,
		.generation = h->generation,
		.wakes = writer_wakes(part, h)};

	at.segment = h->segment;
	at.file_offset = h->file_offset;
	block_place_step(&at, h);
	end.tail = (struct part_tail){at.seq, at.offset, at.segment, at.file_offset, at.prev_crc};
	memcpy(end.records, h->records, sizeof end.records);
	crash_point("journal_write_completed");
	cache_publish(&part->cache, buf, h->block_seq);
	sync_written(part, slot, &end);
}

/* Completions so far; what is done from the oldest write on is durable. The first failed write stops the
 * partition: what was written behind it is never published, and recovery cuts there. Returns how many writes
 * ended. */
uint32_t writer_reap(struct journal_part *part)
{
	struct io_uring_cqe *cqe;
	uint32_t ended = 0;

	while ((part->flight_count || part->sync_flights) && io_uring_peek_cqe(&part->ring, &cqe) == 0) {
		struct part_flight *f = &part->flight[cqe->user_data % JOURNAL_INFLIGHT_MAX];
		const struct block_header *h = (const struct block_header *)part->cache.buf[f->buf].mem;

		ended++;
		if (cqe->user_data == SYNC_TAG) {
			sync_done(part, cqe->res);
			io_uring_cqe_seen(&part->ring, cqe);
			continue;
		}
		if (cqe->res != (int)h->total_bytes)
			f->error = cqe->res < 0 ? -cqe->res : EIO;
		f->done = true;
		io_uring_cqe_seen(&part->ring, cqe);
	}
	while (part->flight_count && part->flight[part->flight_head].done) {
		struct part_flight *f = &part->flight[part->flight_head];

		if (f->error)
			writer_fail(part, "a write failed", f->error);
		if (part->failed)
			cache_drop(&part->cache, f->buf);
		else
			writer_publish(part, f->slot, f->buf);
		part->fd_flights[f->slot]--;
		part->flight_head = (part->flight_head + 1) % JOURNAL_INFLIGHT_MAX;
		part->flight_count--;
	}
	return ended;
}

/* ---- building and submitting ---- */

static void writer_header(struct journal_part *part, struct block_header *h, uint32_t flags)
{
	uint32_t used = BLOCK_HEADER_BYTES + part->open_bytes;
	uint32_t total = (used + BLOCK_ALIGN - 1) & ~(BLOCK_ALIGN - 1);

	memset((uint8_t *)h + used, 0, total - used);
	memset(h, 0, sizeof *h);
	part->totals.journal_bytes += total;
	h->magic = BLOCK_MAGIC;
	h->version = JOURNAL_FORMAT_VERSION;
	h->header_bytes = BLOCK_HEADER_BYTES;
	h->epoch = part->place.epoch;
	h->key = part->place.key;
	h->partition = part->index;
	h->flags = flags | BLOCK_F_COUNTED;
	h->segment = part->place.segment;
	h->file_offset = part->place.file_offset;
	h->block_seq = part->place.seq;
	h->durable_seq = atomic_load_explicit(
		part->journal->params.durability == JOURNAL_ASYNC ? &part->synced_seq : &part->durable_seq,
		memory_order_relaxed);
	h->prev_crc = part->place.prev_crc;
	h->generation = part->generation;
	h->first_offset = part->open_first_offset;
	h->record_count = part->open_records;
	h->payload_bytes = part->open_bytes;
	h->total_bytes = total;
	h->receive_first_ms = part->open_receive_first_ms;
	h->receive_last_ms = part->receive_last_ms;
	h->watermark_base_ms = part->watermark_base_ms;
	h->watermark_ms = part->watermark_next_ms;
	h->clock_steps = part->totals.clock_steps;
	h->journal_bytes = part->totals.journal_bytes;
	memcpy(h->records, part->totals.records, sizeof h->records);
	memcpy(h->drops, part->totals.drops, sizeof h->drops);
	h->counts = part->open_counts;
	h->payload_crc = part->open_crc;
	h->header_crc = block_header_crc(h);
}

/* Builds the open block and hands it to the kernel. A write must be free (flight_count < inflight). */
static void writer_submit(struct journal_part *part, uint32_t flags)
{
	uint32_t buf = (uint32_t)part->open_buf, slot = part->fd_slot;
	uint32_t place = (part->flight_head + part->flight_count) % JOURNAL_INFLIGHT_MAX;
	struct block_header *h = (struct block_header *)part->cache.buf[buf].mem;
	struct io_uring_sqe *sqe;
	uint64_t offset = part->place.file_offset;
	int rc;

	writer_header(part, h, flags);
	part->built = part->totals;
	if (part->generation && part->generation < part->segment_generation_low)
		part->segment_generation_low = part->generation;
	part->base_moved = false;
	part->seal_due = false;
	part->open_buf = -1;
	crash_point("journal_block_built");
	part->flight[place] = (struct part_flight){.buf = buf, .slot = slot};
	part->flight_count++;
	part->fd_flights[slot]++;
	sqe = io_uring_get_sqe(&part->ring);
	if (part->fixed_buffers)
		io_uring_prep_write_fixed(sqe, (int)slot, h, h->total_bytes, offset, 0);
	else
		io_uring_prep_write(sqe, (int)slot, h, h->total_bytes, offset);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->rw_flags = part->journal->params.durability == JOURNAL_COMMIT ? RWF_DSYNC : 0;
	sqe->user_data = place;
	rc = io_uring_submit(&part->ring);
	crash_point("journal_write_submitted");
	block_place_step(&part->place, h);
	if (rc < 0) { /* nothing was taken: no completion will come for it */
		part->flight[place].error = -rc;
		part->flight[place].done = true;
	}
}

/* Makes the segment of part->place the one in force. */
static enum pack_answer writer_segment(struct journal_part *part)
{
	uint32_t slot = part->fd_slot ^ 1;
	int state = atomic_load_explicit(&part->next_state, memory_order_acquire), fd, rc;

	if (part->fd_number == part->place.segment)
		return PACK_DONE;
	/* Writes into the segment before the last one: its slot is taken. */
	if (part->fd_flights[slot] || !sync_slot_clean(part, slot))
		return PACK_WAIT;
	if (state != NEXT_READY)
		return state == NEXT_FULL ? PACK_FULL : PACK_WAIT;
	fd = part->next_fd;
	rc = io_uring_register_files_update(&part->ring, slot, &fd, 1);
	if (rc < 0) {
		writer_fail(part, "io_uring_register_files_update", -rc);
		return PACK_WAIT;
	}
	if (part->fd[slot] >= 0)
		close(part->fd[slot]);
	part->fd[slot] = fd;
	part->fd_slot = slot;
	part->fd_number = part->place.segment;
	crash_point("journal_segment_sealed");
	pthread_mutex_lock(&part->lock);
	if (part->seg_count)
		part->seg[part->seg_count - 1].generation_low = part->segment_generation_low;
	part->segment_generation_low = UINT32_MAX;
	part->seg[part->seg_count++] =
		(struct segment_entry){part->place.segment, part->place.seq, part->place.offset,
			part->receive_last_ms, 0, false, part->dedup.added, part->place.prev_crc, 0, false};
	part->next_number = part->place.segment + 1;
	atomic_store_explicit(&part->next_state, NEXT_WANTED, memory_order_release);
	pthread_cond_signal(&part->keeper_cond);
	pthread_mutex_unlock(&part->lock);
	return PACK_DONE;
}

void writer_seal(struct journal_part *part, uint32_t flags)
{
	if (part->open_buf >= 0 && part->flight_count < part->journal->params.inflight)
		writer_submit(part, flags);
}

enum pack_answer writer_block(struct journal_part *part, uint32_t bytes, uint32_t generation, uint64_t now_ns)
{
	const struct journal_params *params = &part->journal->params;
	uint32_t room = part->place.block_bytes - BLOCK_HEADER_BYTES;
	enum pack_answer answer;

	if (part->open_buf >= 0) {
		if (part->open_bytes + bytes <= room && part->generation == generation && !part->seal_due)
			return PACK_DONE;
		if (part->flight_count == params->inflight)
			return PACK_WAIT;
		writer_submit(part, 0);
	}
	if (part->failed)
		return PACK_WAIT;
	/* The place on disk comes first: what is accepted below is sure of it. */
	answer = writer_segment(part);
	if (answer != PACK_DONE)
		return answer;
	part->open_buf = cache_take(&part->cache);
	if (part->open_buf < 0)
		return PACK_WAIT;
	part->open_bytes = 0;
	part->open_records = 0;
	part->open_counts = (struct journal_counts){0};
	part->open_crc = 0;
	part->open_ns = now_ns;
	part->oldest_ns = now_ns;
	part->open_first_offset = part->place.offset;
	part->open_receive_first_ms = part->receive_last_ms;
	part->generation = generation;
	return PACK_DONE;
}
