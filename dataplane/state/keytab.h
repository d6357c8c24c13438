/* Key tables: byte strings to values of a fixed size, for panes, hopping windows, sessions and funnels. State
 * thread of a partition; owns all its memory; its order is never shown: who emits sorts by key.
 *
 * Entries (header, value, key) lie in chunks and never move, so that a cell and the key it is compared with
 * come in by neighbouring cache lines. Slots are 8 bytes, 32 bits of the hash and a reference, and stand in
 * buckets of a cache line; what finds its bucket full goes to the next one. A table
 * grows by doubling up to 4096 slots, then by extendible hashing (Fagin, Nievergelt, Pippenger, Strong 1979):
 * one part of 4096 slots splits at a time into two of 2560, each of which has 4096 again when it needs them,
 * made of segments that all parts share. So slots are filled by 0.55 to 0.875 at any number of keys, 0.72 in
 * the mean, and no insertion costs more than one part. Tags are of a key of the process, so that senders
 * cannot make up keys that meet. A part whose keys do not separate gets another part chained to it. */
#ifndef SLUICE_KEYTAB_H
#define SLUICE_KEYTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <emmintrin.h>

#include "hash_process.h"
#include "huge_pool.h"

#define KEYTAB_BUCKET_SLOTS 8u
#define KEYTAB_SEGMENT_BUCKETS 64u
#define KEYTAB_SEGMENTS 8u /* of a part */
#define KEYTAB_DEPTH_MAX 20u
#define KEYTAB_UNIT 4u	       /* of references, in bytes */
#define KEYTAB_CHUNK_BITS 19u  /* of a chunk, in units: 2 MiB */
#define KEYTAB_ENTRY_BYTES 32u /* logical cost of an entry beside value and key: header and slots */

enum keytab_flags {
	KEYTAB_F_DEAD = 1 << 0,	 /* free for another key */
	KEYTAB_F_LIVE = 1 << 4,	 /* not free: so that no header is all zero */
	KEYTAB_F_ASIDE = 1 << 1, /* not in the slots */
	KEYTAB_F_OTHER = 1 << 2, /* the key `other` */
	KEYTAB_F_CUT = 1 << 3,	 /* a part of its cell had no memory */
	KEYTAB_F_WIDE = 1 << 5,	 /* its cell stands elsewhere: pane.h */
	KEYTAB_F_ROOM = 1 << 6,	 /* no entry: keytab_room() */
};

/* Followed by the value, then by the key. In tables with removal there is the tag before it, values are
 * 8-byte aligned, and behind the key there are zero bytes up to a multiple of 8. */
struct keytab_entry {
	uint16_t key_bytes;
	uint8_t flags;
	uint8_t mark; /* the table's user's; 0 at first */
};

/* A cache line; slots are filled from the front. */
struct keytab_bucket {
	uint32_t tag[KEYTAB_BUCKET_SLOTS];
	uint32_t ref[KEYTAB_BUCKET_SLOTS]; /* 0: empty */
};

struct keytab_part {
	uint32_t count;
	uint32_t depth;	  /* bits of the tag that all its keys share */
	uint32_t buckets; /* whole segments or, while the table is small, a smaller power of two */
	struct keytab_part *more;
	struct keytab_bucket *segment[KEYTAB_SEGMENTS];
};

struct keytab {
	struct keytab_part **part; /* 2^depth, by the upper bits of the tag */
	uint32_t depth;
	uint32_t value_bytes;
	uint32_t value_counted; /* logical cost of a value: value_bytes, if its user does not say else */
	uint32_t tag_units;	/* before a header: 1 in tables with removal, else 0 */
	uint32_t chunk_count, chunk_room;
	uint32_t fill, fill_end;  /* units of the last chunk */
	uint8_t **chunk;	  /* those of full size are the pool's */
	struct huge_slab segment; /* of parts that have split */
	uint32_t *freed; /* by units of an entry: the last one that was freed, linked through its value */
	uint32_t freed_count;
	uint64_t count;	    /* entries, those aside as well */
	uint64_t key_bytes; /* of these, each rounded up to 8 */
};

