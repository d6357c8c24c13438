/* What the parser says of an event's keys against what the sink finds when it looks for them: an event that
 * is said to have no others has none; and one without escapes that has none is said to. */
#include "../parse/parse_util.h"
#include "../parse/type_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "extra_keys.h"
#include "hash.h"

static const char *const members[] = {"\"x\":1", "\"source\":\"web\"", "\"page\":\"/a\"", "\"metric\":1.5",
	"\"attributes\":{\"x\":1,\"metric\":2}", "\"country\":null", "\"device\":\"m\\u0041\"",
	"\"d\\u0065vice\":\"m\"", "\"type_\":true", "\"amount\":\"1.5\"", "\"level\":\"error\"",
	"\"y\":[{\"page\":1}]", "\"zz\":{\"source\":{}}"};

static struct parsers ps;
static _Alignas(8) uint8_t memory[70000];
static uint32_t with, without;

static void check(const char *text)
{
	static char out[EVENT_BYTES_MAX + 2];
	uint32_t bytes = (uint32_t)strlen(text);
	uint8_t *copy = padded_copy(text, bytes);
	struct event ev;
	bool extra;

	memset(&ev, 0, sizeof ev);
	parse_all_ways(&ps, copy, bytes, EVENT_TYPE_NONE, &limits_any, &ev);
	if (!ev.refused) {
		record_write_event(memory, &ev, 0, 0, 0);
		assert_int_equal(!!(((struct record *)memory)->flags & RECORD_F_KNOWN), ev.known);
		extra = extra_keys_json(out, sizeof out, (const struct record *)memory) != 0;
		if (ev.known ? extra : !extra && !strchr(text, '\\'))
			fail_msg("known %d, extra %d: %s", ev.known, extra, text);
		with += extra;
		without += ev.known;
	}
	free(copy);
}

/* A sample with members behind its own, each once. */
static void test_members(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int type = 1; type < EVENT_TYPE_MAX; type++)
		for (uint32_t n = 0; type_sample[type] && n < 3000; n++) {
			char text[2000];
			size_t at = strlen(type_sample[type]) - 1;
			uint32_t picks;

			seed = hash_u64(seed + n);
			picks = (uint32_t)(seed & seed >> 20 &
					   ((1u << sizeof members / sizeof *members) - 1));
			if (n % 4 == 0)
				picks = 0;
			memcpy(text, type_sample[type], at);
			for (uint32_t i = 0; i < sizeof members / sizeof *members; i++)
				if (picks >> i & 1)
					at += (size_t)snprintf(
						text + at, sizeof text - at, ",%s", members[i]);
			snprintf(text + at, sizeof text - at, "}");
			check(text);
		}
	assert_true(with > 1000 && without > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_members)};

	ps = parsers_new();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
