/* The running state stage: what it refuses, checkpoints by time and by command, the self-check, retention.
 * Kills are in tests/integration/state. */
#include "state_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint.h"
#include "clock.h"
#include "hot.h"

#define LIMIT_NS 60000000000ull /* ends a test that hangs, decides nothing */

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

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static void open_start(struct srig *r)
{
	struct err err = {""};

	if (srig_open(r, &err) != 0)
		fail_msg("%s", err.text);
	srig_start(r);
}

static void feed(struct srig *r, uint64_t first, uint64_t count)
{
	srig_feed(r, 0, first, count);
	srig_feed(r, 1, first, count);
}

static void stop_close(struct srig *r)
{
	srig_stop(r, 30000);
	srig_close(r);
}

static void run_once(struct srig *r, uint64_t first, uint64_t count)
{
	open_start(r);
	feed(r, first, count);
	stop_close(r);
}

static void assert_check(struct srig *r, bool complete)
{
	struct srig_check c;

	if (!srig_check(r->dir, NULL, NULL, &c))
		fail_msg("%s", c.fault);
	assert_int_equal(c.complete, complete);
	assert_true(c.compared > 0);
}

static void assert_refused(struct srig *r, const char *what)
{
	struct err err = {""};

	assert_int_equal(srig_open(r, &err), -EINVAL);
	if (!strstr(err.text, what) || !strstr(err.text, "move "))
		fail_msg("'%s' and what to do expected: %s", what, err.text);
}

static uint32_t count_checkpoints(struct srig *r, uint32_t who, const char *savepoint)
{
	struct checkpoint_entry *list;
	uint32_t count, found = 0;
	struct err err;
	char dir[200];

	snprintf(dir, sizeof dir, "%s/state/checkpoints", r->dir);
	assert_int_equal(checkpoint_list(dir, &list, &count, &err), 0);
	for (uint32_t i = 0; i < count; i++)
		found += list[i].good && list[i].info.who == who &&
			 strcmp(list[i].info.savepoint, savepoint) == 0;
	free(list);
	return found;
}

static struct state_part_stats part_of(struct srig *r, uint32_t p)
{
	struct state_part_stats s;

	state_part_stats(r->state, p, &s);
	return s;
}

/* ---- tests ---- */

static void checkpoints_come_with_new_input_only(void **state)
{
	uint64_t end_ns = clock_mono_ns() + LIMIT_NS, seq;
	struct err err;
	struct srig r;

	(void)state;
	srig_init(&r, NULL, 2, 0, 20);
	r.rig.params.tick_ms = 1000000; /* no input of the journal's own */
	open_start(&r);
	feed(&r, 0, 2000);
	assert_true(srig_settle(&r));
	while (part_of(&r, 0).checkpoint_seq < 3 && clock_mono_ns() < end_ns) {
		feed(&r, 10000 + part_of(&r, 0).checkpoint_seq * 1000, 100);
		assert_true(srig_settle(&r));
		nap();
	}
	/* The last one of what there is, which a slow disk may take a while for: then no more. */
	assert_int_equal(state_checkpoint(r.state, NULL, 60000, &err), 0);
	seq = part_of(&r, 0).checkpoint_seq;
	for (int i = 0; i < 40; i++)
		nap();
	assert_int_equal(part_of(&r, 0).checkpoint_seq, seq);
	assert_int_equal(count_checkpoints(&r, 0, ""), r.cfg.state.checkpoints_kept);
	stop_close(&r);
	assert_check(&r, true);
	srig_free(&r);
}

