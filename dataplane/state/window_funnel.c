/* Funnels: how many attempts reach each of a list of steps. State thread of a partition; in: runs of events;
 * out: rows by stage_row(), one for each window and step that was reached; with conversion_rate of each step,
 * since where nobody came to a step the attempts still count for its rate.
 *
 * Events wait until the watermark has passed them, and are then looked at in (event time, offset) order, so
 * that disorder within the bound makes no difference; what comes below the watermark is late. stage.h says
 * what counts. */
#include <errno.h>

#include "funnel_priv.h"
#include "timesort.h"

#define EVENT_BYTES 32u	  /* logical, of an event that waits */
#define WINDOW_BYTES 512u /* logical, of a window beside its cells */
#define EXPIRY_SLACK 64u
#define AHEAD 8u /* events whose users are asked for */

static int funnel_setup(struct stage_window *w, struct err *err)
{
	struct funnel *f = (struct funnel *)w;
	const struct window_def *def = w->def;

	if (def->size_ms <= 0 || def->within_ms < 0 || def->group_count != 1 || !def->step_count ||
		def->step_count > WINDOW_STEPS_MAX)
		return err_set(
			err, -EINVAL, "window %s: a funnel needs steps, a size, and one field", def->name);
	for (uint32_t i = 0; i < def->step_count; i++) {
		uint16_t bytes = (uint16_t)strnlen(def->step_name[i], sizeof def->step_name[i]);
		uint32_t at = i;

		memcpy(f->key[i], &bytes, sizeof bytes);
		memcpy(f->key[i] + sizeof bytes, def->step_name[i], bytes);
		f->key_bytes[i] = (uint32_t)sizeof bytes + bytes;
		for (; at && keysort_compare(f->key[f->by_name[at - 1]], f->key_bytes[f->by_name[at - 1]],
				     f->key[i], f->key_bytes[i]) > 0;
			at--)
			f->by_name[at] = f->by_name[at - 1];
		f->by_name[at] = i;
	}
	for (uint32_t i = 0; i < agg_set_count(def->aggs); i++)
		f->rates |= agg_set_spec(def->aggs, i)->kind == AGG_conversion_rate;
	keytab_init(&f->users, sizeof(struct attempt), &w->st->pool);
	f->arena = agg_arena_new(SIZE_MAX);
	must(f->arena);
	return 0;
}

static void funnel_free(struct stage_window *w)
{
	struct funnel *f = (struct funnel *)w;

	for (uint32_t i = 0; i < f->window_count; i++)
		free(f->window[i].cells);
	free(f->window);
	timewait_free(&f->events);
	free(f->ready);
	free(f->expiry.due);
	keytab_free(&f->users);
	agg_arena_free(f->arena);
}

/* ---- events ---- */
/* Which steps the events of a run could be, those of `events` that are not late. Returns the others. */
static uint64_t steps_match(
	const struct window_def *def, const struct stage_run *run, uint64_t events, uint32_t steps[STAGE_RUN])
{
	uint64_t any = 0;

	memset(steps, 0, run->count * sizeof *steps);
	for (uint32_t s = 0; s < def->step_count; s++) {
		uint64_t passed = window_filter_run(def->step[s], run->rec, run->of_type, events);

		any |= passed;
		for (uint64_t left = passed; left; left &= left - 1)
			steps[__builtin_ctzll(left)] |= 1u << s;
	}
	return any;
}

/* Of each pick the user that it probably has, fetched, and its reference in `at`. */
static void users_guess(const struct funnel *f, struct stage_pick *pick, uint32_t count)
{
	for (struct stage_pick *p = pick; p < pick + count; p++) {
		uint32_t match = p->slot ? keytab_match(p->slot, p->tag) : 0;

		p->at = match ? p->slot->ref[__builtin_ctz(match)] : 0;
		p->entry = p->at ? keytab_at(&f->users, (uint32_t)p->at) : NULL;
		if (p->entry)
			keytab_prefetch_entry(&f->users, p->entry);
	}
}

/* The user of a pick, perhaps a new one, as a reference. 0: not followed. With memory used up those who are
 * there go on: by events that could be a later step, and a few of these may wait. */
static uint32_t user_of(struct funnel *f, struct stage_pick *p, uint32_t steps)
{
	uint32_t ref = (uint32_t)p->at;

	if (!p->entry || !stage_key_is(&f->users, p->entry, p)) {
		stage_key_want(&f->w, p);
		if (p->other)
			return 0;
		if (!keytab_find(&f->users, p->tag, p->key, p->key_bytes, &ref)) {
			if (f->w.st->full || f->users.count >= f->w.def->keys_max)
				return 0;
			keytab_add(&f->users, p->tag, p->key, p->key_bytes, &ref);
		}
	}
	return f->w.st->full && (steps == 1 || attempt_of(f, ref)->later >= 2 * f->w.def->step_count) ? 0
												      : ref;
}

