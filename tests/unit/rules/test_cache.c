/* Compiled databases on disk: taken when they are whole and ours, compiled anew on any doubt. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rule_cache.h"
#include "rule_event_make.h"

static char dir[64];

static const char *const expr[] = {"abc[0-9]+", "x{3}y"};
static const unsigned flags[] = {0, HS_FLAG_CASELESS}, ids[] = {7, 9};

static void file_path(char *out, size_t bytes)
{
	DIR *d = opendir(dir);

	*out = 0;
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		if (e->d_name[0] != '.')
			snprintf(out, bytes, "%s/%s", dir, e->d_name);
	closedir(d);
}

static struct rule_cache_key keep(void)
{
	struct rule_cache_key key = rule_cache_key(expr, flags, ids, 2);
	hs_compile_error_t *problem = NULL;
	hs_database_t *db = NULL;

	assert_int_equal(
		hs_compile_multi(expr, flags, ids, 2, HS_MODE_BLOCK, NULL, &db, &problem), HS_SUCCESS);
	rule_cache_put(&key, db);
	hs_free_database(db);
	return key;
}

static int on_match(
	unsigned int id, unsigned long long from, unsigned long long to, unsigned int f, void *arg)
{
	(void)from, (void)to, (void)f;
	*(unsigned *)arg += id;
	return 0;
}

static void test_kept(void **state)
{
	struct rule_cache_key key = keep(), other;
	hs_database_t *db = rule_cache_get(&key);
	hs_scratch_t *scratch = NULL;
	unsigned sum = 0;
	static const unsigned other_ids[] = {7, 8}, other_flags[] = {0, 0};
	static const char *const glued[] = {"abc[0-9]+x{3}y", ""};

	(void)state;
	assert_non_null(db);
	assert_int_equal(hs_alloc_scratch(db, &scratch), HS_SUCCESS);
	assert_int_equal(hs_scan(db, "abc1 XXXY", 9, 0, scratch, on_match, &sum), HS_SUCCESS);
	assert_int_equal(sum, 16);
	hs_free_scratch(scratch);
	hs_free_database(db);
	other = rule_cache_key(expr, flags, other_ids, 2);
	assert_null(rule_cache_get(&other));
	other = rule_cache_key(expr, other_flags, ids, 2);
	assert_null(rule_cache_get(&other));
	other = rule_cache_key(expr, flags, ids, 1);
	assert_null(rule_cache_get(&other));
	other = rule_cache_key(glued, flags, ids, 2);
	assert_null(rule_cache_get(&other));
}

/* Every byte matters; so does the length, the owner's mode, and that it is a file. */
static void test_doubts(void **state)
{
	struct rule_cache_key key = keep();
	hs_database_t *db;
	struct stat st;
	char path[400], moved[420];
	int fd;

	(void)state;
	file_path(path, sizeof path);
	fd = open(path, O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at < 64 ? 1 : 97) {
		uint8_t was, now;

		assert_int_equal(pread(fd, &was, 1, at), 1);
		now = was ^ 0x10;
		assert_int_equal(pwrite(fd, &now, 1, at), 1);
		assert_null(rule_cache_get(&key));
		assert_int_equal(pwrite(fd, &was, 1, at), 1);
	}
	snprintf(moved, sizeof moved, "%s.whole", path);
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(symlink(moved, path), 0); /* no links */
	assert_null(rule_cache_get(&key));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rename(moved, path), 0);
	assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
	assert_null(rule_cache_get(&key));
	key = keep(); /* written anew */
	close(fd);
	db = rule_cache_get(&key);
	assert_non_null(db);
	hs_free_database(db);
	assert_int_equal(chmod(path, 0666), 0);
	assert_null(rule_cache_get(&key));
	assert_int_equal(chmod(path, 0600), 0);
	snprintf(moved, sizeof moved, "%s.away", path);
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_null(rule_cache_get(&key));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rename(moved, path), 0);
}

/* A ruleset from kept databases matches as a compiled one does. */
static void test_ruleset(void **state)
{
	static const char text[] = "rules:\n- {id: a, when: {page: {regex: '/p/[0-9]+'}}, then: tag}\n"
				   "- {id: b, when: {page: {regex: '^/q$'}}, then: tag}\n"
				   "- {id: c, when: {page: {regex: '/r(?!s)'}}, then: tag}\n"; /* PCRE2's */
	static const char *const page[] = {"/p/12", "/q", "/rt", "/rs"};

	(void)state;
	for (int run = 0; run < 2; run++) {
		struct ruleset *rs = compiled(text);
		struct matcher *m = matcher_of(rs);
		struct made_event e;
		struct event *ev = &e.ev;

		for (int k = 0; k < 4; k++) {
			made_reset(&e, EVENT_TYPE_click);
			made_text(&e, FIELD_page, page[k], strlen(page[k]));
			matcher_run(m, &ev, 1);
			assert_int_equal(ev->hit_count, k < 3);
			assert_true(k == 3 || ev->hit[0] == k);
		}
		assert_int_equal(ruleset_rule(rs, 2)->confirmed, 1);
		matcher_free(m);
		ruleset_free(rs);
	}
}

/* What is kept of expressions is asked for no more, and is not taken for a database. */
static void test_widths(void **state)
{
	const struct rule_width kept[2] = {{.min = 4, .max = UINT32_MAX}, {.min = 4, .max = 4, .at_eod = 1}};
	static const char *const odd[] = {"kept[0-9]", "(kept)+"};
	const struct rule_cache_key key = rule_cache_key(odd, flags, ids, 2),
				    other = rule_cache_key(expr, flags, ids, 2);
	struct rule_width got[2] = {0};

	(void)state;
	assert_false(rule_cache_widths(&key, got, 2));
	rule_cache_put_widths(&key, kept, 2);
	assert_true(rule_cache_widths(&key, got, 2));
	assert_memory_equal(got, kept, sizeof kept);
	assert_false(rule_cache_widths(&key, got, 1));
	assert_false(rule_cache_widths(&other, got, 2));
	assert_null(rule_cache_get(&key));
}

static void test_bounded(void **state)
{
	uint32_t files = 0;
	DIR *d;

	(void)state;
	for (unsigned i = 0; i < 520; i++) {
		const unsigned id = i;
		struct rule_cache_key key = rule_cache_key(expr, flags, &id, 1);
		hs_compile_error_t *problem = NULL;
		hs_database_t *db = NULL;

		assert_int_equal(hs_compile_multi(expr, flags, &id, 1, HS_MODE_BLOCK, NULL, &db, &problem),
			HS_SUCCESS);
		rule_cache_put(&key, db);
		hs_free_database(db);
	}
	d = opendir(dir);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		files += e->d_name[0] != '.';
	closedir(d);
	assert_int_equal(files, 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept), cmocka_unit_test(test_doubts),
		cmocka_unit_test(test_ruleset), cmocka_unit_test(test_widths),
		cmocka_unit_test(test_bounded)};
	char command[100];
	struct err err;
	int rc;

	snprintf(dir, sizeof dir, "/tmp/sluice_cache_XXXXXX");
	if (!mkdtemp(dir) || ruleset_cache_set(dir, &err))
		return 2;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof command, "rm -r %s", dir);
	return system(command) ? 2 : rc;
}
