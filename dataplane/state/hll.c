/* HyperLogLog: see hll.h. In: hashes, other sketches, packed bytes. Out: estimates, registers, packed bytes.
 * Pure; memory is the cell's and the arena's. The state (form, block size) follows from the set of tokens
 * alone. */
#include "hll.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "avx2.h"
#include "varint.h"

#define TABLE_SLOTS_MIN 64u
#define TABLE_SLOTS_MAX 2048u
_Static_assert(HLL_TOKENS_MAX == TABLE_SLOTS_MAX / 4 * 3, "a table is full at three quarters");

/* ---- forms ---- */

/* The least power of two of which n is at most three quarters. */
static uint32_t table_slots(uint32_t n)
{
	uint32_t least = (4 * n + 2) / 3;

	return least <= TABLE_SLOTS_MIN ? TABLE_SLOTS_MIN : 1u << (32 - __builtin_clz(least - 1));
}

/* Of the block that holds n tokens; HLL_DENSE: the registers. */
static uint32_t form_bytes(uint32_t n)
{
	if (n <= HLL_INLINE)
		return 0;
	if (n <= HLL_SCAN_MAX)
		return n * (uint32_t)sizeof(uint32_t);
	return n <= HLL_TOKENS_MAX ? table_slots(n) * (uint32_t)sizeof(uint32_t) : HLL_REGISTERS;
}

/* True if one of the tokens is this one. */
typedef bool scan_fn(const uint32_t *token, uint32_t n, uint32_t want);

/* n: at least HLL_INLINE. The last four overlap others, and all are looked at: where a token stands is as
 * good as random, and a branch that cannot be foreseen costs more than what is left. */
static inline bool scan_find(const uint32_t *token, uint32_t n, uint32_t want)
{
	__m128i wanted = _mm_set1_epi32((int)want);
	__m128i found = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)(token + n - 4)), wanted);

	for (uint32_t i = 0; i + 4 < n; i += 4)
		found = _mm_or_si128(
			found, _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)(token + i)), wanted));
	return _mm_movemask_epi8(found);
}

AVX2_FN static inline bool scan_find_avx2(const uint32_t *token, uint32_t n, uint32_t want)
{
	__m256i wanted = _mm256_set1_epi32((int)want), found;

	if (n < 8)
		return scan_find(token, n, want);
	found = _mm256_cmpeq_epi32(_mm256_loadu_si256((const __m256i *)(token + n - 8)), wanted);
	for (uint32_t i = 0; i + 8 < n; i += 8)
		found = _mm256_or_si256(
			found, _mm256_cmpeq_epi32(_mm256_loadu_si256((const __m256i *)(token + i)), wanted));
	return _mm256_movemask_epi8(found);
}

/* The slot of the token, or the free one where it belongs. A token is hash bits from its top. */
static uint32_t *table_find(uint32_t *slot, uint32_t slots, uint32_t token)
{
	uint32_t at = (uint32_t)((uint64_t)token * slots >> 32);

	while (slot[at] && slot[at] != token)
		at = (at + 1) & (slots - 1);
	return &slot[at];
}

static void register_raise(uint8_t *registers, uint32_t token)
{
	uint32_t value, index = hll_token_register(token, &value);

	if (registers[index] < value)
		registers[index] = (uint8_t)value;
}

/* The tokens in memory's order; at most HLL_TOKENS_MAX. */
static uint32_t tokens_list(const struct hll *h, const struct agg_arena *a, uint32_t *out)
{
	const uint32_t *slot;
	uint32_t n = 0;

	if (!hll_has_block(h)) {
		memcpy(out, h->token, sizeof h->token);
		return hll_n(h);
	}
	slot = agg_arena_at(a, h->block);
	if (hll_n(h) <= HLL_SCAN_MAX) {
		memcpy(out, slot, hll_n(h) * sizeof *out);
		return hll_n(h);
	}
	for (uint32_t i = 0, slots = table_slots(hll_n(h)); i < slots; i++)
		if (slot[i])
			out[n++] = slot[i];
	return n;
}

