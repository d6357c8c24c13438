/* Saved state of the stage: everything that later output depends on, and the counters. Canonical: keys in
 * order, cells packed. State thread of a partition.
 *
 *   u64 magic, u32 version, u32 partition; i64 watermark, step; u8 full; u64 input offset, records, events,
 *   late, rows, row records, marks; u32 sources, of each: u16 port, u64 events, i64 highest event time, last
 *   receive time
 *   u32 windows, of each: u64 uid, u32 kind, u64 bytes that follow: counters, then what the kind has
 *   from version 3 on: u64 bytes of what cep_save() gives, which follow; 0: no rules
 *
 * Little endian. Any bytes may be loaded; what cannot be is refused. */
#include <errno.h>

#include "pane.h"

#define SAVE_MAGIC 0x3145474154534c53ull /* "SLSTAGE1" */
#define SAVE_VERSION 3u
#define SAVE_VERSION_RULES 3u	/* the first with rules */
#define SAVE_VERSION_RECORDS 2u /* the first with records of many rows */
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
	stage_put_key_flags(kt, e, e->flags & (KEYTAB_F_OTHER | KEYTAB_F_CUT), out);
}

void stage_put_key_flags(
	const struct keytab *kt, const struct keytab_entry *e, uint16_t flags, struct bytes *out)
{
	bytes_put_u16(out, flags);
	bytes_put_u16(out, e->key_bytes);
	bytes_put(out, keytab_key(kt, e), e->key_bytes);
}

bool stage_get_key(const struct stage_window *w, struct cursor *c, struct stage_pick *p, uint8_t *flags)
{
	uint8_t *to = w->st->keys;
	const uint8_t *head = cursor_take(c, 4), *key;
	uint16_t bytes, word;

	if (!head)
		return false;
	memcpy(&word, head, sizeof word);
	memcpy(&bytes, head + sizeof word, sizeof bytes);
	key = cursor_take(c, bytes);
	if (!key || word & ~(KEYTAB_F_OTHER | KEYTAB_F_CUT) || bytes > WINDOW_KEY_BYTES_MAX)
		return false;
	/* It comes out in rows, which nobody takes with another key. Without fields there is one key. */
	if (word & KEYTAB_F_OTHER ? bytes || !w->def->group_count
				  : row_key_parts(key, bytes) != (int)w->def->group_count)
		return false;
	*flags = (uint8_t)word;
	memset(to + bytes, 0, 8);
	memcpy(to, key, bytes);
	*p = (struct stage_pick){.key = to, .key_bytes = bytes, .tag = stage_tag(to, bytes)};
	return true;
}

bool stage_gathers(const struct stage_window *w, const struct stage_pick *p, uint8_t flags)
{
	const struct stage_gather *g = w->st->gather;
	const uint32_t head = sizeof(uint16_t); /* length of the field */
	uint64_t hash;

	if (!g)
		return true;
	if (flags & KEYTAB_F_OTHER || p->key_bytes < head)
		return g->panes;
	hash = hash_bytes(p->key + head, p->key_bytes - head, 0);
	return hash_partition(hash, g->partitions) == w->st->params.partition;
}

/* ---- the whole ---- */
static void stats_save(const struct stage_stats *s, struct bytes *out)
{
	const uint64_t words[] = {
		s->input_offset, s->records, s->events, s->late, s->rows, s->row_records, s->marks};

	bytes_put(out, words, sizeof words);
	bytes_put_u32(out, s->source_count);
	for (uint32_t i = 0; i < s->source_count; i++) {
		bytes_put_u16(out, s->source[i].port);
		bytes_put_u64(out, s->source[i].events);
		bytes_put_i64(out, s->source[i].event_time_max_ms);
		bytes_put_i64(out, s->source[i].receive_last_ms);
	}
}

static void rules_save(const struct stage *st, struct bytes *out)
{
	size_t at = out->bytes;
	uint64_t bytes;

	bytes_put_u64(out, 0);
	if (!st->rules || !cep_generation(st->rules))
		return;
	cep_save(st->rules, out);
	if (out->failed)
		return;
	bytes = out->bytes - at - sizeof bytes;
	memcpy(out->data + at, &bytes, sizeof bytes);
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
	rules_save(st, out);
}

