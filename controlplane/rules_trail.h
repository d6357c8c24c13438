/* The trail of changes of the ruleset, read back: who did what, and where a rollback leads. In: the lines of
 * DATA_DIR/rules-audit.log, which may be any bytes; lines that are none of ours are passed over. Control
 * threads. */
#ifndef SLUICE_RULES_TRAIL_H
#define SLUICE_RULES_TRAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

#define RULES_TRAIL_MAX 4096u /* the newest of them */

struct rules_change {
	char time[24]; /* RFC 3339, UTC */
	char action[24];
	uint32_t uid, pid;
	uint32_t from, to; /* generations; 0: none */
	char from_version[20], to_version[20];
};

struct rules_trail {
	struct rules_change *change; /* oldest first */
	uint32_t count;
};

/* Reads what there is; without a file: no changes. 0 or -errno with err. */
int rules_trail_read(struct rules_trail *t, const char *data_dir, struct err *err);
void rules_trail_free(struct rules_trail *t);
/* False: not a line of the trail. */
bool rules_change_parse(struct rules_change *c, const char *line);

/* Rulesets lie on a stack: a change by apply puts one on top, a rollback takes off what is above the one it
 * went to. Fills generation[], at most max, with what lies below the top, nearest first: the generation under
 * which each was last applied. `version` is that of the ruleset in force: where it is not on top of the stack
 * it came from elsewhere (a start with other files) and lies on top of all. Returns how many. */
uint32_t rules_trail_below(
	const struct rules_trail *t, const char *version, uint32_t *generation, uint32_t max);

#endif
