/* Taking off a tunnel around a frame or an IP packet: VXLAN (RFC 7348), GRE (RFC 2784, 2890) with Ethernet or
 * IP in it, ERSPAN of type I, II and III in GRE (draft-foschiano-erspan). One level. Worker stage: borrows.
 * What the port found out about checksums need not be about the inner packet: that one is checked here. */
#include "decap.h"
#include "decode_priv.h"
#include "hash.h"

#define VXLAN_F_VNI 0x08u
#define VXLAN_HEADER 8u
#define UDP_HEADER 8u

#define GRE_CHECKSUM 0x8000u
#define GRE_KEY 0x2000u
#define GRE_SEQUENCE 0x1000u
#define GRE_REFUSED 0x4807u /* routing, strict routing, another version than 0 */
#define GRE_TYPE_ETHERNET 0x6558u
#define GRE_TYPE_IPV4 0x0800u
#define GRE_TYPE_IPV6 0x86ddu
#define GRE_TYPE_ERSPAN 0x88beu /* type I without a sequence number, II with one */
#define GRE_TYPE_ERSPAN3 0x22ebu

#define ERSPAN_ETHERNET 0u
#define ERSPAN_IP 2u

/* What is within has another meaning of addresses than what is around, and than other tunnels. */
static struct decode_around inside(const struct decode_around *a, uint32_t kind, uint32_t id)
{
	a->d->stats->decapsulated++;
	return (struct decode_around){
		.d = a->d, .domain = hash_u64(a->domain ^ hash_u64((uint64_t)kind << 32 | id))};
}

static enum drop_reason ethernet_inside(const struct decode_around *a, uint32_t kind, uint32_t id,
	const struct cursor *c, struct datagram *dg)
{
	struct decode_around in = inside(a, kind, id);

	return decode_ethernet(&in, 0, c->at, (uint32_t)cursor_left(c), dg);
}

static enum drop_reason ip_inside(const struct decode_around *a, uint32_t kind, uint32_t id,
	const struct cursor *c, uint16_t ethertype, struct datagram *dg)
{
	struct decode_around in = inside(a, kind, id);

	return decode_network(&in, 0, *c, ethertype, dg);
}

/* Over IPv6, too, the outer checksum may be 0 (RFC 6935). */
enum drop_reason decode_odd_port(
	const struct decode_around *a, uint64_t ol_flags, const struct ip_payload *ip, struct datagram *dg)
{
	uint32_t length = (uint32_t)ip->at[4] << 8 | ip->at[5];
	struct cursor c = cursor_of(ip->at + UDP_HEADER, length - UDP_HEADER);
	const uint8_t *h;

	if (dg->dst_port != DECAP_VXLAN_PORT || !(a->decap & DECAP_VXLAN))
		return DROP_no_listener;
	if ((ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD ||
		((ip->at[6] | ip->at[7]) && !(ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) &&
			!udp_sum_good(ip, length)))
		return DROP_bad_udp_checksum;
	h = cursor_take(&c, VXLAN_HEADER);
	if (!h || !(h[0] & VXLAN_F_VNI))
		return DROP_bad_tunnel;
	return ethernet_inside(a, DECAP_VXLAN, (uint32_t)h[4] << 16 | (uint32_t)h[5] << 8 | h[6], &c, dg);
}

static enum drop_reason erspan2(const struct decode_around *a, struct cursor *c, struct datagram *dg)
{
	uint32_t word = cursor_be32(c);

	cursor_be32(c); /* index of the mirrored port */
	if (c->failed || word >> 28 != 1)
		return DROP_bad_tunnel;
	return ethernet_inside(a, DECAP_ERSPAN, word & 0x3ffu, c, dg);
}

static enum drop_reason erspan3(const struct decode_around *a, struct cursor *c, struct datagram *dg)
{
	uint32_t word = cursor_be32(c), tail, kind;

	cursor_be32(c); /* time stamp */
	tail = cursor_be32(c);
	kind = tail >> 10 & 31;
	if (tail & 1)
		cursor_take(c, 8); /* of the platform */
	if (c->failed || word >> 28 != 2 || cursor_left(c) == 0)
		return DROP_bad_tunnel;
	if (kind == ERSPAN_ETHERNET)
		return ethernet_inside(a, DECAP_ERSPAN, word & 0x3ffu, c, dg);
	if (kind == ERSPAN_IP)
		return ip_inside(a, DECAP_ERSPAN, word & 0x3ffu, c,
			c->at[0] >> 4 == 6 ? GRE_TYPE_IPV6 : GRE_TYPE_IPV4, dg);
	return DROP_bad_tunnel;
}

/* A kind of tunnel that is not to be taken off is a protocol that is not UDP. */
static bool gre_wanted(uint32_t decap, uint16_t type)
{
	switch (type) {
	case GRE_TYPE_ETHERNET:
	case GRE_TYPE_IPV4:
	case GRE_TYPE_IPV6:
		return decap & DECAP_GRE;
	case GRE_TYPE_ERSPAN:
	case GRE_TYPE_ERSPAN3:
		return decap & DECAP_ERSPAN;
	default:
		return false;
	}
}

enum drop_reason decode_gre(const struct decode_around *a, const struct ip_payload *ip, struct datagram *dg)
{
	struct cursor c = cursor_of(ip->at, ip->bytes);
	uint16_t flags = cursor_be16(&c), type = cursor_be16(&c);
	uint32_t key = 0;

	if (c.failed ? !(a->decap & (DECAP_GRE | DECAP_ERSPAN)) : !gre_wanted(a->decap, type))
		return DROP_not_udp;
	if (flags & GRE_CHECKSUM)
		cursor_be32(&c);
	if (flags & GRE_KEY)
		key = cursor_be32(&c);
	if (flags & GRE_SEQUENCE)
		cursor_be32(&c);
	if (c.failed || flags & GRE_REFUSED)
		return DROP_bad_tunnel;
	if (flags & GRE_CHECKSUM && sum_fold(sum_words(ip->at, ip->bytes, 0)) != 0xffff)
		return DROP_bad_tunnel;
	switch (type) {
	case GRE_TYPE_ETHERNET:
		return ethernet_inside(a, DECAP_GRE, key, &c, dg);
	case GRE_TYPE_ERSPAN:
		return flags & GRE_SEQUENCE ? erspan2(a, &c, dg)
					    : ethernet_inside(a, DECAP_ERSPAN, key, &c, dg);
	case GRE_TYPE_ERSPAN3:
		return erspan3(a, &c, dg);
	default:
		return ip_inside(a, DECAP_GRE, key, &c, type, dg);
	}
}
