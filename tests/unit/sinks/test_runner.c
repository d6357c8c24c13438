/* The runner, driven with a sink that fails as the test says: order of calls, backoff, refusals, stops. The
 * journal's four numbers that the runner asks for are set by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "sink.h"

#define PARTS 3
#define OUTPUT ((struct journal *)&output_log) /* has a partition more */
#define BEFORE_PARTS 2
#define BEFORE ((struct journal *)&before_log) /* of the epoch before */

static char output_log, before_log;
static _Atomic uint64_t durable = 100, consumed[2 * PARTS + 1 + BEFORE_PARTS];
static _Atomic int consumer_fail_at = -1;

static struct script {
	_Atomic int prepare_failures, open_failures, run_failures, code;
	_Atomic int prepares, opens, runs, closes, prepared[SINK_LOG_COUNT], early, waits, early_waits;
	_Atomic uint64_t found;
	_Atomic bool prepare_blocks, run_ignores_deadline;
} script;

uint32_t journal_partitions(const struct journal *j)
{
	return j == BEFORE ? BEFORE_PARTS : j == OUTPUT ? PARTS + 1 : PARTS;
}

uint64_t journal_durable_offset(const struct journal *j, uint32_t partition)
{
	(void)j, (void)partition;
	return durable;
}

int journal_consumer_add(struct journal *j, uint32_t partition, const char *name, struct err *err)
{
	(void)name;
	if ((int)partition == consumer_fail_at)
		return err_set(err, -ENOSPC, "no room for a consumer");
	return (int)partition + (j == BEFORE ? 2 * PARTS + 1 : j == OUTPUT ? PARTS : 0);
}

void journal_consumer_set(struct journal *j, int consumer, uint64_t offset)
{
	(void)j;
	consumed[consumer] = offset;
}

static uint32_t doubted;

void journal_stood_doubt(struct journal *j, int consumer)
{
	(void)j, (void)consumer;
	__atomic_fetch_add(&doubted, 1, __ATOMIC_RELAXED);
}

void journal_consumer_limit(struct journal *j, int consumer, const struct journal_limits *limits)
{
	(void)j, (void)consumer, (void)limits;
}

/* Consumer 0 alone has something to skip. */
static struct {
	uint64_t from, to, passed;
} given_up;

uint64_t journal_skip_wanted(const struct journal *j, int consumer, uint64_t position)
{
	(void)j;
	return consumer == 0 && given_up.to > position ? given_up.to : position;
}

uint64_t journal_skipped(const struct journal *j, int consumer, uint64_t from, uint64_t to)
{
	uint64_t low = from > given_up.from ? from : given_up.from,
		 high = to < given_up.to ? to : given_up.to;

	(void)j;
	return consumer == 0 && low < high ? high - low : 0;
}

void journal_skip_passed(struct journal *j, int consumer, uint64_t position)
{
	(void)j;
	if (consumer == 0)
		__atomic_store_n(&given_up.passed, position, __ATOMIC_RELAXED);
}

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static struct sink_group group[SINK_GROUP_MAX];

/* One of so many, each for one of the threads. */
static bool fails(_Atomic int *left)
{
	int n = atomic_load(left);

	while (n > 0)
		if (atomic_compare_exchange_weak(left, &n, n - 1))
			return true;
	return false;
}

static int fake_prepare(const struct sink_env *env, enum sink_log log, struct err *err)
{
	(void)env;
	script.prepares++;
	script.prepared[log]++;
	while (script.prepare_blocks) {
		if (sink_gives_up())
			return err_set(err, -ECANCELED, "given up");
		pause_ms(5);
	}
	if (fails(&script.prepare_failures))
		return err_set(err, script.code, "prepare failed");
	return 0;
}

static int fake_wait(struct sink_part *part, struct err *err)
{
	script.early_waits += !part->env->before || part->ends || part->opened;
	script.waits++;
	return part->partition ? 0 : err_set(err, -EIO, "wait failed"); /* it is waited all the same */
}

static int fake_open(struct sink_part *part, uint64_t *position, struct err *err)
{
	assert_null(part->priv);
	part->priv = &script;
	script.early += !part->ends && part->env->before && !sinks_before_delivered(group);
	script.opens++;
	*position = part->partition + (part->opened ? script.found : 0);
	if (fails(&script.open_failures))
		return err_set(err, script.code, "open failed");
	return 0;
}

