/* A UDP datagram back to where one came from. The acker's thread. Formats: IEEE 802.3, RFC 791, RFC 8200, RFC
 * 768. */
#include <rte_ip.h>
#include <rte_udp.h>
#include <string.h>

#include "acker_priv.h"
#include "port_tx.h"
#include "race.h"

#define TTL 64u
#define SEND_TRIES 8u

static uint8_t *put_l2(uint8_t *to, const struct ack_word *path)
{
	memcpy(to, path->l2 + 6, 6);
	memcpy(to + 6, path->l2, 6);
	memcpy(to + 12, path->l2 + 12, path->l2_bytes - 12u);
	return to + path->l2_bytes;
}

static void put_udp(
	struct rte_udp_hdr *udp, const struct ack_word *path, const uint8_t *payload, uint32_t bytes)
{
	udp->src_port = rte_cpu_to_be_16(path->dst_port);
	udp->dst_port = rte_cpu_to_be_16(path->src_port);
	udp->dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof *udp + bytes));
	udp->dgram_cksum = 0;
	memcpy(udp + 1, payload, bytes);
}

static void put_ipv4(uint8_t *to, const struct ack_word *path, const uint8_t *payload, uint32_t bytes)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)to;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

	memset(ip, 0, sizeof *ip);
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof *ip + sizeof *udp + bytes));
	ip->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
	ip->time_to_live = TTL;
	ip->next_proto_id = IPPROTO_UDP;
	memcpy(&ip->src_addr, path->dst_addr + 12, 4);
	memcpy(&ip->dst_addr, path->src_addr + 12, 4);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	put_udp(udp, path, payload, bytes);
	udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
}

static void put_ipv6(uint8_t *to, const struct ack_word *path, const uint8_t *payload, uint32_t bytes)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)to;
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

	memset(ip, 0, sizeof *ip);
	ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
	ip->payload_len = rte_cpu_to_be_16((uint16_t)(sizeof *udp + bytes));
	ip->proto = IPPROTO_UDP;
	ip->hop_limits = TTL;
	memcpy(ip->src_addr, path->dst_addr, 16);
	memcpy(ip->dst_addr, path->src_addr, 16);
	put_udp(udp, path, payload, bytes);
	udp->dgram_cksum = rte_ipv6_udptcp_cksum(ip, udp);
}

bool ack_send(struct acker *a, const struct ack_word *path, const uint8_t *payload, uint32_t bytes)
{
	uint32_t ip_bytes = path->ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);
	struct rte_mbuf *m = rte_pktmbuf_alloc(a->pool);
	uint8_t *to = NULL;
	bool sent = false;

	if (m)
		race_taken(m);
	if (m)
		to = (uint8_t *)rte_pktmbuf_append(
			m, (uint16_t)(path->l2_bytes + ip_bytes + sizeof(struct rte_udp_hdr) + bytes));
	if (to) {
		to = put_l2(to, path);
		(path->ipv6 ? put_ipv6 : put_ipv4)(to, path, payload, bytes);
		for (uint32_t i = 0; i < SEND_TRIES && !sent; i++)
			sent = port_tx(path->eth_port, m);
	}
	if (!sent) {
		rte_pktmbuf_free(m);
		ack_count(&a->stats.unsent, 1);
	}
	return sent;
}
