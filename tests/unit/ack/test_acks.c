/* From DATA datagrams to ACKs over a real journal: a worker's pipeline, the partitions' writers, the acker,
 * and a port of rings whose other end the test holds. An event is acknowledged when it is durable and not
 * before, once it is known again each time that it comes, also behind a restart; a refused one is named with
 * its reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "acker.h"
#include "clock.h"
#include "frame.h"
#include "frame_make.h"
#include "journal_rig.h"
#include "packets.h"
#include "pipeline.h"
#include "race.h"

#define PORT 7000
#define PARTS 4u
#define DATAGRAM_EVENTS 20 /* so that it fits into an mbuf */
#define WAIT_NS 60000000000ull
#define PRODUCER 0xfeed0000beefull

static struct {
	struct rig journal;
	struct config cfg;
	struct decode_ports ports;
	struct worker_stats stats;
	struct pipeline pl;
	struct pipeline_live *live;
	struct ruleset *rs;
	struct matcher *matcher;
	struct ack_lanes *lanes;
	struct acker *acker;
	struct rte_mempool *pool;
	struct rte_ring *out; /* what the port sends */
	uint16_t eth_port;
	uint64_t mirrors;
	struct frame_keys keys;
	uint8_t key;
	uint64_t handed, handed_before; /* records to this journal since it was opened; to earlier ones */
	/* answers */
	uint64_t durable[64]; /* bits by sequence / 64 */
	uint16_t refused[4096];
	uint32_t answers, rejects;
	uint8_t last[2048];
	uint32_t last_bytes;
} fx;

static void up(const char *rules)
{
	struct rule_source src = {"rules.yaml", rules, strlen(rules), false};
	struct err err = {0};

	if (ruleset_compile(&fx.rs, &src, 1, 100, &err))
		fail_msg("%s", err.text);
	fx.matcher = matcher_new(fx.rs, &err);
	assert_non_null(fx.matcher);
	rig_open(&fx.journal);
	assert_int_equal(ack_lanes_create(&fx.lanes, 1, PARTS, &err), 0);
	if (acker_start(&fx.acker, &fx.cfg, fx.lanes, fx.journal.journal, fx.mirrors, &err))
		fail_msg("%s", err.text);
	fx.journal.handoff.acks = fx.lanes;
	rig_start(&fx.journal);
	if (pipeline_live_make(&fx.live, &fx.cfg, &err) ||
		pipeline_setup(&fx.pl, &fx.cfg, fx.live, &fx.ports, &fx.journal.handoff, 0, &fx.stats, &err))
		fail_msg("%s", err.text);
	pipeline_set_matcher(&fx.pl, fx.matcher, 1);
	fx.handed_before += fx.handed;
	fx.handed = 0;
}

static void down(void)
{
	pipeline_seal(&fx.pl, (struct burst_time){clock_wall_ms(), clock_mono_ns()}, true);
	rig_stop(&fx.journal);
	acker_stop(fx.acker);
	rig_close(&fx.journal);
	ack_lanes_free(fx.lanes);
	fx.journal.handoff.acks = NULL;
	pipeline_free(&fx.pl);
	free(fx.live);
	matcher_free(fx.matcher);
	ruleset_free(fx.rs);
}

static void start(const char *rules, const char *key_file)
{
	struct rte_mempool *pool = fx.pool;
	struct rte_ring *out = fx.out;
	uint16_t eth_port = fx.eth_port;

	memset(&fx, 0, sizeof fx);
	fx.pool = pool;
	fx.out = out;
	fx.eth_port = eth_port;
	fx.cfg.listeners_count = 1;
	fx.cfg.listeners[0].udp_port = PORT;
	fx.cfg.listeners[0].format = CONFIG_FORMAT_SLUICE;
	fx.cfg.listeners[0].ack = true;
	snprintf(fx.cfg.listeners[0].type, sizeof fx.cfg.listeners[0].type, "auto");
	snprintf(fx.cfg.listeners[0].key_file, sizeof fx.cfg.listeners[0].key_file, "%s", key_file);
	fx.cfg.time.future_max = 300000;
	fx.cfg.worker.batch_age = 1000;
	fx.cfg.worker.producers_max = 64;
	fx.cfg.journal.dead_letter_bytes = 64;
	fx.cfg.journal.dead_letter_rate = 1 << 20;
	fx.ports.listener_of[PORT] = 1;
	rig_init(&fx.journal, PARTS, 1);
	up(rules);
}

static void stop(void)
{
	down();
	rig_free(&fx.journal);
}

/* ---- the port's other end ---- */

