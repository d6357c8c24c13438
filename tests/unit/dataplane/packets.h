/* Frames for tests: Ethernet, IPv4, UDP around a payload, in mbufs of a pool. */
#ifndef SLUICE_TEST_PACKETS_H
#define SLUICE_TEST_PACKETS_H

#include <rte_mbuf.h>
#include <stdint.h>

/* A frame from 10.0.0.<host> to `port`, with right checksums. NULL when the pool is empty. */
struct rte_mbuf *packet_make(
	struct rte_mempool *pool, uint8_t host, uint16_t port, const void *payload, uint32_t bytes);

#endif
