/* Stateful rules in the stage: notes, generations, the place of alerts among rows and late events, saved
 * states. */
#include "stage_rig.h"

#include <stdio.h>
#include <string.h>

#include "agg_random.h"
#include "agg_record.h"
#include "cep_priv.h"

#define RECORDS 2000u
#define STREAMS 40u

static struct rule_state rule[3];
static const struct rule_keyring ring = {1, {FIELD_user_id}, 0, 0};
static struct rule_use use[6];
static uint64_t not_in_force;

/* Generation 1: rules 0 and 1; 2: rules 0 and 2. The same hits mean other things. */
static int rules_get(void *arg, uint32_t generation, struct cep_rules *out, struct err *err)
{
	(void)arg;
	if (generation < 1 || generation > 2)
		return err_set(err, -2, "generation %u is not there", generation);
	memset(out->version, 0, sizeof out->version);
	out->version[0] = (char)('0' + generation);
	out->count = 2;
	out->rule[0] = (struct cep_rule){&rule[0], &ring, "first", "First", "low", true, 0};
	out->rule[1] = (struct cep_rule){
		&rule[generation], &ring, generation == 1 ? "second" : "third", "Other", "high", true, 0};
	for (uint16_t i = 0; i < 6; i++)
		use[i] = (struct rule_use){(uint16_t)(i >= 3 ? generation == 1 : generation == 2), i % 3, 0};
	out->match_count = 6;
	out->use = use;
	return 0;
}

static void rules_make(void)
{
	for (uint32_t i = 0; i < 3; i++) {
		rule[i] = (struct rule_state){.uid = 30 - i,
			.kind = i == 0 ? RULE_STATE_COUNT : RULE_STATE_SEQUENCE,
			.order = i == 2,
			.within_ms = 3000,
			.at_least = 2,
			.step_count = 3,
			.evidence_max = 3,
			.keys_max = 100,
			.memory_bytes_max = 1 << 20,
			.events_max = 100};
		for (uint16_t k = 0; k < 3; k++)
			rule[i].step[k] = (struct rule_step){"s", k, RULE_FOLLOWED_BY, 1, 1};
	}
}

/* ---- streams ---- */
struct stream {
	struct bytes data;
	uint32_t count;
	size_t at[RECORDS + 1];
	uint32_t generation[RECORDS]; /* of the record's block */
	bool note[RECORDS];
};

static void note_put(struct stream *s, const char *text)
{
	uint32_t bytes = (uint32_t)(sizeof(struct record) + strlen(text) + 7) & ~7u;
	struct record *rec = (struct record *)bytes_room(&s->data, bytes);

	memset(rec, 0, bytes);
	rec->bytes = bytes;
	rec->kind = RECORD_CONTROL;
	rec->payload_bytes = (uint32_t)strlen(text);
	memcpy(rec + 1, text, strlen(text));
}

static void event_put(struct stream *s, int64_t now)
{
	static struct agg_record r;
	uint16_t hit[2] = {(uint16_t)random_below(6), 0};
	struct record *rec;
	uint64_t id = s->count;
	char user[8];

	agg_record_start(&r);
	snprintf(user, sizeof user, "u%u", random_below(6));
	agg_record_text(&r, FIELD_user_id, user, strlen(user));
	r.ev.event_time_ms = now - (random_below(4) ? 0 : random_below(5000));
	r.ev.hit = hit;
	r.ev.hit_count = random_below(3) != 0;
	memcpy(r.ev.event_id, &id, sizeof id);
	rec = (struct record *)(uintptr_t)agg_record_done(&r);
	rec->receive_time_ms = now;
	if (rec->hit_count && !random_below(5))
		rec->kind = RECORD_SHADOW;
	bytes_put(&s->data, rec, rec->bytes);
}

static void stream_make(struct stream *s)
{
	uint32_t generation = 1;
	int64_t now = RIG_TIME;

	bytes_reset(&s->data);
	for (s->count = 0; s->count < RECORDS; s->count++) {
		uint32_t i = s->count;

		s->at[i] = s->data.bytes;
		s->note[i] = i == 10 || i == 900 || i == 1500;
		if (s->note[i]) {
			char text[40];

			snprintf(text, sizeof text, "event=rules generation=%u", i == 900 ? 2 : 1);
			note_put(s, text);
			generation = i == 900 ? 2 : 1;
		} else {
			now += random_below(40);
			event_put(s, now);
		}
		/* for some time blocks of the generation before still come */
		s->generation[i] = i % 7 == 0 && i > 900 && i < 960 ? 1 : generation;
	}
	s->at[RECORDS] = s->data.bytes;
}

/* ---- runs ---- */
static struct stage *stage_make(const struct window_plan *plan, struct bytes *out)
{
	struct stage_params params = {.plan = plan,
		.partition = 2,
		.out_of_orderness_ms = 1000,
		.memory_bytes = 1 << 20,
		.rules = rules_get};
	struct stage *st;
	struct err err;

