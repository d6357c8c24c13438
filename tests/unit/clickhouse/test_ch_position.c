/* A position set by hand: what waits for a server that is away is not forgotten with it. */
#include "journal_rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ch_intent.h"
#include "clickhouse.h"
#include "log.h"
#include "sink.h"

const struct sink_ops sink_kafka_ops, sink_kafka_alerts_ops, sink_webhook_ops; /* not linked here */

static void step_read(struct ch_intent *last, const char *dir)
{
	struct ch_intent_file file;
	struct err err;

	assert_int_equal(ch_intent_peek(&file, dir, CH_INTENT_INPUT, 0, &err), 0);
	*last = file.last;
}

static void test_parked(void **state)
{
	struct ch_position to = {.offset = 90};
	struct ch_intent step = {.epoch = 1, .node = "n", .range = {.from = 50, .to = 50}};
	struct ch_intent_file file;
	char stood[300];
	struct rig rig;
	struct err err;

	(void)state;
	rig_init(&rig, 1, 1);
	snprintf(rig.params.dir, sizeof rig.params.dir, "%s/journal", rig.dir);
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, 100);
	rig_settle(&rig, 0);
	assert_int_equal(clickhouse_position_set(rig.dir, &to, &err), -EBUSY);
	rig_close(&rig);
	step.parked_count = 1;
	step.parked[0] = (struct ch_range){.from = 10, .to = 30, .insert_count = 1, .endpoint = "away:1"};
	assert_int_equal(ch_intent_open(&file, rig.dir, CH_INTENT_INPUT, 0, &err), 0);
	assert_int_equal(ch_intent_write(&file, &step, &err), 0);
	ch_intent_close(&file);
	assert_int_equal(clickhouse_position_set(rig.dir, &to, &err), -EINVAL);
	assert_non_null(strstr(err.text, "1 ranges with 20 records wait"));
	step_read(&step, rig.dir);
	assert_int_equal(step.parked_count, 1);
	assert_int_equal(step.range.to, 50);
	to.drop_parked = true;
	snprintf(stood, sizeof stood, "%s/p0/consumers", rig.params.dir);
	assert_int_equal(access(stood, F_OK), 0);
	assert_int_equal(clickhouse_position_set(rig.dir, &to, &err), 0);
	assert_int_equal(access(stood, F_OK), -1); /* where sinks stood says nothing any more */
	step_read(&step, rig.dir);
	assert_int_equal(step.parked_count, 0);
	assert_int_equal(step.range.to, 90);
	to.drop_parked = false;
	to.offset = 1000;
	assert_int_equal(clickhouse_position_set(rig.dir, &to, &err), -EINVAL);
	to.offset = 20;
	assert_int_equal(clickhouse_position_set(rig.dir, &to, &err), 0);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parked)};

	rig_eal("position");
	log_init(LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
