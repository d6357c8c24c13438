/* See stage_model.h. */
#include "stage_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
	struct model *m;
	const struct rig_stream *s;
	const struct window_plan *plan;
	const struct window_def *def;
	int64_t *watermark; /* before each event */
	uint64_t *late_uid;
};

static int64_t down(int64_t t, int64_t unit)
{
	int64_t q = t / unit;

	return (q * unit > t ? q - 1 : q) * unit;
}

static int64_t up(int64_t t, int64_t unit)
{
	return -down(-t, unit);
}

/* ---- watermark ---- */
static void watermarks(struct run *r, int64_t out_of_orderness)
{
	int64_t high = INT64_MIN;

	for (uint32_t i = 0; i < r->s->events; i++) {
		const struct rig_event *ev = &r->s->event[i];
		int64_t t = ev->time_ms < ev->receive_ms ? ev->time_ms : ev->receive_ms;
		int64_t mark;

		r->watermark[i] = high;
		if (ev->kind == RECORD_EVENT && t - out_of_orderness > high)
			high = t - out_of_orderness;
		if (ev->kind == RECORD_TICK && ev->time_ms > high)
			high = ev->time_ms;
		mark = r->s->block[ev->block].watermark_ms;
		if ((i + 1 == r->s->events || r->s->event[i + 1].block != ev->block) && mark > high)
			high = mark;
	}
	if (r->s->block[r->s->blocks - 1].watermark_ms > high) /* it may be empty */
		high = r->s->block[r->s->blocks - 1].watermark_ms;
	r->m->step_ms = down(high, r->plan->step_ms);
}

/* ---- rows ---- */
static struct model_row *row_find(struct run *r, const struct model_row *like)
{
	struct model *m = r->m;

	for (uint32_t i = m->rows; i--;) {
		struct model_row *row = &m->row[i];

		if (row->uid == like->uid && row->start_ms == like->start_ms && row->end_ms == like->end_ms &&
			row->step_ms == like->step_ms && row->revision == like->revision &&
			row->key_bytes == like->key_bytes && !memcmp(row->key, like->key, like->key_bytes))
			return row;
	}
	if (m->rows == m->row_room) {
		m->row_room = m->row_room * 2 + 256;
		m->row = realloc(m->row, m->row_room * sizeof *m->row);
	}
	m->row[m->rows] = *like;
	m->row[m->rows].last_page = RIG_NONE;
	m->row[m->rows].last_ms = INT64_MIN;
	return &m->row[m->rows++];
}

static void row_add(struct model_row *row, const struct rig_event *ev, uint64_t offset)
{
	row->count++;
	if (ev->amount != INT64_MIN) {
		row->sum += ev->amount;
		row->has_sum = true;
	}
	if (ev->has_metric && (!row->has_high || ev->metric > row->high)) {
		row->high = ev->metric;
		row->has_high = true;
	}
	if (ev->page != RIG_NONE &&
		(ev->time_ms > row->last_ms || (ev->time_ms == row->last_ms && offset > row->last_offset))) {
		row->last_page = ev->page;
		row->last_ms = ev->time_ms;
		row->last_offset = offset;
	}
}

static void key_put(struct model_row *row, const char *text)
{
	uint16_t bytes = text ? (uint16_t)strlen(text) : ROW_KEY_ABSENT;

	memcpy(row->key + row->key_bytes, &bytes, sizeof bytes);
	row->key_bytes += (uint32_t)sizeof bytes;
	if (text) {
		memcpy(row->key + row->key_bytes, text, bytes);
		row->key_bytes += bytes;
	}
}

static void key_make(struct run *r, struct model_row *row, const struct rig_event *ev)
{
	row->key_bytes = 0;
	for (uint32_t i = 0; i < r->def->group_count; i++) {
		bool user = r->def->group[i] == FIELD_user_id;
		uint32_t number = user ? ev->user : ev->page;
		char text[16];

		(user ? rig_user_name : rig_page_name)(text, number);
		key_put(row, number == RIG_NONE ? NULL : text);
	}
}

static bool counts(const struct rig_event *ev)
{
	return ev->kind == RECORD_EVENT && !ev->suppressed && ev->type != EVENT_TYPE_conversion;
}

static void late(struct run *r, uint32_t i)
{
	if (!r->late_uid[i])
		r->late_uid[i] = r->def->uid;
}

/* ---- tumbling and hopping: an event in each of its windows ---- */

/* Number of the revision of the window [., end) that comes out at `step`. */
static uint32_t revision_number(const struct model *m, uint64_t uid, int64_t end, int64_t step)
{
	int64_t last = INT64_MIN;
	uint32_t number = 0;

	for (uint32_t i = 0; i < m->rows; i++) {
		const struct model_row *row = &m->row[i];

		if (row->uid != uid || row->end_ms != end || !row->revision || row->step_ms > step)
			continue;
		if (row->step_ms > last) {
			last = row->step_ms;
			number = row->revision + (row->step_ms < step);
		}
	}
	return number ? number : 1;
}

