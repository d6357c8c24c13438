/* One worker's pipeline over real mbufs, without a worker: for tests of its stages. One at a time. */
#ifndef SLUICE_PIPELINE_RIG_H
#define SLUICE_PIPELINE_RIG_H

#include <stdint.h>

#include "packets.h"
#include "pipeline.h"

#define PARTITIONS 4
#define WALL_MS 1763700000000ll

struct pipeline_rig {
	struct config cfg;
	struct handoff handoff;
	struct decode_ports ports;
	struct worker_stats stats;
	struct pipeline pl;
	struct pipeline_live *live;
	struct ruleset *rs;
	struct matcher *matcher;
	struct rte_mempool *pool;
	void (*take)(const struct record *rec); /* each record that comes out; NULL: they are counted only */
	uint64_t events, refused, batches, max_base_count;
	uint64_t delta[DROP_ID_MAX];
	uint32_t generation_min, generation_max;
};

extern struct pipeline_rig fx;

/* How a test wants it. */
struct pipeline_wish {
	uint16_t port;
	int format; /* of the only listener */
	const char *rules;
	uint32_t batches, batch_bytes, dead_rate;
	void (*take)(const struct record *rec);
	void (*change)(struct config *cfg); /* before it is used: further listeners, ...; NULL: nothing */
};

void rig_start(const struct pipeline_wish *wish);
void rig_rules(const char *text, uint32_t generation); /* in force from now on */
/* Takes every sealed batch, checks it, sends it home. */
void rig_drain(void);
void rig_stop(void);
/* From 10.0.0.<host>. */
void rig_send(uint8_t host, const void *payload, uint32_t bytes, uint16_t port);
void rig_send_at(uint8_t host, const void *payload, uint32_t bytes, uint16_t port, uint64_t mono_ns);
/* The ledger's equations of the listeners, and that each drop reached a batch's delta. After rig_stop(). */
void rig_balance(void);
bool rig_pool(void); /* EAL and the mempool, first of all; false: there is none */

#endif
