/* Random numbers of sluice-gen: the same sequence for the same seed on each machine. One thread. */
#ifndef SLUICE_GEN_RAND_H
#define SLUICE_GEN_RAND_H

#include <stdbool.h>
#include <stdint.h>

/* xoshiro256** (Blackman, Vigna), seeded through splitmix64. */
struct gen_rng {
	uint64_t s[4];
};

void gen_rng_seed(struct gen_rng *rng, uint64_t seed);

static inline uint64_t gen_rng_rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

static inline uint64_t gen_rng_next(struct gen_rng *rng)
{
	uint64_t *s = rng->s, result = gen_rng_rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = gen_rng_rotl(s[3], 45);
	return result;
}

/* 0 ... n-1, n > 0. */
static inline uint32_t gen_rng_below(struct gen_rng *rng, uint32_t n)
{
	return (uint32_t)((gen_rng_next(rng) >> 32) * n >> 32);
}

static inline bool gen_rng_permille(struct gen_rng *rng, uint32_t permille)
{
	return permille && gen_rng_below(rng, 1000) < permille;
}

/* Zipf distribution over 0 ... n-1 by the alias method: one draw is two table reads. */
struct gen_zipf {
	uint32_t n;
	uint32_t *cut;	 /* below it (of 2^32): the slot itself, else its alias */
	uint32_t *alias; /* owned, both */
};

/* s = 0: uniform. Returns 0 or -ENOMEM. */
int gen_zipf_make(struct gen_zipf *z, uint32_t n, double s);
void gen_zipf_free(struct gen_zipf *z);

static inline uint32_t gen_zipf_draw(const struct gen_zipf *z, struct gen_rng *rng)
{
	uint64_t r = gen_rng_next(rng);
	uint32_t slot = (uint32_t)((r >> 32) * z->n >> 32);

	return (uint32_t)r < z->cut[slot] ? slot : z->alias[slot];
}

#endif
