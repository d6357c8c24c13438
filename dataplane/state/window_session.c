/* Sessions: events of a key with less than a gap between them, or just the gap: [start, last + gap) that
 * overlap or touch are one, as Flink's TimeWindow.intersects() has it. State thread of a partition; in: runs
 * of events; out: rows by stage_row(), with start = first event, end = last event + gap.
 *
 * A session is over when the watermark reaches its end: what comes then begins another, or is late if it
 * would be over itself. Its row comes out at the next step. The table holds a key's first session in the
 * key's own entry, further ones in entries aside, linked. Closing is by a heap of the lowest end of each key,
 * which is only looked at, and put off, when it falls due; so an event that prolongs a session does not touch
 * it. */
#include <assert.h>
#include <errno.h>

#include "session_priv.h"

#define AHEAD 8u /* sessions whose memory is fetched beforehand when many close */

static int session_setup(struct stage_window *w, struct err *err)
{
	struct sessions *ss = (struct sessions *)w;

	if (w->def->gap_ms <= 0 || w->def->group_count != 1)
		return err_set(err, -EINVAL, "window %s: a session needs a gap and one field to group by",
			w->def->name);
	keytab_init(&ss->keys, (uint32_t)sizeof(struct session) + w->cell_bytes, &w->st->pool);
	ss->arena = agg_arena_new(SIZE_MAX);
	must(ss->arena);
	return 0;
}

static void session_free(struct stage_window *w)
{
	struct sessions *ss = (struct sessions *)w;

	keytab_free(&ss->keys);
	agg_arena_free(ss->arena);
	free(ss->heap.due);
	free(ss->closing);
	free(ss->ripe);
}

/* ---- one key ---- */

void session_key_due(struct sessions *ss, struct session *first, int64_t end_ms)
{
	if (end_ms >= first->due_ms)
		return;
	first->due_ms = end_ms;
	due_put(&ss->heap, end_ms, first->ref);
}

static void session_begin(struct sessions *ss, struct session *s, uint32_t ref, int64_t t)
{
	s->start_ms = s->last_ms = t;
	s->due_ms = STAGE_NEVER;
	s->next = 0;
	s->ref = ref;
	agg_cell_init(ss->w.def->aggs, session_cell(s));
}

struct session *session_more(struct sessions *ss, struct session *first, int64_t t)
{
	uint32_t ref;
	struct session *s = keytab_value(keytab_add_aside(&ss->keys, "", 0, 0, &ref));

	session_begin(ss, s, ref, t);
	s->next = first->next;
	first->next = ref;
	return s;
}

/* Takes a session that is not the key's first off its list. */
static void session_unlink(struct sessions *ss, struct session *first, struct session *s)
{
	struct session *before = first;

	while (before->next != s->ref)
		before = session_at(ss, before->next);
	before->next = s->next;
}

/* Moves what a session is from one entry to another, whose cell is dead. */
static void session_move(struct sessions *ss, struct session *to, struct session *from)
{
	const uint8_t cut = KEYTAB_F_CUT;

	to->start_ms = from->start_ms;
	to->last_ms = from->last_ms;
	memcpy(session_cell(to), session_cell(from), ss->w.cell_bytes);
	session_entry(to)->flags =
		(uint8_t)((session_entry(to)->flags & ~cut) | (session_entry(from)->flags & cut));
}

/* Removes a session; its cell's parts are no longer there. The key goes with its last one. */
static void session_remove(struct sessions *ss, struct session *first, struct session *s)
{
	if (s != first) {
		session_unlink(ss, first, s);
	} else if (first->next) {
		s = session_at(ss, first->next);
		first->next = s->next;
		session_move(ss, first, s);
	} else if (session_entry(first) == ss->other) {
		ss->other = NULL;
	}
	keytab_remove(&ss->keys, s->ref);
}

/* A live session that the event at t belongs to, other than `but`. */
static struct session *session_find(
	const struct sessions *ss, struct session *first, const struct session *but, int64_t t, int64_t wm)
{
	for (struct session *s = first; s; s = session_at(ss, s->next))
		if (s != but && session_live(ss, s, wm) && s->start_ms <= t + ss->w.def->gap_ms &&
			t <= session_end(ss, s))
			return s;
	return NULL;
}

