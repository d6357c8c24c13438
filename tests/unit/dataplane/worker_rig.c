#include "worker_rig.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include "packets.h"

#define PORT 9000
#define AHEAD_MAX 4000u

/* Not by spinning: the workers may have no core of their own. */
static void rig_pause(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

static void batch_consume(struct worker_rig *rig, struct batch *b)
{
	for (uint32_t at = 0, i = 0; i < b->record_count; i++) {
		const struct record *rec = (const struct record *)(b->data + at);
		uint32_t id;

		assert_true(record_valid(rec, b->bytes - at));
		memcpy(&id, rec->event_id + 12, sizeof id);
		rig->take(rig->arg, __builtin_bswap32(id), b, rec);
		rig->taken++;
		at += rec->bytes;
	}
}

static void *consumer(void *arg)
{
	uint32_t last[RIG_WORKERS_MAX][RIG_PARTITIONS] = {{0}};
	struct worker_rig *rig = arg;
	bool idle, stop;

	do {
		/* Before the look at the lanes: what was sealed before the stop must be seen by a look after
		 * it. */
		stop = atomic_load(&rig->stop);
		idle = true;
		for (uint32_t w = 0; w < rig->workers; w++)
			for (uint32_t p = 0; p < RIG_PARTITIONS; p++) {
				struct batch_lane *lane = handoff_lane(&rig->handoff, w, p);
				struct batch *b = batch_take_sealed(lane);

				if (!b)
					continue;
				idle = false;
				rig->back += b->generation < last[w][p];
				rig->switches += b->generation != last[w][p];
				last[w][p] = b->generation;
				batch_consume(rig, b);
				batch_return(lane, b);
			}
		if (idle)
			rig_pause();
	} while (!idle || !stop);
	return NULL;
}

void worker_rig_make(struct worker_rig *rig, const char *name)
{
	worker_rig_make_of(rig, name, RIG_WORKERS, RIG_WORKERS);
}

void worker_rig_make_of(struct worker_rig *rig, const char *name, uint32_t workers, uint32_t queues)
{
	struct config *cfg = &rig->cfg;
	char text[64];

	memset(rig, 0, sizeof *rig);
	rig->workers = workers;
	rig->queues = queues;
	rig->ahead_max = AHEAD_MAX;
	rig->pool = rte_pktmbuf_pool_create(name, 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	assert_non_null(rig->pool);
	for (uint32_t q = 0; q < queues; q++) {
		snprintf(text, sizeof text, "%s-q%u", name, q);
		rig->ring[q] = rte_ring_create(text, 2048, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
		assert_non_null(rig->ring[q]);
	}
	assert_true(rte_eth_from_rings(name, rig->ring, queues, rig->ring, queues, 0) >= 0);
	cfg->worker.count = workers;
	cfg->worker.burst = 32;
	cfg->worker.batch_age = 1000;
	cfg->worker.idle_sleep_max = 100;
	cfg->worker.power = CONFIG_POWER_ADAPTIVE;
	cfg->eal.mbufs = 1023;
	cfg->journal.dead_letter_bytes = 100;
	cfg->ports_count = 1;
	snprintf(cfg->ports[0].name, sizeof cfg->ports[0].name, "rings");
	snprintf(cfg->ports[0].device, sizeof cfg->ports[0].device, "net_ring_%.20s", name);
	cfg->ports[0].queues = queues;
	cfg->ports[0].descriptors = 1024;
	cfg->listeners_count = 1;
	cfg->listeners[0].udp_port = PORT;
}

void worker_rig_create(struct worker_rig *rig)
{
	struct err err = {0};

	if (dataplane_create(&rig->dp, &rig->cfg, &err) ||
		handoff_create(&rig->handoff, rig->workers, RIG_PARTITIONS, 64, 32768, &err))
		fail_msg("%s", err.text);
}

void worker_rig_start(struct worker_rig *rig, const struct ruleset *rs, worker_rig_take *take, void *arg)
{
	struct err err = {0};

	rig->take = take;
	rig->arg = arg;
	assert_int_equal(dataplane_start(rig->dp, &rig->handoff, rs, 1, &err), 0);
	assert_int_equal(pthread_create(&rig->consumer, NULL, consumer, rig), 0);
}

void worker_rig_feed(struct worker_rig *rig, uint32_t from, uint32_t to)
{
	worker_rig_feed_as(rig, from, to, 1, PORT);
}

void worker_rig_feed_as(struct worker_rig *rig, uint32_t from, uint32_t to, uint8_t host, uint16_t port)
{
	char text[300];

	for (uint32_t i = from; i < to; i++) {
		int n = snprintf(text, sizeof text,
			"{\"event_id\":\"00000000-0000-4000-8000-0000%08x\",\"user_id\":\"u%u\",\"ts\":\"%"
			"s\",\"page\":\"/p%u\"}",
			i, i % RIG_USERS, "2026-11-21T06:00:00Z", i % RIG_PAGES);
		struct rte_mbuf *m;

		/* A starved consumer must not turn into drops here. */
		while (i > atomic_load(&rig->taken) + rig->ahead_max)
			rig_pause();
		while (!(m = packet_make(rig->pool, host, port, text, (uint32_t)n)))
			rig_pause();
		while (rte_ring_enqueue(rig->ring[i % rig->queues], m) != 0)
			rig_pause();
	}
}

void worker_rig_stop(struct worker_rig *rig)
{
	dataplane_stop(rig->dp);
	atomic_store(&rig->stop, true);
	pthread_join(rig->consumer, NULL);
}

void worker_rig_free(struct worker_rig *rig)
{
	dataplane_free(rig->dp);
	handoff_free(&rig->handoff);
}
