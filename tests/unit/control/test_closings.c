/* What people said of alerts: on disk and read back, changed, folded, damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "closings.h"
#include "crc32c.h"

static char dir[128], path[200];

static int dir_make(void **state)
{
	const char *base = getenv("SLUICE_TEST_DIR");

	(void)state;
	snprintf(dir, sizeof dir, "%.90s/sluice-closings-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/alerts-closed.log", dir);
	return 0;
}

static int dir_remove(void **state)
{
	(void)state;
	(void)unlink(path);
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

static struct closings *opened(void)
{
	struct closings *s = NULL;
	struct err err = {""};

	if (closings_open(&s, dir, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

static enum closing_as put(
	struct closings *s, const char *alert, const char *rule, const char *version, enum closing_as as)
{
	struct closing c = {.time_ms = 1700000000000, .uid = 7, .pid = 8, .as = as, .note = "a \"note\"\n"};
	enum closing_as was;
	struct err err = {""};

	snprintf(c.alert, sizeof c.alert, "%s", alert);
	snprintf(c.rule, sizeof c.rule, "%s", rule);
	snprintf(c.version, sizeof c.version, "%s", version);
	if (closings_put(s, &c, &was, &err) != 0)
		fail_msg("%s", err.text);
	return was;
}

static void assert_counts(struct closings *s, const char *rule, const char *version, const uint64_t here[3],
	const uint64_t others[3])
{
	struct closing_counts a, b;

	closings_count(s, rule, version, &a, &b);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(a.n[i], here[i]);
		assert_int_equal(b.n[i], others[i]);
	}
}
#define COUNTS(...) ((const uint64_t[3]){__VA_ARGS__})

static uint64_t file_bytes(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

#define HISTORY_BYTES 100

static int history_check(void *arg, const struct closing *c)
{
	char *text = arg;

	assert_int_equal(c->uid, 7);
	assert_int_equal(c->pid, 8);
	assert_string_equal(c->note, "a \"note\"\n");
	snprintf(text + strlen(text), HISTORY_BYTES - strlen(text), "%s ", closing_as_name[c->as]);
	return 0;
}

static void kept_and_changed(void **state)
{
	struct closings *s = opened();
	char text[HISTORY_BYTES];

	(void)state;
	assert_int_equal(put(s, "a1", "r", "1111", CLOSED_TRUE), CLOSING_AS_COUNT);
	assert_int_equal(put(s, "a2", "r", "1111", CLOSED_FALSE), CLOSING_AS_COUNT);
	assert_int_equal(put(s, "a3", "r", "2222", CLOSED_FALSE), CLOSING_AS_COUNT);
	assert_int_equal(put(s, "a1", "r", "1111", CLOSED_UNSURE), CLOSED_TRUE);
	assert_int_equal(put(s, "a1", "r", "1111", CLOSED_TRUE), CLOSED_UNSURE);
	assert_int_equal(put(s, "b1", "q", "", CLOSED_UNSURE), CLOSING_AS_COUNT);
	for (int again = 0; again < 2; again++) {
		assert_counts(s, "r", "1111", COUNTS(1, 1, 0), COUNTS(0, 1, 0));
		assert_counts(s, "r", "2222", COUNTS(0, 1, 0), COUNTS(1, 1, 0));
		assert_counts(s, "q", "1111", COUNTS(0, 0, 0), COUNTS(0, 0, 1));
		assert_counts(s, "x", "", COUNTS(0, 0, 0), COUNTS(0, 0, 0));
		assert_int_equal(closings_of(s, "a1"), CLOSED_TRUE);
		assert_int_equal(closings_of(s, "a4"), CLOSING_AS_COUNT);
		text[0] = 0;
		closings_each(s, "a1", history_check, text);
		assert_string_equal(text, "true unsure true ");
		assert_int_equal(closings_damaged(s), 0);
		closings_close(s);
		s = opened();
	}
	closings_close(s);
}

static void precision(void **state)
{
	(void)state;
	assert_true(closing_precision(&(struct closing_counts){{3, 1, 9}}) == 0.75);
	assert_true(isnan(closing_precision(&(struct closing_counts){{0, 0, 9}})));
	assert_int_equal(closing_as_of("unsure"), CLOSED_UNSURE);
	assert_int_equal(closing_as_of("maybe"), CLOSING_AS_COUNT);
}

/* A file with lines about alerts x0, x1, ..., all true, as they are written. */
static void lines_write(uint32_t count)
{
	FILE *out = fopen(path, "w");
	char json[300];

	assert_non_null(out);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(json, sizeof json,
			"{\"t\":1,\"uid\":0,\"pid\":1,\"as\":\"true\",\"alert\":\"x%u\",\"rule\":\"%s\","
			"\"version\":"
			"\"11\",\"note\":\"\"}",
			i, i % 2 ? "r" : "q");
		fprintf(out, "%08x %s\n", crc32c(0, json, strlen(json)), json);
	}
	fclose(out);
}

