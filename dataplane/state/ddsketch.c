/* DDSketch: see ddsketch.h. In: numbers, other sketches. Out: buckets. Pure; memory is the cell's and the
 * arena's. What is frequent is done in place; all else takes the sketch apart into a list (ddsketch_list.c).
 */
#include "ddsketch_priv.h"

#include <emmintrin.h>
#include <math.h>
#include <string.h>

const uint64_t dds_bucket_start[DDS_PER_OCTAVE + 1] = {
	0x0000000000000,
	0x051ed35254d7b,
	0x0a57de9c16bc8,
	0x0faba81d4e5e0,
	0x151ab8c56eea3,
	0x1aa59c4115e7e,
	0x204ce10811782,
	0x2611186bae675,
	0x2bf2d6a54f7db,
	0x31f2b2e54f85d,
	0x381147622f887,
	0x3e4f316812c30,
	0x44ad116889e7c,
	0x4b2b8b0aaf3c8,
	0x51cb453b9536d,
	0x588cea3f093be,
	0x5f7127c0ac32a,
	0x6678aee5629f8,
	0x6da4345d1e0ae,
	0x74f47075017a0,
	0x7c6a1f29e2ce7,
	0x8406003b2ae5d,
	0x8bc8d73e16610,
	0x93b36bb158fff,
	0x9bc68911258c0,
	0xa402feeb9c533,
	0xac69a0f5a241d,
	0xb4fb472022b1b,
	0xbdb8cdadbe121,
	0xc6a31548e794e,
	0xcfbb031a741a5,
	0xd90180e09c9e4,
	0xe2777d0676771,
	0xec1deabbe3c15,
	0xf5f5c20dfe5f3,
	0x10000000000000,
};

const uint8_t dds_bucket_guess[DDS_GUESSES] = {
	0,
	0,
	1,
	2,
	3,
	3,
	4,
	5,
	5,
	6,
	7,
	8,
	8,
	9,
	9,
	10,
	11,
	11,
	12,
	13,
	13,
	14,
	14,
	15,
	16,
	16,
	17,
	17,
	18,
	18,
	19,
	19,
	20,
	20,
	21,
	22,
	22,
	23,
	23,
	24,
	24,
	24,
	25,
	25,
	26,
	26,
	27,
	27,
	28,
	28,
	29,
	29,
	30,
	30,
	30,
	31,
	31,
	32,
	32,
	32,
	33,
	33,
	34,
	34,
};

/* 2^(j/35) * 2g / (1 + g), g = 2^(1/35): as far from the bucket's start as from its end, relatively. */
static const double bucket_middle[DDS_PER_OCTAVE] = {
	0x1.0288ec48c67eap+0,
	0x1.07b4ba5be330bp+0,
	0x1.0cfb02dc4a483p+0,
	0x1.125c4d5e5273cp+0,
	0x1.17d9242c8b609p+0,
	0x1.1d721455a06f2p+0,
	0x1.2327adba82811p+0,
	0x1.28fa831cda4d8p+0,
	0x1.2eeb2a2dc4adcp+0,
	0x1.34fa3b9cda5ddp+0,
	0x1.3b28532784b30p+0,
	0x1.41760fa8a0d2fp+0,
	0x1.47e4132872fc8p+0,
	0x1.4e7302eceb7c7p+0,
	0x1.5523878a3ef12p+0,
	0x1.5bf64cf3d386ap+0,
	0x1.62ec028d84de9p+0,
	0x1.6a055b3d40606p+0,
	0x1.71430d7cfbb54p+0,
	0x1.78a5d36d073ebp+0,
	0x1.802e6ae6be5e1p+0,
	0x1.87dd958f976d8p+0,
	0x1.8fb418ec95547p+0,
	0x1.97b2be761cab6p+0,
	0x1.9fda53ac2e6c9p+0,
	0x1.a82baa2b0a39dp+0,
	0x1.b0a797c03a49cp+0,
	0x1.b94ef6800b198p+0,
	0x1.c222a4db710a8p+0,
	0x1.cb2385b65e1f3p+0,
	0x1.d452807e8a156p+0,
	0x1.ddb08142af271p+0,
	0x1.e73e78ca3dc70p+0,
	0x1.f0fd5cad89bb8p+0,
	0x1.faee276e7302dp+0,
};

