/* The ids that a partition remembers: a ring in order of acceptance, with their receive times, and an open
 * addressing index over it. Owned by the partition's writer (recovery fills it before the writer runs).
 * An id is known as long as it is younger than the window and among the last ids_max accepted ones. */
#ifndef SLUICE_DEDUP_H
#define SLUICE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"

struct dedup_id {
	uint8_t id[16];
	int64_t time_ms;
};

struct dedup {
	uint64_t window_ms; /* 0: off, nothing is allocated */
	uint64_t seed;	    /* secret: senders choose ids */
	uint32_t ids_max;
	uint32_t oldest; /* index in ring */
	uint32_t count;
	uint32_t mask;	/* of slot */
	uint64_t *slot; /* tag << 32 | ring index + 1; 0: empty */
	struct dedup_id *ring;
	int64_t now_ms;	  /* of the last call */
	uint64_t evicted; /* forgotten before the window had passed */
	uint64_t added;	  /* all ever: the nth stands in ring[n % ids_max] */
};

int dedup_init(struct dedup *d, uint64_t window_ms, uint64_t ids_max, uint64_t seed);
void dedup_free(struct dedup *d);
uint64_t dedup_hash(const struct dedup *d, const uint8_t id[16]);

/* The id under which a record is remembered: that of an event; of a shadow its event's, mixed with its key,
 * so that neither hides the other. Made in room, or in the record; NULL: it has none. */
const uint8_t *dedup_id(const struct record *rec, uint8_t room[16]);
/* The id under which a record is remembered, and its hash; 0: it is not deduplicated. A shadow's is made of
 * the event's, of the key that it stands for and of that key's first field: it is apart from the event's and
 * from other shadows'. id: where it is to be looked up, in the record itself or in room. */
uint64_t dedup_of_record(
	const struct dedup *d, const struct record *rec, uint8_t room[16], const uint8_t **id);

static inline void dedup_prefetch(const struct dedup *d, uint64_t hash)
{
	__builtin_prefetch(&d->slot[(uint32_t)(hash >> 32) & d->mask], 1);
}

/* The place of the id that is likely to be forgotten for the nth id from now on. */
void dedup_prefetch_oldest(const struct dedup *d, uint32_t nth);

/* Remembers an id that came at now_ms (never less than in the call before). Returns false, and changes
 * nothing, if it is known. */
bool dedup_add(struct dedup *d, const uint8_t id[16], uint64_t hash, int64_t now_ms);

/* The same for a record whose dedup_of_record() is hash, which is not 0. */
bool dedup_add_record(struct dedup *d, const struct record *rec, uint64_t hash, int64_t now_ms);

#endif
