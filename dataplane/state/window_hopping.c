/* Hopping windows by panes: what an event costs does not depend on how many windows it is in. State thread of
 * a partition; in: runs of events; out: rows by stage_row().
 *
 * One table of keys; a key has an element, a cell, for each pane in which it has events. n = size / slide
 * panes make a window, and n panes, aligned to absolute time, make a block (van Herk 1992; Gil, Werman 1993).
 * When the first window that ends in a new block is computed, a key's elements of the block before are folded
 * in place from the last to the first, so that each holds what stands in its pane and all later ones of its
 * block: a suffix. Elements of the running block up to the last closed pane are also folded into the key's
 * prefix. A window is then one suffix and the prefix: three merges a key and pane, whatever n is, and none
 * for panes in which the key has nothing. Suffixes take the place of the elements, so that memory is never
 * more than that of the panes and one cell a key.
 *
 * An event that is late for some of its windows but not for all falls into a pane that has been folded: it is
 * added to each suffix that spans its pane, and to the prefix. That is what Flink does for every event; here
 * it is the exception.
 *
 * Where aggregates are counters and decimal sums alone, which can be taken away again, none of that is
 * needed: hop_sum.c.
 *
 * The order of folds is fixed by pane and block numbers; suffixes and prefixes are saved as they are; so
 * doubles come out the same after a save and load. Keys are kept in order from window to window, and new ones
 * merged in, so that a window costs no sort of all keys. */
#include <errno.h>

#include "hopping_priv.h"

static int hopping_setup(struct stage_window *w, struct err *err)
{
	struct hopping *h = (struct hopping *)w;

	if (w->def->slide_ms <= 0 || w->def->size_ms % w->def->slide_ms ||
		w->def->slide_ms % w->st->plan_step_ms)
		return err_set(err, -EINVAL,
			"window %s: the slide must divide the size and be a multiple of state.step",
			w->def->name);
	h->panes = w->def->size_ms / w->def->slide_ms;
	h->panes_a_ms = 1 / (double)w->def->slide_ms;
	h->closed = STAGE_NO_TIME;
	h->plain = agg_plain(w->def->aggs);
	h->slab.pool = &w->st->pool;
	h->stride = (uint32_t)sizeof(struct hop_element) + w->cell_bytes;
	keytab_init(&h->keys,
		h->plain ? (uint32_t)sizeof(struct hop_value)
			 : (uint32_t)sizeof(struct hop_key) + w->cell_bytes,
		&w->st->pool);
	h->keys.value_counted = (uint32_t)sizeof(struct hop_key) + w->cell_bytes;
	if (h->plain) /* then it has narrow cells */
		hop_store_init(&h->store, w->def->aggs, w->cell_bytes, &w->st->pool);
	h->cell = must_calloc(1, w->cell_bytes);
	agg_cell_init(w->def->aggs, h->cell);
	h->scratch = agg_arena_new(SIZE_MAX);
	h->prefixes = agg_arena_new(SIZE_MAX);
	must(h->scratch && h->prefixes);
	return 0;
}

static void hopping_free(struct stage_window *w)
{
	struct hopping *h = (struct hopping *)w;
	const struct keytab_entry *e;
	uint32_t at = 0, ref;

	while (!h->plain && (e = keytab_next(&h->keys, &at, &ref)))
		hop_room_give(h, keytab_value(e));
	keytab_free(&h->keys);
	free(h->view);
	for (uint32_t i = 0; i < h->pane_count; i++) {
		hop_column_free(&h->store, &h->pane[i].column);
		stage_arena_give(w->st, h->pane[i].arena);
	}
	huge_slab_free(&h->slab);
	hop_store_free(&h->store);
	free(h->pane);
	free(h->order);
	free(h->fresh);
	free(h->cell);
	agg_arena_free(h->scratch);
	agg_arena_free(h->prefixes);
	revision_free(&h->revisions, w->st);
}

/* ---- runs ---- */

/* Revises the windows that were emitted and still take the event, all if there is *room; *missed: and how
 * many do not take it. True if one was revised. */
