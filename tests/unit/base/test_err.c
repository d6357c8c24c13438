/* Error texts: cut to fit, prefixed, NULL-safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"

static void test_set_and_prefix(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set(&err, -22, "bad %s", "value"), -22);
	assert_string_equal(err.text, "bad value");
	err_prefix(&err, "file:%d", 3);
	assert_string_equal(err.text, "file:3: bad value");
	assert_int_equal(err_set(NULL, -5, "x"), -5);
	err_prefix(NULL, "x");
}

static void test_cut(void **state)
{
	struct err err;
	char big[2000];

	(void)state;
	memset(big, 'a', sizeof big - 1);
	big[sizeof big - 1] = 0;
	err_set(&err, -1, "%s", big);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	err_prefix(&err, "front");
	assert_int_equal(strncmp(err.text, "front: aaa", 10), 0);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_set_and_prefix), cmocka_unit_test(test_cut)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
