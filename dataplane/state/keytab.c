/* Key tables: growth, insertion and removal; see keytab.h. State thread of a partition. */
#include "keytab.h"

#include <assert.h>

#include "must.h"

#define PART_SLOTS_FIRST 16u
#define CHUNK_FIRST_BITS 9u /* the first chunk is 4 KiB, each next one twice as large */
#define CHUNK_BITS_MASK ((1u << KEYTAB_CHUNK_BITS) - 1)

static_assert(((size_t)8 << KEYTAB_CHUNK_BITS) == HUGE_BLOCK_BYTES, "a chunk is a block");
static_assert(sizeof(struct keytab_entry) == 8, "values are 8-byte aligned");

void keytab_init(struct keytab *kt, uint32_t value_bytes, struct huge_pool *pool)
{
	assert(value_bytes >= 8 && value_bytes % 8 == 0);
	*kt = (struct keytab){.value_bytes = value_bytes, .parts = {.pool = pool}};
}

static uint32_t chunk_bits(uint32_t chunk)
{
	return CHUNK_FIRST_BITS + chunk < KEYTAB_CHUNK_BITS ? CHUNK_FIRST_BITS + chunk : KEYTAB_CHUNK_BITS;
}

void keytab_free(struct keytab *kt)
{
	if (kt->part && kt->mask + 1 < KEYTAB_PART_SLOTS)
		free(kt->part[0]);
	for (uint32_t i = 0; i < kt->chunk_count; i++) {
		if (chunk_bits(i) == KEYTAB_CHUNK_BITS)
			huge_give(kt->parts.pool, kt->chunk[i]);
		else
			free(kt->chunk[i]);
	}
	huge_slab_free(&kt->parts);
	free(kt->part);
	free(kt->chunk);
	free(kt->freed);
	keytab_init(kt, kt->value_bytes, kt->parts.pool);
}

/* ---- entries ---- */
static uint32_t entry_units(const struct keytab *kt, uint32_t key_bytes)
{
	return 1 + kt->value_bytes / 8 + (key_bytes + 7) / 8;
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
	kt->chunk[kt->chunk_count] =
		bits == KEYTAB_CHUNK_BITS ? huge_take(kt->parts.pool) : aligned_alloc(64, (size_t)8 << bits);
	must(kt->chunk[kt->chunk_count]);
	memset(kt->chunk[kt->chunk_count], 0, 16); /* perhaps no entry fits */
	kt->fill = !kt->chunk_count++;		   /* reference 0 means none */
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
		while (kt->fill + units >= kt->fill_end)
			chunk_add(kt);
		*ref = (kt->chunk_count - 1) << KEYTAB_CHUNK_BITS | kt->fill;
		e = keytab_at(kt, *ref);
		kt->fill += units;
		memset((uint64_t *)e + units, 0, sizeof(struct keytab_entry));
	}
	memset(keytab_value(e), 0, kt->value_bytes);
	e->key_bytes = (uint16_t)key_bytes;
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
static struct keytab_part *part_new(struct keytab *kt, uint32_t slots, uint32_t depth)
{
	size_t bytes = sizeof(struct keytab_part) + slots * sizeof(struct keytab_slot);
	struct keytab_part *part;

	if (slots < KEYTAB_PART_SLOTS) {
		part = must_calloc(1, bytes);
	} else {
		part = huge_piece_take(&kt->parts, 0, bytes);
		memset(part, 0, bytes);
	}
	part->depth = depth;
	return part;
}

static void part_put(struct keytab_part *part, uint32_t mask, struct keytab_slot slot)
{
	uint32_t i = slot.tag & mask;

	while (part->slot[i].ref)
		i = (i + 1) & mask;
	part->slot[i] = slot;
	part->count++;
}

static void table_double(struct keytab *kt)
{
	struct keytab_part *old = kt->part[0], *part = part_new(kt, (kt->mask + 1) * 2, 0);

	for (uint32_t i = 0; i <= kt->mask; i++)
		if (old->slot[i].ref)
			part_put(part, kt->mask * 2 + 1, old->slot[i]);
	free(old);
	kt->part[0] = part;
	kt->mask = kt->mask * 2 + 1;
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
	       (part->depth < 4 || kt->count >> (part->depth - 4) >= KEYTAB_PART_SLOTS / 2);
}

