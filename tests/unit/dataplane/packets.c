/* Frames for tests. */
#include "packets.h"

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>
#include <string.h>

#include "race.h"

struct rte_mbuf *packet_make(
	struct rte_mempool *pool, uint8_t host, uint16_t port, const void *payload, uint32_t bytes)
{
	struct rte_mbuf *m = rte_mbuf_raw_alloc(pool);
	struct rte_ether_hdr *eth;
	struct rte_ipv4_hdr *ip;
	struct rte_udp_hdr *udp;

	if (!m)
		return NULL;
	race_taken(m);
	rte_pktmbuf_reset(m);
	eth = (struct rte_ether_hdr *)rte_pktmbuf_append(m, (uint16_t)(42 + bytes));
	if (!eth)
		abort();
	memset(eth, 2, 12);
	eth->ether_type = RTE_BE16(0x0800);
	ip = (struct rte_ipv4_hdr *)(eth + 1);
	memset(ip, 0, sizeof *ip);
	ip->version_ihl = 0x45;
	ip->total_length = rte_cpu_to_be_16((uint16_t)(28 + bytes));
	ip->time_to_live = 64;
	ip->next_proto_id = 17;
	ip->src_addr = rte_cpu_to_be_32(0x0a000000u | host);
	ip->dst_addr = RTE_BE32(0x0a000102);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	udp = (struct rte_udp_hdr *)(ip + 1);
	udp->src_port = RTE_BE16(5555);
	udp->dst_port = rte_cpu_to_be_16(port);
	udp->dgram_len = rte_cpu_to_be_16((uint16_t)(8 + bytes));
	udp->dgram_cksum = 0;
	memcpy(udp + 1, payload, bytes);
	udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
	race_given(m);
	return m;
}
