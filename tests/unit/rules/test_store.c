/* Generations on disk: numbers, sameness, restarts, damage of every byte, trimming, readers in threads. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rule_event_make.h"

static char dir[64];

static struct ruleset *rules(const char *id)
{
	char yaml[300];

	snprintf(yaml, sizeof yaml, "rules:\n- {id: %s, when: {page: {regex: 'a+'}}, then: tag}\n", id);
	return compiled(yaml);
}

static struct ruleset_store *store_open(void)
{
	struct ruleset_store *st;
	struct err err;

	if (ruleset_store_open(&st, dir, &err))
		fail_msg("%s", err.text);
	return st;
}

static uint32_t put(struct ruleset_store *st, struct ruleset *rs)
{
	uint32_t generation = 99;
	struct err err;

	if (ruleset_store_put(st, rs, &generation, &err))
		fail_msg("%s", err.text);
	return generation;
}

static void file_path(char *out, size_t room, const char *name)
{
	snprintf(out, room, "%s/rulesets/%s", dir, name);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/sluice-store-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", dir);
	return system(command);
}

static void test_generations(void **state)
{
	struct ruleset_store *st = store_open();
	struct ruleset *a = rules("a"), *b = rules("b"), *none = ruleset_empty();
	char path[128];
	struct err err;

	(void)state;
	assert_int_equal(ruleset_store_newest(st), 0);
	assert_null(ruleset_store_get(st, 1, &err));
	assert_int_equal(put(st, a), 1);
	assert_int_equal(put(st, a), 1);
	assert_int_equal(put(st, b), 2);
	assert_int_equal(put(st, a), 3); /* the same as the newest only */
	assert_int_equal(put(st, none), 4);
	assert_int_equal(put(st, none), 4);
	ruleset_store_close(st);
	file_path(path, sizeof path, "9.yaml.tmp"); /* of a crash */
	close(open(path, O_CREAT | O_WRONLY, 0600));
	st = store_open();
	assert_int_equal(access(path, F_OK), 0); /* whoever only reads leaves it: another may be writing it */
	assert_int_equal(ruleset_store_clean(st, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(ruleset_store_newest(st), 4);
	assert_string_equal(ruleset_rule(ruleset_store_get(st, 2, &err), 0)->id, "b");
	assert_string_equal(ruleset_version(ruleset_store_get(st, 2, &err)), ruleset_version(b));
	assert_ptr_equal(ruleset_store_get(st, 2, &err), ruleset_store_get(st, 2, &err));
	assert_int_equal(ruleset_rule_count(ruleset_store_get(st, 4, &err)), 0);
	assert_null(matcher_new(ruleset_store_get(st, 2, &err), &err));
	ruleset_store_trim(st, 10);
	assert_null(ruleset_store_get(st, 3, &err));
	assert_non_null(strstr(err.text, "generation 3 is not kept (any more): there are 4 to 4"));
	assert_non_null(ruleset_store_get(st, 2, &err)); /* borrowed until it is released */
	assert_non_null(ruleset_store_get(st, 4, &err));
	assert_int_equal(put(st, b), 5);
	ruleset_store_reserve(st, 9); /* a journal names it, but its file is gone */
	ruleset_store_reserve(st, 3);
	assert_int_equal(put(st, b), 10);
	ruleset_store_close(st);
	ruleset_free(a);
	ruleset_free(b);
	ruleset_free(none);
}

/* Several sources with names and texts that could be taken for the file's own lines. */
static void test_boundaries(void **state)
{
	static const char tricky[] = "# file bytes=3 name=x\n# sluice-ruleset 1\n";
	static const char text[] = "rules:\n- {id: a, when: {page: 'x'}, then: tag}";
	struct rule_source source[3] = {{"one\n.yaml", tricky, sizeof tricky - 1, false},
		{"", text, sizeof text - 1, false}, {"three", "", 0, false}};
	struct ruleset_store *st = store_open();
	const struct ruleset *back;
	struct ruleset *rs;
	struct err err;

	(void)state;
	assert_int_equal(ruleset_compile(&rs, source, 3, 10, &err), 0);
	assert_int_equal(put(st, rs), 1);
	ruleset_store_close(st);
	st = store_open();
	back = ruleset_store_get(st, 1, &err);
	if (!back)
		fail_msg("%s", err.text);
	assert_string_equal(ruleset_version(back), ruleset_version(rs));
	assert_int_equal(put(st, rs), 1);
	ruleset_store_close(st);
	ruleset_free(rs);
}

static void test_damage(void **state)
{
	struct ruleset_store *st = store_open();
	struct ruleset *a = rules("a");
	char path[128], text[1000];
	struct err err;
	ssize_t bytes;
	int fd;

	(void)state;
	put(st, a);
	ruleset_store_close(st);
	file_path(path, sizeof path, "1.yaml");
	fd = open(path, O_RDWR);
	bytes = read(fd, text, sizeof text);
	assert_true(bytes > 100 && bytes < 1000);
	for (ssize_t i = 0; i < bytes; i++)
		for (int bit = 0; bit < 8; bit += 3) {
			char c = (char)(text[i] ^ 1 << bit);
			const struct ruleset *rs;

			assert_int_equal(pwrite(fd, &c, 1, i), 1);
			st = store_open();
			rs = ruleset_store_get(st, 1, &err);
			if (rs)
				fail_msg("byte %zd as %02x is taken", i, (unsigned char)c);
			assert_non_null(strstr(err.text, "1.yaml"));
			ruleset_store_close(st);
			assert_int_equal(pwrite(fd, text + i, 1, i), 1);
		}
	for (ssize_t cut = 0; cut < bytes; cut += 7) {
		assert_int_equal(ftruncate(fd, cut), 0);
		st = store_open();
		assert_null(ruleset_store_get(st, 1, &err));
		ruleset_store_close(st);
		assert_int_equal(pwrite(fd, text, (size_t)bytes, 0), bytes);
	}
	assert_int_equal(pwrite(fd, "#", 1, bytes), 1);
	st = store_open();
	assert_null(ruleset_store_get(st, 1, &err));
	assert_int_equal(put(st, a), 2); /* a damaged newest is not "the same" */
	assert_non_null(ruleset_store_get(st, 2, &err));
	ruleset_store_close(st);
	close(fd);
	file_path(path, sizeof path, "7.yaml");
	assert_int_equal(mkdir(path, 0700), 0);
	file_path(path, sizeof path, "8.yaml");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	st = store_open();
	assert_null(ruleset_store_get(st, 7, &err));
	assert_null(ruleset_store_get(st, 8, &err));
	ruleset_store_close(st);
	ruleset_free(a);
}

#define IDLE 4u /* that stay without users */

static void put_many(struct ruleset_store *st, uint32_t count)
{
	for (uint32_t i = 1; i <= count; i++) {
		struct ruleset *rs;
		char id[16];

		snprintf(id, sizeof id, "r%u", i);
		rs = rules(id);
		assert_int_equal(put(st, rs), i);
		ruleset_free(rs);
	}
}

/* What is applied every minute must not stay in memory for ever; what somebody stands at must. */
static void test_users(void **state)
{
	struct ruleset_store *st = store_open();
	struct ruleset_stand stand = {0}, other = {0};
	const struct ruleset *held, *recent;
	struct err err;

	(void)state;
	put_many(st, 30);
	assert_in_range(ruleset_store_compiled(st), 0, IDLE);
	held = ruleset_store_get(st, 2, &err);
	assert_ptr_equal(ruleset_store_get(st, 2, &err), held); /* two users */
	for (uint32_t i = 1; i <= 30; i++) {
		assert_non_null(ruleset_stand_at(&stand, st, i, &err));
		assert_in_range(ruleset_store_compiled(st), 1, IDLE + 2);
		assert_string_equal(ruleset_rule(held, 0)->id, "r2");
	}
	assert_int_equal(ruleset_store_compiled(st), IDLE + 2); /* 2; 30; 26 to 29 */
	ruleset_store_release(st, held);
	for (uint32_t i = 1; i <= 20; i++)
		assert_non_null(ruleset_stand_at(&stand, st, i, &err));
	assert_string_equal(ruleset_rule(held, 0)->id, "r2"); /* one is left */
	assert_ptr_equal(ruleset_stand_at(&other, st, 2, &err), held);
	ruleset_stand_leave(&other, st);
	assert_null(other.rs);
	ruleset_store_release(st, held);
	ruleset_store_release(st, NULL);
	ruleset_stand_leave(&stand, st);
	ruleset_stand_leave(&stand, st);
	assert_int_equal(ruleset_store_compiled(st), IDLE); /* 18, 19, 2, 20 */
	recent = ruleset_stand_at(&stand, st, 18, &err);
	assert_string_equal(ruleset_rule(recent, 0)->id, "r18");
	assert_int_equal(ruleset_store_compiled(st), IDLE);
	assert_non_null(ruleset_stand_at(&other, st, 17, &err));
	assert_int_equal(ruleset_store_compiled(st), IDLE + 1); /* was gone; 19, 2, 20 are not */
	ruleset_stand_leave(&stand, st);
	ruleset_stand_leave(&other, st);
	assert_int_equal(ruleset_store_compiled(st), IDLE);
	/* Nothing to stand at: nothing is held. */
	assert_null(ruleset_stand_at(&stand, st, 31, &err));
	assert_null(stand.rs);
	assert_int_equal(ruleset_store_compiled(st), IDLE);
	ruleset_store_close(st);
}

static void *reader(void *arg)
{
	struct err err;

	struct ruleset_stand stand = {0};
	bool good = true;
	char id[16];

	for (uint32_t i = 0; i < 300 && good; i++) {
		uint32_t generation = 1 + i % 20;
		const struct ruleset *rs = ruleset_store_get(arg, generation, &err);

		snprintf(id, sizeof id, "r%u", 1 + i / 2 % 20);
		if (ruleset_stand_at(&stand, arg, 1 + i / 2 % 20, &err))
			good = strcmp(ruleset_rule(stand.rs, 0)->id, id) == 0;
		good = good && (!rs || ruleset_rule_count(rs) == 1);
		ruleset_store_release(arg, rs);
	}
	ruleset_stand_leave(&stand, arg);
	return good ? NULL : arg;
}

static void test_threads(void **state)
{
	struct ruleset_store *st = store_open();
	pthread_t thread[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, reader, st), 0);
	put_many(st, 20);
	for (int i = 0; i < 3; i++) {
		void *bad;

		assert_int_equal(pthread_join(thread[i], &bad), 0);
		assert_null(bad);
	}
	assert_in_range(ruleset_store_compiled(st), 1, IDLE);
	ruleset_store_close(st);
}

static void test_refused_directory(void **state)
{
	struct ruleset_store *st;
	struct err err;

	(void)state;
	assert_int_equal(ruleset_store_open(&st, "/proc/none/such", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/proc/none/such"));
	assert_null(st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_generations, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_boundaries, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_users, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused_directory, set_up, tear_down)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
