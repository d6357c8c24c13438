/* The driver table: device arguments, finite inputs, counters that a driver does not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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
		cmocka_unit_test(test_quirks), cmocka_unit_test(test_pci)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
