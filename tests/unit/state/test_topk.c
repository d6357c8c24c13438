/* Space-saving against brute force: bounds of every count, of what is absent, and of the order; merges in
 * random trees; memory bound and save and load in between; hostile bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "agg_random.h"
#include "hash.h"
#include "topk.h"

#define VALUES 2000
#define LEAVES 4

static uint64_t truth[VALUES];

/* The i-th value: a few are longer than what is kept, some of those equal in what is. One is empty. */
static uint32_t value_make(uint32_t i, uint8_t *out)
{
	int n = i == 3 ? 0
		       : snprintf((char *)out, 256, "/%s%u",
				 i % 5 == 1 ? "€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€" : "", i);

	return (uint32_t)n;
}

/* The text that is kept for it. */
static uint32_t kept_make(uint32_t i, uint8_t *out)
{
	uint8_t text[256];
	uint32_t n = value_make(i, text);

	memcpy(out, text, n);
	if (n <= TOPK_TEXT_BYTES)
		return n;
	return 46 + (uint32_t)snprintf((char *)out + 46, 256 - 46,
			    "~%016llx", /* "/" and 15 characters of 3 bytes */
			    (unsigned long long)hash_bytes(text, n, 0));
}

static bool add(struct topk *t, struct agg_arena *a, uint32_t k, uint32_t i)
{
	uint8_t text[256];
	uint32_t n = value_make(i, text);

	return topk_add(t, a, topk_capacity(k), text, n, hash_bytes(text, n, 0));
}

static void packed(const struct topk *t, const struct agg_arena *a, struct bytes *out)
{
	bytes_reset(out);
	topk_pack(t, a, out);
}

static struct topk_view view_of(const struct bytes *in, uint32_t k)
{
	struct cursor c = cursor_of(in->data, in->bytes);
	struct topk_view view;

	assert_true(in->bytes <= 2 + topk_capacity(k) * TOPK_ITEM_PACKED_MAX);
	topk_read(&c, topk_capacity(k), &view);
	assert_false(c.failed || cursor_left(&c));
	return view;
}

static void combine(struct topk *to, struct agg_arena *a, struct topk *from, struct agg_arena *b, uint32_t k)
{
	static struct bytes out;
	struct topk_view view;

	if (random_u64() & 1) {
		assert_true(topk_merge(to, a, topk_capacity(k), from, b));
	} else {
		packed(from, b, &out);
		view = view_of(&out, k);
		assert_true(topk_join(to, a, topk_capacity(k), &view));
	}
	topk_release(from, b);
}

/* Skewed: half of the events are of ever fewer values. */
static uint32_t draw(uint32_t values)
{
	return random_below(1 + (values >> random_below(12))) % VALUES;
}

static void bounds_check(const struct bytes *out, uint32_t k, uint32_t values)
{
	struct agg_top_item top[TOPK_CAPACITY_MAX];
	struct topk_view view = view_of(out, k);
	uint32_t capacity = topk_capacity(k), n = topk_view_top(&view, capacity, top);
	uint64_t least = n == capacity ? UINT64_MAX : 0;
	bool seen[VALUES] = {false};

	for (uint32_t i = 0; i < n; i++) {
		if (i)
			assert_true(top[i - 1].count > top[i].count ||
				    (top[i - 1].count == top[i].count &&
					    (top[i - 1].bytes < top[i].bytes ||
						    memcmp(top[i - 1].text, top[i].text, top[i].bytes) < 0)));
		least = top[i].count < least ? top[i].count : least;
	}
	for (uint32_t v = 0; v < values; v++) {
		uint8_t text[256];
		uint32_t bytes = kept_make(v, text);

		for (uint32_t i = 0; i < n && !seen[v]; i++) {
			if (top[i].bytes != bytes || memcmp(top[i].text, text, bytes) != 0)
				continue;
			seen[v] = true;
			assert_true(truth[v] <= top[i].count && top[i].count - top[i].error <= truth[v]);
		}
		if (!seen[v])
			assert_true(truth[v] <= least);
	}
}

