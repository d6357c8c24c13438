/* Numbers: the double must be the C library's for every digit string, but 0 has no sign; the grammar RFC
 * 8259's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parse_util.h"

static struct json_parser *jp;

static void check(const char *text)
{
	uint32_t bytes = (uint32_t)strlen(text);
	double want = strtod(text, NULL) + 0.0, got = 0;
	struct number n;
	const uint8_t *raw = padded_copy(text, bytes);
	const uint8_t *end = number_walk(raw, raw + bytes, &n);
	bool finite;

	assert_ptr_equal(end, raw + bytes);
	finite = number_double(&jp->numbers, &n, raw, bytes, &got);
	if (finite != !__builtin_isinf(want) || (finite && memcmp(&got, &want, sizeof got) != 0))
		fail_msg("%s: %.17g, want %.17g", text, got, want);
	free((void *)(uintptr_t)raw);
}

static void test_known(void **state)
{
	static const char *const numbers[] = {"0", "-0", "0.0", "-0e99", "-1e-400",
		"-0.000000000000000000000000000e-300", "1", "-1", "0.1", "42.7", "1e22",
		"1e23", "9007199254740993", "9007199254740992", "9007199254740991", "18446744073709551615",
		"18446744073709551616", "123456789012345678901234567890", "0.000000000000000000000000001",
		"1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e309",
		"-1e309", "2.2250738585072014e-308", "2.2250738585072011e-308", "4.9e-324", "2.4e-324",
		"2.5e-324", "1e-400", "1e999999999999999999999", "1e-999999999999999999999",
		"0e999999999999999999999", "0.30000000000000004", "72057594037927945", "9223372036854775807",
		"9223372036854776833.0", "1.00000000000000011102230246251565404236316680908203125",
		"1.00000000000000011102230246251565404236316680908203124",
		"1.00000000000000011102230246251565404236316680908203126"};

	(void)state;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		check(numbers[i]);
}

static void test_random(void **state)
{
	uint64_t seed = 7;
	char text[80];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint64_t bits = seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		uint32_t kind = (uint32_t)(seed >> 60);
		double v;

		bits ^= bits >> 29;
		memcpy(&v, &bits, sizeof v);
		if (kind < 4)
			snprintf(text, sizeof text, "%lu.%lue%d", (unsigned long)(bits >> (kind * 16)),
				(unsigned long)(bits & 0xffff), (int)(seed >> 40 & 63) - 32);
		else if (kind < 8)
			snprintf(text, sizeof text, "%.*f", (int)(bits & 15), (double)(int64_t)bits / 1e12);
		else if (__builtin_isfinite(v))
			snprintf(text, sizeof text, "%.*e", (int)(seed >> 50 & 31), v);
		else
			continue;
		check(text);
	}
}

static void test_long(void **state)
{
	char *text = malloc(EVENT_BYTES_MAX + 1);

	(void)state;
	assert_non_null(text);
	memset(text, '9', EVENT_BYTES_MAX);
	text[EVENT_BYTES_MAX] = 0;
	text[1] = '.';
	check(text);
	memset(text + 2, '0', 60000);
	check(text);
	text[1] = '9';
	check(text);
	free(text);
}

static void test_grammar(void **state)
{
	static const char *const bad[] = {"", "-", "+1", ".1", "1.", "01", "-01", "00", "1e", "1e+", "1e-",
		"1.e1", "e1", "-.1", "--1", "1.-1", "Infinity", "NaN"};
	static const struct {
		const char *text;
		uint32_t taken;
	} parts[] = {
		{"1,", 1}, {"0}", 1}, {"1.5e3]", 5}, {"1e5.", 3}, {"0x1", 1}, {"1e5e5", 3}, {"-0.0 ", 4}};
	struct number n;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const uint8_t *p = (const uint8_t *)bad[i];

		assert_null(number_walk(p, p + strlen(bad[i]), &n));
	}
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		const uint8_t *p = (const uint8_t *)parts[i].text;

		assert_ptr_equal(number_walk(p, p + strlen(parts[i].text), &n), p + parts[i].taken);
	}
	/* never beyond the end, whatever stands there */
	assert_null(number_walk((const uint8_t *)parts, (const uint8_t *)parts, &n));
}

