/* Scenarios: actors that do over time what a shipped rule with state must find, or must just not find
 * (gen_scene.def). Several act at a time, each with keys of its own; when one is done, the next row of the
 * table begins, in turn. Deterministic by the seed. Their events keep to the disorder, and are never late.
 * One thread. */
#ifndef SLUICE_GEN_SCENE_H
#define SLUICE_GEN_SCENE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "gen_event.h"
#include "gen_opts.h"

/* Event time that passes after the last event (or WAIT) and the disorder before a scenario counts as done. */
#define GEN_SCENE_SETTLE_MS 1500

struct gen_scenes;

int gen_scenes_new(struct gen_scenes **out, const struct gen_opts *o, struct err *err);
void gen_scenes_free(struct gen_scenes *s);

/* An event that is due at this event time: its type, and its fields, event_id and type apart, appended to the
 * draft. False: none is due. clock_ms never falls. */
bool gen_scenes_next(struct gen_scenes *s, int64_t clock_ms, enum event_type *type, struct gen_draft *d);
/* The id that the event was sent with: once after each gen_scenes_next() that gave one. */
void gen_scenes_sent(struct gen_scenes *s, const char id[37]);

/* Where scenarios are written when they are done, a JSON object a line: rule, expect (alert, none, or cut: it
 * was not done when all ended, so nothing is promised), key, first_ms, last_ms, ids. NULL: nowhere. Borrowed.
 */
void gen_scenes_truth(struct gen_scenes *s, FILE *truth);
/* The end: those that are not done are written as cut. -EIO if anything could not be written. */
int gen_scenes_end(struct gen_scenes *s);
uint64_t gen_scenes_done(const struct gen_scenes *s); /* so far, cut ones not among them */

/* For tests: rows of the table. */
uint32_t gen_scene_rows(void);
const char *gen_scene_rule(uint32_t row, bool *alert);

#endif
