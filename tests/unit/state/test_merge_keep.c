/* How long a merged window can be revised, and what is lost when memory ends. */
#include <stdlib.h>
#include <string.h>

#include "merge_rig.h"

struct expected {
	int64_t w;
	uint32_t revision, count, delta;
};

/* Rows of the output, alerts and marks left out. */
static void rows_are(const struct rig_hand *b, const struct expected *want, uint32_t want_count)
{
	const struct agg_set *set = b->defs.def[0]->aggs;
	uint64_t count;
	const struct record **rec = rig_records(&b->rm.out, &count);
	uint32_t n = 0;

	for (uint64_t i = 0; i < count; i++) {
		const struct row *row = row_of(rec[i]);

		if (rec[i]->kind != RECORD_ROW || rec[i]->type == ROW_ALERT)
			continue;
		assert_true(n < want_count);
		assert_int_equal(row->end_ms, (want[n].w + 1) * RIG_STEP_MS);
		assert_int_equal(row->revision, want[n].revision);
		assert_int_equal(rig_count(set, row_agg(row), row->agg_bytes), want[n].count);
		assert_int_equal(row->delta_bytes > 0, want[n].revision > 0);
		if (row->delta_bytes)
			assert_int_equal(rig_count(set, row_delta(row), row->delta_bytes), want[n].delta);
		n++;
	}
	assert_int_equal(n, want_count);
	free(rec);
}

static void late_partials_revise(void **state)
{
	static const struct expected want[] = {
		{0, 0, 3, 0},  /* of partition 0 alone */
		{0, 1, 12, 9}, /* both partitions' deltas of a step: one revision */
		{1, 0, 4, 0},  /* first seen late */
		{0, 2, 14, 2}, /* at the last step that lateness allows */
		{1, 1, 5, 1},
	};
	struct rig_hand b;

	(void)state;
	rig_hand_start(&b, 2, 2500, RIG_MEMORY);
	assert_int_equal(rig_hand_feed(&b, 0, 0, "web", 3, 1, 0, 0), 0);
	assert_int_equal(rig_hand_feed(&b, 0, 0, "web", 4, 2, 1, 1), 0);
	assert_int_equal(rig_hand_feed(&b, 0, 1, "web", 1, 4, 7, 2), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 9000, 3), 0);
	assert_int_equal(rig_hand_feed(&b, 1, 0, "web", 5, 2, 0, 0), 0);
	assert_int_equal(rig_hand_feed(&b, 1, 1, "web", 4, 3, 1, 1), 0);
	assert_int_equal(rig_hand_feed(&b, 1, 0, "web", 2, 4, 1, 2), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 1, 9000, 3), 0);
	assert_int_equal(rig_hand_run(&b), 5 + 4); /* and a mark of each step */
	rows_are(&b, want, 5);
	assert_int_equal(merge_stats(b.rm.m)->revisions, 3);
	assert_int_equal(merge_stats(b.rm.m)->late_lost, 0);
	assert_int_equal(merge_stats(b.rm.m)->retained, 2);
	rig_hand_stop(&b);
}

/* Behind its lateness a window is gone; a partial for it would be a second row of revision 0. */
static void after_its_lateness_a_window_is_gone(void **state)
{
	static const struct expected want[] = {{0, 0, 3, 0}, {9, 0, 1, 0}};
	struct rig_hand b;

	(void)state;
	rig_hand_start(&b, 1, 2500, RIG_MEMORY);
	assert_int_equal(rig_hand_feed(&b, 0, 0, "web", 3, 1, 0, 0), 0);
	assert_int_equal(rig_hand_feed(&b, 0, 0, "web", 4, 5, 1, 1), 0);
	assert_int_equal(rig_hand_feed(&b, 0, 1, "web", 4, 6, 1, 2), 0);
	assert_int_equal(rig_hand_feed(&b, 0, 9, "web", 1, 0, 0, 3), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 10000, 4), 0);
	assert_int_equal(rig_hand_run(&b), 2 + 2); /* steps of which nothing came out have no mark */
	rows_are(&b, want, 2);
	assert_int_equal(merge_stats(b.rm.m)->late_lost, 2);
	assert_int_equal(merge_stats(b.rm.m)->retained, 1);
	rig_hand_stop(&b);
}

/* Of a definition that is gone no row comes any more: the steps of others' rows end its windows. */
static void windows_of_a_definition_that_is_gone_end(void **state)
{
	struct rig_defs defs = {.count = 2};
	uint8_t agg[1] = {3};
	struct rig_merge rm;
	struct err err = {""};

	(void)state;
	defs.def[0] = rig_def(5, WINDOW_TUMBLING, RIG_STEP_MS, 2500, FIELD_source, "count", "");
	defs.def[1] = rig_def(6, WINDOW_TUMBLING, RIG_STEP_MS, 0, FIELD_source, "count", "");
	rig_merge_start(&rm, &defs, 1, RIG_MEMORY);
	for (int64_t i = 0; i < 6; i++) {
		struct row row = {.window_uid = i ? 6 : 5,
			.start_ms = i * RIG_STEP_MS,
			.end_ms = (i + 1) * RIG_STEP_MS,
			.step_ms = (i + 1) * RIG_STEP_MS,
			.agg_bytes = sizeof agg};

		assert_int_equal(rig_feed_row(&rm, 0, &row, "web", agg, 2 * (uint64_t)i), 0);
		assert_int_equal(rig_feed_mark(&rm, 0, row.step_ms, 2 * (uint64_t)i + 1), 0);
		assert_int_equal(merge_run(rm.m, &err), 0);
		assert_int_equal(merge_stats(rm.m)->retained, i < 4); /* a partial may come at step 4 */
	}
	rig_merge_stop(&rm);
	rig_defs_free(&defs);
}

