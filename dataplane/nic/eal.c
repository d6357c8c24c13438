/* EAL arguments from the configuration. Main thread, at start. */
#include "eal.h"

#include <ctype.h>
#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define EAL_ARGS_MAX 64
#define EAL_ARG_BYTES 1024

struct eal_args {
	int count;
	char text[EAL_ARGS_MAX][EAL_ARG_BYTES];
	bool overflow;
};

__attribute__((format(printf, 2, 3))) static void arg_add(struct eal_args *a, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (a->count == EAL_ARGS_MAX) {
		a->overflow = true;
		return;
	}
	va_start(ap, fmt);
	n = vsnprintf(a->text[a->count++], EAL_ARG_BYTES, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= EAL_ARG_BYTES)
		a->overflow = true;
}

/* 'x' in the pattern is a hexadecimal digit, anything else itself. */
static bool pattern_match(const char *text, const char *pattern)
{
	for (; *pattern; text++, pattern++)
		if (*pattern == 'x' ? !isxdigit((unsigned char)*text) : *text != *pattern)
			return false;
	return !*text;
}

bool eal_is_pci_address(const char *device)
{
	return pattern_match(device, "xxxx:xx:xx.x") || pattern_match(device, "xx:xx.x");
}

static void cpus_text(char *out, size_t bytes, const cpu_set_t *set)
{
	size_t used = 0;

	out[0] = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE && used + 8 < bytes; cpu++)
		if (CPU_ISSET(cpu, set))
			used += (size_t)snprintf(out + used, bytes - used, "%s%d", used ? "," : "", cpu);
}

/* The CPUs that this process may use, as a list for --lcores. */
static void allowed_cpus(char *out, size_t bytes)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof set, &set))
		CPU_SET(0, &set);
	cpus_text(out, bytes, &set);
}

/* What the kernel leaves of all: CPUs that are online and in our cpuset. False: it does not say. */
static bool possible_cpus(cpu_set_t *set)
{
	cpu_set_t before;
	bool good;

	if (sched_getaffinity(0, sizeof before, &before))
		return false;
	memset(set, 0xff, sizeof *set);
	good = !sched_setaffinity(0, sizeof *set, set) && !sched_getaffinity(0, sizeof *set, set);
	return !sched_setaffinity(0, sizeof before, &before) && good;
}

int eal_cpu_list(const char *text, unsigned *cpu, int max)
{
	int n = 0;

	while (*text) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last;

		if (end == text)
			return -1;
		last = first;
		if (*end == '-') {
			text = end + 1;
			last = strtoul(text, &end, 10);
			if (end == text || last < first)
				return -1;
		}
		for (; first <= last && n < max; first++)
			cpu[n++] = (unsigned)first;
		if (*end && *end != ',')
			return -1;
		text = *end ? end + 1 : end;
	}
	return n;
}

int eal_cores_check(const struct config *cfg, struct err *err)
{
	const struct {
		const char *key, *list;
	} row[] = {{"worker.cores", cfg->worker.cores}, {"eal.main_cores", cfg->eal.main_cores}};
	unsigned cpu[RTE_MAX_LCORE];
	char there[400];
	cpu_set_t set;

	if (!*row[0].list && !*row[1].list)
		return 0;
	if (!possible_cpus(&set)) /* then DPDK will see */
		return 0;
	cpus_text(there, sizeof there, &set);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		int count = eal_cpu_list(row[i].list, cpu, RTE_MAX_LCORE);

		int wrong = -1, there_are = 0;

		for (int k = 0; k < count; k++) {
			if (cpu[k] < CPU_SETSIZE && CPU_ISSET(cpu[k], &set))
				there_are++;
			else if (wrong < 0)
				wrong = (int)cpu[k];
		}
		/* A worker needs each of its cores; the main cores are a set, of which the kernel takes what
		 * there is. */
		if (wrong >= 0 && (i == 0 || !there_are))
			return err_set(err, -EINVAL,
				"%s: '%.60s': there is no core %d for this process: it may run on %s",
				row[i].key, row[i].list, wrong, there);
	}
	return 0;
}

