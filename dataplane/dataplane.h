/* The data plane as the control plane sees it: EAL, ports, RX workers. Everything here is called by control
 * threads; counters are read racily (each has one writer). */
#ifndef SLUICE_DATAPLANE_H
#define SLUICE_DATAPLANE_H

#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "config.h"
#include "decode_stats.h"
#include "drops.h"
#include "enrich.h"
#include "err.h"
#include "neighbour_stats.h"
#include "protect.h"
#include "ruleset.h"

struct dataplane;
struct producers;
struct capture;
struct capture_filter;

/* Counters of one listener at one worker. */
struct listener_stats {
	uint64_t datagrams;	    /* = waiting + read + the drops of datagrams below */
	uint64_t datagrams_waiting; /* chunks of GELF messages that are not whole yet; goes down as well */
	uint64_t datagrams_read;    /* events were looked for in them */
	uint64_t bytes;		    /* UDP payload */
	uint64_t events;   /* lines or objects found in datagrams = accepted + refused + the drops below */
	uint64_t accepted; /* written to a batch as RECORD_EVENT */
	uint64_t refused_kept;	       /* written to a batch as RECORD_REFUSED */
	uint64_t refused[DROP_ID_MAX]; /* refused events by reason, kept or not */
	uint64_t dropped[DROP_ID_MAX]; /* events that are no refusals (rule_drop, no_batch, record_too_big,
					  ...), and datagrams */
};

/* Counters of one worker: written by that worker only.
 * frames = sum of frame-unit drops + datagrams of all listeners + decode.fragments_joined + _held
 *        + neighbour.answered + neighbour.unsent. */
struct worker_stats {
	uint64_t frames, frame_bytes;
	uint64_t polls, polls_empty, sleeps;
	/* Frames handed to other workers, and got from them and done with; frames are counted where they are
	 * decoded, or dropped for want of room on the way. */
	uint64_t spread_given, spread_taken;
	uint64_t busy_cycles, idle_cycles;
	uint64_t batches_sealed;
	/* Switches to another ruleset, and the TSC cycles that no frame was looked at for them. */
	uint64_t reloads, reload_cycles, reload_cycles_max;
	uint64_t sources_forgotten; /* by the table of rates, though their bucket was not full */
	uint64_t acks_lost;	    /* words that the acker was not told: it was behind */
	uint64_t shadows; /* RECORD_SHADOW written to a batch, beside the events that they belong to */
	/* Each frame, datagram and event that did not become an event record, once: a refused event under its
	 * reason if it was kept as a dead letter, else under what kept it out (dead_letter_quota, no_batch).
	 */
	uint64_t drops[DROP_ID_MAX];
	struct decode_stats decode;
	struct neighbour_stats neighbour;
	struct enrich_stats enrich;
	struct protect_stats protect;
	struct listener_stats listener[64];
} __attribute__((aligned(64)));

/* Counters of one port, from the driver and the kernel behind it. A counter that the port does not have is
 * UNKNOWN. */
#define PORT_COUNTER_UNKNOWN UINT64_MAX
struct port_stats {
	char name[33], device[64], driver[32];
	bool link_up;
	uint64_t rx_packets, rx_bytes;
	uint64_t rx_missed;  /* no descriptor or ring slot free */
	uint64_t rx_no_mbuf; /* mempool empty */
	uint64_t rx_errors;
	uint64_t kernel_drops; /* af_packet: PACKET_STATISTICS of its sockets */
	int numa_node;	       /* NUMA_UNKNOWN: a virtual device, or the kernel does not say */
};

/* rte_eal_init(), ports configured and started, workers made but not yet running. cfg is borrowed for life.
 */
int dataplane_create(struct dataplane **out, const struct config *cfg, struct err *err);
/* Starts the workers on handoff's lanes with the ruleset (generation as stored). */
int dataplane_start(struct dataplane *dp, struct handoff *handoff, const struct ruleset *rs,
	uint32_t generation, struct err *err);
/* Publishes another ruleset: matchers are made first, workers switch at a burst boundary and seal their open
 * batches; returns when no worker uses the old one, which the caller then may free. */
int dataplane_set_ruleset(
	struct dataplane *dp, const struct ruleset *rs, uint32_t generation, struct err *err);
/* Publishes other enrichment tables (NULL: none), before or after the start: workers switch at a burst
 * boundary; returns when no worker uses the old ones, which the caller then may free. Batches are not sealed
 * for it: what a record holds is in the record. Needs a configuration with enrichment. */
void dataplane_set_enrich(struct dataplane *dp, const struct enrich_set *set);
/* Workers copy frames into *out from now on, one capture at a time; filter->port is the index of a port.
 * -EBUSY or -ENOMEM. When dataplane_capture_halt() has returned, no worker has it any longer, and the caller
 * may read the rest and capture_free() it. Both by one thread at a time. */
int dataplane_capture_start(
	struct dataplane *dp, const struct capture_filter *filter, struct capture **out, struct err *err);
void dataplane_capture_halt(struct dataplane *dp);
/* Publishes the keys of this configuration that are `live` and that workers go by (time.past_max,
 * time.future_max, journal.dead_letter_rate, listeners.allow): workers take them at a burst boundary; returns
 * when all have. cfg has the listeners that the data plane was made with; it is not kept. On error nothing
 * changes. */
int dataplane_set_live(struct dataplane *dp, const struct config *cfg, struct err *err);
/* Workers take what the ports still hold, seal their batches and end. */
void dataplane_stop(struct dataplane *dp);
void dataplane_free(struct dataplane *dp);

uint32_t dataplane_workers(const struct dataplane *dp);
/* Of its core; NUMA_UNKNOWN: it has none of its own. */
int dataplane_worker_node(const struct dataplane *dp, uint32_t worker);
const struct worker_stats *dataplane_worker_stats(const struct dataplane *dp, uint32_t worker);
/* Copies the matcher's counters and per-rule hits of the ruleset in force; hits has room for
 * ruleset_rule_count(). */
void dataplane_match_stats(
	struct dataplane *dp, struct matcher_stats *sum, uint64_t *hits, uint32_t hits_max);
/* Of one worker: read by producers_copy(). Without memory if no listener has producers. */
const struct producers *dataplane_producers(const struct dataplane *dp, uint32_t worker);
/* DPDK port ids, as bits, of the ports that take frames for others. */
uint64_t dataplane_mirrors(const struct dataplane *dp);
uint32_t dataplane_ports(const struct dataplane *dp);
void dataplane_port_stats(const struct dataplane *dp, uint32_t port, struct port_stats *out);
/* The port's link has come up: tells the network again which addresses it has. Control thread. */
void dataplane_announce(struct dataplane *dp, uint32_t port);
/* True when every port is a file that has been read to its end (net_pcap without infinite_rx). */
bool dataplane_input_ended(const struct dataplane *dp);

#endif
