/* A capture over real mbufs: which frames a filter takes, that the copies are the frames, that a full ring
 * loses copies and nothing else, and that the pipeline counts as it does without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"
#include "decode_peek.h"
#include "pipeline_rig.h"

#define PORT 9000
#define OTHER 9001

static struct capture *capture;
static uint8_t room[CAPTURE_RING_BYTES];

static void two_listeners(struct config *cfg)
{
	cfg->listeners[1] = cfg->listeners[0];
	cfg->listeners[1].udp_port = OTHER;
	cfg->listeners_count = 2;
}

static void start(const struct capture_filter *filter)
{
	struct err err = {0};

	rig_start(&(struct pipeline_wish){.port = PORT,
		.format = CONFIG_FORMAT_NDJSON,
		.rules = "rules: []\n",
		.batches = 64,
		.batch_bytes = 16384,
		.dead_rate = 1 << 20,
		.change = two_listeners});
	assert_int_equal(capture_create(&capture, filter, 1, &err), 0);
}

static void stop(void)
{
	capture_free(capture);
	rig_stop();
	rig_balance();
}

static void burst(uint32_t port, struct rte_mbuf **mbuf, uint32_t n)
{
	capture_burst(capture, &fx.pl, port, mbuf, n, (struct burst_time){WALL_MS, 1234567890});
	rig_drain();
}

/* Frames 0 to 9 in one burst: hosts 1 to 5 to the one listener and to the other, every third event is broken.
 */
static void mixture(uint32_t port)
{
	struct rte_mbuf *mbuf[10];

	for (uint32_t i = 0; i < 10; i++) {
		char text[200];
		int n = snprintf(text, sizeof text,
			i % 3 ? "{\"event_id\":\"00000000-0000-4000-8000-%012x\",\"user_id\":\"u1\",\"ts\":%"
				"lld,\"page\":\"/\"}"
			      : "{broken %u %lld",
			(unsigned)fx.stats.frames + i, (long long)WALL_MS);

		mbuf[i] = packet_make(fx.pool, (uint8_t)(i / 2 + 1), i % 2 ? OTHER : PORT, text, (uint32_t)n);
	}
	burst(port, mbuf, 10);
	rte_pktmbuf_free_bulk(mbuf, 10);
}

/* The hosts and ports of the copies, as text. */
static const char *copies(void)
{
	static char text[4096];
	size_t bytes = capture_read(capture, room, sizeof room), n = 0;
	struct capture_head h;

	text[0] = 0;
	for (size_t at = 0; at < bytes; at += sizeof h + h.bytes) {
		struct decode_peek from;

		memcpy(&h, room + at, sizeof h);
		assert_int_equal(h.bytes, h.frame_bytes);
		assert_in_range(h.bytes, 43, 2000);
		from = decode_peek(room + at + sizeof h, h.bytes);
		assert_true(from.has_source && from.has_udp);
		n += (size_t)snprintf(text + n, sizeof text - n, "%u%s ", from.source[15],
			from.udp_port == OTHER ? "b" : "a");
	}
	return text;
}

static void expect(const struct capture_filter *filter, uint32_t port, const char *want)
{
	struct capture_counts counts;

	start(filter);
	mixture(port);
	assert_string_equal(copies(), want);
	counts = capture_counts(capture);
	assert_int_equal(counts.matched, strlen(want) / 3);
	assert_int_equal(counts.lost, 0);
	assert_int_equal(fx.stats.frames, 10);
	assert_int_equal(fx.stats.drops[DROP_bad_json], 4);
	assert_int_equal(fx.stats.listener[0].accepted + fx.stats.listener[1].accepted, 6);
	stop();
}