static int fake_run(struct sink_part *part, struct err *err)
{
	const struct sink_tally tally = {.events = 5, .alerts = 1, .last_time_ms = 77};

	script.runs++;
	if (fails(&script.run_failures))
		return err_set(err, script.code, "run failed");
	while (!sink_stopping(part))
		pause_ms(5);
	while (script.run_ignores_deadline && !sink_gives_up())
		pause_ms(5);
	if (!sink_drained(part, 0))
		sink_committed(part, durable, &tally);
	return 0;
}

static void fake_close(struct sink_part *part)
{
	part->priv = NULL;
	script.closes++;
}

#define FAKE NULL, fake_prepare, fake_wait, fake_open, fake_run, fake_close
const struct sink_ops sink_kafka_ops = {"kafka", FAKE}, sink_webhook_ops = {"webhook", FAKE},
		      sink_kafka_alerts_ops = {"kafka_alerts", FAKE},
		      sink_clickhouse_ops = {"clickhouse", FAKE};

static struct config cfg;
static struct sink_env env = {.cfg = &cfg};

static int setup(void **state)
{
	(void)state;
	memset(&script, 0, sizeof script);
	memset(group, 0, sizeof group);
	script.code = -EIO;
	durable = 100;
	consumer_fail_at = -1;
	memset(&given_up, 0, sizeof given_up);
	cfg.kafka.enabled = false;
	cfg.clickhouse.enabled = true;
	env.output = NULL;
	env.before = NULL;
	return 0;
}

static void stop(uint64_t drain_ms)
{
	sinks_stop(group, drain_ms);
	assert_int_equal(group[SINK_clickhouse].part[0].stats.state, SINK_STOPPED); /* still readable */
	sinks_free(group);
	assert_null(group[SINK_clickhouse].part);
}

static bool all_in(enum sink_state want)
{
	for (uint32_t p = 0; p < group[SINK_clickhouse].part_count; p++)
		if (group[SINK_clickhouse].part[p].stats.state != want)
			return false;
	return group[SINK_clickhouse].part_count > 0;
}

static void wait_for(enum sink_state want)
{
	for (int i = 0; i < 12000 && !(all_in(want) && (want != SINK_CONNECTING || script.prepares)); i++)
		pause_ms(5);
	assert_true(all_in(want));
}

/* One that is about to fail runs, too: all of them, once that many have been opened. */
static void wait_for_opens(int opens)
{
	for (int i = 0; i < 12000 && !(script.opens == opens && all_in(SINK_RUNNING)); i++)
		pause_ms(5);
	assert_int_equal(script.opens, opens);
	assert_true(all_in(SINK_RUNNING));
}

static void start(void)
{
	struct err err;

	assert_int_equal(sinks_start(group, &env, &err), 0);
	assert_int_equal(group[SINK_kafka].part_count, 0);
	assert_int_equal(group[SINK_clickhouse].part_count, PARTS);
}

/* Records that were given up are counted as skipped by the commit that passes over them, and the journal is
 * told. */
static void test_skipped_is_counted(void **state)
{
	struct sink_tally tally = {.events = 3};
	struct sink_part *part;

	(void)state;
	start();
	wait_for(SINK_RUNNING);
	part = &group[SINK_clickhouse].part[0];
	given_up.from = 40;
	given_up.to = 70;
	sink_committed(part, 40, &tally);
	assert_int_equal(part->stats.skipped, 0);
	sink_committed(part, 70, &(struct sink_tally){0});
	assert_int_equal(part->stats.skipped, 30);
	assert_int_equal(__atomic_load_n(&given_up.passed, __ATOMIC_RELAXED), 70);
	given_up.to = 0;
	sink_committed(part, 80, &tally);
	assert_int_equal(part->stats.skipped, 30);
	stop(60000);
}

static void test_start_deliver_stop(void **state)
{
	(void)state;
	start();
	wait_for(SINK_RUNNING);
	for (int p = 0; p < PARTS; p++)
		assert_int_equal(consumed[p], p); /* retention moves as soon as the position is known */
	stop(60000);
	assert_int_equal(script.prepares, 1);
	assert_int_equal(script.opens, PARTS);
	assert_int_equal(script.waits, 0);
	assert_int_equal(script.closes, PARTS);
	for (int p = 0; p < PARTS; p++)
		assert_int_equal(consumed[p], 100);
	sinks_stop(group, 0); /* with nothing running it does no harm */
	sinks_free(group);
}

