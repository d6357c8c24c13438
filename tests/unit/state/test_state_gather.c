/* A running state stage handed to another number of partitions: what it must have come to for that, and what
 * the new one makes of it. That rows go on exactly is shown by test_stage_gather.c and in
 * tests/integration/e2e. */
#include "state_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"
#include "durable.h"

#define OLD 4
#define SEGMENT_BYTES 131072

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

/* Returns the highest watermark. */
static int64_t old_run(struct srig *r, bool raise)
{
	struct err err = {""};
	int64_t mark = INT64_MIN;
	struct batch *b;

	srig_init(r, NULL, OLD, 0, 100);
	r->rig.params.tick_ms = 1000000;
	r->rig.params.segment_bytes = SEGMENT_BYTES;
	assert_int_equal(srig_open(r, &err), 0);
	srig_start(r);
	srig_feed(r, 0, 0, 6000);
	srig_feed(r, 1, 0, 6000);
	b = rig_batch(&r->rig, 0, 0); /* one partition runs ahead */
	b->receive_last_ms = r->start_ms + 80000;
	assert_true(rig_event(&r->rig, b, 1u << 30, b->receive_last_ms, b->receive_last_ms));
	rig_seal(&r->rig, b);
	for (uint32_t p = 0; p < OLD; p++)
		rig_settle(&r->rig, p);
	assert_true(srig_settle(r));
	for (uint32_t p = 0; p < OLD; p++)
		if (rig_stats(&r->rig, p).watermark_ms > mark)
			mark = rig_stats(&r->rig, p).watermark_ms;
	if (raise && journal_tick(r->rig.journal, mark, 5000, &err) != 0)
		fail_msg("%s", err.text);
	srig_stop(r, 30000);
	return mark;
}

/* Journals of the new epoch in r->dir/next; fills what state_gather() wants. */
static void next_make(struct srig *r, uint32_t partitions, struct state_gather_to *to, char state_dir[200])
{
	struct journal_params p = r->rig.params;
	struct journal *j;
	struct err err = {""};

	snprintf(p.dir, sizeof p.dir, "%.120s/next/journal", r->dir);
	p.partitions = partitions;
	p.before = journal_epoch(r->rig.journal);
	assert_int_equal(journal_open(&j, &p, &err), 0);
	to->input_epoch = journal_epoch(j);
	journal_close(j);
	state_output_params(&r->cfg, partitions, &p);
	snprintf(p.dir, sizeof p.dir, "%.120s/next/output", r->dir);
	snprintf(p.node, sizeof p.node, "%s", r->rig.params.node);
	p.before = journal_epoch(state_output(r->state));
	assert_int_equal(journal_open(&j, &p, &err), 0);
	to->output_epoch = journal_epoch(j);
	journal_close(j);
	snprintf(state_dir, 200, "%.120s/next/state", r->dir);
	to->state_dir = state_dir;
	to->partitions = partitions;
}

static void partitions_apart_are_refused(void **state)
{
	struct state_gather_to to;
	struct err err = {""};
	char dir[200];
	struct srig r;

	(void)state;
	(void)old_run(&r, false);
	next_make(&r, 3, &to, dir);
	/* Its rows wait for the others. */
	if (state_gather(r.state, &to, &err) != -EIO || !strstr(err.text, "is not merged yet"))
		fail_msg("%s", err.text);
	srig_close(&r);
	srig_free(&r);
}

static void one_that_has_not_ended_is_refused(void **state)
{
	struct state_gather_to to;
	struct err err = {""};
	char dir[200];
	struct srig r;

	(void)state;
	srig_init(&r, NULL, OLD, 0, 100);
	assert_int_equal(srig_open(&r, &err), 0);
	srig_start(&r);
	next_make(&r, 3, &to, dir);
	assert_int_equal(state_gather(r.state, &to, &err), -EIO);
	srig_stop(&r, 30000);
	srig_close(&r);
	srig_free(&r);
}

static uint64_t sum_events(struct srig *r)
{
	uint64_t sum = 0;

	for (uint32_t p = 0; p < r->rig.params.partitions; p++) {
		struct state_part_stats s;

		state_part_stats(r->state, p, &s);
		sum += s.stage.events;
	}
	return sum;
}

/* Where one partition has lost its beginning none begins with what was left to it: that fits no more. */
static void assert_begins_empty(const char *dir, uint32_t partitions)
{
	struct state_replay_params params = {0};
	struct state_replay_result result = {0};
	struct err err = {""};

	command("mv %s/journal/p0/seg-0000000001.log %s/away", dir, dir);
	if (srig_replay(dir, &params, &result, &err) != 0)
		fail_msg("%s", err.text);
	for (uint32_t p = 0; p < partitions; p++) {
		const struct state_replay_log *log = &result.log[p];

		assert_int_equal(log->first_offset > 0, p == 0);
		assert_non_null(strstr(log->begin, "windows that began before are incomplete"));
		if (p > 0) /* at its place the savepoint holds */
			assert_non_null(strstr(log->begin, ".save"));
		assert_int_equal(log->passed_over, 0);
		assert_true(log->events > 0);
	}
	assert_true(result.log[partitions].emitted > 0);
	free(result.log);
	command("mv %s/away %s/journal/p0/seg-0000000001.log", dir, dir);
}

