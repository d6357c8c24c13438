/* What a host answers about itself, for ports with addresses (ports.addresses): ARP requests, neighbour
 * solicitations, and pings. Bytes to bytes: no memory of its own, nothing is sent here. Worker stage; the
 * announcements are for the control thread.
 * Formats: RFC 826 and 5227 (ARP), RFC 4861 (neighbour discovery), RFC 792 and 4443 (ICMP echo). */
#ifndef SLUICE_NEIGHBOUR_H
#define SLUICE_NEIGHBOUR_H

#include <stdint.h>

#include "address_list.h"

struct neighbour_table {
	uint8_t mac[6]; /* the port's */
	struct address_list own;
};

enum neighbour_kind {
	NEIGHBOUR_NONE,	    /* not for us, or not as it must be */
	NEIGHBOUR_CONFLICT, /* another host says that one of our addresses is its own */
	NEIGHBOUR_ARP,
	NEIGHBOUR_SOLICITATION,
	NEIGHBOUR_ECHO4,
	NEIGHBOUR_ECHO6,
};

/* A question as it was read; borrows the frame. */
struct neighbour_question {
	enum neighbour_kind kind;
	uint32_t own;	/* index of the address */
	uint8_t mac[6]; /* who is answered; of a conflict: who claims the address */
	bool from_none; /* a solicitation without a source: somebody tries whether the address is free */
	const uint8_t *l2;
	uint32_t l2_bytes;
	const uint8_t *packet; /* behind the Ethernet header */
	uint32_t bytes;	       /* of it, without padding */
};

/* Reads a frame: its Ethernet header with tags, 14 to 22 bytes, and what is behind. Fills *q and returns its
 * kind; NONE and *q undefined: nothing to be answered. */
enum neighbour_kind neighbour_read(const struct neighbour_table *t, const uint8_t *l2, uint32_t l2_bytes,
	const uint8_t *packet, uint32_t bytes, struct neighbour_question *q);

/* Of the answer's frame, tags and padding included. For the kinds behind CONFLICT, as the next one. */
uint32_t neighbour_reply_bytes(const struct neighbour_question *q);
/* Writes it. `to` does not overlap the question. */
void neighbour_reply(const struct neighbour_table *t, const struct neighbour_question *q, uint8_t *to);

/* Tells everybody of an address, without being asked: an ARP announcement, or a neighbour advertisement.
 * Returns the frame's bytes. */
#define NEIGHBOUR_ANNOUNCE_MAX 86u
__attribute__((nonnull)) uint32_t neighbour_announce(
	const struct neighbour_table *t, uint32_t own, uint8_t to[NEIGHBOUR_ANNOUNCE_MAX]);

#endif
