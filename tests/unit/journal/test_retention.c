/* What is kept and what is not: consumers, a full journal, readers from memory and from disk, a failing disk.
 */
#include "journal_rig.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "journal_priv.h"
#include "log.h"

static void assert_conserved(struct rig *rig)
{
	struct journal_partition_stats s = rig_stats(rig, 0);

	assert_int_equal(s.events_batched, s.records[RECORD_EVENT] + s.duplicates +
						   s.drops[DROP_journal_full] + s.drops[DROP_journal_failed]);
	assert_int_equal(s.batch_records - s.events_batched, s.records[RECORD_REFUSED] + s.refused_lost);
}

/* Feeds fresh ids until the journal says that it is full. */
static uint64_t feed_until_full(struct rig *rig, uint64_t id)
{
	while (!rig_stats(rig, 0).full) {
		rig_feed(rig, 0, 0, id, 1000);
		id += 1000;
		assert_true(id < 1000000);
	}
	return id;
}

static void assert_full_of(struct rig *rig, const char *text)
{
	char why[256];

	retention_full_text(&rig->journal->part[0], why, sizeof why);
	assert_string_equal(why, text);
}

static void full_drops_by_name_and_resumes(void **state)
{
	struct rig rig;
	struct journal_partition_stats s;
	struct batch *b;
	struct err err;
	uint64_t next, end = clock_mono_ns() + 60000000000ull;
	int consumer;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 3;
	rig.params.dedup_ids_max = 1000000;
	rig_open(&rig);
	consumer = journal_consumer_add(rig.journal, 0, "slow", &err);
	assert_true(consumer >= 0);
	rig_start(&rig);
	next = feed_until_full(&rig, 1);
	b = rig_batch(&rig, 0, 0);
	assert_true(rig_event(&rig, b, 5000000, 1, 1));
	assert_true(rig_refused(&rig, b, 1));
	rig_seal(&rig, b);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_true(s.drops[DROP_journal_full] >= 1);
	assert_int_equal(s.refused_lost, 1);
	assert_int_equal(s.oldest_offset, 0);
	assert_true(s.segments_used == 3 && s.full);
	assert_full_of(&rig, "there is no free segment, and slow holds all 3, from offset 0 on");
	assert_conserved(&rig);
	/* The consumer moves: it goes on by itself, and the refused id is none that was remembered. */
	journal_consumer_set(rig.journal, consumer, s.durable_offset);
	do {
		rig_feed(&rig, 0, 0, 5000000, 1);
		rig_settle(&rig, 0);
		assert_true(clock_mono_ns() < end);
	} while (rig_stats(&rig, 0).full);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.duplicates, 0);
	assert_true(s.oldest_offset > 0);
	rig_feed(&rig, 0, 0, 5000000, 1);
	rig_feed(&rig, 0, 0, next, 10);
	rig_settle(&rig, 0);
	assert_int_equal(rig_stats(&rig, 0).duplicates, 1);
	assert_conserved(&rig);
	rig_restart(&rig);
	rig_free(&rig);
}

/* Without anybody who reads, what is full is the disk; with somebody, both are named. */
static void full_is_said_by_its_cause(void **state)
{
	static const char *const name[] = {"quick", "slow", "done"};
	static const uint64_t at[] = {700, 500, 1u << 30};
	static const char alone[] =
		"the disk has no room for a further segment, and of 1 none can be used again";
	struct rig rig;
	struct err err;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 10);
	rig_settle(&rig, 0);
	journal_stop(rig.journal); /* whose keeper would see that there is room */
	rig.journal->part[0].stats.disk_full = 1;
	assert_full_of(&rig, alone);
	assert_true(journal_consumer_add(rig.journal, 0, "slow", &err) >= 0); /* it is not for it */
	assert_full_of(&rig, alone);
	rig_free(&rig);
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 5;
	rig_open(&rig);
	for (int i = 0; i < 3; i++)
		journal_consumer_set(rig.journal, journal_consumer_add(rig.journal, 0, name[i], &err), at[i]);
	rig_start(&rig);
	feed_until_full(&rig, 1);
	journal_stop(rig.journal);
	rig.journal->part[0].stats.disk_full = 1;
	assert_full_of(
		&rig, "the disk has no room for a further segment, and slow holds all 5, from offset 500 on");
	rig_free(&rig);
}

