/* Lists of single addresses: what is one, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "address_list.h"
#include "ip_text.h"

static uint32_t find(const struct address_list *list, const char *text)
{
	uint8_t addr[16];

	assert_true(ip_from_text(addr, (const uint8_t *)text, (uint32_t)strlen(text)));
	return address_list_find(list, addr);
}

static void test_good(void **state)
{
	struct address_list list;
	struct err err;

	(void)state;
	assert_int_equal(address_list_from_text(&list, "", &err), 0);
	assert_int_equal(list.count, 0);
	assert_int_equal(address_list_from_text(&list, " 192.0.2.2 ,2001:db8::2, fe80::1", &err), 0);
	assert_int_equal(list.count, 3);
	assert_int_equal(find(&list, "192.0.2.2"), 0);
	assert_int_equal(find(&list, "2001:db8:0::2"), 1);
	assert_int_equal(find(&list, "fe80::1"), 2);
	assert_int_equal(find(&list, "::192.0.2.2"), ADDRESS_LIST_MAX);
	assert_int_equal(find(&list, "192.0.2.3"), ADDRESS_LIST_MAX);
	assert_true(address_list_has_v6(&list));
	assert_int_equal(address_list_from_text(&list,
				 "10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6,"
				 "10.0.0.7,10.0.0.8",
				 &err),
		0);
	assert_int_equal(list.count, ADDRESS_LIST_MAX);
	assert_false(address_list_has_v6(&list));
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *expect;
	} row[] = {
		{"x", "'x' is no address"},
		{"192.0.2.2,", "'' is no address"},
		{",192.0.2.2", "'' is no address"},
		{"192.0.2.2 192.0.2.3", "'192.0.2.2 192.0.2.3' is no address"},
		{"192.0.2.0/24", "is no address"},
		{"192.0.2.2,192.0.2.2", "'192.0.2.2' is there twice"},
		{"2001:db8::2,2001:db8:0:0::2", "is there twice"},
		{"192.0.2.2,::ffff:192.0.2.2", "is there twice"},
		{"0.0.0.0", "is no address of a host"},
		{"0.1.2.3", "is no address of a host"},
		{"127.0.0.1", "is no address of a host"},
		{"224.0.0.1", "is no address of a host"},
		{"255.255.255.255", "is no address of a host"},
		{"::", "is no address of a host"},
		{"::1", "is no address of a host"},
		{"ff02::1", "is no address of a host"},
		{"10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6,10.0.0.7,10.0.0.8,10.0.0.9",
			"more than 8 addresses"},
		{"1111111111111111111111111111111111111111111111111111111111111111111111111111", "is no "
												 "address"},
	};
	struct address_list list;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		assert_int_equal(address_list_from_text(&list, row[i].text, &err), -22);
		if (!strstr(err.text, row[i].expect))
			fail_msg("for %s\ngot      %s\nexpected %s", row[i].text, err.text, row[i].expect);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
