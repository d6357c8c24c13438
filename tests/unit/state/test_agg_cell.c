/* Cells against brute force: random events into random trees of cells and merges, through packed forms, must
 * give what a plain loop over the events gives. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "agg_priv.h"
#include "agg_random.h"
#include "agg_record.h"

#define EVENTS_MAX 64
#define LEAVES 5

struct sample {
	bool has_metric, has_status, has_page, has_amount;
	double metric;
	int64_t amount;
	char status[16], page[96];
	struct agg_order order;
};

struct expected {
	uint64_t count, ok, errors, n, amounts;
	double sum, min, max, mean, m2;
	__int128 amount_sum;
	int64_t amount_min, amount_max;
	const struct sample *first, *last;
};

static const char *const statuses[] = {
	"ok", "error", "ERROR", "200", "499", "500", "503", "failed", "fine", "Fatal"};
static const bool status_bad[] = {false, true, true, false, false, true, true, true, false, true};

static enum field_id amount_field(void)
{
	return field_by_name("amount", 6);
}

static void sample_make(struct sample *s)
{
	uint64_t r = random_u64();
	int n;

	*s = (struct sample){0};
	s->has_metric = r & 1;
	s->has_status = r & 2;
	s->has_page = r & 4;
	s->has_amount = (r & 8) && amount_field() != FIELD_NONE;
	s->metric = (r & 0x70) ? ((double)(int64_t)random_u64() / 1e14) : -0.0; /* up to 92233.7 */
	s->amount = (int64_t)random_u64() >> (random_u64() % 64);
	snprintf(s->status, sizeof s->status, "%s", statuses[(r >> 8) % 10]);
	n = snprintf(s->page, sizeof s->page, "/%llx", (unsigned long long)(r >> 20) % 7);
	if ((r >> 16 & 7) == 0) /* a long one, that must be cut between characters */
		for (int i = 0; i < 20; i++)
			n += snprintf(s->page + n, sizeof s->page - (size_t)n, "%s", i % 2 ? "ä" : "€");
	s->order.time_ms = (int64_t)(random_u64() % 5) - 2;
	s->order.partition = (uint32_t)(random_u64() % 2);
	s->order.offset = random_u64() % 1000;
}

static const struct record *sample_record(struct agg_record *r, const struct sample *s)
{
	agg_record_start(r);
	if (s->has_page)
		agg_record_text(r, FIELD_page, s->page, strlen(s->page));
	if (s->has_status)
		agg_record_text(r, FIELD_status, s->status, strlen(s->status));
	if (s->has_metric)
		agg_record_number(r, FIELD_metric, &s->metric);
	if (s->has_amount)
		agg_record_number(r, amount_field(), &s->amount);
	return agg_record_done(r);
}

static bool order_less(const struct agg_order *a, const struct agg_order *b)
{
	return a->time_ms != b->time_ms	      ? a->time_ms < b->time_ms
	       : a->partition != b->partition ? a->partition < b->partition
					      : a->offset < b->offset;
}

static void expect(struct expected *e, const struct sample *s, uint32_t count)
{
	*e = (struct expected){.count = count, .min = INFINITY, .max = -INFINITY};
	e->amount_min = INT64_MAX;
	e->amount_max = INT64_MIN;
	for (uint32_t i = 0; i < count; i++, s++) {
		bool bad = false;

		for (size_t k = 0; s->has_status && k < 10; k++)
			bad |= status_bad[k] && strcmp(s->status, statuses[k]) == 0;
		e->ok += s->has_status && strcmp(s->status, "ok") == 0;
		e->errors += bad;
		if (s->has_page && (!e->first || order_less(&s->order, &e->first->order)))
			e->first = s;
		if (s->has_page && (!e->last || order_less(&e->last->order, &s->order)))
			e->last = s;
		if (s->has_amount) {
			e->amounts++;
			e->amount_sum += s->amount;
			e->amount_min = s->amount < e->amount_min ? s->amount : e->amount_min;
			e->amount_max = s->amount > e->amount_max ? s->amount : e->amount_max;
		}
		if (!s->has_metric)
			continue;
		e->n++;
		e->sum += s->metric;
		e->min = fmin(e->min, s->metric);
		e->max = fmax(e->max, s->metric);
	}
	e->mean = e->n ? e->sum / (double)e->n : 0;
	s -= count;
	for (uint32_t i = 0; i < count; i++, s++)
		if (s->has_metric)
			e->m2 += (s->metric - e->mean) * (s->metric - e->mean);
}

