/* Stateful rules in the state stage: CPU time of journal blocks through stage_block() with one rule in force
 * and no windows, every event of it a hit, keys at random. Blocks are made before the clock starts. sequence
 * a, b, c within 60 s; each key's events are a, b, c, a, ... so that every event passes the step that its key
 * waits for, and every third one completes a match, which comes out as an alert count     100 events within
 * 60 s; distinct: 100 values of 32; neither comes true Each in both orders, for 1,000, 100,000 and 1,000,000
 * keys; and the same blocks without hits, and without rules. Bytes: logical, and what the resident set has
 * grown by.
 *
 *   bench_cep file PATH     the sequence in order of event time over a file of events as perf/common.py
 * writes it; a page is /a, /b or /c. Prints events, matches, checksum, cpu_ns (peer_cep.py) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench_util.h"
#include "bytes.h"
#include "row.h"
#include "stage.h"

#define EVENTS 1200000u
#define BLOCK_BYTES (256u << 10)
#define TIME_MS 1700000000000ll
#define SPAN_MS 40000

enum what { SEQUENCE, COUNT, DISTINCT, NO_HITS, NO_RULES, WHATS };
static const char *const what_name[WHATS] = {"sequence", "count", "distinct", "no hits", "no rules"};

struct input {
	struct bytes data;
	struct journal_block *block;
	uint32_t blocks;
};

static struct rule_state rule;
static const struct rule_keyring ring = {1, {FIELD_user_id}, 0, 0};
static struct rule_use use[3] = {{0, 0, 0}, {0, 1, 0}, {0, 2, 0}};
static uint64_t alerts, checksum;

static int rules_get(void *arg, uint32_t generation, struct cep_rules *out, struct err *err)
{
	(void)arg, (void)generation, (void)err;
	out->count = 1;
	out->rule[0] = (struct cep_rule){&rule, &ring, "bench", "A rule of the benchmark", "high", true, 0};
	out->match_count = 3;
	out->use = use;
	memcpy(out->version, "0123456789abcdef", 17);
	return 0;
}

/* A step of splitmix64, as in Windows.java. */
static uint64_t mix(uint64_t h, uint64_t v)
{
	uint64_t z = (h ^ v) + 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void match_count(const struct record *rec)
{
	const struct row_alert *a = row_alert_of(rec);
	uint64_t user = 0;
	uint32_t bytes;
	const char *key = row_alert_text(rec, ROW_TEXT_KEY, &bytes);

	for (uint32_t i = (uint32_t)strlen("user_id=u"); i < bytes; i++)
		user = user * 10 + (uint64_t)(key[i] - '0');
	alerts++;
	checksum += mix(mix((uint64_t)a->first_ms, (uint64_t)a->last_ms), user);
}

static int emit(void *arg, const struct record *rec)
{
	(void)arg;
	if (rec->kind == RECORD_ROW)
		match_count(rec);
	bench_keep(rec);
	return 0;
}

static void rule_set(enum what what, enum rule_order order)
{
	rule = (struct rule_state){.uid = 1,
		.kind = what == COUNT	   ? RULE_STATE_COUNT
			: what == DISTINCT ? RULE_STATE_DISTINCT
					   : RULE_STATE_SEQUENCE,
		.order = (uint8_t)order,
		.within_ms = 60000,
		.field = FIELD_page,
		.at_least = 100,
		.step_count = 3,
		.evidence_max = what == SEQUENCE ? 8 : 4,
		.keys_max = 2000000,
		.memory_bytes_max = 1ull << 32,
		.events_max = 1000};
	for (uint16_t i = 0; i < 3; i++)
		rule.step[i] = (struct rule_step){"s", i, RULE_FOLLOWED_BY, 1, 1};
}

static void block_add(struct input *in, size_t from, uint32_t count, uint64_t *offset)
{
	in->block = realloc(in->block, (in->blocks + 1) * sizeof *in->block);
	in->block[in->blocks++] = (struct journal_block){.generation = 1,
		.first_offset = *offset,
		.record_count = count,
		.bytes = (uint32_t)(in->data.bytes - from),
		.watermark_ms = INT64_MIN,
		.receive_last_ms = TIME_MS + SPAN_MS,
		.data = (const uint8_t *)from};
	*offset += count;
}

static uint32_t event_put(
	uint8_t *to, uint32_t i, uint32_t key, uint16_t step, uint64_t *seed, enum what what)
{
	char raw[48];
	int key_bytes = snprintf(raw, sizeof raw, "u%09u", key);
	int page_bytes = snprintf(raw + key_bytes, 16, "/p%u", (uint32_t)(bench_random(seed) % 32));
	uint16_t hit = what == SEQUENCE ? step : 0;
	struct event ev = {.raw = (const uint8_t *)raw,
		.raw_bytes = (uint32_t)(key_bytes + page_bytes),
		.type = EVENT_TYPE_click,
		.field_mask = FBIT(user_id) | FBIT(page),
		.event_time_ms =
			TIME_MS + (int64_t)i * SPAN_MS / EVENTS - (int64_t)(bench_random(seed) % 100),
		.hit_count = what != NO_HITS && what != NO_RULES,
		.hit = &hit};

	ev.field[FIELD_user_id] = (struct span){0, (uint16_t)key_bytes};
	ev.field[FIELD_page] = (struct span){(uint16_t)key_bytes, (uint16_t)page_bytes};
	memcpy(ev.event_id, &i, sizeof i);
	return record_write_event(to, &ev, 7, TIME_MS + SPAN_MS, 0);
}

static void input_make(struct input *in, uint32_t keys, enum what what)
{
	uint8_t *next = calloc(keys, 1);
	uint64_t seed = 1, offset = 0;
	size_t from = 0;
	uint32_t count = 0;

	in->blocks = 0;
	bytes_reset(&in->data);
	for (uint32_t i = 0; i < EVENTS; i++) {
		uint32_t key = (uint32_t)(bench_random(&seed) % keys);
		uint8_t *to = bytes_room(&in->data, 512);

		if (!to)
			abort();
		in->data.bytes -= 512 - event_put(to, i, key, next[key], &seed, what);
		next[key] = (uint8_t)((next[key] + 1) % 3);
		count++;
		if (in->data.bytes - from > BLOCK_BYTES - 512 || i + 1 == EVENTS) {
			block_add(in, from, count, &offset);
			from = in->data.bytes;
			count = 0;
		}
	}
	for (uint32_t i = 0; i < in->blocks; i++)
		in->block[i].data = in->data.data + (size_t)in->block[i].data;
	free(next);
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void note(struct stage *st, uint64_t offset)
{
	static const char text[] = "event=rules generation=1";
	_Alignas(8) uint8_t data[128] = {0};
	struct record *rec = (struct record *)data;
	struct journal_block block = {
		.record_count = 1, .bytes = 112, .watermark_ms = INT64_MIN, .data = data};
	struct err err;

	*rec = (struct record){.bytes = 112, .kind = RECORD_CONTROL, .payload_bytes = sizeof text - 1};
	memcpy(rec + 1, text, sizeof text - 1);
	block.first_offset = offset;
	if (stage_block(st, &block, offset, &err))
		abort();
}

static struct stage *stage_open(enum what what, enum rule_order order)
{
	static struct window_plan plan = {.step_ms = 1000};
	struct stage_params params = {.plan = &plan,
		.out_of_orderness_ms = 2000,
		.memory_bytes = 1 << 30,
		.rules = what == NO_RULES ? NULL : rules_get};
	struct stage *st;
	struct err err;

	rule_set(what, order);
	if (stage_new(&st, &params, emit, NULL, &err))
		abort();
	if (params.rules)
		note(st, 0);
	alerts = checksum = 0;
	return st;
}

/* CPU seconds. */
static double blocks_run(struct stage *st, const struct input *in)
{
	double start = cpu_s();
	struct err err;

	for (uint32_t i = 0; i < in->blocks; i++) {
		struct journal_block block = in->block[i];

		block.first_offset++;
		if (stage_block(st, &block, block.first_offset, &err)) {
			fprintf(stderr, "%s\n", err.text);
			abort();
		}
	}
	return cpu_s() - start;
}

static void run(const struct input *in, enum what what, enum rule_order order, uint32_t keys)
{
	uint64_t before = bench_resident_bytes();
	struct stage *st = stage_open(what, order);
	double took = blocks_run(st, in);

	printf("%-9s %-10s %8u keys %7.1f ns/event %6.2f M/s %8llu alerts", what_name[what],
		order == RULE_ORDER_ARRIVAL ? "arrival" : "event_time", keys, took * 1e9 / EVENTS,
		EVENTS / took / 1e6, (unsigned long long)alerts);
	if (what != NO_RULES && cep_stats(stage_rules(st), 0)->keys) {
		const struct cep_stats *s = cep_stats(stage_rules(st), 0);

		printf("  %llu partials, a key: %.0f bytes logical, %.0f resident",
			(unsigned long long)s->partials, (double)s->memory_bytes / (double)s->keys,
			(double)(bench_resident_bytes() - before) / (double)s->keys);
	}
	printf("\n");
	fflush(stdout);
	stage_free(st);
}

/* ---- events of a file ---- */
static uint32_t text_read(FILE *f, char *to, uint32_t room)
{
	uint16_t bytes;

	if (fread(&bytes, sizeof bytes, 1, f) != 1 || (bytes != 0xffff && bytes >= room) ||
		(bytes != 0xffff && fread(to, 1, bytes, f) != bytes))
		abort();
	return bytes == 0xffff ? 0 : bytes;
}

static uint32_t file_event_put(uint8_t *to, FILE *f, const int64_t fixed[4])
{
	char raw[256], other[256];
	uint32_t key_bytes = text_read(f, raw, 100), page_bytes = text_read(f, raw + key_bytes, 100);
	uint16_t hit = page_bytes > 1 ? (uint16_t)(raw[key_bytes + 1] - 'a') : UINT16_MAX;
	struct event ev = {.raw = (const uint8_t *)raw,
		.raw_bytes = key_bytes + page_bytes,
		.type = EVENT_TYPE_click,
		.field_mask = FBIT(user_id) | FBIT(page),
		.event_time_ms = fixed[0],
		.hit_count = hit < 3,
		.hit = &hit};

	for (int i = 0; i < 3; i++)
		(void)text_read(f, other, sizeof other);
	ev.field[FIELD_user_id] = (struct span){0, (uint16_t)key_bytes};
	ev.field[FIELD_page] = (struct span){key_bytes, (uint16_t)page_bytes};
	memcpy(ev.event_id, &fixed[1], sizeof fixed[1]);
	return record_write_event(to, &ev, 7, fixed[0], 0);
}

static uint32_t file_load(struct input *in, const char *path)
{
	FILE *f = fopen(path, "rb");
	uint64_t offset = 0;
	size_t from = 0;
	uint32_t count = 0, events = 0;
	int64_t fixed[4];

	if (!f)
		abort();
	while (fread(fixed, sizeof fixed, 1, f) == 1) {
		uint8_t *to = bytes_room(&in->data, 512);

		if (!to)
			abort();
		in->data.bytes -= 512 - file_event_put(to, f, fixed);
		count++;
		events++;
		if (in->data.bytes - from > BLOCK_BYTES - 512) {
			block_add(in, from, count, &offset);
			from = in->data.bytes;
			count = 0;
		}
	}
	if (count)
		block_add(in, from, count, &offset);
	fclose(f);
	for (uint32_t i = 0; i < in->blocks; i++)
		in->block[i].data = in->data.data + (size_t)in->block[i].data;
	return events;
}

static int file_run(const char *path)
{
	static struct input in;
	uint32_t events = file_load(&in, path);
	struct stage *st = stage_open(SEQUENCE, RULE_ORDER_EVENT_TIME);
	double took = blocks_run(st, &in);

	printf("events=%u matches=%llu checksum=%016llx cpu_ns=%.0f\n", events, (unsigned long long)alerts,
		(unsigned long long)checksum, took * 1e9);
	stage_free(st);
	return 0;
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {1000, 100000, 1000000};
	static struct input in;

	if (argc == 3 && !strcmp(argv[1], "file"))
		return file_run(argv[2]);
	for (int what = 0; what < WHATS; what++) {
		if (argc > 1 && strcmp(argv[1], what_name[what]) != 0)
			continue;
		for (uint32_t k = 0; k < 3; k++) {
			if ((argc > 2 && (uint32_t)strtoul(argv[2], NULL, 10) != sizes[k]) ||
				(what >= NO_HITS && k != 1))
				continue;
			input_make(&in, sizes[k], (enum what)what);
			for (int order = 0; order < (what >= NO_HITS ? 1 : 2); order++)
				for (int again = 0; again < 2; again++)
					run(&in, (enum what)what, (enum rule_order)order, sizes[k]);
		}
	}
	return 0;
}