static void windows(struct run *r)
{
	const struct window_def *def = r->def;
	int64_t unit = r->plan->step_ms;

	for (uint32_t i = 0; i < r->s->events; i++) {
		const struct rig_event *ev = &r->s->event[i];
		int64_t wm = r->watermark[i], step = wm == INT64_MIN ? INT64_MIN : down(wm, unit);
		bool taken = false;

		if (!counts(ev))
			continue;
		for (int64_t end = down(ev->time_ms, def->slide_ms) + def->size_ms; end > ev->time_ms;
			end -= def->slide_ms) {
			struct model_row row = {.uid = def->uid,
				.start_ms = end - def->size_ms,
				.end_ms = end,
				.step_ms = up(end, unit)};

			if (wm >= end + def->lateness_ms)
				continue;
			taken = true;
			if (end <= step) {
				row.step_ms = step + unit;
				row.revision = revision_number(r->m, def->uid, end, row.step_ms);
			}
			key_make(r, &row, ev);
			row_add(row_find(r, &row), ev, i);
		}
		if (!taken)
			late(r, i);
	}
}

/* ---- sessions ---- */
struct model_session {
	int64_t start, last;
	uint32_t user, joined; /* joined: index of the session that it became part of, or RIG_NONE */
};

static void sessions(struct run *r)
{
	struct model_session *list = calloc(r->s->events, sizeof *list);
	uint32_t *of = calloc(r->s->events, sizeof *of), count = 0;
	int64_t gap = r->def->gap_ms;

	for (uint32_t i = 0; i < r->s->events; i++) {
		const struct rig_event *ev = &r->s->event[i];
		struct model_session s = {ev->time_ms, ev->time_ms, ev->user, RIG_NONE};
		bool again = true;

		of[i] = RIG_NONE;
		if (!counts(ev) || ev->user == RIG_NONE)
			continue;
		while (again) {
			again = false;
			for (uint32_t k = 0; k < count; k++) {
				if (list[k].user != s.user || list[k].joined != RIG_NONE ||
					list[k].last + gap <= r->watermark[i] ||
					list[k].start > s.last + gap || s.start > list[k].last + gap)
					continue;
				s.start = list[k].start < s.start ? list[k].start : s.start;
				s.last = list[k].last > s.last ? list[k].last : s.last;
				list[k].joined = count;
				again = true;
			}
		}
		if (s.last + gap <= r->watermark[i]) {
			late(r, i);
			continue;
		}
		of[i] = count;
		list[count++] = s;
	}
	for (uint32_t i = 0; i < r->s->events; i++) {
		struct model_row row = {.uid = r->def->uid};
		uint32_t k = of[i];

		if (k == RIG_NONE)
			continue;
		while (list[k].joined != RIG_NONE)
			k = list[k].joined;
		row.start_ms = list[k].start;
		row.end_ms = list[k].last + gap;
		row.step_ms = up(row.end_ms, r->plan->step_ms);
		key_make(r, &row, &r->s->event[i]);
		row_add(row_find(r, &row), &r->s->event[i], i);
	}
	free(list);
	free(of);
}

/* ---- funnels: a step is a page, the one of its number ---- */
static void attempt_count(struct run *r, int64_t start, uint32_t step)
{
	struct model_row row = {.uid = r->def->uid, .start_ms = down(start, r->def->size_ms)};

	row.end_ms = row.start_ms + r->def->size_ms;
	row.step_ms = up(row.end_ms + r->def->within_ms, r->plan->step_ms);
	key_put(&row, r->def->step_name[step]);
	row_find(r, &row)->count++;
}

static const struct rig_event *sort_base;

static int by_time(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
	int64_t s = sort_base[a].time_ms, t = sort_base[b].time_ms;

	return s != t ? (s < t ? -1 : 1) : (a < b ? -1 : 1);
}

static void funnel(struct run *r)
{
	uint32_t *order = calloc(r->s->events, sizeof *order), count = 0;
	uint32_t users = 0;

	for (uint32_t i = 0; i < r->s->events; i++) {
		const struct rig_event *ev = &r->s->event[i];

		if (!counts(ev) || ev->user == RIG_NONE || ev->page >= r->def->step_count)
			continue;
		if (ev->time_ms < r->watermark[i])
			late(r, i);
		else
			order[count++] = i;
		users = ev->user >= users ? ev->user + 1 : users;
	}
	sort_base = r->s->event;
	qsort(order, count, sizeof *order, by_time);
	for (uint32_t user = 0; user < users; user++) {
		int64_t start = 0;
		uint32_t next = 0;

		for (uint32_t k = 0; k < count; k++) {
			const struct rig_event *ev = &r->s->event[order[k]];

			if (ev->user != user)
				continue;
			if (next && ev->time_ms - start > r->def->within_ms)
				next = 0;
			if (ev->page != next)
				continue;
			if (!next)
				start = ev->time_ms;
			attempt_count(r, start, next++);
			next %= r->def->step_count;
		}
	}
	free(order);
}

