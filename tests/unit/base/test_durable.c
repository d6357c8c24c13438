/* Files written beside and renamed: contents, errors that leave the old file, kills at each step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "durable.h"

static const struct durable_points points = {"t_written", "t_synced", "t_renamed", "t_dir_synced"};
static char dir[128];

static int setup(void **state)
{
	const char *base = getenv("SLUICE_TEST_DIR");
	struct err err;

	(void)state;
	snprintf(dir, sizeof dir, "%.90s/sluice-durable-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(dir + strlen(dir), sizeof dir - strlen(dir), "/a/b");
	assert_int_equal(durable_dir_make(dir, &err), 0);
	return durable_dir_make(dir, &err);
}

static int teardown(void **state)
{
	char path[300];

	(void)state;
	snprintf(path, sizeof path, "%s/f", dir);
	unlink(path);
	for (int i = 0; i < 3; i++) {
		rmdir(dir);
		*strrchr(dir, '/') = 0;
	}
	return 0;
}

/* Contents of DIR/f, "" if there is none; asserts that nothing else is there but f.tmp if `temp`. */
static const char *content(bool temp)
{
	static char text[64];
	char path[300];
	DIR *d = opendir(dir);
	FILE *f;
	size_t n;

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		assert_true(*e->d_name == '.' || !strcmp(e->d_name, "f") ||
			    (temp && !strcmp(e->d_name, "f.tmp")));
	closedir(d);
	snprintf(path, sizeof path, "%s/f", dir);
	f = fopen(path, "re");
	if (!f)
		return "";
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = 0;
	fclose(f);
	return text;
}

static int put(const char *a, const char *b, struct err *err)
{
	struct durable_piece piece[] = {{a, strlen(a)}, {b, strlen(b)}};

	return durable_write(dir, "f", piece, 2, &points, err);
}

static void test_write(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(put("one", "two", &err), 0);
	assert_string_equal(content(false), "onetwo");
	assert_int_equal(put("3", "", &err), 0);
	assert_string_equal(content(false), "3");
	assert_int_equal(durable_write(dir, "x/f", NULL, 0, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "x/f"));
	assert_string_equal(content(false), "3");
	assert_int_equal(durable_dir_make("/dev/null/x", &err), -ENOTDIR);
	assert_int_equal(durable_dir_make("", &err), -ENAMETOOLONG);
}

/* What a full disk does, by a limit on the file's size: the write ends half-way. */
static void test_no_space(void **state)
{
	static char large[10000];
	struct rlimit was, limit;
	struct err err;

	(void)state;
	assert_int_equal(put("old", "", &err), 0);
	memset(large, 'x', sizeof large - 1);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	limit = was;
	limit.rlim_cur = 4096;
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(put(large, "", &err), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &was);
	assert_string_equal(content(false), "old");
	assert_int_equal(put("new", "", &err), 0);
	assert_string_equal(content(false), "new");
}

static void test_kills(void **state)
{
	static const struct {
		const char *point, *left;
	} row[] = {{"t_written:1", "old"}, {"t_synced:1", "old"}, {"t_renamed:1", "new"},
		{"t_dir_synced:1", "new"}};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		int status;
		pid_t pid;

		pid = fork();
		if (pid == 0) {
			_exit(put("old", "", &err) ? 1 : 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		pid = fork();
		if (pid == 0) {
			setenv("SLUICE_CRASH", row[i].point, 1);
			_exit(put("new", "", &err) ? 1 : 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_string_equal(content(true), row[i].left);
	}
	assert_int_equal(put("last", "", &err), 0);
	assert_string_equal(content(false), "last");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kills), /* first: the environment is read once a process */
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_no_space),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
