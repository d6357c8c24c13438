/* Readers: durable blocks in order, from the block buffers as long as they hold them, else from disk. Each is
 * used by one thread and holds at most one buffer. */
#include "journal_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct journal_reader {
	struct journal_part *part;
	uint64_t offset;       /* its place */
	struct walk walk;      /* walk.at: the next block */
	struct block_buf *pin; /* held, or NULL */
	journal_wants *wants;  /* NULL: every block is */
	void *wants_arg;
	uint32_t wakes; /* enum journal_wake */
};

static void reader_unpin(struct journal_reader *r)
{
	if (r->pin)
		cache_unpin(&r->part->cache, r->pin);
	r->pin = NULL;
}

/* The place of the newest cached block that begins at or before the offset, or of the tail if that is it. */
static bool reader_place_recent(struct journal_reader *r, struct block_place *at)
{
	struct journal_part *part = r->part;
	uint64_t seq = atomic_load(&part->durable_seq);
	bool found = false;

	while (seq-- > 0 && !found) {
		struct block_buf *b = cache_pin(&part->cache, seq);
		const struct block_header *h;

		if (!b)
			return false;
		h = (const struct block_header *)b->mem;
		found = h->first_offset <= r->offset;
		if (found) {
			at->segment = h->segment;
			at->file_offset = h->file_offset;
			at->seq = h->block_seq;
			at->prev_crc = h->prev_crc;
			at->offset = h->first_offset;
			at->chained = true;
			if (h->first_offset + h->record_count <= r->offset)
				block_place_step(at, h);
		}
		cache_unpin(&part->cache, b);
	}
	return found;
}

static int reader_place(struct journal_reader *r, struct err *err)
{
	struct journal_part *part = r->part;
	uint64_t end = atomic_load_explicit(&part->durable_offset, memory_order_acquire), oldest = end;
	const struct part_tail *tail = &part->recovered;
	struct block_place at;
	const struct segment_entry *seg = NULL;

	if (r->offset > end)
		return err_set(err, -ERANGE,
			"journal partition %u: offset %" PRIu64 " lies behind the durable end %" PRIu64
			": the position is of another journal, or the journal was lost",
			part->index, r->offset, end);
	part_place_init(&part->journal->meta, part->index, &at);
	if (tail->offset == r->offset && atomic_load(&part->durable_seq) == tail->seq) {
		at.segment = tail->segment;
		at.file_offset = tail->file_offset;
		at.seq = tail->seq;
		at.prev_crc = (uint32_t)tail->last_crc;
		at.offset = tail->offset;
		at.chained = true;
		walk_seek(&r->walk, &at);
		return 0;
	}
	if (reader_place_recent(r, &at)) {
		walk_seek(&r->walk, &at);
		return 0;
	}
	pthread_mutex_lock(&part->lock);
	if (part->seg_count)
		oldest = part->seg[0].first_offset;
	for (uint32_t i = 0; i < part->seg_count && part->seg[i].first_offset <= r->offset; i++)
		seg = &part->seg[i];
	if (seg) {
		at.segment = seg->number;
		at.seq = seg->first_seq;
		at.offset = seg->first_offset;
	}
	pthread_mutex_unlock(&part->lock);
	if (!seg)
		return err_set(err, -ERANGE,
			"journal partition %u: offset %" PRIu64
			" is not kept any more: the oldest is %" PRIu64,
			part->index, r->offset, oldest);
	at.file_offset = 0;
	at.chained = false;
	walk_seek(&r->walk, &at);
	return 0;
}

int journal_reader_open(
	struct journal_reader **out, struct journal *j, uint32_t partition, uint64_t offset, struct err *err)
{
	struct journal_reader *r;
	struct block_place at;
	int rc;

