/* Sorting keys of a key table: memcmp order, the shorter first where one begins the other. Linear in the
 * bytes that tell keys apart, whatever the keys are: radix sort of eight key bytes at a time. Pure; scratch
 * memory is the caller's. */
#ifndef SLUICE_KEYSORT_H
#define SLUICE_KEYSORT_H

#include <stdint.h>

#include "keytab.h"

struct keysort_item {
	uint64_t prefix; /* eight key bytes, big endian; after the sort not meaningful */
	struct keytab_entry *entry;
};

/* scratch: room for `count` items. Keys must differ. */
void keysort(const struct keytab *kt, struct keysort_item *item, struct keysort_item *scratch, size_t count);

static inline int keysort_compare(const uint8_t *a, uint32_t a_bytes, const uint8_t *b, uint32_t b_bytes)
{
	int c = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);

	return c ? c : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

#endif