static void test_filters(void **state)
{
	struct capture_filter f = {.port = CAPTURE_ANY, .udp_port = CAPTURE_ANY};
	struct err err;

	(void)state;
	expect(&f, 3, "1a 1b 2a 2b 3a 3b 4a 4b 5a 5b ");
	f.port = 3;
	expect(&f, 3, "1a 1b 2a 2b 3a 3b 4a 4b 5a 5b ");
	expect(&f, 4, "");
	f.udp_port = OTHER;
	expect(&f, 3, "1b 2b 3b 4b 5b ");
	assert_int_equal(ip_list_from_text(&f.source, "10.0.0.2/31,10.0.0.5", &err), 0);
	expect(&f, 3, "2b 3b 5b ");
	f.udp_port = CAPTURE_ANY;
	f.drops = 1ull << DROP_bad_json;
	expect(&f, 3, "2b 5b "); /* frames 0, 3, 6 and 9 are broken */
	f.source.count = 0;
	expect(&f, 3, "1a 2b 4a 5b ");
	f.drops = 1ull << DROP_rate_limited;
	expect(&f, 3, "");
}

/* A drop of the frame itself, and one without a drop beside it. */
static void test_frame_drops(void **state)
{
	struct capture_filter f = {CAPTURE_ANY, CAPTURE_ANY, {0}, ~0ull};
	struct rte_mbuf *mbuf[2];

	(void)state;
	start(&f);
	mbuf[0] = packet_make(fx.pool, 7, OTHER + 1, "x", 1);
	mbuf[1] = packet_make(fx.pool, 8, PORT, "", 0);
	burst(0, mbuf, 2);
	rte_pktmbuf_free_bulk(mbuf, 2);
	assert_int_equal(fx.stats.drops[DROP_no_listener], 1);
	assert_int_equal(fx.stats.drops[DROP_empty_datagram], 1);
	assert_int_equal(capture_counts(capture).matched, 2);
	stop();
}

/* Many times around the ring, byte by byte the same, and with the time of the burst. */
static void test_copies(void **state)
{
	struct capture_filter f = {.port = CAPTURE_ANY, .udp_port = CAPTURE_ANY};
	uint8_t payload[1400];
	uint64_t total = 0;

	(void)state;
	start(&f);
	for (uint32_t i = 0; total < 3ull * CAPTURE_RING_BYTES; i++) {
		uint32_t n = i * 37 % 1400;
		struct capture_head h;
		struct rte_mbuf *m;
		uint64_t ns;

		memset(payload, (int)i, sizeof payload);
		m = packet_make(fx.pool, 1, PORT, payload, n);
		burst(0, &m, 1);
		assert_int_equal(capture_read(capture, room, sizeof room), sizeof h + m->pkt_len);
		memcpy(&h, room, sizeof h);
		assert_int_equal(h.bytes, m->pkt_len);
		assert_memory_equal(room + sizeof h, rte_pktmbuf_mtod(m, uint8_t *), m->pkt_len);
		ns = 1234567890 + (uint64_t)capture->wall_minus_mono_ns;
		assert_int_equal(h.seconds, ns / 1000000000);
		assert_int_equal(h.nanoseconds, ns % 1000000000);
		rte_pktmbuf_free(m);
		total += sizeof h + h.bytes;
	}
	stop();
}

static void test_full_ring(void **state)
{
	struct capture_filter f = {.port = CAPTURE_ANY, .udp_port = CAPTURE_ANY};
	struct capture_counts counts;
	uint8_t payload[1400] = {0};
	uint64_t frames = 0;

	(void)state;
	start(&f);
	for (int i = 0; i < 5000; i++) {
		struct rte_mbuf *m = packet_make(fx.pool, 1, PORT, payload, sizeof payload);

		burst(0, &m, 1);
		rte_pktmbuf_free(m);
	}
	counts = capture_counts(capture);
	assert_int_equal(counts.matched, 5000);
	assert_in_range(counts.lost, 1000, 4000);
	/* What a reader with little room gets is whole, and goes on where it stopped. */
	for (size_t n; (n = capture_read(capture, room, 70000)) > 0; frames += n / (16 + 1442))
		assert_int_equal(n % (16 + 1442), 0);
	assert_int_equal(frames, counts.matched - counts.lost);
	assert_int_equal(fx.stats.frames, 5000);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_filters), cmocka_unit_test(test_frame_drops),
		cmocka_unit_test(test_copies), cmocka_unit_test(test_full_ring)};

	return rig_pool() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
