/* See dedup.h. Receive times do not decrease, so the ring is ordered by age and expiry takes from its end: at
 * most DEDUP_EXPIRE_MAX a call, so that a long pause is not paid for in one piece. */
#include "dedup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hash.h"

#define DEDUP_EXPIRE_MAX 4

static void *dedup_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* Random access to tens of megabytes: without large pages each probe is a TLB miss as well. */
	(void)madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

int dedup_init(struct dedup *d, uint64_t window_ms, uint64_t ids_max, uint64_t seed)
{
	uint64_t slots = 64;

	*d = (struct dedup){.window_ms = window_ms, .seed = seed};
	if (!window_ms)
		return 0;
	if (ids_max < 1 || ids_max > 1u << 28)
		return -EINVAL;
	while (slots < 2 * ids_max)
		slots *= 2;
	d->ids_max = (uint32_t)ids_max;
	d->mask = (uint32_t)(slots - 1);
	d->slot = dedup_map(slots * sizeof *d->slot);
	d->ring = dedup_map(ids_max * sizeof *d->ring);
	if (!d->slot || !d->ring) {
		dedup_free(d);
		return -ENOMEM;
	}
	return 0;
}

void dedup_free(struct dedup *d)
{
	if (d->slot)
		munmap(d->slot, ((size_t)d->mask + 1) * sizeof *d->slot);
	if (d->ring)
		munmap(d->ring, d->ids_max * sizeof *d->ring);
	*d = (struct dedup){0};
}

uint64_t dedup_hash(const struct dedup *d, const uint8_t id[16])
{
	return hash_bytes(id, 16, d->seed);
}

const uint8_t *dedup_id(const struct record *rec, uint8_t room[16])
{
	uint64_t word[2];

	if (!(rec->field_mask & FBIT(event_id)))
		return NULL;
	if (rec->kind != RECORD_SHADOW)
		return rec->kind == RECORD_EVENT ? rec->event_id : NULL;
	word[0] = hash_bytes(rec->event_id, 16, rec->key_hash);
	word[1] = hash_bytes(rec->event_id, 16, rec->key_hash ^ hash_u64(rec->reason_field + 1u));
	memcpy(room, word, sizeof word);
	return room;
}

uint64_t dedup_of_record(
	const struct dedup *d, const struct record *rec, uint8_t room[16], const uint8_t **id)
{
	*id = d->window_ms ? dedup_id(rec, room) : NULL;
	return *id ? dedup_hash(d, *id) | 1 : 0;
}

/* Empties a slot and moves later entries of its run back, so that no tombstones are needed. */
static void dedup_slot_clear(struct dedup *d, uint32_t at)
{
	for (uint32_t next = (at + 1) & d->mask; d->slot[next]; next = (next + 1) & d->mask) {
		uint32_t home = (uint32_t)(d->slot[next] >> 32) & d->mask;

		if (((next - home) & d->mask) >= ((next - at) & d->mask)) {
			d->slot[at] = d->slot[next];
			at = next;
		}
	}
	d->slot[at] = 0;
}

static void dedup_forget_oldest(struct dedup *d)
{
	uint32_t tag = (uint32_t)(dedup_hash(d, d->ring[d->oldest].id) >> 32);
	uint64_t want = (uint64_t)tag << 32 | (d->oldest + 1u);

	/* Not found: the id came again after it had expired, and its slot points to the newer entry. */
	for (uint32_t at = tag & d->mask; d->slot[at]; at = (at + 1) & d->mask)
		if (d->slot[at] == want) {
			dedup_slot_clear(d, at);
			break;
		}
	d->oldest = d->oldest + 1 == d->ids_max ? 0 : d->oldest + 1;
	d->count--;
}

static bool dedup_expired(const struct dedup *d, uint32_t index, int64_t now_ms)
{
	return (uint64_t)now_ms - (uint64_t)d->ring[index].time_ms >= d->window_ms;
}

void dedup_prefetch_oldest(const struct dedup *d, uint32_t nth)
{
	uint32_t index = d->oldest + nth;

	if (nth >= d->count || (d->count + nth < d->ids_max && !dedup_expired(d, d->oldest, d->now_ms)))
		return;
	if (index >= d->ids_max)
		index -= d->ids_max;
	dedup_prefetch(d, dedup_hash(d, d->ring[index].id));
	__builtin_prefetch(&d->ring[index + 16 < d->ids_max ? index + 16 : 0]);
}

static void dedup_make_room(struct dedup *d, int64_t now_ms)
{
	for (int i = 0; i < DEDUP_EXPIRE_MAX && d->count && dedup_expired(d, d->oldest, now_ms); i++)
		dedup_forget_oldest(d);
	if (d->count == d->ids_max) {
		dedup_forget_oldest(d);
		d->evicted++;
	}
}

bool dedup_add(struct dedup *d, const uint8_t id[16], uint64_t hash, int64_t now_ms)
{
	uint32_t tag = (uint32_t)(hash >> 32), at, index;

	d->now_ms = now_ms;
	for (at = tag & d->mask; d->slot[at]; at = (at + 1) & d->mask) {
		uint32_t i = (uint32_t)d->slot[at] - 1;

		if ((uint32_t)(d->slot[at] >> 32) != tag || memcmp(d->ring[i].id, id, 16) != 0)
			continue;
		if (!dedup_expired(d, i, now_ms))
			return false;
		dedup_slot_clear(d, at);
		break;
	}
	dedup_make_room(d, now_ms);
	index = d->oldest + d->count;
	if (index >= d->ids_max)
		index -= d->ids_max;
	memcpy(d->ring[index].id, id, 16);
	d->ring[index].time_ms = now_ms;
	d->count++;
	d->added++;
	for (at = tag & d->mask; d->slot[at]; at = (at + 1) & d->mask)
		;
	d->slot[at] = (uint64_t)tag << 32 | (index + 1u);
	return true;
}

bool dedup_add_record(struct dedup *d, const struct record *rec, uint64_t hash, int64_t now_ms)
{
	const uint8_t *id = rec->event_id;
	uint8_t room[16];

	if (rec->kind == RECORD_SHADOW)
		(void)dedup_of_record(d, rec, room, &id);
	return dedup_add(d, id, hash, now_ms);
}