	assert_int_equal(stage_new(&st, &params, rig_collect, out, &err), 0);
	return st;
}

static void block_run(struct stage *st, const struct stream *s, uint32_t first, uint32_t end)
{
	struct journal_block block = {.partition = 2,
		.generation = s->generation[first],
		.first_offset = first,
		.record_count = end - first,
		.bytes = (uint32_t)(s->at[end] - s->at[first]),
		.receive_last_ms = RIG_TIME,
		.watermark_ms = INT64_MIN,
		.data = s->data.data + s->at[first]};
	struct err err = {""};

	if (stage_block(st, &block, first, &err))
		fail_msg("%s", err.text);
}

static struct stage *stage_again(struct stage *st, const struct window_plan *plan, struct bytes *out)
{
	struct stage *fresh = stage_make(plan, out);
	struct bytes saved = {0}, again = {0};
	uint32_t dropped;
	struct err err = {""};

	stage_save(st, &saved);
	if (stage_load(fresh, saved.data, saved.bytes, &dropped, &err))
		fail_msg("%s", err.text);
	stage_save(fresh, &again);
	assert_true(bytes_same(&saved, &again));
	bytes_free(&saved);
	bytes_free(&again);
	stage_free(st);
	return fresh;
}

/* In blocks of up to `most` records, saved and loaded behind each `reload`-th of them; 0: never. */
static void stream_run(const struct stream *s, const struct window_plan *plan, uint32_t most, uint32_t reload,
	struct bytes *out)
{
	struct stage *st = stage_make(plan, out);
	uint32_t first = 0, blocks = 0;

	while (first < s->count) {
		uint32_t end = first + 1;

		while (!s->note[first] && end < s->count && end - first < most && !s->note[end] &&
			s->generation[end] == s->generation[first])
			end++;
		block_run(st, s, first, end);
		if (reload && ++blocks % reload == 0)
			st = stage_again(st, plan, out);
		first = end;
	}
	assert_int_equal(cep_generation(stage_rules(st)), 1);
	not_in_force += cep_totals(stage_rules(st))->not_in_force;
	stage_free(st);
}

/* Alerts and late events in the order of their events, before the rows of the step that they belong to. */
static void order_check(const struct bytes *out, uint32_t *alerts, uint32_t *late)
{
	uint64_t before = 0, offset;
	int64_t mark = INT64_MIN;
	const struct record *rec;
	size_t at = 0;

	while ((rec = rig_next(out, &at))) {
		if (rec->kind == RECORD_MARK)
			mark = rec->event_time_ms;
		if (rec->kind == RECORD_LATE) {
			offset = row_late_offset(rec);
			assert_true(offset >= before);
			before = offset;
			(*late)++;
		}
		if (!row_is_alert(rec))
			continue;
		(*alerts)++;
		assert_int_equal(row_alert_evidence(rec, 0).partition, 2);
		if (rec->receive_time_ms &&
			memcmp(row_alert_text(rec, ROW_TEXT_RULE, &(uint32_t){0}), "third", 5)) {
			memcpy(&offset, rec->event_id, sizeof offset);
			assert_true(offset >= before);
			before = offset;
		}
	}
	assert_true(mark != INT64_MIN);
}

static const char *const windows_text[] = {"name=t kind=tumbling size=2s by=user_id aggregates='count'",
	"name=s kind=session gap=1s by=user_id aggregates='count'"};

static void test_blocks(void **state)
{
	struct window_plan *plan = rig_plan(500, 2, windows_text);
	uint32_t alerts = 0, late = 0;
	static struct stream s;

	(void)state;
	rules_make();
	for (uint32_t i = 0; i < STREAMS; i++) {
		struct bytes straight = {0}, other = {0};

		random_state = i;
		stream_make(&s);
		stream_run(&s, plan, 100, 0, &straight);
		order_check(&straight, &alerts, &late);
		stream_run(&s, plan, 100, 1 + i % 5, &other);
		assert_true(bytes_same(&straight, &other));
		bytes_reset(&other);
		stream_run(&s, plan, 1 + i * 7 % 300, 0, &other); /* other blocks, the same records */
		assert_true(bytes_same(&straight, &other));
		bytes_free(&straight);
		bytes_free(&other);
	}
	assert_true(alerts > 1000 && late > 1000 && not_in_force > 100);
	bytes_free(&s.data);
	window_plan_free(plan);
}

