/* DDSketch against brute force: the mapping against logarithms, random trees of merges against one sketch and
 * against a plain map of buckets, quantiles against sorted values, packed forms, and the bound on memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agg_random.h"
#include "ddsketch.h"
#include "varint.h"

#define VALUES_MAX 4000
#define LEAVES 5

static void packed(const struct dds *d, const struct agg_arena *a, struct bytes *out)
{
	bytes_reset(out);
	dds_pack(d, a, out);
	assert_true(out->bytes <= DDS_PACKED_MAX);
}

static bool unpacked(struct dds *d, struct agg_arena *a, const struct bytes *in)
{
	struct cursor c = cursor_of(in->data, in->bytes);
	struct dds_view view;

	dds_read(&c, &view);
	assert_false(c.failed || cursor_left(&c));
	return dds_join(d, a, &view);
}

static double any_double(void)
{
	uint64_t bits = random_u64();
	double x;

	memcpy(&x, &bits, sizeof x);
	return x;
}

static void key_check(double x)
{
	int32_t key = dds_key(x), sign = x < 0 ? -1 : 1;
	long double index = floorl(DDS_PER_OCTAVE * log2l(fabsl((long double)x)));

	if (!isfinite(x)) {
		assert_int_equal(key, DDS_KEY_IGNORED);
		return;
	}
	if (fabs(x) < 0x1p-1022) {
		assert_int_equal(key, DDS_KEY_ZERO);
		return;
	}
	assert_true(key * sign >= DDS_KEY_MIN && key * sign <= DDS_KEY_MAX);
	assert_true(fabs(dds_key_value(key) - x) <= 0.00991 * fabs(x));
	if (fabsl(DDS_PER_OCTAVE * log2l(fabsl((long double)x)) -
		    roundl(DDS_PER_OCTAVE * log2l(fabsl((long double)x)))) > 1e-12L)
		assert_int_equal(key, sign * ((int32_t)index + DDS_OFFSET));
}

static void test_mapping(void **state)
{
	(void)state;
	for (int i = 0; i < 300000; i++) {
		key_check(any_double());
		key_check(ldexp(1 + random_unit(), (int)random_below(60) - 30));
	}
	for (int octave = -1022; octave <= 1023;
		octave++) { /* at each bucket's start, from below and from above */
		for (int j = 0; j < DDS_PER_OCTAVE; j++) {
			double start = ldexp((double)exp2l((long double)j / DDS_PER_OCTAVE), octave);
			int32_t key = octave * DDS_PER_OCTAVE + j + DDS_OFFSET, got = dds_key(start);

			assert_true(got == key || got == key - 1); /* exp2l may be rounded downwards */
			assert_int_equal(dds_key(nextafter(start, INFINITY)), key);
			if (key > DDS_KEY_MIN)
				assert_int_equal(dds_key(nextafter(start, 0)), key - 1);
		}
	}
	key_check(INFINITY);
	key_check(NAN);
	key_check(0);
	key_check(-0.0);
	key_check(-1);
	key_check(0x1p-1022);
	key_check(0x1p-1023);
	assert_int_equal(dds_key(1), DDS_OFFSET);
	assert_int_equal(dds_key(-1), -DDS_OFFSET);
}

/* Buckets by key. */
#define MODEL_KEYS (2 * (DDS_KEY_MAX + 1))
static uint64_t model[MODEL_KEYS];
static uint64_t model_ignored;

static void model_fold(int from, int to, int step)
{
	for (int i = from; i != to; i += step) {
		model[to] += model[i];
		model[i] = 0;
	}
}

static void model_sign(int sign, struct bytes *out)
{
	uint32_t n = 0;
	int last = 0, top = DDS_KEY_MAX, at = DDS_KEY_MAX + 1;

	while (top && !model[at + sign * top])
		top--;
	if (top >= AGG_DDS_BUCKETS_MAX)
		model_fold(at + sign, at + sign * (top - AGG_DDS_BUCKETS_MAX + 1), sign);
	for (int key = 1; key <= top; key++)
		n += model[at + sign * key] != 0;
	bytes_put_varint(out, n);
	for (int key = 1; key <= top; key++) {
		if (!model[at + sign * key])
			continue;
		bytes_put_varint(out, (uint64_t)(key - last));
		bytes_put_varint(out, model[at + sign * key]);
		last = key;
	}
}

