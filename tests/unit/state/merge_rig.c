/* See merge_rig.h. */
#include "merge_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 5
#define WINDOWS 12

uint64_t rig_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint32_t rig_below(uint64_t *seed, uint32_t n)
{
	return (uint32_t)(rig_random(seed) % n);
}

/* ---- definitions ---- */

struct window_def *rig_def(uint64_t uid, enum window_kind kind, int64_t size_ms, int64_t lateness_ms,
	enum field_id by, const char *aggregates, const char *anomaly)
{
	struct window_def *def = calloc(1, sizeof *def);
	struct err err;

	def->uid = uid;
	snprintf(def->name, sizeof def->name, "w%llu", (unsigned long long)uid);
	def->kind = kind;
	def->size_ms = def->slide_ms = size_ms;
	def->lateness_ms = lateness_ms;
	def->group_count = by != FIELD_NONE;
	def->group[0] = by;
	def->keys_max = 1000;
	snprintf(def->anomaly, sizeof def->anomaly, "%s", anomaly);
	if (agg_set_parse(&def->aggs, aggregates, &err) != 0)
		fail_msg("%s", err.text);
	return def;
}

void rig_def_free(struct window_def *def)
{
	agg_set_free(def->aggs);
	free(def);
}

const struct window_def *rig_find(void *rig_defs, uint64_t uid)
{
	const struct rig_defs *defs = rig_defs;

	for (uint32_t i = 0; i < defs->count; i++)
		if (defs->def[i]->uid == uid)
			return defs->def[i];
	return NULL;
}

void rig_defs_free(struct rig_defs *defs)
{
	while (defs->count)
		rig_def_free(defs->def[--defs->count]);
}

uint32_t rig_key(uint8_t *out, const char *text)
{
	uint16_t n = (uint16_t)strlen(text);

	memcpy(out, &n, sizeof n);
	memcpy(out + sizeof n, text, n);
	return (uint32_t)sizeof n + n;
}

const char *rig_key_name(uint32_t key)
{
	static const char *const name[KEYS] = {"app", "web", "w", "device", "checkout"};

	return name[key];
}

/* ---- logs ---- */

const struct record **rig_records(const struct bytes *data, uint64_t *count)
{
	const struct record **at = calloc(data->bytes / sizeof(struct record) + 1, sizeof(struct record *));

	*count = 0;
	for (size_t i = 0; i < data->bytes; i += at[*count - 1]->bytes)
		at[(*count)++] = (const struct record *)(data->data + i);
	return at;
}

const struct record *rig_record(const struct rig_log *log, uint64_t offset)
{
	size_t at = 0;

	assert_true(offset < log->count);
	for (; offset; offset--)
		at += ((const struct record *)(log->data.data + at))->bytes;
	return (const struct record *)(log->data.data + at);
}

/* ---- random events ---- */

void rig_cell_add(const struct rig *rig, const struct rig_event *ev, void *cell, struct agg_arena *a)
{
	struct agg_order order = {ev->time_ms, ev->partition, ev->order};
	static struct state_sample s;
	char user[16];

	state_sample_init(&s, EVENT_TYPE_platform, ev->time_ms);
	snprintf(user, sizeof user, "u%u", ev->user);
	state_sample_text(&s, FIELD_user_id, user);
	state_sample_text(&s, FIELD_status, ev->bad ? "error" : "ok");
	state_sample_text(&s, FIELD_source, rig_key_name(ev->key));
	state_sample_number(&s, FIELD_metric, ev->metric);
	state_sample_decimal(&s, FIELD_amount, ev->amount);
	assert_true(agg_cell_add(
		rig->defs.def[ev->def]->aggs, cell, a, state_sample_record(&s, ev->time_ms), &order));
}

void rig_pack(const struct rig *rig, const struct rig_event *const *ev, uint32_t count, struct bytes *out)
{
	const struct agg_set *set = rig->defs.def[ev[0]->def]->aggs;
	struct agg_arena *a = agg_arena_new(8 << 20);
	void *cell = calloc(1, agg_set_cell_bytes(set));

	agg_cell_init(set, cell);
	for (uint32_t i = 0; i < count; i++)
		rig_cell_add(rig, ev[i], cell, a);
	bytes_reset(out);
	agg_cell_pack(set, cell, a, out);
	free(cell);
	agg_arena_free(a);
}

static int64_t round_up(int64_t ms)
{
	return (ms + RIG_STEP_MS - 1) / RIG_STEP_MS * RIG_STEP_MS;
}

