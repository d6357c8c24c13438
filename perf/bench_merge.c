/* Partial rows a second through the merge stage at P = 4: all partitions with a share of each key, as windows
 * by page or source have; a key in one partition only, as sessions have; windows that are kept for revisions;
 * baselines. CPU time. Partial logs are made beforehand, fed as merge_wants() asks, and what comes out is
 * thrown away.
 *
 * usage: bench_merge [KEYS]    keys of a window, 10000 by default */
#include "bench_util.h"
#include "merge.h"
#include "row.h"

#define PARTS 4u
#define STEPS 20
#define STEP_MS 1000

struct part {
	struct bytes log;
	const uint8_t *at;
	uint64_t offset;
};

struct run {
	struct window_def def;
	struct part part[PARTS];
	uint32_t rows;
	uint64_t emitted;
};

static void die(const char *why)
{
	fprintf(stderr, "bench_merge: %s\n", why);
	exit(1);
}

static const struct window_def *find(void *arg, uint64_t uid)
{
	struct run *run = arg;

	return uid == run->def.uid ? &run->def : NULL;
}

static int emit(void *arg, const struct record *rec)
{
	struct run *run = arg;

	bench_keep(rec);
	run->emitted++;
	return 0;
}

/* A cell of a few events. */
static void cell_pack(
	const struct agg_set *set, struct agg_arena *a, void *cell, uint64_t *seed, struct bytes *out)
{
	static _Alignas(8) uint8_t rec[1024];
	uint8_t raw[64];
	struct event ev = {.raw = raw, .type = EVENT_TYPE_platform, .raw_bytes = 32};

	ev.field_mask = FBIT(user_id) | FBIT(metric);
	ev.field[FIELD_user_id] = (struct span){0, 8};
	ev.field[FIELD_metric] = (struct span){16, 8};
	agg_arena_reset(a);
	agg_cell_init(set, cell);
	for (int n = 1 + (int)(bench_random(seed) % 8); n; n--) {
		struct agg_order order = {(int64_t)(bench_random(seed) % 1000), 0, 0};
		uint64_t user = bench_random(seed) % 1000000;
		double metric = (double)(bench_random(seed) % 100000) / 100;

		memcpy(raw, &user, 8);
		memcpy(raw + 16, &metric, 8);
		record_write_event(rec, &ev, 1, 1, 0);
		agg_cell_add(set, cell, a, (const struct record *)rec, &order);
	}
	bytes_reset(out);
	agg_cell_pack(set, cell, a, out);
}

/* spread: each key in all partitions, or in one. */
static void logs_make(struct run *run, uint32_t keys, bool spread)
{
	struct agg_arena *a = agg_arena_new(8 << 20);
	void *cell = calloc(1, agg_set_cell_bytes(run->def.aggs));
	struct bytes packed = {0};
	uint64_t seed = 1;

	if (!a || !cell)
		die("no memory");
	for (int64_t step = 1; step <= STEPS; step++) {
		for (uint32_t k = 0; k < keys; k++) {
			uint8_t key[16];
			uint16_t n = 8;

			memcpy(key, &n, sizeof n);
			snprintf((char *)key + sizeof n, 9, "%08u", k % 100000000);
			for (uint32_t p = spread ? 0 : k % PARTS; p < (spread ? PARTS : k % PARTS + 1); p++) {
				struct row row = {.window_uid = 1,
					.start_ms = (step - 1) * STEP_MS,
					.end_ms = step * STEP_MS,
					.step_ms = step * STEP_MS,
					.key_bytes = 10};

				cell_pack(run->def.aggs, a, cell, &seed, &packed);
				row.agg_bytes = (uint32_t)packed.bytes;
				row_put(&run->part[p].log, ROW_PARTIAL, &row, key, packed.data, NULL, k, 1);
				run->rows++;
			}
		}
		for (uint32_t p = 0; p < PARTS; p++)
			row_put_mark(&run->part[p].log, step * STEP_MS, 1);
	}
	bytes_free(&packed);
	free(cell);
	agg_arena_free(a);
}

static void run_all(struct run *run)
{
	struct merge_params params = {.window = find,
		.window_arg = run,
		.partitions = PARTS,
		.step_ms = STEP_MS,
		.memory_bytes = 1ull << 30};
	struct merge *m;
	struct err err;
	int want = -1;

	if (merge_new(&m, &params, emit, run, &err) != 0)
		die(err.text);
	for (uint32_t p = 0; p < PARTS; p++) {
		run->part[p].at = run->part[p].log.data;
		run->part[p].offset = 0;
	}
	for (;;) {
		struct part *part;

		want = merge_wants(m, want);
		if (want < 0) {
			if (merge_run(m, &err) != 0)
				die(err.text);
			continue;
		}
		part = &run->part[want];
		if (part->at == part->log.data + part->log.bytes)
			break;
		if (merge_feed(m, (uint32_t)want, (const struct record *)part->at, part->offset++, &err) != 0)
			die(err.text);
		part->at += ((const struct record *)part->at)->bytes;
	}
	if (merge_stats(m)->rows_in != run->rows)
		die("rows were left");
	merge_free(m);
}

/* CPU time of the best of some runs, per partial. */
static double best_cpu_ns(struct run *run)
{
	double best = 1e300;

	for (int i = 0; i < 7; i++) {
		struct timespec from, to;
		double ns;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
		run_all(run);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
		ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
		best = ns < best ? ns : best;
	}
	return best / run->rows;
}

static void bench(const char *name, const char *aggregates, const char *anomaly, int64_t lateness_ms,
	uint32_t keys, bool spread)
{
	struct run run = {.def = {.uid = 1,
				  .name = "bench",
				  .kind = WINDOW_TUMBLING,
				  .size_ms = STEP_MS,
				  .slide_ms = STEP_MS,
				  .lateness_ms = lateness_ms,
				  .keys_max = 10000000}};
	struct err err;
	double ns;

	if (agg_set_parse(&run.def.aggs, aggregates, &err) != 0)
		die(err.text);
	snprintf(run.def.anomaly, sizeof run.def.anomaly, "%s", anomaly);
	logs_make(&run, keys, spread);
	ns = best_cpu_ns(&run);
	printf("%-58s %7.0f ns/partial %7.2f M partials/s  %4.0f bytes each\n", name, ns, 1e3 / ns,
		(double)(run.part[0].log.bytes + run.part[1].log.bytes + run.part[2].log.bytes +
			 run.part[3].log.bytes) /
			run.rows);
	fflush(stdout);
	for (uint32_t p = 0; p < PARTS; p++)
		bytes_free(&run.part[p].log);
	agg_set_free(run.def.aggs);
}

int main(int argc, char **argv)
{
	uint32_t keys = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000;
	const char *plain = "count, avg(metric), min(metric), max(metric)";

	printf("merge of %u partitions, %u keys a window\n", PARTS, keys);
	bench("count, avg, min, max; each key in 4 partitions", plain, "", 0, keys, true);
	bench("the same, each key in one", plain, "", 0, keys, false);
	bench("the same in 4, with 3 s of lateness", plain, "", 3000, keys, true);
	bench("the same in 4, with zscore over 60 windows", plain, "zscore(count,60,4)", 0, keys, true);
	bench("the same in 4, with ewma", plain, "ewma(avg_metric,0.1,4)", 0, keys, true);
	bench("count, distinct, quantiles; each key in 4 partitions",
		"count, distinct(user_id), quantiles(metric)", "", 0, keys, true);
	return 0;
}
