/* The kernel side of af_packet ports: losses in the kernel's ring that the PMD does not report, and the check
 * that the kernel will not answer for us. Control thread. */
#include "driver.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"

/* Adds the drops of packet socket fd, if it is on the port's interface. */
static void socket_drops(int fd, void *arg)
{
	struct driver_state *port = arg;
	union {
		struct tpacket_stats v1;
		struct tpacket_stats_v3 v3;
	} st = {0};
	struct sockaddr_ll addr = {0};
	socklen_t bytes = sizeof addr;

	if (getsockname(fd, (struct sockaddr *)&addr, &bytes) || addr.sll_ifindex != port->ifindex)
		return;
	bytes = sizeof st;
	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &st, &bytes) == 0)
		port->kernel_drops += st.v1.tp_drops;
}

uint64_t af_packet_kernel_drops(struct driver_state *st)
{
	driver_sockets(AF_PACKET, socket_drops, st);
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
