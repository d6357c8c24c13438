/* Rows in memory: order, revisions, bounds against a brute-force model, a reader beside the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "hash.h"
#include "hot.h"

static struct bytes row_bytes;

static void put(struct hot *h, enum row_type type, uint64_t uid, int64_t start, int64_t end, const char *key,
	uint32_t revision, uint32_t agg_bytes)
{
	static const uint8_t agg[1 << 20];
	uint8_t packed[64];
	uint16_t n = (uint16_t)strlen(key);
	struct row row = {.window_uid = uid,
		.start_ms = start,
		.end_ms = end,
		.step_ms = end,
		.revision = revision,
		.key_bytes = 2u + n,
		.agg_bytes = agg_bytes};

	memcpy(packed, &n, 2);
	memcpy(packed + 2, key, n);
	bytes_reset(&row_bytes);
	row_put(&row_bytes, type, &row, packed, agg, NULL, 0, 0);
	hot_put(h, (const struct record *)row_bytes.data);
}

struct seen {
	char text[4096];
	uint32_t rows, stop_after;
};

static int see(void *arg, const struct record *rec)
{
	const struct row *row = row_of(rec);
	struct seen *s = arg;
	const uint8_t *key;
	uint32_t bytes;
	size_t n = strlen(s->text);

	assert_true(record_valid(rec, rec->bytes) && row_valid(rec));
	assert_true(row_key_part(row, 0, &key, &bytes));
	snprintf(s->text + n, sizeof s->text - n, "%s%lld-%lld:%.*s.%u", n ? " " : "",
		(long long)row->start_ms, (long long)row->end_ms, (int)bytes, (const char *)key,
		row->revision);
	return ++s->rows == s->stop_after ? 42 : 0;
}

static const char *all(struct hot *h, uint64_t uid, int64_t from, int64_t to)
{
	static struct seen s;

	s = (struct seen){0};
	assert_int_equal(hot_each(h, uid, from, to, see, &s), 0);
	return s.text;
}

static void test_order(void **state)
{
	struct hot *h = hot_new(3, 1 << 20);
	struct seen s = {.stop_after = 2};
	struct hot_stats stats;

	(void)state;
	assert_string_equal(all(h, 7, INT64_MIN, INT64_MAX), "");
	put(h, ROW_WINDOW, 7, 0, 10, "a", 0, 8);
	put(h, ROW_WINDOW, 7, 0, 10, "c", 0, 8);
	put(h, ROW_WINDOW, 7, 10, 20, "b", 0, 8);
	put(h, ROW_WINDOW, 7, 10, 20, "a", 0, 8); /* not in order: a replay may give it so */
	put(h, ROW_WINDOW, 8, 0, 10, "x", 0, 8);
	assert_string_equal(all(h, 7, INT64_MIN, INT64_MAX), "10-20:a.0 10-20:b.0 0-10:a.0 0-10:c.0");
	assert_string_equal(all(h, 7, 10, 20), "10-20:a.0 10-20:b.0"); /* (from, to] */
	assert_string_equal(all(h, 7, 9, 19), "0-10:a.0 0-10:c.0");
	assert_string_equal(all(h, 8, 0, 100), "0-10:x.0");
	assert_string_equal(all(h, 9, 0, 100), "");
	assert_string_equal(all(h, 7, 100, 0), "");
	put(h, ROW_WINDOW, 7, 0, 10, "c", 2, 800);
	put(h, ROW_WINDOW, 7, 0, 10, "c", 1, 8); /* an older revision stays out */
	put(h, ROW_WINDOW, 7, 0, 10, "b", 0, 8);
	assert_string_equal(all(h, 7, 0, 10), "0-10:a.0 0-10:b.0 0-10:c.2");
	assert_int_equal(hot_each(h, 7, 0, 100, see, &s), 42);
	assert_int_equal(s.rows, 2);
	/* The fourth window takes the oldest's place, which does not come back. */
	put(h, ROW_WINDOW, 7, 20, 30, "a", 0, 8);
	put(h, ROW_WINDOW, 7, 30, 40, "a", 0, 8);
	put(h, ROW_WINDOW, 7, 0, 10, "a", 3, 8);
	put(h, ROW_WINDOW, 7, -10, 0, "a", 3, 8);
	assert_string_equal(all(h, 7, INT64_MIN, INT64_MAX), "30-40:a.0 20-30:a.0 10-20:a.0 10-20:b.0");
	hot_stats(h, &stats);
	assert_int_equal(stats.windows, 4); /* one of them of the other definition */
	assert_int_equal(stats.rows, 5);
	assert_int_equal(stats.refused, 2);
	assert_int_equal(stats.evicted, 0);
	hot_free(h);
}

