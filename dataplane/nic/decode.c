/* Decoding of Ethernet, IPv4, IPv6 and UDP headers. Worker stage: pure, borrows the frame.
 * Every length is checked against the one around it: frame >= IP length >= UDP length. */
#include "decode.h"

#include <string.h>

#include "cursor.h"

/* Frames ahead of the one in work whose mbuf, then whose bytes, are prefetched. */
#define AHEAD_MBUF 8
#define AHEAD_FRAME 4
#define PREFETCH_BYTES 256u

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_IPV6 0x86ddu
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_QINQ 0x88a8u
#define IPPROTO_NUMBER_UDP 17u
#define IPV4_HEADER_MIN 20u
#define UDP_HEADER 8u

/* One's complement sum of 16-bit words (RFC 1071), in host order of the loads: the fold is order-independent.
 */
static uint64_t sum_words(const uint8_t *p, uint32_t bytes, uint64_t sum)
{
	uint32_t tail = 0;

	for (; bytes >= 8; bytes -= 8, p += 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		sum += (v & 0xffffffffu) + (v >> 32);
	}
	if (bytes >= 4) {
		uint32_t v;

		memcpy(&v, p, 4);
		sum += v;
		bytes -= 4;
		p += 4;
	}
	memcpy(&tail, p, bytes);
	return sum + tail;
}

static uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffu) + (sum >> 16);
	sum = (sum & 0xffffu) + (sum >> 16);
	return (uint16_t)sum;
}

/* addresses: source and destination as they stand in the IP header. True if the sum over pseudo header, UDP
 * header and data is all ones. */
static bool udp_sum_good(const uint8_t *addresses, uint32_t address_bytes, const uint8_t *udp, uint32_t bytes)
{
	uint64_t sum = sum_words(addresses, address_bytes, 0);

	sum += (uint64_t)__builtin_bswap16((uint16_t)bytes) + __builtin_bswap16(IPPROTO_NUMBER_UDP);
	return sum_fold(sum_words(udp, bytes, sum)) == 0xffff;
}

struct ip_payload {
	const uint8_t *at;
	uint32_t bytes;
	const uint8_t *addresses;
	uint32_t address_bytes;
};

static enum drop_reason decode_ipv4(struct cursor c, uint64_t ol_flags, struct ip_payload *ip, uint8_t *src)
{
	const uint8_t *h = c.at;
	uint32_t header, total;

	if (cursor_left(&c) < IPV4_HEADER_MIN)
		return DROP_bad_l3;
	header = (h[0] & 15u) * 4u;
	total = (uint32_t)h[2] << 8 | h[3];
	if (h[0] >> 4 != 4 || header < IPV4_HEADER_MIN || total < header || total > cursor_left(&c))
		return DROP_bad_l3;
	if ((ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_BAD)
		return DROP_bad_l3_checksum;
	if ((ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) != RTE_MBUF_F_RX_IP_CKSUM_GOOD &&
		sum_fold(sum_words(h, header, 0)) != 0xffff)
		return DROP_bad_l3_checksum;
	if ((h[6] & 0x3f) | h[7]) /* more fragments, or an offset */
		return DROP_fragment;
	if (h[9] != IPPROTO_NUMBER_UDP)
		return DROP_not_udp;
	*ip = (struct ip_payload){h + header, total - header, h + 12, 8};
	memset(src, 0, 10);
	memset(src + 10, 0xff, 2);
	memcpy(src + 12, h + 12, 4);
	return DROP_NONE;
}

/* True for next-header numbers that are extension headers (RFC 8200 section 4, RFC 4302, 4303, 7401, 5533).
 */
static bool ipv6_is_extension(uint8_t next)
{
	return next == 0 || next == 43 || next == 50 || next == 51 || next == 60 || next == 135 ||
	       next == 139 || next == 140;
}

static enum drop_reason decode_ipv6(struct cursor c, struct ip_payload *ip, uint8_t *src)
{
	const uint8_t *h = cursor_take(&c, 40);
	uint32_t length;

