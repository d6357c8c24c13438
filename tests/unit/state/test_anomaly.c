/* Groups of baselines: which are known, which go, and that a save changes nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "anomaly.h"
#include "cursor.h"
#include "merge_rig.h"

#define SIZE_MS 1000

struct cells { /* packed cells with a count of 0 to 199 */
	struct bytes packed[200];
};

static void cells_make(struct cells *c, const struct agg_set *set)
{
	struct agg_arena *a = agg_arena_new(1 << 20);
	void *cell = calloc(1, agg_set_cell_bytes(set));
	static struct state_sample s;
	struct agg_order order = {1, 0, 0};

	memset(c, 0, sizeof *c);
	agg_cell_init(set, cell);
	state_sample_init(&s, EVENT_TYPE_platform, 1);
	state_sample_text(&s, FIELD_user_id, "u");
	for (int i = 0; i < 200; i++) {
		agg_cell_pack(set, cell, a, &c->packed[i]);
		assert_true(agg_cell_add(set, cell, a, state_sample_record(&s, 1), &order));
	}
	free(cell);
	agg_arena_free(a);
}

static void cells_free(struct cells *c)
{
	for (int i = 0; i < 200; i++)
		bytes_free(&c->packed[i]);
}

static int take(struct anomaly *a, const struct window_def *def, const struct cells *cells, const char *key,
	int64_t end_ms, uint32_t count, struct anomaly_alert *out)
{
	uint8_t packed_key[128];
	struct anomaly_row row = {.end_ms = end_ms,
		.key = packed_key,
		.key_bytes = rig_key(packed_key, key),
		.agg = cells->packed[count].data,
		.agg_bytes = (uint32_t)cells->packed[count].bytes};
	struct err err;
	int rc = anomaly_take(a, def, &row, out, &err);

	if (rc < 0)
		fail_msg("%s", err.text);
	return rc;
}

static void groups_are_judged_apart(void **state)
{
	struct window_def *def = rig_def(
		7, WINDOW_TUMBLING, SIZE_MS, 0, FIELD_source, "count", "zscore(count,5,3);ewma(count,0.5,3)");
	struct anomaly *a = anomaly_new(1 << 20, 1);
	struct anomaly_alert out[ANOMALY_MAX];
	struct cells cells;

	(void)state;
	cells_make(&cells, def->aggs);
	for (int i = 1; i <= 10; i++) {
		assert_int_equal(take(a, def, &cells, "low", i * SIZE_MS, 10, out), 0);
		assert_int_equal(take(a, def, &cells, "high", i * SIZE_MS, 150, out), 0);
	}
	assert_int_equal(anomaly_stats(a)->groups, 2);
	assert_int_equal(
		take(a, def, &cells, "high", 10 * SIZE_MS, 1, out), 0); /* no newer window: passed over */
	assert_int_equal(take(a, def, &cells, "low", 11 * SIZE_MS, 150, out), 2);
	assert_int_equal(out[0].spec->kind, ANOMALY_ZSCORE);
	assert_int_equal(out[1].spec->kind, ANOMALY_EWMA);
	assert_true(out[0].value == 150 && out[0].events == 150 && out[0].verdict.expected == 10);
	assert_int_equal(take(a, def, &cells, "high", 11 * SIZE_MS, 150, out), 0);
	assert_int_equal(take(a, def, &cells, "high", 12 * SIZE_MS, 10, out), 2);
	/* three windows without a row were three of 0 */
	assert_int_equal(take(a, def, &cells, "high", 16 * SIZE_MS, 100, out), 0);
	cells_free(&cells);
	anomaly_free(a);
	rig_def_free(def);
}

