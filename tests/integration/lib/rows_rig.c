/* See rows_rig.h. */
#include "rows_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "made_rows.h"

#define BASE_MS 1794960000000ll /* 2026-11-18T00:00:00Z */
#define MINUTE_MS 60000ll
#define DAY_MS 86400000ll
#define CELLS 8

static const char *const window_text[ROWS_WINDOWS] = {
	[ROWS_PAGES] =
		"name=pages kind=tumbling size=1m by=page,country lateness=1m rollup=1h aggregates='count, "
		"sum(amount), distinct(user_id), quantiles(metric), top(referrer,3), first(referrer)'",
	[ROWS_VISITS] = "name=visits kind=session gap=30m by=user_id aggregates='count, last(referrer)'",
	[ROWS_BUY] = "name=buy kind=funnel size=1h within=1h by=user_id steps='look: type = page_view; pay: "
		     "type = "
		     "transaction'",
	[ROWS_HIDDEN] = "name=hidden kind=tumbling size=1m kafka=false clickhouse=false",
	[ROWS_OLD] = "name=pages_old kind=tumbling size=1m by=page aggregates='count, max(metric)'",
};

static void die(const char *what, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	exit(1);
}

void rows_rig_windows(struct rows_rig *rig)
{
	struct err err;

	memset(rig, 0, sizeof *rig);
	for (int i = 0; i < ROWS_WINDOWS; i++) {
		if (window_def_parse(&rig->def[i], window_text[i], &err))
			die(window_text[i], &err);
		if (i != ROWS_OLD)
			rig->plan.def[rig->plan.count++] = rig->def[i];
	}
	rig->plan.step_ms = 1000;
	/* As a plan has them. */
	for (uint32_t i = 1; i < rig->plan.count; i++)
		for (uint32_t k = i; k > 0 && rig->plan.def[k]->uid < rig->plan.def[k - 1]->uid; k--) {
			struct window_def *def = rig->plan.def[k];

			rig->plan.def[k] = rig->plan.def[k - 1];
			rig->plan.def[k - 1] = def;
		}
}

static struct journal_params params_of(const char *dir, const char *name, bool derived)
{
	struct journal_params p = {.partitions = derived ? ROWS_PARTITIONS : ROWS_PARTITIONS - 1,
		.block_bytes = 131072,
		.block_age_us = 1000,
		.segment_bytes = 4 << 20,
		.segments_max = 64,
		.inflight = 4,
		.cache_blocks = 4,
		.out_of_orderness_ms = 10000,
		.tick_ms = derived ? 0 : 60000,
		.derived = derived};

	snprintf(p.dir, sizeof p.dir, "%s/%s", dir, name);
	snprintf(p.node, sizeof p.node, "%s", ROWS_NODE);
	return p;
}

void rows_rig_open(struct rows_rig *rig, const char *dir, struct sink_env *env)
{
	struct journal_params input = params_of(dir, "journal", false),
			      output = params_of(dir, "output", true);
	char store[300];
	struct err err;

	rows_rig_windows(rig);
	mkdir(dir, 0755);
	snprintf(store, sizeof store, "%s/windows", dir);
	if (window_store_open(&rig->store, store, &err))
		die("windows", &err);
	for (int i = 0; i < ROWS_WINDOWS; i++)
		if (window_store_put(rig->store, rig->def[i], &err))
			die("windows", &err);
	if (handoff_create(&rig->in, 1, ROWS_PARTITIONS - 1, 4, 65536, &err) ||
		handoff_create(&rig->out, 1, ROWS_PARTITIONS, 4, 65536, &err))
		die("handoff", &err);
	if (journal_open(&rig->input, &input, &err) || journal_open(&rig->output, &output, &err))
		die("journal", &err);
	/* What compares reads the whole log: a consumer without a position keeps it. */
	for (uint32_t p = 0; p < ROWS_PARTITIONS; p++)
		if (journal_consumer_add(rig->output, p, "comparison", &err) < 0)
			die("journal", &err);
	env->journal = rig->input;
	env->output = rig->output;
	env->plan = &rig->plan;
	env->windows = rig->store;
}

void rows_rig_start(struct rows_rig *rig)
{
	struct err err;

	if (journal_start(rig->input, &rig->in, &err) || journal_start(rig->output, &rig->out, &err))
		die("journal", &err);
}

void rows_rig_stop(struct rows_rig *rig)
{
	journal_stop(rig->input);
	journal_stop(rig->output);
}

void rows_rig_close(struct rows_rig *rig)
{
	journal_close(rig->output);
	journal_close(rig->input);
	handoff_free(&rig->out);
	handoff_free(&rig->in);
	window_store_close(rig->store);
	for (int i = 0; i < ROWS_WINDOWS; i++)
		window_def_free(rig->def[i]);
}

/* ---- records ---- */

/* The cell of a window with 5 k events, packed; made once. */
static const struct made_cell *cell_of(const struct rows_rig *rig, enum rows_window w, uint32_t k)
{
	static struct made_cell cell[ROWS_WINDOWS][CELLS];
	struct made_cell *c = &cell[w][k];

	if (c->def)
		return c;
	made_cell_open(c, rig->def[w]);
	for (uint64_t i = 0; i < 5u * (k + 1); i++)
		made_cell_add(c, k * 1000 + i);
	made_cell_pack(c);
	return c;
}

