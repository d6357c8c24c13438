/* What consumers will not get: given up for room or for lag, or damaged. Always by a count that is exact,
 * over restarts, and never what the state stage needs. */
#include "journal_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define WAIT_NS 60000000000ull

static int consumer_of(struct rig *rig, const char *name, bool may_skip, struct journal_limits limits)
{
	struct err err;
	int consumer = journal_consumer_add(rig->journal, 0, name, &err);

	assert_true(consumer >= 0);
	if (may_skip)
		journal_consumer_limit(rig->journal, consumer, &limits);
	return consumer;
}

static struct journal_consumer_stats stats_of(struct rig *rig, int consumer)
{
	struct journal_consumer_stats s;

	journal_consumer_stats(rig->journal, consumer, &s);
	return s;
}

/* Feeds until something was given up for the consumer. Returns the next id. */
static uint64_t feed_until_given_up(struct rig *rig, int consumer, uint64_t id, uint64_t position)
{
	uint64_t end = clock_mono_ns() + WAIT_NS;

	while (journal_skip_wanted(rig->journal, consumer, position) == position) {
		rig_feed(rig, 0, 0, id, 500);
		rig_settle(rig, 0);
		id += 500;
		assert_true(clock_mono_ns() < end);
	}
	return id;
}

/* What was given up is used again a moment later. */
static void wait_oldest_above(struct rig *rig, uint64_t offset)
{
	uint64_t end = clock_mono_ns() + WAIT_NS;

	while (rig_stats(rig, 0).oldest_offset <= offset) {
		usleep(1000);
		assert_true(clock_mono_ns() < end);
	}
}

static void open_small(struct rig *rig, bool drop_old)
{
	rig_init(rig, 1, 1);
	rig->params.segments_max = 4;
	rig->params.dedup_ids_max = 1000000;
	rig->params.drop_old = drop_old;
	rig_open(rig);
}

static uint64_t take(struct rig *rig, int consumer, uint64_t position)
{
	struct err err = {""};
	uint64_t to = 0;

	if (journal_skip_take(rig->journal, consumer, position, 0, JOURNAL_SKIP_FULL, &to, &err) != 0)
		fail_msg("journal_skip_take: %s", err.text);
	return to;
}

/* Events are taken on; the sink that is away loses the oldest, exactly what it had not had, and goes on. */
static void full_gives_up_the_oldest_for_the_sink_that_is_away(void **state)
{
	struct journal_consumer_stats c;
	struct journal_reader *reader;
	struct journal_block block;
	struct rig rig;
	struct err err;
	uint64_t to, id;
	int slow, quick, needed;

	(void)state;
	open_small(&rig, true);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	quick = consumer_of(&rig, "quick", true, (struct journal_limits){0});
	needed = consumer_of(&rig, "state", false, (struct journal_limits){0});
	journal_consumer_set(rig.journal, slow, 700);
	journal_consumer_set(rig.journal, quick, 1u << 30);
	journal_consumer_set(rig.journal, needed, 1u << 30);
	rig_start(&rig);
	id = feed_until_given_up(&rig, slow, 1, 700);
	to = journal_skip_wanted(rig.journal, slow, 700);
	c = stats_of(&rig, slow);
	assert_int_equal(c.given_up, to - 700);
	assert_int_equal(c.skipped, 0);
	assert_true(c.lag_alarm);
	wait_oldest_above(&rig, 700);
	assert_int_equal(journal_consumer_oldest(rig.journal, slow), 700);
	assert_int_equal(journal_skip_wanted(rig.journal, quick, 0), 0);
	/* More is given up: one range. */
	while (journal_skip_wanted(rig.journal, slow, 700) == to) {
		rig_feed(&rig, 0, 0, id, 500);
		rig_settle(&rig, 0);
		id += 500;
	}
	do { /* for a moment it may have been full: this test feeds faster than the keeper looks */
		rig_feed(&rig, 0, 0, id++, 1);
		rig_settle(&rig, 0);
	} while (rig_stats(&rig, 0).full);
	to = journal_skip_wanted(rig.journal, slow, 700);
	assert_true(rig_stats(&rig, 0).oldest_offset <= to);
	/* It stood at 800: a commit whose answer came late. */
	assert_int_equal(take(&rig, slow, 800), to);
	c = stats_of(&rig, slow);
	assert_int_equal(c.skipped, to - 800);
	assert_int_equal(c.given_up, 0);
	assert_int_equal(take(&rig, slow, 800), to); /* as after a crash in between: the same */
	assert_int_equal(stats_of(&rig, slow).skipped, to - 800);
	assert_int_equal(journal_skipped(rig.journal, slow, 800, to), to - 800);
	assert_int_equal(journal_skipped(rig.journal, slow, 0, 900), 100);
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, to, &err), 0);
	assert_int_equal(journal_reader_next(reader, &block, 1000, &err), 1);
	assert_int_equal(block.first_offset, to);
	journal_reader_close(reader);
	journal_skip_passed(rig.journal, slow, to);
	journal_consumer_set(rig.journal, slow, to);
	assert_int_equal(journal_skip_wanted(rig.journal, slow, 0), 0);
	/* Remembered over a restart; a further range is added. */
	rig_stop(&rig);
	rig_close(&rig);
	rig_open(&rig);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	assert_int_equal(stats_of(&rig, slow).skipped, to - 800);
	assert_int_equal(stats_of(&rig, slow).last_from, 800);
	assert_int_equal(stats_of(&rig, slow).last_to, to);
	assert_int_equal(journal_skip_wanted(rig.journal, slow, to), to);
	rig_free(&rig);
}

