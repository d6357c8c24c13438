/* What the acker (dataplane/ack) has to know of events that want an ACK. A partition's writer tells it what
 * became of them in the journal, a worker where the answers go and what never reached a writer. Rings of
 * small values, one producer and one consumer each; a value that finds its ring full is lost and counted: the
 * sender repeats the event, which is then told of again. */
#ifndef SLUICE_ACK_LANE_H
#define SLUICE_ACK_LANE_H

#include <rte_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "bell.h"
#include "err.h"

/* From a writer: events first + i of the producer, for each bit i, once the journal is durable up to offset.
 */
struct ack_done {
	uint64_t producer, first, bits;
	uint64_t offset;
	uint16_t dst_port; /* the listener's: producers are told apart by it as well */
	uint8_t refused;   /* enum drop_reason: they lie in the dead letters; 0: accepted */
	uint8_t unused[5];
};
_Static_assert(sizeof(struct ack_done) == 40, "moved by words");

enum ack_word_kind { ACK_WORD_PATH, ACK_WORD_REFUSED, ACK_WORD_REJECT };

/* From a worker. */
struct ack_word {
	uint64_t producer;
	uint64_t sequence; /* REFUSED */
	uint16_t kind;	   /* enum ack_word_kind */
	uint16_t reason;   /* enum drop_reason: REFUSED, REJECT */
	uint16_t src_port, dst_port;
	/* PATH, REJECT: of the datagram as it came. */
	uint16_t eth_port; /* DPDK port id */
	uint8_t listener, key;
	uint8_t l2_bytes; /* of l2: Ethernet header with its tags */
	uint8_t l2[22];
	bool ipv6;
	uint8_t src_addr[16], dst_addr[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint8_t unused[4];
};
_Static_assert(sizeof(struct ack_word) % 8 == 0, "moved by words");

struct ack_lanes {
	uint32_t workers, partitions;
	struct rte_ring **done; /* [partition], struct ack_done */
	struct rte_ring **word; /* [worker], struct ack_word */
	struct bell bell;	/* where the acker sleeps */
};

/* After rte_eal_init(). 0 or -ENOMEM. *out is freed by ack_lanes_free(). */
int ack_lanes_create(struct ack_lanes **out, uint32_t workers, uint32_t partitions, struct err *err);
void ack_lanes_free(struct ack_lanes *lanes);

/* Writer of the partition, worker. False: the ring is full. */
bool ack_lane_done(struct ack_lanes *lanes, uint32_t partition, const struct ack_done *done);
bool ack_lane_word(struct ack_lanes *lanes, uint32_t worker, const struct ack_word *word);
/* Wakes the acker if it sleeps: one system call then, none else. Any thread, after it has put something. */
void ack_lanes_ring(struct ack_lanes *lanes);
/* The acker: the next value; false: there is none. */
bool ack_lane_take_done(struct ack_lanes *lanes, uint32_t partition, struct ack_done *done);
bool ack_lane_take_word(struct ack_lanes *lanes, uint32_t worker, struct ack_word *word);
bool ack_lane_has_done(const struct ack_lanes *lanes, uint32_t partition);
bool ack_lane_has_word(const struct ack_lanes *lanes, uint32_t worker);

#endif