static void answer_take(const uint8_t *p, uint32_t bytes)
{
	uint16_t ranges, refusals;
	uint64_t first, bits;

	fx.answers++;
	assert_true(bytes <= sizeof fx.last);
	memcpy(fx.last, p, bytes);
	fx.last_bytes = bytes;
	assert_memory_equal(p, "SLCE\1", 5);
	if (p[5] == 3) {
		fx.rejects++;
		return;
	}
	assert_int_equal(p[5], 2);
	memcpy(&first, p + 8, 8);
	assert_int_equal(first, PRODUCER);
	memcpy(&ranges, p + 16, 2);
	memcpy(&refusals, p + 18, 2);
	assert_int_equal(bytes, frame_ack_bytes(ranges, refusals, fx.key != 0));
	if (fx.key) {
		assert_int_equal(p[6], 2);
		assert_int_equal(p[7], fx.key);
		assert_true(frame_mac_good(&fx.keys, fx.key, p, bytes - FRAME_MAC_BYTES));
	}
	for (p += 24; ranges--; p += 16) {
		memcpy(&first, p, 8);
		memcpy(&bits, p + 8, 8);
		for (; bits; bits &= bits - 1) {
			uint64_t s = first + (uint64_t)__builtin_ctzll(bits);

			assert_true(s < 4096);
			fx.durable[s / 64] |= 1ull << s % 64;
		}
	}
	for (; refusals--; p += 10) {
		memcpy(&first, p, 8);
		assert_true(first < 4096);
		memcpy(&fx.refused[first], p + 8, 2);
	}
}

/* A frame to 10.0.0.1, port 5555, with addresses turned round and right checksums. */
static void frame_take(struct rte_mbuf *m)
{
	static const uint8_t macs[12] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

	assert_memory_equal(eth, macs, 12);
	assert_int_equal(eth->ether_type, RTE_BE16(0x0800));
	assert_int_equal(ip->src_addr, RTE_BE32(0x0a000102));
	assert_int_equal(ip->dst_addr, RTE_BE32(0x0a000001));
	assert_int_equal(rte_raw_cksum(ip, sizeof *ip), 0xffff);
	assert_int_equal(udp->src_port, RTE_BE16(PORT));
	assert_int_equal(udp->dst_port, RTE_BE16(5555));
	assert_int_equal(rte_be_to_cpu_16(udp->dgram_len) + 34u, m->pkt_len);
	assert_int_equal(rte_ipv4_udptcp_cksum_verify(ip, udp), 0);
	answer_take((const uint8_t *)(udp + 1), m->pkt_len - 42);
	race_given(m);
	rte_pktmbuf_free(m);
}

static void answers_take(void)
{
	void *m;

	while (rte_ring_dequeue(fx.out, &m) == 0) {
		race_taken(m);
		frame_take(m);
	}
}

static bool is_durable(uint64_t s)
{
	return fx.durable[s / 64] >> s % 64 & 1;
}

static bool is_answered(uint64_t s)
{
	return is_durable(s) || fx.refused[s];
}

/* Until all of them are answered. */
static void await(uint64_t first, uint64_t count)
{
	uint64_t until_ns = clock_mono_ns() + WAIT_NS;

	for (;;) {
		uint64_t s = first;

		pipeline_seal(&fx.pl, (struct burst_time){clock_wall_ms(), clock_mono_ns()}, true);
		answers_take();
		while (s < first + count && is_answered(s))
			s++;
		if (s == first + count)
			return;
		if (clock_mono_ns() > until_ns)
			fail_msg("no answer to %lu", (unsigned long)s);
		usleep(200);
	}
}

/* ---- the producer ---- */

static void data_send_at(struct frame_make *m, int64_t wall_ms)
{
	struct rte_mbuf *mbuf;

	if (fx.key)
		make_mac(m, &fx.keys, fx.key);
	mbuf = packet_make(fx.pool, 1, PORT, m->data, m->bytes);
	assert_non_null(mbuf);
	fx.pl.decoder.port = fx.eth_port;
	pipeline_burst(&fx.pl, &mbuf, 1, (struct burst_time){wall_ms, clock_mono_ns()});
	rte_pktmbuf_free(mbuf);
	fx.handed = fx.stats.listener[0].accepted + fx.stats.listener[0].refused_kept - fx.handed_before;
}

static void data_send(struct frame_make *m)
{
	data_send_at(m, clock_wall_ms());
}

/* Events first to first + count - 1, of as many users. */
static void send_events(uint64_t first, uint16_t count)
{
	struct frame_make m;
	char text[128];

	for (; count > DATAGRAM_EVENTS; first += DATAGRAM_EVENTS, count = (uint16_t)(count - DATAGRAM_EVENTS))
		send_events(first, DATAGRAM_EVENTS);
	make_begin(&m, PRODUCER, first, count, fx.key ? 3 : 1, fx.key);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(text, sizeof text, "{\"user_id\":\"u%lu\",\"ts\":%ld,\"page\":\"/p\"}",
			(unsigned long)(first + i), (long)clock_wall_ms());
		make_event(&m, text);
	}
	data_send(&m);
}

