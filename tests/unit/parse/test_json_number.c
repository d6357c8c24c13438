/* Numbers: the double must be the C library's for every digit string, the grammar RFC 8259's. */
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
	double want = strtod(text, NULL), got = 0;
	struct number n;
	const uint8_t *raw = padded_copy(text, bytes);
	const uint8_t *end = number_walk(raw, raw + bytes, &n);
	bool finite;

	assert_ptr_equal(end, raw + bytes);
	finite = number_double(jp, &n, raw, bytes, &got);
	if (finite != !__builtin_isinf(want) || (finite && memcmp(&got, &want, sizeof got) != 0))
		fail_msg("%s: %.17g, want %.17g", text, got, want);
	free((void *)(uintptr_t)raw);
}

static void test_known(void **state)
{
	static const char *const numbers[] = {"0", "-0", "0.0", "-0e99", "1", "-1", "0.1", "42.7", "1e22",
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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_random),
		cmocka_unit_test(test_long), cmocka_unit_test(test_grammar)};
	int failed;

	jp = json_parser_new(0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	json_parser_free(jp);
	return failed;
}
