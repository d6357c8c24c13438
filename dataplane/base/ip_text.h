/* IP addresses as text. Any thread; pure. */
#ifndef SLUICE_IP_TEXT_H
#define SLUICE_IP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The address of IPv4 text (dotted decimal without leading zeros; gives the IPv4-mapped address, RFC 4291
 * section 2.5.5.2) or of IPv6 text (section 2.2). False if it is neither; out is then undefined. */
bool ip_from_text(uint8_t out[16], const uint8_t *text, uint32_t bytes);

/* "ADDRESS/BITS" or an address alone: its first and last address. Bits count from the address as it is
 * written, so those of IPv4 are 0 to 32. False: not such a text, or the address has bits behind the prefix.
 */
bool ip_range_from_text(uint8_t first[16], uint8_t last[16], const char *text);

/* Text of an IPv6 or IPv4-mapped address (as 1.2.3.4), with a terminating zero; returns its length. No
 * printf: some paths ask once a record. */
#define IP_TEXT_BYTES 64
size_t ip_to_text(char out[IP_TEXT_BYTES], const uint8_t addr[16]);

/* The IPv4-mapped address of one in the order of the network. */
static inline void ip_from_v4(uint8_t out[16], const void *ipv4)
{
	memset(out, 0, 10);
	memset(out + 10, 0xff, 2);
	memcpy(out + 12, ipv4, 4);
}

/* Whether it is an IPv4-mapped one. */
static inline bool ip_is_v4(const uint8_t addr[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(addr, mapped, sizeof mapped) == 0;
}

/* An address that one host may have: not unspecified, loopback, multicast, or of IPv4's reserved ones. */
static inline bool ip_is_unicast(const uint8_t addr[16])
{
	static const uint8_t none[16], loopback[16] = {[15] = 1};

	if (ip_is_v4(addr))
		return addr[12] != 0 && addr[12] != 127 && addr[12] < 224;
	return addr[0] != 0xff && memcmp(addr, none, 16) != 0 && memcmp(addr, loopback, 16) != 0;
}

#endif
