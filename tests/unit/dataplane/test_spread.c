/* Who gets a frame when workers spread: owners of what has to meet, others for the rest, and what happens
 * when a ring is full. No threads; they are in test_spread_workers.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "decap.h"
#include "nic_frames.h"
#include "packets.h"
#include "eal_start.h"
#include "spread.h"

#define WORKERS 3
#define BURST 32
#define ROOM 511
#define PLAIN FRAME_PORT
#define ACKED 9001
#define LIMITED 9002
#define GELF 9003

static struct config cfg;
static struct decode_ports ports;
static struct worker_stats stats[WORKERS];
static struct spread *spread;
static struct rte_mempool *pool;

static int set_up(void **state)
{
	static const bool has_queue[WORKERS] = {true, true, false};
	struct worker_stats *const stat[WORKERS] = {&stats[0], &stats[1], &stats[2]};
	struct err err = {0};

	(void)state;
	memset(stats, 0, sizeof stats);
	cfg = (struct config){.worker = {.count = WORKERS,
				      .burst = BURST,
				      .spread = CONFIG_SPREAD_AUTO,
				      .spread_frames = ROOM},
		.listeners_count = 4,
		.ports_count = 1};
	cfg.ports[0].queues = 2;
	snprintf(cfg.ports[0].name, sizeof cfg.ports[0].name, "p0");
	cfg.listeners[1].format = CONFIG_FORMAT_SLUICE;
	cfg.listeners[2].rate = 100;
	cfg.listeners[3].format = CONFIG_FORMAT_GELF;
	for (uint16_t i = 0; i < 4; i++)
		ports.listener_of[PLAIN + i] = (uint8_t)(i + 1);
	if (spread_create(&spread, &cfg, &ports, has_queue, stat, &err))
		fail_msg("%s", err.text);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	spread_free(spread);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

static uint32_t owner_of(const uint8_t *f, uint32_t bytes)
{
	struct rte_mbuf *m = frame_mbuf(f, bytes, 0);
	uint32_t owner;

	m->port = 0;
	owner = spread_owner(spread, m);
	frame_mbuf_free(m);
	return owner;
}

/* Of a datagram of the source ...host to a port. */
static uint32_t owner_to(uint16_t port, uint8_t host, const char *payload)
{
	uint8_t f[128];
	uint32_t n = frame4(f, 40);

	f[29] = host;
	frame_put16(f + 36, port);
	memcpy(f + 42, payload, strlen(payload));
	return owner_of(f, n);
}

static void test_owners(void **state)
{
	uint32_t count[WORKERS] = {0};
	uint8_t f[200];

	(void)state;
	for (unsigned host = 0; host < 256; host++) {
		uint32_t owner = owner_to(ACKED, (uint8_t)host, "x"), n = frame4(f, 40);

		assert_in_range(owner, 0, WORKERS - 1);
		count[owner]++;
		assert_int_equal(owner_to(PLAIN, (uint8_t)host, "x"), SPREAD_ANY);
		assert_int_equal(owner_to(LIMITED, (uint8_t)host, "x"), owner);
		assert_int_equal(owner_to(GELF, (uint8_t)host, "{"), SPREAD_ANY);
		assert_int_equal(owner_to(GELF, (uint8_t)host, "\x1e\x0f"), owner);
		/* Its fragments, though they do not say for whom they are: the first, one within, the last.
		 */
		f[29] = (uint8_t)host;
		f[20] = 0x20;
		assert_int_equal(owner_of(f, n), owner);
		f[21] = 9;
		assert_int_equal(owner_of(f, n), owner);
		f[20] = 0;
		assert_int_equal(owner_of(f, n), owner);
		/* And behind a tag. */
		n = frame_insert(f, n, 12, "\x81\x00\x00\x05", 4);
		assert_int_equal(owner_of(f, n), owner);
	}
	for (int w = 0; w < WORKERS; w++)
		assert_in_range(count[w], 40, 140); /* 85 of 256, with a keyed hash */
}

static void test_owners_ipv6(void **state)
{
	uint8_t f[200];
	uint32_t n = frame6(f, 40), owner;

	(void)state;
	assert_int_equal(owner_of(f, n), SPREAD_ANY);
	frame_put16(f + 56, ACKED);
	owner = owner_of(f, n);
	assert_in_range(owner, 0, WORKERS - 1);
	f[20] = 44; /* a fragment header, which is not read */
	assert_int_equal(owner_of(f, n), owner);
	f[20] = 0; /* hop by hop */
	assert_int_equal(owner_of(f, n), owner);
}

