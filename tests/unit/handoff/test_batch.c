/* The way home of empty batches: the worker is given the one that came last, and each of them again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch.h"
#include "eal_rig.h"

#define BATCHES 6u

static void last_home_is_first_out(void **state)
{
	struct batch *b[BATCHES];
	struct batch_lane *lane, *other;
	struct handoff h;
	struct err err;

	(void)state;
	assert_int_equal(handoff_create(&h, 1, 2, BATCHES, 4096, &err), 0);
	lane = handoff_lane(&h, 0, 0);
	other = handoff_lane(&h, 0, 1);
	for (uint32_t i = 0; i < BATCHES; i++) {
		assert_int_equal(batch_free_count(lane), BATCHES - i);
		b[i] = batch_take_empty(lane);
		assert_non_null(b[i]);
		for (uint32_t k = 0; k < i; k++)
			assert_ptr_not_equal(b[i], b[k]);
	}
	assert_null(batch_take_empty(lane));
	assert_int_equal(batch_free_count(lane), 0);
	batch_return(lane, b[4]);
	batch_return(lane, b[1]);
	assert_int_equal(batch_free_count(lane), 2);
	assert_ptr_equal(batch_take_empty(lane), b[1]);
	/* 4 waits at home, 0 comes by the ring, and then 1 once more. */
	batch_return(lane, b[0]);
	batch_return(lane, b[1]);
	assert_int_equal(batch_free_count(lane), 3);
	assert_ptr_equal(batch_take_empty(lane), b[1]);
	assert_ptr_equal(batch_take_empty(lane), b[0]);
	assert_ptr_equal(batch_take_empty(lane), b[4]);
	assert_null(batch_take_empty(lane));
	assert_int_equal(batch_free_count(other), BATCHES);
	handoff_free(&h);
}

/* Whatever is taken and returned: none twice, none lost. */
static void all_come_again(void **state)
{
	struct batch *out[BATCHES];
	struct batch_lane *lane;
	uint32_t held = 0;
	unsigned seed = 1;
	struct handoff h;
	struct err err;

	(void)state;
	assert_int_equal(handoff_create(&h, 1, 1, BATCHES, 4096, &err), 0);
	lane = handoff_lane(&h, 0, 0);
	for (uint32_t i = 0; i < 200000; i++) {
		if (rand_r(&seed) % 2) {
			struct batch *b = batch_take_empty(lane);

			assert_int_equal(b != NULL, held < BATCHES);
			for (uint32_t k = 0; b && k < held; k++)
				assert_ptr_not_equal(b, out[k]);
			if (b)
				out[held++] = b;
		} else if (held) {
			uint32_t k = (uint32_t)rand_r(&seed) % held;

			batch_return(lane, out[k]);
			out[k] = out[--held];
		}
		assert_int_equal(batch_free_count(lane), BATCHES - held);
	}
	handoff_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_home_is_first_out),
		cmocka_unit_test(all_come_again),
	};

	rig_eal("batch");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
