/* See dedup.h. An id that is forgotten is not looked up again: the number in its bucket says that it lies
 * behind the oldest of the ring, and its place there is free from then on. So an id costs one cache line at
 * random, which the caller has prefetched, and the ring in order. One that is known is compared in the ring,
 * a second line at random: dedup_guess() finds the place by the tag, as soon as the bucket is there,
 * prefetches it and keeps its number. This costs an id as much as it saves when one of seven or eight is
 * known.
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
#define DEDUP_GUESS_PART 8u /* more than one of so many known: guessing pays */

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

/* Where in the ring the id stands that came `age` ids before the last one. Without a branch: whether the
 * ring's end lies between is anybody's guess. */
static uint32_t dedup_index(const struct dedup *d, uint32_t age)
{
	return d->next - 1 - age + (d->ids_max & -(uint32_t)(age >= d->next));
}

static uint16_t dedup_tag(uint64_t hash)
{
	return (uint16_t)hash | 1;
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

/* The number-th id is remembered, and it is this one. */
static bool dedup_is(struct dedup *d, uint32_t number, const uint8_t id[16], int64_t now_ms)
{
	uint32_t age = (uint32_t)d->added - number, index = dedup_index(d, age);

	if (age >= d->count || memcmp(d->ring[index].id, id, 16) != 0 || dedup_expired(d, index, now_ms))
		return false;
	d->known++;
	return true;
}

static bool bucket_knows(
	struct dedup *d, const struct dedup_bucket *b, uint16_t tag, const uint8_t id[16], int64_t now_ms)
{
	for (uint32_t match = bucket_tagged(b, tag); match; match &= match - 1)
		if (dedup_is(d, b->number[__builtin_ctz(match)], id, now_ms))
			return true;
	return false;
}

/* Without a branch that depends on an id: of ids that are known at random each second one would be guessed
 * wrong. Where there is no number, the last id's place is prefetched, which is in the cache. */
void dedup_guess(struct dedup *d, const uint64_t *hash, uint32_t *guess, uint32_t count)
{
	bool pays = d->known > d->asked / DEDUP_GUESS_PART;

	d->known = 0;
	d->asked = count;
	if (!pays) {
		memset(guess, 0, count * sizeof *guess);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct dedup_bucket *b = &d->bucket[dedup_home(d, hash[i])];
		uint32_t match = bucket_tagged(b, dedup_tag(hash[i]));
		uint32_t number = b->number[__builtin_ctz(match | 1u << (DEDUP_BUCKET_IDS - 1))];
		uint32_t age = (uint32_t)d->added - number;
		uint32_t may = -(uint32_t)((match != 0) & (age < d->count));
		const struct dedup_id *at = &d->ring[dedup_index(d, age & may)];

		guess[i] = number & may;
		__builtin_prefetch(at);
		__builtin_prefetch(&at->time_ms); /* one of four lies across two lines */
	}
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
static void dedup_remember(struct dedup *d, const uint8_t id[16], int64_t now_ms)
{
	struct dedup_id *to = &d->ring[d->next];

	d->next = d->next + 1 == d->ids_max ? 0 : d->next + 1;
	d->count++;
	d->added++;
	memcpy(to->id, id, 16);
	to->time_ms = now_ms;
}

/* After dedup_remember(). */
static void dedup_place(struct dedup *d, uint32_t home, uint16_t tag)
{
	uint32_t number = (uint32_t)d->added, at = home, place;
	struct dedup_bucket *b = &d->bucket[at];

	/* There is a free place: at most half of them are remembered. Should all look so (see above), one is
	 * forgotten. */
	while (__builtin_expect(!(place = bucket_free(d, b)), 0) && ((at + 1) & d->mask) != home) {
		b->beyond = number;
		at = (at + 1) & d->mask;
		b = &d->bucket[at];
	}
	place = place ? (uint32_t)__builtin_ctz(place) : 0;
	b->tag[place] = tag;
	b->number[place] = number;
}

bool dedup_add(struct dedup *d, const uint8_t id[16], uint64_t hash, int64_t now_ms)
{
	uint32_t home = dedup_home(d, hash), at = home;
	uint16_t tag = dedup_tag(hash);

	for (;;) {
		if (bucket_knows(d, &d->bucket[at], tag, id, now_ms))
			return false;
		if (__builtin_expect((uint32_t)d->added - d->bucket[at].beyond >= d->count, 1))
			break;
		at = (at + 1) & d->mask;
		if (at == home)
			break;
	}
	dedup_make_room(d, now_ms);
	dedup_remember(d, id, now_ms);
	dedup_place(d, home, tag);
	return true;
}

bool dedup_add_guessed(struct dedup *d, const uint8_t id[16], uint64_t hash, uint32_t guess, int64_t now_ms)
{
	if (guess && dedup_is(d, guess, id, now_ms))
		return false;
	return dedup_add(d, id, hash, now_ms);
}

bool dedup_add_record(
	struct dedup *d, const struct record *rec, uint64_t hash, uint32_t guess, int64_t now_ms)
{
	const uint8_t *id = rec->event_id;
	uint8_t room[16];

	if (rec->kind == RECORD_SHADOW)
		(void)dedup_of_record(d, rec, room, &id);
	return dedup_add_guessed(d, id, hash, guess, now_ms);
}
