/* Funnels from inside; what they are stands in window_funnel.c. */
#ifndef SLUICE_FUNNEL_PRIV_H
#define SLUICE_FUNNEL_PRIV_H

#include "due_heap.h"
#include "stage_priv.h"
#include "timewait.h"

#define FUNNEL_GATHERED (1ull << 63) /* in an offset: of another journal, before this one */

/* Value of a user's entry: the attempt that is open. */
struct attempt {
	int64_t start_ms; /* of its first step */
	uint16_t reached; /* steps; 0: none is open */
	uint16_t kept;	  /* only within expiry_trim(): the heap has it */
	uint32_t waiting; /* events */
	uint32_t later;	  /* of these, that could be another step than the first */
};

struct funnel_event {
	int64_t time_ms;
	uint64_t offset;
	uint32_t user;	/* reference of the entry */
	uint32_t steps; /* bit i: it could be step i */
};

/* Attempts that began in [start, start + size). */
struct funnel_window {
	int64_t start_ms;
	uint32_t reached; /* bit i: step i has a count */
	uint8_t *cells;
};

struct funnel {
	struct stage_window w;
	struct keytab users;
	struct timewait events;	    /* struct funnel_event */
	struct funnel_event *ready; /* those of a step */
	size_t ready_room;
	struct funnel_window *window; /* ascending */
	uint32_t window_count, window_room;
	struct agg_arena *arena;
	struct due_heap expiry;		    /* of attempts that are open */
	bool rates;			    /* rows of every step, with how many attempts there were */
	uint32_t by_name[WINDOW_STEPS_MAX]; /* steps in the order of their keys */
	uint8_t key[WINDOW_STEPS_MAX][2 + sizeof((struct window_def *)0)->step_name[0]];
	uint32_t key_bytes[WINDOW_STEPS_MAX];
};

static inline struct attempt *attempt_of(const struct funnel *f, uint32_t user)
{
	return keytab_value(keytab_at(&f->users, user));
}

static inline void *window_cell(const struct funnel *f, const struct funnel_window *fw, uint32_t step)
{
	return fw->cells + (size_t)step * f->w.cell_bytes;
}

/* When the last event that can belong to an attempt of this window has been looked at. */
static inline int64_t window_end(const struct funnel *f, int64_t start_ms)
{
	return start_ms + f->w.def->size_ms + f->w.def->within_ms;
}

static inline void event_wait(struct funnel *f, const struct funnel_event *ev)
{
	struct attempt *a = attempt_of(f, ev->user);

	*(struct funnel_event *)timewait_add(&f->events, sizeof *ev, ev->time_ms) = *ev;
	a->waiting++;
	a->later += ev->steps != 1;
}

/* By time, then offset; offsets as signed numbers: those that were gathered stand before all others. */
int funnel_event_compare(const void *x, const void *y);
/* The window that begins at start_ms, made if it is not there. */
struct funnel_window *funnel_window_get(struct funnel *f, int64_t start_ms);

/* funnel_save.c: users with an open attempt, events that wait with their users' keys, windows. */
void funnel_save(const struct stage_window *w, struct bytes *out);
bool funnel_load(struct stage_window *w, struct cursor *c);

#endif
