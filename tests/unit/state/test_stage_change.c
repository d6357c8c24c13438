/* A saved state into a plan with other definitions: what is defined as before goes on as if nothing had
 * happened, what is new begins empty and says from when on it is whole, and the log stays in order. */
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
			assert_true(rec->event_time_ms > mark || rec->payload_bytes);
			assert_true(rec->event_time_ms >= mark);
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

/* The next row of this definition whose window starts there or later; NULL at the end. */
static const struct record *next_of(const struct bytes *out, size_t *at, uint64_t uid, int64_t from_ms)
{
	const struct record *rec;

	while ((rec = rig_next(out, at)))
		if (rec->kind == RECORD_ROW && row_of(rec)->window_uid == uid &&
			row_of(rec)->start_ms >= from_ms)
			return rec;
	return NULL;
}

/* Those rows are the same in both. Returns how many. */
static uint64_t check_same(
	const struct bytes *changed, const struct bytes *straight, uint64_t uid, int64_t from_ms)
{
	const struct record *a, *b;
	size_t at_a = 0, at_b = 0;
	uint64_t count = 0;

	for (;; count++) {
		a = next_of(changed, &at_a, uid, from_ms);
		b = next_of(straight, &at_b, uid, from_ms);
		assert_true(!a == !b);
		if (!a)
			return count;
		assert_int_equal(a->bytes, b->bytes);
		assert_memory_equal(a, b, a->bytes);
	}
}

static void check_unchanged(const struct window_plan *before, const struct window_plan *after,
	const struct bytes *changed, const struct bytes *straight)
{
	for (uint32_t i = 0; i < before->count; i++)
		if (window_plan_find(after, before->def[i]->uid))
			check_same(changed, straight, before->def[i]->uid, INT64_MIN);
}

/* What is said to be whole is what a run has that had the definitions from the first event on. */
static uint64_t check_begun(const struct window_plan *before, const struct window_plan *after,
	const struct bytes *changed, const struct bytes *straight, bool first)
{
	const struct row_definition *list = NULL;
	const struct record *rec;
	uint64_t same = 0;
	uint32_t count = 0;
	size_t at = 0;

	while (!list && (rec = rig_next(changed, &at)))
		if (rec->kind == RECORD_MARK)
			list = row_definitions(rec, &count);
	assert_non_null(list);
	assert_int_equal(count, after->count);
	for (uint32_t i = 0; i < count; i++) {
		const struct window_def *def = after->def[i];

		assert_int_equal(list[i].uid, def->uid);
		assert_int_equal(
			list[i].from_ms == INT64_MIN, first || window_plan_find(before, def->uid) != NULL);
		/* an attempt that a user had begun before would take in what begins one now */
		if (!window_plan_find(before, def->uid) && def->kind != WINDOW_FUNNEL)
			same += check_same(changed, straight, def->uid, list[i].from_ms);
	}
	return same;
}

static void definitions_change_between_blocks(void **state)
{
	uint64_t seed = 20260101, begun = 0;

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
		struct journal_block note = {.watermark_ms = INT64_MIN};
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
		assert_int_equal(stage_definitions(next, &note), 0);
		rig_run(next, &stream, at, stream.blocks);
		stage_free(next);
		check_order(&changed);
		st = rig_stage(before, LATE_MS, 64 << 20, &straight);
		rig_run(st, &stream, 0, stream.blocks);
		check_unchanged(before, after, &changed, &straight);
		stage_free(st);
		bytes_reset(&straight);
		st = rig_stage(after, LATE_MS, 64 << 20, &straight);
		rig_run(st, &stream, 0, stream.blocks);
		begun += check_begun(before, after, &changed, &straight, at == 0);
		stage_free(st);
		window_plan_free(before);
		window_plan_free(after);
		bytes_free(&changed);
		bytes_free(&straight);
		bytes_free(&saved);
		rig_stream_free(&stream);
	}
	assert_true(begun > 1000);
}

/* Without a state: all begin behind what the journal had, or whole, where it had nothing. */
static void the_first_note_says_what_was_before(void **state)
{
	static const int64_t marks[] = {INT64_MIN, RIG_TIME};
	const struct row_definition *list;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct window_plan *plan = plan_of((1u << DEFINITIONS) - 1);
		const struct journal_block note = {.watermark_ms = marks[i], .receive_last_ms = RIG_TIME + 9};
		struct bytes out = {0};
		struct stage *st = rig_stage(plan, LATE_MS, 64 << 20, &out);
		const struct record *rec;
		uint32_t count;

		for (int again = 0; again < 2; again++) {
			bytes_reset(&out);
			assert_int_equal(stage_definitions(st, &note), 0);
			rec = (const struct record *)out.data;
			assert_int_equal(rec->event_time_ms, INT64_MIN); /* no step yet */
			assert_int_equal(rec->receive_time_ms, RIG_TIME + 9);
			list = row_definitions(rec, &count);
			assert_int_equal(count, DEFINITIONS);
			for (uint32_t k = 0; k < count; k++) {
				int64_t from_ms = RIG_TIME + LATE_MS + 1;

				from_ms += plan->def[k]->kind == WINDOW_SESSION ? plan->def[k]->gap_ms : 0;
				assert_int_equal(list[k].from_ms, i && !again ? from_ms : INT64_MIN);
			}
		}
		assert_int_equal(stage_stats(st)->marks, 2);
		stage_free(st);
		window_plan_free(plan);
		bytes_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(definitions_change_between_blocks),
		cmocka_unit_test(the_first_note_says_what_was_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
