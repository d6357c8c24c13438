/* The RX worker's path over real mbufs, stage by stage: ns and instructions an event for decoding, + parsing,
 * + records into batches, + matching of the shipped rules. Sealed batches are sent home at once: no writer
 * runs. */
#include "bench_pipeline.h"

static void run_decode(void *arg, uint32_t count)
{
	struct datagram dg[BURST];

	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST * b.lines)
		bench_keep((void *)(uintptr_t)decode_burst(
			&b.pl.decoder, burst_next(), BURST, &(uint32_t){0}, dg));
}

static void run_parse(void *arg, uint32_t count)
{
	struct datagram dg[BURST];

	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST * b.lines) {
		uint32_t n = decode_burst(&b.pl.decoder, burst_next(), BURST, &(uint32_t){0}, dg), k = 0;

		json_parser_reset(b.jp);
		for (uint32_t i = 0; i < n; i++) {
			struct ndjson lines = ndjson_start(dg[i].payload, dg[i].bytes);
			const uint8_t *line;
			uint32_t bytes;

			while (k < BURST * 8 && ndjson_next(&lines, &line, &bytes))
				json_parse_event(b.jp, line, bytes, EVENT_TYPE_NONE, BENCH_RECEIVE_MS,
					&b.limits, &b.event[k++]);
		}
	}
}

static void run_pipeline(void *arg, uint32_t count)
{
	struct burst_time now = {BENCH_RECEIVE_MS, 1};

	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST * b.lines) {
		pipeline_burst(&b.pl, burst_next(), BURST, now);
		lanes_drain();
	}
}

static void use_rules(struct ruleset *rs)
{
	struct err err = {0};
	struct matcher *m = rs ? matcher_new(rs, &err) : NULL;

	if (!m) {
		fprintf(stderr, "rules: %s\n", err.text);
		exit(1);
	}
	pipeline_set_matcher(&b.pl, m, 1);
	lanes_drain();
}

int main(int argc, char **argv)
{
	const char *rules_dir = argc > 1 ? argv[1] : RULES_PACKS;
	uint32_t lines = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
	struct bench_events ev = bench_events_make(65536, (struct bench_mix){0, 0, 0}, 42);
	struct ruleset *packs;
	double decode, parse, record, match;
	struct err err = {0};
	uint32_t burst, count;

	if (lines < 1 || lines > 8)
		return 2;
	burst = BURST * lines;
	count = 65536 / burst * burst;
	bench_step_items = (256 + burst - 1) / burst * burst;
	bench_setup();
	if (ruleset_compile_dir(&packs, rules_dir, 100000, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	frames_make(&ev, lines);
	printf("-- clicks of %.0f bytes, %u a frame, bursts of %d, %u rules with %u patterns\n",
		(double)ev.total / ev.count, lines, BURST, ruleset_rule_count(packs),
		ruleset_pattern_count(packs));
	decode = bench_report("decode", run_decode, NULL, count, 0);
	parse = bench_report("decode + parse", run_parse, NULL, count, 0);
	use_rules(ruleset_empty());
	record = bench_report("pipeline without rules (+ key, record)", run_pipeline, NULL, count, 0);
	use_rules(packs);
	match = bench_report("pipeline with rules", run_pipeline, NULL, count, 0);
	printf("stages: decode %.1f, parse %.1f, key + record %.1f, match %.1f ns/event\n", decode,
		parse - decode, record - parse, match - record);
	printf("drops:");
	for (int d = 0; d < DROP_ID_MAX; d++)
		if (b.stats.drops[d])
			printf(" %s=%lu", drop_table[d].name, (unsigned long)b.stats.drops[d]);
	printf(" accepted=%lu\n", (unsigned long)b.stats.listener[0].accepted);
	return b.stats.listener[0].accepted ? 0 : 1;
}
