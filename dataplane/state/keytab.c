/* Key tables: growth, insertion and removal; see keytab.h. State thread of a partition. */
#include "keytab.h"

#include <assert.h>

#include "must.h"

#define BUCKETS_FIRST 2u
#define CHUNK_FIRST_BITS 7u /* the first chunk is 512 bytes, each next one twice as large */
#define CHUNK_BITS_MASK ((1u << KEYTAB_CHUNK_BITS) - 1)
#define SEGMENT_BYTES (KEYTAB_SEGMENT_BUCKETS * sizeof(struct keytab_bucket))
#define PART_BUCKETS (KEYTAB_SEGMENTS * KEYTAB_SEGMENT_BUCKETS)
#define PART_SLOTS (PART_BUCKETS * KEYTAB_BUCKET_SLOTS)
#define SPLIT_SEGMENTS 5u /* of each half: there, it is full to 0.7 */
#define HEAD_UNITS (sizeof(struct keytab_entry) / KEYTAB_UNIT)
#define SPARE_UNITS 3u /* of a chunk, behind its last entry: a header, and what is read behind a key */

static_assert(((size_t)KEYTAB_UNIT << KEYTAB_CHUNK_BITS) == HUGE_BLOCK_BYTES, "a chunk is a block");
static_assert(sizeof(struct keytab_entry) == KEYTAB_UNIT, "a header is a unit");
static_assert(sizeof(struct keytab_bucket) == 64, "a bucket is a cache line");

void keytab_init(struct keytab *kt, uint32_t value_bytes, struct huge_pool *pool)
{
	assert(value_bytes >= 8 && value_bytes % 8 == 0);
	*kt = (struct keytab){.value_bytes = value_bytes,
		.value_counted = value_bytes,
		.tag_units = 1,
		.segment = {.pool = pool}};
}

void keytab_init_growing(struct keytab *kt, uint32_t value_bytes, struct huge_pool *pool)
{
	assert(value_bytes >= 4);
	*kt = (struct keytab){
		.value_bytes = value_bytes, .value_counted = value_bytes, .segment = {.pool = pool}};
}

static uint32_t chunk_bits(uint32_t chunk)
{
	return CHUNK_FIRST_BITS + chunk < KEYTAB_CHUNK_BITS ? CHUNK_FIRST_BITS + chunk : KEYTAB_CHUNK_BITS;
}

static void part_free(struct keytab *kt, struct keytab_part *part);

void keytab_free(struct keytab *kt)
{
	const struct keytab empty = {.value_bytes = kt->value_bytes,
		.value_counted = kt->value_counted,
		.tag_units = kt->tag_units,
		.segment = {.pool = kt->segment.pool}};

	for (uint32_t i = 0, span; kt->part && i < 1u << kt->depth; i += span) {
		span = 1u << (kt->depth - kt->part[i]->depth);
		part_free(kt, kt->part[i]);
	}
	for (uint32_t i = 0; i < kt->chunk_count; i++) {
		if (chunk_bits(i) == KEYTAB_CHUNK_BITS)
			huge_give(kt->segment.pool, kt->chunk[i]);
		else
			free(kt->chunk[i]);
	}
	huge_slab_free(&kt->segment);
	free(kt->part);
	free(kt->chunk);
	free(kt->freed);
	*kt = empty;
}

/* ---- entries ---- */
static uint32_t entry_units(const struct keytab *kt, uint32_t key_bytes)
{
	uint32_t units = HEAD_UNITS + (kt->value_bytes + key_bytes + KEYTAB_UNIT - 1) / KEYTAB_UNIT;

	return kt->tag_units ? (kt->tag_units + units + 1) & ~1u : units;
}

