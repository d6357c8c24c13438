/* The state stage where there is no more room: what came in is in rows, or late, and counted as that. */
#include "stage_model.h"

#include <string.h>

#define HOUR 3600000ll
#define EARLIER 70000u /* more than a list of panes holds */
#define PANES 65536u
#define PANES_FULL 1024u

struct full {
	struct window_plan *plan;
	struct stage *st;
	struct bytes out;
	struct rig_stream s;
};

/* Runs one definition over f->s; `end`: the watermark behind it. */
static const struct stage_window_stats *run(
	struct full *f, const char *text, uint64_t bound, size_t memory_bytes, int64_t end)
{
	uint32_t blocks = f->s.blocks + 1;

	rig_block_end(&f->s, INT64_MIN);
	rig_block_end(&f->s, RIG_TIME + end);
	f->plan = rig_plan(1000, 1, &text);
	f->st = rig_stage(f->plan, bound, memory_bytes, &f->out);
	rig_run(f->st, &f->s, 0, blocks);
	rig_check_conservation(f->st);
	rig_run(f->st, &f->s, blocks, f->s.blocks);
	rig_check_conservation(f->st);
	return &stage_stats(f->st)->window[0];
}

static void end(struct full *f)
{
	stage_free(f->st);
	window_plan_free(f->plan);
	bytes_free(&f->out);
	rig_stream_free(&f->s);
}

/* Behind an event at 30 h, one of a user for each second from a time on. */
static void put_earlier(struct rig_stream *s, int64_t from)
{
	rig_stream_click(s, 30 * HOUR, 30 * HOUR, 0, 0);
	for (uint32_t i = 0; i < EARLIER; i++)
		rig_stream_click(s, from + i * 1000ll, 30 * HOUR, 1, 0);
}

static int count_take(void *arg, const struct agg_value *v)
{
	*(uint64_t *)arg += v->u64;
	return 1;
}

/* Sum of the counts of rows, of those with this first part of the key; NULL: of all. */
static uint64_t counted(const struct full *f, const char *key)
{
	const struct record *rec;
	uint64_t sum = 0;
	size_t at = 0;

	while ((rec = rig_next(&f->out, &at))) {
		const struct row *row = row_of(rec);
		const uint8_t *part = NULL;
		uint32_t bytes = 0;

		if (rec->kind != RECORD_ROW)
			continue;
		if (key && (!row_key_part(row, 0, &part, &bytes) || bytes != strlen(key) ||
				   memcmp(part, key, bytes) != 0))
			continue;
		agg_values(f->plan->def[0]->aggs, row_agg(row), row->agg_bytes, count_take, &sum);
	}
	return sum;
}

static uint64_t late_records(const struct full *f)
{
	const struct record *rec;
	uint64_t count = 0;
	size_t at = 0;

	while ((rec = rig_next(&f->out, &at)))
		count += rec->kind == RECORD_LATE;
	return count;
}

/* Events of as many windows that are out as no list holds, within one step. */
static void test_revisions(void **state)
{
	const struct stage_window_stats *w;
	struct full f = {0};

	(void)state;
	put_earlier(&f.s, 10 * HOUR);
	rig_stream_click(&f.s, 10 * HOUR, 30 * HOUR, 2, 0); /* a window that has a pane */
	w = run(&f, "name=w kind=tumbling size=1s lateness=1d by=user_id aggregates=count", 10000, SIZE_MAX,
		31 * HOUR);
	assert_int_equal(w->late, EARLIER - PANES);
	assert_int_equal(w->no_room, EARLIER - PANES);
	assert_int_equal(w->late_allowed, PANES + 1);
	assert_int_equal(counted(&f, NULL), PANES + 2);
	assert_int_equal(late_records(&f), EARLIER - PANES);
	end(&f);
}

/* Each late event revises 3600 windows, or none of them. */
static void test_revisions_hopping(void **state)
{
	const uint32_t fit = PANES / 3600;
	const struct stage_window_stats *w;
	struct full f = {0};

	(void)state;
	rig_stream_click(&f.s, 40 * HOUR, 40 * HOUR, 0, 0);
	for (uint32_t i = 0; i < fit + 3; i++)
		rig_stream_click(&f.s, 17 * HOUR + i * HOUR, 40 * HOUR, 1, 0);
	rig_stream_click(
		&f.s, 40 * HOUR - 1800500, 40 * HOUR, 2, 0); /* of half of its windows, the others are open */
	rig_stream_click(&f.s, 0, 40 * HOUR, 3, 0);	     /* too late, room or not */
	w = run(&f, "name=w kind=hopping size=1h slide=1s lateness=1d by=user_id aggregates=count", 10000,
		SIZE_MAX, 42 * HOUR);
	assert_int_equal(w->late_allowed, fit);
	assert_int_equal(w->late, 4);
	assert_int_equal(w->no_room, 3);
	assert_int_equal(w->events, fit + 2);
	assert_int_equal(late_records(&f), 4);
	assert_int_equal(counted(&f, "u1"), fit * 3600);
	assert_in_range(counted(&f, "u2"), 1700, 1900);
	assert_int_equal(counted(&f, "u2") + w->late_panes, 3600);
	end(&f);
}

