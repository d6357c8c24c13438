/* Answers through a ring port: what is counted, that no mbuf is lost, that there is a limit, and that the
 * decoder names nothing a drop that was answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include "answer.h"
#include "decode.h"
#include "eal_rig.h"
#include "nic_frames.h"
#include "port_tx.h"
#include "race.h"

#define MBUFS 511u
#define MTU 1280u
#define SECOND 1000000000ull

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 2}, his_mac[6] = {2, 0, 0, 0, 0, 1};
static struct rte_mempool *pool;
static struct rte_ring *wire;
static uint16_t port;
static struct answer_ports ports;
static struct neighbour_stats stats;

static int set_up(void **state)
{
	struct answer_port *at;

	(void)state;
	pool = rte_pktmbuf_pool_create("answers", MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	wire = rte_ring_create("wire", 256, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	assert_non_null(pool);
	assert_non_null(wire);
	port = (uint16_t)rte_eth_from_rings("answers", &wire, 1, &wire, 1, 0);
	assert_true(port < RTE_MAX_ETHPORTS);
	assert_int_equal(rte_eth_dev_configure(port, 1, 1, &(struct rte_eth_conf){0}), 0);
	assert_int_equal(rte_eth_rx_queue_setup(port, 0, 64, SOCKET_ID_ANY, NULL, pool), 0);
	assert_int_equal(rte_eth_tx_queue_setup(port, 0, 64, SOCKET_ID_ANY, NULL), 0);
	assert_int_equal(rte_eth_dev_start(port), 0);
	at = &ports.of[port];
	memcpy(at->table.mac, own_mac, sizeof own_mac);
	at->table.own = (struct address_list){1, {{[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 2}}};
	at->pool = pool;
	at->index = 3;
	at->mtu = MTU;
	return 0;
}

static void start(struct answerer *a)
{
	memset(&stats, 0, sizeof stats);
	*a = (struct answerer){.ports = &ports, .stats = &stats};
}

/* An ARP request for 10.0.0.<host>. */
static struct rte_mbuf *arp(uint8_t host, uint8_t sender)
{
	static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 1};
	uint8_t f[60] = {0};
	struct rte_mbuf *m;

	memset(f, 0xff, 6);
	memcpy(f + 6, his_mac, 6);
	frame_put16(f + 12, 0x0806);
	memcpy(f + 14, head, sizeof head);
	memcpy(f + 22, his_mac, 6);
	memcpy(f + 28, (const uint8_t[]){10, 0, 0, sender}, 4);
	memcpy(f + 38, (const uint8_t[]){10, 0, 0, host}, 4);
	m = frame_mbuf(f, sizeof f, 0);
	m->port = port;
	return m;
}

/* An IP packet of so many bytes, of which zeros are the data, behind so many tags. */
static struct rte_mbuf *ping_of(uint16_t bytes, uint32_t tags)
{
	static const uint8_t ip[] = {0x45, 0, 0, 0, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	uint8_t f[2048] = {0}, *at = f + 12;
	struct rte_mbuf *m;

	memcpy(f, own_mac, 6);
	memcpy(f + 6, his_mac, 6);
	for (; tags; tags--, at += 4) {
		frame_put16(at, 0x8100);
		frame_put16(at + 2, 5);
	}
	frame_put16(at, 0x0800);
	at += 2;
	memcpy(at, ip, sizeof ip);
	frame_put16(at + 2, bytes);
	frame_sum_ipv4(at);
	at[20] = 8;
	frame_put16(at + 22, frame_checksum(at + 20, bytes - sizeof ip, 0));
	m = frame_mbuf(f, bytes < 46 ? 60 : (uint32_t)(at - f) + bytes, 0);
	m->port = port;
	return m;
}

static struct rte_mbuf *ping(void)
{
	return ping_of(36, 0);
}

static bool look(struct answerer *a, struct rte_mbuf *m, uint64_t now_ns)
{
	bool taken = answer_frame(a, m->port, m, now_ns);

	frame_mbuf_free(m);
	return taken;
}

/* What was sent: its length, and its type in *type. 0: nothing. */
static uint32_t sent(uint32_t *type)
{
	struct rte_mbuf *m;
	uint32_t bytes;

	if (rte_ring_dequeue(wire, (void **)&m))
		return 0;
	bytes = m->pkt_len;
	*type = (uint32_t)rte_pktmbuf_mtod(m, uint8_t *)[12] << 8 | rte_pktmbuf_mtod(m, uint8_t *)[13];
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), his_mac, 6);
	rte_pktmbuf_free(m);
	return bytes;
}