/* The next chunk; the rest of the last one stays unused. */
static void chunk_add(struct keytab *kt)
{
	uint32_t bits = chunk_bits(kt->chunk_count);

	must(!(kt->chunk_count >> (32 - KEYTAB_CHUNK_BITS)));
	if (kt->chunk_count == kt->chunk_room) {
		kt->chunk_room += 16;
		kt->chunk = must_realloc(kt->chunk, kt->chunk_room, sizeof *kt->chunk);
	}
	kt->chunk[kt->chunk_count] = bits == KEYTAB_CHUNK_BITS
					     ? huge_take(kt->segment.pool)
					     : aligned_alloc(64, (size_t)KEYTAB_UNIT << bits);
	must(kt->chunk[kt->chunk_count]);
	memset(kt->chunk[kt->chunk_count], 0, 16); /* perhaps no entry fits */
	kt->fill = kt->chunk_count++ ? 0 : 2;	   /* reference 0 means none */
	kt->fill_end = 1u << bits;
}

/* Space for an entry: one of its size that was freed, or new. keytab_next() walks a chunk by the sizes of its
 * entries, up to a header that is all zero. */
static struct keytab_entry *entry_take(struct keytab *kt, uint32_t key_bytes, uint32_t *ref)
{
	uint32_t units = entry_units(kt, key_bytes);
	struct keytab_entry *e;

	if (units < kt->freed_count && kt->freed[units]) {
		*ref = kt->freed[units];
		e = keytab_at(kt, *ref);
		memcpy(&kt->freed[units], keytab_value(e), sizeof(uint32_t));
	} else {
		while (kt->fill + units + SPARE_UNITS > kt->fill_end)
			chunk_add(kt);
		*ref = (kt->chunk_count - 1) << KEYTAB_CHUNK_BITS | (kt->fill + kt->tag_units);
		e = keytab_at(kt, *ref);
		kt->fill += units;
		memset(e + units, 0, sizeof *e);
	}
	memset(keytab_value(e), 0, kt->value_bytes);
	*e = (struct keytab_entry){.key_bytes = (uint16_t)key_bytes};
	return e;
}

static void entry_give(struct keytab *kt, uint32_t ref)
{
	struct keytab_entry *e = keytab_at(kt, ref);
	uint32_t units = entry_units(kt, e->key_bytes);

	kt->count--;
	kt->key_bytes -= (e->key_bytes + 7u) & ~7u;
	e->flags = KEYTAB_F_DEAD;
	if (units >= kt->freed_count) {
		kt->freed = must_realloc(kt->freed, units + 1, sizeof *kt->freed);
		memset(kt->freed + kt->freed_count, 0, (units + 1 - kt->freed_count) * sizeof *kt->freed);
		kt->freed_count = units + 1;
	}
	memcpy(keytab_value(e), &kt->freed[units], sizeof(uint32_t));
	kt->freed[units] = ref;
}

/* ---- slots ---- */

/* Most slots that are taken of so many buckets. */
static uint32_t slots_max(uint32_t buckets)
{
	return buckets * (KEYTAB_BUCKET_SLOTS - 1);
}

/* Of parts that split there are many, in tables with many keys; the memory of others is no larger than they.
 */
static struct keytab_bucket *segment_take(struct keytab *kt, uint32_t depth, size_t bytes)
{
	struct keytab_bucket *segment =
		depth ? huge_piece_take(&kt->segment, 0, bytes) : aligned_alloc(64, bytes);

	must(segment);
	return memset(segment, 0, bytes);
}

/* Empty buckets for a part that has none. */
static void part_buckets(struct keytab *kt, struct keytab_part *part, uint32_t buckets)
{
	part->buckets = buckets;
	part->count = 0;
	for (uint32_t i = 0; i * KEYTAB_SEGMENT_BUCKETS < buckets; i++)
		part->segment[i] = segment_take(kt, part->depth,
			buckets < KEYTAB_SEGMENT_BUCKETS ? buckets * sizeof(struct keytab_bucket)
							 : SEGMENT_BYTES);
}

static void part_buckets_give(struct keytab *kt, const struct keytab_part *part)
{
	for (uint32_t i = 0; i * KEYTAB_SEGMENT_BUCKETS < part->buckets; i++) {
		if (part->depth)
			huge_piece_give(&kt->segment, 0, part->segment[i]);
		else
			free(part->segment[i]);
	}
}

static struct keytab_part *part_new(struct keytab *kt, uint32_t buckets, uint32_t depth)
{
	struct keytab_part *part = must_calloc(1, sizeof *part);

