/* A journal that goes on from another one in another number of partitions: ids are still remembered, by the
 * partition where their events go now, also over a second change; watermarks, receive times and generations
 * do not go back; ticks by command. */
#include "journal_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "crc32c.h"

#define IDS 3000

static uint64_t key_of(uint64_t id)
{
	return id * 0x9e3779b97f4a7c15ull;
}

static uint32_t partition_of(uint64_t id, uint32_t partitions)
{
	return (uint32_t)(((__uint128_t)key_of(id) * partitions) >> 64);
}

static struct batch *batch_at(struct rig *rig, uint32_t p, int64_t receive_ms)
{
	struct batch *b = rig_batch(rig, 0, p);

	b->receive_first_ms = b->receive_last_ms = receive_ms;
	return b;
}

/* Events with these ids, each where its key goes; keys are put in behind the rig's own. They come ahead_ms
 * later than now. */
static void feed_ahead(struct rig *rig, uint64_t first, uint64_t count, int64_t ahead_ms)
{
	struct batch *open[16] = {NULL};
	int64_t now = clock_wall_ms() + ahead_ms;

	for (uint64_t id = first; id < first + count; id++) {
		uint32_t p = partition_of(id, rig->params.partitions), at;
		struct batch *b = open[p] ? open[p] : batch_at(rig, p, now);

		at = b->bytes;
		if (!rig_event(rig, b, id, now, now)) {
			rig_seal(rig, b);
			b = batch_at(rig, p, now);
			at = b->bytes;
			assert_true(rig_event(rig, b, id, now, now));
		}
		((struct record *)(b->data + at))->key_hash = key_of(id);
		open[p] = b;
	}
	for (uint32_t p = 0; p < rig->params.partitions; p++) {
		if (open[p])
			rig_seal(rig, open[p]);
		rig_settle(rig, p);
	}
}

static void feed(struct rig *rig, uint64_t first, uint64_t count)
{
	feed_ahead(rig, first, count, 0);
}

static uint64_t duplicates(struct rig *rig)
{
	uint64_t sum = 0;

	for (uint32_t p = 0; p < rig->params.partitions; p++)
		sum += rig_stats(rig, p).duplicates;
	return sum;
}

/* `to` goes on from `from`, which is closed. */
static void carry(struct rig *to, struct rig *from, uint32_t partitions, uint64_t want)
{
	struct journal_meta meta;
	struct err err = {""};
	uint64_t count;

	assert_int_equal(journal_meta_read(from->dir, &meta, &err), 0);
	rig_init(to, partitions, 1);
	to->params.before = meta.epoch;
	rig_open(to);
	assert_int_equal(journal_before(to->journal), meta.epoch);
	if (journal_carry_ids(to->journal, from->dir, to->params.dedup_window_ms, &count, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(count, want);
	rig_close(to);
	assert_int_equal(journal_meta_read(to->dir, &meta, &err), 0);
	assert_int_equal(meta.before, to->params.before);
}

static void ids_are_remembered(void **state)
{
	struct rig first, second, third;

	(void)state;
	rig_init(&first, 4, 1);
	rig_start(&first);
	feed(&first, 1, IDS);
	feed(&first, 1, 10);
	assert_int_equal(duplicates(&first), 10);
	rig_close(&first);

	carry(&second, &first, 3, IDS);
	rig_start(&second);
	feed(&second, 1, IDS + 5);
	assert_int_equal(duplicates(&second), IDS);
	rig_restart(&second);
	feed(&second, 1, IDS + 5);
	assert_int_equal(duplicates(&second), IDS + 5);
	rig_close(&second);

	/* Ids of the first journal are in no record of the second one. */
	carry(&third, &second, 6, IDS + 5);
	rig_start(&third);
	feed(&third, 1, IDS + 7);
	assert_int_equal(duplicates(&third), IDS + 5);
	rig_free(&third);
	rig_free(&second);
	rig_free(&first);
}

static void old_ids_are_not_carried(void **state)
{
	struct journal_meta meta;
	struct rig first, second;
	struct err err = {""};
	uint64_t count;

	(void)state;
	rig_init(&first, 2, 1);
	first.params.segment_bytes = 131072;
	first.params.segments_max = 64;
	rig_start(&first);
	feed(&first, 1, IDS);
	feed_ahead(&first, IDS + 1, 100, 3600000);
	rig_close(&first);
	assert_int_equal(journal_meta_read(first.dir, &meta, &err), 0);
	rig_init(&second, 5, 1);
	rig_open(&second);
	assert_int_equal(journal_carry_ids(second.journal, first.dir, 1800000, &count, &err), 0);
	assert_int_equal(count, 100);
	assert_int_equal(journal_carry_ids(second.journal, first.dir, 7200000, &count, &err), 0);
	assert_int_equal(count, IDS + 100);
	rig_free(&second);
	rig_free(&first);
}

/* One partition with 50 ids, and a journal that goes on from it; path: of the file that has them. */
static void carried_one(struct rig *to, struct rig *from, char path[200])
{
	rig_init(from, 1, 1);
	rig_start(from);
	feed(from, 1, 50);
	rig_close(from);
	carry(to, from, 1, 50);
	snprintf(path, 200, "%.120s/p0/ids", to->dir);
}

static void damaged_ids_are_refused(void **state)
{
	struct rig first, second;
	struct err err = {""};
	char path[200];
	int fd;

	(void)state;
	carried_one(&second, &first, path);
	fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, "x", 1, 200), 1);
	close(fd);
	assert_int_equal(rig_open_rc(&second, &err), -EINVAL);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(rig_open_rc(&second, &err), -EINVAL);
	assert_int_equal(unlink(path), 0);
	rig_start(&second);
	feed(&second, 1, 50);
	assert_int_equal(duplicates(&second), 0);
	rig_free(&second);
	rig_free(&first);
}

