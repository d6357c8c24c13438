/* Supervised children, with real processes: readiness, restart with growing pauses, orderly and forced ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sup_child.h"

static struct sup_child c;

static int set_up(void **state)
{
	(void)state;
	memset(&c, 0, sizeof c);
	c.name = "test";
	snprintf(c.log_path, sizeof c.log_path, "/tmp/sluice-sup-%d.log", getpid());
	sup_child_arg(&c, "/bin/sh");
	sup_child_arg(&c, "-c");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sup_child_stop(&c, 0);
	sup_child_free(&c);
	return unlink(c.log_path);
}

static bool has_said_up(const struct sup_child *child)
{
	return sup_child_logged(child, "I am up");
}

static void tick_until(enum sup_state state, uint64_t now_ms)
{
	struct err err;

	for (int i = 0; i < 6000 && c.state != state; i++) {
		sup_child_tick(&c, now_ms, &err);
		usleep(10000);
	}
	assert_int_equal(c.state, state);
}

static void take_end(uint64_t now_ms)
{
	int status;

	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	sup_child_ended(&c, status, now_ms);
}

static void test_ready_and_stop(void **state)
{
	struct err err;

	(void)state;
	sup_child_arg(&c, "sleep 0.2; echo I am %s; sleep 1000 & wait", "up");
	c.ready = has_said_up;
	assert_int_equal(sup_child_start(&c, 5, &err), 0);
	assert_int_equal(c.state, SUP_STARTING);
	tick_until(SUP_READY, 6);
	assert_true(sup_child_stop(&c, 10000));
	assert_int_equal(c.pid, 0);
	assert_true(WIFSIGNALED(c.status));
}

/* What an earlier run has logged does not count. */
static void test_old_log_does_not_count(void **state)
{
	struct err err;

	(void)state;
	sup_child_arg(&c, "[ -e %s.2 ] && exec sleep 1000; touch %s.2; echo I am up", c.log_path, c.log_path);
	c.ready = has_said_up;
	c.restart = true;
	assert_int_equal(sup_child_start(&c, 0, &err), 0);
	take_end(1);
	assert_true(has_said_up(&c));
	tick_until(SUP_STARTING, 1 + SUP_BACKOFF_FIRST_MS);
	usleep(50000);
	assert_false(has_said_up(&c));
	char mark[400];
	snprintf(mark, sizeof mark, "%s.2", c.log_path);
	unlink(mark);
}

static void test_backoff_grows(void **state)
{
	uint64_t now = 0, pause = 0;
	char text[32];
	struct err err;

	(void)state;
	sup_child_arg(&c, "exit 3");
	c.restart = true;
	assert_int_equal(sup_child_start(&c, now, &err), 0);
	for (int i = 0; i < 9; i++) {
		take_end(now);
		assert_int_equal(c.state, SUP_BACKOFF);
		assert_true(c.next_start_ms - now >= pause);
		pause = c.next_start_ms - now;
		assert_false(sup_child_tick(&c, c.next_start_ms - 1, &err));
		now = c.next_start_ms;
		assert_true(sup_child_tick(&c, now, &err));
		assert_int_equal(c.state, SUP_STARTING);
	}
	assert_int_equal(pause, SUP_BACKOFF_MAX_MS);
	assert_string_equal(sup_child_end_text(&c, text, sizeof text), "exit status 3");
	take_end(now + SUP_STEADY_MS); /* was up for long: the first pause again */
	assert_int_equal(c.next_start_ms - now - SUP_STEADY_MS, SUP_BACKOFF_FIRST_MS);
}

static void test_not_restarted(void **state)
{
	struct err err;

	(void)state;
	sup_child_arg(&c, "kill -9 $$");
	assert_int_equal(sup_child_start(&c, 0, &err), 0);
	take_end(1);
	assert_int_equal(c.state, SUP_DOWN);
	assert_false(sup_child_tick(&c, 1000000, &err));
	char text[32];
	assert_string_equal(sup_child_end_text(&c, text, sizeof text), "signal 9");
}

static void test_forced_end(void **state)
{
	struct err err;

	(void)state;
	sup_child_arg(&c, "trap '' TERM; echo I am up; while :; do sleep 0.05; done");
	c.ready = has_said_up;
	assert_int_equal(sup_child_start(&c, 0, &err), 0);
	tick_until(SUP_READY, 1);
	assert_false(sup_child_stop(&c, 100));
	assert_true(WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGKILL);
}

static void test_not_there(void **state)
{
	struct err err;

	(void)state;
	sup_child_free(&c);
	sup_child_arg(&c, "/nonexistent/program");
	assert_int_equal(sup_child_start(&c, 0, &err), 0);
	take_end(1);
	assert_int_equal(WEXITSTATUS(c.status), 127);
	assert_true(sup_child_logged(&c, "cannot be executed"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ready_and_stop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_old_log_does_not_count, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_backoff_grows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_restarted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forced_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_there, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
