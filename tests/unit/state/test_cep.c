/* Stateful rules where the model does not reach: bounds, floods, what changes with a generation, anomalies,
 * and bytes that are no saved state. */
#include "cep_rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cep_priv.h"
#include "hash.h"

static uint64_t resident_bytes(void)
{
	unsigned long all, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &all, &resident), 2);
	fclose(f);
	return (uint64_t)resident * 4096;
}

/* What the process has grown by is of the order of what was accounted for; sanitizers keep what is
 * freed, or a shadow of it. */
static void flood_memory(uint64_t before, uint64_t logical)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(resident_bytes() < before + 3 * logical + (24u << 20));
#endif
	(void)before, (void)logical;
}

/* A million keys through a rule that may remember a thousand: what is held stays bounded, accounted for and
 * real, the last ones are there, and who comes last costs as few looks at other keys as who came first. */
static void flood(uint8_t kind, uint64_t keys_max, uint64_t memory)
{
	struct rule_state rule = rig_rule((enum rule_state_kind)kind);
	static struct cep_rig rig;
	const struct cep_stats *s;
	uint64_t peak = 0, resident = resident_bytes(), looked[10];

	rule.keys_max = keys_max;
	rule.memory_bytes_max = memory;
	rule.within_ms = 1 << 30;
	cep_rig_open(&rig, &rule);
	for (uint32_t i = 0; i < 1000000; i++) {
		cep_rig_hit(&rig, 0, i, i / 100, 1);
		if (i % 100000 == 99999)
			looked[i / 100000] = rig.cep->machine[0]->looked;
		if (i % 1000)
			continue;
		s = cep_stats(rig.cep, 0);
		assert_true(s->memory_bytes <= memory && s->keys <= keys_max);
		peak = s->memory_bytes > peak ? s->memory_bytes : peak;
	}
	cep_rig_flush(&rig);
	s = cep_stats(rig.cep, 0);
	assert_int_equal(s->keys + s->evictions, 1000000);
	assert_true(looked[9] - looked[1] >= 790000 && looked[9] - looked[1] < 4000000);
	assert_true(looked[9] - looked[5] < (looked[5] - looked[1]) * 5 / 4);
	flood_memory(resident, peak);
	assert_true(peak > memory / 2 || s->keys == keys_max);
	assert_true(agg_arena_mapped(rig.cep->machine[0]->arena) < 4 * memory + (64u << 20));
	/* the newest are known: their second event completes what they began */
	rig.alerts.count = 0;
	cep_rig_hit(&rig, 0, 999999, 10001, 2);
	cep_rig_hit(&rig, 0, 999999, 10001, 2);
	cep_rig_flush(&rig);
	assert_int_equal(rig.alerts.count, 1);
	cep_rig_hit(&rig, 0, 3, 10001, 2);
	cep_rig_hit(&rig, 0, 3, 10001, 2);
	cep_rig_flush(&rig);
	assert_int_equal(rig.alerts.count, 1);
	cep_rig_reload(&rig);
	cep_rig_close(&rig);
}

static void test_flood(void **state)
{
	(void)state;
	flood(RULE_STATE_COUNT, 1000, 1 << 30);
	flood(RULE_STATE_COUNT, 1 << 30, 200000);
	flood(RULE_STATE_SEQUENCE, 1 << 30, 200000);
	flood(RULE_STATE_SEQUENCE, 100000, 1 << 30);
}

/* Keys of ever other lengths and lists of ever other sizes: freed memory of one size is used for others. */
static void test_sizes(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_COUNT);
	static struct cep_rig rig;
	uint32_t key = 1;

	(void)state;
	rule.memory_bytes_max = 1 << 20;
	rule.keys_max = 1 << 30;
	rule.at_least = 1 << 30;
	rule.events_max = 60000;
	cep_rig_open(&rig, &rule);
	for (uint32_t length = 1; length < 40000; length = length * 3 / 2 + 1)
		for (uint32_t n = 0; n < 400000; n++, key += n % length == 0)
			cep_rig_hit(&rig, 0, key, 0, 1);
	cep_rig_flush(&rig);
	assert_true(cep_stats(rig.cep, 0)->memory_bytes <= 1 << 20);
	assert_true(agg_arena_mapped(rig.cep->machine[0]->arena) < 32 << 20);
	cep_rig_close(&rig);
}

