/* Definitions that change while partitions stand at different steps: what comes out is whole. By hand:
 * windows 0, 1, ... of a second, window w in step w + 1; each partition counts one event in each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge_rig.h"

#define UID RIG_HAND_UID
#define AS_BEFORE INT64_MIN
#define ORDERS 200
#define ROUNDS 20

struct line { /* of a partial log */
	enum { END, ROWS, SAYS } what;
	int64_t from, to; /* ROWS: these windows, one step after the other, a mark behind */
	int64_t step_ms;  /* SAYS */
	uint64_t uid;
	int64_t from_ms;
};
struct logs {
	uint32_t partitions;
	struct line line[4][6];
	const char *want; /* windows that come out, each with an event of every partition */
	uint64_t incomplete;
};

/* Feeds partition p's record number `n`; false: there is none. */
static bool feed(struct rig_hand *b, const struct logs *l, uint32_t p, uint64_t n)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < 6; i++) {
		const struct line *line = &l->line[p][i];
		uint64_t rows = (uint64_t)(line->to - line->from) + 1;

		if (line->what == SAYS && at++ == n) {
			assert_int_equal(
				rig_feed_definition(&b->rm, p, line->step_ms, line->uid, line->from_ms, n),
				0);
			return true;
		}
		if (line->what != ROWS)
			continue;
		if (n < at + rows) {
			assert_int_equal(
				rig_hand_feed(b, p, line->from + (int64_t)(n - at), "web", 1, 0, 0, n), 0);
			return true;
		}
		at += rows;
		if (at++ == n) {
			assert_int_equal(rig_feed_mark(&b->rm, p, (line->to + 1) * RIG_STEP_MS, n), 0);
			return true;
		}
	}
	return false;
}

static void again(struct rig_hand *b, const struct logs *l, uint64_t *next)
{
	struct bytes saved = {0}, copy = {0};
	struct bytes out = b->rm.out;
	uint64_t emitted = b->rm.emitted;
	struct err err;

	merge_save(b->rm.m, &saved);
	merge_free(b->rm.m);
	rig_merge_start(&b->rm, &b->defs, l->partitions, 1 << 20);
	b->rm.out = out;
	b->rm.emitted = emitted;
	if (merge_load(b->rm.m, saved.data, saved.bytes, &err))
		fail_msg("%s", err.text);
	merge_save(b->rm.m, &copy);
	assert_int_equal(copy.bytes, saved.bytes);
	assert_memory_equal(copy.data, saved.data, saved.bytes);
	for (uint32_t p = 0; p < l->partitions; p++)
		next[p] = merge_position(b->rm.m, p);
	bytes_free(&saved);
	bytes_free(&copy);
}

static void check(const struct logs *l, const struct rig_hand *b)
{
	uint64_t count;
	const struct record **list = rig_records(&b->rm.out, &count);
	char have[100] = "";

	for (uint64_t i = 0; i < count; i++) {
		const struct row *row = row_of(list[i]);
		size_t at = strlen(have);

		if (list[i]->kind != RECORD_ROW || row_is_alert(list[i]))
			continue;
		assert_int_equal(
			rig_count(b->defs.def[0]->aggs, row_agg(row), row->agg_bytes), l->partitions);
		snprintf(have + at, sizeof have - at, "%s%lld", at ? " " : "",
			(long long)(row->start_ms / RIG_STEP_MS));
	}
	assert_string_equal(have, l->want);
	free(list);
}