/* Five segments that the only consumer has passed, with room for eight; ids need not be remembered. Returns
 * the oldest offset that is kept then. */
static uint64_t kept_with(uint64_t retain_ms, uint64_t retain_bytes)
{
	uint64_t oldest, id = 1;
	struct rig rig;
	struct err err;

	rig_init(&rig, 1, 1);
	rig.params.dedup_window_ms = 1;
	rig.params.retain_ms = retain_ms;
	rig.params.retain_bytes = retain_bytes;
	rig_open(&rig);
	journal_consumer_set(rig.journal, journal_consumer_add(rig.journal, 0, "quick", &err), 1u << 30);
	rig_start(&rig);
	while (rig_stats(&rig, 0).durable_bytes < 5u << 20) {
		rig_feed(&rig, 0, 0, id, 500);
		rig_settle(&rig, 0);
		id += 500;
	}
	oldest = rig_stats(&rig, 0).oldest_offset;
	rig_free(&rig);
	return oldest;
}

/* What everybody has had is used again as soon as its ids need not be remembered, or kept for as long, or for
 * as many bytes, as is asked for. */
static void what_was_delivered_is_kept_for_replay(void **state)
{
	(void)state;
	assert_true(kept_with(0, 0) > 0);
	assert_int_equal(kept_with(3600000, 0), 0);
	assert_true(kept_with(3600000, 3u << 20) > 0);
	assert_int_equal(kept_with(3600000, 7u << 20), 0);
}

static void feed_generation(struct rig *rig, uint64_t id, uint32_t generation)
{
	struct batch *b = rig_batch(rig, 0, 0);

	assert_true(rig_event(rig, b, id, 1, 1));
	b->generation = generation;
	rig_seal(rig, b);
	rig_settle(rig, 0);
}

/* The lowest generation that any kept block names, not the first or the last; gone with its segment. */
static void generations_are_known_at_the_start(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 4;
	rig_open(&rig);
	assert_int_equal(journal_generation_floor(rig.journal), 0);
	rig_start(&rig);
	feed_generation(&rig, 1, 7);
	feed_generation(&rig, 2, 6); /* a worker that was slower to change */
	feed_generation(&rig, 3, 7);
	rig_stop(&rig);
	rig_close(&rig);
	rig_open(&rig);
	assert_int_equal(journal_generation_floor(rig.journal), 6);
	assert_int_equal(rig_stats(&rig, 0).generation, 7);
	rig_start(&rig);
	for (uint64_t id = 4; rig_stats(&rig, 0).oldest_offset == 0; id++)
		feed_generation(&rig, id, 8);
	rig_stop(&rig);
	rig_close(&rig);
	rig_open(&rig);
	assert_int_equal(journal_generation_floor(rig.journal), 8);
	rig_free(&rig);
}

/* No new file can be made (full disk) long before segments_max: segments that all consumers have left are
 * used again, although their ids are still remembered. */
static void without_new_files_old_segments_go(void **state)
{
	uint64_t end = clock_mono_ns() + 100000000000ull, id = 1;
	struct journal_partition_stats s;
	char blocker[300];
	struct rig rig;
	struct err err;
	int consumer;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.dedup_ids_max = 1000000;
	rig_open(&rig);
	consumer = journal_consumer_add(rig.journal, 0, "slow", &err);
	rig_start(&rig);
	for (; rig_stats(&rig, 0).segments_used < 4; id += 1000)
		rig_feed(&rig, 0, 0, id, 1000);
	snprintf(blocker, sizeof blocker, "%s/p0/next.tmp", rig.params.dir);
	while (mkdir(blocker, 0700) != 0) /* a file is being made */
		assert_true(errno == EEXIST && clock_mono_ns() < end);
	id = feed_until_full(&rig, id);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_true(s.full && s.oldest_offset == 0 && s.segments_used < s.segments_max);
	journal_consumer_set(rig.journal, consumer, s.durable_offset);
	for (; rig_stats(&rig, 0).full; id++) {
		rig_feed(&rig, 0, 0, id, 1);
		rig_settle(&rig, 0);
		assert_true(clock_mono_ns() < end);
	}
	assert_true(rig_stats(&rig, 0).oldest_offset > 0);
	assert_conserved(&rig);
	assert_int_equal(rmdir(blocker), 0);
	rig_free(&rig);
}