static uint32_t drain(void)
{
	uint32_t count = 0, type;

	while (sent(&type))
		count++;
	return count;
}

static void mbuf_home(struct rte_mbuf *m)
{
	race_given(m);
	rte_pktmbuf_free_bulk(&m, 1);
}

/* The same of frames without contents. */
static uint32_t drain_any(void)
{
	struct rte_mbuf *m;
	uint32_t count = 0;

	for (; rte_ring_dequeue(wire, (void **)&m) == 0; count++) {
		race_taken(m);
		mbuf_home(m);
	}
	return count;
}

static void test_answers(void **state)
{
	struct rte_mbuf *m;
	struct answerer a;
	uint32_t type;

	(void)state;
	start(&a);
	assert_true(look(&a, arp(2, 1), SECOND));
	assert_int_equal(sent(&type), 60);
	assert_int_equal(type, 0x0806);
	assert_true(look(&a, ping(), SECOND));
	assert_int_equal(sent(&type), 60);
	assert_int_equal(type, 0x0800);
	assert_false(look(&a, arp(3, 1), SECOND)); /* somebody else's */
	m = arp(2, 1);
	m->port = port ? 0 : 1; /* a port without addresses, one that is none */
	assert_false(look(&a, m, SECOND));
	assert_int_equal(stats.conflicts, 0);
	assert_false(look(&a, arp(7, 2), SECOND));
	assert_int_equal(stats.conflicts, 1);
	assert_int_equal(neighbour_conflict_of(stats.conflict).port, 3);
	assert_memory_equal(neighbour_conflict_of(stats.conflict).mac, his_mac, 6);
	assert_int_equal(stats.answered, 2);
	assert_int_equal(stats.unsent, 0);
	assert_int_equal(drain(), 0);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS);
}

/* A ping of fragments that were put together: no frame takes the answer. Tags are not of the MTU. */
static void test_mtu(void **state)
{
	struct answerer a;
	uint32_t type;

	(void)state;
	start(&a);
	for (uint32_t tags = 0; tags < 2; tags++) {
		assert_true(look(&a, ping_of(MTU, tags), SECOND));
		assert_int_equal(sent(&type), 14 + 4 * tags + MTU);
		assert_int_equal(stats.unsent, tags);
		assert_true(look(&a, ping_of(MTU + 1, tags), SECOND));
		assert_int_equal(drain(), 0);
		assert_int_equal(stats.answered, tags + 1);
		assert_int_equal(stats.unsent, tags + 1);
	}
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS);
}

/* In each second so many, pings apart from the others. */
static void test_limit(void **state)
{
	struct rte_mbuf *m;
	struct answerer a;

	(void)state;
	start(&a);
	for (uint32_t i = 0; i < 3 * ANSWERS_PER_SECOND; i++)
		assert_true(look(&a, ping(), 5 * SECOND + i));
	assert_int_equal(stats.answered, ANSWERS_PER_SECOND);
	assert_int_equal(stats.unsent, 2 * ANSWERS_PER_SECOND);
	assert_true(look(&a, arp(2, 1), 6 * SECOND - 1));
	assert_int_equal(stats.answered, ANSWERS_PER_SECOND + 1);
	assert_int_equal(drain(), ANSWERS_PER_SECOND + 1);
	for (uint32_t i = 0; i < ANSWERS_PER_SECOND; i++)
		assert_true(look(&a, arp(2, 1), 6 * SECOND - 1));
	assert_int_equal(stats.answered, 2 * ANSWERS_PER_SECOND);
	assert_int_equal(drain(), ANSWERS_PER_SECOND - 1);
	m = arp(2, 1); /* who asks us alone is not one of all these */
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), own_mac, sizeof own_mac);
	assert_true(look(&a, m, 6 * SECOND - 1));
	assert_int_equal(drain(), 1);
	m = arp(2, 1); /* to ourselves nothing is sent */
	memcpy(rte_pktmbuf_mtod(m, uint8_t *) + 22, own_mac, sizeof own_mac);
	assert_false(look(&a, m, 6 * SECOND - 1));
	assert_true(look(&a, ping(), 6 * SECOND));
	assert_int_equal(drain(), 1);
}