/* ---- the whole ---- */
static int order(const void *x, const void *y)
{
	const struct model_row *a = x, *b = y;
	uint32_t least = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;
	int c;

#define BY(field)                                                                                            \
	if (a->field != b->field)                                                                            \
	return a->field < b->field ? -1 : 1
	BY(step_ms);
	BY(uid);
	BY(end_ms);
	BY(start_ms);
	c = memcmp(a->key, b->key, least);
	if (c)
		return c;
	BY(key_bytes);
	BY(revision);
	return 0;
}

void model_make(struct model *m, const struct rig_stream *s, const struct window_plan *plan,
	uint64_t out_of_orderness_ms)
{
	struct run r = {.m = m, .s = s, .plan = plan};
	uint32_t kept = 0;

	*m = (struct model){0};
	r.watermark = calloc(s->events, sizeof *r.watermark);
	r.late_uid = calloc(s->events, sizeof *r.late_uid);
	watermarks(&r, (int64_t)out_of_orderness_ms);
	for (uint32_t i = 0; i < plan->count; i++) {
		r.def = plan->def[i];
		if (r.def->kind == WINDOW_SESSION)
			sessions(&r);
		else if (r.def->kind == WINDOW_FUNNEL)
			funnel(&r);
		else
			windows(&r);
	}
	for (uint32_t i = 0; i < m->rows; i++)
		if (m->row[i].step_ms <= m->step_ms)
			m->row[kept++] = m->row[i];
	m->rows = kept;
	if (m->rows)
		qsort(m->row, m->rows, sizeof *m->row, order);
	m->late = calloc(s->events, sizeof *m->late);
	for (uint32_t i = 0; i < s->events; i++)
		if (r.late_uid[i])
			m->late[m->lates++] = (struct model_late){i, r.late_uid[i]};
	free(r.watermark);
	free(r.late_uid);
}

void model_free(struct model *m)
{
	free(m->row);
	free(m->late);
}

/* ---- comparison ---- */
struct seen {
	const struct model_row *row;
	bool funnel;
	uint32_t values;
};

static int value_check(void *arg, const struct agg_value *v)
{
	struct seen *seen = arg;
	const struct model_row *row = seen->row;
	char text[16];

	switch (seen->values++) {
	case 0:
		assert_int_equal(v->kind, AGG_VALUE_U64);
		assert_int_equal(v->u64, row->count);
		break;
	case 1:
		assert_int_equal(v->kind, row->has_sum ? AGG_VALUE_DECIMAL : AGG_VALUE_NONE);
		assert_true(!row->has_sum || v->decimal == row->sum);
		break;
	case 2:
		assert_int_equal(v->kind, row->has_high ? AGG_VALUE_F64 : AGG_VALUE_NONE);
		assert_true(!row->has_high || v->f64 == row->high);
		break;
	case 3:
		assert_int_equal(v->kind, row->last_page != RIG_NONE ? AGG_VALUE_TEXT : AGG_VALUE_NONE);
		if (row->last_page == RIG_NONE)
			break;
		rig_page_name(text, row->last_page);
		assert_int_equal(v->text_bytes, strlen(text));
		assert_memory_equal(v->text, text, v->text_bytes);
		break;
	default:
		break;
	}
	return 0;
}

static void row_compare_model(
	const struct model_row *want, const struct row *row, const struct window_def *def)
{
	struct seen seen = {want, def->kind == WINDOW_FUNNEL, 0};

	assert_int_equal(row->step_ms, want->step_ms);
	assert_int_equal(row->window_uid, want->uid);
	assert_int_equal(row->end_ms, want->end_ms);
	assert_int_equal(row->start_ms, want->start_ms);
	assert_int_equal(row->key_bytes, want->key_bytes);
	assert_memory_equal(row_key(row), want->key, want->key_bytes);
	assert_int_equal(row->revision, want->revision);
	assert_int_equal(row->flags, want->flags);
	assert_int_equal(agg_values(def->aggs, row_agg(row), row->agg_bytes, value_check, &seen), 0);
}

void model_compare(const struct model *m, const struct window_plan *plan, const struct bytes *out)
{
	uint32_t rows = 0, lates = 0;
	int64_t marked = INT64_MIN, row_step = INT64_MIN;
	const struct record *rec;
	size_t at = 0;

	while ((rec = rig_next(out, &at))) {
		if (rec->kind == RECORD_ROW) {
			assert_true(rows < m->rows);
			row_compare_model(
				&m->row[rows], row_of(rec), window_plan_find(plan, row_of(rec)->window_uid));
			row_step = row_of(rec)->step_ms;
			assert_true(row_step > marked);
			rows++;
		} else if (rec->kind == RECORD_LATE) {
			assert_true(lates < m->lates);
			assert_int_equal(row_late_offset(rec), m->late[lates].offset);
			assert_int_equal(row_late_window(rec), m->late[lates].uid);
			lates++;
		} else {
			assert_int_equal(rec->kind, RECORD_MARK);
			assert_true(rec->event_time_ms > marked);
			assert_true(rec->event_time_ms >= row_step);
			marked = rec->event_time_ms;
		}
	}
	assert_int_equal(rows, m->rows);
	assert_int_equal(lates, m->lates);
	assert_int_equal(marked, m->step_ms);
}