/* Of the version before, whose shadows had other ids; of none that is not known. */
static void ids_of_an_earlier_version_are_remembered(void **state)
{
	struct rig first, second;
	struct err err = {""};
	uint8_t head[64];
	char path[200];
	int fd;

	(void)state;
	carried_one(&second, &first, path);
	for (int i = 0; i < 2; i++) {
		const uint32_t version = i ? 1 : 3;

		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, head, sizeof head, 0), sizeof head);
		assert_int_equal(head[8], i ? 3 : 2);
		memcpy(head + 8, &version, 4);
		memset(head + 12, 0, 4);
		memcpy(head + 12, &(uint32_t){crc32c(0, head, sizeof head)}, 4);
		assert_int_equal(pwrite(fd, head, sizeof head, 0), sizeof head);
		close(fd);
		assert_int_equal(rig_open_rc(&second, &err), i ? 0 : -EINVAL);
	}
	rig_start(&second);
	feed(&second, 1, 60);
	assert_int_equal(duplicates(&second), 50);
	rig_free(&second);
	rig_free(&first);
}

/* Neither at once, nor after a restart, by what blocks say. */
static void nothing_goes_back(void **state)
{
	int64_t now = clock_wall_ms(), watermark = now + 12345, received = now + 60000;
	struct journal_partition_stats s;
	struct err err = {""};
	struct rig rig;

	(void)state;
	rig_init(&rig, 3, 1);
	rig_open(&rig);
	journal_carry(rig.journal, watermark, received, 7);
	rig_start(&rig);
	assert_int_equal(journal_note(rig.journal, "event=test", 5000, &err), 0);
	rig_restart(&rig);
	for (uint32_t p = 0; p < 3; p++) {
		s = rig_stats(&rig, p);
		assert_int_equal(s.watermark_ms, watermark);
		assert_true(s.receive_last_ms >= received);
		assert_int_equal(s.generation, 7);
	}
	rig_close(&rig);
	rig_open(&rig);
	journal_carry(rig.journal, 1, 1, 1); /* not of a journal that has records */
	rig_start(&rig);
	feed(&rig, 1, 20);
	for (uint32_t p = 0; p < 3; p++)
		assert_true(rig_stats(&rig, p).receive_last_ms >= received);
	rig_free(&rig);
}

static void ticks_by_command(void **state)
{
	int64_t mark = clock_wall_ms() + 1000;
	struct err err = {""};
	struct rig_log log;
	struct rig rig;

	(void)state;
	rig_init(&rig, 2, 1);
	rig_start(&rig);
	assert_int_equal(journal_tick(rig.journal, mark, 5000, &err), 0);
	assert_int_equal(journal_tick(rig.journal, mark - 5, 5000, &err), 0);
	rig_restart(&rig);
	for (uint32_t p = 0; p < 2; p++) {
		assert_int_equal(rig_stats(&rig, p).watermark_ms, mark);
		rig_read(&rig, p, &log);
		assert_int_equal(log.kinds[RECORD_TICK], 2);
		rig_log_free(&log);
	}
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_remembered),
		cmocka_unit_test(old_ids_are_not_carried),
		cmocka_unit_test(damaged_ids_are_refused),
		cmocka_unit_test(ids_of_an_earlier_version_are_remembered),
		cmocka_unit_test(nothing_goes_back),
		cmocka_unit_test(ticks_by_command),
	};

	rig_eal("carry");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
