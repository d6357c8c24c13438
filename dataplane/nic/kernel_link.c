/* The link of a kernel interface behind a port, which its driver in DPDK calls "up" whatever happens to it,
 * its MTU, its multicast, and the sockets of drivers. Control thread. */
#include <dirent.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver.h"

/* By number, since an interface that was made anew under the same name is not the port's. */
static bool kernel_ask(int ifindex, unsigned long what, struct ifreq *ask)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool known;

	if (fd < 0)
		return false;
	*ask = (struct ifreq){0};
	known = if_indextoname((unsigned)ifindex, ask->ifr_name) && ioctl(fd, what, ask) == 0;
	close(fd);
	return known;
}

bool kernel_link_up(int ifindex)
{
	struct ifreq ask;

	return kernel_ask(ifindex, SIOCGIFFLAGS, &ask) && (ask.ifr_flags & IFF_UP) &&
	       (ask.ifr_flags & IFF_RUNNING);
}

uint32_t kernel_mtu(int ifindex)
{
	struct ifreq ask;

	return kernel_ask(ifindex, SIOCGIFMTU, &ask) && ask.ifr_mtu > 0 ? (uint32_t)ask.ifr_mtu : 0;
}

int kernel_multicast_open(int ifindex)
{
	/* Of no protocol: it gets no frame. */
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
	struct packet_mreq all = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_ALLMULTI};

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) == 0)
		return fd < 0 ? -errno : fd;
	rc = -errno;
	close(fd);
	return rc;
}

static bool is_socket_of(int fd, int domain)
{
	int is = 0;
	socklen_t bytes = sizeof is;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &is, &bytes) == 0 && is == domain;
}

void driver_sockets(int domain, void (*each)(int fd, void *arg), void *arg)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char *end;
		long fd = strtol(entry->d_name, &end, 10);

		if (end != entry->d_name && !*end && fd != dirfd(dir) && is_socket_of((int)fd, domain))
			each((int)fd, arg);
	}
	closedir(dir);
}
