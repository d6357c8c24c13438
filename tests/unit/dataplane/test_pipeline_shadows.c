/* The worker's shadows: what rules with state get to see of events whose key lives elsewhere, and the id that
 * both have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline_rig.h"
#include "rule_shadow.h"

#define PORT 9000

static const char state_rules[] =
	"rules:\n"
	"- {id: by-user, when: {page: {prefix: /s}}, by: user_id, count: {at_least: 2, within: 1m}, then: "
	"alert}\n"
	"- {id: by-country, when: {page: {prefix: /s}}, by: country, distinct: {field: device, at_least: 2, "
	"within: 1m}, then: alert}\n"
	"- {id: by-both, when: {page: /s2}, by: [country, device], suppress: 1m, then: [alert, tag]}\n"
	"- {id: by-country-too, by: country, then: alert,\n"
	"   sequence: {within: 1m, steps: [{when: {page: /s1}}, {when: {page: /s2}}]}}\n"
	"- {id: away, when: {referrer: drop}, then: drop}\n";

static void start(void)
{
	rig_start(&(struct pipeline_wish){.port = PORT,
		.format = CONFIG_FORMAT_NDJSON,
		.rules = state_rules,
		.batches = 20,
		.batch_bytes = 16384,
		.dead_rate = 1000000});
}

static struct {
	uint64_t records, shadows, by_country, by_both, suppressed;
	uint8_t id[16];
} seen;

static void shadow_check(const struct record *rec, const struct rule_use *use)
{
	const struct rule_keyring *kr = ruleset_keyring(fx.rs, use[record_hits(rec)[0]].keyring);
	uint64_t hash;
	uint32_t bytes;

	seen.shadows++;
	assert_true(rule_key_of_record(kr, rec, &hash));
	assert_int_equal(hash, rec->key_hash);
	assert_int_equal(rec->reason_field, FIELD_country);
	assert_int_equal(rec->type, EVENT_TYPE_click);
	assert_int_equal(rec->event_time_ms, 1715200000000);
	assert_int_equal(rec->receive_time_ms, WALL_MS);
	assert_int_equal(rec->dst_port, PORT);
	assert_int_equal(rec->raw_bytes, 0);
	assert_memory_equal(rec->event_id, seen.id, 16);
	assert_null(record_field(rec, FIELD_page, &bytes));
	assert_memory_equal(record_field(rec, FIELD_country, &bytes), "DE", 2);
	assert_int_equal(bytes, 2);
	assert_memory_equal(record_field(rec, FIELD_device, &bytes), "pc\"", 3); /* decoded */
	for (uint32_t i = 0; i < rec->hit_count; i++)
		assert_ptr_equal(ruleset_keyring(fx.rs, use[record_hits(rec)[i]].keyring), kr);
	seen.by_country += kr->count == 1;
	seen.by_both += kr->count == 2;
	seen.suppressed += (rec->flags & RECORD_F_SUPPRESSED) != 0;
}

/* One event at a time: what it leaves in the lanes. */
static void shadows_of(const char *fields)
{
	const struct rule_use *use = ruleset_uses(fx.rs);
	char text[400];
	int n = snprintf(text, sizeof text,
		"{\"event_id\":\"6f1c2a34-0b5d-4e6f-8a9b-0c1d2e3f4a5b\",\"user_id\":\"u1\",\"ts\":"
		"1715200000000,%s}",
		fields);

	memset(&seen, 0, sizeof seen);
	memcpy(seen.id, "\x6f\x1c\x2a\x34\x0b\x5d\x4e\x6f\x8a\x9b\x0c\x1d\x2e\x3f\x4a\x5b", 16);
	rig_send(1, text, (uint32_t)n, PORT);
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 1}, true);
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct batch_lane *lane = handoff_lane(&fx.handoff, 0, p);
		struct batch *b;

		while ((b = batch_take_sealed(lane))) {
			const uint8_t *at = b->data;

			for (uint32_t i = 0; i < b->record_count; i++) {
				const struct record *rec = (const struct record *)at;

				assert_true(record_valid(rec, b->bytes));
				assert_int_equal(((__uint128_t)rec->key_hash * PARTITIONS) >> 64, p);
				assert_int_equal(b->watermark_base_ms, 1715200000000);
				if (rec->kind == RECORD_SHADOW)
					shadow_check(rec, use);
				seen.records++;
				at += rec->bytes;
			}
			batch_return(lane, b);
		}
	}
}

