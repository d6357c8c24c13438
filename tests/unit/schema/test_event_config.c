/* Event types named in the configuration: listeners, topics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "event_config.h"

static struct config cfg;
static struct err err;

static int reset(void **state)
{
	(void)state;
	config_defaults(&cfg);
	cfg.listeners_count = 1;
	snprintf(cfg.listeners[0].type, sizeof cfg.listeners[0].type, "auto");
	return 0;
}

static void test_listeners(void **state)
{
	(void)state;
	assert_int_equal(event_config_check(&cfg, &err), 0);
	assert_int_equal(event_config_listener_type(&cfg.listeners[0]), EVENT_TYPE_NONE);
	for (int type = 1; type < EVENT_TYPE_MAX; type++) {
		if (!type_table[type].name)
			continue;
		snprintf(cfg.listeners[0].type, sizeof cfg.listeners[0].type, "%s", type_table[type].name);
		assert_int_equal(event_config_check(&cfg, &err), 0);
		assert_int_equal(event_config_listener_type(&cfg.listeners[0]), type);
	}
	snprintf(cfg.listeners[0].type, sizeof cfg.listeners[0].type, "clicks");
	assert_int_equal(event_config_check(&cfg, &err), -EINVAL);
	assert_non_null(strstr(err.text, "listeners.type: 'clicks': expected one of auto, click, platform"));
	assert_non_null(strstr(err.text, "log"));
}

static void test_topics(void **state)
{
	struct event_topics topics;

	(void)state;
	snprintf(cfg.kafka.topics, sizeof cfg.kafka.topics, "transaction=payments,log=logs.all");
	assert_int_equal(event_config_topics(&topics, &cfg.kafka, &err), 0);
	for (int type = 0; type < EVENT_TYPE_MAX; type++) {
		const char *want = type == EVENT_TYPE_transaction ? "payments"
				   : type == EVENT_TYPE_log	  ? "logs.all"
				   : type == EVENT_TYPE_click	  ? "web.clicks"
								  : "events.raw";

		if (!type_table[type].name)
			assert_null(topics.name[type]);
		else
			assert_string_equal(topics.name[type], want);
	}
	assert_int_equal(event_config_check(&cfg, &err), 0);
}

static void test_bad_topics(void **state)
{
	static const struct {
		const char *text, *expect;
	} row[] = {{"transaction", "expected TYPE=TOPIC"}, {"transactions=a", "expected one of click"},
		{"log=", "expected a topic"}, {"log=a b", "expected a topic"}, {"log=a,log=b", "given twice"},
		{"=x", "expected one of"},
		{"log=sluice.positions",
			"kafka.topics: 'sluice.positions' of log is kafka.topic_positions too"},
		{"click=a,log=events.dead", "'events.dead' of log is kafka.topic_dead too"}};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		snprintf(cfg.kafka.topics, sizeof cfg.kafka.topics, "%s", row[i].text);
		assert_int_equal(event_config_check(&cfg, &err), -EINVAL);
		if (!strstr(err.text, row[i].expect))
			fail_msg("%s: %s", row[i].text, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_listeners, reset),
		cmocka_unit_test_setup(test_topics, reset), cmocka_unit_test_setup(test_bad_topics, reset)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
