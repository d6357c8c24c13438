/* What is not the usual frame: VLAN tags, in the frame or taken off by the port, IPv4 options, IPv6 extension
 * headers, several mbufs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode.h"
#include "nic_frames.h"

static struct decode_ports ports;
static struct decoder decoder;
static uint64_t drops[DROP_ID_MAX];
static struct decode_stats stats;
static uint8_t f[FRAME_MAX];

/* One frame as a burst, in pieces of `cut` bytes. The payload is compared where it lies. */
static enum drop_reason burst_one(uint32_t bytes, uint32_t cut, uint64_t ol_flags, uint32_t payload_bytes)
{
	struct rte_mbuf *m = frame_mbuf(f, bytes, cut);
	struct datagram dg;
	uint32_t next = 0, n;

	memset(drops, 0, sizeof drops);
	m->ol_flags = ol_flags;
	n = decode_burst(&decoder, &m, 1, &next, &dg);
	assert_int_equal(next, 1);
	if (n == 1) {
		assert_int_equal(dg.bytes, payload_bytes);
		assert_memory_equal(dg.payload, f + bytes - payload_bytes, payload_bytes);
		assert_true(dg.readable >= dg.bytes + (m->nb_segs > 1 ? DECODE_TAIL_BYTES : 0));
		for (uint32_t i = dg.bytes; i < dg.readable; i++) /* for the sanitizer */
			drops[0] += dg.payload[i];
	}
	drops[0] = 0;
	frame_mbuf_free(m);
	for (int i = 1; i < DROP_ID_MAX; i++)
		if (drops[i]) {
			assert_int_equal(n, 0);
			assert_int_equal(drops[i], 1);
			return (enum drop_reason)i;
		}
	assert_int_equal(n, 1);
	return DROP_NONE;
}

static uint32_t tag(uint32_t bytes, uint16_t ethertype)
{
	uint8_t t[4] = {(uint8_t)(ethertype >> 8), (uint8_t)ethertype, 0x61, 0x23};

	return frame_insert(f, bytes, 12, t, 4);
}

static void test_tags(void **state)
{
	static const uint16_t type[] = {0x8100, 0x88a8};

	(void)state;
	for (int family = 4; family <= 6; family += 2)
		for (int i = 0; i < 8; i++) {
			uint32_t bytes = family == 4 ? frame4(f, 50) : frame6(f, 50);

			bytes = tag(bytes, type[i & 1]);
			assert_int_equal(burst_one(bytes, 0, 0, 50), DROP_NONE);
			bytes = tag(bytes, type[i >> 1 & 1]);
			assert_int_equal(burst_one(bytes, 0, 0, 50), DROP_NONE);
			bytes = tag(bytes, type[i >> 2]);
			assert_int_equal(burst_one(bytes, 0, 0, 50), DROP_vlan);
		}
	for (uint32_t bytes = tag(tag(frame4(f, 50), 0x8100), 0x88a8), n = 0; n < bytes; n++)
		assert_int_equal(burst_one(n, 0, 0, 50), n < 22 ? DROP_bad_l2 : DROP_bad_l3);
	frame_put16(f + 20, 0x0806);
	assert_int_equal(burst_one(72, 0, 0, 50), DROP_not_ip);
}

static void test_stripped_tags(void **state)
{
	const uint64_t one = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	const uint64_t two = one | RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED;
	uint32_t bytes = frame4(f, 50);

	(void)state;
	assert_int_equal(burst_one(bytes, 0, one, 50), DROP_NONE);
	assert_int_equal(burst_one(bytes, 0, two, 50), DROP_NONE);
	assert_int_equal(burst_one(bytes, 10, two, 50), DROP_NONE);
	bytes = tag(bytes, 0x8100);
	assert_int_equal(burst_one(bytes, 0, RTE_MBUF_F_RX_VLAN, 50), DROP_NONE); /* seen, still there */
	assert_int_equal(burst_one(bytes, 0, one, 50), DROP_NONE);
	assert_int_equal(burst_one(bytes, 0, two, 50), DROP_vlan);
	bytes = tag(bytes, 0x88a8);
	assert_int_equal(burst_one(bytes, 0, one, 50), DROP_vlan);
}

static void test_ipv4_options(void **state)
{
	uint8_t options[40];

	(void)state;
	memset(options, 1, sizeof options);
	for (uint32_t n = 4; n <= 40; n += 4) {
		uint32_t bytes = frame_insert(f, frame4(f, 50), 34, options, n);

		f[14] = (uint8_t)(0x45 + n / 4);
		frame_put16(f + 16, bytes - 14);
		frame_sum_ipv4(f + 14);
		assert_int_equal(burst_one(bytes, 0, 0, 50), DROP_NONE);
		f[33 + n] = 7; /* the last option byte is covered, too */
		assert_int_equal(burst_one(bytes, 0, 0, 50), DROP_bad_l3_checksum);
	}
}

/* Puts an extension header of 8 * (1 + words) bytes before what is there. */
static uint32_t extend(uint32_t bytes, uint8_t kind, uint8_t words)
{
	uint8_t head[8 * 256] = {f[20], words};

	bytes = frame_insert(f, bytes, 54, head, 8u * (1u + words));
	f[20] = kind;
	frame_put16(f + 18, bytes - 54);
	return bytes;
}

