/* The JSON writer: exact escapes, and valid JSON for any bytes (read back by jansson). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* One byte that needs more, at every place of texts of every length up to some vectors'. */
static void test_places(void **state)
{
	static const char *const one[] = {"\"", "\x1f", "\xff"}, *const put[] = {
									 "\\\"", "\\u001f", "\xef\xbf\xbd"};

	(void)state;
	for (size_t bytes = 1; bytes <= 70; bytes++)
		for (size_t place = 0; place < bytes; place++)
			for (int k = 0; k < 3; k++) {
				char *in = malloc(bytes),
				     want[100] = "\""; /* its own size: reads beyond are seen */

				assert_non_null(in);
				memset(in, 'a', bytes);
				in[place] = *one[k];
				memset(want + 1, 'a', place);
				memcpy(want + 1 + place, put[k], strlen(put[k]));
				memset(want + 1 + place + strlen(put[k]), 'a', bytes - place - 1);
				want[bytes + strlen(put[k])] = '"';
				check(in, bytes, want);
				free(in);
			}
}

static void test_digits(void **state)
{
	uint64_t power = 1;

	(void)state;
	for (int digits = 0; digits < 20; digits++, power *= 10)
		for (int near = -1; near <= 12; near++) {
			struct bytes out = {0};
			char want[32];

			json_put_u64(&out, power + (uint64_t)(int64_t)near);
			snprintf(want, sizeof want, "%llu",
				(unsigned long long)(power + (uint64_t)(int64_t)near));
			assert_int_equal(out.bytes, strlen(want));
			assert_memory_equal(out.data, want, out.bytes);
			bytes_free(&out);
		}
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

/* Long texts of characters drawn from a few: as each character by itself, and cut where its costs say. */
static void test_long_texts(void **state)
{
	static const char *const unit[] = {
		"\"", "\\", "\x01", "\n", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff", " ", "~", "\x7f"};

	(void)state;
	srandom(5);
	for (int round = 0; round < 20000; round++) {
		size_t units = (size_t)random() % 90, value_max = (size_t)random() % 120, fits = 0,
		       text_bytes = 0;
		size_t written_max = (size_t)random() % 120, value = 0, written = 0;
		struct bytes want = {0}, out = {0};
		char text[400];
		bool cut = false;

		bytes_put(&want, "\"", 1);
		for (size_t i = 0; i < units; i++) {
			char letter[2] = {(char)('a' + random() % 26), 0};
			const char *u = random() % 12 ? letter
						      : unit[(size_t)random() % (sizeof unit / sizeof *unit)];
			struct bytes one = {0};
			size_t n = strlen(u), costs = *u == '\xff' ? 3 : n;

			memcpy(text + text_bytes, u, n);
			text_bytes += n;
			json_put_string(&one, u, n);
			bytes_put(&want, one.data + 1, one.bytes - 2);
			value += costs;
			written += (uint8_t)*u < 0x20 ? 6 : *u == '"' || *u == '\\' ? 2 : costs;
			bytes_free(&one);
			cut = cut || value > value_max || written > written_max;
			fits += cut ? 0 : n;
		}
		bytes_put(&want, "\"", 1);
		json_put_string(&out, text, text_bytes);
		assert_int_equal(out.bytes, want.bytes);
		assert_memory_equal(out.data, want.data, want.bytes);
		assert_int_equal(json_text_fit(text, text_bytes, value_max, written_max), fits);
		bytes_free(&out);
		bytes_free(&want);
	}
}

static void test_numbers(void **state)
{
	static const int64_t number[] = {0, 1, -1, 9, 10, -10, 99999, 1796035368051, INT64_MAX, INT64_MIN};

	(void)state;
	for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
		struct bytes out = {0};
		char want[48];

		json_put_i64(&out, number[i]);
		json_put_u64(&out, (uint64_t)number[i]);
		snprintf(want, sizeof want, "%ld%lu", number[i], (uint64_t)number[i]);
		assert_int_equal(out.bytes, strlen(want));
		assert_memory_equal(out.data, want, out.bytes);
		bytes_free(&out);
	}
}

static void time_check(int64_t ms)
{
	int64_t part = ms % 1000 < 0 ? ms % 1000 + 1000 : ms % 1000;
	time_t seconds = (time_t)(ms / 1000 - (ms % 1000 < 0));
	struct bytes out = {0};
	char want[64] = "null";
	struct tm tm;

	if (gmtime_r(&seconds, &tm) && tm.tm_year >= -1900 && tm.tm_year <= 9999 - 1900)
		snprintf(want, sizeof want, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", tm.tm_year + 1900,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)part);
	json_put_time(&out, ms);
	assert_int_equal(out.bytes, strlen(want));
	assert_memory_equal(out.data, want, out.bytes);
	bytes_free(&out);
}

/* Days from before the year 0 to behind the year 9999, and the last ms before each. */
static void test_times(void **state)
{
	const int64_t day_ms = 86400000;

	(void)state;
	for (int64_t day = -720000; day < 2933000; day += day < 0 || day > 40000 ? 7 : 1) {
		time_check(day * day_ms - 1);
		time_check(day * day_ms);
	}
	for (int64_t year = -1; year < 10001; year++) { /* leap days, and what is near them */
		int64_t day = (year * 146097 - 719528 * 400 + 399) / 400;

		for (int64_t i = 55; i < 65; i++)
			time_check((day + i) * day_ms);
	}
	for (int64_t ms = 0; ms < day_ms; ms += 9999)
		time_check(1796035200000 + ms);
	time_check(INT64_MIN);
	time_check(INT64_MAX);
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
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings), cmocka_unit_test(test_places),
		cmocka_unit_test(test_digits), cmocka_unit_test(test_fit), cmocka_unit_test(test_long_texts),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_times),
		cmocka_unit_test(test_random_bytes_are_valid_json)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
