/* Stateful rules: saved states of any bytes, and events of any times, steps and values in any order. What
 * cannot be is refused, alerts are well-formed, bounds hold, a save loads again as it was.
 *
 * Input: the first byte picks the kind, the second order and bounds. If its highest bit is set the rest is a
 * saved state, and a fixed stream follows. Else instructions of four bytes: an event (key and steps, value,
 * time), a step of the watermark, a save and load. */
#include <stdlib.h>
#include <string.h>

#include "cep.h"
#include "row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TIME_MS 1700000000000ll
#define MATCHES 5u

static struct rule_state rule;
static const struct rule_keyring ring = {1, {FIELD_user_id}, 0, 0};
static struct rule_use use[MATCHES] = {{0, 0, 0}, {0, 1, 0}, {0, 2, 0}, {0, 3, 0}, {0, RULE_STEP_NONE, 0}};

struct life {
	struct cep *cep;
	uint64_t offset;
	int64_t step_ms;
	uint64_t taken;
	bool loaded;
};

static void fail_unless(bool ok)
{
	if (!ok)
		abort();
}

/* Even generations have a canary, which the next one puts in force. */
static int rules_get(void *arg, uint32_t generation, struct cep_rules *out, struct err *err)
{
	static struct rule_state canary;

	(void)arg;
	if (generation > 3)
		return err_set(err, -1, "no such generation");
	canary = rule;
	canary.canary = true;
	canary.uid = rule.uid_other;
	canary.uid_other = rule.uid;
	out->count = generation % 2 ? 1 : 2;
	out->rule[0] = (struct cep_rule){&rule, &ring, "r", "t", "high", true, generation};
	out->rule[1] = (struct cep_rule){&canary, &ring, "r", "t", "high", false, generation + 1};
	out->match_count = MATCHES;
	out->use = use;
	return 0;
}

static int emit(void *arg, uint64_t offset, const struct record *rec)
{
	struct life *life = arg;

	fail_unless(record_valid(rec, rec->bytes) && row_valid(rec) && row_is_alert(rec));
	fail_unless(offset == UINT64_MAX || offset < life->offset);
	fail_unless(row_alert_of(rec)->evidence_count <= rule.evidence_max);
	return 0;
}

static void rule_set(uint8_t kind, uint8_t how)
{
	rule = (struct rule_state){.uid = 9,
		.uid_other = 10,
		.kind = (uint8_t)(RULE_STATE_COUNT + kind % RULE_STATE_UNCHANGED),
		.order = how & 1,
		.skip = how >> 1 & 1,
		.within_ms = 500,
		.suppress_ms = how & 4 ? 300 : 0,
		.at_least = 2,
		.factor = 1.5,
		.threshold = 50,
		.threshold_number = 50,
		.decimal = how >> 3 & 1,
		.field = FIELD_NONE,
		.place = FIELD_country,
		.speed_kmh = 900,
		.step_count = 4,
		.anomaly = (uint8_t)(1 + kind / 8 % 3),
		.every_ms = 50,
		.period_ms = 250,
		.windows = 6,
		.alpha = 0.3,
		.deviations = 2,
		.side = how >> 2 & 1,
		.evidence_max = how >> 4 & 3,
		.keys_max = how & 64 ? 2 : 8,
		.memory_bytes_max = how & 32 ? 900 : 1 << 20,
		.events_max = how & 64 ? 3 : 20};
	if (rule.kind == RULE_STATE_SUM || rule.kind == RULE_STATE_ANOMALY)
		rule.field = rule.decimal ? FIELD_amount : FIELD_metric;
	if (rule.kind == RULE_STATE_DISTINCT || rule.kind == RULE_STATE_UNCHANGED)
		rule.field = FIELD_page;
	for (uint32_t i = 0; i < 4; i++)
		rule.step[i] = (struct rule_step){
			"s", (uint16_t)i, (uint8_t)((kind >> (i + 3)) & 3), 1, (uint16_t)(i == 1 ? 3 : 1)};
	if (rule.kind == RULE_STATE_ABSENCE)
		rule.step_count = 2;
}

static struct cep *fresh(struct life *life)
{
	return cep_new(&(struct cep_params){1, rules_get, NULL, emit, life});
}

