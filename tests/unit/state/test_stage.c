/* The state stage, case by case: what stage.h says in words. */
#include "stage_model.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Events of one test: time (from RIG_TIME), user, page. */
static void put(struct rig_stream *s, int64_t t, uint32_t user, uint32_t page)
{
	rig_stream_click(s, t, t, user, page);
}

static void put_kind(struct rig_stream *s, enum record_kind kind, int64_t t, bool suppressed)
{
	struct rig_event ev = {.kind = (uint8_t)kind,
		.type = EVENT_TYPE_click,
		.suppressed = suppressed,
		.time_ms = RIG_TIME + t,
		.receive_ms = RIG_TIME + t,
		.user = 1,
		.page = 1,
		.amount = INT64_MIN,
		.port = 4001};

	rig_stream_put(s, &ev);
}

struct got {
	struct bytes out;
	struct stage *st;
	struct window_plan *plan;
};

/* Runs one definition over the stream; its end as watermark (from RIG_TIME). */
static struct got run(struct rig_stream *s, const char *text, int64_t step, uint64_t bound, int64_t end)
{
	struct got g = {.plan = rig_plan(step, 1, &text)};

	rig_block_end(s, RIG_TIME + end);
	g.st = rig_stage(g.plan, bound, SIZE_MAX, &g.out);
	rig_run(g.st, s, 0, s->blocks);
	rig_check_conservation(g.st);
	return g;
}

static void got_free(struct got *g, struct rig_stream *s)
{
	stage_free(g->st);
	window_plan_free(g->plan);
	bytes_free(&g->out);
	rig_stream_free(s);
}

static int count_take(void *arg, const struct agg_value *v)
{
	if (!*(uint64_t *)arg)
		*(uint64_t *)arg = v->u64;
	return 0;
}

/* Rows as text: "start-end key=count.revision" from RIG_TIME, parts of keys joined by |. */
static const char *rows_of(const struct got *g)
{
	static char text[4000];
	const struct record *rec;
	size_t at = 0, used = 0;

	text[0] = 0;
	while ((rec = rig_next(&g->out, &at))) {
		const struct row *row = row_of(rec);
		const uint8_t *part;
		uint32_t bytes;
		uint64_t count = 0;

		if (rec->kind != RECORD_ROW)
			continue;
		assert_int_equal(
			agg_values(g->plan->def[0]->aggs, row_agg(row), row->agg_bytes, count_take, &count),
			0);
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld-%lld ", used ? "; " : "",
			row->start_ms - RIG_TIME, row->end_ms - RIG_TIME);
		if (row->flags & ROW_F_OTHER)
			used += (size_t)snprintf(text + used, sizeof text - used, "other");
		for (uint32_t i = 0; row_key_part(row, i, &part, &bytes); i++)
			used += (size_t)snprintf(text + used, sizeof text - used, "%s%.*s", i ? "|" : "",
				part ? (int)bytes : 1, part ? (const char *)part : "-");
		used += (size_t)snprintf(text + used, sizeof text - used, "=%llu", (unsigned long long)count);
		if (row->revision)
			used += (size_t)snprintf(text + used, sizeof text - used, " r%u", row->revision);
	}
	return text;
}

static uint32_t kind_count(const struct got *g, enum record_kind kind)
{
	const struct record *rec;
	uint32_t count = 0;
	size_t at = 0;

	while ((rec = rig_next(&g->out, &at)))
		count += rec->kind == kind;
	return count;
}

#define TUMBLING "name=w kind=tumbling size=1s by=user_id "
#define NONE RIG_NONE

static void test_tumbling(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	put(&s, 0, 1, 0);
	put(&s, 999, 1, 0);
	put(&s, 1000, 2, 0);
	put(&s, 400, 2, 0); /* the watermark is 500: not late */
	put(&s, 1100, NONE, 0);
	put(&s, 1600, 1, 0);
	put(&s, 500, 1, 0); /* the watermark is 1100 */
	g = run(&s, TUMBLING, 1000, 500, 3000);
	assert_string_equal(
		rows_of(&g), "0-1000 u1=2; 0-1000 u2=1; 1000-2000 u1=1; 1000-2000 u2=1; 1000-2000 -=1");
	assert_int_equal(stage_stats(g.st)->window[0].late, 1);
	assert_int_equal(kind_count(&g, RECORD_LATE), 1);
	got_free(&g, &s);
}

