/* Texts of addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen_out.h"

int gen_addr_split(const char *text, char *host, uint32_t host_bytes, uint16_t *port, struct err *err)
{
	const char *colon = strrchr(text, ':'), *from = text, *to = colon;
	unsigned long v;
	char *end;

	if (!colon || colon == text)
		return err_set(err, -EINVAL, "%s: expected HOST:PORT or [ADDR]:PORT", text);
	if (*from == '[') {
		from++;
		if (to[-1] != ']' || --to == from)
			return err_set(err, -EINVAL, "%s: expected [ADDR]:PORT", text);
	}
	v = strtoul(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || v < 1 || v > 65535)
		return err_set(err, -EINVAL, "%s: the port must be 1 to 65535", text);
	if ((size_t)(to - from) >= host_bytes)
		return err_set(err, -EINVAL, "%s: the host is too long", text);
	memcpy(host, from, (size_t)(to - from));
	host[to - from] = 0;
	*port = (uint16_t)v;
	return 0;
}

int gen_addr_parse(struct gen_addr *a, const char *text, struct err *err)
{
	char host[64];
	int rc = gen_addr_split(text, host, sizeof host, &a->port, err);

	if (rc)
		return rc;
	if (inet_pton(AF_INET, host, a->bytes) == 1)
		a->length = 4;
	else if (inet_pton(AF_INET6, host, a->bytes) == 1)
		a->length = 16;
	else
		return err_set(err, -EINVAL, "%s: %s is no IPv4 or IPv6 address", text, host);
	return 0;
}

int gen_mac_parse(uint8_t mac[6], const char *text, struct err *err)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *at = text;
	int n = 0;

	/* pairs of hex digits, with a colon before each but the first */
	while (n < 6 && (n == 0 || *at++ == ':') && strspn(at, digits) == 2) {
		mac[n++] = (uint8_t)strtoul(at, NULL, 16);
		at += 2;
	}
	if (n == 6 && *at == 0)
		return 0;
	return err_set(err, -EINVAL, "%s: expected a MAC address as 02:00:00:00:00:01", text);
}
