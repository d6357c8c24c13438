/* The bell of a partition: a writer that sleeps is woken by each batch that comes while it sleeps. A wake-up
 * that is lost leaves the writer asleep for SLEEP_NS, which the counts of this test and then its time limit
 * show. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch.h"
#include "clock.h"
#include "eal_rig.h"

#define BATCHES 8u
#define ROUNDS 20000u
#define WORKERS 2u
#define SLEEP_NS 600000000000ull

struct feed {
	const struct handoff *handoff;
	uint32_t worker;
};

/* Hands over each batch that comes home, with pauses of all lengths up to a few times that of falling asleep.
 */
static void *feed_main(void *arg)
{
	const struct feed *feed = arg;
	struct batch_lane *lane = handoff_lane(feed->handoff, feed->worker, 0);
	unsigned seed = feed->worker + 1;
	struct batch *b;

	for (uint32_t i = 0; i < ROUNDS;) {
		uint64_t until_ns = clock_mono_ns() + (uint64_t)rand_r(&seed) % 40000;

		while (clock_mono_ns() < until_ns)
			;
		b = batch_take_empty(lane);
		if (!b) {
			sched_yield();
			continue;
		}
		b->bytes = i++;
		batch_hand_over(feed->handoff, b);
	}
	return NULL;
}

static void no_batch_waits_for_a_sleeper(void **state)
{
	uint32_t taken[WORKERS] = {0}, sleeps = 0;
	pthread_t thread[WORKERS];
	struct feed feed[WORKERS];
	struct handoff h;
	struct err err;

	(void)state;
	assert_int_equal(handoff_create(&h, WORKERS, 1, BATCHES, 4096, &err), 0);
	for (uint32_t w = 0; w < WORKERS; w++) {
		feed[w] = (struct feed){&h, w};
		assert_int_equal(pthread_create(&thread[w], NULL, feed_main, &feed[w]), 0);
	}
	while (taken[0] + taken[1] < WORKERS * ROUNDS) {
		uint32_t found = 0;

		for (uint32_t w = 0; w < WORKERS; w++) {
			struct batch *b = batch_take_sealed(handoff_lane(&h, w, 0));

			if (!b)
				continue;
			assert_int_equal(b->bytes, taken[w]++);
			batch_return(handoff_lane(&h, w, 0), b);
			found++;
		}
		if (!found && taken[0] + taken[1] < WORKERS * ROUNDS) {
			/* One of the lanes has two more to come. */
			bool two = WORKERS * ROUNDS - taken[0] - taken[1] > WORKERS;

			handoff_sleep(&h, 0, two ? 1 + sleeps % 2 : 1, SLEEP_NS);
			sleeps++;
		}
	}
	for (uint32_t w = 0; w < WORKERS; w++)
		pthread_join(thread[w], NULL);
	assert_in_range(sleeps, 1, UINT32_MAX); /* else nothing was tested */
	handoff_free(&h);
}

/* Who does not wait for batches is not woken, and who has some does not sleep. */
static void sleep_ends(void **state)
{
	struct handoff h;
	struct err err;
	struct batch *b, *b2;

	(void)state;
	assert_int_equal(handoff_create(&h, 1, 2, BATCHES, 4096, &err), 0);
	handoff_sleep(&h, 0, 1, 1000000);
	assert_int_equal(atomic_load(&h.bell[0].asleep), 0);
	b = batch_take_empty(handoff_lane(&h, 0, 0));
	assert_non_null(b);
	batch_hand_over(&h, b);
	handoff_sleep(&h, 0, 1, SLEEP_NS);
	handoff_sleep(&h, 1, 1, 1000000); /* the other partition has none */
	handoff_sleep(&h, 0, 2, 1000000); /* one is not two */
	b2 = batch_take_empty(handoff_lane(&h, 0, 0));
	assert_non_null(b2);
	batch_hand_over(&h, b2);
	handoff_sleep(&h, 0, 2, SLEEP_NS);
	assert_ptr_equal(batch_take_sealed(handoff_lane(&h, 0, 0)), b);
	handoff_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_batch_waits_for_a_sleeper),
		cmocka_unit_test(sleep_ends),
	};

	rig_eal("bell");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
