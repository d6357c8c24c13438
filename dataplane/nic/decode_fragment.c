/* Putting IP fragments together (RFC 791, RFC 8200 section 4.5). Worker stage: copies out of the frame.
 * Bytes that come a second time never replace others, nor are they chosen between: the packet is given up
 * (RFC 5722, here for IPv4 as well). Memory is bounded by the number of packets: a new one takes the place of
 * the oldest, whose chance to become complete is the least. */
#include "decode_fragment.h"

#include <string.h>

#include "hash_process.h"

static void frames_drop(struct decoder *d, struct fragment_packet *p, enum drop_reason why)
{
	d->drops[why] += p->frames;
	d->stats->fragments_held -= p->frames;
	p->frames = 0;
}

static uint32_t *bucket_of(struct fragment_table *t, const struct fragment_key *key)
{
	return &t->bucket[hash_keyed(&hash_process_key, key, sizeof *key) & t->mask];
}

/* Takes an open packet out of its chain and out of the order of age. */
static void packet_unlink(struct fragment_table *t, uint32_t at)
{
	struct fragment_packet *p = &t->packet[at];
	uint32_t *link = bucket_of(t, &p->key);

	while (*link != at)
		link = &t->packet[*link].chain;
	*link = p->chain;
	*(p->older == FRAGMENT_NONE ? &t->oldest : &t->packet[p->older].newer) = p->newer;
	*(p->newer == FRAGMENT_NONE ? &t->newest : &t->packet[p->newer].older) = p->older;
}

static void packet_free(struct fragment_table *t, uint32_t at)
{
	t->packet[at].chain = t->free;
	t->free = at;
}

static void oldest_drop(struct decoder *d, enum drop_reason why)
{
	struct fragment_table *t = d->fragments;
	uint32_t at = t->oldest;

	frames_drop(d, &t->packet[at], why);
	packet_unlink(t, at);
	packet_free(t, at);
}

/* The packet that a key belongs to; a fresh one if there is none. NULL: the only ones are lent. */
static struct fragment_packet *packet_of(struct decoder *d, const struct fragment_key *key)
{
	struct fragment_table *t = d->fragments;
	uint32_t *bucket = bucket_of(t, key), at;
	struct fragment_packet *p;

	for (at = *bucket; at != FRAGMENT_NONE; at = t->packet[at].chain)
		if (!memcmp(&t->packet[at].key, key, sizeof *key))
			return &t->packet[at];
	if (t->free == FRAGMENT_NONE && t->oldest != FRAGMENT_NONE)
		oldest_drop(d, DROP_fragment_table_full);
	at = t->free;
	if (at == FRAGMENT_NONE)
		return NULL;
	p = &t->packet[at];
	t->free = p->chain;
	*p = (struct fragment_packet){.key = *key,
		.opened_ns = d->now_ns,
		.chain = *bucket,
		.older = t->newest,
		.newer = FRAGMENT_NONE,
		.data = p->data};
	*bucket = at;
	*(t->newest == FRAGMENT_NONE ? &t->oldest : &t->packet[t->newest].newer) = at;
	t->newest = at;
	return p;
}

/* The blocks of one word of `seen` that lie in from..to. */
static uint64_t blocks_in_word(uint32_t word, uint32_t from, uint32_t to)
{
	uint32_t low = from > word * 64 ? from - word * 64 : 0;
	uint32_t high = to < (word + 1) * 64 ? to - word * 64 : 64;

	return (high == 64 ? 0 : 1ull << high) - (1ull << low);
}

/* How many of the fragment's blocks have come before. */
static uint32_t blocks_seen(const struct fragment_packet *p, uint32_t from, uint32_t to)
{
	uint32_t count = 0;

	for (uint32_t w = from / 64; w * 64 < to; w++)
		count += (uint32_t)__builtin_popcountll(p->seen[w] & blocks_in_word(w, from, to));
	return count;
}

/* False if the packet is given up for this fragment; *twice: it has the same bytes as others before. */
static bool fragment_fits(const struct fragment_packet *p, const struct fragment *f, bool *twice)
{
	uint32_t from = f->offset / 8, to = (f->offset + f->bytes + 7) / 8, end = f->offset + f->bytes;
	uint32_t seen = blocks_seen(p, from, to);

	*twice = false;
	if (p->total ? end > p->total || (!f->more && end != p->total) : !f->more && end < p->end)
		return false;
	if (seen == 0)
		return true;
	*twice =
		seen == to - from && (f->more || p->total) && !memcmp(p->data + f->offset, f->data, f->bytes);
	return *twice;
}

static void fragment_store(struct decoder *d, struct fragment_packet *p, const struct fragment *f)
{
	uint32_t from = f->offset / 8, end = f->offset + f->bytes, to = (end + 7) / 8;

	memcpy(p->data + f->offset, f->data, f->bytes);
	for (uint32_t w = from / 64; w * 64 < to; w++)
		p->seen[w] |= blocks_in_word(w, from, to);
	p->received += f->bytes;
	if (end > p->end)
		p->end = end;
	if (!f->more)
		p->total = end;
	if (f->offset == 0)
		p->next = f->next;
	p->frames++;
	d->stats->fragments_held++;
}

