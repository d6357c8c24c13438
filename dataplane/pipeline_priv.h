/* Parts of the pipeline in files of their own. Worker thread. */
#ifndef SLUICE_PIPELINE_PRIV_H
#define SLUICE_PIPELINE_PRIV_H

#include "pipeline.h"

/* ---- pipeline_batch.c: open batches ---- */
/* Hands over the partition's open batch, with the drop counts so far. */
void batch_seal(struct pipeline *pl, uint32_t partition);
/* Opens a batch for a partition that has none open. NULL: none free. */
struct batch *batch_fresh(struct pipeline *pl, uint32_t partition);
/* Notes for the journal what has been dropped since the last call. */
void drops_collect(struct pipeline *pl);

/* The open batch of a partition, a fresh one if there is none. NULL: none free. */
static inline struct batch *batch_open(struct pipeline *pl, uint32_t partition)
{
	struct batch *b = pl->open[partition];

	return b ? b : batch_fresh(pl, partition);
}

/* Room for a record in the partition's open batch; seals a batch that is too full. NULL: none free. */
static inline struct batch *batch_room(struct pipeline *pl, uint32_t partition, uint32_t bytes)
{
	struct batch *b = batch_open(pl, partition);

	if (b && b->bytes + bytes > b->capacity) {
		batch_seal(pl, partition);
		b = batch_open(pl, partition);
	}
	return b;
}

/* ---- pipeline_producer.c: producers of docs/protocol.md ---- */
/* A datagram of a producer has come, opened as pl->frame: counts it, and tells the acker where answers go. */
void producer_heard(struct pipeline *pl, const struct datagram *dg);
/* Asks the acker to tell the sender that its datagram is not understood. */
void producer_reject(struct pipeline *pl, const struct datagram *dg, enum drop_reason why);
/* An event of a producer, dropped by this worker: counted, and answered if it makes no sense to send it
 * again. */
void producer_dropped(struct pipeline *pl, const struct event *ev, uint8_t listener, enum drop_reason why);

#endif
