/* Saved states of the stage that no save makes: what would come out in rows that nobody takes is refused when
 * it is loaded. That a save and load anywhere changes nothing is in test_stage_model.c. */
#include <errno.h>
#include <string.h>

#include "agg_count.h"
#include "crc32c.h"
#include "keytab.h"
#include "stage_rig.h"
#include "varint.h"

#define WHERE_MAX 16

static const char *const kinds[] = {
	"name=t kind=tumbling size=2s by=user_id aggregates='count'",
	"name=h kind=hopping size=4s slide=2s by=user_id aggregates='count'",
	"name=s kind=session gap=2500ms by=user_id aggregates='count'",
	"name=f kind=funnel size=2s within=1s by=user_id steps='a: page = /p0; b: page = /p1'",
};
enum { TUMBLING, HOPPING, SESSION, FUNNEL, KINDS };

static void event_put(struct rig_stream *s, int64_t time_ms, uint32_t user)
{
	rig_stream_put(s, &(struct rig_event){.kind = RECORD_EVENT,
				  .type = EVENT_TYPE_click,
				  .time_ms = time_ms,
				  .receive_ms = RIG_TIME + 60000,
				  .user = user,
				  .amount = INT64_MIN,
				  .port = 4000});
}

/* The state behind these events. */
static void saved_of(const struct window_plan *plan, struct rig_stream *s, struct bytes *saved)
{
	struct bytes out = {0};
	struct stage *st = rig_stage(plan, 60000, SIZE_MAX, &out);

	rig_block_end(s, INT64_MIN);
	rig_run(st, s, 0, s->blocks);
	stage_save(st, saved);
	assert_false(saved->failed);
	stage_free(st);
	bytes_free(&out);
	rig_stream_free(s);
}

static int load(const struct window_plan *plan, const struct bytes *saved)
{
	struct bytes out = {0};
	struct stage *st = rig_stage(plan, 60000, SIZE_MAX, &out);
	uint32_t dropped;
	struct err err = {""};
	int rc = stage_load(st, saved->data, saved->bytes, &dropped, &err);

	if (rc)
		assert_non_null(strstr(err.text, "not one that this version writes, or damaged"));
	stage_free(st);
	bytes_free(&out);
	return rc;
}

/* All places where the bytes stand. */
static size_t places_of(const struct bytes *saved, const void *what, size_t bytes, uint8_t *where[WHERE_MAX])
{
	size_t count = 0;

	for (size_t at = 0; at + bytes <= saved->bytes; at++)
		if (!memcmp(saved->data + at, what, bytes) && count < WHERE_MAX)
			where[count++] = saved->data + at;
	return count;
}

/* A key is the lengths and bytes of as many fields as the definition groups by. */
static void keys_are_those_of_rows(void **state)
{
	static const uint8_t key[4] = {2, 0, 'u', '7'};
	static const uint8_t bad[][4] = {
		{1, 0, 'u', '7'}, {3, 0, 'u', '7'}, {0, 0, 0, 0}, {255, 255, 'u', '7'}};

	(void)state;
	for (uint32_t kind = 0; kind < KINDS; kind++) {
		struct window_plan *plan = rig_plan(1000, 1, &kinds[kind]);
		struct rig_stream s = {0};
		struct bytes saved = {0};
		uint8_t *where[WHERE_MAX];
		size_t count;

		event_put(&s, RIG_TIME, 7);
		saved_of(plan, &s, &saved);
		count = places_of(&saved, key, sizeof key, where);
		assert_int_equal(count, 1);
		for (uint32_t i = 0; i < sizeof bad / sizeof *bad; i++) {
			memcpy(where[0], bad[i], sizeof key);
			assert_int_equal(load(plan, &saved), -EINVAL);
		}
		memcpy(where[0], key, sizeof key);
		assert_int_equal(load(plan, &saved), 0);
		bytes_free(&saved);
		window_plan_free(plan);
	}
}

