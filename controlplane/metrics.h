/* All metrics of a view as Prometheus text (exposition format 0.0.4). Pure; table in metrics.def. */
#ifndef SLUICE_METRICS_H
#define SLUICE_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "view.h"

enum metric_scope {
	METRIC_SCOPE_daemon,
	METRIC_SCOPE_worker,
	METRIC_SCOPE_port,
	METRIC_SCOPE_listener,
	METRIC_SCOPE_partition,
	METRIC_SCOPE_sink,
	METRIC_SCOPE_drop,
	METRIC_SCOPE_rule,
	METRIC_SCOPE_enrich,
	METRIC_SCOPE_state,
	METRIC_SCOPE_window,
	METRIC_SCOPE_rule_state,
	METRIC_SCOPE_canary,
	METRIC_SCOPE_listener_drop,
};

struct metric {
	const char *name;
	const char *type; /* "counter" or "gauge" */
	enum metric_scope scope;
	const char *help;
	double (*get)(const void *item); /* NAN: not there */
};

extern const struct metric metric_table[];
extern const uint32_t metric_count;
const char *metric_scope_labels(enum metric_scope scope); /* "sink, partition"; "" for none */

void metrics_print(const struct view *v, FILE *out);

#endif
