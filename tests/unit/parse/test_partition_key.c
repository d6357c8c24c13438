/* The partition key: fallback chain, decoded bytes, and that nothing but the key counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parse_util.h"

static struct json_parser *jp;

static uint64_t key_of(const char *text, char *out, uint32_t *bytes)
{
	uint8_t *raw = padded_copy(text, strlen(text));
	const uint8_t *key;
	struct event ev;
	uint64_t hash;

	memset(&ev, 0, sizeof ev);
	ev.src_addr[15] = 9;
	json_parser_reset(jp);
	json_parse_event(jp, raw, (uint32_t)strlen(text), EVENT_TYPE_NONE, NOW_MS, &limits_any, &ev);
	hash = event_partition_key(&ev, &key, bytes);
	assert_true(*bytes <= 64);
	memcpy(out, key, *bytes);
	free(raw);
	return hash;
}

static void test_chain(void **state)
{
	char a[64], b[64];
	uint32_t a_bytes, b_bytes;
	uint64_t hash;

	(void)state;
	hash = key_of("{\"user_id\":\"u1\",\"ts\":1,\"page\":\"\"}", a, &a_bytes);
	assert_int_equal(a_bytes, 2);
	assert_memory_equal(a, "u1", 2);
	assert_true(
		hash == key_of("{\"source\":\"s\",\"ts\":2,\"attributes\":{\"user_id\":\"\\u0075\\u0031\"}}",
				b, &b_bytes));
	assert_int_equal(b_bytes, 2);
	assert_memory_equal(b, "u1", 2);
	assert_true(hash != key_of("{\"user_id\":\"u2\",\"ts\":1,\"page\":\"\"}", b, &b_bytes));
	/* event id: by its 16 bytes, so that the case of its letters does not matter */
	hash = key_of("{\"source\":\"s\",\"ts\":2,\"event_id\":\"0B8E5C7A-1F2E-4D3C-9A5B-0123456789AB\"}", a,
		&a_bytes);
	assert_true(
		hash ==
		key_of("{\"source\":\"s\",\"ts\":2,\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\"}", b,
			&b_bytes));
	assert_int_equal(a_bytes, 16);
	assert_memory_equal(a, b, 16);
	/* nothing else, or refused: the source address */
	hash = key_of("{\"source\":\"s\",\"ts\":2}", a, &a_bytes);
	assert_int_equal(a_bytes, 16);
	assert_int_equal(a[15], 9);
	assert_true(hash == key_of("{\"user_id\":\"u1\"}", b, &b_bytes));
	assert_true(hash == key_of("nonsense", b, &b_bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_chain)};
	int failed;

	jp = json_parser_new(0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	json_parser_free(jp);
	return failed;
}
