/* CRC-32C by the SSE4.2 instruction. Three streams hide the instruction's latency of three cycles; their sums
 * are joined by multiplication with x^(8n) modulo the polynomial, in tables made at first use of a stripe
 * size. Method: Intel, "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction", 2011. */
#include "crc32c.h"

#include <nmmintrin.h>
#include <string.h>

#define STRIPE 1024u /* bytes of one stream in a round */

/* shift_table[k][b]: the sum b << (8k) after STRIPE zero bytes more. */
static uint32_t shift_table[4][256];

static uint32_t crc_zeros(uint32_t crc, unsigned bytes)
{
	while (bytes--)
		crc = _mm_crc32_u8(crc, 0);
	return crc;
}

__attribute__((constructor)) static void crc32c_init(void)
{
	uint32_t bit[32];

	for (unsigned i = 0; i < 32; i++)
		bit[i] = crc_zeros(1u << i, STRIPE);
	for (unsigned k = 0; k < 4; k++)
		for (unsigned b = 0; b < 256; b++)
			for (unsigned i = 0; i < 8; i++)
				if (b >> i & 1)
					shift_table[k][b] ^= bit[8 * k + i];
}

static uint32_t crc_shift(uint32_t crc)
{
	return shift_table[0][crc & 255] ^ shift_table[1][crc >> 8 & 255] ^ shift_table[2][crc >> 16 & 255] ^
	       shift_table[3][crc >> 24];
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
	const uint8_t *p = data;
	uint64_t a = crc ^ 0xffffffffu;

	for (; bytes >= 3 * STRIPE; bytes -= 3 * STRIPE, p += 3 * STRIPE) {
		uint64_t b = 0, c = 0;

		for (unsigned i = 0; i < STRIPE; i += 8) {
			a = _mm_crc32_u64(a, load64(p + i));
			b = _mm_crc32_u64(b, load64(p + STRIPE + i));
			c = _mm_crc32_u64(c, load64(p + 2 * STRIPE + i));
		}
		a = crc_shift(crc_shift((uint32_t)a) ^ (uint32_t)b) ^ c;
	}
	for (; bytes >= 8; bytes -= 8, p += 8)
		a = _mm_crc32_u64(a, load64(p));
	for (; bytes; bytes--, p++)
		a = _mm_crc32_u8((uint32_t)a, *p);
	return (uint32_t)a ^ 0xffffffffu;
}