static void test_no_owner(void **state)
{
	uint8_t f[200];
	uint32_t n = frame4(f, 40);

	(void)state;
	frame_put16(f + 36, 4789);
	assert_int_equal(owner_of(f, n), SPREAD_ANY); /* no listener: dropped anywhere */
	spread->decap[0] = DECAP_VXLAN;		      /* a tunnel, in which fragments may be */
	assert_int_not_equal(owner_of(f, n), SPREAD_ANY);
	assert_int_equal(owner_to(PLAIN, 1, "x"), SPREAD_ANY);
	f[23] = 6; /* TCP: nobody's, whatever the port takes off */
	assert_int_equal(owner_of(f, n), SPREAD_ANY);
	f[23] = 47; /* GRE: what is in it may be anything */
	assert_int_not_equal(owner_of(f, n), SPREAD_ANY);
	spread->decap[0] = 0;
	assert_int_equal(owner_of(f, n), SPREAD_ANY);
	frame_put16(f + 12, 0x0806);
	assert_int_equal(owner_of(f, n), SPREAD_ANY);
	assert_int_equal(owner_of(f, 10), SPREAD_ANY);
}

/* Frames to `port`, of hosts 1, 2, 3, ... */
static void burst_make(struct rte_mbuf **mbuf, uint32_t n, uint16_t port)
{
	for (uint32_t i = 0; i < n; i++) {
		mbuf[i] = packet_make(pool, (uint8_t)(i + 1), port, "{}", 2);
		assert_non_null(mbuf[i]);
		mbuf[i]->port = 0;
	}
}

static uint32_t taken(uint32_t from, uint32_t to)
{
	struct rte_mbuf *mbuf[SPREAD_BURST_MAX];
	uint32_t n, sum = 0;

	while ((n = spread_take(spread, from, to, mbuf))) {
		rte_pktmbuf_free_bulk(mbuf, n);
		sum += n;
	}
	return sum;
}

static uint32_t give(uint32_t worker, uint32_t n, uint16_t port, bool crowded)
{
	struct rte_mbuf *mbuf[SPREAD_BURST_MAX];
	struct spreader *sp = &spread->spreader[worker];
	uint64_t given = stats[worker].spread_given;
	uint32_t mine;

	burst_make(mbuf, n, port);
	mine = spread_burst(sp, mbuf, n, crowded);
	assert_int_equal(mine + sp->dropped_count + stats[worker].spread_given - given, n);
	rte_pktmbuf_free_bulk(mbuf, mine);
	rte_pktmbuf_free_bulk(sp->dropped, sp->dropped_count);
	return mine;
}

static void test_crowded_only(void **state)
{
	(void)state;
	assert_int_equal(give(0, 20, PLAIN, false), 20);
	assert_int_equal(give(0, BURST, PLAIN, true), 0);
	assert_true(spread_waits(spread, 1));
	assert_false(spread_waits(spread, 2));
	assert_int_equal(spread_backlog(spread), BURST);
	assert_int_equal(give(0, BURST, PLAIN, true), 0); /* the next one's turn */
	assert_int_equal(give(0, BURST, PLAIN, true), 0);
	assert_int_equal(give(0, BURST, PLAIN, true), 0);
	assert_int_equal(give(0, BURST, PLAIN, true), BURST); /* each has SPREAD_AHEAD bursts */
	assert_int_equal(taken(0, 1), 2 * BURST);
	assert_int_equal(taken(0, 2), 2 * BURST);
	spread_crowded(spread, 1, true); /* no help from who needs help */
	assert_int_equal(give(0, BURST, PLAIN, true), 0);
	assert_int_equal(give(0, BURST, PLAIN, true), 0);
	assert_int_equal(give(0, BURST, PLAIN, true), BURST);
	assert_int_equal(taken(0, 1), 0);
	assert_int_equal(taken(0, 2), 2 * BURST);
	assert_int_equal(taken(2, 0), 0); /* no queue, no rings */
}

