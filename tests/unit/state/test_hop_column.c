/* Numbers of a hopping window's keys: each has one key, and they stay few when many keys have gone. */
#include "hop_column.h"
#include "stage_rig.h"

#include <string.h>

#define KEYS 20000u
#define ROUNDS 200000u

static struct window_plan *plan;
static struct huge_pool pool;
static struct hop_store store;
static uint32_t held[KEYS], count;
static bool taken[KEYS + HOP_CHUNK];

static int setup(void **state)
{
	const char *list[] = {"name=w kind=hopping size=10s slide=1s by=user_id aggregates='count'"};

	(void)state;
	plan = rig_plan(1000, 1, list);
	memset(&store, 0, sizeof store);
	memset(taken, 0, sizeof taken);
	count = 0;
	hop_store_init(&store, plan->def[0]->aggs, (uint32_t)agg_set_cell_bytes(plan->def[0]->aggs), &pool);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hop_store_free(&store);
	huge_pool_free(&pool);
	window_plan_free(plan);
	return 0;
}

static void take(void)
{
	uint32_t number = hop_number_take(&store, count);

	assert_true(number < store.numbers && !taken[number]);
	taken[number] = true;
	held[count++] = number;
}

static void give(uint32_t i)
{
	hop_number_give(&store, held[i]);
	taken[held[i]] = false;
	held[i] = held[--count];
}

static void a_number_has_one_key(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		/* mostly towards few or many keys, in turns */
		bool grow = i / 20000 % 2 ? stage_below(&seed, 4) == 0 : stage_below(&seed, 4) != 0;

		if (count < KEYS && (grow || !count))
			take();
		else
			give((uint32_t)stage_below(&seed, count));
	}
	while (count)
		give(count - 1);
	assert_int_equal(store.numbers, 0);
}

/* Keys come and go, a few at a time; soon after a burst all of them have low numbers again. */
static void numbers_are_dense_again_after_a_burst(void **state)
{
	uint64_t seed = 11;

	(void)state;
	while (count < KEYS)
		take();
	while (count > 500)
		give((uint32_t)stage_below(&seed, count));
	assert_true(store.numbers > KEYS / 2);
	for (uint32_t i = 0; i < 10000; i++) {
		give((uint32_t)stage_below(&seed, count));
		take();
	}
	assert_true(store.numbers <= 4 * HOP_CHUNK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_number_has_one_key, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_are_dense_again_after_a_burst, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
