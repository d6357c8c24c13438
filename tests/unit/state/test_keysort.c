/* The order of keys against qsort() with the comparison that defines it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "keysort.h"

static const struct keytab *compare_in;

static int compare(const void *x, const void *y)
{
	const struct keysort_item *a = x, *b = y;

	return keysort_compare(keytab_key(compare_in, a->entry), a->entry->key_bytes,
		keytab_key(compare_in, b->entry), b->entry->key_bytes);
}

static uint64_t roll(uint64_t *seed)
{
	*seed = hash_u64(*seed + 1);
	return *seed;
}

/* Keys with long parts in common, zero bytes, and keys that begin others. */
static uint32_t key_make(uint8_t key[128], uint64_t *seed, uint32_t letters)
{
	uint32_t bytes = (uint32_t)(roll(seed) % 60), same = (uint32_t)(roll(seed) % 40);

	memset(key, 0, 128);
	for (uint32_t i = 0; i < bytes; i++)
		key[i] = i < same ? 'x' : (uint8_t)(roll(seed) % letters);
	return bytes;
}

static void run(uint32_t keys, uint32_t letters, uint64_t seed)
{
	struct keysort_item *item[3];
	struct huge_pool pool = {0};
	struct keytab_entry *e;
	struct keytab kt;
	uint32_t at = 0, ref;
	size_t count = 0;

	keytab_init(&kt, 8, &pool);
	for (uint32_t i = 0; i < keys; i++) {
		_Alignas(8) uint8_t key[128];
		uint32_t bytes = key_make(key, &seed, letters), tag = keytab_tag(0, key, bytes);

		if (!keytab_find(&kt, tag, key, bytes, NULL))
			keytab_add(&kt, tag, key, bytes, NULL);
	}
	for (int i = 0; i < 3; i++)
		item[i] = calloc(keys + 1, sizeof *item[i]);
	while ((e = keytab_next(&kt, &at, &ref)))
		item[0][count++].entry = e;
	memcpy(item[1], item[0], count * sizeof *item[0]);
	keysort(&kt, item[0], item[2], count);
	compare_in = &kt;
	qsort(item[1], count, sizeof *item[1], compare);
	for (size_t i = 0; i < count; i++)
		assert_ptr_equal(item[0][i].entry, item[1][i].entry);
	for (int i = 0; i < 3; i++)
		free(item[i]);
	keytab_free(&kt);
	huge_pool_free(&pool);
}

static void test_small(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < 400; n++)
		run(n % 80, 1 + n % 5, n);
}

static void test_large(void **state)
{
	(void)state;
	run(20000, 2, 1);
	run(20000, 256, 2);
	run(60000, 3, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
