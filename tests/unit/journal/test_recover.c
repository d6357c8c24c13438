/* Recovery over damaged files: what lies beyond the durable mark is cut at the first fault, what lies below
 * it is refused, and nothing that was cut comes back. */
#include "journal_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal_priv.h"

#define BLOCKS_MAX 256
#define MARKED 20 /* the mark is put behind this many blocks */

struct made_block {
	uint64_t segment, file_offset, first_offset, durable_seq;
	uint32_t bytes, total, records, crc;
};

static struct rig rig;
static struct made_block made[BLOCKS_MAX];
static uint32_t made_count;
static char pristine[160];

static void command(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void command(const char *format, ...)
{
	char text[800];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	assert_int_equal(system(text), 0);
}

static int made_each(void *arg, const struct journal_scan_block *b)
{
	const struct block_header *h = (const struct block_header *)(b->block.data - BLOCK_HEADER_BYTES);

	(void)arg;
	assert_true(b->intact);
	assert_true(made_count < BLOCKS_MAX);
	made[made_count++] = (struct made_block){b->segment, b->file_offset, b->block.first_offset,
		h->durable_seq, b->block.bytes, h->total_bytes, b->block.record_count, b->crc};
	return 0;
}

/* Sets the mark back to where block `seq` begins, as after a crash. */
static void mark_back(uint32_t seq)
{
	struct journal_meta meta;
	struct mark_slot mark;
	struct err err;
	char dir[PATH_BYTES];
	int fd;

	store_part_dir(dir, rig.dir, 0);
	assert_int_equal(journal_meta_read(rig.dir, &meta, &err), 0);
	fd = store_mark_open(dir, false, true, &err);
	assert_true(fd >= 0);
	assert_int_equal(store_mark_read(fd, meta.epoch, 0, &mark), 0);
	mark.flags = 0;
	mark.next_seq = seq;
	mark.next_offset = made[seq].first_offset;
	mark.segment = made[seq].segment;
	mark.file_offset = made[seq].file_offset;
	mark.last_crc = seq ? made[seq - 1].crc : 0;
	assert_int_equal(store_mark_write(fd, &mark), 0);
	close(fd);
}

/* About sixty blocks in several segments, one or a few events each, so that most are 4096 bytes long. */
static int make_pristine(void **state)
{
	struct err err;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segment_bytes = 131072;
	rig.params.block_age_us = 0;
	rig_start(&rig);
	for (uint64_t id = 1; id <= 600; id += 10) {
		rig_feed(&rig, 0, 0, id * 3, id % 3 ? 10 : 30); /* none twice: blocks without records wait */
		if (id < 570)
			rig_settle(&rig, 0);
	}
	rig_settle(&rig, 0);
	rig_close(&rig);
	command("rm -f '%s'/p0/*.ids", rig.dir); /* with them full segments are not read: test_ids.c */
	assert_int_equal(journal_scan(rig.dir, 0, made_each, NULL, &err), 0);
	assert_true(made_count > MARKED + 20);
	assert_true(made[made_count - 1].segment > made[MARKED].segment);
	mark_back(MARKED);
	snprintf(pristine, sizeof pristine, "%s.pristine", rig.dir);
	command("cp -r '%s' '%s'", rig.dir, pristine);
	return 0;
}

static int remove_pristine(void **state)
{
	(void)state;
	command("rm -rf '%s'", pristine);
	rig_free(&rig);
	return 0;
}

static void reset(void)
{
	rig_close(&rig);
	command("rm -rf '%s' && cp -r '%s' '%s'", rig.dir, pristine, rig.dir);
}

static int open_segment(uint64_t segment)
{
	char dir[PATH_BYTES], path[PATH_BYTES];
	int fd;

	store_part_dir(dir, rig.dir, 0);
	segment_path(path, dir, segment);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	return fd;
}

static void wipe(uint64_t segment, uint64_t from, uint64_t bytes)
{
	static const uint8_t zero[BLOCK_ALIGN];
	int fd = open_segment(segment);

	for (uint64_t at = from; at < from + bytes && at < rig.params.segment_bytes; at += sizeof zero)
		assert_int_equal(pwrite(fd, zero, sizeof zero, (off_t)at), sizeof zero);
	close(fd);
}

/* The journal opens, and holds exactly the first `blocks` blocks; it takes new events, and they stay. */
static void assert_cut_at(uint32_t blocks)
{
	uint64_t end = blocks < made_count ? made[blocks].first_offset
					   : made[made_count - 1].first_offset + made[made_count - 1].records;
	struct rig_log log;

	rig_open(&rig);
	assert_int_equal(journal_durable_offset(rig.journal, 0), end);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1000001, 1);
	rig_settle(&rig, 0);
	rig_close(&rig);
	rig_open(&rig);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.id[log.count - 1], 1000001);
	/* start, the event, end-of-input: and of the old blocks no more than before. */
	assert_int_equal(log.end_offset, end + 3);
	rig_log_free(&log);
}