/* A table for 4 groups of 8 that come in every window knows 4 of them, always the same. */
static void too_small_a_table_does_not_thrash(void **state)
{
	struct window_def *def =
		rig_def(7, WINDOW_TUMBLING, SIZE_MS, 0, FIELD_source, "count", "zscore(count,5,3)");
	struct anomaly_alert out[ANOMALY_MAX];
	struct anomaly *a;
	struct cells cells;
	char key[8];

	(void)state;
	cells_make(&cells, def->aggs);
	def->keys_max = 2;
	a = anomaly_new(1 << 20, 2); /* 2 keys in each of 2 partitions */
	for (int i = 1; i <= 10; i++)
		for (int k = 0; k < 8; k++) {
			snprintf(key, sizeof key, "k%d", k);
			assert_int_equal(take(a, def, &cells, key, i * SIZE_MS, 10, out), 0);
		}
	assert_int_equal(anomaly_stats(a)->groups, 4);
	assert_int_equal(anomaly_stats(a)->evicted, 0);
	assert_int_equal(anomaly_stats(a)->refused, 40);
	assert_int_equal(take(a, def, &cells, "k3", 11 * SIZE_MS, 100, out), 1);
	assert_int_equal(take(a, def, &cells, "k4", 11 * SIZE_MS, 100, out), 0);
	/* k0 to k2 were last seen two windows ago: they give way, the oldest first */
	assert_int_equal(take(a, def, &cells, "new", 12 * SIZE_MS, 10, out), 0);
	assert_int_equal(anomaly_stats(a)->evicted, 1);
	assert_int_equal(anomaly_stats(a)->groups, 4);
	assert_int_equal(take(a, def, &cells, "k1", 12 * SIZE_MS, 100, out), 1);
	assert_int_equal(take(a, def, &cells, "k0", 12 * SIZE_MS, 100, out), 0); /* forgotten: k2 gives way */
	assert_int_equal(anomaly_stats(a)->evicted, 2);
	anomaly_free(a);
	cells_free(&cells);
	rig_def_free(def);
}

static void memory_is_bounded(void **state)
{
	struct window_def *def[2] = {
		rig_def(7, WINDOW_TUMBLING, SIZE_MS, 0, FIELD_source, "count", "seasonal(count,10s,3)"),
		rig_def(8, WINDOW_SESSION, SIZE_MS, 0, FIELD_source, "count", "zscore(count,50,3)")};
	struct anomaly_alert out[ANOMALY_MAX];
	struct anomaly *a = anomaly_new(8000, 4);
	uint64_t seed = 3;
	struct cells cells;
	char key[32];

	(void)state;
	cells_make(&cells, def[0]->aggs);
	for (int i = 1; i <= 3000; i++) {
		int kind = (int)rig_below(&seed, 2);

		snprintf(key, sizeof key, "key%u", rig_below(&seed, 300));
		take(a, def[kind], &cells, key, (i / 50 + 1) * SIZE_MS, 10, out);
		assert_true(anomaly_stats(a)->bytes <= 8000);
	}
	assert_true(anomaly_stats(a)->evicted > 100 && anomaly_stats(a)->groups > 3);
	anomaly_free(a);
	a = anomaly_new(100, 1); /* not even one */
	assert_int_equal(take(a, def[0], &cells, "a", 1000, 10, out), 0);
	assert_int_equal(anomaly_stats(a)->refused, 1);
	anomaly_free(a);
	cells_free(&cells);
	rig_def_free(def[0]);
	rig_def_free(def[1]);
}

static struct anomaly *reload(struct anomaly *a, struct rig_defs *defs, size_t bytes_max)
{
	struct anomaly *b = anomaly_new(bytes_max, 2);
	struct bytes saved = {0}, again = {0};
	struct cursor c;
	struct err err;

