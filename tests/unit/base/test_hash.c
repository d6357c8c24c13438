/* Hashes of byte strings: known values, which are on disk, and the variant for texts in records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hash.h"

/* Partitions and registers are made of them: they stay what they are. */
static void test_known(void **state)
{
	(void)state;
	assert_int_equal(hash_bytes("", 0, 0), 0xd79c8ef497eec89ull);
	assert_int_equal(hash_bytes("u7", 2, 0), 0xf27c1da2046d2fdcull);
	assert_int_equal(hash_bytes("u00001234", 9, 0), 0x3ca8bc9da44e50c3ull);
	assert_int_equal(hash_bytes("0123456789abcdef0123456789abcdef", 32, 7), 0x5ab9345ac0f3c056ull);
}

static void test_text_is_the_same(void **state)
{
	uint8_t bytes[8 + 70];
	uint64_t seed = 1;

	(void)state;
	for (uint32_t round = 0; round < 200; round++)
		for (uint32_t n = 0; n <= 70; n++) {
			for (size_t i = 0; i < sizeof bytes; i++)
				bytes[i] = (uint8_t)(seed = hash_u64(seed + i));
			assert_int_equal(hash_text(bytes + 8, n), hash_bytes(bytes + 8, n, 0));
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_text_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
