/* Aggregates over runs of events: what the events have in the fields that are read is looked up once, for all
 * windows; then a set's parts are taken one after the other, each over all pairs of an event and its cell, so
 * that what kind of part it is, and how it lies in a cell, is not asked for each event.
 *
 * A cell sees its events in the order of the run, so what comes out is bit by bit what agg_cell_add() of one
 * event after the other gives. Only where an arena's bound is met within a run may it be another event that
 * finds no room: whoever needs to know which one keeps the bound at nothing or far away, as the stage does.
 *
 * One thread; memory is the cells', the arenas', and the run's own. */
#ifndef SLUICE_AGG_RUN_H
#define SLUICE_AGG_RUN_H

#include "agg.h"

#define AGG_RUN 64u

/* Pairs of an event and the cell that it goes to, ascending by event, each event at most once. */
struct agg_items {
	uint32_t count;
	uint64_t events;	/* bit i: event i of the run is one of them, or might be */
	uint8_t event[AGG_RUN]; /* its place in the run */
	uint8_t *cell[AGG_RUN];
	struct agg_arena *arena[AGG_RUN]; /* of the cell's growing parts */
};

/* events: all that will be added. */
static inline void agg_items_begin(struct agg_items *items, uint64_t events)
{
	items->count = 0;
	items->events = events;
}

static inline void agg_items_clear(struct agg_items *items)
{
	agg_items_begin(items, 0);
}

/* One that was announced, or not. */
static inline void agg_items_add(struct agg_items *items, uint32_t event, void *cell, struct agg_arena *arena)
{
	items->event[items->count] = (uint8_t)event;
	items->cell[items->count] = cell;
	items->arena[items->count++] = arena;
}

static inline void agg_items_put(struct agg_items *items, uint32_t event, void *cell, struct agg_arena *arena)
{
	items->events |= 1ull << event;
	agg_items_add(items, event, cell, arena);
}

/* A field of a run's events: arrays by their place in the run, good where `has` says so. */
struct agg_input {
	enum field_id field;
	bool number, decimal;
	bool hashed, keys; /* what is wanted beside the value */
	uint64_t looked;   /* events that have been looked at */
	uint64_t has;	   /* those of them that have the field */
	uint64_t finite;   /* of numbers: others count as absent, but quantiles count them */
	const uint8_t *text[AGG_RUN];
	uint32_t bytes[AGG_RUN];
	uint32_t token[AGG_RUN];     /* hll_token() */
	int32_t key[AGG_RUN];	     /* dds_key() */
	uint64_t hash[AGG_RUN];	     /* hash_bytes(text, bytes, 0) */
	int64_t decimal_of[AGG_RUN]; /* millionths */
	double number_of[AGG_RUN];   /* of decimals, too */
};

struct agg_run {
	const struct record *const *rec; /* borrowed, as payload and offset */
	const uint8_t *const *payload;
	const uint64_t *offset;
	uint32_t partition;
	bool alike;			       /* all have the fields that one has */
	uint64_t errors, errors_looked;	       /* events that are errors, of those that have been looked at */
	uint32_t input_count;		       /* that sets read */
	struct agg_input *input[FIELD_ID_MAX]; /* NULL: no set reads it */
	struct agg_input *read[FIELD_ID_MAX];  /* the others, in any order */
};

/* rec, payload (record_payload() of each), offset: where those of each run's events will stand. Nothing to
 * undo. */
void agg_run_init(struct agg_run *run, const struct record *const *rec, const uint8_t *const *payload,
	const uint64_t *offset, uint32_t partition);
void agg_run_free(struct agg_run *run);
/* Set-up: this set's fields will be read. False: no memory. */
bool agg_run_reads(struct agg_run *run, const struct agg_set *set);
/* Other events stand there now; alike: all of them have the same fields. */
void agg_run_begin(struct agg_run *run, bool alike);
/* Draws into the cache what agg_run_add() of these will touch beside the cells. */
void agg_run_prefetch(struct agg_run *run, const struct agg_set *set, const struct agg_items *items);
/* Adds the events; returns those (by place in the run) of which something found no room in its arena. */
uint64_t agg_run_add(struct agg_run *run, const struct agg_set *set, const struct agg_items *items);

#endif
