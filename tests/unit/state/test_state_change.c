/* Definitions that change while partitions stand seconds of event time apart, in the running stage: each row
 * that comes out has the events of all partitions, what is defined as before misses none, and the log is that
 * of an offline replay. */
#include "state_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS 4
#define EVENT_MS 100
#define SECOND_EVENTS (PARTS * 1000 / EVENT_MS) /* of all partitions */
#define NAMES 4

static const char *const five = "  - {name: five, size: 5s, aggregates: count}\n"
				"  - {name: two, size: 2s, lateness: 4s, aggregates: count}\n";
static const char *const ten = "  - {name: two, size: 2s, lateness: 4s, aggregates: count}\n"
			       "  - {name: ten, kind: hopping, size: 10s, slide: 1s, aggregates: count}\n";

struct change {
	struct srig r;
	uint64_t id;
	int64_t start_ms, at_ms[PARTS]; /* a multiple of 10 s; up to where there are events */
	bool old_note;			/* runs post one more note, as a version before did */
	bool torn;			/* rows need not be whole */
	uint32_t named;			/* marks with definitions */
	struct window_store *store;
	const char *name[NAMES];
	uint64_t rows[NAMES];
	int64_t first_ms[NAMES], last_ms[NAMES]; /* start of the first row; end of the last one */
};

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

static void windows_set(struct change *c, const char *list)
{
	struct config cfg;
	struct err err = {""};
	char text[1000];

	snprintf(text, sizeof text, "node: {id: state-test}\nwindows:\n%s", list);
	if (config_parse(&cfg, text, strlen(text), "test", &err) != 0)
		fail_msg("%s", err.text);
	memcpy(c->r.cfg.windows, cfg.windows, sizeof cfg.windows);
	c->r.cfg.windows_count = cfg.windows_count;
}

static void feed(struct change *c, uint32_t partition, int64_t to_ms)
{
	struct rig *rig = &c->r.rig;
	struct batch *b = rig_batch(rig, 0, partition);

	for (; c->at_ms[partition] < to_ms; c->at_ms[partition] += EVENT_MS) {
		int64_t t = c->at_ms[partition];

		if (!rig_event(rig, b, ++c->id, t, t)) {
			rig_seal(rig, b);
			b = rig_batch(rig, 0, partition);
			assert_true(rig_event(rig, b, c->id, t, t));
		}
		b->watermark_base_ms = b->receive_last_ms = t;
	}
	rig_seal(rig, b);
}

/* A note as those that put out no marks of definitions wrote it. */
static void note_old(struct change *c)
{
	static const char marks[] = " marks=1";
	char text[JOURNAL_NOTE_MAX + 1], *at;
	struct window_plan *plan;
	struct state_terms terms;
	struct err err;

	assert_int_equal(window_plan_make(&plan, &c->r.cfg, &err), 0);
	state_terms_make(&terms, &c->r.cfg, plan);
	window_plan_free(plan);
	state_terms_print(&terms, text);
	at = strstr(text, marks);
	assert_non_null(at);
	memmove(at, at + sizeof marks - 1, strlen(at + sizeof marks - 1) + 1);
	assert_int_equal(journal_note(c->r.rig.journal, text, 60000, &err), 0);
}

/* Partition p has events up to `seconds` less `apart` * p. */
static void run(struct change *c, const char *list, int64_t seconds, int64_t apart)
{
	struct state_stats all;
	struct err err = {""};

	windows_set(c, list);
	if (srig_open(&c->r, &err) != 0)
		fail_msg("%s", err.text);
	srig_start(&c->r);
	if (c->old_note)
		note_old(c);
	if (!c->start_ms) {
		c->start_ms = (c->r.start_ms / 10000 + 1) * 10000;
		for (uint32_t p = 0; p < PARTS; p++)
			c->at_ms[p] = c->start_ms;
	}
	for (uint32_t p = 0; p < PARTS; p++)
		feed(c, p, c->start_ms + (seconds - apart * p) * 1000);
	assert_true(srig_settle(&c->r));
	srig_stop(&c->r, 30000);
	state_stats(c->r.state, &all);
	assert_string_equal(all.merge_error, "");
	assert_int_equal(all.merge_phase, STATE_STOPPED);
	srig_close(&c->r);
}

/* As a kill leaves it before any checkpoint of the run. */
static void run_killed(struct change *c, const char *list, int64_t seconds, int64_t apart)
{
	const char *dir = c->r.dir;

	command("cp -r %s/state/checkpoints %s/kept", dir, dir);
	run(c, list, seconds, apart);
	command("rm -r %s/state/checkpoints && mv %s/kept %s/state/checkpoints", dir, dir, dir);
}

static int count_take(void *arg, const struct agg_value *v)
{
	*(uint64_t *)arg = v->u64;
	return 0;
}

/* A merged row: it is whole. */
static int row_take(void *arg, uint32_t partition, uint64_t offset, const struct record *rec)
{
	struct change *c = arg;
	const struct window_def *def;
	const struct row *row = row_of(rec);
	uint64_t count = 0;
	uint32_t i = 0;
	struct err err;

	(void)offset;
	c->named += rec->kind == RECORD_MARK && rec->payload_bytes;
	if (partition != PARTS || rec->kind != RECORD_ROW)
		return 0;
	def = window_store_get(c->store, row->window_uid, &err);
	assert_non_null(def);
	agg_values(def->aggs, row_agg(row), row->agg_bytes, count_take, &count);
	if (!c->torn && row->start_ms >= c->start_ms &&
		count != (uint64_t)def->size_ms / 1000 * SECOND_EVENTS)
		fail_msg("%s, start %lld: %llu events", def->name, (long long)(row->start_ms - c->start_ms),
			(unsigned long long)count);
	while (i < NAMES && c->name[i] && strcmp(c->name[i], def->name) != 0)
		i++;
	assert_true(i < NAMES);
	if (!c->rows[i]++)
		c->first_ms[i] = row->start_ms - c->start_ms;
	c->name[i] = def->name;
	c->last_ms[i] = row->end_ms - c->start_ms;
	return 0;
}