static void near(double got, double want, double scale)
{
	if (!(fabs(got - want) <= 1e-9 * (scale + fabs(want))))
		fail_msg("%.17g, not %.17g", got, want);
}

static const char *const label_order[] = {"count", "count_status_ok", "sum_metric", "min_metric",
	"max_metric", "avg_metric", "variance_metric", "stddev_metric", "error_rate", "first_page",
	"last_page", "sum_amount", "min_amount", "max_amount", "avg_amount"};

struct check {
	const struct expected *e;
	uint32_t seen;
};

static void text_check(const struct agg_value *v, const struct sample *s)
{
	assert_int_equal(v->kind, s ? AGG_VALUE_TEXT : AGG_VALUE_NONE);
	if (!s)
		return;
	assert_true(v->text_bytes <= AGG_TEXT_BYTES &&
		    v->text_bytes + 3 >= (strlen(s->page) < 64 ? strlen(s->page) : 64));
	assert_memory_equal(v->text, s->page, v->text_bytes);
	assert_false((s->page[v->text_bytes] & 0xc0) == 0x80);
}

static int value_check(void *arg, const struct agg_value *v)
{
	struct check *c = arg;
	const struct expected *e = c->e;
	uint32_t i = c->seen++;
	double scale = 1e5 * 64;

	assert_string_equal(v->label, label_order[i]);
	if (i >= 2 && i <= 7)
		assert_int_equal(v->kind, e->n ? AGG_VALUE_F64 : AGG_VALUE_NONE);
	if (i >= 11 && i <= 13)
		assert_int_equal(v->kind, e->amounts ? AGG_VALUE_DECIMAL : AGG_VALUE_NONE);
	if (i == 0)
		assert_true(v->kind == AGG_VALUE_U64 && v->u64 == e->count);
	if (i == 1)
		assert_true(v->kind == AGG_VALUE_U64 && v->u64 == e->ok);
	if (i == 8 && e->count)
		near(v->f64, (double)e->errors / (double)e->count, 0);
	if (i == 9 || i == 10)
		text_check(v, i == 9 ? e->first : e->last);
	if (e->n) {
		if (i == 2)
			near(v->f64, e->sum, scale);
		if (i == 3 || i == 4)
			assert_true(v->f64 == (i == 3 ? e->min : e->max));
		if (i == 5)
			near(v->f64, e->mean, scale);
		if (i == 6)
			near(v->f64, e->m2 / (double)e->n, scale * scale);
	}
	if (e->amounts) {
		if (i == 11)
			assert_true(v->decimal == e->amount_sum);
		if (i == 12 || i == 13)
			assert_true(v->decimal == (i == 12 ? e->amount_min : e->amount_max));
		if (i == 14)
			near(v->f64, (double)e->amount_sum / 1e6 / (double)e->amounts, 0);
	}
	return 0;
}

/* a += b, by a merge of cells or by way of b's packed form; b is emptied. */
static void combine(const struct agg_set *set, void *a, struct agg_arena *aa, void *b, struct agg_arena *ba)
{
	struct bytes packed = {0};

	if (random_u64() & 1) {
		assert_true(agg_cell_merge(set, a, aa, b, ba));
	} else {
		agg_cell_pack(set, b, ba, &packed);
		assert_true(packed.bytes <= agg_set_packed_max(set));
		assert_int_equal(agg_cell_unpack(set, a, aa, packed.data, packed.bytes), 0);
		bytes_free(&packed);
	}
	agg_cell_clear(set, b, ba);
}

/* Packed, unpacked into an empty cell and packed again: the same bytes, and the same logical memory. */
static void packed_check(const struct agg_set *set, const void *cell, struct agg_arena *a,
	struct agg_arena *other, const struct expected *e)
{
	_Alignas(8) uint8_t again[512];
	struct bytes one = {0}, two = {0};
	struct check c = {e, 0};

	agg_cell_init(set, again);
	agg_cell_pack(set, cell, a, &one);
	assert_true(one.bytes <= agg_set_packed_max(set));
	assert_int_equal(agg_cell_unpack(set, again, other, one.data, one.bytes), 0);
	agg_cell_pack(set, again, other, &two);
	assert_int_equal(one.bytes, two.bytes);
	assert_memory_equal(one.data, two.data, one.bytes);
	assert_int_equal(agg_arena_used(a), agg_arena_used(other));
	assert_int_equal(agg_values(set, one.data, one.bytes, value_check, &c), 0);
	assert_int_equal(c.seen, amount_field() == FIELD_NONE ? 11 : 15);
	agg_cell_clear(set, again, other);
	assert_int_equal(agg_arena_used(other), 0);
	bytes_free(&one);
	bytes_free(&two);
}