struct session *session_join(struct sessions *ss, struct session *first, struct session *a, struct session *b)
{
	struct session *early = a->start_ms < b->start_ms ? a : b, *late = early == a ? b : a;

	session_entry(early)->flags |= session_entry(late)->flags & KEYTAB_F_CUT;
	if (!agg_cell_merge(ss->w.def->aggs, session_cell(early), ss->arena, session_cell(late), ss->arena))
		session_entry(early)->flags |= KEYTAB_F_CUT;
	agg_cell_clear(ss->w.def->aggs, session_cell(late), ss->arena);
	if (late->last_ms > early->last_ms)
		early->last_ms = late->last_ms;
	if (late == first && early != first) { /* the key's own entry stays */
		session_move(ss, first, early);
		session_unlink(ss, first, early);
		keytab_remove(&ss->keys, early->ref);
		return first;
	}
	session_remove(ss, first, late);
	return early;
}

/* ---- events ---- */
struct session *session_key_first(struct sessions *ss, const struct stage_pick *p, int64_t t, bool other)
{
	struct keytab_entry *e;
	uint32_t ref;

	if (other)
		e = ss->other = keytab_add_aside(&ss->keys, "", 0, KEYTAB_F_OTHER, &ref);
	else
		e = keytab_add(&ss->keys, p->tag, p->key, p->key_bytes, &ref);
	session_begin(ss, keytab_value(e), ref, t);
	return keytab_value(e);
}

/* Adds the events that wait, each to its session. Before a session takes another's cell, or gives its own
 * away. */
static void events_add(struct sessions *ss)
{
	struct agg_items *items = &ss->w.st->items;
	uint64_t lost;

	if (ss->w.sketches)
		agg_run_prefetch(&ss->w.st->aggs, ss->w.def->aggs, items);
	lost = agg_run_add(&ss->w.st->aggs, ss->w.def->aggs, items);
	for (uint32_t i = 0; lost && i < items->count; i++) {
		struct session *s = (struct session *)items->cell[i] - 1;

		if (!(lost >> items->event[i] & 1))
			continue;
		session_entry(s)->flags |= KEYTAB_F_CUT;
		ss->w.stats->cut++;
	}
	agg_items_clear(items);
}

/* No more sessions of their own for new keys, nor more for known ones. */
static bool session_room(const struct sessions *ss)
{
	return ss->keys.count < ss->w.def->keys_max && !ss->w.st->full;
}

/* The entry of the pick's key; NULL: none. */
static struct keytab_entry *key_find(struct sessions *ss, struct stage_pick *p)
{
	if (p->entry && stage_key_is(&ss->keys, p->entry, p))
		return p->entry;
	stage_key_want(&ss->w, p);
	return p->other ? NULL : keytab_find(&ss->keys, p->tag, p->key, p->key_bytes, NULL);
}

static void session_take_one(struct sessions *ss, struct stage_run *run, struct stage_pick *p)
{
	struct stage_window *w = &ss->w;
	int64_t t = run->rec[p->index]->event_time_ms, wm = run->watermark_ms[p->index];
	struct keytab_entry *e = key_find(ss, p);
	struct session *first = e ? keytab_value(e) : NULL;
	struct session *s = session_find(ss, first, NULL, t, wm), *more;
	bool other = !s && (p->other || !session_room(ss));

	if (other) {
		first = ss->other ? keytab_value(ss->other) : NULL;
		s = session_find(ss, first, NULL, t, wm);
	}
	if (!s && t + w->def->gap_ms <= wm) {
		stage_late(w, run, p->index);
		return;
	}
	w->stats->events++;
	w->stats->other += other;
	if (!s) {
		s = first ? session_more(ss, first, t) : session_key_first(ss, p, t, other);
		first = first ? first : s;
	} else {
		while ((more = session_find(ss, first, s, t, wm))) {
			events_add(ss);
			s = session_join(ss, first, s, more);
		}
	}
	if (t < s->start_ms)
		s->start_ms = t;
	if (t > s->last_ms)
		s->last_ms = t;
	agg_items_put(&w->st->items, p->index, session_cell(s), ss->arena);
	session_key_due(ss, first, session_end(ss, s));
}