/* A state of the version before has no rules; one with rules is nothing for a stage without. */
static void test_versions(void **state)
{
	const struct window_plan plan = {.step_ms = 500};
	struct stage_params params = {.plan = &plan, .partition = 2, .memory_bytes = 1 << 20};
	struct bytes out = {0}, saved = {0};
	static struct stream s;
	uint32_t before = 2, dropped;
	struct stage *st, *none;
	struct err err;

	(void)state;
	rules_make();
	random_state = 1;
	stream_make(&s);
	st = stage_make(&plan, &out);
	block_run(st, &s, 0, 10);
	stage_save(st, &saved);
	memcpy(saved.data + 8, &before, sizeof before);
	stage_free(st);
	st = stage_make(&plan, &out);
	assert_int_equal(stage_load(st, saved.data, saved.bytes - 8, &dropped, &err), 0);
	assert_int_equal(cep_generation(stage_rules(st)), 0);
	block_run(st, &s, 10, 11);
	block_run(st, &s, 11, 300);
	bytes_reset(&saved);
	stage_save(st, &saved);
	assert_int_equal(stage_new(&none, &params, rig_collect, &out, &err), 0);
	assert_int_equal(stage_load(none, saved.data, saved.bytes, &dropped, &err), -22);
	stage_free(none);
	stage_free(st);
	bytes_free(&s.data);
	bytes_free(&saved);
	bytes_free(&out);
}

/* The rules' part of a saved state has a version of its own: behind windows, of which some hold much, one of
 * a newer version is found; one that is cut anywhere is none. */
static void test_newer(void **state)
{
	struct window_plan *plan = rig_plan(500, 2, windows_text);
	struct bytes out = {0}, saved = {0};
	static struct stream s;
	uint32_t is = 0, reads = 0, newer = 77;
	struct stage *st;
	uint8_t *at;

	(void)state;
	rules_make();
	random_state = 1;
	stream_make(&s);
	st = stage_make(plan, &out);
	block_run(st, &s, 0, 10);
	block_run(st, &s, 10, 11);
	block_run(st, &s, 11, 300);
	stage_save(st, &saved);
	assert_false(stage_saved_newer(saved.data, saved.bytes, &is, &reads));
	at = memmem(saved.data, saved.bytes, "SCEP1", 5);
	assert_non_null(at);
	memcpy(at + 8, &newer, sizeof newer);
	assert_true(stage_saved_newer(saved.data, saved.bytes, &is, &reads));
	assert_int_equal(is, 77);
	assert_int_equal(reads, 1);
	for (size_t n = 0; n < saved.bytes; n++)
		assert_false(stage_saved_newer(saved.data, n, &is, &reads));
	stage_free(st);
	window_plan_free(plan);
	bytes_free(&s.data);
	bytes_free(&saved);
	bytes_free(&out);
}

/* What a stage has gathered of rules numbers their keys anew. */
static void test_gathered(void **state)
{
	const struct window_plan plan = {.step_ms = 500};
	struct bytes out = {0}, saved = {0};
	struct stage_saved list;
	static struct stream s;
	struct stage *st;
	struct err err;
	uint64_t keys = 0;

	(void)state;
	rules_make();
	random_state = 1;
	stream_make(&s);
	st = stage_make(&plan, &out);
	block_run(st, &s, 0, 10);
	block_run(st, &s, 10, 11);
	block_run(st, &s, 11, 300);
	stage_save(st, &saved);
	stage_free(st);
	st = stage_make(&plan, &out);
	list = (struct stage_saved){saved.data, saved.bytes};
	assert_int_equal(stage_gather(st, &list, 1, 3, &err), 0);
	for (uint32_t i = 0; i < 2; i++) {
		const struct cep_machine *m = stage_rules(st)->machine[i];

		assert_int_equal(m->touched, m->keys.count);
		keys += m->keys.count;
	}
	assert_true(keys > 0);
	stage_free(st);
	bytes_free(&s.data);
	bytes_free(&saved);
	bytes_free(&out);
}

/* Notes that cannot be read, or name what is not there, stop the stage; so does a hit that there is not. */
static void test_refused(void **state)
{
	static const char *const text[] = {"event=rules generation=", "event=rules generation=x",
		"event=rules generation=0", "event=rules generation=7", "event=rules generation=99999999999"};
	const struct window_plan plan = {.step_ms = 500};
	struct bytes out = {0};

	(void)state;
	rules_make();
	for (uint32_t i = 0; i < 5; i++) {
		struct stream s = {.count = 1, .generation = {1}};
		struct stage *st = stage_make(&plan, &out);
		struct journal_block block = {.partition = 2, .record_count = 1, .watermark_ms = INT64_MIN};
		struct err err = {""};

		note_put(&s, text[i]);
		block.bytes = (uint32_t)s.data.bytes;
		block.data = s.data.data;
		assert_true(stage_block(st, &block, 0, &err) < 0);
		assert_true(err.text[0]);
		stage_free(st);
		bytes_free(&s.data);
	}
	bytes_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks), cmocka_unit_test(test_versions),
		cmocka_unit_test(test_newer), cmocka_unit_test(test_gathered),
		cmocka_unit_test(test_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
