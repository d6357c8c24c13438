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
		stage_key(w, p);
		revision_add(&tw->revisions, w, p, run, start, end);
		w->stats->late_allowed++;
		w->stats->events++;
		return NULL;
	}
	if (!pane)
		pane = pane_list_get(&tw->panes, w, start, end);
	if (!pane)
		w->stats->filtered++;
	return pane;
}

/* First walk: which events count, in which pane. */
static uint32_t tumbling_pick(struct tumbling *tw, struct stage_run *run)
{
	struct stage_window *w = &tw->w;
	struct stage_pick *pick = w->st->pick;
	uint32_t count = 0;

	for (uint32_t i = 0; i < run->count; i++) {
		if (!stage_filter(w, run->rec[i])) {
			w->stats->filtered++;
			continue;
		}
		pick[count].index = i;
		pick[count].place = event_pane(tw, run, &pick[count]);
		count += pick[count].place != NULL;
	}
	return count;
}

/* The same where all events that pass the filter go to one pane. */
static uint32_t tumbling_pick_all(
	const struct stage_window *w, const struct stage_run *run, struct pane *pane)
{
	const struct window_filter *filter = w->def->filter;
	const uint32_t run_count = run->count;
	struct stage_pick *pick = w->st->pick;
	uint32_t count = 0;

	for (uint32_t i = 0; i < run_count; i++) {
		if (filter && !window_filter_match(filter, run->rec[i]))
			continue;
		pick[count].index = i;
		pick[count++].place = pane;
	}
	w->stats->filtered += run_count - count;
	return count;
}

/* How many of the picks from the first on are of its pane: most often all. */
static uint32_t picks_of_pane(const struct stage_pick *pick, uint32_t count)
{
	uint32_t n = 1;

	while (n < count && pick[n].place == pick[0].place)
		n++;
	return n;
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
	agg_items_clear(items);
	return lost;
}

/* Puts the picks, whose entries are known, where their cells are narrow; adds them, and the others. */
static uint64_t tumbling_add_narrow(
	struct stage_window *w, const struct stage_pick *pick, uint32_t count, uint64_t events)
{
	const struct agg_set *set = w->def->aggs, *narrow = agg_narrow(set);
	struct agg_items *items = &w->st->items, *narrow_items = &w->st->narrow_items;
	uint64_t large = agg_narrow_large(&w->st->aggs, set, events), lost = 0;

	agg_items_clear(narrow_items);
	for (uint32_t i = 0; i < count; i++) {
		struct keytab_entry *e = pick[i].entry;
		struct pane *pane = pick[i].place;
		uint8_t *cell;

		if (!(e->flags & KEYTAB_F_WIDE)) {
			cell = pane_cell_narrow(e);
			if (!(large >> pick[i].index & 1) && agg_narrow_takes(cell)) {
				agg_items_put(narrow_items, pick[i].index, cell, pane->arena);
				continue;
			}
			lost |= items_add(w, narrow, narrow_items); /* perhaps to this cell */
			pane_cell_widen(pane, w, e);
		}
		cell = pane_cell(pane, e);
		__builtin_prefetch(cell, 1);
		agg_items_put(items, pick[i].index, cell, pane->arena);
	}
	lost |= items_add(w, narrow, narrow_items);
	return lost | items_add(w, set, items);
}

/* Further walks: keys, entries, perhaps new; then the aggregates. */
static void tumbling_add(struct stage_window *w, struct stage_pick *pick, uint32_t count)
{
	struct agg_items *items = &w->st->items;
	uint64_t lost, events = 0;

	for (uint32_t i = 0, n; i < count; i += n) {
		n = picks_of_pane(pick + i, count - i);
		stage_keys_look(w, &((struct pane *)pick[i].place)->keys, pick + i, n);
	}
	for (uint32_t i = 0, n; i < count; i += n) {
		n = picks_of_pane(pick + i, count - i);
		stage_keys_guess(&((struct pane *)pick[i].place)->keys, pick + i, n);
	}
	agg_items_clear(items);
	for (uint32_t i = 0; i < count; i++) {
		struct pane *pane = pick[i].place;

		pick[i].entry = pane_entry(pane, w, &pick[i]);
		events |= 1ull << pick[i].index;
		if (!pane->narrow)
			agg_items_put(items, pick[i].index, keytab_value(pick[i].entry), pane->arena);
	}
	lost = agg_narrow(w->def->aggs) ? tumbling_add_narrow(w, pick, count, events)
					: items_add(w, w->def->aggs, items);
	for (uint32_t i = 0; lost && i < count; i++) {
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
	uint32_t count;

	if (run_inside(all, w, run))
		count = tumbling_pick_all(w, run, all);
	else
		count = tumbling_pick(t, run);
	w->stats->events += count;
	tumbling_add(w, w->st->pick, count);
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
