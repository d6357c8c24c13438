/* The journal as a whole: write, read, restart, duplicates, made ids, generations, counters. */
#include "journal_rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

static void what_is_written_is_read(void **state)
{
	struct rig rig;
	struct rig_log log;

	(void)state;
	rig_init(&rig, 2, 2);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 5000);
	rig_feed(&rig, 1, 1, 100001, 3000);
	rig_settle(&rig, 0);
	rig_settle(&rig, 1);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, 5000);
	for (uint64_t i = 0; i < log.count; i++)
		assert_int_equal(log.id[i], i + 1);
	rig_log_free(&log);
	rig_restart(&rig);
	rig_feed(&rig, 0, 1, 200001, 10);
	rig_settle(&rig, 1);
	rig_read(&rig, 1, &log);
	assert_int_equal(log.count, 3010);
	assert_int_equal(log.id[2999], 103000);
	assert_int_equal(log.id[3009], 200010);
	assert_int_equal(log.kinds[RECORD_CONTROL], 4); /* start, generation, end-of-input, start */
	rig_log_free(&log);
	rig_stop(&rig);
	assert_true(rig_scan(rig.dir, 1, &log));
	assert_int_equal(log.count, 3010);
	assert_int_equal(log.kinds[RECORD_CONTROL], 5);
	rig_log_free(&log);
	rig_free(&rig);
}

static void duplicates_are_counted_not_written(void **state)
{
	struct journal_partition_stats s;
	struct rig rig;
	struct rig_log log;

	(void)state;
	rig_init(&rig, 1, 2);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 1000);
	rig_settle(&rig, 0);
	rig_feed(&rig, 1, 0, 501, 1000); /* half known */
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.duplicates, 500);
	assert_int_equal(s.drops[DROP_duplicate], 500);
	assert_int_equal(s.records[RECORD_EVENT], 1500);
	assert_int_equal(s.batch_records, 2000);
	rig_restart(&rig);
	rig_feed(&rig, 0, 0, 1, 1600);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.duplicates, 1500);
	assert_int_equal(s.drops[DROP_duplicate], 2000);
	assert_int_equal(s.records[RECORD_EVENT], 1600);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, 1600);
	for (uint64_t i = 0; i < log.count; i++)
		assert_int_equal(log.id[i], i + 1);
	rig_log_free(&log);
	rig_free(&rig);
}

/* An event of one field and one hit, as a worker writes it. */
/* What is known already fills no journal, however slowly it trickles in. */
static void duplicates_are_few_blocks(void **state)
{
	struct journal_partition_stats before, after;
	uint64_t start_ns;
	struct rig rig;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 100);
	rig_settle(&rig, 0);
	before = rig_stats(&rig, 0);
	start_ns = clock_mono_ns();
	for (uint64_t id = 1; id <= 100; id++) {
		rig_feed(&rig, 0, 0, id, 1);
		rig_settle(&rig, 0);
	}
	after = rig_stats(&rig, 0);
	assert_int_equal(after.duplicates, 100);
	/* One in 100 ms at most. */
	assert_in_range(after.blocks - before.blocks, 0, (clock_mono_ns() - start_ns) / 100000000 + 2);
	rig_free(&rig);
}

static void put_hit(struct batch *b, uint64_t id, uint16_t flags)
{
	static const uint8_t raw[64];
	struct event ev = {.raw = raw, .tail = raw, .raw_bytes = sizeof raw, .type = EVENT_TYPE_click};
	uint16_t hit = 0;

	ev.field_mask = FBIT(event_id);
	ev.field[FIELD_event_id] = (struct span){8, 36};
	rig_id(ev.event_id, id);
	ev.hit = &hit;
	ev.hit_count = 1;
	b->bytes += record_write_event(b->data + b->bytes, &ev, id, 1000, flags);
	b->record_count++;
}

/* The sums over all blocks; each block's must be those of its own records. */
static void counts_read(struct rig *rig, uint64_t records, struct journal_counts *sum)
{
	struct journal_reader *reader;
	struct journal_block block;
	struct err err;

	memset(sum, 0, sizeof *sum);
	assert_int_equal(journal_reader_open(&reader, rig->journal, 0, 0, &err), 0);
	while (records && journal_reader_next(reader, &block, 5000, &err) == 1) {
		uint64_t count = 0;

		assert_non_null(block.counts);
		for (int i = 0; i < 8; i++) {
			count += block.counts->kind[i];
			sum->kind[i] += block.counts->kind[i];
		}
		assert_int_equal(count, block.record_count);
		sum->matched += block.counts->matched;
		sum->suppressed += block.counts->suppressed;
		records -= count;
	}
	assert_int_equal(records, 0);
	journal_reader_close(reader);
}