/* Tables are in order but for a few, and the rest are few. */
static void tokens_sort(uint32_t *token, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		uint32_t t = token[i], k = i;

		for (; k && token[k - 1] > t; k--)
			token[k] = token[k - 1];
		token[k] = t;
	}
}

static void block_set(struct hll *h, uint32_t block, uint32_t n)
{
	*h = (struct hll){.token = {0}};
	h->block = block;
	h->marked = n << 6 | HLL_BLOCK_MARK;
}

/* Changes the form to that of n tokens (or HLL_DENSE) with the same tokens in it. Not inline: its stack would
 * be paid by every caller. */
static __attribute__((noinline)) bool form_change(struct hll *h, struct agg_arena *a, uint32_t n)
{
	uint32_t token[HLL_TOKENS_MAX], count, had = form_bytes(hll_n(h)), bytes = form_bytes(n), block,
					       *slot;

	if (!agg_arena_fits(a, had, bytes))
		return false;
	count = tokens_list(h, a, token);
	block = agg_arena_swap(a, bytes);
	slot = agg_arena_at(a, block);
	if (n <= HLL_SCAN_MAX) {
		memcpy(slot, token, count * sizeof *slot);
	} else {
		memset(slot, 0, bytes);
		for (uint32_t i = 0; i < count; i++) {
			if (n == HLL_DENSE)
				register_raise((uint8_t *)slot, token[i]);
			else
				*table_find(slot, table_slots(n), token[i]) = token[i];
		}
	}
	if (had)
		agg_arena_give(a, h->block, had);
	block_set(h, block, n == HLL_DENSE ? n : count);
	return true;
}

/* True if n + 1 tokens stand in the block of n in the same way. */
static bool form_same(uint32_t n)
{
	return n + 1 <= HLL_SCAN_MAX ? n >= HLL_INLINE + 1 && agg_block_bytes(form_bytes(n)) ==
								      agg_block_bytes(form_bytes(n + 1))
				     : n > HLL_SCAN_MAX && form_bytes(n) == form_bytes(n + 1);
}

/* ---- adding ---- */

static __attribute__((noinline)) bool token_new(struct hll *h, struct agg_arena *a, uint32_t token)
{
	uint32_t *slot, n = hll_n(h);

	if (n < HLL_INLINE) {
		h->token[n] = token;
		return true;
	}
	if (n == HLL_TOKENS_MAX) {
		if (!form_change(h, a, HLL_DENSE))
			return false;
		register_raise(agg_arena_at(a, h->block), token);
		return true;
	}
	if (!form_same(n) && !form_change(h, a, n + 1))
		return false;
	slot = agg_arena_at(a, h->block);
	if (n < HLL_SCAN_MAX)
		slot[n] = token;
	else
		*table_find(slot, table_slots(n + 1), token) = token;
	block_set(h, h->block, n + 1);
	return true;
}

AVX2_BODY bool token_find_add(struct hll *h, struct agg_arena *a, uint32_t token, scan_fn *scan)
{
	uint32_t *block, n;

	if (!hll_has_block(h))
		return scan_find(h->token, HLL_INLINE, token) || token_new(h, a, token);
	block = agg_arena_at(a, h->block);
	n = h->marked >> 6;
	if (n == HLL_DENSE) {
		register_raise((uint8_t *)block, token);
		return true;
	}
	if (n <= HLL_SCAN_MAX ? scan(block, n, token) : *table_find(block, table_slots(n), token) != 0)
		return true;
	return token_new(h, a, token);
}

static bool token_add(struct hll *h, struct agg_arena *a, uint32_t token)
{
	return token_find_add(h, a, token, scan_find);
}

bool hll_add(struct hll *h, struct agg_arena *a, uint64_t hash)
{
	return token_add(h, a, hll_token(hash));
}

