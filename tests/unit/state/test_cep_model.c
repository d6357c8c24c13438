/* Every kind of rule, in both orders, against the model: more than a million events, each with all the alerts
 * that come of it. On the way the state is saved and loaded at any place. */
#include "cep_rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "avx2.h"

#define STREAM_EVENTS 120
#define CASES_MIN 1000000u

static uint64_t cases, alerts_seen, evictions_seen, expiries_seen, late_seen, suppressed_seen;

static void rule_vary(struct rule_state *rule)
{
	rule->order = rule->kind == RULE_STATE_ABSENCE || rule->kind == RULE_STATE_UNCHANGED
			      ? RULE_ORDER_EVENT_TIME
			      : (uint8_t)random_below(2);
	rule->within_ms = random_below(4) ? 50 + random_below(400) : 1 + random_below(3000);
	rule->suppress_ms = random_below(3) ? 0 : 1 + random_below(1000);
	rule->at_least = 1 + random_below(5);
	rule->factor = 0.5 * random_below(6);
	rule->threshold = (int64_t)random_below(60) - 10;
	rule->threshold_number = (double)rule->threshold * 0.1;
	rule->speed_kmh = 100 + random_below(2000000);
	rule->distance_km_min = random_below(2) ? 0 : random_below(9000);
	rule->evidence_max = random_below(6);
	rule->keys_max = random_below(3) ? 1000 : 1 + random_below(4);
	if (rule->kind == RULE_STATE_COUNT || rule->kind == RULE_STATE_SUM ||
		rule->kind == RULE_STATE_UNCHANGED)
		rule->events_max = random_below(3) ? 1000 : 1 + random_below(6);
	if (rule->kind == RULE_STATE_UNCHANGED)
		rule->field = random_below(2) ? FIELD_page : random_below(2) ? FIELD_amount : FIELD_metric;
	if (rule->kind == RULE_STATE_SUM) {
		rule->decimal = random_below(2);
		rule->field = rule->decimal ? FIELD_amount : FIELD_metric;
	}
	rule->skip = (uint8_t)random_below(2);
	if (rule->kind != RULE_STATE_SEQUENCE)
		return;
	rule->step_count = 1 + random_below(5);
	for (uint32_t i = 0; i < rule->step_count; i++) {
		struct rule_step *step = &rule->step[i];
		/* an end that does not come is told by the watermark alone */
		bool not_last = rule->order == RULE_ORDER_ARRIVAL && i + 1 == rule->step_count;

		step->follow = (uint8_t)random_below(i && !not_last ? 4 : 2);
		step->times_min = step->times_max = 1;
		if (step->follow < RULE_NOT_NEXT && !random_below(3)) {
			step->times_min = (uint16_t)(1 + random_below(3));
			step->times_max = (uint16_t)(step->times_min + random_below(3));
		}
	}
}

static void alerts_compare(
	const struct rig_alerts *got, const struct rig_alerts *want, const struct rule_state *rule)
{
	for (uint32_t i = 0; i < got->count || i < want->count; i++) {
		const struct rig_alert *g = i < got->count ? &got->alert[i] : NULL,
				       *w = i < want->count ? &want->alert[i] : NULL;

		if (g && w && g->key == w->key && g->first_ms == w->first_ms && g->last_ms == w->last_ms &&
			fabs(g->value - w->value) <= 1e-9 * fabs(w->value) && g->total == w->total)
			continue;
		fail_msg(
			"kind %u order %u: alert %u of %u/%u: key %d first %lld last %lld value %g total %d, "
			"expected key %d first %lld last %lld value %g total %d",
			rule->kind, rule->order, i, got->count, want->count, g ? (int)g->key : -1,
			g ? (long long)(g->first_ms - CEP_RIG_TIME) : 0,
			g ? (long long)(g->last_ms - CEP_RIG_TIME) : 0, g ? g->value : 0,
			g ? (int)g->total : 0, w ? (int)w->key : -1,
			w ? (long long)(w->first_ms - CEP_RIG_TIME) : 0,
			w ? (long long)(w->last_ms - CEP_RIG_TIME) : 0, w ? w->value : 0,
			w ? (int)w->total : 0);
	}
}

static void counts_compare(struct cep_rig *rig, struct cep_model *model)
{
	const struct cep_stats *s = cep_stats(rig->cep, 0);
	struct cep_model_counts c = cep_model_counts(model);

	assert_int_equal(s->late, c.late);
	assert_int_equal(s->suppressed, c.suppressed);
	assert_int_equal(s->evictions, c.evictions);
	assert_int_equal(s->expiries, c.expiries);
	assert_int_equal(s->keys, c.keys);
	late_seen += s->late;
	suppressed_seen += s->suppressed;
	evictions_seen += s->evictions;
	expiries_seen += s->expiries;
	alerts_seen += s->alerts;
}

