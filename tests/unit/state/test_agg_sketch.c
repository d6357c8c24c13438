/* Cells with every kind of part: a bound on memory that is hit at the same event in every replay and after
 * every save and load; values, registers and buckets out of packed cells, and the plain formulas that a query
 * would use on them; hostile bytes. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agg_priv.h"
#include "agg_random.h"
#include "agg_record.h"

#define CELLS 6
#define CELL_BYTES 512

static struct agg_set *parse(const char *text)
{
	struct agg_set *set;
	struct err err;

	if (agg_set_parse(&set, text, &err))
		fail_msg("%s: %s", text, err.text);
	assert_true(agg_set_cell_bytes(set) <= CELL_BYTES);
	return set;
}

static struct agg_set *full_set(void)
{
	return parse("count, count(country=DE), sum(metric), min(metric), max(metric), variance(metric), "
		     "error_rate,"
		     "distinct(user_id), quantiles(metric), top(page,3), first(page), last(metric)");
}

static const struct record *event_make(
	struct agg_record *r, struct agg_order *order, uint32_t users, uint64_t offset)
{
	char text[96];
	double metric = exp(random_unit() * 6) - (random_below(9) == 0 ? 200 : 0);

	agg_record_start(r);
	agg_record_text(
		r, FIELD_user_id, text, (size_t)snprintf(text, sizeof text, "u%u", random_below(users)));
	if (random_below(10)) {
		int n = snprintf(
			text, sizeof text, "/a-page-with-a-name/%u", random_below(1 + random_below(users)));

		agg_record_text(r, FIELD_page, text, (size_t)n);
	}
	agg_record_text(r, FIELD_country, random_below(2) ? "DE" : "FR", 2);
	if (random_below(9))
		agg_record_text(r, FIELD_status, "ok", 2);
	else
		agg_record_text(r, FIELD_status, "error", 5);
	if (random_below(5))
		agg_record_number(r, FIELD_metric, &metric);
	*order = (struct agg_order){(int64_t)random_below(1000), 1, offset};
	return agg_record_done(r);
}

static void cell_packed(
	const struct agg_set *set, const void *cell, const struct agg_arena *a, struct bytes *out)
{
	bytes_reset(out);
	agg_cell_pack(set, cell, a, out);
	assert_true(out->bytes <= agg_set_packed_max(set));
}

/* Packs all cells and reads them again in a new arena, in another order. */
static struct agg_arena *reload(
	const struct agg_set *set, uint8_t (*cell)[CELL_BYTES], struct agg_arena *a, size_t bound)
{
	struct agg_arena *fresh = agg_arena_new(bound);
	struct bytes out = {0};

	for (int i = CELLS - 1; i >= 0; i--) {
		cell_packed(set, cell[i], a, &out);
		agg_cell_init(set, cell[i]);
		assert_int_equal(agg_cell_unpack(set, cell[i], fresh, out.data, out.bytes), 0);
	}
	bytes_free(&out);
	agg_arena_free(a);
	return fresh;
}

