/* See neighbour.h. A question that is not exactly as its RFC says is none. */
#include "neighbour.h"

#include <string.h>

#include "decode_sum.h"
#include "ip_text.h"

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_ARP 0x0806u
#define ETHERTYPE_IPV6 0x86ddu
#define FRAME_MIN 60u /* of Ethernet, without its checksum */
#define ARP_BYTES 28u
#define IPV4_HEADER 20u
#define IPV6_HEADER 40u
#define ICMP_HEADER 8u
#define SOLICITATION_BYTES 24u	/* without options */
#define ADVERTISEMENT_BYTES 32u /* with one option */
#define HOPS 64u
#define HOPS_LINK 255u /* has passed no router */

enum { ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { IP_ICMP = 1, IP_ICMP6 = 58 };
enum { ICMP_ECHO_REPLY = 0, ICMP_ECHO = 8 };
enum { ICMP6_ECHO = 128, ICMP6_ECHO_REPLY = 129, ICMP6_SOLICITATION = 135, ICMP6_ADVERTISEMENT = 136 };
enum { OPTION_SOURCE = 1, OPTION_TARGET = 2 };
enum { FLAG_SOLICITED = 0x40, FLAG_OVERRIDE = 0x20 };

static const uint8_t mac_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t mac_all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t ip_all_nodes[16] = {0xff, 0x02, [15] = 1};
static const uint8_t ip_none[16];

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static bool mac_is_unicast(const uint8_t *mac)
{
	static const uint8_t none[6];

	return !(mac[0] & 1) && memcmp(mac, none, 6) != 0;
}

static bool is_for_us(const struct neighbour_table *t, const uint8_t *l2)
{
	return memcmp(l2, t->mac, 6) == 0;
}

static uint32_t own4(const struct neighbour_table *t, const uint8_t *ipv4)
{
	uint8_t addr[16];

	ip_from_v4(addr, ipv4);
	return address_list_find(&t->own, addr);
}

/* What looks like a mapped IPv4 address is none of ours within IPv6. */
static uint32_t own6(const struct neighbour_table *t, const uint8_t *ipv6)
{
	return ip_is_v4(ipv6) ? ADDRESS_LIST_MAX : address_list_find(&t->own, ipv6);
}

static bool unicast4(const uint8_t *ipv4)
{
	uint8_t addr[16];

	ip_from_v4(addr, ipv4);
	return ip_is_unicast(addr);
}

static bool unicast6(const uint8_t *ipv6)
{
	return !ip_is_v4(ipv6) && ip_is_unicast(ipv6);
}

/* Over the pseudo header of an IPv6 header at h, and the message behind it. */
static uint64_t icmp6_sum(const uint8_t *h, uint32_t bytes)
{
	uint64_t sum = sum_words(h + 8, 32, 0);

	sum += (uint64_t)__builtin_bswap16((uint16_t)bytes) + __builtin_bswap16(IP_ICMP6);
	return sum_words(h + IPV6_HEADER, bytes, sum);
}

/* sum: with 0 where the checksum stands. */
static void put_checksum(uint8_t *at, uint64_t sum)
{
	uint16_t checksum = (uint16_t)~sum_fold(sum);

	memcpy(at, &checksum, sizeof checksum);
}

/* ---- questions ---- */

/* The answer goes to whom the request names as its sender, which may be another than the frame's. */
static enum neighbour_kind arp_read(const struct neighbour_table *t, struct neighbour_question *q)
{
	static const uint8_t ethernet_ipv4[7] = {0, 1, 8, 0, 6, 4, 0};
	static const uint8_t none[4];
	const uint8_t *a = q->packet, *sender = a + 14;

	if (q->bytes < ARP_BYTES || memcmp(a, ethernet_ipv4, sizeof ethernet_ipv4) != 0 ||
		(a[7] != ARP_REQUEST && a[7] != ARP_REPLY) || !mac_is_unicast(a + 8))
		return NEIGHBOUR_NONE;
	q->bytes = ARP_BYTES;
	memcpy(q->mac, a + 8, 6);
	q->own = own4(t, sender);
	if (q->own < ADDRESS_LIST_MAX)
		return memcmp(a + 8, t->mac, 6) ? NEIGHBOUR_CONFLICT : NEIGHBOUR_NONE;
	q->own = own4(t, a + 24);
	/* Without a sender's address: somebody tries whether it is free (RFC 5227). */
	if (a[7] != ARP_REQUEST || q->own == ADDRESS_LIST_MAX || memcmp(q->mac, t->mac, 6) == 0 ||
		(!unicast4(sender) && memcmp(sender, none, 4) != 0))
		return NEIGHBOUR_NONE;
	return is_for_us(t, q->l2) || memcmp(q->l2, mac_broadcast, 6) == 0 ? NEIGHBOUR_ARP : NEIGHBOUR_NONE;
}

static enum neighbour_kind echo4_read(const struct neighbour_table *t, struct neighbour_question *q)
{
	const uint8_t *h = q->packet, *icmp = h + IPV4_HEADER;
	uint32_t total;

