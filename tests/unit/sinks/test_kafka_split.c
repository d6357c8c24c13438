/* First positions: one lane of a partition at a time, and any number of partitions beside each other, of
 * which none ever waits for another: each may be waiting for what only the other can end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "kafka/kafka_split.h"

#define EPOCHS 40u
#define PARTITIONS 64u
#define ROUNDS 20000u

static void test_partitions_do_not_wait(void **state)
{
	static struct kafka_split all[EPOCHS * PARTITIONS];
	struct kafka_split again;

	(void)state;
	for (uint32_t i = 0; i < EPOCHS * PARTITIONS; i++) {
		all[i] = (struct kafka_split){
			.epoch = i / PARTITIONS * 0x9e3779b97f4a7c15ull, .partition = i % PARTITIONS};
		assert_true(kafka_split_begin(&all[i]));
	}
	for (uint32_t i = 0; i < EPOCHS * PARTITIONS; i++) {
		again = (struct kafka_split){.epoch = all[i].epoch, .partition = all[i].partition};
		assert_false(kafka_split_begin(&again));
	}
	for (uint32_t i = 0; i < EPOCHS * PARTITIONS; i += 2) /* from the middle of the list, too */
		kafka_split_end(&all[i]);
	for (uint32_t i = 0; i < EPOCHS * PARTITIONS; i++) {
		again = (struct kafka_split){.epoch = all[i].epoch, .partition = all[i].partition};
		assert_int_equal(kafka_split_begin(&again), i % 2 == 0);
		if (i % 2 == 0)
			kafka_split_end(&again);
	}
	for (uint32_t i = 1; i < EPOCHS * PARTITIONS; i += 2)
		kafka_split_end(&all[i]);
}

static atomic_uint inside[2], broken;

static void *lane(void *arg)
{
	uint32_t partition = (uint32_t)(uintptr_t)arg;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct kafka_split split = {.epoch = 7, .partition = partition};

		if (!kafka_split_begin(&split))
			continue;
		if (atomic_fetch_add(&inside[partition], 1))
			atomic_fetch_add(&broken, 1);
		atomic_fetch_sub(&inside[partition], 1);
		kafka_split_end(&split);
	}
	return NULL;
}

static void test_one_lane_at_a_time(void **state)
{
	pthread_t thread[4];

	(void)state;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, lane, (void *)(i / 2)), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&broken), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_partitions_do_not_wait),
		cmocka_unit_test(test_one_lane_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
