/* Saved state of the stage: everything that later output depends on, and the counters. Canonical: keys in
 * order, cells packed. State thread of a partition.
 *
 *   u64 magic, u32 version, u32 partition; i64 watermark, step; u8 full; u64 input offset, records, events,
 *   late, rows, marks; u32 sources, of each: u16 port, u64 events, i64 highest event time, last receive time
 *   u32 windows, of each: u64 uid, u32 kind, u64 bytes that follow: counters, then what the kind has
 *
 * Little endian. Any bytes may be loaded; what cannot be is refused. */
#include <errno.h>

#include "stage_priv.h"

#define SAVE_MAGIC 0x3145474154534c53ull /* "SLSTAGE1" */
#define SAVE_VERSION 1u
#define COUNTERS 10u

static void counters_of(struct stage_window_stats *s, uint64_t *counter[COUNTERS])
{
	counter[0] = &s->events;
	counter[1] = &s->filtered;
	counter[2] = &s->late;
	counter[3] = &s->late_allowed;
	counter[4] = &s->late_panes;
	counter[5] = &s->rows;
	counter[6] = &s->revisions;
	counter[7] = &s->other;
	counter[8] = &s->cut;
	counter[9] = (uint64_t *)&s->closed_ms;
}

/* ---- parts that kinds use ---- */
void stage_put_cell(
	const struct stage_window *w, const void *cell, const struct agg_arena *arena, struct bytes *out)
{
	size_t at = out->bytes;
	uint32_t bytes;

	bytes_put_u32(out, 0);
	agg_cell_pack(w->def->aggs, cell, arena, out);
	if (out->failed)
		return;
	bytes = (uint32_t)(out->bytes - at - sizeof bytes);
	memcpy(out->data + at, &bytes, sizeof bytes);
}

bool stage_get_cell(const struct stage_window *w, void *cell, struct agg_arena *arena, struct cursor *c)
{
	uint32_t bytes = cursor_le32(c);
	const uint8_t *packed = cursor_take(c, bytes);

	return packed && !agg_cell_unpack(w->def->aggs, cell, arena, packed, bytes);
}

void stage_put_key(const struct keytab *kt, const struct keytab_entry *e, struct bytes *out)
{
	bytes_put_u16(out, e->flags & (KEYTAB_F_OTHER | KEYTAB_F_CUT));
	bytes_put_u16(out, e->key_bytes);
	bytes_put(out, keytab_key(kt, e), e->key_bytes);
}

bool stage_get_key(const struct stage_window *w, struct cursor *c, struct stage_pick *p, uint16_t *flags)
{
	uint8_t *to = w->st->keys;
	const uint8_t *head = cursor_take(c, 4), *key;
	uint16_t bytes;

	if (!head)
		return false;
	memcpy(flags, head, sizeof *flags);
	memcpy(&bytes, head + sizeof *flags, sizeof bytes);
	key = cursor_take(c, bytes);
	if (!key || *flags & ~(KEYTAB_F_OTHER | KEYTAB_F_CUT) || bytes > WINDOW_KEY_BYTES_MAX ||
		(*flags & KEYTAB_F_OTHER && bytes))
		return false;
	memset(to + bytes, 0, 8);
	memcpy(to, key, bytes);
	*p = (struct stage_pick){.key = to, .key_bytes = bytes, .tag = stage_tag(to, bytes)};
	return true;
}

/* ---- the whole ---- */
static void stats_save(const struct stage_stats *s, struct bytes *out)
{
	const uint64_t words[] = {s->input_offset, s->records, s->events, s->late, s->rows, s->marks};

	bytes_put(out, words, sizeof words);
	bytes_put_u32(out, s->source_count);
	for (uint32_t i = 0; i < s->source_count; i++) {
		bytes_put_u16(out, s->source[i].port);
		bytes_put_u64(out, s->source[i].events);
		bytes_put_i64(out, s->source[i].event_time_max_ms);
		bytes_put_i64(out, s->source[i].receive_last_ms);
	}
}

void stage_save(const struct stage *st, struct bytes *out)
{
	bytes_put_u64(out, SAVE_MAGIC);
	bytes_put_u32(out, SAVE_VERSION);
	bytes_put_u32(out, st->params.partition);
	bytes_put_i64(out, st->watermark_ms);
	bytes_put_i64(out, st->step_ms);
	bytes_put_u8(out, st->full);
	stats_save(&st->stats, out);
	bytes_put_u32(out, st->stats.window_count);
	for (uint32_t i = 0; i < st->stats.window_count; i++) {
		const struct stage_window *w = st->window[i];
		uint64_t *counter[COUNTERS], bytes;
		size_t at;

		bytes_put_u64(out, w->def->uid);
		bytes_put_u32(out, w->def->kind);
		at = out->bytes;
		bytes_put_u64(out, 0);
		counters_of(w->stats, counter);
		for (uint32_t k = 0; k < COUNTERS; k++)
			bytes_put_u64(out, *counter[k]);
		w->kind->save(w, out);
		if (out->failed)
			return;
		bytes = out->bytes - at - sizeof bytes;
		memcpy(out->data + at, &bytes, sizeof bytes);
	}
}

