/* Where a range ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ch_rows.h"

static int add(struct ch_rows *rows, uint64_t offset)
{
	struct record rec = {.bytes = sizeof rec, .kind = RECORD_REFUSED, .receive_time_ms = 1715200123456};
	struct err err;

	return ch_rows_add(rows, &rec, offset, 1, &err);
}

/* A range that was sent before ends where it ended then, whatever another version thinks that it weighs. */
static void test_weight(void **state)
{
	struct ch_rows rows;

	(void)state;
	ch_rows_init(&rows, "n", 1, 0, NULL);
	assert_int_equal(add(&rows, 0), 0);
	rows.row_bytes = CH_ROW_BYTES_MAX;
	assert_int_equal(add(&rows, 1), 1);
	assert_int_equal(rows.row_count, 1);
	rows.resent = true;
	assert_int_equal(add(&rows, 1), 0);
	assert_int_equal(rows.row_count, 2);
	/* What memory is laid out for holds in any case. */
	rows.row_count = CH_ROWS_MAX;
	assert_int_equal(add(&rows, 2), 1);
	ch_rows_free(&rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_weight)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