	if (!h || h[0] >> 4 != 6)
		return DROP_bad_l3;
	length = (uint32_t)h[4] << 8 | h[5];
	if (length > cursor_left(&c))
		return DROP_bad_l3;
	if (h[6] == 44)
		return DROP_fragment;
	if (ipv6_is_extension(h[6]))
		return DROP_ip_extension;
	if (h[6] != IPPROTO_NUMBER_UDP)
		return DROP_not_udp;
	*ip = (struct ip_payload){c.at, length, h + 8, 32};
	memcpy(src, h + 8, 16);
	return DROP_NONE;
}

static enum drop_reason decode_udp(
	const struct decode_ports *ports, const struct ip_payload *ip, uint64_t ol_flags, struct datagram *dg)
{
	struct cursor c = cursor_of(ip->at, ip->bytes);
	uint16_t checksum, length;
	uint64_t checked = ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	dg->src_port = cursor_be16(&c);
	dg->dst_port = cursor_be16(&c);
	length = cursor_be16(&c);
	checksum = cursor_be16(&c);
	if (c.failed || length < UDP_HEADER || length > ip->bytes)
		return DROP_bad_udp;
	if (!ports->listener_of[dg->dst_port])
		return DROP_no_listener;
	dg->listener = (uint8_t)(ports->listener_of[dg->dst_port] - 1);
	if (checked == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		return DROP_bad_udp_checksum;
	if (checksum == 0) {
		if (ip->address_bytes == 32) /* RFC 8200 8.1: not optional over IPv6 */
			return DROP_bad_udp_checksum;
	} else if (checked != RTE_MBUF_F_RX_L4_CKSUM_GOOD &&
		   !udp_sum_good(ip->addresses, ip->address_bytes, ip->at, length)) {
		return DROP_bad_udp_checksum;
	}
	dg->payload = ip->at + UDP_HEADER;
	dg->bytes = length - UDP_HEADER;
	return DROP_NONE;
}

enum drop_reason decode_frame(const struct decode_ports *ports, const uint8_t *frame, uint32_t bytes,
	uint64_t ol_flags, struct datagram *dg)
{
	struct cursor c = cursor_of(frame, bytes);
	struct ip_payload ip;
	enum drop_reason why;
	uint16_t ethertype;

	cursor_take(&c, 12);
	ethertype = cursor_be16(&c);
	if (c.failed)
		return DROP_bad_l2;
	if (ethertype == ETHERTYPE_IPV4)
		why = decode_ipv4(c, ol_flags, &ip, dg->src_addr);
	else if (ethertype == ETHERTYPE_IPV6)
		why = decode_ipv6(c, &ip, dg->src_addr);
	else
		return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ ? DROP_vlan : DROP_not_ip;
	return why ? why : decode_udp(ports, &ip, ol_flags, dg);
}

/* The parser reads the whole frame soon after: its first lines are asked for here, the rest by the hardware.
 */
static inline void frame_prefetch(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);

	for (uint32_t at = 0; at < PREFETCH_BYTES; at += RTE_CACHE_LINE_SIZE)
		rte_prefetch0(frame + at);
}

uint32_t decode_burst(const struct decode_ports *ports, struct rte_mbuf *const *mbuf, uint32_t n,
	struct datagram *dg, uint64_t *drops)
{
	uint32_t out = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct rte_mbuf *m = mbuf[i];
		const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
		enum drop_reason why;

		if (i + AHEAD_MBUF < n)
			rte_prefetch0(mbuf[i + AHEAD_MBUF]);
		if (i + AHEAD_FRAME < n)
			frame_prefetch(mbuf[i + AHEAD_FRAME]);
		if (m->nb_segs != 1) {
			drops[DROP_chained_mbuf]++;
			continue;
		}
		why = decode_frame(ports, frame, m->data_len, m->ol_flags, &dg[out]);
		if (why) {
			drops[why]++;
			continue;
		}
		dg[out].mbuf = m;
		dg[out].readable = (uint32_t)((const uint8_t *)m->buf_addr + m->buf_len - dg[out].payload);
		out++;
	}
	return out;
}
