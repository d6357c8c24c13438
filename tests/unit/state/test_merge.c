/* What the merge takes and refuses, whom it waits for, and its alerts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge_priv.h"
#include "merge_rig.h"

static void waits_for_whom_it_needs(void **state)
{
	struct rig_hand b;
	struct merge *m;

	(void)state;
	rig_hand_start(&b, 3, 0, RIG_MEMORY);
	m = b.rm.m;
	assert_int_equal(merge_wants(m, -1), 0);
	assert_int_equal(merge_wants(m, 0), 1);
	assert_int_equal(merge_wants(m, 2), 0);
	assert_int_equal(rig_hand_feed(&b, 1, 0, "web", 3, 0, 0, 0), 0);
	assert_int_equal(merge_wants(m, -1), 0); /* the row's own partition may have another revision */
	assert_int_equal(merge_wants(m, 0), 1);
	assert_int_equal(rig_hand_feed(&b, 1, 0, "zz0", 3, 0, 0, 1), 0);
	assert_int_equal(merge_wants(m, 0), 2);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 5000, 0), 0); /* over several steps */
	assert_int_equal(merge_wants(m, -1), 2);
	assert_int_equal(rig_hand_run(&b), 0);
	assert_int_equal(merge_stats(m)->held_by, 2);
	assert_int_equal(rig_hand_feed(&b, 2, 0, "zzz", 3, 0, 0, 0), 0);
	assert_int_equal(merge_wants(m, -1), -1);
	assert_int_equal(rig_hand_run(&b), 1);
	assert_int_equal(merge_position(m, 0), 1);
	assert_int_equal(merge_position(m, 1), 1);
	assert_int_equal(merge_position(m, 2), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 1, 1000, 2), 0);
	assert_int_equal(rig_hand_run(&b), 1);
	assert_int_equal(rig_feed_mark(&b.rm, 2, 3000, 1), 0);
	assert_int_equal(rig_hand_run(&b), 2); /* zzz, and the step's mark */
	assert_int_equal(merge_stats(m)->step_ms, 1000);
	assert_int_equal(merge_stats(m)->held_by, 1);
	assert_int_equal(merge_wants(m, -1), 1);
	assert_int_equal(merge_position(m, 1), 3);
	rig_hand_stop(&b);
}

static void assert_held(struct merge *m, uint32_t by, int64_t step_ms)
{
	assert_int_equal(merge_stats(m)->held_by, by);
	assert_int_equal(merge_stats(m)->step_ms, step_ms);
}

/* A partition hours ahead: its mark stands behind rows that wait, so it is not known, and is the lowest of
 * all. */
static void who_is_ahead_does_not_hold_back(void **state)
{
	struct rig_hand b;
	struct merge *m;

	(void)state;
	rig_hand_start(&b, 3, 0, RIG_MEMORY);
	m = b.rm.m;
	assert_int_equal(rig_feed_mark(&b.rm, 0, 1000, 0), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 1, 3000, 0), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 2, 2000, 0), 0);
	assert_int_equal(rig_hand_run(&b), 0);
	assert_held(m, 0, 1000);
	assert_int_equal(
		rig_hand_feed(&b, 0, 8, "web", 3, 0, 0, 1), 0); /* of step 9000: it may have another */
	assert_held(m, 2, 2000);
	assert_int_equal(rig_hand_feed(&b, 0, 8, "zzz", 3, 0, 0, 2), 0);
	assert_held(m, 2, 2000);
	assert_int_equal(rig_feed_mark(&b.rm, 2, 8000, 1), 0);
	assert_held(m, 1, 3000);
	assert_int_equal(rig_feed_mark(&b.rm, 1, 8000, 1), 0);
	assert_held(m, 1, 8000); /* as far as partition 0, whom nobody waits for */
	assert_int_equal(merge_wants(m, -1), 1);
	assert_int_equal(rig_feed_mark(&b.rm, 1, 9000, 2), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 2, 9000, 2), 0);
	assert_int_equal(rig_hand_run(&b), 1);
	assert_held(m, 0, 8000); /* there may be more rows of 9000 */
	assert_int_equal(merge_wants(m, -1), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 9000, 3), 0);
	assert_int_equal(rig_hand_run(&b), 2);
	assert_held(m, 0, 9000);
	rig_hand_stop(&b);
}

