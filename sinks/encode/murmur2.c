/* Murmur2 as Kafka's Java client has it: words are read little endian, the length is 32 bits. Pure. */
#include "murmur2.h"

#include <string.h>

#define MURMUR2_M 0x5bd1e995u
#define MURMUR2_SEED 0x9747b28cu

uint32_t murmur2_hash(const void *data, size_t bytes)
{
	const uint8_t *p = data;
	uint32_t h = MURMUR2_SEED ^ (uint32_t)bytes;

	for (; bytes >= 4; bytes -= 4, p += 4) {
		uint32_t k;

		memcpy(&k, p, sizeof k);
		k *= MURMUR2_M;
		k ^= k >> 24;
		k *= MURMUR2_M;
		h = h * MURMUR2_M ^ k;
	}
	if (bytes) {
		for (size_t i = bytes; i-- > 0;)
			h ^= (uint32_t)p[i] << (8 * i);
		h *= MURMUR2_M;
	}
	h ^= h >> 13;
	h *= MURMUR2_M;
	return h ^ h >> 15;
}

int32_t murmur2_partition(const void *key, size_t bytes, int32_t partitions)
{
	/* The sign bit is cut off, not negated: Utils.toPositive(). */
	return (int32_t)((murmur2_hash(key, bytes) & 0x7fffffffu) % (uint32_t)partitions);
}
