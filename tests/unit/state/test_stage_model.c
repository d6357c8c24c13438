/* The state stage against a plain model, over random streams and definitions; and against itself across saves
 * and loads. */
#include "stage_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS 90
#define EVENTS 4000u

/* Definition `i` of a plan: any kind. The text is one of the forms that window_def_parse() takes. */
static void definition_make(char *text, size_t room, uint32_t i, int64_t step, bool plain, uint64_t *seed)
{
	static const char *const by[] = {"by=user_id ", "by=page ", "by=user_id,page ", ""};
	int64_t slide = step * (1 + stage_below(seed, 6)), lateness = stage_below(seed, 2);
	const char *aggregates = plain ? MODEL_AGGREGATES
				       : MODEL_AGGREGATES ", avg(metric), variance(metric), "
							  "distinct(page), quantiles(metric)";
	const char *types = "types=click ";
	uint32_t kind = stage_below(seed, 5);

	lateness *= stage_below(seed, 10000);
	switch (kind) {
	case 0:
		snprintf(text, room, "name=w%u kind=tumbling size=%ldms %s%slateness=%ldms aggregates='%s'",
			i, (long)slide, by[stage_below(seed, 4)], types, (long)lateness, aggregates);
		break;
	case 1:
	case 2:
		snprintf(text, room,
			"name=w%u kind=hopping size=%ldms slide=%ldms %s%slateness=%ldms aggregates='%s'", i,
			(long)(slide * (2 + stage_below(seed, 12))), (long)slide, by[stage_below(seed, 4)],
			types, (long)lateness, aggregates);
		break;
	case 3:
		snprintf(text, room, "name=w%u kind=session gap=%ums by=user_id %saggregates='%s'", i,
			200 + stage_below(seed, 6000), types, aggregates);
		break;
	default:
		snprintf(text, room,
			"name=w%u kind=funnel size=%ldms within=%ums by=user_id %ssteps='first: page = /p0; "
			"a: page = /p1; second: page = /p2'",
			i, (long)slide * 5, 500 + stage_below(seed, 20000), types);
	}
}

static struct window_plan *plan_make(bool plain, uint64_t *seed)
{
	int64_t step = 100 * (1 + stage_below(seed, 10));
	uint32_t count = 1 + stage_below(seed, 5);
	const char *list[5];
	char text[5][600];

	for (uint32_t i = 0; i < count; i++) {
		definition_make(text[i], sizeof text[i], i, step, plain, seed);
		list[i] = text[i];
	}
	return rig_plan(step, count, list);
}

static struct rig_shape shape_make(uint64_t *seed)
{
	return (struct rig_shape){.events = EVENTS,
		.users = 1 + stage_below(seed, 40),
		.pages = 1 + stage_below(seed, 6),
		.disorder_ms = stage_below(seed, 3) ? stage_below(seed, 3000) : 0,
		.pace_ms = 1 + stage_below(seed, 60),
		.block_events = 1 + stage_below(seed, 200)};
}

static void test_model(void **state)
{
	uint64_t seed = 1, rows = 0, lates = 0, revisions = 0;

	(void)state;
	for (uint32_t n = 0; n < STREAMS; n++) {
		struct rig_shape shape = shape_make(&seed);
		uint64_t bound =
			stage_below(&seed, 3) ? (uint64_t)shape.disorder_ms : stage_below(&seed, 500);
		struct window_plan *plan = plan_make(true, &seed);
		struct bytes out = {0};
		struct stage *st = rig_stage(plan, bound, SIZE_MAX, &out);
		struct rig_stream s;
		struct model m;

		rig_stream_make(&s, &shape, &seed);
		rig_run(st, &s, 0, s.blocks);
		rig_check_conservation(st);
		model_make(&m, &s, plan, bound);
		model_compare(&m, plan, &out);
		rows += m.rows;
		lates += m.lates;
		for (uint32_t i = 0; i < m.rows; i++)
			revisions += m.row[i].revision > 0;
		assert_int_equal(stage_stats(st)->rows, m.rows);
		assert_int_equal(stage_stats(st)->late, m.lates);
		model_free(&m);
		rig_stream_free(&s);
		stage_free(st);
		bytes_free(&out);
		window_plan_free(plan);
	}
	/* the streams are such that everything happens */
	assert_true(rows > 100000 && lates > 3000 && revisions > 1000);
}

