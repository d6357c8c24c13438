/* The state and merge stages over the events of a file (perf/peers/flink, Event.java has its format): what
 * perf/peer_windows.py pairs with Flink. Journal blocks are made before the clock starts. Prints one line:
 * events, rows, checksum (sum over rows of a mix of start, end, key, count and sum of amounts, as the peer
 * does it), CPU time of the process, and what the stages hold when the last event of all partitions is in and
 * nothing has been closed for it: held = growth of the resident set, counted = their own account.
 * bench_windows FILE DEFINITION-AS-YAML PARTITIONS OUT_OF_ORDERNESS_MS [count|json|native] With `count` rows
 * are counted only, and the checksum is 0; with `json` and `native` they become what goes to Kafka and to
 * ClickHouse, of whose bytes the checksum is then. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agg_column.h"
#include "bench_util.h"
#include "bytes.h"
#include "ch_rows.h"
#include "hash.h"
#include "merge.h"
#include "row_json.h"
#include "stage.h"

#define BLOCK_BYTES (256u << 10)
#define TEXTS 5

struct partition {
	struct bytes data;  /* records of all blocks, back to back */
	struct bytes place; /* u64 pairs: start in data, record count, for each block */
	uint64_t open_from, open_count;
	struct bytes out; /* partial rows that the merge has not taken */
	size_t out_taken;
	uint64_t out_offset;
};

struct run {
	struct window_plan *plan;
	struct partition *part;
	uint32_t partitions;
	struct merge *merge;
	uint64_t events, rows, sum;
	int64_t last_ms;	/* greatest event time */
	uint64_t held, counted; /* bytes; held: of the process, until it is taken */
	bool held_taken;
	int (*look)(
		struct run *r, const struct record *rec); /* at a row; NULL: what they cost without that */
	struct ch_rows native;
	struct bytes text;
	struct agg_column column[2];
	uint32_t columns, count_column, sum_column; /* of `column`; UINT32_MAX: there is none */
};

