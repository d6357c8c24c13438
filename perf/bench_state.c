/* Cost of the state stage: per event in tumbling windows of 1 K to 1 M keys and in hopping ones with their
 * rows, memory per key, saves and loads. Records are of the size of real ones and lie in the L3 cache, where
 * a journal block that was just written is; keys are at random. One thread; CPU time. */
#include <inttypes.h>

#include "bench_util.h"
#include "row.h"
#include "stage.h"

#define BLOCKS 32u /* of 320 KB: more than a second-level cache holds */
#define BLOCK_RECORDS 1000u
#define START_MS 1700000000000ll
#define RAW_BYTES 190u

/* A platform event: fixed layout, so that the next round can be written over the last. */
struct maker {
	uint8_t *bytes;
	uint32_t record_bytes, page_at, user_at, metric_at;
	uint64_t seed, offset, keys, users;
	double spread; /* metrics lie between 1 and it */
	int64_t now_ms;
	uint64_t events; /* of a millisecond */
};

static uint32_t blocks = BLOCKS; /* of a round */

/* CPU time of this thread: what else runs on the machine costs only cache. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

struct counted {
	uint64_t rows, bytes;
};

static int count_row(void *arg, const struct record *rec)
{
	struct counted *c = arg;

	c->rows += rec->kind == RECORD_ROW;
	c->bytes += rec->bytes;
	return 0;
}

static void maker_init(struct maker *m, uint64_t keys, uint64_t users, double spread, uint64_t events_per_ms)
{
	static uint8_t raw[RAW_BYTES];
	double metric = 1;
	struct event ev = {
		.raw = raw, .tail = (const uint8_t *)&metric, .raw_bytes = RAW_BYTES, .tail_bytes = 8};
	const struct {
		enum field_id id;
		uint16_t offset, bytes;
	} field[] = {{FIELD_event_id, 13, 36}, {FIELD_user_id, 100, 9}, {FIELD_ts, 60, 13},
		{FIELD_page, 120, 11}, {FIELD_source, 80, 8}, {FIELD_attributes, 95, 90},
		{FIELD_metric, RAW_BYTES, 8}, {FIELD_status, 170, 2}};
	const struct record *rec;

	memset(raw, 'x', sizeof raw);
	ev.type = EVENT_TYPE_platform;
	for (size_t i = 0; i < sizeof field / sizeof *field; i++) {
		ev.field_mask |= 1ull << field[i].id;
		ev.field[field[i].id] = (struct span){field[i].offset, field[i].bytes};
	}
	*m = (struct maker){
		.seed = 42, .keys = keys, .users = users, .now_ms = START_MS, .events = events_per_ms};
	m->spread = spread;
	m->record_bytes = record_bytes_of(&ev);
	m->bytes = malloc((size_t)blocks * BLOCK_RECORDS * m->record_bytes);
	if (!m->bytes)
		abort();
	for (uint32_t i = 0; i < blocks * BLOCK_RECORDS; i++)
		record_write_event(m->bytes + (size_t)i * m->record_bytes, &ev, 7, START_MS, 0);
	rec = (const struct record *)m->bytes;
	m->user_at = (uint32_t)(record_payload(rec) - m->bytes) + 100;
	m->page_at = m->user_at + 20;
	m->metric_at = m->user_at - 100 + RAW_BYTES;
}

static void digits_put(uint8_t *p, char first, uint32_t digits, uint64_t v)
{
	p[0] = (uint8_t)first;
	for (uint32_t i = digits; i; i--, v /= 10)
		p[i] = (uint8_t)('0' + v % 10);
}

static void maker_round(struct maker *m, bool ordered)
{
	for (uint32_t i = 0; i < blocks * BLOCK_RECORDS; i++) {
		uint8_t *p = m->bytes + (size_t)i * m->record_bytes;
		struct record *rec = (struct record *)p;
		uint64_t r = bench_random(&m->seed),
			 key = ordered ? (m->offset + i) % m->keys : (r >> 32) % m->keys;
		double metric = 1 + (double)(r & 0xffff) / 65536 * (m->spread - 1);

		rec->event_time_ms = rec->receive_time_ms =
			m->now_ms + (int64_t)((m->offset + i) / m->events);
		digits_put(p + m->page_at, '/', 10, key);
		digits_put(p + m->user_at, 'u', 8, bench_random(&m->seed) % m->users);
		memcpy(p + m->metric_at, &metric, sizeof metric);
	}
}

/* Runs the stage over the next block; ns. */
static __attribute__((noinline)) uint64_t block_take(
	struct maker *m, struct stage *st, const uint8_t *data, uint32_t bytes)
{
	uint64_t start = cpu_ns();
	struct journal_block block = {.first_offset = m->offset,
		.record_count = BLOCK_RECORDS,
		.bytes = bytes,
		.receive_last_ms = m->now_ms,
		.watermark_ms = INT64_MIN,
		.data = data};
	struct err err;

