/* Ports: DPDK devices by PCI address or virtual device string, configured for receiving. Control thread at
 * start and for statistics; the queues belong to the workers that poll them. */
#ifndef SLUICE_PORT_H
#define SLUICE_PORT_H

#include <rte_mempool.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "driver.h"
#include "err.h"
#include "frame_file.h"

struct port {
	uint16_t id; /* DPDK port id */
	uint16_t queues;
	bool attached;	  /* made here, so closed here */
	uint32_t decap;	  /* DECAP_* */
	char device[256]; /* EAL device name */
	const struct config_ports *cfg;
	const struct driver_quirks *quirks;
	struct rte_mempool *pool;
	struct driver_state driver;
	struct frame_file *file; /* its frames come from there; NULL: from the driver */
	int multicast_fd;	 /* holds the kernel interface's multicast open; -1: none */
};

/* mbufs that a port's rings, a burst of each queue, the pool's caches of the workers, and `away`, the workers
 * that got frames from others, can hold at once. */
uint64_t port_mbufs_needed(const struct config *cfg, uint32_t port, uint32_t away);
/* What the pool of a port gets: eal.mbufs, or, if that is 0, what is needed, rounded up to what a pool holds
 * best (a power of two less one). */
uint32_t port_mbufs(const struct config *cfg, uint32_t port, uint32_t away);

/* Attaches the device if it is not there yet, configures queues, MTU, RSS, checksum offload, starts it.
 * mbufs: size of its pool, whose mbufs hold a whole frame unless the port can spread one over several. On
 * failure nothing is left behind and err says what to do. */
int port_open(
	struct port *port, const struct config_ports *cfg, uint32_t index, uint32_t mbufs, struct err *err);
void port_close(struct port *port);

#endif
