#include "pipeline_rig.h"
#include "eal_start.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct pipeline_rig fx;

void rig_rules(const char *text, uint32_t generation)
{
	struct rule_source src = {"rules.yaml", text, strlen(text), false};
	struct err err = {0};

	matcher_free(fx.matcher);
	ruleset_free(fx.rs);
	if (ruleset_compile(&fx.rs, &src, 1, 100, &err))
		fail_msg("%s", err.text);
	fx.matcher = matcher_new(fx.rs, &err);
	assert_non_null(fx.matcher);
	pipeline_set_matcher(&fx.pl, fx.matcher, generation);
}

void rig_start(const struct pipeline_wish *wish)
{
	struct rte_mempool *pool = fx.pool;
	struct err err = {0};

	memset(&fx, 0, sizeof fx);
	fx.pool = pool;
	fx.take = wish->take;
	fx.cfg.listeners_count = 1;
	fx.cfg.listeners[0].udp_port = wish->port;
	fx.cfg.listeners[0].format = (uint64_t)wish->format;
	snprintf(fx.cfg.listeners[0].type, sizeof fx.cfg.listeners[0].type, "auto");
	fx.cfg.time.future_max = 300000;
	fx.cfg.worker.batch_age = 1000;
	fx.cfg.worker.sources_max = 64;
	fx.cfg.worker.gelf_messages = 32;
	fx.cfg.listeners[0].priority = CONFIG_PRIORITY_NORMAL;
	fx.cfg.journal.dead_letter_bytes = 64;
	fx.cfg.journal.dead_letter_rate = wish->dead_rate;
	if (wish->change)
		wish->change(&fx.cfg);
	for (uint32_t i = 0; i < fx.cfg.listeners_count; i++)
		fx.ports.listener_of[fx.cfg.listeners[i].udp_port] = (uint8_t)(i + 1);
	fx.generation_min = UINT32_MAX;
	assert_int_equal(
		handoff_create(&fx.handoff, 1, PARTITIONS, wish->batches, wish->batch_bytes, &err), 0);
	assert_int_equal(pipeline_live_make(&fx.live, &fx.cfg, &err), 0);
	assert_int_equal(
		pipeline_setup(&fx.pl, &fx.cfg, fx.live, &fx.ports, &fx.handoff, 0, &fx.stats, &err), 0);
	rig_rules(wish->rules, 1);
}

static void batch_check(const struct batch *b, uint32_t partition)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < b->record_count; i++) {
		const struct record *rec = (const struct record *)(b->data + at);

		assert_true(record_valid(rec, b->bytes - at));
		assert_int_equal(((__uint128_t)rec->key_hash * PARTITIONS) >> 64, partition);
		fx.events += rec->kind == RECORD_EVENT;
		fx.refused += rec->kind == RECORD_REFUSED;
		if (fx.take)
			fx.take(rec);
		at += rec->bytes;
	}
	assert_int_equal(at, b->bytes);
}

void rig_drain(void)
{
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct batch_lane *lane = handoff_lane(&fx.handoff, 0, p);
		struct batch *b;

		while ((b = batch_take_sealed(lane))) {
			batch_check(b, p);
			for (int d = 0; d < DROP_ID_MAX; d++)
				fx.delta[d] += b->drop_delta[d];
			if (b->generation < fx.generation_min)
				fx.generation_min = b->generation;
			if (b->generation > fx.generation_max)
				fx.generation_max = b->generation;
			fx.max_base_count += b->watermark_base_ms == WALL_MS;
			fx.batches++;
			batch_return(lane, b);
		}
	}
}

void rig_stop(void)
{
	pipeline_end(&fx.pl, (struct burst_time){WALL_MS, 1});
	rig_drain();
	pipeline_free(&fx.pl);
	free(fx.live);
	matcher_free(fx.matcher);
	ruleset_free(fx.rs);
	handoff_free(&fx.handoff);
}

void rig_send_at(uint8_t host, const void *payload, uint32_t bytes, uint16_t port, uint64_t mono_ns)
{
	struct rte_mbuf *m = packet_make(fx.pool, host, port, payload, bytes);

	assert_non_null(m);
	pipeline_burst(&fx.pl, &m, 1, (struct burst_time){WALL_MS, mono_ns});
	rte_pktmbuf_free(m);
}

void rig_send(uint8_t host, const void *payload, uint32_t bytes, uint16_t port)
{
	rig_send_at(host, payload, bytes, port, 1);
}

static void listener_balance(const struct listener_stats *ls)
{
	uint64_t events = ls->accepted + ls->refused_kept;
	uint64_t datagrams = ls->datagrams_read + ls->datagrams_waiting;

	for (int d = 1; d < DROP_ID_MAX; d++) {
		if (drop_table[d].name && drop_table[d].unit == DROP_UNIT_event)
			events += ls->dropped[d];
		if (drop_table[d].name && drop_table[d].unit == DROP_UNIT_datagram)
			datagrams += ls->dropped[d];
	}
	assert_int_equal(ls->events, events);
	assert_int_equal(ls->datagrams, datagrams);
}

void rig_balance(void)
{
	uint64_t accepted = 0, refused = 0;

	for (uint32_t i = 0; i < fx.cfg.listeners_count; i++) {
		listener_balance(&fx.stats.listener[i]);
		accepted += fx.stats.listener[i].accepted;
		refused += fx.stats.listener[i].refused_kept;
	}
	assert_int_equal(fx.events, accepted);
	assert_int_equal(fx.refused, refused);
	for (int d = 0; d < DROP_ID_MAX; d++)
		assert_int_equal(fx.delta[d], fx.stats.drops[d]);
}

bool rig_pool(void)
{
	rig_eal_start(1);
	fx.pool = rte_pktmbuf_pool_create("test", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return fx.pool != NULL;
}