static bool late_windows(
	struct hopping *h, struct stage_run *run, struct stage_pick *p, uint64_t *missed, bool *room)
{
	const struct window_def *def = h->w.def;
	int64_t first = p->at + 1, last = p->at + h->panes, gone;

	if (run->watermark_ms[p->index] == STAGE_NO_TIME)
		return false;
	/* ends are multiples of the slide; here in units of it */
	gone = stage_floor(run->watermark_ms[p->index] - def->lateness_ms, def->slide_ms) / def->slide_ms;
	if (gone >= first) {
		*missed += (uint64_t)(gone - first + 1);
		first = gone + 1;
	}
	if (last > h->closed + 1)
		last = h->closed + 1;
	if (h->closed == STAGE_NO_TIME || first > last)
		return false;
	*room = revision_room(&h->revisions, &h->w, (first - h->panes) * def->slide_ms, last - first + 1);
	if (!*room) {
		*missed += (uint64_t)(last - first + 1);
		return false;
	}
	stage_key(&h->w, p);
	for (; first <= last; first++)
		revision_add(&h->revisions, &h->w, p, run, (first - h->panes) * def->slide_ms,
			first * def->slide_ms);
	return true;
}

/* Without a division or a branch, since events come as they like: the quotient of doubles is at most one off,
 * as times are (STAGE_TIME_MAX). */
static inline int64_t pane_of(const struct hopping *h, int64_t t)
{
	int64_t slide_ms = h->w.def->slide_ms, number = (int64_t)((double)t * h->panes_a_ms);
	int64_t rest = t - number * slide_ms;

	return number + (rest >= slide_ms) - (rest < 0);
}

static uint32_t hopping_pick(struct hopping *h, struct stage_run *run)
{
	struct stage_window *w = &h->w;
	struct stage_pick *pick = w->st->pick;
	const int64_t slide_ms = w->def->slide_ms, over_ms = w->def->size_ms + w->def->lateness_ms;
	const int64_t usable = h->closed == STAGE_NO_TIME ? STAGE_NO_TIME : h->closed - h->panes + 2;
	uint32_t count = 0;

	for (uint32_t i = 0; i < run->count; i++) {
		struct stage_pick *p = &pick[count];
		int64_t wm = run->watermark_ms[i], at_ms;
		uint64_t missed = 0;
		bool open, revised, room = true;

		if (!stage_filter(w, run->rec[i])) {
			w->stats->filtered++;
			continue;
		}
		p->index = i;
		p->at = pane_of(h, run->rec[i]->event_time_ms);
		at_ms = p->at * slide_ms;
		if (wm >= at_ms + over_ms) {
			stage_late(w, run, i);
			continue;
		}
		open = p->at >= usable; /* there will be a window with this pane */
		if (open && !hop_pane_get(h, p->at)) {
			stage_no_room(w, run, i);
			continue;
		}
		revised = wm >= at_ms + slide_ms && late_windows(h, run, p, &missed, &room);
		if (!open && !revised) {
			(room ? stage_late : stage_no_room)(w, run, i);
			continue;
		}
		count += open;
		w->stats->events++;
		w->stats->late_allowed += revised;
		w->stats->late_panes += missed;
	}
	return count;
}

/* Adds the events of these picks, whose elements are there. */
static void elements_add(struct hopping *h, const struct stage_pick *pick, uint32_t count)
{
	struct stage *st = h->w.st;
	struct agg_items *items = &st->items;
	uint64_t lost;

	agg_items_clear(items);
	for (uint32_t i = 0; i < count; i++) {
		struct hop_element *e = hop_element_get(h, keytab_value(pick[i].entry), pick[i].at);

		agg_items_put(items, pick[i].index, hop_element_cell(e), hop_pane_get(h, pick[i].at)->arena);
	}
	if (h->w.sketches)
		agg_run_prefetch(&st->aggs, h->w.def->aggs, items);
	lost = agg_run_add(&st->aggs, h->w.def->aggs, items);
	for (uint32_t i = 0; lost && i < count; i++) {
		if (!(lost >> items->event[i] & 1))
			continue;
		((struct hop_element *)items->cell[i] - 1)->cut = 1;
		h->w.stats->cut++;
	}
}