static void test_extensions(void **state)
{
	static const uint8_t taken[] = {0, 60, 43}, refused[] = {51, 50, 135, 139, 140};
	uint32_t bytes;

	(void)state;
	for (uint32_t k = 0; k < sizeof taken; k++)
		for (uint32_t words = 0; words < 256; words += 51)
			assert_int_equal(burst_one(extend(frame6(f, 50), taken[k], (uint8_t)words), 0, 0, 50),
				DROP_NONE);
	for (uint32_t k = 0; k < sizeof refused; k++) {
		assert_int_equal(
			burst_one(extend(frame6(f, 50), refused[k], 1), 0, 0, 50), DROP_ip_extension);
		bytes = extend(extend(frame6(f, 50), refused[k], 1), 0, 0);
		assert_int_equal(burst_one(bytes, 0, 0, 50), DROP_ip_extension);
	}
	bytes = frame6(f, 50);
	for (int i = 0; i < 8; i++)
		bytes = extend(bytes, taken[i % 3], 0);
	assert_int_equal(burst_one(bytes, 0, 0, 50), DROP_NONE);
	assert_int_equal(burst_one(extend(bytes, 60, 0), 0, 0, 50), DROP_ip_extension);
	bytes = extend(frame6(f, 50), 43, 2);
	f[57] = 1; /* a segment left */
	assert_int_equal(burst_one(bytes, 0, 0, 50), DROP_ip_extension);
	bytes = frame6(f, 50);
	f[20] = 58;
	assert_int_equal(burst_one(extend(bytes, 60, 0), 0, 0, 50), DROP_not_udp);
	f[54] = 59; /* no next header */
	assert_int_equal(burst_one(bytes + 8, 0, 0, 50), DROP_not_udp);
}

/* The IP packet ends within the headers, whatever the frame holds behind it. */
static void test_extensions_cut(void **state)
{
	uint32_t bytes = extend(extend(frame6(f, 50), 60, 2), 0, 1);

	(void)state;
	for (uint32_t n = 0; n < bytes - 54; n++) {
		frame_put16(f + 18, n);
		assert_int_equal(burst_one(bytes, 0, 0, 50), n < 40 ? DROP_bad_l3 : DROP_bad_udp);
	}
}

static void test_chains(void **state)
{
	uint32_t bytes = frame4(f, 60);

	(void)state;
	for (uint32_t cut = 1; cut < bytes; cut++)
		assert_int_equal(burst_one(bytes, cut, 0, 60), DROP_NONE);
	bytes = tag(tag(frame6(f, 9001), 0x8100), 0x88a8);
	assert_int_equal(burst_one(bytes, 2048, 0, 9001), DROP_NONE);
	f[9000] ^= 1;
	assert_int_equal(burst_one(bytes, 2048, 0, 9001), DROP_bad_udp_checksum);
	bytes = tag(tag(frame4(f, 65507), 0x8100), 0x88a8);
	assert_int_equal(bytes, DECODE_FRAME_MAX);
	assert_int_equal(burst_one(bytes, 2048, 0, 65507), DROP_NONE);
	assert_int_equal(burst_one(DECODE_FRAME_MAX + 1, 2048, 0, 0), DROP_chained_mbuf);
	assert_int_equal(burst_one(30, 7, 0, 0), DROP_bad_l3);
	assert_int_equal(burst_one(13, 7, 0, 0), DROP_bad_l2);
}

/* Frames of both kinds in one burst: each datagram is whole when the call comes back, and all are counted. */
static void test_rounds(void **state)
{
	struct rte_mbuf *m[64];
	struct datagram dg[64];
	uint32_t taken = 0, rounds = 0, dropped = 0;

	(void)state;
	memset(drops, 0, sizeof drops);
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t bytes = frame4(f, 100 + i);

		if (i % 5 == 4)
			f[60] ^= 1;
		dropped += i % 5 == 4;
		m[i] = frame_mbuf(f, bytes, i % 3 ? 0 : 50);
	}
	for (uint32_t next = 0; next < 64; rounds++) {
		uint32_t n = decode_burst(&decoder, m, 64, &next, dg);

		for (uint32_t i = 0; i < n; i++) {
			assert_true(dg[i].bytes >= 100);
			frame4(f, dg[i].bytes);
			assert_memory_equal(dg[i].payload, f + 42, dg[i].bytes);
		}
		taken += n;
	}
	assert_int_equal(taken, 64 - dropped);
	assert_int_equal(drops[DROP_bad_udp_checksum], dropped);
	assert_int_equal(rounds, 18); /* one for each good chain, the rest with them */
	for (uint32_t i = 0; i < 64; i++)
		frame_mbuf_free(m[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_tags), cmocka_unit_test(test_stripped_tags),
		cmocka_unit_test(test_ipv4_options), cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_extensions_cut), cmocka_unit_test(test_chains),
		cmocka_unit_test(test_rounds)};
	int failed;

	ports.listener_of[FRAME_PORT] = 4;
	if (decoder_setup(&decoder, &(struct decoder_wish){.ports = &ports, .drops = drops, .stats = &stats}))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	decoder_free(&decoder);
	return failed;
}
