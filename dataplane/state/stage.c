/* The state stage: blocks in, watermark, runs of events to the windows, late events out; see stage.h. State
 * thread of a partition; no clock, no I/O. */
#include <assert.h>
#include <errno.h>

#include "pane.h"

#define PREFETCH_BYTES 4096u

static const struct stage_kind *const kinds[] = {
	[WINDOW_TUMBLING] = &stage_tumbling,
	[WINDOW_HOPPING] = &stage_hopping,
	[WINDOW_SESSION] = &stage_session,
	[WINDOW_FUNNEL] = &stage_funnel,
};

/* ---- life ---- */
static void run_begin(struct stage_run *run)
{
	run->count = 0;
	run->late_mask = 0;
	run->fields_differ = 0;
	run->time_min_ms = INT64_MAX;
	run->time_max_ms = INT64_MIN;
}

static int window_setup(struct stage *st, uint32_t i, struct err *err)
{
	const struct window_def *def = st->params.plan->def[i];
	const struct stage_kind *kind = kinds[def->kind];
	struct stage_window *w = must_calloc(1, kind->bytes);
	int rc;

	w->kind = kind;
	w->def = def;
	w->st = st;
	w->stats = &st->stats.window[i];
	w->stats->uid = def->uid;
	w->stats->closed_ms = STAGE_NO_TIME;
	w->cell_bytes = agg_set_cell_bytes(def->aggs);
	if (!w->cell_bytes)
		w->cell_bytes = 8;
	w->text_keys = def->group_count > 0;
	for (uint32_t k = 0; k < def->group_count; k++)
		w->text_keys &= !def->attr[k] && field_table[def->group[k]].kind == FIELD_KIND_TEXT;
	w->text_key = w->text_keys && def->group_count == 1;
	stage_attrs_add(w);
	for (uint32_t k = 0; k < agg_set_count(def->aggs); k++)
		w->sketches |= agg_set_spec(def->aggs, k)->kind >= AGG_distinct;
	st->types |= def->filter || def->step_count;
	must(agg_run_reads(&st->aggs, def->aggs));
	rc = kind->setup(w, err);
	if (rc) {
		free(w);
		return rc;
	}
	st->window[i] = w;
	st->stats.window_count = i + 1;
	return 0;
}

int stage_new(
	struct stage **out, const struct stage_params *params, stage_emit emit, void *arg, struct err *err)
{
	struct stage *st;
	int rc = 0;

	if (params->plan->step_ms <= 0 || params->plan->step_ms > STAGE_TIME_MAX ||
		params->out_of_orderness_ms > (uint64_t)STAGE_TIME_MAX)
		return err_set(
			err, -EINVAL, "state.step %ld ms: must be above 0", (long)params->plan->step_ms);
	st = must_calloc(1, sizeof *st);
	st->params = *params;
	st->emit = emit;
	st->arg = arg;
	st->plan_step_ms = params->plan->step_ms;
	run_begin(&st->run);
	st->watermark_ms = st->step_ms = st->step_next_ms = STAGE_NO_TIME;
	st->stats.watermark_ms = st->stats.step_ms = STAGE_NO_TIME;
	st->panes_max = PANE_LIST_MAX;
	agg_run_init(&st->aggs, st->run.rec, st->run.payload, st->run.offset, params->partition);
	st->keys = must_realloc(NULL, STAGE_RUN, STAGE_KEY_ROOM);
	if (params->rules)
		st->rules = cep_new(&(struct cep_params){
			params->partition, params->rules, params->rules_arg, stage_rules_emit, st});
	for (uint32_t i = 0; i < params->plan->count && !rc; i++)
		rc = window_setup(st, i, err);
	if (rc) {
		stage_free(st);
		return rc;
	}
	stage_attrs_make(st);
	*out = st;
	return 0;
}

void stage_free(struct stage *st)
{
	if (!st)
		return;
	for (uint32_t i = 0; i < st->stats.window_count; i++) {
		st->window[i]->kind->free(st->window[i]);
		free(st->window[i]);
	}
	while (st->arena_count)
		agg_arena_free(st->arena[--st->arena_count]);
	cep_free(st->rules);
	bytes_free(&st->alerts);
	huge_pool_free(&st->pool);
	agg_run_free(&st->aggs);
	bytes_free(&st->rows);
	bytes_free(&st->out);
	free(st->sort[0]);
	free(st->sort[1]);
	free(st->keys);
	stage_attrs_free(st);
	free(st);
}

