/* Texts of record and source addresses. Sink threads, once a record: no printf on this
 * path. */
#include "address.h"

#include <string.h>

#include "ip_text.h"

static const char hex_digit[] = "0123456789abcdef";

static char *put_decimal(char *at, uint64_t v)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (n)
		*at++ = digits[--n];
	return at;
}

size_t address_text(char out[ADDRESS_TEXT_BYTES], const struct address *at)
{
	size_t node_bytes = strnlen(at->node, 64);
	char *p = out;

	memcpy(p, at->node, node_bytes);
	p += node_bytes;
	*p++ = '/';
	for (int shift = 60; shift >= 0; shift -= 4)
		*p++ = hex_digit[at->epoch >> shift & 15];
	*p++ = '/';
	p = put_decimal(p, at->partition);
	*p++ = '/';
	p = put_decimal(p, at->offset);
	*p = 0;
	return (size_t)(p - out);
}

size_t source_port_text(char out[SOURCE_TEXT_BYTES], const uint8_t addr[16], uint16_t port)
{
	bool v4 = ip_is_v4(addr);
	char text[IP_TEXT_BYTES];
	size_t bytes = ip_to_text(text, addr);
	char *p = out;

	if (!v4)
		*p++ = '[';
	memcpy(p, text, bytes); /* at most 45 characters */
	p += bytes;
	if (!v4)
		*p++ = ']';
	*p++ = ':';
	p = put_decimal(p, port);
	*p = 0;
	return (size_t)(p - out);
}
