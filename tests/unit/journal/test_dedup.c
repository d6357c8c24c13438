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

struct plain {
	int64_t time_ms;
	uint32_t number;
	bool any;
};

enum hash_kind { HASH_GOOD, HASH_FEW_BUCKETS, HASH_ONE_TAG, HASH_SAME };

static uint64_t hash_of(const struct dedup *d, const uint8_t id[16], uint64_t number, enum hash_kind kind)
{
	switch (kind) {
	case HASH_FEW_BUCKETS:
		return (number % 3) << 32 | (dedup_hash(d, id) & 0xffff);
	case HASH_ONE_TAG:
		return (dedup_hash(d, id) >> 32 << 32) | 1;
	case HASH_SAME:
		return 0xffffffff00000001ull;
	default:
		return dedup_hash(d, id);
	}
}

#define BATCH 50u

struct batch {
	uint64_t number[BATCH], hash[BATCH];
	uint8_t id[BATCH][16];
	uint32_t guess[BATCH];
};

/* Ids from a small range. Of their guesses one of eight each is taken away or replaced by a wrong number,
 * mostly that of another id. */
static void batch_draw(struct batch *b, struct dedup *d, uint32_t ids, enum hash_kind kind)
{
	memset(b->id, 0, sizeof b->id);
	for (uint32_t i = 0; i < BATCH; i++) {
		b->number[i] = (uint64_t)random() % ids;
		memcpy(b->id[i] + 3, &b->number[i], 8);
		b->hash[i] = hash_of(d, b->id[i], b->number[i], kind);
	}
	dedup_guess(d, b->hash, b->guess, BATCH);
	for (uint32_t i = 0; i < BATCH; i++) {
		long what = random() % 8;

		if (what < 2)
			b->guess[i] = what ? (uint32_t)d->added - (uint32_t)random() % (2 * d->ids_max) : 0;
	}
}

/* Time that runs and stands, both limits met: every answer as a list says. */
static void compare(uint32_t ids, uint32_t max, uint32_t window, enum hash_kind kind, uint64_t added)
{
	struct plain *last = calloc(ids, sizeof *last);
	uint32_t accepted = 0, expired = 0, guessed = 0, gone = 0;
	struct batch b;
	int64_t now = 1;
	struct dedup d;

	assert_non_null(last);
	assert_int_equal(dedup_init(&d, window, max, 99), 0);
	d.added = added; /* so many long ago */
	for (uint32_t n = 0; n < 60000; n++) {
		uint32_t i = n % BATCH;
		struct plain *of;
		bool known;

		if (i == 0)
			batch_draw(&b, &d, ids, kind);
		of = &last[b.number[i]];
		if (random() % 3 == 0)
			now += random() % (n % 5000 < 200 ? 40 : 4);
		/* Known: accepted less than the window ago, and among the max last accepted. */
		known = of->any && accepted - of->number <= max && now - of->time_ms < window;
		expired += of->any && now - of->time_ms >= window;
		guessed += known && b.guess[i];
		gone += !known && b.guess[i];
		assert_int_equal(dedup_add_guessed(&d, b.id[i], b.hash[i], b.guess[i], now), !known);
		if (!known)
			*of = (struct plain){now, accepted++, true};
		assert_int_equal(d.added, added + accepted);
		assert_true(d.count <= max);
	}
	assert_true(accepted > 1000 && d.evicted > 100 && expired > 100 && guessed > 100 && gone > 100);
	for (uint32_t i = 0; i < d.count; i++) /* the ring is what files of ids are made of */
		assert_true(d.ring[(d.next + max - 1 - i) % max].time_ms <= now);
	dedup_free(&d);
	free(last);
}

static void answers_equal_a_list(void **state)
{
	(void)state;
	srandom(3);
	for (enum hash_kind kind = HASH_GOOD; kind <= HASH_SAME; kind++) {
		compare(300, 120, 400, kind, 0);
		compare(100, 32, 100, kind, 0);
		compare(40, 3, 6, kind, 0);
		compare(5, 1, 4, kind, 0);
	}
	compare(30000, 7000, 8000, HASH_GOOD, 0);
}

