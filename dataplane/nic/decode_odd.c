/* Decoding of what is not the usual frame: several mbufs, VLAN tags, IPv6 extension headers, fragments.
 * Worker stage.
 * Formats: IEEE 802.1Q and 802.1ad, RFC 8200. */
#include <string.h>

#include "decode_fragment.h"
#include "hash.h"

#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_QINQ 0x88a8u
#define VLAN_TAGS_MAX 2u

#define EXTENSIONS_MAX 8u
enum {
	EXTENSION_ESP = 50,
	EXTENSION_AH = 51,
	EXTENSION_MOBILITY = 135,
	EXTENSION_HIP = 139,
	EXTENSION_SHIM6 = 140,
};

/* All segments into the scratch memory. Their bytes, or 0: more than it holds. */
static uint32_t chain_copy(struct decoder *d, const struct rte_mbuf *m)
{
	uint32_t bytes = 0;

	for (; m; m = m->next) {
		if (m->data_len > DECODE_FRAME_MAX - bytes)
			return 0;
		memcpy(d->scratch + bytes, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
		bytes += m->data_len;
	}
	return bytes;
}

/* Which VLAN makes no difference, but that each may have the same addresses as another. */
static void tag_enter(struct decode_around *a, uint16_t tci)
{
	a->tags++;
	a->domain = hash_u64(a->domain + 1 + (tci & 0xfffu));
}

enum drop_reason decode_odd_mbuf(const struct decode_around *a, const struct rte_mbuf *m, struct datagram *dg)
{
	struct decode_around in = *a;
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t bytes = m->data_len;

	if (m->ol_flags & RTE_MBUF_F_RX_QINQ_STRIPPED)
		tag_enter(&in, m->vlan_tci_outer);
	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
		tag_enter(&in, m->vlan_tci);
	if (m->nb_segs != 1) {
		bytes = chain_copy(a->d, m);
		if (!bytes)
			return DROP_chained_mbuf;
		frame = a->d->scratch;
	}
	return decode_ethernet(&in, m->ol_flags, frame, bytes, dg);
}

enum drop_reason decode_odd_ethertype(const struct decode_around *a, uint64_t ol_flags, struct cursor c,
	uint16_t ethertype, struct datagram *dg)
{
	struct decode_around in = *a;

	if (ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ)
		return DROP_not_ip;
	if (in.tags == VLAN_TAGS_MAX)
		return DROP_vlan;
	tag_enter(&in, cursor_be16(&c));
	ethertype = cursor_be16(&c);
	return c.failed ? DROP_bad_l2 : decode_network(&in, ol_flags, c, ethertype, dg);
}

/* True for headers that stand before the payload, and are not stepped over: what they would be needed for is
 * to know whether the payload is meant, and which it is (RFC 4302, 4303, 6275, 7401, 5533). */
static bool extension_refused(uint32_t next)
{
	return next == EXTENSION_ESP || next == EXTENSION_AH || next == EXTENSION_MOBILITY ||
	       next == EXTENSION_HIP || next == EXTENSION_SHIM6;
}

/* Steps over extension headers. Options in them are not looked at: we are no host that they are meant for.
 * A routing header with segments left would mean that the packet is not where it wants to go, and that its
 * UDP checksum is one of another destination. */
static enum drop_reason extensions_skip(struct ip_payload *ip)
{
	for (uint32_t i = 0; ip->next == IP_NEXT_HOP_BY_HOP || ip->next == IP_NEXT_DESTINATION ||
			     ip->next == IP_NEXT_ROUTING;
		i++) {
		struct cursor c = cursor_of(ip->at, ip->bytes);
		uint8_t next = cursor_u8(&c), words = cursor_u8(&c);
		const uint8_t *rest = cursor_take(&c, 6 + words * 8u);

		if (!rest)
			return DROP_bad_l3;
		if (i == EXTENSIONS_MAX || (ip->next == IP_NEXT_ROUTING && rest[1] != 0))
			return DROP_ip_extension;
		ip->at = c.at;
		ip->bytes = (uint32_t)cursor_left(&c);
		ip->next = next;
	}
	return extension_refused(ip->next) ? DROP_ip_extension : DROP_NONE;
}

enum drop_reason decode_odd_ip(
	const struct decode_around *a, uint64_t ol_flags, const struct ip_payload *ip, struct datagram *dg)
{
	struct ip_payload in = *ip;
	bool ipv6 = in.address_bytes == 32;
	enum drop_reason why = ipv6 ? extensions_skip(&in) : DROP_NONE;

	if (why)
		return why;
	if (in.next == (ipv6 ? IP_NEXT_FRAGMENT : IP_NEXT_IPV4_FRAGMENT)) {
		ol_flags = 0; /* the port has not seen all of it */
		why = decode_fragment(a, &in);
		if (why == DROP_NONE && ipv6)
			why = extensions_skip(&in);
		if (why)
			return why;
		if (ipv6 && in.next == IP_NEXT_FRAGMENT)
			return DROP_ip_extension;
	}
	if (in.next == IP_NEXT_GRE && a->decap)
		return decode_gre(a, &in, dg);
	return in.next == IP_NEXT_UDP ? decode_udp(a, ol_flags, &in, dg) : DROP_not_udp;
}
