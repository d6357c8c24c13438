/* `rules try` over journals made here: what retention takes away meanwhile, damage, pairing. What a real
 * daemon's journal gives is in try_life.py. */
#include "journal_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "row.h"
#include "rule_shadow.h"
#include "../../../controlplane/rules_try.c"

#define EVENTS 9000u /* of partition 0: some three segments */
#define LESS 2000u   /* of partition 1 */

static const char rules_text[] = "rules:\n"
				 "- {id: every, when: {type: click}, then: alert}\n"
				 "- {id: paged, when: {type: click}, by: page, count: {at_least: 1000, "
				 "within: 30d}, limits: {events: 20000}, "
				 "then: alert}\n";

static struct ruleset *rules_none, *rules_some;

static struct ruleset *compiled(const char *text)
{
	struct rule_source source = {"test.yaml", text, strlen(text), false};
	struct ruleset *rs = NULL;
	struct err err = {""};

	if (ruleset_compile(&rs, &source, 1, 1000, &err) != 0)
		fail_msg("%s", err.text);
	return rs;
}

static void journal_make(struct rig *rig)
{
	rig_init(rig, 2, 1);
	rig_open(rig);
	rig_start(rig);
	rig_feed(rig, 0, 0, 1, EVENTS);
	rig_feed(rig, 0, 1, 100000, LESS);
	rig_settle(rig, 0);
	rig_settle(rig, 1);
	rig_stop(rig);
	rig_close(rig);
}

static uint32_t faults;

static void fault_count(void *arg, const char *text)
{
	(void)arg;
	assert_true(text[0]);
	faults++;
}

static struct rules_try_params params_of(const struct rig *rig)
{
	faults = 0;
	return (struct rules_try_params){.journal_dir = rig->dir,
		.rules = {rules_none, rules_some},
		.from_ms = INT64_MIN,
		.to_ms = INT64_MAX,
		.warm_up_ms = -1,
		.out_of_orderness_ms = 10000,
		.step_ms = 1000,
		.examples = 2,
		.fault = fault_count};
}

static const struct rules_try_row *row_of_rule(const struct rules_try_result *out, const char *id)
{
	for (uint32_t i = 0; i < out->row_count; i++)
		if (strcmp(out->row[i].id, id) == 0)
			return &out->row[i];
	fail_msg("no rule %s", id);
	return NULL;
}

static void keys_meet_over_partitions(void **state)
{
	struct rules_try_result out;
	struct rules_try_params params;
	const struct rules_try_row *row;
	struct err err = {""};
	struct rig rig;

	(void)state;
	journal_make(&rig);
	params = params_of(&rig);
	assert_int_equal(rules_try(&params, &out, &err), 0);
	assert_int_equal(out.events, EVENTS + LESS);
	assert_int_equal(out.warm_up_events + out.trimmed + faults, 0);
	row = row_of_rule(&out, "every");
	assert_true(row->gained == EVENTS + LESS && row->lost == 0 && row->example_count >= 2);
	row = row_of_rule(&out, "paged"); /* one page: events of both partitions under its key */
	assert_true(row->stateful && row->alerts[TRY_THEN] == EVENTS + LESS - 999);
	assert_true(row->gained == row->alerts[TRY_THEN] && row->keys_gained == 1 && row->keys_same == 0);
	assert_int_equal(out.timed[TRY_THEN], EVENTS + LESS);
	rules_try_free(&out);

	params.queue_bytes = 50000; /* of some 2 MB */
	assert_int_equal(rules_try(&params, &out, &err), 0);
	assert_true(row_of_rule(&out, "paged")->alerts[TRY_THEN] == EVENTS + LESS - 999);
	assert_int_equal(out.timed[TRY_THEN], EVENTS + LESS);
	rules_try_free(&out);

	params.rules[TRY_NOW] = rules_some; /* against itself */
	assert_int_equal(rules_try(&params, &out, &err), 0);
	row = row_of_rule(&out, "paged");
	assert_true(row->gained == 0 && row->lost == 0 && row->alerts[TRY_NOW] == EVENTS + LESS - 999);
	assert_true(
		row->keys_same == 1 && row->keys_gained == 0 && row->keys_lost == 0 && !row->example_count);
	rules_try_free(&out);

	params.to_ms = INT64_MIN; /* nothing */
	assert_int_equal(rules_try(&params, &out, &err), 0);
	assert_int_equal(out.events, 0);
	rules_try_free(&out);
	rig_free(&rig);
}

