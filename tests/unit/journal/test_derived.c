/* Derived journals (the n-th record handed in has offset n, whatever happens) and notes (a control record
 * alone in its block, in order with what is handed in). */
#include "journal_rig.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define LIMIT_NS 60000000000ull /* ends a test that hangs, decides nothing */

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void derived_init(struct rig *rig)
{
	rig_init(rig, 1, 1);
	rig->params.derived = true;
	rig->params.tick_ms = 0;
	rig->params.segment_bytes = 131072;
	rig->params.segments_max = 64;
}

/* Events whose id is their offset + 1. */
static void feed_from_end(struct rig *rig, uint64_t count)
{
	rig_feed(rig, 0, 0, rig_stats(rig, 0).assigned_offset + 1, count);
	rig_settle(rig, 0);
}

static void assert_dense(const struct rig_log *log, uint64_t first)
{
	assert_int_equal(log->end_offset, first + log->count);
	for (uint64_t i = 0; i < log->count; i++)
		assert_int_equal(log->id[i], first + i + 1);
}

static void the_writer_adds_nothing(void **state)
{
	struct journal_partition_stats s;
	struct rig_log log;
	struct rig rig;

	(void)state;
	derived_init(&rig);
	rig_start(&rig);
	feed_from_end(&rig, 700);
	rig_restart(&rig);
	rig_restart(&rig);
	feed_from_end(&rig, 300);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.durable_offset, 1000);
	assert_int_equal(s.watermark_ms, INT64_MIN);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, 1000);
	assert_int_equal(log.kinds[RECORD_CONTROL] + log.kinds[RECORD_TICK], 0);
	assert_dense(&log, 0);
	rig_log_free(&log);
	rig_feed(&rig, 0, 0, 1, 5); /* known ids are not looked at */
	rig_settle(&rig, 0);
	assert_int_equal(rig_stats(&rig, 0).durable_offset, 1005);
	rig_free(&rig);
}

static void the_kind_of_a_journal_stays(void **state)
{
	struct journal_meta meta;
	struct rig rig;
	struct err err;

	(void)state;
	derived_init(&rig);
	rig_open(&rig);
	assert_int_equal(journal_meta_read(rig.dir, &meta, &err), 0);
	assert_true(meta.derived);
	rig_close(&rig);
	rig.params.derived = false;
	rig.params.tick_ms = 100;
	assert_int_equal(rig_open_rc(&rig, &err), -EINVAL);
	assert_non_null(strstr(err.text, "this is a derived journal"));
	rig_free(&rig);
}

struct feeding {
	struct rig *rig;
	uint64_t count;
};

static void *feed_main(void *arg)
{
	struct feeding *f = arg;

	rig_feed(f->rig, 0, 0, 1, f->count);
	return NULL;
}

/* Full: the producer waits, nothing is lost; nothing is recycled that a consumer needs, and without consumers
 * nothing at all. */
static void full_waits_and_drops_nothing(void **state)
{
	uint64_t end_ns = clock_mono_ns() + LIMIT_NS;
	struct journal_partition_stats s;
	struct feeding feeding;
	struct rig_log log;
	pthread_t thread;
	struct rig rig;
	struct err err;
	int consumer;

	(void)state;
	derived_init(&rig);
	rig.params.segments_max = 4;
	rig_start(&rig);
	feeding = (struct feeding){&rig, 5000};
	assert_int_equal(pthread_create(&thread, NULL, feed_main, &feeding), 0);
	while (!rig_stats(&rig, 0).full && clock_mono_ns() < end_ns)
		nap();
	for (int i = 0; i < 100; i++)
		nap();
	s = rig_stats(&rig, 0);
	assert_true(s.full);
	assert_int_equal(s.oldest_offset, 0);
	assert_int_equal(s.refused_lost + s.drops[DROP_journal_full], 0);
	consumer = journal_consumer_add(rig.journal, 0, "reader", &err);
	while (rig_stats(&rig, 0).durable_offset < 5000 && clock_mono_ns() < end_ns) {
		journal_consumer_set(rig.journal, consumer, rig_stats(&rig, 0).durable_offset);
		nap();
	}
	pthread_join(thread, NULL);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.durable_offset, 5000);
	assert_true(s.oldest_offset > 0 && !s.full);
	assert_int_equal(s.refused_lost + s.drops[DROP_journal_full], 0);
	rig_read(&rig, 0, &log);
	assert_dense(&log, s.oldest_offset);
	rig_log_free(&log);
	rig_free(&rig);
}

