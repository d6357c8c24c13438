/* Recovery of one partition: finds the durable prefix, cuts the torn end, rebuilds what the writer goes on
 * from (offset, CRC chain, counters, watermark, remembered ids). One set-up thread a partition at a time,
 * before the writer exists.
 *
 * Read in full are only the segments from the durable mark on and those inside the deduplication window whose
 * ids do not stand beside them (ids.c); of others the first header, and whatever a reader reads later is
 * checked then. Memory: one read buffer. */
#include "journal_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDS_AHEAD 16u

struct recovery {
	struct journal_part *part;
	struct walk walk;
	uint64_t *number; /* segment files, ascending and without holes */
	uint32_t count;
	bool marked; /* walk has passed the mark's place */
	bool any;    /* at least one good block */
};

void part_place_init(const struct meta_file *meta, uint32_t partition, struct block_place *at)
{
	*at = (struct block_place){
		.epoch = meta->epoch,
		.key = meta->key,
		.segment_bytes = meta->segment_bytes,
		.block_bytes = meta->block_bytes,
		.partition = partition,
	};
}

static int damage(const struct journal_part *part, uint64_t segment, uint64_t file_offset, const char *what,
	struct err *err)
{
	char path[PATH_BYTES];

	segment_path_there(path, part->dir, segment);
	return err_set(err, -EBADMSG,
		"%s: damage at byte %" PRIu64 ": %s, below the durable mark (block %" PRIu64
		", offset %" PRIu64 "). Nothing was changed. Restore the file, or create the file "
		"%s/quarantine to set this journal "
		"aside and begin a new one",
		path, file_offset, what, part->mark.next_seq, part->mark.next_offset,
		part->journal->params.dir);
}

static int recover_list(struct recovery *r, struct err *err)
{
	struct journal_part *part = r->part;
	int rc = segment_list(part->dir, true, &r->number, &r->count, err);

	if (rc != 0)
		return rc;
	for (uint32_t i = 1; i < r->count; i++)
		if (r->number[i] != r->number[i - 1] + 1)
			return damage(part, r->number[i - 1] + 1, 0, "the file is missing", err);
	if (r->count == 0 && part->mark.next_seq != 0)
		return damage(part, part->mark.segment, 0, "there is no segment file", err);
	if (r->count + 2 > part->seg_capacity) {
		struct segment_entry *seg = realloc(part->seg, (r->count + 2) * sizeof *seg);

		if (!seg)
			return err_set(err, -ENOMEM, "journal: out of memory");
		part->seg = seg;
		part->seg_capacity = r->count + 2;
	}
	return 0;
}

/* A segment below the mark whose first block is damaged begins, for readers, with the first good one in it.
 */
static int recover_head_behind(struct recovery *r, const struct block_header **h, struct err *err)
{
	const char *fault = r->walk.fault;
	uint64_t segment = r->walk.at.segment;
	int rc;

	if (quarantine_wanted(r->part->journal->params.dir))
		return WALK_FAULT;
	r->walk.at.offset = 0;
	rc = walk_resync(&r->walk, segment, UINT64_MAX, h, err);
	if (rc == WALK_BLOCK && (*h)->block_seq < r->part->mark.next_seq) {
		log_error("journal",
			"DAMAGED BLOCK: partition=%u segment=%" PRIu64
			" byte=0 fault=\"%s\": readable from byte=%" PRIu64 " offset=%" PRIu64 " on",
			r->part->index, segment, fault, r->walk.at.file_offset, (*h)->first_offset);
		return rc;
	}
	r->walk.fault = fault;
	return rc < 0 ? rc : WALK_FAULT;
}

