/* Hopping windows of counters and decimal sums alone, whose cells are narrow where they can be: their rows
 * have what those of the same windows with one aggregate more have, which are made another way; and against
 * itself across saves and loads. */
#include "agg_plain.h"
#include "avx2.h"
#include "stage_rig.h"

#include <stdio.h>
#include <string.h>

#define STREAMS 50
#define EVENTS 3000u
#define VALUES_MAX 8

/* What a narrow cell just takes, or just does not. */
#define NARROW_MOST ((1ll << 31) - 1)
static const int64_t edges[] = {NARROW_MOST, -NARROW_MOST, NARROW_MOST - 1, 0, -1, NARROW_MOST, -NARROW_MOST,
	NARROW_MOST + 1, -NARROW_MOST - 1, 1ll << 40, INT64_MAX, INT64_MIN + 1};
static const struct {
	const int64_t *amount;
	uint32_t amounts;
} sets[] = {{NULL, 0}, {edges, 1}, {edges + 1, 1}, {edges, 5}, {edges, sizeof edges / sizeof *edges}};

/* A hopping window; more: what is appended to its aggregates. The same for the same seed. */
static struct window_plan *plan_make(const char *more, uint64_t seed)
{
	static const char *const by[] = {"by=user_id ", "by=page ", "by=user_id,page ", ""};
	static const char *const aggregates[] = {"count, sum(amount), count(page=/p1) as ones, "
						 "count(user_id=u1) as first, avg(amount) as mean",
		"avg(amount), count(page=/p0)", "sum(amount)", "count"};
	int64_t step = 100 * (1 + stage_below(&seed, 10)), slide = step * (1 + stage_below(&seed, 6)),
		lateness = stage_below(&seed, 2);
	char text[500];
	const char *list[] = {text};

	lateness *= stage_below(&seed, 20000);
	snprintf(text, sizeof text,
		"name=w kind=hopping size=%ldms slide=%ldms %stypes=click lateness=%ldms aggregates='%s%s'",
		(long)(slide * (2 + stage_below(&seed, 40))), (long)slide, by[stage_below(&seed, 4)],
		(long)lateness, aggregates[stage_below(&seed, 4)], more);
	return rig_plan(step, 1, list);
}

/* Few keys have cells of many events; of many keys, most cells have one; and now and then there are so many
 * that their numbers go over several chunks, and come again. */
static void stream_make(struct rig_stream *s, int64_t disorder_ms, uint64_t *seed)
{
	uint32_t set = stage_below(seed, sizeof sets / sizeof *sets);
	bool many = stage_below(seed, 8) == 0;
	const struct rig_shape shape = {.events = many ? 3 * EVENTS : EVENTS,
		.users = 1 + stage_below(seed, many		      ? 3000
					       : stage_below(seed, 2) ? 2
								      : 60),
		.pages = 1 + stage_below(seed, many ? 900 : 4),
		.disorder_ms = disorder_ms,
		.pace_ms = stage_below(seed, 3) ? stage_below(seed, 4) : stage_below(seed, many ? 20 : 60),
		.block_events = 1 + stage_below(seed, 300),
		.amount = sets[set].amount,
		.amounts = sets[set].amounts};

	rig_stream_make(s, &shape, seed);
}

/* The stream's rows and marks, by functions for all processors: those for AVX2 give the same bytes. */
static void run_both(
	const struct window_plan *plan, const struct rig_stream *s, uint64_t bound_ms, struct bytes *out)
{
	struct bytes again = {0};

	for (int barred = 0; barred < 2; barred++) {
		struct stage *st = rig_stage(plan, bound_ms, SIZE_MAX, barred ? out : &again);

		avx2_barred = barred;
		rig_run(st, s, 0, s->blocks);
		rig_check_conservation(st);
		stage_free(st);
	}
	avx2_barred = false;
	assert_int_equal(out->bytes, again.bytes);
	assert_memory_equal(out->data, again.data, again.bytes);
	bytes_free(&again);
}