static void checkpoints_by_command(void **state)
{
	struct err err = {""};
	uint64_t seq;
	struct srig r;

	(void)state;
	srig_init(&r, NULL, 2, 1, 3600000); /* none by time */
	r.rig.params.tick_ms = 1000000;
	open_start(&r);
	feed(&r, 0, 3000);
	assert_true(srig_settle(&r));
	seq = part_of(&r, 1).checkpoint_seq;
	assert_int_equal(state_checkpoint(r.state, NULL, 30000, &err), 0);
	assert_true(part_of(&r, 1).checkpoint_seq > seq);
	seq = part_of(&r, 1).checkpoint_seq;
	assert_int_equal(state_checkpoint(r.state, NULL, 30000, &err), 0);
	assert_int_equal(part_of(&r, 1).checkpoint_seq, seq); /* nothing new: the last one stands */
	assert_int_equal(state_checkpoint(r.state, "before-upgrade", 30000, &err), 0);
	assert_int_equal(count_checkpoints(&r, 1, "before-upgrade"), 1);
	assert_int_equal(count_checkpoints(&r, CHECKPOINT_MERGE, "before-upgrade"), 1);
	assert_int_equal(state_checkpoint(r.state, "before-upgrade", 30000, &err), -EEXIST);
	assert_non_null(strstr(err.text, "before-upgrade"));
	assert_int_equal(count_checkpoints(&r, 1, "before-upgrade"), 1);
	assert_int_equal(state_checkpoint(r.state, "../x", 30000, &err), -EINVAL);
	assert_int_equal(state_checkpoint(r.state, "", 30000, &err), -EINVAL);
	stop_close(&r);
	/* A savepoint is as good as a checkpoint: all that is left to start from. */
	command("rm -f %s/state/checkpoints/*.ckpt", r.dir);
	run_once(&r, 100000, 1000);
	assert_check(&r, true);
	srig_free(&r);
}

static void a_difference_stops_the_partition(void **state)
{
	uint64_t end_ns = clock_mono_ns() + LIMIT_NS;
	struct state_part_stats s;
	struct srig r, other;
	struct err err = {""};

	(void)state;
	srig_init(&r, NULL, 1, 0, 50);
	srig_init(&other, NULL, 1, 0, 50);
	run_once(&r, 0, 3000);
	run_once(&other, 500000, 3000);
	/* The log of one journal's events, and another's events. */
	command("rm -rf %s/output && mv %s/output %s/ && rm -f %s/state/checkpoints/*", r.dir, other.dir,
		r.dir, r.dir);
	open_start(&r);
	do {
		s = part_of(&r, 0);
		nap();
	} while (s.phase != STATE_FAILED && clock_mono_ns() < end_ns);
	assert_int_equal(s.phase, STATE_FAILED);
	assert_int_equal(s.mismatches, 1);
	assert_int_equal(s.appended, 0);
	assert_non_null(strstr(s.error, "REPLAY DIFFERS: output log partition 0 has at offset "));
	assert_int_equal(state_checkpoint(r.state, NULL, 1000, &err), -EIO);
	stop_close(&r);
	srig_free(&r);
	srig_free(&other);
}

static void what_does_not_fit_is_refused(void **state)
{
	struct srig r;

	(void)state;
	srig_init(&r, NULL, 2, 0, 50);
	run_once(&r, 0, 2000);
	command("cp -r %s %s.first", r.dir, r.dir);
	run_once(&r, 100000, 2000);
	command("cp -r %s %s.second", r.dir, r.dir);

	command("rm -rf %s/journal && cp -r %s.first/journal %s/", r.dir, r.dir, r.dir);
	assert_refused(&r, "beyond the input journal's end");
	command("rm -rf %s && cp -r %s.second %s", r.dir, r.dir, r.dir);
	command("rm -rf %s/output && cp -r %s.first/output %s/", r.dir, r.dir, r.dir);
	assert_refused(&r, "it has lost its end");
	command("rm -rf %s/output", r.dir);
	assert_refused(&r, "is missing");
	command("rm -rf %s && cp -r %s.second %s", r.dir, r.dir, r.dir);
	r.cfg.state.step = 500;
	assert_refused(&r, "state.step was 1000 ms");
	r.cfg.state.step = 1000;
	command("rm -rf %s/journal", r.dir); /* a new one is made */
	assert_refused(&r, "the checkpoint is of input journal");
	command("rm -rf %s && cp -r %s.second %s", r.dir, r.dir, r.dir);
	run_once(&r, 200000, 1000); /* as it was, it goes on */
	assert_check(&r, true);
	command("rm -rf %s.first %s.second", r.dir, r.dir);
	srig_free(&r);
}

