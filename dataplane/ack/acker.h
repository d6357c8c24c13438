/* The acker: tells producers (docs/protocol.md) which of their events are durable, by datagrams through the
 * port that theirs came in. One thread of its own, not on a worker's core; it sends on queue 0 of each port,
 * by its lock (port_tx.h). What it forgets or cannot send is told again when the producer repeats. */
#ifndef SLUICE_ACKER_H
#define SLUICE_ACKER_H

#include <stdint.h>

#include "ack_lane.h"
#include "config.h"
#include "journal.h"

struct acker;

/* Written by the acker, read by anyone. */
struct acker_stats {
	uint64_t acks;	    /* datagrams sent */
	uint64_t durable;   /* events told to be durable */
	uint64_t refused;   /* events told to be refused */
	uint64_t rejects;   /* datagrams answered by REJECT */
	uint64_t no_path;   /* events not answered: where to is not known (yet) */
	uint64_t unsent;    /* datagrams that the port did not take, or for which there was no mbuf */
	uint64_t forgotten; /* producers that made room for others */
};

/* True if a listener answers. */
bool acker_wanted(const struct config *cfg);
/* mirrors: DPDK port ids, as bits, that see frames for others, whose producers are not answered. lanes and
 * journal are borrowed for life; the journal's writers may start before and end after it. 0, -ENOMEM, -EINVAL
 * (a key file). */
int acker_start(struct acker **out, const struct config *cfg, struct ack_lanes *lanes,
	struct journal *journal, uint64_t mirrors, struct err *err);
/* Answers what is durable by now, and ends. */
void acker_stop(struct acker *a);
void acker_stats(const struct acker *a, struct acker_stats *out);

#endif
