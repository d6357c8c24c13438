/* What the events tell: users who go through shops, devices that measure, services that fail, cards that pay.
 * One thread; the world owns its memory. Everything follows from the random numbers that it is given. */
#ifndef SLUICE_GEN_WORLD_H
#define SLUICE_GEN_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "gen_event.h"
#include "gen_opts.h"
#include "gen_rand.h"

/* How an event's texts are written. */
struct gen_style {
	bool escape, utf8;
};

struct gen_time {
	int64_t clock_ms; /* event time without disorder: never falls */
	int64_t ts_ms;	  /* of the event */
};

struct gen_world;

/* rng is borrowed for good. */
int gen_world_new(struct gen_world **out, const struct gen_opts *o, struct gen_rng *rng, struct err *err);
void gen_world_free(struct gen_world *w);

/* Appends the fields of the next event of a type, event_id and type apart, to the draft. */
void gen_world_draft(struct gen_world *w, struct gen_draft *d, enum event_type type,
	const struct gen_style *st, struct gen_time time);

#endif
