/* Columns merge by plain functions: random events in several cells, whose columns are then added up as a
 * database would, must give the columns of one cell with all events, and the values that agg_values()
 * computes from that cell. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agg_column.h"
#include "agg_record.h"

#define CELLS 3
#define LIST                                                                                                 \
	"count, count(status=ok), sum(amount), avg(metric), min(metric), max(amount), variance(metric), "    \
	"error_rate, first(page), last(metric), first(amount)"

static uint64_t seed = 7;

static uint64_t random_u64(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static const struct record *event_make(struct agg_record *r)
{
	static const char *const status[] = {"ok", "error", "200", "503"};
	uint64_t x = random_u64();
	double metric = (double)(int64_t)(random_u64() >> 30) / 1e4 - 1e4;
	int64_t amount = (int64_t)(random_u64() >> 24) - (1ll << 38);
	char page[16];

	agg_record_start(r);
	if (x & 1) {
		int n = snprintf(page, sizeof page, "/p%u", (unsigned)(x >> 32 & 7));

		agg_record_text(r, FIELD_page, page, (size_t)n);
	}
	if (x & 2)
		agg_record_text(r, FIELD_status, status[x >> 8 & 3], strlen(status[x >> 8 & 3]));
	if (x & 4)
		agg_record_number(r, FIELD_metric, &metric);
	if (x & 8)
		agg_record_number(r, FIELD_amount, &amount);
	return agg_record_done(r);
}

/* A column as a database holds it. */
struct merged {
	bool any;
	uint64_t u64;
	double f64;
	__int128 decimal;
	struct agg_order order;
	char text[64];
};

struct merge {
	const struct agg_column *column;
	struct merged *to;
};