/* In any order, with saves and loads between. */
static void run(const struct logs *l)
{
	for (uint64_t order = 0; order < ORDERS; order++) {
		uint64_t next[4] = {0}, seed = order;
		struct rig_hand b;

		rig_hand_start(&b, l->partitions, order % 2 ? 5000 : 0, 1 << 20);
		for (uint32_t round = 0; round < ROUNDS; round++) {
			uint32_t p = rig_below(&seed, l->partitions);

			for (uint32_t n = 1 + rig_below(&seed, 4); n && feed(&b, l, p, next[p]); n--)
				next[p]++;
			rig_hand_run(&b);
			if (order > ORDERS / 2 && !rig_below(&seed, 3))
				again(&b, l, next);
		}
		for (uint32_t p = 0; p < l->partitions; p++)
			while (feed(&b, l, p, next[p]))
				next[p]++;
		rig_hand_run(&b);
		if (order <= ORDERS / 2)
			assert_int_equal(merge_stats(b.rm.m)->incomplete, l->incomplete);
		check(l, &b);
		rig_hand_stop(&b);
	}
}

static struct line rows(int64_t from, int64_t to)
{
	return (struct line){.what = ROWS, .from = from, .to = to};
}

static struct line says(int64_t step_ms, uint64_t uid, int64_t from_ms)
{
	return (struct line){.what = SAYS, .step_ms = step_ms, .uid = uid, .from_ms = from_ms};
}

static void a_definition_ends_where_its_first_partition_ends_it(void **state)
{
	struct logs l = {.partitions = 3, .want = "0 1 2 3", .incomplete = 6 + 2};

	(void)state;
	for (uint32_t p = 0; p < 3; p++)
		l.line[p][0] = says(INT64_MIN, UID, AS_BEFORE);
	l.line[0][1] = rows(0, 9);
	l.line[0][2] = says(10000, 0, 0);
	l.line[1][1] = rows(0, 3);
	l.line[1][2] = says(4000, 0, 0);
	l.line[1][3] = (struct line){.what = SAYS, .step_ms = 30000};
	l.line[2][1] = rows(0, 5);
	l.line[2][2] = says(6000, 0, 0);
	l.line[2][3] = (struct line){.what = SAYS, .step_ms = 30000};
	run(&l);
}

static void a_definition_begins_where_it_is_whole_in_all(void **state)
{
	struct logs l = {.partitions = 2, .want = "7 8 9", .incomplete = 3 + 1};

	(void)state;
	l.line[0][0] = says(INT64_MIN, 0, 0);
	l.line[1][0] = says(INT64_MIN, 0, 0);
	l.line[0][1] = says(3000, UID, 4500);
	l.line[0][2] = rows(4, 9);
	l.line[1][1] = says(5000, UID, 6200);
	l.line[1][2] = rows(6, 9);
	run(&l);
}

/* A kill between the notes of a change, which was then taken back: one partition never had it. */
static void a_change_that_one_partition_never_had(void **state)
{
	struct logs l = {.partitions = 2, .want = "0 1 2 6 7", .incomplete = 1 + 3};

	(void)state;
	l.line[0][0] = says(INT64_MIN, UID, AS_BEFORE);
	l.line[0][1] = rows(0, 2);
	l.line[0][2] = says(3000, 0, 0);
	l.line[0][3] = says(4000, UID, 5100);
	l.line[0][4] = rows(5, 7);
	l.line[1][0] = says(INT64_MIN, UID, AS_BEFORE);
	l.line[1][1] = rows(0, 4);
	l.line[1][2] = says(5000, UID, AS_BEFORE);
	l.line[1][3] = rows(5, 7);
	run(&l);
}

/* What goes on says so at each start, before any event or in between. */
static void a_definition_that_goes_on_loses_nothing(void **state)
{
	struct logs l = {.partitions = 2, .want = "0 1 2 3 4 5"};

	(void)state;
	l.line[0][0] = says(INT64_MIN, UID, AS_BEFORE);
	l.line[0][1] = says(INT64_MIN, UID, AS_BEFORE);
	l.line[0][2] = rows(0, 1);
	l.line[0][3] = says(2000, UID, AS_BEFORE);
	l.line[0][4] = rows(2, 5);
	l.line[1][0] = says(INT64_MIN, UID, AS_BEFORE);
	l.line[1][1] = rows(0, 4);
	l.line[1][2] = says(5000, UID, AS_BEFORE);
	l.line[1][3] = rows(5, 5);
	run(&l);
}