/* Where there is one key, without fields, there are no others: two rows of it would be one too many. */
static void one_key_has_no_others(void **state)
{
	static const char *const text[] = {"name=t kind=tumbling size=2s aggregates='count'",
		"name=h kind=hopping size=4s slide=2s aggregates='count'"};
	static const uint8_t tumbling[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1};
	/* behind the keys' number: the key, its elements, no prefix */
	static const uint8_t hopping[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		struct window_plan *plan = rig_plan(1000, 1, &text[i]);
		struct rig_stream s = {0};
		struct bytes saved = {0};
		uint8_t *where[WHERE_MAX];

		event_put(&s, RIG_TIME, 7);
		saved_of(plan, &s, &saved);
		assert_int_equal(places_of(&saved, i ? hopping : tumbling, sizeof tumbling, where), 1);
		assert_int_equal(load(plan, &saved), 0);
		where[0][sizeof(uint64_t)] = KEYTAB_F_OTHER;
		assert_int_equal(load(plan, &saved), -EINVAL);
		bytes_free(&saved);
		window_plan_free(plan);
	}
}

/* Two of one beginning and end would be two rows of one window. */
static void sessions_of_a_key_are_in_order(void **state)
{
	struct session_head {
		int64_t start_ms, last_ms;
		uint8_t rest[5]; /* cut, bytes of the cell */
	} __attribute__((packed))
	head[2] = {{RIG_TIME, RIG_TIME, {0, 1}}, {RIG_TIME + 10000, RIG_TIME + 10000, {0, 1}}};
	struct window_plan *plan = rig_plan(1000, 1, &kinds[SESSION]);
	uint8_t *where[2][WHERE_MAX];
	struct rig_stream s = {0};
	struct bytes saved = {0};

	(void)state;
	event_put(&s, RIG_TIME, 7);
	event_put(&s, RIG_TIME + 10000, 7);
	saved_of(plan, &s, &saved);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(places_of(&saved, &head[i], sizeof *head, where[i]), 1);
	for (uint32_t order = 0; order < 4; order++) {
		memcpy(where[0][0], &head[order & 1], sizeof *head);
		memcpy(where[1][0], &head[order >> 1], sizeof *head);
		assert_int_equal(load(plan, &saved), order == 2 ? 0 : -EINVAL);
	}
	bytes_free(&saved);
	window_plan_free(plan);
}

/* The saved state with another counter in the cell of a pane, which has a short one. */
static void counter_set(
	const struct bytes *saved, const struct window_def *def, int64_t pane, uint64_t n, struct bytes *out)
{
	struct element {
		int64_t pane_cut;
		uint32_t bytes;
	} __attribute__((packed)) element = {pane * 2, 1};
	uint8_t cell[VARINT_BYTES_MAX], *where[WHERE_MAX];
	uint32_t bytes = (uint32_t)varint_put(cell, n);
	uint64_t size;
	size_t at;

	bytes_reset(out);
	assert_int_equal(places_of(saved, &element, sizeof element, where), 1);
	at = (size_t)(where[0] - saved->data) + sizeof element.pane_cut;
	bytes_put(out, saved->data, at);
	bytes_put_u32(out, bytes);
	bytes_put(out, cell, bytes);
	at += sizeof element.bytes + 1;
	bytes_put(out, saved->data + at, saved->bytes - at);
	assert_int_equal(places_of(saved, &def->uid, sizeof def->uid, where), 1);
	at = (size_t)(where[0] - saved->data) + sizeof def->uid + sizeof(uint32_t);
	memcpy(&size, out->data + at, sizeof size);
	size += bytes - 1;
	memcpy(out->data + at, &size, sizeof size);
}

