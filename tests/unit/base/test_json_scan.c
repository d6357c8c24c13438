/* Ways over JSON: where values end, that nothing is read beyond the end, what escapes decode to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json_scan.h"

/* Exactly as much memory as there is text: what reads further is caught by the address sanitizer. */
static const uint8_t *exact(const char *text, const uint8_t **end)
{
	size_t bytes = strlen(text);
	uint8_t *p = malloc(bytes ? bytes : 1);

	assert_non_null(p);
	memcpy(p, text, bytes);
	*end = p + bytes;
	return p;
}

static void test_values(void **state)
{
	static const struct {
		const char *text;
		int bytes; /* of the value; -1: it does not end */
	} row[] = {{"1", 1}, {"1,", 1}, {"-1.5e3}", 6}, {"true]", 4}, {"null \n", 4}, {"\"\"", 2},
		{"\"a\\\"b\" ,", 6}, {"\"\\\\\",", 4}, {"\"\\\\\\\"", -1}, {"\"", -1}, {"{}", 2}, {"[]x", 2},
		{"{\"a\":\"}\",\"b\":[1,{}]},", 20}, {"[\"]\"]", 5}, {"[[[", -1}, {"{\"a", -1}, {"", -1},
		{",", -1}, {"}", -1}};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		const uint8_t *end, *p = exact(row[i].text, &end), *stop = json_skip_value(p, end);

		if ((stop ? (int)(stop - p) : -1) != row[i].bytes)
			fail_msg("%s: %d", row[i].text, stop ? (int)(stop - p) : -1);
		free((void *)(uintptr_t)p);
	}
}

/* Any bytes: the result lies behind the start and not beyond the end. */
static void test_random(void **state)
{
	static const char alphabet[] = "\"\\{}[]:,1a \n";
	uint64_t seed = 3;
	char text[24];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		const uint8_t *end, *p, *stop;
		uint32_t n;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		n = (uint32_t)(seed >> 60) + 1;
		for (uint32_t k = 0; k < n; k++)
			text[k] = alphabet[(seed >> (k * 3 + 4)) % (sizeof alphabet - 1)];
		text[n] = 0;
		p = exact(text, &end);
		stop = json_skip_value(p, end);
		assert_true(!stop || (stop > p && stop <= end));
		stop = json_skip_text(p, end);
		assert_true(!stop || (stop > p + 1 && stop <= end && stop[-1] == '"'));
		free((void *)(uintptr_t)p);
	}
}

static void test_decode(void **state)
{
	static const char text[] = "a\\u00e9\\ud83d\\ude00\\/\\n\\\"",
			  want[] = "a\xc3\xa9\xf0\x9f\x98\x80/\n\"";
	uint8_t out[sizeof text];

	(void)state;
	assert_int_equal(text_decode(out, (const uint8_t *)text, sizeof text - 1), sizeof want - 1);
	assert_memory_equal(out, want, sizeof want - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values), cmocka_unit_test(test_random), cmocka_unit_test(test_decode)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
