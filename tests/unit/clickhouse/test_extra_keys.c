/* Keys that the schema does not have for a type, cut out of raw bytes that may be anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "extra_keys.h"

static _Alignas(8) uint8_t memory[70000];

static size_t extra_of(char *out, size_t out_bytes, enum event_type type, const char *raw, size_t bytes)
{
	struct event ev = {.raw = (const uint8_t *)raw, .raw_bytes = (uint32_t)bytes, .type = (uint8_t)type};

	record_write_event(memory, &ev, 0, 0, 0);
	return extra_keys_json(out, out_bytes, (const struct record *)memory);
}

static void gives(enum event_type type, const char *raw, const char *expected)
{
	char out[1000];
	size_t n = extra_of(out, sizeof out, type, raw, strlen(raw));

	out[n] = 0;
	assert_string_equal(out, expected);
}

static void test_extra(void **state)
{
	(void)state;
	gives(EVENT_TYPE_click, "{}", "");
	gives(EVENT_TYPE_click, "{\"user_id\":\"u\",\"ts\":1,\"type\":\"click\"}", "");
	gives(EVENT_TYPE_click, " { \"a\" : 1 , \"page\":\"/\", \"b\":[{\"c\":\"},\"}, 2] }",
		"{\"a\" : 1,\"b\":[{\"c\":\"},\"}, 2]}");
	/* `source` belongs to platform events, `page` to clicks. */
	gives(EVENT_TYPE_click, "{\"source\":\"web\",\"page\":\"/\"}", "{\"source\":\"web\"}");
	gives(EVENT_TYPE_platform, "{\"source\":\"web\",\"page\":\"/\"}", "{\"page\":\"/\"}");
	gives(EVENT_TYPE_click, "{\"q\\\"x\":\"\\\\\",\"z\":null}", "{\"q\\\"x\":\"\\\\\",\"z\":null}");
}

static void test_broken(void **state)
{
	static const char *const broken[] = {"", "[1]", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":[",
		"{\"a\":\"x", "{\"a\":\"x\\", "{\"a\":]", "{a:1}", "{\"a\"}", "{,}"};
	char out[100];

	(void)state;
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
		assert_int_equal(
			extra_of(out, sizeof out, EVENT_TYPE_click, broken[i], strlen(broken[i])), 0);
}

/* The result never is longer than the room that the header asks for, nor than what it is given. */
static void test_room(void **state)
{
	static char raw[EVENT_BYTES_MAX], out[EVENT_BYTES_MAX + 2];
	size_t n;

	(void)state;
	memset(raw, ' ', sizeof raw);
	memcpy(raw, "{\"a\":\"", 6);
	memset(raw + 6, 'x', sizeof raw - 8);
	memcpy(raw + sizeof raw - 2, "\"}", 2);
	n = extra_of(out, sizeof out, EVENT_TYPE_click, raw, sizeof raw);
	assert_int_equal(n, sizeof raw);
	assert_memory_equal(out, raw, n);
	for (size_t room = 0; room < 40; room++)
		assert_true(extra_of(out, room, EVENT_TYPE_click,
				    "{\"a\":1,\"b\":2,\"c\":\"long enough to be cut\"}", 42) <= room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_extra),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
