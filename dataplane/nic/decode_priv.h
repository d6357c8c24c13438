/* Private to decoding. decode.c has the path of the usual frame: one mbuf, no tag, no option or extension,
 * whole. All that is not so is decoded by functions that are called from there, and come back to it. */
#ifndef SLUICE_DECODE_PRIV_H
#define SLUICE_DECODE_PRIV_H

#include "cursor.h"
#include "decode.h"
#include "decode_sum.h"

#define IP_NEXT_HOP_BY_HOP 0u
#define IP_NEXT_UDP 17u
#define IP_NEXT_ROUTING 43u
#define IP_NEXT_FRAGMENT 44u
#define IP_NEXT_GRE 47u
#define IP_NEXT_DESTINATION 60u
#define IP_NEXT_IPV4_FRAGMENT 256u /* no number of a protocol: an IPv4 header that says so */

/* Around a packet; the same for all usual frames of a burst. */
struct decode_around {
	struct decoder *d;
	uint32_t tags;	 /* VLAN tags before this header */
	uint32_t decap;	 /* DECAP_*: tunnels that are taken off */
	uint64_t domain; /* where addresses have their meaning: tags and tunnel, mixed; 0: none */
};

struct ip_payload {
	const uint8_t *at;
	uint32_t bytes;
	const uint8_t *addresses; /* source, destination, as they stand in the IP header */
	uint32_t address_bytes;	  /* of both: 8 or 32 */
	uint32_t next;		  /* IP_NEXT_*, or another protocol or extension */
};

/* True if the sum over pseudo header, UDP header and data is all ones. */
static __attribute__((noinline, unused)) bool udp_sum_good(const struct ip_payload *ip, uint32_t bytes)
{
	uint64_t sum = sum_words(ip->addresses, ip->address_bytes, 0);

	sum += (uint64_t)__builtin_bswap16((uint16_t)bytes) + __builtin_bswap16(IP_NEXT_UDP);
	return sum_fold(sum_words(ip->at, bytes, sum)) == 0xffff;
}

/* decode.c */
/* From the Ethernet header on. */
enum drop_reason decode_ethernet(const struct decode_around *a, uint64_t ol_flags, const uint8_t *frame,
	uint32_t bytes, struct datagram *dg);
/* From behind an ethertype. */
enum drop_reason decode_network(const struct decode_around *a, uint64_t ol_flags, struct cursor c,
	uint16_t ethertype, struct datagram *dg);
/* From the UDP header on; dg->src_addr is filled. */
enum drop_reason decode_udp(
	const struct decode_around *a, uint64_t ol_flags, const struct ip_payload *ip, struct datagram *dg);

/* decode_odd.c */
/* A frame in several mbufs, or one whose tags the port has taken off. */
enum drop_reason decode_odd_mbuf(
	const struct decode_around *a, const struct rte_mbuf *m, struct datagram *dg);
/* An ethertype that is neither IPv4 nor IPv6. */
enum drop_reason decode_odd_ethertype(const struct decode_around *a, uint64_t ol_flags, struct cursor c,
	uint16_t ethertype, struct datagram *dg);
/* An IP packet whose next header is not UDP, or a fragment. */
enum drop_reason decode_odd_ip(
	const struct decode_around *a, uint64_t ol_flags, const struct ip_payload *ip, struct datagram *dg);

/* decode_tunnel.c */
/* UDP to a port without a listener; its header fits, and dg->dst_port is filled. */
enum drop_reason decode_odd_port(
	const struct decode_around *a, uint64_t ol_flags, const struct ip_payload *ip, struct datagram *dg);
enum drop_reason decode_gre(const struct decode_around *a, const struct ip_payload *ip, struct datagram *dg);

#endif
