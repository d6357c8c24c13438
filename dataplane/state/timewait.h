/* Items that wait for the watermark: each begins with its time (int64_t), is added behind the others, and
 * comes out once the watermark has passed it. They stand in the order in which they were added, in blocks
 * that know their earliest time: one from which nothing is to be taken is not looked at. Two neighbours are
 * never so empty that one block would do, but for what was just added. State thread; owns its memory.
 *
 * `bytes`: of an item, always the same for a list, and best a constant. */
#ifndef SLUICE_TIMEWAIT_H
#define SLUICE_TIMEWAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

#define TIMEWAIT_ITEMS 256u /* of a block */
#define TIMEWAIT_FN static inline __attribute__((always_inline))

struct timewait_block {
	uint8_t *item;
	int64_t least_ms; /* no item is earlier */
	uint32_t count;	  /* not 0 */
};

struct timewait {
	struct timewait_block *block;
	size_t blocks, room;
	size_t count;	/* items */
	uint8_t *spare; /* items' room of a block that is empty, or NULL */
};

static inline void timewait_free(struct timewait *t)
{
	while (t->blocks)
		free(t->block[--t->blocks].item);
	free(t->block);
	free(t->spare);
	*t = (struct timewait){0};
}

static inline bool timewait_full(const struct timewait *t)
{
	return !t->blocks || t->block[t->blocks - 1].count == TIMEWAIT_ITEMS;
}

/* Room for an item of this time, not filled. */
TIMEWAIT_FN void *timewait_add(struct timewait *t, size_t bytes, int64_t time_ms)
{
	struct timewait_block *b;

	if (timewait_full(t)) {
		if (t->blocks == t->room) {
			t->room = t->room * 2 + 16;
			t->block = must_realloc(t->block, t->room, sizeof *t->block);
		}
		t->block[t->blocks++] = (struct timewait_block){
			t->spare ? t->spare : must_realloc(NULL, TIMEWAIT_ITEMS, bytes), time_ms, 0};
		t->spare = NULL;
	}
	b = &t->block[t->blocks - 1];
	b->least_ms = time_ms < b->least_ms ? time_ms : b->least_ms;
	t->count++;
	return b->item + b->count++ * bytes;
}

/* The block behind the first `kept` ones, of which it becomes the last, or a part of that. Returns their
 * number. */
TIMEWAIT_FN size_t timewait_keep(
	struct timewait *t, size_t bytes, size_t kept, const struct timewait_block *b)
{
	struct timewait_block *last = kept ? &t->block[kept - 1] : NULL;

	if (b->count && (!last || last->count + b->count > TIMEWAIT_ITEMS)) {
		t->block[kept] = *b;
		return kept + 1;
	}
	if (b->count) {
		memcpy(last->item + last->count * bytes, b->item, b->count * bytes);
		last->count += b->count;
		last->least_ms = b->least_ms < last->least_ms ? b->least_ms : last->least_ms;
	}
	free(t->spare);
	t->spare = b->item;
	return kept;
}

/* The most that timewait_take() may take. */
static inline size_t timewait_most(const struct timewait *t, int64_t before_ms)
{
	size_t most = 0;

	for (size_t i = 0; i < t->blocks; i++)
		most += t->block[i].least_ms < before_ms ? t->block[i].count : 0;
	return most;
}

struct timewait_taken {
	size_t count;
	int64_t least_ms, most_ms; /* INT64_MAX, INT64_MIN: none */
	bool sorted;
};

/* Takes all items before this time, in their order; to: room for timewait_most() and one more. No branch on
 * an item's time: it is written where it stays and where it goes, and one of both counts. */
TIMEWAIT_FN struct timewait_taken timewait_take(struct timewait *t, size_t bytes, int64_t before_ms, void *to)
{
	struct timewait_taken taken = {0, INT64_MAX, INT64_MIN, true};
	uint8_t *out = to;
	size_t kept = 0;

	for (size_t i = 0; i < t->blocks; i++) {
		struct timewait_block b = t->block[i];
		const uint8_t *from = b.item, *end = from + b.count * bytes;
		uint8_t *stay = b.item;

		if (b.least_ms < before_ms) {
			b.least_ms = INT64_MAX;
			for (; from < end; from += bytes) {
				int64_t time_ms, rest;

				memcpy(&time_ms, from, sizeof time_ms);
				rest = time_ms < before_ms ? INT64_MAX : time_ms;
				b.least_ms = rest < b.least_ms ? rest : b.least_ms;
				memcpy(out, from, bytes);
				memmove(stay, from, bytes);
				out += time_ms < before_ms ? bytes : 0;
				stay += time_ms < before_ms ? 0 : bytes;
			}
			b.count = (uint32_t)((size_t)(stay - b.item) / bytes);
		}
		kept = timewait_keep(t, bytes, kept, &b);
	}
	t->blocks = kept;
	taken.count = (size_t)(out - (uint8_t *)to) / bytes;
	t->count -= taken.count;
	for (size_t i = 0; i < taken.count; i++) {
		int64_t time_ms;

		memcpy(&time_ms, (uint8_t *)to + i * bytes, sizeof time_ms);
		taken.sorted &= time_ms >= taken.most_ms;
		taken.least_ms = time_ms < taken.least_ms ? time_ms : taken.least_ms;
		taken.most_ms = time_ms > taken.most_ms ? time_ms : taken.most_ms;
	}
	return taken;
}

/* Gives up the items that are not wanted. */
TIMEWAIT_FN void timewait_filter(
	struct timewait *t, size_t bytes, bool (*wanted)(const void *arg, const void *item), const void *arg)
{
	size_t kept = 0, count = 0;

	for (size_t i = 0; i < t->blocks; i++) {
		struct timewait_block b = t->block[i];
		uint32_t stay = 0;

		for (uint32_t k = 0; k < b.count; k++)
			if (wanted(arg, b.item + k * bytes))
				memmove(b.item + stay++ * bytes, b.item + k * bytes, bytes);
		b.count = stay;
		count += stay;
		kept = timewait_keep(t, bytes, kept, &b);
	}
	t->blocks = kept;
	t->count = count;
}

#endif