static bool stats_load(struct stage_stats *s, struct cursor *c)
{
	s->input_offset = cursor_le64(c);
	s->records = cursor_le64(c);
	s->events = cursor_le64(c);
	s->late = cursor_le64(c);
	s->rows = cursor_le64(c);
	s->marks = cursor_le64(c);
	s->source_count = cursor_le32(c);
	if (s->source_count > STAGE_SOURCES_MAX) {
		s->source_count = 0;
		return false;
	}
	for (uint32_t i = 0; i < s->source_count; i++) {
		const uint8_t *port = cursor_take(c, sizeof s->source[i].port);

		if (!port)
			return false;
		memcpy(&s->source[i].port, port, sizeof s->source[i].port);
		s->source[i].events = cursor_le64(c);
		s->source[i].event_time_max_ms = (int64_t)cursor_le64(c);
		s->source[i].receive_last_ms = (int64_t)cursor_le64(c);
	}
	return !c->failed;
}

static bool time_or_none(int64_t t)
{
	return t == STAGE_NO_TIME || (t >= -STAGE_TIME_MAX * 2 && t <= STAGE_TIME_MAX);
}

static bool head_load(struct stage *st, struct cursor *c, uint8_t *full)
{

	if (cursor_le64(c) != SAVE_MAGIC || cursor_le32(c) != SAVE_VERSION ||
		cursor_le32(c) != st->params.partition)
		return false;
	st->watermark_ms = st->stats.watermark_ms = (int64_t)cursor_le64(c);
	st->step_ms = st->stats.step_ms = (int64_t)cursor_le64(c);
	*full = cursor_u8(c);
	if (c->failed || *full > 1 || !time_or_none(st->watermark_ms) || !time_or_none(st->step_ms))
		return false;
	st->begun = true;
	return stats_load(&st->stats, c);
}

/* One window's part; *known: the plan has it. */
static bool window_load(struct stage *st, struct cursor *c, uint64_t *uid_before, bool *known)
{
	uint64_t uid = cursor_le64(c), bytes, *counter[COUNTERS];
	uint32_t kind = cursor_le32(c);
	const uint8_t *part;
	struct cursor in;

	bytes = cursor_le64(c);
	part = cursor_take(c, bytes);
	*known = false;
	if (!part || (*uid_before && uid <= *uid_before))
		return false;
	*uid_before = uid;
	in = cursor_of(part, bytes);
	for (uint32_t i = 0; i < st->stats.window_count; i++) {
		struct stage_window *w = st->window[i];

		if (w->def->uid != uid)
			continue;
		if ((uint32_t)w->def->kind != kind)
			return false;
		*known = true;
		counters_of(w->stats, counter);
		for (uint32_t k = 0; k < COUNTERS; k++)
			*counter[k] = cursor_le64(&in);
		return w->kind->load(w, &in) && !in.failed && !cursor_left(&in);
	}
	return true;
}

int stage_load(struct stage *st, const uint8_t *data, size_t bytes, uint32_t *dropped, struct err *err)
{
	struct cursor c = cursor_of(data, bytes);
	uint64_t uid = 0;
	uint32_t count;
	uint8_t full = 0;
	bool good;

	*dropped = 0;
	good = head_load(st, &c, &full);
	/* A definition that the saved state does not have begins here: what ends before is closed to it as
	 * well. */
	for (uint32_t i = 0; good && st->step_ms != STAGE_NO_TIME && i < st->stats.window_count; i++) {
		st->window[i]->kind->settle(st->window[i], st->step_ms);
		st->window[i]->stats->closed_ms = st->step_ms;
	}
	count = good ? cursor_le32(&c) : 0;
	good = good && !c.failed && count <= WINDOWS_MAX;
	for (uint32_t i = 0; i < count && good; i++) {
		bool known;

		good = window_load(st, &c, &uid, &known);
		*dropped += good && !known;
	}
	if (!good || c.failed || cursor_left(&c))
		return err_set(err, -EINVAL,
			"saved state of partition %u: not one that this version writes, or damaged",
			st->params.partition);
	st->full = full; /* from here on: what was saved had room */
	for (uint32_t i = 0; i < st->stats.window_count; i++)
		st->window[i]->kind->limit(st->window[i], stage_arena_bytes(st));
	return 0;
}
