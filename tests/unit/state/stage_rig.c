/* See stage_rig.h. */
#include "stage_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avx2.h"
#include "hash_process.h"
#include "state_sample.h"

uint64_t stage_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void rig_user_name(char text[16], uint32_t user)
{
	snprintf(text, 16, "u%u", user);
}

void rig_page_name(char text[16], uint32_t page)
{
	snprintf(text, 16, "/p%u", page);
}

/* ---- streams ---- */
void rig_stream_put(struct rig_stream *s, const struct rig_event *ev)
{
	static struct state_sample sample;
	const struct record *rec;
	char text[16];

	if (s->events == s->room) {
		s->room = s->room * 2 + 64;
		s->event = realloc(s->event, s->room * sizeof *s->event);
	}
	s->event[s->events] = *ev;
	s->event[s->events++].block = s->blocks;
	state_sample_init(&sample, ev->type, ev->time_ms);
	if (ev->user != RIG_NONE) {
		rig_user_name(text, ev->user);
		state_sample_text(&sample, FIELD_user_id, text);
	}
	if (ev->page != RIG_NONE) {
		rig_page_name(text, ev->page);
		state_sample_text(&sample, FIELD_page, text);
	}
	if (ev->has_metric)
		state_sample_number(&sample, FIELD_metric, ev->metric);
	if (ev->amount != INT64_MIN)
		state_sample_decimal(&sample, FIELD_amount, ev->amount);
	sample.ev.dst_port = ev->port;
	rec = state_sample_record(&sample, ev->receive_ms);
	((struct record *)rec)->kind = ev->kind;
	((struct record *)rec)->flags = ev->suppressed ? RECORD_F_SUPPRESSED : 0;
	assert_true(record_valid(rec, rec->bytes));
	bytes_put(&s->bytes, rec, rec->bytes);
}

void rig_stream_click(struct rig_stream *s, int64_t t, int64_t received, uint32_t user, uint32_t page)
{
	const struct rig_event ev = {.kind = RECORD_EVENT,
		.type = EVENT_TYPE_click,
		.time_ms = RIG_TIME + t,
		.receive_ms = RIG_TIME + received,
		.user = user,
		.page = page,
		.amount = INT64_MIN,
		.port = 4000};

	rig_stream_put(s, &ev);
}

void rig_block_end(struct rig_stream *s, int64_t watermark_ms)
{
	struct rig_block *b, *before = s->blocks ? &s->block[s->blocks - 1] : NULL;
	uint64_t first = before ? before->first + before->count : 0;

	if (s->blocks == s->block_room) {
		s->block_room = s->block_room * 2 + 64;
		s->block = realloc(s->block, s->block_room * sizeof *s->block);
		before = s->blocks ? &s->block[s->blocks - 1] : NULL;
	}
	b = &s->block[s->blocks++];
	b->first = first;
	b->count = (uint32_t)(s->events - first);
	b->watermark_ms = watermark_ms;
	b->at = before ? before->at + before->bytes : 0;
	b->bytes = s->bytes.bytes - b->at;
	b->receive_ms = s->events ? s->event[s->events - 1].receive_ms : RIG_TIME;
}

