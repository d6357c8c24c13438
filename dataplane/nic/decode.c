/* Decoding of Ethernet, IPv4, IPv6 and UDP headers of the usual frame. Worker stage: borrows the frame.
 * Every length is checked against the one around it: frame >= IP length >= UDP length. */
#include "decode.h"

#include <rte_branch_prediction.h>
#include <string.h>

#include "decode_fragment.h"

/* Frames ahead of the one in work whose mbuf, then whose bytes, are prefetched. */
#define AHEAD_MBUF 8
#define AHEAD_FRAME 4
#define PREFETCH_BYTES 256u

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_IPV6 0x86ddu
#define IPV4_HEADER_MIN 20u
#define IPV6_HEADER 40u
#define UDP_HEADER 8u
#define PLAIN_HEADERS (14u + IPV4_HEADER_MIN + UDP_HEADER)
#define TAGS_STRIPPED (RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED)

/* Of a port's results GOOD and NONE (whole, though the sum itself is not there) have the bit of GOOD. */
static inline enum drop_reason ipv4_open(
	struct cursor c, uint64_t ol_flags, struct ip_payload *ip, uint8_t *src)
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
	if (!(ol_flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD) && sum_fold(sum_words(h, header, 0)) != 0xffff)
		return DROP_bad_l3_checksum;
	*ip = (struct ip_payload){h + header, total - header, h + 12, 8, h[9]};
	if (unlikely((h[6] & 0x3f) | h[7])) /* more fragments, or an offset */
		ip->next = IP_NEXT_IPV4_FRAGMENT;
	memset(src, 0, 10);
	memset(src + 10, 0xff, 2);
	memcpy(src + 12, h + 12, 4);
	return DROP_NONE;
}

static inline enum drop_reason ipv6_open(struct cursor c, struct ip_payload *ip, uint8_t *src)
{
	const uint8_t *h = cursor_take(&c, IPV6_HEADER);
	uint32_t length;

	if (!h || h[0] >> 4 != 6)
		return DROP_bad_l3;
	length = (uint32_t)h[4] << 8 | h[5];
	if (length > cursor_left(&c))
		return DROP_bad_l3;
	*ip = (struct ip_payload){c.at, length, h + 8, 32, h[6]};
	memcpy(src, h + 8, 16);
	return DROP_NONE;
}