static void without_consumers_the_oldest_go(void **state)
{
	struct rig rig;
	struct rig_log log;
	struct journal_reader *reader;
	struct err err;
	int consumer;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 4;
	rig_start(&rig);
	for (uint64_t id = 1; id < 60000; id += 1000)
		rig_feed(&rig, 0, 0, id, 1000);
	rig_settle(&rig, 0);
	assert_true(rig_stats(&rig, 0).oldest_offset > 0);
	/* A new file may not have been ready in time, but nothing was refused as full. */
	assert_int_equal(rig_stats(&rig, 0).drops[DROP_journal_full], 0);
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 0, &err), -ERANGE);
	assert_non_null(strstr(err.text, "not kept"));
	/* What is there is read: it must not go meanwhile. */
	rig_close(&rig);
	rig_open(&rig);
	consumer = journal_consumer_add(rig.journal, 0, "reader", &err);
	assert_true(consumer >= 0);
	journal_consumer_set(rig.journal, consumer, rig_stats(&rig, 0).oldest_offset);
	rig_start(&rig);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.id[log.count - 1], 60000);
	rig_log_free(&log);
	rig_free(&rig);
}

struct follower {
	struct rig *rig;
	uint8_t *bytes;
	size_t used, capacity;
	uint64_t end;
};

static void follow(struct follower *f, struct journal_reader *reader, uint64_t until)
{
	struct journal_block block;
	struct err err = {""};
	int rc = 1;

	while (f->end < until && (rc = journal_reader_next(reader, &block, 10000, &err)) == 1) {
		if (f->used + block.bytes > f->capacity) {
			f->capacity = 2 * (f->used + block.bytes);
			f->bytes = realloc(f->bytes, f->capacity);
			assert_non_null(f->bytes);
		}
		memcpy(f->bytes + f->used, block.data, block.bytes);
		f->used += block.bytes;
		f->end = block.first_offset + block.record_count;
	}
	if (rc != 1)
		fail_msg("reader: %d %s", rc, err.text);
}

/* One reader keeps up, one comes later and reads from disk: the same bytes. A third holds a block all the
 * time: the writer goes on, and the block stays as it was. */
static void memory_and_disk_give_the_same(void **state)
{
	struct rig rig;
	struct follower live = {.rig = &rig}, late = {.rig = &rig};
	struct journal_reader *live_reader, *late_reader, *holder;
	struct journal_block held;
	uint8_t *held_copy;
	struct err err;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	assert_int_equal(journal_reader_open(&live_reader, rig.journal, 0, 0, &err), 0);
	assert_int_equal(journal_reader_open(&holder, rig.journal, 0, 0, &err), 0);
	assert_int_equal(journal_reader_next(holder, &held, 10000, &err), 1);
	held_copy = malloc(held.bytes);
	assert_non_null(held_copy);
	memcpy(held_copy, held.data, held.bytes);
	for (uint64_t id = 1; id < 20000; id += 500) {
		rig_feed(&rig, 0, 0, id, 500);
		rig_settle(&rig, 0);
		follow(&live, live_reader, journal_durable_offset(rig.journal, 0));
	}
	assert_memory_equal(held.data, held_copy, held.bytes);
	assert_int_equal(journal_reader_open(&late_reader, rig.journal, 0, 0, &err), 0);
	follow(&late, late_reader, journal_durable_offset(rig.journal, 0));
	assert_int_equal(live.used, late.used);
	assert_memory_equal(live.bytes, late.bytes, live.used);
	/* Seeking into the middle of a block gives the block that holds the record. */
	assert_int_equal(journal_reader_seek(late_reader, 7777, &err), 0);
	assert_int_equal(journal_reader_next(late_reader, &held, 0, &err), 1);
	assert_true(held.first_offset <= 7777 && held.first_offset + held.record_count > 7777);
	assert_int_equal(journal_reader_seek(late_reader, 1u << 30, &err), -ERANGE);
	journal_reader_close(live_reader);
	journal_reader_close(late_reader);
	journal_reader_close(holder);
	free(live.bytes);
	free(late.bytes);
	free(held_copy);
	rig_free(&rig);
}