static void funnel_take(struct stage_window *w, struct stage_run *run)
{
	struct funnel *f = (struct funnel *)w;
	struct stage_pick *pick = w->st->pick;
	uint32_t steps[STAGE_RUN], count = 0;
	uint64_t events = stage_having(run, w->def->group[0], stage_passed(w, run));

	events = steps_match(w->def, run, events, steps);
	w->stats->filtered += run->count - (uint32_t)__builtin_popcountll(events);
	for (uint64_t left = events; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);

		if (run->rec[i]->event_time_ms < run->watermark_ms[i])
			stage_late(w, run, i);
		else
			pick[count++].index = i;
	}
	w->stats->events += count;
	stage_keys_look(w, &f->users, pick, count);
	users_guess(f, pick, count);
	for (uint32_t k = 0; k < count; k++) {
		uint32_t i = pick[k].index;
		struct funnel_event ev = {
			run->rec[i]->event_time_ms, run->offset[i], user_of(f, &pick[k], steps[i]), steps[i]};

		if (ev.user)
			event_wait(f, &ev);
		else
			w->stats->other++;
	}
}

/* ---- attempts ---- */
struct funnel_window *funnel_window_get(struct funnel *f, int64_t start_ms)
{
	uint32_t at = f->window_count;
	struct funnel_window *fw;

	while (at && f->window[at - 1].start_ms > start_ms)
		at--;
	if (at && f->window[at - 1].start_ms == start_ms)
		return &f->window[at - 1];
	if (f->window_count == f->window_room) {
		f->window_room = f->window_room * 2 + 8;
		f->window = must_realloc(f->window, f->window_room, sizeof *f->window);
	}
	fw = &f->window[at];
	memmove(fw + 1, fw, (f->window_count - at) * sizeof *fw);
	*fw = (struct funnel_window){start_ms, 0, must_calloc(f->w.def->step_count, f->w.cell_bytes)};
	for (uint32_t i = 0; i < f->w.def->step_count; i++)
		agg_cell_init(f->w.def->aggs, window_cell(f, fw, i));
	f->window_count++;
	return fw;
}

/* Counts a step of an attempt. Of the event only its time and address are left: counts need no more. */
static void step_count(struct funnel *f, int64_t start_ms, uint32_t step, const struct funnel_event *ev)
{
	struct funnel_window *fw = funnel_window_get(f, stage_floor(start_ms, f->w.def->size_ms));
	struct record rec = {.bytes = sizeof rec, .kind = RECORD_EVENT, .event_time_ms = ev->time_ms};
	struct agg_order order = {ev->time_ms, f->w.st->params.partition, ev->offset};

	fw->reached |= 1u << step;
	(void)agg_cell_add(f->w.def->aggs, window_cell(f, fw, step), f->arena, &rec, &order);
}

static void user_settle(struct funnel *f, uint32_t ref)
{
	const struct attempt *a = attempt_of(f, ref);

	if (!a->waiting && !a->reached)
		keytab_remove(&f->users, ref);
}

/* What is due is an open attempt; else the user is gone, or has another attempt by now. */
static struct attempt *due_attempt(const struct funnel *f, const struct due *due)
{
	struct keytab_entry *e = keytab_at(&f->users, due->ref);
	struct attempt *a = keytab_value(e);

	if (e->flags & KEYTAB_F_DEAD || !a->reached || a->start_ms + f->w.def->within_ms != due->at_ms)
		return NULL;
	return a;
}

/* Attempts that were completed long before their time leave entries in the heap, as many as there are events:
 * when most entries are such they go. Each open attempt keeps one. */
static void expiry_trim(struct funnel *f)
{
	struct due_heap *heap = &f->expiry;
	size_t count = heap->count;

	if (count < 2 * f->users.count + EXPIRY_SLACK)
		return;
	heap->count = 0;
	for (size_t i = 0; i < count; i++) { /* puts at most where it has read */
		const struct due due = heap->due[i];
		struct attempt *a = due_attempt(f, &due);

		if (!a || a->kept)
			continue;
		a->kept = 1;
		due_put(heap, due.at_ms, due.ref);
	}
	for (size_t i = 0; i < heap->count; i++)
		due_attempt(f, &heap->due[i])->kept = 0;
}

static void event_look(struct funnel *f, const struct funnel_event *ev)
{
	const struct window_def *def = f->w.def;
	struct attempt *a = attempt_of(f, ev->user);

	if (a->reached && ev->time_ms > a->start_ms + def->within_ms)
		a->reached = 0;
	if (a->reached) {
		if (ev->steps >> a->reached & 1)
			step_count(f, a->start_ms, a->reached++, ev);
	} else if (ev->steps & 1) {
		a->start_ms = ev->time_ms;
		a->reached = 1;
		step_count(f, a->start_ms, 0, ev);
		if (def->step_count > 1) {
			due_put(&f->expiry, a->start_ms + def->within_ms, ev->user);
			expiry_trim(f);
		}
	}
	if (a->reached == def->step_count)
		a->reached = 0;
	a->waiting--;
	a->later -= ev->steps != 1;
	user_settle(f, ev->user);
}

int funnel_event_compare(const void *x, const void *y)
{
	const struct funnel_event *a = x, *b = y;
	int by_time = (a->time_ms > b->time_ms) - (a->time_ms < b->time_ms);

	if (by_time)
		return by_time;
	return ((int64_t)a->offset > (int64_t)b->offset) - ((int64_t)a->offset < (int64_t)b->offset);
}