static void test_failures_are_retried(void **state)
{
	(void)state;
	script.prepare_failures = 2;
	script.open_failures = 2;
	script.run_failures = 2;
	start();
	wait_for_opens(PARTS + 4);
	uint64_t errors = 0;
	for (int p = 0; p < PARTS; p++)
		errors += group[SINK_clickhouse].part[p].stats.errors;
	assert_int_equal(errors, 6);
	stop(60000);
	assert_int_equal(script.prepares, 3);
	assert_int_equal(script.opens, script.closes); /* close follows each open, also one that failed */
	assert_int_equal(script.opens, PARTS + 4);
}

static void test_refusal_is_shown_and_stops_at_once(void **state)
{
	uint64_t before;

	(void)state;
	script.open_failures = 1000;
	script.code = -EINVAL;
	doubted = 0;
	start();
	wait_for(SINK_REFUSED);
	assert_int_equal(doubted, PARTS); /* what it refuses may be put back: all is held */
	assert_string_equal(group[SINK_clickhouse].part[0].error, "open failed");
	assert_int_equal(script.opens, PARTS); /* not tried again at once */
	before = clock_mono_ns();
	stop(60000);
	/* Not the minute of a refusal, nor the deadline; and no tries meanwhile. */
	assert_true(clock_mono_ns() - before < 30000000000ull);
	assert_int_equal(script.opens, PARTS);
}

static void test_stop_while_target_is_away(void **state)
{
	(void)state;
	script.open_failures = 1000000;
	doubted = 0;
	start();
	wait_for(SINK_BACKOFF);
	assert_int_equal(doubted, 0);
	stop(3000); /* tries go on until the deadline, then end */
	assert_int_equal(script.opens, script.closes);
	assert_true(script.opens > PARTS);
}

static void test_stop_while_prepare_blocks(void **state)
{
	(void)state;
	script.prepare_blocks = true;
	start();
	wait_for(SINK_CONNECTING);
	stop(200); /* one thread is inside prepare(), the others wait for it: all come home */
	assert_int_equal(script.prepares, 1);
	assert_int_equal(script.opens, 0);
}

static void test_deadline_reaches_a_slow_run(void **state)
{
	(void)state;
	script.run_ignores_deadline = true;
	start();
	wait_for(SINK_RUNNING);
	stop(200);
	assert_int_equal(script.closes, PARTS);
	assert_false(sink_gives_up()); /* this is no sink thread */
}

/* Whoever asks for haste may be a moment earlier than the stop itself. */
static void test_haste_before_the_stop_counts(void **state)
{
	(void)state;
	script.run_ignores_deadline = true;
	start();
	wait_for(SINK_RUNNING);
	alarm(60);
	sinks_hurry(group, clock_mono_ns() + 1000000);
	stop(3600000);
	alarm(0);
	assert_int_equal(script.closes, PARTS);
}

static void test_positions_found_at_reopening(void **state)
{
	uint64_t start_sum = 0, found = 0;

	(void)state;
	script.run_failures = 1;
	script.found = 40; /* one part's commit was not answered: the next open finds more than was counted */
	start();
	wait_for_opens(PARTS + 1);
	for (uint32_t p = 0; p < PARTS; p++) {
		start_sum += group[SINK_clickhouse].part[p].stats.start;
		found += group[SINK_clickhouse].part[p].stats.found;
	}
	assert_int_equal(start_sum, 0 + 1 + 2);
	assert_int_equal(found, 40);
	stop(60000);
}

static void test_start_fails_whole(void **state)
{
	struct err err;

	(void)state;
	consumer_fail_at = 2;
	assert_int_equal(sinks_start(group, &env, &err), -ENOSPC);
	assert_string_equal(err.text, "no room for a consumer");
	assert_int_equal(group[SINK_clickhouse].part_count, 0);
	assert_null(group[SINK_clickhouse].part);
}