/* More than is kept: counts stay exact, the newest half by alert, the file as small. */
static void older_ones_are_folded(void **state)
{
	struct closings *s;
	char alert[32];

	(void)state;
	lines_write(CLOSINGS_MAX - 20);
	s = opened();
	for (uint32_t i = 0; i < 40; i++) { /* these change the first ones; at the 20th the older half goes */
		snprintf(alert, sizeof alert, "x%u", i);
		assert_int_equal(put(s, alert, i % 2 ? "r" : "q", "11", CLOSED_FALSE),
			i < 20 ? CLOSED_TRUE : CLOSING_AS_COUNT);
	}
	for (int again = 0; again < 2; again++) {
		/* of those that had gone before they were changed both count */
		assert_counts(s, "r", "11", COUNTS(CLOSINGS_MAX / 2 - 20, 20, 0), COUNTS(0, 0, 0));
		assert_int_equal(closings_of(s, "x3"), CLOSED_FALSE);
		assert_int_equal(closings_of(s, "x5000"), CLOSING_AS_COUNT); /* folded */
		assert_int_equal(closings_of(s, "x12000"), CLOSED_TRUE);
		closings_close(s);
		assert_true(file_bytes() < CLOSINGS_MAX / 2 * 150);
		s = opened();
	}
	closings_close(s);
}

/* A file with more lines than are kept. */
static void long_files_are_read_whole(void **state)
{
	(void)state;
	lines_write(2 * CLOSINGS_MAX + 6);
	for (int again = 0; again < 2; again++) {
		struct closings *s = opened();

		assert_counts(s, "r", "11", COUNTS(CLOSINGS_MAX + 3, 0, 0), COUNTS(0, 0, 0));
		assert_counts(s, "q", "11", COUNTS(CLOSINGS_MAX + 3, 0, 0), COUNTS(0, 0, 0));
		assert_int_equal(closings_damaged(s), 0);
		closings_close(s);
	}
}

/* Lines that are none, one that was cut off, one without end, bytes of any kind: counted, and the rest
 * counts. */
static void damage_is_passed_over(void **state)
{
	struct closings *s = opened();
	char *text;
	FILE *file;
	size_t bytes;

	(void)state;
	put(s, "a1", "r", "11", CLOSED_TRUE);
	put(s, "a2", "r", "11", CLOSED_TRUE);
	put(s, "a3", "r", "11", CLOSED_TRUE);
	closings_close(s);
	bytes = file_bytes();
	text = malloc(bytes);
	file = fopen(path, "r+");
	assert_true(text && file && fread(text, 1, bytes, file) == bytes);
	text[bytes / 2] ^= 1; /* in the second line */
	rewind(file);
	assert_int_equal(fwrite(text, 1, bytes, file), bytes);
	fputs("nonsense\n\n", file);
	assert_int_equal(fwrite("\0\xff\n", 1, 3, file), 3);
	for (int i = 0; i < 9000; i++)
		fputc('y', file);
	fputs("\n", file);
	assert_int_equal(fwrite(text, 1, 40, file), 40); /* a crash cut it off */
	fclose(file);
	free(text);
	s = opened();
	assert_int_equal(closings_damaged(s), 6);
	assert_counts(s, "r", "11", COUNTS(2, 0, 0), COUNTS(0, 0, 0));
	put(s, "a4", "r", "11", CLOSED_FALSE); /* stands on a line of its own */
	closings_close(s);
	s = opened();
	assert_counts(s, "r", "11", COUNTS(2, 1, 0), COUNTS(0, 0, 0));
	closings_close(s);
}

