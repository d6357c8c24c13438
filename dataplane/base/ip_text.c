/* IP addresses as text (RFC 4291 section 2.2, dotted quads without leading zeros) to 16 bytes, and back. Any
 * thread, workers too; pure. */
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

bool ip_range_from_text(uint8_t first[16], uint8_t last[16], const char *text)
{
	const char *slash = strchr(text, '/'), *p;
	size_t bytes = slash ? (size_t)(slash - text) : strlen(text);
	bool v4 = !memchr(text, ':', bytes);
	uint32_t most = v4 ? 32 : 128, bits = 0;

	if (bytes > INET6_ADDRSTRLEN || !ip_from_text(first, (const uint8_t *)text, (uint32_t)bytes))
		return false;
	for (p = slash ? slash + 1 : NULL; p && *p; p++) {
		if (*p < '0' || *p > '9' || bits > most)
			return false;
		bits = bits * 10 + (uint32_t)(*p - '0');
	}
	if (bits > most || (slash && !slash[1]))
		return false;
	bits = slash ? bits + (128 - most) : 128;
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t fixed = bits > i * 8 ? bits - i * 8 : 0;
		uint8_t free = fixed >= 8 ? 0 : (uint8_t)(0xff >> fixed);

		if (first[i] & free)
			return false;
		last[i] = first[i] | free;
	}
	return true;
}

size_t ip_to_text(char out[IP_TEXT_BYTES], const uint8_t addr[16])
{
	char *p = out;

	if (!ip_is_v4(addr)) {
		inet_ntop(AF_INET6, addr, out, IP_TEXT_BYTES);
		return strlen(out);
	}
	for (int i = 12; i < 16; i++) {
		uint8_t v = addr[i];

		if (v >= 100)
			*p++ = (char)('0' + v / 100);
		if (v >= 10)
			*p++ = (char)('0' + v / 10 % 10);
		*p++ = (char)('0' + v % 10);
		*p++ = i < 15 ? '.' : 0;
	}
	return (size_t)(p - out) - 1;
}