struct values {
	uint32_t count;
	struct agg_value value[VALUES_MAX];
};

static int value_take(void *arg, const struct agg_value *v)
{
	struct values *values = arg;

	assert_true(values->count < VALUES_MAX);
	values->value[values->count++] = *v;
	return 0;
}

static void values_of(const struct window_plan *plan, const struct row *row, struct values *values)
{
	values->count = 0;
	assert_int_equal(agg_values(plan->def[0]->aggs, row_agg(row), row->agg_bytes, value_take, values), 0);
}

/* b has one value more. */
static void rows_compare(struct window_plan *const plan[2], const struct row *a, const struct row *b)
{
	static struct values x, y; /* large */

	assert_int_equal(a->step_ms, b->step_ms);
	assert_int_equal(a->start_ms, b->start_ms);
	assert_int_equal(a->end_ms, b->end_ms);
	assert_int_equal(a->revision, b->revision);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(row_key_compare(a, b), 0);
	values_of(plan[0], a, &x);
	values_of(plan[1], b, &y);
	assert_int_equal(x.count + 1, y.count);
	for (uint32_t i = 0; i < x.count; i++) {
		const struct agg_value *v = &x.value[i], *w = &y.value[i];

		assert_string_equal(v->label, w->label);
		assert_int_equal(v->kind, w->kind);
		if (v->kind == AGG_VALUE_U64)
			assert_int_equal(v->u64, w->u64);
		if (v->kind == AGG_VALUE_DECIMAL)
			assert_true(v->decimal == w->decimal);
		if (v->kind == AGG_VALUE_F64)
			assert_memory_equal(&v->f64, &w->f64, sizeof v->f64);
	}
}

static void plain_as_others(void **state)
{
	uint64_t seed = 1, rows = 0, revisions = 0;

	(void)state;
	for (int round = 0; round < STREAMS; round++) {
		uint64_t plan_seed = stage_random(&seed);
		int64_t disorder_ms = stage_below(&seed, 3000);
		struct window_plan *plan[2] = {
			plan_make("", plan_seed), plan_make(", max(metric) as high", plan_seed)};
		struct bytes out[2] = {{0}, {0}};
		const struct record *a, *b;
		size_t at[2] = {0, 0};
		struct rig_stream s;

		assert_true(agg_plain(plan[0]->def[0]->aggs) && !agg_plain(plan[1]->def[0]->aggs));
		stream_make(&s, disorder_ms, &seed);
		for (int i = 0; i < 2; i++)
			run_both(plan[i], &s, (uint64_t)disorder_ms, &out[i]);
		while ((a = rig_next(&out[0], &at[0]))) {
			b = rig_next(&out[1], &at[1]);
			assert_non_null(b);
			assert_int_equal(a->kind, b->kind);
			if (a->kind != RECORD_ROW)
				continue;
			rows_compare(plan, row_of(a), row_of(b));
			rows++;
			revisions += row_of(a)->revision > 0;
		}
		assert_int_equal(at[1], out[1].bytes);
		rig_stream_free(&s);
		for (int i = 0; i < 2; i++) {
			bytes_free(&out[i]);
			window_plan_free(plan[i]);
		}
	}
}

static void reload(void **state)
{
	uint64_t seed = 2;

	(void)state;
	for (int round = 0; round < STREAMS; round++) {
		struct window_plan *plan = plan_make("", stage_random(&seed));
		size_t memory = round % 2 ? SIZE_MAX : 3000 + stage_below(&seed, 200000);
		int64_t disorder_ms = stage_below(&seed, 3000);
		struct rig_stream s;

		if (round % 3 == 0)
			plan->def[0]->keys_max = 1 + stage_below(&seed, 20);
		stream_make(&s, disorder_ms, &seed);
		rig_check_reload(&s, plan, (uint64_t)disorder_ms, memory, &seed);
		rig_stream_free(&s);
		window_plan_free(plan);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(plain_as_others), cmocka_unit_test(reload)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