/* pool: borrowed for the table's life. Nothing is allocated before the first key. Where memory cannot be had
 * the process ends (must.h). value_bytes: multiple of 8, at least 8. */
void keytab_init(struct keytab *kt, uint32_t value_bytes, struct huge_pool *pool);
/* The same for a table from which nothing is removed: 4 bytes less of each entry, which starts at a multiple
 * of
 * 4. value_bytes: at least 4. */
void keytab_init_growing(struct keytab *kt, uint32_t value_bytes, struct huge_pool *pool);
void keytab_free(struct keytab *kt);

/* Any 32 bits made of the key's bytes alone will do as its tag, if whoever uses a table always makes them in
 * one way. Where a key begins with two bytes of length, or the like, they go into the seed: a key that was
 * just put together is then hashed from where its text was, not from words that are still on their way. */
static inline uint32_t keytab_tag(uint16_t head, const uint8_t *rest, uint32_t bytes)
{
	const struct hash_key *key = &hash_process_key;
	uint64_t low, high, h;

	if (bytes < 8 || bytes > 16) {
		h = hash_keyed(key, rest, bytes);
	} else {
		low = hash_load(rest, 8);
		high = hash_load(rest + bytes - 8, 8);
		h = hash_fold(low ^ key->word[0], high ^ key->word[1]);
	}
	return (uint32_t)(hash_fold(h, head ^ key->word[2]) >> 32);
}

/* 7 bytes behind both are readable. */
static inline bool keytab_same(const uint8_t *a, const uint8_t *b, uint32_t bytes)
{
	uint64_t differs = 0;
	uint32_t i = 0;

	for (; i + 8 <= bytes; i += 8)
		differs |= hash_load(a + i, 8) ^ hash_load(b + i, 8);
	if (bytes & 7)
		differs |= (hash_load(a + i, 8) ^ hash_load(b + i, 8)) << (64 - 8 * (bytes & 7));
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
				       (size_t)(ref & ((1u << KEYTAB_CHUNK_BITS) - 1)) * KEYTAB_UNIT);
}

static inline uint64_t keytab_logical_bytes(const struct keytab *kt)
{
	return kt->count * (KEYTAB_ENTRY_BYTES + (uint64_t)kt->value_counted) + kt->key_bytes;
}

static inline struct keytab_part *keytab_part_of(const struct keytab *kt, uint32_t tag)
{
	return kt->part[(uint64_t)tag >> (32 - kt->depth)];
}

/* Where the search for a tag begins. */
static inline uint32_t keytab_home(const struct keytab_part *part, uint32_t tag)
{
	return (uint32_t)((uint64_t)(tag << part->depth) * part->buckets >> 32);
}

static inline struct keytab_bucket *keytab_bucket_at(const struct keytab_part *part, uint32_t at)
{
	return part->segment[at / KEYTAB_SEGMENT_BUCKETS] + at % KEYTAB_SEGMENT_BUCKETS;
}

static inline bool keytab_bucket_full(const struct keytab_bucket *bucket)
{
	return bucket->ref[KEYTAB_BUCKET_SLOTS - 1] != 0;
}

/* Which of a bucket's eight words are this one, as bits. */
static inline uint32_t keytab_words_match(const uint32_t *word, uint32_t want)
{
	const __m128i *from = (const __m128i *)word, wanted = _mm_set1_epi32((int)want);
	__m128i low = _mm_cmpeq_epi32(_mm_load_si128(from), wanted),
		high = _mm_cmpeq_epi32(_mm_load_si128(from + 1), wanted);

	return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(low)) |
	       (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(high)) << 4;
}

/* Slots that have the tag; for 0 empty ones, too. */
static inline uint32_t keytab_match(const struct keytab_bucket *bucket, uint32_t tag)
{
	return keytab_words_match(bucket->tag, tag);
}

