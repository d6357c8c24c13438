/* Saved state of sessions. State thread of a partition, or set-up; out and in: bytes, which may be any on the
 * way in. */
#include "session_priv.h"

/* The key's session that follows `after` in (start, last event); NULL: the first, or there is none. */
static struct session *session_after(
	const struct sessions *ss, struct session *first, const struct session *after)
{
	struct session *best = NULL;

	for (struct session *s = first; s; s = session_at(ss, s->next)) {
		if (after && (s->start_ms < after->start_ms ||
				     (s->start_ms == after->start_ms && s->last_ms <= after->last_ms)))
			continue;
		if (!best || s->start_ms < best->start_ms ||
			(s->start_ms == best->start_ms && s->last_ms < best->last_ms))
			best = s;
	}
	return best;
}

static bool entry_is_key(const struct sessions *ss, const struct keytab_entry *e)
{
	return !(e->flags & KEYTAB_F_ASIDE) || e == ss->other;
}

void session_save(const struct stage_window *w, struct bytes *out)
{
	const struct sessions *ss = (const struct sessions *)w;
	struct stage *st = w->st;
	const struct keytab_entry *e;
	uint32_t at = 0, ref;
	size_t keys = 0;

	stage_sort_room(st, ss->keys.count);
	while ((e = keytab_next(&ss->keys, &at, &ref)))
		if (entry_is_key(ss, e))
			st->sort[0][keys++].entry = (struct keytab_entry *)e;
	keysort(&ss->keys, st->sort[0], st->sort[1], keys);
	bytes_put_u64(out, keys);
	for (size_t i = 0; i < keys; i++) {
		struct session *first = keytab_value(st->sort[0][i].entry), *s = NULL;
		uint32_t count = 0;

		for (s = first; s; s = session_at(ss, s->next))
			count++;
		/* what is cut is each session's, of which any may have the key's entry */
		e = st->sort[0][i].entry;
		stage_put_key_flags(&ss->keys, e, e->flags & KEYTAB_F_OTHER, out);
		bytes_put_u32(out, count);
		while ((s = session_after(ss, first, s))) {
			bytes_put_i64(out, s->start_ms);
			bytes_put_i64(out, s->last_ms);
			bytes_put_u8(out, !!(session_entry(s)->flags & KEYTAB_F_CUT));
			stage_put_cell(w, session_cell(s), ss->arena, out);
		}
	}
}

/* True if two sessions of a key become one: both can take events, and touch; or their rows would be of one
 * window, which a partition puts out once. */
static bool session_meets(const struct sessions *ss, const struct session *a, const struct session *b)
{
	int64_t wm = ss->w.st->watermark_ms;

	if (a->start_ms == b->start_ms && a->last_ms == b->last_ms)
		return true;
	return session_live(ss, a, wm) && session_live(ss, b, wm) && a->start_ms <= session_end(ss, b) &&
	       b->start_ms <= session_end(ss, a);
}

/* A session that was added to those of a key: joins what it touches. */
static void session_gather(struct sessions *ss, struct session *first, struct session *s)
{
	struct session *x = first;

	while (x) {
		if (x == s || !session_meets(ss, x, s)) {
			x = session_at(ss, x->next);
			continue;
		}
		s = session_join(ss, first, s, x);
		x = first;
	}
}

/* The head of a saved session: false if no save makes it. A key's stand in order, none twice; *before is the
 * last one's. */
static bool head_load(
	const struct sessions *ss, struct cursor *c, bool first, struct session *before, bool *cut)
{
	struct session s = {.start_ms = stage_get_time(c)};
	uint8_t flag;

	s.last_ms = stage_get_time(c);
	flag = cursor_u8(c);
	if (c->failed || s.last_ms < s.start_ms || flag > 1 || session_end(ss, &s) <= ss->w.st->step_ms)
		return false;
	if (!first && (s.start_ms < before->start_ms ||
			      (s.start_ms == before->start_ms && s.last_ms <= before->last_ms)))
		return false;
	*before = s;
	*cut = flag;
	return true;
}

static bool key_load(struct sessions *ss, struct cursor *c)
{
	struct stage_pick p;
	uint8_t flags;
	uint32_t count;
	struct session *first = NULL, *s, head = {0};
	bool mine, meets, cut;

	if (!stage_get_key(&ss->w, c, &p, &flags))
		return false;
	count = cursor_le32(c);
	if (!count)
		return false;
	mine = stage_gathers(&ss->w, &p, flags);
	meets = flags & KEYTAB_F_OTHER && ss->other && ss->w.st->gather;
	if (meets)
		first = keytab_value(ss->other);
	else if (flags & KEYTAB_F_OTHER ? !!ss->other
					: !!keytab_find(&ss->keys, p.tag, p.key, p.key_bytes, NULL))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (!head_load(ss, c, !i, &head, &cut))
			return false;
		if (!mine) {
			cursor_take(c, cursor_le32(c));
			continue;
		}
		s = first ? session_more(ss, first, head.start_ms)
			  : session_key_first(ss, &p, head.start_ms, flags & KEYTAB_F_OTHER);
		first = first ? first : s;
		s->last_ms = head.last_ms;
		if (cut)
			session_entry(s)->flags |= KEYTAB_F_CUT;
		if (!stage_get_cell(&ss->w, session_cell(s), ss->arena, c))
			return false;
		session_key_due(ss, first, session_end(ss, s));
		if (meets)
			session_gather(ss, first, s);
	}
	return !c->failed;
}

bool session_load(struct stage_window *w, struct cursor *c)
{
	struct sessions *ss = (struct sessions *)w;
	uint64_t keys = cursor_le64(c);

	for (uint64_t i = 0; i < keys; i++)
		if (!key_load(ss, c))
			return false;
	return !c->failed;
}