/* ---- mapping ---- */

double dds_key_value(int32_t key)
{
	int32_t i = (key < 0 ? -key : key) - DDS_KEY_MIN;
	double v;

	if (key == DDS_KEY_ZERO)
		return 0;
	v = ldexp(bucket_middle[i % DDS_PER_OCTAVE], i / DDS_PER_OCTAVE - 1022);
	return key < 0 ? -v : v;
}

/* Those of four entries that have the key: all bits of their words. */
static inline __m128i entry_match(const uint32_t *entry, __m128i wanted)
{
	return _mm_cmpeq_epi32(
		_mm_srli_epi32(_mm_loadu_si128((const __m128i *)entry), DDS_COUNT_BITS), wanted);
}

static inline __m128i key_wanted(int32_t key)
{
	return _mm_set1_epi32(key - DDS_KEY_IGNORED);
}

/* Of four times four entries, as bits. */
static inline uint32_t entries_match(
	const uint32_t *a, const uint32_t *b, const uint32_t *c, const uint32_t *d, __m128i wanted)
{
	__m128i low = _mm_packs_epi32(entry_match(a, wanted), entry_match(b, wanted)),
		high = _mm_packs_epi32(entry_match(c, wanted), entry_match(d, wanted));

	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
}

/* Where the key is among n, of which there are at least 4; n if nowhere. All are looked at, the last ones
 * twice: where a key stands is as good as random, and a branch that cannot be foreseen costs more than what
 * is left. */
static inline uint32_t entry_find(const uint32_t *entry, uint32_t n, int32_t key)
{
	const __m128i wanted = key_wanted(key);
	uint64_t match = 0, half;
	uint32_t i = 0;

	if (n <= 8) {
		half = (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(entry_match(entry, wanted)));
		match = (uint64_t)_mm_movemask_ps(_mm_castsi128_ps(entry_match(entry + n - 4, wanted)));
		match = half | match << (n - 4);
	} else if (n <= 16) {
		match = entries_match(entry, entry + 4, entry + n - 8, entry + n - 4, wanted);
		half = match & 0xff;
		match = half | match >> 8 << (n - 8);
	} else {
		for (; i + 16 < n; i += 16)
			match |= (uint64_t)entries_match(
					 entry + i, entry + i + 4, entry + i + 8, entry + i + 12, wanted)
				 << i;
		entry += n - 16;
		match |= (uint64_t)entries_match(entry, entry + 4, entry + 8, entry + 12, wanted) << (n - 16);
	}
	return match ? (uint32_t)__builtin_ctzll(match) : n;
}

/* Where the key is among those in the cell, of which there are *n; *n if nowhere. */
static inline uint32_t few_find(const struct dds *d, int32_t key, uint32_t *n)
{
	__m128i four = _mm_loadu_si128((const __m128i *)d->entry);
	uint32_t free = (uint32_t)_mm_movemask_ps(
			 _mm_castsi128_ps(_mm_cmpeq_epi32(four, _mm_setzero_si128()))),
		 match = (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(entry_match(d->entry, key_wanted(key))));

	*n = (uint32_t)__builtin_ctz(free | 1u << DDS_INLINE);
	match &= ~free; /* nothing is a key, too */
	return match ? (uint32_t)__builtin_ctz(match) : *n;
}

/* ---- adding ---- */

/* Not inline: its stack would be paid by every caller. */
static __attribute__((noinline, cold)) bool list_join_one(
	struct dds *d, struct agg_arena *a, int32_t key, uint64_t count)
{
	struct dds_list one;

