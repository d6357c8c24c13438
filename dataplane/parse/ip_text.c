/* IP addresses as text (RFC 4291 section 2.2, dotted quads without leading zeros) to 16 bytes. Worker thread;
 * pure. */
#include <arpa/inet.h>
#include <string.h>

#include "ip_text.h"

static bool ipv4_read(uint8_t out[4], const uint8_t *p, const uint8_t *end)
{
	for (int i = 0; i < 4; i++) {
		uint32_t v = 0, digits = 0;

		for (; p < end && digits < 3 && (uint32_t)(*p - '0') < 10; p++, digits++)
			v = v * 10 + (*p - '0');
		if (!digits || v > 255 || (digits > 1 && v < (digits == 2 ? 10u : 100u)))
			return false;
		out[i] = (uint8_t)v;
		if (i < 3 && (p == end || *p++ != '.'))
			return false;
	}
	return p == end;
}

bool ip_from_text(uint8_t out[16], const uint8_t *text, uint32_t bytes)
{
	char copy[INET6_ADDRSTRLEN];

	if (!bytes || bytes >= sizeof copy)
		return false;
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	if (ipv4_read(out + 12, text, text + bytes))
		return true;
	if (memchr(text, 0, bytes))
		return false;
	memcpy(copy, text, bytes);
	copy[bytes] = 0;
	return inet_pton(AF_INET6, copy, out) == 1;
}
