/* The counts of a producer against a model that remembers every sequence, over arrivals that are lost,
 * repeated and disordered; and the table: nobody is mixed up with another, who was heard least lately makes
 * room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "producers.h"

#define SEQUENCES 60000u

struct model {
	uint8_t came[SEQUENCES];
	uint64_t first, high, events, repeated, late, missing;
};

static void model_raise(struct model *m, uint64_t high)
{
	for (uint64_t h = m->high + 1; h <= high; h++)
		if (h >= m->first + PRODUCER_WINDOW && !m->came[h - PRODUCER_WINDOW])
			m->missing++;
	if (high > m->high)
		m->high = high;
}

static void model_count(struct model *m, uint64_t first, uint32_t count)
{
	uint64_t last = first + count - 1;

	if (!m->first) {
		m->first = first;
		m->high = first - 1;
	}
	model_raise(m, last);
	for (uint64_t s = first; s <= last; s++) {
		if (s + PRODUCER_WINDOW <= m->high || s < m->first)
			m->late++;
		else if (m->came[s])
			m->repeated++;
		else
			m->events += m->came[s] = 1;
	}
}

static uint64_t model_open(const struct model *m)
{
	uint64_t open = 0;

	for (uint64_t s = m->high; s >= m->first && s + PRODUCER_WINDOW > m->high; s--)
		open += !m->came[s];
	return open;
}

static void counts_equal_a_model(void **state)
{
	struct model *m = malloc(sizeof *m);

	(void)state;
	for (unsigned seed = 1; seed <= 60; seed++) {
		uint64_t next = 1 + (uint64_t)rand_r(&seed) % 3000;
		struct producers t;
		struct producer *p;

		assert_int_equal(producers_init(&t, 4), 0);
		p = producers_get(&t, 9, 0);
		memset(m, 0, sizeof *m);
		while (next < SEQUENCES - 4000) {
			uint32_t count = 1 + (uint32_t)rand_r(&seed) % 30;
			uint64_t first = next;

			switch (rand_r(&seed) % 16) {
			case 0: /* lost */
				next += count;
				continue;
			case 1: /* a long gap */
				next += seed % 8 ? 0 : (uint64_t)rand_r(&seed) % 3000;
				first = next;
				break;
			case 2: /* again, or late */
				first = next - (uint64_t)rand_r(&seed) % (next < 2000 ? next : 2000);
				first = first ? first : 1;
				break;
			default:
				break;
			}
			producer_count(p, first, count, 5);
			model_count(m, first, count);
			if (first == next)
				next += count;
			assert_int_equal(p->high, m->high);
			assert_int_equal(p->missing, m->missing);
			assert_int_equal(producer_open(p), model_open(m));
		}
		assert_int_equal(p->events, m->events);
		assert_int_equal(p->repeated, m->repeated);
		assert_int_equal(p->late, m->late);
		assert_int_equal(p->jumps, 0);
		/* Nothing is counted twice or not at all. */
		assert_int_equal(p->high + 1 - p->first, p->events + p->missing + producer_open(p));
		producers_free(&t);
	}
	free(m);
}

static void a_wild_jump_begins_anew(void **state)
{
	struct producers t;
	struct producer *p;

	(void)state;
	assert_int_equal(producers_init(&t, 4), 0);
	p = producers_get(&t, 9, 0);
	producer_count(p, 1, 3, 5);
	producer_count(p, 1ull << 62, 2, 5);
	assert_int_equal(p->jumps, 1);
	assert_int_equal(p->missing, 0);
	assert_int_equal(p->events, 5);
	assert_int_equal(producer_open(p), 0);
	producers_free(&t);
}

static void the_table_forgets_the_silent(void **state)
{
	struct producers t;
	struct producer copy;
	uint32_t there = 0;

	(void)state;
	assert_int_equal(producers_init(&t, 64), 0);
	assert_int_equal(producers_capacity(&t), 64);
	assert_ptr_not_equal(producers_get(&t, 5, 0), producers_get(&t, 5, 1));
	assert_ptr_equal(producers_get(&t, 5, 1), producers_get(&t, 5, 1));
	for (uint64_t id = 1; id <= 10000; id++) {
		producer_count(producers_get(&t, id, 2), 1, 1, (int64_t)id);
		/* The one heard always stays. */
		producer_count(producers_get(&t, 777777, 2), id, 1, (int64_t)id);
	}
	assert_int_equal(producers_get(&t, 777777, 2)->events, 10000);
	for (uint32_t i = 0; i < producers_capacity(&t); i++)
		if (producers_copy(&t, i, &copy)) {
			there++;
			assert_true(copy.id == 777777 || copy.what >> 16 != 2 || copy.events == 1);
		}
	assert_int_equal(there, 64);
	assert_int_equal(t.evicted, 10003 - 64);
	producers_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_equal_a_model),
		cmocka_unit_test(a_wild_jump_begins_anew),
		cmocka_unit_test(the_table_forgets_the_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
