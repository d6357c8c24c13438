/* Whether what works together is on one NUMA node: a port and the workers that take its frames and whose
 * batches they fill, the mbufs of the port, the disks of the partitions and the threads that write to them.
 * Control thread, before EAL starts. */
#ifndef SLUICE_NUMA_CHECK_H
#define SLUICE_NUMA_CHECK_H

#include <sched.h>
#include <stdint.h>

#include "config.h"
#include "err.h"

#define NUMA_FAULTS_MAX 32
#define NUMA_FAULT_BYTES 200

struct numa_report {
	uint32_t nodes;
	int port_node[16];   /* NUMA_UNKNOWN: a virtual device, or the kernel does not say */
	int worker_node[64]; /* NUMA_UNKNOWN: not pinned to a core */
	uint32_t faults;     /* of fault[]; further ones are left out */
	char fault[NUMA_FAULTS_MAX][NUMA_FAULT_BYTES];
};

/* sysfs: "/sys"; allowed: the cores that threads without cores of their own may run on. */
void numa_look(
	struct numa_report *out, const struct config *cfg, const char *sysfs, const cpu_set_t *allowed);

/* Logs what was found. With eal.numa strict a fault is -EINVAL. */
int numa_judge(const struct numa_report *r, const struct config *cfg, struct err *err);

#endif