static bool wants_refused(void *arg, const struct journal_block *block)
{
	assert_null(block->data);
	*(uint32_t *)arg += 1;
	return block->counts->kind[RECORD_REFUSED];
}

/* Whether they come from memory or from disk. */
static void filtered_read(struct rig *rig, uint64_t end)
{
	struct journal_reader *reader;
	struct journal_block block;
	struct err err;
	uint64_t next = 0;
	uint32_t asked = 0, with = 0, without = 0;

	assert_int_equal(journal_reader_open(&reader, rig->journal, 0, 0, &err), 0);
	journal_reader_filter(reader, wants_refused, &asked);
	while (next < end && journal_reader_next(reader, &block, 5000, &err) == 1) {
		assert_int_equal(block.first_offset, next);
		assert_int_equal(block.data != NULL, block.counts->kind[RECORD_REFUSED] > 0);
		next += block.record_count;
		*(block.data ? &with : &without) += 1;
		if (block.data)
			assert_true(record_valid(block.data, block.bytes));
	}
	assert_true(next >= end);
	assert_int_equal(with, 2);
	assert_true(without > 20 && asked >= with + without);
	journal_reader_close(reader);
}

static void blocks_that_are_not_wanted_are_not_read(void **state)
{
	char command[300];
	struct rig rig;
	struct batch *b;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	for (int i = 0; i < 2; i++) {
		rig_feed(&rig, 0, 0, 1 + (uint64_t)i * 10000, 5000);
		rig_settle(&rig, 0);
		b = rig_batch(&rig, 0, 0);
		assert_true(rig_refused(&rig, b, 1000));
		rig_seal(&rig, b);
		rig_settle(&rig, 0);
	}
	filtered_read(&rig, rig_stats(&rig, 0).durable_offset);
	rig_restart(&rig); /* the buffers are empty */
	filtered_read(&rig, rig_stats(&rig, 0).durable_offset);
	/* What is not read is not checked. */
	snprintf(command, sizeof command,
		"printf xyz | dd of=%s/p0/seg-0000000001.log bs=1 seek=9000 conv=notrunc 2>/dev/null",
		rig.dir);
	assert_int_equal(system(command), 0);
	filtered_read(&rig, rig_stats(&rig, 0).durable_offset);
	rig_free(&rig);
}

/* Reads on until a refused event comes, which has to wake it: its time is longer than a test may take. */
static void *refused_wait(void *arg)
{
	struct journal_reader *reader = arg;
	struct journal_block block;
	struct err err;

	while (journal_reader_next(reader, &block, 600000, &err) == 1)
		if (block.counts->kind[RECORD_REFUSED])
			return reader;
	return NULL;
}

static void sleepers_are_woken_for_what_they_want(void **state)
{
	const enum journal_durability how[] = {JOURNAL_COMMIT, JOURNAL_INTERVAL};

	(void)state;
	for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
		struct journal_reader *reader, *late;
		struct journal_block block;
		pthread_t thread;
		struct rig rig;
		struct batch *b;
		struct err err;
		void *found;

		rig_init(&rig, 1, 1);
		rig.params.durability = how[i];
		rig.params.cache_blocks = 4000; /* none of the blocks wakes just because it is time */
		rig_start(&rig);
		assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 0, &err), 0);
		assert_int_equal(journal_reader_open(&late, rig.journal, 0, 0, &err), 0);
		journal_reader_wakes(reader, JOURNAL_WAKE_REFUSED);
		journal_reader_wakes(late, JOURNAL_WAKE_MATCHED);
		assert_int_equal(pthread_create(&thread, NULL, refused_wait, reader), 0);
		for (uint64_t id = 1; id <= 20; id++) {
			rig_feed(&rig, 0, 0, id, 1);
			rig_settle(&rig, 0);
		}
		b = rig_batch(&rig, 0, 0);
		assert_true(rig_refused(&rig, b, 1000));
		rig_seal(&rig, b);
		assert_int_equal(pthread_join(thread, &found), 0);
		assert_ptr_equal(found, reader);
		/* What is there is read, whether it would have woken anybody or not. */
		rig_settle(&rig, 0);
		for (uint64_t next = 0; next < rig_stats(&rig, 0).durable_offset; next += block.record_count)
			assert_int_equal(journal_reader_next(late, &block, 1, &err), 1);
		journal_reader_close(reader);
		journal_reader_close(late);
		rig_free(&rig);
	}
}

