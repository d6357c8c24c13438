/* The JSON writer: exact escapes, and valid JSON for any bytes (read back by jansson). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "json_out.h"

static void check(const void *in, size_t bytes, const char *want)
{
	struct bytes out = {0};

	json_put_string(&out, in, bytes);
	assert_false(out.failed);
	assert_int_equal(out.bytes, strlen(want));
	assert_memory_equal(out.data, want, out.bytes);
	bytes_free(&out);
}

static void test_strings(void **state)
{
	(void)state;
	check("", 0, "\"\"");
	check("a\"b\\c/", 6, "\"a\\\"b\\\\c/\"");
	check("\b\t\n\f\r\x01\x1f", 7, "\"\\b\\t\\n\\f\\r\\u0001\\u001f\"");
	check("a\0b", 3, "\"a\\u0000b\"");
	check("\x7f", 1, "\"\x7f\"");
	check("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
	/* Lone continuation, overlong, surrogate, too high, cut short. */
	check("\x80", 1, "\"\xef\xbf\xbd\"");
	check("\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	check("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	check("\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	check("x\xe2\x82", 3, "\"x\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_fit(void **state)
{
	(void)state;
	assert_int_equal(json_text_fit("", 0, 0, 0), 0);
	assert_int_equal(json_text_fit("abc", 3, 3, 3), 3);
	assert_int_equal(json_text_fit("abc", 3, 2, 3), 2);
	assert_int_equal(json_text_fit("abc", 3, 3, 2), 2);
	/* a character is not cut, what is mended counts as U+FFFD, escapes count where they are written */
	assert_int_equal(json_text_fit("a\xe2\x82\xac", 4, 3, 9), 1);
	assert_int_equal(json_text_fit("a\xe2\x82\xac", 4, 4, 9), 4);
	assert_int_equal(json_text_fit("\xff\xff", 2, 5, 9), 1);
	assert_int_equal(json_text_fit("\x01\x01", 2, 2, 11), 1);
	assert_int_equal(json_text_fit("\"\\", 2, 2, 3), 1);
}

static void test_random_bytes_are_valid_json(void **state)
{
	uint64_t x = 88172645463325252ull;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t in[24];
		size_t bytes = (size_t)round % (sizeof in + 1);
		struct bytes out = {0};
		json_t *back;

		for (size_t i = 0; i < bytes; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			in[i] = (uint8_t)(x >> 32);
			if (x & 1) /* more often in the ranges where sequences begin and end */
				in[i] |= 0x80;
		}
		bytes_put(&out, "{", 1);
		json_put_name(&out, "v");
		json_put_string(&out, in, bytes);
		json_put_name(&out, "n");
		json_put_i64(&out, INT64_MIN);
		bytes_put(&out, "}", 1);
		back = json_loadb((const char *)out.data, out.bytes, JSON_ALLOW_NUL, NULL);
		assert_non_null(back);
		assert_int_equal(json_integer_value(json_object_get(back, "n")), INT64_MIN);
		json_decref(back);
		bytes_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings), cmocka_unit_test(test_fit),
		cmocka_unit_test(test_random_bytes_are_valid_json)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
