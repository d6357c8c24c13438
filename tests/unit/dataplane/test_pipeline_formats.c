/* A listener of a foreign format over real mbufs: its lines become records that hold JSON, what is none of
 * its lines becomes dead letters with the bytes that came, and all adds up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "packets.h"
#include "pipeline.h"

#define PORT 8125
#define PARTITIONS 4
#define WALL_MS 1763700000000ll
#define TEXT_MAX (1u << 20)

static struct {
	struct config cfg;
	struct handoff handoff;
	struct decode_ports ports;
	struct worker_stats stats;
	struct pipeline pl;
	struct ruleset *rs;
	struct matcher *matcher;
	struct rte_mempool *pool;
	uint64_t events, refused;
	char text[TEXT_MAX]; /* the payload of each record, a line each, in the order of partitions */
	size_t text_bytes;
} fx;

static void start(int format)
{
	static const char rules[] = "rules:\n- {id: prod, when: {attributes.env: prod}, then: [tag]}\n";
	struct rule_source src = {"rules.yaml", rules, sizeof rules - 1, false};
	struct rte_mempool *pool = fx.pool;
	struct err err = {0};

	memset(&fx, 0, sizeof fx);
	fx.pool = pool;
	fx.cfg.listeners_count = 1;
	fx.cfg.listeners[0].udp_port = PORT;
	fx.cfg.listeners[0].format = format;
	snprintf(fx.cfg.listeners[0].type, sizeof fx.cfg.listeners[0].type, "auto");
	fx.cfg.time.future_max = 300000;
	fx.cfg.worker.batch_age = 1000;
	fx.cfg.journal.dead_letter_bytes = 64;
	fx.cfg.journal.dead_letter_rate = 1 << 20;
	fx.ports.listener_of[PORT] = 1;
	assert_int_equal(handoff_create(&fx.handoff, 1, PARTITIONS, 16, 65536, &err), 0);
	assert_int_equal(pipeline_setup(&fx.pl, &fx.cfg, &fx.ports, &fx.handoff, 0, &fx.stats, &err), 0);
	if (ruleset_compile(&fx.rs, &src, 1, 100, &err))
		fail_msg("%s", err.text);
	fx.matcher = matcher_new(fx.rs, &err);
	assert_non_null(fx.matcher);
	pipeline_set_matcher(&fx.pl, fx.matcher, 1);
}

static void record_take(const struct record *rec)
{
	uint32_t bytes;

	fx.events += rec->kind == RECORD_EVENT;
	fx.refused += rec->kind == RECORD_REFUSED;
	if (rec->kind == RECORD_EVENT) {
		assert_int_equal(rec->type, EVENT_TYPE_telemetry);
		assert_non_null(record_field(rec, FIELD_device_id, &bytes));
	} else {
		assert_int_equal(rec->kind, RECORD_REFUSED);
		assert_int_equal(rec->type, EVENT_TYPE_telemetry);
	}
	fx.text_bytes += (size_t)snprintf(fx.text + fx.text_bytes, TEXT_MAX - fx.text_bytes, "%s%s%.*s\n",
		rec->kind == RECORD_EVENT ? "" : drop_table[rec->reason].name, rec->hit_count ? "!" : " ",
		(int)rec->raw_bytes, (const char *)record_payload(rec));
	assert_true(fx.text_bytes < TEXT_MAX);
}

static void drain(void)
{
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct batch_lane *lane = handoff_lane(&fx.handoff, 0, p);
		struct batch *b;

		while ((b = batch_take_sealed(lane))) {
			uint32_t at = 0;

			for (uint32_t i = 0; i < b->record_count; i++) {
				const struct record *rec = (const struct record *)(b->data + at);

				assert_true(record_valid(rec, b->bytes - at));
				assert_int_equal(((__uint128_t)rec->key_hash * PARTITIONS) >> 64, p);
				record_take(rec);
				at += rec->bytes;
			}
			assert_int_equal(at, b->bytes);
			batch_return(lane, b);
		}
	}
}

static void send(const char *payload, size_t bytes)
{
	struct rte_mbuf *m = packet_make(fx.pool, 1, PORT, payload, (uint32_t)bytes);

	assert_non_null(m);
	pipeline_burst(&fx.pl, &m, 1, (struct burst_time){WALL_MS, 1});
	rte_pktmbuf_free(m);
}

