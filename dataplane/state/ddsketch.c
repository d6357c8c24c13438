/* DDSketch: see ddsketch.h. In: numbers, other sketches, packed bytes. Out: buckets, quantiles, packed bytes.
 * Pure; memory is the cell's and the arena's. What is frequent is done in place; all else takes the sketch
 * apart into a list and stores that again. */
#include "ddsketch.h"

#include <assert.h>
#include <emmintrin.h>
#include <math.h>
#include <string.h>

/* bucket_start[j]: least mantissa (52 bits) of a number that is at least 2^(j/35): ceil((2^(j/35) - 1) *
 * 2^52). */
static const uint64_t bucket_start[DDS_PER_OCTAVE + 1] = {
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

/* By the mantissa's first 6 bits: the bucket of the least such number. No 64th of an octave has two starts.
 */
static const uint8_t bucket_guess[64] = {
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

/* Before the counts of an array block: positive buckets, then negative ones by ascending magnitude. */
struct dense_head {
	uint64_t zero, ignored;
	int32_t negative_low; /* magnitude's key */
	uint32_t negative_n;
};

#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023

/* ---- mapping ---- */

int32_t dds_key(double x)
{
	uint64_t bits, mantissa;
	uint32_t exponent, j;
	int32_t key;

	memcpy(&bits, &x, sizeof bits);
	exponent = bits >> MANTISSA_BITS & 0x7ff;
	mantissa = bits & ((1ull << MANTISSA_BITS) - 1);
	if (exponent - 1 >= 0x7fe)
		return exponent ? DDS_KEY_IGNORED : DDS_KEY_ZERO;
	j = bucket_guess[mantissa >> (MANTISSA_BITS - 6)];
	j += mantissa >= bucket_start[j + 1];
	key = ((int32_t)exponent - EXPONENT_BIAS) * DDS_PER_OCTAVE + (int32_t)j + DDS_OFFSET;
	return bits >> 63 ? -key : key;
}

double dds_key_value(int32_t key)
{
	int32_t i = (key < 0 ? -key : key) - DDS_KEY_MIN;
	double v;

	if (key == DDS_KEY_ZERO)
		return 0;
	v = ldexp(bucket_middle[i % DDS_PER_OCTAVE], i / DDS_PER_OCTAVE - 1022);
	return key < 0 ? -v : v;
}

/* ---- sparse entries ---- */

static uint32_t entry_make(int32_t key, uint64_t count)
{
	return (uint32_t)(key - DDS_KEY_IGNORED) << 14 | (uint32_t)count;
}

static int32_t entry_key(uint32_t entry)
{
	return (int32_t)(entry >> 14) + DDS_KEY_IGNORED;
}

static uint64_t entry_count(uint32_t entry)
{
	return entry & (DDS_SPARSE_COUNT - 1);
}

static bool is_dense(const struct dds *d)
{
	return d->form >= DDS_DENSE32;
}

static uint32_t sparse_bytes(uint32_t n)
{
	return n <= DDS_INLINE ? 0 : n * (uint32_t)sizeof(uint32_t);
}

static uint32_t *entries(struct dds *d, const struct agg_arena *a)
{
	return d->form <= DDS_INLINE ? d->entry : agg_arena_at(a, d->block);
}

/* Where the key is; n if nowhere. */
static uint32_t entry_find(const uint32_t *entry, uint32_t n, int32_t key)
{
	uint32_t want = (uint32_t)(key - DDS_KEY_IGNORED), i = 0;
	__m128i wanted = _mm_set1_epi32((int)want);

	for (; i + 4 <= n; i += 4) {
		__m128i four = _mm_srli_epi32(_mm_loadu_si128((const __m128i *)(entry + i)), 14);
		int mask = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(four, wanted)));

		if (mask)
			return i + (uint32_t)__builtin_ctz((uint32_t)mask);
	}
	for (; i < n; i++)
		if (entry[i] >> 14 == want)
			return i;
	return n;
}

/* ---- arrays ---- */

static uint32_t dense_bytes(uint32_t form, uint32_t n, uint32_t negative_n)
{
	uint32_t width = form == DDS_DENSE64 ? 8 : 4;

	return (uint32_t)sizeof(struct dense_head) + width * (n + negative_n);
}

static uint32_t block_bytes(const struct dds *d, const struct agg_arena *a)
{
	const struct dense_head *head;

	if (!is_dense(d))
		return sparse_bytes(d->form);
	head = agg_arena_at(a, d->block);
	return dense_bytes(d->form, d->n, head->negative_n);
}

