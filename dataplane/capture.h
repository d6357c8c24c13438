/* Copies of frames as the workers see them, for `sluicectl capture`. A capture has a ring for each worker,
 * into which the worker copies and from which a control thread reads. A ring that is full loses frames for
 * the capture, counted; the worker never waits. A worker looks for a capture once a burst; without one that
 * is all.
 *
 * A frame is chosen by its port, by source address and UDP destination port as its own headers say, and by
 * how it ended: then it goes through the pipeline alone, and the drops that are counted meanwhile are its
 * own. */
#ifndef SLUICE_CAPTURE_H
#define SLUICE_CAPTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drops.h"
#include "ip_list.h"

struct burst_time;
struct pipeline;
struct rte_mbuf;

#define CAPTURE_RING_BYTES (4u << 20)
#define CAPTURE_FRAME_BYTES_MAX 65535u /* more of a frame is not copied */

#define CAPTURE_ANY UINT32_MAX
struct capture_filter {
	uint32_t port;	       /* as DPDK numbers it, or CAPTURE_ANY */
	uint32_t udp_port;     /* destination, or CAPTURE_ANY */
	struct ip_list source; /* none: any */
	uint64_t drops; /* a bit for each reason: frames that ended so, or an event in them; 0: all frames */
};

/* What precedes each frame's bytes: a record's header of a pcap file with nanoseconds, in this machine's
 * order. */
struct capture_head {
	uint32_t seconds, nanoseconds; /* since 1970, of the burst */
	uint32_t bytes;		       /* that follow */
	uint32_t frame_bytes;
};

struct capture_ring {
	/* The worker's. */
	_Alignas(64) _Atomic uint64_t
		head;		  /* bytes ever written; release by the worker, acquire by the reader */
	_Atomic uint64_t matched; /* frames that the filter took */
	_Atomic uint64_t lost;	  /* of these, not copied: the ring was full */
	/* The reader's. */
	_Alignas(
		64) _Atomic uint64_t tail; /* bytes ever read; release by the reader, acquire by the worker */
	_Alignas(64) uint8_t data[CAPTURE_RING_BYTES];
};

struct capture {
	struct capture_filter filter;
	int64_t wall_minus_mono_ns; /* as it was at the start */
	uint32_t workers;
	struct capture_ring *ring; /* of each */
};

/* Control thread. Returns 0 or -ENOMEM. */
int capture_create(
	struct capture **out, const struct capture_filter *filter, uint32_t workers, struct err *err);
/* No worker has it any longer. */
void capture_free(struct capture *c);

/* The worker: pipeline_burst(), with copies of what the filter takes. */
void capture_burst(struct capture *c, struct pipeline *pl, uint32_t port, struct rte_mbuf *const *mbuf,
	uint32_t n, struct burst_time now);

/* The worker: copies of what the filter takes of frames that were dropped before the pipeline. */
void capture_dropped(struct capture *c, uint32_t worker, uint32_t port, struct rte_mbuf *const *mbuf,
	uint32_t n, enum drop_reason why, struct burst_time now);

/* One reader: whole records, each with its head, up to `room` bytes; 0: there is nothing. room: at least a
 * head and CAPTURE_FRAME_BYTES_MAX. The oldest first, as far as the rings show. */
size_t capture_read(struct capture *c, uint8_t *to, size_t room);

struct capture_counts {
	uint64_t matched, lost;
};
struct capture_counts capture_counts(const struct capture *c);

#endif
