/* IP address -> texts (country and city, or autonomous system), from a MaxMind DB file (MaxMind DB File
 * Format Specification 2.0). The file is read and checked by libmaxminddb when it is loaded, and turned into
 * a table of our own: what the RX path walks are 32-bit links that are known to stay inside, and texts that
 * are known to be UTF-8 and no longer than their fields. A damaged file ends in an error of the load, never
 * in a lookup.
 *
 * Two steps to an address: its first 16 bits index a table of links, the rest is walked bit by bit. Made and
 * freed by control threads; finding is pure, for any number of threads. */
#ifndef SLUICE_GEOIP_H
#define SLUICE_GEOIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "event.h"
#include "ip_text.h"

#define GEOIP_TEXTS_MAX 2
#define GEOIP_LEAF                                                                                           \
	0x80000000u /* a link with this bit is the end: the rest is the number of a result, 0 = none */

enum geoip_kind { GEOIP_CITY, GEOIP_ASN, GEOIP_KINDS };

/* The texts of one result stand one behind the other. */
struct geoip_result {
	uint32_t at;
	uint8_t bytes[GEOIP_TEXTS_MAX]; /* 0: none */
};

struct geoip {
	enum field_id field[GEOIP_TEXTS_MAX]; /* that the texts fill; FIELD_NONE: no such text */
	const uint32_t *first4;		      /* links by the first 16 bits of an IPv4 address */
	const uint32_t *first6;		      /* of an IPv6 address; NULL: the file has none */
	const uint32_t (*link)[2];	      /* by node and bit */
	const struct geoip_result *result;
	const uint8_t *text;
	uint32_t nodes, results; /* results: with number 0 */
	uint64_t text_bytes;
	uint64_t networks; /* leaves of the tree that have a result */
	uint64_t version;  /* hash of the file's bytes */
	uint64_t left_out; /* texts that do not fit their field, or are no UTF-8 */
};

/* 0; or -EINVAL, -ENOMEM or what open(2) gave, with the path in err. */
int geoip_load(
	struct geoip *out, enum geoip_kind kind, const char *path, uint64_t bytes_max, struct err *err);
void geoip_free(struct geoip *geo);

/* Where the link is that an address begins with. addr: IPv6, or IPv4-mapped. */
static inline const uint32_t *geoip_first(const struct geoip *geo, const uint8_t addr[16])
{
	static const uint32_t none = GEOIP_LEAF;

	if (ip_is_v4(addr))
		return &geo->first4[addr[12] << 8 | addr[13]];
	return geo->first6 ? &geo->first6[addr[0] << 8 | addr[1]] : &none;
}

/* The bit of the address that is looked at next, behind those of the first link. */
static inline uint8_t geoip_first_bit(const uint8_t addr[16])
{
	return ip_is_v4(addr) ? 112 : 16;
}

static inline uint32_t geoip_next(const struct geoip *geo, uint32_t at, const uint8_t addr[16], uint32_t bit)
{
	return geo->link[at][addr[bit / 8] >> (7 - bit % 8) & 1];
}

/* Number of the result for an address; 0 = none. */
static inline uint32_t geoip_find(const struct geoip *geo, const uint8_t addr[16])
{
	uint32_t at = *geoip_first(geo, addr);

	for (uint32_t bit = geoip_first_bit(addr); !(at & GEOIP_LEAF) && bit < 128; bit++)
		at = geoip_next(geo, at, addr, bit);
	return at & GEOIP_LEAF ? at & ~GEOIP_LEAF : 0;
}

#endif