/* What is there needs no room, and where memory is used up one event's worth has some. */
static void test_revisions_again(void **state)
{
	const char *const text =
		"name=w kind=hopping size=1h slide=1s lateness=1d by=user_id aggregates=count";
	const uint32_t fit = PANES / 3600;

	(void)state;
	for (int full = 0; full < 2; full++) {
		const struct stage_window_stats *w;
		struct full f = {0};

		rig_stream_click(&f.s, 40 * HOUR, 40 * HOUR, 0, 0);
		for (uint32_t i = 0; full && i < 1100; i++) /* groups, beyond the bound */
			rig_stream_click(&f.s, 40 * HOUR, 40 * HOUR, 9 + i, 0);
		for (uint32_t i = 0; i < fit; i++)
			rig_stream_click(&f.s, 17 * HOUR + i * HOUR, 40 * HOUR, 1, 0);
		for (uint32_t i = 0; i < 10; i++)
			rig_stream_click(&f.s, 17 * HOUR, 40 * HOUR, 1, 0);
		rig_stream_click(&f.s, 17 * HOUR - 1000, 40 * HOUR, 1, 0); /* lacks one */
		w = run(&f, text, 10000, full ? 60000 : SIZE_MAX, 42 * HOUR);
		assert_int_equal(w->late_allowed, full ? 11 : fit + 11);
		assert_int_equal(w->late, full ? fit : 0);
		assert_int_equal(w->no_room, w->late);
		assert_int_equal(w->late_panes, 0);
		assert_int_equal(counted(&f, NULL), 3600 * w->events);
		end(&f);
	}
}

/* Open windows: a bound of a day. */
static void test_open(void **state)
{
	static const char *const text[] = {"name=w kind=tumbling size=1s by=user_id aggregates=count",
		"name=w kind=hopping size=2s slide=1s by=user_id aggregates='count, distinct(page)'"};

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		const struct stage_window_stats *w;
		struct full f = {0};

		put_earlier(&f.s, 8 * HOUR);
		w = run(&f, text[i], 24 * HOUR, SIZE_MAX, 60 * HOUR);
		assert_int_equal(w->filtered, 0);
		assert_int_equal(w->late, EARLIER + 1 - PANES);
		assert_int_equal(w->no_room, w->late);
		assert_int_equal(counted(&f, NULL), PANES * (i + 1));
		assert_int_equal(late_records(&f), w->late);
		end(&f);
	}
}

/* The saved state of a partition at 7 h with `count` windows open, one a second from a time on. */
static void open_save(const struct window_plan *plan, int64_t from, uint32_t count, struct bytes *saved)
{
	struct rig_stream s = {0};
	struct bytes out = {0};
	struct stage *st = rig_stage(plan, 24 * HOUR, SIZE_MAX, &out);

	rig_stream_click(&s, 30 * HOUR, 30 * HOUR, 0, 0);
	for (uint32_t n = 0; n < count; n++)
		rig_stream_click(&s, from + n * 1000ll, 30 * HOUR, 1, 0);
	rig_block_end(&s, RIG_TIME + 7 * HOUR);
	rig_run(st, &s, 0, s.blocks);
	assert_int_equal(stage_stats(st)->window[0].late, 0);
	stage_save(st, saved);
	stage_free(st);
	bytes_free(&out);
	rig_stream_free(&s);
}

/* Partitions that are put together may have more windows open than one of them opens; it begins none then,
 * and what it saves can be loaded. */