static void assert_refused(uint64_t segment)
{
	struct err err = {""};
	char name[32];

	assert_int_equal(rig_open_rc(&rig, &err), -EBADMSG);
	snprintf(name, sizeof name, "seg-%010llu.log", (unsigned long long)segment);
	assert_non_null(strstr(err.text, name));
	assert_non_null(strstr(err.text, "damage"));
}

/* A later block that was built when this one was durable proves damage. */
static bool proven(uint32_t block)
{
	for (uint32_t i = block + 1; i < made_count; i++)
		if (made[i].durable_seq > block)
			return true;
	return false;
}

static void untouched_is_whole(void **state)
{
	(void)state;
	reset();
	assert_cut_at(made_count);
}

static void torn_end_is_cut_at_every_boundary(void **state)
{
	(void)state;
	for (uint32_t i = MARKED; i < made_count; i++)
		for (uint32_t at = 0; at < made[i].total; at += BLOCK_ALIGN) {
			reset();
			wipe(made[i].segment, made[i].file_offset + at, rig.params.segment_bytes);
			for (uint64_t s = made[i].segment + 1; s <= made[made_count - 1].segment; s++)
				wipe(s, 0, rig.params.segment_bytes);
			assert_cut_at(made[i].bytes + BLOCK_HEADER_BYTES <= at ? i + 1 : i);
		}
}

/* It opens with the whole prefix, and serves all but these blocks; what is lost is counted, once. */
static void assert_stepped_over(uint32_t from, uint32_t to)
{
	uint64_t lost = 0, end = made[made_count - 1].first_offset + made[made_count - 1].records;
	struct journal_reader *reader;
	struct journal_block block;
	struct err err = {""};
	uint64_t next = made[0].first_offset, read = 0, behind;

	for (uint32_t i = from; i <= to; i++)
		lost += made[i].records;
	for (int round = 0; round < 2; round++) {
		rig_open(&rig);
		assert_int_equal(journal_durable_offset(rig.journal, 0), end);
		assert_int_equal(rig_stats(&rig, 0).damaged_records, lost);
		assert_int_equal(rig_stats(&rig, 0).damaged_ranges, 1);
		if (round == 0)
			rig_close(&rig);
	}
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 0, &err), 0);
	while (next < end) {
		int rc = journal_reader_next(reader, &block, 1000, &err);

		if (rc == -EBADMSG) {
			assert_int_equal(next, made[from].first_offset);
			assert_int_equal(journal_reader_resync(reader, &behind, &err), 0);
			next = behind;
			continue;
		}
		assert_int_equal(rc, 1);
		assert_int_equal(block.first_offset, next);
		next += block.record_count;
		read += block.record_count;
	}
	assert_int_equal(read, end - lost);
	journal_reader_close(reader);
	assert_int_equal(rig_stats(&rig, 0).damaged_records, lost);
	rig_close(&rig);
}

/* The block before the mark is what shows that the mark's place is right: without it nothing is guessed. */
static void lost_blocks_below_the_mark_are_passed_over(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < MARKED - 1; i++) {
		reset();
		wipe(made[i].segment, made[i].file_offset, made[i].total);
		assert_stepped_over(i, i);
	}
	for (uint32_t i = 2; i < MARKED - 4; i += 3) {
		reset();
		for (uint32_t k = 0; k < 3; k++)
			wipe(made[i + k].segment, made[i + k].file_offset, made[i + k].total);
		assert_stepped_over(i, i + 2);
	}
	reset();
	wipe(made[MARKED - 1].segment, made[MARKED - 1].file_offset, made[MARKED - 1].total);
	assert_refused(made[MARKED - 1].segment);
}

static void flipped_bits_are_found(void **state)
{
	uint32_t refused = 0, cut = 0, passed = 0;

	(void)state;
	srandom(7);
	for (int n = 0; n < 150; n++) {
		uint32_t i = (uint32_t)random() % made_count;
		uint32_t at = (uint32_t)random() % (made[i].bytes + BLOCK_HEADER_BYTES);
		uint8_t byte;
		int fd;

		if (n % 3 == 0) /* ends, which nothing proves; the last one is always there, others as blocks
				   fell */
			i = n % 9 == 0 ? made_count - 1 : made_count - 1 - i % 3;
		at %= made[i].bytes + BLOCK_HEADER_BYTES;
		reset();
		fd = open_segment(made[i].segment);
		assert_int_equal(pread(fd, &byte, 1, (off_t)(made[i].file_offset + at)), 1);
		byte ^= (uint8_t)(1u << random() % 8);
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)(made[i].file_offset + at)), 1);
		close(fd);
		if (i && i < MARKED - 1) {
			assert_stepped_over(i, i);
			passed++;
		} else if (i == 0) {
			rig_open(&rig); /* nothing before it says where its range began */
			assert_int_equal(rig_stats(&rig, 0).oldest_offset, made[1].first_offset);
		} else if (i == MARKED - 1 || proven(i)) {
			assert_refused(made[i].segment);
			refused++;
		} else {
			assert_cut_at(i);
			cut++;
		}
	}
	assert_true(refused > 10 && cut > 10 && passed > 10);
}