static void without_lateness_nothing_is_kept(void **state)
{
	struct rig_hand b;

	(void)state;
	rig_hand_start(&b, 1, 0, RIG_MEMORY);
	assert_int_equal(rig_hand_feed(&b, 0, 0, "web", 3, 1, 0, 0), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 1000, 1), 0);
	assert_int_equal(rig_hand_run(&b), 2);
	assert_int_equal(merge_stats(b.rm.m)->retained, 0);
	rig_hand_stop(&b);
}

/* The windows that could be revised for the shortest time go first; all rows of revision 0 come out. */
static void memory_puts_the_oldest_out(void **state)
{
	static const struct expected want[] = {{0, 0, 1, 0}, {1, 0, 1, 0}, {2, 0, 1, 0}, {3, 0, 1, 0},
		{4, 0, 1, 0}, {3, 1, 3, 2}, {4, 1, 3, 2}};
	struct rig_hand b;
	uint64_t offset = 0;

	(void)state;
	rig_hand_start(&b, 1, 60000, 2 * 2 * 100); /* two windows with their keys and cells, in a half */
	for (int64_t w = 0; w < 5; w++)
		assert_int_equal(rig_hand_feed(&b, 0, w, "web", 1, 0, 0, offset++), 0);
	for (int64_t w = 0; w < 5; w++)
		assert_int_equal(rig_hand_feed(&b, 0, w, "web", 2, 7, 1, offset++), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 8000, offset), 0);
	rig_hand_run(&b);
	assert_int_equal(merge_stats(b.rm.m)->retained, 2);
	rows_are(&b, want, 7);
	assert_int_equal(merge_stats(b.rm.m)->late_lost, 3);
	assert_true(merge_stats(b.rm.m)->memory_bytes <= 2 * 2 * 100);
	rig_hand_stop(&b);
}

/* Many keys of one window, and no memory for one of them: each comes out once, late ones are lost. */
static void no_memory_loses_late_ones_only(void **state)
{
	static const char *const key[] = {"a", "b", "c", "d"};
	struct expected want[8] = {0};
	struct rig_hand b;
	uint64_t offset = 0;

	(void)state;
	rig_hand_start(&b, 1, 60000, 20);
	for (int64_t w = 0; w < 2; w++)
		for (int k = 0; k < 4; k++) {
			want[w * 4 + k] = (struct expected){w, 0, 1, 0};
			assert_int_equal(rig_hand_feed(&b, 0, w, key[k], 1, 0, 0, offset++), 0);
		}
	for (int k = 0; k < 4; k++)
		assert_int_equal(rig_hand_feed(&b, 0, 1, key[k], 1, 5, 1, offset++), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 8000, offset), 0);
	rig_hand_run(&b);
	rows_are(&b, want, 8);
	assert_int_equal(merge_stats(b.rm.m)->late_lost, 4);
	assert_int_equal(merge_stats(b.rm.m)->retained, 0);
	rig_hand_stop(&b);
}

static int feed_flagged(struct rig_hand *b, int64_t step, uint32_t revision, uint32_t flags, uint64_t offset)
{
	struct row row = {.window_uid = RIG_HAND_UID,
		.end_ms = RIG_STEP_MS,
		.step_ms = step * RIG_STEP_MS,
		.revision = revision,
		.flags = flags,
		.agg_bytes = (uint32_t)b->packed[1].bytes};

	return rig_feed_row(&b->rm, 0, &row, "web", b->packed[1].data, offset);
}

/* What once lacked something lacks it in each revision. */
static void flags_stay(void **state)
{
	static const uint32_t fed[] = {0, ROW_F_CUT, 0, ROW_F_OTHER, 0};
	static const uint32_t want[] = {
		0, ROW_F_CUT, ROW_F_CUT, ROW_F_CUT | ROW_F_OTHER, ROW_F_CUT | ROW_F_OTHER};
	const struct record **rec;
	struct rig_hand b;
	uint64_t count;

	(void)state;
	rig_hand_start(&b, 1, 60000, RIG_MEMORY);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(feed_flagged(&b, 1 + i, i, fed[i], i), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 9000, 5), 0);
	assert_int_equal(rig_hand_run(&b), 10);
	rec = rig_records(&b.rm.out, &count);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(row_of(rec[2 * i])->flags, want[i]);
	free(rec);
	rig_hand_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_partials_revise),
		cmocka_unit_test(after_its_lateness_a_window_is_gone),
		cmocka_unit_test(windows_of_a_definition_that_is_gone_end),
		cmocka_unit_test(without_lateness_nothing_is_kept),
		cmocka_unit_test(memory_puts_the_oldest_out),
		cmocka_unit_test(no_memory_loses_late_ones_only),
		cmocka_unit_test(flags_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
