/* RX workers: one EAL lcore each, polling its queues and running the pipeline to completion. */
#ifndef SLUICE_WORKER_H
#define SLUICE_WORKER_H

#include <rte_rcu_qsbr.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "answer.h"
#include "capture.h"
#include "dataplane.h"
#include "frame_file.h"
#include "pipeline.h"
#include "spread.h"

#define WORKER_QUEUES_MAX 64

struct worker_queue {
	uint16_t port;
	uint16_t queue;
	uint32_t decap;		 /* of its port */
	bool finite;		 /* a file: the first empty poll is its end */
	struct frame_file *file; /* the port's, if that is where its frames are; and its pool */
	struct rte_mempool *pool;
	_Atomic bool ended; /* written by the worker */
};

/* The ruleset in force: made by the control thread, immutable, freed after quiescence. */
struct rule_slot {
	const struct ruleset *rs;
	uint32_t generation;
	uint32_t matchers;
	struct matcher *matcher[]; /* one a worker */
};

struct worker {
	uint32_t index;
	uint32_t lcore;
	uint32_t burst;
	bool adaptive;
	uint64_t sleep_max_ns; /* while no batch is open */
	bool kernel_gathers;   /* all its queues are of drivers that do: while a batch is open it may sleep
				  longer */
	uint32_t queue_count;
	struct worker_queue queue[WORKER_QUEUES_MAX];
	struct rte_rcu_qsbr *rcu;
	struct rule_slot *_Atomic
		*slot; /* the dataplane's pointer: release by the control thread, acquire here */
	const struct enrich_set *_Atomic
		*enrich; /* the dataplane's pointer: release by the control thread, acquire here */
	struct capture *_Atomic *capture; /* the dataplane's pointer: release by the control thread, acquire
					     here; NULL: none */
	const struct pipeline_live *_Atomic
		*live;		 /* the dataplane's pointer: release by the control thread, acquire here */
	const atomic_bool *stop; /* release by the control thread, acquire here */
	struct spread *spread;	 /* NULL: each worker takes what its queues give */
	bool crowded;		 /* a queue gave a full burst in this round */
	struct pipeline pipeline;
	struct answerer answerer;
	struct worker_stats stats;
};

/* The lcore's main function; arg is a struct worker. Returns 0 when told to stop and its queues are empty. */
int worker_main(void *arg);

#endif
