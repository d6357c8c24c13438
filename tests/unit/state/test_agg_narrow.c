/* Narrow cells: events into them, and on in ordinary ones when they are full, are bit by bit what ordinary
 * cells of the same events are; any content goes there and back, or is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agg_narrow.h"
#include "agg_priv.h"
#include "agg_random.h"
#include "agg_record.h"

#define CELLS 3

static const char *const text[] = {"count", "sum(amount)", "count, sum(amount), avg(metric)",
	"count, sum(amount), distinct(user_id), quantiles(metric)",
	"count(type=click), error_rate, min(amount), max(amount), min(metric), max(metric), top(page,2)",
	"avg(amount), count(country=DE), quantiles(amount), distinct(amount)"};

/* One key: as narrow, then wide, in one arena; as ordinary from the start in another. */
struct key {
	_Alignas(8) uint8_t room[3 + AGG_NARROW_WIDE_MAX]; /* its narrow cell begins at 3 */
	_Alignas(8) uint8_t wide[AGG_NARROW_WIDE_MAX], plain[AGG_NARROW_WIDE_MAX];
	bool is_wide;
	uint64_t events;
};

static uint8_t *narrow_of(struct key *k)
{
	return k->room + 3;
}

static const struct record *event_make(struct agg_record *r, bool large)
{
	char name[16];
	double metric = random_below(20) ? exp(random_unit() * 9) : -INFINITY;
	int64_t amount = large && random_below(50) == 0
				 ? (int64_t)(random_u64() >> random_below(34)) * (random_below(2) ? 1 : -1)
				 : (int64_t)random_below(UINT32_MAX) - INT32_MAX;
	int n = snprintf(name, sizeof name, "u%u", random_below(40));

	agg_record_start(r);
	r->ev.type = random_below(3) ? EVENT_TYPE_platform : EVENT_TYPE_click;
	agg_record_text(r, FIELD_user_id, name, (size_t)n);
	agg_record_text(r, FIELD_page, name, (size_t)n);
	agg_record_text(r, FIELD_country, random_below(2) ? "DE" : "FR", 2);
	if (random_below(5) == 0)
		agg_record_text(r, FIELD_status, "error", 5);
	if (random_below(5))
		agg_record_number(r, FIELD_metric, &metric);
	if (random_below(5))
		agg_record_number(r, FIELD_amount, &amount);
	return agg_record_done(r);
}

static void widen(const struct agg_set *set, struct key *k)
{
	agg_narrow_widen(set, narrow_of(k), k->wide);
	k->is_wide = true;
}

/* What is narrow goes there and back. */
static void key_compare(const struct agg_set *set, struct key *k, struct agg_arena *a, struct agg_arena *b)
{
	_Alignas(8) uint8_t cell[AGG_NARROW_WIDE_MAX], again[3 + AGG_NARROW_WIDE_MAX] = {0};
	struct bytes x = {0}, y = {0};

	if (!k->is_wide) {
		assert_true(k->events <= AGG_NARROW_EVENTS);
		agg_narrow_widen(set, narrow_of(k), cell);
		assert_true(agg_narrow_fit(set, cell, again + 3));
		assert_true(again[3] <= k->events);
		assert_memory_equal(again + 4, narrow_of(k) + 1, agg_set_cell_bytes(agg_narrow(set)) - 1);
	}
	agg_cell_pack(set, k->is_wide ? k->wide : cell, a, &x);
	agg_cell_pack(set, k->plain, b, &y);
	assert_true(bytes_same(&x, &y));
	bytes_free(&x);
	bytes_free(&y);
}

static void run_add(const struct agg_set *set, struct agg_run *run, struct key *key, uint32_t count,
	struct agg_arena *a, struct agg_arena *b)
{
	const uint64_t all = count == AGG_RUN ? UINT64_MAX : (1ull << count) - 1;
	struct agg_items narrow, wide, plain;
	uint64_t large = agg_narrow_large(run, set, all);

	agg_items_clear(&narrow);
	agg_items_clear(&wide);
	agg_items_clear(&plain);
	for (uint32_t i = 0; i < count; i++) {
		struct key *k = &key[random_below(CELLS)];

		k->events++;
		agg_items_put(&plain, i, k->plain, b);
		if (!k->is_wide && !(large >> i & 1) && agg_narrow_takes(narrow_of(k))) {
			agg_items_put(&narrow, i, narrow_of(k), a);
			continue;
		}
		if (!k->is_wide) {
			assert_int_equal(agg_run_add(run, agg_narrow(set), &narrow), 0);
			agg_items_clear(&narrow);
			widen(set, k);
		}
		agg_items_put(&wide, i, k->wide, a);
	}
	agg_run_prefetch(run, agg_narrow(set), &narrow);
	assert_int_equal(agg_run_add(run, agg_narrow(set), &narrow), 0);
	assert_int_equal(agg_run_add(run, set, &wide), 0);
	assert_int_equal(agg_run_add(run, set, &plain), 0);
}