/* Always inline: gcc 12 takes a function that only prefetches for one without effect, and drops calls of it
 * that it has not inlined early. */
#define KEYTAB_PREFETCH static inline __attribute__((always_inline))

/* First pass of a burst: the bucket, fetched. NULL: the table is empty. */
KEYTAB_PREFETCH const struct keytab_bucket *keytab_prefetch_slot(const struct keytab *kt, uint32_t tag)
{
	const struct keytab_part *part;
	const struct keytab_bucket *bucket;

	if (!kt->part)
		return NULL;
	part = keytab_part_of(kt, tag);
	bucket = keytab_bucket_at(part, keytab_home(part, tag));
	__builtin_prefetch(bucket);
	return bucket;
}

/* An entry up to where most keys end. */
KEYTAB_PREFETCH void keytab_prefetch_entry(const struct keytab *kt, const struct keytab_entry *e)
{
	const uint8_t *from = (const uint8_t *)e;
	const uint32_t last = kt->value_bytes + 24;

	__builtin_prefetch(from, 1);
	__builtin_prefetch(from + last, 1);
	if (last > 64)
		__builtin_prefetch(from + 64, 1);
	for (uint32_t at = 128; __builtin_expect(at < last, 0); at += 64)
		__builtin_prefetch(from + at, 1);
}

/* The first entry of a tag, as a reference. 0: none. */
uint32_t keytab_look(const struct keytab *kt, uint32_t tag);

/* Second pass: the entry that the key probably has, fetched; NULL: none. keytab_is() says if it is the one.
 */
static inline struct keytab_entry *keytab_guess(
	const struct keytab *kt, const struct keytab_bucket *bucket, uint32_t tag)
{
	struct keytab_entry *e;
	uint32_t match, ref;

	if (!bucket)
		return NULL;
	match = keytab_match(bucket, tag);
	if (__builtin_expect(match != 0, 1))
		ref = bucket->ref[__builtin_ctz(match)]; /* the tag 0 is that of free slots, too */
	else
		ref = keytab_bucket_full(bucket) ? keytab_look(kt, tag) : 0;
	if (!ref)
		return NULL;
	e = keytab_at(kt, ref);
	keytab_prefetch_entry(kt, e);
	return e;
}

static inline bool keytab_is(
	const struct keytab *kt, const struct keytab_entry *e, const uint8_t *key, uint32_t bytes)
{
	return e->key_bytes == bytes && keytab_same(keytab_key(kt, e), key, bytes);
}

/* key: 7 bytes behind it are readable. */
struct keytab_entry *keytab_find(
	const struct keytab *kt, uint32_t tag, const void *key, uint32_t bytes, uint32_t *ref);
/* A new entry for a key that the table does not have; the value is zero. */
struct keytab_entry *keytab_add(
	struct keytab *kt, uint32_t tag, const void *key, uint32_t bytes, uint32_t *ref);
/* An entry that is in no slot: found by its reference only. `flags` beside KEYTAB_F_ASIDE. */
struct keytab_entry *keytab_add_aside(
	struct keytab *kt, const void *key, uint32_t bytes, uint8_t flags, uint32_t *ref);
/* Zero bytes that live as long as the table, 4-byte aligned: no entry, in no walk, found by keytab_value() of
 * their reference. A growing table; bytes: at least value_bytes. */
void *keytab_room(struct keytab *kt, uint32_t bytes, uint32_t *ref);
/* Frees an entry of either kind, in a table with removal; there its tag is known, too. */
void keytab_remove(struct keytab *kt, uint32_t ref);
static inline uint32_t keytab_tag_of(const struct keytab_entry *e)
{
	return *((const uint32_t *)e - 1);
}

/* All entries in the order in which they lie: start with *at = 0; NULL at the end. Entries may be removed on
 * the way, not added. */
struct keytab_entry *keytab_next(const struct keytab *kt, uint32_t *at, uint32_t *ref);

#endif
