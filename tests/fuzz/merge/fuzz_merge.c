/* Records of any bytes into the merge, and saves of any bytes: they are refused, or what comes out is whole,
 * and a save loads again as it was.
 *
 * Input: if the first byte is odd the rest is a save. Else instructions of a byte each, with what they need
 * behind them: rows in words, alone or several in a record, records in bytes, marks, also with definitions,
 * runs, a save and load.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agg.h"
#include "cursor.h"
#include "merge.h"
#include "row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARTS 3
#define DEFS 3

static struct window_def def[DEFS];
static struct bytes cells[DEFS][4]; /* good ones, so that folding is reached */

/* What a merge that was loaded is fed: rows of each window in all partitions at step 63, marks, a run. */
static const uint8_t after_load[] = "\004\000\075\077\001\004\001\175\077\001\014\001\175\077\002"
				    "\024\002\275\077\003\001\100\011\100\021\100\002\003";

static const struct window_def *find(void *arg, uint64_t uid)
{
	(void)arg;
	return uid < DEFS ? &def[uid] : NULL;
}

static int emit(void *arg, const struct record *rec)
{
	(void)arg;
	if (!record_valid(rec, rec->bytes) || !row_valid(rec))
		abort();
	return 0;
}

static void setup(void)
{
	static const char *const aggregates[DEFS] = {
		"count", "count, avg(metric), last(user_id)", "count, max(amount)"};
	static const char *const anomaly[DEFS] = {
		"zscore(count,5,1);ewma(count,0.5,1)", "zscore(avg_metric,5,1)", "seasonal(count,4s,1)"};

	for (uint32_t i = 0; i < DEFS; i++) {
		struct agg_arena *a = agg_arena_new(1 << 20);
		struct err err;
		uint64_t cell[512];

		def[i] = (struct window_def){.uid = i,
			.kind = i == 2 ? WINDOW_HOPPING : WINDOW_TUMBLING,
			.size_ms = 2000,
			.slide_ms = 1000,
			.lateness_ms = i ? 3000 : 0,
			.group_count = 1,
			.keys_max = 5};
		def[i].group[0] = FIELD_source;
		memcpy(def[i].name, "fuzz", 5);
		memcpy(def[i].anomaly, anomaly[i], strlen(anomaly[i]) + 1);
		if (agg_set_parse(&def[i].aggs, aggregates[i], &err) != 0 ||
			agg_set_cell_bytes(def[i].aggs) > sizeof cell || !a)
			abort();
		agg_cell_init(def[i].aggs, cell);
		for (int k = 0; k < 4; k++) { /* 0, 1, 2, 4 events */
			struct event ev = {
				.raw = (const uint8_t *)"u", .raw_bytes = 1, .type = EVENT_TYPE_platform};
			_Alignas(8) uint8_t rec[256];
			const struct agg_order order = {k, 0, 0};

			agg_cell_pack(def[i].aggs, cell, a, &cells[i][k]);
			ev.field_mask = FBIT(user_id);
			ev.field[FIELD_user_id] = (struct span){0, 1};
			record_write_event(rec, &ev, 1, 1, 0);
			for (int n = 0; n < (k == 2 ? 2 : 1); n++)
				agg_cell_add(def[i].aggs, cell, a, (const struct record *)rec, &order);
		}
		agg_arena_free(a);
	}
}

static struct merge *merge_start(void)
{
	static const struct merge_params params = {
		.window = find, .partitions = PARTS, .step_ms = 1000, .memory_bytes = 4000};
	struct merge *m;
	struct err err;

	if (merge_new(&m, &params, emit, NULL, &err) != 0)
		abort();
	return m;
}

/* A save of what is loads, and is the same again. */
static struct merge *again(struct merge *m)
{
	struct bytes saved = {0}, other = {0};
	struct merge *loaded = merge_start();
	struct err err;

	merge_save(m, &saved);
	if (saved.failed || merge_load(loaded, saved.data, saved.bytes, &err) != 0)
		abort();
	merge_save(loaded, &other);
	if (saved.bytes != other.bytes || memcmp(saved.data, other.data, saved.bytes) != 0)
		abort();
	for (uint32_t p = 0; p < PARTS; p++)
		if (merge_position(m, p) != merge_position(loaded, p))
			abort();
	bytes_free(&saved);
	bytes_free(&other);
	merge_free(m);
	return loaded;
}

struct run {
	struct merge *m;
	uint64_t next[PARTS]; /* offsets may jump, but never go back */
};

static int feed(struct run *run, uint32_t p, const struct bytes *rec)
{
	const struct record *r = (const struct record *)rec->data;
	struct err err;

	return record_valid(r, rec->bytes) ? merge_feed(run->m, p, r, run->next[p]++, &err) : 0;
}

