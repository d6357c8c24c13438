/* Canaries of rules with state: they count beside what is in force, what was gathered goes on when they are
 * promoted, and a saved state in between changes nothing. */
#include <string.h>

#include "agg_record.h"
#include "cep_rig.h"

enum { A_ALONE = 1, A_AND_B, B_ALONE, A_AND_C, B_AND_C, NEW_B, GENERATIONS };
#define UID 7u
#define UID_CANARY 70u

/* A generation's rules: contents, and whether a canary. */
static const struct {
	uint32_t count;
	uint64_t content[2];
	bool canary[2];
} made[GENERATIONS] = {
	[A_ALONE] = {1, {1}, {false}},
	[A_AND_B] = {2, {1, 2}, {false, true}},
	[B_ALONE] = {1, {2}, {false}},
	[A_AND_C] = {2, {1, 3}, {false, true}},
	[B_AND_C] = {2, {2, 3}, {false, true}},
	[NEW_B] = {1, {2}, {true}},
};

static struct rule_state states[2];
static struct rule_keyring ring = {1, {FIELD_user_id}, 0, 0};
static struct rule_use uses[2];
static uint32_t alerts;
static uint64_t offset;

static int rules_get(void *arg, uint32_t generation, struct cep_rules *out, struct err *err)
{
	(void)arg, (void)err;
	memset(out->version, 0, sizeof out->version);
	out->count = out->match_count = made[generation].count;
	out->use = uses;
	for (uint32_t i = 0; i < out->count; i++) {
		bool canary = made[generation].canary[i];

		states[i] = rig_rule(RULE_STATE_COUNT);
		states[i].uid = canary ? UID_CANARY : UID;
		states[i].uid_other = canary ? UID : UID_CANARY;
		states[i].canary = canary;
		states[i].suppress_ms = 10000;
		uses[i] = (struct rule_use){(uint16_t)i, 0, 0};
		out->rule[i] = (struct cep_rule){
			&states[i], &ring, "rule", "A rule", "high", !canary, made[generation].content[i]};
	}
	return 0;
}

static int emit(void *arg, uint64_t at, const struct record *rec)
{
	(void)arg, (void)at;
	assert_int_equal(row_alert_of(rec)->evidence_total, 3);
	alerts++;
	return 0;
}

static struct cep *fresh(void)
{
	return cep_new(&(struct cep_params){3, rules_get, NULL, emit, NULL});
}

/* With the state of `was` saved and loaded. */
static struct cep *again(struct cep *was)
{
	struct cep *cep = fresh();
	struct bytes saved = {0}, twice = {0};
	struct err err;

	assert_int_equal(cep_flush(was), 0);
	cep_save(was, &saved);
	assert_int_equal(cep_load(cep, saved.data, saved.bytes, &err), 0);
	cep_save(cep, &twice);
	assert_true(bytes_same(&saved, &twice));
	bytes_free(&saved);
	bytes_free(&twice);
	cep_free(was);
	return cep;
}

/* n events of the key, which these rules of the generation match: bits. */
static void take(struct cep *cep, uint32_t generation, uint32_t rules, const char *key, uint32_t n)
{
	static struct agg_record rec;
	const struct cep_place place = {generation, 5};
	struct err err;
	uint16_t hits[2];

	while (n--) {
		agg_record_start(&rec);
		agg_record_text(&rec, FIELD_user_id, key, strlen(key));
		memcpy(rec.ev.event_id, &offset, sizeof offset);
		rec.ev.event_time_ms = CEP_RIG_TIME + (int64_t)offset;
		rec.ev.hit = hits;
		rec.ev.hit_count = 0;
		for (uint16_t i = 0; i < 2; i++)
			if (rules >> i & 1)
				hits[rec.ev.hit_count++] = i;
		assert_int_equal(cep_take(cep, &place, agg_record_done(&rec), offset++, INT64_MIN, &err), 0);
	}
	assert_int_equal(cep_flush(cep), 0);
}

static void change(struct cep *cep, uint32_t generation)
{
	struct err err;

	assert_int_equal(cep_flush(cep), 0);
	assert_int_equal(cep_switch(cep, generation, &err), 0);
	assert_int_equal(cep_count(cep), made[generation].count);
}

static const struct cep_stats *stats(const struct cep *cep, uint64_t uid)
{
	for (uint32_t i = 0; i < cep_count(cep); i++)
		if (cep_stats(cep, i)->uid == uid)
			return cep_stats(cep, i);
	fail_msg("no rule %u", (unsigned)uid);
	return NULL;
}

static struct cep *started(uint32_t generation)
{
	struct cep *cep = fresh();

	alerts = 0;
	offset = 0;
	change(cep, generation);
	return cep;
}

