/* The link of a kernel interface behind a port: its driver in DPDK says "up" whatever happens to it. Control
 * thread. */
#include <net/if.h>
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
