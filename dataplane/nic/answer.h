/* Answers of ports that have addresses (ports.addresses; what is answered: neighbour.h). Workers answer what
 * they have decoded as nothing for a listener: each has an answerer. */
#ifndef SLUICE_ANSWER_H
#define SLUICE_ANSWER_H

#include <rte_ethdev.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "neighbour.h"
#include "neighbour_stats.h"
#include "port.h"

/* Of each worker and budget. Each answer is a system call on af_packet. */
#define ANSWERS_PER_SECOND 100u
/* Neighbours who ask us alone, those who ask all, pings. */
enum { ANSWER_ONE, ANSWER_ALL, ANSWER_PING, ANSWER_BUDGETS };

/* By DPDK port id; constant while workers run. */
struct answer_ports {
	struct answer_port {
		struct neighbour_table table; /* without addresses: nothing is answered */
		struct rte_mempool *pool;
		uint32_t index; /* in the configuration */
		uint32_t mtu;	/* the interface's of the kernel, else ports.mtu: no longer answer is sent */
	} of[RTE_MAX_ETHPORTS];
};

/* One worker's. */
struct answerer {
	const struct answer_ports *ports;
	struct neighbour_stats *stats;
	uint64_t second;		    /* of the last question */
	uint32_t in_second[ANSWER_BUDGETS]; /* answers in it */
	uint32_t unsent[ANSWER_BUDGETS];    /* tries in it that were none: they count as much */
};

/* Worker: looks at a frame of DPDK port `id` that no listener gets. True: it was a question for us, and is
 * counted. */
bool answer_frame(struct answerer *a, uint16_t id, const struct rte_mbuf *m, uint64_t now_ns);

/* Control thread, before the workers run (answer_setup.c). Notes an open port; one without addresses answers
 * nothing. Returns 0 or -EINVAL: no addresses, or the port says no MAC address. */
int answer_port_add(struct answer_ports *ports, const struct port *port, uint32_t index, struct err *err);
/* Tells the network which addresses the port has. */
void answer_announce(const struct answer_ports *ports, const struct port *port);

#endif