/* Events, merges and removals; cells x as they go on, cells y saved and loaded now and then. */
static void test_memory_bound_in_replay(void **state)
{
	struct agg_set *set = full_set();
	static _Alignas(8) uint8_t x[CELLS][CELL_BYTES], y[CELLS][CELL_BYTES];
	static struct agg_record rec;
	struct bytes px = {0}, py = {0};
	uint32_t full = 0, whole = 0;

	(void)state;
	for (int round = 0; round < 400; round++) {
		size_t bound = random_size(60000);
		struct agg_arena *a = agg_arena_new(bound), *b = agg_arena_new(bound);
		uint32_t n = random_size(4000), users = 1 + random_size(3000);

		for (int i = 0; i < CELLS; i++) {
			agg_cell_init(set, x[i]);
			agg_cell_init(set, y[i]);
		}
		for (uint32_t i = 0; i < n; i++) {
			uint32_t k = random_below(CELLS), what = random_below(300);
			struct agg_order order;
			const struct record *event = event_make(&rec, &order, users, i);
			bool took = agg_cell_add(set, x[k], a, event, &order);

			assert_int_equal(took, agg_cell_add(set, y[k], b, event, &order));
			full += !took;
			whole += took;
			if (what == 0)
				b = reload(set, y, b, bound);
			if (what == 1)
				assert_int_equal(agg_cell_merge(set, x[k], a, x[(k + 1) % CELLS], a),
					agg_cell_merge(set, y[k], b, y[(k + 1) % CELLS], b));
			if (what == 2) {
				agg_cell_clear(set, x[k], a);
				agg_cell_clear(set, y[k], b);
			}
			assert_int_equal(agg_arena_used(a), agg_arena_used(b));
			assert_true(agg_arena_used(a) <= bound);
		}
		for (int i = 0; i < CELLS; i++) {
			cell_packed(set, x[i], a, &px);
			cell_packed(set, y[i], b, &py);
			assert_true(bytes_same(&px, &py));
			agg_cell_clear(set, x[i], a);
		}
		assert_int_equal(agg_arena_used(a), 0);
		agg_arena_reset(a);
		agg_arena_free(a);
		agg_arena_free(b);
	}
	assert_true(full > 1000 && whole > 1000); /* both were seen */
	bytes_free(&px);
	bytes_free(&py);
	agg_set_free(set);
}

/* ---- what a query does with merged registers and buckets: docs/sketches.md ---- */

struct fields {
	double distinct, quantile[3];
	uint32_t top;
};

static int fields_take(void *arg, const struct agg_value *v)
{
	static const char *const name[] = {"p50_metric", "p95_metric", "p99_metric"};
	struct fields *f = arg;

	if (strcmp(v->label, "distinct_user_id") == 0)
		f->distinct = (double)v->u64;
	for (int i = 0; i < 3; i++)
		if (strcmp(v->label, name[i]) == 0)
			f->quantile[i] = v->f64;
	f->top += v->kind == AGG_VALUE_TOP;
	return 0;
}

/* maxMap of registers, then the two formulas of the page. */
static void plain_distinct(const uint8_t *merged, double *improved, double *classic)
{
	const double m = HLL_REGISTERS;
	double sum = 0, zeros = m, sigma, raw;

	for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
		sum += merged[i] ? exp2(-(double)merged[i]) : 0;
		zeros -= merged[i] != 0;
	}
	sigma = zeros / m;
	for (int k = 1; k <= 24; k++)
		sigma += pow(zeros / m, exp2(k)) * exp2(k - 1);
	*improved = 0.7213475204444817 * m * m / (m * sigma + sum);
	raw = 0.7213 / (1 + 1.079 / m) * m * m / (zeros + sum);
	*classic = raw <= 2.5 * m && zeros > 0 ? m * log(m / zeros) : raw;
}

/* sumMap of buckets, then the formula of the page. */
static double plain_quantile(const uint64_t *merged, int32_t keys, double q, uint64_t n)
{
	uint64_t rank = (uint64_t)floor(q * (double)(n - 1)), seen = 0;

	for (int32_t key = -keys; key <= keys; key++) {
		seen += merged[key + keys];
		if (seen > rank)
			return (key > 0) - (key < 0)
				       ? ((key > 0) - (key < 0)) * 1.0099016 * exp2((abs(key) - 36000) / 35.0)
				       : 0;
	}
	return NAN;
}

