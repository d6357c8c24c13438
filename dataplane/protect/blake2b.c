/* BLAKE2b by RFC 7693, section 3. A library's one allocates when it starts over, which a worker may not. */
#include "blake2b.h"

#include <string.h>

#define BLOCK 128u

static const uint64_t iv[8] = {0x6a09e667f3bcc908ull, 0xbb67ae8584caa73bull, 0x3c6ef372fe94f82bull,
	0xa54ff53a5f1d36f1ull, 0x510e527fade682d1ull, 0x9b05688c2b3e6c1full, 0x1f83d9abfb41bd6bull,
	0x5be0cd19137e2179ull};

static const uint8_t sigma[10][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	{14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
	{7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
	{2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
	{13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
	{10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

static inline uint64_t rotate(uint64_t x, unsigned n)
{
	return x >> n | x << (64 - n);
}

static inline void mix(uint64_t v[16], int a, int b, int c, int d, uint64_t x, uint64_t y)
{
	v[a] += v[b] + x;
	v[d] = rotate(v[d] ^ v[a], 32);
	v[c] += v[d];
	v[b] = rotate(v[b] ^ v[c], 24);
	v[a] += v[b] + y;
	v[d] = rotate(v[d] ^ v[a], 16);
	v[c] += v[d];
	v[b] = rotate(v[b] ^ v[c], 63);
}

/* total: bytes up to and with this block. */
static void compress(uint64_t h[8], const uint8_t block[BLOCK], uint64_t total, int last)
{
	uint64_t v[16], m[16];

	memcpy(m, block, sizeof m);
	memcpy(v, h, 8 * sizeof *v);
	memcpy(v + 8, iv, sizeof iv);
	v[12] ^= total;
	if (last)
		v[14] = ~v[14];
	for (int r = 0; r < 12; r++) {
		const uint8_t *s = sigma[r % 10];

		mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
		mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
		mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
		mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
		mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
		mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
		mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
		mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
	}
	for (int i = 0; i < 8; i++)
		h[i] ^= v[i] ^ v[i + 8];
}

void blake2b_key_set(struct blake2b_key *key, const uint8_t *bytes, size_t count)
{
	memset(key, 0, sizeof *key);
	memcpy(key->block, bytes, count);
	memcpy(key->h_empty, iv, sizeof iv);
	key->h_empty[0] ^= 0x01010000 ^ (uint64_t)count << 8 ^ BLAKE2B_OUT_BYTES;
	memcpy(key->h, key->h_empty, sizeof key->h);
	compress(key->h, key->block, BLOCK, 0);
}

void blake2b_keyed(
	const struct blake2b_key *key, const uint8_t *data, size_t bytes, uint8_t out[BLAKE2B_OUT_BYTES])
{
	uint8_t block[BLOCK] = {0};
	uint64_t h[8], total = BLOCK;

	memcpy(h, bytes ? key->h : key->h_empty, sizeof h);
	if (!bytes) {
		compress(h, key->block, BLOCK, 1);
	} else {
		for (; bytes > BLOCK; bytes -= BLOCK, data += BLOCK)
			compress(h, data, total += BLOCK, 0);
		memcpy(block, data, bytes);
		compress(h, block, total + bytes, 1);
	}
	memcpy(out, h, BLAKE2B_OUT_BYTES);
}
