/* The merge's memory, on which its rows depend, while the configured one changes from run to run: a replay,
 * from any checkpoint or of the whole journal, changes over where the runs did. */
#include "state_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void command(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void command(const char *format, ...)
{
	char text[800];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	assert_int_equal(system(text), 0);
}

static void assert_check(struct srig *r)
{
	struct srig_check c;

	if (!srig_check(r->dir, NULL, NULL, &c))
		fail_msg("%s", c.fault);
	assert_true(c.complete);
	assert_true(c.compared > 1000);
}

/* Rows that depend on the merge's memory: windows that late events revise, and groups' baselines. */
static void memory_init(struct srig *r)
{
	static const char text[] = "node: {id: state-test}\n"
				   "windows:\n"
				   "  - {name: users, kind: tumbling, size: 1s, by: user_id, lateness: 1h,\n"
				   "     aggregates: \"count, distinct(metric), quantiles(metric), "
				   "first(page), variance(metric)\",\n"
				   "     anomaly: \"zscore(count,10,2); seasonal(count,1h,4)\"}\n";
	struct err err = {""};
	struct config cfg;

	srig_init(r, NULL, 2, 0, 3600000);
	r->rig.params.tick_ms = 1000000;
	r->cfg.state.segments_max = 100;
	if (config_parse(&cfg, text, strlen(text), "test", &err) != 0)
		fail_msg("%s", err.text);
	memcpy(r->cfg.windows, cfg.windows, sizeof cfg.windows);
	r->cfg.windows_count = cfg.windows_count;
}

static struct state_stats run(struct srig *r, uint64_t memory, uint64_t first, uint64_t count)
{
	struct state_stats all;
	struct err err = {""};

	r->cfg.state.memory = memory;
	if (srig_open(r, &err) != 0)
		fail_msg("%s", err.text);
	srig_start(r);
	srig_feed(r, 0, first, count);
	srig_feed(r, 1, first, count);
	assert_true(srig_settle(r));
	srig_stop(r, 30000);
	state_stats(r->state, &all);
	assert_string_equal(all.merge_error, "");
	assert_int_equal(all.merge_phase, STATE_STOPPED);
	srig_close(r);
	return all;
}

/* What a kill leaves that comes before any checkpoint of the run: those of before, and all that is durable.
 */
static struct state_stats run_killed(struct srig *r, uint64_t memory, uint64_t first, uint64_t count)
{
	struct state_stats all;

	command("cp -r %s/state/checkpoints %s/kept", r->dir, r->dir);
	all = run(r, memory, first, count);
	command("rm -r %s/state/checkpoints && mv %s/kept %s/state/checkpoints", r->dir, r->dir, r->dir);
	return all;
}

static void memory_may_change_after_a_kill(void **state)
{
	static const uint64_t memory[] = {1 << 20, 4 << 20, 2 << 20, 1 << 20, 8 << 20, 1 << 20, 1 << 20};
	struct state_stats all;
	struct srig_check c;
	struct srig r;

	(void)state;
	memory_init(&r);
	run(&r, 1 << 20, 0, 6000);
	for (uint64_t i = 0; i < 7; i++) {
		/* One change that nothing comes under. */
		all = run_killed(&r, memory[i], (i + 1) * 100000, i == 2 ? 0 : 9000);
		assert_int_equal(all.merge_mismatches, 0);
		assert_true(i == 0 || all.merge_compared > 1000);
	}
	assert_true(all.merge.late_lost > 0 && all.merge.groups_evicted > 0 && all.merge.groups_refused > 0);
	run(&r, 1 << 20, 1000000, 9000);
	assert_check(&r);
	/* It does depend on it. */
	command("rm %s/state/merge-memory", r.dir);
	assert_false(srig_check(r.dir, NULL, NULL, &c));
	assert_true(c.differing > 0);
	srig_free(&r);
}

static void memory_may_change_after_a_stop(void **state)
{
	static const uint64_t memory[] = {1 << 20, 8 << 20, 1 << 20, 8 << 20, 1 << 20};
	struct srig r;

	(void)state;
	memory_init(&r);
	for (uint64_t i = 0; i < 5; i++)
		run(&r, memory[i], i * 100000, 9000);
	assert_check(&r);
	srig_free(&r);
}

/* A version that did not write down when it changed took what its notes say. */
static void memory_of_an_older_version_is_that_of_its_notes(void **state)
{
	struct srig r;

	(void)state;
	memory_init(&r);
	run(&r, 1 << 20, 0, 6000);
	run_killed(&r, 1 << 20, 100000, 9000);
	command("rm %s/state/merge-memory", r.dir);
	assert_check(&r);
	run_killed(&r, 8 << 20, 200000, 9000);
	run_killed(&r, 1 << 20, 300000, 9000);
	assert_check(&r);
	srig_free(&r);
}

static void a_damaged_file_is_refused(void **state)
{
	struct err err = {""};
	struct srig r;

	(void)state;
	memory_init(&r);
	run(&r, 1 << 20, 0, 1000);
	command("echo >> %s/state/merge-memory", r.dir);
	assert_int_equal(srig_open(&r, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "/state/merge-memory: damaged, or of a newer version"));
	srig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_may_change_after_a_kill),
		cmocka_unit_test(memory_may_change_after_a_stop),
		cmocka_unit_test(memory_of_an_older_version_is_that_of_its_notes),
		cmocka_unit_test(a_damaged_file_is_refused),
	};

	rig_eal("memory");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
