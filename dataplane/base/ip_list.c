/* See ip_list.h. */
#include "ip_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ip_text.h"

static unsigned __int128 number(const uint8_t addr[16])
{
	uint64_t word[2];

	memcpy(word, addr, 16);
	return (unsigned __int128)__builtin_bswap64(word[0]) << 64 | __builtin_bswap64(word[1]);
}

static int by_first(const void *a, const void *b)
{
	unsigned __int128 x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

static void merge(struct ip_list *list)
{
	uint32_t kept = 0;

	qsort(list->range, list->count, sizeof *list->range, by_first);
	for (uint32_t i = 1; i < list->count; i++) {
		if (list->range[i].first > list->range[kept].last &&
			list->range[i].first - list->range[kept].last > 1)
			list->range[++kept] = list->range[i];
		else if (list->range[i].last > list->range[kept].last)
			list->range[kept].last = list->range[i].last;
	}
	list->count = list->count ? kept + 1 : 0;
}

int ip_list_from_text(struct ip_list *list, const char *text, struct err *err)
{
	char entry[64];
	uint8_t first[16], last[16];

	list->count = 0;
	for (const char *p = text; *p;) {
		size_t bytes = strcspn(p, ","), from = strspn(p, " "), to = bytes;

		while (to > from && p[to - 1] == ' ')
			to--;
		snprintf(entry, sizeof entry, "%.*s", to > from ? (int)(to - from) : 0, p + from);
		if (to <= from || to - from >= sizeof entry || !ip_range_from_text(first, last, entry))
			return err_set(err, -EINVAL,
				"'%s': expected an address, or ADDRESS/BITS without bits behind the prefix",
				entry);
		if (list->count == IP_LIST_MAX)
			return err_set(err, -EINVAL, "more than %u ranges", IP_LIST_MAX);
		list->range[list->count].first = number(first);
		list->range[list->count++].last = number(last);
		if (p[bytes] && !p[bytes + 1])
			return err_set(err, -EINVAL, "nothing behind the last comma");
		p += bytes + (p[bytes] == ',');
	}
	merge(list);
	return 0;
}

bool ip_list_has(const struct ip_list *list, const uint8_t addr[16])
{
	unsigned __int128 n = number(addr);
	uint32_t low = 0, high = list->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (list->range[middle].last < n)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list->count && list->range[low].first <= n;
}
