/* Texts of values: exact cases, and what holds for any value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "hash.h"
#include "value_text.h"

static void test_number_cases(void **state)
{
	static const struct {
		double v;
		const char *text;
	} row[] = {{0, "0"}, {-0.0, "0"}, {1, "1"}, {-42, "-42"}, {0.1, "0.1"}, {42.7, "42.7"},
		{1e15, "1000000000000000"}, {9007199254740992.0, "9007199254740992"}, {1e21, "1e+21"},
		{0.1 + 0.2, "0.30000000000000004"}, {1.7976931348623157e308, "1.7976931348623157e+308"},
		{5e-324, "4.94065645841247e-324"}, {-2.2250738585072014e-308, "-2.2250738585072014e-308"},
		{INFINITY, "inf"}, {-INFINITY, "-inf"}, {NAN, "nan"}, {-NAN, "nan"}};
	char out[NUMBER_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		assert_int_equal(number_text(out, row[i].v), strlen(row[i].text));
		assert_string_equal(out, row[i].text);
	}
}

/* Any double: the text fits, reads back, and a shorter %g does not. */
static void test_number_any(void **state)
{
	char out[NUMBER_TEXT_BYTES], shorter[400];

	(void)state;
	for (uint64_t i = 0; i < 200000; i++) {
		uint64_t bits = hash_u64(i);
		double v;
		int digits = 0;
		size_t n;

		memcpy(&v, &bits, sizeof v);
		if (!isfinite(v))
			continue;
		n = number_text(out, v);
		assert_int_equal(n, strlen(out));
		assert_true(strtod(out, NULL) == v);
		for (const char *p = out; *p && *p != 'e'; p++)
			digits += *p >= (digits ? '0' : '1') && *p <= '9'; /* significant ones */
		if (digits < 16 || (fabs(v) <= 9007199254740992.0 && v == trunc(v)))
			continue;
		snprintf(shorter, sizeof shorter, "%.*g", digits - 1, v);
		assert_true(strtod(shorter, NULL) != v);
	}
}

static void test_decimal(void **state)
{
	static const struct {
		__int128 v;
		const char *text;
	} row[] = {{0, "0"}, {1, "0.000001"}, {-1, "-0.000001"}, {12500000, "12.5"}, {-3000000, "-3"},
		{999999, "0.999999"}, {100000, "0.1"}, {INT64_MIN, "-9223372036854.775808"}};
	char out[DECIMAL_TEXT_BYTES];
	__int128 most = (__int128)(~(unsigned __int128)0 >> 1);

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		assert_int_equal(decimal_text(out, row[i].v), strlen(row[i].text));
		assert_string_equal(out, row[i].text);
	}
	decimal_text(out, most);
	assert_string_equal(out, "170141183460469231731687303715884.105727");
	decimal_text(out, -most - 1);
	assert_string_equal(out, "-170141183460469231731687303715884.105728");
}

/* Millionths of a text, or -1: it is none. */
static int64_t decimal_read(const char *text)
{
	int64_t v = 0;

	return decimal_of_text(text, INT64_MAX / 10, &v) ? v : -1;
}

static void test_decimal_read(void **state)
{
	static const char *const none[] = {"", "-", ".5", "5.", "1e3", " 1", "1 ", "+1", "--1", "1.2.3",
		"1.0000001", "922337203685.477581", "99999999999999999999", "0x1"};

	(void)state;
	assert_int_equal(decimal_read("12.5"), 12500000);
	assert_int_equal(decimal_read("-0.000002"), -2);
	assert_int_equal(decimal_read("-3"), -3000000);
	assert_int_equal(decimal_read("007.10"), 7100000);
	assert_int_equal(decimal_read("922337203685.477580"), 922337203685477580);
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		int64_t v;

		assert_false(decimal_of_text(none[i], INT64_MAX / 10, &v));
	}
}

static void test_integer(void **state)
{
	char out[DECIMAL_TEXT_BYTES];

	(void)state;
	assert_int_equal(integer_text(out, INT64_MIN), 20);
	assert_string_equal(out, "-9223372036854775808");
	integer_text(out, 0);
	assert_string_equal(out, "0");
	integer_text(out, INT64_MAX);
	assert_string_equal(out, "9223372036854775807");
}

static void test_uuid(void **state)
{
	char out[UUID_TEXT_BYTES];

	(void)state;
	assert_int_equal(
		uuid_text(out,
			(const uint8_t *)"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"),
		36);
	assert_string_equal(out, "01234567-89ab-cdef-fedc-ba9876543210");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_number_cases),
		cmocka_unit_test(test_number_any),
		cmocka_unit_test(test_decimal),
		cmocka_unit_test(test_decimal_read),
		cmocka_unit_test(test_integer),
		cmocka_unit_test(test_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
