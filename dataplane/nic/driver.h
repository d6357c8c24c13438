/* What is particular to one driver, in one table: which counters it really has, where its hidden losses are
 * read, and whether its input has an end. */
#ifndef SLUICE_DRIVER_H
#define SLUICE_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define DRIVER_SOCKETS_MAX 64u

/* Per port; control thread only. */
struct driver_state {
	int ifindex;	       /* kernel interface behind the port, or 0 */
	uint64_t kernel_drops; /* summed: reading PACKET_STATISTICS clears it */
	uint32_t socket_count; /* af_xdp: those of its queues, which are the PMD's */
	int socket[DRIVER_SOCKETS_MAX];
};

struct driver_quirks {
	const char *driver; /* as in rte_eth_dev_info.driver_name; NULL = any other */
	bool has_missed, has_no_mbuf, has_errors;
	/* Drops in the kernel behind the port since it was opened; NULL = there is no such place. UINT64_MAX:
	 * they cannot be seen. */
	uint64_t (*kernel_drops)(struct driver_state *st);
	/* After a port has been started, and before it is closed; NULL = nothing to do. */
	void (*opened)(struct driver_state *st);
	void (*closed)(struct driver_state *st);
	/* Checks the kernel interface behind the port before start (must not answer for us); NULL = none. */
	int (*check)(const char *iface, struct err *err);
	/* The argument that names the kernel interface, as "iface"; NULL = none. */
	const char *iface_arg;
	/* Its queues take frames before the port stands: of other interfaces, or the same one on each queue.
	 */
	bool has_early_frames;
	/* The argument that says how large the kernel's frames are, each of which must fit one mbuf; such a
	 * port has the MTU of its interface. NULL: the MTU is set by DPDK. */
	const char *frame_arg;
	/* The kernel puts frames into a ring of hundreds of them, no faster than it can: whoever polls may
	 * sleep for a millisecond, where a NIC at line rate fills its ring. */
	bool kernel_gathers;
};

const struct driver_quirks *driver_quirks_of(const char *driver_name);

/* The value of key in "name,k=v,k=v". False if it is not there. */
bool driver_arg(const char *device, const char *key, char *out, uint32_t bytes);

/* What a kernel frame of such a port holds besides an IP packet: its own head, the Ethernet header, a tag. */
#define DRIVER_FRAME_HEAD 80u

/* True for a device that reads a file to its end: net_pcap with rx_pcap and without infinite_rx. */
bool driver_is_finite(const char *device);

/* kernel_link.c: it is there, up, and has a carrier. */
bool kernel_link_up(int ifindex);
/* Its MTU, whatever the driver in DPDK says: the kernel drops longer packets. 0: unknown, as of no
 * interface. */
uint32_t kernel_mtu(int ifindex);
/* The interface takes frames for all multicast addresses until what is returned is closed; or -errno. */
int kernel_multicast_open(int ifindex);
/* The process's sockets of a domain: a PMD keeps its own to itself. */
void driver_sockets(int domain, void (*each)(int fd, void *arg), void *arg);

/* af_packet.c */
uint64_t af_packet_kernel_drops(struct driver_state *st);
int kernel_iface_check(const char *iface, struct err *err);

/* af_xdp.c */
void af_xdp_opened(struct driver_state *st);
void af_xdp_closed(struct driver_state *st);
uint64_t af_xdp_kernel_drops(struct driver_state *st);

#endif
