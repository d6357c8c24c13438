/* Differences of two configurations: by name, old and new value, and whether they need a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config_diff.h"

static struct config a, b;
static char told[8000];

static void tell(void *arg, const struct config_change *change)
{
	size_t used = strlen(told);

	(void)arg;
	snprintf(told + used, sizeof told - used, "%s %s>%s %s\n", change->name, change->from, change->to,
		change->live ? "live" : "restart");
}

static void copy(void *arg, const struct config_change *change)
{
	(void)arg;
	if (change->live)
		config_change_copy(&a, &b, change);
}

static void read_both(const char *one, const char *other)
{
	struct err err = {0};

	if (config_parse(&a, one, strlen(one), "a", &err) ||
		config_parse(&b, other, strlen(other), "b", &err))
		fail_msg("%s", err.text);
	told[0] = 0;
}

static void test_same(void **state)
{
	static const char text[] = "listeners:\n- {name: x, udp_port: 1}\n";

	(void)state;
	read_both(text, text);
	/* where it was read does not count, nor what lies behind a text's end */
	memcpy(b.from.file, "other", 6);
	b.listeners[0].name[200] = 'z';
	b.listeners[1].udp_port = 7;
	assert_int_equal(config_diff(&a, &b, tell, NULL), 0);
	assert_string_equal(told, "");
}

static void test_changes(void **state)
{
	(void)state;
	read_both("listeners:\n- {name: x, udp_port: 1}\n- {name: y, udp_port: 2}\nports:\n- {name: p, "
		  "device: d}\n",
		"time: {past_max: 1d, tick: 2s}\nlog: {level: warn}\neal: {hugepages: false}\n"
		"listeners:\n- {name: x, udp_port: 1, allow: 10.0.0.1}\n- {name: y, udp_port: 3}\n");
	assert_int_equal(config_diff(&a, &b, tell, NULL), 7);
	assert_string_equal(told, "eal.hugepages true>false restart\n"
				  "time.past_max 30d>1d live\n"
				  "time.tick 1s>2s restart\n"
				  "log.level info>warn live\n"
				  "ports 1 entries>0 entries restart\n"
				  "listeners[x].allow >10.0.0.1 live\n"
				  "listeners[y].udp_port 2>3 restart\n");
	config_diff(&a, &b, copy, NULL);
	assert_int_equal(a.time.past_max, 86400000);
	assert_int_equal(a.time.tick, 1000);
	assert_int_equal(a.log.level, 1);
	assert_string_equal(a.listeners[0].allow, "10.0.0.1");
	assert_int_equal(a.listeners[1].udp_port, 2);
	assert_int_equal(config_diff(&a, &b, tell, NULL), 4);
}

/* Long texts are compared and told whole. */
static void test_long_texts(void **state)
{
	config_text where, want;
	char one[4096], other[4096];

	(void)state;
	memset(where, 'x', sizeof where - 1);
	where[sizeof where - 1] = 0;
	snprintf(one, sizeof one, "windows:\n- {name: w, where: '%s'}\n", where);
	memcpy(want, where, sizeof want);
	want[sizeof want - 2] = 'y';
	snprintf(other, sizeof other, "windows:\n- {name: w, where: '%s'}\n", want);
	read_both(one, other);
	assert_int_equal(config_diff(&a, &b, tell, NULL), 1);
	snprintf(one, sizeof one, "%s>", where);
	assert_memory_equal(told, "windows[w].where ", 17);
	assert_memory_equal(told + 17, one, strlen(one));
	assert_memory_equal(told + 17 + strlen(one), want, strlen(want));
	assert_string_equal(told + 17 + strlen(one) + strlen(want), " restart\n");
}

/* Where another entry stands at its place, a key that may change for itself is not that entry's. */
static void test_moved_entries(void **state)
{
	(void)state;
	read_both("listeners:\n- {name: x, udp_port: 1}\n- {name: y, udp_port: 2, allow: 10.0.0.1}\n",
		"listeners:\n- {name: y, udp_port: 2, allow: 10.0.0.1}\n- {name: x, udp_port: 1}\n");
	assert_int_equal(config_diff(&a, &b, tell, NULL), 6);
	assert_null(strstr(told, " live\n"));
	config_diff(&a, &b, copy, NULL);
	assert_string_equal(a.listeners[0].allow, "");
	assert_string_equal(a.listeners[1].allow, "10.0.0.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_changes),
		cmocka_unit_test(test_long_texts), cmocka_unit_test(test_moved_entries)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
