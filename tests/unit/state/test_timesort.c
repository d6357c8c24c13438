/* The order by time against qsort(), and that what has the same time stays in its order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "hash.h"
#include "timesort.h"

struct item {
	int64_t time_ms;
	uint32_t place; /* before the sort */
	uint32_t other;
};

static int compare(const void *x, const void *y)
{
	const struct item *a = x, *b = y;

	if (a->time_ms != b->time_ms)
		return a->time_ms < b->time_ms ? -1 : 1;
	return (a->place > b->place) - (a->place < b->place);
}

static void run(uint32_t count, int64_t first, uint64_t span)
{
	struct item *item = calloc(count, sizeof *item), *scratch = calloc(count, sizeof *item),
		    *want = calloc(count, sizeof *item), *got;
	int64_t least = INT64_MAX, most = INT64_MIN;

	for (uint32_t i = 0; i < count; i++) {
		item[i] = (struct item){first + (int64_t)(hash_u64(i + span) % span), i, ~i};
		least = item[i].time_ms < least ? item[i].time_ms : least;
		most = item[i].time_ms > most ? item[i].time_ms : most;
	}
	memcpy(want, item, count * sizeof *item);
	qsort(want, count, sizeof *want, compare);
	got = timesort(item, scratch, count, sizeof *item, least, most);
	assert_true(got == item || got == scratch);
	assert_memory_equal(got, want, count * sizeof *item);
	free(item);
	free(scratch);
	free(want);
}

static void order(void **state)
{
	const int64_t first[] = {0, 1700000000000, -5000, -((int64_t)1 << 52)};
	const uint64_t span[] = {1, 2, 2048, 2049, 100000, 1ull << 34, 1ull << 53};

	(void)state;
	for (size_t i = 0; i < sizeof first / sizeof *first; i++)
		for (size_t k = 0; k < sizeof span / sizeof *span; k++) {
			run(1, first[i], span[k]);
			run(5000, first[i], span[k]);
		}
	assert_null(timesort(NULL, NULL, 0, sizeof(struct item), 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(order)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