/* Those of eal.main_cores that there are: DPDK refuses a set with any other. */
static void main_cpus(const struct config *cfg, char *out, size_t bytes)
{
	unsigned cpu[RTE_MAX_LCORE];
	int count = eal_cpu_list(cfg->eal.main_cores, cpu, RTE_MAX_LCORE), missing = 0;
	cpu_set_t there, set;

	CPU_ZERO(&set);
	snprintf(out, bytes, "%s", cfg->eal.main_cores);
	if (!possible_cpus(&there))
		return;
	for (int i = 0; i < count; i++) {
		if (cpu[i] < CPU_SETSIZE && CPU_ISSET(cpu[i], &there))
			CPU_SET(cpu[i], &set);
		else
			missing++;
	}
	cpus_text(out, bytes, &set);
	if (missing)
		log_warn("nic", "eal.main_cores: of '%s' %d are not there for this process: it has %s",
			cfg->eal.main_cores, missing, out);
}

/* --lcores: 0@(main),1@a,2@b ... */
static int lcore_arg(const struct config *cfg, struct eal_args *a, struct err *err)
{
	char all[512], main_cores[512], text[EAL_ARG_BYTES];
	unsigned cpu[RTE_MAX_LCORE] = {0};
	size_t used;
	int pinned = eal_cpu_list(cfg->worker.cores, cpu, RTE_MAX_LCORE);

	if (pinned < 0 || eal_cpu_list(cfg->eal.main_cores, (unsigned[RTE_MAX_LCORE]){0}, RTE_MAX_LCORE) < 0)
		return err_set(err, -EINVAL,
			"worker.cores \"%s\" or eal.main_cores \"%s\": expected a list as 0,2-3",
			cfg->worker.cores, cfg->eal.main_cores);
	if (pinned > 0 && (uint64_t)pinned != cfg->worker.count)
		return err_set(err, -EINVAL, "worker.cores names %d cores for worker.count %llu", pinned,
			(unsigned long long)cfg->worker.count);
	allowed_cpus(all, sizeof all);
	snprintf(main_cores, sizeof main_cores, "%s", all);
	if (cfg->eal.main_cores[0])
		main_cpus(cfg, main_cores, sizeof main_cores);
	used = (size_t)snprintf(text, sizeof text, "0@(%s)", main_cores);
	for (uint64_t w = 0; w < cfg->worker.count && used < sizeof text; w++) {
		if (pinned > 0)
			used += (size_t)snprintf(
				text + used, sizeof text - used, ",%u@%u", (unsigned)w + 1, cpu[w]);
		else
			used += (size_t)snprintf(
				text + used, sizeof text - used, ",%u@(%s)", (unsigned)w + 1, all);
	}
	if (used >= sizeof text)
		return err_set(err, -EINVAL, "too many workers for one --lcores argument");
	arg_add(a, "--lcores=%s", text);
	return 0;
}

int eal_start(const struct config *cfg, struct err *err)
{
	static bool started;
	static struct eal_args a; /* EAL may keep pointers into it */
	char *argv[EAL_ARGS_MAX + 1];
	unsigned pci = 0;
	int rc;

	if (started)
		return 0;
	arg_add(&a, "sluiced");
	rc = lcore_arg(cfg, &a, err);
	if (rc)
		return rc;
	arg_add(&a, "--main-lcore=0");
	arg_add(&a, "--no-telemetry");
	arg_add(&a, "--iova-mode=va"); /* a run as root may choose pa, which no virtual device needs */
	arg_add(&a, "--file-prefix=sluice-%d", (int)getpid());
	arg_add(&a, "--log-level=lib.eal:warning");
	if (cfg->eal.hugepages) { /* as many as ports and rings take, not all that they may */
		arg_add(&a, "--in-memory");
		arg_add(&a, "--socket-limit=%llu", (unsigned long long)(cfg->eal.memory >> 20));
	} else { /* the two exclude each other in 22.11; without hugepages there is nothing to share but the
		    config file */
		arg_add(&a, "--no-huge");
		arg_add(&a, "-m%llu", (unsigned long long)(cfg->eal.memory >> 20));
		arg_add(&a, "--no-shconf");
	}
	for (uint32_t i = 0; i < cfg->ports_count; i++)
		if (eal_is_pci_address(cfg->ports[i].device)) {
			arg_add(&a, "-a%s", cfg->ports[i].device);
			pci++;
		}
	if (!pci)
		arg_add(&a, "--no-pci");
	if (a.overflow)
		return err_set(err, -EINVAL, "too many or too long EAL arguments");
	for (int i = 0; i < a.count; i++)
		argv[i] = a.text[i];
	argv[a.count] = NULL;
	if (rte_eal_init(a.count, argv) < 0)
		return err_set(err, -rte_errno, "DPDK did not start: %s%s", rte_strerror(rte_errno),
			cfg->eal.hugepages ? " (no free hugepages? see `sluiced --set eal.hugepages=false`)"
					   : "");
	started = true;
	return 0;
}