static int order_compare(const struct agg_order *a, const struct agg_order *b)
{
	if (a->time_ms != b->time_ms)
		return a->time_ms < b->time_ms ? -1 : 1;
	if (a->partition != b->partition)
		return a->partition < b->partition ? -1 : 1;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void edge_merge(struct merged *m, const struct agg_column_value *v, int sign)
{
	if (!v->present || (m->any && order_compare(&v->order, &m->order) * sign <= 0))
		return;
	m->any = true;
	m->order = v->order;
	snprintf(m->text, sizeof m->text, "%.*s", (int)v->text_bytes, v->text);
}

static int column_merge(void *arg, uint32_t index, const struct agg_column_value *v)
{
	struct merge *merge = arg;
	const struct agg_column *c = &merge->column[index];
	struct merged *m = &merge->to[index];

	switch (c->kind) {
	case AGG_COLUMN_COUNT:
		m->u64 += v->u64;
		break;
	case AGG_COLUMN_SUM:
		m->f64 += v->f64;
		m->decimal += v->decimal;
		break;
	case AGG_COLUMN_MIN:
	case AGG_COLUMN_MAX:
		if (!v->present)
			break;
		if (!m->any || (c->kind == AGG_COLUMN_MIN ? v->f64 < m->f64 : v->f64 > m->f64))
			m->f64 = v->f64;
		if (!m->any ||
			(c->kind == AGG_COLUMN_MIN ? v->decimal < m->decimal : v->decimal > m->decimal))
			m->decimal = v->decimal;
		m->any = true;
		break;
	case AGG_COLUMN_FIRST:
		edge_merge(m, v, -1);
		break;
	case AGG_COLUMN_LAST:
		edge_merge(m, v, 1);
		break;
	default:
		fail_msg("%s", c->name);
	}
	return 0;
}

static void near(double a, double b)
{
	if (fabs(a - b) > 1e-9 * (1 + fabs(a) + fabs(b)))
		fail_msg("%.17g, not %.17g", a, b);
}

struct check {
	const struct agg_column *column;
	uint32_t count;
	const struct merged *m;
};

static const struct merged *column_of(const struct check *c, const char *name)
{
	for (uint32_t i = 0; i < c->count; i++)
		if (strcmp(c->column[i].name, name) == 0)
			return &c->m[i];
	fail_msg("no column %s", name);
	return NULL;
}

/* The formulas by which values come from merged columns. */
static int value_check(void *arg, const struct agg_value *v)
{
	const struct check *c = arg;
	double n = (double)column_of(c, "n_metric")->u64;
	bool none = v->kind == AGG_VALUE_NONE;

	if (strcmp(v->label, "avg_metric") == 0) {
		assert_int_equal(none, n == 0);
		near(none ? 0 : v->f64, none ? 0 : column_of(c, "sum_metric")->f64 / n);
	} else if (strcmp(v->label, "variance_metric") == 0) {
		double m1 = column_of(c, "m1_metric")->f64, m2 = column_of(c, "m2_metric")->f64;

		assert_int_equal(none, n == 0);
		near(none ? 0 : v->f64, none ? 0 : m2 / n - m1 / n * (m1 / n));
	} else if (strcmp(v->label, "error_rate") == 0) {
		near(v->f64, (double)column_of(c, "errors")->u64 / (double)column_of(c, "count")->u64);
	} else if (strncmp(v->label, "count", 5) == 0) {
		assert_int_equal(column_of(c, v->label)->u64, v->u64);
	} else if (strcmp(v->label, "sum_amount") == 0) {
		assert_true(column_of(c, v->label)->decimal == (none ? 0 : v->decimal));
	} else if (strcmp(v->label, "max_amount") == 0) {
		assert_true(column_of(c, v->label)->any == !none);
		assert_true(none || column_of(c, v->label)->decimal == v->decimal);
	} else if (strcmp(v->label, "min_metric") == 0) {
		assert_true(none || column_of(c, v->label)->f64 == v->f64);
	} else if (strcmp(v->label, "first_page") == 0) {
		assert_int_equal(column_of(c, v->label)->any, !none);
		assert_int_equal(strlen(column_of(c, v->label)->text), v->text_bytes);
		assert_memory_equal(column_of(c, v->label)->text, v->text, v->text_bytes);
	} else if (strcmp(v->label, "last_metric") == 0) {
		assert_true(none || strtod(column_of(c, v->label)->text, NULL) == v->f64);
	}
	return 0;
}

static void merged_check(const struct merged *a, const struct merged *b, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(a[i].any, b[i].any);
		assert_int_equal(a[i].u64, b[i].u64);
		assert_true(a[i].decimal == b[i].decimal);
		assert_int_equal(order_compare(&a[i].order, &b[i].order), 0);
		assert_string_equal(a[i].text, b[i].text);
		near(a[i].f64, b[i].f64);
	}
}

static void round_run(const struct agg_set *set, const struct agg_column *column, uint32_t count)
{
	static _Alignas(8) uint8_t cell[CELLS + 1][4096];
	struct merged parts[AGG_COLUMNS_MAX] = {0}, whole[AGG_COLUMNS_MAX] = {0};
	struct agg_arena *a = agg_arena_new(1 << 20);
	struct bytes packed = {0};
	uint64_t events = random_u64() % 40;

	for (int i = 0; i <= CELLS; i++)
		agg_cell_init(set, cell[i]);
	for (uint64_t n = 0; n < events; n++) {
		static struct agg_record r;
		const struct record *rec = event_make(&r);
		struct agg_order order = {(int64_t)(random_u64() % 5), (uint32_t)(random_u64() % 2), n};

		assert_true(agg_cell_add(set, cell[random_u64() % CELLS], a, rec, &order));
		assert_true(agg_cell_add(set, cell[CELLS], a, rec, &order));
	}
	for (int i = 0; i <= CELLS; i++) {
		struct merge merge = {column, i < CELLS ? parts : whole};

		bytes_reset(&packed);
		agg_cell_pack(set, cell[i], a, &packed);
		assert_int_equal(agg_column_values(set, column, count, packed.data, packed.bytes, NULL,
					 column_merge, &merge),
			0);
	}
	merged_check(parts, whole, count);
	assert_int_equal(agg_values(set, packed.data, packed.bytes, value_check,
				 &(struct check){column, count, whole}),
		0);
	bytes_free(&packed);
	agg_arena_free(a);
}

