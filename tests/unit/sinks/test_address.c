/* Texts of addresses and sources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "address.h"
#include "ip_text.h"

static void test_address(void **state)
{
	char out[ADDRESS_TEXT_BYTES];
	struct address at = {.node = "sluice-1", .epoch = 0xabc, .partition = 3, .offset = 42};
	char node[65];

	(void)state;
	assert_int_equal(address_text(out, &at), strlen("sluice-1/0000000000000abc/3/42"));
	assert_string_equal(out, "sluice-1/0000000000000abc/3/42");
	memset(node, 'n', 64);
	node[64] = 0;
	at = (struct address){
		.node = node, .epoch = UINT64_MAX, .partition = UINT32_MAX, .offset = UINT64_MAX};
	assert_true(address_text(out, &at) < ADDRESS_TEXT_BYTES);
	assert_string_equal(out + 64, "/ffffffffffffffff/4294967295/18446744073709551615");
	at = (struct address){.node = "", .offset = 0};
	address_text(out, &at);
	assert_string_equal(out, "/0000000000000000/0/0");
}

static void test_source(void **state)
{
	const uint8_t v4[16] = {[10] = 0xff, 0xff, 10, 0, 255, 7};
	const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
	char out[SOURCE_TEXT_BYTES];

	(void)state;
	assert_int_equal(ip_to_text(out, v4), 10);
	assert_string_equal(out, "10.0.255.7");
	assert_int_equal(ip_to_text(out, v6), 11);
	assert_string_equal(out, "2001:db8::1");
	assert_int_equal(source_port_text(out, v4, 65535), 16);
	assert_string_equal(out, "10.0.255.7:65535");
	assert_int_equal(source_port_text(out, v6, 1), 15);
	assert_string_equal(out, "[2001:db8::1]:1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_address), cmocka_unit_test(test_source)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
