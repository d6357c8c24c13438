/* See decode_peek.h. */
#include "decode_peek.h"

#include <string.h>

#define ETHER_BYTES 14u
#define ETHER_IP4 0x0800u
#define ETHER_IP6 0x86ddu
#define ETHER_VLAN 0x8100u
#define ETHER_QINQ 0x88a8u
#define PROTO_UDP 17u
#define UDP_BYTES 8u

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

struct decode_peek decode_peek(const uint8_t *frame, uint32_t bytes)
{
	struct decode_peek from = {0};
	uint32_t at = ETHER_BYTES, type, udp = 0;

	if (bytes < ETHER_BYTES)
		return from;
	type = get16(frame + 12);
	for (int tags = 0; tags < 2 && (type == ETHER_VLAN || type == ETHER_QINQ) && bytes - at >= 4;
		tags++) {
		type = get16(frame + at + 2);
		at += 4;
	}
	if (type == ETHER_IP4 && bytes - at >= 20 && frame[at] >> 4 == 4) {
		from.has_source = true;
		from.fragment = get16(frame + at + 6) & 0x3fff;
		from.whole_ip4 = !from.fragment;
		from.protocol = frame[at + 9];
		from.source[10] = from.source[11] = 0xff;
		memcpy(from.source + 12, frame + at + 12, 4);
		/* Behind the first fragment there is no header. */
		if (frame[at + 9] == PROTO_UDP && !(get16(frame + at + 6) & 0x1fff))
			udp = at + (frame[at] & 15u) * 4;
	} else if (type == ETHER_IP6 && bytes - at >= 40 && frame[at] >> 4 == 6) {
		from.has_source = true;
		memcpy(from.source, frame + at + 8, 16);
		if (frame[at + 6] == PROTO_UDP)
			udp = at + 40;
	}
	if (udp && bytes >= udp + UDP_BYTES) {
		from.has_udp = true;
		from.udp_port = (uint16_t)get16(frame + udp + 2);
		from.payload = udp + UDP_BYTES;
	}
	return from;
}
