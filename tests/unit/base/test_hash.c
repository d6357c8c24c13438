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

/* Bytes that equal a constant of hash_bytes(), wherever they stand, hide nothing of what is beside them. */
static void test_nothing_is_hidden(void **state)
{
	const uint64_t constants[] = {HASH_K0, HASH_K1, HASH_K2, 0, ~0ull};
	struct hash_key key = hash_key_of(12345), other = hash_key_of(12346);
	uint64_t word[6], got[64];

	(void)state;
	for (size_t c = 0; c < sizeof constants / sizeof *constants; c++)
		for (size_t words = 1; words <= 6; words++)
			for (size_t at = 0; at < words; at++)
				for (size_t bytes = words * 8 - 7; words > 1 && bytes <= words * 8; bytes++) {
					size_t free_at = at ? 0 : 1;

					for (size_t i = 0; i < 64; i++) {
						memset(word, 0, sizeof word);
						word[at] = constants[c];
						word[free_at] = i;
						got[i] = hash_keyed(&key, word, bytes);
						assert_true(got[i] != hash_keyed(&other, word, bytes));
						for (size_t k = 0; k < i; k++)
							assert_true(got[k] >> 32 != got[i] >> 32);
					}
				}
}

/* Each length is a text of its own. */
static void test_lengths_differ(void **state)
{
	struct hash_key key = hash_key_of(7);
	uint8_t zeros[64] = {0};

	(void)state;
	for (size_t n = 0; n <= sizeof zeros; n++)
		for (size_t k = 0; k < n; k++)
			assert_true(hash_keyed(&key, zeros, n) != hash_keyed(&key, zeros, k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_text_is_the_same),
		cmocka_unit_test(test_nothing_is_hidden),
		cmocka_unit_test(test_lengths_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