static void model_pack(const double *value, uint32_t n, struct bytes *out)
{
	memset(model, 0, sizeof model);
	model_ignored = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (isfinite(value[i]))
			model[dds_key(value[i]) + DDS_KEY_MAX + 1]++;
		else
			model_ignored++;
	}
	bytes_reset(out);
	bytes_put_varint(out, model_ignored);
	bytes_put_varint(out, model[DDS_KEY_MAX + 1]);
	model_sign(1, out);
	model_sign(-1, out);
}

static double gauss(void)
{
	return sqrt(-2 * log(1 - random_unit())) * cos(6.283185307179586 * random_unit());
}

/* One of several distributions. */
static double draw(int kind)
{
	switch (kind) {
	case 0:
		return random_unit() * 1000;
	case 1:
		return exp(gauss());
	case 2:
		return pow(1 - random_unit(), -1.2); /* Pareto */
	case 3:
		return gauss() * 20;
	case 4:
		return random_below(5);
	case 5:
		return -exp(gauss() * 4);
	case 6:
		return random_below(20) ? exp(gauss()) : any_double(); /* collapses */
	case 7:
		return 42.5;
	default:
		return (double)random_below(200) - 100;
	}
}
#define KINDS 9

static void combine(struct dds *to, struct agg_arena *a, struct dds *from, struct agg_arena *b)
{
	static struct bytes out;

	if (random_u64() & 1) {
		assert_true(dds_merge(to, a, from, b));
	} else {
		packed(from, b, &out);
		assert_true(unpacked(to, a, &out));
	}
	dds_release(from, b);
}

static void test_trees_equal_bulk(void **state)
{
	struct agg_arena *one = agg_arena_new(1 << 20),
			 *a[2] = {agg_arena_new(1 << 20), agg_arena_new(1 << 20)};
	static struct bytes got, want;
	static double value[VALUES_MAX];
	struct dds leaf[LEAVES], bulk;

	(void)state;
	for (int round = 0; round < 6000; round++) {
		uint32_t n = random_size(round % 20 ? 300 : VALUES_MAX);
		int kind = (int)random_below(KINDS);

		memset(leaf, 0, sizeof leaf);
		memset(&bulk, 0, sizeof bulk);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t k = random_below(LEAVES);

			value[i] = draw(kind);
			assert_true(dds_add(&leaf[k], a[k & 1], value[i]));
			assert_true(dds_add(&bulk, one, value[i]));
		}
		for (uint32_t left = LEAVES; left > 1; left--) {
			uint32_t to = random_below(left - 1);

			combine(&leaf[to], a[to & 1], &leaf[left - 1], a[(left - 1) & 1]);
		}
		packed(&bulk, one, &got);
		if (round % 8 == 0) { /* the model is slow */
			model_pack(value, n, &want);
			assert_true(bytes_same(&got, &want));
		}
		packed(&leaf[0], a[0], &want);
		assert_true(bytes_same(&got, &want));
		assert_int_equal(agg_arena_used(a[0]), agg_arena_used(one));
		dds_release(&leaf[0], a[0]);
		assert_true(unpacked(&leaf[0], a[0], &got));
		assert_int_equal(agg_arena_used(a[0]), agg_arena_used(one));
		dds_release(&leaf[0], a[0]);
		dds_release(&bulk, one);
		assert_int_equal(agg_arena_used(a[0]) + agg_arena_used(a[1]) + agg_arena_used(one), 0);
	}
	for (int i = 0; i < 2; i++)
		agg_arena_free(a[i]);
	agg_arena_free(one);
}

static int compare_double(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

static void test_quantiles(void **state)
{
	struct agg_arena *a = agg_arena_new(1 << 20);
	static double value[VALUES_MAX];
	static struct bytes out;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		uint32_t n = 1 + random_size(VALUES_MAX - 1);
		int kind = (int)random_below(KINDS);
		struct dds d = {0};
		struct dds_list list;

		kind = kind == 6 ? 0 : kind; /* 6 collapses: no bound for what is low */
		for (uint32_t i = 0; i < n; i++) {
			value[i] = draw(kind);
			assert_true(dds_add(&d, a, value[i]));
		}
		assert_true(dds_add(&d, a, NAN)); /* counted, not looked at */
		qsort(value, n, sizeof *value, compare_double);
		dds_list_make(&d, a, &list);
		for (uint32_t percent = 0; percent <= 100; percent++) {
			double want = value[(uint64_t)(n - 1) * percent / 100], got;

			assert_true(dds_list_quantile(&list, percent, &got));
			assert_true(fabs(got - want) <= AGG_DDS_ACCURACY * fabs(want));
		}
		packed(&d, a, &out);
		dds_release(&d, a);
	}
	agg_arena_free(a);
}

