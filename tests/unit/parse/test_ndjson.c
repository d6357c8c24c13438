/* Lines of a datagram. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ndjson.h"
#include "parse_util.h"

/* want: the lines, each followed by '|'. */
static void check(const char *data, size_t bytes, const char *want)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);
	struct ndjson lines;
	const uint8_t *line;
	uint32_t line_bytes;
	char got[200];
	size_t at = 0;

	assert_non_null(copy);
	memcpy(copy, data, bytes);
	lines = ndjson_start(copy, (uint32_t)bytes);
	while (ndjson_next(&lines, &line, &line_bytes)) {
		assert_true(line >= copy && line + line_bytes <= copy + bytes && line_bytes);
		at += (size_t)snprintf(got + at, sizeof got - at, "%.*s|", (int)line_bytes, line);
	}
	got[at] = 0;
	assert_string_equal(got, want);
	assert_false(ndjson_next(&lines, &line, &line_bytes));
	free(copy);
}

#define CHECK(data, want) check(data, sizeof data - 1, want)

static void test_lines(void **state)
{
	(void)state;
	CHECK("", "");
	CHECK("\n", "");
	CHECK("\r\n", "");
	CHECK("\n\n\r\n \t\n  ", "");
	CHECK("a", "a|");
	CHECK("a\n", "a|");
	CHECK("a\r\n", "a|");
	CHECK("a\nb", "a|b|");
	CHECK("a\r\nb\r\n", "a|b|");
	CHECK("\n\na\n\n\nb\n\n", "a|b|");
	CHECK("a\r", "a|");
	CHECK("a\rb\r\r\n", "a\rb\r|");
	CHECK(" a \n", " a |");
}

static void test_long(void **state)
{
	size_t bytes = 3 * EVENT_BYTES_MAX;
	uint8_t *data = malloc(bytes);
	struct ndjson lines;
	const uint8_t *line;
	uint32_t line_bytes;

	(void)state;
	assert_non_null(data);
	memset(data, 'x', bytes);
	data[2 * EVENT_BYTES_MAX] = '\n';
	lines = ndjson_start(data, (uint32_t)bytes);
	assert_true(ndjson_next(&lines, &line, &line_bytes));
	assert_int_equal(line_bytes, 2 * EVENT_BYTES_MAX);
	assert_true(ndjson_next(&lines, &line, &line_bytes));
	assert_int_equal(line_bytes, EVENT_BYTES_MAX - 1);
	assert_false(ndjson_next(&lines, &line, &line_bytes));
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_long)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
