/* Saved state of funnels; see funnel_priv.h. State thread of a partition. In: a saved state's bytes, which
 * may be anything; out: the same of a funnel. */
#include "funnel_priv.h"

static void users_save(const struct funnel *f, struct bytes *out)
{
	size_t count = stage_sort_keys(f->w.st, &f->users), open = 0;

	for (size_t i = 0; i < count; i++)
		open += ((struct attempt *)keytab_value(f->w.st->sort[0][i].entry))->reached > 0;
	bytes_put_u64(out, open);
	for (size_t i = 0; i < count; i++) {
		const struct keytab_entry *e = f->w.st->sort[0][i].entry;
		const struct attempt *a = keytab_value(e);

		if (!a->reached)
			continue;
		stage_put_key(&f->users, e, out);
		bytes_put_i64(out, a->start_ms);
		bytes_put_u32(out, a->reached);
	}
}

static void events_save(const struct funnel *f, struct bytes *out)
{
	size_t count = f->events.count, at = 0;
	struct funnel_event *event = must_calloc(count + 1, sizeof *event);

	for (size_t i = 0; i < f->events.blocks; at += f->events.block[i++].count)
		memcpy(event + at, f->events.block[i].item, f->events.block[i].count * sizeof *event);
	qsort(event, count, sizeof *event, funnel_event_compare);
	bytes_put_u64(out, count);
	for (size_t i = 0; i < count; i++) {
		stage_put_key(&f->users, keytab_at(&f->users, event[i].user), out);
		bytes_put_i64(out, event[i].time_ms);
		bytes_put_u64(out, event[i].offset);
		bytes_put_u32(out, event[i].steps);
	}
	free(event);
}

void funnel_save(const struct stage_window *w, struct bytes *out)
{
	const struct funnel *f = (const struct funnel *)w;

	users_save(f, out);
	events_save(f, out);
	bytes_put_u32(out, f->window_count);
	for (uint32_t i = 0; i < f->window_count; i++) {
		bytes_put_i64(out, f->window[i].start_ms);
		bytes_put_u32(out, f->window[i].reached);
		for (uint32_t step = 0; step < w->def->step_count; step++)
			stage_put_cell(w, window_cell(f, &f->window[i], step), f->arena, out);
	}
}

/* The user's reference; 0: no key, or, *mine being false, none of this partition. */
static uint32_t user_load(struct funnel *f, struct cursor *c, bool *mine)
{
	struct stage_pick p;
	uint32_t ref = 0;
	uint8_t flags;

	*mine = true;
	if (!stage_get_key(&f->w, c, &p, &flags) || flags)
		return 0;
	*mine = stage_gathers(&f->w, &p, flags);
	if (!*mine)
		return 0;
	if (!keytab_find(&f->users, p.tag, p.key, p.key_bytes, &ref))
		keytab_add(&f->users, p.tag, p.key, p.key_bytes, &ref);
	return ref;
}

static bool users_load(struct funnel *f, struct cursor *c)
{
	uint64_t open = cursor_le64(c);

	for (uint64_t i = 0; i < open; i++) {
		bool mine;
		uint32_t ref = user_load(f, c, &mine);
		struct attempt none = {0}, *a = &none;
		uint32_t reached;

		if (mine && !ref)
			return false;
		if (mine)
			a = attempt_of(f, ref);
		if (a->reached)
			return false;
		a->start_ms = stage_get_time(c);
		reached = cursor_le32(c);
		if (c->failed || a->start_ms + f->w.def->within_ms < f->w.st->step_ms || !reached ||
			reached >= f->w.def->step_count)
			return false;
		a->reached = (uint16_t)reached;
		if (mine)
			due_put(&f->expiry, a->start_ms + f->w.def->within_ms, ref);
	}
	return !c->failed;
}

static bool windows_load(struct funnel *f, struct cursor *c)
{
	bool mine = !f->w.st->gather || f->w.st->gather->panes;
	int64_t before = STAGE_NO_TIME;
	uint32_t count = cursor_le32(c);

	for (uint32_t i = 0; i < count; i++) {
		int64_t start = stage_get_time(c);
		uint32_t reached = cursor_le32(c);
		struct funnel_window *fw;

		if (c->failed || stage_floor(start, f->w.def->size_ms) != start ||
			window_end(f, start) <= f->w.st->step_ms || start <= before || !reached ||
			reached >> f->w.def->step_count)
			return false;
		before = start;
		for (uint32_t step = 0; !mine && step < f->w.def->step_count; step++)
			cursor_take(c, cursor_le32(c));
		if (!mine)
			continue;
		fw = funnel_window_get(f, start);
		fw->reached |= reached;
		for (uint32_t step = 0; step < f->w.def->step_count; step++)
			if (!stage_get_cell(&f->w, window_cell(f, fw, step), f->arena, c))
				return false;
	}
	return !c->failed;
}

bool funnel_load(struct stage_window *w, struct cursor *c)
{
	struct funnel *f = (struct funnel *)w;
	uint64_t events;

	if (!users_load(f, c))
		return false;
	events = cursor_le64(c);
	for (uint64_t i = 0; i < events; i++) {
		bool mine;
		struct funnel_event ev = {.user = user_load(f, c, &mine)};

		ev.time_ms = stage_get_time(c);
		ev.offset = cursor_le64(c);
		ev.steps = cursor_le32(c);
		if (c->failed || ev.time_ms < w->st->step_ms || (mine && !ev.user) || !ev.steps ||
			ev.steps >> w->def->step_count)
			return false;
		if (w->st->gather)
			ev.offset |= FUNNEL_GATHERED;
		if (mine)
			event_wait(f, &ev);
	}
	return windows_load(f, c);
}
