/* IP addresses as text. Any thread; pure. */
#ifndef SLUICE_IP_TEXT_H
#define SLUICE_IP_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/* The address of IPv4 text (dotted decimal without leading zeros; gives the IPv4-mapped address, RFC 4291
 * section 2.5.5.2) or of IPv6 text (section 2.2). False if it is neither; out is then undefined. */
bool ip_from_text(uint8_t out[16], const uint8_t *text, uint32_t bytes);

#endif
