/* What does not fit, in one text or as SQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "ch_faults.h"

#define WHERE "`command` prints it"

static struct ch_faults faults;

static int open_all(void **state)
{
	(void)state;
	assert_int_equal(ch_faults_open(&faults, NULL), 0);
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	ch_faults_free(&faults);
	return 0;
}

static void note(enum ch_fault_kind kind, const char *why, const char *sql)
{
	ch_fault_note(&faults, kind, "%s", why);
	fputs(sql, faults.sql.out);
}

static void text_is(bool create, const char *expected)
{
	struct err err = {0};
	int rc = ch_faults_text(&faults, create, WHERE, &err);

	assert_int_equal(rc, *expected ? -EINVAL : 0);
	assert_string_equal(err.text, expected);
}

static void printed(const char *expected, uint32_t undecided)
{
	char *text;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	assert_int_equal(ch_faults_print(&faults, out), undecided);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
}

static void test_none(void **state)
{
	(void)state;
	assert_int_equal(ch_faults_end(&faults, NULL), 0);
	text_is(false, "");
	printed("", 0);
}

static void test_all_in_one_text(void **state)
{
	(void)state;
	note(CH_FAULT_WRONG, "a lacks x", "ALTER a");
	note(CH_FAULT_WRONG, "b lacks y", "ALTER b");
	note(CH_FAULT_WRONG, "v writes to b", "ALTER b"); /* is mended by the same */
	note(CH_FAULT_WRONG, "v lacks y", "DROP v");
	note(CH_FAULT_FOLLOWS, "", "CREATE v");
	assert_int_equal(ch_faults_end(&faults, NULL), 0);
	text_is(true, "clickhouse: a lacks x, and 2 more; run: ALTER a; ALTER b; DROP v");
	text_is(false, "clickhouse: a lacks x, and 2 more; run: ALTER a; ALTER b; DROP v; CREATE v");
	printed("-- a lacks x\nALTER a;\n\n-- b lacks y\nALTER b;\n\n-- v lacks y\nDROP v;\n\nCREATE v;\n\n",
		0);
	assert_false(ch_faults_missing(&faults));
}

/* What the daemon makes itself is a fault only where it may not. */
static void test_missing(void **state)
{
	(void)state;
	note(CH_FAULT_FOLLOWS, "", "CREATE DATABASE d");
	note(CH_FAULT_MISSING, "a is not there", "CREATE TABLE a\n(x)");
	assert_int_equal(ch_faults_end(&faults, NULL), 0);
	assert_true(ch_faults_missing(&faults));
	text_is(true, "");
	text_is(false, "clickhouse: a is not there: " WHERE); /* not a line */
	printed("CREATE DATABASE d;\n\n-- a is not there\nCREATE TABLE a\n(x);\n\n", 0);
}

static void test_to_decide(void **state)
{
	struct err err = {0};

	(void)state;
	note(CH_FAULT_WRONG, "a has another type\n; DROP TABLE a", "");
	note(CH_FAULT_WRONG, "a has another engine", "");
	assert_int_equal(ch_faults_end(&faults, NULL), 0);
	text_is(true, "clickhouse: a has another type\n; DROP TABLE a, and 1 more: " WHERE);
	printed("-- a has another type?; DROP TABLE a\n-- no statement mends this without a decision\n\n"
		"-- a has another engine\n-- no statement mends this without a decision\n\n",
		2);
	assert_int_equal(ch_faults_text(&faults, true, NULL, &err), -EINVAL);
	assert_string_equal(err.text, "clickhouse: a has another type\n; DROP TABLE a, and 1 more");
}

/* No room for all: the first with its statement; none for that: where it is to be had. */
static void test_no_room(void **state)
{
	char sql[600], expected[700];

	(void)state;
	memset(sql, 's', sizeof sql);
	sql[300] = 0;
	note(CH_FAULT_WRONG, "a lacks x", sql);
	snprintf(expected, sizeof expected, "clickhouse: a lacks x; run: %s, and 2 more: " WHERE, sql);
	sql[299] = 0;
	note(CH_FAULT_WRONG, "b lacks x", sql);
	sql[298] = 0;
	note(CH_FAULT_WRONG, "c lacks x", sql);
	assert_int_equal(ch_faults_end(&faults, NULL), 0);
	text_is(true, expected);
}

static void test_no_room_for_one(void **state)
{
	char sql[600], why[600];
	struct err err;

	(void)state;
	memset(sql, 's', sizeof sql);
	sql[599] = 0;
	note(CH_FAULT_WRONG, "a lacks x", sql);
	assert_int_equal(ch_faults_end(&faults, NULL), 0);
	text_is(true, "clickhouse: a lacks x: " WHERE);
	close_all(state);
	open_all(state);
	memset(why, 'w', sizeof why);
	why[599] = 0;
	note(CH_FAULT_WRONG, why, sql);
	assert_int_equal(ch_faults_end(&faults, NULL), 0);
	assert_int_equal(ch_faults_text(&faults, true, WHERE, &err), -EINVAL);
	assert_non_null(strstr(err.text, "www: " WHERE)); /* the words are cut, not that */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_none, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_all_in_one_text, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_missing, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_to_decide, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_no_room, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_no_room_for_one, open_all, close_all)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
