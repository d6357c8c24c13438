/* Quantiles: DDSketch with the logarithmic mapping, sparse first.
 *
 * A number x != 0 falls into bucket i = floor(35 log2 |x|) of its sign; the bucket's value, 2^(i/35) 2g/(1+g)
 * with g = 2^(1/35), is off by at most (g-1)/(g+1) = 0.990 % of x. The index is found by comparing integers,
 * without a logarithm: the same on every machine. A bucket's key is sign(x) (i + DDS_OFFSET), so that keys
 * are in the order of values, and 0 is the key of what is nearer to 0 than the least normal double.
 *
 * Of each sign at most AGG_DDS_BUCKETS_MAX successive buckets are kept: those below the greatest magnitude's
 * (by a factor of 2^(2048/35) = 4e17 and more) collapse into the lowest. What is in a cell (form, block size)
 * follows from the keys and counts alone: merging in any order gives the same.
 *
 * Sources: Masson, Rim, Lee, "DDSketch", VLDB 2019. */
#ifndef SLUICE_DDSKETCH_H
#define SLUICE_DDSKETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "agg_arena.h"
#include "agg_count.h"
#include "agg_run.h"
#include "bytes.h"
#include "cursor.h"

#define DDS_PER_OCTAVE 35
#define DDS_OFFSET 36000
#define DDS_KEY_MIN (DDS_OFFSET - 1022 * DDS_PER_OCTAVE) /* of magnitudes: of the least normal double */
#define DDS_KEY_MAX (DDS_OFFSET + 1024 * DDS_PER_OCTAVE - 1)
#define DDS_KEY_ZERO 0
#define DDS_KEY_IGNORED (-131072) /* infinite or no number: counted, not looked at */
#define DDS_INLINE 4		  /* buckets in the cell itself */
#define DDS_COUNT_BITS 14
#define DDS_SPARSE_MAX 64 /* more, or a count of DDS_SPARSE_COUNT, become arrays */
#define DDS_SPARSE_COUNT (1u << DDS_COUNT_BITS)
#define DDS_DENSE32 0x100u
#define DDS_DENSE64 0x200u
#define DDS_LIST_MAX (2 * AGG_DDS_BUCKETS_MAX + 2)
/* Of each sign: number, first key, counts, and differences of keys, which add up to less than 2048. */
#define DDS_PACKED_SIGN_MAX (2 + 3 + AGG_DDS_BUCKETS_MAX * (AGG_COUNT_BYTES + 1) + 16)
#define DDS_PACKED_MAX (2 * AGG_COUNT_BYTES + 2 * DDS_PACKED_SIGN_MAX)

/* In a cell. All zero: empty. Entries, each a key and a count, which is not 0; or a last word that is none,
 * but has a form in the key's place: then there is a block. */
struct dds {
	union {
		uint32_t entry[DDS_INLINE];
		struct {
			uint32_t block;
			int32_t low; /* arrays: key of the first positive bucket */
			uint32_t n;  /* positive buckets */
			uint32_t marked;
		};
	};
};

static inline bool dds_has_block(const struct dds *d)
{
	return d->marked && !(d->marked & (DDS_SPARSE_COUNT - 1));
}

/* Number of entries, or DDS_DENSE32, DDS_DENSE64. */
static inline uint32_t dds_form(const struct dds *d)
{
	uint32_t n = 0;

	if (dds_has_block(d))
		return d->marked >> DDS_COUNT_BITS;
	while (n < DDS_INLINE && d->entry[n])
		n++;
	return n;
}

/* Buckets by ascending key, each once, no count 0. */
struct dds_list {
	uint32_t count;
	struct agg_register item[DDS_LIST_MAX];
};

/* Checked packed form. */
struct dds_view {
	const uint8_t *data;
	uint32_t bytes;
};

#define DDS_MANTISSA_BITS 52
#define DDS_EXPONENT_BIAS 1023
#define DDS_GUESS_BITS 6
#define DDS_GUESSES (1 << DDS_GUESS_BITS)
/* [j]: least mantissa of a number that is at least 2^(j/35): ceil((2^(j/35) - 1) * 2^52). */
extern const uint64_t dds_bucket_start[DDS_PER_OCTAVE + 1];
/* By the mantissa's first bits: the bucket of the least such number. No 64th of an octave has two starts. */
extern const uint8_t dds_bucket_guess[DDS_GUESSES];

/* Of a double, given by its bits. */
static inline int32_t dds_key_of_bits(uint64_t bits)
{
	const uint64_t mantissa = bits & ((1ull << DDS_MANTISSA_BITS) - 1);
	const uint32_t
		exponent = bits >> DDS_MANTISSA_BITS & 0x7ff,
		guess = dds_bucket_guess[bits >> (DDS_MANTISSA_BITS - DDS_GUESS_BITS) & (DDS_GUESSES - 1)];
	const int32_t sign = (int32_t)((int64_t)bits >> 63);
	int32_t key;

	if (__builtin_expect(exponent - 1 >= 0x7fe, 0))
		return exponent ? DDS_KEY_IGNORED : DDS_KEY_ZERO;
	key = (int32_t)(exponent * DDS_PER_OCTAVE + guess) + DDS_OFFSET - DDS_EXPONENT_BIAS * DDS_PER_OCTAVE;
	key += mantissa >= dds_bucket_start[guess + 1];
	return (key ^ sign) - sign;
}

static inline int32_t dds_key(double x)
{
	uint64_t bits;

	__builtin_memcpy(&bits, &x, sizeof bits);
	return dds_key_of_bits(bits);
}
double dds_key_value(int32_t key);

/* False: the arena is full and the value was not counted. */
bool dds_add(struct dds *d, struct agg_arena *a, double x);
bool dds_merge(struct dds *d, struct agg_arena *a, const struct dds *src, const struct agg_arena *src_arena);
void dds_release(struct dds *d, struct agg_arena *a);
/* What is not large, as a whole. */
void dds_prefetch(const struct dds *d, const struct agg_arena *a);

/* A run: the sketch at `offset` of each item's cell takes its event's number, by its key. Returns the events
 * that were not counted. Before it, in a walk of its own, what that will touch beside the cells. */
uint64_t dds_add_run(const struct agg_items *items, uint32_t offset, const int32_t *key);
void dds_prefetch_run(const struct agg_items *items, uint32_t offset, const int32_t *key);

/* Packed: counts of what was ignored and of zeros; then positive and negative buckets: how many, the first
 * magnitude's key, and each count with the difference of keys before all but the first; LEB128. */
void dds_pack(const struct dds *d, const struct agg_arena *a, struct bytes *out);
void dds_read(struct cursor *c, struct dds_view *view);
bool dds_join(struct dds *d, struct agg_arena *a, const struct dds_view *view);

/* Ascending, and back: d += list. For what is not frequent. False: the arena is full; d is as it was. */
void dds_list_make(const struct dds *d, const struct agg_arena *a, struct dds_list *list);
bool dds_list_join(struct dds *d, struct agg_arena *a, struct dds_list *list);

void dds_view_list(const struct dds_view *view, struct dds_list *list);
/* Value at rank floor(percent / 100 (n - 1)) of n, counted from 0. False: no values. */
bool dds_list_quantile(const struct dds_list *list, uint32_t percent, double *value);

#endif
