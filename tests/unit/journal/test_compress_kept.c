/* Compressed segments: what is kept, and what full disks, damage, crashes and other versions do. */
#include "compress_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

static bool disk_was_full(const struct journal_partition_stats *s)
{
	return s->compress_disk_full != 0;
}

static bool had_no_gain(const struct journal_partition_stats *s)
{
	return s->compress_no_gain + 2 >= segments_kept() &&
	       rig.journal->part[0].compress.state == COMPRESS_IDLE;
}

static bool one_was_damaged(const struct journal_partition_stats *s)
{
	return s->compress_damaged == 1 && s->compressed >= 2;
}

/* ---- what is kept ---- */

/* Twenty segments in the space of six: what is compressed counts by its bytes; and beyond retain_bytes the
 * oldest go, from the disk, too. */
static void compressed_segments_count_by_their_bytes(void **state)
{
	struct journal_partition_stats s;
	uint64_t id = 1;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 6;
	rig.params.dedup_window_ms = 1;
	rig.params.retain_ms = 3600000;
	rig.params.compress_after_ms = 1;
	rig_open(&rig);
	consumer_at(1u << 30);
	rig_start(&rig);
	while (segments_made() < 20) {
		rig_feed(&rig, 0, 0, id, 2000);
		id += 2000;
		rig_settle(&rig, 0);
		wait_for(all_compressed);
	}
	s = rig_stats(&rig, 0);
	assert_int_equal(s.oldest_offset, 0);
	assert_true(s.compressed_segments >= 17 && s.disk_bytes < 6u << 20);
	assert_int_equal(s.compress_bytes_before, s.compressed << 20);
	assert_true(s.compress_bytes_after < s.compress_bytes_before / 4);
	rig_close(&rig);
	rig.params.retain_bytes = 2200000; /* two raw ones and a few */
	rig_open(&rig);
	consumer_at(1u << 30);
	rig_start(&rig);
	while (segments_made() < 23) {
		rig_feed(&rig, 0, 0, id, 2000);
		id += 2000;
		rig_settle(&rig, 0);
	}
	wait_for(all_compressed);
	s = rig_stats(&rig, 0);
	assert_true(s.oldest_offset > 0);
	assert_false(
		there("seg-0000000001.zst") || there("seg-0000000001.log") || there("seg-0000000001.ids"));
	rig_free(&rig);
}

/* Whatever was being compressed: events that need its room get it, and nothing is refused. */
static void room_for_events_comes_first(void **state)
{
	struct journal_partition_stats s;
	uint64_t id = 1;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 3;
	rig.params.dedup_window_ms = 1;
	rig.params.retain_ms = 3600000;
	rig.params.compress_after_ms = 1;
	rig.noise = true;
	rig.event_bytes = 900;
	rig_open(&rig);
	consumer_at(1u << 30);
	rig_start(&rig);
	for (; segments_made() < 40; id += 500)
		rig_feed(&rig, 0, 0, id, 500);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.drops[DROP_journal_full] + s.drops[DROP_journal_failed], 0);
	assert_true(s.oldest_offset > 0);
	rig_restart(&rig);
	rig_free(&rig);
}

/* Held by a sink: never compressed, however old. What cannot become smaller stays raw. */
static void what_a_sink_needs_or_gains_nothing_stays_raw(void **state)
{
	struct err err;
	int c;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.compress_after_ms = 1;
	/* Blocks are nearly full, be it one event or two that the writer takes, and so are segments. */
	rig.event_bytes = 15232;
	rig.params.segment_bytes = 2 << 20;
	rig.noise = true;
	rig_open(&rig);
	c = journal_consumer_add(rig.journal, 0, "sink", &err);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 800);
	rig_settle(&rig, 0);
	assert_true(segments_made() >= 5);
	nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL);
	assert_int_equal(rig_stats(&rig, 0).compressed + rig_stats(&rig, 0).compress_no_gain, 0);
	journal_consumer_set(rig.journal, c, journal_durable_offset(rig.journal, 0));
	wait_for(had_no_gain);
	assert_true(rig_stats(&rig, 0).compress_no_gain >= 2);
	assert_int_equal(rig_stats(&rig, 0).compressed, 0);
	assert_false(there("compress.tmp"));
	rig_free(&rig);
}

/* ---- faults ---- */

static char disk[64]; /* a small file system of its own, or "" */

/* A file that leaves so many bytes. */
static void disk_leave(uint64_t bytes)
{
	char path[80];
	struct statvfs v;
	int fd;

	snprintf(path, sizeof path, "%s/filler", disk);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0 && ftruncate(fd, 0) == 0 && fstatvfs(fd, &v) == 0);
	if (bytes)
		assert_int_equal(posix_fallocate(fd, 0, (off_t)(v.f_bavail * v.f_frsize - bytes)), 0);
	close(fd);
}

/* A disk that takes no more is named and tried again, whether that is known before or shows; events come in
 * all the time. */