/* A range before the position that will not be delivered after all: counted once, and no order is touched. */
static void a_range_that_was_put_aside_is_lost(void **state)
{
	struct rig rig;
	struct err err;
	uint64_t to;
	int slow;

	(void)state;
	open_small(&rig, true);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	rig_start(&rig);
	feed_until_given_up(&rig, slow, 1, 0);
	to = journal_skip_wanted(rig.journal, slow, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(journal_skip_lost(rig.journal, slow, 10, 20, JOURNAL_SKIP_DAMAGED, &err), 0);
	assert_int_equal(stats_of(&rig, slow).skipped, 10);
	assert_int_equal(stats_of(&rig, slow).skip_ranges, 1);
	assert_int_equal(stats_of(&rig, slow).last_reason, JOURNAL_SKIP_DAMAGED);
	assert_int_equal(journal_skip_wanted(rig.journal, slow, 0), to);
	rig_restart(&rig);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	assert_int_equal(journal_skip_lost(rig.journal, slow, 10, 20, JOURNAL_SKIP_DAMAGED, &err), 0);
	assert_int_equal(journal_skip_lost(rig.journal, slow, 20, 25, JOURNAL_SKIP_FULL, &err), 0);
	assert_int_equal(stats_of(&rig, slow).skipped, 15);
	assert_int_equal(journal_skip_wanted(rig.journal, slow, 0), to);
	rig_free(&rig);
}

/* The order survives a restart, during which nobody knows where the sink stands; what it takes then is exact.
 */
static void an_order_waits_for_the_sink_over_restarts(void **state)
{
	uint64_t to, first, id;
	struct rig rig;
	int slow;

	(void)state;
	open_small(&rig, true);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	rig_start(&rig);
	id = feed_until_given_up(&rig, slow, 1, 0);
	first = journal_skip_wanted(rig.journal, slow, 0);
	rig_close(&rig);
	rig_open(&rig);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	assert_int_equal(journal_skip_wanted(rig.journal, slow, 0), first);
	assert_int_equal(journal_consumer_oldest(rig.journal, slow), 0);
	rig_start(&rig);
	id = feed_until_given_up(&rig, slow, id, first); /* more, while it is still away */
	to = journal_skip_wanted(rig.journal, slow, 0);
	assert_true(to > first);
	assert_int_equal(take(&rig, slow, 123), to);
	assert_int_equal(stats_of(&rig, slow).skipped, to - 123);
	/* Crash before `to` is committed: it comes back at 123, or, if the commit had arrived, at `to`. */
	rig_close(&rig);
	rig_open(&rig);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	assert_int_equal(journal_consumer_oldest(rig.journal, slow), 123);
	assert_int_equal(journal_skip_wanted(rig.journal, slow, 123), to);
	rig_start(&rig);
	feed_until_given_up(&rig, slow, id, to); /* a new order behind the range that is taken */
	first = journal_skip_wanted(rig.journal, slow, 0);
	assert_int_equal(stats_of(&rig, slow).skipped, to - 123);
	assert_int_equal(stats_of(&rig, slow).given_up, first - to);
	assert_int_equal(take(&rig, slow, to), first);
	assert_int_equal(stats_of(&rig, slow).skipped, first - 123);
	assert_int_equal(stats_of(&rig, slow).skip_ranges, 2);
	rig_free(&rig);
}

/* What it had delivered when the order came to it is not skipped. */
static void an_order_that_comes_late_is_void(void **state)
{
	struct rig rig;
	uint64_t to;
	int slow;

	(void)state;
	open_small(&rig, true);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	rig_start(&rig);
	feed_until_given_up(&rig, slow, 1, 0);
	to = journal_skip_wanted(rig.journal, slow, 0);
	journal_skip_passed(rig.journal, slow, to + 5);
	assert_int_equal(journal_skip_wanted(rig.journal, slow, 0), 0);
	assert_int_equal(stats_of(&rig, slow).skipped, 0);
	assert_int_equal(stats_of(&rig, slow).given_up, 0);
	rig_free(&rig);
}

/* Nothing is given up that the state stage still needs: then new events are dropped, as ever. */
static void never_above_the_floor_of_the_state(void **state)
{
	struct journal_partition_stats s;
	struct rig rig;
	uint64_t id = 1;
	int slow, needed;

	(void)state;
	open_small(&rig, true);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	needed = consumer_of(&rig, "state", false, (struct journal_limits){0});
	journal_consumer_set(rig.journal, needed, 10);
	rig_start(&rig);
	for (; !rig_stats(&rig, 0).full; id += 500)
		rig_feed(&rig, 0, 0, id, 500);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_true(s.drops[DROP_journal_full] > 0);
	assert_int_equal(s.oldest_offset, 0);
	assert_int_equal(journal_skip_wanted(rig.journal, slow, 0), 0);
	/* Its checkpoint moves: then it goes on. */
	journal_consumer_set(rig.journal, needed, s.durable_offset);
	feed_until_given_up(&rig, slow, id, 0);
	wait_oldest_above(&rig, 0);
	rig_free(&rig);
}

static void wait_given_up(struct rig *rig, int consumer, uint64_t position)
{
	uint64_t end = clock_mono_ns() + WAIT_NS;

	while (journal_skip_wanted(rig->journal, consumer, position) == position) {
		usleep(1000);
		assert_true(clock_mono_ns() < end);
	}
}

static void wait_looked(struct rig *rig, int consumer, uint64_t lag_bytes)
{
	uint64_t end = clock_mono_ns() + WAIT_NS;

	while (stats_of(rig, consumer).lag_bytes <= lag_bytes) {
		usleep(1000);
		assert_true(clock_mono_ns() < end);
	}
}

/* Behind its limit a sink with `skip` goes on at the durable end; one with `hold` keeps everything. */
static void a_lag_limit_skips_to_the_end(void **state)
{
	struct rig rig;
	uint64_t end, limit = clock_mono_ns() + WAIT_NS;
	int skips, holds;

	(void)state;
	open_small(&rig, false);
	rig.params.segments_max = 8;
	skips = consumer_of(
		&rig, "skips", true, (struct journal_limits){.lag_bytes = 700000, .lag_skip = true});
	holds = consumer_of(&rig, "holds", true, (struct journal_limits){.lag_bytes = 700000});
	journal_consumer_set(rig.journal, skips, 0);
	journal_consumer_set(rig.journal, holds, 0);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 1000); /* some 250 KB */
	rig_settle(&rig, 0);
	wait_looked(&rig, skips, 150000);
	assert_int_equal(journal_skip_wanted(rig.journal, skips, 0), 0);
	assert_true(stats_of(&rig, skips).lag_bytes < 500000);
	assert_false(stats_of(&rig, skips).lag_alarm);
	rig_feed(&rig, 0, 0, 1001, 4000);
	rig_settle(&rig, 0);
	end = rig_stats(&rig, 0).durable_offset;
	wait_given_up(&rig, skips, 0);
	while (journal_skip_wanted(rig.journal, skips, 0) < end && stats_of(&rig, skips).lag_bytes >= 700000)
		usleep(1000);
	while (!stats_of(&rig, holds).lag_alarm) { /* the keeper looks at one sink after the other */
		usleep(1000);
		assert_true(clock_mono_ns() < limit);
	}
	assert_int_equal(journal_skip_wanted(rig.journal, holds, 0), 0);
	assert_int_equal(stats_of(&rig, holds).given_up, 0);
	assert_true(take(&rig, skips, 10) <= end);
	assert_int_equal(stats_of(&rig, skips).skipped, stats_of(&rig, skips).last_to - 10);
	assert_int_equal(stats_of(&rig, skips).last_reason, JOURNAL_SKIP_LAG);
	assert_int_equal(rig_stats(&rig, 0).oldest_offset, 0); /* nothing goes for it: others hold it */
	rig_free(&rig);
}

