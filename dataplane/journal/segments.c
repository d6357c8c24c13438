/* See journal_segments.h. */
#include "journal_segments.h"

#include <stdlib.h>

#include "journal_priv.h"

int journal_segments(const char *dir, uint32_t partition,
	int (*each)(void *arg, const struct journal_segment_head *head), void *arg, struct err *err)
{
	char part_dir[PATH_BYTES];
	struct meta_file meta;
	struct block_place start;
	struct walk walk;
	uint64_t *number;
	uint32_t count;
	int rc = store_meta_read(dir, &meta, err);

	if (rc != 0)
		return rc;
	store_part_dir(part_dir, dir, partition);
	rc = segment_list(part_dir, false, &number, &count, err);
	if (rc != 0)
		return rc;
	part_place_init(&meta, partition, &start);
	rc = walk_init(&walk, part_dir, &start, err);
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		struct journal_segment_head head = {.number = number[i]};
		struct block_place at = start;
		const struct block_header *h;

		at.segment = number[i];
		walk_seek(&walk, &at);
		rc = walk_head(&walk, UINT64_MAX, &h, err);
		head.any = rc == WALK_BLOCK;
		if (head.any) {
			head.first_seq = h->block_seq;
			head.first_offset = h->first_offset;
			head.generation = h->generation;
			head.receive_first_ms = h->receive_first_ms;
		}
		rc = rc < 0 ? rc : each(arg, &head);
	}
	walk_free(&walk);
	free(number);
	return rc;
}
