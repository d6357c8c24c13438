/* Key tables against a plain list: every key that was added and not removed is there, with its value, nothing
 * else is; also where thousands of keys share a hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "keytab.h"

#define KEY_ROOM 2064u

struct known {
	uint64_t number; /* the key is made of it */
	uint32_t ref;	 /* 0: not there */
	bool aside;
};

struct plan {
	uint32_t keys, steps, bytes_max, value_bytes,
		tags; /* tags: 0 = by hash, else so many different ones */
	bool asides;
	bool grows; /* nothing is removed; there is room between entries */
};

static uint64_t roll(uint64_t *seed)
{
	*seed = hash_u64(*seed + 1);
	return *seed;
}

/* Zero bytes behind it up to a multiple of 8, as tables want it. */
static uint32_t key_make(uint8_t key[KEY_ROOM], uint64_t number, uint32_t bytes_max)
{
	uint64_t seed = number;
	uint32_t bytes = 4 + (uint32_t)(roll(&seed) % (bytes_max - 3)); /* differ for all numbers */

	memset(key, 0, KEY_ROOM);
	for (uint32_t i = 0; i < bytes; i++)
		key[i] = (uint8_t)("ab\0"[roll(&seed) % 3]);
	memcpy(key, &number, bytes < 8 ? bytes : 8);
	return bytes;
}

static uint32_t tag_make(const struct plan *plan, const uint8_t *key, uint32_t bytes, uint64_t number)
{
	return plan->tags ? (uint32_t)(number % plan->tags) * 0x01000193u : keytab_tag(0, key, bytes);
}

static void find_check(const struct plan *plan, const struct keytab *kt, const struct known *k)
{
	_Alignas(8) uint8_t key[KEY_ROOM];
	uint32_t bytes = key_make(key, k->number, plan->bytes_max), ref = 0;
	const struct keytab_entry *e =
		keytab_find(kt, tag_make(plan, key, bytes, k->number), key, bytes, &ref);

	if (!k->ref || k->aside) {
		assert_null(e);
		return;
	}
	assert_non_null(e);
	assert_int_equal(ref, k->ref);
	assert_memory_equal(keytab_value(e), &k->number, sizeof k->number);
	assert_memory_equal(keytab_key(kt, e), key, bytes);
}

static void walk_check(const struct keytab *kt, const struct known *list, uint32_t keys)
{
	const struct keytab_entry *e;
	uint32_t at = 0, ref, seen = 0, there = 0;
	uint64_t key_bytes = 0;

	while ((e = keytab_next(kt, &at, &ref))) {
		uint64_t number;

		memcpy(&number, keytab_value(e), sizeof number);
		assert_true(number < keys);
		assert_int_equal(list[number].ref, ref);
		assert_ptr_equal(keytab_at(kt, ref), e);
		key_bytes += (e->key_bytes + 7u) & ~7u;
		seen++;
	}
	for (uint32_t i = 0; i < keys; i++)
		there += list[i].ref != 0;
	assert_int_equal(seen, there);
	assert_int_equal(kt->count, there);
	assert_int_equal(
		keytab_logical_bytes(kt), there * (KEYTAB_ENTRY_BYTES + kt->value_bytes) + key_bytes);
}

static void step_take(const struct plan *plan, struct keytab *kt, struct known *k, bool aside)
{
	_Alignas(8) uint8_t key[KEY_ROOM];
	uint32_t bytes = key_make(key, k->number, plan->bytes_max), ref;
	struct keytab_entry *e;

	if (plan->grows && k->number % 3 == 0)
		memset(keytab_room(kt, plan->value_bytes + 5, &ref), 0xff, plan->value_bytes + 5);
	if (k->ref && plan->grows)
		return;
	if (k->ref) {
		keytab_remove(kt, k->ref);
		k->ref = 0;
		return;
	}
	k->aside = aside;
	e = aside ? keytab_add_aside(kt, key, bytes, 0, &k->ref)
		  : keytab_add(kt, tag_make(plan, key, bytes, k->number), key, bytes, &k->ref);
	for (uint32_t i = 0; i < kt->value_bytes; i++)
		assert_int_equal(((uint8_t *)keytab_value(e))[i], 0);
	memset(keytab_value(e), 0xff, kt->value_bytes);
	memcpy(keytab_value(e), &k->number, sizeof k->number);
}

