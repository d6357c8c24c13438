/* The ledger: for every place that events pass, what came in = what went out + named drops. Pure functions of
 * a view. */
#ifndef SLUICE_LEDGER_H
#define SLUICE_LEDGER_H

#include <jansson.h>

#include "view.h"

/* {"equations": [{"place", "what", "in", "out": {name: count}, "sum", "balance"}], "balanced", "balance",
 *  "life": [{"partition", "records": {kind: count}, "drops": {reason: count}}], "unknown": [...]}
 * balance = in - sum of out; "balance" at the top = sum of the absolute balances. 0 when nothing is under
 * way. */
json_t *ledger_json(const struct view *v);

#endif