static void part_split(struct keytab *kt, uint32_t tag)
{
	struct keytab_part *old = keytab_part_of(kt, tag), *half[2];
	uint32_t depth = old->depth + 1, span, first;

	if (old->depth == kt->depth)
		directory_double(kt);
	half[0] = part_new(kt, KEYTAB_PART_SLOTS, depth);
	half[1] = part_new(kt, KEYTAB_PART_SLOTS, depth);
	for (uint32_t i = 0; i <= kt->mask; i++)
		if (old->slot[i].ref)
			part_put(half[old->slot[i].tag >> (32 - depth) & 1], kt->mask, old->slot[i]);
	span = 1u << (kt->depth - depth);
	first = (uint32_t)((uint64_t)tag >> (32 - kt->depth)) & ~(2 * span - 1);
	for (uint32_t i = 0; i < span; i++) {
		kt->part[first + i] = half[0];
		kt->part[first + span + i] = half[1];
	}
	huge_piece_give(&kt->parts, 0, old);
}

/* The part that takes a new key of this tag. A part with others chained to it does not split any more. */
static struct keytab_part *part_room(struct keytab *kt, uint32_t tag)
{
	struct keytab_part *part;

	if (!kt->part) {
		kt->part = must_calloc(1, sizeof *kt->part);
		kt->part[0] = part_new(kt, PART_SLOTS_FIRST, 0);
		kt->mask = PART_SLOTS_FIRST - 1;
	}
	for (;;) {
		part = keytab_part_of(kt, tag);
		if (part->count < (kt->mask + 1) / 4 * 3)
			return part;
		if (kt->mask + 1 < KEYTAB_PART_SLOTS) {
			table_double(kt);
		} else if (!part->more && part_may_split(kt, part)) {
			part_split(kt, tag);
		} else {
			break;
		}
	}
	while (part->count >= KEYTAB_PART_SLOTS / 4 * 3) {
		if (!part->more)
			part->more = part_new(kt, KEYTAB_PART_SLOTS, part->depth);
		part = part->more;
	}
	return part;
}

static void entry_fill(struct keytab *kt, struct keytab_entry *e, const void *key, uint32_t bytes)
{
	uint8_t *to = (uint8_t *)(e + 1) + kt->value_bytes;

	if (bytes)
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
	e->tag = tag;
	e->flags = KEYTAB_F_LIVE;
	entry_fill(kt, e, key, bytes);
	part_put(part, kt->mask, (struct keytab_slot){tag, at});
	if (ref)
		*ref = at;
	return e;
}

struct keytab_entry *keytab_add_aside(
	struct keytab *kt, const void *key, uint32_t bytes, uint16_t flags, uint32_t *ref)
{
	uint32_t at;
	struct keytab_entry *e = entry_take(kt, bytes, &at);

	e->tag = 0;
	e->flags = flags | KEYTAB_F_ASIDE | KEYTAB_F_LIVE;
	entry_fill(kt, e, key, bytes);
	if (ref)
		*ref = at;
	return e;
}

/* Closes the gap at slot i, so that every key is still found from its home without an empty slot between
 * (Knuth, volume 3, 6.4, algorithm R). */
static void part_close_gap(struct keytab_part *part, uint32_t mask, uint32_t i)
{
	for (uint32_t j = (i + 1) & mask; part->slot[j].ref; j = (j + 1) & mask) {
		uint32_t home = part->slot[j].tag & mask;

		if (((j - home) & mask) >= ((j - i) & mask)) {
			part->slot[i] = part->slot[j];
			i = j;
		}
	}
	part->slot[i] = (struct keytab_slot){0, 0};
	part->count--;
}

void keytab_remove(struct keytab *kt, uint32_t ref)
{
	const struct keytab_entry *e = keytab_at(kt, ref);

	if (!(e->flags & KEYTAB_F_ASIDE)) {
		struct keytab_part *part = keytab_part_of(kt, e->tag);
		uint32_t i = e->tag & kt->mask;

		while (part->slot[i].ref != ref) {
			if (!part->slot[i].ref) {
				part = part->more;
				assert(part);
				i = e->tag & kt->mask;
			} else {
				i = (i + 1) & kt->mask;
			}
		}
		part_close_gap(part, kt->mask, i);
	}
	entry_give(kt, ref);
}

struct keytab_entry *keytab_next(const struct keytab *kt, uint32_t *at, uint32_t *ref)
{
	if (!*at)
		*at = 1;
	while (*at >> KEYTAB_CHUNK_BITS < kt->chunk_count) {
		struct keytab_entry *e = keytab_at(kt, *at);
		uint64_t head;

		memcpy(&head, e, sizeof head);
		if (!head) { /* the end of what is used of this chunk */
			*at = ((*at >> KEYTAB_CHUNK_BITS) + 1) << KEYTAB_CHUNK_BITS;
			continue;
		}
		*ref = *at;
		*at += entry_units(kt, e->key_bytes);
		if (!(e->flags & KEYTAB_F_DEAD))
			return e;
	}
	return NULL;
}