/* The rule in force alerts as if there was no canary; the canary counts what it would have given. */
static void test_beside(void **state)
{
	struct cep *cep = started(A_ALONE);

	(void)state;
	take(cep, A_ALONE, 1, "u1", 4); /* one alert, one held back */
	change(cep, A_AND_B);
	take(cep, A_AND_B, 3, "u2", 3);
	take(cep, A_AND_B, 2, "u3", 4);
	take(cep, A_AND_B, 2, "u4", 3);
	cep = again(cep);
	assert_int_equal(alerts, 2);
	assert_int_equal(stats(cep, UID)->alerts, 2);
	assert_int_equal(stats(cep, UID_CANARY)->alerts, 3);
	assert_int_equal(stats(cep, UID_CANARY)->suppressed, 1);
	assert_int_equal(stats(cep, UID_CANARY)->keys, 3);
	assert_int_equal(stats(cep, UID_CANARY)->hits_in_force, 3); /* in its time */
	assert_int_equal(stats(cep, UID_CANARY)->alerts_in_force, 1);
	change(cep, A_ALONE); /* it ends: what is in force has its state */
	take(cep, A_ALONE, 1, "u2", 3);
	assert_int_equal(alerts, 2);
	assert_int_equal(stats(cep, UID)->suppressed, 2 + 2);
	cep_free(cep);
}

static void promoted(bool saved)
{
	struct cep *cep = started(A_ALONE);

	take(cep, A_ALONE, 1, "u1", 3);
	change(cep, A_AND_B);
	take(cep, A_AND_B, 1, "u2", 2); /* of the rule that goes */
	take(cep, A_AND_B, 2, "u3", 2);
	if (saved)
		cep = again(cep);
	change(cep, B_ALONE);
	if (saved)
		cep = again(cep);
	take(cep, A_AND_B, 1, "u3", 1); /* on its way when it was promoted: what A matched is not B's */
	assert_int_equal(alerts, 1);
	assert_int_equal(cep_totals(cep)->not_in_force, 1);
	take(cep, A_AND_B, 2, "u3", 1); /* what the canary matched is */
	assert_int_equal(alerts, 2);
	take(cep, B_ALONE, 1, "u2", 2); /* begins anew there */
	assert_int_equal(alerts, 2);
	take(cep, B_ALONE, 1, "u2", 1);
	assert_int_equal(alerts, 3);
	assert_int_equal(stats(cep, UID)->alerts, 3); /* those that came out */
	assert_int_equal(stats(cep, UID)->keys, 2);
	assert_int_equal(stats(cep, UID)->alerts_in_force, 0);
	assert_int_equal(cep_totals(cep)->rules_dropped, 1);
	cep = again(cep);
	cep_free(cep);
}

static void test_promote(void **state)
{
	(void)state;
	promoted(false);
	promoted(true);
}

/* A rule that nothing in force has the id of. */
static void test_new(void **state)
{
	struct cep *cep = started(NEW_B);

	(void)state;
	take(cep, NEW_B, 1, "u1", 3);
	take(cep, NEW_B, 1, "u2", 2);
	assert_int_equal(alerts, 0);
	assert_int_equal(stats(cep, UID_CANARY)->alerts, 1);
	change(cep, B_ALONE);
	assert_int_equal(stats(cep, UID)->alerts, 0); /* none has come out */
	take(cep, B_ALONE, 1, "u2", 1);
	take(cep, B_ALONE, 1, "u1", 1); /* held back: the canary would have alerted */
	assert_int_equal(alerts, 1);
	assert_int_equal(stats(cep, UID)->suppressed, 1);
	cep_free(cep);
}

/* Another canary in its place keeps the state and counts from the start; and one that is promoted while the
 * next one is there already. */
static void test_next(void **state)
{
	struct cep *cep = started(A_AND_B);

	(void)state;
	take(cep, A_AND_B, 3, "u1", 3);
	assert_int_equal(stats(cep, UID_CANARY)->alerts_in_force, 1);
	change(cep, A_AND_C);
	assert_int_equal(stats(cep, UID_CANARY)->hits, 0);
	assert_int_equal(stats(cep, UID_CANARY)->alerts_in_force, 0);
	assert_int_equal(stats(cep, UID_CANARY)->keys, 1);
	change(cep, A_AND_B);
	take(cep, A_AND_B, 2, "u2", 2);
	change(cep, B_AND_C);
	assert_int_equal(stats(cep, UID)->keys, 2);
	assert_int_equal(stats(cep, UID_CANARY)->keys, 0);
	take(cep, B_AND_C, 1, "u2", 1);
	assert_int_equal(alerts, 2);
	cep = again(cep);
	cep_free(cep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_beside), cmocka_unit_test(test_promote),
		cmocka_unit_test(test_new), cmocka_unit_test(test_next)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