/* Hopping windows of one end cannot be; of one start neither. Sessions: each has its own times. */
static void test_sessions(void **state)
{
	struct hot *h = hot_new(2, 1 << 20);

	(void)state;
	put(h, ROW_SESSION, 7, 5000, 61000, "u2", 0, 8);
	put(h, ROW_SESSION, 7, 1000, 62000, "u1", 0, 8);
	put(h, ROW_SESSION, 7, 63000, 64000, "u1", 0, 8);
	put(h, ROW_SESSION, 7, 100000, 119999, "u3", 0, 8);
	put(h, ROW_SESSION, 7, 100000, 120000, "u0", 0, 8);
	assert_string_equal(all(h, 7, INT64_MIN, INT64_MAX),
		"100000-120000:u0.0 1000-62000:u1.0 63000-64000:u1.0 5000-61000:u2.0 100000-119999:u3.0");
	assert_string_equal(all(h, 7, 62000, 119999), "63000-64000:u1.0 100000-119999:u3.0");
	assert_string_equal(all(h, 7, 61999, 62000), "1000-62000:u1.0");
	put(h, ROW_SESSION, 7, 1, 180001, "u0", 0, 8); /* a third minute */
	assert_string_equal(all(h, 7, INT64_MIN, INT64_MAX), "1-180001:u0.0 100000-120000:u0.0");
	put(h, ROW_SESSION, 7, -1000, -1, "u0", 0, 8);
	assert_string_equal(all(h, 7, INT64_MIN, INT64_MAX), "1-180001:u0.0 100000-120000:u0.0");
	hot_free(h);
}

static void test_bytes(void **state)
{
	struct hot *h = hot_new(1000, 100000);
	struct hot_stats stats;

	(void)state;
	/* A small definition is not pushed out by a large one. */
	for (int i = 0; i < 5; i++)
		put(h, ROW_WINDOW, 1, i * 10, i * 10 + 10, "a", 0, 8);
	for (int i = 0; i < 500; i++) {
		put(h, ROW_WINDOW, 2, i * 10, i * 10 + 10, "a", 0, 5000);
		hot_stats(h, &stats);
		assert_in_range(stats.bytes, 0, 100000);
	}
	assert_int_equal(stats.evicted, 500 - (stats.windows - 5));
	assert_in_range(stats.windows, 20, 24);
	assert_string_equal(all(h, 1, 0, 100), "40-50:a.0 30-40:a.0 20-30:a.0 10-20:a.0 0-10:a.0");
	assert_string_equal(all(h, 2, 4980, 5000), "4990-5000:a.0 4980-4990:a.0");
	/* A row that is larger than all: its window goes at once, and stays away. */
	put(h, ROW_WINDOW, 3, 0, 10, "a", 0, 8);
	put(h, ROW_WINDOW, 3, 0, 10, "b", 0, 200000);
	put(h, ROW_WINDOW, 3, 0, 10, "c", 0, 8);
	assert_string_equal(all(h, 3, 0, 10), "");
	put(h, ROW_WINDOW, 3, 10, 20, "a", 0, 8);
	assert_string_equal(all(h, 3, 0, 100), "10-20:a.0");
	hot_free(h);
	h = hot_new(0, 0); /* nothing fits */
	put(h, ROW_WINDOW, 1, 0, 10, "a", 0, 8);
	assert_string_equal(all(h, 1, 0, 100), "");
	hot_stats(h, &stats);
	assert_int_equal(stats.bytes, 0);
	assert_int_equal(stats.rows, 0);
	hot_free(h);
}

/* ---- against a model ---- */