static void test_gathered(void **state)
{
	enum { EACH = 40000, OLD = 8, NEW = 4 }; /* the rig's partition, 3, gets those of 3 and 7 */
	static const char *const text[] = {"name=w kind=tumbling size=1s by=user_id aggregates=count",
		"name=w kind=hopping size=2s slide=1s by=user_id aggregates=count",
		"name=w kind=hopping size=2s slide=1s by=user_id aggregates='count, distinct(page)'"};

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		struct full f = {.plan = rig_plan(1000, 1, &text[i])};
		struct bytes saved[OLD] = {0}, gathered = {0};
		struct stage_saved list[OLD];
		uint32_t dropped, full = 0;
		struct err err;

		for (uint32_t p = 0; p < OLD; p++) {
			bool has = p % NEW == 3;

			open_save(f.plan, 8 * HOUR + full * EACH * 1000ll, has ? EACH : 0, &saved[p]);
			full += has;
			list[p] = (struct stage_saved){saved[p].data, saved[p].bytes};
		}
		f.st = rig_stage(f.plan, 24 * HOUR, SIZE_MAX, &f.out);
		assert_int_equal(stage_gather(f.st, list, OLD, NEW, &err), 0);
		stage_save(f.st, &gathered);
		stage_free(f.st);
		f.st = rig_stage(f.plan, 24 * HOUR, SIZE_MAX, &f.out);
		assert_int_equal(stage_load(f.st, gathered.data, gathered.bytes, &dropped, &err), 0);
		rig_stream_click(&f.s, 8 * HOUR, 30 * HOUR, 1, 0);
		rig_stream_click(&f.s, 7 * HOUR + 5000, 30 * HOUR, 1, 0); /* one more window */
		rig_block_end(&f.s, RIG_TIME + 60 * HOUR);
		rig_run(f.st, &f.s, 0, f.s.blocks);
		assert_int_equal(stage_stats(f.st)->window[0].no_room, 1);
		assert_int_equal(counted(&f, "u1"), (2 * EACH + 1) * (i ? 2 : 1));
		for (uint32_t p = 0; p < OLD; p++)
			bytes_free(&saved[p]);
		bytes_free(&gathered);
		end(&f);
	}
}

/* With memory used up revisions go on, for as many windows as cost little; the account knows what they cost.
 */
static void test_memory(void **state)
{
	const struct stage_window_stats *w;
	struct full f = {0};

	(void)state;
	put_earlier(&f.s, 10 * HOUR);
	w = run(&f, "name=w kind=tumbling size=1s lateness=1d by=user_id aggregates=count", 10000, 1 << 20,
		31 * HOUR);
	assert_in_range(w->late_allowed, PANES_FULL, PANES_FULL + 1024);
	assert_int_equal(counted(&f, NULL), w->late_allowed + 1);
	assert_int_equal(late_records(&f), EARLIER - w->late_allowed);
	end(&f);
}

/* Users that a funnel follows are followed to the end. */
static void test_funnel(void **state)
{
	(void)state;
	for (int full = 0; full < 2; full++) {
		const struct stage_window_stats *w;
		struct full f = {0};

		rig_stream_click(&f.s, 0, 0, 1, 0);
		for (uint32_t i = 0; i < 1023; i++) /* memory is looked at behind so many records */
			rig_stream_click(&f.s, 1 + i / 10, 100, 2 + i, 0);
		rig_stream_click(&f.s, 500, 500, 1, 1);
		rig_stream_click(&f.s, 501, 501, 5000, 0);
		w = run(&f,
			"name=w kind=funnel size=1s within=10s by=user_id steps='v: page = /p0; b: page = "
			"/p1' aggregates=count",
			1000, full ? 60000 : SIZE_MAX, 30000);
		assert_int_equal(counted(&f, "b"), 1);
		assert_int_equal(counted(&f, "v"), full ? 1024 : 1025);
		assert_int_equal(w->other, full);
		end(&f);
	}
}

/* One who is busy does not take more memory than his share, and his attempt goes on. */
static void test_funnel_busy(void **state)
{
	const struct stage_window_stats *w;
	struct full f = {0};

	(void)state;
	for (uint32_t i = 0; i < 6; i++) /* first steps that wait are none of it */
		rig_stream_click(&f.s, 0, 0, 1, 0);
	for (uint32_t i = 0; i < 1018; i++)
		rig_stream_click(&f.s, 1 + i / 10, 100, 2 + i, 0);
	for (uint32_t i = 0; i < 20; i++)
		rig_stream_click(&f.s, 200, 200, 1, 0);
	rig_stream_click(&f.s, 500, 500, 1, 1);
	rig_stream_click(&f.s, 510, 510, 1, 2);
	for (uint32_t i = 0; i < EARLIER; i++) /* ahead of the watermark: all of them would wait */
		rig_stream_click(&f.s, 600 + i % 300, 900, 1, 1);
	w = run(&f,
		"name=w kind=funnel size=1s within=10s by=user_id steps='v: page = /p0; b: page = /p1; c: "
		"page = /p2' "
		"aggregates=count",
		1000, 60000, 30000);
	assert_int_equal(w->other, 20 + EARLIER - 4); /* with the two before: twice the steps */
	assert_int_equal(counted(&f, "v"), 1019);
	assert_int_equal(counted(&f, "b"), 1);
	assert_int_equal(counted(&f, "c"), 1);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_revisions),
		cmocka_unit_test(test_revisions_hopping), cmocka_unit_test(test_revisions_again),
		cmocka_unit_test(test_open), cmocka_unit_test(test_gathered), cmocka_unit_test(test_memory),
		cmocka_unit_test(test_funnel), cmocka_unit_test(test_funnel_busy)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
