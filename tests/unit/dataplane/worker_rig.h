/* Workers over the queues of a ring port, fed with clicks that have a number, and a consumer that takes what
 * they seal, in the place of the partition writers. For tests; one at a time. */
#ifndef SLUICE_WORKER_RIG_H
#define SLUICE_WORKER_RIG_H

#include <stdatomic.h>
#include <stdint.h>

#include "dataplane.h"

#define RIG_WORKERS 2
#define RIG_WORKERS_MAX 3
#define RIG_PARTITIONS 4
#define RIG_USERS 977u
#define RIG_PAGES 13u

struct rte_ring;
struct rte_mempool;

/* The click: user_id u<id % RIG_USERS>, page /p<id % RIG_PAGES>. Consumer's thread. */
typedef void worker_rig_take(void *arg, uint32_t id, const struct batch *b, const struct record *rec);

struct worker_rig {
	struct config cfg;
	uint32_t workers, queues;
	uint32_t ahead_max; /* events that the feeder may be ahead of the consumer */
	struct dataplane *dp;
	struct handoff handoff;
	worker_rig_take *take;
	void *arg;
	_Atomic uint64_t taken; /* records */
	uint64_t back;	   /* batches of a generation below the one before in their lane; after the stop */
	uint64_t switches; /* batches of another one, over all lanes */
	struct rte_ring *ring[RIG_WORKERS_MAX];
	struct rte_mempool *pool;
	pthread_t consumer;
	atomic_bool stop;
};

/* Fills cfg (more may be added before the start) and makes the rings; rig_eal_start() has been called. */
void worker_rig_make(struct worker_rig *rig, const char *name);
/* The same with other numbers than RIG_WORKERS of each. */
void worker_rig_make_of(struct worker_rig *rig, const char *name, uint32_t workers, uint32_t queues);
/* The data plane; between these two the caller may set tables. */
void worker_rig_create(struct worker_rig *rig);
/* Before or after the start; the events' frames go to the queues in turn, with this source and UDP port. */
void worker_rig_feed_as(struct worker_rig *rig, uint32_t from, uint32_t to, uint8_t host, uint16_t port);
void worker_rig_start(struct worker_rig *rig, const struct ruleset *rs, worker_rig_take *take, void *arg);
/* Events from <= id < to, not further ahead of the consumer than the lanes hold: none is dropped. */
void worker_rig_feed(struct worker_rig *rig, uint32_t from, uint32_t to);
/* Workers take what is there and end; then all of it is consumed. */
void worker_rig_stop(struct worker_rig *rig);
void worker_rig_free(struct worker_rig *rig);

#endif
