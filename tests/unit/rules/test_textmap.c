/* Byte-string tables against a plain list: growth, every length, keys that share their first bytes. */
#include <stdio.h>

#include "rule_event_make.h"
#include "textmap.h"

static void test_find_and_add(void **state)
{
	struct textmap map = {0};
	static char key[5000][80];

	(void)state;
	assert_null(textmap_find(&map, "x", 1));
	assert_null(textmap_find(&map, "", 0));
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t bytes =
			(uint32_t)snprintf(key[i], 80, "%c%u%.*s", (int)(i % 26) + 'a', i, (int)(i % 70),
				"----------------------------------------------------------------------");
		struct textmap_slot *slot = textmap_add(&map, key[i], bytes);

		assert_int_equal(slot->value, TEXTMAP_NONE);
		slot->value = i;
		assert_ptr_equal(textmap_add(&map, key[i], bytes), slot);
	}
	assert_int_equal(map.count, 5000);
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t bytes = (uint32_t)strlen(key[i]);

		assert_int_equal(textmap_find(&map, key[i], bytes)->value, i);
		key[i][bytes] = '!';
		assert_null(textmap_find(&map, key[i], bytes + 1));
		key[i][bytes] = 0;
	}
	assert_null(textmap_find(&map, "", 0));
	textmap_add(&map, "", 0)->value = 7;
	assert_int_equal(textmap_find(&map, "", 0)->value, 7);
	textmap_free(&map);
	assert_null(textmap_find(&map, "", 0));
}

/* Zero bytes are keys like others. */
static void test_binary(void **state)
{
	struct textmap map = {0};

	(void)state;
	textmap_add(&map, "\0a", 2)->value = 1;
	textmap_add(&map, "\0", 1)->value = 2;
	assert_int_equal(textmap_find(&map, "\0a", 2)->value, 1);
	assert_int_equal(textmap_find(&map, "\0", 1)->value, 2);
	assert_null(textmap_find(&map, "\0\0", 2));
	textmap_free(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_and_add), cmocka_unit_test(test_binary)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
