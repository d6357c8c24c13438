/* What the stage says of the listeners that its events came from. */
#include "stage_rig.h"

/* A listener from which nothing came for longer than source_idle_ms, by receive times of blocks. */
static void test_idle_sources(void **state)
{
	static const struct {
		uint16_t port; /* 0: a tick */
		int64_t receive_ms;
		bool idle[2]; /* behind this block: port 4000, port 4001 */
	} row[] = {{4000, 0, {false, false}}, {4001, 1000, {false, false}}, {4001, 1001, {true, false}},
		{0, 5000, {true, true}}, {4000, 5000, {false, true}}, {0, 6000, {false, true}},
		{4001, 6001, {true, false}}};
	const char *const text[] = {"name=w kind=tumbling size=1s by=user_id aggregates='count'"};
	struct window_plan *plan = rig_plan(1000, 1, text);
	struct rig_stream s = {0};
	struct bytes out = {0};
	struct stage *st = rig_stage(plan, 0, SIZE_MAX, &out);
	const uint32_t rows = sizeof row / sizeof *row;

	(void)state;
	for (uint32_t i = 0; i < rows; i++) {
		int64_t at = RIG_TIME + row[i].receive_ms;

		rig_stream_put(&s, &(struct rig_event){.kind = row[i].port ? RECORD_EVENT : RECORD_TICK,
					   .type = EVENT_TYPE_click,
					   .time_ms = at,
					   .receive_ms = at,
					   .amount = INT64_MIN,
					   .port = row[i].port});
		rig_block_end(&s, INT64_MIN);
	}
	for (uint32_t i = 0; i < rows; i++) {
		const struct stage_stats *stats = stage_stats(st);

		rig_run(st, &s, i, i + 1);
		assert_int_equal(stats->source[0].port, 4000);
		for (uint32_t k = 0; k < stats->source_count; k++)
			if (stats->source[k].idle != row[i].idle[k])
				fail_msg("block %u: source %u is%s idle", i, k,
					stats->source[k].idle ? "" : " not");
	}
	assert_int_equal(stage_stats(st)->source_count, 2);
	stage_free(st);
	bytes_free(&out);
	rig_stream_free(&s);
	window_plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_idle_sources)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