/* Partial matches beyond events_max are not begun, and counted. */
static void test_sequence_bound(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_SEQUENCE);
	static struct cep_rig rig;

	(void)state;
	rule.skip = RULE_SKIP_NONE;
	rule.events_max = 5;
	rule.evidence_max = 2;
	cep_rig_open(&rig, &rule);
	for (uint32_t i = 0; i < 8; i++)
		cep_rig_hit(&rig, 0, 1, i, 1);
	cep_rig_flush(&rig);
	assert_int_equal(cep_stats(rig.cep, 0)->partials, 5);
	assert_int_equal(cep_stats(rig.cep, 0)->cut, 3);
	cep_rig_hit(&rig, 0, 1, 20, 2);
	cep_rig_flush(&rig);
	assert_int_equal(rig.alerts.count, 5);
	assert_int_equal(rig.alerts.alert[0].first_ms, CEP_RIG_TIME);
	assert_int_equal(cep_stats(rig.cep, 0)->partials, 0);
	cep_rig_close(&rig);
}

/* A partial match of two events: what perf/budget.md says of its memory. */
static void test_partial_bytes(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_SEQUENCE);
	static struct cep_rig rig;
	uint64_t before, one, two;

	(void)state;
	rule.step_count = 3;
	cep_rig_open(&rig, &rule);
	cep_rig_hit(&rig, 0, 1, 0, 1u << RULE_STEPS_MAX);
	cep_rig_flush(&rig);
	before = cep_stats(rig.cep, 0)->memory_bytes;
	cep_rig_hit(&rig, 0, 1, 1, 1);
	cep_rig_flush(&rig);
	one = cep_stats(rig.cep, 0)->memory_bytes - before;
	cep_rig_hit(&rig, 0, 1, 2, 2);
	cep_rig_flush(&rig);
	two = cep_stats(rig.cep, 0)->memory_bytes - before;
	assert_int_equal(one, 64);
	assert_int_equal(two, 64);
	cep_rig_close(&rig);
}

/* What must not come between two steps must not come between the repeats of the first either, as in Flink. */
static void test_not_between_repeats(void **state)
{
	static const uint32_t play[3][4] = {{1, 2, 1, 4}, {1, 1, 2, 4}, {1, 1, 0, 4}}; /* steps, as bits */
	struct rule_state rule = rig_rule(RULE_STATE_SEQUENCE);
	static struct cep_rig rig;

	(void)state;
	rule.step_count = 3;
	rule.step[0].times_min = rule.step[0].times_max = 2;
	rule.step[1].follow = RULE_NOT_FOLLOWED_BY;
	cep_rig_open(&rig, &rule);
	for (uint32_t key = 0; key < 3; key++)
		for (uint32_t i = 0; i < 4; i++)
			cep_rig_hit(&rig, 0, key, 10 * i, play[key][i] ? play[key][i] : 1u << RULE_STEPS_MAX);
	cep_rig_flush(&rig);
	assert_int_equal(rig.alerts.count, 1);
	assert_int_equal(rig.alerts.alert[0].key, 2);
	cep_rig_close(&rig);
}

/* Sequences' state as bytes is what versions before wrote: partial matches with more events than are named,
 * with as many, with one; more than one of a key. */
static void test_saved_sequences(void **state)
{
	static const uint32_t named[3] = {5, 1, 0};
	uint64_t sum = 0;

	(void)state;
	for (uint32_t n = 0; n < 3; n++) {
		struct rule_state rule = rig_rule(RULE_STATE_SEQUENCE);
		static struct cep_rig rig;
		struct bytes saved = {0};

		rule.skip = RULE_SKIP_NONE;
		rule.evidence_max = named[n];
		rule.step[0].times_min = rule.step[0].times_max = 7;
		rule.within_ms = 10000;
		cep_rig_open(&rig, &rule);
		for (uint32_t i = 0; i < 500; i++)
			cep_rig_hit(&rig, 0, i * i % 23, i, i % 5 ? 1 : 4);
		cep_rig_flush(&rig);
		assert_true(cep_stats(rig.cep, 0)->partials > 100);
		cep_save(rig.cep, &saved);
		sum = hash_bytes(saved.data, saved.bytes, sum);
		bytes_free(&saved);
		cep_rig_reload(&rig);
		cep_rig_close(&rig);
	}
	assert_int_equal(sum, 0x844f7e772e078c70ull);
}

