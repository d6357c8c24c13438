/* Where sinks stood, in a file: so that a journal full of what was delivered goes on before they are back. */
#include "journal_rig.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define WAIT_NS 60000000000ull

static int consumer_of(struct rig *rig, const char *name)
{
	const struct journal_limits limits = {0};
	struct err err;
	int consumer = journal_consumer_add(rig->journal, 0, name, &err);

	assert_true(consumer >= 0);
	journal_consumer_limit(rig->journal, consumer, &limits);
	return consumer;
}

static uint64_t stood(struct rig *rig, int consumer)
{
	struct journal_consumer_stats s;

	journal_consumer_stats(rig->journal, consumer, &s);
	return s.stood;
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
	rig_scribble(&rig, "consumers", 72, "torn");
	held_whole(&rig, id);
	id = reopen_full(&rig, "away", &position);
	rig_scribble(&rig, "consumers", 16, "another");
	held_whole(&rig, id);
	id = reopen_full(&rig, "away", &position);
	assert_int_equal(journal_stood_forget(rig.params.dir, 0, &err), 0);
	assert_int_equal(journal_stood_forget(rig.params.dir, 0, &err), 0);
	held_whole(&rig, id);
	id = reopen_full(&rig, "other", &position);
	held_whole(&rig, id);
}

/* While it runs the file follows, not only at its end; and a consumer without limits is none of its business.
 */
static void it_follows(void **state)
{
	uint64_t end = clock_mono_ns() + WAIT_NS;
	struct stat st = {.st_size = 0};
	char path[300];
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
	snprintf(path, sizeof path, "%s/p0/consumers", rig.dir);
	(void)feed(&rig, 1);
	journal_consumer_set(rig.journal, consumer, 300);
	journal_consumer_set(rig.journal, state_stage, 200);
	while (st.st_size == 0) {
		usleep(1000);
		assert_int_equal(stat(path, &st), 0);
		assert_true(clock_mono_ns() < end);
	}
	rig_restart(&rig);
	assert_int_equal(stood(&rig, consumer_of(&rig, "sink")), 300);
	assert_int_equal(stood(&rig, journal_consumer_add(rig.journal, 0, "state", &err)), 0);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_journal_goes_on_before_the_sink_is_back),
		cmocka_unit_test(without_where_it_stood_everything_is_held),
		cmocka_unit_test(it_follows),
	};

	rig_eal("stood");
	log_init(LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