static struct rows_record row_record(
	const struct rows_rig *rig, enum rows_window w, enum row_type type, uint64_t n, struct bytes *out)
{
	int64_t start = BASE_MS + (int64_t)(n / 40) * MINUTE_MS + (int64_t)(n % 3) * 16 * DAY_MS;
	bool revision = w == ROWS_PAGES && n % 20 == 17;
	uint32_t k = (uint32_t)(n % (CELLS - 1));
	char page[32];
	uint8_t key[64];
	uint32_t bytes;

	snprintf(page, sizeof page, "/page'%lu\\", n % 97);
	bytes = made_key_add(key, 0, w == ROWS_BUY ? "look" : page);
	if (w == ROWS_PAGES)
		bytes = made_key_add(key, bytes, n % 2 ? "DE" : NULL);
	/* A revision's whole is larger than its difference: who takes the wrong one counts wrong. */
	made_row(out, type, start, start + MINUTE_MS, key, w == ROWS_HIDDEN ? 0 : bytes,
		cell_of(rig, w, revision ? CELLS - 1 : k), revision ? cell_of(rig, w, k) : NULL);
	return (struct rows_record){w == ROWS_HIDDEN ? ROWS_SUPPRESSED : ROWS_ROW, w, 5 * ((int64_t)k + 1)};
}

static struct rows_record alert_record(const struct rows_rig *rig, uint64_t n, struct bytes *out)
{
	static const char *const text[4] = {"pages/zscore", "Unusual", "high", "k"};
	struct row_alert a = {.first_ms = BASE_MS,
		.last_ms = BASE_MS + (int64_t)n,
		.score = (double)n,
		.window_uid = n % 40 == 3 ? rig->def[ROWS_PAGES]->uid : 0,
		.evidence_count = 1,
		.evidence_total = 1,
		.rule_bytes = 12,
		.title_bytes = 7,
		.severity_bytes = 4,
		.key_bytes = 1};
	const struct row_evidence evidence = {1, 0, n};

	memcpy(a.id, &n, sizeof n);
	row_put_alert(out, &a, text, &evidence, BASE_MS);
	return (struct rows_record){.fate = ROWS_ALERTED};
}

static struct rows_record late_record(
	const struct rows_rig *rig, uint32_t partition, uint64_t n, struct bytes *out)
{
	static struct agg_record r;
	struct record *rec;
	char user[32];

	agg_record_start(&r);
	snprintf(user, sizeof user, "u%u-%lu", partition, n);
	agg_record_text(&r, FIELD_user_id, user, strlen(user));
	rec = (struct record *)agg_record_done(&r);
	rec->event_time_ms = BASE_MS + (int64_t)n;
	row_put_late(out, rec, rig->def[ROWS_PAGES]->uid, 7 * n);
	return (struct rows_record){.fate = ROWS_LATE};
}

struct rows_record rows_rig_record(
	const struct rows_rig *rig, uint32_t partition, uint64_t n, struct bytes *out)
{
	bytes_reset(out);
	if (n % 10 == 0) {
		row_put_mark(out, BASE_MS + (int64_t)n, BASE_MS);
		return (struct rows_record){.fate = ROWS_PASSED};
	}
	if (partition + 1 < ROWS_PARTITIONS) {
		struct rows_record r = {.fate = ROWS_PASSED};

		if (n % 10 == 5)
			return late_record(rig, partition, n, out);
		row_record(rig, ROWS_PAGES, ROW_PARTIAL, n, out);
		return r;
	}
	switch (n % 20) {
	case 3:
		return alert_record(rig, n, out);
	case 7:
		return row_record(rig, ROWS_VISITS, ROW_SESSION, n, out);
	case 9:
		return row_record(rig, ROWS_BUY, ROW_FUNNEL, n, out);
	case 11:
		return row_record(rig, ROWS_OLD, ROW_WINDOW, n, out);
	case 13:
		return row_record(rig, ROWS_HIDDEN, ROW_WINDOW, n, out);
	default:
		return row_record(rig, ROWS_PAGES, ROW_WINDOW, n, out);
	}
}

/* ---- feeding ---- */

static void nap_ms(uint32_t ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l}, NULL);
}

static struct batch *batch_open(struct rows_rig *rig, uint32_t partition)
{
	struct batch *b;

	while (!(b = batch_take_empty(handoff_lane(&rig->out, 0, partition))))
		nap_ms(1);
	b->generation = 0;
	b->receive_first_ms = b->receive_last_ms = BASE_MS;
	b->opened_ns = clock_mono_ns();
	b->watermark_base_ms = INT64_MIN;
	memset(b->drop_delta, 0, sizeof b->drop_delta);
	return b;
}

void rows_rig_feed(struct rows_rig *rig, uint64_t count, uint32_t pause_ms, const volatile sig_atomic_t *stop)
{
	uint64_t next[ROWS_PARTITIONS], end[ROWS_PARTITIONS];
	struct bytes record = {0};

	for (uint32_t p = 0; p < ROWS_PARTITIONS; p++) {
		next[p] = journal_durable_offset(rig->output, p);
		end[p] = next[p] + count;
	}
	for (uint32_t p = 0, full = 0; full < ROWS_PARTITIONS && !*stop; p = (p + 1) % ROWS_PARTITIONS) {
		struct batch *b;

		full = next[p] == end[p] ? full + 1 : 0;
		if (next[p] == end[p])
			continue;
		b = batch_open(rig, p);
		for (int i = 0; i < 64 && next[p] < end[p]; i++) {
			rows_rig_record(rig, p, next[p], &record);
			if (b->bytes + record.bytes > b->capacity)
				break;
			memcpy(b->data + b->bytes, record.data, record.bytes);
			b->bytes += (uint32_t)record.bytes;
			b->record_count++;
			next[p]++;
		}
		batch_hand_over(&rig->out, b);
		nap_ms(pause_ms);
	}
	bytes_free(&record);
}