/* Ends it, and checks the ledger's equation of the listener. */
static void stop(void)
{
	const struct listener_stats *ls = &fx.stats.listener[0];
	uint64_t out;

	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, 1}, true);
	drain();
	out = ls->accepted + ls->refused_kept;
	for (int d = 1; d < DROP_ID_MAX; d++)
		if (drop_table[d].name && drop_table[d].unit == DROP_UNIT_event)
			out += ls->dropped[d];
	assert_int_equal(ls->events, out);
	assert_int_equal(fx.events, ls->accepted);
	assert_int_equal(fx.refused, ls->refused_kept);
	pipeline_free(&fx.pl);
	matcher_free(fx.matcher);
	ruleset_free(fx.rs);
	handoff_free(&fx.handoff);
}

#define OF(name, value, type)                                                                                \
	"{\"type\":\"telemetry\",\"device_id\":\"h\",\"ts\":1763700000000,\"name\":\"" name                  \
	"\",\"value\":" value ",\"attributes\":{\"metric_type\":\"" type "\""

static void has(const char *line)
{
	if (!strstr(fx.text, line))
		fail_msg("%s is not in:\n%s", line, fx.text);
}

static void test_good_and_bad_lines(void **state)
{
	static const char text[] = "a:1|c|#host:h\nnot a metric\nb:2:3|ms|#host:h,env:prod\n"
				   "c:nan|g\n\xff:1|c\nd:1e999|g|#host:h\n";

	(void)state;
	start(CONFIG_FORMAT_STATSD);
	send(text, sizeof text - 1);
	stop();
	assert_int_equal(fx.stats.listener[0].events, 7);
	assert_int_equal(fx.events, 3);
	assert_int_equal(fx.refused, 4);
	assert_int_equal(fx.stats.listener[0].refused[DROP_bad_format], 3);
	assert_int_equal(fx.stats.listener[0].refused[DROP_bad_value], 1);
	has(" " OF("a", "1", "c") ",\"host\":\"h\"}}\n");
	has("!" OF("b", "2", "ms") ",\"host\":\"h\",\"env\":\"prod\"}}\n");
	has("!" OF("b", "3", "ms") ",\"host\":\"h\",\"env\":\"prod\"}}\n");
	has("bad_format not a metric\n");
	has("bad_format c:nan|g\n");
	has("bad_format \xff:1|c\n");
	has("bad_value {\"type\":\"telemetry\",\"device_id\":\"h\",\"ts\":1763700000000,\"name\":");
}

/* Without a tag of the kind the sender is the device; a dead letter lies with its sender. */
static void test_sender(void **state)
{
	(void)state;
	start(CONFIG_FORMAT_INFLUX);
	send("m f=1,g=t\nm f=\n", 14);
	stop();
	assert_int_equal(fx.events, 2);
	assert_int_equal(fx.refused, 1);
	has(" {\"type\":\"telemetry\",\"device_id\":\"10.0.0.1\",\"ts\":1763700000000,\"name\":\"m.f\","
	    "\"value\":1}\n");
	has(" {\"type\":\"telemetry\",\"device_id\":\"10.0.0.1\",\"ts\":1763700000000,\"name\":\"m.g\","
	    "\"value\":1}\n");
	has("bad_format m f=\n");
}

/* More of them than fit the memory for what is written, in one datagram and over many. */
static void test_many(void **state)
{
	static char text[1400];
	size_t n = 0;

	(void)state;
	start(CONFIG_FORMAT_STATSD);
	n = (size_t)snprintf(text, sizeof text, "a:1");
	while (n + 20 < sizeof text) {
		memcpy(text + n, ":1", 2);
		n += 2;
	}
	memcpy(text + n, "|c|#host:h\n?\n", 13);
	for (int i = 0; i < 20; i++) {
		send(text, n + 13);
		drain();
		fx.text_bytes = 0;
	}
	stop();
	assert_int_equal(fx.events, 20 * (n - 1) / 2);
	assert_int_equal(fx.refused, 20);
	assert_int_equal(fx.stats.listener[0].datagrams, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good_and_bad_lines),
		cmocka_unit_test(test_sender), cmocka_unit_test(test_many)};

	packet_eal(1);
	fx.pool = rte_pktmbuf_pool_create("test", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!fx.pool)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