/* A rule that stays keeps what it knows; one that goes loses it; hits of another generation are counted. */
static void test_switch(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_COUNT), other = rule;
	static struct cep_rig rig;
	struct err err;

	(void)state;
	cep_rig_open(&rig, &rule);
	other.uid = 3;
	rig.rule[1] = other;
	rig.rules = 2;
	assert_int_equal(cep_switch(rig.cep, 3, &err), 0);
	for (uint32_t r = 0; r < 2; r++)
		for (uint32_t i = 0; i < 2; i++)
			cep_rig_hit(&rig, r, 5, i, 1);
	cep_rig_flush(&rig);
	assert_int_equal(cep_count(rig.cep), 2);
	assert_int_equal(cep_stats(rig.cep, 0)->uid, 3);
	assert_int_equal(cep_switch(rig.cep, 1, &err), 0);
	assert_int_equal(cep_count(rig.cep), 1);
	assert_int_equal(cep_totals(rig.cep)->keys_dropped, 1);
	cep_rig_hit(&rig, 1, 5, 3, 1); /* of generation 3, whose rule is gone */
	cep_rig_flush(&rig);
	assert_int_equal(cep_totals(rig.cep)->not_in_force, 1);
	cep_rig_hit(&rig, 0, 5, 3, 1);
	cep_rig_flush(&rig);
	assert_int_equal(rig.alerts.count, 1);
	assert_int_equal(cep_switch(rig.cep, 3, &err), 0);
	cep_rig_hit(&rig, 1, 5, 4, 1);
	cep_rig_flush(&rig);
	assert_int_equal(rig.alerts.count, 1); /* it begins anew */
	cep_rig_reload(&rig);
	assert_int_equal(cep_generation(rig.cep), 3);
	assert_int_equal(cep_switch(rig.cep, 99, &err), -22);
	cep_rig_close(&rig);
}

/* Ten events in each 100 ms, then fifty. */
static void test_anomaly(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_ANOMALY);

	(void)state;
	for (uint32_t field = 0; field < 3; field++)
		for (uint32_t detector = RULE_ZSCORE; detector <= RULE_SEASONAL; detector++) {
			static struct cep_rig rig;

			rule.field = field == 0 ? FIELD_NONE : field == 1 ? FIELD_metric : FIELD_amount;
			rule.decimal = field == 2;
			rule.anomaly = (uint8_t)detector;
			rule.deviations = 5;
			cep_rig_open(&rig, &rule);
			for (int64_t t = 0; t < 10000; t += 10) {
				bool burst = t >= 9000 && t < 9100;

				for (uint32_t i = 0; i < (burst && !field ? 5 : 1); i++) {
					struct rig_hit hit = {CEP_RIG_TIME + t, 1, 1, burst ? 50 : 10};

					cep_rig_take(&rig, 0, &hit, CEP_RIG_TIME + t - 50);
				}
				if (t % 50 == 0)
					cep_rig_reach(&rig, CEP_RIG_TIME + t - 50);
				if (t % 370 == 0)
					cep_rig_reload(&rig);
			}
			cep_rig_reach(&rig, CEP_RIG_TIME + 10000);
			assert_true(rig.alerts.count >= 1);
			assert_int_equal(rig.alerts.alert[0].first_ms, CEP_RIG_TIME + 9000);
			assert_int_equal(rig.alerts.alert[0].last_ms, CEP_RIG_TIME + 9100);
			assert_true(fabs(rig.alerts.alert[0].value - (field == 0	  ? 50
									     : field == 1 ? 5
											  : 50e-6)) < 1e-9);
			cep_rig_reach(&rig, CEP_RIG_TIME + 100000000);
			assert_int_equal(cep_stats(rig.cep, 0)->keys, 0);
			assert_int_equal(cep_stats(rig.cep, 0)->memory_bytes, 0);
			cep_rig_close(&rig);
		}
}

/* Ten events in each bucket of 100 ms, then fifty, then, in the last one, none but `last`. Alerts that come.
 */
static uint32_t anomaly_alerts(const struct rule_state *rule, uint32_t last, int64_t *first_ms)
{
	static struct cep_rig rig;
	uint32_t count;

	cep_rig_open(&rig, rule);
	for (int64_t t = 0; t < 3000; t += 10)
		for (uint32_t i = 0; i < (t / 100 == 20 ? 5 : t / 100 == 29 ? t / 10 % 10 < last : 1); i++)
			cep_rig_hit(&rig, 0, 1, t, 1);
	cep_rig_reach(&rig, CEP_RIG_TIME + 10000);
	count = rig.alerts.count;
	*first_ms = count ? rig.alerts.alert[0].first_ms - CEP_RIG_TIME : -1;
	cep_rig_close(&rig);
	return count;
}

