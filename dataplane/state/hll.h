/* Counting distinct values: HyperLogLog of 2^AGG_HLL_BITS registers over 64-bit hashes, sparse first.
 *
 * A hash becomes a token of 32 bits: its first 26 bits, and the position (1 to 39) of the first one bit among
 * the other 38, 39 if there is none. As long as there are at most HLL_TOKENS_MAX different tokens the set of
 * them is kept, and their number is the estimate: of n values, n^2 / 2^27.6 pairs are expected to share a
 * token, so it is off by less than 0.01. Beyond, the registers: one byte each. A token gives the register
 * that its hash would give, so both forms count the same, and which one it is follows from the set of tokens
 * alone.
 *
 * The estimator of registers is Ertl's improved one: no bias over the whole range, no tables.
 * Sources: Flajolet et al. 2007; Heule, Nunkesser, Hall 2013 (sparse form); Ertl, "New cardinality estimation
 * algorithms for HyperLogLog sketches", 2017 (estimator, algorithm 6); Ertl, "ExaLogLog", 2024 (tokens). */
#ifndef SLUICE_HLL_H
#define SLUICE_HLL_H

#include <stdbool.h>
#include <stdint.h>

#include "agg_arena.h"
#include "agg_run.h"
#include "bytes.h"
#include "cursor.h"

#define HLL_REGISTERS (1u << AGG_HLL_BITS)
#define HLL_TOKEN_BITS 26
#define HLL_INLINE 4	    /* tokens in the cell itself */
#define HLL_SCAN_MAX 32	    /* more are hashed */
#define HLL_TOKENS_MAX 1536 /* more become registers: their table would be as large */
#define HLL_REGISTER_MAX (64 - AGG_HLL_BITS + 1)
#define HLL_DENSE (UINT32_MAX >> 6)
#define HLL_PACKED_DENSE (HLL_REGISTERS * 6 / 8)
#define HLL_PACKED_MAX (2 + HLL_PACKED_DENSE)

/* In a cell. All zero: empty. Tokens, none of which is 0, or what no token ends in: then there is a block. */
#define HLL_BLOCK_MARK 63u
struct hll {
	union {
		uint32_t token[HLL_INLINE];
		struct {
			uint32_t block; /* handle */
			uint32_t unused[2];
			uint32_t marked; /* tokens or HLL_DENSE, as a token's first bits; HLL_BLOCK_MARK */
		};
	};
};

static inline bool hll_has_block(const struct hll *h)
{
	return (h->marked & HLL_BLOCK_MARK) == HLL_BLOCK_MARK;
}

/* Tokens, or HLL_DENSE. */
static inline uint32_t hll_n(const struct hll *h)
{
	uint32_t n = 0;

	if (hll_has_block(h))
		return h->marked >> 6;
	while (n < HLL_INLINE && h->token[n])
		n++;
	return n;
}

/* Checked packed form. */
struct hll_view {
	uint32_t n; /* tokens, or HLL_DENSE */
	const uint8_t *data;
	uint32_t bytes;
};

static inline uint32_t hll_token(uint64_t hash)
{
	uint64_t rest = hash << HLL_TOKEN_BITS | 1ull << (HLL_TOKEN_BITS - 1);
	uint32_t position = (uint32_t)__builtin_clzll(rest) + 1;

	return (uint32_t)(hash >> (64 - HLL_TOKEN_BITS)) << 6 | position;
}

/* Its register, and that register's value. */
static inline uint32_t hll_token_register(uint32_t token, uint32_t *value)
{
	uint32_t between = token << AGG_HLL_BITS & ~((1u << (32 - HLL_TOKEN_BITS + AGG_HLL_BITS)) - 1);

	*value =
		between ? (uint32_t)__builtin_clz(between) + 1 : HLL_TOKEN_BITS - AGG_HLL_BITS + (token & 63);
	return token >> (32 - AGG_HLL_BITS);
}

/* False: the arena is full and the value was not counted. */
bool hll_add(struct hll *h, struct agg_arena *a, uint64_t hash);
bool hll_merge(struct hll *h, struct agg_arena *a, const struct hll *src, const struct agg_arena *src_arena);
void hll_release(struct hll *h, struct agg_arena *a);
/* What is not large, as a whole. */
void hll_prefetch(const struct hll *h, const struct agg_arena *a);

/* A run: the sketch at `offset` of each item's cell takes its event's token. Returns the events that were not
 * counted. Before it, in a walk of its own, what that will touch beside the cells. */
uint64_t hll_add_run(const struct agg_items *items, uint32_t offset, const uint32_t *token);
void hll_prefetch_run(const struct agg_items *items, uint32_t offset, const uint32_t *token);

/* Packed: number of tokens, then the tokens ascending as differences, LEB128; or 2^AGG_HLL_BITS registers of
 * 6 bits behind the number HLL_TOKENS_MAX + 1. */
void hll_pack(const struct hll *h, const struct agg_arena *a, struct bytes *out);
void hll_read(struct cursor *c, struct hll_view *view);
bool hll_join(struct hll *h, struct agg_arena *a, const struct hll_view *view);
uint64_t hll_view_estimate(const struct hll_view *view);
/* Registers that are not 0: index and value, ascending; HLL_REGISTERS at most. */
uint32_t hll_view_registers(const struct hll_view *view, struct agg_register *out, uint32_t max);
/* registers: HLL_REGISTERS of them. */
double hll_estimate(const uint8_t *registers);

#endif