/* Returns how many keys are narrow in the end. */
static uint32_t keys_run(const char *aggregates, uint32_t runs, bool large)
{
	static struct agg_record made[AGG_RUN];
	static const struct record *rec[AGG_RUN];
	static const uint8_t *payload[AGG_RUN];
	static uint64_t offset[AGG_RUN];
	static struct key key[CELLS];
	struct agg_arena *a = agg_arena_new(SIZE_MAX), *b = agg_arena_new(SIZE_MAX);
	struct agg_set *set;
	struct agg_run run;
	struct err err;
	uint32_t narrow = 0;

	if (agg_set_parse(&set, aggregates, &err))
		fail_msg("%s: %s", aggregates, err.text);
	assert_non_null(agg_narrow(set));
	memset(key, 0, sizeof key);
	for (uint32_t k = 0; k < CELLS; k++) {
		agg_cell_init(agg_narrow(set), narrow_of(&key[k]));
		agg_cell_init(set, key[k].plain);
	}
	agg_run_init(&run, rec, payload, offset, 3);
	assert_true(agg_run_reads(&run, set));
	for (uint32_t i = 0; i < runs; i++) {
		uint32_t count = 1 + random_below(AGG_RUN);

		for (uint32_t n = 0; n < count; n++) {
			rec[n] = event_make(&made[n], large);
			payload[n] = record_payload(rec[n]);
		}
		agg_run_begin(&run, false);
		run_add(set, &run, key, count, a, b);
		assert_int_equal(agg_arena_used(a), agg_arena_used(b));
		for (uint32_t k = 0; k < CELLS; k++)
			key_compare(set, &key[k], a, b);
	}
	for (uint32_t k = 0; k < CELLS; k++)
		narrow += !key[k].is_wide;
	agg_run_free(&run);
	agg_arena_free(a);
	agg_arena_free(b);
	agg_set_free(set);
	return narrow;
}

static void test_runs(void **state)
{
	uint32_t narrow = 0, wide = 0;

	(void)state;
	for (size_t t = 0; t < sizeof text / sizeof *text; t++)
		for (uint32_t i = 0; i < 60; i++) {
			uint32_t n = keys_run(text[t], 1 + random_size(100), i % 2);

			narrow += n;
			wide += CELLS - n;
		}
	assert_true(narrow > 100 && wide > 100);
}

/* 255 of the greatest numbers that fit, of either sign. */
static void test_bounds(void **state)
{
	uint8_t sum[AGG_NARROW_SUM_BYTES] = {0};
	const int64_t most = AGG_NARROW_NUMBER_MAX - 1;

	(void)state;
	for (int sign = -1; sign <= 1; sign += 2) {
		agg_narrow_sum_set(sum, 0);
		for (int64_t i = 1; i <= AGG_NARROW_EVENTS; i++) {
			agg_narrow_sum_set(sum, agg_narrow_sum(sum) + sign * most);
			assert_int_equal(agg_narrow_sum(sum), i * sign * most);
		}
	}
}

/* What counters cannot say of each other, and what does not fit. */
static void test_refused(void **state)
{
	_Alignas(8) uint8_t cell[AGG_NARROW_WIDE_MAX], narrow[AGG_NARROW_WIDE_MAX];
	struct agg_set *set;
	struct err err;
	const struct {
		uint64_t count, present;
		int64_t sum;
		bool fits;
	} some[] = {{0, 0, 0, true}, {255, 255, 255ll * INT32_MAX, true}, {256, 3, 7, false},
		{3, 4, 7, false}, {1, 1, (int64_t)INT32_MAX + 1, false},
		{2, 1, -(int64_t)INT32_MAX - 1, true}, {255, 255, 255ll * INT32_MAX + 256, false},
		{UINT64_MAX, 0, 0, false}, {9, 9, INT64_MIN, false}};

	(void)state;
	assert_int_equal(agg_set_parse(&set, "count, sum(amount)", &err), 0);
	for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
		agg_cell_init(set, cell);
		agg_u64_set(cell + set->part[0].offset, some[i].count);
		agg_u64_set(cell + set->part[1].offset, some[i].present);
		agg_u128_set(cell + set->part[2].offset, (unsigned __int128)(__int128)some[i].sum);
		assert_int_equal(agg_narrow_fit(set, cell, narrow), some[i].fits);
	}
	agg_u128_set(cell + set->part[2].offset, (unsigned __int128)1 << 100);
	assert_false(agg_narrow_fit(set, cell, narrow));
	agg_set_free(set);
}

static void test_none(void **state)
{
	static const char *const other[] = {"count, first(page)", "variance(metric)", "last(page)"};

	(void)state;
	for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
		struct agg_set *set;
		struct err err;

		assert_int_equal(agg_set_parse(&set, other[i], &err), 0);
		assert_null(agg_narrow(set));
		agg_set_free(set);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