/* By this journal, once all that the pipeline has handed over is durable. */
static uint64_t journaled(enum record_kind kind)
{
	uint64_t until_ns = clock_mono_ns() + WAIT_NS, taken, open, n;

	do {
		taken = open = n = 0;
		for (uint32_t p = 0; p < PARTS; p++) {
			struct journal_partition_stats s = rig_stats(&fx.journal, p);

			taken += s.batch_records;
			open += s.assigned_offset - s.durable_offset;
			n += s.records[kind];
		}
		if (taken == fx.handed && open == 0)
			return n;
		usleep(200);
	} while (clock_mono_ns() < until_ns);
	fail_msg("not settled");
	return 0;
}

static uint64_t duplicates(void)
{
	uint64_t n = 0;

	for (uint32_t p = 0; p < PARTS; p++)
		n += rig_stats(&fx.journal, p).duplicates;
	return n;
}

/* ---- tests ---- */

static void each_event_is_answered(void **state)
{
	struct acker_stats stats;

	(void)state;
	start("rules: []", "");
	/* No more at once than the lanes hold. */
	for (uint64_t s = 1; s < 2000; s += 200) {
		send_events(s, 200);
		await(s, 200);
	}
	for (uint64_t s = 1; s <= 2000; s++)
		assert_true(is_durable(s));
	assert_int_equal(journaled(RECORD_EVENT), 2000);
	/* An answer goes out before it is counted. */
	for (uint64_t end = clock_mono_ns() + WAIT_NS; clock_mono_ns() < end; usleep(200)) {
		acker_stats(fx.acker, &stats);
		if (stats.durable == 2000)
			break;
	}
	assert_int_equal(stats.durable, 2000);
	assert_int_equal(stats.refused + stats.no_path + stats.unsent, 0);
	assert_true(stats.acks <= 2000);
	stop();
}

static void a_repeated_event_is_known_and_answered(void **state)
{
	(void)state;
	start("rules: []", "");
	send_events(1, 30);
	await(1, 30);
	memset(fx.durable, 0, sizeof fx.durable);
	send_events(1, 30);
	await(1, 30);
	/* Beside others than the first time. */
	memset(fx.durable, 0, sizeof fx.durable);
	send_events(20, 30);
	await(20, 30);
	assert_int_equal(journaled(RECORD_EVENT), 49);
	assert_int_equal(duplicates(), 30 + 11);
	down();
	up("rules: []");
	memset(fx.durable, 0, sizeof fx.durable);
	send_events(1, 49);
	await(1, 49);
	assert_int_equal(journaled(RECORD_EVENT), 49);
	assert_int_equal(duplicates(), 49);
	stop();
}

static void refusals_have_their_reasons(void **state)
{
	struct frame_make m;

	(void)state;
	start("rules:\n- {id: gone, when: {page: /gone}, then: [drop]}\n", "");
	for (int round = 0; round < 2; round++) {
		make_begin(&m, PRODUCER, 1, 4, 1, 0);
		make_event(&m, "{\"user_id\":\"a\",\"ts\":1,\"page\":\"/p\"");
		make_event(&m, "{\"user_id\":\"a\",\"ts\":\"2026-11-30T00:00:00Z\",\"page\":\"/gone\"}");
		make_event(&m, "{\"user_id\":\"a\",\"ts\":\"2026-11-30T00:00:00Z\",\"page\":\"/kept\"}");
		make_event(&m, "{\"user_id\":\"a\",\"ts\":\"2099-11-30T00:00:00Z\",\"page\":\"/p\"}");
		data_send(&m);
		await(1, 4);
		assert_int_equal(fx.refused[1], DROP_bad_json);
		assert_int_equal(fx.refused[2], DROP_rule_drop);
		assert_true(is_durable(3));
		assert_int_equal(fx.refused[4], DROP_timestamp_future);
		memset(fx.durable, 0, sizeof fx.durable);
		memset(fx.refused, 0, sizeof fx.refused);
	}
	/* The dead letters are there once. */
	assert_int_equal(journaled(RECORD_REFUSED), 2);
	assert_int_equal(journaled(RECORD_EVENT), 1);
	stop();
}

