/* Ports and their MTU: how large mbufs are made, and that a jumbo frame of a capture file, read into small
 * ones, comes in several and is decoded whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_ethdev.h>

#include "decode.h"
#include "eal_start.h"
#include "nic_frames.h"
#include "port.h"

#define MBUFS 1023
#define PAYLOAD 8900u

static struct config_ports port_config(const char *device, uint32_t mtu)
{
	struct config_ports cfg = {.queues = 1, .descriptors = 64, .mtu = mtu};

	snprintf(cfg.name, sizeof cfg.name, "p");
	snprintf(cfg.device, sizeof cfg.device, "%s", device);
	return cfg;
}

static uint32_t room_of(const char *device, uint32_t mtu)
{
	struct config_ports cfg = port_config(device, mtu);
	struct err err = {0};
	struct port port;
	uint16_t set;
	uint32_t room;

	if (port_open(&port, &cfg, 0, MBUFS, &err))
		fail_msg("%s", err.text);
	room = rte_pktmbuf_data_room_size(port.pool);
	assert_int_equal(rte_eth_dev_get_mtu(port.id, &set), 0);
	assert_int_equal(set, mtu);
	port_close(&port);
	return room;
}

static void test_room(void **state)
{
	(void)state;
	assert_int_equal(room_of("net_null", 1500), RTE_MBUF_DEFAULT_BUF_SIZE);
	assert_int_equal(room_of("net_null", 1280), RTE_MBUF_DEFAULT_BUF_SIZE);
	assert_int_equal(room_of("net_null", 9000), 9216 + RTE_PKTMBUF_HEADROOM);
	assert_int_equal(room_of("net_null", 9216), 10240 + RTE_PKTMBUF_HEADROOM);
}

static void test_mbufs(void **state)
{
	struct config cfg = {.worker = {.count = 1, .burst = 32}, .ports_count = 1};

	(void)state;
	cfg.ports[0] = port_config("net_null", 1500);
	cfg.ports[0].descriptors = 1024;
	assert_int_equal(port_mbufs(&cfg, 0, 0), 2047); /* 1024 + 32 + 375 */
	cfg.ports[0].descriptors = 1600;
	assert_int_equal(port_mbufs(&cfg, 0, 0), 2047);
	snprintf(cfg.ports[0].addresses, sizeof cfg.ports[0].addresses, "192.0.2.2");
	assert_int_equal(port_mbufs(&cfg, 0, 0), 4095); /* and what lies in a TX ring */
	cfg.ports[0].addresses[0] = 0;
	cfg.ports[0].descriptors = 1024;
	cfg.ports[0].queues = 4;
	cfg.worker.count = 2;
	assert_int_equal(port_mbufs(&cfg, 0, 0), 8191); /* 4 * 1056 + 750 */
	assert_int_equal(port_mbufs(&cfg, 0, 3300), 16383);
	cfg.ports[0] = port_config("net_af_xdp0,iface=x", 1500);
	assert_int_equal(port_mbufs(&cfg, 0, 0), 16383);
	cfg.eal.mbufs = 5000;
	assert_int_equal(port_mbufs(&cfg, 0, 0), 5000);
}

static void test_no_memory(void **state)
{
	struct config_ports cfg = port_config("net_null", 9216);
	struct err err = {0};
	struct port port;

	(void)state;
	assert_int_not_equal(port_open(&port, &cfg, 0, 200000, &err), 0);
	assert_non_null(strstr(err.text, "200000 mbufs of 10240 bytes: raise eal.memory or lower eal.mbufs"));
}

/* One frame, twice, as a capture file. */
static void capture_write(const char *path, const uint8_t *f, uint32_t bytes)
{
	const uint32_t head[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1}, record[4] = {1, 0, bytes, bytes};
	FILE *out = fopen(path, "wb");

	assert_non_null(out);
	assert_int_equal(fwrite(head, sizeof head, 1, out), 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fwrite(record, sizeof record, 1, out), 1);
		assert_int_equal(fwrite(f, bytes, 1, out), 1);
	}
	assert_int_equal(fclose(out), 0);
}

static void jumbo_read(const char *device, uint32_t mtu, uint32_t segments, struct decoder *d)
{
	struct config_ports cfg = port_config(device, mtu);
	struct rte_mbuf *m[2];
	struct err err = {0};
	struct datagram dg[2];
	struct port port;
	uint8_t f[PAYLOAD + 62];

	if (port_open(&port, &cfg, 1, MBUFS, &err))
		fail_msg("%s", err.text);
	assert_int_equal(rte_eth_rx_burst(port.id, 0, m, 2), 2);
	frame6(f, PAYLOAD);
	for (uint32_t next = 0, n; next < 2;) {
		n = decode_burst(d, m, 2, &next, dg);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(dg[i].bytes, PAYLOAD);
			assert_memory_equal(dg[i].payload, f + 62, PAYLOAD);
		}
		assert_int_equal(n, segments == 1 ? 2 : 1);
	}
	assert_int_equal(m[0]->nb_segs, segments);
	rte_pktmbuf_free_bulk(m, 2);
	port_close(&port);
}

static void test_jumbo(void **state)
{
	static struct decode_ports ports = {.listener_of = {[FRAME_PORT] = 1}};
	char path[] = "/tmp/sluice-jumbo-XXXXXX", device[64];
	uint64_t drops[DROP_ID_MAX] = {0};
	struct decode_stats stats = {0};
	uint8_t f[PAYLOAD + 62];
	int fd = mkstemp(path);
	struct decoder d;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	capture_write(path, f, frame6(f, PAYLOAD));
	assert_int_equal(
		decoder_setup(&d, &(struct decoder_wish){.ports = &ports, .drops = drops, .stats = &stats}),
		0);
	snprintf(device, sizeof device, "net_pcap,rx_pcap=%s", path);
	jumbo_read(device, 1500, 5, &d);
	jumbo_read(device, 9000, 1, &d);
	for (int i = 0; i < DROP_ID_MAX; i++)
		assert_int_equal(drops[i], 0);
	decoder_free(&d);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_room), cmocka_unit_test(test_mbufs),
		cmocka_unit_test(test_no_memory), cmocka_unit_test(test_jumbo)};

	rig_eal_start(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
