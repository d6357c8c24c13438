/* A worker's pipeline over frames in memory, for benchmarks: what bench_worker and bench_reload share. */
#ifndef SLUICE_BENCH_PIPELINE_H
#define SLUICE_BENCH_PIPELINE_H

#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_events.h"
#include "bench_util.h"
#include "eal.h"
#include "ndjson.h"
#include "pipeline.h"

#define PORT 9000
#define BURST 32
#ifndef PARTITIONS
#define PARTITIONS 4
#define BATCHES 16
#endif
#ifndef BENCH_LCORES
#define BENCH_LCORES 1
#endif

struct bench {
	struct rte_mbuf **mbuf;
	uint32_t frames, at, lines;
	struct config cfg;
	struct decode_ports ports;
	struct handoff handoff;
	struct worker_stats stats;
	struct pipeline pl;
	struct json_parser *jp;
	struct parse_limits limits;
	struct pipeline_live *live;
	struct event event[BURST * 8];
};

static struct bench b;

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* `lines` events a frame, newline-separated. */
static void frames_make(const struct bench_events *ev, uint32_t lines)
{
	struct rte_mempool *pool = rte_pktmbuf_pool_create("bench", ev->count / lines + 64, 0, 0,
		(uint16_t)(RTE_PKTMBUF_HEADROOM + 64 + 256 * lines + EVENT_PAD_BYTES), SOCKET_ID_ANY);

	b.frames = ev->count / lines;
	b.lines = lines;
	b.mbuf = calloc(b.frames, sizeof *b.mbuf);
	if (!pool || !b.mbuf || rte_pktmbuf_alloc_bulk(pool, b.mbuf, b.frames)) {
		fprintf(stderr, "no memory for %u mbufs\n", b.frames);
		exit(77);
	}
	for (uint32_t i = 0; i < b.frames; i++) {
		uint8_t *f = rte_pktmbuf_mtod(b.mbuf[i], uint8_t *);
		uint32_t n = 42;

		for (uint32_t k = 0; k < lines; k++) {
			uint32_t e = i * lines + k;

			memcpy(f + n, ev->bytes + ev->offset[e], ev->length[e]);
			n += ev->length[e];
			if (lines > 1)
				f[n++] = '\n';
		}
		memset(f, 0, 42);
		put16(f + 12, 0x0800);
		f[14] = 0x45;
		put16(f + 16, n - 14);
		f[22] = 64;
		f[23] = 17;
		put16(f + 26, 0x0a00);
		put16(f + 28, i & 0xffff);
		put16(f + 36, PORT);
		put16(f + 38, n - 34);
		((struct rte_ipv4_hdr *)(f + 14))->hdr_checksum =
			rte_ipv4_cksum((struct rte_ipv4_hdr *)(f + 14));
		rte_pktmbuf_append(b.mbuf[i], (uint16_t)n);
	}
}

static struct rte_mbuf **burst_next(void)
{
	if (b.at + BURST > b.frames)
		b.at = 0;
	b.at += BURST;
	return &b.mbuf[b.at - BURST];
}

static __attribute__((unused)) void lanes_drain(void)
{
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct batch_lane *lane = handoff_lane(&b.handoff, 0, p);
		struct batch *batch;

		while ((batch = batch_take_sealed(lane)))
			batch_return(lane, batch);
	}
}

static void bench_setup(void)
{
	struct err err = {0};

	b.cfg.eal.hugepages = false;
	b.cfg.eal.memory = 512u << 20;
	b.cfg.worker.count = BENCH_LCORES;
	b.cfg.listeners_count = 1;
	b.cfg.listeners[0].format = CONFIG_FORMAT_NDJSON;
	b.cfg.worker.batch_age = 1000;
	b.cfg.time.future_max = 1000ull * 86400 * 365 * 10;
	b.cfg.journal.dead_letter_bytes = 100;
	b.cfg.journal.dead_letter_rate = 1000;
	b.limits.future_max_ms = (int64_t)b.cfg.time.future_max;
	b.ports.listener_of[PORT] = 1;
	b.jp = json_parser_new(1 << 20);
	if (!b.jp || eal_start(&b.cfg, &err) ||
		handoff_create(&b.handoff, 1, PARTITIONS, BATCHES, 65536, &err) ||
		pipeline_live_make(&b.live, &b.cfg, &err) ||
		pipeline_setup(&b.pl, &b.cfg, b.live, &b.ports, &b.handoff, 0, &b.stats, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
}

#endif
