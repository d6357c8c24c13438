/* The RX worker's path over real mbufs, stage by stage: ns and instructions an event for decoding, + parsing,
 * + records into batches, + matching of the shipped rules. Sealed batches are sent home at once: no writer
 * runs. */
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
#define PARTITIONS 4

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

static void run_decode(void *arg, uint32_t count)
{
	struct datagram dg[BURST];

	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST * b.lines)
		bench_keep((void *)(uintptr_t)decode_burst(&b.ports, burst_next(), BURST, dg, b.stats.drops));
}

static void run_parse(void *arg, uint32_t count)
{
	struct datagram dg[BURST];

	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST * b.lines) {
		uint32_t n = decode_burst(&b.ports, burst_next(), BURST, dg, b.stats.drops), k = 0;

		json_parser_reset(b.jp);
		for (uint32_t i = 0; i < n; i++) {
			struct ndjson lines = ndjson_start(dg[i].payload, dg[i].bytes);
			const uint8_t *line;
			uint32_t bytes;

			while (k < BURST * 8 && ndjson_next(&lines, &line, &bytes))
				json_parse_event(b.jp, line, bytes, EVENT_TYPE_NONE, BENCH_RECEIVE_MS,
					&b.limits, &b.event[k++]);
		}
	}
}

static void lanes_drain(void)
{
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct batch_lane *lane = handoff_lane(&b.handoff, 0, p);
		struct batch *batch;

		while ((batch = batch_take_sealed(lane)))
			batch_return(lane, batch);
	}
}

static void run_pipeline(void *arg, uint32_t count)
{
	struct burst_time now = {BENCH_RECEIVE_MS, 1};

	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST * b.lines) {
		pipeline_burst(&b.pl, burst_next(), BURST, now);
		lanes_drain();
	}
}

static void use_rules(struct ruleset *rs)
{
	struct err err = {0};
	struct matcher *m = rs ? matcher_new(rs, &err) : NULL;

	if (!m) {
		fprintf(stderr, "rules: %s\n", err.text);
		exit(1);
	}
	pipeline_set_matcher(&b.pl, m, 1);
	lanes_drain();
}

static void setup(const char *rules_dir, struct ruleset **packs)
{
	struct err err = {0};

	b.cfg.eal.hugepages = false;
	b.cfg.eal.memory = 512u << 20;
	b.cfg.worker.count = 1;
	b.cfg.listeners_count = 1;
	b.cfg.listeners[0].format = CONFIG_FORMAT_NDJSON;
	b.cfg.worker.batch_age = 1000;
	b.cfg.time.future_max = 1000ull * 86400 * 365 * 10;
	b.cfg.journal.dead_letter_bytes = 100;
	b.cfg.journal.dead_letter_rate = 1000;
	b.limits.future_max_ms = (int64_t)b.cfg.time.future_max;
	b.ports.listener_of[PORT] = 1;
	b.jp = json_parser_new(1 << 20);
	if (!b.jp || eal_start(&b.cfg, &err) || handoff_create(&b.handoff, 1, PARTITIONS, 16, 65536, &err) ||
		pipeline_setup(&b.pl, &b.cfg, &b.ports, &b.handoff, 0, &b.stats, &err) ||
		ruleset_compile_dir(packs, rules_dir, 100000, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	const char *rules_dir = argc > 1 ? argv[1] : RULES_PACKS;
	uint32_t lines = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
	struct bench_events ev = bench_events_make(65536, (struct bench_mix){0, 0, 0}, 42);
	struct ruleset *packs;
	double decode, parse, record, match;

	if (lines < 1 || lines > 8)
		return 2;
	setup(rules_dir, &packs);
	frames_make(&ev, lines);
	printf("-- clicks of %.0f bytes, %u a frame, bursts of %d, %u rules with %u patterns\n",
		(double)ev.total / ev.count, lines, BURST, ruleset_rule_count(packs),
		ruleset_pattern_count(packs));
	decode = bench_report("decode", run_decode, NULL, 65536, 0);
	parse = bench_report("decode + parse", run_parse, NULL, 65536, 0);
	use_rules(ruleset_empty());
	record = bench_report("pipeline without rules (+ key, record)", run_pipeline, NULL, 65536, 0);
	use_rules(packs);
	match = bench_report("pipeline with rules", run_pipeline, NULL, 65536, 0);
	printf("stages: decode %.1f, parse %.1f, key + record %.1f, match %.1f ns/event\n", decode,
		parse - decode, record - parse, match - record);
	printf("drops:");
	for (int d = 0; d < DROP_ID_MAX; d++)
		if (b.stats.drops[d])
			printf(" %s=%lu", drop_table[d].name, (unsigned long)b.stats.drops[d]);
	printf(" accepted=%lu\n", (unsigned long)b.stats.listener[0].accepted);
	return b.stats.listener[0].accepted ? 0 : 1;
}
