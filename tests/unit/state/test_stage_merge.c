/* Real partial logs: several partitions' stages over random streams, and the merge of what they emitted. Each
 * window and key comes out once, then in dense revisions; nothing of it is lost; the counts are those of the
 * partials. So both sides mean the same by a step, and by how long a window can be revised. And what the
 * merge makes of records of many rows is what it makes of the same rows one by one, saved and loaded on the
 * way or not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "stage_rig.h"

#define PARTS 4
#define ROUNDS 100
#define MEMORY ((size_t)256 << 20)

struct log {
	struct bytes bytes;
	uint64_t records;
	struct bytes many; /* the same as it came out, many rows in a record */
	uint64_t many_records;
	int64_t mark_ms; /* the last one */
};

/* Half of the plans have neither revisions nor anomalies. */
static struct window_plan *plan_make(uint64_t *seed)
{
	long step = 100 * (1 + stage_below(seed, 10)), slide = step * (1 + stage_below(seed, 6));
	bool simple = stage_below(seed, 2);
	char text[4][300];
	const char *list[4] = {text[0], text[1], text[2], text[3]};
	char anomaly[100] = "";

	if (!simple)
		snprintf(anomaly, sizeof anomaly, "anomaly='zscore(count,5,2); seasonal(count,%ldms,2)'",
			slide * 20);
	snprintf(text[0], sizeof text[0],
		"name=t kind=tumbling size=%ldms by=page lateness=%ums aggregates='count, sum(amount)' %s",
		slide, simple ? 0 : stage_below(seed, 10000), anomaly);
	snprintf(text[1], sizeof text[1],
		"name=h kind=hopping size=%ldms slide=%ldms by=page,user_id lateness=%ums "
		"aggregates='count, distinct(user_id)' %s",
		slide * (2 + (long)stage_below(seed, 8)), slide,
		simple ? 0 : stage_below(seed, 2) * stage_below(seed, 5000),
		simple ? "" : "anomaly='ewma(count,0.3,2)'");
	snprintf(text[2], sizeof text[2], "name=s kind=session gap=%ums by=user_id aggregates='count'",
		200 + stage_below(seed, 6000));
	snprintf(text[3], sizeof text[3],
		"name=f kind=funnel size=%ldms within=%ums by=user_id types=click "
		"steps='first: page = /p0; second: page = /p1'",
		slide * 5, 500 + stage_below(seed, 20000));
	return rig_plan(step, 4, list);
}

/* Returns how many events came late. */
static uint64_t log_make(struct log *log, const struct window_plan *plan, uint64_t *seed)
{
	struct rig_shape shape = {.events = 2000,
		.users = 1 + stage_below(seed, 20),
		.pages = 1 + stage_below(seed, 5),
		.disorder_ms = stage_below(seed, 3000),
		.pace_ms = 1 + stage_below(seed, 60),
		.block_events = 1 + stage_below(seed, 200)};
	struct stage *st;
	struct rig_stream s;
	uint64_t late;

	memset(log, 0, sizeof *log);
	st = rig_stage_raw(plan, stage_below(seed, 1500), SIZE_MAX, &log->many);
	rig_stream_make(&s, &shape, seed);
	rig_run(st, &s, 0, s.blocks);
	late = stage_stats(st)->late;
	stage_free(st);
	rig_stream_free(&s);
	for (size_t at = 0; at < log->many.bytes; log->many_records++)
		(void)rig_collect_rows(&log->bytes, rig_next(&log->many, &at));
	for (size_t at = 0; at < log->bytes.bytes; log->records++) {
		const struct record *rec = rig_next(&log->bytes, &at);

		if (rec->kind == RECORD_MARK)
			log->mark_ms = rec->event_time_ms;
	}
	return late;
}

static const struct window_def *find(void *plan, uint64_t uid)
{
	return window_plan_find(plan, uid);
}

static struct merge *merge_start(const struct window_plan *plan, struct bytes *out)
{
	struct merge_params params = {.window = find,
		.window_arg = (void *)(uintptr_t)plan,
		.partitions = PARTS,
		.step_ms = plan->step_ms,
		.memory_bytes = MEMORY};
	struct merge *m;
	struct err err;

	assert_int_equal(merge_new(&m, &params, rig_collect, out, &err), 0);
	return m;
}

/* Another merge in its place, by a save, to be fed from its positions on. */
static struct merge *merge_again(struct merge *m, const struct window_plan *plan, const struct log *log,
	struct bytes *out, size_t at[PARTS], uint64_t offset[PARTS])
{
	struct merge *fresh = merge_start(plan, out);
	struct bytes saved = {0}, again = {0};
	struct err err;

	merge_save(m, &saved);
	if (merge_load(fresh, saved.data, saved.bytes, &err))
		fail_msg("%s", err.text);
	merge_save(fresh, &again);
	assert_int_equal(saved.bytes, again.bytes);
	assert_memory_equal(saved.data, again.data, saved.bytes);
	for (uint32_t p = 0; p < PARTS; p++) {
		at[p] = 0;
		offset[p] = merge_position(fresh, p);
		for (uint64_t i = 0; i < offset[p]; i++)
			(void)rig_next(&log[p].many, &at[p]);
	}
	bytes_free(&saved);
	bytes_free(&again);
	merge_free(m);
	return fresh;
}

