/* Inside the acker. */
#ifndef SLUICE_ACKER_PRIV_H
#define SLUICE_ACKER_PRIV_H

#include <pthread.h>
#include <rte_mbuf.h>
#include <stdatomic.h>

#include "acker.h"
#include "frame.h"

#define ACK_RANGES_MAX 32u /* in an answer */
#define ACK_REFUSALS_MAX 32u

/* A producer, and the answer to it that is being gathered. */
struct ack_peer {
	uint64_t producer;    /* 0: the place is free */
	struct ack_word path; /* kind PATH; else where to is not known */
	uint64_t used;	      /* round of the acker in which it was used last */
	uint32_t ranges, refusals;
	bool queued; /* in acker.due */
	struct frame_range range[ACK_RANGES_MAX];
	struct frame_refusal refusal[ACK_REFUSALS_MAX];
};

struct acker {
	const struct config *cfg;
	struct ack_lanes *lanes;
	struct journal *journal;
	uint64_t mirrors;	 /* DPDK port ids: see acker_start() */
	struct frame_keys *keys; /* by listener */
	struct rte_mempool *pool;
	pthread_t thread;
	atomic_bool stop;
	struct ack_peer *peer; /* sets of ACK_WAYS */
	uint32_t sets;
	struct ack_peer **due; /* peers with something to be sent */
	uint32_t due_count;
	struct ack_done *held; /* [partition]: taken, not durable yet */
	bool *holds;
	uint64_t round;
	uint64_t reject_second, rejects_in_second;
	struct acker_stats stats;
};

/* ack_send.c: a datagram back along the path. bytes: of the UDP payload. False: the port did not take it,
 * which is counted. */
bool ack_send(struct acker *a, const struct ack_word *path, const uint8_t *payload, uint32_t bytes);

static inline void ack_count(uint64_t *word, uint64_t n)
{
	__atomic_store_n(word, *word + n, __ATOMIC_RELAXED);
}

#endif
