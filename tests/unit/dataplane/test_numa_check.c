/* NUMA checks over a tree of the form of /sys: two nodes with two cores each, a PCI device on each, a kernel
 * interface on node 1, a virtual one, and a disk on node 1. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "numa.h"
#include "numa_check.h"

static char sysfs[64];
static struct config cfg;
static struct numa_report report;
static cpu_set_t all;

__attribute__((format(printf, 1, 2))) static void run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;
	int n;

	n = snprintf(command, sizeof command, "cd %s && ", sysfs);
	va_start(ap, fmt);
	vsnprintf(command + n, sizeof command - (size_t)n, fmt, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

static int make(void **state)
{
	struct stat st;

	(void)state;
	snprintf(sysfs, sizeof sysfs, "/tmp/sluice-numa-XXXXXX");
	assert_non_null(mkdtemp(sysfs));
	assert_int_equal(stat(sysfs, &st), 0);
	run("mkdir -p devices/system/node/node0 devices/system/node/node1 devices/system/node/power");
	for (int cpu = 0; cpu < 4; cpu++)
		run("mkdir -p devices/system/cpu/cpu%d/node%d", cpu, cpu / 2);
	for (int node = 0; node < 2; node++)
		run("mkdir -p devices/pci0/0000:0%d:00.0 && echo %d > devices/pci0/0000:0%d:00.0/numa_node",
			node + 1, node, node + 1);
	run("mkdir -p devices/pci0/0000:03:00.0 && echo -1 > devices/pci0/0000:03:00.0/numa_node");
	run("mkdir -p bus/pci/devices class/net/eth1 class/net/veth0 dev/block");
	for (int i = 1; i < 4; i++)
		run("ln -s ../../../devices/pci0/0000:0%d:00.0 bus/pci/devices/", i);
	run("mkdir -p devices/pci0/0000:02:00.0/virtio1/block/vda/vda1");
	run("ln -s ../../../devices/pci0/0000:02:00.0/virtio1 class/net/eth1/device");
	run("ln -s ../../devices/pci0/0000:02:00.0/virtio1/block/vda/vda1 dev/block/%u:%u", major(st.st_dev),
		minor(st.st_dev));
	CPU_ZERO(&all);
	for (int cpu = 0; cpu < 4; cpu++)
		CPU_SET(cpu, &all);
	return 0;
}

static int unmake(void **state)
{
	(void)state;
	run("rm -rf %s", sysfs);
	return 0;
}

/* A port on node 1 whose workers are there, too. */
static void good(void)
{
	config_defaults(&cfg);
	cfg.ports_count = 1;
	cfg.ports[0].queues = 2;
	snprintf(cfg.ports[0].name, sizeof cfg.ports[0].name, "p");
	snprintf(cfg.ports[0].device, sizeof cfg.ports[0].device, "02:00.0");
	cfg.worker.count = 2;
	snprintf(cfg.worker.cores, sizeof cfg.worker.cores, "2,3");
	snprintf(cfg.eal.main_cores, sizeof cfg.eal.main_cores, "3");
	snprintf(cfg.node.data_dir, sizeof cfg.node.data_dir, "%s", sysfs);
}

static void look(uint32_t faults)
{
	numa_look(&report, &cfg, sysfs, &all);
	assert_int_equal(report.faults, faults);
}

static void test_places(void **state)
{
	static const struct {
		const char *device;
		int node;
	} port[] = {{"0000:01:00.0", 0}, {"01:00.0", 0}, {"0000:02:00.0", 1}, {"0000:03:00.0", NUMA_UNKNOWN},
		{"0000:09:00.0", NUMA_UNKNOWN}, {"net_af_packet0,iface=eth1,qpairs=2", 1},
		{"net_pcap0,rx_iface_in=eth1", 1}, {"net_af_packet0,iface=veth0", NUMA_UNKNOWN},
		{"net_af_packet0,iface=../net/eth1", NUMA_UNKNOWN}, {"net_null0", NUMA_UNKNOWN}};
	struct config_ports p = {0};

	(void)state;
	assert_int_equal(numa_nodes(sysfs), 2);
	assert_int_equal(numa_nodes("/nonexistent"), 1);
	assert_int_equal(numa_of_cpu(sysfs, 1), 0);
	assert_int_equal(numa_of_cpu(sysfs, 2), 1);
	assert_int_equal(numa_of_cpu(sysfs, 9), NUMA_UNKNOWN);
	for (size_t i = 0; i < sizeof port / sizeof *port; i++) {
		snprintf(p.device, sizeof p.device, "%s", port[i].device);
		assert_int_equal(numa_of_port(sysfs, &p), port[i].node);
	}
	assert_int_equal(numa_of_disk(sysfs, sysfs), 1);
	assert_int_equal(numa_of_disk(sysfs, "/proc"), NUMA_UNKNOWN);
	assert_int_equal(numa_of_disk(sysfs, "/nonexistent"), NUMA_UNKNOWN);
}

