/* IP fragments: put together in any order, given up under names, and after each burst every frame that came
 * in is somewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode.h"
#include "nic_frames.h"

#define TABLE 4
#define TIMEOUT_NS 1000u
#define PIECES_MAX 9000

static struct decode_ports ports;
static struct decoder d;
static uint64_t drops[DROP_ID_MAX];
static struct decode_stats stats;
static uint64_t frames, datagrams;
static uint8_t whole[FRAME_MAX], piece[FRAME_MAX];
static struct datagram last;
static uint8_t last_payload[FRAME_MAX];

/* A packet to be cut: the whole frame is in `whole`. */
struct cut {
	int family;
	uint32_t bytes; /* of the frame */
	uint32_t id;
	uint16_t vlan; /* 0: none */
};

static void start(void)
{
	memset(drops, 0, sizeof drops);
	memset(&stats, 0, sizeof stats);
	frames = datagrams = 0;
	assert_int_equal(
		decoder_setup(&d, &(struct decoder_wish){&ports, drops, &stats, TABLE, TIMEOUT_NS}), 0);
	decode_tick(&d, 1);
}

static void balance(void)
{
	uint64_t out = datagrams + stats.fragments_joined + stats.fragments_held;

	for (int i = 0; i < DROP_ID_MAX; i++)
		out += drops[i];
	assert_int_equal(frames, out);
}

static void stop(void)
{
	decode_end(&d);
	assert_int_equal(stats.fragments_held, 0);
	balance();
	decoder_free(&d);
}

/* Returns whether a datagram came out, which is then in `last`. */
static bool take(const uint8_t *f, uint32_t bytes, uint32_t cut)
{
	struct rte_mbuf *m = frame_mbuf(f, bytes, cut);
	uint32_t next = 0, n = decode_burst(&d, &m, 1, &next, &last);

	if (n) {
		memcpy(last_payload, last.payload, last.bytes);
		assert_true(last.readable >= last.bytes);
	}
	frames++;
	datagrams += n;
	balance();
	frame_mbuf_free(m);
	return n;
}

/* Writes the fragment of the whole IP payload's bytes from..from + n to `piece`. */
static uint32_t piece_make(const struct cut *c, uint32_t from, uint32_t n, bool more)
{
	uint32_t head = c->family == 4 ? 34 : 54, bytes = head;
	uint8_t tag[4] = {0x81, 0, (uint8_t)(c->vlan >> 8), (uint8_t)c->vlan};

	memcpy(piece, whole, head);
	if (c->family == 4) {
		frame_put16(piece + 16, 20 + n);
		frame_put16(piece + 18, c->id);
		frame_put16(piece + 20, from / 8 | (more ? 0x2000 : 0));
		frame_sum_ipv4(piece + 14);
	} else {
		frame_put16(piece + 18, 8 + n);
		piece[54] = piece[20];
		piece[55] = 0;
		piece[20] = 44;
		frame_put16(piece + 56, from | more);
		frame_put32(piece + 58, c->id);
		bytes += 8;
	}
	memcpy(piece + bytes, whole + head + from, n);
	bytes += n;
	return c->vlan ? frame_insert(piece, bytes, 12, tag, 4) : bytes;
}

static bool piece_take(const struct cut *c, uint32_t from, uint32_t n)
{
	uint32_t total = c->bytes - (c->family == 4 ? 34 : 54);

	if (from + n > total)
		n = total - from;
	return take(piece, piece_make(c, from, n, from + n < total), 0);
}

static struct cut cut_of(int family, uint32_t payload, uint32_t id)
{
	return (struct cut){family, family == 4 ? frame4(whole, payload) : frame6(whole, payload), id, 0};
}

