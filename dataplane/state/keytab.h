/* Key tables: byte strings to values of a fixed size, for panes, hopping windows, sessions and funnels. State
 * thread of a partition; owns all its memory; its order is never shown: who emits sorts by key.
 *
 * Entries (header, value, key) lie in chunks and never move, so that a cell and the key it is compared with
 * come in by neighbouring cache lines. Slots are 8 bytes: 32 bits of the hash and a reference. A table grows
 * by doubling up to 4096 slots, then by extendible hashing (Fagin, Nievergelt, Pippenger, Strong 1979): one
 * part of 4096 slots splits at a time, so that no insertion costs more than that. The hash is not keyed: the
 * same keys make the same table. A part whose keys do not separate gets another part chained to it, so that
 * made-up collisions cost their own partition time, but no memory. */
#ifndef SLUICE_KEYTAB_H
#define SLUICE_KEYTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "hash.h"
#include "huge_pool.h"

#define KEYTAB_PART_SLOTS 4096u
#define KEYTAB_DEPTH_MAX 20u
#define KEYTAB_CHUNK_BITS 18u  /* of a chunk, in units of 8 bytes: 2 MiB */
#define KEYTAB_ENTRY_BYTES 32u /* logical cost of an entry beside value and key: header and slots */

enum keytab_flags {
	KEYTAB_F_DEAD = 1 << 0,	 /* free for another key */
	KEYTAB_F_LIVE = 1 << 4,	 /* not free: so that no header is all zero */
	KEYTAB_F_ASIDE = 1 << 1, /* not in the slots */
	KEYTAB_F_OTHER = 1 << 2, /* the key `other` */
	KEYTAB_F_CUT = 1 << 3,	 /* a part of its cell had no memory */
};

/* Followed by the value, then by the key, then by zero bytes up to a multiple of 8. */
struct keytab_entry {
	uint32_t tag; /* upper half of the key's hash */
	uint16_t key_bytes;
	uint16_t flags;
};

struct keytab_slot {
	uint32_t tag;
	uint32_t ref; /* 0: empty */
};

/* 4096 slots or, while the table is small, a smaller power of two. */
struct keytab_part {
	uint32_t count;
	uint32_t depth; /* bits of the tag that all its keys share */
	struct keytab_part *more;
	struct keytab_slot slot[];
};

struct keytab {
	struct keytab_part **part; /* 2^depth, by the upper bits of the tag */
	uint32_t depth;
	uint32_t mask; /* slots of a part - 1 */
	uint32_t value_bytes;
	uint32_t chunk_count, chunk_room;
	uint32_t fill, fill_end; /* units of the last chunk */
	uint8_t **chunk;	 /* those of full size are the pool's */
	struct huge_slab parts;	 /* of KEYTAB_PART_SLOTS */
	uint32_t *freed; /* by units of an entry: the last one that was freed, linked through its value */
	uint32_t freed_count;
	uint64_t count;	    /* entries, those aside as well */
	uint64_t key_bytes; /* of these, each rounded up to 8 */
};

/* pool: borrowed for the table's life. Nothing is allocated before the first key. Where memory cannot be had
 * the process ends (must.h). value_bytes: multiple of 8, at least 8. */
void keytab_init(struct keytab *kt, uint32_t value_bytes, struct huge_pool *pool);
void keytab_free(struct keytab *kt);

/* Any 32 bits made of the key's bytes alone will do as its tag, if whoever uses a table always makes them in
 * one way. Where a key begins with two bytes of length, or the like, they go into the seed: a key that was
 * just put together is then hashed from where its text was, not from words that are still on their way. */
static inline uint32_t keytab_tag(uint16_t head, const uint8_t *rest, uint32_t bytes)
{
	uint64_t low, high;

	if (bytes < 8 || bytes > 16)
		return (uint32_t)(hash_bytes(rest, bytes, head) >> 32);
	low = hash_load(rest, 8);
	high = hash_load(rest + bytes - 8, 8);
	return (uint32_t)(hash_fold(hash_fold(low ^ 0xa0761d6478bd642full, high ^ 0xe7037ed1a0b428dbull),
				  head ^ 0x8ebc6af09c88c6e3ull) >>
			  32);
}

/* Keys as words: both are followed by zero bytes up to a multiple of 8. */
static inline bool keytab_same(const uint8_t *a, const uint8_t *b, uint32_t bytes)
{
	uint64_t differs = 0;

	for (uint32_t i = 0; i < bytes; i += 8)
		differs |= hash_load(a + i, 8) ^ hash_load(b + i, 8);
	return !differs;
}