static void event_add(struct rig *rig, const struct rig_event *model, uint64_t *seed)
{
	struct rig_event *ev;

	rig->event = realloc(rig->event, (rig->events + 1) * sizeof *rig->event);
	ev = &rig->event[rig->events];
	*ev = *model;
	ev->order = rig->events++;
	ev->time_ms = model->row.start_ms + rig_below(seed, 500);
	ev->metric = (double)rig_below(seed, 1000);
	ev->amount = (int64_t)rig_below(seed, 1u << 30) - (1 << 29);
	ev->user = rig_below(seed, 40);
	ev->bad = !rig_below(seed, 8);
	if (!rig_below(seed, 60))
		ev->metric += 5000;
}

/* What one partition has of one window and key: on time, and late at some steps after. */
static void share_make(struct rig *rig, struct rig_event *model, uint64_t *seed)
{
	const struct window_def *def = rig->defs.def[model->def];
	int64_t due = round_up(model->row.end_ms), limit = round_up(model->row.end_ms + def->lateness_ms);
	uint32_t revision = 0;

	model->row.step_ms = due;
	if (rig_below(seed, 3)) {
		model->row.revision = revision++;
		for (uint32_t n = 1 + rig_below(seed, 6); n; n--)
			event_add(rig, model, seed);
	}
	for (int64_t step = due + RIG_STEP_MS; step <= limit; step += RIG_STEP_MS) {
		if (rig_below(seed, 3))
			continue;
		model->row.step_ms = step; /* a first partial that is late may or may not say so */
		model->row.revision = revision ? revision : rig_below(seed, 2);
		revision = model->row.revision + 1;
		for (uint32_t n = 1 + rig_below(seed, 3); n; n--)
			event_add(rig, model, seed);
	}
}