static bool stats_load(struct stage_stats *s, struct cursor *c, uint32_t version)
{
	s->input_offset = cursor_le64(c);
	s->records = cursor_le64(c);
	s->events = cursor_le64(c);
	s->late = cursor_le64(c);
	s->rows = cursor_le64(c);
	s->row_records = version < SAVE_VERSION_RECORDS ? 0 : cursor_le64(c);
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

static bool head_load(struct stage *st, struct cursor *c, uint8_t *full, uint32_t *version)
{
	uint32_t partition;

	if (cursor_le64(c) != SAVE_MAGIC)
		return false;
	*version = cursor_le32(c);
	if (!*version || *version > SAVE_VERSION)
		return false;
	partition = cursor_le32(c);
	if (!st->gather && partition != st->params.partition)
		return false;
	st->watermark_ms = st->stats.watermark_ms = (int64_t)cursor_le64(c);
	st->step_ms = st->stats.step_ms = (int64_t)cursor_le64(c);
	*full = cursor_u8(c);
	if (c->failed || *full > 1 || !time_or_none(st->watermark_ms) || !time_or_none(st->step_ms))
		return false;
	st->begun = true;
	return stats_load(&st->stats, c, *version);
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
		w->begins = false;
		counters_of(w->stats, counter);
		for (uint32_t k = 0; k < COUNTERS; k++) {
			uint64_t n = cursor_le64(&in);

			if (!st->gather || k == COUNTERS - 1)
				*counter[k] = n;
			else if (st->gather->panes)
				*counter[k] += n;
		}
		if (st->gather && !st->gather->panes && (kind == WINDOW_TUMBLING || kind == WINDOW_HOPPING))
			return !in.failed;
		return w->kind->load(w, &in) && !in.failed && !cursor_left(&in);
	}
	return true;
}

static int load_bad(const struct stage *st, struct err *err)
{
	return err_set(err, -EINVAL,
		"saved state of partition %u: not one that this version writes, or damaged",
		st->params.partition);
}

/* A definition that the saved state does not have begins here: what ends before is closed to it as well. */
static void windows_settle(struct stage *st)
{
	for (uint32_t i = 0; st->step_ms != STAGE_NO_TIME && i < st->stats.window_count; i++) {
		st->window[i]->kind->settle(st->window[i], st->step_ms);
		st->window[i]->stats->closed_ms = st->step_ms;
	}
}

static bool windows_load(struct stage *st, struct cursor *c, uint32_t *dropped)
{
	uint32_t count = cursor_le32(c);
	bool good = !c->failed && count <= WINDOWS_MAX;
	uint64_t uid = 0;

	st->panes_max = PANE_LIST_LOAD_MAX;
	for (uint32_t i = 0; i < st->stats.window_count; i++)
		st->window[i]->begins = true;
	for (uint32_t i = 0; i < count && good; i++) {
		bool known;

		good = window_load(st, c, &uid, &known);
		*dropped += good && !known;
	}
	st->panes_max = PANE_LIST_MAX;
	return good && !c->failed;
}

/* The part of the rules, behind the windows; NULL if these bytes do not go so far. */
static const uint8_t *rules_part(struct cursor *c, uint32_t version, uint64_t *bytes)
{
	struct stage_stats ignored = {0};
	uint32_t count;

	(void)cursor_take(c, sizeof(uint32_t) + 2 * sizeof(int64_t) + sizeof(uint8_t)); /* see head_load() */
	(void)stats_load(&ignored, c, version);
	count = cursor_le32(c);
	for (uint32_t i = 0; i < count && !c->failed; i++) {
		(void)cursor_take(c, sizeof(uint64_t) + sizeof(uint32_t)); /* see window_load() */
		*bytes = cursor_le64(c);
		(void)cursor_take(c, *bytes);
	}
	*bytes = version < SAVE_VERSION_RULES ? 0 : cursor_le64(c);
	return cursor_take(c, *bytes);
}

bool stage_saved_newer(const uint8_t *data, size_t bytes, uint32_t *is, uint32_t *reads)
{
	struct cursor c = cursor_of(data, bytes);
	const uint8_t *rules;
	uint64_t rules_bytes;

	if (cursor_le64(&c) != SAVE_MAGIC)
		return false;
	*is = cursor_le32(&c);
	*reads = SAVE_VERSION;
	if (c.failed || *is > SAVE_VERSION)
		return !c.failed;
	rules = rules_part(&c, *is, &rules_bytes);
	return rules && cep_saved_newer(rules, rules_bytes, is, reads);
}

/* A state with rules needs a stage that can have some: their alerts would be missing. */
static int rules_load(struct stage *st, struct cursor *c, uint32_t version, const struct cep_gather *gather,
	struct err *err)
{
	uint64_t bytes = version < SAVE_VERSION_RULES ? 0 : cursor_le64(c);
	const uint8_t *part = cursor_take(c, bytes);