static uint64_t dense_get(const struct dense_head *head, uint32_t form, uint32_t i)
{
	return form == DDS_DENSE64 ? ((const uint64_t *)(head + 1))[i] : ((const uint32_t *)(head + 1))[i];
}

/* ---- lists ---- */

static void list_put(struct dds_list *list, int32_t key, uint64_t count)
{
	if (count)
		list->item[list->count++] = (struct agg_register){key, count};
}

static void list_sort(struct dds_list *list) /* few, from a sparse form */
{
	for (uint32_t i = 1; i < list->count; i++) {
		struct agg_register item = list->item[i];
		uint32_t k = i;

		for (; k && list->item[k - 1].index > item.index; k--)
			list->item[k] = list->item[k - 1];
		list->item[k] = item;
	}
}

void dds_list_make(const struct dds *d, const struct agg_arena *a, struct dds_list *list)
{
	const struct dense_head *head;

	list->count = 0;
	if (!is_dense(d)) {
		const uint32_t *entry = d->form <= DDS_INLINE ? d->entry : agg_arena_at(a, d->block);

		for (uint32_t i = 0; i < d->form; i++)
			list_put(list, entry_key(entry[i]), entry_count(entry[i]));
		list_sort(list);
		return;
	}
	head = agg_arena_at(a, d->block);
	list_put(list, DDS_KEY_IGNORED, head->ignored);
	for (uint32_t i = head->negative_n; i--;)
		list_put(list, -(head->negative_low + (int32_t)i), dense_get(head, d->form, d->n + i));
	list_put(list, DDS_KEY_ZERO, head->zero);
	for (uint32_t i = 0; i < d->n; i++)
		list_put(list, d->low + (int32_t)i, dense_get(head, d->form, i));
}

/* First bucket of the negative, and of the positive ones; the zeros stand between, what was ignored before.
 */
static void list_bounds(const struct dds_list *list, uint32_t *negative, uint32_t *zero, uint32_t *positive)
{
	uint32_t i = 0;

	while (i < list->count && list->item[i].index == DDS_KEY_IGNORED)
		i++;
	*negative = i;
	while (i < list->count && list->item[i].index < DDS_KEY_ZERO)
		i++;
	*zero = i;
	while (i < list->count && list->item[i].index == DDS_KEY_ZERO)
		i++;
	*positive = i;
}

/* Folds the buckets [from, to) into one with that key, and closes the gap. */
static void list_fold(struct dds_list *list, uint32_t from, uint32_t to, int32_t key)
{
	uint64_t count = 0;

	for (uint32_t i = from; i < to; i++)
		count = agg_count_add(count, list->item[i].value);
	list->item[from] = (struct agg_register){key, count};
	memmove(&list->item[from + 1], &list->item[to], (list->count - to) * sizeof *list->item);
	list->count -= to - from - 1;
}

/* Lowest buckets that are kept, as keys: of the positive and of the negative ones. */
struct edges {
	int32_t positive, negative;
};

/* Moves the edges to where this list wants them, if that is further out. */
static void edges_widen(struct edges *e, const struct dds_list *list)
{
	uint32_t negative, zero, positive;

	list_bounds(list, &negative, &zero, &positive);
	if (positive < list->count &&
		list->item[list->count - 1].index - (AGG_DDS_BUCKETS_MAX - 1) > e->positive)
		e->positive = list->item[list->count - 1].index - (AGG_DDS_BUCKETS_MAX - 1);
	if (negative < zero && list->item[negative].index + (AGG_DDS_BUCKETS_MAX - 1) < e->negative)
		e->negative = list->item[negative].index + (AGG_DDS_BUCKETS_MAX - 1);
}

static void list_collapse(struct dds_list *list, const struct edges *e)
{
	uint32_t negative, zero, positive, i;

	list_bounds(list, &negative, &zero, &positive);
	for (i = positive; i < list->count && list->item[i].index <= e->positive;)
		i++;
	if (i > positive && list->item[positive].index < e->positive)
		list_fold(list, positive, i, e->positive);
	for (i = zero; i > negative && list->item[i - 1].index >= e->negative;)
		i--;
	if (i < zero && list->item[zero - 1].index > e->negative)
		list_fold(list, i, zero, e->negative);
}

/* The form that a list has, and how its arrays lie. */
struct shape {
	uint32_t form, n, negative_n;
	int32_t low, negative_low;
	uint32_t bytes;
};

static struct shape list_shape(const struct dds_list *list)
{
	struct shape s = {.form = list->count};
	uint32_t negative, zero, positive;
	bool few = list->count <= DDS_SPARSE_MAX, wide = false;

