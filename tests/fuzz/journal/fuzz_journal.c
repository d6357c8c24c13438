/* Segment files of arbitrary bytes: the block checks, the offline scan and recovery end in an error or in
 * blocks that keep every promise. The input is laid over a journal's only segment; blocks whose first byte
 * asks for it get right keys and CRCs, so that what lies behind those checks is reached too. If its last byte
 * asks for it the input is the file of remembered ids as well, or that of the ids beside a segment, with a
 * right header or its own, or the record of what consumers will not get. Where a reader meets damage it goes
 * on behind it, which always comes to an end. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "journal_priv.h"

#define SEGMENT 65536u
#define BLOCK 16384u

/* The sources themselves, so that they are built for coverage. */
#include "block_check.c"
#include "carry.c"
#include "ids.c"
#include "recover.c"
#include "scan.c"
#include "skip.c"
#include "stood.c"
#include "walk.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64], part_dir[PATH_BYTES], segment[PATH_BYTES];
static struct meta_file meta = {.epoch = 0x1122334455667788,
	.key = 99,
	.segment_bytes = SEGMENT,
	.block_bytes = BLOCK,
	.partitions = 1};
static const struct journal_params params = {.node = "fuzz",
	.partitions = 1,
	.block_bytes = BLOCK,
	.segment_bytes = SEGMENT,
	.segments_max = 3,
	.inflight = 1,
	.cache_blocks = 1,
	.dedup_window_ms = 1000,
	.dedup_ids_max = 1000,
	.tick_ms = 1000};

static void clean(void)
{
	char command[200];

	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	if (system(command) != 0)
		abort();
}

static void setup(void)
{
	struct err err;

	snprintf(dir, sizeof dir, "/dev/shm/sluice-fuzz-%d", (int)getpid());
	store_part_dir(part_dir, dir, 0);
	segment_path(segment, part_dir, 1);
	if (durable_dir_make(part_dir, &err) != 0)
		abort();
	memcpy(meta.node, "fuzz", 5);
	if (store_meta_write(dir, &meta, &err) != 0)
		abort();
	log_init(LOG_LEVEL_ERROR, false);
	atexit(clean);
}

static void mend(uint8_t *image, size_t bytes)
{
	struct block_place at;
	uint32_t prev = 0;

	part_place_init(&meta, 0, &at);
	for (size_t i = 0; i + BLOCK_ALIGN <= bytes; i += BLOCK_ALIGN) {
		struct block_header *h = (struct block_header *)(image + i);
		uint8_t wish = image[i];

		if (!(wish & 1))
			continue;
		h->magic = BLOCK_MAGIC;
		h->version = JOURNAL_FORMAT_VERSION;
		h->header_bytes = BLOCK_HEADER_BYTES;
		h->epoch = meta.epoch;
		h->key = meta.key;
		h->partition = 0;
		h->segment = 1;
		h->file_offset = i;
		h->block_seq %= 16;
		h->durable_seq %= 16;
		if (wish & 2)
			h->total_bytes = BLOCK_ALIGN * (1 + wish / 64);
		if (wish & 4)
			h->payload_bytes %= h->total_bytes ? h->total_bytes : 1;
		if (wish & 8)
			h->prev_crc = prev;
		if (h->payload_bytes <= bytes - i - BLOCK_HEADER_BYTES)
			h->payload_crc = crc32c(0, image + i + BLOCK_HEADER_BYTES, h->payload_bytes);
		prev = h->header_crc = block_header_crc(h);
	}
}

static void ids_make(const uint8_t *data, size_t size)
{
	static uint8_t image[SEGMENT];
	struct ids_head *head = (struct ids_head *)image;
	char path[PATH_BYTES + 8];
	int fd;

	ids_path(path, part_dir);
	(void)unlink(path);
	if (size < 2 * sizeof *head || data[size - 1] % 4 != 3)
		return;
	memcpy(image, data, size);
	if (data[size - 2] & 1) {
		size_t body = (size - sizeof *head) / sizeof(struct ids_entry) * sizeof(struct ids_entry);

		*head = (struct ids_head){.magic = IDS_MAGIC,
			.version = JOURNAL_FORMAT_VERSION,
			.epoch = meta.epoch,
			.count = body / sizeof(struct ids_entry),
			.body_crc = crc32c(0, image + sizeof *head, body)};
		head->crc = ids_head_crc(*head);
		size = sizeof *head + body;
	}
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, image, size) != (ssize_t)size)
		abort();
	close(fd);
}

