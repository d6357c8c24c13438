/* Items that wait, against a plain list of them: what comes out, in which order, and what stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "hash.h"
#include "timewait.h"

#define ITEMS 40000u

struct item {
	int64_t time_ms;
	uint64_t number;
	uint32_t other[3];
};

static struct item list[ITEMS], taken[ITEMS], got[ITEMS + 1];
static size_t listed;

static void stays(const struct timewait *t)
{
	size_t at = 0;

	assert_int_equal(t->count, listed);
	for (size_t i = 0; i < t->blocks; i++) {
		const struct timewait_block *b = &t->block[i];
		int64_t least = INT64_MAX;

		assert_in_range(b->count, 1, TIMEWAIT_ITEMS);
		assert_memory_equal(b->item, &list[at], b->count * sizeof *list);
		for (uint32_t k = 0; k < b->count; k++, at++)
			least = list[at].time_ms < least ? list[at].time_ms : least;
		assert_true(b->least_ms <= least);
	}
	assert_int_equal(at, listed);
}

static void add(struct timewait *t, int64_t time_ms, uint64_t number)
{
	list[listed] = (struct item){time_ms, number, {1, 2, (uint32_t)number}};
	*(struct item *)timewait_add(t, sizeof *list, time_ms) = list[listed++];
}

static void take(struct timewait *t, int64_t before_ms)
{
	size_t count = 0, kept = 0, most = timewait_most(t, before_ms);
	int64_t least = INT64_MAX, last = INT64_MIN;
	struct timewait_taken now;
	bool sorted = true;

	for (size_t i = 0; i < listed; i++) {
		if (list[i].time_ms >= before_ms) {
			list[kept++] = list[i];
			continue;
		}
		sorted = sorted && list[i].time_ms >= last;
		last = list[i].time_ms > last ? list[i].time_ms : last;
		least = list[i].time_ms < least ? list[i].time_ms : least;
		taken[count++] = list[i];
	}
	listed = kept;
	now = timewait_take(t, sizeof *list, before_ms, got);
	assert_int_equal(now.count, count);
	assert_true(now.count <= most);
	assert_true(now.sorted == sorted);
	assert_int_equal(now.least_ms, least);
	assert_int_equal(now.most_ms, last);
	assert_memory_equal(got, taken, count * sizeof *got);
	stays(t);
}

static bool wanted(const void *arg, const void *item)
{
	return ((const struct item *)item)->number % *(const uint64_t *)arg != 0;
}

static void filter(struct timewait *t, uint64_t of)
{
	size_t kept = 0;

	for (size_t i = 0; i < listed; i++)
		if (wanted(&of, &list[i]))
			list[kept++] = list[i];
	listed = kept;
	timewait_filter(t, sizeof *list, wanted, &of);
	stays(t);
}

/* Times that grow with disorder, some far ahead; steps of the watermark behind them. */
static void order(uint64_t disorder, uint64_t far, uint32_t every)
{
	struct timewait t = {0};

	listed = 0;
	take(&t, 0);
	for (uint32_t i = 0; i < ITEMS; i++) {
		uint64_t h = hash_u64(i + disorder);

		add(&t, i + (int64_t)(h % disorder) + (h >> 32 & 63 ? 0 : (int64_t)far), i);
		if (i % every == every - 1)
			take(&t, (int64_t)i - 300);
		if (i % 9001 == 9000)
			filter(&t, 2 + i % 3);
	}
	take(&t, INT64_MIN);
	take(&t, INT64_MAX);
	assert_int_equal(t.blocks, 0);
	timewait_free(&t);
}

static void against_list(void **state)
{
	(void)state;
	order(1, 0, 100);
	order(500, 0, 1000);
	order(5000, 20000, 777);
	order(20, ITEMS * 2, 50);
	order(ITEMS, 0, 5000);
}

/* Items of a time far ahead, one among many that go: they do not hold a block each. */
static void few_blocks(void **state)
{
	struct timewait t = {0};

	(void)state;
	listed = 0;
	for (uint32_t i = 0; i < ITEMS; i++) {
		add(&t, i % 100 ? i : INT64_MAX, i);
		if (i % 1000 == 999)
			take(&t, i);
	}
	take(&t, ITEMS);
	assert_true(t.blocks <= 2 * (listed / TIMEWAIT_ITEMS) + 2);
	timewait_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(against_list), cmocka_unit_test(few_blocks)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
