/* Events a second from frames in memory to the disk: one RX worker's whole path (this thread) and one
 * partition's writer with a durable journal, deduplication, no readers. Each event gets another id before its
 * frame is taken again. A worker that is eight batches ahead waits, as it does for a file: what is measured is
 * what both sustain.
 *
 * usage: bench_ingest DIR [SECONDS [EVENTS_A_FRAME [RULES]]]     DIR on the disk that is meant; 1.2 GiB are
 * used in it */
#define PARTITIONS 1
#define BATCHES 64
#include "bench_pipeline.h"

#include <errno.h>
#include <unistd.h>

#include "clock.h"
#include "journal.h"
#include "log.h"

#define ID_AT 13u /* of a click: behind {"event_id":" */

static uint16_t (*line_at)[8]; /* of each frame's events */

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_ingest: %s: %s\n", what, why);
	exit(1);
}

static double cpu_seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void lines_find(void)
{
	line_at = calloc(b.frames, sizeof *line_at);
	if (!line_at)
		die("memory", "none");
	for (uint32_t i = 0; i < b.frames; i++) {
		const uint8_t *f = rte_pktmbuf_mtod(b.mbuf[i], const uint8_t *), *p = f + 42;

		for (uint32_t k = 0; k < b.lines; k++) {
			line_at[i][k] = (uint16_t)(p - f);
			p = memchr(p, '}', b.mbuf[i]->data_len - (size_t)(p - f));
			p += 2;
		}
	}
}

/* Eight hex digits of the running number into each id of the burst that comes next. */
static void burst_renew(uint64_t *number)
{
	uint32_t at = b.at + BURST > b.frames ? 0 : b.at;

	for (uint32_t i = at; i < at + BURST; i++)
		for (uint32_t k = 0; k < b.lines; k++) {
			uint8_t *id = rte_pktmbuf_mtod_offset(b.mbuf[i], uint8_t *, line_at[i][k] + ID_AT);
			uint64_t v = ++*number, digits = 0;

			for (int d = 0; d < 8; d++, v >>= 4)
				digits = digits << 8 | (uint8_t) "0123456789abcdef"[v & 15];
			memcpy(id, &digits, 8);
		}
}

static void run(struct journal *j, double seconds, uint64_t *number, uint64_t *records, double *cpu)
{
	uint64_t end = bench_now_ns() + (uint64_t)(seconds * 1e9);
	const struct batch_lane *lane = handoff_lane(&b.handoff, 0, 0);
	struct journal_partition_stats s;

	journal_stats(j, 0, &s);
	*records = s.records[RECORD_EVENT];
	cpu[0] = cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
	cpu[1] = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (;;) {
		struct burst_time now = {clock_wall_ms(), clock_mono_ns()};

		if (now.mono_ns >= end)
			break;
		while (batch_free_count(lane) < BATCHES - 8)
			usleep(20); /* not in the writer's way, if cores are few */
		burst_renew(number);
		pipeline_burst(&b.pl, burst_next(), BURST, now);
		pipeline_seal(&b.pl, now, false);
	}
	journal_stats(j, 0, &s);
	*records = s.records[RECORD_EVENT] - *records;
	cpu[0] = cpu_seconds(CLOCK_THREAD_CPUTIME_ID) - cpu[0];
	cpu[1] = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu[1] - cpu[0];
}

static struct journal *journal_begin(const char *dir)
{
	struct journal_params params = {.partitions = 1,
		.block_bytes = 1u << 20,
		.block_age_us = 1000,
		.segment_bytes = 64ull << 20,
		.segments_max = 16,
		.inflight = 4,
		.cache_blocks = 8,
		.dedup_window_ms = 600000,
		.dedup_ids_max = 1000000,
		.out_of_orderness_ms = 10000,
		.tick_ms = 1000};
	struct journal *j;
	struct err err;

	snprintf(params.dir, sizeof params.dir, "%.200s/journal", dir);
	snprintf(params.node, sizeof params.node, "bench");
	if (journal_open(&j, &params, &err) || journal_start(j, &b.handoff, &err))
		die("journal", err.text);
	return j;
}

static void use_rules(const char *dir)
{
	struct ruleset *rs = ruleset_empty();
	struct matcher *m;
	struct err err = {0};

	if (dir && ruleset_compile_dir(&rs, dir, 100000, &err))
		die(dir, err.text);
	m = matcher_new(rs, &err);
	if (!m)
		die("rules", err.text);
	pipeline_set_matcher(&b.pl, m, 1);
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 5, cpu[2];
	uint32_t lines = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 1;
	struct bench_events ev = bench_events_make(65536, (struct bench_mix){0, 0, 0}, 42);
	uint64_t number = 0, records;
	char dir[240], command[300];
	struct journal *j;

	if (lines < 1 || lines > 8)
		return 2;
	snprintf(dir, sizeof dir, "%.180s/sluice-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (!mkdtemp(dir))
		die(dir, strerror(errno));
	bench_setup();
	log_init(LOG_LEVEL_WARN, false);
	frames_make(&ev, lines);
	lines_find();
	use_rules(argc > 4 ? argv[4] : NULL);
	j = journal_begin(dir);
	run(j, 3, &number, &records, cpu); /* each segment is written once, all places of ids are taken */
	run(j, seconds, &number, &records, cpu);
	printf("%u a frame: %.2f M events/s durable; CPU ns an event: worker %.0f, others %.0f; no_batch "
	       "%lu, duplicates %lu\n",
		lines, (double)records / seconds / 1e6, cpu[0] * 1e9 / (double)records,
		cpu[1] * 1e9 / (double)records, (unsigned long)b.stats.drops[DROP_no_batch],
		(unsigned long)b.stats.drops[DROP_duplicate]);
	pipeline_seal(&b.pl, (struct burst_time){clock_wall_ms(), clock_mono_ns()}, true);
	journal_stop(j);
	journal_close(j);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command) != 0;
}
