/* Cost of adding an event to a cell: each aggregate alone and the mix of the shipped windows, with few cells
 * that stay in the cache and with many that do not, with the cell and its memory prefetched a burst ahead as
 * the state stage does. Also packing, merging, and what a key takes in memory. */
#include <math.h>

#include "agg.h"
#include "agg_priv.h"
#include "bench_util.h"

#define EVENTS 65536u
#define BURST AGG_RUN

struct run {
	struct agg_set *set;
	struct agg_arena *arena;
	uint8_t *cells, *records;
	uint32_t *offset, *key; /* of each event: its record, its cell */
	uint32_t cell_count, stride;
	struct bytes packed;
};

static void *have(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint32_t field_put(struct event *ev, uint8_t *raw, enum field_id field, const char *text)
{
	uint32_t n = (uint32_t)strlen(text);

	memcpy(raw + ev->raw_bytes, text, n);
	ev->field[field] = (struct span){(uint16_t)ev->raw_bytes, (uint16_t)n};
	ev->field_mask |= 1ull << field;
	ev->raw_bytes += n;
	return n;
}

static void records_make(struct run *run)
{
	uint64_t seed = 7;
	uint32_t at = 0;

	run->records = have(aligned_alloc(64, EVENTS * 512ull));
	run->offset = have(calloc(EVENTS, sizeof *run->offset));
	run->key = have(calloc(EVENTS, sizeof *run->key));
	for (uint32_t i = 0; i < EVENTS; i++) {
		uint8_t raw[256], tail[8];
		struct event ev = {.raw = raw, .tail = tail, .type = EVENT_TYPE_platform};
		char text[64];
		double metric = exp(((double)(bench_random(&seed) >> 40) / (1 << 24) - 0.5) * 6) * 100;

		snprintf(text, sizeof text, "u%llu", (unsigned long long)(bench_random(&seed) % 1000000));
		field_put(&ev, raw, FIELD_user_id, text);
		snprintf(text, sizeof text, "/products/%llu",
			(unsigned long long)(bench_random(&seed) % 1000));
		field_put(&ev, raw, FIELD_page, text);
		field_put(&ev, raw, FIELD_country, "DE");
		field_put(&ev, raw, FIELD_status, bench_random(&seed) % 50 ? "ok" : "error");
		memcpy(tail, &metric, 8);
		ev.tail_bytes = 8;
		ev.field[FIELD_metric] = (struct span){(uint16_t)ev.raw_bytes, 8};
		ev.field_mask |= FBIT(metric);
		run->offset[i] = at;
		at += record_write_event(run->records + at, &ev, 1, 0, 0);
	}
}

static void adds_range(struct run *run, uint32_t from, uint32_t to)
{
	struct agg_order order = {0, 0, 0};

	for (uint32_t i = from; i < to; i++) {
		order.offset = i;
		agg_cell_add(run->set, run->cells + (size_t)run->key[i] * run->stride, run->arena,
			(const struct record *)(run->records + run->offset[i]), &order);
	}
}

/* As the state stage does it. */
static void adds_ahead_range(struct run *run, uint32_t from, uint32_t end)
{
	static const struct record *rec[BURST];
	static const uint8_t *payload[BURST];
	static uint64_t offset[BURST];
	struct agg_run aggs;

	agg_run_init(&aggs, rec, payload, offset, 0);
	if (!agg_run_reads(&aggs, run->set))
		abort();
	for (; from < end; from += BURST) {
		uint32_t count = from + BURST < end ? BURST : end - from;
		struct agg_items items = {.count = 0};

		for (uint32_t i = 0; i < count; i++) {
			uint8_t *cell = run->cells + (size_t)run->key[from + i] * run->stride;

			rec[i] = (const struct record *)(run->records + run->offset[from + i]);
			payload[i] = record_payload(rec[i]);
			offset[i] = from + i;
			for (uint32_t at = 0; at < 192; at += 64)
				__builtin_prefetch((const uint8_t *)rec[i] + at);
			__builtin_prefetch(cell, 1);
			__builtin_prefetch(cell + run->stride - 1, 1);
			agg_items_put(&items, i, cell, run->arena);
		}
		agg_run_begin(&aggs, false);
		agg_run_prefetch(&aggs, run->set, &items);
		agg_run_add(&aggs, run->set, &items);
	}
	agg_run_free(&aggs);
}

static void adds(void *arg, uint32_t count)
{
	adds_range(arg, 0, count);
}

static void adds_ahead(void *arg, uint32_t count)
{
	adds_ahead_range(arg, 0, count);
}

static void packs(void *arg, uint32_t count)
{
	struct run *run = arg;

	for (uint32_t i = 0; i < count; i++) {
		bytes_reset(&run->packed);
		agg_cell_pack(run->set, run->cells + (size_t)(i % run->cell_count) * run->stride, run->arena,
			&run->packed);
	}
}

/* A cell and its neighbour into an empty one: what a hopping window does. */
static void merges(void *arg, uint32_t count)
{
	struct run *run = arg;
	_Alignas(8) uint8_t sum[1024];

	agg_cell_init(run->set, sum);
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 0; k < 2; k++)
			agg_cell_merge(run->set, sum, run->arena,
				run->cells + (size_t)((i + k) % run->cell_count) * run->stride, run->arena);
		agg_cell_clear(run->set, sum, run->arena);
	}
}

