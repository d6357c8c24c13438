/* Reload of a large ruleset: what it costs to compile (nothing kept, then from kept databases), and what a
 * worker stands still for when it switches between two of them under load: sealing and switching, and how
 * much longer the bursts right after take than others. argv[1]: patterns, 10,000 by default. */
#include "bench_pipeline.h"

#include <unistd.h>

#define SWITCHES 300
#define STEADY 40 /* bursts between two switches */
#define AFTER 4	  /* bursts that are looked at one by one */

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void word(FILE *out, uint64_t *seed, int letters)
{
	while (letters--)
		fputc("abcdefghijklmnopqrstuvwxyz0123456789"[bench_random(seed) % 36], out);
}

/* Half literals, half expressions, on four fields. */
static char *rules_text(uint32_t patterns, uint64_t seed)
{
	static const char *const field[] = {"page", "referrer", "user_agent", "user_id"};
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		abort();
	fputs("rules:\n", out);
	for (uint32_t i = 0; i < patterns; i++) {
		fprintf(out, "- {id: r%u, when: {%s: {", i, field[i % 4]);
		fputs(i / 4 % 2 ? "contains: 'x" : "regex: '(?i)x", out);
		word(out, &seed, 7);
		if (i / 4 % 2 == 0) {
			fputs("[0-9]{2,4}", out);
			word(out, &seed, 3);
		}
		fputs("'}}, then: tag}\n", out);
	}
	fclose(out);
	return text;
}

static struct ruleset *compiled(const char *text, const char *what)
{
	struct rule_source source = {"bench.yaml", text, strlen(text), false};
	double start = cpu_seconds();
	struct ruleset *rs;
	struct err err = {0};

	if (ruleset_compile(&rs, &source, 1, 1000000, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	printf("compile, %s: %.2f s of CPU\n", what, cpu_seconds() - start);
	return rs;
}

static uint64_t burst_ns(void)
{
	const struct burst_time now = {BENCH_RECEIVE_MS, 1};
	uint64_t start = bench_now_ns(), took;

	pipeline_burst(&b.pl, burst_next(), BURST, now);
	took = bench_now_ns() - start;
	lanes_drain();
	return took;
}

static int by_value(const void *x, const void *y)
{
	uint64_t p = *(const uint64_t *)x, q = *(const uint64_t *)y;

	return (p > q) - (p < q);
}

static void numbers(const char *what, uint64_t *ns, size_t count)
{
	qsort(ns, count, sizeof *ns, by_value);
	printf("%-34s median %7.1f, 99 %% %7.1f, longest %7.1f us\n", what, (double)ns[count / 2] / 1e3,
		(double)ns[count * 99 / 100] / 1e3, (double)ns[count - 1] / 1e3);
}

/* Without the bursts between, the worker would find everything in its caches. */
static void switches(struct ruleset *const rs[2])
{
	static uint64_t pause[SWITCHES], after[AFTER][SWITCHES], steady[SWITCHES * STEADY], made[SWITCHES];
	struct matcher *old = NULL, *m;
	struct err err;
	uint64_t start;

	for (uint32_t i = 0; i < SWITCHES; i++) {
		start = bench_now_ns();
		m = matcher_new(rs[i % 2], &err);
		made[i] = bench_now_ns() - start;
		if (!m)
			abort();
		for (uint32_t k = 0; i && k < 3; k++) /* batches are open */
			pipeline_burst(&b.pl, burst_next(), BURST, (struct burst_time){BENCH_RECEIVE_MS, 1});
		start = bench_now_ns();
		pipeline_set_matcher(&b.pl, m, i + 2);
		pause[i] = bench_now_ns() - start;
		lanes_drain();
		for (uint32_t k = 0; k < AFTER; k++)
			after[k][i] = burst_ns();
		for (uint32_t k = 0; k < STEADY; k++)
			steady[i * STEADY + k] = burst_ns();
		matcher_free(old);
		old = m;
	}
	numbers("making a matcher (not the worker)", made, SWITCHES);
	numbers("seal and switch", pause, SWITCHES);
	for (uint32_t k = 0; k < AFTER; k++) {
		char name[64];

		snprintf(name, sizeof name, "burst %u after it, %d events", k + 1, BURST);
		numbers(name, after[k], SWITCHES);
	}
	numbers("any other burst", steady, (size_t)SWITCHES * STEADY);
	matcher_free(old);
}

int main(int argc, char **argv)
{
	uint32_t patterns = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000;
	struct bench_events ev = bench_events_make(65536, (struct bench_mix){0, 0, 0}, 42);
	char cache[] = "/tmp/sluice-bench-reload-XXXXXX", command[64];
	char *text[2] = {rules_text(patterns, 1), rules_text(patterns, 2)};
	struct ruleset *rs[2], *warm;
	struct err err;

	bench_setup();
	frames_make(&ev, 1);
	if (!mkdtemp(cache) || ruleset_cache_set(cache, &err))
		return 1;
	printf("-- %u patterns\n", patterns);
	for (int i = 0; i < 2; i++)
		rs[i] = compiled(text[i], "nothing kept");
	warm = compiled(text[0], "databases kept");
	ruleset_free(warm);
	switches(rs);
	ruleset_free(rs[0]);
	ruleset_free(rs[1]);
	snprintf(command, sizeof command, "rm -r %s", cache);
	return system(command) ? 1 : 0;
}