/* ---- what windows use ---- */
void stage_late(struct stage_window *w, struct stage_run *run, uint32_t i)
{
	w->stats->late++;
	if (!(run->late_mask >> i & 1)) {
		run->late_mask |= 1ull << i;
		run->late_uid[i] = w->def->uid;
	}
}

void stage_no_room(struct stage_window *w, struct stage_run *run, uint32_t i)
{
	w->stats->no_room++;
	stage_late(w, run, i);
}

struct agg_arena *stage_arena_take(struct stage *st)
{
	struct agg_arena *arena = st->arena_count ? st->arena[--st->arena_count] : agg_arena_new(SIZE_MAX);

	must(arena);
	agg_arena_limit(arena, stage_arena_bytes(st));
	return arena;
}

void stage_arena_give(struct stage *st, struct agg_arena *arena)
{
	if (st->arena_count == STAGE_ARENAS_KEPT ||
		agg_arena_mapped(arena) > st->params.memory_bytes / STAGE_ARENAS_KEPT) {
		agg_arena_free(arena);
		return;
	}
	agg_arena_reset(arena);
	st->arena[st->arena_count++] = arena;
}

void stage_sort_room(struct stage *st, size_t count)
{
	if (count <= st->sort_room)
		return;
	st->sort_room = count + count / 2;
	for (int i = 0; i < 2; i++) {
		free(st->sort[i]);
		st->sort[i] = must_realloc(NULL, st->sort_room, sizeof *st->sort[i]);
	}
}

size_t stage_sort_keys(struct stage *st, const struct keytab *kt)
{
	const struct keytab_entry *e;
	uint32_t at = 0, ref;
	size_t count = 0;

	stage_sort_room(st, kt->count);
	while ((e = keytab_next(kt, &at, &ref)))
		st->sort[0][count++].entry = (struct keytab_entry *)e;
	keysort(kt, st->sort[0], st->sort[1], count);
	return count;
}

/* ---- steps ---- */
/* Puts out the rows of every step up to the one where the watermark now stands, a mark behind each. */
static int steps_emit(struct stage *st, int64_t step_ms)
{
	uint32_t count = st->stats.window_count;
	int64_t due, last = STAGE_NO_TIME;
	int rc = st->rules ? stage_rules_reach(st, step_ms) : 0;

	if (rc)
		return rc;
	for (uint32_t i = 0; i < count; i++)
		if (st->window[i]->kind->reach)
			st->window[i]->kind->reach(st->window[i], step_ms);
	for (;;) {
		int64_t due_of[WINDOWS_MAX];
		uint64_t rows = st->stats.rows;

		due = STAGE_NEVER;
		for (uint32_t i = 0; i < count; i++) {
			due_of[i] = st->window[i]->kind->due(st->window[i]);
			if (due_of[i] < due)
				due = due_of[i];
		}
		if (due > step_ms)
			break;
		for (uint32_t i = 0; i < count; i++) {
			rc = due_of[i] == due ? st->window[i]->kind->emit(st->window[i], due) : 0;
			if (rc)
				return rc;
		}
		if (st->stats.rows == rows)
			continue; /* it was only thought to be due */
		rc = stage_mark(st, due);
		if (rc)
			return rc;
		last = due;
	}
	st->step_ms = st->stats.step_ms = step_ms;
	for (uint32_t i = 0; i < count; i++) {
		st->window[i]->kind->settle(st->window[i], step_ms);
		st->window[i]->stats->closed_ms = step_ms;
	}
	return last == step_ms ? 0 : stage_mark(st, step_ms);
}

/* ---- runs ---- */
static void run_types(struct stage_run *run)
{
	memset(run->of_type, 0, sizeof run->of_type);
	for (uint32_t i = 0; i < run->count; i++)
		run->of_type[run->rec[i]->type % WINDOW_FILTER_TYPES] |= 1ull << i;
}

uint64_t stage_having(const struct stage_run *run, enum field_id field, uint64_t events)
{
	uint64_t having = 0;

	for (uint64_t left = events; left; left &= left - 1)
		having |= run->rec[__builtin_ctzll(left)]->field_mask >> field & 1 ? left & -left : 0;
	return having;
}

static int run_flush(struct stage *st)
{
	struct stage_run *run = &st->run;
	int rc = 0;

	if (!run->count)
		return 0;
	agg_run_begin(&st->aggs, !run->fields_differ);
	stage_attrs_begin(st);
	if (st->types)
		run_types(run);
	for (uint32_t i = 0; i < st->stats.window_count; i++)
		st->window[i]->kind->take(st->window[i], run);
	for (uint64_t left = run->late_mask; left && !rc; left &= left - 1)
		rc = stage_late_emit(st, (uint32_t)__builtin_ctzll(left));
	run_begin(run);
	return rc;
}