	anomaly_save(a, &saved);
	c = cursor_of(saved.data, saved.bytes);
	if (anomaly_load(b, &c, rig_find, defs, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(cursor_left(&c), 0);
	anomaly_save(b, &again);
	assert_int_equal(saved.bytes, again.bytes);
	assert_memory_equal(saved.data, again.data, saved.bytes);
	anomaly_free(a);
	bytes_free(&saved);
	bytes_free(&again);
	return b;
}

/* With and without saves between: the same alerts, the same groups known. */
static void saves_change_nothing(void **state)
{
	struct rig_defs defs = {.count = 2};
	struct cells cells;

	(void)state;
	defs.def[0] = rig_def(7, WINDOW_TUMBLING, SIZE_MS, 0, FIELD_source, "count",
		"seasonal(count,3s,2);ewma(count,0.3,2)");
	defs.def[1] = rig_def(8, WINDOW_TUMBLING, SIZE_MS, 0, FIELD_source, "count", "zscore(count,5,1)");
	cells_make(&cells, defs.def[0]->aggs);
	for (uint64_t round = 1; round <= 20; round++) {
		struct anomaly *a = anomaly_new(6000, 2), *b = anomaly_new(6000, 2);
		uint64_t seed = round, other = round, alerts = 0;

		for (int i = 1; i <= 600; i++) {
			const struct window_def *def = defs.def[rig_below(&seed, 2)];
			struct anomaly_alert x[ANOMALY_MAX], y[ANOMALY_MAX];
			uint32_t count = rig_below(&seed, 200);
			char key[16];
			int n;

			snprintf(key, sizeof key, "k%u", rig_below(&seed, 12));
			n = take(a, def, &cells, key, (i / 6) * SIZE_MS, count, x);
			if (!rig_below(&other, 5))
				b = reload(b, &defs, 6000);
			assert_int_equal(take(b, def, &cells, key, (i / 6) * SIZE_MS, count, y), n);
			for (int k = 0; k < n; k++)
				assert_true(x[k].verdict.score == y[k].verdict.score);
			alerts += (uint64_t)n;
		}
		assert_true(alerts > 5);
		assert_int_equal(anomaly_stats(a)->groups, anomaly_stats(b)->groups);
		assert_int_equal(anomaly_stats(a)->bytes, anomaly_stats(b)->bytes);
		anomaly_free(a);
		anomaly_free(b);
	}
	cells_free(&cells);
	rig_defs_free(&defs);
}

/* Into less room than the groups have: some go, among them one for which there would not be room even alone;
 * that one takes no other with it. */
static void less_room_leaves_out(void **state)
{
	struct rig_defs defs = {.count = 2};
	static const struct {
		size_t bytes_max;
		uint64_t groups;
	} to[] = {{1 << 20, 4}, {3000, 2}, {1700, 3}, {600, 1}, {100, 0}};
	struct anomaly *a = anomaly_new(1 << 20, 1);
	struct anomaly_alert out[ANOMALY_MAX];
	struct bytes saved = {0};
	struct cells cells;
	struct err err;

	(void)state;
	defs.def[0] = rig_def(7, WINDOW_TUMBLING, SIZE_MS, 0, FIELD_source, "count", "seasonal(count,30s,3)");
	defs.def[1] = rig_def(8, WINDOW_TUMBLING, SIZE_MS, 0, FIELD_source, "count", "zscore(count,50,3)");
	cells_make(&cells, defs.def[0]->aggs);
	take(a, defs.def[1], &cells, "a", 1000, 10, out);
	take(a, defs.def[1], &cells, "b", 1000, 10, out);
	take(a, defs.def[0], &cells, "large", 1000, 10, out);
	take(a, defs.def[1], &cells, "c", 1000, 10, out);
	anomaly_save(a, &saved);
	for (uint32_t i = 0; i < sizeof to / sizeof *to; i++) {
		struct anomaly *b = anomaly_new(to[i].bytes_max, 1);
		struct cursor c = cursor_of(saved.data, saved.bytes);

		if (anomaly_load(b, &c, rig_find, &defs, &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(cursor_left(&c), 0);
		assert_int_equal(anomaly_stats(b)->groups, to[i].groups);
		assert_int_equal(anomaly_stats(b)->evicted, 4 - to[i].groups);
		assert_true(anomaly_stats(b)->bytes <= to[i].bytes_max);
		anomaly_free(b);
	}
	cells_free(&cells);
	bytes_free(&saved);
	anomaly_free(a);
	rig_defs_free(&defs);
}

static void unknown_windows_are_left_out(void **state)
{
	struct rig_defs defs = {.count = 2}, one = {.count = 1};
	struct anomaly *a = anomaly_new(1 << 20, 1), *b = anomaly_new(1 << 20, 1);
	struct anomaly_alert out[ANOMALY_MAX];
	struct bytes saved = {0};
	struct cells cells;
	struct cursor c;
	struct err err;

	(void)state;
	for (uint32_t i = 0; i < 2; i++)
		defs.def[i] = rig_def(
			7 + i, WINDOW_TUMBLING, SIZE_MS, 0, FIELD_source, "count", "zscore(count,5,1)");
	one.def[0] = defs.def[1];
	cells_make(&cells, defs.def[0]->aggs);
	for (uint32_t i = 0; i < 2; i++)
		take(a, defs.def[i], &cells, "k", 1000, 10, out);
	anomaly_save(a, &saved);
	c = cursor_of(saved.data, saved.bytes);
	assert_int_equal(anomaly_load(b, &c, rig_find, &one, &err), 0);
	assert_int_equal(cursor_left(&c), 0);
	assert_int_equal(anomaly_stats(b)->groups, 1);
	cells_free(&cells);
	bytes_free(&saved);
	anomaly_free(a);
	anomaly_free(b);
	rig_defs_free(&defs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_are_judged_apart),
		cmocka_unit_test(too_small_a_table_does_not_thrash),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(saves_change_nothing),
		cmocka_unit_test(less_room_leaves_out),
		cmocka_unit_test(unknown_windows_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