static inline enum drop_reason udp_open(
	const struct decode_around *a, uint64_t ol_flags, const struct ip_payload *ip, struct datagram *dg)
{
	struct cursor c = cursor_of(ip->at, ip->bytes);
	uint16_t checksum, length;
	uint8_t listener;

	dg->src_port = cursor_be16(&c);
	dg->dst_port = cursor_be16(&c);
	length = cursor_be16(&c);
	checksum = cursor_be16(&c);
	if (c.failed || length < UDP_HEADER || length > ip->bytes)
		return DROP_bad_udp;
	listener = a->d->ports->listener_of[dg->dst_port];
	if (!listener)
		return a->decap ? decode_odd_port(a, ol_flags, ip, dg) : DROP_no_listener;
	dg->listener = (uint8_t)(listener - 1);
	if ((ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		return DROP_bad_udp_checksum;
	if (checksum == 0) {
		if (ip->address_bytes == 32) /* RFC 8200 8.1: not optional over IPv6 */
			return DROP_bad_udp_checksum;
	} else if (!(ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) && !udp_sum_good(ip, length)) {
		return DROP_bad_udp_checksum;
	}
	dg->payload = ip->at + UDP_HEADER;
	dg->bytes = length - UDP_HEADER;
	return DROP_NONE;
}

static inline enum drop_reason network_open(const struct decode_around *a, uint64_t ol_flags, struct cursor c,
	uint16_t ethertype, struct datagram *dg)
{
	struct ip_payload ip;
	enum drop_reason why;

	if (ethertype == ETHERTYPE_IPV4)
		why = ipv4_open(c, ol_flags, &ip, dg->src_addr);
	else if (ethertype == ETHERTYPE_IPV6)
		why = ipv6_open(c, &ip, dg->src_addr);
	else
		return decode_odd_ethertype(a, ol_flags, c, ethertype, dg);
	if (why)
		return why;
	if (unlikely(ip.next != IP_NEXT_UDP))
		return decode_odd_ip(a, ol_flags, &ip, dg);
	return udp_open(a, ol_flags, &ip, dg);
}

static inline enum drop_reason ethernet_open(const struct decode_around *a, uint64_t ol_flags,
	const uint8_t *frame, uint32_t bytes, struct datagram *dg)
{
	struct cursor c = cursor_of(frame, bytes);
	uint16_t ethertype;

	cursor_take(&c, 12);
	ethertype = cursor_be16(&c);
	if (c.failed)
		return DROP_bad_l2;
	return network_open(a, ol_flags, c, ethertype, dg);
}

enum drop_reason decode_udp(
	const struct decode_around *a, uint64_t ol_flags, const struct ip_payload *ip, struct datagram *dg)
{
	return udp_open(a, ol_flags, ip, dg);
}

enum drop_reason decode_network(const struct decode_around *a, uint64_t ol_flags, struct cursor c,
	uint16_t ethertype, struct datagram *dg)
{
	return network_open(a, ol_flags, c, ethertype, dg);
}

enum drop_reason decode_ethernet(const struct decode_around *a, uint64_t ol_flags, const uint8_t *frame,
	uint32_t bytes, struct datagram *dg)
{
	return ethernet_open(a, ol_flags, frame, bytes, dg);
}

enum drop_reason decode_frame_any(
	struct decoder *d, const uint8_t *frame, uint32_t bytes, uint64_t ol_flags, struct datagram *dg)
{
	struct decode_around around = {.d = d, .decap = d->decap};

	return ethernet_open(&around, ol_flags, frame, bytes, dg);
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Nearly all frames: IPv4 without options in Ethernet, UDP for a listener, nothing wrong with them. Each
 * field has its place, and each check of ethernet_open() is made. False, and *dg undefined, for all
 * others: they are looked at by that one, which names what is wrong. */
static inline bool decode_plain(const struct decode_ports *ports, const uint8_t *f, uint32_t bytes,
	uint64_t ol_flags, struct datagram *dg)
{
	const uint64_t bad = RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD, half = 0xffffffff;
	uint32_t start, address, total, length;
	uint64_t first, second, mapped;
	struct ip_payload ip;
	uint8_t listener;

	if (bytes < PLAIN_HEADERS || ol_flags & bad)
		return false;
	memcpy(&start, f + 12, 4); /* EtherType, version and header length, service */
	memcpy(&first, f + 14, 8);
	memcpy(&second, f + 22, 8);
	memcpy(&address, f + 30, 4);
	total = be16(f + 16);
	length = be16(f + 38);
	listener = ports->listener_of[be16(f + 36)];
	if ((start & 0xffffff) != 0x450008 || (be16(f + 20) & 0x3fff) || f[23] != IP_NEXT_UDP ||
		total < IPV4_HEADER_MIN + UDP_HEADER || total > bytes - 14 || length < UDP_HEADER ||
		length > total - IPV4_HEADER_MIN || !listener)
		return false;
	/* The header's sum is all ones: a multiple of 0xffff, as 2^16 leaves 1, and not 0, as 0x45 is in it.
	 */
	if (!(ol_flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD) &&
		((first & half) + (first >> 32) + (second & half) + (second >> 32) + address) % 0xffff)
		return false;
	ip = (struct ip_payload){f + 34, total - IPV4_HEADER_MIN, f + 26, 8, IP_NEXT_UDP};
	if ((f[40] | f[41]) && !(ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) && !udp_sum_good(&ip, length))
		return false;
	mapped = 0xffff0000u | second >> 32 << 32; /* ::ffff:a.b.c.d, from byte 8 on */
	memset(dg->src_addr, 0, 8);
	memcpy(dg->src_addr + 8, &mapped, 8);
	dg->src_port = be16(f + 34);
	dg->dst_port = be16(f + 36);
	dg->listener = listener - 1;
	dg->payload = f + PLAIN_HEADERS;
	dg->bytes = length - UDP_HEADER;
	return true;
}

static inline enum drop_reason frame_look(const struct decode_around *a, const uint8_t *frame, uint32_t bytes,
	uint64_t ol_flags, struct datagram *dg)
{
	if (likely(decode_plain(a->d->ports, frame, bytes, ol_flags, dg)))
		return DROP_NONE;
	return ethernet_open(a, ol_flags, frame, bytes, dg);
}

enum drop_reason decode_frame(
	struct decoder *d, const uint8_t *frame, uint32_t bytes, uint64_t ol_flags, struct datagram *dg)
{
	struct decode_around around = {.d = d, .decap = d->decap};

	return frame_look(&around, frame, bytes, ol_flags, dg);
}

/* The parser reads the whole frame soon after: its first lines are asked for here, the rest by the hardware.
 */
static inline void frame_prefetch(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);

	for (uint32_t at = 0; at < PREFETCH_BYTES; at += RTE_CACHE_LINE_SIZE)
		rte_prefetch0(frame + at);
}

uint32_t decode_burst(
	struct decoder *d, struct rte_mbuf *const *mbuf, uint32_t n, uint32_t *next, struct datagram *dg)
{
	struct decode_around around = {.d = d, .decap = d->decap};
	uint32_t i, out = 0;

	if (d->fragments)
		fragment_give_back(d->fragments);
	for (i = *next; i < n; i++) {
		const struct rte_mbuf *m = mbuf[i];
		uint64_t tunnels = d->stats->decapsulated;
		enum drop_reason why;
		uintptr_t left;

		if (i + AHEAD_MBUF < n)
			rte_prefetch0(mbuf[i + AHEAD_MBUF]);
		if (i + AHEAD_FRAME < n)
			frame_prefetch(mbuf[i + AHEAD_FRAME]);
		if (unlikely(m->nb_segs != 1 || m->ol_flags & TAGS_STRIPPED))
			why = decode_odd_mbuf(&around, m, &dg[out]);
		else
			why = frame_look(&around, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len,
				m->ol_flags, &dg[out]);
		if (why) {
			if (why != DECODE_WAITS)
				d->drops[why]++;
			continue;
		}
		dg[out].mbuf = d->stats->decapsulated == tunnels ? m : NULL;
		left = (uintptr_t)m->buf_addr + m->buf_len - (uintptr_t)dg[out].payload;
		dg[out].readable = (uint32_t)left;
		if (unlikely(left > m->buf_len)) { /* in our own memory, which the next one may need */
			dg[out].readable = dg[out].bytes + DECODE_TAIL_BYTES;
			out++;
			i++;
			break;
		}
		out++;
	}
	*next = i;
	return out;
}