static struct agg_set *exact_set(void)
{
	struct agg_set *set;
	struct err err;
	char text[512];

	snprintf(text, sizeof text, "%s%s",
		"count, count(status=ok), sum(metric), min(metric), max(metric), avg(metric), "
		"variance(metric), error_rate,"
		"first(page), last(page)",
		amount_field() == FIELD_NONE ? "" : ", sum(amount), min(amount), max(amount), avg(amount)");
	if (agg_set_parse(&set, text, &err))
		fail_msg("%s", err.text);
	return set;
}

static void test_exact_parts(void **state)
{
	struct agg_set *set = exact_set();
	static struct agg_record rec;
	struct sample sample[EVENTS_MAX];
	struct agg_arena *arena[LEAVES], *other = agg_arena_new(1 << 20);
	_Alignas(8) uint8_t cell[LEAVES][512];
	struct expected e;

	(void)state;
	assert_true(agg_set_cell_bytes(set) <= sizeof cell[0]);
	for (int i = 0; i < LEAVES; i++)
		arena[i] = agg_arena_new(1 << 20);
	for (int round = 0; round < 20000; round++) {
		uint32_t count = (uint32_t)(random_u64() % (EVENTS_MAX + 1));

		for (int i = 0; i < LEAVES; i++)
			agg_cell_init(set, cell[i]);
		for (uint32_t i = 0; i < count; i++) {
			uint32_t leaf = (uint32_t)(random_u64() % LEAVES);

			sample_make(&sample[i]);
			sample[i].order.offset =
				sample[i].order.offset * EVENTS_MAX + i; /* addresses differ */
			assert_true(agg_cell_add(set, cell[leaf], arena[leaf],
				sample_record(&rec, &sample[i]), &sample[i].order));
		}
		expect(&e, sample, count);
		for (int left = LEAVES; left > 1; left--) { /* some tree: a random one into another */
			int from = left - 1, to = (int)(random_u64() % (uint64_t)from);

			combine(set, cell[to], arena[to], cell[from], arena[from]);
			assert_int_equal(agg_arena_used(arena[from]), 0);
		}
		packed_check(set, cell[0], arena[0], other, &e);
		agg_cell_clear(set, cell[0], arena[0]);
		assert_int_equal(agg_arena_used(arena[0]), 0);
	}
	for (int i = 0; i < LEAVES; i++)
		agg_arena_free(arena[i]);
	agg_arena_free(other);
	agg_set_free(set);
}

static int none_check(void *arg, const struct agg_value *v)
{
	(void)arg;
	assert_int_equal(v->kind, strncmp(v->label, "count", 5) == 0 ? AGG_VALUE_U64 : AGG_VALUE_NONE);
	return 0;
}

static int stop_at_third(void *arg, const struct agg_value *v)
{
	(void)v;
	return ++*(int *)arg == 3 ? 7 : 0;
}

static void test_empty_cell(void **state)
{
	struct agg_set *set = exact_set();
	_Alignas(8) uint8_t cell[512];
	struct bytes packed = {0};
	int calls = 0;

	(void)state;
	agg_cell_init(set, cell);
	agg_cell_pack(set, cell, NULL, &packed);
	assert_int_equal(agg_values(set, packed.data, packed.bytes, none_check, NULL), 0);
	assert_int_equal(agg_values(set, packed.data, packed.bytes, stop_at_third, &calls), 7);
	assert_int_equal(agg_values(set, packed.data, packed.bytes - 1, none_check, NULL), -EINVAL);
	bytes_put_u8(&packed, 0);
	assert_int_equal(agg_values(set, packed.data, packed.bytes, none_check, NULL), -EINVAL);
	bytes_free(&packed);
	agg_set_free(set);
}

