/* See producers.h. */
#include "producers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define WAYS 4u

int producers_init(struct producers *t, uint32_t count)
{
	*t = (struct producers){.sets = 1};
	while (t->sets * WAYS < count)
		t->sets *= 2;
	t->place = calloc((size_t)t->sets * WAYS, sizeof *t->place);
	return t->place ? 0 : -ENOMEM;
}

void producers_free(struct producers *t)
{
	free(t->place);
	*t = (struct producers){0};
}

static struct producer *set_of(struct producers *t, uint64_t id, uint8_t listener)
{
	return &t->place[(hash_u64(id ^ listener) & (t->sets - 1)) * WAYS];
}

struct producer *producers_find(struct producers *t, uint64_t id, uint8_t listener)
{
	struct producer *set = set_of(t, id, listener);

	for (uint32_t i = 0; i < WAYS; i++)
		if (set[i].id == id && set[i].what >> 16 == listener)
			return &set[i];
	return NULL;
}

struct producer *producers_get(struct producers *t, uint64_t id, uint8_t listener)
{
	struct producer *known = producers_find(t, id, listener), *set = set_of(t, id, listener),
			*oldest = set;

	if (known)
		return known;
	for (uint32_t i = 1; i < WAYS && oldest->id; i++)
		if (!set[i].id || set[i].last_ms < oldest->last_ms)
			oldest = &set[i];
	t->evicted += oldest->id != 0;
	/* Free first, so that who copies it sees that it changes hands. */
	__atomic_store_n(&oldest->id, 0, __ATOMIC_RELEASE);
	memset((uint8_t *)oldest + sizeof oldest->id, 0, sizeof *oldest - sizeof oldest->id);
	oldest->what = (uint64_t)listener << 16;
	__atomic_store_n(&oldest->id, id, __ATOMIC_RELEASE);
	return oldest;
}

static uint64_t *seen_word(struct producer *p, uint64_t sequence)
{
	return &p->seen[sequence / 64 % PRODUCER_WORDS];
}

static void producer_begin(struct producer *p, uint64_t first)
{
	memset(p->seen, 0, sizeof p->seen);
	p->first = first;
	p->high = first - 1;
}

/* The highest becomes `high`: what leaves the window and never came is missing. */
static void producer_raise(struct producer *p, uint64_t high)
{
	if (high - p->high >= PRODUCER_WINDOW) {
		p->missing += producer_open(p) + (high - p->high - PRODUCER_WINDOW);
		memset(p->seen, 0, sizeof p->seen);
		p->high = high;
	}
	while (p->high < high) {
		uint64_t next = p->high + 1, bit = 1ull << next % 64, *word = seen_word(p, next);

		if (next - p->first >= PRODUCER_WINDOW && !(*word & bit))
			p->missing++;
		*word &= ~bit;
		p->high = next;
	}
}

void producer_count(struct producer *p, uint64_t first, uint32_t count, int64_t now_ms)
{
	uint64_t last = first + count - 1;

	p->datagrams++;
	p->last_ms = now_ms;
	if (p->first == 0) {
		producer_begin(p, first);
	} else if (last > p->high && last - p->high > PRODUCER_JUMP_MAX) {
		p->missing += producer_open(p);
		p->jumps++;
		producer_begin(p, first);
	}
	if (last > p->high)
		producer_raise(p, last);
	for (uint64_t s = first; s <= last; s++) {
		uint64_t bit = 1ull << s % 64, *word = seen_word(p, s);

		if (s + PRODUCER_WINDOW <= p->high || s < p->first) {
			p->late++;
		} else if (*word & bit) {
			p->repeated++;
		} else {
			*word |= bit;
			p->events++;
		}
	}
}

uint64_t producer_open(const struct producer *p)
{
	uint64_t span = p->high + 1 - p->first, came = 0;

	for (uint32_t i = 0; i < PRODUCER_WORDS; i++)
		came += (uint64_t)__builtin_popcountll(p->seen[i]);
	if (span > PRODUCER_WINDOW)
		span = PRODUCER_WINDOW;
	return span > came ? span - came : 0;
}

bool producers_copy(const struct producers *t, uint32_t i, struct producer *out)
{
	const uint64_t *from = (const uint64_t *)&t->place[i];
	uint64_t id = __atomic_load_n(&t->place[i].id, __ATOMIC_ACQUIRE), *to = (uint64_t *)out;

	if (!id)
		return false;
	for (size_t w = 0; w < sizeof *out / sizeof *to; w++)
		to[w] = __atomic_load_n(&from[w], __ATOMIC_RELAXED);
	return __atomic_load_n(&t->place[i].id, __ATOMIC_ACQUIRE) == id;
}
