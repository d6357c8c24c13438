/* The ids that a partition remembers: a ring in order of acceptance, with their receive times, and buckets of
 * one cache line over it. Owned by the partition's writer (recovery fills it before the writer runs).
 * An id is known as long as it is younger than the window and among the last ids_max accepted ones. */
#ifndef SLUICE_DEDUP_H
#define SLUICE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "hash.h"
#include "record.h"

struct dedup_id {
	uint8_t id[16];
	int64_t time_ms;
};

#define DEDUP_BUCKET_IDS 8u
struct dedup_bucket {
	uint16_t tag[DEDUP_BUCKET_IDS];	   /* of the id's hash, odd; 0: never used */
	uint32_t number[DEDUP_BUCKET_IDS]; /* the id was the number-th that was added, modulo 2^32 */
	uint32_t beyond; /* the last number that found no place here, or was on its way through here */
	uint32_t spare[3];
};
_Static_assert(sizeof(struct dedup_bucket) == 64, "one cache line");

/* Of a secret, because senders choose ids: they must not choose buckets, nor ids that equal those made here.
 */
struct dedup_key {
	struct hash_key bucket, low, high; /* of buckets; of a shadow's id */
};
struct dedup_key dedup_key_of(uint64_t secret);

struct dedup {
	uint64_t window_ms; /* 0: off, nothing is allocated */
	struct dedup_key key;
	uint32_t ids_max;
	uint32_t next;	/* index in ring of the id to come: added % ids_max */
	uint32_t count; /* remembered: the last so many in ring */
	uint32_t mask;	/* of bucket */
	struct dedup_bucket *bucket;
	struct dedup_id *ring;
	uint64_t evicted; /* forgotten before the window had passed */
	uint64_t added;	  /* all ever: the nth stands in ring[n % ids_max] */
	uint32_t asked;	  /* ids of the last dedup_guess() */
	uint32_t known;	  /* so many since then were known */
};

int dedup_init(struct dedup *d, uint64_t window_ms, uint64_t ids_max, uint64_t secret);
void dedup_free(struct dedup *d);
uint64_t dedup_hash(const struct dedup *d, const uint8_t id[16]);

/* The id under which a record is remembered: that of an event, its sender's or made of who has sent it with
 * which number (a refused one has only the latter); of a shadow its event's, mixed with its key, so that
 * neither hides the other: it is the same wherever the secret is. Made in room, or in the record; NULL: it
 * has none. */
const uint8_t *dedup_id(const struct dedup_key *key, const struct record *rec, uint8_t room[16]);
/* The id under which a record is remembered, and its hash; 0: it is not deduplicated. A shadow's is made of
 * the event's, of the key that it stands for and of that key's first field: it is apart from the event's and
 * from other shadows'. id: where it is to be looked up, in the record itself or in room. */
uint64_t dedup_of_record(
	const struct dedup *d, const struct record *rec, uint8_t room[16], const uint8_t **id);

/* The bucket in which an id is looked for first. */
static inline uint32_t dedup_home(const struct dedup *d, uint64_t hash)
{
	return (uint32_t)(hash >> 32) & d->mask;
}

/* To be called some ids ahead of dedup_add(). */
static inline void dedup_prefetch(const struct dedup *d, uint64_t hash)
{
	__builtin_prefetch(&d->bucket[dedup_home(d, hash)], 1);
}

/* Remembers an id that came at now_ms (never less than in the call before). Returns false, and changes
 * nothing of what is remembered, if it is known. */
bool dedup_add(struct dedup *d, const uint8_t id[16], uint64_t hash, int64_t now_ms);

/* For the ids of a batch, whose buckets have been prefetched: guess[i] is the number under which the id may
 * be remembered, and its place in the ring is prefetched; 0: it is likely new. Any hash may be 0. Where few
 * ids were known since the call before, all guesses are 0. */
void dedup_guess(struct dedup *d, const uint64_t *hash, uint32_t *guess, uint32_t count);

/* dedup_add(), which looks there first. A guess that is wrong, or no longer right, costs time and nothing
 * else. */
bool dedup_add_guessed(struct dedup *d, const uint8_t id[16], uint64_t hash, uint32_t guess, int64_t now_ms);

/* The same for a record whose dedup_of_record() is hash, which is not 0. */
bool dedup_add_record(
	struct dedup *d, const struct record *rec, uint64_t hash, uint32_t guess, int64_t now_ms);

#endif