/* A journal keeps what was delivered for as long as it has room. After a start nobody knows yet that it was,
 * and it counts for no limit; what comes from then on does. */
static void what_was_there_before_the_start_is_no_lag_while_the_position_is_unknown(void **state)
{
	const struct journal_limits limits = {.lag_bytes = 700000, .lag_skip = true};
	uint64_t before, end;
	struct rig rig;
	int skips;

	(void)state;
	open_small(&rig, false);
	rig.params.segments_max = 8;
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 4000); /* some MB */
	rig_settle(&rig, 0);
	rig_stop(&rig);
	rig_close(&rig);
	rig_open(&rig);
	skips = consumer_of(&rig, "skips", true, limits);
	rig_start(&rig);
	before = rig_stats(&rig, 0).durable_offset;
	assert_true(before >= 4000);
	rig_feed(&rig, 0, 0, 4001, 1000);
	rig_settle(&rig, 0);
	wait_looked(&rig, skips, 150000);
	assert_int_equal(stats_of(&rig, skips).given_up, 0);
	assert_false(stats_of(&rig, skips).lag_alarm);
	assert_true(stats_of(&rig, skips).lag_bytes < 500000);
	rig_feed(&rig, 0, 0, 5001, 4000);
	rig_settle(&rig, 0);
	end = rig_stats(&rig, 0).durable_offset;
	wait_given_up(&rig, skips, before);
	assert_true(journal_skip_wanted(rig.journal, skips, before) <= end);
	rig_free(&rig);
}