static void test_good(void **state)
{
	struct err err = {0};

	(void)state;
	good();
	look(0);
	assert_int_equal(report.nodes, 2);
	assert_int_equal(report.port_node[0], 1);
	assert_int_equal(report.worker_node[0], 1);
	assert_int_equal(numa_judge(&report, &cfg, &err), 0);
	/* Not pinned, but nowhere else to go. */
	cfg.worker.cores[0] = cfg.eal.main_cores[0] = 0;
	CPU_CLR(0, &all);
	CPU_CLR(1, &all);
	look(0);
	assert_int_equal(report.worker_node[0], NUMA_UNKNOWN);
	CPU_SET(0, &all);
	CPU_SET(1, &all);
}

static void test_workers(void **state)
{
	struct err err = {0};

	(void)state;
	good();
	snprintf(cfg.worker.cores, sizeof cfg.worker.cores, "1-2");
	look(1);
	assert_string_equal(
		report.fault[0], "port p is on NUMA node 1, worker 0 on core 1 of node 0 (worker.cores)");
	assert_int_equal(numa_judge(&report, &cfg, &err), -EINVAL);
	assert_non_null(strstr(err.text, report.fault[0]));
	assert_non_null(strstr(err.text, "eal.numa"));
	cfg.eal.numa = CONFIG_NUMA_RELAXED;
	assert_int_equal(numa_judge(&report, &cfg, &err), 0);
	/* Another port with one queue: the third worker's turn, which is where it should be. */
	cfg.worker.count = 3;
	snprintf(cfg.worker.cores, sizeof cfg.worker.cores, "2,3,1");
	look(1); /* it has no queue, and gets frames from the others */
	cfg.worker.spread = CONFIG_SPREAD_OFF;
	look(0);
	cfg.ports_count = 2;
	cfg.ports[1] = cfg.ports[0];
	cfg.ports[1].queues = 1;
	snprintf(cfg.ports[1].device, sizeof cfg.ports[1].device, "0000:01:00.0");
	look(0);
	/* All work on all frames. */
	cfg.worker.spread = CONFIG_SPREAD_ON;
	look(3);
	cfg.worker.spread = CONFIG_SPREAD_OFF;
	/* On any core. */
	cfg.ports_count = 1;
	cfg.worker.cores[0] = 0;
	look(2);
	assert_string_equal(report.fault[1], "port p is on NUMA node 1, worker 1 on no core of its own: core "
					     "0 is on another node (worker.cores)");
	/* A port of no node goes with any. */
	snprintf(cfg.ports[0].device, sizeof cfg.ports[0].device, "net_ring0");
	look(0);
}

static void test_memory_and_disk(void **state)
{
	(void)state;
	good();
	cfg.eal.hugepages = false;
	look(0);
	snprintf(cfg.eal.main_cores, sizeof cfg.eal.main_cores, "1,3");
	look(2);
	assert_non_null(strstr(report.fault[0], "its mbufs are in ordinary pages"));
	assert_non_null(strstr(report.fault[1], "node.data_dir /tmp/sluice-numa-"));
	assert_non_null(strstr(report.fault[1], "NUMA node 1, its writers may run on core 1 of another"));
	cfg.eal.hugepages = true;
	look(1);
	snprintf(cfg.journal.dirs, sizeof cfg.journal.dirs, "/nonexistent,%s", sysfs);
	look(1);
	assert_non_null(strstr(report.fault[0], "journal.dirs /tmp/sluice-numa-"));
}

static void test_one_node(void **state)
{
	(void)state;
	good();
	run("rmdir devices/system/node/node1");
	snprintf(cfg.worker.cores, sizeof cfg.worker.cores, "0,1");
	look(0);
	run("mkdir devices/system/node/node1");
	look(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_places), cmocka_unit_test(test_good),
		cmocka_unit_test(test_workers), cmocka_unit_test(test_memory_and_disk),
		cmocka_unit_test(test_one_node)};

	return cmocka_run_group_tests(tests, make, unmake);
}