static void hopping_take(struct stage_window *w, struct stage_run *run)
{
	struct hopping *h = (struct hopping *)w;
	struct stage_pick *pick = w->st->pick;
	uint32_t count = hopping_pick(h, run), done = 0;

	stage_keys_look(w, &h->keys, pick, count);
	stage_keys_guess(&h->keys, pick, count);
	if (h->plain) {
		hop_sum_take(h, run, pick, count);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct hop_key *k;

		pick[i].entry = hop_key_get(h, &pick[i]);
		k = keytab_value(pick[i].entry);
		if (k->count)
			hop_element_prefetch(h, k, k->count - 1);
	}
	for (uint32_t i = 0; i < count; i++) { /* elements move when others are made: first all of them */
		struct agg_order order;

		if (pick[i].at > h->closed) {
			hop_element_get(h, keytab_value(pick[i].entry), pick[i].at);
			continue;
		}
		elements_add(h, pick + done, i - done);
		order = stage_order(w->st, run, pick[i].index);
		hop_key_add(h, keytab_value(pick[i].entry), pick[i].at, run->rec[pick[i].index], &order);
		done = i + 1;
	}
	elements_add(h, pick + done, count - done);
}

/* ---- windows ---- */

/* The row of a key for the window that ends with pane `number`, if it has anything in it. */
static int key_row(struct hopping *h, const struct keytab_entry *e, int64_t number, int64_t step_ms)
{
	const struct agg_set *aggs = h->w.def->aggs;
	struct hop_key *k = keytab_value(e);
	struct hop_element *suffix = k->count ? hop_element_at(h, k, 0) : NULL;
	struct row row = {.end_ms = (number + 1) * h->w.def->slide_ms};
	const struct agg_arena *arena = h->prefixes;
	void *cell = hop_prefix_cell(k);
	bool cut = false;
	int rc;

	if (suffix && suffix->number >= h->block_first)
		suffix = NULL;
	if (k->prefix_block != h->block && !suffix)
		return 0;
	if (suffix) {
		cell = hop_element_cell(suffix);
		arena = hop_pane_get(h, suffix->number)->arena;
		cut = suffix->cut;
	}
	if (k->prefix_block == h->block)
		cut |= k->prefix_cut;
	row.start_ms = row.end_ms - h->w.def->size_ms;
	row.flags = (e->flags & KEYTAB_F_OTHER ? ROW_F_OTHER : 0u) | (cut ? ROW_F_CUT : 0u);
	if (suffix && k->prefix_block == h->block) {
		cut |= !agg_cell_merge(aggs, h->cell, h->scratch, cell, arena);
		cut |= !agg_cell_merge(aggs, h->cell, h->scratch, hop_prefix_cell(k), h->prefixes);
		cell = h->cell;
		arena = h->scratch;
		row.flags |= cut ? ROW_F_CUT : 0u;
	}
	rc = stage_row(&h->w, &row, step_ms, keytab_key(&h->keys, e), e->key_bytes, cell, arena);
	if (cell == h->cell)
		agg_cell_clear(aggs, h->cell, h->scratch);
	return rc;
}

/* Entries of keys that come later, then their first and last elements: all, where they are to be folded. */
KEYTAB_PREFETCH void key_prefetch(const struct hopping *h, size_t i, bool fold)
{
	const struct hop_key *k = hop_key_prefetch(h, i);

	if (!k)
		return;
	for (uint32_t n = 1; fold && n + 1 < k->count; n++)
		hop_element_prefetch(h, k, n);
	hop_element_prefetch(h, k, 0);
	hop_element_prefetch(h, k, k->count - 1);
}