/* A newer checkpoint of `who` whose state, not the file, has format `version`. */
static void put_newer_state(struct srig *r, uint32_t who, uint32_t version)
{
	struct checkpoint_info info;
	struct bytes body = {0};
	struct err err;
	char dir[200];
	uint8_t *at;

	snprintf(dir, sizeof dir, "%s/state/checkpoints", r->dir);
	assert_int_equal(checkpoint_read_newest(dir, who, &info, &body, &err), 0);
	at = who == CHECKPOINT_MERGE ? body.data + 4 : memmem(body.data, body.bytes, "SLSTAGE1", 8) + 8;
	memcpy(at, &version, sizeof version);
	info.seq++;
	assert_int_equal(checkpoint_write(dir, &info, &body, &err), 0);
	bytes_free(&body);
}

/* At the start, with the reason; no older checkpoint is taken in its place. */
static void a_state_of_a_newer_version_is_refused(void **state)
{
	struct srig r;

	(void)state;
	srig_init(&r, NULL, 2, 0, 50);
	run_once(&r, 0, 2000);
	command("cp -r %s/state %s.state", r.dir, r.dir);
	put_newer_state(&r, 1, 99);
	assert_refused(
		&r, "partition 1: the checkpoint was made by a newer version (state of format 99; this");
	command("rm -rf %s/state && cp -r %s.state %s/state", r.dir, r.dir, r.dir);
	put_newer_state(&r, CHECKPOINT_MERGE, 98);
	assert_refused(&r, "the merge: the checkpoint was made by a newer version (state of format 98; this");
	command("rm -rf %s/state && mv %s.state %s/state", r.dir, r.dir, r.dir);
	run_once(&r, 100000, 1000);
	assert_check(&r, true);
	srig_free(&r);
}

/* Consumers hold the input from the oldest checkpoint on and no more; while the state stage is off nobody
 * does. */
static void retention_follows_the_checkpoints(void **state)
{
	struct journal_partition_stats in;
	struct srig r;

	(void)state;
	srig_init(&r, NULL, 1, 2, 20);
	r.archive = false;
	r.rig.params.segment_bytes = 131072;
	r.rig.params.segments_max = 4;
	r.rig.params.dedup_window_ms = 0;
	open_start(&r);
	for (uint64_t i = 0; i < 12; i++) {
		struct err err = {""};

		feed(&r, i * 100000, 300); /* a third of a segment; three checkpoints are kept */
		assert_true(srig_settle(&r));
		assert_int_equal(state_checkpoint(r.state, NULL, 30000, &err), 0);
	}
	in = rig_stats(&r.rig, 0);
	assert_int_equal(in.drops[DROP_journal_full], 0);
	assert_true(in.oldest_offset > 0);
	stop_close(&r);
	run_once(&r, 5000000, 100); /* from the checkpoint: the journal's beginning is not needed */
	/* Events while it is off. */
	rig_start(&r.rig);
	for (uint64_t i = 0; i < 12; i++)
		feed(&r, 6000000 + i * 100000, 500);
	rig_close(&r.rig);
	assert_refused(&r, "events came while the state stage was off");
	command("rm -f %s/state/checkpoints/*", r.dir);
	assert_refused(&r, "no checkpoint");
	command("rm -rf %s/state %s/output", r.dir, r.dir); /* begin anew */
	run_once(&r, 9000000, 500);
	srig_free(&r);
}

/* How many checkpoints of partition 0 there are of this place. */
static uint32_t checkpoints_of(struct srig *r, uint64_t input_offset)
{
	struct checkpoint_entry *list;
	uint32_t count, found = 0;
	struct err err;
	char dir[200];

	snprintf(dir, sizeof dir, "%s/state/checkpoints", r->dir);
	assert_int_equal(checkpoint_list(dir, &list, &count, &err), 0);
	for (uint32_t i = 0; i < count; i++)
		found += list[i].good && !list[i].info.who && list[i].info.input_offset == input_offset;
	free(list);
	return found;
}

/* Somebody else holds what fills the journal: soon all checkpoints are of the last place, and then no more
 * are written. */
