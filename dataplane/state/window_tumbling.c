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

/* First walk: which events count, in which pane, by which key. Revisions, which are rare, are done here. */
static uint32_t tumbling_pick(struct tumbling *tw, struct stage_run *run)
{
	struct stage_window *w = &tw->w;
	struct stage_pick *pick = w->st->pick;
	uint8_t *keys = w->st->keys;
	uint32_t count = 0;

	for (uint32_t i = 0; i < run->count; i++) {
		struct stage_pick *p = &pick[count];
		int64_t t = run->rec[i]->event_time_ms, start, end;
		struct pane *pane = pane_list_last(&tw->panes, t);

		if (!stage_filter(w, run->rec[i])) {
			w->stats->filtered++;
			continue;
		}
		start = pane ? pane->start_ms : stage_floor(t, w->def->size_ms);
		end = start + w->def->size_ms;
		if (run->watermark_ms[i] >= end + w->def->lateness_ms) {
			stage_late(w, run, i);
			continue;
		}
		p->index = i;
		if (end <= w->st->step_ms) {
			stage_key(w, run->rec[i], p, keys);
			revision_add(&tw->revisions, w, p, run, start, end);
			w->stats->late_allowed++;
			w->stats->events++;
			continue;
		}
		if (!pane)
			pane = pane_list_get(&tw->panes, w, start, end);
		if (!pane) {
			w->stats->filtered++;
			continue;
		}
		p->place = pane;
		keys = stage_key(w, run->rec[i], p, keys);
		keytab_prefetch_slot(&pane->keys, p->tag);
		count++;
	}
	w->stats->events += count;
	return count;
}

static void tumbling_take(struct stage_window *w, struct stage_run *run)
{
	struct tumbling *t = (struct tumbling *)w;
	struct stage_pick *pick = w->st->pick;
	uint32_t count = tumbling_pick(t, run);

	for (uint32_t i = 0; i < count; i++)
		pick[i].entry = keytab_guess(&((struct pane *)pick[i].place)->keys, pick[i].tag);
	for (uint32_t i = 0; i < count; i++) {
		struct pane *pane = pick[i].place;

		pick[i].entry = pane_entry(pane, w, &pick[i]);
		agg_cell_prefetch_event(
			w->def->aggs, keytab_value(pick[i].entry), pane->arena, run->rec[pick[i].index]);
	}
	for (uint32_t i = 0; i < count; i++)
		pane_add(pick[i].place, w, pick[i].entry, run, pick[i].index);
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