static void test_anomaly_bounds(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_ANOMALY);
	int64_t first_ms;

	(void)state;
	rule.windows = 5;
	rule.deviations = 2.5;
	assert_int_equal(anomaly_alerts(&rule, 1, &first_ms), 2);
	assert_int_equal(first_ms, 2000);
	rule.side = RULE_SIDE_ABOVE;
	assert_int_equal(anomaly_alerts(&rule, 1, &first_ms), 1);
	assert_int_equal(first_ms, 2000);
	rule.at_least = 50;
	assert_int_equal(anomaly_alerts(&rule, 1, &first_ms), 1);
	rule.at_least = 51;
	assert_int_equal(anomaly_alerts(&rule, 1, &first_ms), 0);
	rule.at_least = 1;
	rule.side = RULE_SIDE_BELOW;
	assert_int_equal(anomaly_alerts(&rule, 1, &first_ms), 1);
	assert_int_equal(first_ms, 2900);
	rule.at_least = 2;
	assert_int_equal(anomaly_alerts(&rule, 1, &first_ms), 0);
	assert_int_equal(anomaly_alerts(&rule, 2, &first_ms), 1);
}

/* The run that goes on is what counts: another value, or a pause of `within`, begins anew. */
static void test_unchanged(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_UNCHANGED);
	static const struct {
		int64_t t, value;
		uint32_t alerts;
	} event[] = {{0, 1, 0}, {10, 1, 0}, {20, 2, 0}, {30, 1, 0}, {40, 1, 0}, {50, 1, 1}, {60, 1, 2},
		{70, 2, 2}, {80, 2, 2}, {1080, 2, 2}, {1081, 2, 2}, {2079, 2, 3}, {25, 1, 3}};
	static struct cep_rig rig;

	(void)state;
	cep_rig_open(&rig, &rule);
	for (uint32_t i = 0; i < sizeof event / sizeof *event; i++) {
		struct rig_hit hit = {CEP_RIG_TIME + event[i].t, 1, 1, event[i].value};

		cep_rig_take(&rig, 0, &hit, i ? CEP_RIG_TIME + event[i - 1].t : INT64_MIN);
		cep_rig_reach(&rig, CEP_RIG_TIME + event[i].t + 1 > rig.cep->step_ms
					    ? CEP_RIG_TIME + event[i].t + 1
					    : rig.cep->step_ms);
		assert_int_equal(rig.alerts.count, event[i].alerts);
	}
	assert_int_equal(rig.alerts.alert[0].first_ms, CEP_RIG_TIME + 30);
	assert_int_equal(rig.alerts.alert[2].first_ms, CEP_RIG_TIME + 1080);
	assert_int_equal(cep_stats(rig.cep, 0)->late, 1);
	cep_rig_close(&rig);
}

static void test_countries(void **state)
{
	(void)state;
	for (int i = 0; i < 250; i++) {
		assert_true(cep_country_is(i));
		assert_true(cep_country_km(i, i) == 0);
		for (int k = 0; k < 250; k++) {
			double km = cep_country_km(i, k);

			assert_true(km >= 0 && km < 20016 && fabs(km - cep_country_km(k, i)) < 1e-6);
		}
	}
	assert_true(!cep_country_is(250));
	assert_true(
		cep_country((const uint8_t *)"ad", 2) == 0 && cep_country((const uint8_t *)"ZW", 2) == 249);
	assert_true(
		cep_country((const uint8_t *)"QQ", 2) == -1 && cep_country((const uint8_t *)"DEU", 3) == -1);
	/* 51 N 9 E to 46 N 2 E */
	assert_true(fabs(cep_country_km(cep_country((const uint8_t *)"DE", 2),
				 cep_country((const uint8_t *)"FR", 2)) -
			    757.704386) < 1e-5);
}

/* Where events come in order of arrival a partial match is over by its key's time, whatever the step is and
 * whenever the key was looked at: with a state loaded in between, too. */