static int event_order(const void *x, const void *y)
{
	const struct rig_event *a = x, *b = y;
	struct {
		struct row row;
		uint8_t key[64];
	} ra = {.row = a->row}, rb = {.row = b->row};
	int d;

	ra.row.revision = rb.row.revision = 0;
	ra.row.key_bytes = rig_key(ra.key, rig_key_name(a->key));
	rb.row.key_bytes = rig_key(rb.key, rig_key_name(b->key));
	d = row_compare(&ra.row, &rb.row);
	if (d)
		return d;
	if (a->partition != b->partition)
		return a->partition < b->partition ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static void log_mark(struct rig_log *log, int64_t step_ms, uint64_t *seed)
{
	row_put_mark(&log->data, step_ms, step_ms + rig_below(seed, 1000));
	log->count++;
}

/* What the merge passes over. */
static void log_alert(struct rig_log *log)
{
	static const char *const text[5] = {"rule", "title", "high", "user_id=u", "1"};
	const struct row_rule_alert a = {.head = {.evidence_count = 1,
						 .evidence_total = 1,
						 .rule_bytes = 4,
						 .title_bytes = 5,
						 .severity_bytes = 4,
						 .key_bytes = 9},
		.version_bytes = 1};
	const struct row_rule_evidence evidence = {.time_ms = 5, .event_id = {1}};

	row_put_rule_alert(&log->data, &a, text, &evidence, 5);
	log->count++;
}

static void log_late(struct rig_log *log)
{
	static struct state_sample s;

	state_sample_init(&s, EVENT_TYPE_platform, 5);
	state_sample_text(&s, FIELD_user_id, "late");
	row_put_late(&log->data, state_sample_record(&s, 9), 1, log->count);
	log->count++;
}

/* Rows of one partition in order, with marks behind some steps and late events anywhere. */
static void log_make(struct rig *rig, uint32_t partition, int64_t last_step, uint64_t *seed)
{
	struct rig_log *log = &rig->log[partition];
	struct bytes agg = {0};
	uint32_t i = 0;

	for (int64_t step = RIG_STEP_MS; step <= last_step; step += RIG_STEP_MS) {
		while (i < rig->events && rig->event[i].row.step_ms <= step) {
			const struct rig_event *group[64], *first = &rig->event[i];
			struct row row = first->row;
			uint8_t key[64];
			uint32_t n = 0;

			while (i < rig->events && rig->event[i].partition == first->partition &&
				rig->event[i].key == first->key && rig->event[i].def == first->def &&
				!memcmp(&rig->event[i].row, &first->row, sizeof row))
				group[n++] = &rig->event[i++];
			if (first->partition != partition)
				continue;
			if (!rig_below(seed, 10))
				log_late(log);
			if (!rig_below(seed, 10))
				log_alert(log);
			rig_pack(rig, group, n, &agg);
			row.key_bytes = rig_key(key, rig_key_name(first->key));
			row.agg_bytes = (uint32_t)agg.bytes;
			row.flags = rig_below(seed, 20) ? 0 : ROW_F_CUT;
			row_put(&log->data, ROW_PARTIAL, &row, key, agg.data, NULL, 1000 + first->key,
				step + rig_below(seed, 1000));
			log->count++;
		}
		if (rig_below(seed, 3))
			log_mark(log, step, seed);
	}
	log_mark(log, last_step + 10 * RIG_STEP_MS, seed);
	bytes_free(&agg);
}

void rig_make(struct rig *rig, uint64_t seed)
{
	int64_t last_step = 0;

	memset(rig, 0, sizeof *rig);
	rig->partitions = 1 + rig_below(&seed, RIG_PARTS);
	rig->defs.count = 3;
	rig->defs.def[0] = rig_def(11, WINDOW_TUMBLING, 2000, 0, FIELD_source,
		"count, sum(amount), avg(metric)", "zscore(count,5,1); ewma(sum_amount,0.5,1)");
	rig->defs.def[1] = rig_def(12, WINDOW_TUMBLING, 1500, 3200, FIELD_source,
		"count, sum(amount), min(metric), max(metric), last(user_id), error_rate, "
		"distinct(user_id), quantiles(metric)",
		"seasonal(count,3s,1.5);zscore(max_metric,6,2)");
	rig->defs.def[2] =
		rig_def(13, WINDOW_FUNNEL, 3000, 0, FIELD_source, "count, first(user_id), top(status,2)", "");
	for (uint32_t d = 0; d < rig->defs.count; d++)
		for (int64_t w = 0; w < WINDOWS; w++)
			for (uint32_t key = 0; key < KEYS; key++)
				for (uint32_t p = 0; p < rig->partitions; p++) {
					const struct window_def *def = rig->defs.def[d];
					struct rig_event model = {.def = d, .key = key, .partition = p};

					model.row.window_uid = def->uid;
					model.row.start_ms = w * def->size_ms;
					model.row.end_ms = (w + 1) * def->size_ms;
					if (rig_below(&seed, 3))
						share_make(rig, &model, &seed);
				}
	qsort(rig->event, rig->events, sizeof *rig->event, event_order);
	if (rig->events)
		last_step = rig->event[rig->events - 1].row.step_ms;
	for (uint32_t p = 0; p < rig->partitions; p++)
		log_make(rig, p, last_step, &seed);
}

void rig_free(struct rig *rig)
{
	for (uint32_t p = 0; p < RIG_PARTS; p++)
		bytes_free(&rig->log[p].data);
	free(rig->event);
	rig_defs_free(&rig->defs);
}

/* ---- driving a merge ---- */

static int rig_emit(void *arg, const struct record *rec)
{
	struct rig_merge *rm = arg;

	assert_true(record_valid(rec, rec->bytes));
	assert_true(row_valid(rec));
	bytes_put(&rm->out, rec, rec->bytes);
	rm->emitted++;
	return 0;
}

static void merge_open(struct rig_merge *rm, struct rig_defs *defs, uint32_t partitions, size_t memory_bytes)
{
	struct merge_params params = {.window = rig_find,
		.window_arg = defs,
		.partitions = partitions,
		.step_ms = RIG_STEP_MS,
		.memory_bytes = memory_bytes};
	struct err err;

	assert_int_equal(merge_new(&rm->m, &params, rig_emit, rm, &err), 0);
}

void rig_merge_start(struct rig_merge *rm, struct rig_defs *defs, uint32_t partitions, size_t memory_bytes)
{
	*rm = (struct rig_merge){0};
	merge_open(rm, defs, partitions, memory_bytes);
}

void rig_merge_stop(struct rig_merge *rm)
{
	merge_free(rm->m);
	bytes_free(&rm->out);
}

static void merge_run_good(struct rig_merge *rm)
{
	struct err err;

	if (merge_run(rm->m, &err) != 0)
		fail_msg("%s", err.text);
}

/* A record of a log, which can stand there. Returns whether there was room. */
static bool feed_good(struct rig_merge *rm, uint32_t partition, const struct record *rec, uint64_t offset)
{
	bool over = merge_passes_over(rec);
	int wants[RIG_PARTS], rc;
	struct err err;

	for (int i = 0; over && i < RIG_PARTS; i++)
		wants[i] = merge_wants(rm->m, i - 1);
	rc = merge_feed(rm->m, partition, rec, offset, &err);
	if (rc && rc != -EAGAIN)
		fail_msg("%s", err.text);
	for (int i = 0; over && i < RIG_PARTS; i++)
		assert_int_equal(merge_wants(rm->m, i - 1), wants[i]);
	return rc == 0;
}

/* While somebody is wanted no row waits of the steps that are said to be out. */
static void assert_shown(
	struct rig_merge *rm, const struct rig *rig, const struct record **const *at, const uint64_t *next)
{
	if (merge_wants(rm->m, -1) < 0)
		return;
	for (uint32_t p = 0; p < rig->partitions; p++) {
		uint64_t first = merge_position(rm->m, p);

		assert_true(first <= next[p]);
		if (first < next[p])
			assert_true(row_of(at[p][first])->step_ms > merge_stats(rm->m)->step_ms);
	}
}

/* Each log ends with the same mark. */
static void assert_all_out(struct rig_merge *rm, const struct rig *rig)
{
	const struct rig_log *log = &rig->log[0];

	merge_run_good(rm);
	for (uint32_t p = 0; p < rig->partitions; p++)
		assert_int_equal(merge_position(rm->m, p), rig->log[p].count); /* no row waits */
	assert_int_equal(merge_stats(rm->m)->step_ms, rig_record(log, log->count - 1)->event_time_ms);
}

void rig_merge_all(struct rig_merge *rm, const struct rig *rig)
{
	const struct record **at[RIG_PARTS];
	uint64_t next[RIG_PARTS] = {0}, count[RIG_PARTS];
	int want = -1, tried = 0;

	for (uint32_t p = 0; p < rig->partitions; p++)
		at[p] = rig_records(&rig->log[p].data, &count[p]);
	while (tried < (int)rig->partitions) { /* until all who are wanted have no more */
		want = merge_wants(rm->m, want);
		if (want < 0) {
			merge_run_good(rm);
			tried = 0;
		} else if (next[want] == count[want]) {
			tried++;
		} else {
			assert_true(feed_good(rm, (uint32_t)want, at[want][next[want]], next[want]));
			next[want]++;
			assert_shown(rm, rig, at, next);
			tried = 0;
		}
	}
	assert_all_out(rm, rig);
	for (uint32_t p = 0; p < rig->partitions; p++) {
		free(at[p]);
		assert_int_equal(next[p], count[p]);
	}
}

/* As after a crash: a fresh merge of the saved bytes, and everything from its positions again. */
static void merge_again(struct rig_merge *rm, struct rig *rig, size_t memory_bytes, uint64_t *next)
{
	struct bytes saved = {0}, again = {0};
	struct err err;

	merge_save(rm->m, &saved);
	assert_false(saved.failed);
	merge_free(rm->m);
	merge_open(rm, &rig->defs, rig->partitions, memory_bytes);
	if (merge_load(rm->m, saved.data, saved.bytes, &err) != 0)
		fail_msg("%s", err.text);
	merge_save(rm->m, &again);
	assert_int_equal(saved.bytes, again.bytes);
	assert_memory_equal(saved.data, again.data, saved.bytes);
	for (uint32_t p = 0; p < rig->partitions; p++)
		next[p] = merge_position(rm->m, p);
	bytes_free(&saved);
	bytes_free(&again);
}

void rig_merge_random(struct rig_merge *rm, struct rig *rig, size_t memory_bytes, uint64_t seed, bool saves)
{
	const struct record **at[RIG_PARTS];
	uint64_t next[RIG_PARTS] = {0}, count[RIG_PARTS];
	uint32_t done = 0;

	for (uint32_t p = 0; p < rig->partitions; p++)
		at[p] = rig_records(&rig->log[p].data, &count[p]);
	while (done < rig->partitions) {
		uint32_t p = rig_below(&seed, rig->partitions);

		for (uint32_t n = rig_below(&seed, 20); n && next[p] < count[p]; n--, next[p]++)
			if (!feed_good(rm, p, at[p][next[p]], next[p]))
				break;
		assert_shown(rm, rig, at, next);
		if (!rig_below(&seed, 3)) {
			merge_run_good(rm);
			if (saves && !rig_below(&seed, 8))
				merge_again(rm, rig, memory_bytes, next);
		}
		done = 0;
		for (uint32_t i = 0; i < rig->partitions; i++)
			done += next[i] == count[i];
	}
	assert_all_out(rm, rig);
	for (uint32_t p = 0; p < rig->partitions; p++)
		free(at[p]);
}

int rig_feed_row(struct rig_merge *rm, uint32_t partition, const struct row *row, const char *key,
	const void *agg, uint64_t offset)
{
	struct bytes rec = {0};
	struct row full = *row;
	uint8_t packed_key[256];
	struct err err;
	int rc;

	full.key_bytes = rig_key(packed_key, key);
	row_put(&rec, ROW_PARTIAL, &full, packed_key, agg, NULL, 7, full.step_ms + 5);
	rc = merge_feed(rm->m, partition, (const struct record *)rec.data, offset, &err);
	bytes_free(&rec);
	return rc;
}

int rig_feed_mark(struct rig_merge *rm, uint32_t partition, int64_t step_ms, uint64_t offset)
{
	struct bytes rec = {0};
	struct err err;
	int rc;

	row_put_mark(&rec, step_ms, step_ms + 5);
	rc = merge_feed(rm->m, partition, (const struct record *)rec.data, offset, &err);
	bytes_free(&rec);
	return rc;
}

int rig_feed_definition(struct rig_merge *rm, uint32_t partition, int64_t step_ms, uint64_t uid,
	int64_t from_ms, uint64_t offset)
{
	const struct row_definition list = {uid, from_ms};
	struct bytes rec = {0};
	struct err err;
	int rc;

	row_put_definitions(&rec, step_ms, 5, &list, uid != 0);
	rc = merge_feed(rm->m, partition, (const struct record *)rec.data, offset, &err);
	bytes_free(&rec);
	return rc;
}

/* ---- by hand ---- */

void rig_hand_start(struct rig_hand *b, uint32_t partitions, int64_t lateness_ms, size_t memory_bytes)
{
	struct agg_arena *a = agg_arena_new(1 << 20);
	static struct state_sample s;
	struct agg_order order = {1, 0, 0};
	struct window_def *def;
	void *cell;

	memset(b, 0, sizeof *b);
	b->defs.count = 1;
	b->defs.def[0] = def = rig_def(RIG_HAND_UID, WINDOW_TUMBLING, RIG_STEP_MS, lateness_ms, FIELD_source,
		"count, avg(metric)", "zscore(count,5,3)");
	cell = calloc(1, agg_set_cell_bytes(def->aggs));
	agg_cell_init(def->aggs, cell);
	state_sample_init(&s, EVENT_TYPE_platform, 1);
	state_sample_text(&s, FIELD_user_id, "u");
	for (int i = 0; i < 40; i++) {
		agg_cell_pack(def->aggs, cell, a, &b->packed[i]);
		assert_true(agg_cell_add(def->aggs, cell, a, state_sample_record(&s, 1), &order));
	}
	free(cell);
	agg_arena_free(a);
	rig_merge_start(&b->rm, &b->defs, partitions, memory_bytes);
}

void rig_hand_stop(struct rig_hand *b)
{
	rig_merge_stop(&b->rm);
	for (int i = 0; i < 40; i++)
		bytes_free(&b->packed[i]);
	rig_defs_free(&b->defs);
}

int rig_hand_feed(struct rig_hand *b, uint32_t partition, int64_t w, const char *key, uint32_t n,
	int64_t step, uint32_t revision, uint64_t offset)
{
	struct row row = {.window_uid = RIG_HAND_UID,
		.start_ms = w * RIG_STEP_MS,
		.end_ms = (w + 1) * RIG_STEP_MS,
		.step_ms = (step ? step : w + 1) * RIG_STEP_MS,
		.revision = revision,
		.agg_bytes = (uint32_t)b->packed[n].bytes};

	return rig_feed_row(&b->rm, partition, &row, key, b->packed[n].data, offset);
}

uint64_t rig_hand_run(struct rig_hand *b)
{
	uint64_t before = b->rm.emitted;

	merge_run_good(&b->rm);
	return b->rm.emitted - before;
}

static int count_take(void *arg, const struct agg_value *v)
{
	*(uint64_t *)arg = v->u64;
	return 1;
}

uint64_t rig_count(const struct agg_set *set, const uint8_t *packed, size_t bytes)
{
	uint64_t count = 0;

	assert_int_equal(agg_values(set, packed, bytes, count_take, &count), 1);
	return count;
}