	one.count = 0;
	dds_list_put(&one, key, count);
	return dds_list_join(d, a, &one);
}

/* True if a key lies so far from one of its sign that something collapses. Zeros do not, nor what is ignored:
 * but these are rare, and are looked at one by one if anything is far away. */
static bool sparse_collapses(const uint32_t *entry, uint32_t n, int32_t key)
{
	int32_t sign = key < 0 ? -1 : 1;

	for (uint32_t i = 0; i < n; i++) {
		int32_t other = entry_key(entry[i]);

		if (other - key < AGG_DDS_BUCKETS_MAX && key - other < AGG_DDS_BUCKETS_MAX)
			continue;
		if (other * sign > 0 && other != DDS_KEY_IGNORED && key != DDS_KEY_ZERO &&
			key != DDS_KEY_IGNORED)
			return true;
	}
	return false;
}

/* A bucket more. */
static __attribute__((noinline)) bool sparse_new(
	struct dds *d, struct agg_arena *a, int32_t key, uint64_t count)
{
	uint32_t n = dds_form(d), had = sparse_bytes(n), want = sparse_bytes(n + 1), block,
		 *entry = entries(d, a);

	if (n == DDS_SPARSE_MAX || sparse_collapses(entry, n, key))
		return list_join_one(d, a, key, count);
	if (agg_block_bytes(had) != agg_block_bytes(want)) {
		if (!agg_arena_fits(a, had, want))
			return false;
		block = agg_arena_swap(a, want);
		memcpy(agg_arena_at(a, block), entries(d, a), n * sizeof *entry);
		if (had)
			agg_arena_give(a, d->block, had);
		block_set(d, block, n + 1);
	} else if (had) {
		block_set(d, d->block, n + 1);
	}
	entries(d, a)[n] = entry_make(key, count);
	return true;
}

static inline bool sparse_add(struct dds *d, struct agg_arena *a, int32_t key, uint64_t count)
{
	uint32_t *entry = d->entry, n, at;

	if (dds_has_block(d)) {
		entry = agg_arena_at(a, d->block);
		n = d->marked >> DDS_COUNT_BITS;
		at = entry_find(entry, n, key);
	} else {
		at = few_find(d, key, &n);
	}
	if (count >= DDS_SPARSE_COUNT)
		return list_join_one(d, a, key, count);
	if (at == n)
		return sparse_new(d, a, key, count);
	if (entry_count(entry[at]) + count >= DDS_SPARSE_COUNT)
		return list_join_one(d, a, key, count);
	entry[at] += (uint32_t)count;
	return true;
}

static bool dense_raise(struct dense_head *head, uint32_t form, uint32_t at)
{
	if (form == DDS_DENSE64) {
		((uint64_t *)(head + 1))[at]++;
		return true;
	}
	if (((uint32_t *)(head + 1))[at] == UINT32_MAX)
		return false;
	((uint32_t *)(head + 1))[at]++;
	return true;
}

/* Makes room for a key beyond the arrays' ends. False: no room, or too far: the list decides. */
static bool dense_widen(struct dds *d, struct agg_arena *a, int32_t key)
{
	const struct dense_head *old = agg_arena_at(a, d->block);
	struct dense_head *head;
	uint32_t form = dds_form(d), width = form == DDS_DENSE64 ? 8 : 4, had = block_bytes(d, a), want,
		 block, n = d->n, negative_n = old->negative_n, *count = key > 0 ? &n : &negative_n;
	int32_t low = d->low, negative_low = old->negative_low, *from = key > 0 ? &low : &negative_low;
	int32_t magnitude = key > 0 ? key : -key, to = *from + (int32_t)*count;

	if (!*count)
		*from = to = magnitude;
	*from = magnitude < *from ? magnitude : *from;
	to = magnitude >= to ? magnitude + 1 : to;
	*count = (uint32_t)(to - *from);
	want = dense_bytes(form, n, negative_n);
	if (*count > AGG_DDS_BUCKETS_MAX || !agg_arena_fits(a, had, want))
		return false;
	block = agg_arena_swap(a, want);
	old = agg_arena_at(a, d->block);
	head = agg_arena_at(a, block);
	memset(head, 0, want);
	*head = (struct dense_head){old->zero, old->ignored, negative_low, negative_n};
	if (d->n)
		memcpy((uint8_t *)(head + 1) + (size_t)(d->low - low) * width, old + 1, (size_t)d->n * width);
	if (old->negative_n)
		memcpy((uint8_t *)(head + 1) + (n + (size_t)(old->negative_low - negative_low)) * width,
			(const uint8_t *)(old + 1) + (size_t)d->n * width, (size_t)old->negative_n * width);
	agg_arena_give(a, d->block, had);
	d->block = block;
	d->low = low;
	d->n = n;
	return true;
}