AVX2_BODY uint64_t run_add(
	const struct agg_items *items, uint32_t offset, const uint32_t *token, scan_fn *scan)
{
	const uint32_t count = items->count;
	uint64_t lost = 0;

	for (uint32_t k = 0; k < count; k++) {
		uint32_t i = items->event[k];

		if (!token_find_add((struct hll *)(items->cell[k] + offset), items->arena[k], token[i], scan))
			lost |= 1ull << i;
	}
	return lost;
}

AVX2_FN static uint64_t run_add_avx2(const struct agg_items *items, uint32_t offset, const uint32_t *token)
{
	return run_add(items, offset, token, scan_find_avx2);
}

uint64_t hll_add_run(const struct agg_items *items, uint32_t offset, const uint32_t *token)
{
	return avx2_usable() ? run_add_avx2(items, offset, token) : run_add(items, offset, token, scan_find);
}

/* Every block that adding up to n tokens may need fits: then their order does not matter. */
static bool sure_to_fit(const struct hll *h, const struct agg_arena *a, uint32_t n)
{
	return agg_arena_fits(a, form_bytes(hll_n(h)), form_bytes(hll_n(h) + n));
}

/* Into an empty sketch: the same form. False: no room for all of it. */
static bool copy(struct hll *h, struct agg_arena *a, const struct hll *src, const struct agg_arena *src_arena)
{
	uint32_t bytes = form_bytes(hll_n(src)), block;

	if (!agg_arena_fits(a, 0, bytes))
		return false;
	if (!bytes) {
		*h = *src;
		return true;
	}
	block = agg_arena_swap(a, bytes);
	memcpy(agg_arena_at(a, block), agg_arena_at(src_arena, src->block), bytes);
	block_set(h, block, hll_n(src));
	return true;
}

/* src as a set of tokens, in the order of tokens where not all of them may fit. */
static bool tokens_merge(
	struct hll *h, struct agg_arena *a, const struct hll *src, const struct agg_arena *src_arena)
{
	uint32_t token[HLL_TOKENS_MAX], n = tokens_list(src, src_arena, token);
	bool whole = true;

	if (hll_n(h) != HLL_DENSE && !sure_to_fit(h, a, n))
		tokens_sort(token, n);
	for (uint32_t i = 0; i < n; i++)
		whole &= token_add(h, a, token[i]);
	return whole;
}

bool hll_merge(struct hll *h, struct agg_arena *a, const struct hll *src, const struct agg_arena *src_arena)
{
	const uint8_t *from;
	uint8_t *to;

	if (!hll_n(h) && copy(h, a, src, src_arena))
		return true;
	if (hll_n(src) != HLL_DENSE)
		return tokens_merge(h, a, src, src_arena);
	if (hll_n(h) != HLL_DENSE && !form_change(h, a, HLL_DENSE))
		return false;
	to = agg_arena_at(a, h->block);
	from = agg_arena_at(src_arena, src->block);
	for (uint32_t i = 0; i < HLL_REGISTERS; i += 16)
		_mm_storeu_si128((__m128i *)(to + i), _mm_max_epu8(_mm_loadu_si128((const __m128i *)(to + i)),
							      _mm_loadu_si128((const __m128i *)(from + i))));
	return true;
}

void hll_release(struct hll *h, struct agg_arena *a)
{
	if (hll_has_block(h))
		agg_arena_give(a, h->block, form_bytes(hll_n(h)));
	*h = (struct hll){.token = {0}};
}

/* A block that is searched has its first and last token on one cache line, two or three. */
static inline void scan_prefetch(const struct hll *h, const struct agg_arena *a)
{
	const uint32_t *token = agg_arena_at(a, h->block), n = h->marked >> 6;

	__builtin_prefetch(token, 1);
	__builtin_prefetch(token + n / 2, 1);
	__builtin_prefetch(token + n - 1, 1);
}

