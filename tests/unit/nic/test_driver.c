/* The driver table: device arguments, finite inputs, counters that a driver does not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver.h"
#include "eal.h"

static void test_args(void **state)
{
	char v[16];

	(void)state;
	assert_true(driver_arg("net_af_packet,iface=eth1,blocksz=65536", "iface", v, sizeof v));
	assert_string_equal(v, "eth1");
	assert_true(driver_arg("net_af_packet,iface=eth1,blocksz=65536", "blocksz", v, sizeof v));
	assert_string_equal(v, "65536");
	assert_false(driver_arg("net_af_packet,xiface=eth1", "iface", v, sizeof v));
	assert_false(driver_arg("net_af_packet", "iface", v, sizeof v));
	assert_false(driver_arg("net_af_packet,iface=a-name-that-is-too-long", "iface", v, sizeof v));
}

static void test_finite(void **state)
{
	(void)state;
	assert_true(driver_is_finite("net_pcap0,rx_pcap=/tmp/a.pcap"));
	assert_true(driver_is_finite("net_pcap0,rx_pcap=/tmp/a.pcap,infinite_rx=0"));
	assert_false(driver_is_finite("net_pcap0,rx_pcap=/tmp/a.pcap,infinite_rx=1"));
	assert_false(driver_is_finite("net_pcap0,iface=eth0"));
	assert_false(driver_is_finite("net_af_packet,iface=eth0"));
}

static void test_quirks(void **state)
{
	(void)state;
	assert_false(driver_quirks_of("net_af_packet")->has_missed);
	assert_non_null(driver_quirks_of("net_af_packet")->kernel_drops);
	assert_true(driver_quirks_of("net_ice")->has_missed);
	assert_true(driver_quirks_of("net_af_packet")->has_early_frames);
	assert_false(driver_quirks_of("net_pcap")->has_early_frames); /* would throw its file away */
	assert_null(driver_quirks_of("net_ice")->kernel_drops);
}

/* A port's sockets are those that came with it. Their drops are read on a real port by an end-to-end test. */
static void test_xdp_sockets(void **state)
{
	const struct driver_quirks *q = driver_quirks_of("net_af_xdp");
	struct driver_state one = {0}, two = {0};
	int fd[3];

	(void)state;
	q->opened(&one);
	assert_int_equal(one.socket_count, 0);
	assert_true(q->kernel_drops(&one) == UINT64_MAX);
	for (int i = 0; i < 2; i++)
		fd[i] = socket(AF_XDP, SOCK_RAW, 0);
	if (fd[0] < 0 || fd[1] < 0)
		skip(); /* not root, or a kernel without them */
	q->opened(&one);
	fd[2] = socket(AF_XDP, SOCK_RAW, 0);
	q->opened(&two);
	assert_int_equal(one.socket_count, 2);
	assert_int_equal(two.socket_count, 1);
	assert_int_equal(two.socket[0], fd[2]);
	assert_true(q->kernel_drops(&one) == 0 && q->kernel_drops(&two) == 0);
	q->closed(&one);
	close(fd[0]);
	q->opened(&one); /* another port, while the sockets of `two` are there */
	assert_int_equal(one.socket_count, 1);
	assert_int_equal(one.socket[0], fd[1]);
	q->closed(&one);
	q->closed(&two);
	close(fd[1]);
	close(fd[2]);
}

static void test_pci(void **state)
{
	(void)state;
	assert_true(eal_is_pci_address("0000:3b:00.1"));
	assert_true(eal_is_pci_address("3b:00.1"));
	assert_false(eal_is_pci_address("3b:00.1,x=y"));
	assert_false(eal_is_pci_address("net_ring0"));
	assert_false(eal_is_pci_address(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_args), cmocka_unit_test(test_finite),
		cmocka_unit_test(test_quirks), cmocka_unit_test(test_xdp_sockets),
		cmocka_unit_test(test_pci)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
