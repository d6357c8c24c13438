/* HyperLogLog against brute force: tokens and registers from hashes, random trees of merges against adding
 * everything to one, packed forms, error bounds, and a bound on memory that is hit at the same value always.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agg_random.h"
#include "hash.h"
#include "hll.h"
#include "varint.h"

#define VALUES_MAX 6000
#define LEAVES 5

static void packed(const struct hll *h, const struct agg_arena *a, struct bytes *out)
{
	bytes_reset(out);
	hll_pack(h, a, out);
	assert_true(out->bytes <= HLL_PACKED_MAX);
}

/* The registers by their definition, bit by bit. */
static void register_model(uint8_t *registers, uint64_t hash)
{
	uint32_t index = (uint32_t)(hash >> (64 - AGG_HLL_BITS)), rank = 1;

	for (int bit = 63 - AGG_HLL_BITS; bit >= 0 && !(hash >> bit & 1); bit--)
		rank++;
	if (registers[index] < rank)
		registers[index] = (uint8_t)rank;
}

static void test_tokens_give_registers(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 300000; i++) {
		static uint8_t registers[HLL_REGISTERS];
		uint64_t hash = random_u64();
		uint32_t value, index;

		if (i & 1) /* rare ranks, too */
			hash &= ~0ull >> AGG_HLL_BITS >> random_below(51) | ~0ull << (64 - AGG_HLL_BITS);
		if (i == 1)
			hash = 0;
		register_model(registers, hash);
		index = hll_token_register(hll_token(hash), &value);
		assert_true(hll_token(hash) != 0);
		assert_int_equal(index, hash >> (64 - AGG_HLL_BITS));
		assert_int_equal(registers[index], value);
		registers[index] = 0;
	}
}

static int compare_u32(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return (a > b) - (a < b);
}

/* What the packed form must be, by the format's description. */
static void model_pack(const uint64_t *hash, uint32_t n, struct bytes *out)
{
	static uint32_t token[VALUES_MAX];
	uint8_t registers[HLL_REGISTERS] = {0};
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		token[i] = hll_token(hash[i]);
	qsort(token, n, sizeof *token, compare_u32);
	for (uint32_t i = 0; i < n; i++)
		if (!count || token[count - 1] != token[i])
			token[count++] = token[i];
	bytes_reset(out);
	if (count <= HLL_TOKENS_MAX) {
		bytes_put_varint(out, count);
		for (uint32_t i = 0; i < count; i++)
			bytes_put_varint(out, token[i] - (i ? token[i - 1] : 0));
		return;
	}
	bytes_put_varint(out, HLL_TOKENS_MAX + 1);
	for (uint32_t i = 0; i < n; i++)
		register_model(registers, hash[i]);
	for (uint32_t i = 0, bits = 0, have = 0; i < HLL_REGISTERS; i++) {
		bits |= (uint32_t)registers[i] << have;
		for (have += 6; have >= 8; have -= 8, bits >>= 8)
			bytes_put_u8(out, (uint8_t)bits);
	}
}

/* a += b: cells, or by way of the packed form. */
static void combine(struct hll *to, struct agg_arena *a, struct hll *from, struct agg_arena *b)
{
	static struct bytes out;
	struct hll_view view;
	struct cursor c;

	if (random_u64() & 1) {
		assert_true(hll_merge(to, a, from, b));
	} else {
		packed(from, b, &out);
		c = cursor_of(out.data, out.bytes);
		hll_read(&c, &view);
		assert_false(c.failed || cursor_left(&c));
		assert_true(hll_join(to, a, &view));
	}
	hll_release(from, b);
}

static void test_trees_equal_bulk(void **state)
{
	struct agg_arena *one = agg_arena_new(1 << 20),
			 *a[2] = {agg_arena_new(1 << 20), agg_arena_new(1 << 20)};
	static struct bytes got, want;
	static uint64_t hash[VALUES_MAX];
	struct hll leaf[LEAVES], bulk;

	(void)state;
	for (int round = 0; round < 4000; round++) {
		uint32_t n = random_size(VALUES_MAX), distinct = 1 + random_size(VALUES_MAX);

		memset(leaf, 0, sizeof leaf);
		memset(&bulk, 0, sizeof bulk);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t k = random_below(LEAVES);

			hash[i] = hash_u64(random_below(distinct) + ((uint64_t)round << 32));
			assert_true(hll_add(&leaf[k], a[k & 1], hash[i]));
			assert_true(hll_add(&bulk, one, hash[i]));
		}
		for (uint32_t left = LEAVES; left > 1; left--) {
			uint32_t to = random_below(left - 1);

			combine(&leaf[to], a[to & 1], &leaf[left - 1], a[(left - 1) & 1]);
		}
		model_pack(hash, n, &want);
		packed(&bulk, one, &got);
		assert_true(bytes_same(&got, &want));
		packed(&leaf[0], a[0], &got);
		assert_true(bytes_same(&got, &want));
		assert_int_equal(agg_arena_used(a[0]), agg_arena_used(one));
		assert_int_equal(agg_arena_used(a[1]), 0);
		hll_release(&leaf[0], a[0]);
		hll_release(&bulk, one);
		assert_int_equal(agg_arena_used(a[0]) + agg_arena_used(one), 0);
	}
	for (int i = 0; i < 2; i++)
		agg_arena_free(a[i]);
	agg_arena_free(one);
}