	if (stage_block(st, &block, block.first_offset, &err))
		abort();
	m->offset += BLOCK_RECORDS;
	return cpu_ns() - start;
}

/* Over what maker_round() made. */
static __attribute__((noinline)) uint64_t round_take(struct maker *m, struct stage *st)
{
	uint32_t bytes = BLOCK_RECORDS * m->record_bytes;
	uint64_t start = cpu_ns();

	for (uint32_t b = 0; b < blocks; b++)
		block_take(m, st, m->bytes + (size_t)b * bytes, bytes);
	return cpu_ns() - start;
}

static struct window_plan *plan_make(const char *text)
{
	struct window_plan *plan = calloc(1, sizeof *plan);
	struct err err;

	if (!plan)
		abort();
	plan->step_ms = 1000;
	plan->count = 1;
	if (window_def_parse(&plan->def[0], text, &err)) {
		fprintf(stderr, "%s: %s\n", text, err.text);
		exit(1);
	}
	return plan;
}

static struct stage *stage_make(const struct window_plan *plan, struct counted *counted)
{
	struct stage_params params = {.plan = plan, .out_of_orderness_ms = 0, .memory_bytes = SIZE_MAX};
	struct stage *st;
	struct err err;

	if (stage_new(&st, &params, count_row, counted, &err))
		abort();
	return st;
}

static int64_t floor_to(int64_t t, int64_t unit)
{
	return t / unit * unit;
}

/* Puts the watermark beyond the end of every window. ns. */
static uint64_t close_all(struct maker *m, struct stage *st)
{
	struct journal_block block = {
		.first_offset = m->offset, .receive_last_ms = m->now_ms, .data = m->bytes};
	struct err err;
	uint64_t start = cpu_ns();

	block.watermark_ms = floor_to(m->now_ms, 86400000) + 4 * 86400000ll;
	if (stage_block(st, &block, m->offset, &err))
		abort();
	return cpu_ns() - start;
}

static void save_load(const struct window_plan *plan, const struct stage *st, uint64_t keys)
{
	struct counted counted = {0};
	struct stage *fresh = stage_make(plan, &counted);
	struct bytes saved = {0};
	uint64_t start = cpu_ns(), save, load;
	uint32_t dropped;
	struct err err;

	stage_save(st, &saved);
	save = cpu_ns() - start;
	start = cpu_ns();
	if (saved.failed || stage_load(fresh, saved.data, saved.bytes, &dropped, &err))
		abort();
	load = cpu_ns() - start;
	printf("   save %.0f ns/key (%.1f bytes/key, %.0f MB/s), load %.0f ns/key\n",
		(double)save / (double)keys, (double)saved.bytes / (double)keys,
		(double)saved.bytes * 1e3 / (double)save, (double)load / (double)keys);
	bytes_free(&saved);
	stage_free(fresh);
}

static void tumbling(const char *aggregates, uint64_t keys, uint64_t users, double spread, uint64_t rounds)
{
	struct counted counted = {0};
	struct maker m;
	struct window_plan *plan;
	struct stage *st;
	char text[300];
	uint64_t fill = 0, took = 0, best = UINT64_MAX, before, events = rounds * blocks * BLOCK_RECORDS,
		 close;
	const struct stage_window_stats *w;

	snprintf(text, sizeof text, "name=w kind=tumbling size=1d by=page keys_max=10000000 aggregates='%s'",
		aggregates);
	plan = plan_make(text);
	maker_init(&m, keys, users, spread, 1000);
	before = bench_resident_bytes();
	st = stage_make(plan, &counted);
	while (m.offset < keys || m.offset < 200000) {
		maker_round(&m, true);
		fill += round_take(&m, st);
	}
	w = &stage_stats(st)->window[0];
	printf("tumbling, %7" PRIu64 " keys: new key %.1f ns; memory/key %.1f logical, %.1f resident\n", keys,
		(double)fill / (double)m.offset, (double)w->memory_bytes / (double)keys,
		(double)(bench_resident_bytes() - before) / (double)keys);
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t ns;

		maker_round(&m, false);
		ns = round_take(&m, st);
		took += ns;
		best = ns < best ? ns : best;
	}
	printf("   %.1f ns/event (best round %.1f); then memory/key %.1f logical, %.1f resident\n",
		(double)took / (double)events, (double)best / (blocks * BLOCK_RECORDS),
		(double)w->memory_bytes / (double)keys,
		(double)(bench_resident_bytes() - before) / (double)keys);
	save_load(plan, st, keys);
	close = close_all(&m, st);
	printf("   close: %" PRIu64 " rows, %.0f ns and %.0f bytes a row\n", counted.rows,
		(double)close / (double)counted.rows, (double)counted.bytes / (double)counted.rows);
	fflush(stdout);
	stage_free(st);
	window_plan_free(plan);
	free(m.bytes);
}

