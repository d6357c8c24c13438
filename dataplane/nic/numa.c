/* See numa.h. */
#include "numa.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "driver.h"
#include "eal.h"

/* The number behind "node" in a name like node3, else NUMA_UNKNOWN. */
static int node_number(const char *name)
{
	char *end;
	unsigned long n;

	if (strncmp(name, "node", 4) || name[4] < '0' || name[4] > '9')
		return NUMA_UNKNOWN;
	n = strtoul(name + 4, &end, 10);
	return *end || n > INT16_MAX ? NUMA_UNKNOWN : (int)n;
}

/* Entries of a folder that are nodes; the number of the last one. */
static uint32_t nodes_in(const char *folder, int *last)
{
	DIR *dir = opendir(folder);
	uint32_t count = 0;
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (node_number(e->d_name) != NUMA_UNKNOWN) {
			*last = node_number(e->d_name);
			count++;
		}
	if (dir)
		closedir(dir);
	return count;
}

uint32_t numa_nodes(const char *sysfs)
{
	char path[PATH_MAX];
	uint32_t count;
	int last;

	snprintf(path, sizeof path, "%s/devices/system/node", sysfs);
	count = nodes_in(path, &last);
	return count ? count : 1;
}

int numa_of_cpu(const char *sysfs, unsigned cpu)
{
	int node = NUMA_UNKNOWN;
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/devices/system/cpu/cpu%u", sysfs, cpu);
	(void)nodes_in(path, &node);
	return node;
}

/* What the file says; false: it is not there. */
static bool node_read(const char *path, int *node)
{
	FILE *f = fopen(path, "re");
	bool good = f && fscanf(f, "%d", node) == 1;

	if (f)
		fclose(f);
	if (good && (*node < 0 || *node > INT16_MAX))
		*node = NUMA_UNKNOWN;
	return good;
}

/* Of the device at a path, or of the one that it hangs on. */
static int node_upwards(const char *sysfs, const char *path)
{
	char at[PATH_MAX], root[PATH_MAX], file[PATH_MAX + 16];
	int node = NUMA_UNKNOWN;
	char *slash;

	if (!realpath(path, at) || !realpath(sysfs, root) || strncmp(at, root, strlen(root)))
		return NUMA_UNKNOWN;
	for (; strlen(at) > strlen(root); *slash = 0) {
		snprintf(file, sizeof file, "%s/numa_node", at);
		if (node_read(file, &node))
			break;
		slash = strrchr(at, '/');
	}
	return node;
}

int numa_of_port(const char *sysfs, const struct config_ports *port)
{
	static const char *const iface_arg[] = {"iface", "rx_iface", "rx_iface_in"};
	char path[PATH_MAX], iface[64];

	if (eal_is_pci_address(port->device)) {
		bool has_domain = strchr(port->device, ':') != strrchr(port->device, ':');

		snprintf(path, sizeof path, "%s/bus/pci/devices/%s%s", sysfs,
			has_domain ? "" : "0000:", port->device);
		return node_upwards(sysfs, path);
	}
	for (unsigned i = 0; i < sizeof iface_arg / sizeof *iface_arg; i++) {
		if (!driver_arg(port->device, iface_arg[i], iface, sizeof iface) || strchr(iface, '/'))
			continue;
		snprintf(path, sizeof path, "%s/class/net/%s/device", sysfs, iface);
		return node_upwards(sysfs, path);
	}
	return NUMA_UNKNOWN;
}

int numa_of_disk(const char *sysfs, const char *path)
{
	char device[PATH_MAX];
	struct stat st;

	if (stat(path, &st))
		return NUMA_UNKNOWN;
	snprintf(device, sizeof device, "%s/dev/block/%u:%u", sysfs, major(st.st_dev), minor(st.st_dev));
	return node_upwards(sysfs, device);
}
