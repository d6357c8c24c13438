/* A set of IP addresses, given as ranges in text. */
#ifndef SLUICE_IP_LIST_H
#define SLUICE_IP_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define IP_LIST_MAX 64

/* Ranges that neither overlap nor touch, ascending; addresses as numbers, IPv4 mapped into IPv6. */
struct ip_list {
	uint32_t count;
	struct {
		unsigned __int128 first, last;
	} range[IP_LIST_MAX];
};

/* "10.0.0.0/8, 192.0.2.1, 2001:db8::/32"; an empty text is an empty list. 0, or -EINVAL: err names the entry.
 */
int ip_list_from_text(struct ip_list *list, const char *text, struct err *err);

/* Any thread; pure. */
bool ip_list_has(const struct ip_list *list, const uint8_t addr[16]);

#endif
