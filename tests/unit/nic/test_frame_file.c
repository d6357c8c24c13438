/* A capture file is read as net_pcap reads it: the same frames, of files of all kinds, and of damaged ones.
 * What it does not read is left to net_pcap; frames that find no mbuf are not lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_ethdev.h>

#include "eal_start.h"
#include "frame_file.h"
#include "port.h"

#define MBUFS 1023
#define BURST 32
#define FILE_MAX 2000000u

struct file {
	char path[128];
	uint8_t data[FILE_MAX];
	uint32_t bytes;
	bool swapped;
};

static struct file f;
static uint64_t seed = 1;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

static void put32(uint32_t v)
{
	if (f.swapped)
		v = __builtin_bswap32(v);
	memcpy(f.data + f.bytes, &v, 4);
	f.bytes += 4;
}

static void put16(uint16_t v)
{
	if (f.swapped)
		v = __builtin_bswap16(v);
	memcpy(f.data + f.bytes, &v, 2);
	f.bytes += 2;
}

static void file_head(uint32_t magic, bool swapped, uint32_t snap, uint32_t link)
{
	f.bytes = 0;
	f.swapped = swapped;
	put32(magic);
	put16(2);
	put16(4);
	put32(0);
	put32(0);
	put32(snap);
	put32(link);
}

/* There are `there` of its bytes. */
static void file_frame(uint32_t bytes, uint32_t there)
{
	put32(1700000000);
	put32(7);
	put32(bytes);
	put32(bytes);
	for (uint32_t i = 0; i < there; i++)
		f.data[f.bytes++] = (uint8_t)random_below(256);
}

static void file_write(uint32_t bytes)
{
	FILE *out = fopen(f.path, "wb");

	assert_non_null(out);
	assert_true(!bytes || fwrite(f.data, bytes, 1, out) == 1);
	assert_int_equal(fclose(out), 0);
}

static int file_port(struct port *port, const char *more)
{
	static struct config_ports cfg;
	struct err err = {0};

	cfg = (struct config_ports){.queues = 1, .descriptors = 64, .mtu = 1500};
	snprintf(cfg.name, sizeof cfg.name, "p");
	snprintf(cfg.device, sizeof cfg.device, "net_pcap,rx_pcap=%s%s", f.path, more);
	return port_open(port, &cfg, 1, MBUFS, &err);
}

static void frame_same(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
	assert_int_equal(a->pkt_len, b->pkt_len);
	assert_int_equal(a->nb_segs, b->nb_segs);
	assert_int_equal(a->port, b->port);
	for (; a && b; a = a->next, b = b->next) {
		assert_int_equal(a->data_len, b->data_len);
		assert_memory_equal(rte_pktmbuf_mtod(a, void *), rte_pktmbuf_mtod(b, void *), a->data_len);
	}
	assert_true(!a && !b);
}

/* Both readers over the file; how many frames it has. */
static uint64_t file_same(uint32_t bytes)
{
	struct rte_mbuf *ours[BURST], *theirs[BURST];
	struct rte_eth_stats st;
	struct frame_file_stats s;
	struct port port;
	uint16_t n, m;

	file_write(bytes);
	assert_int_equal(file_port(&port, ""), 0);
	assert_non_null(port.file);
	do {
		n = frame_file_burst(port.file, port.id, port.pool, ours, BURST);
		m = rte_eth_rx_burst(port.id, 0, theirs, BURST);
		assert_int_equal(n, m);
		for (uint16_t i = 0; i < n; i++)
			frame_same(ours[i], theirs[i]);
		rte_pktmbuf_free_bulk(ours, n);
		rte_pktmbuf_free_bulk(theirs, m);
	} while (n);
	assert_true(frame_file_ended(port.file));
	assert_int_equal(frame_file_burst(port.file, port.id, port.pool, ours, BURST), 0);
	s = frame_file_stats(port.file);
	assert_int_equal(rte_eth_stats_get(port.id, &st), 0);
	assert_int_equal(s.frames, st.ipackets);
	assert_int_equal(s.bytes, st.ibytes);
	assert_int_equal(s.no_mbuf, 0);
	assert_int_equal(rte_mempool_in_use_count(port.pool), 0);
	port_close(&port);
	return s.frames;
}

static void test_kinds(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		file_head(kind & 1 ? 0xa1b23c4d : 0xa1b2c3d4, kind & 2, kind ? 65535 : 0, 1);
		for (int i = 0; i < 700; i++) {
			uint32_t bytes = random_below(i % 50 ? 1500 : 20000);

			file_frame(bytes, bytes);
		}
		assert_int_equal(file_same(f.bytes), 700);
	}
	file_head(0xa1b2c3d4, false, 65535, 1);
	assert_int_equal(file_same(f.bytes), 0);
}

static void test_snap(void **state)
{
	(void)state;
	file_head(0xa1b2c3d4, false, 100, 1);
	for (uint32_t i = 0; i < 50; i++)
		file_frame(90 + i, 90 + i);
	assert_int_equal(file_same(f.bytes), 50);
}