static void a_full_disk_is_tried_again(void **state)
{
	struct journal_partition_stats s;
	uint64_t full;

	(void)state;
	if (!disk[0]) {
		print_message("skipped: no tmpfs can be mounted here\n");
		skip();
	}
	setenv("SLUICE_TEST_DIR", disk, 1);
	rig_init(&rig, 1, 1);
	unsetenv("SLUICE_TEST_DIR");
	rig.params.compress_after_ms = 1;
	rig.params.segments_max = 7;
	rig.noise = true;
	rig.event_bytes = 600;
	rig_open(&rig);
	consumer_at(0); /* nothing is compressed as long as the disk has room */
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 6000);
	rig_settle(&rig, 0);
	assert_true(segments_made() >= 5);
	rig_close(&rig);
	disk_leave(560000); /* less than what a compressed segment may have */
	rig_open(&rig);
	consumer_at(1u << 30);
	rig_start(&rig);
	wait_for(disk_was_full);
	disk_leave(300000);
	full = rig_stats(&rig, 0).compress_disk_full;
	rig_feed(&rig, 0, 0, 20001, 100);
	while ((s = rig_stats(&rig, 0)).compress_disk_full == full)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.drops[DROP_journal_full] + s.compress_failed, 0);
	disk_leave(0);
	wait_for(all_compressed);
	assert_true(rig_stats(&rig, 0).compressed >= 2);
	rig_free(&rig);
}

struct spoiled {
	uint64_t lost_from, lost_to; /* records */
	int faults;
};

/* Reads all; ranges that are lost are passed over. */
static void read_over_damage(struct spoiled *out)
{
	struct journal_partition_stats s = rig_stats(&rig, 0);
	struct journal_reader *reader;
	struct journal_block block;
	uint64_t next = 0, to;
	struct err err;
	int rc;

	*out = (struct spoiled){0};
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, s.oldest_offset, &err), 0);
	next = s.oldest_offset;
	while (next < s.durable_offset && (rc = journal_reader_next(reader, &block, 1000, &err)) != 0) {
		if (rc == 1) {
			assert_int_equal(block.first_offset, next);
			next = block.first_offset + block.record_count;
			continue;
		}
		assert_int_equal(rc, -EBADMSG);
		assert_non_null(strstr(err.text, ".zst: damage at byte"));
		assert_int_equal(journal_reader_resync(reader, &to, &err), 0);
		out->faults++;
		out->lost_from = next;
		out->lost_to = to;
		next = to;
	}
	assert_true(next >= s.durable_offset);
	journal_reader_close(reader);
}

static void spoil(const char *name, off_t at, const char *bytes)
{
	char path[300];
	int fd;

	snprintf(path, sizeof path, "%s/p0/%s", rig.dir, name);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_true(pwrite(fd, bytes, strlen(bytes), at) == (ssize_t)strlen(bytes));
	close(fd);
}

static struct frame_header frame_first(uint64_t segment)
{
	struct frame_header h;
	char path[PATH_BYTES];
	int fd;

	compressed_path(path, rig.journal->part[0].dir, segment);
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, &h, sizeof h, 0), sizeof h);
	close(fd);
	assert_true(h.magic == FRAME_MAGIC && h.raw_at == 0);
	return h;
}

/* Damage in a compressed segment costs the frame that has it: readers say so and go on, starts do. */
static void damage_costs_a_frame(void **state)
{
	struct frame_header h;
	struct spoiled s;
	char path[300];

	(void)state;
	both_make();
	h = frame_first(2);
	assert_true(h.raw_bytes >= 256u << 10);
	/* The second frame's header. */
	spoil("seg-0000000002.zst", (off_t)(sizeof h + h.packed_bytes + 40), "xx");
	read_over_damage(&s);
	assert_true(s.faults == 1 && s.lost_to > s.lost_from && s.lost_to - s.lost_from < EVENTS / 4);
	assert_int_equal(rig_stats(&rig, 0).damaged_ranges, 1);
	rig_restart(&rig);
	read_over_damage(&s);
	assert_int_equal(s.faults, 1);
	/* Contents of the first frame of another. */
	spoil("seg-0000000004.zst", (off_t)sizeof h + 1000, "yyyy");
	read_over_damage(&s);
	assert_int_equal(s.faults, 2);
	assert_int_equal(rig_stats(&rig, 0).damaged_ranges, 2);
	/* A file that is cut off in its second frame. */
	h = frame_first(5);
	snprintf(path, sizeof path, "%s/p0/seg-0000000005.zst", rig.dir);
	assert_int_equal(truncate(path, (off_t)(sizeof h + h.packed_bytes + 5000)), 0);
	rig_restart(&rig);
	read_over_damage(&s);
	assert_int_equal(s.faults, 3);
	assert_true(s.lost_to > s.lost_from && rig_stats(&rig, 0).oldest_offset == 0);
	both_free();
}