	if (partition >= j->params.partitions)
		return err_set(err, -EINVAL, "journal has no partition %u", partition);
	r = calloc(1, sizeof *r);
	if (!r)
		return err_set(err, -ENOMEM, "journal: out of memory");
	r->part = &j->part[partition];
	r->offset = offset;
	r->wakes = JOURNAL_WAKE_EVERY;
	part_place_init(&j->meta, partition, &at);
	rc = walk_init(&r->walk, r->part->dir, &at, err);
	r->walk.cached_below = r->part->recovered.segment;
	if (rc == 0)
		rc = reader_place(r, err);
	if (rc != 0) {
		walk_free(&r->walk);
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

void journal_reader_close(struct journal_reader *r)
{
	if (!r)
		return;
	reader_unpin(r);
	walk_free(&r->walk);
	free(r);
}

void journal_reader_gives_back(struct journal_reader *r)
{
	r->walk.gives_back = true;
}

int journal_reader_seek(struct journal_reader *r, uint64_t offset, struct err *err)
{
	uint64_t was = r->offset;
	int rc;

	reader_unpin(r);
	r->offset = offset;
	rc = reader_place(r, err);
	if (rc != 0)
		r->offset = was;
	return rc;
}

/* A block that is damaged, or one whose segment was recycled under the reader. */
static int reader_fault(struct journal_reader *r, struct err *err)
{
	char path[PATH_BYTES];

	if (r->walk.at.segment < atomic_load_explicit(&r->part->oldest_segment, memory_order_acquire))
		return err_set(err, -ERANGE,
			"journal partition %u: offset %" PRIu64 " was removed while it was to be read: no "
			"consumer holds it",
			r->part->index, r->offset);
	segment_path_there(path, r->part->dir, r->walk.at.segment);
	return err_set(err, -EBADMSG, "%s: damage at byte %" PRIu64 ": %s (offset %" PRIu64 ")", path,
		r->walk.at.file_offset, r->walk.fault ? r->walk.fault : "no block", r->offset);
}

/* From a fault to the first good block behind it, or to the durable end. 0 or -errno: then it stands still.
 */
static int reader_go_behind(struct journal_reader *r, struct err *err)
{
	const struct block_place was = r->walk.at;
	const struct block_header *h;
	struct part_tail tail;
	int rc;

	reader_unpin(r);
	tail_get(r->part, &tail);
	r->walk.filled = 0; /* what is looked at now is what the disk has now */
	rc = walk_resync(&r->walk, tail.segment, tail.seq, &h, err);
	if (rc < 0) {
		walk_seek(&r->walk, &was);
		return rc;
	}
	if (rc != WALK_BLOCK) { /* nothing good before the durable end */
		r->walk.at.segment = tail.segment;
		r->walk.at.file_offset = tail.file_offset;
		r->walk.at.seq = tail.seq;
		r->walk.at.prev_crc = (uint32_t)tail.last_crc;
		r->walk.at.offset = tail.offset;
		r->walk.at.chained = true;
	}
	return 0;
}

/* The way to a place begins at its segment's first block: what is damaged on the way is not wanted. True: it
 * is passed. */
static bool reader_passes(struct journal_reader *r)
{
	const struct block_place was = r->walk.at;
	const char *fault = r->walk.fault;
	struct err ignored;

	if (was.offset >= r->offset)
		return false;
	if (reader_go_behind(r, &ignored) == 0 && r->walk.at.offset <= r->offset)
		return true;
	walk_seek(&r->walk, &was);
	r->walk.fault = fault;
	return false;
}

int journal_reader_resync(struct journal_reader *r, uint64_t *to, struct err *err)
{
	const struct block_place was = r->walk.at;
	const char *fault = r->walk.fault ? r->walk.fault : "no block";
	int rc = reader_go_behind(r, err);

	if (rc != 0)
		return rc;
	if (was.segment < atomic_load_explicit(&r->part->oldest_segment, memory_order_acquire)) {
		walk_seek(&r->walk, &was);
		return err_set(err, -ERANGE, "journal partition %u: offset %" PRIu64 " was removed",
			r->part->index, was.offset);
	}
	*to = r->walk.at.offset;
	skip_damage(r->part, was.offset, *to, was.segment, was.file_offset, fault);
	if (*to > r->offset)
		r->offset = *to;
	return 0;
}

static void reader_block(
	const struct journal_reader *r, const struct block_header *h, struct journal_block *block)
{
	*block = (struct journal_block){
		.partition = r->part->index,
		.generation = h->generation,
		.first_offset = h->first_offset,
		.record_count = h->record_count,
		.bytes = h->payload_bytes,
		.receive_last_ms = h->receive_last_ms,
		.watermark_ms = h->watermark_ms,
		.counts = h->flags & BLOCK_F_COUNTED ? &h->counts : NULL,
	};
}

/* False: it lies before the place, or the filter does not want it: its header is enough. */
static bool reader_wants(
	const struct journal_reader *r, const struct block_header *h, struct journal_block *block)
{
	reader_block(r, h, block);
	if (h->first_offset + h->record_count <= r->offset)
		return false;
	return !r->wants || !block->counts || r->wants(r->wants_arg, block);
}

/* The block at walk.at, which is durable: of one that is not wanted data is NULL. 1, or -errno. */
static int reader_fetch(struct journal_reader *r, uint64_t durable_seq, const struct block_header **h,
	struct journal_block *block, struct err *err)
{
	bool wanted = true;
	int rc = WALK_BLOCK;

	if (r->walk.at.chained)
		r->pin = cache_pin(&r->part->cache, r->walk.at.seq);
	block->durable_ns = 0;
	if (r->pin) {
		*h = (const struct block_header *)r->pin->mem;
		wanted = reader_wants(r, *h, block);
		block->durable_ns = r->pin->durable_ns;
	} else {
		if (r->wants) {
			rc = walk_head(&r->walk, durable_seq, h, err);
			wanted = rc == WALK_BLOCK && reader_wants(r, *h, block);
		}
		if (wanted) {
			rc = walk_peek(&r->walk, durable_seq, false, h, err);
			wanted = rc == WALK_BLOCK && reader_wants(r, *h, block);
		}
		if (wanted)
			r->walk.fault = block_payload_fault(*h, (const uint8_t *)*h + BLOCK_HEADER_BYTES);
		if (wanted && r->walk.fault)
			rc = WALK_FAULT;
	}
	if (rc < 0)
		return rc;
	if (rc == WALK_BLOCK && wanted)
		block->data = (const uint8_t *)*h + BLOCK_HEADER_BYTES;
	return rc == WALK_BLOCK ? 1 : reader_fault(r, err);
}

void journal_reader_filter(struct journal_reader *r, journal_wants *wants, void *arg)
{
	r->wants = wants;
	r->wants_arg = arg;
}

void journal_reader_wakes(struct journal_reader *r, uint32_t wakes)
{
	r->wakes = wakes | JOURNAL_WAKE_OFTEN;
}

int journal_reader_next(
	struct journal_reader *r, struct journal_block *block, uint32_t timeout_ms, struct err *err)
{
	reader_unpin(r);
	for (;;) {
		const struct block_header *h;
		int rc;

		if (!tail_wait(r->part, r->walk.at.seq, timeout_ms, r->wakes))
			return 0;
		rc = reader_fetch(r, atomic_load(&r->part->durable_seq), &h, block, err);
		if (rc == -EBADMSG && (walk_moved(&r->walk) || reader_passes(r)))
			continue;
		if (rc < 0)
			return rc;
		block_place_step(&r->walk.at, h);
		if (r->walk.at.offset <= r->offset) {
			reader_unpin(r);
			continue;
		}
		r->offset = r->walk.at.offset;
		return 1;
	}
}