static void assert_rows(const struct change *c, const char *name, int64_t first, int64_t last, uint64_t rows)
{
	for (uint32_t i = 0; i < NAMES; i++) {
		if (!c->name[i] || strcmp(c->name[i], name) != 0)
			continue;
		assert_int_equal(c->first_ms[i], first * 1000);
		assert_int_equal(c->last_ms[i], last * 1000);
		assert_int_equal(c->rows[i], rows);
		return;
	}
	fail_msg("no rows of %s", name);
}

static void change_init(struct change *c)
{
	memset(c, 0, sizeof *c);
	srig_init(&c->r, NULL, PARTS, 2, 3600000);
	c->r.rig.params.tick_ms = 1000000;
	c->r.cfg.state.step = 1000;
}

/* Returns how many partial rows were left out. */
static uint64_t change_replay(struct change *c)
{
	struct state_replay_params params = {.emit = row_take, .arg = c};
	struct state_replay_result result = {0};
	struct err err = {""};
	char dir[200];

	snprintf(dir, sizeof dir, "%s/state/windows", c->r.dir);
	assert_int_equal(window_store_open(&c->store, dir, &err), 0);
	if (srig_replay(c->r.dir, &params, &result, &err) != 0)
		fail_msg("%s", err.text);
	free(result.log);
	return result.incomplete;
}

/* All rows, as a replay gives them; the running stage's are the same. */
static void change_check(struct change *c)
{
	struct srig_check check;

	assert_true(change_replay(c) > 0);
	if (!srig_check(c->r.dir, NULL, NULL, &check))
		fail_msg("%s", check.fault);
	assert_true(check.complete && check.merged > 0);
}

static void change_free(struct change *c)
{
	window_store_close(c->store);
	srig_free(&c->r);
}

/* The watermark is 2.1 s behind the last event: at the change partitions have computed windows up to 21, 18,
 * 15 and 12 s; the last one's events end at 15 s, those of the first one at 24 s. */
static void rows_are_whole_where_definitions_change(void **state)
{
	struct change c;

	(void)state;
	change_init(&c);
	run(&c, five, 24, 3);
	run(&c, ten, 60, 0);
	change_check(&c);
	assert_rows(&c, "five", 0, 10, 2);
	assert_rows(&c, "two", 0, 56, 28);
	assert_rows(&c, "ten", 24, 57, 24);
	change_free(&c);
}

/* And back, twice, with kills. `ten` has the windows up to 51 s, and those from 90 s on; `five` those up to
 * 10 s, and from 60 to 70 s. */
static void rows_are_whole_where_definitions_come_back(void **state)
{
	struct change c;

	(void)state;
	change_init(&c);
	run(&c, five, 24, 3);
	run_killed(&c, ten, 60, 2);
	run_killed(&c, five, 90, 5);
	run(&c, ten, 93, 1);
	run(&c, ten, 140, 0);
	change_check(&c);
	assert_rows(&c, "two", 0, 136, 68);
	assert_rows(&c, "five", 0, 70, 4);
	assert_rows(&c, "ten", 24, 137, 18 + 38);
	change_free(&c);
}

/* Notes of a version that put out no marks: none comes by them, now or in a replay, and rows are what they
 * were. */
static void notes_of_before_are_not_answered(void **state)
{
	struct change c;

	(void)state;
	change_init(&c);
	c.old_note = true;
	run(&c, five, 24, 3);
	run_killed(&c, ten, 60, 2);
	run(&c, ten, 90, 0);
	change_check(&c);
	assert_int_equal(c.named, 3 * PARTS);
	assert_rows(&c, "two", 0, 86, 43);
	assert_rows(&c, "ten", 24, 87, 54);
	change_free(&c);
}

/* Where the beginning of one partition is gone it has not said what was in force; the others have. Its rows
 * come all the same. */
static void a_partition_without_a_beginning_has_all(void **state)
{
	struct change c;
	uint32_t names = 0;

	(void)state;
	change_init(&c);
	c.r.rig.params.segment_bytes = 131072;
	run(&c, five, 24, 3);
	run(&c, ten, 400, 0);
	command("rm %s/journal/p0/seg-0000000001.log", c.r.dir);
	c.torn = true;
	change_replay(&c);
	for (uint32_t i = 0; i < NAMES && c.name[i]; i++) {
		if (!strcmp(c.name[i], "five"))
			continue;
		names++;
		assert_int_equal(c.last_ms[i], strcmp(c.name[i], "ten") ? 396000 : 397000);
		assert_in_range(c.rows[i], strcmp(c.name[i], "ten") ? 198 : 364, 370);
	}
	assert_int_equal(names, 2);
	change_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_whole_where_definitions_change),
		cmocka_unit_test(rows_are_whole_where_definitions_come_back),
		cmocka_unit_test(notes_of_before_are_not_answered),
		cmocka_unit_test(a_partition_without_a_beginning_has_all),
	};

	rig_eal("change");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
