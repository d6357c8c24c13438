/* journal.durability: what counts as durable when, and what recovery makes of writes that never reached the
 * disk although later ones did. A power cut is played on a copy of the files: blocks behind the mark are
 * wiped. */
#include "journal_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "journal_priv.h"
#include "log.h"

#define BLOCKS_MAX 2048

static struct {
	uint64_t segment, file_offset, seq, offset, durable_seq;
	uint32_t bytes;
} made[BLOCKS_MAX];
static uint32_t made_count;

static int made_each(void *arg, const struct journal_scan_block *b)
{
	const struct block_header *h = (const struct block_header *)(b->block.data - BLOCK_HEADER_BYTES);

	(void)arg;
	assert_true(b->intact && made_count < BLOCKS_MAX);
	made[made_count].segment = b->segment;
	made[made_count].file_offset = b->file_offset;
	made[made_count].seq = h->block_seq;
	made[made_count].offset = h->first_offset;
	made[made_count].durable_seq = h->durable_seq;
	made[made_count++].bytes = h->total_bytes;
	return 0;
}

static void scan(const char *dir)
{
	struct err err;

	made_count = 0;
	assert_int_equal(journal_scan(dir, 0, made_each, NULL, &err), 0);
}

static struct mark_slot mark_of(const char *dir)
{
	char part[PATH_BYTES];
	struct mark_slot mark;
	struct journal_meta meta;
	struct err err;
	int fd;

	assert_int_equal(journal_meta_read(dir, &meta, &err), 0);
	store_part_dir(part, dir, 0);
	fd = store_mark_open(part, false, false, &err);
	assert_true(fd >= 0);
	assert_int_equal(store_mark_read(fd, meta.epoch, 0, &mark), 0);
	close(fd);
	return mark;
}

static void remove_tree(const char *dir)
{
	char command[800];

	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

static void copy_to(const char *from, const char *to)
{
	char command[1400];

	snprintf(command, sizeof command, "rm -rf '%s' && cp -a '%s' '%s' && rm -f '%s/lock'", to, from, to,
		to);
	assert_int_equal(system(command), 0);
}

static void wipe(const char *dir, uint32_t block)
{
	static uint8_t zero[1 << 20];
	char part[PATH_BYTES], path[PATH_BYTES];
	int fd;

	store_part_dir(part, dir, 0);
	segment_path(path, part, made[block].segment);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(
		pwrite(fd, zero, made[block].bytes, (off_t)made[block].file_offset), made[block].bytes);
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

/* Many small blocks: of one record each, however late the writer is. */
static void feed_blocks(struct rig *rig, uint64_t first, uint32_t blocks)
{
	for (uint32_t i = 0; i < blocks; i++) {
		uint64_t before = rig_stats(rig, 0).blocks;

		rig_feed(rig, 0, 0, first + i, 1);
		while (rig_stats(rig, 0).blocks == before)
			usleep(100);
	}
}

static void open_mode(struct rig *rig, enum journal_durability mode, uint64_t sync_every_us)
{
	rig_init(rig, 1, 1);
	rig->params.durability = mode;
	rig->params.sync_every_us = sync_every_us;
	rig->params.block_age_us = 200;
	rig_open(rig);
}

/* With the next sync an hour away nothing that is written counts; a stop makes all of it durable. */
static void interval_waits_for_the_sync(void **state)
{
	struct rig rig;
	struct rig_log log;
	uint64_t durable;

	(void)state;
	open_mode(&rig, JOURNAL_INTERVAL, 3600ull * 1000000);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 10);
	while (rig_stats(&rig, 0).durable_offset ==
		0) /* the first needs not wait: the last sync is long ago */
		usleep(1000);
	usleep(20000);
	durable = rig_stats(&rig, 0).durable_offset;
	rig_feed(&rig, 0, 0, 11, 500);
	while (rig_stats(&rig, 0).assigned_offset < 501)
		usleep(1000);
	usleep(100000);
	assert_int_equal(rig_stats(&rig, 0).durable_offset, durable);
	rig_stop(&rig);
	assert_int_equal(rig_stats(&rig, 0).durable_offset, rig_stats(&rig, 0).assigned_offset);
	rig_restart(&rig);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, 510);
	rig_log_free(&log);
	rig_free(&rig);
}

/* Whoever finds that all of it is durable finds it counted by kind as well. */
static void what_is_durable_is_counted(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.block_age_us = 1;
	rig_start(&rig);
	for (uint64_t i = 0; i < 3000; i++) {
		struct journal_partition_stats s;

		rig_feed(&rig, 0, 0, i + 1, 1);
		do {
			s = rig_stats(&rig, 0);
			assert_true(s.records[RECORD_EVENT] + s.records[RECORD_TICK] +
					    s.records[RECORD_CONTROL] >=
				    s.durable_offset);
			assert_true(s.assigned_offset >= s.durable_offset);
		} while (s.records[RECORD_EVENT] <= i);
	}
	rig_free(&rig);
}

/* Through several segments, at a short interval: dense, nothing lost, and no header claims more than was
 * synced. */
static void interval_delivers_all(void **state)
{
	struct rig rig;
	struct rig_log log;

	(void)state;
	open_mode(&rig, JOURNAL_INTERVAL, 2000);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 20000);
	rig_settle(&rig, 0);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, 20000);
	rig_log_free(&log);
	rig_stop(&rig);
	scan(rig.dir);
	for (uint32_t i = 0; i < made_count; i++)
		assert_true(made[i].durable_seq <= made[i].seq);
	rig_restart(&rig);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, 20000);
	rig_log_free(&log);
	rig_free(&rig);
}