/* Refused at first, and good when it comes again: it is stored, and only then called durable. */
static void a_refused_event_may_become_good(void **state)
{
	struct frame_make m;
	char text[128];
	int64_t now_ms, ahead_ms;

	(void)state;
	start("rules: []", "");
	now_ms = clock_wall_ms();
	ahead_ms = now_ms + 300500; /* half a second more than is allowed */
	snprintf(text, sizeof text, "{\"source\":\"s\",\"type\":\"log\",\"message\":\"m\",\"ts\":%ld}",
		(long)ahead_ms);
	make_begin(&m, PRODUCER, 1, 1, 1, 0);
	make_event(&m, text);
	data_send_at(&m, now_ms);
	await(1, 1);
	assert_int_equal(fx.refused[1], DROP_timestamp_future);
	data_send_at(&m, now_ms + 600);
	fx.refused[1] = 0;
	await(1, 1);
	assert_true(is_durable(1));
	assert_int_equal(journaled(RECORD_EVENT), 1);
	assert_int_equal(journaled(RECORD_REFUSED), 1);
	assert_int_equal(duplicates(), 0);
	stop();
}

static void what_cannot_be_read_is_not_answered(void **state)
{
	struct frame_make m;

	(void)state;
	start("rules: []", "");
	make_begin(&m, PRODUCER, 1, 2, 1, 0);
	make_event(&m, "{}");
	data_send(&m);
	make_begin(&m, PRODUCER, 1, 1, 1, 0);
	m.data[4] = 9;
	data_send(&m);
	make_begin(&m, PRODUCER, 1, 1, 0, 0); /* the same, and nobody asks */
	m.data[4] = 9;
	data_send(&m);
	send_events(5, 1);
	await(5, 1);
	usleep(10000);
	answers_take();
	assert_int_equal(fx.answers, 2);
	assert_int_equal(fx.rejects, 1);
	assert_int_equal(fx.stats.drops[DROP_bad_frame], 1);
	assert_int_equal(fx.stats.drops[DROP_frame_version], 2);
	stop();
}

/* Nobody who has not asked is answered. */
static void silence_if_wanted(void **state)
{
	struct frame_make m;

	(void)state;
	start("rules: []", "");
	make_begin(&m, PRODUCER, 1, 1, 0, 0);
	make_event(&m, "{\"user_id\":\"a\",\"ts\":\"2026-11-30T00:00:00Z\",\"page\":\"/p\"}");
	data_send(&m);
	send_events(2, 1);
	await(2, 1);
	assert_int_equal(journaled(RECORD_EVENT), 2);
	answers_take();
	assert_false(is_answered(1));
	stop();
}

/* What a mirror port sees was meant for somebody else, who answers. */
static void not_for_others(void **state)
{
	struct acker_stats stats;

	(void)state;
	start("rules: []", "");
	down();
	fx.mirrors = 1ull << fx.eth_port; /* whose address is not that of the frames */
	up("rules: []");
	send_events(1, 5);
	pipeline_seal(&fx.pl, (struct burst_time){clock_wall_ms(), clock_mono_ns()}, true);
	assert_int_equal(journaled(RECORD_EVENT), 5);
	do {
		usleep(1000);
		acker_stats(fx.acker, &stats);
	} while (stats.no_path < 5);
	answers_take();
	assert_int_equal(fx.answers, 0);
	stop();
}

static void keyed(void **state)
{
	char path[] = "/tmp/sluice-keys-XXXXXX";
	static const char text[] = "9 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
	int fd = mkstemp(path);
	struct err err;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
	close(fd);
	start("rules: []", path);
	send_events(1, 3); /* unsigned */
	assert_int_equal(fx.stats.drops[DROP_bad_mac], 1);
	assert_int_equal(frame_keys_load(&fx.keys, path, "key", &err), 0);
	fx.key = 9;
	send_events(4, 3);
	await(4, 3);
	assert_false(is_answered(1));
	assert_int_equal(journaled(RECORD_EVENT), 3);
	stop();
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_is_answered),
		cmocka_unit_test(a_repeated_event_is_known_and_answered),
		cmocka_unit_test(refusals_have_their_reasons),
		cmocka_unit_test(a_refused_event_may_become_good),
		cmocka_unit_test(what_cannot_be_read_is_not_answered),
		cmocka_unit_test(silence_if_wanted),
		cmocka_unit_test(not_for_others),
		cmocka_unit_test(keyed),
	};
	int port;

	rig_eal("acks");
	fx.pool = rte_pktmbuf_pool_create("in", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	fx.out = rte_ring_create("out", 4096, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (!fx.pool || !fx.out)
		return 1;
	port = rte_eth_from_ring(fx.out);
	if (port < 0)
		return 1;
	fx.eth_port = (uint16_t)port;
	if (rte_eth_dev_configure(fx.eth_port, 1, 1, &(struct rte_eth_conf){0}) ||
		rte_eth_rx_queue_setup(fx.eth_port, 0, 64, SOCKET_ID_ANY, NULL, fx.pool) ||
		rte_eth_tx_queue_setup(fx.eth_port, 0, 64, SOCKET_ID_ANY, NULL) ||
		rte_eth_dev_start(fx.eth_port))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