/* Logs of a version that said nothing: all is in force, but what another partition says to begin. */
static void partitions_that_say_nothing(void **state)
{
	struct logs silent = {.partitions = 2, .want = "0 1 2 3"};
	struct logs begun = {.partitions = 2, .want = "4 5", .incomplete = 2 + 2};

	(void)state;
	silent.line[0][0] = rows(0, 1);
	silent.line[0][1] = says(2000, UID, AS_BEFORE);
	silent.line[0][2] = rows(2, 3);
	silent.line[1][0] = rows(0, 3);
	run(&silent);
	begun.line[0][0] = says(1000, UID, 2000);
	begun.line[0][1] = rows(2, 5);
	begun.line[1][0] = rows(2, 3);
	begun.line[1][1] = says(4000, UID, AS_BEFORE);
	begun.line[1][2] = rows(4, 5);
	run(&begun);
}

static void other_partitions_have_what_was_in_force_in_all(void **state)
{
	struct bytes saved = {0};
	struct rig_hand b;
	struct err err;

	(void)state;
	rig_hand_start(&b, 2, 0, 1 << 20);
	assert_int_equal(rig_feed_definition(&b.rm, 0, 3000, UID, 9000, 0), 0);
	assert_int_equal(rig_feed_definition(&b.rm, 1, 3000, UID, 7500, 0), 0);
	rig_hand_run(&b);
	merge_save(b.rm.m, &saved);
	merge_free(b.rm.m);
	rig_merge_start(&b.rm, &b.defs, 3, 1 << 20);
	assert_int_equal(merge_gather(b.rm.m, saved.data, saved.bytes, &err), 0);
	for (uint32_t p = 0; p < 3; p++) {
		assert_int_equal(rig_hand_feed(&b, p, 8, "web", 1, 0, 0, 0), 0);
		assert_int_equal(rig_hand_feed(&b, p, 9, "web", 1, 0, 0, 1), 0);
		assert_int_equal(rig_feed_mark(&b.rm, p, 10000, 2), 0);
	}
	assert_int_equal(rig_hand_run(&b), 2); /* window 9, a mark */
	assert_int_equal(merge_stats(b.rm.m)->incomplete, 3);
	bytes_free(&saved);
	rig_hand_stop(&b);
}

static void what_cannot_be_is_refused(void **state)
{
	static struct row_definition many[WINDOWS_MAX + 1];
	struct bytes rec = {0};
	struct rig_hand b;
	struct err err;

	(void)state;
	for (uint32_t i = 0; i <= WINDOWS_MAX; i++)
		many[i].uid = i;
	rig_hand_start(&b, 1, 0, 1 << 20);
	row_put_definitions(&rec, 1000, 1000, many, WINDOWS_MAX + 1);
	assert_int_equal(merge_feed(b.rm.m, 0, (const struct record *)rec.data, 0, &err), -EBADMSG);
	bytes_free(&rec);
	rig_hand_stop(&b);
	rig_hand_start(&b, 1, 0, 1 << 20);
	assert_int_equal(rig_feed_definition(&b.rm, 0, 1000, UID, INT64_MAX, 0), -EBADMSG);
	rig_hand_stop(&b);
	rig_hand_start(&b, 1, 0, 1 << 20);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 2000, 0), 0);
	assert_int_equal(rig_feed_definition(&b.rm, 0, INT64_MIN, UID, AS_BEFORE, 1), -EBADMSG);
	assert_int_equal(rig_feed_mark(&b.rm, 0, INT64_MIN, 1), -EBADMSG);
	rig_hand_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_definition_ends_where_its_first_partition_ends_it),
		cmocka_unit_test(a_definition_begins_where_it_is_whole_in_all),
		cmocka_unit_test(a_change_that_one_partition_never_had),
		cmocka_unit_test(a_definition_that_goes_on_loses_nothing),
		cmocka_unit_test(partitions_that_say_nothing),
		cmocka_unit_test(other_partitions_have_what_was_in_force_in_all),
		cmocka_unit_test(what_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
