/* Lists in one text, with commas between their entries. Any thread; pure. */
#ifndef SLUICE_TEXT_LIST_H
#define SLUICE_TEXT_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Entry `index` of the list, without blanks around it, cut to fit. An empty list has one entry, which is
 * empty. False: there are not so many. */
static inline bool text_list_entry(const char *list, uint32_t index, char *out, size_t room)
{
	size_t bytes;

	for (; index; index--) {
		list = strchr(list, ',');
		if (!list)
			return false;
		list++;
	}
	list += strspn(list, " ");
	bytes = strcspn(list, ",");
	while (bytes && list[bytes - 1] == ' ')
		bytes--;
	if (bytes >= room)
		bytes = room - 1;
	memcpy(out, list, bytes);
	out[bytes] = 0;
	return true;
}

#endif
