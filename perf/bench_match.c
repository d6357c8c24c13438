/* Cost of matching: the shipped packs over unique events in bursts of 32, parsed by the real parser; beside
 * it a bare hs_scan() of the same gathered bytes; and the question of docs/decisions/0004: one database for
 * all fields, or one per field. argv[1]: a folder of rules, rules/packs by default. */
#include "bench_events.h"
#include "json.h"
#include "match_priv.h"

#define EVENTS 65536u
#define BURST 32u

struct run {
	struct bench_events events;
	struct json_parser *jp;
	struct event *ev;
	struct event *burst[EVENTS];
	struct event hot[BURST], *hot_burst[BURST];
	struct ruleset *rs;
	struct matcher *m;
	hs_scratch_t *scratch;
	/* gathered bytes of each burst: all fields in one (0), or of one field each (1..) */
	uint8_t *bytes[FIELD_ID_MAX];
	uint32_t start[FIELD_ID_MAX][EVENTS / BURST + 1];
	hs_database_t *db[FIELD_ID_MAX];
	uint32_t lanes;
	uint64_t raw_hits;
};

/* As on a worker: a burst is parsed, then matched while it is in the cache. */
static void run_parse_match(void *arg, uint32_t count)
{
	static const struct parse_limits limits = {0, 300000};
	struct run *run = arg;

	for (uint32_t i = 0; i < count; i += BURST) {
		uint32_t n = count - i < BURST ? count - i : BURST;

		json_parser_reset(run->jp);
		for (uint32_t k = 0; k < n; k++)
			json_parse_event(run->jp, run->events.bytes + run->events.offset[i + k],
				run->events.length[i + k], EVENT_TYPE_NONE, BENCH_RECEIVE_MS, &limits,
				&run->hot[k]);
		if (run->m)
			matcher_run(run->m, run->hot_burst, n);
		bench_keep(run->hot);
	}
}

static int on_hit(
	unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *arg)
{
	(void)id;
	(void)from;
	(void)to;
	(void)flags;
	(*(uint64_t *)arg)++;
	return 0;
}

static void run_scan(void *arg, uint32_t count)
{
	struct run *run = arg;

	for (uint32_t b = 0; b < count / BURST; b++)
		for (uint32_t f = 0; f < run->lanes; f++) {
			uint32_t at = run->start[f][b];

			if (run->db[f])
				hs_scan(run->db[f], (char *)run->bytes[f] + at, run->start[f][b + 1] - at, 0,
					run->scratch, on_hit, &run->raw_hits);
		}
}

/* A scan for each value of each event: what gathering saves. */
static void run_values(void *arg, uint32_t count)
{
	struct run *run = arg;

	for (uint32_t i = 0; i < count; i++) {
		const struct event *ev = run->burst[i];
		uint64_t fields = ev->field_mask & run->rs->gather_mask[ev->type].fields;

		for (; fields; fields &= fields - 1) {
			uint32_t field = (uint32_t)__builtin_ctzll(fields), bytes;
			const uint8_t *p = event_field(ev, (enum field_id)field, &bytes);

			hs_scan(run->rs->single_db[field], (const char *)p, bytes, 0, run->scratch, on_hit,
				&run->raw_hits);
		}
	}
}

/* The bytes that lane f scans: fields in `mask`. */
static void gather(struct run *run, uint32_t f, uint64_t mask)
{
	uint64_t room = run->events.total + 8ull * EVENTS;
	uint32_t at = 0;

	run->bytes[f] = malloc(room);
	if (!run->bytes[f])
		abort();
	for (uint32_t i = 0; i < EVENTS; i++) {
		const struct event *ev = run->burst[i];
		uint64_t fields = ev->field_mask & run->rs->gather_mask[ev->type].fields & mask;

		if (i % BURST == 0)
			run->start[f][i / BURST] = at;
		for (; fields; fields &= fields - 1) {
			uint32_t bytes;
			const uint8_t *p = event_field(ev, (enum field_id)__builtin_ctzll(fields), &bytes);

			memcpy(run->bytes[f] + at, p, bytes);
			at += bytes;
			run->bytes[f][at++] = GATHER_SEPARATOR;
		}
	}
	run->start[f][EVENTS / BURST] = at;
}

static bool seen_before(const struct ruleset *rs, uint32_t index, uint64_t mask)
{
	for (uint32_t i = 0; i < index; i++)
		if (!rs->pattern[i].edge && mask >> rs->pattern[i].subject & 1 &&
			rs->pattern[i].flags == rs->pattern[index].flags &&
			!strcmp(rs->pattern[i].expr, rs->pattern[index].expr))
			return true;
	return false;
}

