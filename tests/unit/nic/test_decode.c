/* decode_frame(): a good frame of each family, and one for each named refusal, made by changing one thing in
 * it. */
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

/* Decodes from a heap block of exactly n bytes, so that a read beyond it is seen by the sanitizer. */
static enum drop_reason decode(const uint8_t *f, uint32_t n, struct datagram *dg)
{
	uint8_t *copy = malloc(n ? n : 1);
	enum drop_reason why;

	memcpy(copy, f, n);
	why = decode_frame(&decoder, copy, n, 0, dg);
	if (why == DROP_NONE)
		dg->payload = f + (dg->payload - copy);
	free(copy);
	return why;
}

static void test_good(void **state)
{
	uint8_t f[2000];
	struct datagram dg;

	(void)state;
	for (uint32_t n = 0; n < 1400; n = n * 2 + 1) {
		uint32_t bytes = frame4(f, n);

		assert_int_equal(decode(f, bytes, &dg), DROP_NONE);
		assert_int_equal(dg.bytes, n);
		assert_ptr_equal(dg.payload, f + 42);
		assert_int_equal(dg.src_port, 5555);
		assert_int_equal(dg.dst_port, FRAME_PORT);
		assert_int_equal(dg.listener, 3);
		assert_memory_equal(dg.src_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
		assert_int_equal(decode(f, bytes + 6, &dg), DROP_NONE); /* Ethernet padding */
		assert_int_equal(dg.bytes, n);
		bytes = frame6(f, n);
		assert_int_equal(decode(f, bytes, &dg), DROP_NONE);
		assert_int_equal(dg.bytes, n);
		assert_memory_equal(dg.src_addr, f + 22, 16);
	}
}

struct change {
	uint32_t offset;
	uint8_t value;
	bool resum; /* mend the IPv4 checksum */
	enum drop_reason why;
};

static void test_refusals_ipv4(void **state)
{
	static const struct change change[] = {
		{12, 0x09, false, DROP_not_ip}, {14, 0x65, true, DROP_bad_l3}, {14, 0x44, true, DROP_bad_l3},
		{16, 0xff, true, DROP_bad_l3}, {22, 65, false, DROP_bad_l3_checksum},
		{20, 0x20, true, DROP_fragment}, {21, 0x01, true, DROP_fragment}, {23, 6, true, DROP_not_udp},
		{38, 0xff, false, DROP_bad_udp}, {36, 0x01, false, DROP_no_listener},
		{50, 0xee, false, DROP_bad_udp_checksum},
		{20, 0x40, true, DROP_NONE}, /* don't fragment is no fragment */
	};
	uint8_t f[200];
	struct datagram dg;

	(void)state;
	for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
		uint32_t bytes = frame4(f, 40);

		f[change[i].offset] = change[i].value;
		if (change[i].resum && (f[14] & 15) >= 5)
			frame_sum_ipv4(f + 14);
		assert_int_equal(decode(f, bytes, &dg), change[i].why);
	}
}

static void test_refusals_ipv6(void **state)
{
	static const struct change change[] = {
		{14, 0x50, false, DROP_bad_l3},
		{18, 0xff, false, DROP_bad_l3},
		{20, 44, false, DROP_not_udp}, /* of whatever the port numbers say */
		{20, 51, false, DROP_ip_extension},
		{20, 58, false, DROP_not_udp},
		{58, 0xff, false, DROP_bad_udp},
		{56, 1, false, DROP_no_listener},
		{70, 0xee, false, DROP_bad_udp_checksum},
	};
	uint8_t f[200];
	struct datagram dg;

	(void)state;
	for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
		uint32_t bytes = frame6(f, 40);

		f[change[i].offset] = change[i].value;
		assert_int_equal(decode(f, bytes, &dg), change[i].why);
	}
	uint32_t bytes = frame6(f, 40);
	frame_put16(f + 60, 0);
	assert_int_equal(decode(f, bytes, &dg), DROP_bad_udp_checksum);
	bytes = frame4(f, 40);
	frame_put16(f + 40, 0);
	assert_int_equal(decode(f, bytes, &dg), DROP_NONE); /* IPv4: no checksum is allowed */
}

static void test_every_cut(void **state)
{
	uint8_t f[200];
	struct datagram dg;

	(void)state;
	for (uint32_t bytes = frame4(f, 40), n = 0; n < bytes; n++)
		assert_int_equal(decode(f, n, &dg), n < 14 ? DROP_bad_l2 : DROP_bad_l3);
	for (uint32_t bytes = frame6(f, 40), n = 0; n < bytes; n++)
		assert_int_equal(decode(f, n, &dg), n < 14 ? DROP_bad_l2 : DROP_bad_l3);
}

static void test_offload(void **state)
{
	uint8_t f[200];
	struct datagram dg;
	uint32_t bytes = frame4(f, 40);

	(void)state;
	f[24] ^= 1;
	f[40] ^= 1;
	assert_int_equal(decode_frame(&decoder, f, bytes, 0, &dg), DROP_bad_l3_checksum);
	assert_int_equal(
		decode_frame(&decoder, f, bytes, RTE_MBUF_F_RX_IP_CKSUM_GOOD, &dg), DROP_bad_udp_checksum);
	assert_int_equal(decode_frame(&decoder, f, bytes,
				 RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD, &dg),
		DROP_NONE);
	/* Whole, though the sum itself is not there. */
	assert_int_equal(decode_frame(&decoder, f, bytes,
				 RTE_MBUF_F_RX_IP_CKSUM_NONE | RTE_MBUF_F_RX_L4_CKSUM_NONE, &dg),
		DROP_NONE);
	frame4(f, 40);
	assert_int_equal(
		decode_frame(&decoder, f, bytes, RTE_MBUF_F_RX_IP_CKSUM_BAD, &dg), DROP_bad_l3_checksum);
	assert_int_equal(
		decode_frame(&decoder, f, bytes, RTE_MBUF_F_RX_L4_CKSUM_BAD, &dg), DROP_bad_udp_checksum);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_refusals_ipv4),
		cmocka_unit_test(test_refusals_ipv6), cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_offload)};

	uint64_t drops[DROP_ID_MAX] = {0};
	struct decode_stats stats = {0};
	int failed;

	ports.listener_of[FRAME_PORT] = 4;
	if (decoder_setup(&decoder, &(struct decoder_wish){.ports = &ports, .drops = drops, .stats = &stats}))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	decoder_free(&decoder);
	return failed;
}