#define BOXES 3

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Several boxes' cells: registers and buckets merged as ClickHouse would. */
static void merged_check(const struct agg_set *set, struct bytes *packed, uint32_t distinct, double *metric,
	uint32_t n, double squares[2])
{
	static uint8_t registers[HLL_REGISTERS];
	static uint64_t buckets[2 * (DDS_KEY_MAX + 1)];
	static struct agg_register reg[AGG_REGISTERS_MAX];
	double improved, classic, got;
	uint64_t total = 0;

	memset(registers, 0, sizeof registers);
	memset(buckets, 0, sizeof buckets);
	for (int box = 0; box < BOXES; box++) {
		int count =
			agg_registers(set, packed[box].data, packed[box].bytes, 0, reg, AGG_REGISTERS_MAX);

		assert_true(count >= 0);
		for (int i = 0; i < count; i++) {
			assert_true(!i || reg[i].index > reg[i - 1].index);
			if (registers[reg[i].index] < reg[i].value)
				registers[reg[i].index] = (uint8_t)reg[i].value;
		}
		count = agg_registers(set, packed[box].data, packed[box].bytes, 1, reg, AGG_REGISTERS_MAX);
		assert_true(count >= 0);
		for (int i = 0; i < count; i++) {
			assert_true(!i || reg[i].index > reg[i - 1].index);
			buckets[reg[i].index + DDS_KEY_MAX] += reg[i].value;
			total += reg[i].value;
		}
	}
	assert_int_equal(total, n);
	plain_distinct(registers, &improved, &classic);
	assert_true(fabs(improved - hll_estimate(registers)) <= 1e-6 * improved);
	assert_true(fabs(improved / distinct - 1) < 0.0406 && fabs(classic / distinct - 1) < 0.055);
	squares[0] += (improved / distinct - 1) * (improved / distinct - 1);
	squares[1] += (classic / distinct - 1) * (classic / distinct - 1);
	qsort(metric, n, sizeof *metric, compare_double);
	for (int percent = 1; percent <= 99; percent += 7) {
		got = plain_quantile(buckets, DDS_KEY_MAX, percent / 100.0, n);
		assert_true(fabs(got - metric[(uint64_t)floor(percent / 100.0 * (n - 1))]) <=
			    AGG_DDS_ACCURACY * fabs(metric[(uint64_t)floor(percent / 100.0 * (n - 1))]));
	}
}

static void test_plain_formulas(void **state)
{
	static const uint32_t sizes[] = {1, 5, 50, 1000, 3000, 10000, 20000, 40000, 50000, 80000};
	struct agg_set *set = parse("distinct(user_id), quantiles(metric)");
	static struct agg_record rec;
	static double metric[80000];
	static _Alignas(8) uint8_t cell[CELL_BYTES];
	struct bytes packed[BOXES] = {0};

	(void)state;
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		int runs = sizes[s] > 3000 ? 12 : 20;
		double squares[2] = {0, 0};

		for (int run = 0; run < runs; run++) {
			for (uint32_t box = 0, i = 0; box < BOXES; box++) {
				struct agg_arena *a = agg_arena_new(1 << 20);
				struct agg_order order = {0, 0, 0};

				agg_cell_init(set, cell);
				for (; i < sizes[s] * (box + 1) / BOXES; i++) {
					char user[32];
					int n = snprintf(user, sizeof user, "u%u.%d", i, run);

					metric[i] = exp(random_unit() * 12 - 6) * (random_below(4) ? 1 : -1);
					agg_record_start(&rec);
					agg_record_text(&rec, FIELD_user_id, user, (size_t)n);
					agg_record_number(&rec, FIELD_metric, &metric[i]);
					assert_true(
						agg_cell_add(set, cell, a, agg_record_done(&rec), &order));
				}
				cell_packed(set, cell, a, &packed[box]);
				agg_arena_free(a);
			}
			merged_check(set, packed, sizes[s], metric, sizes[s], squares);
		}
		assert_true(sqrt(squares[0] / runs) < 0.0115); /* 0.81 %, of 12 samples */
		assert_true(sqrt(squares[1] / runs) < 0.025);
	}
	for (int box = 0; box < BOXES; box++)
		bytes_free(&packed[box]);
	agg_set_free(set);
}