/* Feeds all logs, out of step with each other. many: records as they came, with saves and loads. */
static struct merge *merge_all(
	const struct window_plan *plan, const struct log *log, struct bytes *out, bool many, uint64_t *seed)
{
	size_t at[PARTS] = {0};
	uint64_t offset[PARTS] = {0};
	uint32_t idle = 0, saves = many ? 20 : 0;
	struct merge *m = merge_start(plan, out);
	struct err err;

	while (idle < 200) { /* until nobody has more, or room for more */
		uint32_t p = stage_below(seed, PARTS);

		uint64_t records = many ? log[p].many_records : log[p].records;

		for (uint32_t n = stage_below(seed, many ? 8 : 50); n && offset[p] < records; n--) {
			size_t before = at[p];
			const struct record *rec = rig_next(many ? &log[p].many : &log[p].bytes, &at[p]);
			int rc = merge_feed(m, p, rec, offset[p], &err);

			if (rc == -EAGAIN) {
				at[p] = before;
				break;
			}
			if (rc)
				fail_msg("%s", err.text);
			offset[p]++;
			idle = 0;
		}
		idle++;
		if (merge_run(m, &err) != 0)
			fail_msg("%s", err.text);
		if (saves && !stage_below(seed, 4) && saves--)
			m = merge_again(m, plan, log, out, at, offset);
	}
	return m;
}

struct counted {
	const struct row *row;
	uint64_t count;
	uint32_t at; /* in the log that it came from */
};

static int count_take(void *arg, const struct agg_value *v)
{
	*(uint64_t *)arg = v->u64;
	return 1;
}

static int counted_order(const void *x, const void *y)
{
	const struct counted *a = x, *b = y;
	const struct row *r = a->row, *q = b->row;
	int d;

	if (r->window_uid != q->window_uid)
		return r->window_uid < q->window_uid ? -1 : 1;
	if (r->end_ms != q->end_ms)
		return r->end_ms < q->end_ms ? -1 : 1;
	if (r->start_ms != q->start_ms)
		return r->start_ms < q->start_ms ? -1 : 1;
	d = row_key_compare(r, q);
	return d ? d : (a->at > b->at) - (a->at < b->at);
}

static bool same_window(const struct counted *a, const struct counted *b)
{
	return a->row->window_uid == b->row->window_uid && a->row->end_ms == b->row->end_ms &&
	       a->row->start_ms == b->row->start_ms && row_key_compare(a->row, b->row) == 0;
}

/* Rows up to a step, by window and key, in the order of the log. */
static void counted_add(struct counted **list, uint32_t *n, const struct window_plan *plan,
	const struct bytes *log, int64_t step_ms)
{
	for (size_t at = 0; at < log->bytes;) {
		const struct record *rec = rig_next(log, &at);
		const struct row *row = row_of(rec);
		struct counted *c;

		if (rec->kind != RECORD_ROW || rec->type == ROW_ALERT || row->step_ms > step_ms)
			continue;
		*list = realloc(*list, (*n + 1) * sizeof **list);
		c = &(*list)[*n];
		*c = (struct counted){.row = row, .at = (*n)++};
		assert_int_equal(agg_values(window_plan_find(plan, row->window_uid)->aggs, row_agg(row),
					 row->agg_bytes, count_take, &c->count),
			1);
	}
}

static uint64_t merged_check(
	const struct window_plan *plan, const struct log *log, const struct bytes *out, int64_t step_ms)
{
	struct counted *in = NULL, *merged = NULL;
	uint32_t ins = 0, rows = 0, i = 0;
	uint64_t revisions = 0;

	for (uint32_t p = 0; p < PARTS; p++)
		counted_add(&in, &ins, plan, &log[p].bytes, step_ms);
	counted_add(&merged, &rows, plan, out, INT64_MAX);
	qsort(in, ins, sizeof *in, counted_order);
	qsort(merged, rows, sizeof *merged, counted_order);
	for (uint32_t k = 0; k < rows;) {
		const struct counted *first = &merged[k];
		uint32_t revision = 0;
		uint64_t count = 0;

		assert_true(i < ins && same_window(first, &in[i]));
		for (; i < ins && same_window(first, &in[i]); i++)
			count += in[i].count;
		for (; k < rows && same_window(first, &merged[k]); k++)
			assert_int_equal(merged[k].row->revision, revision++);
		revisions += revision - 1;
		assert_int_equal(merged[k - 1].count, count);
	}
	assert_int_equal(i, ins);
	free(in);
	free(merged);
	return revisions;
}

static void stages_and_merge_agree(void **state)
{
	uint64_t seed = 17, late = 0, revisions = 0, alerts = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct window_plan *plan = plan_make(&seed);
		struct log log[PARTS];
		struct bytes out = {0}, many = {0};
		int64_t step_ms = INT64_MAX;
		struct merge *m;

		for (uint32_t p = 0; p < PARTS; p++) {
			late += log_make(&log[p], plan, &seed);
			step_ms = log[p].mark_ms < step_ms ? log[p].mark_ms : step_ms;
		}
		merge_free(merge_all(plan, log, &many, true, &seed));
		m = merge_all(plan, log, &out, false, &seed);
		assert_int_equal(many.bytes, out.bytes);
		assert_memory_equal(many.data, out.data, out.bytes);
		assert_int_equal(merge_stats(m)->step_ms, step_ms);
		assert_int_equal(merge_stats(m)->late_lost, 0);
		revisions += merged_check(plan, log, &out, step_ms);
		alerts += merge_stats(m)->alerts;
		merge_free(m);
		for (uint32_t p = 0; p < PARTS; p++)
			bytes_free(&log[p].bytes);
		for (uint32_t p = 0; p < PARTS; p++)
			bytes_free(&log[p].many);
		bytes_free(&many);
		bytes_free(&out);
		window_plan_free(plan);
	}
	assert_true(late > 100 && revisions > 100 && alerts > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(stages_and_merge_agree)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