static void test_bounds(void **state)
{
	static const uint32_t ks[] = {1, 10, 16, 17, 40, 100};
	struct agg_arena *a[LEAVES];
	static struct bytes out;

	(void)state;
	for (int i = 0; i < LEAVES; i++)
		a[i] = agg_arena_new(1 << 20);
	for (int round = 0; round < 1200; round++) {
		uint32_t n = random_size(6000), values = 1 + random_size(VALUES - 1), k = ks[random_below(6)];
		struct topk leaf[LEAVES] = {0};

		memset(truth, 0, sizeof truth);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t at = random_below(LEAVES), v = draw(values);

			truth[v]++;
			assert_true(add(&leaf[at], a[at], k, v));
		}
		for (uint32_t left = LEAVES; left > 1; left--) {
			uint32_t to = random_below(left - 1);

			combine(&leaf[to], a[to], &leaf[left - 1], a[left - 1], k);
			assert_int_equal(agg_arena_used(a[left - 1]), 0);
		}
		packed(&leaf[0], a[0], &out);
		bounds_check(&out, k, VALUES);
		topk_release(&leaf[0], a[0]);
		assert_int_equal(agg_arena_used(a[0]), 0);
	}
	for (int i = 0; i < LEAVES; i++)
		agg_arena_free(a[i]);
}

/* With no more values than have room, all is exact, whatever the tree. */
static void test_exact_while_there_is_room(void **state)
{
	struct agg_arena *a = agg_arena_new(1 << 20), *b = agg_arena_new(1 << 20);
	static struct bytes one, two;

	(void)state;
	for (int round = 0; round < 500; round++) {
		struct topk bulk = {0}, part[2] = {{0}, {0}};
		struct agg_top_item top[TOPK_CAPACITY_MAX];
		struct topk_view view;
		uint32_t n = random_size(3000);

		memset(truth, 0, sizeof truth);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t v = random_below(64);

			truth[v]++;
			assert_true(add(&bulk, a, 10, v) && add(&part[i & 1], b, 10, v));
		}
		combine(&part[0], b, &part[1], b, 10);
		packed(&bulk, a, &one);
		packed(&part[0], b, &two);
		assert_true(bytes_same(&one, &two));
		assert_int_equal(agg_arena_used(a), agg_arena_used(b));
		view = view_of(&one, 10);
		for (uint32_t i = topk_view_top(&view, 100, top); i; i--)
			assert_int_equal(top[i - 1].error, 0);
		bounds_check(&one, 10, VALUES);
		topk_release(&bulk, a);
		topk_release(&part[0], b);
	}
	agg_arena_free(a);
	agg_arena_free(b);
}

static void test_memory_bound(void **state)
{
	(void)state;
	for (int round = 0; round < 300; round++) {
		size_t bound = random_size(round % 2 ? 20000 : 1000000);
		struct agg_arena *a = agg_arena_new(bound), *b = agg_arena_new(bound);
		struct topk x[3] = {0}, y[3] = {0};
		struct bytes px = {0}, py = {0};
		uint32_t n = random_size(4000), k = 1 + random_below(100);

		for (uint32_t i = 0; i < n; i++) {
			uint32_t at = random_below(3), v = draw(VALUES);

			assert_int_equal(add(&x[at], a, k, v), add(&y[at], b, k, v));
			assert_true(agg_arena_used(a) <= bound);
			if (random_below(150) == 0) { /* saved and loaded */
				struct agg_arena *fresh = agg_arena_new(bound);

				for (int j = 0; j < 3; j++) {
					struct topk again = {0};

					combine(&again, fresh, &y[j], b, k);
					y[j] = again;
				}
				agg_arena_free(b);
				b = fresh;
			}
			assert_int_equal(agg_arena_used(a), agg_arena_used(b));
		}
		assert_int_equal(topk_merge(&x[0], a, topk_capacity(k), &x[1], a),
			topk_merge(&y[0], b, topk_capacity(k), &y[1], b));
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

static void test_hostile_bytes(void **state)
{
	struct agg_arena *a = agg_arena_new(1 << 20);
	static struct bytes out, again;
	uint32_t accepted = 0;

	(void)state;
	for (int round = 0; round < 30000; round++) {
		struct topk t = {0};
		struct topk_view view;
		struct cursor c;

		for (uint32_t i = random_below(40); i; i--)
			add(&t, a, 10, draw(VALUES));
		packed(&t, a, &out);
		topk_release(&t, a);
		bytes_mutate(&out);
		c = cursor_of(out.data, out.bytes);
		topk_read(&c, topk_capacity(10), &view);
		if (c.failed || cursor_left(&c))
			continue;
		accepted++;
		assert_true(topk_join(&t, a, topk_capacity(10), &view));
		packed(&t, a, &again);
		assert_true(bytes_same(&out, &again));
		topk_release(&t, a);
	}
	assert_true(accepted > 1000);
	agg_arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_exact_while_there_is_room),
		cmocka_unit_test(test_memory_bound),
		cmocka_unit_test(test_hostile_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