static void test_values(void **state)
{
	struct agg_set *set = full_set();
	struct agg_arena *a = agg_arena_new(1 << 20);
	static _Alignas(8) uint8_t cell[CELL_BYTES];
	static struct agg_record rec;
	static struct agg_register reg[4];
	struct agg_order order = {1, 2, 3};
	struct bytes out = {0};
	struct fields f = {0};
	double metric;

	(void)state;
	agg_cell_init(set, cell);
	for (int i = 1; i <= 100; i++) {
		metric = i;
		agg_record_start(&rec);
		agg_record_text(&rec, FIELD_user_id, &"abcdefghij"[i % 10], 1);
		agg_record_text(&rec, FIELD_page, &"zyx"[i % 2], 1);
		agg_record_number(&rec, FIELD_metric, &metric);
		order.offset++;
		agg_cell_prefetch(set, cell, a);
		assert_true(agg_cell_add(set, cell, a, agg_record_done(&rec), &order));
	}
	cell_packed(set, cell, a, &out);
	assert_int_equal(agg_values(set, out.data, out.bytes, fields_take, &f), 0);
	assert_true(f.distinct == 10);
	assert_int_equal(f.top, 1);
	for (int i = 0; i < 3; i++)
		assert_true(fabs(f.quantile[i] - (i == 0 ? 50 : i == 1 ? 95 : 99)) < 1);
	assert_int_equal(agg_registers(set, out.data, out.bytes, 7, reg, 4), 4); /* as many as asked for */
	assert_int_equal(agg_registers(set, out.data, out.bytes, 0, reg, 4), -EINVAL);
	assert_int_equal(agg_registers(set, out.data, out.bytes, 99, reg, 4), -EINVAL);
	assert_int_equal(agg_registers(set, out.data, out.bytes - 1, 7, reg, 4), -EINVAL);
	agg_arena_free(a);
	agg_set_free(set);
	bytes_free(&out);
}

static int value_any(void *arg, const struct agg_value *v)
{
	(void)arg;
	assert_true(v->kind != AGG_VALUE_F64 || isfinite(v->f64));
	assert_true(strlen(v->label) < AGG_VALUE_LABEL_BYTES);
	return 0;
}

static void test_hostile_bytes(void **state)
{
	struct agg_set *set = full_set();
	static _Alignas(8) uint8_t cell[CELL_BYTES];
	static struct agg_record rec;
	struct bytes out = {0}, again = {0};
	uint32_t accepted = 0;

	(void)state;
	for (int round = 0; round < 40000; round++) {
		struct agg_arena *a = agg_arena_new(1 << 20);
		struct agg_order order;

		agg_cell_init(set, cell);
		for (uint32_t i = random_size(60); i; i--) {
			const struct record *event = event_make(&rec, &order, 20, i);

			assert_true(agg_cell_add(set, cell, a, event, &order));
		}
		cell_packed(set, cell, a, &out);
		bytes_mutate(&out);
		agg_cell_clear(set, cell, a);
		if (agg_cell_unpack(set, cell, a, out.data, out.bytes) == 0) {
			accepted++;
			cell_packed(set, cell, a, &again);
			assert_true(bytes_same(&out, &again));
			assert_int_equal(agg_values(set, out.data, out.bytes, value_any, NULL), 0);
		} else {
			assert_int_equal(agg_values(set, out.data, out.bytes, value_any, NULL), -EINVAL);
		}
		agg_arena_free(a);
	}
	assert_true(accepted > 1000);
	bytes_free(&out);
	bytes_free(&again);
	agg_set_free(set);
}

static void test_packed_size_is_refused(void **state)
{
	struct agg_set *set = parse("count, distinct(user_id), quantiles(metric), top(page,10), error_rate");
	struct err err = {""};

	(void)state;
	assert_true(agg_set_packed_max(set) <= AGG_PACKED_MAX);
	agg_set_free(set);
	set = NULL;
	assert_int_equal(
		agg_set_parse(
			&set, "distinct(user_id), distinct(page), distinct(country), distinct(device)", &err),
		-EINVAL);
	assert_null(set);
	assert_non_null(strstr(err.text, "more than 49152"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_bound_in_replay),
		cmocka_unit_test(test_plain_formulas),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_hostile_bytes),
		cmocka_unit_test(test_packed_size_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
