/* Rows of the output log (dataplane/state/row.h) as JSON, for Kafka, replays and people. Pure; any thread.
 *
 * A merged row is one object: "window", "kind", "start" and "end" (RFC 3339, UTC), "start_ms" and "end_ms",
 * the group fields by their names (null: the events have no such field), of a funnel "step", "other" (true:
 * all keys beyond the window's bound together), "cut" (true: a sketch or text had no memory), "revision",
 * "node", then the values by their labels (agg_values(); null: no event had the field). No label or field
 * name is one of the fixed names: a test says so.
 *
 * An alert has the keys of a rule's alert (alert.h), then "window", "score", "value", "expected",
 * "evidence_total" (what "evidence" may be a part of) and "node". */
#ifndef SLUICE_ROW_JSON_H
#define SLUICE_ROW_JSON_H

#include <stdint.h>

#include "err.h"
#include "json_out.h"
#include "row.h"
#include "window.h"

/* rec: a RECORD_ROW that has passed row_valid(), no alert; def: the window that it names. -EINVAL: the packed
 * aggregates are not of this definition. Any bytes in keys and values give valid JSON. */
int row_put_json(struct bytes *out, const struct record *rec, const struct window_def *def, const char *node,
	struct err *err);

/* rec: a ROW_ALERT that has passed row_valid(). window: name of the window that it is about, or "".
 * input_epoch: of the journal that the evidence stands in. */
void row_alert_put_json(struct bytes *out, const struct record *rec, const char *window, const char *node,
	uint64_t input_epoch);

/* The id of an alert of the state stage as text: the same in JSON and in tables. UUID_TEXT_BYTES. */
void row_alert_id(char *out, const struct row_alert *a);

#endif
