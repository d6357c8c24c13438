/* The link of a kernel interface behind a port, which its driver in DPDK calls "up" whatever happens to it,
 * its multicast, and the sockets of drivers. Control thread. */
#include <dirent.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver.h"

bool kernel_link_up(int ifindex)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ask = {0};
	bool up;

	if (fd < 0)
		return false;
	/* By number, since an interface that was made anew under the same name is not the port's. */
	up = if_indextoname((unsigned)ifindex, ask.ifr_name) && ioctl(fd, SIOCGIFFLAGS, &ask) == 0 &&
	     (ask.ifr_flags & IFF_UP) && (ask.ifr_flags & IFF_RUNNING);
	close(fd);
	return up;
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