/* A stop does not wait for room that may never come. */
static void a_full_log_can_be_stopped(void **state)
{
	uint64_t end_ns = clock_mono_ns() + LIMIT_NS;
	struct rig_log log;
	struct batch *b;
	struct rig rig;

	(void)state;
	derived_init(&rig);
	rig.params.segments_max = 3;
	rig_start(&rig);
	for (uint64_t id = 1; !rig_stats(&rig, 0).full && clock_mono_ns() < end_ns;) {
		if (!batch_free_count(handoff_lane(&rig.handoff, 0, 0))) {
			nap();
			continue;
		}
		b = rig_batch(&rig, 0, 0);
		while (rig_event(&rig, b, id, 1, 1))
			id++;
		rig_seal(&rig, b);
	}
	rig_stop(&rig);
	rig_close(&rig);
	assert_true(rig_scan(rig.dir, 0, &log));
	assert_true(log.count > 100);
	assert_dense(&log, 0);
	rig_log_free(&log);
	rig_free(&rig);
}

/* ---- kills ---- */

static void child_params(struct rig *rig, const char *dir)
{
	derived_init(rig);
	assert_int_equal(rmdir(rig->dir), 0);
	snprintf(rig->dir, sizeof rig->dir, "%s", dir);
	snprintf(rig->params.dir, sizeof rig->params.dir, "%s", dir);
}

static int child(const char *dir)
{
	struct rig rig;

	child_params(&rig, dir);
	rig_start(&rig);
	for (int i = 0; i < 40; i++)
		feed_from_end(&rig, 37);
	rig_close(&rig);
	return 0;
}

/* True if it was killed. */
static bool child_run(const char *dir, const char *point)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("SLUICE_CRASH", point, 1);
		execl("/proc/self/exe", "test_derived", "child", dir, (char *)NULL);
		_exit(3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	else
		assert_int_equal(WTERMSIG(status), SIGKILL);
	return WIFSIGNALED(status);
}

static void density_survives_kills(void **state)
{
	static const char *const points[] = {"journal_block_built:1", "journal_write_submitted:3",
		"journal_write_completed:2", "journal_segment_sealed:1", "journal_mark_written:2",
		"journal_write_completed:17", "journal_block_built:25", "journal_recovery_cut:1",
		"journal_write_submitted:30"};
	uint64_t last = 0;
	int killed = 0;
	struct rig rig;

	(void)state;
	derived_init(&rig);
	for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
		struct rig_log log;

		killed += child_run(rig.dir, points[i]);
		assert_true(rig_scan(rig.dir, 0, &log));
		assert_dense(&log, 0);
		assert_true(log.count >= last);
		last = log.count;
		rig_log_free(&log);
	}
	assert_true(killed >= 7);
	assert_true(last > 1000);
	rig_free(&rig);
}

/* ---- notes ---- */

struct note_seen {
	uint64_t at[8]; /* offsets of notes */
	uint32_t count;
	uint64_t events_before[8];
	uint64_t events;
};

static int note_each(void *arg, const struct journal_scan_block *b)
{
	struct note_seen *seen = arg;
	const struct record *rec = (const struct record *)b->block.data;
	const uint8_t *p = b->block.data;

	assert_true(b->intact);
	if (b->block.record_count == 1 && rec->kind == RECORD_CONTROL && rec->payload_bytes > 10 &&
		memcmp(record_payload(rec), "event=test", 10) == 0) {
		seen->at[seen->count] = b->block.first_offset;
		seen->events_before[seen->count++] = seen->events;
		return 0;
	}
	for (uint32_t i = 0; i < b->block.record_count; i++) {
		rec = (const struct record *)p;
		seen->events += rec->kind == RECORD_EVENT;
		if (rec->kind == RECORD_CONTROL) /* in no block with others */
			assert_null(memmem(record_payload(rec), rec->payload_bytes, "event=test", 10));
		p += rec->bytes;
	}
	return 0;
}

