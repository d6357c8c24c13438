/* The addresses of ports.addresses: single ones, few. Any thread. */
#ifndef SLUICE_ADDRESS_LIST_H
#define SLUICE_ADDRESS_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define ADDRESS_LIST_MAX 8u

struct address_list {
	uint32_t count;
	uint8_t address[ADDRESS_LIST_MAX][16]; /* IPv4 as ::ffff:a.b.c.d */
};

/* "192.0.2.2, 2001:db8::2"; an empty text is an empty list. 0, or -EINVAL: err names the entry. */
int address_list_from_text(struct address_list *list, const char *text, struct err *err);

/* Which one it is; ADDRESS_LIST_MAX: none of them. Pure. */
uint32_t address_list_find(const struct address_list *list, const uint8_t addr[16]);
/* Whether an IPv6 address is among them. */
bool address_list_has_v6(const struct address_list *list);

#endif