/* The mark names no more than full segments, which the keeper has synced; at a stop it names the end. */
static void async_marks_what_is_synced(void **state)
{
	struct mark_slot mark;
	struct rig rig;
	struct rig_log log;

	(void)state;
	open_mode(&rig, JOURNAL_ASYNC, 0);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 12000);
	rig_settle(&rig, 0);
	while (mark_of(rig.dir).next_seq == 0) /* the keeper writes it; meson ends a test that hangs */
		usleep(10000);
	usleep(300000); /* and no more than this comes */
	mark = mark_of(rig.dir);
	assert_true(mark.next_seq > 0 && mark.file_offset == 0);
	assert_true(mark.flags & MARK_F_LAZY);
	assert_true(mark.next_offset < rig_stats(&rig, 0).durable_offset);
	rig_stop(&rig);
	mark = mark_of(rig.dir);
	assert_int_equal(mark.flags, MARK_F_CLEAN);
	assert_int_equal(mark.next_offset, rig_stats(&rig, 0).durable_offset);
	rig_restart(&rig);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, 12000);
	rig_log_free(&log);
	rig_free(&rig);
}

/* Nothing was synced for sure: the mark is that of the start. */
static void mark_reset(const char *dir)
{
	struct mark_slot mark = mark_of(dir);
	char part[PATH_BYTES];
	struct err err;
	int fd;

	store_part_dir(part, dir, 0);
	fd = store_mark_open(part, false, true, &err);
	assert_true(fd >= 0);
	mark.next_seq = mark.next_offset = mark.file_offset = mark.last_crc = 0;
	mark.segment = 1;
	mark.flags = MARK_F_LAZY;
	assert_int_equal(store_mark_write(fd, &mark), 0);
	close(fd);
}

static void move_to(struct rig *rig, const char *dir)
{
	snprintf(rig->dir, sizeof rig->dir, "%.120s", dir);
	snprintf(rig->params.dir, sizeof rig->params.dir, "%s", dir);
}

static void wait_for_segment(const char *dir, unsigned int segment)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof path, "%s/p0/seg-%010u.log", dir, segment);
	while (access(path, F_OK) != 0)
		usleep(1000);
}

#define HOLE 10

/* A journal of many blocks as a crash leaves it, without block HOLE, and with more than the window of blocks
 * behind it. rig is on it, not open. */
static void crashed_with_a_hole(struct rig *rig, char cut[200], enum journal_durability mode)
{
	open_mode(rig, mode, 1000);
	rig_close(rig);
	remove_tree(rig->dir);
	rig->params.segment_bytes =
		4 << 20; /* all of it in one: full ones are synced, a hole there is damage */
	rig_start(rig);
	feed_blocks(rig, 1, 250);
	rig_settle(rig, 0);
	snprintf(cut, 200, "%s-cut", rig->dir);
	wait_for_segment(rig->dir, 2); /* which is made meanwhile, and would get its name under the copy */
	copy_to(rig->dir, cut);
	scan(cut);
	assert_true(made_count > HOLE + JOURNAL_WINDOW_BLOCKS + 10);
	wipe(cut, HOLE);
	mark_reset(cut);
	rig_close(rig);
	remove_tree(rig->dir);
	move_to(rig, cut);
}

/* Cut at the hole; what lay behind never comes back, also after the next crash. */
static void async_cuts_at_a_hole_far_behind(void **state)
{
	char cut[200], twice[210];
	struct rig_log log;
	uint64_t after = 0;
	struct rig rig;

	(void)state;
	crashed_with_a_hole(&rig, cut, JOURNAL_ASYNC);
	rig_start(&rig);
	rig_settle(&rig, 0);
	assert_int_equal(rig_stats(&rig, 0).durable_offset, made[HOLE].offset + 1); /* and the start's */
	rig_feed(&rig, 0, 0, 5000, 3);
	rig_settle(&rig, 0);
	snprintf(twice, sizeof twice, "%s-twice", cut);
	copy_to(cut, twice); /* crashes again at once */
	rig_close(&rig);
	remove_tree(cut);
	move_to(&rig, twice);
	rig_start(&rig);
	rig_read(&rig, 0, &log);
	/* The nth event stands at offset n. */
	for (uint64_t i = 0; i < log.count; i++) {
		assert_true(log.id[i] < made[HOLE].offset || log.id[i] >= 5000);
		after += log.id[i] >= 5000;
	}
	assert_int_equal(after, 3);
	rig_log_free(&log);
	rig_free(&rig);
}

/* Its headers say what was synced when they were made: a hole below that is damage. */
static void interval_knows_damage_from_a_torn_end(void **state)
{
	struct rig rig;
	struct err err;
	char cut[200];

	(void)state;
	crashed_with_a_hole(&rig, cut, JOURNAL_INTERVAL);
	assert_int_equal(rig_open_rc(&rig, &err), -EBADMSG);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_durable_is_counted),
		cmocka_unit_test(interval_waits_for_the_sync),
		cmocka_unit_test(interval_delivers_all),
		cmocka_unit_test(async_marks_what_is_synced),
		cmocka_unit_test(async_cuts_at_a_hole_far_behind),
		cmocka_unit_test(interval_knows_damage_from_a_torn_end),
	};

	rig_eal("durability");
	log_init(LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
