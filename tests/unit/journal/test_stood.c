/* Where sinks stood, in a file: so that a journal full of what was delivered goes on before they are back. */
#include "journal_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "crc32c.h"
#include "log.h"

#define WAIT_NS 60000000000ull

static int consumer_within(struct rig *rig, const char *name, struct journal_limits limits)
{
	struct err err;
	int consumer = journal_consumer_add(rig->journal, 0, name, &err);

	assert_true(consumer >= 0);
	journal_consumer_limit(rig->journal, consumer, &limits);
	return consumer;
}

static int consumer_of(struct rig *rig, const char *name)
{
	return consumer_within(rig, name, (struct journal_limits){0});
}

static struct journal_consumer_stats stats_of(struct rig *rig, int consumer)
{
	struct journal_consumer_stats s;

	journal_consumer_stats(rig->journal, consumer, &s);
	return s;
}

static uint64_t stood(struct rig *rig, int consumer)
{
	return stats_of(rig, consumer).stood;
}

#define FILE_BYTES 3104 /* docs/journal-format.md */
#define CRC_AT 12
#define EPOCH_AT 16
#define PARTITION_AT 24
#define POSITION_AT 72 /* of the first entry */

static void file_path(const struct rig *rig, char path[300])
{
	snprintf(path, 300, "%s/p0/consumers", rig->dir);
}

static void file_get(const struct rig *rig, uint8_t file[FILE_BYTES])
{
	char path[300];
	int fd;

	file_path(rig, path);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, file, FILE_BYTES), FILE_BYTES);
	close(fd);
}

static void file_put(const struct rig *rig, const uint8_t file[FILE_BYTES])
{
	char path[300];
	int fd;

	file_path(rig, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, file, FILE_BYTES), FILE_BYTES);
	close(fd);
}

/* Another number in the file, whose sum is right. */
static void file_change(const struct rig *rig, size_t at, uint64_t v, size_t bytes)
{
	uint8_t file[FILE_BYTES];
	uint32_t crc = 0;

	file_get(rig, file);
	memcpy(file + at, &v, bytes);
	memcpy(file + CRC_AT, &crc, sizeof crc);
	crc = crc32c(0, file, sizeof file);
	memcpy(file + CRC_AT, &crc, sizeof crc);
	file_put(rig, file);
}

static uint64_t feed(struct rig *rig, uint64_t id)
{
	rig_feed(rig, 0, 0, id, 500);
	rig_settle(rig, 0);
	return id + 500;
}

/* As many segments as there may be, all of it delivered to a consumer that is not back yet. Returns the next
 * id; the consumer stood at *position. */
static uint64_t reopen_full(struct rig *rig, const char *name, uint64_t *position)
{
	uint64_t id = 1;
	int consumer;

	rig_init(rig, 1, 1);
	rig->params.segments_max = 4;
	rig->params.dedup_ids_max = 1000000;
	rig_open(rig);
	consumer = consumer_of(rig, name);
	rig_start(rig);
	while (rig_stats(rig, 0).oldest_offset == 0) {
		id = feed(rig, id);
		*position = rig_stats(rig, 0).durable_offset;
		journal_consumer_set(rig->journal, consumer, *position);
		assert_true(id < 500000);
	}
	rig_stop(rig);
	rig_close(rig);
	return id;
}

static void feed_until_full(struct rig *rig, uint64_t id)
{
	while (!rig_stats(rig, 0).drops[DROP_journal_full]) {
		id = feed(rig, id);
		assert_true(id < 500000);
	}
}

/* What was delivered before a start makes room; what was not is held. */
static void a_full_journal_goes_on_before_the_sink_is_back(void **state)
{
	uint64_t id, position, oldest;
	struct rig rig;
	int consumer;

	(void)state;
	id = reopen_full(&rig, "away", &position);
	rig_open(&rig);
	consumer = consumer_of(&rig, "away");
	assert_int_equal(stood(&rig, consumer), position);
	oldest = rig_stats(&rig, 0).oldest_offset;
	rig_start(&rig);
	feed_until_full(&rig, id);
	assert_true(rig_stats(&rig, 0).oldest_offset > oldest);
	assert_true(rig_stats(&rig, 0).oldest_offset <= position);
	assert_true(rig_stats(&rig, 0).durable_offset - position > (position - oldest) / 2);
	rig_free(&rig);
}

static void held_whole(struct rig *rig, uint64_t id)
{
	uint64_t oldest;
	int consumer;

	rig_open(rig);
	consumer = consumer_of(rig, "away");
	assert_int_equal(stood(rig, consumer), 0);
	oldest = rig_stats(rig, 0).oldest_offset;
	rig_start(rig);
	feed_until_full(rig, id);
	assert_int_equal(rig_stats(rig, 0).oldest_offset, oldest);
	rig_free(rig);
}

/* A file that is torn, is of another journal, is gone, or has other consumers, says nothing. */
static void without_where_it_stood_everything_is_held(void **state)
{
	uint64_t id, position;
	struct rig rig;
	struct err err;

	(void)state;
	id = reopen_full(&rig, "away", &position);
	rig_scribble(&rig, "consumers", POSITION_AT, "torn");
	held_whole(&rig, id);
	id = reopen_full(&rig, "away", &position);
	file_change(&rig, EPOCH_AT, 0x1234567, 8);
	held_whole(&rig, id);
	id = reopen_full(&rig, "away", &position);
	file_change(&rig, PARTITION_AT, 1, 4);
	held_whole(&rig, id);
	id = reopen_full(&rig, "away", &position);
	assert_int_equal(journal_stood_forget(rig.params.dir, 0, &err), 0);
	assert_int_equal(journal_stood_forget(rig.params.dir, 0, &err), 0);
	held_whole(&rig, id);
	id = reopen_full(&rig, "other", &position);
	held_whole(&rig, id);
}