/* A port that takes nothing, then a pool without mbufs: unsent, and nothing is lost. */
static void test_full(void **state)
{
	struct rte_mbuf *mbuf[MBUFS];
	struct answerer a;
	uint32_t room = rte_ring_free_count(wire), n = 0;

	(void)state;
	start(&a);
	for (uint32_t i = 0; i < room + 3; i++)
		assert_true(look(&a, arp(2, 1), i * SECOND));
	assert_int_equal(stats.answered, room);
	assert_int_equal(stats.unsent, 3);
	assert_int_equal(drain(), room);
	while (n < MBUFS && (mbuf[n] = rte_pktmbuf_alloc(pool)))
		n++;
	assert_int_equal(n, MBUFS);
	assert_true(look(&a, arp(2, 1), 1000 * SECOND));
	assert_int_equal(stats.unsent, 4);
	rte_pktmbuf_free_bulk(mbuf, n);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS);
}

/* Tries cost as much as answers, so a second has so many of them; each kind of question its own. */
static void test_tries(void **state)
{
	struct answerer a;
	uint32_t room = rte_ring_free_count(wire);

	(void)state;
	start(&a);
	for (uint32_t i = 0; i < room; i++)
		assert_true(look(&a, arp(2, 1), i * SECOND));
	for (uint32_t i = 0; i < ANSWERS_PER_SECOND; i++)
		assert_true(look(&a, ping(), 2000 * SECOND));
	assert_int_equal(stats.unsent, ANSWERS_PER_SECOND);
	assert_int_equal(drain(), room);
	assert_true(look(&a, ping(), 2000 * SECOND)); /* though there is room now */
	assert_int_equal(stats.unsent, ANSWERS_PER_SECOND + 1);
	assert_true(look(&a, arp(2, 1), 2000 * SECOND));
	assert_int_equal(drain(), 1);
	assert_true(look(&a, ping(), 2001 * SECOND));
	assert_int_equal(drain(), 1);
	assert_int_equal(stats.answered, room + 2);
}

/* Each frame once: as a drop, or as answered. */
static void test_decoder(void **state)
{
	static struct decode_ports listeners;
	uint64_t drops[DROP_ID_MAX] = {0};
	struct decode_stats decoded = {0};
	const struct decoder_wish wish = {&listeners, drops, &decoded, 0, 0};
	struct rte_mbuf *mbuf[] = {arp(2, 1), arp(3, 1), ping(), arp(2, 9)};
	struct datagram dg[4];
	struct answerer a;
	struct decoder d;

	(void)state;
	start(&a);
	assert_int_equal(decoder_setup(&d, &wish), 0);
	for (int run = 0; run < 2; run++) {
		uint32_t next = 0;

		d.answerer = run ? &a : NULL;
		d.port = port;
		decode_tick(&d, SECOND);
		assert_int_equal(decode_burst(&d, mbuf, 4, &next, dg), 0);
		assert_int_equal(next, 4);
		assert_int_equal(drops[DROP_not_ip], run ? 4 : 3);
		assert_int_equal(drops[DROP_not_udp], 1);
	}
	assert_int_equal(stats.answered, 3);
	assert_int_equal(drain(), 3);
	for (int i = 0; i < 4; i++)
		frame_mbuf_free(mbuf[i]);
	decoder_free(&d);
}

#define EACH 4000

static pthread_barrier_t both;

static void *sender(void *arg)
{
	uint64_t *count = arg;

	pthread_barrier_wait(&both);
	for (uint32_t i = 0; i < EACH; i++) {
		struct rte_mbuf *m = rte_mbuf_raw_alloc(pool);

		if (!m)
			continue;
		race_taken(m);
		rte_pktmbuf_reset(m);
		if ((i % 2 ? port_tx : port_tx_try)(port, m))
			++*count;
		else
			mbuf_home(m);
	}
	return NULL;
}

/* A queue belongs to one thread at a time: two that send do not tear the port's counters. */
static void test_lock(void **state)
{
	struct rte_eth_stats before, after;
	uint64_t count[2] = {0};
	pthread_t thread[2];
	uint32_t got = 0;

	(void)state;
	pthread_barrier_init(&both, NULL, 2);
	rte_eth_stats_get(port, &before);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, sender, &count[i]), 0);
	while (pthread_tryjoin_np(thread[0], NULL)) {
		got += drain_any();
		sched_yield(); /* a ring's user that is not on a core holds up the others */
	}
	pthread_join(thread[1], NULL);
	got += drain_any();
	rte_eth_stats_get(port, &after);
	assert_int_equal(got, count[0] + count[1]);
	assert_int_equal(after.opackets - before.opackets, got);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_limit), cmocka_unit_test(test_full), cmocka_unit_test(test_tries),
		cmocka_unit_test(test_decoder), cmocka_unit_test(test_lock)};

	rig_eal("answer");
	return cmocka_run_group_tests(tests, set_up, NULL);
}