	if (q->bytes < IPV4_HEADER + ICMP_HEADER || !is_for_us(t, q->l2))
		return NEIGHBOUR_NONE;
	total = be16(h + 2);
	/* No options, no fragment. */
	if (h[0] != 0x45 || total < IPV4_HEADER + ICMP_HEADER || total > q->bytes || (h[6] & 0x3f) || h[7] ||
		h[9] != IP_ICMP || sum_fold(sum_words(h, IPV4_HEADER, 0)) != 0xffff)
		return NEIGHBOUR_NONE;
	q->own = own4(t, h + 16);
	if (q->own == ADDRESS_LIST_MAX || !unicast4(h + 12) || own4(t, h + 12) < ADDRESS_LIST_MAX ||
		icmp[0] != ICMP_ECHO || icmp[1] ||
		sum_fold(sum_words(icmp, total - IPV4_HEADER, 0)) != 0xffff)
		return NEIGHBOUR_NONE;
	q->bytes = total;
	return NEIGHBOUR_ECHO4;
}

static enum neighbour_kind echo6_read(const struct neighbour_table *t, struct neighbour_question *q)
{
	const uint8_t *h = q->packet;

	q->own = own6(t, h + 24);
	if (q->own == ADDRESS_LIST_MAX || !is_for_us(t, q->l2) || !unicast6(h + 8) ||
		own6(t, h + 8) < ADDRESS_LIST_MAX || h[IPV6_HEADER + 1])
		return NEIGHBOUR_NONE;
	return NEIGHBOUR_ECHO6;
}

/* False: damaged. *link: the sender's address by its own word, NULL: it says none. */
static bool options_read(const uint8_t *at, uint32_t bytes, const uint8_t **link)
{
	*link = NULL;
	while (bytes) {
		uint32_t length = bytes < 8 ? 0 : at[1] * 8u;

		if (!length || length > bytes || (at[0] == OPTION_SOURCE && length != 8))
			return false;
		if (at[0] == OPTION_SOURCE)
			*link = at + 2;
		at += length;
		bytes -= length;
	}
	return true;
}

/* Whether a solicitation for `target` went where one may go: to all who could have it, or to it. */
static bool destination_fits(
	const struct neighbour_table *t, const uint8_t *l2, const uint8_t *dst, const uint8_t *target)
{
	static const uint8_t solicited[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};
	const uint8_t mac[6] = {0x33, 0x33, 0xff, target[13], target[14], target[15]};

	if (memcmp(dst, target, 16) == 0)
		return is_for_us(t, l2);
	return memcmp(dst, solicited, sizeof solicited) == 0 && memcmp(dst + 13, target + 13, 3) == 0 &&
	       (memcmp(l2, mac, 6) == 0 || is_for_us(t, l2));
}

static enum neighbour_kind solicitation_read(const struct neighbour_table *t, struct neighbour_question *q)
{
	const uint8_t *h = q->packet, *src = h + 8, *target = h + IPV6_HEADER + 8, *link;
	uint32_t claimed;

	if (!options_read(target + 16, q->bytes - IPV6_HEADER - SOLICITATION_BYTES, &link) ||
		(link && !mac_is_unicast(link)))
		return NEIGHBOUR_NONE;
	claimed = own6(t, src);
	if (claimed < ADDRESS_LIST_MAX) {
		q->own = claimed;
		return NEIGHBOUR_CONFLICT;
	}
	q->own = own6(t, target);
	q->from_none = memcmp(src, ip_none, 16) == 0;
	if (q->own == ADDRESS_LIST_MAX || !destination_fits(t, q->l2, h + 24, target))
		return NEIGHBOUR_NONE;
	if (q->from_none) {
		memcpy(q->mac, mac_all_nodes, 6);
		return link || memcmp(h + 24, target, 16) == 0 ? NEIGHBOUR_NONE : NEIGHBOUR_SOLICITATION;
	}
	if (link)
		memcpy(q->mac, link, 6);
	return unicast6(src) && memcmp(q->mac, t->mac, 6) != 0 ? NEIGHBOUR_SOLICITATION : NEIGHBOUR_NONE;
}

static enum neighbour_kind advertisement_read(const struct neighbour_table *t, struct neighbour_question *q)
{
	const uint8_t *h = q->packet, *target = h + IPV6_HEADER + 8, *link;

