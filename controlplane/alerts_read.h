/* Alerts as they stand in the logs: those of the state stage in the output log, those of rules on single
 * events in the journal, where a record's hits are its alerts. Nothing is kept in memory for it: what is
 * asked for is read, newest first, by readers of its own, which hold nothing back. Job threads. */
#ifndef SLUICE_ALERTS_READ_H
#define SLUICE_ALERTS_READ_H

#include <jansson.h>

#include "journal.h"
#include "ruleset.h"
#include "window.h"

struct alerts_source {
	struct journal *input, *output; /* output NULL: the state stage is off */
	struct ruleset_store *store;
	const struct window_plan *plan; /* NULL with output */
	bool (*stopped)(void *arg);	/* asked block by block: true ends it with -ECANCELED; NULL: never */
	void *arg;
};

#define ALERTS_SCAN_RECORDS 1000000u /* of each partition that are looked at */

/* The latest alerts, newest first, as an array of objects as in Kafka, with "received" beside. rule: only of
 * this one; NULL: of all. scan: records of each partition that are looked at, at most. NULL with err. */
json_t *alerts_latest(
	const struct alerts_source *src, const char *rule, uint64_t limit, uint64_t scan, struct err *err);
/* The alert with this id, the caller's; NULL unless 0 is returned. -ENOENT: it is in no log (any more). */
int alerts_find(const struct alerts_source *src, const char *id, json_t **alert, struct err *err);

#endif
