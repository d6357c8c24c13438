/* Sorting keys; see keysort.h. State thread of a partition. */
#include "keysort.h"

#define INSERTION_MAX 32u
#define AHEAD 8u /* entries whose keys are fetched beforehand */

static uint64_t key_prefix(const struct keytab *kt, const struct keytab_entry *e, uint32_t depth)
{
	const uint8_t *key = keytab_key(kt, e);
	uint64_t v = 0;

	if (depth >= e->key_bytes)
		return 0;
	memcpy(&v, key + depth, e->key_bytes - depth < 8 ? e->key_bytes - depth : 8u);
	return __builtin_bswap64(v);
}

static void prefix_fill(const struct keytab *kt, struct keysort_item *item, size_t count, uint32_t depth)
{
	for (size_t i = 0; i < count; i++) {
		if (i + AHEAD < count) {
			const uint8_t *next = (const uint8_t *)item[i + AHEAD].entry;

			__builtin_prefetch(next);
			__builtin_prefetch(next + sizeof(struct keytab_entry) + kt->value_bytes + depth);
		}
		item[i].prefix = key_prefix(kt, item[i].entry, depth);
	}
}

/* By the rest of the key from `depth` on; prefixes are those of `depth`. */
static void insertion_sort(const struct keytab *kt, struct keysort_item *item, size_t count, uint32_t depth)
{
	for (size_t i = 1; i < count; i++) {
		struct keysort_item v = item[i];
		size_t j = i;

		for (; j; j--) {
			const struct keytab_entry *a = item[j - 1].entry;

			if (item[j - 1].prefix < v.prefix)
				break;
			if (item[j - 1].prefix == v.prefix) {
				uint32_t skip = depth;

				if (skip > a->key_bytes)
					skip = a->key_bytes;
				if (skip > v.entry->key_bytes)
					skip = v.entry->key_bytes;
				if (keysort_compare(keytab_key(kt, a) + skip, a->key_bytes - skip,
					    keytab_key(kt, v.entry) + skip, v.entry->key_bytes - skip) < 0)
					break;
			}
			item[j] = item[j - 1];
		}
		item[j] = v;
	}
}

/* Least significant byte first; bytes that are the same in all prefixes are skipped. */
static void radix_sort(struct keysort_item *item, struct keysort_item *scratch, size_t count)
{
	uint32_t counts[8][256];
	struct keysort_item *from = item, *to = scratch, *swap;

	memset(counts, 0, sizeof counts);
	for (size_t i = 0; i < count; i++)
		for (uint32_t b = 0; b < 8; b++)
			counts[b][item[i].prefix >> (8 * b) & 255]++;
	for (uint32_t b = 0; b < 8; b++) {
		uint32_t at = 0, shift = 8 * b;

		if (counts[b][item[0].prefix >> shift & 255] == count)
			continue;
		for (uint32_t v = 0; v < 256; v++) {
			uint32_t n = counts[b][v];

			counts[b][v] = at;
			at += n;
		}
		for (size_t i = 0; i < count; i++)
			to[counts[b][from[i].prefix >> shift & 255]++] = from[i];
		swap = from;
		from = to;
		to = swap;
	}
	if (from != item)
		memcpy(item, from, count * sizeof *item);
}

static void sort_from(const struct keytab *kt, struct keysort_item *item, struct keysort_item *scratch,
	size_t count, uint32_t depth);

/* Keys of one prefix: those that end in it come first, by length; the others go on with the next bytes. */
static void sort_same(const struct keytab *kt, struct keysort_item *item, struct keysort_item *scratch,
	size_t count, uint32_t depth)
{
	size_t ended = 0;

	for (size_t i = 0; i < count; i++) {
		struct keysort_item v = item[i];

		if (v.entry->key_bytes <= depth + 8) {
			item[i] = item[ended];
			item[ended++] = v;
		}
	}
	if (ended > 1) /* at most nine: each has a length of its own */
		insertion_sort(kt, item, ended, depth);
	if (count - ended > 1)
		sort_from(kt, item + ended, scratch, count - ended, depth + 8);
}

static void sort_from(const struct keytab *kt, struct keysort_item *item, struct keysort_item *scratch,
	size_t count, uint32_t depth)
{
	prefix_fill(kt, item, count, depth);
	if (count <= INSERTION_MAX) {
		insertion_sort(kt, item, count, depth);
		return;
	}
	radix_sort(item, scratch, count);
	for (size_t first = 0, i = 1; i <= count; i++) {
		if (i < count && item[i].prefix == item[first].prefix)
			continue;
		if (i - first > 1)
			sort_same(kt, item + first, scratch, i - first, depth);
		first = i;
	}
}

void keysort(const struct keytab *kt, struct keysort_item *item, struct keysort_item *scratch, size_t count)
{
	if (count > 1)
		sort_from(kt, item, scratch, count, 0);
}
