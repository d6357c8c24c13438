/* Panes and revisions; see pane.h. State thread of a partition. */
#include "pane.h"

#include <string.h>

static struct pane *pane_new(const struct stage_window *w, int64_t start_ms, int64_t end_ms)
{
	struct pane *pane = must_calloc(1, sizeof *pane);

	pane->start_ms = start_ms;
	pane->end_ms = end_ms;
	pane->narrow = agg_narrow(w->def->aggs);
	if (pane->narrow)
		keytab_init_growing(&pane->keys, agg_set_cell_bytes(pane->narrow) - 1, &w->st->pool);
	else
		keytab_init(&pane->keys, w->cell_bytes, &w->st->pool);
	pane->keys.value_counted = w->cell_bytes;
	pane->arena = stage_arena_take(w->st);
	return pane;
}

static void pane_free(struct pane *pane, struct stage *st)
{
	keytab_free(&pane->keys);
	stage_arena_give(st, pane->arena);
	free(pane);
}

/* Index of the first pane that begins at or after start_ms. */
static uint32_t pane_list_place(const struct pane_list *list, int64_t start_ms)
{
	uint32_t low = 0, high = list->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (list->pane[middle]->start_ms < start_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct pane *pane_list_get(
	struct pane_list *list, const struct stage_window *w, int64_t start_ms, int64_t end_ms)
{
	uint32_t at;

	if (list->last < list->count && list->pane[list->last]->start_ms == start_ms)
		return list->pane[list->last];
	at = pane_list_place(list, start_ms);
	if (at == list->count || list->pane[at]->start_ms != start_ms) {
		if (list->count >= w->st->panes_max)
			return NULL;
		if (list->count == list->room) {
			list->room = list->room * 2 + 8;
			list->pane = must_realloc(list->pane, list->room, sizeof *list->pane);
		}
		memmove(list->pane + at + 1, list->pane + at, (list->count - at) * sizeof *list->pane);
		list->pane[at] = pane_new(w, start_ms, end_ms);
		list->count++;
	}
	list->last = at;
	return list->pane[at];
}

void pane_list_drop(struct pane_list *list, struct stage *st, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		pane_free(list->pane[i], st);
	list->count -= count;
	if (count)
		memmove(list->pane, list->pane + count, list->count * sizeof *list->pane);
	list->last = 0;
}

void pane_list_free(struct pane_list *list, struct stage *st)
{
	pane_list_drop(list, st, list->count);
	free(list->pane);
}

void pane_list_measure(const struct pane_list *list, uint64_t *keys, uint64_t *bytes)
{
	for (uint32_t i = 0; i < list->count; i++) {
		*keys += list->pane[i]->keys.count;
		*bytes += PANE_BYTES + keytab_logical_bytes(&list->pane[i]->keys) +
			  agg_arena_used(list->pane[i]->arena);
	}
}

void pane_list_limit(struct pane_list *list, size_t arena_bytes)
{
	for (uint32_t i = 0; i < list->count; i++)
		agg_arena_limit(list->pane[i]->arena, arena_bytes);
}

/* ---- cells ---- */
static void pane_cell_init(const struct pane *pane, const struct stage_window *w, struct keytab_entry *e)
{
	if (pane->narrow)
		agg_cell_init(pane->narrow, pane_cell_narrow(e));
	else
		agg_cell_init(w->def->aggs, keytab_value(e));
}

static void *pane_cell_room(struct pane *pane, const struct stage_window *w, struct keytab_entry *e)
{
	uint32_t ref;
	void *cell = keytab_room(&pane->keys, w->cell_bytes, &ref);

	memcpy(keytab_value(e), &ref, sizeof ref);
	e->flags |= KEYTAB_F_WIDE;
	return cell;
}

void pane_cell_widen(struct pane *pane, const struct stage_window *w, struct keytab_entry *e)
{
	uint64_t cell[AGG_NARROW_WIDE_MAX / 8];

	agg_narrow_widen(w->def->aggs, pane_cell_narrow(e), cell);
	memcpy(pane_cell_room(pane, w, e), cell, w->cell_bytes);
}

/* The ordinary cell, in *copy if it is narrow. */
static void *pane_cell_open(const struct pane *pane, const struct stage_window *w,
	const struct keytab_entry *e, uint64_t copy[AGG_NARROW_WIDE_MAX / 8])
{
	if (!pane_cell_is_narrow(pane, e))
		return pane_cell(pane, e);
	agg_narrow_widen(w->def->aggs, pane_cell_narrow(e), copy);
	return copy;
}

/* Puts back what was opened, and changed. */
static void pane_cell_close(
	struct pane *pane, const struct stage_window *w, struct keytab_entry *e, const void *cell)
{
	if (!pane_cell_is_narrow(pane, e) || agg_narrow_fit(w->def->aggs, cell, pane_cell_narrow(e)))
		return;
	memcpy(pane_cell_room(pane, w, e), cell, w->cell_bytes);
}

static void pane_cell_prefetch(
	const struct pane *pane, const struct stage_window *w, const struct keytab_entry *e)
{
	if (pane_cell_is_narrow(pane, e))
		agg_cell_prefetch(pane->narrow, pane_cell_narrow(e), pane->arena);
	else
		agg_cell_prefetch(w->def->aggs, pane_cell(pane, e), pane->arena);
}

struct keytab_entry *pane_entry_get(struct pane *pane, struct stage_window *w, const struct stage_pick *p)
{
	uint64_t keys = pane->keys.count - (pane->other != NULL);
	struct keytab_entry *e = NULL;

	if (!p->other)
		e = keytab_find(&pane->keys, p->tag, p->key, p->key_bytes, NULL);
	if (e)
		return e;
	if (!p->other && (!w->def->group_count || (keys < w->def->keys_max && !w->st->full))) {
		e = keytab_add(&pane->keys, p->tag, p->key, p->key_bytes, NULL);
		pane_cell_init(pane, w, e);
		return e;
	}
	w->stats->other++;
	if (!pane->other) {
		pane->other = keytab_add_aside(&pane->keys, "", 0, KEYTAB_F_OTHER, NULL);
		pane_cell_init(pane, w, pane->other);
	}
	return pane->other;
}

int pane_emit(struct pane *pane, struct stage_window *w, int64_t step_ms)
{
	size_t count = stage_sort_keys(w->st, &pane->keys);
	const struct keysort_item *item = w->st->sort[0];
	uint64_t copy[AGG_NARROW_WIDE_MAX / 8];

	for (size_t i = 0; i < count; i++) {
		const struct keytab_entry *e = item[i].entry;
		struct row row = {
			.start_ms = pane->start_ms, .end_ms = pane->end_ms, .revision = pane->revision};
		int rc;

		if (i + 4 < count) {
			const uint8_t *next = (const uint8_t *)item[i + 4].entry;

			__builtin_prefetch(next);
			__builtin_prefetch(next + 64);
		}
		if (i + 2 < count)
			pane_cell_prefetch(pane, w, item[i + 2].entry);
		row.flags = (e->flags & KEYTAB_F_OTHER ? ROW_F_OTHER : 0u) |
			    (e->flags & KEYTAB_F_CUT ? ROW_F_CUT : 0u);
		rc = stage_row(w, &row, step_ms, keytab_key(&pane->keys, e), e->key_bytes,
			pane_cell_open(pane, w, e, copy), pane->arena);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- saved state ---- */
void pane_list_save(const struct pane_list *list, const struct stage_window *w, struct bytes *out)
{
	uint64_t copy[AGG_NARROW_WIDE_MAX / 8];

	bytes_put_u32(out, list->count);
	for (uint32_t i = 0; i < list->count; i++) {
		const struct pane *pane = list->pane[i];
		size_t count = stage_sort_keys(w->st, &pane->keys);

		bytes_put_i64(out, pane->start_ms);
		bytes_put_u64(out, count);
		for (size_t k = 0; k < count; k++) {
			const struct keytab_entry *e = w->st->sort[0][k].entry;

			stage_put_key(&pane->keys, e, out);
			stage_put_cell(w, pane_cell_open(pane, w, e, copy), pane->arena, out);
		}
	}
}

static bool pane_load(struct pane *pane, const struct stage_window *w, struct cursor *c)
{
	uint64_t count = cursor_le64(c), copy[AGG_NARROW_WIDE_MAX / 8];

	for (uint64_t k = 0; k < count && !c->failed; k++) {
		void *cell;
		struct stage_pick p;
		uint8_t flags;
		struct keytab_entry *e;

		if (!stage_get_key(w, c, &p, &flags))
			return false;
		if (flags & KEYTAB_F_OTHER) {
			e = pane->other;
		} else {
			e = keytab_find(&pane->keys, p.tag, p.key, p.key_bytes, NULL);
		}
		if (e && !w->st->gather)
			return false;
		if (!e) {
			e = flags & KEYTAB_F_OTHER ? (pane->other = keytab_add_aside(
							      &pane->keys, "", 0, KEYTAB_F_OTHER, NULL))
						   : keytab_add(&pane->keys, p.tag, p.key, p.key_bytes, NULL);
			pane_cell_init(pane, w, e);
		}
		e->flags |= flags;
		cell = pane_cell_open(pane, w, e, copy);
		if (!stage_get_cell(w, cell, pane->arena, c))
			return false;
		pane_cell_close(pane, w, e, cell);
	}
	return !c->failed;
}

bool pane_list_load(
	struct pane_list *list, const struct stage_window *w, int64_t unit_ms, bool closed, struct cursor *c)
{
	uint32_t count = cursor_le32(c);
	int64_t before = STAGE_NO_TIME;

	for (uint32_t i = 0; i < count; i++) {
		int64_t start = stage_get_time(c);
		struct pane *pane;

		if (c->failed || start <= before || stage_floor(start, unit_ms) != start ||
			(start + w->def->size_ms <= w->st->step_ms) != closed)
			return false;
		before = start;
		pane = pane_list_get(list, w, start, start + w->def->size_ms);
		if (!pane || !pane_load(pane, w, c))
			return false;
	}
	return !c->failed;
}

/* ---- revisions ---- */
bool revision_room(const struct revisions *r, const struct stage_window *w, int64_t start_ms, int64_t windows)
{
	const struct pane_list *list = &r->list;
	int64_t slide_ms = w->def->slide_ms, most = PANE_LIST_MAX, have;

	if (w->st->full) {
		most = w->def->size_ms / slide_ms; /* what one event may need */
		most = most < PANE_LIST_FULL ? PANE_LIST_FULL : most;
	}
	if (list->count + windows <= most)
		return true;
	have = pane_list_place(list, start_ms + windows * slide_ms) - pane_list_place(list, start_ms);
	return list->count + windows - have <= most || windows == have;
}

void revision_add(struct revisions *r, struct stage_window *w, const struct stage_pick *p,
	const struct stage_run *run, int64_t start_ms, int64_t end_ms)
{
	struct pane *pane = pane_list_get(&r->list, w, start_ms, end_ms);

	must(pane);
	r->due_ms = stage_step_of(w->st, w->st->step_ms + 1);
	pane_add(pane, w, pane_entry_get(pane, w, p), run, p->index);
}

/* How many revisions the window had. */
static struct revision_count *revision_had(struct revisions *r, int64_t end_ms)
{
	uint32_t i = stage_first_from(r->had, r->had_count, sizeof *r->had, end_ms);

	if (i == r->had_count || r->had[i].end_ms != end_ms) {
		if (r->had_count == r->had_room) {
			r->had_room = r->had_room * 2 + 8;
			r->had = must_realloc(r->had, r->had_room, sizeof *r->had);
		}
		memmove(r->had + i + 1, r->had + i, (r->had_count - i) * sizeof *r->had);
		r->had[i] = (struct revision_count){end_ms, 0};
		r->had_count++;
	}
	return &r->had[i];
}

int revision_emit(struct revisions *r, struct stage_window *w, int64_t step_ms)
{
	for (uint32_t i = 0; i < r->list.count; i++) {
		struct pane *pane = r->list.pane[i];
		int rc;

		pane->revision = ++revision_had(r, pane->end_ms)->count;
		rc = pane_emit(pane, w, step_ms);
		if (rc)
			return rc;
	}
	pane_list_drop(&r->list, w->st, r->list.count);
	return 0;
}

void revision_settle(struct revisions *r, const struct stage_window *w, int64_t step_ms)
{
	uint32_t gone = 0;

	while (gone < r->had_count && r->had[gone].end_ms + w->def->lateness_ms <= step_ms)
		gone++;
	r->had_count -= gone;
	if (gone)
		memmove(r->had, r->had + gone, r->had_count * sizeof *r->had);
}

void revision_free(struct revisions *r, struct stage *st)
{
	pane_list_free(&r->list, st);
	free(r->had);
}

void revision_save(const struct revisions *r, const struct stage_window *w, struct bytes *out)
{
	pane_list_save(&r->list, w, out);
	bytes_put_u32(out, r->had_count);
	for (uint32_t i = 0; i < r->had_count; i++) {
		bytes_put_i64(out, r->had[i].end_ms);
		bytes_put_u32(out, r->had[i].count);
	}
}

bool revision_load(struct revisions *r, const struct stage_window *w, struct cursor *c)
{
	int64_t before = STAGE_NO_TIME;
	uint32_t count;

	if (!pane_list_load(&r->list, w, w->def->slide_ms, true, c))
		return false;
	if (r->list.count) /* the next step: perhaps of another length than when it was saved */
		r->due_ms = stage_step_of(w->st, w->st->step_ms + 1);
	count = cursor_le32(c);
	for (uint32_t i = 0; i < count && !c->failed; i++) {
		int64_t end = stage_get_time(c);
		uint32_t n = cursor_le32(c);
		struct revision_count *had;

		if (c->failed || !n || n == UINT32_MAX || end <= before) /* the next one counts on */
			return false;
		before = end;
		had = revision_had(r, end);
		if (n > had->count)
			had->count = n;
	}
	return !c->failed;
}
