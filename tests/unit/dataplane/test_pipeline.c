/* The worker's stages over real mbufs: what goes in comes out as records, dead letters or named drops, and
 * adds up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline_rig.h"

#define PORT 9000

static const char rules_text[] = "rules:\n"
				 "  - id: evil-page\n"
				 "    title: Page that is evil\n"
				 "    severity: high\n"
				 "    when:\n"
				 "      page: {contains: evil}\n"
				 "    then: [alert, tag]\n"
				 "  - id: drop-page\n"
				 "    title: Page that is dropped\n"
				 "    severity: low\n"
				 "    when:\n"
				 "      page: {contains: dropme}\n"
				 "    then: [drop]\n";

static void start_with(uint32_t batches, uint32_t dead_rate, void (*change)(struct config *cfg))
{
	rig_start(&(struct pipeline_wish){.port = PORT,
		.format = CONFIG_FORMAT_NDJSON,
		.rules = rules_text,
		.batches = batches,
		.batch_bytes = 16384,
		.dead_rate = dead_rate,
		.change = change});
}

static void start(uint32_t batches, uint32_t dead_rate)
{
	start_with(batches, dead_rate, NULL);
}

static void send(const char *payload, uint32_t bytes, uint16_t port)
{
	rig_send(1, payload, bytes, port);
}

static void send_text(const char *payload)
{
	send(payload, (uint32_t)strlen(payload), PORT);
}

static void send_click(unsigned id, const char *page)
{
	char text[300];

	snprintf(text, sizeof text,
		"{\"event_id\":\"00000000-0000-4000-8000-%012x\",\"user_id\":\"u%u\",\"ts\":%lld,\"page\":\"%"
		"s\"}",
		id, id % 50, (long long)WALL_MS, page);
	send_text(text);
}

static void test_mixture(void **state)
{
	(void)state;
	start(8, 1 << 20);
	for (unsigned i = 0; i < 500; i++) {
		send_click(i, "/ok");
		if (i % 2 == 0)
			send_text(
				"{\"event_id\":broken\n{\"source\":\"web\",\"timestamp\":1763700000000}\n\n");
		if (i % 5 == 0)
			send_click(i + 1000, "/dropme");
		if (i % 10 == 0)
			send("x", 0, PORT);
		if (i % 20 == 0)
			send("x", 1, PORT + 1);
		rig_drain();
	}
	rig_stop();
	rig_balance();
	assert_int_equal(fx.events, 500 + 250);
	assert_int_equal(fx.refused, 250);
	assert_int_equal(fx.stats.drops[DROP_bad_json], 250);
	assert_int_equal(fx.stats.drops[DROP_rule_drop], 100);
	assert_int_equal(fx.stats.drops[DROP_empty_datagram], 50);
	assert_int_equal(fx.stats.drops[DROP_no_listener], 25);
	assert_int_equal(fx.stats.frames, fx.stats.listener[0].datagrams + 25);
}

static void some_sources(struct config *cfg)
{
	snprintf(cfg->listeners[0].allow, sizeof cfg->listeners[0].allow, "10.0.0.4/30,10.0.0.9");
}

/* Whoever is not allowed to send is counted, and nothing of it is looked at: not even that it is empty. */
static void test_sources(void **state)
{
	(void)state;
	start_with(8, 1 << 20, some_sources);
	for (uint8_t host = 1; host < 12; host++) {
		rig_send(host, "{\"x\":", 5, PORT);
		rig_send(host, "", 0, PORT);
		rig_drain();
	}
	rig_stop();
	rig_balance();
	assert_int_equal(fx.refused, 5);
	assert_int_equal(fx.stats.drops[DROP_empty_datagram], 5);
	assert_int_equal(fx.stats.drops[DROP_source_denied], 12);
	assert_int_equal(fx.stats.listener[0].dropped[DROP_source_denied], 12);
	assert_int_equal(fx.stats.listener[0].datagrams, 22);
}

/* A writer that stands still: batches are sealed by age as long as many are free, then filled. */
static void test_age_with_a_writer_behind(void **state)
{
	(void)state;
	start(8, 1 << 20);
	for (unsigned i = 0; i < 200; i++) {
		send_click(i, "/p");
		pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 2000000ull * (i + 2)}, false);
		if (i < 2)
			assert_int_equal(fx.stats.batches_sealed, i + 1);
	}
	assert_int_equal(fx.stats.drops[DROP_no_batch], 0);
	assert_true(fx.stats.batches_sealed <= 5 * PARTITIONS);
	rig_stop();
	assert_int_equal(fx.events, 200);
	rig_balance();
}

/* Clicks of one user after the other at this time, until so many partitions have an open batch. */
static void open_at(uint32_t count, uint64_t mono_ns)
{
	char text[200];

	for (unsigned user = 0; fx.pl.open_count < count && user < 1000; user++) {
		snprintf(text, sizeof text, "{\"user_id\":\"u%u\",\"ts\":%lld,\"page\":\"/p\"}", user,
			(long long)WALL_MS);
		rig_send_at(1, text, (uint32_t)strlen(text), PORT, mono_ns);
	}
	assert_int_equal(fx.pl.open_count, count);
}

