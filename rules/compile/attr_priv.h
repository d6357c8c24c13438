/* What the making of a tree of attributes and the walk share. */
#ifndef SLUICE_ATTR_PRIV_H
#define SLUICE_ATTR_PRIV_H

#include <string.h>

#include "attr.h"
#include "hash.h"

static inline uint64_t attr_hash(uint32_t from, const void *key, uint32_t bytes)
{
	uint64_t h = hash_bytes(key, bytes, from);

	return h ? h : 1;
}

/* The node below `from` under a key, or 0. */
static inline uint32_t attr_child(
	const struct attr_tree *tree, uint32_t from, const void *key, uint32_t bytes)
{
	uint64_t h;

	if (bytes > tree->key_bytes_max || !(tree->lengths >> (bytes < 63 ? bytes : 63) & 1))
		return 0;
	h = attr_hash(from, key, bytes);
	for (uint32_t i = (uint32_t)h & tree->edge_mask;; i = (i + 1) & tree->edge_mask) {
		const struct attr_edge *e = &tree->edge[i];

		if (!e->hash)
			return 0;
		if (e->hash == h && e->from == from && e->bytes == bytes && !memcmp(e->key, key, bytes))
			return e->to;
	}
}

#endif
