/* A lookup table from a CSV file: key -> value, made off the RX path and never changed afterwards. Open
 * addressing with linear probing, at most half full, 16 bytes a slot; keys and values lie in one run of
 * bytes, equal values once. Finding is pure and may be done by any number of threads; making and freeing is
 * for control threads. */
#ifndef SLUICE_LOOKUP_H
#define SLUICE_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "err.h"
#include "hash.h"

struct lookup_slot {
	uint32_t tag; /* upper half of the key's hash */
	uint32_t key_at;
	uint32_t value_at;
	uint16_t key_bytes; /* 0: free */
	uint16_t value_bytes;
};
_Static_assert(sizeof(struct lookup_slot) == 16, "four slots a cache line");

struct lookup {
	struct lookup_slot *slot;
	uint8_t *text;
	uint32_t mask;
	uint32_t rows;
	uint64_t text_bytes;
	uint64_t version; /* hash of the file's bytes */
};

/* What is wanted of a file. key_column, value_column: names in the header row; "" = the first, the second. */
struct lookup_want {
	const char *file;
	const char *key_column, *value_column;
	uint32_t key_bytes_max, value_bytes_max;
	uint64_t file_bytes_max;
};

/* 0; or -EINVAL, -ENOMEM or what open(2) gave, with "FILE: line N: ..." in err: rows of another width than
 * the header's, an empty or too long key, a key twice, a too long value, bytes that are not UTF-8. A row with
 * an empty value is kept: its key is known, and fills nothing. */
int lookup_load(struct lookup *out, const struct lookup_want *want, struct err *err);
/* The same from memory, which is changed; `want->file` is only for error texts. */
int lookup_parse(
	struct lookup *out, char *data, size_t bytes, const struct lookup_want *want, struct err *err);
void lookup_free(struct lookup *lk);

static inline uint64_t lookup_hash(const void *key, uint32_t bytes)
{
	return hash_bytes(key, bytes, 0x6c6f6f6b7570ull);
}

static inline void lookup_prefetch(const struct lookup *lk, uint64_t hash)
{
	__builtin_prefetch(&lk->slot[hash & lk->mask]);
}

/* Once the slot is there: the bytes of the key in it, if it may be the one. */
static inline void lookup_prefetch_key(const struct lookup *lk, uint64_t hash)
{
	const struct lookup_slot *s = &lk->slot[hash & lk->mask];

	if (s->tag == (uint32_t)(hash >> 32))
		__builtin_prefetch(lk->text + s->key_at);
}

/* The slot of a key with its lookup_hash(), or NULL. */
static inline const struct lookup_slot *lookup_find(
	const struct lookup *lk, uint64_t hash, const void *key, uint32_t bytes)
{
	for (uint32_t i = (uint32_t)hash & lk->mask;; i = (i + 1) & lk->mask) {
		const struct lookup_slot *s = &lk->slot[i];

		if (!s->key_bytes)
			return NULL;
		if (s->tag == (uint32_t)(hash >> 32) && s->key_bytes == bytes &&
			memcmp(lk->text + s->key_at, key, bytes) == 0)
			return s;
	}
}

#endif
