/* The DPDK environment, started from the configuration. Main thread, once. */
#ifndef SLUICE_EAL_H
#define SLUICE_EAL_H

#include <stdbool.h>

#include "config.h"
#include "err.h"

/* rte_eal_init() with arguments made from cfg: main lcore 0 on eal.main_cores, worker i on lcore i + 1, in
 * memory only (no files shared with other processes), no PCI scan unless a port names a PCI device. A second
 * call does nothing. */
int eal_start(const struct config *cfg, struct err *err);

/* Expands "2-4,7" into single CPU numbers, max at most. Returns how many, or -1 for text that is no such
 * list. */
int eal_cpu_list(const char *text, unsigned *cpu, int max);

/* Before the start: are there the cores that worker.cores and eal.main_cores name, and may this process go
 * onto them? Those it is kept off for now (isolcpus, taskset) it may; a cpuset's others it may not. -EINVAL
 * with the key and the cores that there are. A single-threaded process. */
int eal_cores_check(const struct config *cfg, struct err *err);

/* True for dddd:bb:dd.f or bb:dd.f. */
bool eal_is_pci_address(const char *device);

#endif