/* What is gone altogether is no range that a start may pass over. */
static void a_start_refuses_a_file_that_is_gone(void **state)
{
	struct err err;

	(void)state;
	both_make();
	rig_close(&rig);
	command("rm %s/p0/seg-0000000003.zst", rig.dir);
	assert_int_equal(rig_open_rc(&rig, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "seg-0000000003.log: damage at byte 0: the file is missing"));
	command("cp %s.raw/p0/seg-0000000003.log %s/p0/", rig.dir, rig.dir);
	rig_open(&rig);
	both_free();
}

/* A raw segment that is damaged stays as it is; the others are compressed. */
static void a_damaged_segment_stays_raw(void **state)
{
	(void)state;
	rig_init(&rig, 1, 1);
	rig.noise = true;
	rig.params.segments_max = 32;
	rig_start(&rig);
	fill(1, 15000);
	rig_close(&rig);
	for (off_t at = 40000; at < 45000; at += 4) /* somewhere there a block begins, or goes on */
		spoil("seg-0000000002.log", at, "zzzz");
	rig.params.compress_after_ms = 1;
	rig.params.dedup_window_ms = 1;
	rig.params.retain_ms = 3600000;
	rig_open(&rig);
	consumer_at(1u << 30);
	rig_start(&rig);
	wait_for(one_was_damaged);
	assert_true(
		there("seg-0000000002.log") && there("seg-0000000001.zst") && there("seg-0000000003.zst"));
	rig_free(&rig);
}

/* What a crash leaves: a raw file beside its compressed one counts, the rest is removed. */
static void leftovers_are_removed(void **state)
{
	struct journal_partition_stats s;
	struct rig_log log;

	(void)state;
	both_make();
	rig_close(&rig);
	command("cp %s.raw/p0/seg-0000000002.log %s/p0/; echo x >%s/p0/spare.tmp; echo x >%s/p0/compress.tmp",
		rig.dir, rig.dir, rig.dir, rig.dir);
	assert_true(rig_scan(rig.dir, 0, &log));
	assert_int_equal(log.count, EVENTS);
	rig_log_free(&log);
	rig.params.compress_after_ms = 0;
	rig_start(&rig);
	assert_true(there("seg-0000000002.log"));
	assert_false(there("seg-0000000002.zst") || there("spare.tmp") || there("compress.tmp"));
	s = rig_stats(&rig, 0);
	assert_true(s.compressed_segments >= 3 && s.compressed == 0);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, EVENTS);
	rig_log_free(&log);
	both_free();
}

static uint32_t meta_version(void)
{
	struct meta_file meta;
	struct err err;

	assert_int_equal(store_meta_read(rig.dir, &meta, &err), 0);
	return meta.version;
}

/* A binary that knows no compressed segments refuses by the version, for as long as there may be one. */
static void an_older_binary_is_kept_out(void **state)
{
	(void)state;
	both_make();
	assert_int_equal(meta_version(), 2);
	rig_close(&rig);
	rig.params.compress_after_ms = 0;
	rig_start(&rig);
	assert_int_equal(meta_version(), 2);
	rig_close(&rig);
	command("rm %s/p0/seg-*.zst", rig.dir); /* by hand, the oldest */
	rig_start(&rig);
	assert_int_equal(meta_version(), 1);
	rig.params.compress_after_ms = 1;
	rig_restart(&rig);
	assert_int_equal(meta_version(), 2);
	both_free();
}

/* zstd's own tool gives the blocks as they were. */
static void the_file_is_zstd(void **state)
{
	(void)state;
	both_make();
	if (system("command -v zstd >/dev/null") != 0)
		print_message("no zstd tool here: not compared\n");
	else
		command("f=%s/p0/seg-0000000002; zstd -dcq <$f.zst >$f.out && "
			"cmp -n $(stat -c %%s $f.out) $f.out %s.raw/p0/seg-0000000002.log && test -s $f.out",
			rig.dir, rig.dir);
	both_free();
}

/* An argument: only the tests of that name, which may have '*'. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compressed_segments_count_by_their_bytes),
		cmocka_unit_test(room_for_events_comes_first),
		cmocka_unit_test(what_a_sink_needs_or_gains_nothing_stays_raw),
		cmocka_unit_test(a_full_disk_is_tried_again),
		cmocka_unit_test(damage_costs_a_frame),
		cmocka_unit_test(a_start_refuses_a_file_that_is_gone),
		cmocka_unit_test(a_damaged_segment_stays_raw),
		cmocka_unit_test(leftovers_are_removed),
		cmocka_unit_test(an_older_binary_is_kept_out),
		cmocka_unit_test(the_file_is_zstd),
	};
	int rc;

	snprintf(disk, sizeof disk, "/tmp/sluice-compress-XXXXXX");
	if (!mkdtemp(disk))
		return 1;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		mount("compress", disk, "tmpfs", 0, "size=12m")) {
		rmdir(disk);
		disk[0] = 0;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	rig_eal("compress-kept");
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	if (disk[0])
		umount(disk);
	if (disk[0])
		rmdir(disk);
	return rc;
}
