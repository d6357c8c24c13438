/* Tumbling windows: a pane is a window. It closes by one walk over its table, and its memory goes as a whole.
 * What comes late, within the lateness, to a window that was emitted is a revision. State thread of a
 * partition; in: runs of events; out: rows by stage_row(). */
#include "pane.h"

struct tumbling {
	struct stage_window w;
	struct pane_list panes;
	struct revisions revisions;
};

static int tumbling_setup(struct stage_window *w, struct err *err)
{
	(void)w;
	(void)err;
	return 0;
}

static void tumbling_free(struct stage_window *w)
{
	struct tumbling *t = (struct tumbling *)w;

	pane_list_free(&t->panes, w->st);
	revision_free(&t->revisions, w->st);
}

/* True if all events of a run fall into a window that is not closed: nothing has to be asked of each. */
static bool run_inside(const struct pane *pane, const struct stage_window *w, const struct stage_run *run)
{
	return pane && run->time_max_ms < pane->end_ms && pane->end_ms > w->st->step_ms &&
	       run->watermark_ms[run->count - 1] < pane->end_ms + w->def->lateness_ms;
}

/* The pane that the event counts in. NULL: it does not, or was a revision, which are rare and done here. */
static struct pane *event_pane(struct tumbling *tw, struct stage_run *run, struct stage_pick *p)
{
	struct stage_window *w = &tw->w;
	int64_t t = run->rec[p->index]->event_time_ms, start, end;
	struct pane *pane = pane_list_last(&tw->panes, t);

	start = pane ? pane->start_ms : stage_floor(t, w->def->size_ms);
	end = start + w->def->size_ms;
	if (run->watermark_ms[p->index] >= end + w->def->lateness_ms) {
		stage_late(w, run, p->index);
		return NULL;
	}
	if (end <= w->st->step_ms) {
		if (!revision_room(&tw->revisions, w, start, 1)) {
			stage_no_room(w, run, p->index);
			return NULL;
		}
		stage_key(w, p);
		revision_add(&tw->revisions, w, p, run, start, end);
		w->stats->late_allowed++;
		w->stats->events++;
		return NULL;
	}
	if (!pane)
		pane = pane_list_get(&tw->panes, w, start, end);
	if (!pane)
		stage_no_room(w, run, p->index);
	return pane;
}

/* Picks of a run. */
struct picks {
	struct stage_pick *pick;
	uint32_t count;
	bool one_pane;	 /* that of the first: the others' place says nothing */
	uint64_t events; /* of the run, those that are picked */
};

/* First walk: which events count, in which pane. */
static struct picks tumbling_pick(struct tumbling *tw, struct stage_run *run)
{
	struct stage_window *w = &tw->w;
	struct stage_pick *pick = w->st->pick;
	uint64_t passed = stage_passed(w, run), events = 0;
	uint32_t count = 0;

	w->stats->filtered += run->count - (uint32_t)__builtin_popcountll(passed);
	for (uint64_t left = passed; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);

		pick[count].index = i;
		pick[count].place = event_pane(tw, run, &pick[count]);
		if (!pick[count].place)
			continue;
		count++;
		events |= 1ull << i;
	}
	return (struct picks){pick, count, false, events};
}

/* The same where all events that pass the filter go to one pane. */
static struct picks tumbling_pick_all(
	const struct stage_window *w, const struct stage_run *run, struct pane *pane)
{
	struct stage_pick *pick = w->st->pick;
	uint64_t events = stage_passed(w, run);
	uint32_t count = 0;

	for (uint64_t left = events; left; left &= left - 1)
		pick[count++].index = (uint32_t)__builtin_ctzll(left);
	pick[0].place = pane;
	w->stats->filtered += run->count - count;
	return (struct picks){pick, count, true, events};
}

/* How many of the picks from this one on are of its pane: most often all. */
static uint32_t picks_of_pane(const struct picks *picks, uint32_t first)
{
	const struct stage_pick *pick = picks->pick;
	uint32_t i = first + 1;

	if (picks->one_pane)
		return picks->count - first;
	while (i < picks->count && pick[i].place == pick[first].place)
		i++;
	return i - first;
}

/* Adds what has been put, and forgets it; returns as agg_run_add(). */
static uint64_t items_add(struct stage_window *w, const struct agg_set *set, struct agg_items *items)
{
	uint64_t lost;

	if (!items->count)
		return 0;
	if (w->sketches)
		agg_run_prefetch(&w->st->aggs, set, items);
	lost = agg_run_add(&w->st->aggs, set, items);
	items->count = 0;
	return lost;
}

/* A pick's cell in a pane with narrow ones; large: its event is not for these. */
static inline void narrow_put(struct stage_window *w, struct pane *pane, const struct stage_pick *p,
	bool large, struct agg_items *narrow_items, uint64_t *lost)
{
	struct keytab_entry *e = p->entry;
	void *cell;

	if (__builtin_expect(!(e->flags & KEYTAB_F_WIDE), 1)) {
		cell = pane_cell_narrow(e);
		if (!large && agg_narrow_takes(cell)) {
			agg_items_add(narrow_items, p->index, cell, pane->arena);
			return;
		}
		*lost |= items_add(w, pane->narrow, narrow_items); /* perhaps to this cell */
		pane_cell_widen(pane, w, e);
	}
	cell = pane_cell(pane, e);
	__builtin_prefetch(cell, 1);
	agg_items_add(&w->st->items, p->index, cell, pane->arena);
}