/* Steady state: rows of every slide, and sessions that end, are within what is measured. Sessions are by
 * user. */
static void sliding(const char *window, const char *aggregates, uint64_t keys, uint64_t events_per_ms)
{
	struct counted counted = {0};
	struct maker m;
	struct window_plan *plan;
	struct stage *st;
	char text[300];
	bool users = strstr(window, "by=user_id") != NULL;
	uint64_t took = 0, events = 0;

	snprintf(text, sizeof text, "name=w %s keys_max=10000000 aggregates='%s'", window, aggregates);
	plan = plan_make(text);
	maker_init(&m, users ? 1000 : keys, users ? keys : 1000000, 4096, events_per_ms);
	st = stage_make(plan, &counted);
	while (m.offset < 25000 * events_per_ms) {
		uint64_t ns;

		maker_round(&m, false);
		ns = round_take(&m, st);
		if (m.offset < 13000 * events_per_ms) {
			counted = (struct counted){0};
			continue;
		}
		took += ns;
		events += blocks * BLOCK_RECORDS;
	}
	printf("%s, %" PRIu64 " keys, %" PRIu64 " K events/s, %s: %.1f ns/event with %.2f rows/event; "
	       "%.1f logical bytes/key\n",
		window, keys, events_per_ms, aggregates, (double)took / (double)events,
		(double)counted.rows / (double)events,
		(double)stage_stats(st)->window[0].memory_bytes / (double)keys);
	fflush(stdout);
	stage_free(st);
	window_plan_free(plan);
	free(m.bytes);
}

/* ---- the shipped windows, over events of all their types ---- */

static const struct {
	enum event_type type;
	uint64_t fields; /* beside event_id, ts */
} mixed_type[] = {
	{EVENT_TYPE_click, FBIT(user_id) | FBIT(page) | FBIT(country) | FBIT(device)},
	{EVENT_TYPE_page_view, FBIT(user_id) | FBIT(page) | FBIT(country) | FBIT(device) | FBIT(value)},
	{EVENT_TYPE_session, FBIT(user_id) | FBIT(session_id) | FBIT(page) | FBIT(device)},
	{EVENT_TYPE_conversion, FBIT(user_id) | FBIT(page) | FBIT(country) | FBIT(value)},
	{EVENT_TYPE_transaction, FBIT(user_id) | FBIT(country) | FBIT(currency) | FBIT(amount)},
	{EVENT_TYPE_telemetry, FBIT(device_id) | FBIT(name) | FBIT(value)},
	{EVENT_TYPE_platform, FBIT(source) | FBIT(metric) | FBIT(status) | FBIT(user_id)},
	{EVENT_TYPE_log, FBIT(source) | FBIT(level) | FBIT(message)},
};
#define MIXED_TYPES (sizeof mixed_type / sizeof *mixed_type)

/* Fields of one length; where they stand in the raw bytes, or behind them. */
static const struct {
	enum field_id id;
	uint16_t at, bytes;
} mixed_field[] = {{FIELD_event_id, 13, 36}, {FIELD_ts, 50, 13}, {FIELD_user_id, 64, 8}, {FIELD_page, 74, 12},
	{FIELD_country, 90, 2}, {FIELD_device, 94, 6}, {FIELD_session_id, 102, 16}, {FIELD_device_id, 120, 9},
	{FIELD_name, 130, 11}, {FIELD_source, 142, 8}, {FIELD_status, 152, 2}, {FIELD_level, 156, 4},
	{FIELD_message, 162, 20}, {FIELD_currency, 184, 3}, {FIELD_metric, RAW_BYTES, 8},
	{FIELD_value, RAW_BYTES, 8}, {FIELD_amount, RAW_BYTES, 8}};