static void stream(const struct rule_state *rule)
{
	uint32_t keys = 1 + random_below(9), pace = 1 + random_below(60);
	uint32_t values = 1 + random_below(random_below(4) ? 6 : 80);
	int64_t now = CEP_RIG_TIME, step = INT64_MIN, watermark = INT64_MIN, spread = random_below(500);
	struct cep_model *model = cep_model_new(rule);
	struct rig_alerts want = {0};
	static struct cep_rig rig;

	avx2_barred = random_below(2);
	cep_rig_open(&rig, rule);
	for (uint32_t i = 0; i < STREAM_EVENTS; i++) {
		struct rig_hit hit = {
			.key = random_below(keys), .steps = random_below(32) & random_below(32)};

		now += random_below(pace);
		hit.time_ms = now - (random_below(3) ? 0 : random_below((uint32_t)spread + 1));
		hit.value = rule->kind == RULE_STATE_TRAVEL ? random_below(4) : random_below(values);
		cep_rig_take(&rig, 0, &hit, watermark);
		cep_model_take(model, &hit, watermark, &want);
		if (now - 200 > watermark)
			watermark = now - 200;
		if (watermark / 50 * 50 > step) {
			step = watermark / 50 * 50;
			cep_rig_reach(&rig, step);
			cep_model_reach(model, step, &want);
		}
		if (!random_below(40))
			cep_rig_reload(&rig);
		if (!random_below(3)) { /* else several events are on their way at a time */
			cep_rig_flush(&rig);
			alerts_compare(&rig.alerts, &want, rule);
			rig.alerts.count = want.count = 0;
		}
		cases++;
	}
	cep_rig_reach(&rig, now + 100000);
	cep_model_reach(model, now + 100000, &want);
	alerts_compare(&rig.alerts, &want, rule);
	counts_compare(&rig, model);
	assert_int_equal(cep_stats(rig.cep, 0)->keys, 0);
	assert_int_equal(cep_stats(rig.cep, 0)->partials, 0);
	assert_int_equal(cep_stats(rig.cep, 0)->memory_bytes, 0);
	cep_rig_close(&rig);
	cep_model_free(model);
	free(want.alert);
	avx2_barred = false;
}

static void run(enum rule_state_kind kind, uint32_t streams)
{
	for (uint32_t i = 0; i < streams; i++) {
		struct rule_state rule = rig_rule(kind);

		random_state = (uint64_t)kind << 32 | i;
		rule_vary(&rule);
		stream(&rule);
	}
}

static void test_count(void **state)
{
	(void)state;
	run(RULE_STATE_COUNT, 1400);
}

static void test_sum(void **state)
{
	(void)state;
	run(RULE_STATE_SUM, 1200);
}

static void test_distinct(void **state)
{
	(void)state;
	run(RULE_STATE_DISTINCT, 1200);
}

static void test_rate(void **state)
{
	(void)state;
	run(RULE_STATE_RATE, 1200);
}

static void test_travel(void **state)
{
	(void)state;
	run(RULE_STATE_TRAVEL, 1000);
}

static void test_unchanged(void **state)
{
	(void)state;
	run(RULE_STATE_UNCHANGED, 1000);
}

static void test_sequence(void **state)
{
	(void)state;
	run(RULE_STATE_SEQUENCE, 3000);
}

static void test_absence(void **state)
{
	(void)state;
	run(RULE_STATE_ABSENCE, 1000);
}

static void test_enough(void **state)
{
	(void)state;
	print_message("%llu events, %llu alerts, %llu late, %llu suppressed, %llu evictions, %llu expiries\n",
		(unsigned long long)cases, (unsigned long long)alerts_seen, (unsigned long long)late_seen,
		(unsigned long long)suppressed_seen, (unsigned long long)evictions_seen,
		(unsigned long long)expiries_seen);
	assert_true(cases >= CASES_MIN);
	assert_true(alerts_seen > cases / 20 && late_seen > 1000 && suppressed_seen > 1000);
	assert_true(evictions_seen > 1000 && expiries_seen > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_count), cmocka_unit_test(test_sum),
		cmocka_unit_test(test_distinct), cmocka_unit_test(test_rate), cmocka_unit_test(test_travel),
		cmocka_unit_test(test_unchanged), cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_absence), cmocka_unit_test(test_enough)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