static void lines_that_are_none(void **state)
{
	static const char *const json[] = {"[]", "{}", "7",
		"{\"folded\":[1,2],\"rule\":\"r\",\"version\":\"11\"}",
		"{\"folded\":[1,2,-3],\"rule\":\"r\",\"version\":\"11\"}",
		"{\"folded\":[1,2,3,4],\"rule\":\"r\",\"version\":\"11\"}",
		"{\"folded\":[1,2,3],\"rule\":\"\",\"version\":\"11\"}",
		"{\"folded\":[1,2,3],\"rule\":\"r\",\"version\":\"XY\"}",
		"{\"folded\":[1,2,3],\"rule\":\"r\",\"version\":\"11112222333344445\"}",
		"{\"t\":1,\"uid\":0,\"pid\":1,\"as\":\"maybe\",\"alert\":\"x\",\"rule\":\"r\",\"version\":"
		"\"\","
		"\"note\":\"\"}",
		"{\"t\":1,\"uid\":4294967296,\"pid\":1,\"as\":\"true\",\"alert\":\"x\",\"rule\":\"r\","
		"\"version\":"
		"\"\",\"note\":\"\"}",
		"{\"t\":1,\"uid\":0,\"pid\":1,\"as\":\"true\",\"alert\":\"\",\"rule\":\"r\",\"version\":\"\","
		"\"note\":\"\"}",
		"{\"t\":1,\"uid\":0,\"pid\":1,\"as\":\"true\",\"alert\":\"x\",\"rule\":\"r\",\"version\":"
		"\"\"}"};
	struct closing_counts counts;
	struct closing c;
	char line[400];

	(void)state;
	for (size_t i = 0; i < sizeof json / sizeof *json; i++) {
		int n = snprintf(line, sizeof line, "%08x %s", crc32c(0, json[i], strlen(json[i])), json[i]);

		assert_int_equal(closing_parse(line, (size_t)n, &c, &counts), 0);
	}
}

/* A disk that takes half a line: nothing has changed, and nothing of it stays. */
static void half_a_line_is_taken_back(void **state)
{
	struct rlimit was, small;
	struct closing c = {.as = CLOSED_TRUE, .alert = "a2", .rule = "r", .version = "11"};
	struct closings *s = opened();
	enum closing_as before;
	uint64_t bytes;
	struct err err;

	(void)state;
	put(s, "a1", "r", "11", CLOSED_TRUE);
	bytes = file_bytes();
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = (struct rlimit){bytes + 20, was.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_true(closings_put(s, &c, &before, &err) < 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(file_bytes(), bytes);
	assert_counts(s, "r", "11", COUNTS(1, 0, 0), COUNTS(0, 0, 0));
	assert_int_equal(closings_put(s, &c, &before, &err), 0);
	closings_close(s);
	s = opened();
	assert_counts(s, "r", "11", COUNTS(2, 0, 0), COUNTS(0, 0, 0));
	assert_int_equal(closings_damaged(s), 0);
	closings_close(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, dir_make, dir_remove)
	const struct CMUnitTest tests[] = {TEST(kept_and_changed), TEST(precision),
		TEST(older_ones_are_folded), TEST(long_files_are_read_whole), TEST(damage_is_passed_over),
		TEST(lines_that_are_none), TEST(half_a_line_is_taken_back)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