	part->depth = depth;
	part_buckets(kt, part, buckets);
	return part;
}

static void part_free(struct keytab *kt, struct keytab_part *part)
{
	for (struct keytab_part *next; part; part = next) {
		next = part->more;
		part_buckets_give(kt, part);
		free(part);
	}
}

static uint32_t bucket_next(const struct keytab_part *part, uint32_t at)
{
	return at + 1 == part->buckets ? 0 : at + 1;
}

static inline uint32_t bucket_count(const struct keytab_bucket *bucket)
{
	return (uint32_t)__builtin_ctz(keytab_words_match(bucket->ref, 0) | 1u << KEYTAB_BUCKET_SLOTS);
}

static void part_put(struct keytab_part *part, uint32_t tag, uint32_t ref)
{
	uint32_t at = keytab_home(part, tag), n;
	struct keytab_bucket *bucket = keytab_bucket_at(part, at);

	while ((n = bucket_count(bucket)) == KEYTAB_BUCKET_SLOTS) {
		at = bucket_next(part, at);
		bucket = keytab_bucket_at(part, at);
	}
	bucket->tag[n] = tag;
	bucket->ref[n] = ref;
	part->count++;
}

/* All slots of a part, into others; bit: of the tag, that says which. */
static void part_spread(const struct keytab_part *from, struct keytab_part *const half[2], uint32_t bit)
{
	for (uint32_t at = 0; at < from->buckets; at++) {
		const struct keytab_bucket *bucket = keytab_bucket_at(from, at);

		for (uint32_t i = 0; i < KEYTAB_BUCKET_SLOTS && bucket->ref[i]; i++)
			part_put(half[bucket->tag[i] >> bit & 1], bucket->tag[i], bucket->ref[i]);
	}
}

static void part_grow(struct keytab *kt, struct keytab_part *part)
{
	struct keytab_part old = *part, *const same[2] = {part, part};

	part_buckets(kt, part, old.buckets < PART_BUCKETS / 2 ? old.buckets * 2 : PART_BUCKETS);
	part_spread(&old, same, 0);
	part_buckets_give(kt, &old);
}

static void directory_double(struct keytab *kt)
{
	struct keytab_part **list = must_realloc(NULL, (size_t)2 << kt->depth, sizeof *list);

	for (uint32_t i = 0; i < 1u << kt->depth; i++)
		list[2 * i] = list[2 * i + 1] = kt->part[i];
	free(kt->part);
	kt->part = list;
	kt->depth++;
}

/* Parts split as long as that is likely to help: a table of evenly spread keys is never deeper than this. */
static bool part_may_split(const struct keytab *kt, const struct keytab_part *part)
{
	return part->depth < KEYTAB_DEPTH_MAX &&
	       (part->depth < 4 || kt->count >> (part->depth - 4) >= PART_SLOTS / 2);
}

/* For the half of a part's slots whose tags have the bit so. */
static uint32_t split_buckets(const struct keytab_part *part, uint32_t bit, uint32_t is)
{
	uint32_t n = 0, segments = SPLIT_SEGMENTS;

	for (uint32_t at = 0; at < part->buckets; at++) {
		const struct keytab_bucket *bucket = keytab_bucket_at(part, at);

		for (uint32_t i = 0; i < KEYTAB_BUCKET_SLOTS && bucket->ref[i]; i++)
			n += (bucket->tag[i] >> bit & 1) == is;
	}
	while (slots_max(segments * KEYTAB_SEGMENT_BUCKETS) < n)
		segments++;
	return segments * KEYTAB_SEGMENT_BUCKETS;
}

static void part_split(struct keytab *kt, uint32_t tag)
{
	struct keytab_part *old = keytab_part_of(kt, tag), *half[2];
	uint32_t depth = old->depth + 1, span, first;

	if (old->depth == kt->depth)
		directory_double(kt);
	half[0] = part_new(kt, split_buckets(old, 32 - depth, 0), depth);
	half[1] = part_new(kt, split_buckets(old, 32 - depth, 1), depth);
	part_spread(old, half, 32 - depth);
	span = 1u << (kt->depth - depth);
	first = (uint32_t)((uint64_t)tag >> (32 - kt->depth)) & ~(2 * span - 1);
	for (uint32_t i = 0; i < span; i++) {
		kt->part[first + i] = half[0];
		kt->part[first + span + i] = half[1];
	}
	part_free(kt, old);
}