	if (!part || cursor_left(c))
		return load_bad(st, err);
	if (!bytes || (!st->rules && cep_saved_empty(part, bytes)))
		return 0;
	if (!st->rules)
		return err_set(err, -EINVAL,
			"saved state of partition %u: it has rules, but there are no rulesets",
			st->params.partition);
	return gather ? cep_load_more(st->rules, gather, part, bytes, err)
		      : cep_load(st->rules, part, bytes, err);
}

static void windows_limit(struct stage *st)
{
	for (uint32_t i = 0; i < st->stats.window_count; i++)
		st->window[i]->kind->limit(st->window[i], stage_arena_bytes(st));
}

int stage_load(struct stage *st, const uint8_t *data, size_t bytes, uint32_t *dropped, struct err *err)
{
	struct cursor c = cursor_of(data, bytes);
	uint8_t full = 0;
	uint32_t version;
	int rc;

	*dropped = 0;
	if (!head_load(st, &c, &full, &version))
		return load_bad(st, err);
	windows_settle(st);
	if (!windows_load(st, &c, dropped))
		return load_bad(st, err);
	rc = rules_load(st, &c, version, NULL, err);
	if (rc)
		return rc;
	st->full = full; /* from here on: what was saved had room */
	windows_limit(st);
	return 0;
}

/* ---- another number of partitions ---- */

/* Puts together the numbers of the states before (`sum`) and of this one, which st->stats has. */
static void stats_gather(struct stage *st, struct stage_stats *sum)
{
	const struct stage_stats *s = &st->stats;
	bool counts = st->gather->panes;

	sum->records += counts ? s->records : 0;
	sum->events += counts ? s->events : 0;
	sum->late += counts ? s->late : 0;
	sum->rows += counts ? s->rows : 0;
	sum->row_records += counts ? s->row_records : 0;
	sum->marks += counts ? s->marks : 0;
	for (uint32_t i = 0; i < s->source_count; i++) {
		const struct stage_source *from = &s->source[i];
		uint32_t k = 0;

		while (k < sum->source_count && sum->source[k].port != from->port)
			k++;
		if (k == STAGE_SOURCES_MAX)
			continue;
		if (k == sum->source_count) {
			sum->source[sum->source_count++] = *from;
			sum->source[k].events = 0;
		}
		sum->source[k].events += counts ? from->events : 0;
		if (from->event_time_max_ms > sum->source[k].event_time_max_ms)
			sum->source[k].event_time_max_ms = from->event_time_max_ms;
		if (from->receive_last_ms > sum->source[k].receive_last_ms)
			sum->source[k].receive_last_ms = from->receive_last_ms;
	}
	sum->watermark_ms = st->watermark_ms;
	sum->step_ms = st->step_ms;
	st->stats = *sum;
}

static int gather_one(
	struct stage *st, const struct stage_saved *saved, const struct cep_gather *rules, struct err *err)
{
	bool first = rules->index == 0;
	struct cursor c = cursor_of(saved->data, saved->bytes);
	int64_t watermark_ms = st->watermark_ms, step_ms = st->step_ms;
	struct stage_stats sum = st->stats;
	uint32_t dropped = 0, version;
	uint8_t full;

	if (!head_load(st, &c, &full, &version))
		return load_bad(st, err);
	if (!first && st->step_ms != step_ms)
		return err_set(err, -EINVAL, "saved states stand at different steps: %lld ms and %lld ms",
			(long long)step_ms, (long long)st->step_ms);
	if (!first && watermark_ms < st->watermark_ms)
		st->watermark_ms = watermark_ms;
	stats_gather(st, &sum);
	if (first)
		windows_settle(st);
	return windows_load(st, &c, &dropped) ? rules_load(st, &c, version, rules, err) : load_bad(st, err);
}

int stage_gather(struct stage *st, const struct stage_saved *saved, uint32_t count, uint32_t partitions,
	struct err *err)
{
	struct stage_gather gather = {.partitions = partitions};
	int rc = 0;

	st->gather = &gather;
	for (uint32_t i = 0; i < count && !rc; i++) {
		struct cep_gather rules = {partitions, i, count, i % partitions == st->params.partition};

		gather.panes = rules.counts;
		rc = gather_one(st, &saved[i], &rules, err);
	}
	st->gather = NULL;
	if (!rc && st->rules)
		cep_gather_end(st->rules);
	windows_limit(st);
	return rc;
}
