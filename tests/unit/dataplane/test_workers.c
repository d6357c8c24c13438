/* Two workers over the two queues of a ring port: every frame is taken once, counters add up, rulesets and
 * enrichment tables switch under load without losing an event, and the workers end when told. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include "dataplane.h"
#include "packets.h"

#define PORT 9000
#define PARTITIONS 4
#define EVENTS 40000u
#define SWITCHES 40
#define AHEAD_MAX 4000u
#define USERS 977u

static struct handoff handoff;
static atomic_bool consumer_stop;
static uint8_t seen[EVENTS];
static _Atomic uint64_t seen_count; /* written by the consumer, read by the feeder */
static uint64_t out_of_order_generations, out_of_order_tables, not_enriched;

/* Each set of tables gives every user the set's number. It never goes back in a lane, and is not older than
 * the one that was in force when the event was fed. */
static void segment_check(const struct record *rec, uint32_t id, unsigned *last)
{
	uint32_t bytes;
	const uint8_t *text = record_field(rec, FIELD_user_segment, &bytes);
	char number[16] = "";
	unsigned set;

	if (!text || bytes >= sizeof number) {
		not_enriched++;
		return;
	}
	memcpy(number, text, bytes);
	set = (unsigned)strtoul(number, NULL, 10);
	out_of_order_tables += set < *last || set < id / (EVENTS / SWITCHES);
	*last = set;
}

static void batch_consume(struct batch *b, unsigned *last_set)
{
	for (uint32_t at = 0, i = 0; i < b->record_count; i++) {
		const struct record *rec = (const struct record *)(b->data + at);
		uint32_t id;

		assert_true(record_valid(rec, b->bytes - at));
		memcpy(&id, rec->event_id + 12, sizeof id);
		seen[__builtin_bswap32(id)]++;
		seen_count++;
		segment_check(rec, __builtin_bswap32(id), last_set);
		at += rec->bytes;
	}
}

/* Plays the partition writers: takes every sealed batch of every lane. */
static void *consumer(void *arg)
{
	uint32_t last[2][PARTITIONS] = {{0}};
	unsigned last_set[2][PARTITIONS] = {{0}};
	bool idle, stop;

	(void)arg;
	do {
		/* Before the look at the lanes: what was sealed before the stop must be seen by a look after
		 * it. */
		stop = atomic_load(&consumer_stop);
		idle = true;
		for (uint32_t w = 0; w < 2; w++)
			for (uint32_t p = 0; p < PARTITIONS; p++) {
				struct batch *b = batch_take_sealed(handoff_lane(&handoff, w, p));

				if (!b)
					continue;
				idle = false;
				out_of_order_generations += b->generation < last[w][p];
				last[w][p] = b->generation;
				batch_consume(b, &last_set[w][p]);
				batch_return(handoff_lane(&handoff, w, p), b);
			}
	} while (!idle || !stop);
	return NULL;
}

static void feed(struct rte_ring **rings, struct rte_mempool *pool, uint32_t from, uint32_t to)
{
	char text[300];

	for (uint32_t i = from; i < to; i++) {
		int n = snprintf(text, sizeof text,
			"{\"event_id\":\"00000000-0000-4000-8000-0000%08x\",\"user_id\":\"u%u\",\"ts\":\"%"
			"s\",\"page\":\"/p%u\"}",
			i, i % USERS, "2026-11-21T06:00:00Z", i % 13);
		struct rte_mbuf *m;

		/* Not further ahead than the lanes hold: a starved consumer must not turn into drops here. */
		while (i > atomic_load(&seen_count) + AHEAD_MAX)
			rte_pause();
		while (!(m = packet_make(pool, 1, PORT, text, (uint32_t)n)))
			rte_pause();
		while (rte_ring_enqueue(rings[i & 1], m) != 0)
			rte_pause();
	}
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
	for (unsigned i = 0; i < USERS; i++)
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
	assert_int_equal(seen_count, EVENTS);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(out_of_order_generations, 0);
	assert_int_equal(enriched, EVENTS);
	assert_int_equal(not_enriched, 0);
	assert_int_equal(out_of_order_tables, 0);
}

static void test_two_workers(void **state)
{
	static struct config cfg;
	struct rte_ring *rings[2];
	struct rte_mempool *pool =
		rte_pktmbuf_pool_create("feed", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	struct ruleset *rs = rules_of(0), *next;
	struct enrich_set *set, *next_set;
	struct dataplane *dp;
	struct err err = {0};
	pthread_t thread;

	(void)state;
	rings[0] = rte_ring_create("q0", 2048, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	rings[1] = rte_ring_create("q1", 2048, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	assert_true(pool && rings[0] && rings[1]);
	assert_true(rte_eth_from_rings("test7", rings, 2, rings, 2, 0) >= 0);
	cfg.worker.count = 2;
	cfg.worker.burst = 32;
	cfg.worker.batch_age = 1000;
	cfg.worker.idle_sleep_max = 100;
	cfg.worker.power = CONFIG_POWER_ADAPTIVE;
	cfg.eal.mbufs = 1023;
	cfg.journal.dead_letter_bytes = 100;
	cfg.ports_count = 1;
	snprintf(cfg.ports[0].name, sizeof cfg.ports[0].name, "rings");
	snprintf(cfg.ports[0].device, sizeof cfg.ports[0].device, "net_ring_test7");
	cfg.ports[0].queues = 2;
	cfg.ports[0].descriptors = 1024;
	cfg.listeners_count = 1;
	cfg.listeners[0].udp_port = PORT;
	snprintf(cfg.lookups[0].name, sizeof cfg.lookups[0].name, "segments");
	snprintf(cfg.lookups[0].file, sizeof cfg.lookups[0].file, "./test-workers-%d.csv", (int)getpid());
	snprintf(cfg.lookups[0].key, sizeof cfg.lookups[0].key, "user_id");
	snprintf(cfg.lookups[0].to, sizeof cfg.lookups[0].to, "user_segment");
	cfg.lookups_count = 1;
	cfg.enrich.file_bytes_max = 1 << 20;
	if (dataplane_create(&dp, &cfg, &err))
		fail_msg("%s", err.text);
	assert_int_equal(handoff_create(&handoff, 2, PARTITIONS, 64, 32768, &err), 0);
	set = tables_of(&cfg, 0);
	dataplane_set_enrich(dp, set);
	assert_int_equal(dataplane_start(dp, &handoff, rs, 1, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, consumer, NULL), 0);
	for (unsigned k = 1; k <= SWITCHES; k++) {
		feed(rings, pool, (k - 1) * (EVENTS / SWITCHES), k * (EVENTS / SWITCHES));
		next = rules_of(k);
		assert_int_equal(dataplane_set_ruleset(dp, next, k + 1, &err), 0);
		ruleset_free(rs);
		rs = next;
		next_set = tables_of(&cfg, k);
		dataplane_set_enrich(dp, next_set);
		enrich_set_free(set);
		set = next_set;
	}
	dataplane_stop(dp);
	atomic_store(&consumer_stop, true);
	pthread_join(thread, NULL);
	check_stats(dp);
	assert_false(dataplane_input_ended(dp));
	dataplane_free(dp);
	ruleset_free(rs);
	enrich_set_free(set);
	unlink(cfg.lookups[0].file);
	handoff_free(&handoff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_workers)};

	packet_eal(2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