/* Segments that begin with a good block, into the table. */
static int recover_heads(struct recovery *r, struct err *err)
{
	struct journal_part *part = r->part;
	const struct mark_slot *mark = &part->mark;
	const struct block_header *h;

	part->seg_count = 0;
	segment_ids_tidy(part->dir, r->number, r->count);
	for (uint32_t i = 0; i < r->count; i++) {
		struct block_place at = r->walk.at;
		/* The last durable block lies in mark->segment, or before if that is still empty. */
		bool below = mark->next_seq && (r->number[i] < mark->segment ||
						       (r->number[i] == mark->segment && mark->file_offset));
		int rc;

		at.segment = r->number[i];
		at.file_offset = 0;
		at.chained = false;
		walk_seek(&r->walk, &at);
		rc = walk_peek(&r->walk, UINT64_MAX, false, &h, err);
		if (rc >= 0 && rc != WALK_BLOCK && below)
			rc = recover_head_behind(r, &h, err);
		if (rc < 0)
			return rc;
		if (rc == WALK_BLOCK && part->seg_count) {
			struct segment_entry *last = &part->seg[part->seg_count - 1];

			if (h->block_seq <= last->first_seq || h->first_offset < last->first_offset)
				rc = WALK_FAULT;
		}
		if (rc != WALK_BLOCK && below)
			return damage(
				part, r->number[i], 0, r->walk.fault ? r->walk.fault : "block sequence", err);
		if (rc != WALK_BLOCK)
			break;
		part->seg[part->seg_count++] = (struct segment_entry){r->number[i], h->block_seq,
			h->first_offset, h->receive_first_ms, 0, true, 0, 0, 0, false};
	}
	return 0;
}

/* The segment from which everything is read: not behind the one with the last durable block, and early enough
 * to see the ids that have to be remembered and do not stand beside their segments. */
static uint32_t recover_first(const struct recovery *r)
{
	struct journal_part *part = r->part;
	struct segment_entry *seg = part->seg;
	uint32_t first = part->seg_count ? part->seg_count - 1 : 0, last;
	uint64_t window = part->journal->params.dedup_window_ms, ids = part->journal->params.dedup_ids_max;
	int64_t newest;

	/* Behind a mark of writes that are not synced one by one any block may be missing, in any segment. */
	while (first && (part->mark.next_seq || part->mark.flags & MARK_F_LAZY) &&
		seg[first].first_seq >= part->mark.next_seq)
		first--;
	last = first;
	newest = clock_wall_ms();
	if (part->seg_count && seg[part->seg_count - 1].receive_first_ms > newest)
		newest = seg[part->seg_count - 1].receive_first_ms;
	while (window && first && (uint64_t)newest - (uint64_t)seg[first].receive_first_ms < window &&
		seg[part->seg_count - 1].first_offset - seg[first].first_offset < ids)
		first--;
	/* Who asked to set aside what is damaged wants everything looked at. */
	while (window && first < last && !quarantine_wanted(part->journal->params.dir) &&
		segment_ids_load(part, &seg[first]))
		first++;
	return first;
}

/* Ids are spread over tens of megabytes: their places are drawn into the cache some records ahead. */
static void recover_ids(struct journal_part *part, const struct block_header *h)
{
	const uint8_t *p = (const uint8_t *)h + BLOCK_HEADER_BYTES, *front = p;
	struct dedup *dedup = &part->dedup;
	uint64_t hash[IDS_AHEAD];

	if (!dedup->window_ms)
		return;
	for (uint32_t i = 0, ahead = 0; i < h->record_count; i++) {
		const struct record *rec = (const struct record *)p;

		for (; ahead < h->record_count && ahead < i + IDS_AHEAD; ahead++) {
			const struct record *next = (const struct record *)front;
			uint8_t room[16];
			const uint8_t *id;

			front += next->bytes;
			hash[ahead % IDS_AHEAD] = dedup_of_record(dedup, next, room, &id);
			if (!hash[ahead % IDS_AHEAD])
				continue;
			dedup_prefetch(dedup, hash[ahead % IDS_AHEAD]);
		}
		if (rec->receive_time_ms > part->receive_last_ms)
			part->receive_last_ms = rec->receive_time_ms;
		if (hash[i % IDS_AHEAD])
			(void)dedup_add_record(dedup, rec, hash[i % IDS_AHEAD], 0, part->receive_last_ms);
		p += rec->bytes;
	}
}

static void recover_block(struct recovery *r, const struct block_header *h)
{
	struct journal_part *part = r->part;

	recover_ids(part, h);
	r->any = true;
	part->totals.clock_steps = h->clock_steps;
	part->totals.journal_bytes = h->journal_bytes;
	memcpy(part->totals.records, h->records, sizeof h->records);
	memcpy(part->totals.drops, h->drops, sizeof h->drops);
	part->receive_last_ms = h->receive_last_ms;
	part->watermark_base_ms = h->watermark_base_ms;
	part->watermark_next_ms = h->watermark_ms;
	part->generation = h->generation;
	if (h->generation > part->generation_max)
		part->generation_max = h->generation;
}

