/* Lists of address ranges: against each range by itself, and what is no list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ip_list.h"
#include "ip_text.h"

static bool has(const struct ip_list *list, const char *text)
{
	uint8_t addr[16];

	assert_true(ip_from_text(addr, (const uint8_t *)text, (uint32_t)strlen(text)));
	return ip_list_has(list, addr);
}

static void edges(void **state)
{
	struct ip_list list;
	struct err err;

	(void)state;
	assert_int_equal(ip_list_from_text(&list,
				 " 192.0.2.16/28,10.0.0.0/8 , 2001:db8::/32,192.0.2.7, 11.0.0.0/8", &err),
		0);
	assert_int_equal(list.count, 4); /* two of them touch */
	assert_false(has(&list, "9.255.255.255"));
	assert_true(has(&list, "10.0.0.0"));
	assert_true(has(&list, "11.255.255.255"));
	assert_false(has(&list, "12.0.0.0"));
	assert_false(has(&list, "192.0.2.6"));
	assert_true(has(&list, "192.0.2.7"));
	assert_false(has(&list, "192.0.2.8"));
	assert_true(has(&list, "192.0.2.16"));
	assert_true(has(&list, "192.0.2.31"));
	assert_false(has(&list, "192.0.2.32"));
	assert_true(has(&list, "2001:db8::"));
	assert_true(has(&list, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
	assert_false(has(&list, "2001:db9::"));
	assert_false(has(&list, "::10.0.0.1")); /* not the mapped one */
	assert_int_equal(ip_list_from_text(&list, "", &err), 0);
	assert_false(has(&list, "10.0.0.1"));
	assert_int_equal(ip_list_from_text(&list, "::/0", &err), 0);
	assert_true(has(&list, "10.0.0.1"));
	assert_true(has(&list, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
}

static void random_lists(void **state)
{
	unsigned seed = 5;

	(void)state;
	for (int run = 0; run < 300; run++) {
		int count = 1 + rand_r(&seed) % 12;
		struct ip_list list, one[12];
		char text[12 * 24] = "";
		struct err err;

		for (int i = 0; i < count; i++) {
			uint32_t bits = 24 + (uint32_t)rand_r(&seed) % 9;
			uint32_t last = ((uint32_t)rand_r(&seed) & 0xff) >> (32 - bits) << (32 - bits);
			char entry[24];

			snprintf(entry, sizeof entry, "10.0.0.%u/%u", last & 0xff, bits);
			assert_int_equal(ip_list_from_text(&one[i], entry, &err), 0);
			snprintf(
				text + strlen(text), sizeof text - strlen(text), "%s%s", i ? "," : "", entry);
		}
		assert_int_equal(ip_list_from_text(&list, text, &err), 0);
		for (uint32_t n = 0; n < 256; n++) {
			uint8_t addr[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = (uint8_t)n};
			bool any = false;

			for (int i = 0; i < count; i++)
				any |= ip_list_has(&one[i], addr);
			assert_int_equal(ip_list_has(&list, addr), any);
		}
	}
}

static void refused(void **state)
{
	const char *bad[] = {"10.0.0.0/33", "10.0.0.1/8", "x", ",", "10.0.0.1,", "10.0.0.1,,10.0.0.2", " ",
		"10.0.0.1 2", "1.2.3.4/", "2001:db8::/129",
		"2001:db8:1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd"};
	char many[65 * 12] = "";
	struct ip_list list;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_not_equal(ip_list_from_text(&list, bad[i], &err), 0);
	for (int i = 0; i < 65; i++)
		snprintf(many + strlen(many), sizeof many - strlen(many), "%s10.0.%d.1", i ? "," : "", i);
	assert_int_not_equal(ip_list_from_text(&list, many, &err), 0);
	assert_string_equal(err.text, "more than 64 ranges");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges),
		cmocka_unit_test(random_lists),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
