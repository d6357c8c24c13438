/* What the programs of this folder share: one configuration, one ruleset, events with known fates. */
#ifndef SLUICE_SINK_RIG_H
#define SLUICE_SINK_RIG_H

#include <stdint.h>

#include "batch.h"
#include "config.h"
#include "journal.h"
#include "ruleset.h"

#define RIG_NODE "rig"
#define RIG_PARTITIONS 4
#define RIG_RULES 3 /* indexes: 0 tags, 1 alerts, 2 alerts and drops (hence RECORD_F_SUPPRESSED) */

/* Topics are PREFIX.click and so on. */
void rig_config(struct config *cfg, const char *brokers, const char *prefix, uint64_t replication);
void rig_journal_params(struct journal_params *params, const char *dir);
/* Compiles the rig's rules and stores them in DIR/rulesets; returns the generation, or 0 with err. */
uint32_t rig_ruleset(struct ruleset_store **store, const char *dir, struct err *err);

/* Writes event number `n` of a run into the batch of its partition; each fourth has user_segment "gold".
 * nonce tells the ids of runs apart. */
struct rig_feed {
	struct handoff *handoff;
	struct batch *open[RIG_PARTITIONS];
	uint64_t nonce;
	uint32_t generation;
};
void rig_feed_event(struct rig_feed *feed, uint64_t n);
/* Hands over all open batches. */
void rig_feed_seal(struct rig_feed *feed);

#endif
