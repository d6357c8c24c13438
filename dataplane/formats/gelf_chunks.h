/* GELF messages that come in chunks of a datagram each: 2 bytes 1e 0f, 8 of the message's id, its chunk's
 * number from 0, the count of chunks (1 to 128), then a piece of the message.
 *
 * One worker's own: the chunks of a message have one 5-tuple, so that RSS brings them to one worker, and so
 * do workers that spread frames, by the source. The table has sets of GELF_WAYS messages by source address,
 * so that no source can take the places of all others; a set that is full gives up its oldest message. A
 * message has five seconds from its first chunk on.
 *
 * Every chunk is counted once: it waits, then it is read with its message, or dropped under a name. Stage
 * file: all memory is made at start; time is the burst's. */
#ifndef SLUICE_GELF_CHUNKS_H
#define SLUICE_GELF_CHUNKS_H

#include <stdbool.h>
#include <stdint.h>

#include "event.h"

#define GELF_CHUNKS_MAX 128
#define GELF_CHUNK_HEADER_BYTES 12
#define GELF_WAYS 16
#define GELF_CHUNKS_TIMEOUT_NS 5000000000ull

struct gelf_message {
	uint8_t addr[16], id[8];
	uint16_t port;
	uint8_t listener;
	uint8_t count;	 /* of its chunks; 0: the place is free */
	uint8_t seen;	 /* of these */
	uint8_t waiting; /* of these, those that are counted as waiting: all, or none if it is too long */
	bool too_long;
	uint32_t bytes;
	uint64_t end_ns;
	uint64_t have[2]; /* a bit for each chunk */
	uint16_t at[GELF_CHUNKS_MAX], length[GELF_CHUNKS_MAX];
};

/* A listener's counters of datagrams. */
struct gelf_counts {
	uint64_t *waiting, *read;
	uint64_t *dropped; /* by reason */
};

struct gelf_chunks {
	uint32_t sets;		      /* power of two; 0: no listener needs it */
	uint32_t messages;	      /* that are under way */
	struct gelf_message *message; /* sets * GELF_WAYS, zeroed; borrowed */
	uint8_t *data;		      /* EVENT_BYTES_MAX for each; borrowed */
	uint64_t check_ns;	      /* when the next may be over its time */
	struct gelf_counts counts[64];
	uint64_t *drops; /* of all listeners, by reason */
};

static inline bool gelf_is_chunk(const uint8_t *data, uint32_t bytes)
{
	return bytes >= 2 && data[0] == 0x1e && data[1] == 0x0f;
}

/* Takes a datagram that gelf_is_chunk(). True: its message is whole, in `to` with its length; false: there is
 * nothing to do, it waits or was dropped. */
bool gelf_chunk_take(struct gelf_chunks *c, uint8_t listener, const uint8_t addr[16], uint16_t port,
	const uint8_t *data, uint32_t bytes, uint64_t now_ns, uint8_t to[EVENT_BYTES_MAX],
	uint32_t *to_bytes);

/* Gives up messages whose time is over; with `all`, every one. */
void gelf_chunks_expire(struct gelf_chunks *c, uint64_t now_ns, bool all);

#endif
