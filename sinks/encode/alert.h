/* Stateless alerts: a pure function of a record's rule hits and of its block's ruleset, hence the same
 * whenever it is made again. One alert per (record, rule with RULE_ACTION_ALERT that hit), in the order of
 * the hits. Shared by all sinks. */
#ifndef SLUICE_ALERT_H
#define SLUICE_ALERT_H

#include <stdint.h>

#include "address.h"
#include "err.h"
#include "json_out.h"
#include "record.h"
#include "record_key.h"
#include "ruleset.h"

#define ALERT_RULE_ID_BYTES 256

struct alert {
	char id[ADDRESS_TEXT_BYTES +
		ALERT_RULE_ID_BYTES];	   /* evidence address / rule id: unique and repeatable */
	char evidence[ADDRESS_TEXT_BYTES]; /* address of the event */
	const char *rule_id;		   /* these four are borrowed from the ruleset */
	const char *title;
	const char *severity;
	const char *version; /* of the ruleset */
	uint32_t generation;
	uint8_t event_type;
	const struct record_key *key;	     /* borrowed from the caller */
	int64_t first_time_ms, last_time_ms; /* event time of the first and last piece of evidence */
};

/* Hit number `hit` (< rec->hit_count) of a record at `at`, whose block has the ruleset rs of `generation`.
 * 1: *out is filled. 0: that rule does not alert, or not without state. -EINVAL: the hit names a rule that rs
 * does not have. */
int alert_of_hit(struct alert *out, const struct record *rec, uint32_t hit, const struct record_key *key,
	const struct address *at, const struct ruleset *rs, uint32_t generation, struct err *err);

/* Appends the alert as one JSON object. */
void alert_put_json(struct bytes *out, const struct alert *a);

#endif
