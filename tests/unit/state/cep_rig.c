#include "cep_rig.h"

#include <stdio.h>
#include <string.h>

#include "agg_record.h"
#include "hash_process.h"

const char *const rig_country[4] = {"DE", "FR", "US", "JP"};

void rig_alert_add(struct rig_alerts *list, const struct rig_alert *a)
{
	if (list->count == list->room) {
		list->room = list->room * 2 + 16;
		list->alert = realloc(list->alert, list->room * sizeof *list->alert);
	}
	list->alert[list->count++] = *a;
}

struct rule_state rig_rule(enum rule_state_kind kind)
{
	struct rule_state rule = {.uid = 7,
		.kind = (uint8_t)kind,
		.within_ms = 1000,
		.at_least = 3,
		.factor = 2,
		.field = FIELD_NONE,
		.place = FIELD_country,
		.speed_kmh = 900,
		.evidence_max = 4,
		.keys_max = 1000,
		.memory_bytes_max = 64 << 20,
		.events_max = 1000};

	if (kind == RULE_STATE_SUM)
		rule.field = FIELD_metric;
	if (kind == RULE_STATE_DISTINCT || kind == RULE_STATE_UNCHANGED)
		rule.field = FIELD_page;
	if (kind == RULE_STATE_ANOMALY)
		rule.at_least = 0;
	if (kind == RULE_STATE_ABSENCE || kind == RULE_STATE_ANOMALY || kind == RULE_STATE_UNCHANGED)
		rule.order = RULE_ORDER_EVENT_TIME;
	if (kind == RULE_STATE_SEQUENCE || kind == RULE_STATE_ABSENCE)
		rule.step_count = 2;
	for (uint32_t i = 0; i < RULE_STEPS_MAX; i++)
		rule.step[i] = (struct rule_step){"s", (uint16_t)i, RULE_FOLLOWED_BY, 1, 1};
	rule.anomaly = RULE_ZSCORE;
	rule.every_ms = 100;
	rule.windows = 10;
	rule.deviations = 3;
	rule.samples_min = 5;
	rule.alpha = 0.2;
	rule.period_ms = 1000;
	return rule;
}

int cep_rig_rules(void *arg, uint32_t generation, struct cep_rules *out, struct err *err)
{
	struct cep_rig *rig = arg;

	if (generation >> rig->rules)
		return err_set(err, -22, "no such generation");
	out->count = rig->rules;
	snprintf(out->version, sizeof out->version, "%016x", generation);
	for (uint32_t i = 0; i < rig->rules; i++)
		out->rule[i] = (struct cep_rule){generation >> i & 1 ? &rig->rule[i] : NULL, &rig->ring,
			"rule", "A rule", "high", true, 0};
	for (uint32_t i = 0; i < rig->rules * (RULE_STEPS_MAX + 1); i++) {
		uint32_t step = i % (RULE_STEPS_MAX + 1), r = i / (RULE_STEPS_MAX + 1);

		rig->use[i] = (struct rule_use){generation >> r & 1 ? (uint16_t)r : RULE_STATE_NONE,
			step == RULE_STEPS_MAX ? RULE_STEP_NONE : (uint8_t)step, 0};
	}
	out->match_count = rig->rules * (RULE_STEPS_MAX + 1);
	out->use = rig->use;
	return 0;
}

/* Ids of evidence are made of offsets, which the alert must have right. */
static void evidence_check(const struct cep_rig *rig, const struct record *rec)
{
	const struct row_alert *a = row_alert_of(rec);

	for (uint32_t i = 0; i < a->evidence_count; i++) {
		struct row_rule_evidence e = row_alert_evidence(rec, i);
		uint64_t offset;

		assert_int_equal(e.partition, 3);
		memcpy(&offset, e.event_id, sizeof offset);
		assert_int_equal(offset, e.offset);
		assert_true(e.offset <= rig->offset);
	}
}

static int rig_emit(void *arg, uint64_t offset, const struct record *rec)
{
	struct cep_rig *rig = arg;
	const struct row_alert *a = row_alert_of(rec);
	struct rig_alert alert = {0, a->first_ms, a->last_ms, a->value, a->evidence_total};
	uint32_t bytes;
	const char *key;
	char text[32];

	assert_true(record_valid(rec, rec->bytes) && row_valid(rec));
	assert_int_equal(rec->type, ROW_RULE_ALERT);
	assert_true(offset < rig->offset || offset == UINT64_MAX);
	key = row_alert_text(rec, ROW_TEXT_KEY, &bytes);
	assert_true(bytes < sizeof text);
	memcpy(text, key, bytes);
	text[bytes] = 0;
	assert_int_equal(sscanf(text, "user_id=u%u", &alert.key), 1);
	assert_memory_equal(row_alert_text(rec, ROW_TEXT_RULE, &bytes), "rule", 4);
	evidence_check(rig, rec);
	rig_alert_add(&rig->alerts, &alert);
	bytes_put(&rig->out, rec, rec->bytes);
	return 0;
}