static void cells_start(struct run *run, const char *text, uint32_t cells, uint32_t events_before)
{
	uint64_t seed = 3;
	struct err err;

	if (agg_set_parse(&run->set, text, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	run->cell_count = cells;
	run->stride = agg_set_cell_bytes(run->set);
	run->cells = have(aligned_alloc(64, ((size_t)cells * run->stride + 63) / 64 * 64));
	run->arena = have(agg_arena_new((size_t)8 << 30));
	for (uint32_t i = 0; i < cells; i++)
		agg_cell_init(run->set, run->cells + (size_t)i * run->stride);
	for (uint32_t round = 0; round < events_before; round++)
		for (uint32_t c = 0; c < cells; c++) {
			struct agg_order order = {0, 0, round};

			agg_cell_add(run->set, run->cells + (size_t)c * run->stride, run->arena,
				(const struct record *)(run->records +
							run->offset[bench_random(&seed) % EVENTS]),
				&order);
		}
	for (uint32_t i = 0; i < EVENTS; i++)
		run->key[i] = (uint32_t)(bench_random(&seed) % cells);
}

static void cells_end(struct run *run)
{
	agg_arena_free(run->arena);
	agg_set_free(run->set);
	free(run->cells);
}

static int compare_u64(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return (a > b) - (a < b);
}

/* One pass over cells that were filled with `events` each: adding again and again would fill them further.
 * The median of blocks: what else runs on the machine takes some of them. */
static void line(struct run *run, const char *text, uint32_t cells, uint32_t events)
{
	enum { BLOCK = 512, BLOCKS = EVENTS / BLOCK };
	uint64_t took[2][BLOCKS];
	double used = 0, mapped = 0;

	for (int ahead = 0; ahead < 2; ahead++) {
		cells_start(run, text, cells, events);
		used = (double)agg_arena_used(run->arena) / cells;
		mapped = (double)agg_arena_mapped(run->arena) / cells;
		for (uint32_t i = 0; i < BLOCKS; i++) {
			uint64_t start = bench_now_ns();

			(ahead ? adds_ahead_range : adds_range)(run, i * BLOCK, (i + 1) * BLOCK);
			took[ahead][i] = bench_now_ns() - start;
		}
		qsort(took[ahead], BLOCKS, sizeof took[ahead][0], compare_u64);
		cells_end(run);
	}
	printf("%8u cells of %5u events and more: %7.1f ns/add, prefetched %7.1f (best %7.1f); bytes: cell "
	       "%u, arena %.1f "
	       "(physical %.1f)\n",
		cells, events, (double)took[0][BLOCKS / 2] / BLOCK, (double)took[1][BLOCKS / 2] / BLOCK,
		(double)took[1][BLOCKS / 20] / BLOCK, run->stride, used, mapped);
	fflush(stdout);
}

/* The same events again and again: no cell grows. */
static void line_steady(struct run *run, const char *text, uint32_t cells)
{
	char name[64];

	cells_start(run, text, cells, 0);
	snprintf(name, sizeof name, "%u cells that have seen all", cells);
	bench_report(name, adds, run, EVENTS, 0);
	snprintf(name, sizeof name, "%u cells that have seen all, prefetched", cells);
	bench_report(name, adds_ahead, run, EVENTS, 0);
	cells_end(run);
}

int main(void)
{
	static const char *const mix = "count, sum(metric), distinct(user_id), quantiles(metric)";
	static const char *const alone[] = {"count", "sum(metric)", "min(metric), max(metric)",
		"variance(metric)", "error_rate", "distinct(user_id)", "quantiles(metric)", "top(page,10)",
		"last(page)"};
	struct run run = {0};

	records_make(&run);
	printf("-- one cell, many events\n");
	for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
		cells_start(&run, alone[i], 1, 10000);
		bench_report(alone[i], adds, &run, EVENTS, 0);
		cells_end(&run);
	}
	cells_start(&run, mix, 1, 10000);
	bench_report(mix, adds, &run, EVENTS, 0);
	cells_end(&run);
	printf("-- %s\n", mix);
	for (uint32_t cells = 1; cells <= 100000; cells *= 10)
		line_steady(&run, mix, cells);
	line(&run, mix, 100, 1000);
	line(&run, mix, 10000, 1);
	line(&run, mix, 10000, 10);
	line(&run, mix, 10000, 100);
	line(&run, mix, 1000000, 1);
	line(&run, mix, 1000000, 3);
	line(&run, mix, 1000000, 10);
	printf("-- rows of %s\n", mix);
	for (uint32_t events = 3; events <= 3000; events *= 10) {
		double pack, merge; /* instructions are not counted: too many to step through */

		cells_start(&run, mix, 100, events);
		pack = bench_best_ns(packs, &run, 1000, 10);
		merge = bench_best_ns(merges, &run, 1000, 10);
		bytes_reset(&run.packed);
		agg_cell_pack(run.set, run.cells, run.arena, &run.packed);
		printf("%5u events a cell: pack %8.0f ns, merge two into an empty one %8.0f ns; %zu bytes "
		       "packed\n",
			events, pack, merge, run.packed.bytes);
		cells_end(&run);
	}
	return 0;
}