/* At a place without a good block. True: it is damage below the mark, and behind it there is a good block
 * that is below, too: what lies between is lost, which is written down and said, and walk.at is behind it.
 * The set of remembered ids lacks those of lost blocks. */
static int recover_step_over(struct recovery *r, struct err *err)
{
	struct journal_part *part = r->part;
	const struct block_place was = r->walk.at;
	const char *fault = r->walk.fault;
	const struct block_header *h;
	int rc;

	/* Who asked for it to be set aside gets that. */
	if (was.seq >= part->mark.next_seq || quarantine_wanted(part->journal->params.dir))
		return 0;
	rc = walk_resync(&r->walk, part->mark.segment, part->mark.next_seq, &h, err);
	if (rc == WALK_BLOCK) {
		skip_damage(part, was.offset, r->walk.at.offset, was.segment, was.file_offset, fault);
		return 1;
	}
	walk_seek(&r->walk, &was);
	r->walk.fault = fault;
	return rc < 0 ? rc : 0;
}

/* Every good block from `first` on. Ends with walk.at at the cut. */
static int recover_walk(struct recovery *r, uint32_t first, struct err *err)
{
	struct journal_part *part = r->part;
	const struct mark_slot *mark = &part->mark;
	struct block_place at = r->walk.at;
	const struct block_header *h;
	uint32_t kept = first;
	int rc;

	at.segment = part->seg[first].number;
	at.file_offset = 0;
	at.chained = false;
	walk_seek(&r->walk, &at);
	r->walk.at.seq = part->seg[first].first_seq;
	r->walk.at.offset = part->seg[first].first_offset;
	for (;;) {
		rc = walk_peek(&r->walk, UINT64_MAX, true, &h, err);
		if (rc >= 0 && rc != WALK_BLOCK) {
			rc = recover_step_over(r, err);
			if (rc == 1)
				continue;
		}
		if (rc != WALK_BLOCK)
			break;
		if (kept == first || part->seg[kept - 1].number != h->segment)
			part->seg[kept++] = (struct segment_entry){h->segment, h->block_seq, h->first_offset,
				h->receive_first_ms, UINT32_MAX, false, part->dedup.added, 0, 0, false};
		/* Generation 0 is no ruleset: what runs before there is one has no hits. */
		if (h->generation && h->generation < part->seg[kept - 1].generation_low)
			part->seg[kept - 1].generation_low = h->generation;
		recover_block(r, h);
		block_place_step(&r->walk.at, h);
		if (r->walk.at.seq != mark->next_seq)
			continue;
		if (r->walk.at.prev_crc != mark->last_crc || r->walk.at.offset != mark->next_offset)
			return damage(part, h->segment, h->file_offset,
				"it is not the block that the mark names", err);
	}
	if (rc < 0)
		return rc;
	/* Without any good block there is nothing to go on from, unless it is the very first that is torn. */
	if (r->walk.at.seq < mark->next_seq || (!r->any && r->walk.at.seq != 0))
		return damage(part, r->walk.at.segment, r->walk.at.file_offset, r->walk.fault, err);
	part->seg_count = kept;
	return 0;
}

/* How far behind the cut blocks may lie, in a segment. */
static uint64_t recover_window(const struct recovery *r)
{
	const struct block_place *cut = &r->walk.at;

	return r->part->mark.flags & MARK_F_LAZY ? cut->segment_bytes
						 : (uint64_t)JOURNAL_WINDOW_BLOCKS * cut->block_bytes;
}

/* Looks for blocks of ours at every aligned place of a window behind the cut. One that was built when more
 * than the cut was durable proves that the cut is no torn end. Returns 1 if there is any block, -EBADMSG for
 * a proof. */
static int recover_look_behind(
	struct recovery *r, const struct block_place *cut, uint64_t segment, uint64_t from, struct err *err)
{
	struct walk *w = &r->walk;
	uint64_t end = from + recover_window(r);
	int fd = segment_open(r->part->dir, segment, false, err), found = 0;
	struct block_place at = *cut;