/* The batch that is due takes along those that are at least half as old as it. */
static void test_ages_of_partitions(void **state)
{
	const uint64_t ms = 1000000, age_ns = ms;

	(void)state;
	start(8, 1 << 20);
	assert_true(pipeline_due_ns(&fx.pl) == UINT64_MAX);
	open_at(1, 10 * ms);
	open_at(2, 10 * ms + age_ns / 2);
	open_at(3, 10 * ms + age_ns / 2 + 1);
	assert_int_equal(pipeline_due_ns(&fx.pl), 10 * ms + age_ns);
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 10 * ms + age_ns - 1}, false);
	assert_int_equal(fx.stats.batches_sealed, 0);
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 10 * ms + age_ns}, false);
	assert_int_equal(fx.stats.batches_sealed, 2);
	assert_int_equal(pipeline_due_ns(&fx.pl), 10 * ms + age_ns / 2 + 1 + age_ns);
	rig_stop();
	rig_balance();
}

static void test_hits_and_suppression(void **state)
{
	(void)state;
	start(8, 1 << 20);
	send_click(1, "/evil");
	send_click(2, "/evil/dropme");
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 1}, true);
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct batch *b = batch_take_sealed(handoff_lane(&fx.handoff, 0, p));

		if (!b)
			continue;
		for (uint32_t at = 0, i = 0; i < b->record_count; i++) {
			const struct record *rec = (const struct record *)(b->data + at);
			bool second = rec->event_id[15] == 2;

			assert_int_equal(rec->hit_count, second ? 2 : 1);
			assert_int_equal(record_hits(rec)[0], 0);
			assert_int_equal(rec->flags & RECORD_F_SUPPRESSED, second ? RECORD_F_SUPPRESSED : 0);
			fx.events++;
			at += rec->bytes;
		}
		for (int d = 0; d < DROP_ID_MAX; d++)
			fx.delta[d] += b->drop_delta[d];
		batch_return(handoff_lane(&fx.handoff, 0, p), b);
	}
	assert_int_equal(fx.events, 2);
	rig_stop();
	rig_balance();
}

static void test_no_batch(void **state)
{
	(void)state;
	start(4, 1 << 20);
	for (unsigned i = 0; i < 5000; i++)
		send_click(i, "/ok");
	assert_true(fx.stats.drops[DROP_no_batch] > 0);
	rig_drain();
	send_click(1, "/ok"); /* goes on as soon as batches are back */
	rig_stop();
	rig_balance();
	assert_int_equal(fx.stats.listener[0].accepted + fx.stats.drops[DROP_no_batch], 5001);
}

/* More drops than a batch's counter holds are spread over batches, none is lost. */
static void test_delta_overflow(void **state)
{
	(void)state;
	start(8, 1 << 20);
	send_click(1, "/ok");
	fx.stats.drops[DROP_not_ip] += 5000000000ull;
	send_click(2, "/ok");
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 1}, true);
	rig_drain();
	send_click(3, "/ok");
	rig_stop();
	rig_balance();
}

static void test_dead_letter_quota(void **state)
{
	(void)state;
	start(8, 4096);
	for (int i = 0; i < 1000; i++) {
		send_text("not json at all");
		rig_drain();
	}
	rig_stop();
	rig_balance();
	assert_true(fx.refused > 0 && fx.refused < 100);
	assert_int_equal(fx.refused + fx.stats.drops[DROP_dead_letter_quota], 1000);
	assert_int_equal(fx.stats.listener[0].refused[DROP_bad_json], 1000);
}

static void test_many_lines(void **state)
{
	static char text[1400];
	uint32_t n = 0;

	(void)state;
	start(8, 1 << 20);
	while (n + 3 < sizeof text) {
		memcpy(text + n, "{}\n", 3);
		n += 3;
	}
	for (int i = 0; i < 20; i++) {
		send(text, n, PORT);
		rig_drain();
	}
	rig_stop();
	rig_balance();
	assert_int_equal(fx.stats.listener[0].events, 20 * (n / 3));
	assert_int_equal(fx.stats.listener[0].refused[DROP_missing_field], 20 * (n / 3));
}

static uint32_t chain_seen[32 * 6];

/* The bytes of each event are its own: what they were copied from was not written over before. */
static void chain_take(const struct record *rec)
{
	char want[64];
	uint32_t id;

	memcpy(&id, rec->event_id + 12, sizeof id);
	id = __builtin_bswap32(id);
	assert_true(id < 32 * 6);
	snprintf(want, sizeof want, "{\"event_id\":\"00000000-0000-4000-8000-%012x\"", id);
	assert_memory_equal(record_payload(rec), want, strlen(want));
	chain_seen[id]++;
}