/* Frames with an owner go to it however little there is to do, and nowhere else. */
static void test_owned(void **state)
{
	struct rte_mbuf *mbuf[BURST];
	uint32_t want[WORKERS] = {0}, mine, order = 0;

	(void)state;
	burst_make(mbuf, BURST, ACKED);
	for (uint32_t i = 0; i < BURST; i++)
		want[spread_owner(spread, mbuf[i])]++;
	mine = spread_burst(&spread->spreader[0], mbuf, BURST, false);
	assert_int_equal(mine, want[0]);
	for (uint32_t i = 0; i < mine; i++) {
		const uint8_t *f = rte_pktmbuf_mtod(mbuf[i], const uint8_t *);

		assert_int_equal(spread_owner(spread, mbuf[i]), 0);
		assert_true(f[29] > order); /* as they came */
		order = f[29];
	}
	rte_pktmbuf_free_bulk(mbuf, mine);
	assert_int_equal(taken(0, 1), want[1]);
	assert_int_equal(taken(0, 2), want[2]);
}

/* An owner that does not come: its frames are dropped, all others go on. */
static void test_full(void **state)
{
	uint32_t given = 0, dropped = 0, room = rte_ring_get_capacity(spread->ring[2]);

	(void)state;
	assert_in_range(room, ROOM, 2 * ROOM);
	for (int i = 0; i < 100; i++) {
		uint64_t before = stats[0].spread_given;

		give(0, BURST, ACKED, true);
		given += (uint32_t)(stats[0].spread_given - before);
		dropped += spread->spreader[0].dropped_count;
		(void)taken(0, 1);
	}
	assert_true(dropped > 0);
	assert_int_equal(taken(0, 2), room);
	assert_true(given > room);
	assert_int_equal(give(0, BURST, PLAIN, true), 0);
	assert_int_equal(spread->spreader[0].dropped_count, 0);
}

static void test_end(void **state)
{
	(void)state;
	for (uint32_t w = 0; w < WORKERS; w++) {
		assert_false(spread_ended(spread));
		spread_end(spread, w);
	}
	assert_true(spread_ended(spread));
	assert_int_equal(give(0, BURST, PLAIN, true), 0); /* freed with the rings */
}

static void test_wanted(void **state)
{
	char why[128];

	(void)state;
	assert_true(spread_wanted(&cfg, why, sizeof why));
	assert_string_equal(why, "3 workers, 2 queues: those without a queue get frames from the others");
	assert_int_equal(spread_frames_max(&cfg, 0), 2 * 2 * ROOM + 3 * BURST);
	snprintf(cfg.ports[0].device, sizeof cfg.ports[0].device, "net_pcap0,rx_pcap=old.pcap");
	assert_false(spread_wanted(&cfg, why, sizeof why));
	assert_string_equal(why, "port p0 reads a file, whose order is kept");
	assert_int_equal(spread_frames_max(&cfg, 0), 0);
	snprintf(cfg.ports[0].device, sizeof cfg.ports[0].device, "net_pcap0,rx_pcap=old.pcap,infinite_rx=1");
	assert_true(spread_wanted(&cfg, why, sizeof why));
	cfg.ports[0].queues = 3;
	assert_false(spread_wanted(&cfg, why, sizeof why));
	assert_string_equal(why, "3 workers, 3 queues: each worker has one");
	assert_int_equal(spread_frames_max(&cfg, 0), 0);
	cfg.worker.spread = CONFIG_SPREAD_ON;
	assert_true(spread_wanted(&cfg, why, sizeof why));
	cfg.ports[0].queues = 8;
	assert_int_equal(spread_frames_max(&cfg, 0), 3 * 2 * ROOM + 3 * BURST);
	cfg.worker.count = 1;
	assert_false(spread_wanted(&cfg, why, sizeof why));
	assert_string_equal(why, "one worker");
	cfg.worker.count = 9;
	cfg.worker.spread = CONFIG_SPREAD_OFF;
	assert_false(spread_wanted(&cfg, why, sizeof why));
	assert_string_equal(why, "worker.spread is off");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_owners), TEST(test_owners_ipv6), TEST(test_no_owner),
		TEST(test_crowded_only), TEST(test_owned), TEST(test_full), TEST(test_end),
		TEST(test_wanted)};

	rig_eal_start(1);
	pool = rte_pktmbuf_pool_create("spread", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!pool)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