	if (fd < 0)
		return fd;
	if (end > cut->segment_bytes)
		end = cut->segment_bytes;
	at.segment = segment;
	while (from < end && found >= 0) {
		size_t want = end - from < w->buf_bytes ? end - from : w->buf_bytes;
		ssize_t n = pread(fd, w->buf, want, (off_t)from);

		if (n < (ssize_t)BLOCK_ALIGN) {
			found = n < 0 ? err_set(err, -errno, "journal: read: %s", strerror(errno)) : found;
			break;
		}
		for (ssize_t i = 0; i + (ssize_t)BLOCK_ALIGN <= n && found >= 0; i += BLOCK_ALIGN) {
			const struct block_header *h = (const struct block_header *)(w->buf + i);

			at.file_offset = from + (uint64_t)i;
			if (!block_header_ours(h, &at))
				continue;
			found = 1;
			if (h->block_seq > cut->seq && h->durable_seq > cut->seq)
				found = damage(r->part, cut->segment, cut->file_offset,
					w->fault ? w->fault : "a block is missing", err);
		}
		from += (uint64_t)n;
	}
	close(fd);
	w->filled = 0;
	return found;
}

static int recover_invalidate(struct recovery *r, uint64_t segment, uint64_t from, struct err *err)
{
	const struct block_place *cut = &r->walk.at;
	uint64_t bytes = recover_window(r);
	int fd = segment_open(r->part->dir, segment, true, err), rc;

	if (fd < 0)
		return fd;
	if (bytes > cut->segment_bytes - from)
		bytes = cut->segment_bytes - from;
	rc = segment_zero(fd, from, bytes);
	close(fd);
	return rc ? err_set(err, rc, "journal: cannot overwrite what lies behind the cut: %s", strerror(-rc))
		  : 0;
}

/* What lies behind the cut: proof of damage first, over all files, then overwriting. Files behind the next
 * one were never needed. */
static int recover_cut(struct recovery *r, struct err *err)
{
	struct journal_part *part = r->part;
	const struct block_place cut = r->walk.at;
	bool clean = (part->mark.flags & MARK_F_CLEAN) && part->mark.next_seq == cut.seq;
	int rc, dirty = 0;

	for (uint32_t i = 0; i < r->count && !clean; i++) {
		if (r->number[i] < cut.segment)
			continue;
		rc = recover_look_behind(
			r, &cut, r->number[i], r->number[i] == cut.segment ? cut.file_offset : 0, err);
		if (rc < 0)
			return rc;
		dirty |= rc;
	}
	for (uint32_t i = 0; i < r->count; i++) {
		char path[PATH_BYTES];

		if (r->number[i] < cut.segment)
			continue;
		segment_ids_remove(part->dir, r->number[i]); /* it may end otherwise from now on */
		rc = 0;
		if (r->number[i] > cut.segment + 1) {
			segment_path(path, part->dir, r->number[i]);
			rc = unlink(path) ? err_set(err, -errno, "%s: %s", path, strerror(errno)) : 0;
		} else if (!clean) {
			rc = recover_invalidate(
				r, r->number[i], r->number[i] == cut.segment ? cut.file_offset : 0, err);
		}
		if (rc != 0)
			return rc;
		crash_point("journal_recovery_cut");
	}
	if (dirty)
		log_warn("journal",
			"blocks behind the durable end were cut partition=%u segment=%" PRIu64
			" byte=%" PRIu64 " block=%" PRIu64 " offset=%" PRIu64,
			part->index, cut.segment, cut.file_offset, cut.seq, cut.offset);
	return 0;
}

/* Blocks that were read may still be in caches only. Blocks behind the mark may lie in more than one segment.
 */
static int recover_flush(struct recovery *r, struct err *err)
{
	uint64_t last = r->walk.at.file_offset ? r->walk.at.segment : r->walk.at.segment - 1;
	int rc = 0;

	for (uint32_t i = 0; r->any && rc == 0 && i < r->count && r->number[i] <= last; i++) {
		int fd;

		if (r->number[i] < r->part->mark.segment && r->number[i] != last)
			continue;
		if (compressed_bytes(r->part->dir, r->number[i])) /* synced before it got its name */
			continue;
		fd = segment_open(r->part->dir, r->number[i], true, err);
		if (fd < 0)
			return fd;
		if (fdatasync(fd) != 0)
			rc = err_set(err, -errno, "journal: fdatasync: %s", strerror(errno));
		close(fd);
	}
	return rc;
}