struct cep *cep_rig_new(struct cep_rig *rig)
{
	return cep_new(&(struct cep_params){3, cep_rig_rules, rig, rig_emit, rig});
}

void cep_rig_open(struct cep_rig *rig, const struct rule_state *rule)
{
	struct err err;

	memset(rig, 0, sizeof *rig);
	rig->rule[0] = *rule;
	rig->rules = 1;
	rig->ring = (struct rule_keyring){1, {FIELD_user_id}, 0, 0};
	rig->cep = cep_rig_new(rig);
	assert_int_equal(cep_switch(rig->cep, 1, &err), 0);
}

void cep_rig_close(struct cep_rig *rig)
{
	cep_free(rig->cep);
	free(rig->alerts.alert);
	bytes_free(&rig->out);
}

void cep_rig_take(struct cep_rig *rig, uint32_t r, const struct rig_hit *hit, int64_t watermark_ms)
{
	static struct agg_record rec;
	const struct rule_state *rule = &rig->rule[r];
	const struct cep_place place = {(1u << rig->rules) - 1, 5};
	bool sequence = rule->kind == RULE_STATE_SEQUENCE || rule->kind == RULE_STATE_ABSENCE;
	uint32_t base = r * (RULE_STEPS_MAX + 1);
	uint16_t hits[RULE_STEPS_MAX + 1], count = 0;
	double number = (double)hit->value * 0.1;
	char key[16], page[16];
	struct err err;

	agg_record_start(&rec);
	snprintf(key, sizeof key, "u%u", hit->key);
	snprintf(page, sizeof page, "/p%d", (int)hit->value);
	agg_record_text(&rec, FIELD_user_id, key, strlen(key));
	agg_record_text(&rec, FIELD_page, page, strlen(page));
	agg_record_text(&rec, FIELD_country, rig_country[(uint64_t)hit->value % 4], 2);
	agg_record_number(&rec, FIELD_metric, &number);
	agg_record_number(&rec, FIELD_amount, &hit->value);
	memcpy(rec.ev.event_id, &rig->offset, sizeof rig->offset);
	rec.ev.event_time_ms = hit->time_ms;
	for (uint32_t i = 0; i < RULE_STEPS_MAX && sequence; i++)
		if (hit->steps >> i & 1)
			hits[count++] = (uint16_t)(base + i);
	if (!count)
		hits[count++] = (uint16_t)(base + (sequence ? RULE_STEPS_MAX : 0));
	rec.ev.hit = hits;
	rec.ev.hit_count = count;
	assert_int_equal(
		cep_take(rig->cep, &place, agg_record_done(&rec), rig->offset++, watermark_ms, &err), 0);
}

void cep_rig_hit(struct cep_rig *rig, uint32_t r, uint32_t key, int64_t t, uint32_t steps)
{
	struct rig_hit hit = {CEP_RIG_TIME + t, key, steps, key % 4};

	cep_rig_take(rig, r, &hit, INT64_MIN);
}

void cep_rig_flush(struct cep_rig *rig)
{
	assert_int_equal(cep_flush(rig->cep), 0);
}

void cep_rig_reach(struct cep_rig *rig, int64_t step_ms)
{
	assert_int_equal(cep_reach(rig->cep, step_ms, 5), 0);
}

void cep_rig_reload(struct cep_rig *rig)
{
	struct cep *fresh = cep_rig_new(rig);
	struct bytes saved = {0}, again = {0};
	struct err err = {""};

	cep_rig_flush(rig);
	cep_save(rig->cep, &saved);
	hash_process_key = hash_key_of(hash_process_key.word[0]); /* as in another process */
	if (cep_load(fresh, saved.data, saved.bytes, &err))
		fail_msg("%s", err.text);
	cep_save(fresh, &again);
	assert_true(bytes_same(&saved, &again));
	bytes_free(&saved);
	bytes_free(&again);
	cep_free(rig->cep);
	rig->cep = fresh;
}