/* The part that takes a new key of this tag. A part with others chained to it does not split any more. */
static struct keytab_part *part_room(struct keytab *kt, uint32_t tag)
{
	struct keytab_part *part;

	if (!kt->part) {
		kt->part = must_calloc(1, sizeof *kt->part);
		kt->part[0] = part_new(kt, BUCKETS_FIRST, 0);
	}
	for (;;) {
		part = keytab_part_of(kt, tag);
		if (part->count < slots_max(part->buckets))
			return part;
		if (part->buckets < PART_BUCKETS) {
			part_grow(kt, part);
		} else if (!part->more && part_may_split(kt, part)) {
			part_split(kt, tag);
		} else {
			break;
		}
	}
	while (part->count == slots_max(PART_BUCKETS)) {
		if (!part->more)
			part->more = part_new(kt, PART_BUCKETS, part->depth);
		part = part->more;
	}
	return part;
}

uint32_t keytab_look(const struct keytab *kt, uint32_t tag)
{
	const struct keytab_part *part = keytab_part_of(kt, tag);

	for (uint32_t at = keytab_home(part, tag);; at = bucket_next(part, at)) {
		const struct keytab_bucket *bucket = keytab_bucket_at(part, at);
		uint32_t match = keytab_match(bucket, tag);

		if (match && bucket->ref[__builtin_ctz(match)])
			return bucket->ref[__builtin_ctz(match)];
		if (!keytab_bucket_full(bucket))
			return 0;
	}
}

struct keytab_entry *keytab_find(
	const struct keytab *kt, uint32_t tag, const void *key, uint32_t bytes, uint32_t *ref)
{
	if (!kt->part)
		return NULL;
	for (const struct keytab_part *part = keytab_part_of(kt, tag); part; part = part->more) {
		const struct keytab_bucket *bucket;
		uint32_t at = keytab_home(part, tag);

		do {
			bucket = keytab_bucket_at(part, at);
			for (uint32_t left = keytab_match(bucket, tag); left; left &= left - 1) {
				uint32_t found = bucket->ref[__builtin_ctz(left)];
				struct keytab_entry *e = keytab_at(kt, found);

				if (found && keytab_is(kt, e, key, bytes)) {
					if (ref)
						*ref = found;
					return e;
				}
			}
			at = bucket_next(part, at);
		} while (keytab_bucket_full(bucket));
	}
	return NULL;
}

static void entry_fill(struct keytab *kt, struct keytab_entry *e, const void *key, uint32_t bytes)
{
	uint8_t *to = (uint8_t *)(e + 1) + kt->value_bytes;

	if (bytes && kt->tag_units)
		memset(to + (bytes - 1) / 8 * 8, 0, 8);
	memcpy(to, key, bytes);
	kt->count++;
	kt->key_bytes += (bytes + 7u) & ~7u;
}

struct keytab_entry *keytab_add(
	struct keytab *kt, uint32_t tag, const void *key, uint32_t bytes, uint32_t *ref)
{
	struct keytab_part *part = part_room(kt, tag);
	struct keytab_entry *e;
	uint32_t at;

	e = entry_take(kt, bytes, &at);
	if (kt->tag_units)
		*((uint32_t *)e - 1) = tag;
	e->flags = KEYTAB_F_LIVE;
	entry_fill(kt, e, key, bytes);
	part_put(part, tag, at);
	if (ref)
		*ref = at;
	return e;
}

struct keytab_entry *keytab_add_aside(
	struct keytab *kt, const void *key, uint32_t bytes, uint8_t flags, uint32_t *ref)
{
	uint32_t at;
	struct keytab_entry *e = entry_take(kt, bytes, &at);

