/* Compressed segments: every reader sees what the raw ones had, also while they are made. */
#include "compress_rig.h"

#include <pthread.h>
#include <stdatomic.h>

#include "journal_segments.h"

/* ---- all readers ---- */

struct image {
	uint8_t *bytes;
	size_t used, capacity;
	uint64_t blocks;
};

static void image_add(struct image *m, const void *data, size_t bytes)
{
	if (m->used + bytes > m->capacity) {
		m->capacity = 2 * (m->used + bytes);
		m->bytes = realloc(m->bytes, m->capacity);
		assert_non_null(m->bytes);
	}
	memcpy(m->bytes + m->used, data, bytes);
	m->used += bytes;
}

static int image_block(void *arg, const struct journal_scan_block *b)
{
	struct image *m = arg;

	assert_true(b->intact);
	image_add(m, &b->segment, sizeof b->segment);
	image_add(m, &b->file_offset, sizeof b->file_offset);
	image_add(m, &b->crc, sizeof b->crc);
	image_add(m, &b->block.first_offset, sizeof b->block.first_offset);
	image_add(m, b->block.data, b->block.bytes);
	m->blocks++;
	return 0;
}

static int image_head(void *arg, const struct journal_segment_head *head)
{
	image_add(arg, head, sizeof *head);
	return 0;
}

static void assert_same(struct image *raw, struct image *compressed, size_t bytes)
{
	assert_true(raw->used && raw->used >= bytes && compressed->used >= bytes);
	assert_memory_equal(raw->bytes, compressed->bytes, bytes);
	free(raw->bytes);
	free(compressed->bytes);
}

static void offline_readers_see_the_same(void **state)
{
	struct image raw = {0}, now = {0};
	char dir[200];
	struct err err;

	(void)state;
	both_make();
	snprintf(dir, sizeof dir, "%s.raw", rig.dir);
	assert_int_equal(journal_scan(dir, 0, image_block, &raw, &err), 0);
	assert_int_equal(journal_scan(rig.dir, 0, image_block, &now, &err), 0);
	assert_same(&raw, &now, raw.used); /* behind it stand records of the new run */
	raw = now = (struct image){0};
	assert_int_equal(journal_segments(dir, 0, image_head, &raw, &err), 0);
	assert_int_equal(journal_segments(rig.dir, 0, image_head, &now, &err), 0);
	assert_same(&raw, &now, raw.used);
	for (uint64_t at = 0; at < EVENTS; at += 1777) {
		struct journal_find wish = {.offset = at, .each = image_block};

		raw = now = (struct image){0};
		wish.arg = &raw;
		assert_int_equal(journal_find(dir, 0, &wish, &err), 1);
		wish.arg = &now;
		assert_int_equal(journal_find(rig.dir, 0, &wish, &err), 1);
		assert_same(&raw, &now, raw.used);
	}
	assert_true(rig_stats(&rig, 0).compressed >= 4);
	both_free();
}

static bool wants_none(void *arg, const struct journal_block *block)
{
	*(uint64_t *)arg += block->record_count;
	return false;
}

/* Blocks by a reader that is moved about, and by one that wants no contents. */
static void readers_see_the_same(void **state)
{
	struct rig raw = {0};
	struct journal_reader *a, *b;
	uint64_t place = 1, passed = 0;
	struct journal_block x, y;
	struct err err;

	(void)state;
	both_make();
	raw.params = rig.params;
	raw.params.compress_after_ms = 0;
	snprintf(raw.params.dir, sizeof raw.params.dir, "%s.raw", rig.dir);
	rig_open(&raw);
	assert_int_equal(journal_reader_open(&a, rig.journal, 0, 0, &err), 0);
	assert_int_equal(journal_reader_open(&b, raw.journal, 0, 0, &err), 0);
	for (int i = 0; i < 600; i++) {
		if (i % 3 == 0) {
			place = place * 6364136223846793005u + 1442695040888963407u;
			assert_int_equal(journal_reader_seek(a, (place >> 33) % EVENTS, &err), 0);
			assert_int_equal(journal_reader_seek(b, (place >> 33) % EVENTS, &err), 0);
		}
		if (journal_reader_next(b, &y, 0, &err) != 1)
			continue;
		assert_int_equal(journal_reader_next(a, &x, 0, &err), 1);
		assert_int_equal(x.first_offset, y.first_offset);
		assert_int_equal(x.record_count, y.record_count);
		assert_int_equal(x.bytes, y.bytes);
		assert_int_equal(x.watermark_ms, y.watermark_ms);
		assert_memory_equal(x.data, y.data, x.bytes);
		assert_memory_equal(x.counts, y.counts, sizeof *x.counts);
	}
	assert_int_equal(journal_reader_seek(a, 0, &err), 0);
	journal_reader_filter(a, wants_none, &passed);
	while (journal_reader_next(a, &x, 0, &err) == 1)
		assert_true(x.first_offset > EVENTS - 2000 || !x.data);
	assert_true(passed >= EVENTS);
	journal_reader_close(a);
	journal_reader_close(b);
	journal_close(raw.journal);
	both_free();
}