static void test_shadows(void **state)
{
	(void)state;
	start();
	shadows_of("\"page\":\"/other\",\"country\":\"DE\"");
	assert_int_equal(seen.records, 1);
	assert_int_equal(seen.shadows, 0);
	/* Key by user is at home; country is missing. */
	shadows_of("\"page\":\"/s\"");
	assert_int_equal(seen.records, 1);
	shadows_of("\"page\":\"/s2\",\"country\":\"DE\",\"device\":\"pc\\u0022\"");
	assert_int_equal(seen.records, 3);
	assert_int_equal(seen.by_country, 1);
	assert_int_equal(seen.by_both, 1);
	assert_int_equal(seen.suppressed, 0);
	/* Dropped for raw sinks only, since rules with state have seen it; without them it is gone. */
	shadows_of("\"page\":\"/s2\",\"country\":\"DE\",\"device\":\"pc\\u0022\",\"referrer\":\"drop\"");
	assert_int_equal(seen.records, 3);
	assert_int_equal(seen.suppressed, 2);
	assert_int_equal(fx.stats.drops[DROP_rule_drop], 0);
	shadows_of("\"page\":\"/x\",\"country\":\"DE\",\"referrer\":\"drop\"");
	assert_int_equal(seen.records, 0);
	assert_int_equal(fx.stats.drops[DROP_rule_drop], 1);
	assert_int_equal(fx.stats.shadows, 4);
	assert_int_equal(fx.stats.listener[0].accepted, 4);
	rig_stop();
}

/* ---- ids of events that have none ---- */

#define IDS_MAX 16

static struct {
	uint8_t id[IDS_MAX][16]; /* by who has sent it, as the last digit of its user says */
	uint16_t flags[IDS_MAX];
	uint32_t shadows[IDS_MAX];
} made;

/* Events first: their shadows may lie before them, in other partitions. */
static void made_look(enum record_kind kind, const struct batch *b)
{
	const uint8_t *at = b->data;

	for (uint32_t i = 0; i < b->record_count; i++) {
		const struct record *rec = (const struct record *)at;
		uint32_t who = (uint32_t)(rec->event_time_ms % IDS_MAX);

		at += rec->bytes;
		if (rec->kind != kind)
			continue;
		if (kind == RECORD_EVENT) {
			memcpy(made.id[who], rec->event_id, 16);
			made.flags[who] = rec->flags;
			continue;
		}
		assert_memory_equal(rec->event_id, made.id[who], 16);
		assert_int_equal(rec->flags, made.flags[who] & ~RECORD_F_KNOWN);
		assert_int_equal(rec->field_mask & FBIT(event_id), 0); /* no duplicate is looked for */
		made.shadows[who]++;
	}
}

static void made_collect(void)
{
	struct batch *taken[64];
	uint32_t count = 0;

	memset(&made, 0, sizeof made);
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 1}, true);
	for (uint32_t p = 0; p < PARTITIONS; p++)
		while (count < 64 && (taken[count] = batch_take_sealed(handoff_lane(&fx.handoff, 0, p))))
			made_look(RECORD_EVENT, taken[count++]);
	for (uint32_t i = 0; i < count; i++) {
		made_look(RECORD_SHADOW, taken[i]);
		batch_return(handoff_lane(&fx.handoff, 0, taken[i]->partition), taken[i]);
	}
}

static void made_send(uint32_t who, const char *fields)
{
	char text[200];
	int n = snprintf(text, sizeof text, "{\"user_id\":\"u%u\",\"ts\":%llu,%s}", who,
		1715200000000ull / IDS_MAX * IDS_MAX + who, fields);

	rig_send(1, text, (uint32_t)n, PORT);
}

/* An event that rules with state are to see has the id that its shadows name; others get theirs from the
 * writer.
 */
static void test_made_ids(void **state)
{
	static const uint8_t none[16];
	const uint16_t early = RECORD_F_ID_MADE | RECORD_F_ID_WORKER;
	uint8_t before[2][16];

	(void)state;
	for (uint32_t run = 0; run < 2; run++) {
		start();
		made_send(0, "\"page\":\"/s2\",\"country\":\"DE\",\"device\":\"pc\"");
		made_send(1, "\"page\":\"/s2\",\"country\":\"DE\",\"device\":\"pc\"");
		made_send(2, "\"page\":\"/s\""); /* at home only */
		made_send(3, "\"page\":\"/other\",\"country\":\"DE\"");
		made_send(4, "\"page\":\"/s2\",\"country\":\"DE\",\"referrer\":\"drop\"");
		made_collect();
		for (uint32_t i = 0; i < 5; i++) {
			bool state_sees = i != 3;

			assert_int_equal(made.flags[i] & early, state_sees ? early : 0);
			assert_int_equal(!memcmp(made.id[i], none, 16), !state_sees);
			assert_int_equal(made.id[i][6] >> 4, state_sees ? 8 : 0);
			for (uint32_t k = 0; state_sees && k < i; k++)
				assert_memory_not_equal(made.id[i], made.id[k], 16);
		}
		assert_int_equal(made.flags[4] & RECORD_F_SUPPRESSED, RECORD_F_SUPPRESSED);
		assert_int_equal(made.shadows[0], 2);
		assert_int_equal(made.shadows[1], 2);
		assert_int_equal(made.shadows[2] + made.shadows[3], 0);
		assert_int_equal(made.shadows[4], 1);
		memcpy(before[run], made.id[0], 16);
		rig_stop();
	}
	assert_memory_not_equal(before[0], before[1], 16); /* as behind a restart */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_shadows), cmocka_unit_test(test_made_ids)};

	return rig_pool() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
