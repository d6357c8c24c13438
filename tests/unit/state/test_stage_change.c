/* A saved state into a plan with other definitions: what is defined as before goes on as if nothing had
 * happened, what is new begins empty, and the log stays in order. */
#include "stage_rig.h"

#include <string.h>

#define STREAMS 60
#define LATE_MS 2000

/* Definitions of all kinds; each stream changes from some of them to others. */
static const char *const definitions[] = {
	"name=a kind=tumbling size=3s by=page aggregates='count'",
	"name=b kind=tumbling size=5s by=user_id lateness=4s aggregates='count, sum(metric)'",
	"name=c kind=hopping size=10s slide=2s by=page aggregates='count'",
	"name=d kind=hopping size=6s slide=1s lateness=3s aggregates='count, distinct(user_id)'",
	"name=e kind=session gap=2s by=user_id aggregates='count'",
	"name=f kind=funnel size=5s within=9s by=user_id steps='first: page = /p0; second: page = /p1'",
};
#define DEFINITIONS (sizeof definitions / sizeof *definitions)

static struct window_plan *plan_of(uint32_t mask)
{
	const char *list[DEFINITIONS];
	uint32_t count = 0;

	for (uint32_t i = 0; i < DEFINITIONS; i++)
		if (mask >> i & 1)
			list[count++] = definitions[i];
	return rig_plan(1000, count, list);
}

/* Marks ascend; rows belong to a step after the last mark, in order. */
static void check_order(const struct bytes *out)
{
	const struct record *rec;
	const struct row *before = NULL;
	int64_t mark = INT64_MIN;
	size_t at = 0;

	while ((rec = rig_next(out, &at))) {
		if (rec->kind == RECORD_MARK) {
			assert_true(rec->event_time_ms > mark);
			mark = rec->event_time_ms;
			before = NULL;
		}
		if (rec->kind != RECORD_ROW)
			continue;
		assert_true(row_of(rec)->step_ms > mark);
		if (before)
			assert_true(row_compare(before, row_of(rec)) < 0);
		before = row_of(rec);
	}
}

/* The next row of this definition; NULL at the end. */
static const struct record *next_of(const struct bytes *out, size_t *at, uint64_t uid)
{
	const struct record *rec;

	while ((rec = rig_next(out, at)))
		if (rec->kind == RECORD_ROW && row_of(rec)->window_uid == uid)
			return rec;
	return NULL;
}

static void check_unchanged(const struct window_plan *before, const struct window_plan *after,
	const struct bytes *changed, const struct bytes *straight)
{
	for (uint32_t i = 0; i < before->count; i++) {
		uint64_t uid = before->def[i]->uid;
		const struct record *a, *b;
		size_t at_a = 0, at_b = 0;

		if (!window_plan_find(after, uid))
			continue;
		do {
			a = next_of(changed, &at_a, uid);
			b = next_of(straight, &at_b, uid);
			assert_true(!a == !b);
			if (a) {
				assert_int_equal(a->bytes, b->bytes);
				assert_memory_equal(a, b, a->bytes);
			}
		} while (a);
	}
}

static void definitions_change_between_blocks(void **state)
{
	uint64_t seed = 20260101;

	(void)state;
	for (uint32_t n = 0; n < STREAMS; n++) {
		const struct rig_shape shape = {.events = 2500,
			.users = 12,
			.pages = 4,
			.disorder_ms = LATE_MS,
			.pace_ms = 40,
			.block_events = 1 + stage_below(&seed, 40)};
		uint32_t all = (1u << DEFINITIONS) - 1, first = 1 + stage_below(&seed, all),
			 second = 1 + stage_below(&seed, all), at, dropped = 0;
		struct window_plan *before = plan_of(first), *after = plan_of(second);
		struct bytes changed = {0}, straight = {0}, saved = {0};
		struct rig_stream stream = {0};
		struct stage *st, *next;
		struct err err = {""};

		rig_stream_make(&stream, &shape, &seed);
		at = stage_below(&seed, stream.blocks + 1);
		st = rig_stage(before, LATE_MS, 64 << 20, &changed);
		rig_run(st, &stream, 0, at);
		stage_save(st, &saved);
		next = rig_stage(after, LATE_MS, 64 << 20, &changed);
		if (stage_load(next, saved.data, saved.bytes, &dropped, &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(dropped, __builtin_popcount(first & ~second));
		stage_free(st);
		rig_run(next, &stream, at, stream.blocks);
		stage_free(next);
		check_order(&changed);
		st = rig_stage(before, LATE_MS, 64 << 20, &straight);
		rig_run(st, &stream, 0, stream.blocks);
		check_unchanged(before, after, &changed, &straight);
		stage_free(st);
		window_plan_free(before);
		window_plan_free(after);
		bytes_free(&changed);
		bytes_free(&straight);
		bytes_free(&saved);
		rig_stream_free(&stream);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(definitions_change_between_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
