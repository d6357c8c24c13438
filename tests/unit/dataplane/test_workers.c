/* Two workers over the two queues of a ring port: every frame is taken once, counters add up, rulesets and
 * enrichment tables switch under load without losing an event, and the workers end when told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "packets.h"
#include "eal_start.h"
#include "worker_rig.h"

#define EVENTS 40000u
#define SWITCHES 40

static struct worker_rig rig;
static uint8_t seen[EVENTS];
static uint64_t out_of_order_tables, not_enriched;

/* Each set of tables gives every user the set's number. It never goes back for a worker's events of a
 * partition, and is not older than the one that was in force when the event was fed. */
static void event_take(void *arg, uint32_t id, const struct batch *b, const struct record *rec)
{
	static unsigned last[RIG_WORKERS][RIG_PARTITIONS];
	uint32_t bytes;
	const uint8_t *text = record_field(rec, FIELD_user_segment, &bytes);
	unsigned set, *before = &last[b->worker][b->partition];
	char number[16] = "";

	(void)arg;
	seen[id]++;
	if (!text || bytes >= sizeof number) {
		not_enriched++;
		return;
	}
	memcpy(number, text, bytes);
	set = (unsigned)strtoul(number, NULL, 10);
	out_of_order_tables += set < *before || set < id / (EVENTS / SWITCHES);
	*before = set;
}

static struct ruleset *rules_of(unsigned k)
{
	struct rule_source src = {"r.yaml", NULL, 0, false};
	struct ruleset *rs = NULL;
	struct err err = {0};
	char text[256];

	snprintf(text, sizeof text,
		"rules:\n  - id: r%u\n    title: t\n    severity: low\n    when: {page: {contains: "
		"\"p%u\"}}\n    then: [tag]\n",
		k, k % 13);
	src.text = text;
	src.bytes = strlen(text);
	if (ruleset_compile(&rs, &src, 1, 100, &err))
		fail_msg("%s", err.text);
	return rs;
}

/* Tables in which every user's segment is k. */
static struct enrich_set *tables_of(const struct config *cfg, unsigned k)
{
	FILE *out = fopen(cfg->lookups[0].file, "we");
	struct enrich_set *set;
	struct err err = {0};

	fprintf(out, "user,segment\n");
	for (unsigned i = 0; i < RIG_USERS; i++)
		fprintf(out, "u%u,%u\n", i, k);
	fclose(out);
	if (enrich_set_load(&set, cfg, &err))
		fail_msg("%s", err.text);
	return set;
}

static void check_stats(const struct dataplane *dp)
{
	uint64_t frames = 0, accepted = 0, drops = 0, enriched = 0;

	for (uint32_t w = 0; w < dataplane_workers(dp); w++) {
		const struct worker_stats *s = dataplane_worker_stats(dp, w);

		assert_true(s->frames > 0);
		frames += s->frames;
		accepted += s->listener[0].accepted;
		enriched += s->enrich.hits[ENRICH_LOOKUPS];
		for (int d = 0; d < DROP_ID_MAX; d++)
			drops += s->drops[d];
	}
	assert_int_equal(frames, EVENTS);
	assert_int_equal(accepted + drops, EVENTS);
	assert_int_equal(drops, 0);
	assert_int_equal(rig.taken, EVENTS);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(rig.back, 0);
	assert_int_equal(enriched, EVENTS);
	assert_int_equal(not_enriched, 0);
	assert_int_equal(out_of_order_tables, 0);
}

static void test_two_workers(void **state)
{
	struct config *cfg = &rig.cfg;
	struct ruleset *rs = rules_of(0), *next;
	struct enrich_set *set, *next_set;
	struct err err = {0};

	(void)state;
	worker_rig_make(&rig, "test7");
	snprintf(cfg->lookups[0].name, sizeof cfg->lookups[0].name, "segments");
	snprintf(cfg->lookups[0].file, sizeof cfg->lookups[0].file, "./test-workers-%d.csv", (int)getpid());
	snprintf(cfg->lookups[0].key, sizeof cfg->lookups[0].key, "user_id");
	snprintf(cfg->lookups[0].to, sizeof cfg->lookups[0].to, "user_segment");
	cfg->lookups_count = 1;
	cfg->enrich.file_bytes_max = 1 << 20;
	worker_rig_create(&rig);
	set = tables_of(cfg, 0);
	dataplane_set_enrich(rig.dp, set);
	worker_rig_start(&rig, rs, event_take, NULL);
	for (unsigned k = 1; k <= SWITCHES; k++) {
		worker_rig_feed(&rig, (k - 1) * (EVENTS / SWITCHES), k * (EVENTS / SWITCHES));
		next = rules_of(k);
		assert_int_equal(dataplane_set_ruleset(rig.dp, next, k + 1, &err), 0);
		ruleset_free(rs);
		rs = next;
		next_set = tables_of(cfg, k);
		dataplane_set_enrich(rig.dp, next_set);
		enrich_set_free(set);
		set = next_set;
	}
	worker_rig_stop(&rig);
	check_stats(rig.dp);
	assert_false(dataplane_input_ended(rig.dp));
	worker_rig_free(&rig);
	ruleset_free(rs);
	enrich_set_free(set);
	unlink(cfg->lookups[0].file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_workers)};

	rig_eal_start(2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