static void check_last(const struct cut *c)
{
	uint32_t head = c->family == 4 ? 42 : 62;

	assert_int_equal(last.bytes, c->bytes - head);
	assert_memory_equal(last_payload, whole + head, last.bytes);
	assert_int_equal(last.src_port, 5555);
	assert_int_equal(last.listener, 3);
	if (c->family == 6)
		assert_memory_equal(last.src_addr, whole + 22, 16);
	else
		assert_memory_equal(last.src_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
}

/* In an order that `seed` mixes; 0: as they come. */
static void send_cut(const struct cut *c, uint32_t step, uint32_t seed)
{
	static uint32_t order[PIECES_MAX];
	uint32_t total = c->bytes - (c->family == 4 ? 34 : 54), n = (total + step - 1) / step;
	uint64_t joined = stats.fragments_joined, whole_before = stats.reassembled;

	assert_true(n <= PIECES_MAX);
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	for (uint32_t i = n - 1; seed && i > 0; i--) {
		uint32_t k = (seed = seed * 1664525u + 1013904223u) / 65536 % (i + 1), swap = order[i];

		order[i] = order[k];
		order[k] = swap;
	}
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(piece_take(c, order[i] * step, step), i + 1 == n);
	check_last(c);
	assert_true(last.readable >= last.bytes + DECODE_TAIL_BYTES);
	assert_int_equal(stats.fragments_joined, joined + n - 1);
	assert_int_equal(stats.reassembled, whole_before + 1);
	assert_int_equal(stats.fragments_held, 0);
}

static void test_whole(void **state)
{
	static const uint32_t payload[] = {9, 100, 1473, 20000, 20003, 65500};

	(void)state;
	start();
	for (int family = 4; family <= 6; family += 2)
		for (uint32_t i = 0; i < sizeof payload / sizeof *payload; i++)
			for (uint32_t step = 8; step <= 32768;
				step = step < 64 ? step * 8 : step * 23 / 64 * 8)
				for (uint32_t seed = 0; seed < 3 && step < payload[i] + 8; seed++) {
					struct cut c = cut_of(family, payload[i], step + seed);

					send_cut(&c, step, seed);
				}
	stop();
}

static void test_longest(void **state)
{
	struct cut c;

	(void)state;
	start();
	c = cut_of(4, 65507, 1);
	send_cut(&c, 1480, 7);
	c = cut_of(6, 65527, 2);
	send_cut(&c, 1448, 7);
	stop();
}

/* Packets that differ in one thing only do not meet. */
static void test_apart(void **state)
{
	struct cut a = cut_of(4, 1000, 1), b = cut_of(4, 1000, 2), v = cut_of(4, 1000, 1);

	(void)state;
	start();
	v.vlan = 7;
	assert_false(piece_take(&a, 0, 504));
	assert_false(piece_take(&b, 504, 504));
	assert_false(piece_take(&v, 504, 504));
	assert_int_equal(stats.fragments_held, 3);
	v.vlan = 8;
	assert_false(piece_take(&v, 504, 504));
	a.id = 3;
	assert_false(piece_take(&a, 504, 504));
	assert_int_equal(drops[DROP_fragment_table_full], 1); /* the oldest made room */
	v.vlan = 7;
	assert_true(piece_take(&v, 0, 504));
	check_last(&v);
	assert_true(piece_take(&b, 0, 504));
	check_last(&b);
	stop();
	assert_int_equal(drops[DROP_fragment_timeout], 2);
}

static void test_timeout(void **state)
{
	struct cut a = cut_of(4, 1000, 1);

	(void)state;
	start();
	assert_false(decode_waits(&d));
	piece_take(&a, 0, 400);
	piece_take(&a, 400, 400);
	assert_true(decode_waits(&d));
	decode_tick(&d, TIMEOUT_NS);
	assert_int_equal(stats.fragments_held, 2);
	decode_tick(&d, TIMEOUT_NS + 1);
	assert_int_equal(drops[DROP_fragment_timeout], 2);
	assert_false(decode_waits(&d));
	assert_false(piece_take(&a, 800, 400)); /* too late: the first of another attempt */
	balance();
	decode_tick(&d, 3 * TIMEOUT_NS);
	send_cut(&a, 400, 0);
	stop();
	assert_int_equal(drops[DROP_fragment_timeout], 3);
}

static void test_table_full(void **state)
{
	(void)state;
	start();
	for (uint32_t id = 0; id < 3 * TABLE; id++) {
		struct cut c = cut_of(id & 1 ? 4 : 6, 1000, id);

		piece_take(&c, 0, 400);
		piece_take(&c, 400, 400);
	}
	assert_int_equal(drops[DROP_fragment_table_full], 2 * 2 * TABLE);
	assert_int_equal(stats.fragments_held, 2 * TABLE);
	for (uint32_t id = 2 * TABLE; id < 3 * TABLE; id++) { /* the youngest are there */
		struct cut c = cut_of(id & 1 ? 4 : 6, 1000, id);

		assert_true(piece_take(&c, 800, 400));
		check_last(&c);
	}
	stop();
	assert_int_equal(drops[DROP_fragment_timeout], 0);
}

static void test_twice(void **state)
{
	struct cut c = cut_of(6, 1001, 9);

	(void)state;
	start();
	piece_take(&c, 0, 400);
	piece_take(&c, 0, 400);
	piece_take(&c, 800, 400);
	piece_take(&c, 800, 400);
	piece_take(&c, 160, 80); /* a part, the same bytes */
	assert_int_equal(drops[DROP_fragment_overlap], 3);
	assert_true(piece_take(&c, 400, 400));
	check_last(&c);
	stop();
}

/* One fragment more, made by `from`, `bytes`, `more`, and one byte of it changed. */
static void overlap(const struct cut *c, uint32_t from, uint32_t n, bool more, bool change)
{
	uint32_t bytes;

	start();
	piece_take(c, 0, 400);
	piece_take(c, 800, 400);
	bytes = piece_make(c, from, n, more);
	if (change)
		piece[bytes - 1] ^= 1;
	assert_false(take(piece, bytes, 0));
	assert_int_equal(drops[DROP_fragment_overlap], 3);
	assert_int_equal(stats.fragments_held, 0);
	assert_false(piece_take(c, 400, 400)); /* all others of that packet */
	assert_int_equal(drops[DROP_fragment_overlap], 4);
	decode_tick(&d, TIMEOUT_NS + 1);
	send_cut(c, 400, 0); /* the id is free again */
	assert_int_equal(drops[DROP_fragment_timeout], 0);
	stop();
}

static void test_overlap(void **state)
{
	struct cut c;

	(void)state;
	for (int family = 4; family <= 6; family += 2) {
		c = cut_of(family, 1001, 9);
		overlap(&c, 0, 400, true, true);
		overlap(&c, 392, 400, true, false);
		overlap(&c, 392, 408, true, true);
		overlap(&c, 0, 1008, true, false);
		overlap(&c, 800, 201, false, false); /* another length of the whole */
		overlap(&c, 800, 216, true, false);
		overlap(&c, 400, 400, false, false);
		overlap(&c, 2000, 8, true, false); /* behind the end */
	}
	start(); /* the end stands before what is there */
	c = cut_of(4, 1001, 9);
	take(piece, piece_make(&c, 800, 160, true), 0);
	take(piece, piece_make(&c, 400, 400, false), 0);
	assert_int_equal(drops[DROP_fragment_overlap], 2);
	stop();
}

static void test_limits(void **state)
{
	struct cut c;

	(void)state;
	for (int family = 4; family <= 6; family += 2) {
		start();
		c = cut_of(family, 30000, 1);
		assert_false(take(piece, piece_make(&c, 0, 0, true), 0));
		assert_false(take(piece, piece_make(&c, 0, 401, true), 0));
		assert_false(take(piece, piece_make(&c, 16, 8, true), 0));
		assert_int_equal(drops[DROP_fragment], 2);
		assert_int_equal(stats.fragments_held, 1);
		stop();
	}
	start();
	c = cut_of(4, 30000, 1);
	piece_make(&c, 0, 1480, false);
	frame_put16(piece + 20, 0x1fff); /* begins at 65528 */
	frame_sum_ipv4(piece + 14);
	assert_false(take(piece, 34 + 1480, 0));
	assert_int_equal(drops[DROP_fragment], 1);
	decoder_free(&d);
	assert_int_equal(decoder_setup(&d, &(struct decoder_wish){&ports, drops, &stats, 0, 0}), 0);
	assert_false(piece_take(&c, 0, 400));
	assert_int_equal(drops[DROP_fragment], 2);
	stop();
}

/* Extension headers before and within what is cut, and a fragment header that has nothing to say. */
static void test_ipv6(void **state)
{
	const uint8_t option[8] = {17, 0}, nothing[8] = {17, 0, 0, 0, 0, 0, 0, 1};
	struct cut c = cut_of(6, 1000, 5);
	uint32_t bytes;

	(void)state;
	start();
	assert_true(take(piece, piece_make(&c, 0, 1008, false), 0)); /* RFC 6946 */
	check_last(&c);
	assert_int_equal(stats.reassembled, 0);
	for (uint32_t at = 0; at < 1008; at += 504) { /* destination options before the fragment header */
		uint8_t head[8] = {44, 0};

		bytes = frame_insert(piece, piece_make(&c, at, 504, at == 0), 54, head, 8);
		piece[20] = 60;
		frame_put16(piece + 18, bytes - 54);
		assert_int_equal(take(piece, bytes, 0), at != 0);
	}
	check_last(&c);
	c.bytes = frame_insert(whole, c.bytes, 54, option, 8); /* and behind it */
	whole[20] = 60;
	assert_false(piece_take(&c, 504, 512));
	assert_true(piece_take(&c, 0, 504));
	assert_int_equal(last.bytes, 1000);
	c.bytes = frame_insert(whole, c.bytes, 62, nothing, 8); /* a fragment within fragments */
	whole[54] = 44;
	assert_false(piece_take(&c, 504, 520));
	assert_false(piece_take(&c, 0, 504));
	assert_int_equal(drops[DROP_ip_extension], 1);
	assert_int_equal(stats.fragments_joined, 3);
	bytes = piece_make(&c, 0, 504, true);
	frame_put16(piece + 18, 7);
	assert_false(take(piece, bytes, 0));
	assert_int_equal(drops[DROP_bad_l3], 1);
	stop();
}

/* What is wrong with the whole is named by the last fragment; the port's word on one fragment is not asked.
 */
static void test_bad_whole(void **state)
{
	struct cut c = cut_of(4, 3000, 1);
	struct rte_mbuf *m;
	uint32_t next = 0;

	(void)state;
	start();
	whole[2000] ^= 1;
	piece_take(&c, 0, 1480);
	piece_take(&c, 1480, 1480);
	m = frame_mbuf(piece, piece_make(&c, 2960, 48, false), 0);
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	frames++;
	assert_int_equal(decode_burst(&d, &m, 1, &next, &last), 0);
	frame_mbuf_free(m);
	assert_int_equal(drops[DROP_bad_udp_checksum], 1);
	assert_int_equal(stats.fragments_joined, 2);
	c = cut_of(4, 3000, 2);
	whole[36] = 1;
	piece_take(&c, 0, 1480);
	piece_take(&c, 1480, 1600);
	assert_int_equal(drops[DROP_no_listener], 1);
	for (int family = 4; family <= 6; family += 2) { /* what cannot be a datagram is not kept */
		c = cut_of(family, 3000, 3);
		whole[family == 4 ? 23 : 20] = family == 4 ? 6 : 58;
		assert_false(piece_take(&c, 0, 1480));
		assert_false(piece_take(&c, 1480, 1600));
		assert_int_equal(stats.fragments_held, 0);
	}
	assert_int_equal(drops[DROP_not_udp], 4);
	stop();
}

/* Fragments of many packets, some twice, some changed, some missing, in segments, whole bursts at a time. */
static void test_storm(void **state)
{
	uint32_t seed = 1;

	(void)state;
	start();
	for (uint32_t round = 0; round < 3000; round++) {
		struct rte_mbuf *m[32];
		struct datagram dg[32];

		for (uint32_t i = 0; i < 32; i++) {
			struct cut c = cut_of(seed & 64 ? 4 : 6, 50 + round % 7 * 31, seed >> 8 & 3);
			uint32_t from = (seed >> 16 & 3) * 64, n = (seed >> 24 & 7) == 7 ? 72 : 64;
			uint32_t total = c.bytes - (c.family == 4 ? 34 : 54), bytes;

			if (from >= total)
				from = 0;
			if (n > total - from)
				n = total - from;
			bytes = piece_make(&c, from, n, from + n < total);
			if ((seed >> 27 & 15) == 15)
				piece[bytes - 1] ^= 1;
			m[i] = frame_mbuf(piece, bytes, seed & 128 ? 0 : 40);
			seed = seed * 1664525u + 1013904223u;
		}
		frames += 32;
		decode_tick(&d, 1 + round * 100);
		for (uint32_t next = 0; next < 32;)
			datagrams += decode_burst(&d, m, 32, &next, dg);
		balance();
		for (uint32_t i = 0; i < 32; i++)
			frame_mbuf_free(m[i]);
	}
	stop();
	assert_true(datagrams > 100 && drops[DROP_fragment_overlap] && drops[DROP_fragment_timeout] &&
		    drops[DROP_fragment_table_full]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_longest),
		cmocka_unit_test(test_apart), cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_table_full), cmocka_unit_test(test_twice),
		cmocka_unit_test(test_overlap), cmocka_unit_test(test_limits), cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_bad_whole), cmocka_unit_test(test_storm)};

	ports.listener_of[FRAME_PORT] = 4;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