static uint32_t mixed_write(uint8_t *out, uint64_t *seed, int64_t now_ms)
{
	static uint8_t raw[RAW_BYTES];
	uint64_t r = bench_random(seed), tail = (r >> 8) % 100000000;
	struct event ev = {
		.raw = raw, .tail = (const uint8_t *)&tail, .raw_bytes = RAW_BYTES, .tail_bytes = 8};
	uint32_t kind = (uint32_t)(r >> 32) % MIXED_TYPES;
	double number = (double)tail / 1e6 + 1;

	memset(raw, 'x', sizeof raw);
	digits_put(raw + 64, 'u', 7, (r >> 40) % 100000);
	digits_put(raw + 74, '/', 11, bench_random(seed) % 1000);
	digits_put(raw + 90, 'A', 1, (r >> 20) % 10);
	digits_put(raw + 130, 'n', 10, (r >> 24) % 200);
	digits_put(raw + 142, 's', 7, (r >> 12) % 20);
	digits_put(raw + 184, 'E', 2, (r >> 16) % 5);
	if (!(mixed_type[kind].fields & FBIT(amount)))
		memcpy(&tail, &number, sizeof tail);
	ev.type = (uint8_t)mixed_type[kind].type;
	ev.field_mask = mixed_type[kind].fields | FBIT(event_id) | FBIT(ts);
	for (size_t i = 0; i < sizeof mixed_field / sizeof *mixed_field; i++)
		if (ev.field_mask >> mixed_field[i].id & 1)
			ev.field[mixed_field[i].id] = (struct span){mixed_field[i].at, mixed_field[i].bytes};
	ev.event_time_ms = now_ms;
	return record_write_event(out, &ev, 7, now_ms, 0);
}

/* Events that write() makes one by one; event time goes on as 100,000 of them a second. */
static void varied(const char *what, const struct window_plan *plan,
	uint32_t (*write)(uint8_t *out, uint64_t *seed, int64_t now_ms), uint64_t rounds)
{
	struct counted counted = {0};
	struct maker m = {.seed = 42, .now_ms = START_MS, .bytes = malloc((size_t)BLOCK_RECORDS * 768)};
	struct stage *st = stage_make(plan, &counted);
	uint64_t took = 0, best = UINT64_MAX;

	if (!m.bytes)
		abort();
	for (uint64_t i = 0; i < rounds * BLOCKS; i++, m.now_ms += BLOCK_RECORDS / 100) {
		uint64_t ns;

		m.record_bytes = 0; /* of all records here */
		for (uint32_t k = 0; k < BLOCK_RECORDS; k++)
			m.record_bytes += write(m.bytes + m.record_bytes, &m.seed, m.now_ms + k / 100);
		ns = block_take(&m, st, m.bytes, m.record_bytes);
		took += ns;
		best = ns < best ? ns : best;
	}
	printf("%s, 100 K events/s: %.1f ns/event (best block %.1f) with %.3f rows/event\n", what,
		(double)took / (double)m.offset, (double)best / BLOCK_RECORDS,
		(double)counted.rows / (double)m.offset);
	stage_free(st);
	free(m.bytes);
}