static void what_cannot_be_is_refused(void **state)
{
	struct rig_hand b;
	struct row row;
	struct bytes rec = {0};
	struct record *r;
	struct err err;

	(void)state;
	rig_hand_start(&b, 2, 0, RIG_MEMORY);
	assert_int_equal(rig_hand_feed(&b, 0, 2, "web", 3, 0, 0, 10), 0);
	assert_int_equal(rig_hand_feed(&b, 0, 2, "web", 3, 0, 0, 10), -EINVAL);	 /* offset again */
	assert_int_equal(rig_hand_feed(&b, 0, 2, "web", 3, 0, 0, 11), -EBADMSG); /* the same row */
	assert_int_equal(rig_hand_feed(&b, 0, 2, "app", 3, 0, 0, 11), -EBADMSG); /* out of order */
	assert_int_equal(rig_feed_mark(&b.rm, 0, 2000, 11), -EBADMSG);		 /* behind a row */
	assert_int_equal(rig_feed_mark(&b.rm, 0, 4000, 11), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 3000, 12), -EBADMSG);
	assert_int_equal(rig_hand_feed(&b, 0, 3, "web", 3, 0, 0, 12), -EBADMSG); /* behind a mark */
	row = (struct row){.window_uid = 6, .end_ms = 9000, .step_ms = 9000};
	assert_int_equal(rig_feed_row(&b.rm, 0, &row, "web", NULL, 12), -ENOENT);
	row = (struct row){.window_uid = 5, .end_ms = INT64_MAX, .step_ms = 9000};
	assert_int_equal(rig_feed_row(&b.rm, 0, &row, "web", NULL, 12), -EBADMSG);
	row = (struct row){.window_uid = 5, .start_ms = 1, .end_ms = 0, .step_ms = 9000};
	assert_int_equal(rig_feed_row(&b.rm, 0, &row, "web", NULL, 12), -EBADMSG);
	row = (struct row){.window_uid = 5, .end_ms = 9000, .step_ms = 9000, .key_bytes = 0};
	row_put(&rec, ROW_WINDOW, &row, NULL, NULL, NULL, 7, 5);
	r = (struct record *)rec.data;
	assert_int_equal(merge_feed(b.rm.m, 0, r, 12, &err), -EBADMSG); /* no partial */
	assert_non_null(strstr(err.text, "not a partial row of window w5"));
	r->kind = RECORD_EVENT;
	assert_int_equal(merge_feed(b.rm.m, 0, r, 12, &err), -EBADMSG);
	bytes_free(&rec);
	/* aggregates are looked at when they are folded, of one partition or of several */
	row = (struct row){.window_uid = 5, .end_ms = 9000, .step_ms = 9000, .agg_bytes = 3};
	for (int both = 0; both < 2; both++) {
		if (both)
			rig_hand_start(&b, 2, 0, RIG_MEMORY);
		assert_int_equal(rig_feed_row(&b.rm, 0, &row, "web", "abc", 12), 0);
		if (both)
			assert_int_equal(rig_feed_row(&b.rm, 1, &row, "web", "abc", 0), 0);
		assert_int_equal(rig_feed_mark(&b.rm, 0, 9000, 13), 0);
		assert_int_equal(rig_feed_mark(&b.rm, 1, 9000, 1), 0);
		assert_int_equal(merge_run(b.rm.m, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "cannot be read"));
		rig_hand_stop(&b);
	}
}

static void queues_are_bounded(void **state)
{
	struct rig_hand b;
	uint64_t offset = 0, again = 0;
	int rc = 0;

	(void)state;
	rig_hand_start(&b, 2, 0, RIG_MEMORY);
	while (!rc)
		rc = rig_hand_feed(&b, 0, (int64_t)offset, "web", 3, 0, 0, offset), offset += !rc;
	assert_int_equal(rc, -EAGAIN);
	assert_true(offset * 150 > MERGE_QUEUE_BYTES / 2 && offset < 20000);
	assert_int_equal(merge_wants(b.rm.m, -1), 1);
	assert_int_equal(rig_hand_run(&b), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 1, 1000 * (int64_t)(offset / 2), 0), 0);
	assert_true(rig_hand_run(&b) + 1 >= offset); /* rows and marks */
	for (rc = 0; !rc; again += !rc)
		rc = rig_hand_feed(&b, 0, (int64_t)(offset + again), "web", 3, 0, 0, offset + again);
	assert_true(rc == -EAGAIN && again > offset / 3);
	assert_int_equal(rig_feed_mark(&b.rm, 1, 1000 * (int64_t)(offset + again), 1), 0);
	rig_hand_run(&b);
	assert_int_equal(merge_position(b.rm.m, 0), offset + again - 1); /* the last may have a revision */
	rig_hand_stop(&b);
}

