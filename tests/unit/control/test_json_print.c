/* JSON with no more digits than a number needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hash.h"
#include "json_print.h"

static void printed(const char *text, const char *want)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
	char *got = json_print(v, JSON_COMPACT | JSON_ENCODE_ANY);

	assert_non_null(v);
	assert_string_equal(got, want);
	free(got);
	json_decref(v);
}

static void test_texts(void **state)
{
	(void)state;
	printed("{\"a\":0.1,\"b\":[0.30000000000000004,-2.3,1.0,7,1e300,123456789.1]}",
		"{\"a\":0.1,\"b\":[0.30000000000000004,-2.3,1.0,7,1e+300,123456789.1]}");
	printed("[0.10000000000000001,1234567890123456.0,9223372036854775807,-1.1e-7]",
		"[0.1,1234567890123456.0,9223372036854775807,-1.1e-07]");
	/* What stands in a text is no number. */
	printed("{\"0.10000000000000001\":\"\\\"0.10000000000000001\\\\\"}",
		"{\"0.10000000000000001\":\"\\\"0.10000000000000001\\\\\"}");
	printed("[]", "[]");
	printed("0.7", "0.7");
}

/* Any double reads back as itself, and as a real. */
static void test_same(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 200000; i++) {
		uint64_t bits = hash_u64(i);
		double v, back;
		json_t *value, *read;
		char *text;

		memcpy(&v, &bits, sizeof v);
		if (i % 2)
			v = (double)(int64_t)(bits >> 30) / 1000;
		value = json_real(v);
		if (!value)
			continue; /* not finite */
		text = json_print(value, JSON_ENCODE_ANY);
		read = json_loads(text, JSON_DECODE_ANY, NULL);
		assert_true(json_is_real(read));
		back = json_real_value(read);
		assert_memory_equal(&back, &v, sizeof v);
		assert_true(i % 2 == 0 || strlen(text) <= 17);
		free(text);
		json_decref(read);
		json_decref(value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_same)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
