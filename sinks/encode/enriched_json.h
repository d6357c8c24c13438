/* An accepted event with what the box knows about it, as one JSON object:
 *
 *   {<the sender's members, as they came>, "_enrichment":{"geo_country":"DE",...}, "_tags":["rule",...],
 *    "_address":"node/epoch/partition/offset"}
 *
 * `_enrichment` has the fields that enrichment filled, maybe none; `_tags` the ids of the rules with the
 * action tag or alert that hit, in the order of the ruleset (as the column _tags in ClickHouse). A sender's
 * members of these three names, however escaped, are left out: nobody can forge what the box says. A repeated
 * key that the schema does not know stays repeated, as it came.
 *
 * Thread: the caller's; pure but for the buffer. The same record gives the same bytes. */
#ifndef SLUICE_ENRICHED_JSON_H
#define SLUICE_ENRICHED_JSON_H

#include "address.h"
#include "err.h"
#include "json_out.h"
#include "record.h"
#include "ruleset.h"

/* Appends the object. rs: the ruleset of the record's block; may be NULL for a record without hits. -EINVAL:
 * a hit names a rule that rs does not have. Memory: out->failed. */
int enriched_json_put(struct bytes *out, const struct record *rec, const struct address *at,
	const struct ruleset *rs, struct err *err);

#endif
