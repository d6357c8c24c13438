/* Three workers over one queue: two get their frames from the first. Every event once, whoever took it, while
 * rulesets switch, workers sleep and are woken, and at a stop with frames under way. A file is read no faster
 * than any worker has room for, and has ended when all of its frames are done with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "packets.h"
#include "eal_start.h"
#include "worker_rig.h"

#define EVENTS 30000u
#define STEP 500u
#define WORKERS 3u
#define PORT 9000
#define LIMITED 9001
#define LIMITED_SOURCES 4u

static struct worker_rig rig;
static uint8_t seen[EVENTS];
/* Of the sources with an owner: the worker, and how many others there were. */
static uint32_t owner[LIMITED_SOURCES], strangers;

static bool is_limited(uint32_t id)
{
	return id / STEP % 2;
}

static uint32_t host_of(uint32_t id)
{
	return id / (2 * STEP) % LIMITED_SOURCES;
}

static void event_take(void *arg, uint32_t id, const struct batch *b, const struct record *rec)
{
	(void)arg;
	(void)rec;
	seen[id]++;
	if (!is_limited(id))
		return;
	if (!owner[host_of(id)])
		owner[host_of(id)] = b->worker + 1;
	strangers += owner[host_of(id)] != b->worker + 1;
}

static void feed(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i += STEP) {
		uint32_t end = i + STEP < to ? i + STEP : to;

		if (is_limited(i))
			worker_rig_feed_as(&rig, i, end, (uint8_t)(host_of(i) + 1), LIMITED);
		else
			worker_rig_feed_as(&rig, i, end, 99, PORT);
	}
}

static void check(void)
{
	uint64_t frames = 0, accepted = 0, given = 0, got = 0, drops = 0;

	for (uint32_t w = 0; w < WORKERS; w++) {
		const struct worker_stats *s = dataplane_worker_stats(rig.dp, w);

		frames += s->frames;
		accepted += s->listener[0].accepted + s->listener[1].accepted;
		given += s->spread_given;
		got += s->spread_taken;
		for (int d = 0; d < DROP_ID_MAX; d++)
			drops += s->drops[d];
		assert_int_equal(s->spread_given != 0, w == 0);
		assert_true(s->frames > 0);
	}
	assert_int_equal(drops, 0);
	assert_int_equal(frames, EVENTS);
	assert_int_equal(accepted, EVENTS);
	assert_int_equal(given, got);
	assert_int_equal(rig.taken, EVENTS);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(strangers, 0);
	assert_int_equal(rig.back, 0);
	assert_true(rig.switches > 0);
	/* What a worker holds of an mbuf pool's cache does not count: the rig's has none. */
	assert_int_equal(rte_mempool_in_use_count(rig.pool), 0);
}

static void test_one_queue(void **state)
{
	struct ruleset *rs = ruleset_empty(), *next;
	struct config *cfg = &rig.cfg;
	struct err err = {0};

	(void)state;
	worker_rig_make_of(&rig, "test9", WORKERS, 1);
	cfg->worker.spread = CONFIG_SPREAD_AUTO;
	cfg->worker.spread_frames = 1023;
	/* Fewer than a ring holds: a worker that gets no time must not turn into drops here. */
	rig.ahead_max = 1000;
	cfg->listeners_count = 2;
	cfg->listeners[1].udp_port = LIMITED;
	cfg->listeners[1].rate = 1000000;
	cfg->listeners[1].burst = 1000000;
	cfg->worker.sources_max = 64;
	worker_rig_create(&rig);
	feed(0, 1000); /* the queue is crowded when they start */
	worker_rig_start(&rig, rs, event_take, NULL);
	for (uint32_t at = 1000, k = 0; at < EVENTS; at += 1000, k++) {
		feed(at, at + 1000);
		next = ruleset_empty();
		assert_int_equal(dataplane_set_ruleset(rig.dp, next, k + 2, &err), 0);
		ruleset_free(rs);
		rs = next;
		assert_int_equal(dataplane_set_live(rig.dp, cfg, &err), 0);
	}
	/* Up to 1000 are under way: all of it is taken. */
	worker_rig_stop(&rig);
	check();
	worker_rig_free(&rig);
	ruleset_free(rs);
}

/* One event a frame, of sources with and without an owner in turn. */
static void capture_write(const char *path, uint32_t events)
{
	const uint32_t head[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};
	FILE *out = fopen(path, "wbe");
	char text[200];

	assert_non_null(out);
	assert_int_equal(fwrite(head, sizeof head, 1, out), 1);
	for (uint32_t i = 0; i < events; i++) {
		int n = snprintf(text, sizeof text,
			"{\"event_id\":\"00000000-0000-4000-8000-0000%08x\",\"user_id\":\"u%u\",\"ts\":\"%"
			"s\",\"page\":\"/p\"}",
			i, i % RIG_USERS, "2026-11-21T06:00:00Z");
		struct rte_mbuf *m = packet_make(
			rig.pool, (uint8_t)(i / 7), i / 3 % 2 ? LIMITED : PORT, text, (uint32_t)n);
		uint32_t record[4] = {1, 0, m->data_len, m->data_len};

		assert_int_equal(fwrite(record, sizeof record, 1, out), 1);
		assert_int_equal(fwrite(rte_pktmbuf_mtod(m, void *), m->data_len, 1, out), 1);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(fclose(out), 0);
}

static void file_event_take(void *arg, uint32_t id, const struct batch *b, const struct record *rec)
{
	(void)arg;
	(void)b;
	(void)rec;
	seen[id]++;
	if (id % 64 == 0) /* slower than the workers: lanes run short */
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void test_file(void **state)
{
	char path[] = "/tmp/sluice-spread-XXXXXX";
	struct ruleset *rs = ruleset_empty();
	uint64_t accepted = 0, given = 0;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	memset(seen, 0, sizeof seen);
	worker_rig_make_of(&rig, "test10", WORKERS, 1);
	capture_write(path, EVENTS);
	snprintf(rig.cfg.ports[0].device, sizeof rig.cfg.ports[0].device, "net_pcap0,rx_pcap=%s", path);
	rig.cfg.worker.spread = CONFIG_SPREAD_ON;
	rig.cfg.worker.spread_frames = 511;
	rig.cfg.eal.mbufs = 0;
	rig.cfg.ports[0].mtu = 1500;
	rig.cfg.listeners_count = 2;
	rig.cfg.listeners[1].udp_port = LIMITED;
	rig.cfg.listeners[1].rate = 1000000;
	rig.cfg.listeners[1].burst = 1000000;
	rig.cfg.worker.sources_max = 1024;
	worker_rig_create(&rig);
	worker_rig_start(&rig, rs, file_event_take, NULL);
	while (!dataplane_input_ended(rig.dp))
		nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
	for (uint32_t w = 0; w < WORKERS; w++) {
		accepted += dataplane_worker_stats(rig.dp, w)->listener[0].accepted +
			    dataplane_worker_stats(rig.dp, w)->listener[1].accepted;
		given += dataplane_worker_stats(rig.dp, w)->spread_given;
	}
	assert_int_equal(accepted, EVENTS);
	assert_true(given > 0);
	worker_rig_stop(&rig);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(seen[i], 1);
	worker_rig_free(&rig);
	ruleset_free(rs);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_queue), cmocka_unit_test(test_file)};

	rig_eal_start(WORKERS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
