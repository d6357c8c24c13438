/* Runs of events into cells: bit by bit what one event after the other gives, for every kind of part,
 * whatever is in a run, with memory and without. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agg_priv.h"
#include "agg_random.h"
#include "agg_record.h"
#include "avx2.h"

#define SETS 3
#define CELLS 5
#define CELL_BYTES 512

static const char *const text[SETS] = {
	"count, count(country=DE), count(type=click), sum(metric), min(metric), max(metric), "
	"variance(metric), "
	"error_rate, distinct(user_id), quantiles(metric), first(page), last(metric)",
	"sum(amount), min(amount), max(amount), variance(amount), top(page,3), last(amount), first(user_id), "
	"distinct(user_id)",
	"avg(amount), quantiles(amount), distinct(metric), count(metric=2), sum(metric)"};

/* Cells in two arenas: x takes runs, y events. */
struct pair {
	struct agg_set *set;
	_Alignas(8) uint8_t x[CELLS][CELL_BYTES], y[CELLS][CELL_BYTES];
	struct agg_arena *a, *b;
};

static double number_make(void)
{
	static const double odd[] = {0, -0.0, 2, INFINITY, -INFINITY, 1e300, -1e300, 1e-320};

	if (random_below(12) == 0)
		return odd[random_below(sizeof odd / sizeof *odd)];
	return exp(random_unit() * 9) - (random_below(9) == 0 ? 200 : 0);
}

/* parts: random bits, by which it has its fields. */
static const struct record *event_make(struct agg_record *r, uint32_t users, uint32_t parts)
{
	char name[120];
	double metric = number_make();
	int64_t amount = (int64_t)random_below(1000000000) - 400000000;
	int n;

	agg_record_start(r);
	r->ev.type = random_below(3) ? EVENT_TYPE_platform : EVENT_TYPE_click;
	r->ev.event_time_ms = random_below(1000);
	if (parts & 7) {
		n = snprintf(name, sizeof name, "%0*u", 1 + (int)random_below(40), random_below(users));
		agg_record_text(r, FIELD_user_id, name, (size_t)n);
	}
	if (parts >> 3 & 7) {
		n = snprintf(
			name, sizeof name, "/%0*u", (int)random_below(2) * 90, random_below(1 + users / 4));
		agg_record_text(r, FIELD_page, name, random_below(20) ? (size_t)n : 0);
	}
	agg_record_text(r, FIELD_country, random_below(2) ? "DE" : "FR", 2);
	if (!(parts >> 6 & 3))
		agg_record_text(r, FIELD_status, "error", 5);
	if (parts >> 8 & 3)
		agg_record_number(r, FIELD_metric, &metric);
	if (parts >> 10 & 3)
		agg_record_number(r, FIELD_amount, &amount);
	return agg_record_done(r);
}

static void pairs_begin(struct pair *pair, size_t bound)
{
	struct err err;

	for (uint32_t s = 0; s < SETS; s++) {
		struct pair *p = &pair[s];

		if (agg_set_parse(&p->set, text[s], &err))
			fail_msg("%s: %s", text[s], err.text);
		assert_true(agg_set_cell_bytes(p->set) <= CELL_BYTES);
		p->a = agg_arena_new(bound);
		p->b = agg_arena_new(bound);
		for (uint32_t i = 0; i < CELLS; i++) {
			agg_cell_init(p->set, p->x[i]);
			agg_cell_init(p->set, p->y[i]);
		}
	}
}

static void pairs_compare(const struct pair *pair)
{
	struct bytes x = {0}, y = {0};

	for (uint32_t s = 0; s < SETS; s++) {
		const struct pair *p = &pair[s];

		assert_int_equal(agg_arena_used(p->a), agg_arena_used(p->b));
		for (uint32_t i = 0; i < CELLS; i++) {
			bytes_reset(&x);
			bytes_reset(&y);
			agg_cell_pack(p->set, p->x[i], p->a, &x);
			agg_cell_pack(p->set, p->y[i], p->b, &y);
			assert_true(bytes_same(&x, &y));
		}
	}
	bytes_free(&x);
	bytes_free(&y);
}

static void pairs_end(struct pair *pair)
{
	for (uint32_t s = 0; s < SETS; s++) {
		agg_arena_free(pair[s].a);
		agg_arena_free(pair[s].b);
		agg_set_free(pair[s].set);
	}
}

/* Some of the run's events, each into some cell: a set sees others than the next one. */
static void run_add(struct pair *p, struct agg_run *run, uint32_t count)
{
	struct agg_items items = {.count = 0};
	uint64_t lost, want = 0;
	uint32_t leave_out = random_below(3);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t cell = random_below(CELLS);
		struct agg_order order = {run->rec[i]->event_time_ms, 3, run->offset[i]};

		if (leave_out && random_below(2))
			continue;
		agg_items_put(&items, i, p->x[cell], p->a);
		if (!agg_cell_add(p->set, p->y[cell], p->b, run->rec[i], &order))
			want |= 1ull << i;
	}
	agg_run_prefetch(run, p->set, &items);
	lost = agg_run_add(run, p->set, &items);
	assert_int_equal(lost, want);
}

static uint64_t rounds_run(uint32_t rounds, uint32_t limit_from)
{
	static struct pair pair[SETS];
	static struct agg_record made[AGG_RUN];
	static const struct record *rec[AGG_RUN];
	static const uint8_t *payload[AGG_RUN];
	static uint64_t offset[AGG_RUN];
	uint64_t at = 0;
	struct agg_run run;
	uint32_t users = 1 + random_size(4000);

	agg_run_init(&run, rec, payload, offset, 3);
	pairs_begin(pair, SIZE_MAX);
	for (uint32_t s = 0; s < SETS; s++)
		assert_true(agg_run_reads(&run, pair[s].set));
	for (uint32_t round = 0; round < rounds; round++) {
		uint32_t count = 1 + random_below(AGG_RUN), parts = random_below(1 << 12);
		bool alike = random_below(2);

		avx2_barred = random_below(2);
		for (uint32_t i = 0; i < count; i++) {
			rec[i] = event_make(&made[i], users, alike ? parts : random_below(1 << 12));
			payload[i] = record_payload(rec[i]);
			offset[i] = at++;
		}
		agg_run_begin(&run, alike);
		for (uint32_t s = 0; s < SETS; s++) {
			agg_arena_limit(pair[s].a, round < limit_from ? SIZE_MAX : 0);
			agg_arena_limit(pair[s].b, round < limit_from ? SIZE_MAX : 0);
			run_add(&pair[s], &run, count);
		}
		if (round % 16 == 0)
			pairs_compare(pair);
	}
	pairs_compare(pair);
	at = agg_arena_used(pair[0].a);
	pairs_end(pair);
	agg_run_free(&run);
	return at;
}

static void test_runs(void **state)
{
	uint64_t used = 0;

	(void)state;
	for (uint32_t n = 0; n < 60; n++)
		used += rounds_run(1 + random_size(300), UINT32_MAX);
	assert_true(used > 60000); /* sketches grew */
}

static void test_runs_without_memory(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < 60; n++) {
		uint32_t rounds = 1 + random_size(300);

		rounds_run(rounds, random_below(rounds));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_runs_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
