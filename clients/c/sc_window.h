/* The events between send() and their settling: at most SC_WINDOW consecutive sequences, their bytes in a
 * ring of fixed size. base <= next_send <= next: [base, next_send) left or tried to, [next_send, next) are
 * queued. Settled ones above an unsettled one keep their place until base has passed them. Owned by one
 * client. */
#ifndef SC_WINDOW_H
#define SC_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sc_wire.h"

struct sc_slot {
	uint64_t sent_ns;  /* last time */
	uint32_t datagram; /* in which it was */
	uint32_t offset;
	uint16_t bytes;
	uint8_t sends; /* how often it left, up to 255; 0: the system refused to send it so far */
	uint8_t tries; /* how often it was to leave, up to 255 */
	bool again;    /* more than one copy may have left, or sent_ns be that of none */
	bool settled;
};

struct sc_window {
	struct sc_slot slots[SC_WINDOW];
	uint8_t *ring;
	size_t ring_bytes, head;
	uint32_t events_max;
	uint64_t base, next_send, next; /* sequences, from 1 on */
	uint64_t settled;		/* of [base, next) */
	size_t queued_bytes;		/* of [next_send, next), with the size before each */
};

int sc_window_init(struct sc_window *w, uint32_t events_max, size_t ring_bytes);
void sc_window_free(struct sc_window *w);

struct sc_slot *sc_window_slot(struct sc_window *w, uint64_t sequence);
const uint8_t *sc_window_event(const struct sc_window *w, uint64_t sequence);
/* Events that are not settled. */
uint64_t sc_window_open(const struct sc_window *w);

/* Queues a copy of the event; false: no room, now. */
bool sc_window_put(struct sc_window *w, const char *event, size_t bytes);

/* Writes consecutive events from `first` on into out, each behind its size, as many as fit into `room`, are
 * below `end` and not settled. Returns their number; *bytes: what was written. */
unsigned sc_window_pack(
	const struct sc_window *w, uint64_t first, uint64_t end, uint8_t *out, size_t room, size_t *bytes);

/* The first queued `count` events are queued no more. */
void sc_window_left(struct sc_window *w, unsigned count);

/* Gives the places of settled events at the lower end back. Bytes of events are valid until then. */
void sc_window_advance(struct sc_window *w);

#endif