/* Blocks behind the gap landed, but none was built when the gap's block was durable: a torn end. */
static void later_blocks_behind_a_gap_do_not_come_back(void **state)
{
	const uint32_t gap = MARKED + 3;

	(void)state;
	reset();
	for (uint32_t i = gap + 1; i < made_count; i++) {
		struct block_header h;
		int fd = open_segment(made[i].segment);

		assert_int_equal(pread(fd, &h, sizeof h, (off_t)made[i].file_offset), sizeof h);
		h.durable_seq = MARKED;
		h.header_crc = block_header_crc(&h);
		assert_int_equal(pwrite(fd, &h, sizeof h, (off_t)made[i].file_offset), sizeof h);
		close(fd);
	}
	wipe(made[gap].segment, made[gap].file_offset, BLOCK_ALIGN);
	assert_cut_at(gap);
}

static void damage_is_set_aside_only_on_demand(void **state)
{
	struct journal_meta old;
	struct rig_log log;
	struct err err;
	char aside[200], path[200];
	int fd;

	(void)state;
	reset();
	assert_int_equal(journal_meta_read(rig.dir, &old, &err), 0);
	wipe(made[5].segment, made[5].file_offset, BLOCK_ALIGN);
	assert_stepped_over(5, 5);
	wipe(made[MARKED - 1].segment, made[MARKED - 1].file_offset, BLOCK_ALIGN);
	mark_back(MARKED);
	assert_refused(made[MARKED - 1].segment);
	assert_refused(made[MARKED - 1].segment);
	snprintf(path, sizeof path, "%s/quarantine", rig.dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	rig_open(&rig);
	assert_int_equal(journal_durable_offset(rig.journal, 0), 0);
	assert_true(journal_epoch(rig.journal) != old.epoch);
	assert_int_not_equal(access(path, F_OK), 0);
	snprintf(aside, sizeof aside, "%s/damaged-%016llx", rig.dir, (unsigned long long)old.epoch);
	assert_false(rig_scan(aside, 0, &log));
	assert_int_equal(
		log.end_offset, made[MARKED - 1].first_offset); /* all that is good before the mark */
	rig_log_free(&log);
	rig_close(&rig);
}

static void lost_files_are_refused(void **state)
{
	struct err err = {""};

	(void)state;
	reset();
	command("rm '%s/p0/durable'", rig.dir);
	assert_int_equal(rig_open_rc(&rig, &err), -EBADMSG);
	reset();
	command("rm '%s/journal.meta'", rig.dir);
	assert_int_equal(rig_open_rc(&rig, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "journal.meta"));
	reset();
	command("rm '%s/p0/seg-0000000001.log'", rig.dir);
	command("rm -f '%s'/p0/seg-0000000002.log", rig.dir);
	command("rm -f '%s'/p0/seg-0000000003.log", rig.dir);
	command("rm -f '%s'/p0/seg-000000000[4-9].log", rig.dir);
	assert_int_equal(rig_open_rc(&rig, &err), -EBADMSG);
	reset();
	command("printf x | dd of='%s/journal.meta' bs=1 seek=40 conv=notrunc 2>/dev/null", rig.dir);
	assert_int_equal(rig_open_rc(&rig, &err), -EBADMSG);
	reset();
}

/* All at once, each with its own ids; of those that cannot be, the first one is named. */
static void partitions_are_recovered_side_by_side(void **state)
{
	const uint32_t partitions = 5;
	struct err err = {""};
	struct rig many;

	(void)state;
	rig_init(&many, partitions, 1);
	many.params.segment_bytes = 131072;
	rig_start(&many);
	for (uint32_t p = 0; p < partitions; p++)
		rig_feed(&many, 0, p, 1 + p * 100000, 1500);
	for (uint32_t p = 0; p < partitions; p++)
		rig_settle(&many, p);
	rig_restart(&many);
	for (uint32_t p = 0; p < partitions; p++) {
		rig_feed(&many, 0, p, 1 + p * 100000, 1600); /* 100 of them new */
		rig_settle(&many, p);
		assert_int_equal(rig_stats(&many, p).duplicates, 1500);
		assert_int_equal(rig_stats(&many, p).dedup_ids, 1600);
	}
	rig_close(&many);
	for (uint32_t p = 3; p > 1; p--)
		command("rm '%s/p%u/durable'", many.dir, p);
	assert_int_equal(rig_open_rc(&many, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "/p2/"));
	rig_free(&many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(untouched_is_whole),
		cmocka_unit_test(torn_end_is_cut_at_every_boundary),
		cmocka_unit_test(lost_blocks_below_the_mark_are_passed_over),
		cmocka_unit_test(flipped_bits_are_found),
		cmocka_unit_test(later_blocks_behind_a_gap_do_not_come_back),
		cmocka_unit_test(damage_is_set_aside_only_on_demand),
		cmocka_unit_test(lost_files_are_refused),
		cmocka_unit_test(partitions_are_recovered_side_by_side),
	};

	rig_eal("recover");
	log_init(LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, make_pristine, remove_pristine);
}