static void shipped(uint64_t rounds)
{
	struct config *cfg = calloc(1, sizeof *cfg);
	struct window_plan *plan;
	struct err err;

	if (!cfg)
		abort();
	config_defaults(cfg);
	if (window_plan_make(&plan, cfg, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	varied("shipped windows", plan, mixed_write, rounds);
	window_plan_free(plan);
	free(cfg);
}

/* ---- windows by attributes ---- */

/* A custom event of some 300 bytes, as it is on the wire. */
static uint32_t custom_write(uint8_t *out, uint64_t *seed, int64_t now_ms)
{
	static char raw[512];
	uint64_t r = bench_random(seed);
	struct event ev = {.raw = (const uint8_t *)raw, .type = EVENT_TYPE_custom, .event_time_ms = now_ms};

	ev.raw_bytes = (uint32_t)snprintf(raw, sizeof raw,
		"{\"type\":\"custom\",\"event_id\":\"0190f3c2-7a1b-7c3d-8e4f-%012" PRIx64 "\",\"ts\":%" PRId64
		",\"user_id\":\"u%06" PRIu64
		"\",\"name\":\"checkout\",\"attributes\":{\"plan\":\"p%u\",\"region\":"
		"\"r%u\",\"client\":{\"os\":\"linux\",\"version\":\"7.%u\"},\"latency\":%u,\"cached\":true,"
		"\"note\":"
		"\"a text of some length\"}}",
		r & 0xffffffffffff, now_ms, r % 100000, (unsigned)(r >> 8) % 20, (unsigned)(r >> 16) % 50,
		(unsigned)(r >> 24) % 30, (unsigned)(r >> 32) % 1000);
	return record_write_event(out, &ev, 7, now_ms, 0);
}

/* 1, 2 and 4 windows. */
static void by_attributes(uint64_t rounds)
{
	static const char *const by[] = {"attributes.plan", "attributes.client.version",
		"attributes.region,attributes.plan", "attributes.region"};
	char text[4][120], what[40];

	for (uint32_t n = 1; n <= 4; n *= 2) {
		struct window_plan plan = {.step_ms = 1000, .count = n};
		struct err err;

		for (uint32_t i = 0; i < n; i++) {
			snprintf(text[i], sizeof text[i], "name=w%u kind=tumbling size=1m by='%s'", i, by[i]);
			if (window_def_parse(&plan.def[i], text[i], &err)) {
				fprintf(stderr, "%s\n", err.text);
				exit(1);
			}
		}
		snprintf(what, sizeof what, "%u windows by attributes", n);
		varied(what, &plan, custom_write, rounds);
		for (uint32_t i = 0; i < n; i++)
			window_def_free(plan.def[i]);
	}
}

static const char *const plain = "count, sum(metric)";
static const char *const full = "count, sum(metric), distinct(user_id), quantiles(metric)";

/* which: 0, 1, 2; any other: all of these. */
static void tumblings(uint64_t keys, uint64_t rounds, uint64_t which)
{
	if (which == 0 || which > 2) {
		printf("-- %s\n", plain);
		tumbling(plain, keys, 1000000, 4096, rounds);
	}
	if (which == 1 || which > 2) {
		printf("-- %s: 20 users, metrics over 20 %%\n", full);
		tumbling(full, keys, 20, 1.2, rounds);
	}
	if (which == 2 || which > 2) {
		printf("-- %s: 1 M users, metrics over three decades\n", full);
		tumbling(full, keys, 1000000, 4096, rounds);
	}
}

static void slidings(uint64_t which)
{
	static const struct {
		const char *window, *aggregates;
		uint64_t keys, events_per_ms;
	} run[] = {{"kind=hopping size=10s slide=1s by=page", plain, 100000, 1000},
		{"kind=hopping size=10s slide=1s by=page", plain, 100000, 200},
		{"kind=hopping size=10s slide=1s by=page", full, 10000, 200},
		{"kind=session gap=2s by=user_id", plain, 100000, 200},
		{"kind=session gap=2s by=user_id", full, 10000, 200}};
	const uint64_t count = sizeof run / sizeof *run;

	if (which == count || which > count + 1)
		shipped(20);
	if (which > count)
		by_attributes(20);
	for (uint64_t i = 0; i < count; i++)
		if (which == i || which > count + 1)
			sliding(run[i].window, run[i].aggregates, run[i].keys, run[i].events_per_ms);
}

/* Arguments: none: everything; KEYS [ROUNDS [WHICH [BLOCKS]]]: tumbling windows of so many keys, with one of
 * the lists of aggregates (0, 1, 2) or all, the events in so many blocks (1 at least); 0 0 [WHICH]: one of
 * the others (0 to 4; 5: the shipped windows; 6: windows by attributes), or all. */
int main(int argc, char **argv)
{
	static const uint64_t keys[] = {1000, 10000, 100000, 1000000};
	uint64_t only = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
	uint64_t which = argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;

	if (only && argc > 4)
		blocks = (uint32_t)strtoul(argv[4], NULL, 10);
	if (only && (!blocks || !rounds)) {
		fprintf(stderr, "bench_state [KEYS [ROUNDS [WHICH [BLOCKS]]]]: rounds and blocks from 1; or "
				"0 0 [WHICH]\n");
		return 2;
	}
	for (size_t i = 0; argc == 1 && i < sizeof keys / sizeof *keys; i++)
		tumblings(keys[i], rounds, which);
	if (only)
		tumblings(only, rounds, which);
	else
		slidings(which);
	return 0;
}
