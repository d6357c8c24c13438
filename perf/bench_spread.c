/* What it costs to hand frames to other workers, and what it brings. First instructions a frame: looked at
 * and kept, handed over and taken, handed to an owner; beside them the pipeline that it is for. Then one
 * queue (a capture file read over and over) with one worker and with two, in turns: events a second.
 *
 * usage: bench_spread [SECONDS [WORKERS]]      of each measurement; of the second one */
#define BENCH_LCORES 4
#include "bench_pipeline.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "dataplane.h"
#include "spread.h"

#define FILE_FRAMES 8192u
#define FILE_MBUFS 32767u
#define ROUNDS 5

static struct spread *spread;
static struct worker_stats spread_stats[2];

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_spread: %s: %s\n", what, why);
	exit(1);
}

static void run_pipeline(void *arg, uint32_t count)
{
	struct burst_time now = {BENCH_RECEIVE_MS, 1};

	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST) {
		pipeline_burst(&b.pl, burst_next(), BURST, now);
		lanes_drain();
	}
}

/* arg: the queue is crowded. */
static void run_spread(void *arg, uint32_t count)
{
	struct rte_mbuf *mbuf[BURST];

	for (uint32_t done = 0; done < count; done += BURST) {
		memcpy(mbuf, burst_next(), sizeof mbuf);
		bench_keep((void *)(uintptr_t)spread_burst(&spread->spreader[0], mbuf, BURST, arg));
		while (spread_take(spread, 0, 1, mbuf))
			;
	}
}

static void costs(void)
{
	static const bool has_queue[2] = {true, false};
	struct worker_stats *const stats[2] = {&spread_stats[0], &spread_stats[1]};
	struct config cfg = b.cfg;
	struct err err = {0};

	cfg.worker.count = 2;
	cfg.worker.burst = BURST;
	cfg.worker.spread_frames = 1023;
	if (spread_create(&spread, &cfg, &b.ports, has_queue, stats, &err))
		die("spread", err.text);
	bench_report("pipeline without rules", run_pipeline, NULL, 65536, 0);
	bench_report("spread: looked at, kept", run_spread, NULL, 65536, 0);
	bench_report("spread: any, handed over and taken", run_spread, "crowded", 65536, 0);
	spread->keyed[0] = true;
	spread->plain[1] = false;
	bench_report("spread: by owner, half of them handed over", run_spread, NULL, 65536, 0);
	spread_free(spread);
}

static void capture_write(const char *path)
{
	const uint32_t head[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};
	FILE *out = fopen(path, "wbe");

	if (!out || fwrite(head, sizeof head, 1, out) != 1)
		die(path, "not written");
	for (uint32_t i = 0; i < FILE_FRAMES; i++) {
		const struct rte_mbuf *m = b.mbuf[i];
		const uint32_t record[4] = {1, 0, m->data_len, m->data_len};

		if (fwrite(record, sizeof record, 1, out) != 1 ||
			fwrite(rte_pktmbuf_mtod(m, const void *), m->data_len, 1, out) != 1)
			die(path, "not written");
	}
	if (fclose(out))
		die(path, "not written");
}

struct writer {
	struct handoff handoff;
	atomic_bool stop;
};

/* In the place of the partitions' writers: batches go home at once. */
static void *writer_run(void *arg)
{
	struct writer *w = arg;
	struct batch *batch;

	while (!atomic_load(&w->stop)) {
		for (uint32_t i = 0; i < w->handoff.workers * w->handoff.partitions; i++)
			while ((batch = batch_take_sealed(&w->handoff.lane[i])))
				batch_return(&w->handoff.lane[i], batch);
		nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
	}
	return NULL;
}

static uint64_t events_of(const struct dataplane *dp, uint64_t *lost)
{
	uint64_t events = 0;

	*lost = 0;
	for (uint32_t w = 0; w < dataplane_workers(dp); w++) {
		events += dataplane_worker_stats(dp, w)->listener[0].events;
		*lost += dataplane_worker_stats(dp, w)->drops[DROP_no_batch];
	}
	return events;
}

/* Events a second. */
static double rate_of(const char *path, uint32_t workers, double seconds)
{
	static unsigned number;
	struct ruleset *rs = ruleset_empty();
	uint64_t start, from, to, lost_before, lost;
	static struct config cfg;
	struct writer w = {0};
	struct dataplane *dp;
	struct err err = {0};
	pthread_t thread;

	cfg = b.cfg;
	cfg.worker.count = workers;
	cfg.worker.burst = BURST;
	cfg.worker.spread = CONFIG_SPREAD_AUTO;
	cfg.worker.spread_frames = 1023;
	cfg.worker.power = CONFIG_POWER_POLL;
	cfg.eal.mbufs = FILE_MBUFS;
	cfg.listeners[0].udp_port = PORT;
	cfg.ports_count = 1;
	cfg.ports[0] = (struct config_ports){.queues = 1, .descriptors = 1024, .mtu = 1500};
	snprintf(cfg.ports[0].name, sizeof cfg.ports[0].name, "file");
	snprintf(cfg.ports[0].device, sizeof cfg.ports[0].device, "net_pcap%u,rx_pcap=%s,infinite_rx=1",
		number++, path);
	if (dataplane_create(&dp, &cfg, &err) ||
		handoff_create(&w.handoff, workers, PARTITIONS, 64, 65536, &err) ||
		pthread_create(&thread, NULL, writer_run, &w) || dataplane_start(dp, &w.handoff, rs, 1, &err))
		die("data plane", err.text);
	nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
	start = bench_now_ns();
	from = events_of(dp, &lost_before);
	while ((double)(bench_now_ns() - start) < seconds * 1e9)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	to = events_of(dp, &lost);
	seconds = (double)(bench_now_ns() - start) / 1e9;
	dataplane_stop(dp);
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	dataplane_free(dp);
	handoff_free(&w.handoff);
	ruleset_free(rs);
	return (double)(to - from - (lost - lost_before)) / seconds;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 2;
	uint32_t workers = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2;
	struct bench_events ev = bench_events_make(65536, (struct bench_mix){0, 0, 0}, 42);
	char path[] = "/tmp/sluice-bench-XXXXXX";
	struct err err = {0};
	struct matcher *m;
	struct ruleset *rs = ruleset_empty();
	int fd = mkstemp(path);

	if (fd < 0 || seconds <= 0 || workers < 2 || workers >= BENCH_LCORES)
		return 2;
	close(fd);
	bench_setup();
	frames_make(&ev, 1);
	m = matcher_new(rs, &err);
	if (!m)
		die("rules", err.text);
	pipeline_set_matcher(&b.pl, m, 1);
	costs();
	capture_write(path);
	for (int i = 0; i < ROUNDS; i++) {
		double one = rate_of(path, 1, seconds), more = rate_of(path, workers, seconds);

		printf("one queue: 1 worker %.2f M, %u workers %.2f M events/s: %.2f times\n", one / 1e6,
			workers, more / 1e6, more / one);
		fflush(stdout);
	}
	unlink(path);
	return 0;
}