static void test_reload(void **state)
{
	uint64_t seed = 2;

	(void)state;
	for (uint32_t n = 0; n < STREAMS / 2; n++) {
		struct rig_shape shape = shape_make(&seed);
		struct window_plan *plan = plan_make(false, &seed);
		size_t memory = n % 2 ? SIZE_MAX : 2000 + stage_below(&seed, 60000);
		struct rig_stream s;

		if (n % 3 == 0) /* limits of keys, too */
			for (uint32_t i = 0; i < plan->count; i++)
				plan->def[i]->keys_max = 1 + stage_below(&seed, 20);
		rig_stream_make(&s, &shape, &seed);
		rig_check_reload(&s, plan, (uint64_t)shape.disorder_ms, memory, &seed);
		rig_stream_free(&s);
		window_plan_free(plan);
	}
}

/* What is measured decides what is shed, hence it survives a save: with cells that are large, too. */
static void test_reload_measure(void **state)
{
	static const char *const text[] = {
		"name=a kind=tumbling size=20s lateness=5s aggregates='count, distinct(user_id), "
		"quantiles(metric), "
		"top(page,5), first(page), last(user_id), variance(metric), sum(amount), min(metric)'",
		"name=b kind=hopping size=20s slide=5s lateness=5s aggregates='count, "
		"distinct(user_id), "
		"quantiles(metric), top(user_id,3), first(page), last(page)'",
		"name=c kind=session gap=2s by=user_id aggregates='count, distinct(page), quantiles(metric), "
		"top(page,9)'",
		"name=d kind=funnel size=10s within=1m by=user_id steps='a: page = /p0; b: page = /p1'",
		"name=e kind=tumbling size=30s lateness=5s by=page aggregates='count, sum(amount), "
		"distinct(user_id), quantiles(metric), top(user_id,5), max(amount)'"};
	uint64_t seed = 3;

	(void)state;
	for (uint32_t n = 0; n < 24; n++) {
		const struct rig_shape shape = {.events = 12000,
			.users = n % 2 ? 5000 : 30,
			.pages = n % 3 ? 400 : 3,
			.disorder_ms = 1500,
			.pace_ms = 1 + n % 12,
			.block_events = 700};
		size_t memory = n % 4 ? 20000u << n % 6 : SIZE_MAX;
		struct window_plan *plan = rig_plan(1000, 5, text);
		struct bytes out[2] = {{0}, {0}};
		struct stage *st[2];
		struct rig_stream s;

		rig_stream_make(&s, &shape, &seed);
		for (int i = 0; i < 2; i++)
			st[i] = rig_stage(plan, 1000, memory, &out[i]);
		for (uint32_t b = 0; b < s.blocks; b++) {
			rig_run(st[0], &s, b, b + 1);
			rig_run(st[1], &s, b, b + 1);
			for (uint32_t w = 0; w < plan->count; w++)
				assert_int_equal(stage_stats(st[0])->window[w].memory_bytes,
					stage_stats(st[1])->window[w].memory_bytes);
			assert_int_equal(out[0].bytes, out[1].bytes);
			assert_memory_equal(out[0].data, out[1].data, out[0].bytes);
			bytes_reset(&out[0]);
			bytes_reset(&out[1]);
			st[1] = rig_reload(st[1], plan, 1000, memory, &out[1]);
		}
		for (int i = 0; i < 2; i++) {
			stage_free(st[i]);
			bytes_free(&out[i]);
		}
		rig_stream_free(&s);
		window_plan_free(plan);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_reload_measure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
