/* Lines of files and pipes as sluice-gen takes them: whole, in order, in whatever pieces they come. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gen_lines.h"
#include "gen_opts.h"
#include "gen_rand.h"

#define LINE_MAX_BYTES 1000u

static char path[32];
static struct err err;

static void file_write(const char *bytes, size_t count)
{
	int fd;

	snprintf(path, sizeof path, "/tmp/sluice-lines-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0 && write(fd, bytes, count) == (ssize_t)count);
	close(fd);
}

static struct gen_lines *file_open(const char *bytes, size_t count)
{
	struct gen_lines *l;

	file_write(bytes, count);
	assert_int_equal(gen_lines_open(&l, path, &err), 0);
	unlink(path);
	return l;
}

static void expect_line(struct gen_lines *l, const char *want, size_t want_bytes)
{
	const char *text;
	uint32_t bytes;

	assert_int_equal(gen_lines_next(l, LINE_MAX_BYTES, &text, &bytes, &err), 1);
	assert_int_equal(bytes, want_bytes);
	assert_memory_equal(text, want, bytes);
}

static void expect_rc(struct gen_lines *l, int want)
{
	const char *text;
	uint32_t bytes;

	assert_int_equal(gen_lines_next(l, LINE_MAX_BYTES, &text, &bytes, &err), want);
}

static void ends_of_lines(void **state)
{
	static const char text[] = "a\n\n\r\nb\r\nc\rd\n\0e\n last";
	struct gen_lines *l = file_open(text, sizeof text - 1);

	(void)state;
	expect_line(l, "a", 1);
	expect_line(l, "", 0);
	expect_line(l, "", 0);
	expect_line(l, "b", 1);
	expect_line(l, "c\rd", 3);
	expect_line(l, "\0e", 2);
	expect_line(l, " last", 5);
	expect_rc(l, 0);
	expect_rc(l, 0);
	gen_lines_close(l);
	l = file_open("", 0);
	expect_rc(l, 0);
	gen_lines_close(l);
	l = file_open("a\r", 2); /* no end of a line */
	expect_line(l, "a\r", 2);
	gen_lines_close(l);
}

/* As long as allowed, with either end, goes; a byte more ends it and names the line. */
static void the_longest_line(void **state)
{
	char text[3 * LINE_MAX_BYTES], *line = malloc(LINE_MAX_BYTES + 1);
	struct gen_lines *l;
	int n;

	(void)state;
	memset(line, 'x', LINE_MAX_BYTES + 1);
	n = snprintf(text, sizeof text, "%.*s\r\n\n%.*s\n", (int)LINE_MAX_BYTES, line,
		(int)LINE_MAX_BYTES + 1, line);
	for (int end = 0; end < 2; end++) { /* the last one with its end, and without */
		l = file_open(text, (size_t)(n - end));
		expect_line(l, line, LINE_MAX_BYTES);
		expect_line(l, "", 0);
		expect_rc(l, -EMSGSIZE);
		assert_non_null(strstr(err.text, "line 3 is longer than a datagram's 1000 bytes"));
		gen_lines_close(l);
	}
	free(line);
}

/* Some MiB of lines of all lengths, against their own copy. */
static void lengths_of_all_kinds(void **state)
{
	char *text = malloc(6 << 20);
	struct gen_rng rng;
	struct gen_lines *l;
	size_t count = 0, at = 0;

	(void)state;
	gen_rng_seed(&rng, 7);
	while (count < 5u << 20) {
		uint32_t bytes = (uint32_t)gen_rng_below(&rng, LINE_MAX_BYTES + 1);

		for (uint32_t i = 0; i < bytes; i++)
			text[count++] = (char)('a' + gen_rng_below(&rng, 26));
		text[count++] = '\n';
	}
	l = file_open(text, count);
	while (at < count) {
		size_t bytes = (size_t)((char *)memchr(text + at, '\n', count - at) - (text + at));

		expect_line(l, text + at, bytes);
		at += bytes + 1;
	}
	expect_rc(l, 0);
	gen_lines_close(l);
	free(text);
}

/* Half a line is none yet; what waits sees the other half, and the end. */
static void a_pipe_that_waits(void **state)
{
	struct gen_lines *l;
	char name[32];
	int end[2];

	(void)state;
	assert_int_equal(pipe(end), 0);
	snprintf(name, sizeof name, "/proc/self/fd/%d", end[0]);
	assert_int_equal(gen_lines_open(&l, name, &err), 0);
	close(end[0]);
	expect_rc(l, -EAGAIN);
	assert_int_equal(write(end[1], "one\ntw", 6), 6);
	gen_lines_wait(l, 60000);
	expect_line(l, "one", 3);
	expect_rc(l, -EAGAIN);
	assert_int_equal(write(end[1], "o\nthree", 7), 7);
	gen_lines_wait(l, 60000);
	expect_line(l, "two", 3);
	expect_rc(l, -EAGAIN);
	close(end[1]);
	gen_lines_wait(l, 60000);
	expect_line(l, "three", 5);
	expect_rc(l, 0);
	gen_lines_close(l);
}