/* A burst in which every other frame comes in several mbufs. */
static void test_chains(void **state)
{
	struct rte_mempool *small =
		rte_pktmbuf_pool_create("small", 511, 0, 0, RTE_PKTMBUF_HEADROOM + 256, SOCKET_ID_ANY);
	struct rte_mbuf *m[32];

	(void)state;
	assert_non_null(small);
	start(16, 1 << 20);
	fx.take = chain_take;
	for (unsigned i = 0; i < 32; i++) {
		char text[1400];
		int n = 0;

		for (unsigned k = 0; k < 6; k++)
			n += snprintf(text + n, sizeof text - (size_t)n,
				"{\"event_id\":\"00000000-0000-4000-8000-%012x\",\"user_id\":\"u%u\",\"ts\":%"
				"lld,"
				"\"page\":\"/p\"}\n",
				i * 6 + k, k, (long long)WALL_MS);
		m[i] = packet_make(fx.pool, 1, PORT, text, (uint32_t)n);
		if (i & 1) {
			struct rte_mbuf *chain = rte_pktmbuf_copy(m[i], small, 0, UINT32_MAX);

			rte_pktmbuf_free(m[i]);
			m[i] = chain;
			assert_true(chain->nb_segs > 2);
		}
	}
	pipeline_burst(&fx.pl, m, 32, (struct burst_time){WALL_MS, 1});
	rte_pktmbuf_free_bulk(m, 32);
	rig_stop();
	rig_balance();
	for (uint32_t i = 0; i < 32 * 6; i++)
		assert_int_equal(chain_seen[i], 1);
	rte_mempool_free(small);
}

static void test_generation_switch(void **state)
{
	(void)state;
	start(8, 1 << 20);
	send_click(1, "/ok");
	pipeline_set_matcher(&fx.pl, fx.matcher, 2);
	send_click(2, "/ok");
	rig_stop();
	assert_int_equal(fx.generation_min, 1);
	assert_int_equal(fx.generation_max, 2);
	assert_int_equal(fx.events, 2);
	rig_balance();
}

static void test_watermark_before_filters(void **state)
{
	(void)state;
	start(8, 1 << 20);
	send_click(1, "/dropme");
	rig_stop();
	rig_balance();
	assert_int_equal(fx.events, 0);
	assert_int_equal(fx.max_base_count, 1);
}

/* Rules see what enrichment adds, records hold it, and the partition stays that of the key. */
static void test_enrich(void **state)
{
	static const char text[] = "rules:\n  - id: gold\n    title: t\n    severity: low\n"
				   "    when: {user_segment: gold}\n    then: [tag]\n";
	static struct config tables;
	struct enrich_set *set;
	struct err err = {0};
	uint32_t gold = 0;
	FILE *out;

	(void)state;
	start(8, 1 << 20);
	config_defaults(&tables);
	tables.lookups_count = 1;
	snprintf(tables.lookups[0].file, sizeof tables.lookups[0].file, "./test-pipeline-%d.csv",
		(int)getpid());
	snprintf(tables.lookups[0].key, sizeof tables.lookups[0].key, "user_id");
	snprintf(tables.lookups[0].to, sizeof tables.lookups[0].to, "user_segment");
	out = fopen(tables.lookups[0].file, "we");
	fputs("user,segment\nu7,gold\n", out);
	fclose(out);
	assert_int_equal(enrich_set_load(&set, &tables, &err), 0);
	unlink(tables.lookups[0].file);
	rig_rules(text, 2);
	fx.pl.enricher = enricher_new(PIPELINE_EVENTS, 256u << 10, 16384);
	fx.pl.enrich = set;
	for (unsigned i = 0; i < 100; i++)
		send_click(i, "/p");
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 1}, true);
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct batch *b = batch_take_sealed(handoff_lane(&fx.handoff, 0, p));

		for (uint32_t at = 0, i = 0; b && i < b->record_count; i++) {
			const struct record *rec = (const struct record *)(b->data + at);
			uint32_t bytes;
			const uint8_t *segment = record_field(rec, FIELD_user_segment, &bytes);

			assert_true(record_valid(rec, b->bytes - at));
			assert_int_equal(((__uint128_t)rec->key_hash * PARTITIONS) >> 64, p);
			assert_int_equal(rec->hit_count, segment ? 1 : 0);
			if (segment)
				assert_memory_equal(segment, "gold", 4);
			gold += segment != NULL;
			at += rec->bytes;
		}
		if (b)
			batch_return(handoff_lane(&fx.handoff, 0, p), b);
	}
	assert_int_equal(gold, 2); /* users are i % 50 */
	assert_int_equal(fx.stats.enrich.hits[ENRICH_LOOKUPS], 2);
	assert_int_equal(fx.stats.enrich.misses[ENRICH_LOOKUPS], 98);
	rig_stop();
	enrich_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_mixture), cmocka_unit_test(test_sources),
		cmocka_unit_test(test_hits_and_suppression), cmocka_unit_test(test_no_batch),
		cmocka_unit_test(test_delta_overflow), cmocka_unit_test(test_dead_letter_quota),
		cmocka_unit_test(test_many_lines), cmocka_unit_test(test_chains),
		cmocka_unit_test(test_generation_switch), cmocka_unit_test(test_age_with_a_writer_behind),
		cmocka_unit_test(test_ages_of_partitions), cmocka_unit_test(test_watermark_before_filters),
		cmocka_unit_test(test_enrich)};

	return rig_pool() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
