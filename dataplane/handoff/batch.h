/* Batches: how records get from a worker to a partition's writer. Each (worker, partition) pair has a fixed
 * set of batches and two SP/SC rings, `sealed` (worker to writer) and `empty` (writer to worker), whose
 * capacity is at least the number of batches, so that an enqueue cannot fail. A batch belongs to whoever
 * holds it. */
#ifndef SLUICE_BATCH_H
#define SLUICE_BATCH_H

#include <rte_common.h>
#include <rte_ring.h>
#include <stdatomic.h>
#include <stdint.h>

#include "bell.h"
#include "drops.h"
#include "err.h"
#include "record.h"

struct ack_lanes;

struct batch {
	uint32_t worker;
	uint32_t partition;
	uint32_t bytes;				   /* used of data[] */
	uint32_t capacity;			   /* of data[] */
	uint32_t record_count;			   /* may be 0: a batch that only carries drop counts */
	uint32_t generation;			   /* ruleset generation of all records in it */
	int64_t receive_first_ms, receive_last_ms; /* wall clock of the first and last burst in it */
	uint64_t opened_ns;			   /* monotonic */
	/* Highest min(event time, receive time) of events with valid time meant for this partition, including
	 * those that rules dropped; INT64_MIN if none. */
	int64_t watermark_base_ms;
	/* What this worker dropped since it last sealed a batch (to any partition); event unit and others
	 * alike. */
	uint32_t drop_delta[DROP_ID_MAX];
	uint8_t data[] __rte_aligned(64); /* records, back to back */
};

/* Empty batches that have come home. Worker only, but others may look at the count. */
struct batch_home {
	uint32_t count;
	struct batch *batch[]; /* the one that came last at the end */
};

/* The lane of one (worker, partition) pair. */
struct batch_lane {
	struct rte_ring *sealed; /* worker enqueues, writer dequeues */
	struct rte_ring *empty;	 /* writer enqueues, worker dequeues: batch_take_empty() */
	struct batch_home *home;
};

/* All lanes into one journal. */
struct handoff {
	uint32_t workers, partitions, batches;
	uint32_t batch_bytes;
	uint32_t number;	 /* of this handoff in the process */
	struct batch_lane *lane; /* [worker * partitions + partition] */
	struct bell *bell;	 /* [partition]: where its writer sleeps */
	struct ack_lanes *acks;	 /* borrowed; NULL: nobody gets an ACK */
	void *memory;
};

/* After rte_eal_init(). Returns 0 or -ENOMEM. */
int handoff_create(struct handoff *h, uint32_t workers, uint32_t partitions, uint32_t batches,
	uint32_t batch_bytes, struct err *err);
void handoff_free(struct handoff *h);

static inline struct batch_lane *handoff_lane(const struct handoff *h, uint32_t worker, uint32_t partition)
{
	return &h->lane[worker * h->partitions + partition];
}

/* Writer side: the next sealed batch, or NULL; and its way home. */
static inline struct batch *batch_take_sealed(struct batch_lane *lane)
{
	void *b;

	return rte_ring_sc_dequeue(lane->sealed, &b) == 0 ? b : NULL;
}

/* What lies in a ring now; others may put and take meanwhile. Relaxed loads of what rte_ring_count() reads
 * plainly: the answer is a hint, nothing is taken by it. */
static inline uint32_t ring_count(const struct rte_ring *ring)
{
	uint32_t tail = __atomic_load_n(&ring->prod.tail, __ATOMIC_RELAXED);

	return (tail - __atomic_load_n(&ring->cons.tail, __ATOMIC_RELAXED)) & ring->mask;
}

/* Batches that are free now; the writer may send more home meanwhile. To others than the worker a hint, which
 * may miss some that the worker takes home just then. */
static inline uint32_t batch_free_count(const struct batch_lane *lane)
{
	/* Acquire, and first: what it counts is not found in the ring as well. */
	uint32_t home = __atomic_load_n(&lane->home->count, __ATOMIC_ACQUIRE);

	return home + ring_count(lane->empty);
}

/* Worker side: the empty batch that came home last, whose bytes the caches are most likely to hold still, or
 * NULL. Taken in turn all of them would be written through, and more memory than the caches have. */
static inline struct batch *batch_take_empty(struct batch_lane *lane)
{
	struct batch_home *home = lane->home;
	void **to = (void **)(home->batch + home->count);
	uint32_t count = home->count +
			 rte_ring_sc_dequeue_burst(lane->empty, to, rte_ring_get_capacity(lane->empty), NULL);
	struct batch *b = count ? home->batch[--count] : NULL;

	/* Release: pairs with the acquire in batch_free_count(); the ring has them no more. */
	__atomic_store_n(&home->count, count, __ATOMIC_RELEASE);
	return b;
}

void batch_return(struct batch_lane *lane, struct batch *b);

/* Worker side: seals a batch, which is the writer's from now on. One system call if the writer sleeps, none
 * if it does not; never waits. */
void batch_hand_over(const struct handoff *h, struct batch *b);

/* Writer side: sleeps until `wanted` batches, at least one, lie in one of the partition's lanes, or for so
 * long. */
void handoff_sleep(const struct handoff *h, uint32_t partition, uint32_t wanted, uint64_t ns);

#endif
