/* Offline replay of a journal whose beginning is gone, and with it the note that named the definitions: which
 * ones it takes instead, that it says so, and that nothing is passed over unsaid. */
#include "state_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "state_priv.h"

struct looked {
	struct state_replay_result result;
	const struct state_replay_params *params;
	bool wanted;	  /* rows of a window of this name were emitted */
	const char *name; /* NULL: none is looked for */
	struct err err;
	int rc;
};

static void shell(const char *format, const char *dir)
{
	char text[800];

	snprintf(text, sizeof text, format, dir, dir);
	assert_int_equal(system(text), 0);
}

static int look_row(void *arg, uint32_t partition, uint64_t offset, const struct record *rec)
{
	struct looked *l = arg;
	const struct window_def *def;
	struct row_walk walk;
	struct err err;

	(void)partition;
	(void)offset;
	if (!l->name || rec->kind != RECORD_ROW || rec->type != ROW_PARTIALS)
		return 0;
	row_walk_first(&walk, rec);
	do {
		struct bytes one = {0};

		row_walk_put(&walk, rec->receive_time_ms, &one);
		def = window_store_get(
			l->params->windows, row_of((const struct record *)one.data)->window_uid, &err);
		l->wanted |= def && strcmp(def->name, l->name) == 0;
		bytes_free(&one);
	} while (row_walk_next(&walk));
	return 0;
}

static struct looked replay(const struct srig *r, const char *name)
{
	struct state_replay_params params = {.emit = look_row};
	struct looked l = {.name = name, .params = &params};

	params.arg = &l;
	l.rc = srig_replay(r->dir, &params, &l.result, &l.err);
	return l;
}

static void run_once(struct srig *r, uint64_t first, uint64_t count, const char *savepoint)
{
	struct err err = {""};

	if (srig_open(r, &err) != 0)
		fail_msg("%s", err.text);
	srig_start(r);
	srig_feed(r, 0, first, count);
	srig_feed(r, 1, first, count);
	assert_true(srig_settle(r));
	if (savepoint)
		assert_int_equal(state_checkpoint(r->state, savepoint, 30000, &err), 0);
	srig_stop(r, 30000);
	srig_close(r);
}

/* Two partitions of several segments each, all kept. */
static void init(struct srig *r)
{
	srig_init(r, NULL, 2, 0, 100);
	r->rig.params.segment_bytes = 131072;
}

/* What happens to the segment that is used again. */
static void first_segment_away(const struct srig *r, uint32_t partition)
{
	char format[200];

	snprintf(format, sizeof format,
		"cd '%%s/journal/p%u' && first=$(ls seg-*.log | head -1) && rm \"${first%%%%.log}\".*",
		partition);
	shell(format, r->dir);
}

static void no_checkpoints(const struct srig *r)
{
	shell("rm '%s'/state/checkpoints/*", r->dir);
}

static uint64_t kept_events(const struct srig *r, uint32_t partition)
{
	char dir[160];
	struct rig_log log;
	uint64_t events;

	snprintf(dir, sizeof dir, "%s/journal", r->dir);
	assert_true(rig_scan(dir, partition, &log));
	events = log.kinds[RECORD_EVENT];
	rig_log_free(&log);
	return events;
}

/* Replayed whole from the first record that is kept on. */
static void assert_begins(const struct srig *r, const struct looked *l, uint32_t partition, const char *with)
{
	const struct state_replay_log *log = &l->result.log[partition];
	char offset[64];

	snprintf(offset, sizeof offset, "begins at offset %" PRIu64 ";", log->first_offset);
	assert_true(log->first_offset > 0);
	if (!strstr(log->begin, offset) || !strstr(log->begin, "incomplete") || !strstr(log->begin, with))
		fail_msg("'%s' expected: %s", with, log->begin);
	assert_int_equal(log->passed_over, 0);
	assert_true(log->events > 0);
	assert_int_equal(log->events, kept_events(r, partition));
	assert_true(log->kinds[RECORD_ROW] > 0);
}

static void assert_intact(const struct srig *r, const struct looked *l, uint32_t partition)
{
	const struct state_replay_log *log = &l->result.log[partition];

	assert_string_equal(log->begin, "");
	assert_int_equal(log->first_offset, 0);
	assert_int_equal(log->passed_over, 0);
	assert_int_equal(log->events, kept_events(r, partition));
}

static bool says(const struct looked *l, uint32_t partition, const char *what)
{
	return strstr(l->result.log[partition].begin, what) != NULL;
}

/* ---- tests ---- */

