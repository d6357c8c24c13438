/* crc32c against the check values of RFC 3720 B.4 and against a bit-by-bit model on every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "avx2.h"
#include "crc32c.h"

static uint32_t model(const uint8_t *p, size_t bytes)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= p[i];
		for (int b = 0; b < 8; b++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc ^ 0xffffffffu;
}

static void test_rfc3720(void **state)
{
	uint8_t zeros[32] = {0}, ones[32], up[32];

	(void)state;
	memset(ones, 0xff, sizeof ones);
	for (int i = 0; i < 32; i++)
		up[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa);
	assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
	assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

static void test_against_model(void **state)
{
	static uint8_t buf[20000];
	uint32_t seed = 1;

	(void)state;
	for (size_t i = 0; i < sizeof buf; i++)
		buf[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
	for (size_t n = 0; n < sizeof buf; n += n < 4000 ? 13 : 997)
		for (int plain = 0; plain < 2; plain++) {
			avx2_barred = plain;
			assert_int_equal(crc32c(0, buf, n), model(buf, n));
			assert_int_equal(
				crc32c(crc32c(0, buf, n / 3), buf + n / 3, n - n / 3), model(buf, n));
		}
	avx2_barred = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc3720), cmocka_unit_test(test_against_model)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