/* An event is late by the watermark, not by the step; what is not late waits for the step. */
static void test_step(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	put(&s, 100, 1, 0);
	put(&s, 1000, 1, 0);
	put(&s, 900, 1, 0); /* late: the watermark is 1000, though no step has come */
	put(&s, 5900, 1, 0);
	g = run(&s, TUMBLING, 5000, 0, 5950);
	assert_string_equal(rows_of(&g), "0-1000 u1=1; 1000-2000 u1=1");
	assert_int_equal(stage_stats(g.st)->window[0].late, 1);
	assert_int_equal(stage_stats(g.st)->step_ms, RIG_TIME + 5000);
	got_free(&g, &s);
}

static void test_revisions(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	put(&s, 100, 1, 0);
	put(&s, 1500, 1, 0); /* step 1000 is out */
	put(&s, 200, 2, 0);
	put(&s, 300, 1, 0);
	put(&s, 400, 1, 0);
	put(&s, 2000, 1, 0); /* step 2000 */
	put(&s, 500, 1, 0);
	put(&s, 2999, 1, 0);
	put(&s, 600, 1, 0); /* the watermark is 2999: 1000 + 2000 has not come */
	put(&s, 3000, 1, 0);
	put(&s, 700, 1, 0); /* late */
	g = run(&s, TUMBLING "lateness=2s", 1000, 0, 4000);
	assert_string_equal(rows_of(&g), "0-1000 u1=1; 0-1000 u1=2 r1; 0-1000 u2=1 r1; 1000-2000 u1=1; "
					 "0-1000 u1=2 r2; 2000-3000 u1=2; 3000-4000 u1=1");
	assert_int_equal(stage_stats(g.st)->window[0].late, 1);
	assert_int_equal(stage_stats(g.st)->window[0].late_allowed, 5);
	got_free(&g, &s);
}

static void test_hopping(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	put(&s, 2500, 1, 0);
	put(&s, 4100, 2, 0); /* windows that end at 3000 and 4000 are out */
	put(&s, 2600, 3, 0); /* late for these, not for the one that ends at 5000 */
	put(&s, 1999, 1, 0); /* late */
	g = run(&s, "name=w kind=hopping size=3s slide=1s by=user_id", 1000, 0, 9000);
	assert_string_equal(rows_of(&g),
		"0-3000 u1=1; 1000-4000 u1=1; 2000-5000 u1=1; 2000-5000 u2=1; 2000-5000 u3=1; "
		"3000-6000 u2=1; 4000-7000 u2=1");
	assert_int_equal(stage_stats(g.st)->window[0].late, 1);
	assert_int_equal(stage_stats(g.st)->window[0].late_panes, 2);
	assert_int_equal(stage_stats(g.st)->window[0].keys, 0); /* nothing stays behind */
	assert_int_equal(stage_stats(g.st)->window[0].memory_bytes, 0);
	got_free(&g, &s);
}

static void test_session(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	put(&s, 1000, 1, 0);
	put(&s, 2000, 1, 0); /* touches: one session */
	put(&s, 3001, 1, 0); /* does not */
	put(&s, 1500, 2, 0);
	put(&s, 3400, 2, 0);
	put(&s, 2450, 2, 0); /* joins both */
	put(&s, 3000, NONE, 0);
	put(&s, 4450, 1, 0); /* the watermark, 3450, passes 3000 */
	put(&s, 2000, 1, 0); /* touches no session that is open, would end at 3000: late */
	put(&s, 2500, 1, 0); /* makes one of the open ones longer */
	g = run(&s, "name=w kind=session gap=1s by=user_id", 1000, 1000, 9000);
	assert_string_equal(rows_of(&g), "1000-3000 u1=2; 2500-4001 u1=2; 1500-4400 u2=3; 4450-5450 u1=1");
	assert_int_equal(stage_stats(g.st)->window[0].late, 1);
	assert_int_equal(stage_stats(g.st)->window[0].filtered, 1);
	assert_int_equal(stage_stats(g.st)->window[0].keys, 0);
	got_free(&g, &s);
}

#define FUNNEL                                                                                               \
	"name=w kind=funnel size=10s within=2s by=user_id steps='view: page = /p0; add: page = /p1; buy: "   \
	"page = /p2'"

