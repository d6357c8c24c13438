/* The read commands: each turns a view into its result. One function per `view` row of commands.def. */
#ifndef SLUICE_VIEWS_H
#define SLUICE_VIEWS_H

#include <jansson.h>

#include "command.h"
#include "view.h"

/* Returns the result, or NULL with err filled. */
#define COMMAND_DECLARE_view(id)                                                                             \
	json_t *view_##id(const struct view *v, const struct request *rq, struct err *err);
#define COMMAND_DECLARE_fast(id)
#define COMMAND_DECLARE_slow(id)
#define COMMAND_DECLARE_local(id)
#define COMMAND(id, words, access, where, help) COMMAND_DECLARE_##where(id)
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG

json_t *view_json_tenths(double v); /* with one decimal */
/* view_state.c: the state stage in `status`. */
json_t *view_state_json(const struct view *v);

/* view_canary.c: a rule that only counts, or one in force that goes with the canary. */
#define VIEW_UNKNOWN UINT64_MAX
struct view_canary {
	const struct rule_info *info;
	uint64_t hits, suppressed, keys, memory_bytes;
	uint64_t alerts,
		drops; /* that it would have given; alerts: or VIEW_UNKNOWN, without the state stage */
	/* Of the rule in force under its id in the same time; alerts: or VIEW_UNKNOWN. */
	uint64_t hits_in_force, alerts_in_force;
};
/* False: neither of them. */
bool view_canary(const struct view *v, uint32_t rule, struct view_canary *out);
json_t *view_canary_json(const struct view *v);		     /* all of them */
json_t *view_canary_of(const struct view *v, uint32_t rule); /* of a rule in force as well; or null */

/* A window's numbers over all partitions. */
struct view_window {
	uint64_t events, filtered, late, no_room, late_allowed, late_panes, rows, revisions, other, cut, keys,
		memory_bytes;
	int64_t closed_ms; /* lowest */
};
void view_window_sum(const struct view *v, uint64_t uid, struct view_window *sum);
/* Records that a partition of the state stage has still to take. */
uint64_t view_state_behind(const struct view *v, uint32_t partition);

#endif