/* One partition cannot say the same thing for ever. */
static void revisions_of_a_step_are_bounded(void **state)
{
	struct rig_hand b;
	uint32_t n = 0;

	(void)state;
	rig_hand_start(&b, 1, 5000, RIG_MEMORY);
	while (n < MERGE_SAME_MAX) {
		assert_int_equal(rig_hand_feed(&b, 0, 0, "web", 1, 0, n, n), 0);
		n++;
	}
	assert_int_equal(rig_hand_feed(&b, 0, 0, "web", 1, 0, n, n), -EBADMSG);
	rig_hand_stop(&b);
}

/* Many partials of one step and key: one row with all of them. */
static void partials_of_a_step_are_one_row(void **state)
{
	struct rig_hand b;
	const struct row *row;

	(void)state;
	rig_hand_start(&b, 8, 5000, RIG_MEMORY);
	for (uint32_t p = 0; p < 8; p++) {
		for (uint32_t n = 0; n < 20; n++)
			assert_int_equal(rig_hand_feed(&b, p, 0, "web", 1, 0, n, n), 0);
		assert_int_equal(rig_feed_mark(&b.rm, p, 1000, 20), 0);
	}
	assert_int_equal(rig_hand_run(&b), 2);
	row = row_of((const struct record *)b.rm.out.data);
	assert_int_equal(row->revision, 0);
	assert_int_equal(rig_count(b.defs.def[0]->aggs, row_agg(row), row->agg_bytes), 160);
	rig_hand_stop(&b);
}

static void unusual_counts_raise_alerts(void **state)
{
	struct rig_hand b;
	const struct record **rec;
	const struct row_alert *a;
	uint64_t count;
	uint32_t bytes;
	uint8_t id[16];

	(void)state;
	for (int round = 0; round < 2; round++) {
		rig_hand_start(&b, 1, 0, RIG_MEMORY);
		for (int64_t w = 0; w < 7; w++)
			assert_int_equal(rig_hand_feed(&b, 0, w, round ? "web" : "app", w == 6 ? 33 : 10, 0,
						 0, (uint64_t)w),
				0);
		assert_int_equal(rig_feed_mark(&b.rm, 0, 9000, 7), 0);
		assert_int_equal(rig_hand_run(&b), 7 + 7 + 1);
		rec = rig_records(&b.rm.out, &count);
		a = row_alert_of(rec[count - 2]);
		assert_int_equal(rec[count - 2]->type, ROW_ALERT);
		assert_int_equal(rec[count - 3]->type, ROW_WINDOW);
		assert_int_equal(a->first_ms, 6000);
		assert_int_equal(a->last_ms, 7000);
		assert_true(a->value == 33 && a->expected == 10 && a->score > 7 && a->score < 7.3);
		assert_int_equal(a->window_uid, 5);
		assert_int_equal(a->evidence_count, 0);
		assert_int_equal(a->evidence_total, 33);
		assert_memory_equal(row_alert_text(rec[count - 2], ROW_TEXT_RULE, &bytes),
			"anomaly:w5:zscore(count)", 24);
		assert_int_equal(bytes, 24);
		assert_memory_equal(row_alert_text(rec[count - 2], ROW_TEXT_TITLE, &bytes),
			"count of w5 is 33, expected 10", 30);
		assert_int_equal(bytes, 30);
		assert_memory_equal(row_alert_text(rec[count - 2], ROW_TEXT_SEVERITY, &bytes), "high", 4);
		assert_int_equal(bytes, 4);
		assert_memory_equal(row_alert_text(rec[count - 2], ROW_TEXT_KEY, &bytes),
			round ? "source=web" : "source=app", 10);
		assert_int_equal(bytes, 10);
		if (round)
			assert_memory_not_equal(id, a->id, sizeof id);
		memcpy(id, a->id, sizeof id);
		free(rec);
		rig_hand_stop(&b);
	}
}

