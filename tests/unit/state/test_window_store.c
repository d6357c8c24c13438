/* Stored definitions: read back, damaged, missing, from two threads; plans of uids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "window_priv.h"

static char dir[160];
static struct window_plan *plan;

static int setup(void **state)
{
	const char *base = getenv("SLUICE_TEST_DIR");
	static struct config cfg;
	struct err err;

	(void)state;
	snprintf(dir, sizeof dir, "%.90s/sluice-windows-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(dir + strlen(dir), sizeof dir - strlen(dir), "/windows");
	config_defaults(&cfg);
	return window_plan_make(&plan, &cfg, &err);
}

static void path_of(char out[256], uint64_t uid)
{
	snprintf(out, 256, "%s/%016" PRIx64 ".window", dir, uid);
}

static int teardown(void **state)
{
	char path[256];

	(void)state;
	for (uint32_t i = 0; i < plan->count; i++) {
		path_of(path, plan->def[i]->uid);
		unlink(path);
	}
	window_plan_free(plan);
	rmdir(dir);
	*strrchr(dir, '/') = 0;
	return rmdir(dir);
}

static void test_put_get(void **state)
{
	struct window_store *st;
	struct stat before, after;
	char path[256];
	struct err err;

	(void)state;
	assert_int_equal(window_store_open(&st, dir, &err), 0);
	for (uint32_t i = 0; i < plan->count; i++)
		assert_int_equal(window_store_put(st, plan->def[i], &err), 0);
	path_of(path, plan->def[0]->uid);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(window_store_put(st, plan->def[0], &err), 0); /* is there: not written again */
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	window_store_close(st);
	assert_int_equal(window_store_open(&st, dir, &err), 0);
	for (uint32_t i = 0; i < plan->count; i++) {
		const struct window_def *def = window_store_get(st, plan->def[i]->uid, &err);

		assert_non_null(def);
		assert_true(def->uid == plan->def[i]->uid);
		assert_string_equal(def->text, plan->def[i]->text);
		assert_ptr_equal(window_store_get(st, plan->def[i]->uid, &err), def);
	}
	assert_null(window_store_get(st, 12345, &err));
	assert_non_null(strstr(err.text, "0000000000003039.window: No such file"));
	window_store_close(st);
	assert_true(window_store_open(&st, "/dev/null/x", &err) < 0);
	assert_null(st);
}

static void test_plan(void **state)
{
	uint64_t uid[WINDOWS_MAX];
	struct window_store *st;
	struct window_plan *again;
	struct err err;

	(void)state;
	assert_int_equal(window_store_open(&st, dir, &err), 0);
	for (uint32_t i = 0; i < plan->count; i++)
		uid[i] = plan->def[plan->count - 1 - i]->uid;
	assert_int_equal(window_store_plan(&again, st, uid, plan->count, 1000, &err), 0);
	window_store_close(st); /* a plan stands alone */
	assert_int_equal(again->count, plan->count);
	assert_int_equal(again->step_ms, 1000);
	for (uint32_t i = 0; i < plan->count; i++)
		assert_string_equal(again->def[i]->text, plan->def[i]->text);
	window_plan_free(again);
	assert_int_equal(window_store_open(&st, dir, &err), 0);
	assert_true(window_store_plan(&again, st, uid, plan->count, 7000, &err) < 0); /* 1 m is no multiple */
	assert_true(window_store_plan(&again, st, uid, plan->count, 0, &err) < 0);
	uid[1] = uid[0];
	assert_true(window_store_plan(&again, st, uid, 2, 1000, &err) < 0);
	uid[1] = 1;
	assert_true(window_store_plan(&again, st, uid, 2, 1000, &err) < 0);
	assert_null(again);
	window_store_close(st);
}

static void write_file(const char *path, const char *text, size_t bytes)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, bytes, f), bytes);
	fclose(f);
}

static void test_damaged(void **state)
{
	const struct window_def *def = plan->def[0];
	size_t bytes = strlen(def->text);
	struct window_store *st;
	char path[256], text[9000];
	struct err err;

	(void)state;
	assert_int_equal(window_store_open(&st, dir, &err), 0);
	path_of(path, def->uid);
	for (size_t i = 0; i <= bytes; i += 7) { /* a bit, a cut */
		memcpy(text, def->text, bytes + 1);
		text[i] ^= 4;
		write_file(path, text, bytes + 1);
		assert_null(window_store_get(st, def->uid, &err));
		assert_non_null(strstr(err.text, "damaged"));
		write_file(path, def->text, i < bytes ? i : 0);
		assert_null(window_store_get(st, def->uid, &err));
	}
	memset(text, ' ', sizeof text);
	write_file(path, text, sizeof text);
	assert_null(window_store_get(st, def->uid, &err));
	/* Putting it again mends it. */
	assert_int_equal(window_store_put(st, def, &err), 0);
	assert_non_null(window_store_get(st, def->uid, &err));
	window_store_close(st);
}

static void *getter(void *arg)
{
	struct err err;

	for (uint32_t n = 0; n < 50; n++)
		for (uint32_t i = 0; i < plan->count; i++)
			if (!window_store_get(arg, plan->def[i]->uid, &err))
				return (void *)1;
	return NULL;
}

static void test_threads(void **state)
{
	struct window_store *st;
	pthread_t thread[2];
	void *result;
	struct err err;

	(void)state;
	assert_int_equal(window_store_open(&st, dir, &err), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, getter, st), 0);
	for (uint32_t n = 0; n < 50; n++)
		for (uint32_t i = 0; i < plan->count; i++)
			assert_int_equal(window_store_put(st, plan->def[i], &err), 0);
	for (int i = 0; i < 2; i++) {
		pthread_join(thread[i], &result);
		assert_null(result);
	}
	window_store_close(st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_get),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