	q->own = own6(t, target);
	if (q->own == ADDRESS_LIST_MAX || !unicast6(h + 8) ||
		!options_read(target + 16, q->bytes - IPV6_HEADER - SOLICITATION_BYTES, &link))
		return NEIGHBOUR_NONE;
	return NEIGHBOUR_CONFLICT;
}

/* An ICMPv6 message right behind the header. */
static enum neighbour_kind icmp6_read(const struct neighbour_table *t, struct neighbour_question *q)
{
	const uint8_t *h = q->packet, *icmp = h + IPV6_HEADER;
	bool discovery;
	uint32_t bytes;

	if (q->bytes < IPV6_HEADER + ICMP_HEADER)
		return NEIGHBOUR_NONE;
	bytes = be16(h + 4);
	discovery = icmp[0] == ICMP6_SOLICITATION || icmp[0] == ICMP6_ADVERTISEMENT;
	if (h[0] >> 4 != 6 || h[6] != IP_ICMP6 || bytes < ICMP_HEADER || bytes > q->bytes - IPV6_HEADER ||
		(!discovery && icmp[0] != ICMP6_ECHO))
		return NEIGHBOUR_NONE;
	if (discovery && (h[7] != HOPS_LINK || icmp[1] || bytes < SOLICITATION_BYTES))
		return NEIGHBOUR_NONE;
	if (sum_fold(icmp6_sum(h, bytes)) != 0xffff)
		return NEIGHBOUR_NONE;
	q->bytes = IPV6_HEADER + bytes;
	if (!discovery)
		return echo6_read(t, q);
	return icmp[0] == ICMP6_SOLICITATION ? solicitation_read(t, q) : advertisement_read(t, q);
}

enum neighbour_kind neighbour_read(const struct neighbour_table *t, const uint8_t *l2, uint32_t l2_bytes,
	const uint8_t *packet, uint32_t bytes, struct neighbour_question *q)
{
	const uint8_t *from = l2 + 6;

	*q = (struct neighbour_question){.l2 = l2, .l2_bytes = l2_bytes, .packet = packet, .bytes = bytes};
	/* From ourselves: the wire has brought it back. */
	if (!mac_is_unicast(from) || memcmp(from, t->mac, 6) == 0)
		return NEIGHBOUR_NONE;
	memcpy(q->mac, from, 6);
	switch (be16(l2 + l2_bytes - 2)) {
	case ETHERTYPE_ARP:
		q->kind = arp_read(t, q);
		break;
	case ETHERTYPE_IPV4:
		q->kind = echo4_read(t, q);
		break;
	case ETHERTYPE_IPV6:
		q->kind = icmp6_read(t, q);
		break;
	default:
		break;
	}
	return q->kind;
}

/* ---- answers ---- */

static void put_arp(const struct neighbour_table *t, uint32_t own, uint32_t operation, const uint8_t *mac,
	const uint8_t *ipv4, uint8_t *to)
{
	static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};

	memcpy(to, head, sizeof head);
	put16(to + 6, operation);
	memcpy(to + 8, t->mac, 6);
	memcpy(to + 14, t->own.address[own] + 12, 4);
	memcpy(to + 18, mac, 6);
	memcpy(to + 24, ipv4, 4);
}

static void put_ipv6(uint8_t *to, const uint8_t *src, const uint8_t *dst, uint32_t bytes, uint8_t hops)
{
	memset(to, 0, 8);
	to[0] = 0x60;
	put16(to + 4, bytes);
	to[6] = IP_ICMP6;
	to[7] = hops;
	memcpy(to + 8, src, 16);
	memcpy(to + 24, dst, 16);
}

