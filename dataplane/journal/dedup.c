/* See dedup.h. An id that is forgotten is not looked up again: the number in its bucket says that it lies
 * behind the oldest of the ring, and its place there is free from then on. So an id costs one cache line at
 * random, which the caller has prefetched, and the ring in order.
 *
 * An id that finds its bucket full goes into the next one, and leaves its number in each bucket that it
 * passes: look-ups go on as long as that number is remembered.
 *
 * Numbers are compared modulo 2^32. What nobody touched for as long may look remembered again: the id in the
 * ring, which is compared, says that it is not, and until then a place of many is not free.
 *
 * Receive times do not decrease, so the ring is ordered by age and expiry takes from its end: at most
 * DEDUP_EXPIRE_MAX a call, so that a long pause is not paid for in one piece. */
#include "dedup.h"

#include <errno.h>
#include <smmintrin.h>
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

struct dedup_key dedup_key_of(uint64_t secret)
{
	return (struct dedup_key){
		hash_key_of(secret), hash_key_of(hash_u64(secret + 1)), hash_key_of(hash_u64(secret + 2))};
}

int dedup_init(struct dedup *d, uint64_t window_ms, uint64_t ids_max, uint64_t secret)
{
	uint64_t buckets = 8;

	*d = (struct dedup){.window_ms = window_ms, .key = dedup_key_of(secret)};
	if (!window_ms)
		return 0;
	if (ids_max < 1 || ids_max > 1u << 28)
		return -EINVAL;
	/* Half full at most: then one bucket of fifty has more ids than places. */
	while (buckets * DEDUP_BUCKET_IDS < 2 * ids_max)
		buckets *= 2;
	d->ids_max = (uint32_t)ids_max;
	d->mask = (uint32_t)(buckets - 1);
	d->bucket = dedup_map(buckets * sizeof *d->bucket);
	d->ring = dedup_map(ids_max * sizeof *d->ring);
	if (!d->bucket || !d->ring) {
		dedup_free(d);
		return -ENOMEM;
	}
	return 0;
}

void dedup_free(struct dedup *d)
{
	if (d->bucket)
		munmap(d->bucket, ((size_t)d->mask + 1) * sizeof *d->bucket);
	if (d->ring)
		munmap(d->ring, d->ids_max * sizeof *d->ring);
	*d = (struct dedup){0};
}

uint64_t dedup_hash(const struct dedup *d, const uint8_t id[16])
{
	return hash_keyed(&d->key.bucket, id, 16);
}

const uint8_t *dedup_id(const struct dedup_key *key, const struct record *rec, uint8_t room[16])
{
	uint64_t of[4], word[2];

	if (!(rec->field_mask & FBIT(event_id)))
		return rec->flags & RECORD_F_PRODUCER ? rec->event_id : NULL;
	if (rec->kind != RECORD_SHADOW)
		return rec->kind == RECORD_EVENT ? rec->event_id : NULL;
	memcpy(of, rec->event_id, sizeof rec->event_id);
	of[2] = rec->key_hash;
	of[3] = rec->reason_field;
	word[0] = hash_keyed(&key->low, of, sizeof of);
	word[1] = hash_keyed(&key->high, of, sizeof of);
	memcpy(room, word, sizeof word);
	return room;
}

uint64_t dedup_of_record(
	const struct dedup *d, const struct record *rec, uint8_t room[16], const uint8_t **id)
{
	*id = d->window_ms ? dedup_id(&d->key, rec, room) : NULL;
	return *id ? dedup_hash(d, *id) | 1 : 0;
}

static bool dedup_expired(const struct dedup *d, uint32_t index, int64_t now_ms)
{
	return (uint64_t)now_ms - (uint64_t)d->ring[index].time_ms >= d->window_ms;
}

/* Where in the ring the id stands that came `age` ids before the last one. */
static uint32_t dedup_index(const struct dedup *d, uint32_t age)
{
	return d->next > age ? d->next - 1 - age : d->next + d->ids_max - 1 - age;
}

/* Bit i: place i of the bucket has the tag. */
static uint32_t bucket_tagged(const struct dedup_bucket *b, uint16_t tag)
{
	__m128i same = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)b->tag), _mm_set1_epi16((short)tag));

	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128()));
}

/* Bit i: nothing that is remembered is in place i. */
static uint32_t bucket_free(const struct dedup *d, const struct dedup_bucket *b)
{
	const __m128i *number = (const __m128i *)b->number;
	__m128i added = _mm_set1_epi32((int)(uint32_t)d->added), count = _mm_set1_epi32((int)d->count);
	__m128i age0 = _mm_sub_epi32(added, _mm_load_si128(number));
	__m128i age1 = _mm_sub_epi32(added, _mm_load_si128(number + 1));
	/* age >= count, without sign: the larger of the two is age */
	__m128i old0 = _mm_cmpeq_epi32(_mm_max_epu32(age0, count), age0);
	__m128i old1 = _mm_cmpeq_epi32(_mm_max_epu32(age1, count), age1);

	return (uint32_t)_mm_movemask_epi8(
		       _mm_packs_epi16(_mm_packs_epi32(old0, old1), _mm_setzero_si128())) |
	       bucket_tagged(b, 0);
}

static bool bucket_knows(const struct dedup *d, const struct dedup_bucket *b, uint16_t tag,
	const uint8_t id[16], int64_t now_ms)
{
	for (uint32_t match = bucket_tagged(b, tag); match; match &= match - 1) {
		uint32_t age = (uint32_t)d->added - b->number[__builtin_ctz(match)], index;

		if (age >= d->count)
			continue;
		index = dedup_index(d, age);
		if (memcmp(d->ring[index].id, id, 16) == 0 && !dedup_expired(d, index, now_ms))
			return true;
	}
	return false;
}

static void dedup_make_room(struct dedup *d, int64_t now_ms)
{
	for (int i = 0; i < DEDUP_EXPIRE_MAX && d->count; i++) {
		if (!dedup_expired(d, dedup_index(d, d->count - 1), now_ms))
			break;
		d->count--;
	}
	if (d->count == d->ids_max) {
		d->count--;
		d->evicted++;
	}
}

/* After dedup_make_room(). */
static void dedup_place(struct dedup *d, uint32_t home, uint16_t tag)
{
	uint32_t number = (uint32_t)++d->added, at = home, place;

	d->count++;
	/* There is a free place: at most half of them are remembered. Should all look so (see above), one is
	 * forgotten. */
	while (!(place = bucket_free(d, &d->bucket[at])) && ((at + 1) & d->mask) != home) {
		d->bucket[at].beyond = number;
		at = (at + 1) & d->mask;
	}
	place = place ? (uint32_t)__builtin_ctz(place) : 0;
	d->bucket[at].tag[place] = tag;
	d->bucket[at].number[place] = number;
}

bool dedup_add(struct dedup *d, const uint8_t id[16], uint64_t hash, int64_t now_ms)
{
	uint32_t home = (uint32_t)(hash >> 32) & d->mask, at = home;
	uint16_t tag = (uint16_t)hash | 1;

	for (;;) {
		if (bucket_knows(d, &d->bucket[at], tag, id, now_ms))
			return false;
		if ((uint32_t)d->added - d->bucket[at].beyond >= d->count)
			break;
		at = (at + 1) & d->mask;
		if (at == home)
			break;
	}
	dedup_make_room(d, now_ms);
	memcpy(d->ring[d->next].id, id, 16);
	d->ring[d->next].time_ms = now_ms;
	d->next = d->next + 1 == d->ids_max ? 0 : d->next + 1;
	dedup_place(d, home, tag);
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
