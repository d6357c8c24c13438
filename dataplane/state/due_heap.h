/* A heap of (time, reference), lowest time first: what a window has to look at when. Entries are hints: who
 * takes one out asks the thing itself; those of one time come in any order. Four children to a node, which
 * lie in a cache line or two: half as many levels as a binary heap, each a miss where there are many keys.
 * State thread of a partition; owns its memory. */
#ifndef SLUICE_DUE_HEAP_H
#define SLUICE_DUE_HEAP_H

#include <stdint.h>

#include "must.h"

struct due {
	int64_t at_ms;
	uint32_t ref;
};

struct due_heap {
	struct due *due;
	size_t count, room;
};

static inline void due_put(struct due_heap *heap, int64_t at_ms, uint32_t ref)
{
	size_t i = heap->count++;

	if (i == heap->room) {
		heap->room = heap->room * 2 + 64;
		heap->due = must_realloc(heap->due, heap->room, sizeof *heap->due);
	}
	for (; i && heap->due[(i - 1) / 4].at_ms > at_ms; i = (i - 1) / 4)
		heap->due[i] = heap->due[(i - 1) / 4];
	heap->due[i] = (struct due){at_ms, ref};
}

/* The first one; the heap is not empty. */
static inline struct due due_take(struct due_heap *heap)
{
	struct due first = heap->due[0], last = heap->due[--heap->count];
	size_t i = 0, child;

	for (; (child = 4 * i + 1) < heap->count; i = child) {
		size_t end = child + 4 < heap->count ? child + 4 : heap->count;

		for (size_t other = child + 1; other < end; other++)
			if (heap->due[other].at_ms < heap->due[child].at_ms)
				child = other;
		if (heap->due[child].at_ms >= last.at_ms)
			break;
		heap->due[i] = heap->due[child];
	}
	heap->due[i] = last;
	return first;
}

#endif
