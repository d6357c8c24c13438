/* The alerts of a log's records, one after the other: of the rules that a journaled event hit, or of the
 * state stage. A pure function of the log, the rulesets and the windows that it names. Sink threads. */
#ifndef SLUICE_SINK_ALERTS_H
#define SLUICE_SINK_ALERTS_H

#include "address.h"
#include "alert.h"
#include "json_out.h"
#include "sink.h"

/* Into stand->rs: that of a record with hits, at `at`. -EINVAL: the store has it not. */
int sink_ruleset_get(struct ruleset_stand *stand, const struct sink_env *env, uint32_t generation,
	const struct address *at, struct err *err);

struct window_def;
/* The definition that a row names: in force, or kept since rows of it may still be in the log. NULL with err.
 */
const struct window_def *sink_window_get(const struct sink_env *env, uint64_t uid, struct err *err);

/* False with err: a row, alert or late event of the output log that is not well-formed. */
bool sink_row_good(const struct record *rec, const struct address *at, struct err *err);

/* Valid within the callback. */
struct sink_alert {
	const struct alert *hit; /* NULL: of the state stage, then rec is its record */
	const struct record *rec;
	const struct address *at;
	const char *window;   /* of the state stage: name of the window that it is about, or "" */
	uint64_t input_epoch; /* of the journal that its evidence stands in */
};
void sink_alert_put_json(struct bytes *out, const struct sink_alert *a);

/* Calls back for each alert of a record of part's log, which stands at `at`; stops at the first that does not
 * return 0, and returns that. -EINVAL: the record is not well-formed, or names a rule or window that is not
 * known. */
int sink_alerts_each(struct sink_part *part, struct ruleset_stand *stand, const struct record *rec,
	uint32_t generation, const struct address *at,
	int (*each)(void *arg, const struct sink_alert *a, struct err *err), void *arg, struct err *err);

#endif
