/* The kernel side of af_xdp ports: frames for which a socket's ring had no room, which the PMD of DPDK 22.11
 * does not report. It does report what was dropped for want of a buffer, or for its length (rx_dropped, as
 * imissed). Linux 5.9 tells the two apart (struct xdp_statistics); before that all of it is in rx_dropped.
 * Control thread. */
#include "driver.h"

#include <linux/if_xdp.h>
#include <sys/socket.h>

#define SOCKETS_MAX 1024u

/* Nothing says of which interface a socket is: those of a port are what was not there before it was opened.
 */
static int taken[SOCKETS_MAX];
static uint32_t taken_count;

static bool is_taken(int fd)
{
	for (uint32_t i = 0; i < taken_count; i++)
		if (taken[i] == fd)
			return true;
	return false;
}

static void socket_take(int fd, void *arg)
{
	struct driver_state *st = arg;

	if (is_taken(fd) || taken_count == SOCKETS_MAX || st->socket_count == DRIVER_SOCKETS_MAX)
		return;
	taken[taken_count++] = fd;
	st->socket[st->socket_count++] = fd;
}

void af_xdp_opened(struct driver_state *st)
{
	st->socket_count = 0;
	driver_sockets(AF_XDP, socket_take, st);
}

void af_xdp_closed(struct driver_state *st)
{
	for (uint32_t i = 0; i < st->socket_count; i++)
		for (uint32_t k = 0; k < taken_count; k++)
			if (taken[k] == st->socket[i])
				taken[k--] = taken[--taken_count];
	st->socket_count = 0;
}

uint64_t af_xdp_kernel_drops(struct driver_state *st)
{
	uint64_t drops = 0;

	for (uint32_t i = 0; i < st->socket_count; i++) {
		struct xdp_statistics now = {0};
		socklen_t bytes = sizeof now;

		if (getsockopt(st->socket[i], SOL_XDP, XDP_STATISTICS, &now, &bytes) == 0)
			drops += now.rx_ring_full;
	}
	return st->socket_count ? drops : UINT64_MAX;
}
