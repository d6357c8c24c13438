/* Decoding of Ethernet, IPv4, IPv6 and UDP headers of the usual frame. Worker stage: borrows the frame.
 * Every length is checked against the one around it: frame >= IP length >= UDP length. */
#include "decode.h"

#include <rte_branch_prediction.h>
#include <string.h>

#include "answer.h"
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

static __attribute__((noinline)) bool plain_sum_good(const uint8_t *f, uint32_t room, uint32_t length)
{
	const struct ip_payload ip = {f + 34, room, f + 26, 8, IP_NEXT_UDP};

	return udp_sum_good(&ip, length);
}

/* Nearly all frames: IPv4 without options in Ethernet, UDP for a listener, nothing wrong with them. Each
 * field has its place, and each check of ethernet_open() is made. False, and *dg undefined, for all
 * others: they are looked at by that one, which names what is wrong. */
static inline bool decode_plain(const struct decode_ports *ports, const uint8_t *f, uint32_t bytes,
	uint64_t ol_flags, struct datagram *dg)
{
	const uint64_t bad = RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD, half = 0xffffffff;
	/* of first: version and header length, fragment bits and offset */
	const uint64_t shape = 0xff3f0000000000ff, whole = 0x45;
	uint64_t first, second, mapped, udp;
	uint32_t address, length, room;
	uint16_t ethertype;
	int32_t total;
	uint8_t listener;

	if (bytes < PLAIN_HEADERS || ol_flags & bad)
		return false;
	memcpy(&ethertype, f + 12, 2);
	memcpy(&first, f + 14, 8);  /* version to fragment offset */
	memcpy(&second, f + 22, 8); /* time to live, protocol, checksum, source */
	memcpy(&address, f + 30, 4);
	memcpy(&udp, f + 34, 8);
	udp = __builtin_bswap64(udp); /* high to low: source port, destination port, length, checksum */
	total = __builtin_bswap16((uint16_t)(first >> 16));
	length = (uint16_t)(udp >> 16);
	room = (uint32_t)(total - (int32_t)IPV4_HEADER_MIN);
	listener = ports->listener_of[(uint16_t)(udp >> 32)];
	if (ethertype != __builtin_bswap16(ETHERTYPE_IPV4) || (first & shape) != whole ||
		f[23] != IP_NEXT_UDP || total > (int32_t)bytes - 14 || length < UDP_HEADER ||
		(int32_t)length > (int32_t)room || !listener)
		return false;
	/* The header's sum is all ones: a multiple of 0xffff, as 2^16 leaves 1, and not 0, as 0x45 is in it.
	 */
	if (!(ol_flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD) &&
		((first & half) + (first >> 32) + (second & half) + (second >> 32) + address) % 0xffff)
		return false;
	if ((uint16_t)udp && !(ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) && !plain_sum_good(f, room, length))
		return false;
	mapped = 0xffff0000u | second >> 32 << 32; /* ::ffff:a.b.c.d, from byte 8 on */
	memset(dg->src_addr, 0, 8);
	memcpy(dg->src_addr + 8, &mapped, 8);
	dg->src_port = (uint16_t)(udp >> 48);
	dg->dst_port = (uint16_t)(udp >> 32);
	dg->listener = listener - 1;
	dg->payload = f + PLAIN_HEADERS;
	dg->bytes = length - UDP_HEADER;
	return true;
}

enum drop_reason decode_frame(
	struct decoder *d, const uint8_t *frame, uint32_t bytes, uint64_t ol_flags, struct datagram *dg)
{
	if (likely(decode_plain(d->ports, frame, bytes, ol_flags, dg)))
		return DROP_NONE;
	return decode_frame_any(d, frame, bytes, ol_flags, dg);
}

/* The parser reads the whole frame soon after: its first lines are asked for here, the rest by the hardware.
 */
static inline void frame_prefetch(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);

	for (uint32_t at = 0; at < PREFETCH_BYTES; at += RTE_CACHE_LINE_SIZE)
		rte_prefetch0(frame + at);
}

/* A frame without a datagram: it may be a question for the port itself. */
static __attribute__((noinline, cold)) enum drop_reason mbuf_other(
	const struct decoder *d, const struct rte_mbuf *m, enum drop_reason why)
{
	if ((why == DROP_not_ip || why == DROP_not_udp) && d->answerer &&
		answer_frame(d->answerer, d->port, m, d->now_ns))
		return DECODE_WAITS;
	return why;
}

/* A frame that is none of the usual ones. Returns the reason, DECODE_WAITS, or DROP_NONE with all of *dg. */
static __attribute__((noinline)) enum drop_reason mbuf_look(
	struct decoder *d, const struct rte_mbuf *m, struct datagram *dg)
{
	struct decode_around around = {.d = d, .decap = d->decap};
	uint64_t tunnels = d->stats->decapsulated;
	enum drop_reason why;
	uintptr_t left;

	if (m->nb_segs != 1 || m->ol_flags & TAGS_STRIPPED)
		why = decode_odd_mbuf(&around, m, dg);
	else
		why = ethernet_open(
			&around, m->ol_flags, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, dg);
	if (why)
		return mbuf_other(d, m, why);
	dg->mbuf = d->stats->decapsulated == tunnels ? m : NULL;
	left = (uintptr_t)m->buf_addr + m->buf_len - (uintptr_t)dg->payload;
	dg->readable = left > m->buf_len ? dg->bytes + DECODE_TAIL_BYTES : (uint32_t)left;
	return DROP_NONE;
}

static inline bool in_mbuf(const struct rte_mbuf *m, const struct datagram *dg)
{
	return (uintptr_t)dg->payload - (uintptr_t)m->buf_addr <= m->buf_len;
}

uint32_t decode_burst(
	struct decoder *d, struct rte_mbuf *const *mbuf, uint32_t n, uint32_t *next, struct datagram *dg)
{
	const struct decode_ports *ports = d->ports;
	struct datagram *out = dg;
	uint32_t i;

	if (d->fragments)
		fragment_give_back(d->fragments);
	for (i = *next; i < n; i++) {
		const struct rte_mbuf *m = mbuf[i];
		enum drop_reason why;

		if (i + AHEAD_MBUF < n)
			rte_prefetch0(mbuf[i + AHEAD_MBUF]);
		if (i + AHEAD_FRAME < n)
			frame_prefetch(mbuf[i + AHEAD_FRAME]);
		if (likely(m->nb_segs == 1 && !(m->ol_flags & TAGS_STRIPPED) &&
			    decode_plain(ports, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len,
				    m->ol_flags, out))) {
			out->mbuf = m;
			out->readable = (uint32_t)m->buf_len - m->data_off - PLAIN_HEADERS;
			out++;
			continue;
		}
		why = mbuf_look(d, m, out);
		if (!why) {
			out++;
			if (!in_mbuf(m, out - 1)) { /* in our own memory, which the next one may need */
				i++;
				break;
			}
		} else if (why != DECODE_WAITS) {
			d->drops[why]++;
		}
	}
	*next = i;
	return (uint32_t)(out - dg);
}