static void test_committed_counts(void **state)
{
	struct sink_part part = {.env = &env, .consumer = 1};
	const struct sink_tally tally = {.events = 5,
		.suppressed = 4,
		.alerts = 3,
		.dead = 2,
		.rows = 7,
		.late = 8,
		.other = 1,
		.bytes = 9,
		.last_time_ms = 77};

	(void)state;
	sink_committed(&part, 12, &tally);
	sink_committed(&part, 24, &(struct sink_tally){.events = 1});
	assert_int_equal(part.stats.events, 6);
	assert_int_equal(part.stats.suppressed, 4);
	assert_int_equal(part.stats.alerts, 3);
	assert_int_equal(part.stats.dead, 2);
	assert_int_equal(part.stats.rows, 7);
	assert_int_equal(part.stats.late, 8);
	assert_int_equal(part.stats.other, 1);
	assert_int_equal(part.stats.bytes, 9);
	assert_int_equal(part.stats.commits, 2);
	assert_int_equal(part.stats.position, 24);
	assert_int_equal(part.stats.position_time_ms, 77); /* a span without records keeps the last one's */
	assert_int_equal(consumed[1], 24);
}

/* The log keeps what is parked, whatever is delivered behind it; the first start counts it as to be
 * delivered. */
static void test_parked(void **state)
{
	struct sink_part part = {.env = &env, .consumer = 1};

	(void)state;
	sink_park(&part, 40, 10, 20); /* before it is open: the position is open()'s to say */
	assert_int_equal(part.stats.position, 0);
	part.opened = true;
	sink_park(&part, 50, 10, 20);
	assert_int_equal(part.stats.position, 50);
	assert_int_equal(part.stats.parked, 10);
	assert_int_equal(consumed[1], 20);
	sink_committed(&part, 60, &(struct sink_tally){.events = 10});
	assert_int_equal(part.stats.position, 60);
	assert_int_equal(consumed[1], 20);
	sink_park(&part, 60, 0, 0);
	assert_int_equal(part.stats.parked, 0);
	assert_int_equal(consumed[1], 60);
}

/* With the state stage on, each sink has a second group on the output log, prepared for itself. */
static void test_second_log(void **state)
{
	const struct sink_group *output = &group[SINK_LOG_OUTPUT * SINK_ID_MAX + SINK_clickhouse];

	(void)state;
	env.output = OUTPUT;
	start();
	wait_for(SINK_RUNNING);
	assert_int_equal(output->part_count, PARTS + 1);
	assert_string_equal(output->name, "clickhouse-output");
	assert_string_equal(group[SINK_clickhouse].name, "clickhouse");
	for (uint32_t p = 0; p < output->part_count; p++) {
		assert_ptr_equal(output->part[p].journal, OUTPUT);
		assert_int_equal(output->part[p].log, SINK_LOG_OUTPUT);
	}
	assert_int_equal(group[SINK_LOG_OUTPUT * SINK_ID_MAX + SINK_kafka].part_count, 0);
	stop(60000);
	assert_int_equal(script.prepared[SINK_LOG_INPUT], 1);
	assert_int_equal(script.prepared[SINK_LOG_OUTPUT], 1);
	for (int i = 0; i < 2 * PARTS + 1; i++)
		assert_int_equal(consumed[i], 100); /* each in its own log */
}

/* Two sinks of one section are on or off together, and each is one of its own. */
static void test_sinks_of_one_section(void **state)
{
	(void)state;
	cfg.kafka.enabled = true;
	cfg.clickhouse.enabled = false;
	struct err err;

	assert_int_equal(sinks_start(group, &env, &err), 0);
	assert_int_equal(group[SINK_clickhouse].part_count, 0);
	assert_int_equal(group[SINK_kafka].part_count, PARTS);
	assert_int_equal(group[SINK_kafka_alerts].part_count, PARTS);
	assert_string_equal(group[SINK_kafka].name, "kafka");
	assert_string_equal(group[SINK_kafka_alerts].name, "kafka_alerts");
	sinks_stop(group, 60000);
	assert_int_equal(script.prepares, 2);
	assert_int_equal(script.opens, 2 * PARTS);
	sinks_free(group);
}