static void put_advertisement(
	const struct neighbour_table *t, uint32_t own, const uint8_t *dst, uint8_t flags, uint8_t *to)
{
	const uint8_t *address = t->own.address[own];
	uint8_t *icmp = to + IPV6_HEADER;

	put_ipv6(to, address, dst, ADVERTISEMENT_BYTES, HOPS_LINK);
	memset(icmp, 0, ICMP_HEADER);
	icmp[0] = ICMP6_ADVERTISEMENT;
	icmp[4] = flags;
	memcpy(icmp + 8, address, 16);
	icmp[24] = OPTION_TARGET;
	icmp[25] = 1;
	memcpy(icmp + 26, t->mac, 6);
	put_checksum(icmp + 2, icmp6_sum(to, ADVERTISEMENT_BYTES));
}

static void put_echo4(const struct neighbour_question *q, uint8_t *to)
{
	uint8_t *icmp = to + IPV4_HEADER;

	memset(to, 0, IPV4_HEADER);
	to[0] = 0x45;
	put16(to + 2, q->bytes);
	to[6] = 0x40; /* not to be cut */
	to[8] = HOPS;
	to[9] = IP_ICMP;
	memcpy(to + 12, q->packet + 16, 4);
	memcpy(to + 16, q->packet + 12, 4);
	put_checksum(to + 10, sum_words(to, IPV4_HEADER, 0));
	memcpy(icmp, q->packet + IPV4_HEADER, q->bytes - IPV4_HEADER);
	icmp[0] = ICMP_ECHO_REPLY;
	put16(icmp + 2, 0);
	put_checksum(icmp + 2, sum_words(icmp, q->bytes - IPV4_HEADER, 0));
}

static void put_echo6(const struct neighbour_question *q, uint8_t *to)
{
	uint32_t bytes = q->bytes - IPV6_HEADER;
	uint8_t *icmp = to + IPV6_HEADER;

	put_ipv6(to, q->packet + 24, q->packet + 8, bytes, HOPS);
	memcpy(icmp, q->packet + IPV6_HEADER, bytes);
	icmp[0] = ICMP6_ECHO_REPLY;
	put16(icmp + 2, 0);
	put_checksum(icmp + 2, icmp6_sum(to, bytes));
}

static uint32_t payload_bytes(const struct neighbour_question *q)
{
	return q->kind == NEIGHBOUR_SOLICITATION ? IPV6_HEADER + ADVERTISEMENT_BYTES : q->bytes;
}

uint32_t neighbour_reply_bytes(const struct neighbour_question *q)
{
	uint32_t bytes = q->l2_bytes + payload_bytes(q);

	return bytes < FRAME_MIN ? FRAME_MIN : bytes;
}

void neighbour_reply(const struct neighbour_table *t, const struct neighbour_question *q, uint8_t *to)
{
	uint32_t bytes = q->l2_bytes + payload_bytes(q);
	uint8_t *payload = to + q->l2_bytes;

	memcpy(to, q->mac, 6);
	memcpy(to + 6, t->mac, 6);
	memcpy(to + 12, q->l2 + 12, q->l2_bytes - 12);
	if (q->kind == NEIGHBOUR_ARP)
		put_arp(t, q->own, ARP_REPLY, q->packet + 8, q->packet + 14, payload);
	else if (q->kind == NEIGHBOUR_SOLICITATION)
		put_advertisement(t, q->own, q->from_none ? ip_all_nodes : q->packet + 8,
			(uint8_t)(q->from_none ? FLAG_OVERRIDE : FLAG_OVERRIDE | FLAG_SOLICITED), payload);
	else
		(q->kind == NEIGHBOUR_ECHO4 ? put_echo4 : put_echo6)(q, payload);
	if (bytes < FRAME_MIN)
		memset(to + bytes, 0, FRAME_MIN - bytes);
}

uint32_t neighbour_announce(const struct neighbour_table *t, uint32_t own, uint8_t to[NEIGHBOUR_ANNOUNCE_MAX])
{
	static const uint8_t nobody[6];
	const uint8_t *address = t->own.address[own];
	bool v4 = ip_is_v4(address);

	memset(to, 0, NEIGHBOUR_ANNOUNCE_MAX);
	memcpy(to, v4 ? mac_broadcast : mac_all_nodes, 6);
	memcpy(to + 6, t->mac, 6);
	put16(to + 12, v4 ? ETHERTYPE_ARP : ETHERTYPE_IPV6);
	if (v4)
		put_arp(t, own, ARP_REQUEST, nobody, address + 12, to + 14);
	else
		put_advertisement(t, own, ip_all_nodes, FLAG_OVERRIDE, to + 14);
	return v4 ? FRAME_MIN : NEIGHBOUR_ANNOUNCE_MAX;
}
