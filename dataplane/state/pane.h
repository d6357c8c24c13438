/* Panes: what is counted between two times, by key: a table of cells, and the memory of the cells' growing
 * parts; both go as a whole. Tumbling windows, and revisions of windows that were emitted.
 *
 * If its aggregates have narrow cells (agg_narrow.h) a key has one, from its entry's mark on; when that is
 * full the key goes on in an ordinary cell, which stands in the table's room, by the reference that is now
 * the entry's value. Which of the two it is shows nowhere: rows, saved state and logical bytes are of the
 * content. */
#ifndef SLUICE_PANE_H
#define SLUICE_PANE_H

#include "stage_priv.h"

#define PANE_BYTES 2048u     /* of an empty one: its table, its arena, the list's place */
#define PANE_LIST_MAX 65536u /* of a definition, by events */
/* By saved states: each partition of those that are put together had its own. */
#define PANE_LIST_LOAD_MAX (16 * PANE_LIST_MAX)
#define PANE_LIST_FULL 1024u /* of revisions, when memory is used up: of `other`, mostly */

struct pane {
	int64_t start_ms, end_ms;
	uint32_t revision;
	const struct agg_set *narrow; /* NULL: values are ordinary cells */
	struct keytab keys;	      /* value: cell */
	struct keytab_entry *other;
	struct agg_arena *arena;
};

/* Ascending by time. */
struct pane_list {
	struct pane **pane;
	uint32_t count, room;
	uint32_t last; /* index that was asked for last */
};

/* The pane that was asked for last, if it holds this time. */
static inline struct pane *pane_list_last(const struct pane_list *list, int64_t t)
{
	struct pane *pane = list->last < list->count ? list->pane[list->last] : NULL;

	return pane && t >= pane->start_ms && t < pane->end_ms ? pane : NULL;
}
/* The pane that begins at start_ms, made if it is not there. NULL: there are as many as may be. */
struct pane *pane_list_get(
	struct pane_list *list, const struct stage_window *w, int64_t start_ms, int64_t end_ms);
void pane_list_free(struct pane_list *list, struct stage *st);
/* Forgets the first `count`. */
void pane_list_drop(struct pane_list *list, struct stage *st, uint32_t count);
void pane_list_measure(const struct pane_list *list, uint64_t *keys, uint64_t *bytes);
void pane_list_limit(struct pane_list *list, size_t arena_bytes);
void pane_list_save(const struct pane_list *list, const struct stage_window *w, struct bytes *out);
/* Panes of w's size that begin at multiples of unit_ms; `closed`: that end by the stage's step, else behind
 * it. */
bool pane_list_load(
	struct pane_list *list, const struct stage_window *w, int64_t unit_ms, bool closed, struct cursor *c);

/* The cell's entry of a key, or that of `other`. */
struct keytab_entry *pane_entry_get(struct pane *pane, struct stage_window *w, const struct stage_pick *p);
/* The same where p->entry is a guess, and the key perhaps not made. */
static inline struct keytab_entry *pane_entry(struct pane *pane, struct stage_window *w, struct stage_pick *p)
{
	if (p->entry && stage_key_is(&pane->keys, p->entry, p))
		return p->entry;
	stage_key_want(w, p);
	return pane_entry_get(pane, w, p);
}

/* An entry's ordinary cell: its own, or where its narrow one was widened to. */
static inline void *pane_cell(const struct pane *pane, const struct keytab_entry *e)
{
	uint32_t ref;

	if (!(e->flags & KEYTAB_F_WIDE))
		return keytab_value(e);
	memcpy(&ref, keytab_value(e), sizeof ref);
	return keytab_value(keytab_at(&pane->keys, ref));
}
static inline uint8_t *pane_cell_narrow(const struct keytab_entry *e)
{
	return (uint8_t *)keytab_value(e) - 1; /* from the mark on */
}
static inline bool pane_cell_is_narrow(const struct pane *pane, const struct keytab_entry *e)
{
	return pane->narrow && !(e->flags & KEYTAB_F_WIDE);
}
/* Gives an entry with a narrow cell an ordinary one. */
void pane_cell_widen(struct pane *pane, const struct stage_window *w, struct keytab_entry *e);

static inline void pane_add(struct pane *pane, struct stage_window *w, struct keytab_entry *e,
	const struct stage_run *run, uint32_t i)
{
	struct agg_order order = stage_order(w->st, run, i);

	if (pane_cell_is_narrow(pane, e))
		pane_cell_widen(pane, w, e);
	if (!agg_cell_add(w->def->aggs, pane_cell(pane, e), pane->arena, run->rec[i], &order)) {
		e->flags |= KEYTAB_F_CUT;
		w->stats->cut++;
	}
}

/* All rows, by key. */
int pane_emit(struct pane *pane, struct stage_window *w, int64_t step_ms);

/* ---- revisions: what came to windows after they were emitted ---- */
struct revision_count {
	int64_t end_ms;
	uint32_t count;
};
struct revisions {
	struct pane_list list;	    /* by window */
	int64_t due_ms;		    /* step at which all of them come out; set when there is one */
	struct revision_count *had; /* windows that had some, ascending by end */
	uint32_t had_count, had_room;
};

/* Whether as many windows, one each slide from the one that begins at start_ms on, can be revised: those that
 * have no pane yet have room for one. */
bool revision_room(
	const struct revisions *r, const struct stage_window *w, int64_t start_ms, int64_t windows);
/* Adds an event to a window that was emitted, and that has room. */
void revision_add(struct revisions *r, struct stage_window *w, const struct stage_pick *p,
	const struct stage_run *run, int64_t start_ms, int64_t end_ms);
static inline int64_t revision_due(const struct revisions *r)
{
	return r->list.count ? r->due_ms : STAGE_NEVER;
}
int revision_emit(struct revisions *r, struct stage_window *w, int64_t step_ms);
/* Windows that no event can revise any more are forgotten. */
void revision_settle(struct revisions *r, const struct stage_window *w, int64_t step_ms);
void revision_free(struct revisions *r, struct stage *st);
void revision_save(const struct revisions *r, const struct stage_window *w, struct bytes *out);
bool revision_load(struct revisions *r, const struct stage_window *w, struct cursor *c);

#endif