static uint64_t estimate(const struct hll *h, const struct agg_arena *a)
{
	static struct bytes out;
	struct hll_view view;
	struct cursor c;

	packed(h, a, &out);
	c = cursor_of(out.data, out.bytes);
	hll_read(&c, &view);
	return hll_view_estimate(&view);
}

/* Exact while sparse; then root mean square below 1 % at any size, no single one beyond five deviations, and
 * no bias that would be seen beside the deviation. */
static void test_error_bounds(void **state)
{
	static const uint32_t size[] = {
		1, 2, 3, 4, 10, 33, 500, 1536, 1600, 3000, 8000, 16384, 25000, 41000, 60000, 81920, 200000};
	struct agg_arena *a = agg_arena_new(1 << 20);
	const int runs = 60;

	(void)state;
	for (size_t s = 0; s < sizeof size / sizeof *size; s++) {
		double squares = 0, sum = 0;

		for (int run = 0; run < runs; run++) {
			struct hll h = {0};
			double error;

			for (uint32_t i = 0; i < size[s]; i++)
				hll_add(&h, a, hash_bytes(&i, sizeof i, random_state + (uint64_t)run));
			error = (double)estimate(&h, a) / size[s] - 1;
			assert_true(fabs(error) < 0.0406);
			if (size[s] <= 1536)
				assert_true(fabs(error) * size[s] < 1.5);
			squares += error * error;
			sum += error;
			hll_release(&h, a);
		}
		random_u64();
		assert_true(sqrt(squares / runs) < 0.01);
		assert_true(fabs(sum / runs) < 3.5 * 0.0081 / sqrt(runs));
	}
	agg_arena_free(a);
}

/* A bound on memory is hit at the same values whether the sketch was saved and loaded in between or not. */
static void test_memory_bound(void **state)
{
	(void)state;
	for (int round = 0; round < 300; round++) {
		size_t bound = random_size(40000);
		struct agg_arena *a = agg_arena_new(bound), *b = agg_arena_new(bound);
		struct hll x[4] = {0}, y[4] = {0};
		struct bytes px = {0}, py = {0};
		uint32_t n = random_size(VALUES_MAX);

		for (uint32_t i = 0; i < n; i++) {
			uint32_t k = random_below(4);
			uint64_t hash = random_u64();

			assert_int_equal(hll_add(&x[k], a, hash), hll_add(&y[k], b, hash));
			assert_true(agg_arena_used(a) <= bound);
			if (random_below(200) == 0) { /* saved and loaded */
				struct agg_arena *fresh = agg_arena_new(bound);

				for (int j = 0; j < 4; j++) {
					struct hll again = {0};

					combine(&again, fresh, &y[j], b);
					y[j] = again;
				}
				agg_arena_free(b);
				b = fresh;
			}
			assert_int_equal(agg_arena_used(a), agg_arena_used(b));
		}
		/* a merge that may not fit leaves the same behind, too */
		assert_int_equal(hll_merge(&x[0], a, &x[1], a), hll_merge(&y[0], b, &y[1], b));
		packed(&x[0], a, &px);
		packed(&y[0], b, &py);
		assert_true(bytes_same(&px, &py));
		assert_int_equal(agg_arena_used(a), agg_arena_used(b));
		bytes_free(&px);
		bytes_free(&py);
		agg_arena_free(a);
		agg_arena_free(b);
	}
}

/* Any bytes: refused, or the packed form of what they read as. */
static void test_hostile_bytes(void **state)
{
	struct agg_arena *a = agg_arena_new(1 << 20);
	static struct bytes out, again;
	uint32_t accepted = 0;

	(void)state;
	for (int round = 0; round < 60000; round++) {
		struct hll h = {0};
		struct hll_view view;
		struct cursor c;
		bool dense = round % 200 == 0;

		for (uint32_t i = dense ? 4000 : random_below(12); i; i--)
			hll_add(&h, a, random_u64());
		packed(&h, a, &out);
		hll_release(&h, a);
		bytes_mutate(&out);
		c = cursor_of(out.data, out.bytes);
		hll_read(&c, &view);
		if (c.failed || cursor_left(&c))
			continue;
		accepted++;
		assert_true(hll_join(&h, a, &view));
		packed(&h, a, &again);
		assert_true(bytes_same(&out, &again));
		hll_release(&h, a);
	}
	assert_true(accepted > 100);
	agg_arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens_give_registers),
		cmocka_unit_test(test_trees_equal_bulk),
		cmocka_unit_test(test_error_bounds),
		cmocka_unit_test(test_memory_bound),
		cmocka_unit_test(test_hostile_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