static int row_op(struct run *run, uint32_t p, struct cursor *c)
{
	uint8_t which = cursor_u8(c), window = cursor_u8(c), step = cursor_u8(c), key = cursor_u8(c);
	struct row row = {.window_uid = which % (DEFS + (which > 250)),
		.end_ms = (window % 32) * 1000,
		.step_ms = (step % 64) * 1000,
		.revision = which >> 6,
		.flags = step >> 6,
		.key_bytes = key % 4 ? 3 : 0};
	const struct bytes *cell = &cells[row.window_uid % DEFS][window >> 6];
	const uint8_t key_bytes[3] = {1, 0, (uint8_t)('a' + key % 5)}, *agg = cell->data;
	struct bytes rec = {0};
	int rc;

	row.start_ms = row.end_ms - 2000;
	row.agg_bytes = (uint32_t)cell->bytes;
	if (key > 240) { /* aggregates of any bytes */
		row.agg_bytes = key % 16 < cursor_left(c) ? key % 16 : (uint32_t)cursor_left(c);
		agg = cursor_take(c, row.agg_bytes);
	}
	row_put(&rec, ROW_PARTIAL, &row, key_bytes, agg, NULL, key, step);
	rc = feed(run, p, &rec);
	bytes_free(&rec);
	return rc;
}

/* Rows of keys from `key` on in one record. */
static int many_op(struct run *run, uint32_t p, struct cursor *c)
{
	uint8_t which = cursor_u8(c), window = cursor_u8(c), step = cursor_u8(c), key = cursor_u8(c);
	struct row row = {.window_uid = which % DEFS,
		.end_ms = (window % 32) * 1000,
		.step_ms = (step % 64) * 1000,
		.revision = which >> 6};
	struct bytes rec = {0};
	int rc;

	row.start_ms = row.end_ms - 2000;
	row_many_begin(&rec, &row);
	for (uint32_t i = 0; i <= (key >> 4) % 5; i++) {
		uint8_t key_bytes[3] = {1, 0, (uint8_t)('a' + key % 5 + i)}, *to;
		const struct bytes *cell = &cells[row.window_uid][(window >> 6 ^ i) % 4];

		to = row_many_room(&rec, sizeof key_bytes, (uint32_t)cell->bytes);
		memcpy(to, cell->data, cell->bytes);
		row_many_put(&rec, key_bytes, sizeof key_bytes, step >> 6, to, to + cell->bytes);
	}
	row_many_end(&rec, step);
	rc = feed(run, p, &rec);
	bytes_free(&rec);
	return rc;
}

static int bytes_op(struct run *run, uint32_t p, struct cursor *c)
{
	size_t n = (size_t)cursor_u8(c) * 8;
	struct bytes rec = {0};
	struct record *r;
	int rc;

	n = n < cursor_left(c) ? n : cursor_left(c) / 8 * 8;
	if (n < sizeof *r)
		return 0;
	bytes_put(&rec, cursor_take(c, n), n);
	r = (struct record *)rec.data;
	r->bytes = (uint32_t)n;
	rc = feed(run, p, &rec);
	bytes_free(&rec);
	return rc;
}

/* named: with definitions, a bit each, and from when on they are whole (0: as before). */
static int mark_op(struct run *run, uint32_t p, struct cursor *c, bool named)
{
	uint8_t step = cursor_u8(c), which = named ? cursor_u8(c) : 0;
	int64_t step_ms = named && step == 255 ? INT64_MIN : step * 1000;
	struct row_definition list[DEFS];
	struct bytes rec = {0};
	uint32_t count = 0;
	int rc;

	for (uint32_t i = 0; i < DEFS; i++) {
		if (!(which >> i & 1))
			continue;
		list[count].uid = i;
		list[count].from_ms = cursor_u8(c) * 1000;
		if (!list[count].from_ms)
			list[count].from_ms = INT64_MIN;
		count++;
	}
	if (named)
		row_put_definitions(&rec, step_ms, 1, list, count);
	else
		row_put_mark(&rec, step_ms, 1);
	rc = feed(run, p, &rec);
	bytes_free(&rec);
	return rc;
}

static int step(struct run *run, struct cursor *c)
{
	uint8_t op = cursor_u8(c);
	uint32_t p = (op >> 3) % PARTS;
	struct err err;
	int rc;

	switch (op % 8) {
	case 0:
		return bytes_op(run, p, c);
	case 1:
		return mark_op(run, p, c, op >= 128);
	case 2:
	case 3:
		rc = merge_run(run->m, &err);
		if (!rc && merge_wants(run->m, -1) < 0)
			abort(); /* after a run somebody is always needed */
		if (!rc && op % 8 == 3)
			run->m = again(run->m);
		return rc;
	default:
		rc = op % 8 < 6 ? row_op(run, p, c) : many_op(run, p, c);
		return rc == -EBADMSG ? 0 : rc; /* a row out of order is passed over, as if it had not come */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(data, size);
	struct run run = {0};
	struct err err;

	if (!def[0].aggs)
		setup();
	run.m = merge_start();
	if (cursor_u8(&c) & 1) {
		size_t bytes = cursor_left(&c);
		uint8_t *copy = malloc(bytes + 1); /* of its own, so that reading beyond it is seen */
		int rc;

		memcpy(copy, c.at, bytes);
		rc = merge_load(run.m, copy, bytes, &err);
		free(copy);
		if (rc) {
			merge_free(run.m);
			return 0;
		}
		run.m = again(run.m);
		for (uint32_t p = 0; p < PARTS; p++)
			run.next[p] = merge_position(run.m, p);
		c = cursor_of(after_load, sizeof after_load - 1);
	}
	while (cursor_left(&c) && !step(&run, &c))
		;
	merge_free(run.m);
	return 0;
}
