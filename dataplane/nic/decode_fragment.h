/* IP packets in pieces: what decoding keeps from one burst to the next. Private to this folder.
 *
 * Each packet has room for the longest one, so that it lies in one piece when it is complete, and the mbufs
 * of its fragments can go home at once. A packet is in one of three states: free; open, in a hash chain and
 * in the order of age; lent, while the datagram that it was completed for is in use. */
#ifndef SLUICE_DECODE_FRAGMENT_H
#define SLUICE_DECODE_FRAGMENT_H

#include "decode_priv.h"

#define FRAGMENT_NONE UINT32_MAX
#define FRAGMENT_DATA_BYTES (65536u + DECODE_TAIL_BYTES)
#define FRAGMENT_BLOCKS 8192u /* of 8 bytes, the unit of offsets */

/* What fragments of one packet have in common. Without gaps, since it is hashed and compared as bytes. */
struct fragment_key {
	uint8_t addresses[32]; /* source, destination; IPv4: the rest is 0 */
	uint64_t domain;       /* of decode_around */
	uint32_t id;
	uint32_t protocol; /* IPv4: the protocol; IPv6: FRAGMENT_KEY_IPV6 */
};
#define FRAGMENT_KEY_IPV6 256u

struct fragment_packet {
	struct fragment_key key;
	uint64_t opened_ns;
	uint32_t chain;	       /* next of its bucket, or next free one */
	uint32_t older, newer; /* open ones */
	uint32_t frames;
	uint32_t received; /* bytes */
	uint32_t end;	   /* behind the last byte that came */
	uint32_t total;	   /* 0: the last fragment is not there yet */
	uint32_t next;	   /* protocol of what is in it */
	bool refused;	   /* fragments overlapped: all others are dropped until its time is over */
	uint64_t seen[FRAGMENT_BLOCKS / 64];
	uint8_t *data;
};

struct fragment_table {
	uint32_t mask; /* buckets - 1 */
	uint64_t timeout_ns;
	uint32_t oldest, newest, free, lent;
	uint32_t *bucket;
	struct fragment_packet *packet;
	uint8_t *data;
};

/* A fragment as its header says. */
struct fragment {
	struct fragment_key key;
	const uint8_t *data;
	uint32_t offset, bytes;
	uint32_t next;
	bool more;
};

/* decode_setup.c. NULL: no memory. */
struct fragment_table *fragment_table_new(uint32_t packets, uint64_t timeout_ns);
void fragment_table_free(struct fragment_table *t);

/* Takes the fragment that ip is, and makes ip the whole packet when it was the last one missing (DROP_NONE);
 * DECODE_WAITS: it is kept; else the reason why not. An IPv6 packet in one fragment just loses that header.
 */
enum drop_reason decode_fragment(const struct decode_around *a, struct ip_payload *ip);
/* The packet that was lent is free again. */
void fragment_give_back(struct fragment_table *t);

#endif
