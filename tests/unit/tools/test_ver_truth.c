/* Truth against journal: what is missing, unknown, twice or wrong, and what is allowed to be missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "event.h"
#include "ver_truth.h"

static char path[64];
static struct ver_journal j;

static void put(FILE *f, uint32_t n, const char *type, const char *fate)
{
	fprintf(f, "%08x-0000-4000-8000-000000000000 %s %s -\n", n, type, fate);
}

static void keep(enum ver_kind kind, uint32_t n, uint32_t flags)
{
	struct err err;
	uint32_t type = kind == VER_CLICK ? EVENT_TYPE_click : EVENT_TYPE_platform;
	struct ver_row row = {.id_high = (uint64_t)n << 32 | 0x4000, .id_low = 1ull << 63, .flags = flags};

	if (kind != VER_DEAD)
		row.flags |= type << VER_F_TYPE;

	assert_int_equal(ver_set_add(&j.set[kind], &row, &err), 0);
}

/* 1, 2 clicks; 3 platform; 1 again; 4 refused; one without id; 5 dropped by a rule */
static int set_up(void **state)
{
	FILE *f;

	(void)state;
	snprintf(path, sizeof path, "/tmp/sluice-truth-%d", getpid());
	f = fopen(path, "w");
	if (!f)
		return -1;
	put(f, 1, "click", "accepted");
	put(f, 2, "click", "accepted");
	put(f, 3, "platform", "accepted");
	put(f, 1, "click", "duplicate");
	put(f, 4, "click", "refused:bad_json");
	fprintf(f, "- click accepted some-rule\n");
	put(f, 5, "click", "refused:rule_drop");
	memset(&j, 0, sizeof j);
	return fclose(f);
}

static int tear_down(void **state)
{
	(void)state;
	for (int k = 0; k < VER_KINDS; k++)
		ver_set_free(&j.set[k]);
	return unlink(path);
}

static struct ver_truth_result check(struct ver_truth_opts *o)
{
	struct ver_truth_result r;
	struct err err;

	o->path = path;
	assert_int_equal(ver_truth_check(&r, o, &j, &err), 0);
	return r;
}

static void keep_all(void)
{
	keep(VER_CLICK, 1, 0);
	keep(VER_CLICK, 2, 0);
	keep(VER_CLICK, 77, VER_F_MADE);
	keep(VER_PLATFORM, 3, 0);
	keep(VER_DEAD, 4, DROP_bad_json);
}

static void test_all_there(void **state)
{
	struct ver_truth_opts o = {0};

	(void)state;
	keep_all();
	struct ver_truth_result r = check(&o);
	assert_true(r.ok);
	assert_int_equal(r.lines, 7);
	assert_int_equal(r.accepted, 4);
	assert_int_equal(r.duplicate, 1);
	assert_int_equal(r.refused, 1);
	assert_int_equal(r.rule_drop, 1);
	assert_int_equal(r.missing, 0);
}

static void test_missing(void **state)
{
	struct ver_truth_opts strict = {0}, lax = {.missing_ok = true}, two = {.lost_given = true, .lost = 2},
			      five = {.lost_given = true, .lost = 5},
			      inside = {.range_count = 1, .range = {{2, 6}}},
			      outside = {.range_count = 1, .range = {{3, 6}}};

	(void)state;
	keep(VER_CLICK, 1, 0); /* without 2 and the one without id */
	keep(VER_PLATFORM, 3, 0);
	keep(VER_DEAD, 4, DROP_bad_json);
	assert_false(check(&strict).ok);
	assert_int_equal(check(&strict).missing, 2);
	assert_true(check(&lax).ok);
	assert_true(check(&two).ok);
	assert_false(check(&five).ok);
	assert_true(check(&inside).ok);
	assert_false(check(&outside).ok);
}

static void test_unknown_twice_wrong(void **state)
{
	struct ver_truth_opts lax = {.missing_ok = true};

	(void)state;
	keep_all();
	keep(VER_CLICK, 9, 0);
	assert_int_equal(check(&lax).unknown, 1);
	assert_false(check(&lax).ok);
	j.set[VER_CLICK].count--;
	keep(VER_CLICK, 2, 0);
	assert_int_equal(check(&lax).twice, 1);
	assert_false(check(&lax).ok);
	j.set[VER_CLICK].count--;
	keep(VER_CLICK, 5, 0); /* a rule was to drop it */
	assert_int_equal(check(&lax).unknown, 1);
	j.set[VER_CLICK].count--;
	j.set[VER_DEAD].row[0].flags = DROP_bad_utf8;
	assert_int_equal(check(&lax).wrong, 1);
	assert_false(check(&lax).ok);
	j.set[VER_DEAD].row[0].flags = DROP_bad_json;
	assert_true(check(&lax).ok);
}

static void test_bad_file(void **state)
{
	static const char *const bad[] = {"x click accepted -\n", "- nothing accepted -\n",
		"- click perhaps -\n", "- click refused:nosuch -\n", "- click accepted\n",
		"- click accepted - more\n", "\n"};
	struct ver_truth_opts o = {.path = path};
	struct ver_truth_result r;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		fputs(bad[i], f);
		fclose(f);
		assert_int_equal(ver_truth_check(&r, &o, &j, &err), -22);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_missing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unknown_twice_wrong, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_file, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
