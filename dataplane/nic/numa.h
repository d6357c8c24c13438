/* On which NUMA node a core, a device and a disk are, as the kernel says. `sysfs` is "/sys", or a tree of
 * that form. Control thread, at start. */
#ifndef SLUICE_NUMA_H
#define SLUICE_NUMA_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

#define NUMA_UNKNOWN (-1) /* the kernel does not say: nothing is checked then */

/* At least 1. */
uint32_t numa_nodes(const char *sysfs);
int numa_of_cpu(const char *sysfs, unsigned cpu);
/* Of a PCI device, or of the device of the kernel interface behind the port. Virtual ones have none. */
int numa_of_port(const char *sysfs, const struct config_ports *port);
/* Of the disk that a file system is on, as far as it is one. */
int numa_of_disk(const char *sysfs, const char *path);

#endif