/* To a smaller and a larger number: it starts, counts on, its replay agrees with its log; and it does not
 * begin empty when its checkpoints are lost. */
static void a_new_number_goes_on(void **state)
{
	static const uint32_t counts[] = {3, 6};
	struct err err = {""};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct state_gather_to to;
		struct checkpoint_entry *list;
		struct srig_check check;
		struct srig r, n;
		char dir[200], next[160];
		uint32_t count, good = 0;
		int64_t mark;
		uint64_t events;

		mark = old_run(&r, true);
		next_make(&r, counts[i], &to, dir);
		if (state_gather(r.state, &to, &err) != 0)
			fail_msg("%s", err.text);
		events = sum_events(&r);
		assert_true(events > 5000);
		srig_close(&r);
		snprintf(next, sizeof next, "%.120s/next", r.dir);
		snprintf(dir, sizeof dir, "%.150s/state/checkpoints", next);
		assert_int_equal(checkpoint_list(dir, &list, &count, &err), 0);
		for (uint32_t k = 0; k < count; k++)
			good += list[k].good && list[k].info.partitions == counts[i];
		free(list);
		assert_int_equal(good, counts[i] + 1);

		srig_init(&n, next, counts[i], 0, 100);
		n.rig.params.segment_bytes = SEGMENT_BYTES;
		for (int round = 0; round < 2; round++) {
			if (srig_open(&n, &err) != 0)
				fail_msg("%s", err.text);
			srig_start(&n);
			n.start_ms = mark + 5000 + round * 30000;
			srig_feed(&n, 0, 10000 + (uint64_t)round * 3000, 3000);
			srig_feed(&n, 1, 10000 + (uint64_t)round * 3000, 3000);
			for (uint32_t p = 0; p < counts[i]; p++)
				rig_settle(&n.rig, p);
			assert_true(srig_settle(&n));
			events += 3000;
			assert_int_equal(sum_events(&n), events);
			srig_stop(&n, 30000);
			srig_close(&n);
			if (!srig_check(next, NULL, NULL, &check) || !check.complete)
				fail_msg("%s", check.fault);
			assert_true(check.merged > 0);
		}
		assert_begins_empty(next, counts[i]);
		command("rm -f %s/state/checkpoints/p1-*.ckpt", next);
		if (srig_open(&n, &err) != 0) /* from the savepoint */
			fail_msg("%s", err.text);
		srig_start(&n);
		assert_true(srig_settle(&n));
		srig_stop(&n, 30000);
		srig_close(&n);
		command("rm -f %s/state/checkpoints/p1-*", next);
		if (srig_check(next, NULL, NULL, &check) || !strstr(check.fault, "is gone"))
			fail_msg("%s", check.fault);
		assert_int_equal(srig_open(&n, &err), -EINVAL);
		assert_non_null(strstr(err.text, "does not begin empty"));
		handoff_free(&n.rig.handoff);
		srig_free(&r);
	}
}

/* A newer checkpoint of `who` than any that is written there, of what cannot be loaded. */
static void spoil(const char *state_dir, uint32_t who)
{
	char dir[240];
	struct checkpoint_info info;
	struct bytes body = {0};
	struct err err = {""};

	snprintf(dir, sizeof dir, "%.200s/checkpoints", state_dir);
	assert_int_equal(checkpoint_read_newest(dir, who, &info, &body, &err), 0);
	command("rm -f %s/*", dir);
	info.seq++;
	bytes_put_u8(&body, 0);
	info.body_bytes = body.bytes;
	assert_int_equal(checkpoint_write(dir, &info, &body, &err), 0);
	bytes_free(&body);
}

/* What a start would not begin with is refused while the state before is whole. */
static void one_that_does_not_load_is_refused(void **state)
{
	static const struct {
		uint32_t who;
		const char *text;
	} bad[] = {{1, "the new checkpoint of partition 1 cannot be loaded: "},
		{CHECKPOINT_MERGE, "the merge's new checkpoint cannot be loaded: "}};
	struct state_gather_to to;
	struct err err = {""};
	char dir[200];
	struct srig r;

	(void)state;
	(void)old_run(&r, true);
	next_make(&r, 3, &to, dir);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(state_gather(r.state, &to, &err), 0);
		spoil(dir, bad[i].who);
		assert_int_equal(state_gather(r.state, &to, &err), -EINVAL);
		if (strncmp(err.text, bad[i].text, strlen(bad[i].text)) != 0)
			fail_msg("%s", err.text);
		command("rm -f %s/checkpoints/*", dir);
	}
	srig_close(&r);
	srig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(partitions_apart_are_refused),
		cmocka_unit_test(one_that_has_not_ended_is_refused),
		cmocka_unit_test(one_that_does_not_load_is_refused),
		cmocka_unit_test(a_new_number_goes_on),
	};

	rig_eal("gather");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