/* Late events and alerts of all that was taken are out. */
static int all_flush(struct stage *st)
{
	int rc = run_flush(st);

	return rc || !st->rules ? rc : stage_rules_alerts(st, UINT64_MAX);
}

static __attribute__((noinline)) int step_reach(struct stage *st)
{
	int64_t step_ms = stage_floor(st->watermark_ms, st->plan_step_ms);
	int rc;

	/* a step that was loaded may lie between two of this plan's */
	st->step_next_ms = step_ms + st->plan_step_ms;
	if (step_ms <= st->step_ms)
		return 0;
	rc = all_flush(st);
	return rc ? rc : steps_emit(st, step_ms);
}

static inline int watermark_raise(struct stage *st, int64_t to_ms)
{
	if (to_ms <= st->watermark_ms || to_ms > STAGE_TIME_MAX)
		return 0;
	st->watermark_ms = to_ms;
	return to_ms < st->step_next_ms ? 0 : step_reach(st);
}

static void measure(struct stage *st)
{
	uint64_t total = 0;
	bool full;

	for (uint32_t i = 0; i < st->stats.window_count; i++) {
		struct stage_window *w = st->window[i];
		uint64_t keys = 0, bytes = 0;

		w->kind->measure(w, &keys, &bytes);
		w->stats->keys = keys;
		w->stats->memory_bytes = bytes;
		total += bytes;
	}
	if (st->stats.input_offset % STAGE_MEMORY_EVERY)
		return;
	full = total >= st->params.memory_bytes - (st->full ? st->params.memory_bytes / 16 : 0);
	if (full == st->full)
		return;
	st->full = full;
	for (uint32_t i = 0; i < st->stats.window_count; i++)
		st->window[i]->kind->limit(st->window[i], stage_arena_bytes(st));
}

/* ---- records ---- */
/* The fields that a run's records have to have to be alike: what its first one has. */
static inline uint64_t run_fields(const struct stage_run *run, const struct record *first)
{
	return run->count ? run->rec[0]->field_mask : first->field_mask;
}

static struct stage_source *source_get(struct stage_stats *s, uint16_t port)
{
	uint32_t i = 0;

	while (i < s->source_count && s->source[i].port != port)
		i++;
	if (i == STAGE_SOURCES_MAX)
		return NULL;
	if (i == s->source_count) {
		s->source[i] = (struct stage_source){.port = port, .event_time_max_ms = STAGE_NO_TIME};
		s->source_count++;
	}
	return &s->source[i];
}

static inline void source_count(struct stage *st, const struct record *rec)
{
	struct stage_source *source = st->source;

	if (!source || source->port != rec->dst_port) {
		source = source_get(&st->stats, rec->dst_port);
		if (!source)
			return;
		st->source = source;
	}
	source->events++;
	if (rec->event_time_ms > source->event_time_max_ms)
		source->event_time_max_ms = rec->event_time_ms;
	source->receive_last_ms = rec->receive_time_ms;
}

static int event_take(struct stage *st, const struct record *rec, uint64_t offset)
{
	struct stage_run *run = &st->run;
	int64_t t = rec->event_time_ms, receive = rec->receive_time_ms;
	int rc;

	st->stats.events++;
	source_count(st, rec);
	if (!stage_time_usable(t) || !stage_time_usable(receive) || rec->flags & RECORD_F_SUPPRESSED) {
		for (uint32_t i = 0; i < st->stats.window_count; i++)
			st->stats.window[i].filtered++;
		if (!stage_time_usable(t) || !stage_time_usable(receive))
			return 0;
		rc = rec->hit_count && st->rules ? stage_rules_take(st, rec, offset, st->watermark_ms) : 0;
		if (rc)
			return rc;
	} else {
		rc = rec->hit_count && st->rules ? stage_rules_take(st, rec, offset, st->watermark_ms) : 0;
		if (rc)
			return rc;
		run->time_min_ms = run->time_min_ms < t ? run->time_min_ms : t;
		run->time_max_ms = run->time_max_ms > t ? run->time_max_ms : t;
		run->fields_differ |= rec->field_mask ^ run_fields(run, rec);
		run->rec[run->count] = rec;
		run->payload[run->count] = record_payload(rec);
		run->offset[run->count] = offset;
		run->watermark_ms[run->count] = st->watermark_ms;
		if (++run->count == STAGE_RUN) {
			rc = run_flush(st);
			if (rc)
				return rc;
		}
	}
	return watermark_raise(st, stage_event_mark(t, receive, st->params.out_of_orderness_ms));
}

