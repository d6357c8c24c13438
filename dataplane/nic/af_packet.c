/* The kernel side of af_packet ports: losses in the kernel's ring that the PMD does not report, and the check
 * that the kernel will not answer for us. Control thread. */
#include "driver.h"

#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"

/* The drops of socket fd if it is a packet socket on ifindex, else 0. */
static uint64_t socket_drops(int fd, int ifindex)
{
	union {
		struct tpacket_stats v1;
		struct tpacket_stats_v3 v3;
	} st = {0};
	struct sockaddr_ll addr = {0};
	socklen_t bytes = sizeof addr;
	int domain = 0;
	socklen_t domain_bytes = sizeof domain;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_bytes) || domain != AF_PACKET)
		return 0;
	if (getsockname(fd, (struct sockaddr *)&addr, &bytes) || addr.sll_ifindex != ifindex)
		return 0;
	bytes = sizeof st;
	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &st, &bytes))
		return 0;
	return st.v1.tp_drops;
}

/* The PMD keeps its sockets to itself, so they are found among the process's descriptors. */
uint64_t af_packet_kernel_drops(struct driver_state *st)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	if (!dir)
		return st->kernel_drops;
	while ((entry = readdir(dir))) {
		char *end;
		long fd = strtol(entry->d_name, &end, 10);

		if (end != entry->d_name && !*end && fd != dirfd(dir))
			st->kernel_drops += socket_drops((int)fd, st->ifindex);
	}
	closedir(dir);
	return st->kernel_drops;
}

int kernel_iface_check(const char *iface, struct err *err)
{
	struct ifaddrs *list, *a;

	if (!if_nametoindex(iface))
		return err_set(err, -ENODEV, "interface %s does not exist", iface);
	if (getifaddrs(&list))
		return 0;
	for (a = list; a; a = a->ifa_next) {
		int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC;

		if (strcmp(a->ifa_name, iface) != 0 || (family != AF_INET && family != AF_INET6))
			continue;
		log_warn("nic",
			"interface %s has an %s address: the kernel will answer datagrams for it with ICMP "
			"errors, and "
			"connected senders will fail; remove the address or drop the listeners' ports in the "
			"firewall",
			iface, family == AF_INET ? "IPv4" : "IPv6");
		break;
	}
	freeifaddrs(list);
	return 0;
}
