/* Card numbers: which are found and how they are masked, in plain text, in JSON text with escapes, in
 * numbers; what is none; and the finder against a slow one that looks at every pair of places, on random
 * text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cards.h"

static void masked(const char *text, enum cards_text kind, const char *want, uint32_t found)
{
	uint32_t bytes = (uint32_t)strlen(text);
	char *copy = malloc(bytes + 1); /* of just its size: reading on is an error */

	assert_non_null(copy);
	memcpy(copy, text, bytes);
	assert_int_equal(cards_find((uint8_t *)copy, bytes, kind, false), found);
	assert_memory_equal(copy, text, bytes);
	assert_int_equal(cards_find((uint8_t *)copy, bytes, kind, true), found);
	copy[bytes] = 0;
	assert_string_equal(copy, want);
	free(copy);
}

static void test_found(void **state)
{
	(void)state;
	masked("4111111111111111", CARDS_PLAIN, "************1111", 1);
	masked("card 4111 1111 1111 1111, thanks", CARDS_PLAIN, "card **** **** **** 1111, thanks", 1);
	masked("4111-1111-1111-1111", CARDS_PLAIN, "****-****-****-1111", 1);
	masked("4111 - 1111\xc2\xa0"
	       "1111\xe2\x80\x93"
	       "1111",
		CARDS_PLAIN,
		"**** - ****\xc2\xa0****\xe2\x80\x93"
		"1111",
		1);
	masked("x378282246310005y", CARDS_PLAIN, "x***********0005y", 1);
	masked("5555555555554444;30569309025904|6011111111111117", CARDS_PLAIN,
		"************4444;**********5904|************1117", 3);
	masked("2223003122003222 3530111333300000", CARDS_PLAIN, "************3222 ************0000", 2);
	masked("4222222222222", CARDS_PLAIN, "*********2222", 1);	      /* 13 digits */
	masked("6304000000000000000", CARDS_PLAIN, "***************0000", 1); /* 19 */
	/* among other numbers */
	masked("order 12 4111 1111 1111 1111 for 3", CARDS_PLAIN, "order 12 **** **** **** 1111 for 3", 1);
	masked("%B4111111111111111^NAME^2512;4111111111111111=2512", CARDS_PLAIN,
		"%B************1111^NAME^2512;************1111=2512", 2);
}

static void test_not_found(void **state)
{
	static const char *const text[] = {"", "411111111111", "4111111111111112", "1763700000000",
		"2026-11-30 10:11:12", "00000000000000000000", "0000000000000000", "+49 30 1234567 890123",
		"4111111111111111000000000000", "4111    1111 1111 1111", "4111.1111.1111.1111",
		"4111_1111_1111_1111", "5105105105105101", "9111111111111111",
		"550e8400-e29b-41d4-a716-446655440000"};

	(void)state;
	for (size_t i = 0; i < sizeof text / sizeof *text; i++)
		masked(text[i], CARDS_PLAIN, text[i], 0);
}

static void test_escapes(void **state)
{
	(void)state;
	masked("\\u0034111\\u00201111 1111\\u2013111\\u0031", CARDS_JSON,
		"\\u002a***\\u0020**** ****\\u2013111\\u0031", 1);
	masked("a\\n4111111111111111\\\"", CARDS_JSON, "a\\n************1111\\\"", 1);
	masked("4111111111111\\n111", CARDS_JSON, "4111111111111\\n111", 0);
	/* no JSON at all */
	masked("\\u411111111111111111\\", CARDS_JSON, "\\u411111111111111111\\", 0);
	masked("\\ux4111111111111111", CARDS_JSON, "\\ux************1111", 1);
	masked("4111111111111111\\u00", CARDS_JSON, "************1111\\u00", 1);
	/* in plain text a backslash is one */
	masked("\\u00344111111111111111", CARDS_PLAIN, "\\u00344111111111111111", 0);
}

static void test_number(void **state)
{
	(void)state;
	masked("4111111111111111", CARDS_NUMBER, "1000000000001111", 1);
	masked("4111111111111112", CARDS_NUMBER, "4111111111111112", 0);
}

/* ---- another way to say it ---- */

static bool luhn(const char *digits, int n)
{
	int sum = 0;

	for (int i = 0; i < n; i++) {
		int d = digits[n - 1 - i] - '0';

		sum += i % 2 ? (d * 2) / 10 + (d * 2) % 10 : d;
	}
	return sum % 10 == 0;
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Visa and what begins with 6 are all that the alphabet below can make. */
static bool slow_card(const char *text, int from, int to)
{
	char digits[20];
	int n = 0, gap = 0;

	if (!digit(text[from]) || !digit(text[to - 1]) || (from && digit(text[from - 1])) || digit(text[to]))
		return false;
	for (int i = from; i < to; i++) {
		if (digit(text[i])) {
			if (n == 19)
				return false;
			digits[n++] = text[i];
			gap = 0;
		} else if ((text[i] != ' ' && text[i] != '-') || ++gap > 3) {
			return false;
		}
	}
	return n >= 13 && (digits[0] == '4' || digits[0] == '6') && luhn(digits, n);
}

static void slow_mask(char *text, int bytes)
{
	int after = 0;

	for (int to = 1; to <= bytes; to++)
		for (int from = after; from < to; from++) {
			int left = 0;

			if (!slow_card(text, from, to))
				continue;
			for (int i = to; i-- > from;)
				if (digit(text[i]) && ++left > 4)
					text[i] = '*';
			after = to;
			break;
		}
}

static void test_random(void **state)
{
	static const char alphabet[] = "444466600000  --x";
	uint32_t seed = 1, found = 0;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		char a[81], b[81];
		int n = 13 + (int)((seed >> 8) % 60);

		for (int i = 0; i < n; i++) {
			seed = seed * 1664525u + 1013904223u;
			a[i] = alphabet[(seed >> 16) % (round % 2 ? sizeof alphabet - 1 : 13)];
		}
		a[n] = 0;
		memcpy(b, a, sizeof b);
		found += cards_find((uint8_t *)a, (uint32_t)n, CARDS_PLAIN, true);
		slow_mask(b, n);
		assert_string_equal(a, b);
	}
	assert_true(found > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_found), cmocka_unit_test(test_not_found),
		cmocka_unit_test(test_escapes), cmocka_unit_test(test_number), cmocka_unit_test(test_random)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