static void a_full_journal_asks_for_no_more(void **state)
{
	uint64_t end_ns = clock_mono_ns() + LIMIT_NS, count;
	struct srig r;

	(void)state;
	srig_init(&r, NULL, 1, 2, 3600000);
	r.rig.params.segment_bytes = 131072;
	r.rig.params.segments_max = 4;
	r.rig.params.tick_ms = 1000000;
	open_start(&r); /* the archive holds everything */
	for (uint64_t i = 0; !rig_stats(&r.rig, 0).full && clock_mono_ns() < end_ns; i++) {
		feed(&r, i * 100000, 50);
		nap();
	}
	while (checkpoints_of(&r, rig_stats(&r.rig, 0).durable_offset) < r.cfg.state.checkpoints_kept &&
		clock_mono_ns() < end_ns)
		nap();
	count = part_of(&r, 0).checkpoints;
	for (int i = 0; i < 300; i++)
		nap();
	assert_true(rig_stats(&r.rig, 0).full);
	assert_int_equal(
		checkpoints_of(&r, rig_stats(&r.rig, 0).durable_offset), r.cfg.state.checkpoints_kept);
	assert_in_range(part_of(&r, 0).checkpoints, count, count + 1);
	stop_close(&r);
	srig_free(&r);
}

static void fill_up(const char *path)
{
	static const char page[4096];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	while (write(fd, page, sizeof page) == (ssize_t)sizeof page)
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

/* Needs a file system of its own. */
static void a_full_disk_takes_older_checkpoints(void **state)
{
	char dir[] = "/tmp/sluice-full-XXXXXX", data[64], filler[64];
	struct err err = {""};
	struct srig r;

	(void)state;
	assert_non_null(mkdtemp(dir));
	if (mount("tmpfs", dir, "tmpfs", 0, "size=64m") != 0) {
		rmdir(dir);
		skip();
	}
	snprintf(data, sizeof data, "%s/data", dir);
	snprintf(filler, sizeof filler, "%s/filler", dir);
	srig_init(&r, data, 1, 0, 3600000);
	r.rig.params.segments_max = 4;
	r.rig.params.tick_ms = 1000000;
	open_start(&r);
	for (uint64_t i = 0; i < 4; i++) {
		feed(&r, i * 1000, 200);
		assert_true(srig_settle(&r));
		assert_int_equal(state_checkpoint(r.state, NULL, 30000, &err), 0);
	}
	assert_int_equal(count_checkpoints(&r, 0, ""), r.cfg.state.checkpoints_kept);
	fill_up(filler);
	feed(&r, 10000, 100);
	assert_true(srig_settle(&r));
	if (state_checkpoint(r.state, NULL, 30000, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(count_checkpoints(&r, 0, "") < r.cfg.state.checkpoints_kept);
	assert_int_equal(unlink(filler), 0);
	stop_close(&r);
	assert_check(&r, true);
	srig_free(&r);
	assert_int_equal(umount2(dir, MNT_DETACH), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* Whoever asks for haste may be a moment earlier than the stop itself: it would then wait for its own
 * deadline, which is none here. */
static void haste_before_the_stop_counts(void **state)
{
	uint64_t end_ns = clock_mono_ns() + LIMIT_NS;
	struct err err = {""};
	struct srig r;
	int reader;

	(void)state;
	srig_init(&r, NULL, 1, 0, 3600000);
	assert_int_equal(srig_open(&r, &err), 0);
	reader = journal_consumer_add(state_output(r.state), 0, "reader", &err);
	assert_true(reader >= 0);
	journal_consumer_set(state_output(r.state), reader, 0); /* and stands still */
	srig_start(&r);
	for (uint64_t i = 0; !part_of(&r, 0).waiting && clock_mono_ns() < end_ns; i++)
		feed(&r, i * 100000, 2000);
	assert_true(part_of(&r, 0).waiting);
	alarm((unsigned)(LIMIT_NS / 1000000000ull));
	state_hurry(r.state, clock_mono_ns() + 1000000);
	rig_stop(&r.rig);
	state_stop(r.state, UINT64_MAX);
	alarm(0);
	assert_int_equal(part_of(&r, 0).phase, STATE_FAILED);
	assert_non_null(strstr(part_of(&r, 0).error, "stopped while output log partition 0 was full"));
	srig_close(&r);
	assert_check(&r, false);
	srig_free(&r);
}

/* A definition whose text is long: its checkpoint is gone on from, and the replay is by the store's. */
static void long_definitions_keep_their_state(void **state)
{
	struct config_windows *w;
	struct srig r;

	(void)state;
	srig_init(&r, NULL, 2, 0, 20);
	w = &r.cfg.windows[0];
	for (uint32_t i = 0; strlen(w->where) + 40 < sizeof w->where; i++)
		snprintf(w->where + strlen(w->where), 40, "%suser_id != nobody-%u", i ? " and " : "", i);
	assert_true(strlen(w->where) > 2000);
	run_once(&r, 0, 3000);
	open_start(&r);
	feed(&r, 3000, 3000);
	assert_true(srig_settle(&r));
	for (uint32_t p = 0; p < 2; p++)
		assert_true(part_of(&r, p).replay_from > 0);
	stop_close(&r);
	assert_check(&r, true);
	srig_free(&r);
}

/* A byte of the third block of a partition of the output log. */
static void damage_output(struct srig *r, uint32_t partition)
{
	struct journal_scanner *scanner;
	struct journal_scan_block b;
	struct err err = {""};
	char path[200];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof path, "%s/output", r->dir);
	assert_int_equal(journal_scanner_open(&scanner, path, partition, &err), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(journal_scanner_next(scanner, &b, &err), 1);
	journal_scanner_close(scanner);
	snprintf(path, sizeof path, "%s/output/p%u/seg-%010" PRIu64 ".log", r->dir, partition, b.segment);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)b.file_offset + 1100), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)b.file_offset + 1100), 1);
	close(fd);
}