static void test_columns_merge(void **state)
{
	struct agg_column column[AGG_COLUMNS_MAX];
	struct agg_set *set;
	struct err err;
	uint32_t count;

	(void)state;
	if (agg_set_parse(&set, LIST, &err))
		fail_msg("%s", err.text);
	assert_true(agg_set_cell_bytes(set) <= 4096);
	count = agg_columns(set, column);
	for (int i = 0; i < 20000; i++)
		round_run(set, column, count);
	agg_set_free(set);
}

static void names_are(const char *list, const char *expected)
{
	struct agg_column column[AGG_COLUMNS_MAX];
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	struct agg_set *set;
	struct err err;
	uint32_t count;

	if (agg_set_parse(&set, list, &err))
		fail_msg("%s: %s", list, err.text);
	count = agg_columns(set, column);
	for (uint32_t i = 0; i < count; i++)
		fprintf(out, "%s%s", i ? " " : "", column[i].name);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	agg_set_free(set);
}

/* Each part once, whoever needs it; nothing that does not merge. */
static void test_names(void **state)
{
	(void)state;
	names_are("count", "count");
	names_are("avg(metric), sum(metric)", "n_metric sum_metric");
	names_are("sum(metric), avg(metric)", "sum_metric n_metric");
	names_are("error_rate, count", "count errors");
	names_are("variance(metric), avg(metric)", "n_metric m1_metric m2_metric sum_metric");
	names_are("count(status=ok), count(status=\"not ok\")", "count_status_ok count_status_not_ok");
	/* What was renamed to another's column stands there twice: who makes a table of it sees that. */
	names_are("sum(amount) as count, error_rate", "count count errors");
	names_are("count as n_metric, avg(metric)", "n_metric n_metric sum_metric");
	names_are("sum(metric) as total, avg(metric)", "total n_metric sum_metric");
	names_are("min(amount), max(amount)", "min_amount max_amount");
	names_are("first(page), last(page)", "first_page last_page");
	names_are("distinct(user_id), quantiles(metric), top(page,3)",
		"distinct_user_id quantiles_metric top_page top_page_error");
}

/* No list can have more columns than there is room for. */
static void test_most_columns(void **state)
{
	struct agg_column column[AGG_COLUMNS_MAX];
	struct agg_set *set;
	struct err err;

	(void)state;
	assert_int_equal(
		agg_set_parse(&set, "variance(metric), variance(value), variance(amount), error_rate", &err),
		0);
	assert_int_equal(agg_columns(set, column), 3 * 3 + 2);
	agg_set_free(set);
	assert_true(AGG_COLUMNS_MAX >= 3 * AGG_MAX);
}

static void test_foreign_bytes(void **state)
{
	struct agg_column column[AGG_COLUMNS_MAX];
	struct agg_set *set;
	struct err err;
	uint32_t count;

	(void)state;
	assert_int_equal(agg_set_parse(&set, LIST, &err), 0);
	count = agg_columns(set, column);
	for (int i = 0; i < 100000; i++) {
		struct merged m[AGG_COLUMNS_MAX] = {0};
		struct merge merge = {column, m};
		uint8_t bytes[40];
		size_t n = random_u64() % sizeof bytes;

		for (size_t k = 0; k < n; k++)
			bytes[k] = (uint8_t)(random_u64() & (i & 1 ? 0xff : 0x03));
		agg_column_values(set, column, count, bytes, n, NULL, column_merge, &merge);
	}
	assert_int_equal(
		agg_column_values(set, column, count, (const uint8_t *)"\xff", 1, NULL, column_merge, NULL),
		-EINVAL);
	agg_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns_merge), cmocka_unit_test(test_names),
		cmocka_unit_test(test_most_columns), cmocka_unit_test(test_foreign_bytes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
