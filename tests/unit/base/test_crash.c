/* Crash points: the N-th pass of the named one kills, others do not, and a wrong text is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"

/* Passes point a `a` times and b `b` times in a child with the environment; returns its wait status. */
static int passes(const char *env, int a, int b)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		if (env)
			setenv("SLUICE_CRASH", env, 1);
		else
			unsetenv("SLUICE_CRASH");
		for (int i = 0; i < a; i++)
			crash_point("a");
		for (int i = 0; i < b; i++)
			crash_point("b");
		_exit(7);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void assert_lived(int status)
{
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void assert_signal(int status, int signal)
{
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), signal);
}

static void unset_never_kills(void **state)
{
	(void)state;
	assert_lived(passes(NULL, 3, 3));
	assert_lived(passes("", 3, 3));
}

static void nth_pass_kills(void **state)
{
	(void)state;
	assert_lived(passes("a:3", 2, 9));
	assert_signal(passes("a:3", 3, 0), SIGKILL);
	assert_signal(passes("a:9,b:1", 1, 1), SIGKILL);
	assert_lived(passes("ab:1", 5, 5));
}

static void wrong_text_aborts(void **state)
{
	static const char *const wrong[] = {"a", "a:", "a:0", ":1", "a:1x", "a:-1"};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_signal(passes(wrong[i], 1, 0), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unset_never_kills),
		cmocka_unit_test(nth_pass_kills),
		cmocka_unit_test(wrong_text_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