static void session_take(struct stage_window *w, struct stage_run *run)
{
	struct sessions *ss = (struct sessions *)w;
	struct stage_pick *pick = w->st->pick;
	uint64_t events = stage_having(run, w->def->group[0], stage_passed(w, run));
	uint32_t count = 0;

	for (uint64_t left = events; left; left &= left - 1)
		pick[count++].index = (uint32_t)__builtin_ctzll(left);
	w->stats->filtered += run->count - count;
	stage_keys_look(w, &ss->keys, pick, count);
	stage_keys_guess(&ss->keys, pick, count);
	agg_items_clear(&w->st->items);
	for (uint32_t i = 0; i < count; i++)
		session_take_one(ss, run, &pick[i]);
	events_add(ss);
}

/* ---- closing ---- */
static int64_t session_due(const struct stage_window *w)
{
	const struct sessions *ss = (const struct sessions *)w;

	return ss->heap.count ? stage_step_of(w->st, ss->heap.due[0].at_ms) : STAGE_NEVER;
}

static void closing_put(struct sessions *ss, struct session *first, struct session *s)
{
	struct closing *c;

	if (ss->closing_count == ss->closing_room) {
		ss->closing_room = ss->closing_room * 2 + 64;
		ss->closing = must_realloc(ss->closing, ss->closing_room, sizeof *ss->closing);
	}
	c = &ss->closing[ss->closing_count++];
	c->s = *s;
	c->key = session_entry(first);
	c->cell = session_cell(s);
	c->cut = session_entry(s)->flags & KEYTAB_F_CUT;
}

static int closing_compare(const void *x, const void *y, void *arg)
{
	const struct sessions *ss = arg;
	const struct closing *a = x, *b = y;

	/* sessions of one window have one gap: by last event is by end */
	if (a->s.last_ms != b->s.last_ms)
		return a->s.last_ms < b->s.last_ms ? -1 : 1;
	if (a->s.start_ms != b->s.start_ms)
		return a->s.start_ms < b->s.start_ms ? -1 : 1;
	return keysort_compare(keytab_key(&ss->keys, a->key), a->key->key_bytes,
		keytab_key(&ss->keys, b->key), b->key->key_bytes);
}

static int closing_row(struct sessions *ss, const struct closing *c, int64_t step_ms)
{
	struct row row = {.start_ms = c->s.start_ms, .end_ms = c->s.last_ms + ss->w.def->gap_ms};

	row.flags = (c->key->flags & KEYTAB_F_OTHER ? ROW_F_OTHER : 0u) | (c->cut ? ROW_F_CUT : 0u);
	return stage_row(
		&ss->w, &row, step_ms, keytab_key(&ss->keys, c->key), c->key->key_bytes, c->cell, ss->arena);
}

/* After the rows are out: what closed goes; a key that has more sessions is put into the heap again. */
static void key_settle(struct sessions *ss, struct session *first, int64_t step_ms)
{
	int64_t end_ms = STAGE_NEVER;
	bool last = false;

	assert(first);
	for (struct session *s = first, *next; s && !last; s = next) {
		next = session_at(ss, s->next);
		if (session_end(ss, s) > step_ms)
			continue;
		agg_cell_clear(ss->w.def->aggs, session_cell(s), ss->arena);
		last = s == first && !first->next;
		session_remove(ss, first, s);
		if (s == first)
			next = first; /* another one stands there now */
	}
	if (last)
		return;
	for (struct session *s = first; s; s = session_at(ss, s->next))
		if (session_end(ss, s) < end_ms)
			end_ms = session_end(ss, s);
	first->due_ms = STAGE_NEVER;
	session_key_due(ss, first, end_ms);
}

/* Entries of the heap may be out of date: the key is gone, another has its place, or it is there for another
 * time. */
static struct session *due_key(const struct sessions *ss, const struct due *due)
{
	struct keytab_entry *e = keytab_at(&ss->keys, due->ref);
	struct session *first = keytab_value(e);