static int record_take(struct stage *st, const struct record *rec, uint64_t offset)
{
	int rc = 0;

	st->stats.records++;
	if (rec->kind == RECORD_EVENT)
		rc = event_take(st, rec, offset);
	else if (rec->kind == RECORD_TICK && stage_time_usable(rec->event_time_ms))
		rc = watermark_raise(st, rec->event_time_ms);
	else if (rec->kind == RECORD_SHADOW && rec->hit_count && st->rules &&
		 stage_time_usable(rec->event_time_ms))
		rc = stage_rules_take(st, rec, offset, st->watermark_ms);
	st->stats.input_offset = offset + 1;
	if (!rc && st->stats.input_offset % STAGE_MEMORY_EVERY == 0) {
		rc = run_flush(st);
		measure(st);
	}
	return rc;
}

/* Draws a record's worth of what comes some records later into the cache, of whatever lies there: records are
 * looked at here and there, by too few lines in a row for the machine to see where that goes. */
static inline void ahead_prefetch(const uint8_t *rec, uint32_t bytes)
{
	const uint8_t *from = rec + PREFETCH_BYTES;

	__builtin_prefetch(from);
	__builtin_prefetch(from + 64);
	__builtin_prefetch(from + 128);
	__builtin_prefetch(from + 192);
	__builtin_prefetch(from + 256); /* most records are no longer */
	for (uint32_t at = 320; __builtin_expect(at < bytes, 0); at += 64)
		__builtin_prefetch(from + at);
}

/* What is known after events_take() took some events, one at least. */
static void events_taken(struct stage *st, uint32_t count, int64_t low_ms, int64_t high_ms, int64_t wm)
{
	struct stage_run *run = &st->run;
	struct stage_source *source = st->source;

	st->watermark_ms = wm;
	st->stats.events += count;
	run->count += count;
	run->time_min_ms = run->time_min_ms < low_ms ? run->time_min_ms : low_ms;
	run->time_max_ms = run->time_max_ms > high_ms ? run->time_max_ms : high_ms;
	source->events += count;
	source->receive_last_ms = run->rec[run->count - 1]->receive_time_ms;
	if (high_ms > source->event_time_max_ms)
		source->event_time_max_ms = high_ms;
}

/* Words of a record's header, and which of their bits are looked at together. */
#define HEAD_WORD(at, member) ((uint64_t)(at) << 8 * (offsetof(struct record, member) % sizeof(uint64_t)))

static inline uint64_t head_word(const struct record *rec, size_t at)
{
	return hash_load((const uint8_t *)rec + at, sizeof(uint64_t));
}

/* What an ordinary event has in its header: the first word, and that of the ports. */
struct ordinary {
	uint64_t first, first_mask, ports, ports_mask;
};

static inline struct ordinary ordinary_of(const struct stage *st)
{
	return (struct ordinary){
		.first = HEAD_WORD(RECORD_EVENT, kind),
		.first_mask = HEAD_WORD(UINT8_MAX, kind) | HEAD_WORD(RECORD_F_SUPPRESSED, flags),
		.ports = HEAD_WORD(st->source->port, dst_port),
		.ports_mask = HEAD_WORD(UINT16_MAX, dst_port),
	};
}

static inline bool ordinary_is(const struct ordinary *o, const struct record *rec)
{
	const uint64_t first = head_word(rec, 0), ports = head_word(rec, offsetof(struct record, src_port));

	return !(((first ^ o->first) & o->first_mask) | ((ports ^ o->ports) & o->ports_mask));
}

/* Takes events as most are, and shadows between them, up to a record that is neither, or after which
 * something is to be done: that is for record_take(). In and out: the next record's place and offset in the
 * block. */
static int events_take(
	struct stage *st, const struct journal_block *block, uint32_t *place, uint64_t *next, uint64_t end)
{
	const int64_t step_next_ms = st->step_next_ms, delay_ms = (int64_t)st->params.out_of_orderness_ms;
	const uint8_t *at = block->data + *place, *stop = block->data + block->bytes;
	int64_t wm = st->watermark_ms, low_ms = INT64_MAX, high_ms = INT64_MIN;
	struct stage_run *run = &st->run;
	uint64_t offset = *next, last = offset + STAGE_RUN - 1 - run->count,
		 look = offset | (STAGE_MEMORY_EVERY - 1), fields, differ = 0;
	struct ordinary ordinary;
	uint32_t n = run->count;
	int rc = 0;