/* What the table of segments says is taken from the file, so that its checks are passed. */
static void beside_load(const uint8_t *data, size_t size)
{
	static struct journal journal;
	static struct journal_part part;
	static uint8_t image[SEGMENT];
	struct ids_header *h = (struct ids_header *)image;
	struct segment_entry seg[2] = {{.number = 1}, {.number = 2}};
	char path[PATH_BYTES];
	int fd;

	if (size < sizeof *h + 2 || data[size - 1] % 4 != 2)
		return;
	memcpy(image, data, size);
	journal.meta = meta;
	part.journal = &journal;
	snprintf(part.dir, sizeof part.dir, "%s", part_dir);
	part.receive_last_ms = INT64_MIN;
	if (data[size - 2] & 1) {
		h->magic = SEGMENT_IDS_MAGIC;
		h->version = IDS_VERSION;
		h->epoch = meta.epoch;
		h->partition = 0;
		h->segment = 1;
		h->count = (uint32_t)((size - sizeof *h) / sizeof(struct ids_id));
		size = sizeof *h + h->count * sizeof(struct ids_id);
		h->body_crc = crc32c(0, h + 1, size - sizeof *h);
		h->crc = header_crc(*h);
	}
	seg[0].first_seq = h->first_seq;
	seg[0].first_offset = h->first_offset;
	seg[1].first_seq = h->end_seq;
	seg[1].first_offset = h->end_offset;
	segment_ids_path(path, part_dir, 1);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, image, size) != (ssize_t)size)
		abort();
	close(fd);
	if (dedup_init(&part.dedup, 1000, 100, 1) != 0)
		abort();
	if (segment_ids_load(&part, seg) && part.dedup.count > h->count)
		abort();
	dedup_free(&part.dedup);
	segment_ids_remove(part_dir, 1);
}

/* DIR/p0/skipped: empty, or from the input, with a right header if its last byte but one asks for it. */
static void skip_put(const uint8_t *data, size_t size)
{
	static struct skip_slot slot;
	char path[PATH_BYTES + 16];
	struct err err;
	int fd;

	if (skip_make(part_dir, &err) != 0)
		abort();
	if (size < 16 || data[size - 1] % 4 != 1)
		return;
	memset(&slot, 0, sizeof slot);
	memcpy(&slot, data, size < sizeof slot ? size : sizeof slot);
	if (data[size - 2] & 1) {
		slot.magic = SKIP_MAGIC;
		slot.version = JOURNAL_FORMAT_VERSION;
		slot.epoch = meta.epoch;
		slot.partition = 0;
		slot.entry_count %= SKIP_ENTRIES + 1;
		slot.total_count %= SKIP_TOTALS + 1;
		for (uint32_t i = 0; i < slot.entry_count; i++) {
			struct skip_entry *e = &slot.entry[i];

			memcpy(e->name, "c", 2);
			e->from %= 64;
			e->to = e->from + e->to % 64;
			e->reason = 1 + e->reason % 3;
			e->flags = e->flags % 3 == 2 ? SKIP_F_TAKEN | SKIP_F_DONE : e->flags % 3;
		}
		for (uint32_t i = 0; i < slot.total_count; i++)
			slot.total[i].name[SKIP_NAME_BYTES - 1] = 0;
		slot.crc = slot_crc(&slot);
	}
	snprintf(path, sizeof path, "%s/skipped", part_dir);
	fd = open(path, O_RDWR);
	if (fd < 0 || pwrite(fd, &slot, sizeof slot, data[0] % 2 * SKIP_SLOT_BYTES) != (ssize_t)sizeof slot)
		abort();
	close(fd);
}

