/* The other side of the protocol for tests of a client: a UDP socket that reads DATA by docs/protocol.md,
 * keeps what came, and answers as the test says. It has its own reader and writer of the format: what both
 * sides misunderstood would not show. */
#ifndef UDP_PEER_H
#define UDP_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_EVENTS_MAX 20000
#define PEER_ACK_RANGES 32

struct udp_peer {
	int fd;
	char port[8];
	struct sockaddr_storage from; /* of the latest DATA */
	socklen_t from_bytes;
	const uint8_t *key; /* 32 bytes, or NULL */
	uint8_t key_number;
	unsigned loss_percent, twice_percent, late_percent; /* each way */
	uint64_t random;
	uint16_t refuse_every, refuse_reason; /* each n-th sequence; 0: none */
	bool mute;			      /* reads, but answers nothing */
	uint64_t producer;
	uint8_t flags;
	char *events[PEER_EVENTS_MAX + 1]; /* by sequence; owned */
	uint16_t sizes[PEER_EVENTS_MAX + 1];
	uint64_t highest, datagrams, events_again, bytes_max, count_max, answers;
	uint8_t held[64][1500]; /* answers that are late */
	size_t held_bytes[64];
	unsigned held_count;
};

/* family: AF_INET or AF_INET6, on the loopback. port 0: any. */
void peer_open(struct udp_peer *p, int family, uint16_t port);
void peer_close(struct udp_peer *p);

/* Reads everything that has come and answers it. What is not DATA by the text fails the test. */
void peer_pump(struct udp_peer *p);

/* An ACK of these ranges and refusals with the peer's MAC, if it has one; returns its size. */
size_t peer_ack(const struct udp_peer *p, uint8_t *out, uint64_t producer, const uint64_t (*ranges)[2],
	unsigned range_count, const uint64_t (*refusals)[2], unsigned refusal_count);
void peer_sign(const struct udp_peer *p, uint8_t *out, size_t bytes);
void peer_answer(struct udp_peer *p, const uint8_t *data, size_t bytes);

#endif
