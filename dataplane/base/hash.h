/* 64-bit hashes of byte strings. Source: the wyhash construction (Wang Yi, 2019), multiply-and-fold of 64-bit
 * words.
 *
 * hash_bytes() is not keyed: partition numbers are part of the journal's meaning and must be the same in each
 * run. Its seed keeps no secret: eight bytes that equal one of its constants make a factor of zero, and what
 * is hashed beside them, the seed included, counts for nothing. Where senders choose what is hashed and must
 * not choose where it falls, hash_keyed() is to be used: there every factor has a part that they do not know.
 */
#ifndef SLUICE_HASH_H
#define SLUICE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_fold(uint64_t x, uint64_t y)
{
	__uint128_t m = (__uint128_t)x * y;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Up to 8 bytes, little endian. Without a copy of variable length, whose result would be on its way through
 * memory when it is read again. */
static inline uint64_t hash_load(const uint8_t *p, size_t bytes)
{
	uint32_t low, high;
	uint64_t v = 0;

	if (bytes >= 8) {
		memcpy(&v, p, 8);
		return v;
	}
	if (bytes >= 4) {
		memcpy(&low, p, 4);
		memcpy(&high, p + bytes - 4, 4);
		return low | (uint64_t)high << (8 * (bytes - 4));
	}
	if (bytes)
		v = p[0] | (uint64_t)p[bytes / 2] << (8 * (bytes / 2)) |
		    (uint64_t)p[bytes - 1] << (8 * (bytes - 1));
	return v;
}

#define HASH_K0 0xa0761d6478bd642full
#define HASH_K1 0xe7037ed1a0b428dbull
#define HASH_K2 0x8ebc6af09c88c6e3ull

/* h: what comes before. first, second: of each step's factors; last: of the first one, where up to 8 bytes
 * are left. */
static inline uint64_t hash_steps(
	const void *data, size_t bytes, uint64_t h, uint64_t first, uint64_t second, uint64_t last)
{
	const uint8_t *p = data;
	size_t left = bytes;

	for (; __builtin_expect(left > 16, 0); left -= 16, p += 16)
		h = hash_fold(hash_load(p, 8) ^ first, hash_load(p + 8, 8) ^ h ^ second);
	if (left > 8)
		return hash_fold(hash_load(p, 8) ^ first, hash_load(p + 8, left - 8) ^ h ^ second);
	return hash_fold(hash_load(p, left) ^ last, h ^ second);
}

static inline uint64_t hash_bytes(const void *data, size_t bytes, uint64_t seed)
{
	uint64_t h = hash_fold(seed ^ HASH_K0, (uint64_t)bytes ^ HASH_K1);

	h = hash_steps(data, bytes, h, HASH_K1, 0, HASH_K2);
	return hash_fold(h ^ HASH_K0, HASH_K2);
}

/* hash_bytes(p, bytes, 0) of bytes that have 8 readable ones before them, as fields of a record have: the
 * last ones are then read without asking how many they are. */
static inline uint64_t hash_text(const uint8_t *p, size_t bytes)
{
	uint64_t h, last;

	if (bytes - 1 >= 16) /* none, or many */
		return hash_bytes(p, bytes, 0);
	h = hash_fold(HASH_K0, (uint64_t)bytes ^ HASH_K1);
	last = hash_load(p + bytes - 8, 8) >> (8 * (-bytes & 7));
	if (bytes > 8)
		h = hash_fold(hash_load(p, 8) ^ HASH_K1, last ^ h);
	else
		h = hash_fold(last ^ HASH_K2, h);
	return hash_fold(h ^ HASH_K0, HASH_K2);
}

static inline uint64_t hash_u64(uint64_t x)
{
	return hash_fold(x ^ 0x9e3779b97f4a7c15ull, 0xd6e8feb86659fd93ull);
}

/* Secret. */
struct hash_key {
	uint64_t word[3];
};

/* Words that follow from a secret of 64 bits. */
static inline struct hash_key hash_key_of(uint64_t secret)
{
	return (struct hash_key){{hash_u64(secret), hash_u64(secret + HASH_K0), hash_u64(secret + HASH_K1)}};
}

static inline uint64_t hash_keyed(const struct hash_key *key, const void *data, size_t bytes)
{
	uint64_t h = hash_steps(data, bytes, bytes * HASH_K2, key->word[0], key->word[1], key->word[0]);

	return hash_fold(h ^ key->word[2], HASH_K2);
}

/* The partition of a key's hash among so many. Workers spread events by it, and whatever is handed over to
 * another number of partitions has to follow them. */
static inline uint32_t hash_partition(uint64_t hash, uint32_t partitions)
{
	return (uint32_t)(((__uint128_t)hash * partitions) >> 64);
}

#endif