/* Sums of panes are taken apart again: counters that add up to their bound would come to be others. */
static void counters_of_panes_add_up(void **state)
{
	static const char *const text = "name=h kind=hopping size=8s slide=2s by=user_id aggregates='count'";
	/* no pane is closed; the first is; both are, and lie in the block before */
	static const int64_t marks[] = {INT64_MIN, RIG_TIME + 6000, RIG_TIME + 10000};
	const int64_t pane = RIG_TIME / 2000 + 2;
	struct window_plan *plan = rig_plan(1000, 1, &text);

	(void)state;
	for (uint32_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		struct bytes saved = {0}, made = {0};
		struct rig_stream s = {0};
		uint64_t rest = i < 2; /* suffixes have what is in the later pane, too */

		event_put(&s, RIG_TIME + 4000, 7);
		event_put(&s, RIG_TIME + 6000, 7);
		rig_block_end(&s, marks[i]);
		saved_of(plan, &s, &saved);
		counter_set(&saved, plan->def[0], pane, AGG_COUNT_MAX - 1 - rest, &made);
		assert_int_equal(load(plan, &made), 0);
		counter_set(&saved, plan->def[0], pane, AGG_COUNT_MAX - rest, &made);
		assert_int_equal(load(plan, &made), -EINVAL);
		counter_set(&saved, plan->def[0], pane, AGG_COUNT_MAX, &made);
		assert_int_equal(load(plan, &made), -EINVAL);
		bytes_free(&saved);
		bytes_free(&made);
	}
	window_plan_free(plan);
}

static void run(struct stage *st, const struct rig_stream *s, uint32_t partition)
{
	struct err err;

	for (uint32_t i = 0; i < s->blocks; i++) {
		struct journal_block block = rig_block(s, i);

		block.partition = partition;
		assert_int_equal(stage_block(st, &block, block.first_offset, &err), 0);
	}
}

/* What exceeds keys_max meets where partitions are gathered. Sessions that are over, and wait for the step,
 * take nothing more, but are one where they are of one beginning and end. */
static void others_that_are_over_are_one(void **state)
{
	static const char *const text =
		"name=s kind=session gap=2500ms by=user_id keys_max=1 aggregates='count'";
	struct window_plan *plan = rig_plan(1000, 1, &text);
	struct stage_params params = {.plan = plan, .memory_bytes = SIZE_MAX};
	struct bytes out = {0}, saved[2] = {{0}, {0}};
	struct stage_saved list[2];
	struct rig_stream s = {0};
	uint32_t rows = 0, others = 0;
	const struct record *rec;
	struct stage *st;
	struct err err;
	size_t at = 0;

	(void)state;
	for (uint32_t p = 0; p < 2; p++) {
		params.partition = p;
		assert_int_equal(stage_new(&st, &params, rig_collect, &out, &err), 0);
		event_put(&s, RIG_TIME, 7 + p);
		event_put(&s, RIG_TIME, 9);
		rig_block_end(&s, INT64_MIN);
		rig_block_end(&s, RIG_TIME + 2700); /* over at 2500 */
		run(st, &s, p);
		rig_stream_free(&s);
		s = (struct rig_stream){0};
		stage_save(st, &saved[p]);
		list[p] = (struct stage_saved){saved[p].data, saved[p].bytes};
		stage_free(st);
	}
	bytes_reset(&out);
	params.partition = 0;
	assert_int_equal(stage_new(&st, &params, rig_collect, &out, &err), 0);
	assert_int_equal(stage_gather(st, list, 2, 1, &err), 0);
	rig_block_end(&s, RIG_TIME + 60000);
	run(st, &s, 0);
	while ((rec = rig_next(&out, &at))) {
		struct row_walk walk;

		if (rec->kind != RECORD_ROW)
			continue;
		row_walk_first(&walk, rec);
		do {
			rows++;
			others += walk.row.flags & ROW_F_OTHER;
		} while (row_walk_next(&walk));
	}
	assert_int_equal(rows, 3);
	assert_int_equal(others, 1);
	stage_free(st);
	for (uint32_t p = 0; p < 2; p++)
		bytes_free(&saved[p]);
	bytes_free(&out);
	rig_stream_free(&s);
	window_plan_free(plan);
}

