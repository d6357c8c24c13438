/* Where a record is, offline: the segment by its first block, or by the ids beside it, then block after
 * block. */
#include "journal_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct find {
	const struct journal_find *wish;
	struct walk walk;
	struct block_place start; /* of any segment, but for its number */
	struct meta_file meta;
	uint32_t partition;
};

/* Blocks of one segment. 1: the caller has what it wanted; 0: it has not; -errno. */
static int segment_walk(struct find *f, uint64_t number, struct err *err)
{
	const struct journal_find *wish = f->wish;
	struct block_place at = f->start;
	int rc = 0;

	at.segment = number;
	walk_seek(&f->walk, &at);
	while (rc == 0) {
		const struct block_header *h;
		struct journal_scan_block b;

		rc = walk_peek(&f->walk, UINT64_MAX, true, &h, err);
		/* What is not whole here may be half written: `journal verify` tells what is damaged. */
		if (rc != WALK_BLOCK || f->walk.at.segment != number)
			return rc < 0 ? rc : 0;
		rc = 0;
		scan_fill(&b, &f->walk, h);
		if (wish->id)
			rc = wish->each(wish->arg, &b);
		else if (b.block.first_offset > wish->offset)
			return 0;
		else if (wish->offset < b.block.first_offset + b.block.record_count)
			return wish->each(wish->arg, &b), 1;
		block_place_step(&f->walk.at, h);
	}
	return rc;
}

/* Whether the segment may have what is looked for. 1, 0, or -errno. */
static int segment_may(struct find *f, uint64_t number, struct err *err)
{
	const struct block_header *h;
	struct block_place at = f->start;
	int rc;

	/* Perhaps made by the writer or a worker: such ids are not beside the segment. */
	if (f->wish->id && f->wish->id[6] >> 4 == 8)
		return 1;
	if (f->wish->id)
		return segment_ids_has(f->walk.part_dir, number, f->meta.epoch, f->partition, f->wish->id,
			f->meta.segment_bytes);
	at.segment = number;
	walk_seek(&f->walk, &at);
	rc = walk_peek(&f->walk, UINT64_MAX, false, &h, err);
	return rc < 0 ? rc : rc == WALK_BLOCK && h->first_offset <= f->wish->offset;
}

int journal_find(const char *dir, uint32_t partition, const struct journal_find *wish, struct err *err)
{
	struct find f = {.wish = wish, .partition = partition};
	char part_dir[PATH_BYTES];
	uint64_t *number = NULL;
	uint32_t count = 0;
	int rc = store_meta_read(dir, &f.meta, err);

	if (rc != 0)
		return rc;
	if (partition >= f.meta.partitions)
		return err_set(err, -EINVAL, "%s: the journal has no partition %u", dir, partition);
	store_part_dir(part_dir, dir, partition);
	rc = segment_list(part_dir, false, &number, &count, err);
	if (rc != 0)
		return rc;
	part_place_init(&f.meta, partition, &f.start);
	rc = walk_init(&f.walk, part_dir, &f.start, err);
	for (uint32_t i = 0; rc == 0 && i < count; i++) { /* the newest first */
		uint64_t segment = number[count - 1 - i];

		if (wish->progress)
			wish->progress(wish->arg, i, count);
		rc = segment_may(&f, segment, err);
		if (rc <= 0)
			continue;
		rc = segment_walk(&f, segment, err);
		if (!wish->id)
			break; /* older ones end before it */
	}
	walk_free(&f.walk);
	free(number);
	return rc;
}