/* Whole frames are read, whatever is missing behind them. */
static void test_cut(void **state)
{
	uint32_t whole;

	(void)state;
	file_head(0xa1b2c3d4, false, 65535, 1);
	file_frame(60, 60);
	file_frame(70, 70);
	whole = f.bytes;
	file_frame(80, 80);
	for (uint32_t bytes = 24; bytes <= f.bytes; bytes++)
		assert_int_equal(file_same(bytes), bytes == f.bytes	   ? 3
						   : bytes >= whole	   ? 2
						   : bytes >= 24 + 16 + 60 ? 1
									   : 0);
}

static void test_damage(void **state)
{
	(void)state;
	file_head(0xa1b2c3d4, false, 65535, 1);
	file_frame(60, 60);
	file_frame(0xffffffff, 3000);
	assert_int_equal(file_same(f.bytes), 1);
	file_head(0xa1b2c3d4, false, 0, 1);
	file_frame(60, 60);
	file_frame(262145, 262145);
	file_frame(60, 60);
	assert_int_equal(file_same(f.bytes), 1);
	for (int round = 0; round < 50; round++) {
		file_head(0xa1b2c3d4, false, 65535, 1);
		for (int i = 0; i < 20; i++)
			file_frame(i * 10, (uint32_t)i * 10);
		for (int i = 0; i < 3; i++)
			f.data[24 + random_below(f.bytes - 24)] = (uint8_t)random_below(256);
		(void)file_same(f.bytes);
	}
}

/* Not these. */
static void test_left(void **state)
{
	static const uint32_t magics[] = {0xa1b2cd34, 0x0a0d0d0a, 0};
	struct frame_file *file;
	struct err err = {0};
	struct port port;
	char device[300], pipe[140];

	(void)state;
	snprintf(device, sizeof device, "net_pcap,rx_pcap=%s", f.path);
	for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
		file_head(magics[i], false, 65535, 1);
		file_write(f.bytes);
		assert_int_equal(frame_file_open(&file, device, &err), 0);
		assert_null(file);
	}
	file_head(0xa1b2c3d4, false, 65535, 113);
	file_write(f.bytes);
	assert_int_equal(frame_file_open(&file, device, &err), 0);
	assert_null(file);
	file_head(0xa1b2c3d4, false, 65535, 1);
	file_write(23);
	assert_int_equal(frame_file_open(&file, device, &err), 0);
	assert_null(file);
	file_write(f.bytes);
	snprintf(device, sizeof device, "net_pcap,rx_pcap=%s,rx_pcap=%s", f.path, f.path);
	assert_int_equal(frame_file_open(&file, device, &err), 0);
	assert_null(file);
	assert_int_equal(frame_file_open(&file, "net_pcap,rx_pcap=-", &err), 0);
	assert_null(file);
	snprintf(pipe, sizeof pipe, "%s.pipe", f.path);
	assert_int_equal(mkfifo(pipe, 0600), 0);
	snprintf(device, sizeof device, "net_pcap,rx_pcap=%s", pipe);
	assert_int_equal(frame_file_open(&file, device, &err), 0);
	assert_null(file);
	unlink(pipe);
	file_frame(60, 60);
	file_write(f.bytes);
	assert_int_equal(file_port(&port, ",infinite_rx=1"), 0);
	assert_null(port.file);
	port_close(&port);
}

static void test_no_mbufs(void **state)
{
	struct rte_mbuf *held[MBUFS], *m[BURST];
	struct port port;
	uint32_t hold = 0;

	(void)state;
	file_head(0xa1b2c3d4, false, 65535, 1);
	file_frame(60, 60);
	file_frame(6000, 6000);
	file_write(f.bytes);
	assert_int_equal(file_port(&port, ""), 0);
	while (rte_mempool_avail_count(port.pool) > 3)
		assert_non_null(held[hold++] = rte_pktmbuf_alloc(port.pool));
	/* The second one would take three. */
	assert_int_equal(frame_file_burst(port.file, port.id, port.pool, m, 2), 1);
	assert_int_equal(m[0]->pkt_len, 60);
	assert_int_equal(frame_file_burst(port.file, port.id, port.pool, m + 1, 4), 0);
	assert_false(frame_file_ended(port.file));
	assert_int_equal(frame_file_stats(port.file).no_mbuf, 2);
	rte_pktmbuf_free_bulk(held, hold);
	assert_int_equal(frame_file_burst(port.file, port.id, port.pool, m + 1, 4), 1);
	assert_int_equal(m[1]->pkt_len, 6000);
	assert_memory_equal(rte_pktmbuf_mtod(m[1], void *), f.data + 24 + 16 + 60 + 16, 1000);
	assert_int_equal(frame_file_burst(port.file, port.id, port.pool, m + 2, 4), 0);
	assert_true(frame_file_ended(port.file));
	assert_int_equal(frame_file_stats(port.file).frames, 2);
	rte_pktmbuf_free_bulk(m, 2);
	assert_int_equal(rte_mempool_in_use_count(port.pool), 0);
	port_close(&port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds), cmocka_unit_test(test_snap),
		cmocka_unit_test(test_cut), cmocka_unit_test(test_damage), cmocka_unit_test(test_left),
		cmocka_unit_test(test_no_mbufs)};
	const char *base = getenv("SLUICE_TEST_DIR");
	int fd, rc;

	rig_eal_start(1);
	snprintf(f.path, sizeof f.path, "%.90s/sluice-file-XXXXXX", base ? base : "/tmp");
	fd = mkstemp(f.path);
	if (fd < 0)
		return 1;
	close(fd);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(f.path);
	return rc;
}
