/* See port_tx.h. A mutex: whoever waits sleeps, since who holds it makes a system call. */
#include "port_tx.h"

#include <pthread.h>
#include <rte_ethdev.h>
#include <rte_pause.h>

#include "race.h"

/* Some microseconds: whoever sends one datagram after the other lets go between them. */
#define TRIES 256u

/* By DPDK port id, as queues are. */
static pthread_mutex_t sending[RTE_MAX_ETHPORTS] = {[0 ... RTE_MAX_ETHPORTS - 1] = PTHREAD_MUTEX_INITIALIZER};

static bool send_one(uint16_t port, struct rte_mbuf *m)
{
	bool sent;

	race_given(m);
	sent = rte_eth_tx_burst(port, 0, &m, 1) == 1;
	pthread_mutex_unlock(&sending[port]);
	return sent;
}

bool port_tx(uint16_t port, struct rte_mbuf *m)
{
	pthread_mutex_lock(&sending[port]);
	return send_one(port, m);
}

bool port_tx_try(uint16_t port, struct rte_mbuf *m)
{
	for (uint32_t i = 0; i < TRIES; i++) {
		if (pthread_mutex_trylock(&sending[port]) == 0)
			return send_one(port, m);
		rte_pause();
	}
	return false;
}
