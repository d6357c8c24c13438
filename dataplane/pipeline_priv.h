/* Parts of the pipeline in files of their own. Worker thread. */
#ifndef SLUICE_PIPELINE_PRIV_H
#define SLUICE_PIPELINE_PRIV_H

#include "pipeline.h"

/* ---- pipeline_producer.c: producers of docs/protocol.md ---- */
/* A datagram of a producer has come, opened as pl->frame: counts it, and tells the acker where answers go. */
void producer_heard(struct pipeline *pl, const struct datagram *dg);
/* Asks the acker to tell the sender that its datagram is not understood. */
void producer_reject(struct pipeline *pl, const struct datagram *dg, enum drop_reason why);
/* An event of a producer, dropped by this worker: counted, and answered if it makes no sense to send it
 * again. */
void producer_dropped(struct pipeline *pl, const struct event *ev, uint8_t listener, enum drop_reason why);

#endif