/* Only the patterns that test one of the fields, each once. */
static hs_database_t *field_db(const struct ruleset *rs, uint64_t mask)
{
	const char **expr = calloc(rs->pattern_count + 1, sizeof *expr);
	unsigned *flags = calloc(rs->pattern_count + 1, sizeof *flags);
	unsigned *id = calloc(rs->pattern_count + 1, sizeof *id);
	hs_compile_error_t *problem;
	hs_database_t *db = NULL;
	uint32_t n = 0;

	if (!expr || !flags || !id)
		abort();
	for (uint32_t i = 0; i < rs->pattern_count; i++)
		if (!rs->pattern[i].edge && mask >> rs->pattern[i].subject & 1 && !seen_before(rs, i, mask)) {
			expr[n] = rs->pattern[i].expr;
			flags[n] = rs->pattern[i].flags;
			id[n++] = i;
		}
	if (n && hs_compile_multi(expr, flags, id, n, HS_MODE_BLOCK, NULL, &db, &problem))
		abort();
	free(expr);
	free(flags);
	free(id);
	return db;
}

static void lane(struct run *run, uint32_t f, uint64_t mask)
{
	run->db[f] = field_db(run->rs, mask);
	if (run->db[f] && hs_alloc_scratch(run->db[f], &run->scratch))
		abort();
	gather(run, f, mask);
	run->lanes = f + 1;
}

static void lanes_free(struct run *run)
{
	for (uint32_t f = 0; f < run->lanes; f++) {
		hs_free_database(run->db[f]);
		free(run->bytes[f]);
	}
	run->lanes = 0;
}

static void bench_traffic(struct run *run, const char *name, struct bench_mix mix)
{
	const struct parse_limits limits = {0, 300000};
	uint64_t hits = 0, mask = 0;
	uint32_t f = 0;
	double ns;

	run->events = bench_events_make(EVENTS, mix, 7);
	run->jp = json_parser_new(EVENTS * 128);
	run->ev = calloc(EVENTS, sizeof *run->ev);
	if (!run->jp || !run->ev)
		abort();
	for (uint32_t i = 0; i < EVENTS; i++) {
		run->hot_burst[i % BURST] = &run->hot[i % BURST];
		run->burst[i] = &run->ev[i];
		json_parse_event(run->jp, run->events.bytes + run->events.offset[i], run->events.length[i],
			EVENT_TYPE_NONE, BENCH_RECEIVE_MS, &limits, &run->ev[i]);
		hits += run->ev[i].refused != 0;
	}
	printf("-- %s: %u events, %llu refused\n", name, EVENTS, (unsigned long long)hits);
	for (uint32_t i = 0; i < FIELD_ID_MAX; i++)
		if (run->rs->single_db[i] && hs_alloc_scratch(run->rs->single_db[i], &run->scratch))
			abort();
	lane(run, 0, UINT64_MAX);
	printf("   gathered %.0f bytes/event\n", run->start[0][EVENTS / BURST] / (double)EVENTS);
	bench_report(
		"bare hs_scan, one database, gathered", run_scan, run, EVENTS, run->start[0][EVENTS / BURST]);
	lanes_free(run);
	for (uint32_t t = 0; t < EVENT_TYPE_MAX; t++)
		mask |= run->rs->gather_mask[t].fields;
	for (; mask; mask &= mask - 1)
		lane(run, f++, mask & -mask);
	bench_report("bare hs_scan, one database per field", run_scan, run, EVENTS, 0);
	bench_report("bare hs_scan, each field alone", run_values, run, EVENTS, 0);
	lanes_free(run);
	run->m = NULL;
	ns = bench_report("parse, bursts of 32", run_parse_match, run, EVENTS, 0);
	run->m = matcher_new(run->rs, NULL);
	if (!run->m)
		abort();
	ns = bench_report("parse and matcher_run, bursts of 32", run_parse_match, run, EVENTS, 0) - ns;
	hits = 0;
	for (uint32_t i = 0; i < EVENTS; i += BURST) {
		matcher_run(run->m, run->burst + i, BURST);
		for (uint32_t k = i; k < i + BURST; k++)
			hits += run->ev[k].hit_count != 0;
	}
	printf("   so matcher_run %.1f ns/event; events with hits: %llu, scans: %.3f/event, rescans: %llu\n",
		ns, (unsigned long long)hits,
		(double)matcher_stats(run->m)->scans / (double)matcher_stats(run->m)->events,
		(unsigned long long)matcher_stats(run->m)->rescans);
	matcher_free(run->m);
	json_parser_free(run->jp);
	free(run->ev);
	bench_events_free(&run->events);
}

int main(int argc, char **argv)
{
	static struct run run;
	struct err err = {{0}};
	uint64_t start = bench_now_ns();

	if (argc > 2 && ruleset_cache_set(argv[2], &err)) { /* a folder of compiled databases */
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	if (ruleset_compile_dir(&run.rs, argc > 1 ? argv[1] : "rules/packs", 20000, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	printf("%u rules, %u patterns, compiled in %.2f s\n", ruleset_rule_count(run.rs),
		ruleset_pattern_count(run.rs), (double)(bench_now_ns() - start) / 1e9);
	bench_traffic(&run, "clicks", (struct bench_mix){0, 0, 0});
	bench_traffic(&run, "half platform events", (struct bench_mix){500, 0, 0});
	hs_free_scratch(run.scratch);
	ruleset_free(run.rs);
	return 0;
}