/* One that fails late takes down also what runs on the first log. */
static void test_second_log_fails(void **state)
{
	struct err err;

	(void)state;
	env.output = OUTPUT;
	consumer_fail_at = PARTS;
	assert_int_equal(sinks_register(&env, &err), -ENOSPC);
	assert_int_equal(sinks_start(group, &env, &err), -ENOSPC);
	for (int i = 0; i < SINK_GROUP_MAX; i++)
		assert_null(group[i].part);
}

static struct sink_env before_env = {.cfg = &cfg, .journal = BEFORE};

static enum sink_state before_state(uint32_t p)
{
	return (enum sink_state)atomic_load(&group[SINK_GROUP_BEFORE + SINK_clickhouse].part[p].stats.state);
}

/* Nothing is opened before all partitions of the log before are delivered, though one of them fails for a
 * while. */
static void test_the_epoch_before_comes_first(void **state)
{
	const struct sink_group *old = &group[SINK_GROUP_BEFORE + SINK_clickhouse];

	(void)state;
	env.before = &before_env;
	script.open_failures = 5;
	script.run_failures = 2;
	script.prepare_blocks = true;
	start();
	assert_false(sinks_before_delivered(group));
	script.prepare_blocks = false;
	assert_string_equal(old->name, "clickhouse-before");
	assert_int_equal(old->part_count, BEFORE_PARTS);
	wait_for(SINK_RUNNING);
	assert_true(sinks_before_delivered(group));
	for (uint32_t p = 0; p < BEFORE_PARTS; p++) {
		assert_int_equal(before_state(p), SINK_DELIVERED);
		assert_int_equal(old->part[p].stats.position, 100);
		assert_int_equal(consumed[2 * PARTS + 1 + p], 100);
	}
	assert_int_equal(script.early, 0);
	assert_int_equal(script.opens, PARTS + BEFORE_PARTS + 7);
	assert_int_equal(script.waits, PARTS);
	assert_int_equal(script.early_waits, 0);
	stop(60000);
	assert_int_equal(script.opens, script.closes);
	assert_null(old->part);
}

/* A refusal is tried again, as everywhere; those that wait see a stop and its deadline. */
static void test_stop_while_the_epoch_before_is_held(void **state)
{
	uint64_t since;

	(void)state;
	env.before = &before_env;
	script.open_failures = 1000000;
	start();
	wait_for(SINK_WAITING);
	since = clock_mono_ns();
	stop(300);
	assert_true(clock_mono_ns() - since < 30000000000ull);
	assert_true(clock_mono_ns() - since >= 300000000ull);
	assert_int_equal(script.opens, script.closes);
	assert_false(sinks_before_delivered(group));
}

/* Nobody has to deliver it: then it is not delivered. */
static void test_no_sink_delivers_nothing(void **state)
{
	struct err err;

	(void)state;
	env.before = &before_env;
	cfg.clickhouse.enabled = false;
	assert_int_equal(sinks_start(group, &env, &err), 0);
	assert_false(sinks_before_delivered(group));
	sinks_stop(group, 0);
	sinks_free(group);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_start_deliver_stop, setup),
		cmocka_unit_test_setup(test_failures_are_retried, setup),
		cmocka_unit_test_setup(test_refusal_is_shown_and_stops_at_once, setup),
		cmocka_unit_test_setup(test_stop_while_target_is_away, setup),
		cmocka_unit_test_setup(test_stop_while_prepare_blocks, setup),
		cmocka_unit_test_setup(test_deadline_reaches_a_slow_run, setup),
		cmocka_unit_test_setup(test_haste_before_the_stop_counts, setup),
		cmocka_unit_test_setup(test_positions_found_at_reopening, setup),
		cmocka_unit_test_setup(test_start_fails_whole, setup),
		cmocka_unit_test_setup(test_committed_counts, setup),
		cmocka_unit_test_setup(test_parked, setup),
		cmocka_unit_test_setup(test_skipped_is_counted, setup),
		cmocka_unit_test_setup(test_sinks_of_one_section, setup),
		cmocka_unit_test_setup(test_second_log, setup),
		cmocka_unit_test_setup(test_second_log_fails, setup),
		cmocka_unit_test_setup(test_the_epoch_before_comes_first, setup),
		cmocka_unit_test_setup(test_stop_while_the_epoch_before_is_held, setup),
		cmocka_unit_test_setup(test_no_sink_delivers_nothing, setup)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