static bool dense_add(struct dds *d, struct agg_arena *a, int32_t key)
{
	struct dense_head *head = agg_arena_at(a, d->block);

	if (key == DDS_KEY_ZERO || key == DDS_KEY_IGNORED) {
		*(key == DDS_KEY_ZERO ? &head->zero : &head->ignored) += 1;
		return true;
	}
	if (key < 0 && (uint32_t)(-key - head->negative_low) < head->negative_n) {
		if (dense_raise(head, dds_form(d), d->n + (uint32_t)(-key - head->negative_low)))
			return true;
	} else if (key < 0 || (uint32_t)(key - d->low) >= d->n) {
		if (dense_widen(d, a, key))
			return dense_add(d, a, key);
	}
	return list_join_one(d, a, key, 1);
}

static inline bool key_add(struct dds *d, struct agg_arena *a, int32_t key)
{
	if (!is_dense(d))
		return sparse_add(d, a, key, 1);
	if ((uint32_t)(key - d->low) < d->n &&
		dense_raise(agg_arena_at(a, d->block), dds_form(d), (uint32_t)(key - d->low)))
		return true;
	return dense_add(d, a, key);
}

bool dds_add(struct dds *d, struct agg_arena *a, double x)
{
	return key_add(d, a, dds_key(x));
}

uint64_t dds_add_run(const struct agg_items *items, uint32_t offset, const int32_t *key)
{
	const uint32_t count = items->count;
	uint64_t lost = 0;

	for (uint32_t k = 0; k < count; k++) {
		uint32_t i = items->event[k];

		if (!key_add((struct dds *)(items->cell[k] + offset), items->arena[k], key[i]))
			lost |= 1ull << i;
	}
	return lost;
}

/* ---- merging ---- */

/* True if the sum of two sparse forms is sparse, and room is there for any order of adding. */
static bool sparse_sum(
	struct dds *d, const struct agg_arena *a, struct dds *src, const struct agg_arena *src_arena)
{
	const uint32_t *mine, *theirs;
	uint64_t most = 0, their_most = 0;
	uint32_t n = dds_form(d), more = dds_form(src);

	if (is_dense(d) || is_dense(src) || n + more > DDS_SPARSE_MAX ||
		!agg_arena_fits(a, sparse_bytes(n), sparse_bytes(n + more)))
		return false;
	mine = entries(d, a);
	theirs = entries(src, src_arena);
	for (uint32_t i = 0; i < n; i++)
		most = most > entry_count(mine[i]) ? most : entry_count(mine[i]);
	for (uint32_t i = 0; i < more; i++)
		their_most = their_most > entry_count(theirs[i]) ? their_most : entry_count(theirs[i]);
	return most + their_most < DDS_SPARSE_COUNT;
}

/* Arrays of src inside those of d, and no count that overflows: added in place. */
static bool dense_sum(
	struct dds *d, const struct agg_arena *a, const struct dds *src, const struct agg_arena *src_arena)
{
	struct dense_head *head = agg_arena_at(a, d->block);
	const struct dense_head *from = agg_arena_at(src_arena, src->block);
	uint32_t *to = (uint32_t *)(head + 1), over = 0;
	const uint32_t *add = (const uint32_t *)(from + 1);

