/* Shapes: that they are learned and used, what they must not take, and that hostile streams evict nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parse_util.h"

#define CLICK                                                                                                \
	"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"%s\",\"ts\":1763699990000,"    \
	"\"page\":\"%s\",\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}"

static struct parsers ps;

static uint64_t fast_taken(const char *text)
{
	uint8_t *copy = padded_copy(text, strlen(text));
	uint64_t before = json_parser_stats(ps.fast)->fast;
	struct event ev;

	if (!ps.fast->shapes_on)
		skip(); /* no AVX2 here */
	memset(&ev, 0, sizeof ev);
	parse_all_ways(&ps, copy, (uint32_t)strlen(text), EVENT_TYPE_NONE, &limits_any, &ev);
	free(copy);
	return json_parser_stats(ps.fast)->fast - before;
}

static int forget(void **state)
{
	(void)state;
	json_parser_forget(ps.fast);
	return 0;
}

static void test_learned(void **state)
{
	static const char *const forms[] = {/* any order of keys, spaces, unknown keys of every kind, nesting,
					       text times, trailing white space */
		"{\"page\":\"/\",\"ts\":1763699990000,\"user_id\":\"u\",\"x\":null}",
		"{ \"user_id\" : \"u\" , \"ts\" : 1763699990000 , \"page\" : \"/\" }",
		"{\"user_id\":\"u\",\"ts\":1763699990000,\"page\":\"/"
		"\",\"a\":[1,\"b\",{\"c\":[true,-2.5e3]}]}\r\n",
		"{\"user_id\":\"u\",\"ts\":\"2025-11-21T04:00:00+01:00\",\"page\":\"/\",\"type\":\"click\"}",
		"{\"source\":\"s\",\"ts\":1763699990000,\"attributes\":{\"status\":\"ok\",\"metric\":1.25}}",
		"{\"source\":\"s\",\"attributes\":{},\"timestamp\":1763699990000,\"n\":[],\"country\":\"far "
		"too long\"}",
		"{\"user_id\":\"u\xc3\xa9\",\"ts\":1763699990000,\"page\":\"\xe2\x82\xac\",\"k\xc3\xa9y\":"
		"\"\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		json_parser_forget(ps.fast);
		/* parse_all_ways() gives each event twice to the fast parser */
		assert_int_equal(fast_taken(forms[i]), 1);
		assert_int_equal(fast_taken(forms[i]), 2);
	}
}

static void test_not_taken(void **state)
{
	static const char *const close[] = {
		/* each nearly fits the shape of CLICK and must go the slow way (or be refused there) */
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"\",\"ts\":"
		"1763699990000,\"page\":\"/\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"0763699990000,\"page\":\"/\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"17636999900000,\"page\":\"/\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"1763699990000,\"page\":\"/\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"1763699990000,\"page\":\"/\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"1763699990000,\"page\":\"/\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"1763699990000,\"page\":\"\\/\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"1763699990000,\"page\":\"\x01\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"1763699990000,\"page\":\"\xff\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u\",\"ts\":"
		"1763999990000,\"page\":\"/\","
		"\"referrer\":\"/home\",\"country\":\"US\",\"device\":\"mobile\"}"};
	char text[400];

	(void)state;
	snprintf(text, sizeof text, CLICK, "u1", "/p");
	fast_taken(text);
	for (size_t i = 0; i < sizeof close / sizeof *close; i++) {
		if (fast_taken(close[i]))
			fail_msg("%s", close[i]);
		assert_int_equal(fast_taken(text), 2);
	}
}

static void test_text_lengths(void **state)
{
	char page[2100], text[2600];

	(void)state;
	snprintf(text, sizeof text, CLICK, "u1", "/p");
	fast_taken(text);
	for (uint32_t n = 0; n < 2060; n += n < 140 ? 1 : 37) {
		memset(page, 'p', n);
		page[n] = 0;
		snprintf(text, sizeof text, CLICK, "u1", page);
		assert_int_equal(fast_taken(text), n <= 2048 ? 2 : 0);
	}
}

static void test_hostile(void **state)
{
	char text[400], junk[400];

	(void)state;
	snprintf(text, sizeof text, CLICK, "u1", "/p");
	fast_taken(text);
	/* A stream of shapes that are all different, with an honest sender between: the honest one stays
	 * fast. */
	for (int i = 0; i < 20000; i++) {
		snprintf(junk, sizeof junk,
			"{\"user_id\":\"u\",\"ts\":1763699990000,\"page\":\"/\",\"junk%d\":\"x\"}", i);
		fast_taken(junk);
		assert_int_equal(fast_taken(text), 2);
	}
	assert_true(json_parser_stats(ps.fast)->learned <= 1 + SHAPES_MAX);
	/* All places taken by junk; a new honest form must still be learned. */
	json_parser_forget(ps.fast);
	for (int i = 0; i < 500; i++) {
		snprintf(junk, sizeof junk,
			"{\"user_id\":\"u\",\"ts\":1763699990000,\"page\":\"/\",\"junk%d\":\"x\"}", i);
		fast_taken(junk);
	}
	for (int i = 0; i < 200; i++)
		fast_taken(text);
	assert_int_equal(fast_taken(text), 2);
}

static void test_mixed(void **state)
{
	char text[400];

	(void)state;
	/* as many senders as there are places, in turn */
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < SHAPES_MAX; i++) {
			snprintf(text, sizeof text,
				"{\"user_id\":\"u\",\"ts\":1763699990000,\"page\":\"/\",\"form%d\":\"x\"}",
				i);
			if (round < 199)
				fast_taken(text);
			else
				assert_int_equal(fast_taken(text), 2);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_learned, forget),
		cmocka_unit_test_setup(test_not_taken, forget),
		cmocka_unit_test_setup(test_text_lengths, forget),
		cmocka_unit_test_setup(test_hostile, forget), cmocka_unit_test_setup(test_mixed, forget)};
	int failed;

	ps = parsers_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	parsers_free(&ps);
	return failed;
}