/* Old rows of the merged log, which are read for readers of the rows in memory alone. */
static void damage_of_old_rows_stops_nothing(void **state)
{
	struct journal_partition_stats log;
	struct state_stats all;
	struct hot_stats hot;
	struct err err = {""};
	struct srig r;

	(void)state;
	srig_init(&r, NULL, 2, 0, 100);
	r.cfg.state.segments_max = 100;
	open_start(&r);
	for (uint64_t i = 0; i < 12; i++) {
		feed(&r, i * 100000, 1500);
		r.start_ms += 1500 * SRIG_EVENT_MS;
		assert_true(srig_settle(&r));
		assert_int_equal(state_checkpoint(r.state, NULL, 60000, &err), 0);
	}
	hot_stats(state_hot(r.state), &hot);
	stop_close(&r);
	damage_output(&r, 2);
	for (int again = 0; again < 2; again++) {
		uint64_t rows = hot.rows;

		open_start(&r);
		feed(&r, 5000000 + (uint64_t)again * 100000, 1500);
		assert_true(srig_settle(&r));
		state_stats(r.state, &all);
		assert_int_equal(all.merge_phase, STATE_RUNNING);
		journal_stats(state_output(r.state), 2, &log);
		assert_int_equal(log.damaged_ranges, 1);
		assert_true(log.damaged_records > 0);
		hot_stats(state_hot(r.state), &hot);
		assert_true(hot.rows > rows / 2); /* those before the damage, and those behind it */
		stop_close(&r);
	}
	srig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checkpoints_come_with_new_input_only),
		cmocka_unit_test(checkpoints_by_command),
		cmocka_unit_test(a_difference_stops_the_partition),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(a_state_of_a_newer_version_is_refused),
		cmocka_unit_test(retention_follows_the_checkpoints),
		cmocka_unit_test(a_full_journal_asks_for_no_more),
		cmocka_unit_test(a_full_disk_takes_older_checkpoints),
		cmocka_unit_test(long_definitions_keep_their_state),
		cmocka_unit_test(haste_before_the_stop_counts),
		cmocka_unit_test(damage_of_old_rows_stops_nothing),
	};

	rig_eal("state");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