static void a_checkpoint_names_what_was_in_force(void **state)
{
	struct looked whole, l;
	struct srig r;

	(void)state;
	init(&r);
	run_once(&r, 0, 6000, NULL);
	whole = replay(&r, NULL);
	assert_int_equal(whole.rc, 0);
	assert_intact(&r, &whole, 0);
	assert_intact(&r, &whole, 1);
	first_segment_away(&r, 1);
	l = replay(&r, NULL);
	assert_int_equal(l.rc, 0);
	assert_intact(&r, &l, 0);
	assert_begins(&r, &l, 1, "definitions taken from checkpoint p1-");
	assert_false(says(&l, 1, "others may"));
	/* The intact one is what it was. */
	assert_int_equal(l.result.log[0].crc, whole.result.log[0].crc);
	assert_int_equal(l.result.log[0].emitted, whole.result.log[0].emitted);
	free(l.result.log);
	first_segment_away(&r, 0);
	l = replay(&r, NULL);
	assert_int_equal(l.rc, 0);
	assert_begins(&r, &l, 0, "definitions taken from checkpoint p0-");
	assert_begins(&r, &l, 1, "definitions taken from checkpoint p1-");
	assert_true(l.result.log[2].kinds[RECORD_ROW] > 0);
	free(l.result.log);
	free(whole.result.log);
	srig_free(&r);
}

static void without_one_a_note_that_is_kept_does(void **state)
{
	struct looked l;
	struct srig r;

	(void)state;
	init(&r);
	run_once(&r, 0, 6000, NULL);
	no_checkpoints(&r);
	first_segment_away(&r, 1);
	l = replay(&r, NULL);
	assert_int_equal(l.rc, 0);
	assert_begins(&r, &l, 1, "the first note of partition 0, others may have been in force");
	free(l.result.log);
	first_segment_away(&r, 0);
	l = replay(&r, NULL);
	assert_int_equal(l.rc, -ENOENT);
	assert_non_null(strstr(l.err.text, "its beginning is gone"));
	free(l.result.log);
	srig_free(&r);
}

/* Other definitions came behind the first record that is kept. */
static void definitions_that_changed(void **state)
{
	struct looked l;
	struct srig r, second;

	(void)state;
	init(&r);
	run_once(&r, 0, 6000, "x");
	srig_init(&second, r.dir, 2, 1, 100);
	second.rig.params.segment_bytes = 131072;
	run_once(&second, 1000000, 3000, NULL);
	first_segment_away(&r, 0);
	first_segment_away(&r, 1);
	/* The savepoint stands before the note that changed them. */
	l = replay(&r, "visits");
	assert_int_equal(l.rc, 0);
	assert_begins(&r, &l, 1, "definitions taken from checkpoint p1-");
	assert_true(says(&l, 1, ".save") && !says(&l, 1, "others may") && l.wanted);
	free(l.result.log);
	/* Checkpoints behind it say nothing of what was before; nor does the note, but it is nearest. */
	no_checkpoints(&r);
	l = replay(&r, "visits");
	assert_int_equal(l.rc, 0);
	assert_begins(&r, &l, 1, "definitions taken from the note at offset ");
	assert_true(says(&l, 1, "others may") && !l.wanted);
	free(l.result.log);
	handoff_free(&second.rig.handoff);
	srig_free(&r);
}

/* A checkpoint says that there were none: what came before the first note is in no row, and is counted. */
static void what_is_passed_over_is_counted(void **state)
{
	struct checkpoint_info info = {.node = "state-test", .who = 1, .seq = 9, .partitions = 2};
	struct bytes body = {0};
	struct journal_meta meta;
	struct state_terms terms;
	struct err err = {""};
	struct looked l;
	struct srig r;
	char dir[160];

	(void)state;
	init(&r);
	run_once(&r, 0, 6000, NULL);
	no_checkpoints(&r);
	first_segment_away(&r, 1);
	snprintf(dir, sizeof dir, "%s/journal", r.dir);
	assert_int_equal(journal_meta_read(dir, &meta, &err), 0);
	memset(&terms, 0, sizeof terms);
	terms.step_ms = info.step_ms = 1000;
	part_body(&terms, NULL, &body);
	info.input_epoch = meta.epoch;
	info.input_offset = 1000000; /* behind all that is kept */
	info.body_bytes = body.bytes;
	snprintf(dir, sizeof dir, "%s/state/checkpoints", r.dir);
	assert_int_equal(checkpoint_write(dir, &info, &body, &err), 0);
	bytes_free(&body);
	l = replay(&r, NULL);
	assert_int_equal(l.rc, 0);
	assert_true(says(&l, 1, "no definitions were in force: checkpoint p1-"));
	assert_int_equal(l.result.log[1].events, 0);
	assert_int_equal(l.result.log[1].passed_over, kept_events(&r, 1));
	assert_intact(&r, &l, 0);
	free(l.result.log);
	srig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_checkpoint_names_what_was_in_force),
		cmocka_unit_test(without_one_a_note_that_is_kept_does),
		cmocka_unit_test(definitions_that_changed),
		cmocka_unit_test(what_is_passed_over_is_counted),
	};

	rig_eal("begin");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