	if (e->flags & KEYTAB_F_DEAD || (e->flags & KEYTAB_F_ASIDE && e != ss->other) ||
		first->due_ms != due->at_ms)
		return NULL;
	return first;
}

/* Takes what is due out of the heap; returns how many. */
static size_t due_collect(struct sessions *ss, int64_t step_ms)
{
	size_t count = 0;

	while (ss->heap.count && ss->heap.due[0].at_ms <= step_ms) {
		if (count == ss->ripe_room) {
			ss->ripe_room = ss->ripe_room * 2 + 256;
			ss->ripe = must_realloc(ss->ripe, ss->ripe_room, sizeof *ss->ripe);
		}
		ss->ripe[count] = due_take(&ss->heap);
		__builtin_prefetch(keytab_at(&ss->keys, ss->ripe[count].ref));
		count++;
	}
	return count;
}

static inline void entry_prefetch(const struct sessions *ss, const struct keytab_entry *e)
{
	for (size_t at = 0; at < sizeof *e + ss->keys.value_bytes + 16; at += 64)
		__builtin_prefetch((const uint8_t *)e + at, 1);
}

/* Sessions that close, of the first `count` keys in ss->ripe. Keeps those in there that had one, or are put
 * off; returns how many. */
static size_t closing_collect(struct sessions *ss, size_t count, int64_t step_ms)
{
	size_t keys = 0;

	ss->closing_count = 0;
	for (size_t i = 0; i < count; i++) {
		struct session *first = due_key(ss, &ss->ripe[i]);

		if (i + AHEAD < count)
			entry_prefetch(ss, keytab_at(&ss->keys, ss->ripe[i + AHEAD].ref));
		if (!first)
			continue;
		first->due_ms = STAGE_NEVER;
		for (struct session *s = first; s; s = session_at(ss, s->next))
			if (session_end(ss, s) <= step_ms)
				closing_put(ss, first, s);
		ss->ripe[keys++] = ss->ripe[i];
	}
	return keys;
}

static int session_emit(struct stage_window *w, int64_t step_ms)
{
	struct sessions *ss = (struct sessions *)w;
	size_t keys = closing_collect(ss, due_collect(ss, step_ms), step_ms);
	int rc = 0;

	if (ss->closing_count)
		qsort_r(ss->closing, ss->closing_count, sizeof *ss->closing, closing_compare, ss);
	for (size_t i = 0; i < ss->closing_count && !rc; i++) {
		if (i + AHEAD < ss->closing_count) {
			entry_prefetch(ss, ss->closing[i + AHEAD].key);
			agg_cell_prefetch(w->def->aggs, ss->closing[i + AHEAD / 2].cell, ss->arena);
		}
		rc = closing_row(ss, &ss->closing[i], step_ms);
	}
	for (size_t i = 0; i < keys; i++) {
		if (i + 2 * AHEAD < keys)
			entry_prefetch(ss, keytab_at(&ss->keys, ss->ripe[i + 2 * AHEAD].ref));
		if (i + AHEAD < keys)
			keytab_prefetch_slot(
				&ss->keys, keytab_tag_of(keytab_at(&ss->keys, ss->ripe[i + AHEAD].ref)));
		key_settle(ss, keytab_value(keytab_at(&ss->keys, ss->ripe[i].ref)), step_ms);
	}
	return rc;
}

static void session_settle(struct stage_window *w, int64_t step_ms)
{
	(void)w;
	(void)step_ms;
}

static void session_measure(const struct stage_window *w, uint64_t *keys, uint64_t *bytes)
{
	const struct sessions *ss = (const struct sessions *)w;

	*keys += ss->keys.count;
	*bytes += keytab_logical_bytes(&ss->keys) + agg_arena_used(ss->arena);
}

static void session_limit(struct stage_window *w, size_t arena_bytes)
{
	agg_arena_limit(((struct sessions *)w)->arena, arena_bytes);
}

const struct stage_kind stage_session = {
	.bytes = sizeof(struct sessions),
	.setup = session_setup,
	.free = session_free,
	.take = session_take,
	.due = session_due,
	.emit = session_emit,
	.settle = session_settle,
	.measure = session_measure,
	.limit = session_limit,
	.save = session_save,
	.load = session_load,
};