static void segments_go_meanwhile(void **state)
{
	struct rules_try_params params;
	struct rules_try_result out = {0};
	struct try_run t = {.params = &params, .out = &out, .start_ms = INT64_MIN};
	struct try_reader *r = must_calloc(1, sizeof *r);
	struct err err = {""};
	struct rig rig;
	char path[256];

	(void)state;
	journal_make(&rig);
	params = params_of(&rig);
	r->t = &t;
	r->drained_ms = INT64_MIN / 2;
	r->data = must_realloc(NULL, 1, TRY_DATA_BYTES);
	assert_int_equal(parts_open(r, &err), 0);
	assert_int_equal(sides_open(&t, &err), 0);
	assert_int_equal(part_pull(r, 0, &err), 0);
	assert_true(r->part[0].next_offset > 0 && r->part[0].next_offset < EVENTS / 3);
	for (int segment = 1; segment <= 2; segment++) {
		snprintf(path, sizeof path, "%s/p0/seg-%010d.log", rig.dir, segment);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(parts_run(r, &err), 0);
	assert_int_equal(faults, 0);
	assert_true(out.trimmed > 1000 && out.trimmed < EVENTS);
	assert_int_equal(out.events + out.trimmed, EVENTS + LESS);
	assert_int_equal(row_of_rule(&out, "every")->gained, out.events);
	reader_free(r);
	rules_try_free(&out);
	rig_free(&rig);
}

static void damage_ends_a_partition(void **state)
{
	struct rules_try_params params;
	struct rules_try_result out;
	struct err err = {""};
	struct rig rig;
	char path[256];
	int fd;

	(void)state;
	journal_make(&rig);
	snprintf(path, sizeof path, "%s/p0/seg-%010d.log", rig.dir, 2);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "damage", 6, 300000), 6);
	close(fd);
	params = params_of(&rig);
	assert_int_equal(rules_try(&params, &out, &err), 0);
	assert_int_equal(faults, 1);
	assert_true(out.events > LESS + 3000 && out.events < LESS + EVENTS);
	assert_int_equal(out.trimmed, 0);
	rules_try_free(&out);
	rig_free(&rig);
}

#define MET 1200u /* events without an id, each with its shadow */

/* As a worker writes them; early: with the id of both. Without it the writer makes the event's alone. */
static void without_ids_feed(struct rig *rig, struct matcher *m, bool early)
{
	static const uint64_t seed[2] = {3, 4};
	static const uint8_t raw[96];
	struct batch *b = rig_batch(rig, 0, 0);

	for (uint32_t i = 0; i < MET; i++) {
		struct event ev = {.raw = raw,
			.tail = raw,
			.raw_bytes = sizeof raw,
			.type = EVENT_TYPE_click,
			.event_time_ms = b->receive_first_ms,
			.field_mask = FBIT(page)};
		struct event *const list[] = {&ev};
		struct rule_shadow shadow[RULE_KEYRINGS_MAX];
		uint16_t flags = early ? RECORD_F_ID_MADE | RECORD_F_ID_WORKER : 0;

		ev.field[FIELD_page] = (struct span){8, 40};
		matcher_run(m, list, 1);
		assert_int_equal(rule_shadows(rules_some, &ev, shadow), 1);
		if (b->bytes + record_bytes_of(&ev) + shadow->bytes > b->capacity) {
			rig_seal(rig, b);
			b = rig_batch(rig, 0, 0);
		}
		if (early)
			record_number_id(ev.event_id, i, seed);
		b->bytes += record_write_event(b->data + b->bytes, &ev, 1, b->receive_first_ms, flags);
		rule_shadow_write(b->data + b->bytes, rules_some, &ev, shadow, b->receive_first_ms, flags);
		b->bytes += shadow->bytes;
		b->record_count += 2;
	}
	rig_seal(rig, b);
	rig_settle(rig, 0);
}