/* DIR/p0/consumers: from the input, with a right header if its last byte but one asks for it. */
static void stood_put(const uint8_t *data, size_t size)
{
	static struct stood_file f;
	char path[PATH_BYTES + 16];
	int fd;

	memset(&f, 0, sizeof f);
	memcpy(&f, data, size < sizeof f ? size : sizeof f);
	if (size > 2 && data[size - 2] & 1) {
		f.magic = STOOD_MAGIC;
		f.version = JOURNAL_FORMAT_VERSION;
		f.epoch = meta.epoch;
		f.partition = 0;
		f.count %= STOOD_MAX + 1;
		for (uint32_t i = 0; i < f.count; i++)
			memcpy(f.at[i].name, "c", 2);
		f.crc = stood_crc(&f);
	}
	snprintf(path, sizeof path, "%s/consumers", part_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, &f, size % 2 ? sizeof f : size % sizeof f) < 0)
		abort();
	close(fd);
}

/* A consumer that stands anywhere takes what was given up for it: then there is nothing more to take. */
static void skip_use(struct journal *j, uint64_t position)
{
	struct journal_consumer_stats before, after;
	struct err err;
	int c = journal_consumer_add(j, 0, "c", &err);
	uint64_t to = 0;

	if (c < 0)
		abort();
	journal_consumer_stats(j, c, &before);
	if (before.stood > j->part[0].recovered.offset)
		abort();
	(void)journal_consumer_oldest(j, c);
	(void)journal_skipped(j, c, 0, position);
	if (journal_skip_take(j, c, position, 0, JOURNAL_SKIP_FULL, &to, &err) != 0)
		return;
	if (to < position || journal_skip_wanted(j, c, to) != to)
		abort();
	journal_skip_passed(j, c, to);
	journal_consumer_stats(j, c, &after);
	if (after.given_up || journal_skip_wanted(j, c, 0) != 0)
		abort();
}

static int each(void *arg, const struct journal_scan_block *b)
{
	const uint8_t *p = b->block.data;
	uint32_t left = b->block.bytes;

	(void)arg;
	for (uint32_t i = 0; b->intact && i < b->block.record_count; i++) {
		if (!record_valid(p, left))
			abort();
		left -= ((const struct record *)p)->bytes;
		p += ((const struct record *)p)->bytes;
	}
	if (b->intact && left)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t image[SEGMENT];
	struct mark_slot mark = {.epoch = meta.epoch};
	struct journal_params p = params;
	struct journal *j;
	struct err err;
	int fd;

	if (!dir[0])
		setup();
	if (size < 1 || size > SEGMENT)
		return 0;
	memset(image, 0, sizeof image);
	memcpy(image, data, size);
	mend(image, sizeof image);
	fd = open(segment, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, image, sizeof image) != (ssize_t)sizeof image)
		abort();
	close(fd);
	mark.next_seq = data[0] % 3;
	fd = store_mark_open(part_dir, true, true, &err);
	if (fd < 0 || store_mark_write(fd, &mark) != 0)
		abort();
	close(fd);
	ids_make(data, size);
	beside_load(data, size);
	skip_put(data, size);
	stood_put(data, size);
	(void)journal_scan(dir, 0, each, NULL, &err);
	snprintf(p.dir, sizeof p.dir, "%s", dir);
	if (journal_open(&j, &p, &err) == 0) {
		struct journal_reader *r;
		struct journal_block block;

		if (journal_reader_open(&r, j, 0, 0, &err) == 0) {
			uint64_t next = 0, to;
			int rc;

			while ((rc = journal_reader_next(r, &block, 0, &err)) == 1 || rc == -EBADMSG) {
				if (rc == 1) {
					next = block.first_offset + block.record_count;
				} else if (journal_reader_resync(r, &to, &err) != 0) {
					break;
				} else if (to < next) {
					abort();
				}
			}
			journal_reader_close(r);
		}
		skip_use(j, data[0] % 64);
		journal_close(j);
	}
	return 0;
}