/* Nor what lies beyond the end, for good: other records will be there. */
static void beyond_the_end_is_forgotten(void **state)
{
	uint64_t position;
	struct rig rig;
	uint64_t id = reopen_full(&rig, "away", &position);

	(void)state;
	file_change(&rig, POSITION_AT, position + 100, 8);
	rig_open(&rig);
	assert_int_equal(stood(&rig, consumer_of(&rig, "away")), 0);
	rig_start(&rig);
	(void)feed(&rig, id);
	rig_stop(&rig);
	rig_close(&rig);
	rig_open(&rig);
	assert_int_equal(stood(&rig, consumer_of(&rig, "away")), 0);
	rig_free(&rig);
}

/* Who refuses its position holds everything, over starts. */
static void a_refusal_holds_everything(void **state)
{
	uint64_t position, oldest;
	struct rig rig;
	uint64_t id = reopen_full(&rig, "away", &position);
	int consumer;

	(void)state;
	rig_open(&rig);
	consumer = consumer_of(&rig, "away");
	rig_start(&rig);
	journal_stood_doubt(rig.journal, consumer);
	oldest = rig_stats(&rig, 0).oldest_offset;
	rig_stop(&rig);
	rig_close(&rig);
	rig_open(&rig);
	assert_int_equal(stood(&rig, consumer_of(&rig, "away")), 0);
	rig_start(&rig);
	feed_until_full(&rig, id);
	assert_int_equal(rig_stats(&rig, 0).oldest_offset, oldest);
	rig_free(&rig);
}

static void wait_lag_above(struct rig *rig, int consumer, uint64_t bytes)
{
	uint64_t end = clock_mono_ns() + WAIT_NS;

	while (stats_of(rig, consumer).lag_bytes <= bytes) {
		usleep(1000);
		assert_true(clock_mono_ns() < end);
	}
}

/* What it was behind before the start is shown, but is not given up for: where it stands now may be further.
 * Unless new events would be dropped instead. */
static void a_limit_with_a_backlog(void **state)
{
	struct journal_limits limits = {.lag_skip = true};
	uint64_t id = 1, end;
	struct rig rig;
	int consumer;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 6;
	rig.params.dedup_ids_max = 1000000;
	limits.lag_bytes = 4 * rig.params.segment_bytes;
	rig_open(&rig);
	consumer = consumer_within(&rig, "sink", limits);
	rig_start(&rig);
	id = feed(&rig, id);
	journal_consumer_set(rig.journal, consumer, 400);
	while (stats_of(&rig, consumer).lag_bytes < 3 * rig.params.segment_bytes) {
		uint64_t shown = stats_of(&rig, consumer).lag_bytes;

		end = clock_mono_ns() + WAIT_NS;
		id = feed(&rig, id);
		/* The keeper looks again before more comes. */
		while (stats_of(&rig, consumer).lag_bytes == shown) {
			usleep(1000);
			assert_true(clock_mono_ns() < end);
		}
	}
	assert_int_equal(stats_of(&rig, consumer).given_up, 0);
	rig_restart(&rig);
	consumer = consumer_within(&rig, "sink", limits);
	assert_int_equal(stood(&rig, consumer), 400);
	wait_lag_above(&rig, consumer, 3 * rig.params.segment_bytes - 1);
	assert_int_equal(stats_of(&rig, consumer).given_up, 0);
	end = clock_mono_ns() + WAIT_NS;
	while (!stats_of(&rig, consumer).given_up) {
		id = feed(&rig, id);
		assert_true(clock_mono_ns() < end);
	}
	assert_true(stats_of(&rig, consumer).lag_bytes > limits.lag_bytes);
	rig_free(&rig);
}

/* While it runs the file follows, and up to the end, when sinks have delivered what was left; a consumer
 * without limits is none of its business. */
static void it_follows(void **state)
{
	uint64_t end = clock_mono_ns() + WAIT_NS, position = 0;
	uint8_t file[FILE_BYTES];
	struct rig rig;
	struct err err;
	int consumer, state_stage;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_open(&rig);
	consumer = consumer_of(&rig, "sink");
	state_stage = journal_consumer_add(rig.journal, 0, "state", &err);
	assert_true(state_stage >= 0);
	rig_start(&rig);
	(void)feed(&rig, 1);
	journal_consumer_set(rig.journal, consumer, 300);
	journal_consumer_set(rig.journal, state_stage, 200);
	while (position != 300) {
		usleep(1000);
		file_get(&rig, file);
		memcpy(&position, file + POSITION_AT, sizeof position);
		assert_true(clock_mono_ns() < end);
	}
	rig_stop(&rig);
	journal_consumer_set(rig.journal, consumer, 400);
	rig_close(&rig);
	rig_open(&rig);
	assert_int_equal(stood(&rig, consumer_of(&rig, "sink")), 400);
	assert_int_equal(stood(&rig, journal_consumer_add(rig.journal, 0, "state", &err)), 0);
	rig_close(&rig);
	file_put(&rig, file); /* as a kill would have left it */
	rig_open(&rig);
	assert_int_equal(stood(&rig, consumer_of(&rig, "sink")), 300);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_journal_goes_on_before_the_sink_is_back),
		cmocka_unit_test(without_where_it_stood_everything_is_held),
		cmocka_unit_test(beyond_the_end_is_forgotten),
		cmocka_unit_test(a_refusal_holds_everything),
		cmocka_unit_test(a_limit_with_a_backlog),
		cmocka_unit_test(it_follows),
	};

	rig_eal("stood");
	log_init(LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