/* A start reads ids out of compressed segments when they are not beside them. */
static void a_start_remembers_the_same_ids(void **state)
{
	struct journal_partition_stats s;
	struct rig_log log;

	(void)state;
	both_make();
	rig_close(&rig);
	command("rm %s/p0/seg-*.ids", rig.dir);
	rig_start(&rig);
	for (uint64_t id = 1; id <= EVENTS; id += 1000)
		rig_feed(&rig, 0, 0, id, 100);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.duplicates, s.events_batched);
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, EVENTS);
	for (uint64_t i = 0; i < log.count; i++)
		assert_int_equal(log.id[i], i + 1);
	rig_log_free(&log);
	both_free();
}

/* ---- while they are made ---- */

static _Atomic bool readers_end;

struct scans {
	uint64_t times, wrong; /* no asserts: it is another thread */
	uint64_t durable, next;
};

/* Behind what was durable when the scan began a block may be half written. */
static int scan_dense(void *arg, const struct journal_scan_block *b)
{
	struct scans *s = arg;

	if (!b->intact) {
		s->wrong += s->next < s->durable;
		return 1;
	}
	s->wrong += b->block.first_offset != s->next;
	s->next = b->block.first_offset + b->block.record_count;
	return 0;
}

static void *scan_again(void *arg)
{
	struct scans *s = arg;

	while (!atomic_load(&readers_end)) {
		struct err err;

		s->next = 0;
		s->durable = journal_durable_offset(rig.journal, 0);
		s->wrong += journal_scan(rig.dir, 0, scan_dense, s, &err) < 0;
		s->wrong += s->next < s->durable;
		s->times++;
	}
	return NULL;
}

/* Segments go on being written, compressed and their raw files used again under readers that stand anywhere
 * in them: none of these meets damage or a wrong record. */
static void readers_are_not_disturbed(void **state)
{
	struct journal_reader *reader[4];
	struct scans scans = {0};
	uint64_t at[4] = {0}, id = 1;
	struct journal_partition_stats s;
	struct journal_block block;
	pthread_t thread;
	struct err err = {""};
	int c;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 12;
	rig.params.compress_after_ms = 1;
	rig_open(&rig);
	c = journal_consumer_add(rig.journal, 0, "sink", &err);
	rig_start(&rig);
	for (int i = 0; i < 4; i++)
		assert_int_equal(journal_reader_open(&reader[i], rig.journal, 0, 0, &err), 0);
	atomic_store(&readers_end, false);
	assert_int_equal(pthread_create(&thread, NULL, scan_again, &scans), 0);
	for (int round = 0; round < 120; round++, id += 800) {
		rig_feed(&rig, 0, 0, id, 800);
		rig_settle(&rig, 0);
		journal_consumer_set(rig.journal, c, journal_durable_offset(rig.journal, 0));
		if (round % 20 == 19) /* else there would be no room, and the oldest would go */
			wait_for(all_compressed);
		for (int i = 0; i < 4; i++) /* the first is slow, the last keeps up */
			for (int n = 0; n < 1 + i * 8; n++) {
				int rc = journal_reader_next(reader[i], &block, 0, &err);

				if (rc < 0)
					fail_msg("%s", err.text);
				if (rc == 0)
					break;
				assert_int_equal(block.first_offset, at[i]);
				at[i] += block.record_count;
			}
	}
	wait_for(all_compressed);
	atomic_store(&readers_end, true);
	pthread_join(thread, NULL);
	s = rig_stats(&rig, 0);
	assert_true(s.compressed >= 10 && scans.times);
	assert_int_equal(scans.wrong, 0);
	assert_int_equal(s.compress_failed + s.compress_damaged + s.damaged_ranges, 0);
	assert_int_equal(s.oldest_offset, 0);
	for (int i = 0; i < 4; i++)
		journal_reader_close(reader[i]);
	rig_free(&rig);
}

/* An argument: only the tests of that name, which may have '*'. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offline_readers_see_the_same),
		cmocka_unit_test(readers_see_the_same),
		cmocka_unit_test(a_start_remembers_the_same_ids),
		cmocka_unit_test(readers_are_not_disturbed),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	rig_eal("compress");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