	if (kt->tag_units)
		*((uint32_t *)e - 1) = 0;
	e->flags = (uint8_t)(flags | KEYTAB_F_ASIDE | KEYTAB_F_LIVE);
	entry_fill(kt, e, key, bytes);
	if (ref)
		*ref = at;
	return e;
}

void *keytab_room(struct keytab *kt, uint32_t bytes, uint32_t *ref)
{
	struct keytab_entry *e;

	assert(!kt->tag_units && bytes >= kt->value_bytes);
	e = entry_take(kt, bytes - kt->value_bytes, ref);
	e->flags = KEYTAB_F_ROOM;
	return memset(keytab_value(e), 0, bytes);
}

/* The slot of a full bucket behind `at` that may stand there, as near as possible; NULL: there is none. *at:
 * its bucket. */
static struct keytab_bucket *slot_behind(const struct keytab_part *part, uint32_t *at, uint32_t *slot)
{
	const uint32_t n = part->buckets, from = *at;

	for (uint32_t away = 1; away < n; away++) {
		uint32_t here = (from + away) % n;
		struct keytab_bucket *bucket = keytab_bucket_at(part, here);

		for (uint32_t i = 0; i < KEYTAB_BUCKET_SLOTS && bucket->ref[i]; i++) {
			if ((here + n - keytab_home(part, bucket->tag[i])) % n < away)
				continue;
			*at = here;
			*slot = i;
			return bucket;
		}
		if (!keytab_bucket_full(bucket))
			break;
	}
	return NULL;
}

/* Takes a slot out so that every key is still found from its home without a bucket with room between: as
 * Knuth, volume 3, 6.4, algorithm R, by buckets. */
static void part_take_out(struct keytab_part *part, uint32_t at, uint32_t slot)
{
	struct keytab_bucket *bucket = keytab_bucket_at(part, at), *behind;
	uint32_t last;

	while (keytab_bucket_full(bucket) && (behind = slot_behind(part, &at, &last))) {
		bucket->tag[slot] = behind->tag[last];
		bucket->ref[slot] = behind->ref[last];
		bucket = behind;
		slot = last;
	}
	last = bucket_count(bucket) - 1;
	bucket->tag[slot] = bucket->tag[last];
	bucket->ref[slot] = bucket->ref[last];
	bucket->tag[last] = bucket->ref[last] = 0;
	part->count--;
}

void keytab_remove(struct keytab *kt, uint32_t ref)
{
	const struct keytab_entry *e = keytab_at(kt, ref);
	struct keytab_part *part;
	uint32_t at, slot = 0;

	assert(kt->tag_units);
	if (!(e->flags & KEYTAB_F_ASIDE)) {
		part = keytab_part_of(kt, keytab_tag_of(e));
		at = keytab_home(part, keytab_tag_of(e));
		for (;;) {
			const struct keytab_bucket *bucket = keytab_bucket_at(part, at);

			for (slot = 0; slot < KEYTAB_BUCKET_SLOTS && bucket->ref[slot] != ref;)
				slot++;
			if (slot < KEYTAB_BUCKET_SLOTS)
				break;
			if (keytab_bucket_full(bucket)) {
				at = bucket_next(part, at);
				continue;
			}
			part = part->more;
			assert(part);
			at = keytab_home(part, keytab_tag_of(e));
		}
		part_take_out(part, at, slot);
	}
	entry_give(kt, ref);
}

struct keytab_entry *keytab_next(const struct keytab *kt, uint32_t *at, uint32_t *ref)
{
	if (!*at)
		*at = 2;
	while (*at >> KEYTAB_CHUNK_BITS < kt->chunk_count) {
		struct keytab_entry *e = keytab_at(kt, *at + kt->tag_units);

		if (!e->flags) { /* the end of what is used of this chunk */
			*at = ((*at >> KEYTAB_CHUNK_BITS) + 1) << KEYTAB_CHUNK_BITS;
			continue;
		}
		*ref = *at + kt->tag_units;
		*at += entry_units(kt, e->key_bytes);
		if (!(e->flags & (KEYTAB_F_DEAD | KEYTAB_F_ROOM)))
			return e;
	}
	return NULL;
}