/* Finds the picks' entries in their pane, perhaps new ones, and puts their cells to the items. Returns what
 * items_add() did. */
static uint64_t picks_put(struct stage_window *w, struct stage_pick *pick, uint32_t count, uint64_t large)
{
	struct pane *pane = pick->place;
	struct agg_items *items = &w->st->items, *narrow_items = &w->st->narrow_items;
	const struct stage_pick *end = pick + count;
	uint64_t lost = 0;

	if (pane->narrow) {
		for (; pick < end; pick++) {
			pick->entry = pane_entry(pane, w, pick);
			narrow_put(w, pane, pick, large >> pick->index & 1, narrow_items, &lost);
		}
		return lost;
	}
	for (; pick < end; pick++) {
		pick->entry = pane_entry(pane, w, pick);
		agg_items_add(items, pick->index, keytab_value(pick->entry), pane->arena);
	}
	return lost;
}

/* Further walks: keys, entries, perhaps new; then the aggregates. */
static void tumbling_add(struct stage_window *w, const struct picks *picks)
{
	const struct agg_set *set = w->def->aggs, *narrow = agg_narrow(set);
	struct agg_items *items = &w->st->items, *narrow_items = &w->st->narrow_items;
	struct stage_pick *pick = picks->pick;
	uint64_t lost = 0, large = narrow ? agg_narrow_large(&w->st->aggs, set, picks->events) : 0;

	for (uint32_t i = 0, n; i < picks->count; i += n) {
		n = picks_of_pane(picks, i);
		stage_keys_look(w, &((struct pane *)pick[i].place)->keys, pick + i, n);
	}
	for (uint32_t i = 0, n; i < picks->count; i += n) {
		n = picks_of_pane(picks, i);
		stage_keys_guess(&((struct pane *)pick[i].place)->keys, pick + i, n);
	}
	agg_items_begin(items, picks->events);
	agg_items_begin(narrow_items, picks->events);
	for (uint32_t i = 0, n; i < picks->count; i += n) {
		n = picks_of_pane(picks, i);
		lost |= picks_put(w, pick + i, n, large);
	}
	if (narrow)
		lost |= items_add(w, narrow, narrow_items);
	lost |= items_add(w, set, items);
	for (uint32_t i = 0; lost && i < picks->count; i++) {
		if (!(lost >> pick[i].index & 1))
			continue;
		pick[i].entry->flags |= KEYTAB_F_CUT;
		w->stats->cut++;
	}
}

static void tumbling_take(struct stage_window *w, struct stage_run *run)
{
	struct tumbling *t = (struct tumbling *)w;
	struct pane *all = pane_list_last(&t->panes, run->time_min_ms);
	struct picks picks = run_inside(all, w, run) ? tumbling_pick_all(w, run, all) : tumbling_pick(t, run);

	w->stats->events += picks.count;
	tumbling_add(w, &picks);
}

static int64_t tumbling_due(const struct stage_window *w)
{
	const struct tumbling *t = (const struct tumbling *)w;
	int64_t due = revision_due(&t->revisions);

	if (t->panes.count) {
		int64_t first = stage_step_of(w->st, t->panes.pane[0]->end_ms);

		if (first < due)
			due = first;
	}
	return due;
}

static int tumbling_emit(struct stage_window *w, int64_t step_ms)
{
	struct tumbling *t = (struct tumbling *)w;
	uint32_t done = 0;
	int rc = revision_emit(&t->revisions, w, step_ms);

	for (; !rc && done < t->panes.count && t->panes.pane[done]->end_ms <= step_ms; done++)
		rc = pane_emit(t->panes.pane[done], w, step_ms);
	pane_list_drop(&t->panes, w->st, done);
	return rc;
}

static void tumbling_settle(struct stage_window *w, int64_t step_ms)
{
	revision_settle(&((struct tumbling *)w)->revisions, w, step_ms);
}

static void tumbling_measure(const struct stage_window *w, uint64_t *keys, uint64_t *bytes)
{
	const struct tumbling *t = (const struct tumbling *)w;

	pane_list_measure(&t->panes, keys, bytes);
	pane_list_measure(&t->revisions.list, keys, bytes);
}

static void tumbling_limit(struct stage_window *w, size_t arena_bytes)
{
	struct tumbling *t = (struct tumbling *)w;

	pane_list_limit(&t->panes, arena_bytes);
	pane_list_limit(&t->revisions.list, arena_bytes);
}

static void tumbling_save(const struct stage_window *w, struct bytes *out)
{
	const struct tumbling *t = (const struct tumbling *)w;

	pane_list_save(&t->panes, w, out);
	revision_save(&t->revisions, w, out);
}

static bool tumbling_load(struct stage_window *w, struct cursor *c)
{
	struct tumbling *t = (struct tumbling *)w;

	return pane_list_load(&t->panes, w, w->def->size_ms, false, c) && revision_load(&t->revisions, w, c);
}

const struct stage_kind stage_tumbling = {
	.bytes = sizeof(struct tumbling),
	.setup = tumbling_setup,
	.free = tumbling_free,
	.take = tumbling_take,
	.due = tumbling_due,
	.emit = tumbling_emit,
	.settle = tumbling_settle,
	.measure = tumbling_measure,
	.limit = tumbling_limit,
	.save = tumbling_save,
	.load = tumbling_load,
};