	list_bounds(list, &negative, &zero, &positive);
	for (uint32_t i = 0; i < list->count; i++) {
		few &= list->item[i].value < DDS_SPARSE_COUNT;
		if (i >= positive ||
			(i >= negative && i < zero)) /* the others are 64 bits wide in any case */
			wide |= list->item[i].value > UINT32_MAX;
	}
	if (few) {
		s.bytes = sparse_bytes(s.form);
		return s;
	}
	s.form = wide ? DDS_DENSE64 : DDS_DENSE32;
	if (positive < list->count) {
		s.low = list->item[positive].index;
		s.n = (uint32_t)(list->item[list->count - 1].index - s.low) + 1;
	}
	if (negative < zero) {
		s.negative_low = -list->item[zero - 1].index;
		s.negative_n = (uint32_t)(-list->item[negative].index - s.negative_low) + 1;
	}
	s.bytes = dense_bytes(s.form, s.n, s.negative_n);
	return s;
}

static void dense_store(
	struct dds *d, const struct agg_arena *a, const struct dds_list *list, const struct shape *s)
{
	struct dense_head *head = agg_arena_at(a, d->block);

	memset(head, 0, s->bytes);
	head->negative_low = s->negative_low;
	head->negative_n = s->negative_n;
	d->low = s->low;
	d->n = s->n;
	for (uint32_t i = 0; i < list->count; i++) {
		int32_t key = list->item[i].index;
		uint64_t count = list->item[i].value;
		uint32_t at = key > 0 ? (uint32_t)(key - s->low) : s->n + (uint32_t)(-key - s->negative_low);

		if (key == DDS_KEY_IGNORED)
			head->ignored = count;
		else if (key == DDS_KEY_ZERO)
			head->zero = count;
		else if (s->form == DDS_DENSE64)
			((uint64_t *)(head + 1))[at] = count;
		else
			((uint32_t *)(head + 1))[at] = (uint32_t)count;
	}
}

/* Replaces what is in d. False: no room; d is as it was. */
static bool list_store(struct dds *d, struct agg_arena *a, const struct dds_list *list)
{
	struct shape s = list_shape(list);
	uint32_t had = block_bytes(d, a), *entry;

	if (!agg_arena_fits(a, had, s.bytes))
		return false;
	if (had)
		agg_arena_give(a, d->block, had);
	*d = (struct dds){.form = s.form};
	if (s.bytes)
		d->block = agg_arena_swap(a, s.bytes);
	if (is_dense(d)) {
		dense_store(d, a, list, &s);
		return true;
	}
	entry = entries(d, a);
	for (uint32_t i = 0; i < list->count; i++)
		entry[i] = entry_make(list->item[i].index, list->item[i].value);
	return true;
}

/* list = a + b */
static void list_add(struct dds_list *list, const struct dds_list *a, const struct dds_list *b)
{
	uint32_t i = 0, k = 0;

	list->count = 0;
	while (i < a->count || k < b->count) {
		if (k == b->count || (i < a->count && a->item[i].index < b->item[k].index))
			list->item[list->count++] = a->item[i++];
		else if (i == a->count || b->item[k].index < a->item[i].index)
			list->item[list->count++] = b->item[k++];
		else {
			list_put(list, a->item[i].index, agg_count_add(a->item[i].value, b->item[k].value));
			i++;
			k++;
		}
	}
}

/* Collapsed to common edges first, both have room in one list. */
bool dds_list_join(struct dds *d, struct agg_arena *a, struct dds_list *list)
{
	struct dds_list mine, sum;
	struct edges e = {0, 0};

	dds_list_make(d, a, &mine);
	edges_widen(&e, &mine);
	edges_widen(&e, list);
	list_collapse(&mine, &e);
	list_collapse(list, &e);
	list_add(&sum, &mine, list);
	return list_store(d, a, &sum);
}

static bool list_join_one(struct dds *d, struct agg_arena *a, int32_t key, uint64_t count)
{
	struct dds_list one;

	one.count = 0;
	list_put(&one, key, count);
	return dds_list_join(d, a, &one);
}

/* ---- adding ---- */

