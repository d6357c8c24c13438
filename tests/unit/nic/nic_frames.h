/* Frames for tests of decoding, byte by byte, and mbufs around them without a pool. */
#ifndef SLUICE_NIC_FRAMES_H
#define SLUICE_NIC_FRAMES_H

#include <rte_mbuf.h>
#include <stdint.h>

#define FRAME_PORT 9000 /* UDP destination port */
#define FRAME_MAX 66000u
#define FRAME_SEGMENTS_MAX 64

/* RFC 1071, of n bytes, on top of sum; not in place of the decoder's own. */
uint16_t frame_checksum(const uint8_t *p, uint32_t n, uint32_t sum);
void frame_put16(uint8_t *p, uint32_t v);
void frame_put32(uint8_t *p, uint32_t v);
/* Mends the checksum of the IPv4 header at h. */
void frame_sum_ipv4(uint8_t *h);

/* An Ethernet frame of n bytes of payload, 10.0.0.1 -> 10.0.0.2, or addresses of 16 bytes 0..15 -> 16..31;
 * source port 5555. Return its length: 42 + n, 62 + n. */
uint32_t frame4(uint8_t *f, uint32_t n);
uint32_t frame6(uint8_t *f, uint32_t n);
/* Puts n bytes in at an offset; returns the new length. */
uint32_t frame_insert(uint8_t *f, uint32_t bytes, uint32_t at, const void *what, uint32_t n);

/* mbufs on the heap, `cut` bytes of data each (0: all in one), with no memory behind the data. The chain is
 * freed by frame_mbuf_free(). */
struct rte_mbuf *frame_mbuf(const uint8_t *f, uint32_t bytes, uint32_t cut);
void frame_mbuf_free(struct rte_mbuf *m);

#endif