/* Shadows of events without an id of their own are found, those that name the id that the worker has made as
 * those of older journals, which name none. */
static void shadows_without_own_ids_are_met(void **state)
{
	static const uint8_t none[16];

	(void)state;
	for (int early = 0; early < 2; early++) {
		struct rules_try_result out;
		struct rules_try_params params;
		const struct rules_try_example *example;
		struct row_rule_evidence evidence;
		uint32_t generation = 0;
		struct err err = {""};
		struct matcher *m = matcher_new(rules_some, &err);
		struct rig rig;

		rig_init(&rig, 1, 1);
		rig_open(&rig);
		rig_start(&rig);
		without_ids_feed(&rig, m, early);
		rig_stop(&rig);
		rig_close(&rig);
		params = params_of(&rig);
		assert_int_equal(ruleset_store_open(&params.store, rig.dir, &err), 0);
		assert_int_equal(ruleset_store_put(params.store, rules_some, &generation, &err), 0);
		assert_int_equal(generation, 1); /* of the batches */
		assert_int_equal(rules_try(&params, &out, &err), 0);
		assert_int_equal(out.placed[TRY_THEN], MET);
		assert_int_equal(out.timed[TRY_THEN] + out.missed[TRY_THEN] + faults, 0);
		assert_int_equal(row_of_rule(&out, "paged")->alerts[TRY_THEN], MET - 999);
		example = &row_of_rule(&out, "paged")->example[0];
		evidence = row_alert_evidence(example->alert, 0);
		assert_int_equal(memcmp(evidence.event_id, none, sizeof none) != 0, early);
		rules_try_free(&out);
		ruleset_store_close(params.store);
		matcher_free(m);
		rig_free(&rig);
	}
}

/* Against counts in an array, with keys that share slots. */
static void map_counts(void **state)
{
	enum { KEYS = 3000 };
	static int32_t want[KEYS];
	struct try_map map = {0};
	uint64_t mix = 1;
	size_t live = 0;

	(void)state;
	for (int i = 0; i < 400000; i++) {
		uint32_t k = (uint32_t)((mix = hash_u64(mix + (uint64_t)i)) % KEYS);
		int32_t add = mix >> 40 & 1 ? 1 : -1, *value = try_map_at(&map, (uint64_t)k * 1024 + 1);

		assert_int_equal(*value, want[k]);
		*value += add;
		want[k] += add;
		try_map_tidy(&map, value);
	}
	for (int k = 0; k < KEYS; k++)
		live += want[k] != 0;
	assert_int_equal(map.count, live);
	try_map_free(&map);
}

static void rules_look_back(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} row[] = {{"rules: []\n", 0}, {"rules:\n- {id: a, when: {type: click}, then: alert}\n", 0},
		{"rules:\n- {id: a, when: {type: click}, by: page, count: {at_least: 3, within: 1m}, "
		 "suppress: 10s, "
		 "then: alert}\n",
			70000},
		{"rules:\n- {id: a, when: {type: click}, by: page, rate_change: {factor: 3, at_least: 3, "
		 "within: "
		 "1m}, then: alert}\n",
			120000},
		{"rules:\n- {id: a, when: {type: click}, by: page, anomaly: {of: count, every: 10s, zscore: "
		 "{windows: 8, k: 2}, samples: 5}, then: alert}\n",
			140000},
		{"rules:\n- {id: a, when: {type: click}, by: page, count: {at_least: 3, within: 30d}, then: "
		 "alert}\n",
			RULES_TRY_LOOK_BACK_MAX_MS}};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct ruleset *rs = compiled(row[i].text);

		assert_int_equal(rules_try_look_back(rs), row[i].ms);
		ruleset_free(rs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_meet_over_partitions),
		cmocka_unit_test(segments_go_meanwhile),
		cmocka_unit_test(damage_ends_a_partition),
		cmocka_unit_test(shadows_without_own_ids_are_met),
		cmocka_unit_test(map_counts),
		cmocka_unit_test(rules_look_back),
	};
	int rc;

	rig_eal("rules-try");
	rules_none = compiled("rules: []\n");
	rules_some = compiled(rules_text);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	ruleset_free(rules_none);
	ruleset_free(rules_some);
	return rc;
}