struct bounds {
	uint64_t from[8], to[8], at[8];
	int count;
};

static int bounds_each(void *arg, const struct journal_scan_block *b)
{
	struct bounds *out = arg;

	out->from[out->count] = b->block.first_offset;
	out->to[out->count] = b->block.first_offset + b->block.record_count;
	out->at[out->count] = b->file_offset;
	return ++out->count == 8;
}

/* Reads all; where it is damaged on behind it. Returns records read; *lost: offsets passed over. */
static uint64_t read_all(struct rig *rig, uint64_t *lost)
{
	struct journal_reader *reader;
	struct journal_block block;
	uint64_t next = 0, read = 0, to;
	struct err err = {""};
	int rc;

	*lost = 0;
	assert_int_equal(journal_reader_open(&reader, rig->journal, 0, 0, &err), 0);
	while (next < rig_stats(rig, 0).durable_offset) {
		rc = journal_reader_next(reader, &block, 1000, &err);
		if (rc == -EBADMSG) {
			assert_int_equal(journal_reader_resync(reader, &to, &err), 0);
			assert_true(to > next);
			*lost += to - next;
			next = to;
			continue;
		}
		if (rc != 1)
			fail_msg("journal_reader_next: %d %s", rc, err.text);
		assert_int_equal(block.first_offset, next);
		next += block.record_count;
		read += block.record_count;
	}
	journal_reader_close(reader);
	return read;
}

/* Header, payload, two in a row, the first of a segment: the range is exact, the rest is served, it is
 * written down once, whoever finds it how often. */
