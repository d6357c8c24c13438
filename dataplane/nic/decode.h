/* L2 to L4: from frames to UDP payloads with their listener. A stage: runs on a worker; its memory is made by
 * decoder_setup(), on the control thread.
 * Formats: IEEE 802.3, 802.1Q and 802.1ad (tags), RFC 791 (IPv4), RFC 8200 (IPv6), RFC 768 (UDP), RFC 1071
 * (checksums). Fragments of IP packets are put together, tunnels are taken off. */
#ifndef SLUICE_DECODE_H
#define SLUICE_DECODE_H

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#include "decode_stats.h"
#include "drops.h"

/* No drop: a fragment was kept until the others of its packet have come, or the frame was a question for the
 * port itself. Counted elsewhere. */
#define DECODE_WAITS ((enum drop_reason)DROP_ID_MAX)

/* Readable behind each datagram that lies in a decoder's own memory. */
#define DECODE_TAIL_BYTES 128u
/* The largest frame in several mbufs: the largest IP packet behind an Ethernet header with tags. */
#define DECODE_FRAME_MAX (65535u + 22u)

/* A UDP datagram: borrowed. It lies in its mbuf, or in the decoder's memory until decode_burst() is called
 * again. */
struct datagram {
	const uint8_t *payload;
	uint32_t bytes;
	uint32_t readable;    /* bytes of memory from payload on: payload, padding and tailroom */
	uint8_t src_addr[16]; /* IPv6 or IPv4-mapped */
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t listener;
	const struct rte_mbuf
		*mbuf; /* with the frame's headers, by decode_burst(); NULL: it came in a tunnel */
};

struct answerer; /* answer.h */

/* UDP port -> listener index + 1; 0 = no listener. */
struct decode_ports {
	uint8_t listener_of[65536];
};

/* One worker's; used by that worker alone. */
struct decoder {
	const struct decode_ports *ports;
	uint64_t *drops; /* DROP_ID_MAX counters */
	struct decode_stats *stats;
	uint8_t *scratch; /* a frame that came in several mbufs; DECODE_FRAME_MAX + DECODE_TAIL_BYTES */
	struct fragment_table *fragments; /* NULL: fragments are dropped */
	uint64_t now_ns;		  /* of the last decode_tick() */
	uint32_t decap; /* DECAP_* of the port that the next frames come from; written by the caller */
	uint16_t port; /* DPDK port of the burst; written by the caller: not every driver says it in its mbufs
			*/
	struct answerer *answerer; /* NULL: no port has addresses; written by the caller, borrowed */
};

/* What a decoder is made with. ports, drops, stats: borrowed for its life. */
struct decoder_wish {
	const struct decode_ports *ports;
	uint64_t *drops;
	struct decode_stats *stats;
	uint32_t fragments_max; /* packets that are put together at a time; 0: none */
	uint64_t fragment_timeout_ns;
};

/* Returns 0 or -ENOMEM. */
int decoder_setup(struct decoder *d, const struct decoder_wish *wish);
void decoder_free(struct decoder *d);

/* The time, before a burst and as long as decode_waits() also without one: fragments whose time is over are
 * dropped. */
void decode_tick(struct decoder *d, uint64_t now_ns);
/* True while there are packets that are not complete. */
bool decode_waits(const struct decoder *d);
/* Drops what is not complete and never will be. */
void decode_end(struct decoder *d);

/* Decodes one frame of `bytes` bytes. ol_flags: RTE_MBUF_F_RX_* checksum results of the port; what the port
 * did not check is checked here. Returns DROP_NONE and fills *dg but for `readable`, or the reason, which the
 * caller counts. DECODE_WAITS: a fragment that is kept, counted in the decoder's stats. */
enum drop_reason decode_frame(
	struct decoder *d, const uint8_t *frame, uint32_t bytes, uint64_t ol_flags, struct datagram *dg);
/* The same without the short way for the commonest frames. */
enum drop_reason decode_frame_any(
	struct decoder *d, const uint8_t *frame, uint32_t bytes, uint64_t ol_flags, struct datagram *dg);

/* Decodes frames of a burst from number *next on, up to its end or behind a datagram that had to be put into
 * the decoder's memory, and moves *next there. Writes the datagrams of frames that have a listener to dg[]
 * and returns their count; every other frame is counted in the decoder's drops. mbufs stay the caller's. */
uint32_t decode_burst(
	struct decoder *d, struct rte_mbuf *const *mbuf, uint32_t n, uint32_t *next, struct datagram *dg);

#endif