	if (dds_form(d) != DDS_DENSE32 || dds_form(src) != DDS_DENSE32 || from->negative_n ||
		src->low < d->low || (uint32_t)(src->low - d->low) + src->n > d->n)
		return false;
	to += src->low - d->low;
	for (uint32_t i = 0; i < src->n; i++)
		over |= (to[i] | add[i]) >> 31;
	if (over)
		return false;
	for (uint32_t i = 0; i < src->n; i++)
		to[i] += add[i];
	head->zero = agg_count_add(head->zero, from->zero);
	head->ignored = agg_count_add(head->ignored, from->ignored);
	return true;
}

/* Into an empty sketch: the same form. False: no room. */
static bool copy(struct dds *d, struct agg_arena *a, const struct dds *src, const struct agg_arena *src_arena)
{
	uint32_t bytes = block_bytes(src, src_arena), block;

	if (!agg_arena_fits(a, 0, bytes))
		return false;
	*d = *src;
	if (!bytes)
		return true;
	block = agg_arena_swap(a, bytes);
	memcpy(agg_arena_at(a, block), agg_arena_at(src_arena, src->block), bytes);
	d->block = block;
	return true;
}

bool dds_merge(struct dds *d, struct agg_arena *a, const struct dds *src, const struct agg_arena *src_arena)
{
	struct dds_list list;
	struct dds from = *src;
	uint32_t few[DDS_SPARSE_MAX];
	bool whole = true;

	if (!dds_form(d))
		return copy(d, a, src, src_arena);
	if (sparse_sum(d, a, &from, src_arena)) {
		uint32_t n = dds_form(&from);

		memcpy(few, entries(&from, src_arena), n * sizeof *few);
		for (uint32_t i = 0; i < n; i++)
			whole &= sparse_add(d, a, entry_key(few[i]), entry_count(few[i]));
		return whole;
	}
	if (is_dense(d) && is_dense(src) && dense_sum(d, a, src, src_arena))
		return true;
	dds_list_make(src, src_arena, &list);
	return dds_list_join(d, a, &list);
}

void dds_release(struct dds *d, struct agg_arena *a)
{
	uint32_t had = block_bytes(d, a);

	if (had)
		agg_arena_give(a, d->block, had);
	*d = (struct dds){.entry = {0}};
}

/* Always inline: a call of what only draws into the cache would be left out as one without effect. */
static inline __attribute__((always_inline)) void sparse_prefetch(
	const struct dds *d, const struct agg_arena *a)
{
	const uint8_t *from = agg_arena_at(a, d->block), *last = from + sparse_bytes(dds_form(d)) - 4;

	__builtin_prefetch(from, 1);
	__builtin_prefetch(last, 1);
	while (__builtin_expect(last - from > 64, 0)) {
		from += 64;
		__builtin_prefetch(from, 1);
	}
}

void dds_prefetch(const struct dds *d, const struct agg_arena *a)
{
	if (dds_has_block(d) && !is_dense(d))
		sparse_prefetch(d, a);
}

void dds_prefetch_run(const struct agg_items *items, uint32_t offset, const int32_t *key)
{
	const uint32_t count = items->count;

	for (uint32_t k = 0; k < count; k++) {
		const struct dds *d = (const struct dds *)(items->cell[k] + offset);
		uint32_t at, width;

		if (!dds_has_block(d))
			continue;
		if (!is_dense(d)) {
			sparse_prefetch(d, items->arena[k]);
			continue;
		}
		at = (uint32_t)(key[items->event[k]] - d->low);
		width = dds_form(d) == DDS_DENSE64 ? 8 : 4;
		__builtin_prefetch((const char *)agg_arena_at(items->arena[k], d->block) +
					   (at < d->n ? sizeof(struct dense_head) + (size_t)at * width : 0),
			1);
	}
}