/* The millionths of a decimal text without exponent, by long addition of digits; false if it does not fit. */
static bool decimal_reference(const char *text, int64_t *out)
{
	bool negative = *text == '-', point = false;
	unsigned __int128 v = 0;
	int places = 0;

	for (const char *p = text + negative; *p; p++) {
		if (*p == '.') {
			point = true;
		} else if (point && places == 6) {
			if (*p != '0')
				return false;
		} else {
			v = v * 10 + (unsigned)(*p - '0');
			places += point;
			if (v > (unsigned __int128)FIELD_DECIMAL_MAX * 10)
				return false;
		}
	}
	for (; places < 6; places++)
		v *= 10;
	*out = negative ? -(int64_t)v : (int64_t)v;
	return v <= FIELD_DECIMAL_MAX;
}

static void check_decimal(const char *text, bool fits, int64_t want)
{
	struct number n;
	int64_t got = 42;
	const uint8_t *p = (const uint8_t *)text;
	bool ok;

	assert_non_null(number_walk(p, p + strlen(text), &n));
	ok = number_decimal(&n, &got);
	if (ok != fits || (ok && got != want))
		fail_msg("%s: %d %ld, want %d %ld", text, ok, (long)got, fits, (long)want);
}

static void test_decimal_known(void **state)
{
	static const struct {
		const char *text;
		bool fits;
		int64_t want;
	} row[] = {{"0", true, 0}, {"-0", true, 0}, {"-0.000000", true, 0}, {"0e-99999999", true, 0},
		{"12.50", true, 12500000}, {"-12.5", true, -12500000}, {"0.000001", true, 1},
		{"0.0000001", false, 0}, {"0.0000010", true, 1}, {"1e-6", true, 1}, {"1e-7", false, 0},
		{"10e-7", true, 1}, {"1.5e3", true, 1500000000}, {"1E+2", true, 100000000},
		{"9200000000000", true, 9200000000000000000}, {"9200000000000.000001", false, 0},
		{"-9200000000000.000000", true, -9200000000000000000},
		{"9199999999999.999999", true, 9199999999999999999}, {"9300000000000", false, 0},
		{"1e13", false, 0}, {"1e999999999", false, 0}, {"1e-999999999", false, 0},
		{"0.10000000000000000000000000000000", true, 100000},
		{"0.10000000000000000000000000000001", false, 0}, {"12345678901234567890e-8", false, 0},
		{"123456789012345678e-6", true, 123456789012345678},
		{"920000000000000000000000000000e-17", true, 9200000000000000000},
		{"1.000000000000000000000e0", true, 1000000}, {"18446744073709551616", false, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		check_decimal(row[i].text, row[i].fits, row[i].want);
}

static void test_decimal_random(void **state)
{
	uint64_t seed = 11;
	char text[80];

	(void)state;
	for (int i = 0; i < 300000; i++) {
		uint64_t bits = seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		uint32_t whole = (uint32_t)(seed >> 59) % 15, fraction = (uint32_t)(seed >> 50) % 9;
		int64_t want = 0;
		bool fits;

		bits ^= bits >> 29;
		snprintf(text, sizeof text, "%s%lu%s%.*lu%.*s", bits & 1 ? "-" : "",
			(unsigned long)(bits >> 8) % (unsigned long)__builtin_powi(10, (int)whole),
			fraction ? "." : "", (int)fraction,
			fraction ? (unsigned long)(bits >> 3) %
					   (unsigned long)__builtin_powi(10, (int)fraction)
				 : 0,
			fraction ? (int)(bits >> 40) % 20 : 0, "00000000000000000000");
		if (!fraction) /* "%.0lu" of 0 is empty, of the whole part's own zero it is not */
			text[strcspn(text, ".")] = 0;
		fits = decimal_reference(text, &want);
		check_decimal(text, fits, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_random),
		cmocka_unit_test(test_long), cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_decimal_known), cmocka_unit_test(test_decimal_random)};
	int failed;

	jp = json_parser_new(0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	json_parser_free(jp);
	return failed;
}