void hll_prefetch(const struct hll *h, const struct agg_arena *a)
{
	if (hll_has_block(h) && h->marked >> 6 <= HLL_SCAN_MAX)
		scan_prefetch(h, a);
}

void hll_prefetch_run(const struct agg_items *items, uint32_t offset, const uint32_t *token)
{
	const uint32_t count = items->count;

	for (uint32_t k = 0; k < count; k++) {
		const struct hll *h = (const struct hll *)(items->cell[k] + offset);
		uint32_t n = h->marked >> 6;
		uint64_t in;

		if (!hll_has_block(h))
			continue;
		if (n <= HLL_SCAN_MAX) {
			scan_prefetch(h, items->arena[k]);
			continue;
		}
		in = n == HLL_DENSE ? HLL_REGISTERS : form_bytes(n); /* both ascend with the token */
		__builtin_prefetch((const char *)agg_arena_at(items->arena[k], h->block) +
					   (token[items->event[k]] * in >> 32),
			1);
	}
}

/* ---- packed ---- */

static void registers_pack(const uint8_t *registers, struct bytes *out)
{
	uint8_t *p = bytes_room(out, HLL_PACKED_DENSE);

	for (uint32_t i = 0; p && i < HLL_REGISTERS; i += 4, p += 3) {
		uint32_t four = registers[i] | (uint32_t)registers[i + 1] << 6 |
				(uint32_t)registers[i + 2] << 12 | (uint32_t)registers[i + 3] << 18;

		memcpy(p, &four, 3);
	}
}

static void registers_unpack(const uint8_t *p, uint8_t *registers)
{
	for (uint32_t i = 0; i < HLL_REGISTERS; i += 4, p += 3) {
		uint32_t six = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16, four;

		four = (six & 0x3f) | (six << 2 & 0x3f00) | (six << 4 & 0x3f0000) | (six << 6 & 0x3f000000);
		memcpy(registers + i, &four, sizeof four);
	}
}

void hll_pack(const struct hll *h, const struct agg_arena *a, struct bytes *out)
{
	uint32_t token[HLL_TOKENS_MAX], n, last = 0;

	if (hll_n(h) == HLL_DENSE) {
		bytes_put_varint(out, HLL_TOKENS_MAX + 1);
		registers_pack(agg_arena_at(a, h->block), out);
		return;
	}
	n = tokens_list(h, a, token);
	tokens_sort(token, n);
	bytes_put_varint(out, n);
	for (uint32_t i = 0; i < n; i++) {
		bytes_put_varint(out, token[i] - last);
		last = token[i];
	}
}

static bool registers_valid(const uint8_t *packed)
{
	uint8_t registers[HLL_REGISTERS], most[16];
	__m128i top = _mm_setzero_si128();
	uint32_t value = 0;

	registers_unpack(packed, registers);
	for (uint32_t i = 0; i < HLL_REGISTERS; i += 16)
		top = _mm_max_epu8(top, _mm_loadu_si128((const __m128i *)(registers + i)));
	_mm_storeu_si128((__m128i *)most, top);
	for (uint32_t i = 0; i < 16; i++)
		value = value > most[i] ? value : most[i];
	return value && value <= HLL_REGISTER_MAX;
}

void hll_read(struct cursor *c, struct hll_view *view)
{
	uint64_t n = cursor_varint(c, 32), token = 0;

	view->data = c->at;
	if (n > HLL_TOKENS_MAX) {
		view->n = HLL_DENSE;
		view->data = cursor_take(c, HLL_PACKED_DENSE);
		view->bytes = HLL_PACKED_DENSE;
		if (n != HLL_TOKENS_MAX + 1 || !view->data || !registers_valid(view->data))
			c->failed = true;
		return;
	}
	for (uint64_t i = 0; i < n && !c->failed; i++) {
		uint64_t more = cursor_varint(c, 32);
		uint32_t position = (uint32_t)(token + more) & 63;

		token += more;
		if (!more || token > UINT32_MAX || !position || position > 64 - HLL_TOKEN_BITS + 1)
			c->failed = true;
	}
	view->n = (uint32_t)n;
	view->bytes = (uint32_t)(c->at - view->data);
}