static void event_make(struct rig_event *ev, const struct rig_shape *shape, int64_t now, uint64_t *seed)
{
	uint32_t odd = stage_below(seed, 100);
	int64_t back = stage_below(seed, (uint64_t)shape->disorder_ms + 1);

	if (odd < 5)
		back *= 1 + stage_below(seed, 8);
	*ev = (struct rig_event){.kind = RECORD_EVENT, .type = EVENT_TYPE_click, .amount = INT64_MIN};
	ev->time_ms = now - back;
	ev->receive_ms = now + stage_below(seed, 50) - (odd > 97 ? 400 : 0);
	if (odd == 50)
		ev->time_ms = now + stage_below(seed, 20000); /* a clock that is ahead */
	ev->user = stage_below(seed, 20) ? stage_below(seed, shape->users) : RIG_NONE;
	ev->page = stage_below(seed, 20) ? stage_below(seed, shape->pages) : RIG_NONE;
	ev->port = (uint16_t)(4000 + stage_below(seed, 3));
	ev->suppressed = odd == 51;
	if (stage_below(seed, 3))
		ev->amount = ((int64_t)stage_below(seed, 2000000000) - 1000000000) *
			     (stage_below(seed, 40) ? 1 : 1000); /* more than narrow cells take, at times */
	if (shape->amount && ev->amount != INT64_MIN)
		ev->amount = shape->amount[stage_below(seed, shape->amounts)];
	ev->has_metric = stage_below(seed, 3);
	ev->metric = ((double)stage_below(seed, 1000000) - 300000) / 7.0;
	if (odd == 52)
		ev->type = EVENT_TYPE_conversion;
	if (odd == 53)
		ev->kind = RECORD_CONTROL;
	if (odd == 54)
		ev->kind = RECORD_REFUSED;
	if (odd == 55) {
		ev->kind = RECORD_TICK;
		ev->time_ms = now - 2 * shape->disorder_ms;
	}
}

void rig_stream_make(struct rig_stream *s, const struct rig_shape *shape, uint64_t *seed)
{
	int64_t now = RIG_TIME + stage_below(seed, 100000), mark;
	uint32_t left = 1 + stage_below(seed, shape->block_events);

	*s = (struct rig_stream){0};
	for (uint32_t i = 0; i < shape->events; i++) {
		struct rig_event ev;

		now += stage_below(seed, (uint64_t)shape->pace_ms + 1);
		if (!stage_below(seed, 700))
			now += stage_below(seed, 120000);
		event_make(&ev, shape, now, seed);
		rig_stream_put(s, &ev);
		if (--left)
			continue;
		left = 1 + stage_below(seed, shape->block_events);
		mark = now - shape->disorder_ms - stage_below(seed, 2000);
		rig_block_end(s, stage_below(seed, 3) ? INT64_MIN : mark);
	}
	rig_block_end(s, now);
}

void rig_stream_free(struct rig_stream *s)
{
	free(s->event);
	free(s->block);
	bytes_free(&s->bytes);
}

struct journal_block rig_block(const struct rig_stream *s, uint32_t i)
{
	const struct rig_block *b = &s->block[i];

	return (struct journal_block){.partition = 3,
		.first_offset = b->first,
		.record_count = b->count,
		.bytes = (uint32_t)b->bytes,
		.receive_last_ms = b->receive_ms,
		.watermark_ms = b->watermark_ms,
		.data = s->bytes.data + b->at};
}

/* ---- stages ---- */
struct window_plan *rig_plan(int64_t step_ms, uint32_t count, const char *const *text)
{
	struct window_plan *plan = calloc(1, sizeof *plan);
	struct err err;

	plan->step_ms = step_ms;
	plan->count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct window_def *def;
		uint32_t at = i;

		if (window_def_parse(&def, text[i], &err))
			fail_msg("%s: %s", text[i], err.text);
		for (; at && plan->def[at - 1]->uid > def->uid; at--)
			plan->def[at] = plan->def[at - 1];
		plan->def[at] = def;
	}
	return plan;
}

int rig_collect(void *bytes, const struct record *rec)
{
	bytes_put(bytes, rec, rec->bytes);
	return 0;
}

int rig_collect_rows(void *bytes, const struct record *rec)
{
	struct row_walk walk;

	if (rec->kind != RECORD_ROW)
		return rig_collect(bytes, rec);
	assert_true(record_valid(rec, rec->bytes));
	assert_true(row_valid(rec));
	assert_int_equal(rec->type, ROW_PARTIALS);
	row_walk_first(&walk, rec);
	do
		row_walk_put(&walk, rec->receive_time_ms, bytes);
	while (row_walk_next(&walk));
	return 0;
}

static struct stage *stage_make(const struct window_plan *plan, uint64_t out_of_orderness_ms,
	size_t memory_bytes, stage_emit emit, struct bytes *out)
{
	struct stage_params params = {.plan = plan,
		.partition = 3,
		.out_of_orderness_ms = out_of_orderness_ms,
		.source_idle_ms = 1000,
		.memory_bytes = memory_bytes};
	struct stage *st;
	struct err err;

	if (stage_new(&st, &params, emit, out, &err))
		fail_msg("%s", err.text);
	return st;
}

