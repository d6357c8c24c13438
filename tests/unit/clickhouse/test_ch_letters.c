/* Dead letters: they come back, a line that is none is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ch_letters.h"

static char dir[] = "/tmp/sluice-letters-XXXXXX", intent_path[300];
static struct ch_letters letters;

static void reopen(void)
{
	struct err err;

	ch_letters_close(&letters);
	if (ch_letters_open(&letters, intent_path, 1 << 20, &err))
		fail_msg("%s", err.text);
}

static int add(uint64_t offset, struct err *err)
{
	static const struct record rec = {.bytes = sizeof rec, .kind = RECORD_REFUSED};
	struct ch_letter letter = {.at = {"n", 0xab, 1, offset},
		.table = "events",
		.code = 6,
		.error = "no",
		.rows = 2,
		.rec = &rec};

	return ch_letters_add(&letters, &letter, err);
}

static void seen(void *arg, uint64_t offset, const char *table, uint64_t rows)
{
	assert_string_equal(table, "events");
	assert_int_equal(rows, 2);
	*(uint64_t *)arg |= 1u << offset;
}

static int each(uint64_t *offsets, struct err *err)
{
	*offsets = 0;
	return ch_letters_each(&letters, 0xab, 1, 5, seen, offsets, err);
}

static void append(const char *text)
{
	FILE *out = fopen(letters.path, "a");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

/* Whoever gets -EBADMSG takes it for a damaged journal, and gives a range up that is whole. */
static void test_foreign_line(void **state)
{
	uint64_t offsets;
	struct err err;

	(void)state;
	reopen();
	for (uint64_t offset = 0; offset < 6; offset += 2)
		assert_int_equal(add(offset, &err), 0);
	assert_int_equal(each(&offsets, &err), 0);
	assert_int_equal(offsets, 1u << 2 | 1u << 4);
	append("looked at by hand\n");
	assert_int_equal(each(&offsets, &err), -EINVAL);
	assert_non_null(strstr(err.text, "a line is no dead letter"));
	assert_int_equal(unlink(letters.path), 0);
}

/* Moved away by hand, as it is said when there are too many: the next one stands in a new file. */
static void test_moved_away(void **state)
{
	char aside[320];
	uint64_t offsets;
	struct err err;

	(void)state;
	reopen();
	assert_int_equal(add(1, &err), 0);
	letters.bytes_max = letters.bytes + 10;
	assert_int_equal(add(2, &err), -EINVAL);
	assert_non_null(strstr(err.text, "clickhouse.letters_max"));
	snprintf(aside, sizeof aside, "%s.aside", letters.path);
	assert_int_equal(rename(letters.path, aside), 0);
	assert_int_equal(add(2, &err), 0);
	assert_int_equal(each(&offsets, &err), 0);
	assert_int_equal(offsets, 1u << 2);
	/* And put back in its place. */
	assert_int_equal(rename(aside, letters.path), 0);
	assert_int_equal(add(3, &err), -EINVAL);
	letters.bytes_max = 1 << 20;
	assert_int_equal(add(3, &err), 0);
	assert_int_equal(each(&offsets, &err), 0);
	assert_int_equal(offsets, 1u << 1 | 1u << 3);
	assert_int_equal(unlink(letters.path), 0);
}

/* A disk that has no room for more, and a reserve that cannot help: no half line stays. */
static void test_no_room(void **state)
{
	struct rlimit limit = {0, RLIM_INFINITY};
	uint64_t offsets;
	struct err err;

	(void)state;
	reopen();
	assert_int_equal(add(1, &err), 0);
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	limit.rlim_cur = letters.bytes + 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_not_equal(add(2, &err), 0);
	limit.rlim_cur = RLIM_INFINITY;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(add(3, &err), 0);
	assert_int_equal(each(&offsets, &err), 0);
	assert_int_equal(offsets, 1u << 1 | 1u << 3);
	assert_int_equal(unlink(letters.path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_foreign_line),
		cmocka_unit_test(test_moved_away), cmocka_unit_test(test_no_room)};
	int rc;

	letters.fd = -1;
	if (!mkdtemp(dir))
		return 1;
	snprintf(intent_path, sizeof intent_path, "%s/p1.intent", dir);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	ch_letters_close(&letters);
	rmdir(dir);
	return rc;
}