static void save_check(struct life *life)
{
	struct cep *again = fresh(life);
	struct bytes a = {0}, b = {0};
	struct err err;

	fail_unless(!cep_flush(life->cep));
	cep_save(life->cep, &a);
	fail_unless(!cep_load(again, a.data, a.bytes, &err));
	cep_save(again, &b);
	fail_unless(a.bytes == b.bytes && !memcmp(a.data, b.data, a.bytes));
	bytes_free(&a);
	bytes_free(&b);
	cep_free(life->cep);
	life->cep = again;
}

static void event(struct life *life, const uint8_t *p)
{
	static const char *const country[4] = {"DE", "fr", "JP", "??"};
	_Alignas(8) uint8_t bytes[512];
	const struct cep_place place = {1, 7};
	uint16_t hit[MATCHES], hits = 0;
	uint8_t raw[8] = {(uint8_t)('0' + p[0] % 8), p[1] % 32};
	double number = (int8_t)p[1];
	int64_t values[2] = {0, p[1]};
	struct event ev = {.raw = raw,
		.raw_bytes = 4,
		.tail = (const uint8_t *)values,
		.tail_bytes = sizeof values,
		.type = EVENT_TYPE_platform,
		.event_time_ms = TIME_MS + (p[2] | p[3] << 8) / 8,
		.hit = hit};
	struct err err;

	memcpy(&values[0], &number, 8);
	memcpy(raw + 2, country[p[1] % 4], 2);
	ev.field_mask = FBIT(user_id) | FBIT(page) | FBIT(country) | FBIT(metric) | FBIT(amount);
	if (p[0] == 255)
		ev.field_mask = FBIT(user_id);
	if (p[0] == 254)
		ev.field_mask &= ~FBIT(user_id);
	ev.field[FIELD_user_id] = (struct span){0, 1};
	ev.field[FIELD_page] = (struct span){1, 1};
	ev.field[FIELD_country] = (struct span){2, 2};
	ev.field[FIELD_metric] = (struct span){4, 8};
	ev.field[FIELD_amount] = (struct span){12, 8};
	memcpy(ev.event_id, &life->offset, 8);
	for (uint16_t i = 0; i < MATCHES; i++)
		if (p[0] >> 3 >> i & 1)
			hit[hits++] = i;
	if (!hits)
		hit[hits++] = 4;
	ev.hit_count = hits;
	record_write_event(bytes, &ev, 7, TIME_MS, 0);
	fail_unless(!cep_take(
		life->cep, &place, (const struct record *)bytes, life->offset++, life->step_ms, &err));
	life->taken++;
}

static void instruction(struct life *life, const uint8_t *p)
{
	const struct cep_stats *s;
	struct err err;

	if (p[3] == 255 && p[2] == 255) {
		save_check(life);
	} else if (p[3] == 255 && p[2] == 254) {
		fail_unless(!cep_flush(life->cep));
		fail_unless(!cep_switch(life->cep, p[0] % 3 + 1u, &err));
	} else if (p[3] == 255) {
		life->step_ms = (life->step_ms < TIME_MS ? TIME_MS : life->step_ms) + p[0] * (p[1] % 8);
		fail_unless(!cep_reach(life->cep, life->step_ms, 3));
	} else {
		event(life, p);
	}
	fail_unless(!cep_flush(life->cep));
	s = cep_stats(life->cep, 0);
	fail_unless(s->keys <= rule.keys_max && s->memory_bytes <= rule.memory_bytes_max);
	fail_unless(life->loaded || s->hits + cep_totals(life->cep)->not_here == life->taken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t stream[] = {0x0b, 3, 10, 20, 0x13, 7, 20, 20, 0x1b, 50, 40, 21, 0xff, 2, 0, 255,
		0x23, 9, 50, 30, 0, 0, 255, 255, 0x43, 9, 60, 60, 0x0c, 90, 3, 61, 0xff, 7, 0, 255};
	struct life life = {.step_ms = INT64_MIN};
	bool load;
	struct err err;

	if (size < 2)
		return 0;
	load = data[1] & 128;
	rule_set(data[0], data[1] & 127);
	life.cep = fresh(&life);
	data += 2;
	size -= 2;
	if (load) {
		life.loaded = true;
		if (cep_load(life.cep, data, size, &err) || cep_generation(life.cep) == 0) {
			cep_free(life.cep);
			return 0;
		}
		save_check(&life);
		data = stream;
		size = sizeof stream;
	} else {
		fail_unless(!cep_switch(life.cep, 1, &err));
	}
	for (size_t i = 0; i + 4 <= size; i += 4)
		instruction(&life, data + i);
	save_check(&life);
	cep_free(life.cep);
	return 0;
}