/* A bucket more. */
static bool sparse_new(struct dds *d, struct agg_arena *a, int32_t key, uint64_t count)
{
	uint32_t n = d->form, had = sparse_bytes(n), want = sparse_bytes(n + 1), block,
		 *entry = entries(d, a);
	int32_t sign = key < 0 ? -1 : 1;

	if (n == DDS_SPARSE_MAX)
		return list_join_one(d, a, key, count);
	for (uint32_t i = 0; i < n; i++) {
		int32_t other = entry_key(entry[i]);

		if (other * sign > 0 && other != DDS_KEY_IGNORED && key != DDS_KEY_ZERO &&
			key != DDS_KEY_IGNORED &&
			(other - key >= AGG_DDS_BUCKETS_MAX || key - other >= AGG_DDS_BUCKETS_MAX))
			return list_join_one(d, a, key, count); /* something collapses */
	}
	if (agg_block_bytes(had) != agg_block_bytes(want)) {
		if (!agg_arena_fits(a, had, want))
			return false;
		block = agg_arena_swap(a, want);
		memcpy(agg_arena_at(a, block), entries(d, a), n * sizeof *entry);
		if (had)
			agg_arena_give(a, d->block, had);
		d->block = block;
	}
	d->form = n + 1;
	entries(d, a)[n] = entry_make(key, count);
	return true;
}

static bool sparse_add(struct dds *d, struct agg_arena *a, int32_t key, uint64_t count)
{
	uint32_t *entry = entries(d, a), at = entry_find(entry, d->form, key);

	if (count >= DDS_SPARSE_COUNT)
		return list_join_one(d, a, key, count);
	if (at == d->form)
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
	uint32_t width = d->form == DDS_DENSE64 ? 8 : 4, had = block_bytes(d, a), want, block, n = d->n,
		 negative_n = old->negative_n, *count = key > 0 ? &n : &negative_n;
	int32_t low = d->low, negative_low = old->negative_low, *from = key > 0 ? &low : &negative_low;
	int32_t magnitude = key > 0 ? key : -key, to = *from + (int32_t)*count;

	if (!*count)
		*from = to = magnitude;
	*from = magnitude < *from ? magnitude : *from;
	to = magnitude >= to ? magnitude + 1 : to;
	*count = (uint32_t)(to - *from);
	want = dense_bytes(d->form, n, negative_n);
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
		if (dense_raise(head, d->form, d->n + (uint32_t)(-key - head->negative_low)))
			return true;
	} else if (key < 0 || (uint32_t)(key - d->low) >= d->n) {
		if (dense_widen(d, a, key))
			return dense_add(d, a, key);
	}
	return list_join_one(d, a, key, 1);
}

bool dds_add(struct dds *d, struct agg_arena *a, double x)
{
	int32_t key = dds_key(x);

	if (!is_dense(d))
		return sparse_add(d, a, key, 1);
	if ((uint32_t)(key - d->low) < d->n &&
		dense_raise(agg_arena_at(a, d->block), d->form, (uint32_t)(key - d->low)))
		return true;
	return dense_add(d, a, key);
}

/* ---- merging ---- */

/* True if the sum of two sparse forms is sparse, and room is there for any order of adding. */
static bool sparse_sum(
	struct dds *d, const struct agg_arena *a, struct dds *src, const struct agg_arena *src_arena)
{
	const uint32_t *mine, *theirs;
	uint64_t most = 0, their_most = 0;

	if (is_dense(d) || is_dense(src) || d->form + src->form > DDS_SPARSE_MAX ||
		!agg_arena_fits(a, sparse_bytes(d->form), sparse_bytes(d->form + src->form)))
		return false;
	mine = entries(d, a);
	theirs = entries(src, src_arena);
	for (uint32_t i = 0; i < d->form; i++)
		most = most > entry_count(mine[i]) ? most : entry_count(mine[i]);
	for (uint32_t i = 0; i < src->form; i++)
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

	if (d->form != DDS_DENSE32 || src->form != DDS_DENSE32 || from->negative_n || src->low < d->low ||
		(uint32_t)(src->low - d->low) + src->n > d->n)
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

bool dds_merge(struct dds *d, struct agg_arena *a, const struct dds *src, const struct agg_arena *src_arena)
{
	struct dds_list list;
	struct dds from = *src;
	uint32_t few[DDS_SPARSE_MAX];
	bool whole = true;

	if (sparse_sum(d, a, &from, src_arena)) {
		memcpy(few, entries(&from, src_arena), from.form * sizeof *few);
		for (uint32_t i = 0; i < from.form; i++)
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
	*d = (struct dds){0};
}

void dds_prefetch(const struct dds *d, const struct agg_arena *a)
{
	const char *block;

	if (d->form <= DDS_INLINE)
		return;
	block = agg_arena_at(a, d->block);
	__builtin_prefetch(block);
	if (is_dense(d) || d->form > 16)
		__builtin_prefetch(block + 64);
}