/* A damaged block is an error that names the place, not data. */
static void a_reader_refuses_damage(void **state)
{
	struct rig rig;
	struct journal_reader *reader;
	struct journal_block block;
	struct err err;
	char command[300];
	int rc;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 5000); /* more than the buffers hold */
	rig_settle(&rig, 0);
	snprintf(command, sizeof command,
		"printf xyz | dd of=%s/p0/seg-0000000001.log bs=1 seek=9000 conv=notrunc 2>/dev/null",
		rig.dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 0, &err), 0);
	while ((rc = journal_reader_next(reader, &block, 1000, &err)) == 1)
		;
	assert_int_equal(rc, -EBADMSG);
	assert_non_null(strstr(err.text, "seg-0000000001.log: damage at byte"));
	journal_reader_close(reader);
	rig_free(&rig);
}

/* Writes behind a limit fail with EFBIG: the partition stops, says so, and blocks nobody. */
static void a_failed_write_stops_the_partition(void **state)
{
	struct rlimit was, limit;
	struct journal_partition_stats s;
	struct rig rig;
	struct rig_log log;
	uint64_t durable;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 100);
	rig_settle(&rig, 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	limit = was;
	limit.rlim_cur = 200000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (uint64_t id = 101; id < 10000; id += 100)
		rig_feed(&rig, 0, 0, id, 100); /* would hang if batches did not come back */
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.failed, 1);
	assert_true(s.drops[DROP_journal_failed] > 1000);
	assert_true(s.durable_offset > 100);
	durable = s.durable_offset;
	assert_conserved(&rig);
	rig_stop(&rig);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	rig_restart(&rig);
	assert_true(journal_durable_offset(rig.journal, 0) >= durable);
	rig_feed(&rig, 0, 0, 1, 10000);
	rig_settle(&rig, 0);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, 10000);
	rig_log_free(&log);
	rig_free(&rig);
}

/* An idle partition's watermark follows the others'; alone, it goes on with the time. */
static void ticks_move_an_idle_partition(void **state)
{
	struct rig rig;
	struct journal_partition_stats s;
	uint64_t end = clock_mono_ns() + 60000000000ull;
	int64_t now = clock_wall_ms(), first;
	struct batch *b;

	(void)state;
	rig_init(&rig, 2, 1);
	rig.params.tick_ms = 20;
	rig_start(&rig);
	do {
		b = rig_batch(&rig, 0, 0);
		assert_true(rig_event(&rig, b, (uint64_t)clock_mono_ns(), now, now));
		rig_seal(&rig, b);
		rig_settle(&rig, 0);
		s = rig_stats(&rig, 1);
		assert_true(clock_mono_ns() < end);
	} while (s.watermark_ms == INT64_MIN);
	/* By now one more tick may have moved it on with the time. */
	assert_in_range(s.watermark_ms, now - 10000, clock_wall_ms() - 10000);
	assert_true(s.records[RECORD_TICK] >= 1);
	first = s.watermark_ms;
	do {
		s = rig_stats(&rig, 1);
		assert_true(clock_mono_ns() < end);
	} while (s.watermark_ms == first);
	assert_true(s.watermark_ms > first);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_drops_by_name_and_resumes),
		cmocka_unit_test(full_is_said_by_its_cause),
		cmocka_unit_test(what_was_delivered_is_kept_for_replay),
		cmocka_unit_test(generations_are_known_at_the_start),
		cmocka_unit_test(without_new_files_old_segments_go),
		cmocka_unit_test(without_consumers_the_oldest_go),
		cmocka_unit_test(memory_and_disk_give_the_same),
		cmocka_unit_test(a_reader_refuses_damage),
		cmocka_unit_test(a_failed_write_stops_the_partition),
		cmocka_unit_test(ticks_move_an_idle_partition),
	};

	rig_eal("retention");
	log_init(LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
