/* The ids that a partition remembers: a ring in order of acceptance, with their receive times, and an open
 * addressing index over it. Owned by the partition's writer (recovery fills it before the writer runs).
 * An id is known as long as it is younger than the window and among the last ids_max accepted ones. */
#ifndef SLUICE_DEDUP_H
#define SLUICE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

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
};

int dedup_init(struct dedup *d, uint64_t window_ms, uint64_t ids_max, uint64_t seed);
void dedup_free(struct dedup *d);
uint64_t dedup_hash(const struct dedup *d, const uint8_t id[16]);

static inline void dedup_prefetch(const struct dedup *d, uint64_t hash)
{
	__builtin_prefetch(&d->slot[(uint32_t)(hash >> 32) & d->mask], 1);
}

/* The place of the id that is likely to be forgotten for the nth id from now on. */
void dedup_prefetch_oldest(const struct dedup *d, uint32_t nth);

/* Remembers an id that came at now_ms (never less than in the call before). Returns false, and changes
 * nothing, if it is known. */
bool dedup_add(struct dedup *d, const uint8_t id[16], uint64_t hash, int64_t now_ms);

#endif
