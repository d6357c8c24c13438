/* Sending on queue 0 of a port: the acker and the workers that answer for the port's addresses do, so each
 * port has a lock. */
#ifndef SLUICE_PORT_TX_H
#define SLUICE_PORT_TX_H

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

/* Sends m on DPDK port `port` and takes it; false: it was not taken. Waits for others that send: not for
 * workers. */
bool port_tx(uint16_t port, struct rte_mbuf *m);
/* The same; false as well when another one sends for more than some microseconds. */
bool port_tx_try(uint16_t port, struct rte_mbuf *m);

#endif