static void die(const char *what, const struct err *err)
{
	fprintf(stderr, "bench_windows: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ---- events into blocks ---- */

static void block_close(struct partition *p)
{
	uint64_t place[2] = {p->open_from, p->open_count};

	if (!p->open_count)
		return;
	bytes_put(&p->place, place, sizeof place);
	p->open_from = p->data.bytes;
	p->open_count = 0;
}

static void event_add(struct run *r, const struct event *ev)
{
	uint32_t key_bytes = 0, bytes = record_bytes_of(ev);
	const uint8_t *key =
		ev->field_mask & FBIT(user_id) ? event_field(ev, FIELD_user_id, &key_bytes) : NULL;
	uint64_t hash = hash_bytes(key ? key : (const uint8_t *)"", key_bytes, 0);
	struct partition *p = &r->part[(uint32_t)(((__uint128_t)hash * r->partitions) >> 64)];
	uint8_t *to;

	if (p->data.bytes - p->open_from + bytes > BLOCK_BYTES)
		block_close(p);
	to = bytes_room(&p->data, bytes);
	if (!to)
		die("no memory", NULL);
	record_write_event(to, ev, hash, 4000000000000, 0);
	p->open_count++;
	r->events++;
	if (ev->event_time_ms > r->last_ms)
		r->last_ms = ev->event_time_ms;
}

static enum event_type type_of(const char *text, uint32_t bytes)
{
	enum event_type type = event_type_by_name(text, bytes);

	return type == EVENT_TYPE_NONE ? EVENT_TYPE_click : type;
}

/* One event of the file; returns where the next begins, 0 if it is cut. */
static size_t event_read(struct run *r, const uint8_t *data, size_t bytes, size_t at)
{
	static const enum field_id field[TEXTS] = {
		FIELD_user_id, FIELD_page, FIELD_country, FIELD_source, FIELD_NONE};
	struct event ev = {.raw = data + at + 32, .type = EVENT_TYPE_click};
	size_t p = at + 32;
	uint8_t tail[16];
	int64_t amount;
	double value;

	if (p > bytes)
		return 0;
	memcpy(&ev.event_time_ms, data + at, 8);
	memcpy(&amount, data + at + 16, 8);
	memcpy(&value, data + at + 24, 8);
	for (int i = 0; i < TEXTS; i++) {
		uint16_t length;

		if (p + 2 > bytes)
			return 0;
		memcpy(&length, data + p, 2);
		p += 2;
		if (length == 0xffff)
			continue;
		if (p + length > bytes)
			return 0;
		if (field[i] == FIELD_NONE) {
			ev.type = type_of((const char *)data + p, length);
		} else {
			ev.field_mask |= 1ull << field[i];
			ev.field[field[i]] = (struct span){(uint16_t)(p - at - 32), length};
		}
		p += length;
	}
	ev.raw_bytes = (uint32_t)(p - at - 32);
	ev.tail = tail;
	if (amount != INT64_MIN) {
		memcpy(tail, &amount, 8);
		ev.field[FIELD_amount] = (struct span){(uint16_t)ev.raw_bytes, 8};
		ev.field_mask |= FBIT(amount);
		ev.tail_bytes = 8;
	}
	if (!isnan(value)) {
		memcpy(tail + ev.tail_bytes, &value, 8);
		ev.field[FIELD_value] = (struct span){(uint16_t)(ev.raw_bytes + ev.tail_bytes), 8};
		ev.field_mask |= FBIT(value);
		ev.tail_bytes += 8;
	}
	event_add(r, &ev);
	return p;
}

static void events_load(struct run *r, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct bytes all = {0};
	size_t at = 0, n;

	if (!f)
		die(path, NULL);
	do {
		uint8_t *to = bytes_room(&all, 1u << 20);

		if (!to)
			die("no memory", NULL);
		n = fread(to, 1, 1u << 20, f);
		all.bytes -= (1u << 20) - n;
	} while (n);
	fclose(f);
	while (at < all.bytes) {
		at = event_read(r, all.data, all.bytes, at);
		if (!at)
			die("the file is cut off", NULL);
	}
	for (uint32_t p = 0; p < r->partitions; p++)
		block_close(&r->part[p]);
	bytes_free(&all);
}

/* ---- rows ---- */

/* A step of splitmix64. */
static uint64_t mix(uint64_t h, uint64_t v)
{
	uint64_t z = (h ^ v) + 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Java's hash of the key as the peer writes it: ASCII, parts separated, those that are absent marked. */
static int32_t key_hash(const struct row *row, uint32_t parts)
{
	uint32_t h = 0;

	for (uint32_t i = 0; i < parts; i++) {
		const uint8_t *data;
		uint32_t bytes;

		(void)row_key_part(row, i, &data, &bytes);
		if (i)
			h = 31 * h + 0x1f;
		if (!data)
			h = 31 * h + 0x1e;
		for (uint32_t k = 0; k < bytes; k++)
			h = 31 * h + data[k];
	}
	return (int32_t)h;
}

struct row_values {
	struct run *run;
	uint64_t count, sum;
};

static int value_take(void *arg, uint32_t index, const struct agg_column_value *v)
{
	struct row_values *values = arg;

	if (index == values->run->count_column)
		values->count = v->u64;
	if (index == values->run->sum_column)
		values->sum = (uint64_t)v->decimal;
	return 0;
}

static int values_look(struct run *r, const struct record *rec)
{
	static struct agg_register item[AGG_REGISTERS_MAX];
	const struct row *row = row_of(rec);
	const struct window_def *def = window_plan_find(r->plan, row->window_uid);
	struct row_values values = {.run = r};
	uint64_t h;

	(void)agg_column_values(
		def->aggs, r->column, r->columns, row_agg(row), row->agg_bytes, item, value_take, &values);
	h = mix((uint64_t)row->start_ms * 31 + (uint64_t)row->end_ms,
		(uint64_t)(int64_t)key_hash(row, def->group_count));
	r->sum += mix(h, values.count * 0x9e3779b97f4a7c15ull + values.sum);
	return 0;
}

static int json_look(struct run *r, const struct record *rec)
{
	struct err err;

	bytes_reset(&r->text);
	if (row_put_json(&r->text, rec, window_plan_find(r->plan, row_of(rec)->window_uid), "n", &err) ||
		r->text.failed)
		die("json", &err);
	r->sum = hash_bytes(r->text.data, r->text.bytes, r->sum);
	return 0;
}

static void native_end(struct run *r)
{
	for (uint32_t i = 0; i < r->native.block_count; i++) {
		bytes_reset(&r->text);
		if (native_block_write(&r->native.block[i]->native, &r->text))
			die("no memory", NULL);
		r->sum = hash_bytes(r->text.data, r->text.bytes, r->sum);
	}
	ch_rows_clear(&r->native);
}

static int native_look(struct run *r, const struct record *rec)
{
	struct err err;
	int rc = ch_rows_hold(&r->native, rec, r->rows, 0, &err);

	if (rc > 0) {
		native_end(r);
		rc = ch_rows_hold(&r->native, rec, r->rows, 0, &err);
	}
	if (rc)
		die("native", &err);
	return 0;
}

static int merged(void *arg, const struct record *rec)
{
	struct run *r = arg;

	if (rec->kind != RECORD_ROW || row_is_alert(rec))
		return 0;
	r->rows++;
	return r->look ? r->look(r, rec) : 0;
}

static void look_set(struct run *r, const char *how)
{
	r->look = !strcmp(how, "json")	   ? json_look
		  : !strcmp(how, "native") ? native_look
		  : !strcmp(how, "count")  ? NULL
					   : values_look;
	ch_rows_init(&r->native, "n", 1, 0, NULL);
	r->native.log = SINK_LOG_OUTPUT;
	r->native.plan = r->plan;
}

/* The two of a row's values that are looked at, by the names that the peer knows. */
static void columns_find(struct run *r)
{
	struct agg_column all[AGG_COLUMNS_MAX];
	uint32_t count = agg_columns(r->plan->def[0]->aggs, all);

	r->count_column = r->sum_column = UINT32_MAX;
	for (uint32_t i = 0; i < count; i++) {
		bool counts = !strcmp(all[i].name, "count");

		if (!counts && strcmp(all[i].name, "sum_amount"))
			continue;
		*(counts ? &r->count_column : &r->sum_column) = r->columns;
		r->column[r->columns++] = all[i];
	}
}

static int partial(void *arg, const struct record *rec)
{
	bytes_put(&((struct partition *)arg)->out, rec, rec->bytes);
	return 0;
}

/* What the merge has taken goes, so that new rows come where the cache is warm, as in a log's batches. */
static void rows_forget(struct partition *part)
{
	part->out.bytes -= part->out_taken;
	memmove(part->out.data, part->out.data + part->out_taken, part->out.bytes);
	part->out_taken = 0;
}

/* Hands over what the merge takes, until it takes no more. */
static void partials_merge(struct run *r)
{
	uint64_t taken;
	struct err err;

	do {
		taken = 0;
		for (uint32_t p = 0; p < r->partitions; p++) {
			struct partition *part = &r->part[p];
			int rc = 0;

			while (part->out_taken < part->out.bytes) {
				const struct record *rec =
					(const struct record *)(part->out.data + part->out_taken);

				rc = merge_feed(r->merge, p, rec, part->out_offset, &err);
				if (rc)
					break;
				part->out_offset++;
				part->out_taken += rec->bytes;
				taken++;
			}
			if (rc && rc != -EAGAIN)
				die("merge", &err);
			if (part->out_taken > part->out.bytes / 2) /* one is always ahead of the others */
				rows_forget(part);
		}
		if (merge_run(r->merge, &err))
			die("merge", &err);
	} while (taken);
}

static const struct window_def *def_of(void *arg, uint64_t uid)
{
	return window_plan_find(((struct run *)arg)->plan, uid);
}

/* ---- the run ---- */

static void held_take(struct run *r, struct stage **stage)
{
	r->held = bench_resident_bytes() - r->held;
	r->held_taken = true;
	for (uint32_t p = 0; p < r->partitions; p++)
		for (uint32_t i = 0; i < r->plan->count; i++)
			r->counted += stage_stats(stage[p])->window[i].memory_bytes;
}

/* Blocks of all partitions by turns, as they would come. Behind the last ones of all of them time goes on
 * second by second, so that windows close one after the other, as in a stream that does not end; then it
 * closes everything. */
#define ENDING 40
static void blocks_run(struct run *r, struct stage **stage)
{
	uint64_t next[64] = {0}, offset[64] = {0}, left = 1, unread;
	struct err err;

	while (left) {
		left = unread = 0;
		for (uint32_t p = 0; p < r->partitions; p++) {
			const struct partition *part = &r->part[p];
			const uint64_t *place = (const uint64_t *)part->place.data + 2 * next[p];
			uint64_t count = part->place.bytes / 16;
			struct journal_block block = {.partition = p,
				.first_offset = offset[p],
				.watermark_ms = INT64_MIN,
				.receive_last_ms = 1};

			if (next[p] > count + ENDING || (next[p] == count && !r->held_taken))
				continue;
			if (next[p] < count) {
				block.data = part->data.data + place[0];
				block.record_count = (uint32_t)place[1];
				block.bytes = (uint32_t)((next[p] + 1 < count ? place[2] : part->data.bytes) -
							 place[0]);
			} else {
				block.watermark_ms = next[p] < count + ENDING
							     ? r->last_ms + 1000 * (int64_t)(next[p] - count)
							     : 4000000000000;
			}
			if (stage_block(stage[p], &block, offset[p], &err))
				die("stage", &err);
			offset[p] += block.record_count;
			next[p]++;
			left++;
			unread += next[p] < count;
		}
		if (!unread && !r->held_taken) {
			held_take(r, stage);
			left++;
		}
		partials_merge(r);
	}
}

int main(int argc, char **argv)
{
	struct stage *stage[64];
	struct config *cfg = calloc(1, sizeof *cfg);
	struct run r = {0};
	struct merge_params mp = {.window = def_of, .window_arg = &r, .memory_bytes = 8ull << 30};
	uint64_t start, took;
	struct err err = {.text = ""};
	uint32_t partitions = argc >= 5 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;

	if (argc < 5 || argc > 6 || !cfg || !partitions || partitions > 64)
		die("usage: bench_windows FILE DEFINITION PARTITIONS OUT_OF_ORDERNESS_MS [count|json|native]",
			NULL);
	r.partitions = mp.partitions = partitions;
	config_defaults(cfg);
	if (config_parse(cfg, argv[2], strlen(argv[2]), "definition", &err) ||
		window_plan_make(&r.plan, cfg, &err))
		die("definition", &err);
	columns_find(&r);
	look_set(&r, argc == 6 ? argv[5] : "");
	r.part = calloc(r.partitions, sizeof *r.part);
	events_load(&r, argv[1]);
	mp.step_ms = r.plan->step_ms;
	if (merge_new(&r.merge, &mp, merged, &r, &err))
		die("merge", &err);
	r.held = bench_resident_bytes();
	for (uint32_t p = 0; p < r.partitions; p++) {
		struct stage_params sp = {.plan = r.plan,
			.partition = p,
			.out_of_orderness_ms = strtoull(argv[4], NULL, 10),
			.source_idle_ms = 60000,
			.memory_bytes = 8ull << 30};

		if (stage_new(&stage[p], &sp, partial, &r.part[p], &err))
			die("stage", &err);
	}
	start = cpu_ns();
	blocks_run(&r, stage);
	native_end(&r);
	took = cpu_ns() - start;
	if (getenv("BENCH_DEBUG"))
		for (uint32_t p = 0; p < r.partitions; p++)
			fprintf(stderr,
				"events %lu late %lu filtered %lu rows %lu marks %lu wm %ld step %ld\n",
				stage_stats(stage[p])->window[0].events,
				stage_stats(stage[p])->window[0].late,
				stage_stats(stage[p])->window[0].filtered, stage_stats(stage[p])->rows,
				stage_stats(stage[p])->marks, stage_stats(stage[p])->watermark_ms,
				stage_stats(stage[p])->step_ms);
	printf("events=%" PRIu64 " rows=%" PRIu64 " checksum=%016" PRIx64 " cpu_ns=%" PRIu64 " held=%" PRIu64
	       " counted=%" PRIu64 "\n",
		r.events, r.rows, r.sum, took, r.held, r.counted);
	return 0;
}