static void blocks_say_what_is_in_them(void **state)
{
	struct journal_partition_stats s;
	struct journal_counts sum;
	struct rig rig;
	struct batch *b;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 3000);
	b = rig_batch(&rig, 0, 0);
	assert_true(rig_event(&rig, b, 7, 1000, 1000)); /* a duplicate */
	put_hit(b, 8, RECORD_F_SUPPRESSED);		/* as well */
	put_hit(b, 5001, 0);
	put_hit(b, 5002, RECORD_F_SUPPRESSED);
	assert_true(rig_refused(&rig, b, 1000));
	rig_seal(&rig, b);
	rig_settle(&rig, 0);
	for (int again = 0; again < 2; again++) {
		s = rig_stats(&rig, 0);
		counts_read(&rig, s.durable_offset, &sum);
		assert_int_equal(sum.kind[RECORD_EVENT], 3002);
		assert_int_equal(sum.kind[RECORD_REFUSED], 1);
		assert_true(sum.kind[RECORD_CONTROL] > 0);
		assert_int_equal(sum.matched, 2);
		assert_int_equal(sum.suppressed, 1);
		rig_restart(&rig);
	}
	rig_free(&rig);
}

/* Of all records in order. */
static void assert_times_rise(struct rig *rig, uint32_t events)
{
	int64_t last = INT64_MIN;
	struct journal_reader *reader;
	struct journal_block block;
	struct err err;

	assert_int_equal(journal_reader_open(&reader, rig->journal, 0, 0, &err), 0);
	while (events && journal_reader_next(reader, &block, 5000, &err) == 1) {
		const uint8_t *p = block.data;

		for (uint32_t i = 0; i < block.record_count; i++) {
			const struct record *rec = (const struct record *)p;

			p += rec->bytes;
			assert_true(rec->receive_time_ms >= last);
			last = rec->receive_time_ms;
			events -= rec->kind == RECORD_EVENT;
		}
		assert_true(block.receive_last_ms >= last);
		last = block.receive_last_ms;
	}
	assert_int_equal(events, 0);
	journal_reader_close(reader);
}

/* The wall clock is set back, also between two runs; another worker's batch comes late. */
static void receive_times_do_not_go_back(void **state)
{
	static const int64_t steps_ms[] = {0, 60000, 59990, 3600000, -3600000, 10};
	uint64_t end_ns = clock_mono_ns() + 60000000000ull;
	int64_t now_ms = clock_wall_ms();
	struct rig rig;

	(void)state;
	rig_init(&rig, 1, 2);
	rig.params.tick_ms = 20;
	rig_start(&rig);
	for (uint32_t i = 0; i < sizeof steps_ms / sizeof *steps_ms; i++) {
		struct batch *b = rig_batch(&rig, i % 2, 0);

		b->receive_first_ms = b->receive_last_ms = now_ms + steps_ms[i];
		for (uint32_t k = 0; k < 3; k++)
			assert_true(rig_event(&rig, b, 1 + 10 * i + k, now_ms, now_ms + steps_ms[i] - k));
		rig_seal(&rig, b);
		rig_settle(&rig, 0);
	}
	assert_times_rise(&rig, 18);
	assert_int_equal(rig_stats(&rig, 0).clock_steps, 0); /* this machine's clock was right all the time */
	rig_restart(&rig);
	while (rig_stats(&rig, 0).clock_steps == 0 && clock_mono_ns() < end_ns)
		rig_settle(&rig, 0);
	assert_int_equal(rig_stats(&rig, 0).clock_steps, 1); /* an hour behind the journal */
	rig_feed(&rig, 0, 0, 1000, 5);
	rig_settle(&rig, 0);
	assert_times_rise(&rig, 23);
	rig_free(&rig);
}

static void generation_check(
	void *arg, const struct journal_block *block, uint32_t index, const struct record *rec)
{
	uint32_t *seen = arg;

	assert_int_equal(block->generation, rig_id_number(rec->event_id));
	assert_int_equal(block->record_count, *seen == 0 && index == 2 ? 3 : 2);
	++*seen;
}

static void a_block_has_one_generation(void **state)
{
	struct rig rig;
	uint32_t seen = 0;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.block_age_us = 50000; /* all four would fit into one block */
	rig_start(&rig);
	for (uint32_t g = 1; g <= 4; g++) {
		struct batch *b = rig_batch(&rig, 0, 0);

		b->generation = g;
		assert_true(rig_event(&rig, b, g, 1000, 1000));
		rig_seal(&rig, b);
	}
	rig_settle(&rig, 0);
	rig_each_event(&rig, 0, generation_check, &seen);
	assert_int_equal(seen, 4);
	rig_free(&rig);
}