/* A state of every kind of window as versions before wrote it: without rules, and before that without the
 * number of row records. It is the same state. */
static void older_versions_are_read(void **state)
{
	enum { ROW_RECORDS = 8 + 4 + 4 + 8 + 8 + 1 + 5 * 8 }; /* where they stand */
	struct window_plan *plan = rig_plan(1000, KINDS, kinds);
	struct rig_stream s = {0};
	struct bytes saved = {0};

	(void)state;
	for (uint32_t i = 0; i < 300; i++)
		event_put(&s, RIG_TIME + i * 37 % 50000, i % 9);
	saved_of(plan, &s, &saved);
	for (uint32_t version = 2; version; version--) {
		struct bytes old = {0}, again = {0}, out = {0};
		struct stage *st = rig_stage(plan, 60000, SIZE_MAX, &out);
		size_t behind = ROW_RECORDS + (version == 1 ? 8 : 0);
		uint32_t dropped;
		struct err err;

		bytes_put(&old, saved.data, ROW_RECORDS);
		bytes_put(&old, saved.data + behind, saved.bytes - behind - 8);
		memcpy(old.data + 8, &version, sizeof version);
		if (stage_load(st, old.data, old.bytes, &dropped, &err))
			fail_msg("version %u: %s", version, err.text);
		assert_int_equal(dropped, 0);
		stage_save(st, &again);
		assert_int_equal(again.bytes, saved.bytes);
		if (version == 1)
			memset(saved.data + ROW_RECORDS, 0, 8);
		assert_memory_equal(again.data, saved.data, saved.bytes);
		stage_free(st);
		bytes_free(&old);
		bytes_free(&again);
		bytes_free(&out);
	}
	bytes_free(&saved);
	window_plan_free(plan);
}

/* Every kind of window and every part of a cell. Where this fails the bytes mean something else than before:
 * then the version has to grow, and the one before it has to be read. */
static void the_bytes_are_those_of_the_version(void **state)
{
#define ALL                                                                                                  \
	"aggregates='count, count(country=DE), sum(metric), sum(amount), min(metric), max(amount), "         \
	"variance(metric), error_rate, distinct(page), quantiles(metric), top(page,3), first(page), "        \
	"last(metric)'"
	static const char *const text[] = {"name=t kind=tumbling size=2s by=user_id lateness=3s " ALL,
		"name=h kind=hopping size=8s slide=2s by=user_id lateness=1s " ALL,
		"name=p kind=hopping size=8s slide=2s by=page aggregates='count, sum(amount)'",
		"name=s kind=session gap=2500ms by=user_id " ALL,
		"name=f kind=funnel size=4s within=3s by=user_id steps='a: page = /p0; b: page = /p1'"};
	const struct rig_shape shape = {.events = 3000,
		.users = 40,
		.pages = 30,
		.disorder_ms = 1500,
		.pace_ms = 20,
		.block_events = 50};
	struct window_plan *plan = rig_plan(1000, 5, text);
	struct bytes out = {0}, saved = {0};
	struct stage *st = rig_stage(plan, 1500, SIZE_MAX, &out);
	struct rig_stream s;
	uint64_t seed = 4;

	(void)state;
	rig_stream_make(&s, &shape, &seed);
	rig_run(st, &s, 0, s.blocks - 1);
	stage_save(st, &saved);
	assert_int_equal(saved.bytes, 27206);
	assert_int_equal(crc32c(0, saved.data, saved.bytes), 0xb1aa7339);
	stage_free(st);
	rig_stream_free(&s);
	bytes_free(&saved);
	bytes_free(&out);
	window_plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_those_of_rows),
		cmocka_unit_test(one_key_has_no_others),
		cmocka_unit_test(sessions_of_a_key_are_in_order),
		cmocka_unit_test(counters_of_panes_add_up),
		cmocka_unit_test(others_that_are_over_are_one),
		cmocka_unit_test(older_versions_are_read),
		cmocka_unit_test(the_bytes_are_those_of_the_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
