/* L2 to L4: from frames to UDP payloads with their listener. A stage: runs on a worker, no memory of its own.
 * Formats: IEEE 802.3, RFC 791 (IPv4), RFC 8200 (IPv6), RFC 768 (UDP), RFC 1071 (checksums). */
#ifndef SLUICE_DECODE_H
#define SLUICE_DECODE_H

#include <rte_mbuf.h>
#include <stdint.h>

#include "drops.h"

/* A UDP datagram inside an mbuf: borrowed, lives as long as the mbuf. */
struct datagram {
	const uint8_t *payload;
	uint32_t bytes;
	uint32_t readable;    /* bytes of mbuf memory from payload on: payload, padding and tailroom */
	uint8_t src_addr[16]; /* IPv6 or IPv4-mapped */
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t listener;
	const struct rte_mbuf *mbuf; /* with the frame's headers; filled by decode_burst() */
};

/* UDP port -> listener index + 1; 0 = no listener. */
struct decode_ports {
	uint8_t listener_of[65536];
};

/* Decodes one frame of `bytes` bytes. ol_flags: RTE_MBUF_F_RX_* checksum results of the port; what the port
 * did not check is checked here. Returns DROP_NONE and fills *dg, or the reason. */
enum drop_reason decode_frame(const struct decode_ports *ports, const uint8_t *frame, uint32_t bytes,
	uint64_t ol_flags, struct datagram *dg);

/* Decodes a burst. Writes the datagrams of the frames that have a listener to dg[] and returns their count;
 * every other frame is counted in drops[]. mbufs stay the caller's. */
uint32_t decode_burst(const struct decode_ports *ports, struct rte_mbuf *const *mbuf, uint32_t n,
	struct datagram *dg, uint64_t *drops);

#endif
