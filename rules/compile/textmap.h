/* Byte strings to numbers: pattern and id tables while compiling, the values of eq and in while matching.
 * Keys are borrowed. Adding is for set-up; finding is pure and belongs to any thread. */
#ifndef SLUICE_TEXTMAP_H
#define SLUICE_TEXTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "hash.h"

#define TEXTMAP_NONE UINT32_MAX

struct textmap_slot {
	uint64_t hash; /* 0: free */
	const char *key;
	uint32_t bytes;
	uint32_t value;
};

struct textmap {
	struct textmap_slot *slot; /* NULL: empty */
	uint32_t mask, count;
	uint32_t bytes_max; /* longest key */
	/* Most values of events are in no table: by their length and first byte they are told apart at once.
	 */
	uint64_t lengths;  /* bit of each key's length; 63: that and longer */
	uint64_t first[4]; /* bit of each key's first byte */
};

/* False: no key of this length begins with this byte. */
static inline bool textmap_maybe(const struct textmap *map, uint8_t first, uint32_t bytes)
{
	return map->lengths >> (bytes < 63 ? bytes : 63) & 1 &&
	       (!bytes || map->first[first / 64] >> (first % 64) & 1);
}

static inline uint64_t textmap_hash(const void *key, uint32_t bytes)
{
	uint64_t h = hash_bytes(key, bytes, 0);

	return h ? h : 1;
}

/* The slot of a key, or NULL. At most half of the slots are in use, so the search ends. */
static inline struct textmap_slot *textmap_find(const struct textmap *map, const void *key, uint32_t bytes)
{
	uint64_t h;

	if (bytes > map->bytes_max || !textmap_maybe(map, bytes ? *(const uint8_t *)key : 0, bytes))
		return NULL;
	h = textmap_hash(key, bytes);
	for (uint32_t i = (uint32_t)h & map->mask;; i = (i + 1) & map->mask) {
		struct textmap_slot *s = &map->slot[i];

		if (!s->hash)
			return NULL;
		if (s->hash == h && s->bytes == bytes && !memcmp(s->key, key, bytes))
			return s;
	}
}

/* The slot of a key, made with value TEXTMAP_NONE if it is new; NULL without memory. Invalidates other slots.
 */
struct textmap_slot *textmap_add(struct textmap *map, const char *key, uint32_t bytes);
void textmap_free(struct textmap *map);

#endif