static void test_wide_counts(void **state)
{
	struct agg_arena *a = agg_arena_new(1 << 20), *b = agg_arena_new(1 << 20);
	static struct bytes out, again;
	struct dds d = {0}, e = {0};
	uint64_t want = 1;

	(void)state;
	assert_true(dds_add(&d, a, 7) && dds_add(&d, a, 0) && dds_add(&d, a, -3));
	for (int i = 0; i < 60; i++) {
		struct dds_list list;

		packed(&d, a, &out);
		assert_true(unpacked(&d, a, &out)); /* twice itself */
		want = want * 2 < AGG_COUNT_MAX ? want * 2 : AGG_COUNT_MAX;
		dds_list_make(&d, a, &list);
		assert_int_equal(list.count, 3);
		for (int k = 0; k < 3; k++)
			assert_true(list.item[k].value == want);
		packed(&d, a, &out);
		assert_true(unpacked(&e, b, &out));
		packed(&e, b, &again);
		assert_true(bytes_same(&out, &again));
		assert_int_equal(agg_arena_used(a), agg_arena_used(b));
		dds_release(&e, b);
	}
	/* one more, where 32 bits end: in place and by way of a list */
	dds_release(&d, a);
	for (int i = 0; i < 32; i++) {
		assert_true(dds_add(&d, a, 7) && dds_add(&d, a, 0));
		packed(&d, a, &out);
		if (i < 31)
			assert_true(unpacked(&d, a, &out));
	}
	dds_release(&d, a);
	agg_arena_free(a);
	agg_arena_free(b);
}

/* Counts just below 2^32 in a bucket that lies between others, then one by one beyond. */
static void test_counts_cross_32_bits(void **state)
{
	struct agg_arena *a = agg_arena_new(1 << 20), *b = agg_arena_new(1 << 20);
	static struct dds_list list;
	static struct bytes out, again;
	struct dds d = {0}, e = {0};

	(void)state;
	list.count = 3;
	list.item[0] = (struct agg_register){DDS_KEY_ZERO, UINT32_MAX - 1ull};
	list.item[1] = (struct agg_register){DDS_OFFSET, UINT32_MAX - 1ull};
	list.item[2] = (struct agg_register){DDS_OFFSET + 5, 3};
	assert_true(dds_list_join(&d, a, &list));
	for (int i = 0; i < 4; i++) {
		assert_true(dds_add(&d, a, 0));
		if (i >= 1)
			assert_true(dds_add(&d, a, 1));
		packed(&d, a, &out);
		assert_true(unpacked(&e, b, &out));
		packed(&e, b, &again);
		assert_true(bytes_same(&out, &again));
		assert_int_equal(agg_arena_used(a), agg_arena_used(b));
		dds_release(&e, b);
	}
	dds_list_make(&d, a, &list);
	assert_true(list.item[0].value == UINT32_MAX + 3ull && list.item[1].value == UINT32_MAX + 2ull);
	assert_int_equal(dds_form(&d), DDS_DENSE64);
	agg_arena_free(a);
	agg_arena_free(b);
}

/* Cells of arrays, merged where the sum of a bucket no longer fits into 32 bits. */
static void test_merges_cross_32_bits(void **state)
{
	struct agg_arena *a = agg_arena_new(1 << 20);
	static struct dds_list list;
	static struct bytes out, want;
	struct dds d = {0}, e = {0}, sum = {0};

	(void)state;
	for (int sign = -1; sign <= 1; sign += 2) {
		list.count = 1;
		list.item[0] = (struct agg_register){sign * DDS_OFFSET, 3ull << 30};
		assert_true(dds_list_join(&d, a, &list));
		list.count = 1;
		list.item[0] = (struct agg_register){sign * DDS_OFFSET, 2ull << 30};
		assert_true(dds_list_join(&e, a, &list));
		assert_int_equal(dds_form(&d), DDS_DENSE32);
		assert_true(dds_merge(&d, a, &e, a));
		list.count = 1;
		list.item[0] = (struct agg_register){sign * DDS_OFFSET, 5ull << 30};
		assert_true(dds_list_join(&sum, a, &list));
		packed(&d, a, &out);
		packed(&sum, a, &want);
		assert_true(bytes_same(&out, &want));
		dds_release(&d, a);
		dds_release(&e, a);
		dds_release(&sum, a);
	}
	agg_arena_free(a);
}

