/* Addresses as text: the C library's judgement is the oracle, over known forms and random text. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ip_text.h"

static bool oracle(uint8_t out[16], const char *text)
{
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	return inet_pton(AF_INET, text, out + 12) == 1 || inet_pton(AF_INET6, text, out) == 1;
}

static void check(const char *text)
{
	uint8_t want[16], got[16];
	bool is = oracle(want, text);

	if (ip_from_text(got, (const uint8_t *)text, (uint32_t)strlen(text)) != is)
		fail_msg("'%s': wanted %s", text, is ? "an address" : "none");
	if (is)
		assert_memory_equal(got, want, 16);
}

static void test_known(void **state)
{
	static const char *const text[] = {"1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3",
		"1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "01.2.3.4", "1.2.3.04", "1.2.3.4 ", " 1.2.3.4",
		"1.2.3.1000", "", "x", "2001:db8::1", "::", "::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8",
		"1:2:3:4:5:6:7:8:9", "fe80::1%eth0", "::ffff:1.2.3.256", "1.2.3.4:80", "[::1]", "00.0.0.0",
		"1.2.3.00"};
	char longest[100];

	(void)state;
	for (size_t i = 0; i < sizeof text / sizeof *text; i++)
		check(text[i]);
	memset(longest, '1', sizeof longest);
	longest[99] = 0;
	check(longest);
	assert_false(ip_from_text((uint8_t[16]){0}, (const uint8_t *)"::1\0", 4));
}

static void test_random(void **state)
{
	static const char alphabet[] = "0123456789..::af";
	char text[48];

	(void)state;
	srandom(4);
	for (int i = 0; i < 400000; i++) {
		uint32_t n = (uint32_t)random() % 20;

		for (uint32_t k = 0; k < n; k++)
			text[k] = alphabet[(size_t)random() % (sizeof alphabet - 1)];
		text[n] = 0;
		if (i % 2)
			snprintf(text, sizeof text, "%ld.%ld.%ld.%ld", random() % 300, random() % 300,
				random() % 300, random() % 300);
		check(text);
	}
}

static void range(const char *text, const char *first, const char *last)
{
	uint8_t have[2][16], want[2][16];

	if (ip_range_from_text(have[0], have[1], text) != (first != NULL))
		fail_msg("'%s': wanted %s", text, first ? "a range" : "none");
	if (!first)
		return;
	assert_true(oracle(want[0], first));
	assert_true(oracle(want[1], last));
	assert_memory_equal(have[0], want[0], 16);
	assert_memory_equal(have[1], want[1], 16);
}

static void test_ranges(void **state)
{
	static const char *const bad[] = {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8x",
		"10.0.0.0/-1", "10.0.0.0/ 8", "2001:db8::/129", "2001:db8::1/127", "10.0.0/8",
		"10.0.0.0/4294967304", "x"};
	char longest[100];

	(void)state;
	range("10.0.0.0/8", "10.0.0.0", "10.255.255.255");
	range("192.0.2.128/25", "192.0.2.128", "192.0.2.255");
	range("192.0.2.7/32", "192.0.2.7", "192.0.2.7");
	range("192.0.2.7", "192.0.2.7", "192.0.2.7");
	range("0.0.0.0/0", "0.0.0.0", "255.255.255.255");
	range("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
	range("2001:db8::8/125", "2001:db8::8", "2001:db8::f");
	range("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	range("::1", "::1", "::1");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		range(bad[i], NULL, NULL);
	memset(longest, ':', sizeof longest);
	longest[99] = 0;
	range(longest, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known), cmocka_unit_test(test_random), cmocka_unit_test(test_ranges)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
