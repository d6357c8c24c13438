/* See eal_rig.h. */
#include "eal_rig.h"

#include <rte_eal.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void rig_eal(const char *name)
{
	char prefix[64], *argv[16];
	int argc = 0;
	static char words[][24] = {"test", "--no-huge", "-m", "256", "--no-pci", "--no-telemetry",
		"--iova-mode=va", "--no-shconf", "--log-level=4", "-l", "0", "--file-prefix"};
	cpu_set_t all;

	sched_getaffinity(0, sizeof all, &all);
	snprintf(prefix, sizeof prefix, "sluice-%s-%d", name, (int)getpid());
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		argv[argc++] = words[i];
	argv[argc++] = prefix;
	if (rte_eal_init(argc, argv) < 0) {
		fprintf(stderr, "rte_eal_init failed\n");
		exit(1);
	}
	sched_setaffinity(0, sizeof all, &all); /* EAL has bound this thread to one core */
}
