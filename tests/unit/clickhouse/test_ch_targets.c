/* Which server is talked to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ch_part_priv.h"
#include "durable.h"

const struct sink_ops sink_kafka_ops, sink_kafka_alerts_ops, sink_webhook_ops; /* not linked here */

static bool never(void *arg)
{
	(void)arg;
	return false;
}

/* One that is away is asked; what comes next must not go there. */
static void test_asked_in_vain(void **state)
{
	static struct config cfg;
	static struct sink_part part = {.error_lock = PTHREAD_MUTEX_INITIALIZER};
	static struct ch_part p = {.part = &part, .cfg = &cfg.clickhouse, .intent.fd = -1, .letters.fd = -1};
	struct err err;

	(void)state;
	config_defaults(&cfg);
	/* Port 1 takes no connections. */
	snprintf(cfg.clickhouse.url, sizeof cfg.clickhouse.url, "http://127.0.0.1:1,http://127.0.0.2:1");
	p.http.sock.fd = -1;
	if (ch_http_open(&p.http, p.cfg, never, NULL, &err) || ch_targets_open(&p, &err))
		fail_msg("%s", err.text);
	p.current = 1;
	p.target[1].fit = true;
	ch_http_use(&p.http, &p.target[1].endpoint);
	assert_int_not_equal(ch_target_use(&p, 0, &err), 0);
	assert_int_equal(p.current, 1);
	assert_string_equal(p.http.endpoint.name, "127.0.0.2:1");
	assert_true(p.target[1].fit);
	assert_int_not_equal(p.target[0].fault[0], 0);
	ch_http_close(&p.http);
}

/* Its server is gone for good: the other one gets the whole range, also of what went in pieces. */
static void test_rebound(void **state)
{
	static struct config cfg;
	static struct sink_part part = {.error_lock = PTHREAD_MUTEX_INITIALIZER};
	static struct ch_part p = {.part = &part, .cfg = &cfg.clickhouse};
	struct ch_intent step = {.epoch = 1,
		.node = "n",
		.pending = true,
		.range = {.from = 50,
			.to = 60,
			.insert_count = 3,
			.settled = 1,
			.split_from = 52,
			.split_to = 55},
		.parked_count = 2};
	char dir[] = "/tmp/sluice-targets-XXXXXX";
	struct err err;

	(void)state;
	config_defaults(&cfg);
	snprintf(cfg.clickhouse.url, sizeof cfg.clickhouse.url, "http://127.0.0.1:1,http://127.0.0.2:1");
	snprintf(cfg.clickhouse.lost, sizeof cfg.clickhouse.lost, "gone:1");
	snprintf(step.range.endpoint, sizeof step.range.endpoint, "gone:1");
	step.parked[0] = step.parked[1] = step.range;
	step.parked[0].from = 10, step.parked[0].to = 20,
	step.parked[0].split_from = step.parked[0].split_to = 0;
	step.parked[1].from = 30, step.parked[1].to = 50, step.parked[1].split_from = 31;
	step.parked[1].split_to = 35;
	snprintf(step.parked[1].endpoint, sizeof step.parked[1].endpoint, "127.0.0.2:1");
	assert_non_null(mkdtemp(dir));
	if (ch_targets_open(&p, &err) || ch_intent_open(&p.intent, dir, CH_INTENT_INPUT, 0, &err) ||
		ch_intent_write(&p.intent, &step, &err) || ch_parked_rebind(&p, &err))
		fail_msg("%s", err.text);
	step = p.intent.last;
	assert_string_equal(step.range.endpoint, "127.0.0.1:1");
	assert_int_equal(step.range.settled + step.range.split_from + step.range.split_to, 0);
	assert_string_equal(step.parked[0].endpoint, "127.0.0.1:1");
	assert_int_equal(step.parked[0].settled, 0);
	assert_string_equal(step.parked[1].endpoint, "127.0.0.2:1"); /* is there: waits for it */
	assert_int_equal(step.parked[1].settled, 1);
	assert_int_equal(step.parked[1].split_from, 31);
	ch_intent_close(&p.intent);
	durable_tree_remove(dir, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asked_in_vain), cmocka_unit_test(test_rebound)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
