/* See numa_check.h. */
#include "numa_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "eal.h"
#include "log.h"
#include "numa.h"
#include "spread.h"
#include "text_list.h"

struct look {
	struct numa_report *out;
	const struct config *cfg;
	const char *sysfs;
	const cpu_set_t *allowed;
	unsigned worker_cpu[64];
	bool pinned;
};

__attribute__((format(printf, 2, 3))) static void fault_add(struct numa_report *r, const char *fmt, ...)
{
	va_list ap;

	if (r->faults == NUMA_FAULTS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(r->fault[r->faults++], NUMA_FAULT_BYTES, fmt, ap);
	va_end(ap);
}

/* A core, of those that a list names (of all allowed ones if it names none), that is on another node, or -1.
 */
static int core_elsewhere(const struct look *l, const char *list, int node)
{
	unsigned cpu[CPU_SETSIZE];
	int n = eal_cpu_list(list, cpu, CPU_SETSIZE);

	if (n <= 0) {
		n = 0;
		for (unsigned c = 0; c < CPU_SETSIZE; c++)
			if (CPU_ISSET(c, l->allowed))
				cpu[n++] = c;
	}
	for (int i = 0; i < n; i++) {
		int on = numa_of_cpu(l->sysfs, cpu[i]);

		if (on != NUMA_UNKNOWN && on != node)
			return (int)cpu[i];
	}
	return -1;
}

static void worker_look(struct look *l, uint32_t port, uint32_t worker)
{
	int node = l->out->port_node[port], on = l->out->worker_node[worker];
	const char *name = l->cfg->ports[port].name;

	if (l->pinned && on != NUMA_UNKNOWN && on != node)
		fault_add(l->out,
			"port %s is on NUMA node %d, worker %u on core %u of node %d (worker.cores)", name,
			node, worker, l->worker_cpu[worker], on);
	if (!l->pinned && core_elsewhere(l, "", node) >= 0)
		fault_add(l->out,
			"port %s is on NUMA node %d, worker %u on no core of its own: core %d is on another "
			"node "
			"(worker.cores)",
			name, node, worker, core_elsewhere(l, "", node));
}

/* Queues are dealt to the workers in turn over all ports; first: the port's first queue. */
static void port_look(struct look *l, uint32_t port, uint64_t first)
{
	const struct config_ports *p = &l->cfg->ports[port];
	uint64_t workers = l->cfg->worker.count, queues = p->queues;
	int node = l->out->port_node[port];

	if (node == NUMA_UNKNOWN)
		return;
	if (spread_wanted(l->cfg, NULL, 0) || queues > workers)
		queues = workers;
	for (uint64_t q = 0; q < queues; q++)
		worker_look(l, port, (uint32_t)((first + q) % workers));
	if (!l->cfg->eal.hugepages && core_elsewhere(l, l->cfg->eal.main_cores, node) >= 0)
		fault_add(l->out,
			"port %s is on NUMA node %d, its mbufs are in ordinary pages on whichever node "
			"touches them first "
			"(eal.hugepages)",
			p->name, node);
}

static void disk_look(struct look *l, const char *path, const char *key)
{
	int node = numa_of_disk(l->sysfs, path), core;

	core = node == NUMA_UNKNOWN ? -1 : core_elsewhere(l, l->cfg->eal.main_cores, node);
	if (core >= 0)
		fault_add(l->out,
			"%s %.60s is on a disk of NUMA node %d, its writers may run on core %d of another "
			"(eal.main_cores)",
			key, path, node, core);
}

static void disks_look(struct look *l)
{
	const char *dirs = l->cfg->journal.dirs;
	char path[256];

	if (!*dirs)
		disk_look(l, l->cfg->node.data_dir, "node.data_dir");
	for (uint32_t i = 0; *dirs && text_list_entry(dirs, i, path, sizeof path); i++)
		disk_look(l, path, "journal.dirs");
}

void numa_look(struct numa_report *out, const struct config *cfg, const char *sysfs, const cpu_set_t *allowed)
{
	struct look l = {.out = out, .cfg = cfg, .sysfs = sysfs, .allowed = allowed};
	uint64_t first = 0;

	memset(out, 0, sizeof *out);
	out->nodes = numa_nodes(sysfs);
	l.pinned = eal_cpu_list(cfg->worker.cores, l.worker_cpu, 64) > 0;
	for (uint32_t w = 0; w < cfg->worker.count; w++)
		out->worker_node[w] = l.pinned ? numa_of_cpu(sysfs, l.worker_cpu[w]) : NUMA_UNKNOWN;
	for (uint32_t i = 0; i < cfg->ports_count; i++)
		out->port_node[i] = numa_of_port(sysfs, &cfg->ports[i]);
	if (out->nodes < 2)
		return;
	for (uint32_t i = 0; i < cfg->ports_count; first += cfg->ports[i++].queues)
		port_look(&l, i, first);
	disks_look(&l);
}

int numa_judge(const struct numa_report *r, const struct config *cfg, struct err *err)
{
	bool strict = cfg->eal.numa == CONFIG_NUMA_STRICT;

	for (uint32_t i = 0; i < r->faults && !strict; i++)
		log_warn("dataplane", "NUMA: %s", r->fault[i]);
	if (r->faults && strict)
		return err_set(err, -EINVAL,
			"%s; %u such in all. Or set eal.numa to relaxed, and pay with every access",
			r->fault[0], r->faults);
	return 0;
}