/* Two values just as far apart as what is kept, and one bucket nearer and further, in either order. */
static void test_collapse_begins(void **state)
{
	struct agg_arena *a = agg_arena_new(1 << 20);
	static struct bytes got, want;

	(void)state;
	for (int apart = AGG_DDS_BUCKETS_MAX - 2; apart <= AGG_DDS_BUCKETS_MAX + 2; apart++) {
		for (int way = 0; way < 4; way++) {
			double sign = way & 1 ? -1 : 1, far = sign * dds_key_value(DDS_OFFSET + apart);
			double value[2] = {way & 2 ? far : sign, way & 2 ? sign : far};
			struct dds d = {0};
			struct dds_list list;

			assert_true(dds_add(&d, a, value[0]) && dds_add(&d, a, value[1]));
			dds_list_make(&d, a, &list);
			assert_int_equal(list.count, 2);
			assert_int_equal(list.item[1].index - list.item[0].index,
				apart < AGG_DDS_BUCKETS_MAX ? apart : AGG_DDS_BUCKETS_MAX - 1);
			packed(&d, a, &got);
			model_pack(value, 2, &want);
			assert_true(bytes_same(&got, &want));
			dds_release(&d, a);
		}
	}
	agg_arena_free(a);
}

static void test_memory_bound(void **state)
{
	(void)state;
	for (int round = 0; round < 400; round++) {
		size_t bound = random_size(20000);
		struct agg_arena *a = agg_arena_new(bound), *b = agg_arena_new(bound);
		struct dds x[4] = {0}, y[4] = {0};
		struct bytes px = {0}, py = {0};
		uint32_t n = random_size(VALUES_MAX);
		int kind = (int)random_below(KINDS);

		for (uint32_t i = 0; i < n; i++) {
			uint32_t k = random_below(4);
			double value = draw(kind);

			assert_int_equal(dds_add(&x[k], a, value), dds_add(&y[k], b, value));
			assert_true(agg_arena_used(a) <= bound);
			if (random_below(200) == 0) { /* saved and loaded */
				struct agg_arena *fresh = agg_arena_new(bound);

				for (int j = 0; j < 4; j++) {
					struct dds again = {0};

					combine(&again, fresh, &y[j], b);
					y[j] = again;
				}
				agg_arena_free(b);
				b = fresh;
			}
			assert_int_equal(agg_arena_used(a), agg_arena_used(b));
		}
		assert_int_equal(dds_merge(&x[0], a, &x[1], a), dds_merge(&y[0], b, &y[1], b));
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
	for (int round = 0; round < 100000; round++) {
		struct dds d = {0};
		struct dds_view view;
		struct cursor c;
		int kind = (int)random_below(KINDS);

		for (uint32_t i = random_size(round % 50 ? 8 : 300); i; i--)
			dds_add(&d, a, draw(kind));
		packed(&d, a, &out);
		dds_release(&d, a);
		bytes_mutate(&out);
		c = cursor_of(out.data, out.bytes);
		dds_read(&c, &view);
		if (c.failed || cursor_left(&c))
			continue;
		accepted++;
		assert_true(dds_join(&d, a, &view));
		packed(&d, a, &again);
		assert_true(bytes_same(&out, &again));
		dds_release(&d, a);
	}
	assert_true(accepted > 1000);
	agg_arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mapping),
		cmocka_unit_test(test_trees_equal_bulk),
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_wide_counts),
		cmocka_unit_test(test_counts_cross_32_bits),
		cmocka_unit_test(test_merges_cross_32_bits),
		cmocka_unit_test(test_collapse_begins),
		cmocka_unit_test(test_memory_bound),
		cmocka_unit_test(test_hostile_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