static void damage_in_a_closed_segment_is_passed_over(void **state)
{
	struct bounds b = {.count = 0};
	struct journal_partition_stats s;
	uint64_t lost, expect, total;
	struct rig rig;
	struct err err;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.dedup_ids_max = 1000;
	rig_open(&rig);
	journal_consumer_set(rig.journal, consumer_of(&rig, "holder", false, (struct journal_limits){0}), 0);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 20000);
	rig_settle(&rig, 0);
	total = rig_stats(&rig, 0).durable_offset;
	assert_true(rig_stats(&rig, 0).segments_used >= 3);
	assert_int_equal(journal_scan(rig.dir, 0, bounds_each, &b, &err), 1);
	rig_scribble(&rig, "seg-0000000001.log", (off_t)b.at[1] + 20, "xx");   /* header */
	rig_scribble(&rig, "seg-0000000001.log", (off_t)b.at[3] + 1100, "yy"); /* payload */
	rig_scribble(&rig, "seg-0000000001.log", (off_t)b.at[5] + 20, "xx");
	rig_scribble(&rig, "seg-0000000001.log", (off_t)b.at[6] + 1200, "zz");
	expect = b.to[1] - b.from[1] + b.to[3] - b.from[3] + b.to[6] - b.from[5];
	assert_int_equal(read_all(&rig, &lost), total - expect);
	assert_int_equal(lost, expect);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.damaged_ranges, 3);
	assert_int_equal(s.damaged_records, expect);
	(void)read_all(&rig, &lost);
	assert_int_equal(lost, expect);
	assert_int_equal(rig_stats(&rig, 0).damaged_ranges, 3);
	rig_restart(&rig);
	assert_int_equal(rig_stats(&rig, 0).damaged_ranges, 3);
	(void)read_all(&rig, &lost);
	assert_int_equal(lost, expect);
	rig_free(&rig);
}

/* Who begins behind damage in the same segment gets what is there. */
static void damage_on_the_way_to_a_place_does_not_matter(void **state)
{
	struct bounds b = {.count = 0};
	struct journal_reader *reader;
	struct journal_block block;
	struct rig rig;
	struct err err;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.dedup_ids_max = 1000;
	rig_open(&rig);
	journal_consumer_set(rig.journal, consumer_of(&rig, "holder", false, (struct journal_limits){0}), 0);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 20000);
	rig_settle(&rig, 0);
	assert_int_equal(journal_scan(rig.dir, 0, bounds_each, &b, &err), 1);
	rig_scribble(&rig, "seg-0000000001.log", (off_t)b.at[1] + 20, "xx");
	rig_scribble(&rig, "seg-0000000001.log", (off_t)b.at[3] + 1100, "yy");
	rig_scribble(&rig, "seg-0000000001.log", (off_t)b.at[5] + 20, "xx");
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, b.from[2] + 1, &err), 0);
	for (int i = 7; i; i--) { /* back and forth */
		int at = i % 2 ? i : 8 - i, damaged = at == 1 || at == 3 || at == 5;

		assert_int_equal(journal_reader_seek(reader, b.from[at] + 1, &err), 0);
		assert_int_equal(journal_reader_next(reader, &block, 1000, &err), damaged ? -EBADMSG : 1);
		if (!damaged)
			assert_int_equal(block.first_offset, b.from[at]);
	}
	journal_reader_close(reader);
	rig_free(&rig);
}

/* A slot that is torn: the one before holds. Both: what was given up is not known, and that is said. */
static void a_torn_record_of_ranges(void **state)
{
	struct rig rig;
	struct err err;
	uint64_t to;
	int slow;

	(void)state;
	open_small(&rig, true);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	rig_start(&rig);
	feed_until_given_up(&rig, slow, 1, 0);
	to = take(&rig, slow, 50);
	rig_close(&rig);
	rig_scribble(&rig, "skipped", 8192 + 100, "torn"); /* the first write is in the second slot */
	rig_open(&rig);
	slow = consumer_of(&rig, "slow", true, (struct journal_limits){0});
	assert_int_equal(journal_skip_wanted(rig.journal, slow, 50), to);
	rig_close(&rig);
	rig_scribble(&rig, "skipped", 100, "torn");
	assert_int_equal(rig_open_rc(&rig, &err), -EINVAL);
	assert_non_null(strstr(err.text, "skipped is damaged"));
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_gives_up_the_oldest_for_the_sink_that_is_away),
		cmocka_unit_test(a_range_that_was_put_aside_is_lost),
		cmocka_unit_test(an_order_waits_for_the_sink_over_restarts),
		cmocka_unit_test(an_order_that_comes_late_is_void),
		cmocka_unit_test(never_above_the_floor_of_the_state),
		cmocka_unit_test(a_lag_limit_skips_to_the_end),
		cmocka_unit_test(what_was_there_before_the_start_is_no_lag_while_the_position_is_unknown),
		cmocka_unit_test(damage_in_a_closed_segment_is_passed_over),
		cmocka_unit_test(damage_on_the_way_to_a_place_does_not_matter),
		cmocka_unit_test(a_torn_record_of_ranges),
	};

	rig_eal("skip");
	log_init(LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