/* Keys beyond keys_max are counted together, and are not judged: what is in them changes. */
static void other_keys_are_not_judged(void **state)
{
	struct rig_hand b;

	(void)state;
	for (uint32_t flags = 0; flags <= ROW_F_OTHER; flags += ROW_F_OTHER) {
		struct bytes rec = {0};
		struct err err;

		rig_hand_start(&b, 1, 0, RIG_MEMORY);
		for (int64_t w = 0; w < 7; w++) {
			const struct bytes *cell = &b.packed[w == 6 ? 33 : 10];
			struct row row = {.window_uid = RIG_HAND_UID,
				.end_ms = (w + 1) * 1000,
				.step_ms = (w + 1) * 1000,
				.flags = flags,
				.agg_bytes = (uint32_t)cell->bytes};

			bytes_reset(&rec);
			row_put(&rec, ROW_PARTIAL, &row, NULL, cell->data, NULL, 7, 5);
			assert_int_equal(
				merge_feed(b.rm.m, 0, (const struct record *)rec.data, (uint64_t)w, &err), 0);
		}
		assert_int_equal(rig_feed_mark(&b.rm, 0, 9000, 7), 0);
		rig_hand_run(&b);
		assert_int_equal(merge_stats(b.rm.m)->alerts, flags ? 0 : 1);
		bytes_free(&rec);
		rig_hand_stop(&b);
	}
}

/* Sums of doubles depend on their order: it is that of the partitions, however they were fed. */
static void partitions_are_folded_in_order(void **state)
{
	static const double metric[] = {1e16, -1e16, 1};
	static const uint32_t order[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}};
	struct rig_hand b;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct bytes cell[3] = {0}, want = {0};
		const struct rig_event *in_order[3];
		struct rig_event ev[3] = {0};
		struct rig rig = {0};
		const struct row *row;

		rig_hand_start(&b, 3, 0, RIG_MEMORY);
		rig.defs = b.defs;
		for (uint32_t p = 0; p < 3; p++) {
			ev[p] = (struct rig_event){.metric = metric[p], .time_ms = 5};
			in_order[p] = &ev[p];
			rig_pack(&rig, &in_order[p], 1, &cell[p]);
		}
		rig_pack(&rig, in_order, 3, &want);
		for (int k = 0; k < 3; k++) {
			uint32_t p = order[i][k];
			struct row partial = {.window_uid = RIG_HAND_UID,
				.end_ms = 1000,
				.step_ms = 1000,
				.agg_bytes = (uint32_t)cell[p].bytes};

			assert_int_equal(rig_feed_row(&b.rm, p, &partial, "web", cell[p].data, 0), 0);
			assert_int_equal(rig_feed_mark(&b.rm, p, 1000, 1), 0);
		}
		assert_int_equal(rig_hand_run(&b), 2);
		row = row_of((const struct record *)b.rm.out.data);
		assert_int_equal(row->agg_bytes, want.bytes);
		assert_memory_equal(row_agg(row), want.data, want.bytes);
		for (int p = 0; p < 3; p++)
			bytes_free(&cell[p]);
		bytes_free(&want);
		rig_hand_stop(&b);
	}
}

/* What is emitted goes no further when the taker says so. */
static int emit_refuse(void *arg, const struct record *rec)
{
	(void)arg;
	(void)rec;
	return -77;
}

static void the_takers_word_ends_a_run(void **state)
{
	struct rig_hand b;
	struct err err;
	struct merge_params params = {
		.window = rig_find, .partitions = 1, .step_ms = RIG_STEP_MS, .memory_bytes = RIG_MEMORY};

	(void)state;
	rig_hand_start(&b, 1, 0, RIG_MEMORY);
	merge_free(b.rm.m);
	params.window_arg = &b.defs;
	assert_int_equal(merge_new(&b.rm.m, &params, emit_refuse, NULL, &err), 0);
	assert_int_equal(rig_hand_feed(&b, 0, 0, "web", 1, 0, 0, 0), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 1000, 1), 0);
	assert_int_equal(merge_run(b.rm.m, &err), -77);
	rig_hand_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_for_whom_it_needs),
		cmocka_unit_test(who_is_ahead_does_not_hold_back),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(queues_are_bounded),
		cmocka_unit_test(revisions_of_a_step_are_bounded),
		cmocka_unit_test(partials_of_a_step_are_one_row),
		cmocka_unit_test(unusual_counts_raise_alerts),
		cmocka_unit_test(other_keys_are_not_judged),
		cmocka_unit_test(partitions_are_folded_in_order),
		cmocka_unit_test(the_takers_word_ends_a_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