/* Of a view, which has been checked. */
static uint32_t view_tokens(const struct hll_view *view, uint32_t *out)
{
	struct cursor c = cursor_of(view->data, view->bytes);
	uint32_t token = 0;

	for (uint32_t i = 0; i < view->n; i++) {
		token += (uint32_t)cursor_varint(&c, 32);
		out[i] = token;
	}
	return view->n;
}

bool hll_join(struct hll *h, struct agg_arena *a, const struct hll_view *view)
{
	uint32_t token[HLL_TOKENS_MAX], n;
	uint8_t registers[HLL_REGISTERS], *to;
	bool whole = true;

	if (view->n != HLL_DENSE) {
		n = view_tokens(view, token);
		for (uint32_t i = 0; i < n; i++)
			whole &= token_add(h, a, token[i]);
		return whole;
	}
	if (hll_n(h) != HLL_DENSE && !form_change(h, a, HLL_DENSE))
		return false;
	to = agg_arena_at(a, h->block);
	registers_unpack(view->data, registers);
	for (uint32_t i = 0; i < HLL_REGISTERS; i++)
		to[i] = to[i] > registers[i] ? to[i] : registers[i];
	return true;
}

uint32_t hll_view_registers(const struct hll_view *view, struct agg_register *out, uint32_t max)
{
	uint32_t token[HLL_TOKENS_MAX], n, count = 0, value;
	uint8_t registers[HLL_REGISTERS];

	if (view->n == HLL_DENSE) {
		registers_unpack(view->data, registers);
		for (uint32_t i = 0; i < HLL_REGISTERS && count < max; i++)
			if (registers[i])
				out[count++] = (struct agg_register){(int32_t)i, registers[i]};
		return count;
	}
	n = view_tokens(view, token);
	for (uint32_t i = 0; i < n; i++) {
		int32_t index = (int32_t)hll_token_register(token[i], &value);

		if (count && out[count - 1].index == index) {
			if (out[count - 1].value < value)
				out[count - 1].value = value;
		} else if (count < max) {
			out[count++] = (struct agg_register){index, value};
		}
	}
	return count;
}

/* ---- estimate: Ertl 2017, algorithm 6 ---- */

static double sigma(double x)
{
	double y = 1, z = x, before;

	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (z != before);
	return z;
}

static double tau(double x)
{
	double y = 1, z = 1 - x, before;

	if (x <= 0 || x >= 1)
		return 0;
	do {
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= (1 - x) * (1 - x) * y;
	} while (z != before);
	return z / 3;
}

double hll_estimate(const uint8_t *registers)
{
	const double m = HLL_REGISTERS, alpha = 0.72134752044448170368; /* 1 / (2 ln 2) */
	uint32_t count[HLL_REGISTER_MAX + 1] = {0};
	double z;

	for (uint32_t i = 0; i < HLL_REGISTERS; i++)
		count[registers[i]]++;
	if (count[0] == HLL_REGISTERS)
		return 0;
	z = m * tau(1 - count[HLL_REGISTER_MAX] / m);
	for (uint32_t k = HLL_REGISTER_MAX - 1; k; k--)
		z = 0.5 * (z + count[k]);
	z += m * sigma(count[0] / m);
	return alpha * m * m / z;
}

uint64_t hll_view_estimate(const struct hll_view *view)
{
	uint8_t registers[HLL_REGISTERS];

	if (view->n != HLL_DENSE)
		return view->n;
	registers_unpack(view->data, registers);
	return (uint64_t)(hll_estimate(registers) + 0.5);
}