static void run(const struct plan *plan, uint64_t seed)
{
	struct known *list = calloc(plan->keys, sizeof *list);
	struct huge_pool pool = {0};
	struct keytab kt;

	(plan->grows ? keytab_init_growing : keytab_init)(&kt, plan->value_bytes, &pool);
	for (uint32_t i = 0; i < plan->keys; i++)
		list[i].number = i;
	walk_check(&kt, list, plan->keys);
	for (uint32_t i = 0; i < plan->steps; i++) {
		/* grow first, then come and go */
		uint32_t k = i < plan->keys ? i : (uint32_t)(roll(&seed) % plan->keys);

		step_take(plan, &kt, &list[k], plan->asides && roll(&seed) % 8 == 0);
		find_check(plan, &kt, &list[roll(&seed) % plan->keys]);
	}
	for (uint32_t i = 0; i < plan->keys; i++)
		find_check(plan, &kt, &list[i]);
	walk_check(&kt, list, plan->keys);
	keytab_free(&kt);
	huge_pool_free(&pool);
	free(list);
}

static void test_few(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < 60; i++)
		run(&(struct plan){.keys = i,
			    .steps = 20 * i,
			    .bytes_max = 40,
			    .value_bytes = 8,
			    .asides = i % 2},
			i);
}

static void test_many(void **state)
{
	(void)state;
	run(&(struct plan){.keys = 100000, .steps = 400000, .bytes_max = 30, .value_bytes = 24}, 1);
	run(
		&(struct plan){
			.keys = 20000, .steps = 60000, .bytes_max = 2048, .value_bytes = 200, .asides = true},
		2);
}

static void test_growing(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < 40; i++)
		run(&(struct plan){.keys = 37 * i,
			    .steps = 40 * i,
			    .bytes_max = 30,
			    .value_bytes = 8 + i % 9,
			    .grows = true,
			    .asides = i % 2},
			i);
	run(
		&(struct plan){
			.keys = 100000, .steps = 110000, .bytes_max = 24, .value_bytes = 11, .grows = true},
		5);
}

/* Slots are filled to more than half, whatever the number of keys. */
static void test_slots_memory(void **state)
{
	struct huge_pool pool = {0};
	struct keytab kt;

	(void)state;
	keytab_init_growing(&kt, 4, &pool);
	for (uint64_t i = 0; i < 300000; i++) {
		uint64_t slots = 0;

		keytab_add(&kt, keytab_tag(0, (const uint8_t *)&i, sizeof i), &i, sizeof i, NULL);
		if (i % 10000 || !i)
			continue;
		for (uint32_t at = 0; at < 1u << kt.depth; at += 1u << (kt.depth - kt.part[at]->depth))
			slots += kt.part[at]->buckets * KEYTAB_BUCKET_SLOTS;
		assert_true(2 * kt.count > slots);
	}
	keytab_free(&kt);
	huge_pool_free(&pool);
}

static void test_collisions(void **state)
{
	(void)state;
	run(&(struct plan){.keys = 9000, .steps = 20000, .bytes_max = 20, .value_bytes = 8, .tags = 3}, 3);
	run(&(struct plan){.keys = 9000, .steps = 20000, .bytes_max = 20, .value_bytes = 8, .tags = 1}, 4);
	run(&(struct plan){.keys = 9000,
		    .steps = 10000,
		    .bytes_max = 20,
		    .value_bytes = 8,
		    .tags = 3,
		    .grows = true},
		5);
}

/* Made-up collisions cost no more memory than other keys: parts are chained, not split. */
static void test_collisions_memory(void **state)
{
	struct huge_pool pool = {0};
	struct keytab kt;

	(void)state;
	keytab_init(&kt, 8, &pool);
	for (uint64_t i = 0; i < 8000; i++)
		keytab_add(&kt, 7, &i, sizeof i, NULL);
	assert_true(kt.depth <= 8);
	assert_true(kt.segment.count <= 1);
	keytab_free(&kt);
	huge_pool_free(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_growing),
		cmocka_unit_test(test_slots_memory),
		cmocka_unit_test(test_collisions),
		cmocka_unit_test(test_collisions_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
