/* Committed positions as text: what is written is read back, everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "position.h"

static int parse(const char *text, uint64_t *next)
{
	uint32_t version;

	return position_parse(text, strlen(text), &version, next);
}

static void test_round(void **state)
{
	const uint64_t values[] = {0, 1, 10, 1234567890123ull, UINT64_MAX};
	char text[POSITION_TEXT_BYTES];
	uint32_t version = 0;
	uint64_t next;

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		size_t bytes = position_text(text, values[i]);

		assert_true(bytes < sizeof text);
		next = ~values[i];
		assert_int_equal(position_parse(text, bytes, &version, &next), 0);
		assert_int_equal(version, 2);
		assert_true(next == values[i]);
	}
	assert_int_equal(position_text(text, 42), strlen("sluice-position/2 next=42"));
	assert_string_equal(text, "sluice-position/2 next=42");
	/* What was written before. */
	assert_int_equal(position_parse("sluice-position/1 next=42", 25, &version, &next), 0);
	assert_int_equal(version, 1);
	assert_int_equal(next, 42);
}

static void test_refused(void **state)
{
	uint32_t version = 7;
	uint64_t next = 7;

	(void)state;
	assert_int_equal(parse("", &next), -EINVAL);
	assert_int_equal(parse("42", &next), -EINVAL);
	assert_int_equal(parse("sluice-position/1 next=", &next), -EINVAL);
	assert_int_equal(parse("sluice-position/1 next=-1", &next), -EINVAL);
	assert_int_equal(parse("sluice-position/1 next=1 ", &next), -EINVAL);
	assert_int_equal(parse("sluice-position/1 next=1\n", &next), -EINVAL);
	assert_int_equal(parse("sluice-position/1 next=18446744073709551616", &next), -EINVAL);
	assert_int_equal(parse("sluice-position/1 next=99999999999999999999999", &next), -EINVAL);
	assert_int_equal(parse("sluice-position/3 next=1", &next), -ENOTSUP);
	assert_int_equal(parse("sluice-position/", &next), -EINVAL);
	assert_int_equal(parse("sluice-position/0 next=1", &next), -ENOTSUP);
	assert_int_equal(parse("sluice-position/2 last=1", &next), -EINVAL);
	/* A zero byte does not end it. */
	assert_int_equal(position_parse("sluice-position/1 next=1\0002", 26, &version, &next), -EINVAL);
	assert_int_equal(version, 7);
	assert_int_equal(next, 7);
}

static void test_key(void **state)
{
	char key[ADDRESS_TEXT_BYTES];

	(void)state;
	position_key(key, "kafka", "sluice-1", 0xabc, 3);
	assert_string_equal(key, "kafka/sluice-1/0000000000000abc/3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round), cmocka_unit_test(test_refused), cmocka_unit_test(test_key)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