/* Opens what the writer goes on with. */
static int recover_files(struct recovery *r, struct err *err)
{
	struct journal_part *part = r->part;
	const struct block_place *at = &r->walk.at;
	uint64_t last = r->count ? r->number[r->count - 1] : 0;
	int fd, rc = recover_flush(r, err);

	if (rc != 0)
		return rc;

	part->place = *at;
	part->next_number = at->segment;
	if (r->count && at->file_offset) {
		fd = segment_open(part->dir, at->segment, true, err);
		if (fd < 0)
			return fd;
		part->fd[0] = fd;
		part->fd_number = at->segment;
		part->next_number++;
	}
	if (r->count && last >= part->next_number) {
		part->next_fd = segment_open(part->dir, part->next_number, true, err);
		if (part->next_fd < 0)
			return part->next_fd;
		atomic_store(&part->next_state, NEXT_READY);
	}
	return 0;
}

static void recover_publish(struct journal_part *part)
{
	const struct block_place *at = &part->place;

	part->recovered = (struct part_tail){at->seq, at->offset, at->segment, at->file_offset, at->prev_crc};
	tail_set(part, &part->recovered);
	part->synced = part->recovered; /* recover_flush() */
	atomic_store(&part->synced_seq, part->synced.seq);
	for (uint32_t i = 0; i < part->seg_count; i++)
		part->seg[i].compressed_bytes = compressed_bytes(part->dir, part->seg[i].number);
	part->built = part->totals;
	atomic_store(&part->ids_added, part->dedup.added);
	part->segment_generation_low =
		part->seg_count ? part->seg[part->seg_count - 1].generation_low : UINT32_MAX;
	atomic_store(&part->watermark_ms, part->watermark_next_ms);
	atomic_store(&part->oldest_segment, part->seg_count ? part->seg[0].number : at->segment);
	part->mark.next_seq = at->seq;
	part->mark.next_offset = at->offset;
	part->mark.segment = at->segment;
	part->mark.file_offset = at->file_offset;
	part->mark.last_crc = at->prev_crc;
}

static int recover_run(struct recovery *r, struct err *err)
{
	struct journal_part *part = r->part;
	int rc = recover_heads(r, err);

	if (rc != 0)
		return rc;
	if (part->seg_count) {
		rc = recover_walk(r, recover_first(r), err);
	} else {
		struct block_place at = r->walk.at;

		at.segment = r->count ? r->number[0] : 1;
		at.file_offset = 0;
		at.chained = true;
		walk_seek(&r->walk, &at);
		if (part->mark.next_seq)
			return damage(part, part->mark.segment, 0, "no block is left", err);
	}
	if (rc == 0)
		rc = recover_cut(r, err);
	return rc ? rc : recover_files(r, err);
}

int part_recover(struct journal_part *part, struct err *err)
{
	const struct meta_file *meta = &part->journal->meta;
	struct recovery r = {.part = part};
	struct block_place at;
	int rc;

	part->mark_fd = store_mark_open(part->dir, false, true, err);
	if (part->mark_fd < 0)
		return part->mark_fd == -ENOENT ? -EBADMSG : part->mark_fd;
	if (store_mark_read(part->mark_fd, meta->epoch, part->index, &part->mark) != 0)
		return err_set(err, -EBADMSG,
			"%s/durable: the durable mark is damaged: it is not known up to where blocks must be "
			"intact. Restore the file, or create the file %s/quarantine to set this journal "
			"aside "
			"and begin a new one",
			part->dir, part->journal->params.dir);
	rc = skip_open(part, err);
	if (rc == 0)
		rc = stood_open(part, err);
	if (rc == 0)
		rc = carry_ids_load(part, err);
	if (rc != 0)
		return rc;
	part_place_init(meta, part->index, &at);
	rc = walk_init(&r.walk, part->dir, &at, err);
	if (rc != 0)
		return rc;
	r.walk.cached_below = part->mark.segment;
	rc = recover_list(&r, err);
	if (rc == 0)
		rc = recover_run(&r, err);
	if (rc == 0) {
		recover_publish(part);
		stood_recovered(part);
	}
	walk_free(&r.walk);
	free(r.number);
	if (rc == 0) {
		rc = store_mark_write(part->mark_fd, &part->mark);
		if (rc != 0)
			err_set(err, rc, "%s/durable: %s", part->dir, strerror(-rc));
	}
	return rc;
}