/* Numbers are kept in 32 bits: before, at and behind their end. */
static void numbers_come_round(void **state)
{
	(void)state;
	srandom(4);
	for (enum hash_kind kind = HASH_GOOD; kind <= HASH_SAME; kind++) {
		compare(300, 120, 400, kind, 1ull << 32);
		compare(300, 120, 400, kind, (1ull << 32) - 20);
		compare(300, 120, 400, kind, (1ull << 32) - 5000);
		compare(30000, 7000, 8000, kind == HASH_SAME ? HASH_GOOD : kind, (3ull << 32) - 10000);
	}
}

/* What was written into a bucket 2^32 ids ago is neither found nor in the way. */
static void old_numbers_are_no_ids(void **state)
{
	struct dedup d;

	(void)state;
	assert_int_equal(dedup_init(&d, 1000, 16, 7), 0);
	for (uint64_t i = 0; i < 64; i++)
		assert_true(add(&d, i, 5));
	d.added += (1ull << 32) - 64; /* the numbers that come now are in the buckets already */
	for (uint64_t i = 1000; i < 1064; i++) {
		assert_true(add(&d, i, 6));
		for (uint64_t k = i < 1016 ? 1000 : i - 15; k <= i; k++)
			assert_false(add(&d, k, 6));
	}
	for (uint64_t i = 0; i < 64; i++)
		assert_true(add(&d, i, 6));
	dedup_free(&d);
}

/* Ids that were chosen so that a hash of known constants sees nothing of them but their first half. */
static void chosen_ids_are_like_others(void **state)
{
	const uint64_t constants[] = {HASH_K0, HASH_K1, HASH_K2, 0};
	struct dedup d;

	(void)state;
	for (size_t c = 0; c < sizeof constants / sizeof *constants; c++)
		for (int half = 0; half < 2; half++) {
			uint32_t most = 0;
			uint32_t *ids;

			assert_int_equal(dedup_init(&d, 1000000, 20000, 5 + c), 0);
			ids = calloc((size_t)d.mask + 1, sizeof *ids);
			assert_non_null(ids);
			for (uint64_t i = 0; i < 20000; i++) {
				uint64_t id[2];
				uint64_t hash;

				id[half] = constants[c];
				id[!half] = i;
				hash = dedup_hash(&d, (const uint8_t *)id);
				assert_true(dedup_add(&d, (const uint8_t *)id, hash | 1, 10));
				if (++ids[hash >> 32 & d.mask] > most)
					most = ids[hash >> 32 & d.mask];
			}
			assert_true(most < 4 * DEDUP_BUCKET_IDS); /* of 2 to 3 in the mean */
			free(ids);
			dedup_free(&d);
		}
}

/* A shadow's id tells events, keys and fields apart, whatever ids were chosen, and is the same under the same
 * secret. */
static void shadows_hide_nothing(void **state)
{
	static uint8_t seen[3 * 20 * 4 * 3][16];
	struct dedup_key key = dedup_key_of(77), same = dedup_key_of(77), other = dedup_key_of(78);
	const uint64_t constants[] = {HASH_K0, HASH_K1, HASH_K2};
	size_t count = 0;

	(void)state;
	for (size_t c = 0; c < 3; c++)
		for (uint64_t n = 0; n < 20; n++)
			for (uint64_t k = 0; k < 4; k++)
				for (uint32_t field = 0; field < 3; field++) {
					struct record rec = {.kind = RECORD_SHADOW,
						.field_mask = FBIT(event_id),
						.key_hash = k ? constants[k - 1] : 9,
						.reason_field = (uint8_t)field};
					uint8_t room[16];

					memcpy(rec.event_id, &constants[c], 8);
					memcpy(rec.event_id + 8, &n, 8);
					assert_ptr_equal(dedup_id(&key, &rec, seen[count]), seen[count]);
					assert_memory_equal(dedup_id(&same, &rec, room), seen[count], 16);
					assert_memory_not_equal(
						dedup_id(&other, &rec, room), seen[count], 16);
					for (size_t i = 0; i < count; i++)
						assert_memory_not_equal(seen[i], seen[count], 16);
					count++;
				}
}

