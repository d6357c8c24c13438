/* The comparison finds what is missing, foreign, twice or different, whatever the order; a loss and a
 * duplicate do not cancel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ver_set.h"

static uint64_t oldest[VER_PARTITIONS_MAX];

static void fill(struct ver_set *set, uint32_t from, uint32_t to, int step)
{
	struct err err;

	for (uint32_t n = 0; n < to - from; n++) {
		uint32_t i = step > 0 ? from + n : to - 1 - n;
		struct ver_row row = {
			.partition = i % 4, .offset = i / 4, .id_high = i * 7919ull, .id_low = i};

		assert_int_equal(ver_set_add(set, &row, &err), 0);
	}
	ver_set_sort(set);
}

static struct ver_diff compare(struct ver_set *ref, struct ver_set *set)
{
	static FILE *null;

	if (!null)
		null = fopen("/dev/null", "w");
	return ver_compare(ref, set, oldest, false, "test", null);
}

static void test_equal_in_any_order(void **state)
{
	struct ver_set a = {0}, b = {0};

	(void)state;
	fill(&a, 0, 1000, 1);
	fill(&b, 0, 1000, -1);
	struct ver_diff d = compare(&a, &b);
	struct ver_sum x = ver_set_sum(&a, VER_CLICK), y = ver_set_sum(&b, VER_CLICK);

	assert_false(ver_diff_any(&d));
	assert_memory_equal(&x, &y, sizeof x);
	ver_set_free(&a);
	ver_set_free(&b);
}

static void test_loss_and_duplicate(void **state)
{
	struct ver_set a = {0}, b = {0};

	(void)state;
	fill(&a, 0, 1000, 1);
	fill(&b, 0, 999, 1);
	fill(&b, 500, 501, 1);
	struct ver_diff d = compare(&a, &b);
	struct ver_sum x = ver_set_sum(&a, VER_CLICK), y = ver_set_sum(&b, VER_CLICK);

	assert_int_equal(a.count, b.count);
	assert_int_equal(d.missing, 1);
	assert_int_equal(d.duplicate, 1);
	assert_int_equal(d.foreign, 0);
	assert_memory_not_equal(x.hash, y.hash, sizeof x.hash);
	ver_set_free(&a);
	ver_set_free(&b);
}

static void test_foreign_and_differing(void **state)
{
	struct ver_set a = {0}, b = {0};

	(void)state;
	fill(&a, 0, 100, 1);
	fill(&b, 0, 103, 1);
	b.row[3].id_low ^= 1; /* of partition 0: the first rows of both are the same ones */
	b.row[4].digest = 5;
	a.row[4].digest = 6;
	struct ver_diff d = compare(&a, &b);

	assert_int_equal(d.foreign, 3);
	assert_int_equal(d.differing, 2);
	assert_int_equal(d.missing, 0);
	ver_set_free(&a);
	ver_set_free(&b);
}

static void test_below_the_journal(void **state)
{
	struct ver_set journal = {0}, kafka = {0}, ch = {0};

	(void)state;
	fill(&journal, 400, 1000, 1);
	fill(&kafka, 0, 1000, 1);
	fill(&ch, 4, 1000, 1);
	for (int p = 0; p < 4; p++)
		oldest[p] = 100;
	struct ver_diff above = ver_compare(&journal, &ch, oldest, false, "test", stdout);
	struct ver_diff below = ver_compare(&kafka, &ch, oldest, true, "test", stdout);

	assert_false(ver_diff_any(&above));
	assert_int_equal(below.missing, 4);
	memset(oldest, 0, sizeof oldest);
	ver_set_free(&journal);
	ver_set_free(&kafka);
	ver_set_free(&ch);
}

static void test_addresses(void **state)
{
	static const char *const bad[] = {"", "n", "n/1/2", "n/zz/1/2", "n/1/x/2", "n/1/65536/2", "n/1/1/-2",
		"/1/2/", "n/1/2/99999999999999999999", "n//1/2"};
	struct ver_row row;

	(void)state;
	assert_int_equal(ver_address(&row, "a/b/00000000000000ff/3/12345", 28, "a/b", 255), 1);
	assert_int_equal(row.partition, 3);
	assert_int_equal(row.offset, 12345);
	assert_int_equal(ver_address(&row, "a/b/00000000000000ff/3/12345", 28, "a/b", 254), 0);
	assert_int_equal(ver_address(&row, "a/b/00000000000000ff/3/12345", 28, "a", 255), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(ver_address(&row, bad[i], strlen(bad[i]), "n", 1), -22);
}

static void test_ids(void **state)
{
	static const char raw[] = "{\"a\":1,\"event_id\" :\t\"01234567-89AB-cdef-8123-456789abcdef\",x";
	struct ver_row row, same;
	static const uint8_t bytes[16] = {
		1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

	(void)state;
	ver_uuid_find(&row, raw, sizeof raw - 1);
	ver_uuid_bytes(&same, bytes);
	assert_true(row.id_high == same.id_high && row.id_low == same.id_low);
	assert_true(row.id_high == 0x0123456789abcdefull);
	for (size_t cut = 0; cut < sizeof raw - 4; cut++) { /* also says that nothing is read beyond */
		ver_uuid_find(&row, raw, cut);
		assert_true(row.id_high == 0 && row.id_low == 0);
	}
	assert_false(ver_uuid(&row, "0123456g-89ab-cdef-8123-456789abcdef", 36));
	assert_false(ver_uuid(&row, "01234567089ab-cdef-8123-456789abcdef", 36));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_in_any_order),
		cmocka_unit_test(test_loss_and_duplicate),
		cmocka_unit_test(test_foreign_and_differing),
		cmocka_unit_test(test_below_the_journal),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