static inline void *keytab_value(const struct keytab_entry *e)
{
	return (void *)(e + 1);
}

static inline const uint8_t *keytab_key(const struct keytab *kt, const struct keytab_entry *e)
{
	return (const uint8_t *)(e + 1) + kt->value_bytes;
}

static inline struct keytab_entry *keytab_at(const struct keytab *kt, uint32_t ref)
{
	return (struct keytab_entry *)(kt->chunk[ref >> KEYTAB_CHUNK_BITS] +
				       (size_t)(ref & ((1u << KEYTAB_CHUNK_BITS) - 1)) * 8);
}

static inline uint64_t keytab_logical_bytes(const struct keytab *kt)
{
	return kt->count * (KEYTAB_ENTRY_BYTES + (uint64_t)kt->value_bytes) + kt->key_bytes;
}

static inline struct keytab_part *keytab_part_of(const struct keytab *kt, uint32_t tag)
{
	return kt->part[(uint64_t)tag >> (32 - kt->depth)];
}

/* First pass of a burst: the slot, fetched. NULL: the table is empty. */
static inline const struct keytab_slot *keytab_prefetch_slot(const struct keytab *kt, uint32_t tag)
{
	const struct keytab_slot *slot;

	if (!kt->part)
		return NULL;
	slot = &keytab_part_of(kt, tag)->slot[tag & kt->mask];
	__builtin_prefetch(slot);
	return slot;
}

/* An entry up to where most keys end. */
static inline void keytab_prefetch_entry(const struct keytab *kt, const struct keytab_entry *e)
{
	const uint8_t *from = (const uint8_t *)e, *last = from + kt->value_bytes + 24;

	__builtin_prefetch(from, 1);
	for (from += 64; from < last; from += 64)
		__builtin_prefetch(from, 1);
	__builtin_prefetch(last, 1);
}

/* Second pass: the entry that the key probably has, fetched; NULL: none. keytab_is() says if it is the one.
 */
static inline struct keytab_entry *keytab_guess(
	const struct keytab *kt, const struct keytab_slot *slot, uint32_t tag)
{
	const struct keytab_part *part;
	struct keytab_entry *e;

	if (!slot)
		return NULL;
	if (slot->tag != tag || !slot->ref) {
		part = keytab_part_of(kt, tag);
		for (uint32_t i = tag & kt->mask;; i = (i + 1) & kt->mask) {
			slot = &part->slot[i];
			if (!slot->ref)
				return NULL;
			if (slot->tag == tag)
				break;
		}
	}
	e = keytab_at(kt, slot->ref);
	keytab_prefetch_entry(kt, e);
	return e;
}

static inline bool keytab_is(
	const struct keytab *kt, const struct keytab_entry *e, const uint8_t *key, uint32_t bytes)
{
	return e->key_bytes == bytes && keytab_same(keytab_key(kt, e), key, bytes);
}

/* key: 8-byte aligned, zero bytes behind it up to a multiple of 8. */
static inline struct keytab_entry *keytab_find(
	const struct keytab *kt, uint32_t tag, const void *key, uint32_t bytes, uint32_t *ref)
{
	if (!kt->part)
		return NULL;
	for (const struct keytab_part *part = keytab_part_of(kt, tag); part; part = part->more) {
		for (uint32_t i = tag & kt->mask; part->slot[i].ref; i = (i + 1) & kt->mask) {
			struct keytab_entry *e;

			if (part->slot[i].tag != tag)
				continue;
			e = keytab_at(kt, part->slot[i].ref);
			if (keytab_is(kt, e, key, bytes)) {
				if (ref)
					*ref = part->slot[i].ref;
				return e;
			}
		}
	}
	return NULL;
}

/* A new entry for a key that the table does not have; the value is zero. */
struct keytab_entry *keytab_add(
	struct keytab *kt, uint32_t tag, const void *key, uint32_t bytes, uint32_t *ref);
/* An entry that is in no slot: found by its reference only. `flags` beside KEYTAB_F_ASIDE. */
struct keytab_entry *keytab_add_aside(
	struct keytab *kt, const void *key, uint32_t bytes, uint16_t flags, uint32_t *ref);
/* Frees an entry of either kind. */
void keytab_remove(struct keytab *kt, uint32_t ref);

/* All entries in the order in which they lie: start with *at = 0; NULL at the end. Entries may be removed on
 * the way, not added. */
struct keytab_entry *keytab_next(const struct keytab *kt, uint32_t *at, uint32_t *ref);

#endif