/* Computes the window that ends with pane `number`. */
static int window_close(struct hopping *h, int64_t number, int64_t step_ms)
{
	int64_t before = h->closed, block = h->block;
	bool fold;
	size_t kept = 0, i;
	int rc = 0;

	hop_order_merge(h);
	hop_closed_set(h, number);
	fold = before == STAGE_NO_TIME || h->block != block;
	if (fold)
		agg_arena_reset(h->prefixes);
	for (i = 0; i < h->order_count && !rc; i++) {
		struct keytab_entry *e = h->order[i].entry;
		struct hop_key *k = keytab_value(e);

		key_prefetch(h, i, fold);
		if (fold)
			hop_key_fold(h, k, h->block_first);
		hop_prefix_fold(h, k, number, h->block);
		rc = key_row(h, e, number, step_ms);
		hop_key_expire(h, k, number);
		if (k->count) {
			h->order[kept++] = h->order[i];
			continue;
		}
		hop_key_drop(h, e);
	}
	if (!rc)
		h->order_count = kept;
	hop_panes_expire(h);
	return rc;
}

/* Number of the last pane of the next window that has something in it. */
static int64_t window_next(const struct hopping *h)
{
	if (!h->pane_count)
		return STAGE_NEVER;
	if (h->closed != STAGE_NO_TIME && h->pane[0].number <= h->closed)
		return h->closed + 1;
	return h->pane[0].number;
}

static int64_t hopping_due(const struct stage_window *w)
{
	const struct hopping *h = (const struct hopping *)w;
	int64_t due = revision_due(&h->revisions), next = window_next(h);

	if (next != STAGE_NEVER) {
		next = stage_step_of(w->st, (next + 1) * w->def->slide_ms);
		if (next < due)
			due = next;
	}
	return due;
}

static int hopping_emit(struct stage_window *w, int64_t step_ms)
{
	struct hopping *h = (struct hopping *)w;
	int rc = revision_emit(&h->revisions, w, step_ms);
	int64_t next;

	while (!rc && (next = window_next(h)) != STAGE_NEVER && (next + 1) * w->def->slide_ms <= step_ms)
		rc = h->plain ? hop_sum_close(h, next, step_ms) : window_close(h, next, step_ms);
	return rc;
}

/* Windows up to the step that had nothing in them count as computed, too. */
static void hopping_settle(struct stage_window *w, int64_t step_ms)
{
	struct hopping *h = (struct hopping *)w;
	int64_t closed = stage_floor(step_ms, w->def->slide_ms) / w->def->slide_ms - 1;

	if (closed > h->closed) {
		int64_t before = h->closed, block = h->block;

		hop_closed_set(h, closed);
		if (before == STAGE_NO_TIME || h->block != block)
			agg_arena_reset(h->prefixes);
	}
	hop_panes_expire(h);
	revision_settle(&h->revisions, w, step_ms);
}

static void hopping_measure(const struct stage_window *w, uint64_t *keys, uint64_t *bytes)
{
	const struct hopping *h = (const struct hopping *)w;

	*keys += h->elements;
	*bytes += keytab_logical_bytes(&h->keys) + h->elements * (h->stride + HOP_ELEMENT_BYTES) +
		  agg_arena_used(h->prefixes) + h->pane_count * (uint64_t)HOP_PANE_BYTES;
	for (uint32_t i = 0; i < h->pane_count; i++)
		*bytes += agg_arena_used(h->pane[i].arena);
	pane_list_measure(&h->revisions.list, keys, bytes);
}

static void hopping_limit(struct stage_window *w, size_t arena_bytes)
{
	struct hopping *h = (struct hopping *)w;

	for (uint32_t i = 0; i < h->pane_count; i++)
		agg_arena_limit(h->pane[i].arena, arena_bytes);
	agg_arena_limit(h->prefixes, arena_bytes);
	pane_list_limit(&h->revisions.list, arena_bytes);
}

const struct stage_kind stage_hopping = {
	.bytes = sizeof(struct hopping),
	.setup = hopping_setup,
	.free = hopping_free,
	.take = hopping_take,
	.due = hopping_due,
	.emit = hopping_emit,
	.settle = hopping_settle,
	.measure = hopping_measure,
	.limit = hopping_limit,
	.save = hop_save,
	.load = hop_load,
};