static void counters_survive(void **state)
{
	struct journal_partition_stats s;
	struct rig rig;
	struct batch *b;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	b = rig_batch(&rig, 0, 0);
	b->drop_delta[DROP_not_udp] = 7;
	b->drop_delta[DROP_rule_drop] = 3;
	rig_seal(&rig, b); /* no records: only counts */
	b = rig_batch(&rig, 0, 0);
	b->drop_delta[DROP_not_udp] = 1;
	assert_true(rig_refused(&rig, b, 5000));
	assert_true(rig_event(&rig, b, 9, 900000, 800000));
	rig_seal(&rig, b);
	rig_settle(&rig, 0);
	rig_restart(&rig);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.drops[DROP_not_udp], 8);
	assert_int_equal(s.drops[DROP_rule_drop], 3);
	assert_int_equal(s.records[RECORD_EVENT], 1);
	assert_int_equal(s.records[RECORD_REFUSED], 1);
	assert_int_equal(s.watermark_ms, 790000); /* min(event, receive) - 10 s */
	rig_free(&rig);
}

static void wrong_owners_are_refused(void **state)
{
	struct rig rig;
	struct journal *other = NULL;
	struct journal_params params;
	struct journal_reader *reader;
	struct err err;

	(void)state;
	rig_init(&rig, 2, 1);
	rig_start(&rig);
	assert_int_equal(journal_open(&other, &rig.params, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another process"));
	rig_feed(&rig, 0, 0, 1, 10);
	rig_settle(&rig, 0);
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 1000, &err), -ERANGE);
	assert_non_null(strstr(err.text, "behind the durable end"));
	rig_close(&rig);
	params = rig.params;
	params.partitions = 3;
	assert_int_equal(journal_open(&other, &params, &err), -EINVAL);
	params = rig.params;
	snprintf(params.node, sizeof params.node, "someone-else");
	assert_int_equal(journal_open(&other, &params, &err), -EINVAL);
	assert_non_null(strstr(err.text, "test-1"));
	rig_free(&rig);
}

/* Appends event `id` as a shadow under a key. */
static void shadow_put(struct rig *rig, struct batch *b, uint64_t id, uint64_t key_hash, uint8_t field)
{
	struct record *rec = (struct record *)(b->data + b->bytes);

	assert_true(rig_event(rig, b, id, 1000, 1000));
	rec->kind = RECORD_SHADOW;
	rec->key_hash = key_hash;
	rec->reason_field = field;
}

/* Events and their shadows are duplicates of their own kind only, each shadow of its key's, also behind a
 * restart. */
static void shadows_are_deduplicated_apart(void **state)
{
	struct journal_partition_stats s;
	struct rig rig;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	for (int run = 0; run < 2; run++) {
		for (int copy = 0; copy < 2; copy++) {
			struct batch *b = rig_batch(&rig, 0, 0);

			assert_true(rig_event(&rig, b, 1, 1000, 1000));
			shadow_put(&rig, b, 1, 77, FIELD_country);
			shadow_put(&rig, b, 1, 77, FIELD_device); /* the same value of another field */
			shadow_put(&rig, b, 1, 78, FIELD_country);
			shadow_put(&rig, b, 2, 77, FIELD_country);
			rig_seal(&rig, b);
		}
		rig_settle(&rig, 0);
		s = rig_stats(&rig, 0);
		assert_int_equal(s.records[RECORD_EVENT], 1);
		assert_int_equal(s.records[RECORD_SHADOW & 7], 4);
		assert_int_equal(s.duplicates, run ? 2 : 1); /* of a run */
		assert_int_equal(s.drops[DROP_duplicate], run ? 3 : 1);
		assert_int_equal(s.drops[DROP_shadow_duplicate], run ? 12 : 4);
		assert_int_equal(s.batch_records, 10);
		assert_int_equal(s.events_batched, 2);
		if (!run)
			rig_restart(&rig);
	}
	/* Without an id nothing can be told. */
	for (int copy = 0; copy < 2; copy++) {
		struct batch *b = rig_batch(&rig, 0, 0);

		shadow_put(&rig, b, 0, 77, FIELD_country);
		rig_seal(&rig, b);
	}
	rig_settle(&rig, 0);
	assert_int_equal(rig_stats(&rig, 0).records[RECORD_SHADOW & 7], 6);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(duplicates_are_counted_not_written),
		cmocka_unit_test(duplicates_are_few_blocks),
		cmocka_unit_test(shadows_are_deduplicated_apart),
		cmocka_unit_test(sleepers_are_woken_for_what_they_want),
		cmocka_unit_test(blocks_say_what_is_in_them),
		cmocka_unit_test(blocks_that_are_not_wanted_are_not_read),
		cmocka_unit_test(receive_times_do_not_go_back),
		cmocka_unit_test(a_block_has_one_generation),
		cmocka_unit_test(counters_survive),
		cmocka_unit_test(wrong_owners_are_refused),
	};

	rig_eal("journal");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