/* Attempts whose time is over. */
static void attempts_expire(struct funnel *f, int64_t step_ms)
{
	while (f->expiry.count && f->expiry.due[0].at_ms < step_ms) {
		struct due due = due_take(&f->expiry);
		struct attempt *a = due_attempt(f, &due);

		if (!a)
			continue;
		a->reached = 0;
		user_settle(f, due.ref);
	}
}

/* Those in hand by (time, offset). They came in the order of offsets, but where states were gathered. */
static const struct funnel_event *ready_sort(struct funnel *f, size_t count, int64_t least, int64_t most)
{
	struct funnel_event *event;
	bool sorted = true;

	stage_sort_room(f->w.st, count * sizeof *event / sizeof *f->w.st->sort[0] + 1);
	event = timesort(f->ready, f->w.st->sort[0], count, sizeof *event, least, most);
	for (size_t i = 1; i < count && sorted; i++)
		sorted = funnel_event_compare(&event[i - 1], &event[i]) <= 0;
	if (!sorted)
		qsort(event, count, sizeof *event, funnel_event_compare);
	return event;
}

/* Looks at the events that the watermark has passed: those before step_ms. */
static void funnel_reach(struct stage_window *w, int64_t step_ms)
{
	struct funnel *f = (struct funnel *)w;
	const struct funnel_event *ready;
	size_t room = timewait_most(&f->events, step_ms) + 1;
	struct timewait_taken taken;

	if (room > f->ready_room) {
		f->ready_room = room + room / 2;
		free(f->ready);
		f->ready = must_realloc(NULL, f->ready_room, sizeof *f->ready);
	}
	taken = timewait_take(&f->events, sizeof *ready, step_ms, f->ready);
	if (taken.count) {
		ready = ready_sort(f, taken.count, taken.least_ms, taken.most_ms);
		for (size_t i = 0; i < taken.count; i++) {
			if (i + AHEAD < taken.count)
				__builtin_prefetch(keytab_at(&f->users, ready[i + AHEAD].user), 1);
			event_look(f, &ready[i]);
		}
	}
	attempts_expire(f, step_ms);
}

/* ---- rows ---- */
static int64_t funnel_due(const struct stage_window *w)
{
	const struct funnel *f = (const struct funnel *)w;

	return f->window_count ? stage_step_of(w->st, window_end(f, f->window[0].start_ms)) : STAGE_NEVER;
}

static int window_rows(struct funnel *f, struct funnel_window *fw, int64_t step_ms)
{
	const struct agg_set *aggs = f->w.def->aggs;
	struct row row = {.start_ms = fw->start_ms, .end_ms = fw->start_ms + f->w.def->size_ms};
	uint64_t entered = agg_cell_count(aggs, window_cell(f, fw, 0));
	int rc = 0;

	for (uint32_t i = 0; i < f->w.def->step_count && !rc; i++) {
		uint32_t step = f->by_name[i];

		agg_cell_entered_set(aggs, window_cell(f, fw, step), entered);
		if (f->rates || fw->reached >> step & 1)
			rc = stage_row(&f->w, &row, step_ms, f->key[step], f->key_bytes[step],
				window_cell(f, fw, step), f->arena);
	}
	for (uint32_t i = 0; i < f->w.def->step_count; i++)
		agg_cell_clear(aggs, window_cell(f, fw, i), f->arena);
	free(fw->cells);
	return rc;
}

static int funnel_emit(struct stage_window *w, int64_t step_ms)
{
	struct funnel *f = (struct funnel *)w;
	uint32_t done = 0;
	int rc = 0;

	while (!rc && done < f->window_count && window_end(f, f->window[done].start_ms) <= step_ms)
		rc = window_rows(f, &f->window[done++], step_ms);
	f->window_count -= done;
	if (done)
		memmove(f->window, f->window + done, f->window_count * sizeof *f->window);
	return rc;
}

static void funnel_settle(struct stage_window *w, int64_t step_ms)
{
	(void)w;
	(void)step_ms;
}

static void funnel_measure(const struct stage_window *w, uint64_t *keys, uint64_t *bytes)
{
	const struct funnel *f = (const struct funnel *)w;

	*keys += f->users.count;
	*bytes += keytab_logical_bytes(&f->users) + f->events.count * EVENT_BYTES + agg_arena_used(f->arena) +
		  f->window_count * (WINDOW_BYTES + (uint64_t)w->def->step_count * w->cell_bytes);
}

static void funnel_limit(struct stage_window *w, size_t arena_bytes)
{
	agg_arena_limit(((struct funnel *)w)->arena, arena_bytes);
}

const struct stage_kind stage_funnel = {
	.bytes = sizeof(struct funnel),
	.setup = funnel_setup,
	.free = funnel_free,
	.take = funnel_take,
	.reach = funnel_reach,
	.due = funnel_due,
	.emit = funnel_emit,
	.settle = funnel_settle,
	.measure = funnel_measure,
	.limit = funnel_limit,
	.save = funnel_save,
	.load = funnel_load,
};