/* What happens between the guess of an id and its turn: it is added by the same batch, it grows too old,
 * others push it out. */
static void guesses_are_checked(void **state)
{
	struct batch b = {0};
	struct dedup d;

	(void)state;
	assert_int_equal(dedup_init(&d, 1000, 4, 7), 0);
	for (uint64_t i = 0; i < 3; i++) {
		b.id[i][0] = (uint8_t)i;
		b.hash[i] = dedup_hash(&d, b.id[i]);
	}
	dedup_guess(&d, b.hash, b.guess, 3); /* nothing is remembered */
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(b.guess[i], 0);
	assert_true(dedup_add_guessed(&d, b.id[0], b.hash[0], b.guess[0], 5));
	assert_false(dedup_add_guessed(&d, b.id[0], b.hash[0], b.guess[0], 5));
	assert_true(dedup_add_guessed(&d, b.id[1], b.hash[1], b.guess[1], 500));

	dedup_guess(&d, b.hash, b.guess, 3);
	assert_int_equal(b.guess[0], 1);
	assert_int_equal(b.guess[1], 2);
	assert_int_equal(b.guess[2], 0);
	assert_false(dedup_add_guessed(&d, b.id[0], b.hash[0], b.guess[0], 1004));
	assert_true(dedup_add_guessed(&d, b.id[0], b.hash[0], b.guess[0], 1005)); /* too old, and new again */
	assert_false(dedup_add_guessed(&d, b.id[0], b.hash[0], b.guess[0], 1005));
	assert_false(dedup_add_guessed(&d, b.id[1], b.hash[1], b.guess[1], 1005));
	for (uint64_t i = 0; i < 4; i++)
		assert_true(add(&d, 1000 + i, 1006)); /* in its place in the ring, too */
	assert_true(dedup_add_guessed(&d, b.id[1], b.hash[1], b.guess[1], 1006));
	dedup_free(&d);
}

/* Where next to nothing is known, the second look at each bucket is saved; where it is, it is not. */
static void guesses_are_made_where_ids_are_known(void **state)
{
	struct batch b = {0};
	struct dedup d;

	(void)state;
	assert_int_equal(dedup_init(&d, 1000, 1000, 7), 0);
	for (uint64_t i = 0; i < BATCH; i++) {
		b.id[i][0] = (uint8_t)i;
		b.hash[i] = dedup_hash(&d, b.id[i]);
		assert_true(dedup_add(&d, b.id[i], b.hash[i], 5));
	}
	for (uint32_t known = 0; known <= BATCH; known++) {
		uint32_t guesses = 0;

		dedup_guess(&d, b.hash, b.guess, BATCH);
		for (uint32_t i = 0; i < known; i++)
			assert_false(dedup_add_guessed(&d, b.id[i], b.hash[i], b.guess[i], 5));
		dedup_guess(&d, b.hash, b.guess, BATCH);
		for (uint32_t i = 0; i < BATCH; i++)
			guesses += b.guess[i] == i + 1;
		assert_int_equal(guesses, known > BATCH / 8 ? BATCH : 0);
	}
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
		cmocka_unit_test(numbers_come_round),
		cmocka_unit_test(old_numbers_are_no_ids),
		cmocka_unit_test(chosen_ids_are_like_others),
		cmocka_unit_test(shadows_hide_nothing),
		cmocka_unit_test(guesses_are_checked),
		cmocka_unit_test(guesses_are_made_where_ids_are_known),
		cmocka_unit_test(off_and_wrong_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
