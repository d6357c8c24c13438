/* Frames of sluice-gen's pcap files are what the real decoder takes: lengths, checksums, ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "decode.h"
#include "gen_out.h"

static struct decode_ports ports = {.listener_of = {[5140] = 1}};
static struct decoder decoder = {.ports = &ports};
static struct gen_datagram dg;

static void check_file(const char *src, const char *dst, uint32_t flows, uint32_t header_bytes)
{
	struct gen_pcap_where where = {src, dst, "02:00:00:00:00:0a", "02:00:00:00:00:0b", flows};
	char path[] = "/tmp/sluice-pcap-XXXXXX";
	struct gen_pcap *p;
	struct err err;
	uint8_t file[4096], *at = file + 24;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(gen_pcap_open(&p, path, &where, &err), 0);
	assert_int_equal(gen_pcap_overhead(p), header_bytes);
	for (uint32_t i = 0; i < 6; i++) { /* odd and even lengths */
		dg.bytes = 101 + i;
		memset(dg.data, 'a' + (int)i, dg.bytes);
		assert_int_equal(gen_pcap_write(p, &dg, 1715200123456 + i, &err), 0);
	}
	assert_int_equal(gen_pcap_close(p, &err), 0);
	ssize_t bytes = read(fd, file, sizeof file);
	for (uint32_t i = 0; i < 6; i++) {
		uint32_t head[4], want = 101 + i;
		struct datagram got;

		memcpy(head, at, sizeof head);
		assert_int_equal(head[0], 1715200123);
		assert_int_equal(head[1], (456 + i) * 1000);
		assert_int_equal(head[2], 14 + header_bytes + want);
		assert_int_equal(decode_frame(&decoder, at + 16, head[2], 0, &got), DROP_NONE);
		assert_int_equal(got.bytes, want);
		assert_int_equal(got.payload[want - 1], 'a' + i);
		assert_int_equal(got.src_port, 40000 + i % flows);
		at += 16 + head[2];
	}
	assert_int_equal(at - file, bytes);
	close(fd);
	unlink(path);
}

static void test_ipv4(void **state)
{
	(void)state;
	check_file("192.0.2.1:40000", "192.0.2.2:5140", 1, 28);
	check_file("192.0.2.1:40000", "192.0.2.2:5140", 4, 28);
}

static void test_ipv6(void **state)
{
	(void)state;
	check_file("[2001:db8::1]:40000", "[2001:db8::2]:5140", 3, 48);
}

static void test_wrong_addresses(void **state)
{
	static const char *const bad[][3] = {{"192.0.2.1:40000", "[2001:db8::2]:5140", "02:00:00:00:00:01"},
		{"192.0.2.1", "192.0.2.2:5140", "02:00:00:00:00:01"},
		{"192.0.2.1:1", "192.0.2.2:0", "02:00:00:00:00:01"},
		{"192.0.2.1:1", "192.0.2.2:65536", "02:00:00:00:00:01"},
		{"192.0.2.1:1", "x:1", "02:00:00:00:00:01"}, {"192.0.2.1:1", "192.0.2.2:1", "02:00:00:00:00"},
		{"192.0.2.1:1", "192.0.2.2:1", "02:00:00:00:00:01:02"},
		{"192.0.2.1:65536", "192.0.2.2:1", "02:00:00:00:00:01"}};
	struct gen_pcap *p;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct gen_pcap_where where = {bad[i][0], bad[i][1], bad[i][2], "02:00:00:00:00:02", 1};

		err.text[0] = 0;
		assert_int_equal(gen_pcap_open(&p, "/nonexistent/x.pcap", &where, &err), -22);
		assert_true(err.text[0] != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_wrong_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