static void a_note_stands_alone_and_in_order(void **state)
{
	struct note_seen seen = {.count = 0};
	struct rig rig;
	struct err err = {""};
	char text[JOURNAL_NOTE_MAX + 8];

	(void)state;
	rig_init(&rig, 2, 1);
	rig.params.block_age_us = 20000; /* everything would fit into one block */
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 10);
	rig_settle(&rig, 0);
	assert_int_equal(journal_note(rig.journal, "event=test n=1", 30000, &err), 0);
	rig_feed(&rig, 0, 0, 11, 10);
	rig_settle(&rig, 0);
	memset(text, 'x', sizeof text);
	memcpy(text, "event=test n=", 13);
	text[JOURNAL_NOTE_MAX] = 0;
	assert_int_equal(journal_note(rig.journal, text, 30000, &err), 0);
	text[JOURNAL_NOTE_MAX] = 'x';
	text[JOURNAL_NOTE_MAX + 1] = 0;
	assert_int_equal(journal_note(rig.journal, text, 30000, &err), -EINVAL);
	/* Not waited for: what is sealed after the call stands behind it all the same. */
	(void)journal_note(rig.journal, "event=test n=3", 0, &err);
	rig_feed(&rig, 0, 0, 21, 10);
	rig_settle(&rig, 0);
	rig_close(&rig);
	assert_int_equal(journal_scan(rig.dir, 0, note_each, &seen, &err), 0);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.events_before[0], 10);
	assert_int_equal(seen.events_before[1], 20);
	assert_int_equal(seen.events_before[2], 20);
	assert_int_equal(seen.events, 30);
	memset(&seen, 0, sizeof seen);
	assert_int_equal(journal_scan(rig.dir, 1, note_each, &seen, &err), 0);
	assert_int_equal(seen.count, 3);
	rig_free(&rig);
}

static void a_note_waits_for_room(void **state)
{
	uint64_t end_ns = clock_mono_ns() + LIMIT_NS, id = 1;
	struct note_seen seen = {.count = 0};
	struct err err = {""};
	struct rig rig;
	int consumer;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 3;
	rig.params.segment_bytes = 131072;
	rig.params.dedup_window_ms = 0;
	rig_open(&rig);
	consumer = journal_consumer_add(rig.journal, 0, "slow", &err);
	rig_start(&rig);
	for (; !rig_stats(&rig, 0).full && clock_mono_ns() < end_ns; id += 100)
		rig_feed(&rig, 0, 0, id, 100);
	/* The open block may have room for it; the second one finds none, or the third. */
	for (int i = 0; i < 3; i++)
		if (journal_note(rig.journal, "event=test n=1", 50, &err) == -ETIMEDOUT)
			break;
	assert_non_null(strstr(err.text, "which is full"));
	assert_int_equal(journal_note(rig.journal, "event=test n=2", 0, &err), -EBUSY);
	journal_consumer_set(rig.journal, consumer, rig_stats(&rig, 0).durable_offset);
	while (journal_note(rig.journal, "event=test n=2", 1000, &err) == -EBUSY && clock_mono_ns() < end_ns)
		nap();
	rig_close(&rig);
	assert_int_equal(journal_scan(rig.dir, 0, note_each, &seen, &err), 0);
	assert_true(seen.count >= 1);
	rig_free(&rig);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_writer_adds_nothing),
		cmocka_unit_test(the_kind_of_a_journal_stays),
		cmocka_unit_test(full_waits_and_drops_nothing),
		cmocka_unit_test(a_full_log_can_be_stopped),
		cmocka_unit_test(density_survives_kills),
		cmocka_unit_test(a_note_stands_alone_and_in_order),
		cmocka_unit_test(a_note_waits_for_room),
	};

	rig_eal("derived");
	if (argc == 3 && strcmp(argv[1], "child") == 0)
		return child(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
