#include "sc_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int sc_window_init(struct sc_window *w, uint32_t events_max, size_t ring_bytes)
{
	memset(w, 0, sizeof *w);
	w->ring = malloc(ring_bytes);
	if (!w->ring)
		return -ENOMEM;
	w->ring_bytes = ring_bytes;
	w->events_max = events_max;
	w->base = w->next_send = w->next = 1;
	return 0;
}

void sc_window_free(struct sc_window *w)
{
	free(w->ring);
	w->ring = NULL;
}

struct sc_slot *sc_window_slot(struct sc_window *w, uint64_t sequence)
{
	return &w->slots[sequence % SC_WINDOW];
}

const uint8_t *sc_window_event(const struct sc_window *w, uint64_t sequence)
{
	return w->ring + w->slots[sequence % SC_WINDOW].offset;
}

uint64_t sc_window_open(const struct sc_window *w)
{
	return w->next - w->base - w->settled;
}

/* Where an event's bytes may lie in one piece, or SIZE_MAX. The oldest event begins at the tail; head ==
 * tail: full. */
static size_t ring_place(struct sc_window *w, size_t bytes)
{
	size_t tail;

	if (w->base == w->next)
		return bytes <= w->ring_bytes ? 0 : SIZE_MAX;
	tail = w->slots[w->base % SC_WINDOW].offset;
	if (w->head <= tail)
		return bytes <= tail - w->head ? w->head : SIZE_MAX;
	if (bytes <= w->ring_bytes - w->head)
		return w->head;
	return bytes <= tail ? 0 : SIZE_MAX;
}

bool sc_window_put(struct sc_window *w, const char *event, size_t bytes)
{
	size_t at;

	if (w->next - w->base >= w->events_max || w->next > SC_SEQUENCE_MAX)
		return false;
	at = ring_place(w, bytes);
	if (at == SIZE_MAX)
		return false;
	memcpy(w->ring + at, event, bytes);
	w->slots[w->next % SC_WINDOW] = (struct sc_slot){.offset = (uint32_t)at, .bytes = (uint16_t)bytes};
	w->head = at + bytes;
	w->next++;
	w->queued_bytes += SC_EVENT_HEAD + bytes;
	return true;
}

unsigned sc_window_pack(
	const struct sc_window *w, uint64_t first, uint64_t end, uint8_t *out, size_t room, size_t *bytes)
{
	unsigned count = 0;
	size_t at = 0;

	for (uint64_t s = first; s < end; s++, count++) {
		const struct sc_slot *slot = &w->slots[s % SC_WINDOW];

		if (slot->settled || SC_EVENT_HEAD + (size_t)slot->bytes > room - at)
			break;
		sc_put16(out + at, slot->bytes);
		memcpy(out + at + SC_EVENT_HEAD, w->ring + slot->offset, slot->bytes);
		at += SC_EVENT_HEAD + (size_t)slot->bytes;
	}
	*bytes = at;
	return count;
}

void sc_window_left(struct sc_window *w, unsigned count)
{
	for (; count; count--)
		w->queued_bytes -= SC_EVENT_HEAD + (size_t)w->slots[w->next_send++ % SC_WINDOW].bytes;
}

void sc_window_advance(struct sc_window *w)
{
	while (w->base < w->next_send && w->slots[w->base % SC_WINDOW].settled) {
		w->base++;
		w->settled--;
	}
}