static void test_funnel(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	put(&s, 1000, 1, 0);
	put(&s, 1200, 1, 2); /* not the next step */
	put(&s, 1900, 1, 0); /* an attempt is open: changes nothing */
	put(&s, 1500, 1, 1); /* out of order */
	put(&s, 3000, 1, 2); /* 2 s after the first step: still within; bought */
	put(&s, 3000, 1, 0); /* another */
	put(&s, 5001, 1, 1); /* too late for it */
	put(&s, 2500, 2, 1); /* no attempt */
	put(&s, 9999, 2, 0); /* its window is that of this step */
	put(&s, 11999, 2, 1);
	put(&s, 11999, 2, 1); /* counts once */
	put(&s, 8000, 2, 0);  /* below the watermark, 11999 - 3000: late */
	put(&s, 9000, 3, 5);  /* no step: not of this window */
	g = run(&s, FUNNEL, 1000, 3000, 12000);
	assert_string_equal(rows_of(&g), "0-10000 add=2; 0-10000 buy=1; 0-10000 view=3");
	assert_int_equal(stage_stats(g.st)->window[0].late, 1);
	assert_int_equal(stage_stats(g.st)->window[0].filtered, 1);
	got_free(&g, &s);
}

/* What a row of a funnel says: its count, and of how many attempts. */
static int take_value(void *arg, const struct agg_value *v)
{
	double *value = arg;

	value[strcmp(v->label, "count") != 0] = v->kind == AGG_VALUE_U64 ? (double)v->u64 : v->f64;
	return 0;
}

/* With conversion_rate each step has a row, those that nobody came to as well. */
static void test_funnel_rates(void **state)
{
	static const char *const step[] = {"add", "buy", "view"};
	static const double want[][2] = {{1, 0.25}, {0, 0}, {4, 1}};
	struct rig_stream s = {0};
	const struct record *rec;
	struct got g;
	uint32_t n = 0;
	size_t at = 0;

	(void)state;
	for (uint32_t user = 1; user <= 4; user++)
		put(&s, 1000 + user, user, 0);
	put(&s, 1500, 2, 1);
	g = run(&s, FUNNEL " aggregates='count, conversion_rate'", 1000, 3000, 12000);
	for (; (rec = rig_next(&g.out, &at)); n += rec->kind == RECORD_ROW) {
		const struct row *row = row_of(rec);
		double value[2];

		if (rec->kind != RECORD_ROW)
			continue;
		assert_in_range(n, 0, 2);
		assert_memory_equal(row_key(row) + 2, step[n], strlen(step[n]));
		assert_int_equal(
			agg_values(g.plan->def[0]->aggs, row_agg(row), row->agg_bytes, take_value, value), 0);
		assert_true(value[0] == want[n][0] && value[1] == want[n][1]);
	}
	assert_int_equal(n, 3);
	got_free(&g, &s);
}

/* Whoever goes through a funnel again and again leaves nothing behind, however long an attempt may take. */
static void test_funnel_again(void **state)
{
	static const char *const text[] = {
		"name=w kind=funnel size=10s within=1h by=user_id steps='view: page = /p0; add: page = /p1'"};
	struct window_plan *plan = rig_plan(1000, 1, text);
	struct bytes out = {0};
	struct stage *st = rig_stage(plan, 0, 1 << 28, &out);
	size_t before = 0, after = 0;

	(void)state;
	for (uint32_t second = 0; second < 100; second++) {
		struct rig_stream s = {0};
		struct journal_block b;
		struct mallinfo2 m;
		struct err err;

		for (uint32_t i = 0; i < 2000; i++) /* half of the time the user's entry goes and comes */
			put(&s, second * 1000 + i / 2, second & 1, i & 1);
		rig_block_end(&s, INT64_MIN);
		b = rig_block(&s, 0);
		b.first_offset = second * 2000;
		assert_int_equal(stage_block(st, &b, 0, &err), 0);
		rig_stream_free(&s);
		bytes_reset(&out);
		m = mallinfo2();
		after = m.uordblks + m.hblkhd;
		if (second == 2)
			before = after;
	}
	assert_in_range(after, 0, before + (64 << 10));
	stage_free(st);
	window_plan_free(plan);
	bytes_free(&out);
}

