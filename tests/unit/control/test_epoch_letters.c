/* Dead letters outlive the epoch that they are of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "durable.h"
#include "epoch.h"

static char dir[] = "/tmp/sluice-epoch-XXXXXX", before[100];

static void make(const char *folder, const char *name)
{
	char path[300];
	struct err err;
	FILE *out;

	snprintf(path, sizeof path, "%s/sinks/%s", before, folder);
	assert_int_equal(durable_dir_make(path, &err), 0);
	snprintf(path, sizeof path, "%s/sinks/%s/%s", before, folder, name);
	out = fopen(path, "w");
	assert_non_null(out);
	fputs(folder, out);
	fclose(out);
}

static void there(const char *path, const char *text)
{
	char full[300], got[64] = "";
	FILE *in;

	snprintf(full, sizeof full, "%s/%s", dir, path);
	in = fopen(full, "r");
	if (!in)
		fail_msg("%s is not there", path);
	assert_non_null(fgets(got, sizeof got, in));
	fclose(in);
	assert_string_equal(got, text);
}

static void test_kept(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(epoch_letters_keep(dir, before, 0xab, &err), 0); /* nothing is there */
	make("clickhouse", "p0.letters");
	make("clickhouse", "p12.letters");
	make("clickhouse", "p0.intent");
	make("clickhouse-output", "p1.letters");
	make("clickhouse-00000000000000cd", "p0.letters");
	for (int i = 0; i < 2; i++) /* as after a crash: again */
		if (epoch_letters_keep(dir, before, 0xab, &err))
			fail_msg("%s", err.text);
	there("sinks/clickhouse-00000000000000ab/p0.letters", "clickhouse");
	there("sinks/clickhouse-00000000000000ab/p12.letters", "clickhouse");
	there("sinks/clickhouse-output-00000000000000ab/p1.letters", "clickhouse-output");
	there("sinks/clickhouse-00000000000000cd/p0.letters", "clickhouse-00000000000000cd");
	there("before/sinks/clickhouse/p0.intent", "clickhouse");
}

static int end(void **state)
{
	struct err err;

	(void)state;
	return durable_tree_remove(dir, &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept)};

	if (!mkdtemp(dir))
		return 1;
	snprintf(before, sizeof before, "%s/before", dir);
	return cmocka_run_group_tests(tests, NULL, end);
}
