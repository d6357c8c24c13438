/* Random numbers and packed forms for the tests of sketches. The seed is fixed: a failure comes again. */
#ifndef SLUICE_AGG_RANDOM_H
#define SLUICE_AGG_RANDOM_H

#include <stdint.h>

#include "bytes.h"

static uint64_t random_state = 42;

/* splitmix64 */
static inline uint64_t random_u64(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline uint32_t random_below(uint32_t n)
{
	return (uint32_t)(random_u64() % n);
}

/* In [0, 1). */
static inline double random_unit(void)
{
	return (double)(random_u64() >> 11) * 0x1p-53;
}

/* Often small, at times up to n. */
static inline uint32_t random_size(uint32_t n)
{
	return random_below(1 + (n >> random_below(12)));
}

static inline bool bytes_same(const struct bytes *a, const struct bytes *b)
{
	return a->bytes == b->bytes && (!a->bytes || memcmp(a->data, b->data, a->bytes) == 0);
}

/* Changes, drops or adds a few bytes. */
static inline void bytes_mutate(struct bytes *b)
{
	for (uint32_t i = random_below(3) + 1; i && b->bytes; i--) {
		size_t at = random_u64() % b->bytes;

		switch (random_below(4)) {
		case 0:
			b->data[at] ^= (uint8_t)(1u << random_below(8));
			break;
		case 1:
			b->data[at] = (uint8_t)random_u64();
			break;
		case 2:
			b->bytes = at;
			break;
		default:
			bytes_put_u8(b, (uint8_t)random_u64());
		}
	}
}

#endif
