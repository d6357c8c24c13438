/* The shipped packs compile together, and each of their rules has samples that it must match and must not.
 * argv[1]: the packs' folder. */
#include <stdio.h>

#include "rule_event_make.h"
#include "ruleset_priv.h"
#include "state_rules.h"

static const char *dir;

static void report(void *arg, const char *line)
{
	(void)arg;
	print_error("%s\n", line);
}

static void test_packs(void **state)
{
	struct rule_test_counts counts;
	struct ruleset *rs;
	struct err err = {0};

	(void)state;
	if (ruleset_compile_dir(&rs, dir, 10000, &err))
		fail_msg("%s", err.text);
	assert_true(ruleset_rule_count(rs) >= 45);
	assert_true(ruleset_state_count(rs) >= 17);
	assert_true(ruleset_pattern_count(rs) >= 65);
	for (uint32_t i = 0; i < ruleset_rule_count(rs); i++) {
		uint32_t hits = 0, misses = 0;

		for (const struct rule_sample *s = rs->rule[i]->sample; s; s = s->next) {
			hits += s->expect != 0;
			misses += s->expect == 0;
		}
		if (!hits || !misses)
			fail_msg("%s has no sample that it must%s match", ruleset_rule(rs, i)->id,
				hits ? " not" : "");
	}
	counts = ruleset_run_tests(rs, &state_rules_tester, report, NULL);
	assert_int_equal(counts.failed + counts.not_run, 0);
	print_message("%u rules, %u with state, %u patterns, %u tests\n", ruleset_rule_count(rs),
		ruleset_state_count(rs), ruleset_pattern_count(rs), (uint32_t)counts.passed);
	ruleset_free(rs);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_packs)};

	if (argc != 2)
		return 2;
	dir = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
