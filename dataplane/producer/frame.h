/* The datagrams of docs/protocol.md: DATA read, ACK and REJECT written. Pure; a worker reads, the acker
 * writes. Format: docs/protocol.md, version 1; little endian. */
#ifndef SLUICE_FRAME_H
#define SLUICE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "drops.h"
#include "frame_key.h"

#define FRAME_VERSION 1u
#define FRAME_HEADER_BYTES 32u
#define FRAME_EVENTS_MAX 1024u
#define FRAME_SEQUENCE_MAX (UINT64_MAX >> 1)
#define FRAME_ACK_HEADER_BYTES 24u
#define FRAME_REJECT_BYTES 24u

/* A DATA datagram that is being read; borrows its bytes. */
struct frame {
	uint64_t producer, sequence; /* of the next event */
	uint32_t left;		     /* events not read yet */
	bool ack;		     /* wanted */
	uint8_t key;		     /* number; 0: no MAC */
	const uint8_t *at;
};

/* Checks the whole datagram, so that frame_next() cannot fail. keys: of the listener; those without any take
 * what has no MAC, the others only what has a valid one. DROP_NONE, or bad_frame, frame_version, bad_mac. A
 * frame with the magic has its producer and its wish for an ACK in *f in any case; else producer is 0. */
enum drop_reason frame_open(
	struct frame *f, const uint8_t *data, uint32_t bytes, const struct frame_keys *keys);

/* The next event: its sequence is f->sequence - 1 afterwards. False: there is none. */
static inline bool frame_next(struct frame *f, const uint8_t **event, uint32_t *bytes)
{
	uint16_t size;

	if (!f->left)
		return false;
	__builtin_memcpy(&size, f->at, 2);
	*event = f->at + 2;
	*bytes = size;
	f->at += 2 + size;
	f->left--;
	f->sequence++;
	return true;
}

/* first + i is durable where bit i is set. */
struct frame_range {
	uint64_t first, bits;
};

struct frame_refusal {
	uint64_t sequence;
	uint16_t reason; /* enum drop_reason */
};

/* Bytes of an ACK. out has frame_ack_bytes() bytes; key 0: no MAC, else its number in keys. Returns them. */
uint32_t frame_ack_bytes(uint32_t ranges, uint32_t refusals, bool mac);
uint32_t frame_ack_write(uint8_t *out, uint64_t producer, const struct frame_range *range, uint32_t ranges,
	const struct frame_refusal *refusal, uint32_t refusals, const struct frame_keys *keys, uint8_t key);

/* A REJECT into out[FRAME_REJECT_BYTES]. */
void frame_reject_write(uint8_t *out, uint64_t producer, enum drop_reason reason);

#endif