struct stage *rig_stage(
	const struct window_plan *plan, uint64_t out_of_orderness_ms, size_t memory_bytes, struct bytes *out)
{
	return stage_make(plan, out_of_orderness_ms, memory_bytes, rig_collect_rows, out);
}

struct stage *rig_stage_raw(
	const struct window_plan *plan, uint64_t out_of_orderness_ms, size_t memory_bytes, struct bytes *out)
{
	return stage_make(plan, out_of_orderness_ms, memory_bytes, rig_collect, out);
}

void rig_run(struct stage *st, const struct rig_stream *s, uint32_t first, uint32_t end)
{
	struct err err;

	for (; first < end; first++) {
		struct journal_block b = rig_block(s, first);

		if (stage_block(st, &b, b.first_offset, &err))
			fail_msg("%s", err.text);
	}
}

struct stage *rig_reload(struct stage *st, const struct window_plan *plan, uint64_t out_of_orderness_ms,
	size_t memory_bytes, struct bytes *out)
{
	struct stage *fresh = rig_stage(plan, out_of_orderness_ms, memory_bytes, out);
	struct bytes saved = {0}, again = {0};
	uint32_t dropped;
	struct err err;

	stage_save(st, &saved);
	if (stage_load(fresh, saved.data, saved.bytes, &dropped, &err))
		fail_msg("%s", err.text);
	assert_int_equal(dropped, 0);
	stage_save(fresh, &again);
	assert_int_equal(saved.bytes, again.bytes);
	assert_memory_equal(saved.data, again.data, saved.bytes);
	bytes_free(&saved);
	bytes_free(&again);
	stage_free(st);
	return fresh;
}

void rig_check_reload(const struct rig_stream *s, const struct window_plan *plan,
	uint64_t out_of_orderness_ms, size_t memory_bytes, uint64_t *seed)
{
	struct bytes out[2] = {{0}, {0}}, end[2] = {{0}, {0}};
	struct stage *st[2];

	for (int i = 0; i < 2; i++)
		st[i] = rig_stage(plan, out_of_orderness_ms, memory_bytes, &out[i]);
	rig_run(st[0], s, 0, s->blocks);
	for (uint32_t at = 0, next; at < s->blocks; at = next) {
		next = at + 1 + stage_below(seed, s->blocks / 6 + 1);
		next = next > s->blocks ? s->blocks : next;
		rig_run(st[1], s, at, next);
		hash_process_key = hash_key_of(stage_random(seed));
		avx2_barred = stage_below(seed, 2);
		st[1] = rig_reload(st[1], plan, out_of_orderness_ms, memory_bytes, &out[1]);
	}
	avx2_barred = false;
	assert_int_equal(out[0].bytes, out[1].bytes);
	assert_memory_equal(out[0].data, out[1].data, out[0].bytes);
	for (int i = 0; i < 2; i++) {
		rig_check_conservation(st[i]);
		stage_save(st[i], &end[i]);
		stage_free(st[i]);
	}
	assert_int_equal(end[0].bytes, end[1].bytes);
	assert_memory_equal(end[0].data, end[1].data, end[0].bytes);
	for (int i = 0; i < 2; i++) {
		bytes_free(&out[i]);
		bytes_free(&end[i]);
	}
}

/* ---- what came out ---- */
const struct record *rig_next(const struct bytes *out, size_t *at)
{
	const struct record *rec = (const struct record *)(out->data + *at);

	if (*at == out->bytes)
		return NULL;
	assert_true(record_valid(rec, out->bytes - *at));
	assert_true(row_valid(rec));
	*at += rec->bytes;
	return rec;
}

void rig_check_conservation(const struct stage *st)
{
	const struct stage_stats *s = stage_stats(st);

	for (uint32_t i = 0; i < s->window_count; i++)
		assert_int_equal(s->window[i].events + s->window[i].filtered + s->window[i].late, s->events);
}