/* What is no number, or infinite, counts as absent; a negative zero is a zero. */
static void test_no_numbers(void **state)
{
	static const double metric[] = {NAN, INFINITY, -INFINITY, -0.0};
	struct agg_set *set = exact_set();
	struct agg_view view[AGG_PARTS_MAX];
	static struct agg_record rec;
	_Alignas(8) uint8_t cell[512];
	struct bytes packed = {0};

	(void)state;
	agg_cell_init(set, cell);
	for (uint32_t i = 0; i < 4; i++) {
		struct sample s = {.has_metric = true, .metric = metric[i]};

		assert_true(agg_cell_add(set, cell, NULL, sample_record(&rec, &s), &s.order));
	}
	agg_cell_pack(set, cell, NULL, &packed);
	assert_int_equal(agg_read(set, packed.data, packed.bytes, view), 0);
	assert_int_equal(view[set->at[0][AGG_PART_COUNT]].n, 4);
	assert_int_equal(view[set->at[2][AGG_PART_PRESENT]].n, 1);
	assert_true(view[set->at[2][AGG_PART_SUM]].number == 0 &&
		    view[set->at[3][AGG_PART_MIN]].number == 0 &&
		    view[set->at[4][AGG_PART_MAX]].number == 0 && view[set->at[6][AGG_PART_MOMENTS]].m2 == 0);
	bytes_free(&packed);
	agg_set_free(set);
}

/* Without memory the exact parts go on, and the call says so. */
static void test_full_arena(void **state)
{
	struct agg_set *set = exact_set();
	struct agg_arena *a = agg_arena_new(16);
	static struct agg_record rec;
	struct sample s = {
		.has_page = true, .page = "/a-page-of-more-than-16-bytes", .has_metric = true, .metric = 2};
	_Alignas(8) uint8_t cell[512];
	struct bytes packed = {0};
	struct agg_view view[AGG_PARTS_MAX];

	(void)state;
	agg_cell_init(set, cell);
	assert_false(agg_cell_add(set, cell, a, sample_record(&rec, &s), &s.order));
	assert_int_equal(agg_arena_used(a), 0);
	agg_cell_pack(set, cell, a, &packed);
	assert_int_equal(agg_read(set, packed.data, packed.bytes, view), 0);
	assert_int_equal(view[set->at[0][AGG_PART_COUNT]].n, 1);
	assert_true(view[set->at[2][AGG_PART_SUM]].number == 2);
	agg_arena_limit(a, 64);
	assert_true(agg_cell_add(set, cell, a, sample_record(&rec, &s), &s.order));
	assert_int_equal(agg_arena_used(a), 64); /* 29 bytes, twice */
	bytes_free(&packed);
	agg_arena_free(a);
	agg_set_free(set);
}

/* Cells of one arena (sessions that become one) are merged while the arena's memory moves elsewhere. */
static void test_merge_moves(void **state)
{
	const uint32_t class_48 = 3;
	struct sample early = {.has_page = true, .page = "/a", .order = {.time_ms = 1}};
	struct sample late = {.has_page = true,
		.page = "/a-text-that-needs-48-bytes-of-the-arena",
		.order = {.time_ms = 2}};
	struct agg_arena *a = agg_arena_new(SIZE_MAX);
	static struct agg_record rec;
	_Alignas(8) uint8_t x[512], y[512];
	struct agg_view view[AGG_PARTS_MAX], *last;
	struct bytes packed = {0};
	struct agg_set *set;
	struct err err;
	void *wall;

	(void)state;
	assert_int_equal(agg_set_parse(&set, "last(page)", &err), 0);
	agg_cell_init(set, x);
	agg_cell_init(set, y);
	assert_true(agg_cell_add(set, x, a, sample_record(&rec, &early), &early.order));
	assert_true(agg_cell_add(set, y, a, sample_record(&rec, &late), &late.order));
	/* The next block of 48 bytes makes the arena grow, and nothing is free behind it. */
	while (a->slab[class_48].at != a->slab[class_48].end || a->top + AGG_ARENA_SLAB <= a->capacity)
		(void)agg_arena_swap(a, 48);
	wall = mmap(a->base + a->capacity, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		-1, 0);
	assert_true(agg_cell_merge(set, x, a, y, a));
	agg_cell_pack(set, x, a, &packed);
	assert_int_equal(agg_read(set, packed.data, packed.bytes, view), 0);
	last = &view[set->at[0][AGG_PART_LAST]];
	assert_int_equal(last->text_bytes, strlen(late.page));
	assert_memory_equal(last->text, late.page, strlen(late.page));
	if (wall != MAP_FAILED)
		munmap(wall, 4096);
	bytes_free(&packed);
	agg_arena_free(a);
	agg_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_parts),
		cmocka_unit_test(test_empty_cell),
		cmocka_unit_test(test_no_numbers),
		cmocka_unit_test(test_full_arena),
		cmocka_unit_test(test_merge_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