static void packet_lend(struct decoder *d, struct fragment_packet *p, struct ip_payload *whole)
{
	struct fragment_table *t = d->fragments;

	d->stats->reassembled++;
	d->stats->fragments_held -= p->frames;
	d->stats->fragments_joined += p->frames - 1;
	fragment_give_back(t); /* a packet that this one was within */
	t->lent = (uint32_t)(p - t->packet);
	packet_unlink(t, t->lent);
	whole->at = p->data;
	whole->bytes = p->total;
	whole->addresses = p->key.addresses;
	whole->next = p->next;
}

static enum drop_reason fragment_take(struct decoder *d, const struct fragment *f, struct ip_payload *whole)
{
	struct fragment_packet *p;
	bool twice;

	/* No packet is longer than 65535 bytes, and only the last fragment may end within a block. */
	if (!d->fragments || f->bytes == 0 || f->offset + f->bytes > 65535 || (f->more && f->bytes % 8))
		return DROP_fragment;
	p = packet_of(d, &f->key);
	if (!p)
		return DROP_fragment_table_full;
	if (p->refused)
		return DROP_fragment_overlap;
	if (!fragment_fits(p, f, &twice)) {
		frames_drop(d, p, DROP_fragment_overlap);
		p->refused = true;
		return DROP_fragment_overlap;
	}
	if (twice)
		return DROP_fragment_overlap;
	fragment_store(d, p, f);
	if (!p->total || p->received != p->total)
		return DECODE_WAITS;
	packet_lend(d, p, whole);
	return DROP_NONE;
}

/* Whether a UDP datagram can be in it. On a mirror port the rest must not fill the table. IPv6 lets fragments
 * name different headers, and goes by the first one's; no sender of datagrams is known that does so. */
static bool fragment_wanted(const struct decode_around *a, uint32_t next, bool ipv6)
{
	return next == IP_NEXT_UDP || (next == IP_NEXT_GRE && a->decap) ||
	       (ipv6 && (next == IP_NEXT_HOP_BY_HOP || next == IP_NEXT_ROUTING ||
				next == IP_NEXT_DESTINATION));
}

static enum drop_reason fragment_ipv4(const struct decode_around *a, struct ip_payload *ip)
{
	const uint8_t *h = ip->addresses - 12;
	struct fragment f = {.key = {.domain = a->domain, .id = (uint32_t)h[4] << 8 | h[5], .protocol = h[9]},
		.data = ip->at,
		.offset = ((h[6] & 0x1fu) << 8 | h[7]) * 8u,
		.bytes = ip->bytes,
		.next = h[9],
		.more = h[6] & 0x20};

	if (!fragment_wanted(a, h[9], false))
		return DROP_not_udp;
	memcpy(f.key.addresses, ip->addresses, 8);
	return fragment_take(a->d, &f, ip);
}

static enum drop_reason fragment_ipv6(const struct decode_around *a, struct ip_payload *ip)
{
	struct cursor c = cursor_of(ip->at, ip->bytes);
	uint8_t next = cursor_u8(&c), reserved = cursor_u8(&c);
	uint16_t offset = cursor_be16(&c);
	struct fragment f = {
		.key = {.domain = a->domain, .id = cursor_be32(&c), .protocol = FRAGMENT_KEY_IPV6}};

	(void)reserved;
	if (c.failed)
		return DROP_bad_l3;
	f.data = c.at;
	f.bytes = (uint32_t)cursor_left(&c);
	f.offset = offset & 0xfff8u;
	f.more = offset & 1;
	f.next = next;
	if (f.offset == 0 && !f.more) { /* RFC 6946: has nothing to do with others of its id */
		ip->at = f.data;
		ip->bytes = f.bytes;
		ip->next = next;
		return DROP_NONE;
	}
	if (!fragment_wanted(a, next, true))
		return DROP_not_udp;
	memcpy(f.key.addresses, ip->addresses, 32);
	return fragment_take(a->d, &f, ip);
}

enum drop_reason decode_fragment(const struct decode_around *a, struct ip_payload *ip)
{
	return ip->address_bytes == 8 ? fragment_ipv4(a, ip) : fragment_ipv6(a, ip);
}

void fragment_give_back(struct fragment_table *t)
{
	if (t->lent != FRAGMENT_NONE)
		packet_free(t, t->lent);
	t->lent = FRAGMENT_NONE;
}

void decode_tick(struct decoder *d, uint64_t now_ns)
{
	const struct fragment_table *t = d->fragments;

	d->now_ns = now_ns;
	while (t && t->oldest != FRAGMENT_NONE && now_ns - t->packet[t->oldest].opened_ns >= t->timeout_ns)
		oldest_drop(d, DROP_fragment_timeout);
}

bool decode_waits(const struct decoder *d)
{
	return d->fragments && d->fragments->oldest != FRAGMENT_NONE;
}

void decode_end(struct decoder *d)
{
	while (decode_waits(d))
		oldest_drop(d, DROP_fragment_timeout);
}