	if (!st->source || stop - at < (ptrdiff_t)sizeof(struct record))
		return 0;
	ordinary = ordinary_of(st);
	fields = run_fields(run, (const struct record *)at);
	last = last < look ? last : look;
	for (last = last < end ? last : end; offset < last && !rc; offset++) {
		const struct record *rec = (const struct record *)at;
		int64_t t, receive, to;

		if (stop - at < (ptrdiff_t)sizeof *rec || rec->bytes < sizeof *rec ||
			rec->bytes > (size_t)(stop - at))
			break;
		ahead_prefetch(at, rec->bytes);
		t = rec->event_time_ms;
		receive = rec->receive_time_ms;
		if ((((uint64_t)t + STAGE_TIME_MAX) | ((uint64_t)receive + STAGE_TIME_MAX)) >=
			2 * (uint64_t)STAGE_TIME_MAX)
			break;
		to = (t < receive ? t : receive) - delay_ms;
		to = to > wm ? to : wm;
		if (ordinary_is(&ordinary, rec)) {
			if (to >= step_next_ms)
				break;
			fields = n ? fields : rec->field_mask;
			differ |= rec->field_mask ^ fields;
			run->rec[n] = rec;
			run->payload[n] = record_payload(rec);
			run->offset[n] = offset;
			run->watermark_ms[n++] = wm;
			low_ms = low_ms < t ? low_ms : t;
			high_ms = high_ms > t ? high_ms : t;
		} else if (rec->kind == RECORD_SHADOW) {
			to = wm;
		} else {
			break;
		}
		if (st->rules && rec->hit_count)
			rc = stage_rules_take(st, rec, offset, wm);
		wm = to;
		at += rec->bytes;
	}
	run->fields_differ |= differ;
	if (n > run->count)
		events_taken(st, n - run->count, low_ms, high_ms, wm);
	if (offset > *next)
		st->stats.input_offset = offset;
	st->stats.records += offset - *next;
	*place = (uint32_t)(at - block->data);
	*next = offset;
	return rc;
}

int stage_block(struct stage *st, const struct journal_block *block, uint64_t from, struct err *err)
{
	uint64_t offset = block->first_offset, end = offset + block->record_count;
	uint32_t at = 0;
	int rc = 0;

	if (block->partition != st->params.partition || end < offset ||
		(st->begun && from < end && (from > offset ? from : offset) < st->stats.input_offset))
		return err_set(err, -EBADMSG, "block of partition %u from offset %llu: not what comes next",
			block->partition, (unsigned long long)offset);
	st->begun = true;
	st->receive_ms = block->receive_last_ms;
	st->place = (struct cep_place){block->generation, block->receive_last_ms};
	for (; offset < end && !rc; offset++) {
		if (offset >= from)
			rc = events_take(st, block, &at, &offset, end);
		if (offset == end || rc)
			break;
		const struct record *rec = (const struct record *)(block->data + at);
		uint32_t left = block->bytes - at, bytes = left < sizeof *rec ? 0 : rec->bytes;

		if (bytes < sizeof *rec || bytes > left)
			return err_set(err, -EBADMSG, "record %llu does not lie in its block",
				(unsigned long long)offset);
		ahead_prefetch(block->data + at, bytes);
		at += bytes;
		if (offset >= from)
			rc = record_take(st, rec, offset);
	}
	if (!rc)
		rc = all_flush(st);
	if (!rc && st->rules)
		rc = stage_rules_note(st, block, err);
	if (!rc && stage_time_usable(block->watermark_ms))
		rc = watermark_raise(st, block->watermark_ms);
	for (uint32_t i = 0; i < st->stats.source_count; i++)
		st->stats.source[i].idle =
			(uint64_t)(block->receive_last_ms - st->stats.source[i].receive_last_ms) >
				st->params.source_idle_ms &&
			block->receive_last_ms > st->stats.source[i].receive_last_ms;
	st->stats.watermark_ms = st->watermark_ms;
	if (!rc)
		measure(st);
	if (st->rules_err.text[0])
		*err = st->rules_err;
	return rc;
}

const struct stage_stats *stage_stats(const struct stage *st)
{
	return &st->stats;
}
