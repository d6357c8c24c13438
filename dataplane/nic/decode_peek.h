/* A first look at a frame: where it says that it comes from and goes to, by Ethernet with up to two tags,
 * IPv4 or IPv6, and UDP right behind. Nothing is judged: what it says may be wrong. Worker stage. */
#ifndef SLUICE_DECODE_PEEK_H
#define SLUICE_DECODE_PEEK_H

#include <stdbool.h>
#include <stdint.h>

struct decode_peek {
	bool has_source, has_udp;
	bool fragment;	    /* of an IPv4 packet, with has_udp the first one; an IPv6 one has_udp never */
	bool whole_ip4;	    /* IPv4, and no fragment: protocol says what follows */
	uint8_t protocol;   /* with whole_ip4 */
	uint8_t source[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint16_t udp_port;  /* destination */
	uint32_t payload;   /* with has_udp: where it begins in the frame, at most at its end */
};

struct decode_peek decode_peek(const uint8_t *frame, uint32_t bytes);

#endif
