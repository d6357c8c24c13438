/* See address_list.h. */
#include "address_list.h"

#include <errno.h>
#include <string.h>

#include "ip_text.h"
#include "text_list.h"

int address_list_from_text(struct address_list *list, const char *text, struct err *err)
{
	uint8_t addr[16];
	char entry[64]; /* longer than any address: what is cut to fit is none */

	list->count = 0;
	for (uint32_t i = 0; *text && text_list_entry(text, i, entry, sizeof entry); i++) {
		if (!ip_from_text(addr, (const uint8_t *)entry, (uint32_t)strlen(entry)))
			return err_set(err, -EINVAL,
				"'%s' is no address: expected IPv4 or IPv6 addresses, separated by commas",
				entry);
		if (!ip_is_unicast(addr))
			return err_set(err, -EINVAL,
				"'%s' is no address of a host: it is unspecified, loopback, multicast or "
				"reserved",
				entry);
		if (address_list_find(list, addr) < ADDRESS_LIST_MAX)
			return err_set(err, -EINVAL, "'%s' is there twice", entry);
		if (list->count == ADDRESS_LIST_MAX)
			return err_set(err, -EINVAL, "more than %u addresses", ADDRESS_LIST_MAX);
		memcpy(list->address[list->count++], addr, sizeof addr);
	}
	return 0;
}

uint32_t address_list_find(const struct address_list *list, const uint8_t addr[16])
{
	for (uint32_t i = 0; i < list->count; i++)
		if (memcmp(list->address[i], addr, 16) == 0)
			return i;
	return ADDRESS_LIST_MAX;
}

bool address_list_has_v6(const struct address_list *list)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (!ip_is_v4(list->address[i]))
			return true;
	return false;
}
