/* The keyed hash against what another implementation (Python's hashlib) gives, over all lengths around its
 * block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "blake2b.h"

static void hash_is(size_t key_bytes, size_t bytes, const char *want)
{
	uint8_t key_text[BLAKE2B_KEY_MAX], data[400], out[BLAKE2B_OUT_BYTES];
	struct blake2b_key key;
	char text[2 * BLAKE2B_OUT_BYTES + 1];

	for (size_t i = 0; i < sizeof key_text; i++)
		key_text[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7);
	blake2b_key_set(&key, key_text, key_bytes);
	blake2b_keyed(&key, data, bytes, out);
	for (size_t i = 0; i < sizeof out; i++)
		snprintf(text + 2 * i, 3, "%02x", out[i]);
	assert_string_equal(text, want);
}

/* hashlib.blake2b(bytes(i * 7 % 256 for i in range(BYTES)), key=bytes(range(KEY)),
 * digest_size=16).hexdigest() */
static void test_lengths(void **state)
{
	static const struct {
		size_t key, bytes;
		const char *digest;
	} row[] = {
		{1, 0, "667428338d33e26cdee2fcbafffde7fe"},
		{1, 16, "44faa2453eabfcf6458d55d1b98b45f7"},
		{1, 128, "cca53f47b2d3a7a3287dffa4ddfda121"},
		{16, 0, "083aac7ba77bc664005d821eb8bfa4d9"},
		{16, 16, "d88b10e673e3442b899a0f96e6821e88"},
		{16, 128, "5f385d865caa9469ea781e5a68455e24"},
		{32, 0, "3daf97bce7888fd59773c66bf647459c"},
		{32, 1, "cb0f7736a53974236661585b8842dd8c"},
		{32, 16, "9bb8bb3baa6bcec417de9b3a09a5144d"},
		{32, 127, "56c50fc8ab3ba8e49d9a5be7ae0dffdd"},
		{32, 128, "bd11151f0fa75b9ddb73aed7a8680701"},
		{32, 129, "481db86c5fab9fc21aced4004fe4b561"},
		{32, 255, "d418df9c502d7ee9256e32f199a5150d"},
		{32, 256, "71092e03bb62daf3e9c7f20e112850a9"},
		{32, 257, "bd32fe38172f0217318adb7343679bdd"},
		{32, 400, "53b511e32eaaa067766edabd01bf53a9"},
		{64, 0, "2ae6b02df83c8d5a85eb7ab86fe3a11f"},
		{64, 1, "c06a03cf64b4bf5b16081e8fb36d3762"},
		{64, 16, "356a986637d169b0c253c433875448b2"},
		{64, 127, "0f0867763174c4e7b3b1a7b01b7da405"},
		{64, 128, "29c5bf47d8698caea76018c3c572d219"},
		{64, 129, "0f4b5eea2e043a8c21cebaff8f41c101"},
		{64, 255, "2e5741fce6fb54de8e2aa938956b5eb8"},
		{64, 256, "7a68e4f93b1f1009a3d05c4fc0cda64e"},
		{64, 257, "d0a8ff0441259a1ae09bc1f215406d4d"},
		{64, 400, "7efa04fe14a58d769757c00a259140cf"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		hash_is(row[i].key, row[i].bytes, row[i].digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