static void test_other(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	for (uint32_t user = 9; user > 0; user--)
		put(&s, 100, user, 0);
	put(&s, 200, 8, 0);
	g = run(&s, TUMBLING "keys_max=3", 1000, 0, 1000);
	assert_string_equal(rows_of(&g), "0-1000 other=6; 0-1000 u7=1; 0-1000 u8=2; 0-1000 u9=1");
	assert_int_equal(stage_stats(g.st)->window[0].other, 6);
	got_free(&g, &s);
}

/* Without fields to group by there is one key, which no bound sends to `other`. */
static void test_one_key(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	put(&s, 100, 1, 0);
	put(&s, 200, NONE, NONE);
	g = run(&s, "name=w kind=hopping size=2s slide=1s keys_max=1", 1000, 0, 4000);
	assert_string_equal(rows_of(&g), "-1000-1000 =2; 0-2000 =2");
	got_free(&g, &s);
}

/* Rows count every event once for each of its windows, whatever bound is met. */
static void test_memory(void **state)
{
	static const char *const text[] = {TUMBLING
		"aggregates='count, distinct(page), quantiles(metric), last(page)'",
		"name=h kind=hopping size=4s slide=1s by=page,user_id aggregates='count, distinct(user_id)'",
		"name=s kind=session gap=3s by=user_id aggregates='count, last(page), top(page,3)'"};
	const struct rig_shape shape = {.events = 20000,
		.users = 2000,
		.pages = 10,
		.disorder_ms = 300,
		.pace_ms = 3,
		.block_events = 300};
	uint64_t seed = 5, want = 0, other = 0, cut = 0, peak = 0;

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		struct window_plan *plan = rig_plan(1000, 1, &text[i]);
		struct bytes out = {0};
		struct stage *st = rig_stage(plan, 300, 100000, &out);
		const struct record *rec;
		struct rig_stream s;
		uint64_t got = 0;
		size_t at = 0;

		rig_stream_make(&s, &shape, &seed);
		rig_block_end(&s, RIG_TIME * 2);
		for (uint32_t b = 0; b < s.blocks; b++) {
			rig_run(st, &s, b, b + 1);
			if (stage_stats(st)->window[0].memory_bytes > peak)
				peak = stage_stats(st)->window[0].memory_bytes;
		}
		rig_check_conservation(st);
		while ((rec = rig_next(&out, &at))) {
			uint64_t count = 0;

			if (rec->kind != RECORD_ROW)
				continue;
			agg_values(plan->def[0]->aggs, row_agg(row_of(rec)), row_of(rec)->agg_bytes,
				count_take, &count);
			got += count;
		}
		want = stage_stats(st)->window[0].events * (i == 1 ? 4 : 1) -
		       stage_stats(st)->window[0].late_panes;
		assert_int_equal(got, want);
		other += stage_stats(st)->window[0].other;
		cut += stage_stats(st)->window[0].cut;
		assert_int_equal(stage_stats(st)->window[0].memory_bytes, 0);
		stage_free(st);
		rig_stream_free(&s);
		bytes_free(&out);
		window_plan_free(plan);
	}
	assert_true(other > 1000 && cut > 100);
	assert_true(peak > 100000 && peak < 1000000); /* the bound, and what 1024 records need */
}

static void test_kinds_of_records(void **state)
{
	struct rig_stream s = {0};
	struct got g;

	(void)state;
	put(&s, 100, 1, 0);
	put_kind(&s, RECORD_EVENT, 150, true); /* a rule drops it: it does not count */
	put_kind(&s, RECORD_CONTROL, 9000, false);
	put_kind(&s, RECORD_REFUSED, 9000, false);
	put(&s, 200, 1, 0);
	put_kind(&s, RECORD_EVENT, 1000, true); /* but moves the watermark */
	put(&s, 300, 1, 0);
	put_kind(&s, RECORD_TICK, 2000, false);
	put(&s, 1999, 1, 0);
	g = run(&s, TUMBLING, 1000, 0, 3000);
	assert_string_equal(rows_of(&g), "0-1000 u1=2");
	assert_int_equal(stage_stats(g.st)->window[0].late, 2);
	assert_int_equal(stage_stats(g.st)->window[0].filtered, 2);
	assert_int_equal(stage_stats(g.st)->events, 6);
	assert_int_equal(stage_stats(g.st)->records, 9);
	assert_int_equal(stage_stats(g.st)->source_count, 2);
	assert_int_equal(stage_stats(g.st)->source[0].events, 4);
	assert_int_equal(stage_stats(g.st)->watermark_ms, RIG_TIME + 3000);
	got_free(&g, &s);
}

