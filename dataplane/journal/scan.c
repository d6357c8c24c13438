/* Offline reading for tools: no lock, no writer needed; a running writer is not disturbed. */
#include "journal_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int journal_meta_read(const char *dir, struct journal_meta *meta, struct err *err)
{
	struct meta_file file;
	int rc = store_meta_read(dir, &file, err);

	if (rc != 0)
		return rc;
	memset(meta, 0, sizeof *meta);
	memcpy(meta->node, file.node, sizeof meta->node - 1);
	meta->epoch = file.epoch;
	meta->partitions = file.partitions;
	meta->segment_bytes = file.segment_bytes;
	meta->derived = file.flags & META_F_DERIVED;
	meta->before = file.before;
	return 0;
}

void scan_fill(struct journal_scan_block *b, const struct walk *w, const struct block_header *h)
{
	*b = (struct journal_scan_block){
		.segment = w->at.segment,
		.file_offset = w->at.file_offset,
		.intact = h != NULL,
		.fault = w->fault,
	};
	b->block.partition = w->at.partition;
	b->block.first_offset = w->at.offset;
	if (!h)
		return;
	b->crc = h->header_crc;
	b->block.generation = h->generation;
	b->block.first_offset = h->first_offset;
	b->block.record_count = h->record_count;
	b->block.bytes = h->payload_bytes;
	b->block.receive_last_ms = h->receive_last_ms;
	b->block.watermark_ms = h->watermark_ms;
	b->block.data = (const uint8_t *)h + BLOCK_HEADER_BYTES;
}

/* Where the mark says that everything before is durable; {0} without a good mark. */
static void scan_mark(
	const char *part_dir, const struct meta_file *meta, uint32_t partition, struct mark_slot *mark)
{
	struct err ignored;
	int fd = store_mark_open(part_dir, false, false, &ignored);

	memset(mark, 0, sizeof *mark);
	if (fd < 0)
		return;
	if (store_mark_read(fd, meta->epoch, partition, mark) != 0)
		memset(mark, 0, sizeof *mark);
	close(fd);
}

struct journal_scanner {
	struct walk walk;
	struct mark_slot mark;
	bool ended;
};

/* The newest segment whose first block was received before since_ms; the oldest if there is none. */
static int scan_first(struct walk *w, const uint64_t *number, uint32_t count, int64_t since_ms,
	uint64_t *first, struct err *err)
{
	struct block_place at = w->at;

	*first = count ? number[0] : 1;
	for (uint32_t i = 1; i < count && since_ms != INT64_MIN; i++) {
		const struct block_header *h;
		int rc;

		at.segment = number[i];
		walk_seek(w, &at);
		rc = walk_peek(w, UINT64_MAX, false, &h, err);
		if (rc < 0)
			return rc;
		if (rc != WALK_BLOCK || h->receive_first_ms >= since_ms)
			break;
		*first = number[i];
	}
	at.segment = *first;
	walk_seek(w, &at);
	return 0;
}

int journal_scanner_open(struct journal_scanner **out, const char *dir, uint32_t partition, struct err *err)
{
	return journal_scanner_open_since(out, dir, partition, INT64_MIN, err);
}

int journal_scanner_open_since(
	struct journal_scanner **out, const char *dir, uint32_t partition, int64_t since_ms, struct err *err)
{
	char part_dir[PATH_BYTES];
	struct journal_scanner *s;
	struct meta_file meta;
	struct block_place at;
	uint64_t *number, first;
	uint32_t count;
	int rc = store_meta_read(dir, &meta, err);

	if (rc != 0)
		return rc;
	if (partition >= meta.partitions)
		return err_set(err, -EINVAL, "%s: the journal has no partition %u", dir, partition);
	store_part_dir(part_dir, dir, partition);
	rc = segment_list(part_dir, false, &number, &count, err);
	if (rc != 0)
		return rc;
	part_place_init(&meta, partition, &at);
	s = calloc(1, sizeof *s);
	if (!s) {
		free(number);
		return err_set(err, -ENOMEM, "%s: out of memory", dir);
	}
	scan_mark(part_dir, &meta, partition, &s->mark);
	rc = walk_init(&s->walk, part_dir, &at, err);
	if (rc == 0)
		rc = scan_first(&s->walk, number, count, since_ms, &first, err);
	free(number);
	if (rc != 0) {
		walk_free(&s->walk);
		free(s);
		return rc;
	}
	*out = s;
	return 0;
}

int journal_scanner_next(struct journal_scanner *s, struct journal_scan_block *b, struct err *err)
{
	const struct block_header *h;
	int rc;

	if (s->ended)
		return 0;
	rc = walk_peek(&s->walk, UINT64_MAX, true, &h, err);
	if (rc == WALK_BLOCK) {
		scan_fill(b, &s->walk, h);
		block_place_step(&s->walk.at, h);
		return 1;
	}
	s->ended = true;
	/* Nothing of ours behind the mark is the end; before it, or half of a block, is not. */
	if (rc == WALK_FAULT || (rc == WALK_END && s->walk.at.seq < s->mark.next_seq)) {
		scan_fill(b, &s->walk, NULL);
		return 1;
	}
	return rc < 0 ? rc : 0;
}

void journal_scanner_close(struct journal_scanner *s)
{
	if (!s)
		return;
	walk_free(&s->walk);
	free(s);
}

/* Behind a block that is not intact: to the next good one below the mark. False: there is none. */
static bool scan_behind(struct journal_scanner *s)
{
	const struct block_header *h;
	struct err ignored;

	if (s->walk.at.seq >= s->mark.next_seq ||
		walk_resync(&s->walk, s->mark.segment, s->mark.next_seq, &h, &ignored) != WALK_BLOCK)
		return false;
	s->ended = false;
	return true;
}

int journal_scan(const char *dir, uint32_t partition,
	int (*each)(void *arg, const struct journal_scan_block *b), void *arg, struct err *err)
{
	struct journal_scanner *s;
	struct journal_scan_block b;
	int rc = journal_scanner_open(&s, dir, partition, err), stop = 0;

	if (rc != 0)
		return rc;
	while (!stop && (rc = journal_scanner_next(s, &b, err)) == 1) {
		stop = each(arg, &b);
		if (!stop && !b.intact && !scan_behind(s))
			break;
	}
	journal_scanner_close(s);
	return rc < 0 ? rc : stop;
}