struct fact {
	int64_t end;
	uint32_t key, revision;
	bool there;
};
#define WINDOWS 40
#define KEYS 12
#define KEPT 5

/* A window lives if it is among the KEPT highest ends that were ever put when it was; brute force over all.
 */
static void test_model(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 300; round++) {
		struct hot *h = hot_new(KEPT, SIZE_MAX);
		static struct fact fact[WINDOWS][KEYS];
		char want[4096] = "";
		bool live[WINDOWS] = {0};
		int gone = -1;

		memset(fact, 0, sizeof fact);
		for (uint64_t i = 0; i < 400; i++) {
			uint64_t r = hash_u64(round * 1000 + i);
			int w = (int)(r % 4 + i * (WINDOWS - 4) / 400), count = 0, oldest = -1;
			uint32_t key = r >> 8 & 7, revision = r >> 16 & 3;
			char name[8];

			snprintf(name, sizeof name, "k%u", key);
			put(h, ROW_WINDOW, 1, w * 10, w * 10 + 10, name, revision, (uint32_t)(r >> 24 & 63));
			for (int k = WINDOWS - 1; k >= 0; k--)
				if (live[k]) {
					count++;
					oldest = k;
				}
			if (!live[w] && (w <= gone || (count == KEPT && w < oldest)))
				continue;
			if (!live[w] && count == KEPT) {
				live[oldest] = false;
				gone = oldest;
			}
			live[w] = true;
			if (!fact[w][key].there || fact[w][key].revision < revision)
				fact[w][key] = (struct fact){w * 10 + 10, key, revision, true};
		}
		for (int w = WINDOWS - 1; w >= 0; w--)
			for (uint32_t k = 0; k < KEYS && live[w]; k++)
				if (fact[w][k].there) {
					size_t n = strlen(want);

					snprintf(want + n, sizeof want - n, "%s%d-%d:k%u.%u", n ? " " : "",
						w * 10, w * 10 + 10, k, fact[w][k].revision);
				}
		assert_string_equal(all(h, 1, INT64_MIN, INT64_MAX), want);
		hot_free(h);
	}
}

/* ---- two threads ---- */

struct reading {
	struct hot *h;
	atomic_bool done;
	uint64_t rows;
	_Atomic uint64_t passes; /* over all rows, with at least one */
	int64_t last_end;
	char last_key[8];
};

/* Newest first, keys ascending, nothing twice, whatever is put meanwhile. */
static int check_order(void *arg, const struct record *rec)
{
	const struct row *row = row_of(rec);
	struct reading *r = arg;
	const uint8_t *key;
	uint32_t bytes;
	char text[8] = "";

	if (!record_valid(rec, rec->bytes) || !row_valid(rec) || !row_key_part(row, 0, &key, &bytes))
		abort();
	memcpy(text, key, bytes < 7 ? bytes : 7);
	if (row->end_ms > r->last_end || (row->end_ms == r->last_end && strcmp(text, r->last_key) <= 0))
		abort();
	r->last_end = row->end_ms;
	memcpy(r->last_key, text, sizeof text);
	r->rows++;
	return 0;
}

static void *reader(void *arg)
{
	struct reading *r = arg;

	while (!atomic_load(&r->done)) {
		r->last_end = INT64_MAX;
		if (hot_each(r->h, 1, INT64_MIN, INT64_MAX, check_order, r))
			abort();
		atomic_fetch_add(&r->passes, r->rows != 0);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct reading r = {.h = hot_new(20, 60000)};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, reader, &r), 0);
	for (int i = 0; i < 60000 || !atomic_load(&r.passes); i++) {
		uint64_t x = hash_u64((uint64_t)i);
		int64_t end = i / 100 + (int64_t)(x >> 8 & 3);
		char key[8];

		snprintf(key, sizeof key, "%03u", (unsigned)(x % 50));
		put(r.h, ROW_WINDOW, 1, end - 1, end, key, (uint32_t)(x >> 16 & 7),
			(uint32_t)(x >> 24 & 255));
	}
	atomic_store(&r.done, true);
	pthread_join(thread, NULL);
	hot_free(r.h);
}

static int teardown(void **state)
{
	(void)state;
	bytes_free(&row_bytes);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
