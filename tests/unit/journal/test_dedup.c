/* The set of remembered ids against a plain list of what should be remembered. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dedup.h"

static bool add(struct dedup *d, uint64_t number, int64_t now)
{
	uint8_t id[16] = {0};

	memcpy(id + 3, &number, 8);
	return dedup_add(d, id, dedup_hash(d, id), now);
}

static void window_is_exact(void **state)
{
	struct dedup d;

	(void)state;
	assert_int_equal(dedup_init(&d, 1000, 100, 1), 0);
	assert_true(add(&d, 1, 5000));
	assert_false(add(&d, 1, 5000));
	assert_false(add(&d, 1, 5999));
	assert_true(add(&d, 1, 6000)); /* again, and remembered from now on */
	assert_false(add(&d, 1, 6999));
	assert_true(add(&d, 1, 7000));
	dedup_free(&d);
}

static void oldest_are_forgotten_when_full(void **state)
{
	struct dedup d;

	(void)state;
	assert_int_equal(dedup_init(&d, 1000000, 100, 1), 0);
	for (uint64_t i = 0; i < 150; i++)
		assert_true(add(&d, i, 10));
	assert_int_equal(d.count, 100);
	assert_int_equal(d.evicted, 50);
	for (uint64_t i = 50; i < 150; i++)
		assert_false(add(&d, i, 10));
	assert_true(add(&d, 49, 10));
	dedup_free(&d);
}

/* Ids from a small range, time that runs and stands, both limits met: every answer as the list says. */
static void answers_equal_a_list(void **state)
{
	enum { IDS = 300, MAX = 120, WINDOW = 400 };
	int64_t last[IDS], order_time[200000];
	uint64_t order[200000];
	uint32_t accepted = 0;
	int64_t now = 0;
	struct dedup d;

	(void)state;
	srandom(3);
	assert_int_equal(dedup_init(&d, WINDOW, MAX, 99), 0);
	for (int i = 0; i < IDS; i++)
		last[i] = -1;
	for (int n = 0; n < 200000; n++) {
		uint64_t id = (uint64_t)random() % IDS;
		bool known = false;

		if (random() % 3 == 0)
			now += random() % (n % 5000 < 200 ? 40 : 4);
		/* Known: accepted less than the window ago, and among the MAX last accepted. */
		if (last[id] >= 0 && accepted - (uint32_t)last[id] <= MAX &&
			now - order_time[last[id]] < WINDOW)
			known = true;
		assert_int_equal(add(&d, id, now), !known);
		if (!known) {
			last[id] = accepted;
			order[accepted] = id;
			order_time[accepted++] = now;
		}
	}
	assert_true(accepted > 1000 && d.evicted > 100);
	(void)order;
	dedup_free(&d);
}

static void off_and_wrong_sizes(void **state)
{
	struct dedup d;

	(void)state;
	assert_int_equal(dedup_init(&d, 0, 0, 1), 0);
	dedup_free(&d);
	assert_int_equal(dedup_init(&d, 5, 0, 1), -EINVAL);
	assert_int_equal(dedup_init(&d, 5, 1ull << 40, 1), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_is_exact),
		cmocka_unit_test(oldest_are_forgotten_when_full),
		cmocka_unit_test(answers_equal_a_list),
		cmocka_unit_test(off_and_wrong_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