/* Times that cannot be: no window, no watermark, no overflow. */
static void test_times(void **state)
{
	static const int64_t times[] = {INT64_MIN, INT64_MAX, -(1ll << 52) - 1, (1ll << 52) + 1};
	static const char *const kinds[] = {TUMBLING, "name=w kind=hopping size=2s slide=1s by=user_id",
		"name=w kind=session gap=1s by=user_id", FUNNEL};

	(void)state;
	for (size_t k = 0; k < 4; k++) {
		struct rig_stream s = {0};
		struct got g;

		for (size_t i = 0; i < 4; i++) {
			put(&s, times[i] - (times[i] < 0 ? 0 : RIG_TIME), 1, 0);
			s.event[i].time_ms = times[i];
		}
		put(&s, -(1ll << 52) - RIG_TIME, 1, 0);
		put(&s, 100, 1, 0);
		g = run(&s, kinds[k], 1000, 1000, 100000);
		assert_true(kind_count(&g, RECORD_ROW) > 0);
		got_free(&g, &s);
	}
}

static void test_faults(void **state)
{
	const char *text = TUMBLING, *off = "name=w kind=hopping size=1500ms slide=500ms";
	struct stage_params params = {.partition = 3, .memory_bytes = SIZE_MAX};
	struct rig_stream s = {0};
	struct bytes out = {0};
	struct journal_block b;
	struct stage *st;
	struct err err;

	(void)state;
	params.plan = rig_plan(1000, 1, &off);
	assert_int_equal(stage_new(&st, &params, rig_collect, &out, &err), -EINVAL);
	window_plan_free((struct window_plan *)params.plan);
	params.plan = rig_plan(1000, 1, &text);
	put(&s, 0, 1, 1);
	put(&s, 1, 1, 1);
	rig_block_end(&s, INT64_MIN);
	st = rig_stage(params.plan, 0, SIZE_MAX, &out);
	b = rig_block(&s, 0);
	b.partition = 2;
	assert_int_equal(stage_block(st, &b, 0, &err), -EBADMSG);
	b = rig_block(&s, 0);
	b.bytes -= 8;
	assert_int_equal(stage_block(st, &b, 0, &err), -EBADMSG);
	b = rig_block(&s, 0);
	assert_int_equal(stage_block(st, &b, 0, &err), -EBADMSG); /* the first record was taken */
	assert_int_equal(stage_block(st, &b, 1, &err), 0);
	assert_int_equal(stage_block(st, &b, 2, &err), 0); /* nothing of it */
	assert_int_equal(stage_stats(st)->events, 2);
	assert_int_equal(stage_stats(st)->input_offset, 2);
	stage_free(st);
	window_plan_free((struct window_plan *)params.plan);
	rig_stream_free(&s);
	bytes_free(&out);
}

static int refuse_rows(void *arg, const struct record *rec)
{
	(void)arg;
	return rec->kind == RECORD_ROW ? -ENOSPC : 0;
}

static void test_emit_fails(void **state)
{
	static const char *const kinds[] = {TUMBLING, "name=w kind=hopping size=2s slide=1s by=user_id",
		"name=w kind=session gap=1s by=user_id", FUNNEL};

	(void)state;
	for (size_t k = 0; k < 4; k++) {
		struct stage_params params = {
			.plan = rig_plan(1000, 1, &kinds[k]), .partition = 3, .memory_bytes = SIZE_MAX};
		struct rig_stream s = {0};
		struct journal_block b;
		struct stage *st;
		struct err err;

		for (uint32_t i = 0; i < 10; i++)
			put(&s, i, i, 0);
		rig_block_end(&s, RIG_TIME + 50000);
		b = rig_block(&s, 0);
		assert_int_equal(stage_new(&st, &params, refuse_rows, NULL, &err), 0);
		assert_int_equal(stage_block(st, &b, 0, &err), -ENOSPC);
		stage_free(st);
		window_plan_free((struct window_plan *)params.plan);
		rig_stream_free(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tumbling),
		cmocka_unit_test(test_step),
		cmocka_unit_test(test_revisions),
		cmocka_unit_test(test_hopping),
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_funnel),
		cmocka_unit_test(test_funnel_rates),
		cmocka_unit_test(test_funnel_again),
		cmocka_unit_test(test_other),
		cmocka_unit_test(test_one_key),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_kinds_of_records),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_emit_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
