/* Software spread: a worker that has taken frames from a queue hands whole frames to other workers, for when
 * there are more workers than queues, or one queue gets most of the traffic (docs/decisions/0017-spread.md).
 *
 * What has to meet has one owner among the workers, by a keyed hash of its source address: IP fragments,
 * chunks of GELF, datagrams of producers, listeners with a rate, tunnels. All else goes to whichever worker
 * has room, a burst at a time, and only while the queue is crowded: until then its own worker takes it.
 *
 * One SP/SC ring from each worker that has a queue to each other one; nobody waits for a ring that is full: a
 * frame without an owner stays with its worker, one with an owner is dropped (spread_full). A frame belongs
 * to whoever took it from the queue or the ring. Worker stage; memory is made in spread_setup.c. */
#ifndef SLUICE_SPREAD_H
#define SLUICE_SPREAD_H

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bell.h"
#include "config.h"
#include "dataplane.h"
#include "decode.h"
#include "err.h"

#define SPREAD_ANY UINT32_MAX /* a frame without an owner */
#define SPREAD_AHEAD 2u	      /* bursts that wait for a worker at most while others could take them */
#define SPREAD_BURST_MAX 128u

/* A worker as the others see it. */
struct spread_place {
	struct bell bell;		  /* where it sleeps */
	_Alignas(64) atomic_bool crowded; /* its own queues give full bursts; written by it */
	atomic_bool ended;		  /* it gives no more; release by it, acquire by the others */
};

/* All workers'; constant once it is made, but for the rings and places. */
struct spread {
	uint32_t workers;
	uint32_t givers; /* workers that have a queue */
	uint32_t burst;
	const struct decode_ports *ports; /* borrowed */
	bool keyed[64];			  /* by listener: a source has one owner */
	bool chunked[64];		  /* by listener: what is a chunk of GELF has one */
	bool plain[65];			  /* by listener + 1: neither of these */
	uint32_t decap[RTE_MAX_ETHPORTS]; /* by DPDK port; DECAP_* */
	struct spread_place *place;	  /* by worker */
	struct rte_ring **ring;		  /* [from * workers + to]; NULL: none */
	struct spreader *spreader;	  /* by worker */
};

/* What one worker uses to give; its own. */
struct spreader {
	struct spread *all;
	uint32_t worker;
	uint32_t last; /* who got frames without an owner last */
	uint32_t spare_count, dropped_count;
	struct worker_stats *stats; /* spread_given */
	uint32_t *count;	    /* by worker: of to[] */
	struct rte_mbuf *(*to)[SPREAD_BURST_MAX];
	struct rte_mbuf *spare[SPREAD_BURST_MAX]; /* without an owner, on their way to another worker */
	struct rte_mbuf
		*dropped[SPREAD_BURST_MAX]; /* by the last spread_burst(): the caller counts and frees */
};

/* Whether the workers of this configuration spread; why (not), for people, unless bytes is 0. */
bool spread_wanted(const struct config *cfg, char *why, size_t bytes);
/* Frames of a port that can wait in rings and lie at workers that did not take them from it. */
uint32_t spread_frames_max(const struct config *cfg, uint32_t port);

/* Rings from the workers with has_queue[] to all others. stats: of worker i at stats[i]; borrowed, as is
 * ports. Returns 0 or -ENOMEM. After rte_eal_init(), before the workers run. */
int spread_create(struct spread **out, const struct config *cfg, const struct decode_ports *ports,
	const bool *has_queue, struct worker_stats *const *stats, struct err *err);
/* Frees the frames that still lie in rings, too; no worker runs. */
void spread_free(struct spread *s);

/* Who must have a frame of a DPDK port; SPREAD_ANY: anybody. */
uint32_t spread_owner(const struct spread *s, const struct rte_mbuf *m);

/* Of frames that a worker has taken from a queue: gives others theirs, moves its own to the front and returns
 * their count. What found no room is in sp->dropped. crowded: the queue has more; then those without an owner
 * go to another worker, if one has room. */
uint32_t spread_burst(struct spreader *sp, struct rte_mbuf **mbuf, uint32_t n, bool crowded);

/* What this worker's own queues are like, for the others. */
void spread_crowded(struct spread *s, uint32_t worker, bool crowded);

/* Frames that another worker gave; no more than a burst. Counted as taken by the caller, when they are
 * through. */
uint32_t spread_take(const struct spread *s, uint32_t from, uint32_t to, struct rte_mbuf **mbuf);
/* Frames lie in rings to this worker. */
bool spread_waits(const struct spread *s, uint32_t worker);
/* The most that waits for one worker, from all others together. */
uint32_t spread_backlog(const struct spread *s);
/* Sleeps until frames come or for so long. */
void spread_sleep(struct spread *s, uint32_t worker, uint64_t ns);

/* This worker gives no more; and whether none does. */
void spread_end(struct spread *s, uint32_t worker);
bool spread_ended(const struct spread *s);

#endif