/* Without its end a line is too long only when no end could make it fit. */
static void a_long_line_in_pieces(void **state)
{
	char line[LINE_MAX_BYTES + 2], name[32];
	struct gen_lines *l;
	int end[2];

	(void)state;
	memset(line, 'x', sizeof line);
	line[LINE_MAX_BYTES] = '\r';
	assert_int_equal(pipe(end), 0);
	snprintf(name, sizeof name, "/proc/self/fd/%d", end[0]);
	assert_int_equal(gen_lines_open(&l, name, &err), 0);
	assert_int_equal(write(end[1], line, LINE_MAX_BYTES + 1), LINE_MAX_BYTES + 1);
	expect_rc(l, -EAGAIN);
	assert_int_equal(write(end[1], "\n", 1), 1);
	expect_line(l, line, LINE_MAX_BYTES);
	assert_int_equal(write(end[1], line, LINE_MAX_BYTES + 2), LINE_MAX_BYTES + 2);
	expect_rc(l, -EMSGSIZE);
	gen_lines_close(l);
	close(end[0]);
	close(end[1]);
}

/* A FIFO is opened before anybody writes to it. */
static void a_fifo_without_a_writer(void **state)
{
	char dir[] = "/tmp/sluice-fifo-XXXXXX", name[40];
	struct gen_lines *l;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(name, sizeof name, "%s/fifo", dir);
	assert_int_equal(mkfifo(name, 0600), 0);
	assert_int_equal(gen_lines_open(&l, name, &err), 0);
	expect_rc(l, -EAGAIN);
	fd = open(name, O_WRONLY);
	assert_int_equal(write(fd, "a\n", 2), 2);
	expect_line(l, "a", 1);
	close(fd);
	expect_rc(l, 0);
	gen_lines_close(l);
	unlink(name);
	rmdir(dir);
}

static void its_own_file(void **state)
{
	char other[40];
	struct gen_lines *l;

	(void)state;
	file_write("a\n", 2);
	snprintf(other, sizeof other, "%s.link", path);
	assert_int_equal(gen_lines_open(&l, path, &err), 0);
	assert_int_equal(link(path, other), 0);
	assert_true(gen_lines_are_of(l, path) && gen_lines_are_of(l, other));
	assert_false(gen_lines_are_of(l, "/dev/null") || gen_lines_are_of(l, "/nonexistent"));
	unlink(other);
	unlink(path);
	gen_lines_close(l);
}

static void what_cannot_be_read(void **state)
{
	struct gen_lines *l;

	(void)state;
	assert_int_equal(gen_lines_open(&l, "/nonexistent", &err), -ENOENT);
	assert_string_equal(err.text, "/nonexistent: No such file or directory");
	assert_int_equal(gen_lines_open(&l, "/tmp", &err), 0);
	expect_rc(l, -EISDIR);
	gen_lines_close(l);
}

/* Whoever says what events are to be like, and gives them, is told. */
static void options_beside_it(void **state)
{
	char *good[] = {"sluice-gen", "--lines", "a", "--file", "b", "--rate", "9", "--clock", "c"};
	char *bad[][6] = {{"sluice-gen", "--lines", "a", "--file", "b", "--seed=1"},
		{"sluice-gen", "--truth=t", "--file", "b", "--lines", "a"},
		{"sluice-gen", "--scenarios=1", "--file", "b", "--lines", "a"},
		{"sluice-gen", "--mix=iot", "--file", "b", "--lines", "a"}};
	struct gen_opts o;

	(void)state;
	assert_int_equal(gen_opts_parse(&o, 9, good, &err), GEN_OPTS_RUN);
	assert_string_equal(o.lines, "a");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(gen_opts_parse(&o, 6, bad[i], &err), GEN_OPTS_WRONG);
		assert_non_null(strstr(err.text, "has no place beside it"));
	}
	assert_int_equal(gen_opts_parse(&o, 3, good, &err), GEN_OPTS_WRONG); /* nowhere to go */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_of_lines),
		cmocka_unit_test(the_longest_line),
		cmocka_unit_test(lengths_of_all_kinds),
		cmocka_unit_test(a_pipe_that_waits),
		cmocka_unit_test(a_long_line_in_pieces),
		cmocka_unit_test(a_fifo_without_a_writer),
		cmocka_unit_test(its_own_file),
		cmocka_unit_test(what_cannot_be_read),
		cmocka_unit_test(options_beside_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