static void test_arrival_by_its_key(void **state)
{
	(void)state;
	for (int reload = 0; reload < 2; reload++) {
		struct rule_state rule = rig_rule(RULE_STATE_SEQUENCE);
		static struct cep_rig rig;

		rule.order = RULE_ORDER_ARRIVAL;
		rule.within_ms = 10000;
		rule.suppress_ms = 0;
		rule.step_count = 2;
		rule.step[1] =
			(struct rule_step){rule.step[1].name, rule.step[1].match, RULE_FOLLOWED_BY, 1, 1};
		cep_rig_open(&rig, &rule);
		cep_rig_hit(&rig, 0, 1, 0, 1);
		cep_rig_hit(&rig, 0, 1, 5000, 0);
		cep_rig_flush(&rig);
		if (reload)
			cep_rig_reload(&rig);
		cep_rig_reach(&rig, CEP_RIG_TIME + 10000); /* other keys have come so far */
		cep_rig_hit(&rig, 0, 1, 7000, 2);
		cep_rig_flush(&rig);
		assert_int_equal(rig.alerts.count, 1);
		cep_rig_close(&rig);
	}
}

/* Evictions among what has waited, in keys of ever other lengths: what is to be tidied up is so afterwards.
 */
static void test_tidy_waits(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_SEQUENCE);
	static struct cep_rig rig;

	(void)state;
	rule.order = RULE_ORDER_EVENT_TIME;
	rule.within_ms = 1 << 30;
	rule.keys_max = 1 << 20;
	rule.memory_bytes_max = 1 << 20;
	cep_rig_open(&rig, &rule);
	for (uint32_t round = 0; round < 40; round++) {
		for (uint32_t i = 0; i < 20000; i++)
			cep_rig_hit(&rig, 0, round * 7919 + i % 9000, round * 1000 + i / 100, 1u << (i & 1));
		/* as if nearly all of its memory were unused */
		rig.cep->machine[0]->untidy = true;
		cep_rig_reach(&rig, CEP_RIG_TIME + (int64_t)round * 1000 + 999);
		assert_false(rig.cep->machine[0]->judging || rig.cep->machine[0]->untidy);
	}
	cep_rig_reload(&rig);
	cep_rig_close(&rig);
}

/* Without any rule in it a saved state is not needed by whoever has no rules. */
static void test_saved_empty(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_COUNT);
	static struct cep_rig rig;
	struct bytes saved = {0};
	struct err err;

	(void)state;
	cep_rig_open(&rig, &rule);
	cep_save(rig.cep, &saved);
	assert_false(cep_saved_empty(saved.data, saved.bytes));
	bytes_reset(&saved);
	assert_int_equal(cep_switch(rig.cep, 0, &err), 0); /* none of the rules */
	cep_save(rig.cep, &saved);
	assert_true(cep_saved_empty(saved.data, saved.bytes));
	for (size_t cut = 0; cut < saved.bytes; cut++)
		assert_false(cep_saved_empty(saved.data, cut));
	bytes_free(&saved);
	cep_rig_close(&rig);
}

/* Changed bytes are refused, or are a state that goes on without harm and saves canonically. */
static void test_hostile(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 4000; round++) {
		uint8_t kind = (uint8_t)(RULE_STATE_COUNT + round % 9);
		struct rule_state rule = rig_rule((enum rule_state_kind)kind);
		struct bytes saved = {0};
		static struct cep_rig rig;
		struct cep *fresh;
		struct err err;

		random_state = round;
		rule.order = kind == RULE_STATE_ABSENCE || kind == RULE_STATE_ANOMALY ||
					     kind == RULE_STATE_UNCHANGED
				     ? 1
				     : (uint8_t)random_below(2);
		rule.at_least = 1000;
		cep_rig_open(&rig, &rule);
		for (uint32_t i = 0; i < 40; i++)
			cep_rig_hit(&rig, 0, random_below(5), random_below(300), random_below(4));
		cep_rig_reach(&rig, CEP_RIG_TIME + 150);
		cep_save(rig.cep, &saved);
		bytes_mutate(&saved);
		fresh = cep_rig_new(&rig);
		if (cep_load(fresh, saved.data, saved.bytes, &err) == 0) {
			cep_free(rig.cep);
			rig.cep = fresh;
			cep_rig_reload(&rig);
		} else {
			cep_free(fresh);
		}
		bytes_free(&saved);
		cep_rig_close(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_flood), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_sequence_bound), cmocka_unit_test(test_partial_bytes),
		cmocka_unit_test(test_not_between_repeats), cmocka_unit_test(test_saved_sequences),
		cmocka_unit_test(test_switch), cmocka_unit_test(test_anomaly),
		cmocka_unit_test(test_anomaly_bounds), cmocka_unit_test(test_unchanged),
		cmocka_unit_test(test_countries), cmocka_unit_test(test_arrival_by_its_key),
		cmocka_unit_test(test_tidy_waits), cmocka_unit_test(test_saved_empty),
		cmocka_unit_test(test_hostile)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
