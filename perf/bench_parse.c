/* Cost of parsing an event: learned shapes, the slow path by AVX2 and by the baseline, and mixes. At least 64
 * K unique events, so that the branch predictor cannot learn them by heart. */
#include "bench_events.h"
#include "json.h"
#include "ndjson.h"

struct run {
	struct json_parser *jp;
	struct bench_events events;
	uint8_t *lines; /* the same events as NDJSON datagrams */
	uint32_t lines_bytes;
	uint64_t refused;
	uint64_t sum;
};

static const struct parse_limits limits = {0, 300000};

static void parse_one(struct run *run, const uint8_t *raw, uint32_t bytes)
{
	struct event ev;

	if (!json_parser_room(run->jp, bytes))
		json_parser_reset(run->jp);
	json_parse_event(run->jp, raw, bytes, EVENT_TYPE_NONE, BENCH_RECEIVE_MS, &limits, &ev);
	run->refused += ev.refused != 0;
	run->sum += (uint64_t)ev.event_time_ms + ev.field[FIELD_user_id].offset;
	bench_keep(&ev);
}

static void run_events(void *arg, uint32_t count)
{
	struct run *run = arg;

	for (uint32_t i = 0; i < count; i++)
		parse_one(run, run->events.bytes + run->events.offset[i], run->events.length[i]);
}

static void run_lines(void *arg, uint32_t count)
{
	struct run *run = arg;
	struct ndjson lines = ndjson_start(run->lines, run->lines_bytes);
	const uint8_t *line;
	uint32_t bytes;

	for (uint32_t i = 0; i < count && ndjson_next(&lines, &line, &bytes); i++)
		parse_one(run, line, bytes);
}

static void run_copy(void *arg, uint32_t count)
{
	struct run *run = arg;
	uint8_t copy[512];

	for (uint32_t i = 0; i < count; i++) {
		memcpy(copy, run->events.bytes + run->events.offset[i], run->events.length[i]);
		bench_keep(copy);
	}
}

static void lines_make(struct run *run)
{
	run->lines = malloc(run->events.total + run->events.count + EVENT_PAD_BYTES);
	if (!run->lines)
		abort();
	run->lines_bytes = 0;
	for (uint32_t i = 0; i < run->events.count; i++) {
		memcpy(run->lines + run->lines_bytes, run->events.bytes + run->events.offset[i],
			run->events.length[i]);
		run->lines_bytes += run->events.length[i];
		run->lines[run->lines_bytes++] = '\n';
	}
	memset(run->lines + run->lines_bytes, 0, EVENT_PAD_BYTES);
}

static void bench_mix_run(const char *name, struct bench_mix mix, uint32_t count, bool paths)
{
	struct run run = {.jp = json_parser_new(1 << 20), .events = bench_events_make(count, mix, 42)};

	if (!run.jp)
		abort();
	printf("-- %s: %u events of %.1f bytes\n", name, count, (double)run.events.total / count);
	bench_report("learned shapes", run_events, &run, count, run.events.total);
	printf("   taken by a shape: %.2f%%, shapes learned: %lu\n",
		100.0 * (double)json_parser_stats(run.jp)->fast /
			(double)(json_parser_stats(run.jp)->fast + json_parser_stats(run.jp)->slow),
		(unsigned long)json_parser_stats(run.jp)->learned);
	if (paths) {
		lines_make(&run);
		bench_report("learned shapes, lines split", run_lines, &run, count, run.events.total);
		json_parser_use(run.jp, true, false);
		bench_report("slow path, AVX2", run_events, &run, count, run.events.total);
		json_parser_use(run.jp, false, false);
		bench_report("slow path, baseline", run_events, &run, count, run.events.total);
		bench_report("memcpy", run_copy, &run, count, run.events.total);
		free(run.lines);
	}
	if (run.refused)
		printf("   REFUSED: %lu\n", (unsigned long)run.refused);
	bench_events_free(&run.events);
	json_parser_free(run.jp);
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 65536;

	bench_mix_run("clicks", (struct bench_mix){0, 0, 0}, count, true);
	bench_mix_run("platform events", (struct bench_mix){1000, 0, 0}, count, true);
	bench_mix_run("half clicks, half platform", (struct bench_mix){500, 0, 0}, count, false);
	bench_mix_run("clicks, 2% with escapes", (struct bench_mix){0, 20, 0}, count, false);
	bench_mix_run("clicks, 10% with non-ASCII", (struct bench_mix){0, 0, 100}, count, false);
	return 0;
}
