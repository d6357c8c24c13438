/* ruleset_check(): every rule and file with an error is told once, in one run, and up to a bound. */
#include <stdio.h>

#include "rule_event_make.h"

struct told {
	char line[RULE_PROBLEMS_MAX + 1][512];
	uint32_t count;
};

static void tell(void *arg, const char *line)
{
	struct told *told = arg;

	assert_true(told->count <= RULE_PROBLEMS_MAX);
	snprintf(told->line[told->count++], sizeof *told->line, "%s", line);
}

static struct told told;

static int check(const struct rule_source *source, uint32_t count, uint32_t patterns_max, bool *more)
{
	struct rule_problems problems = {.line = tell, .arg = &told};
	struct ruleset *rs = NULL;
	struct err err = {0};
	int rc;

	memset(&told, 0, sizeof told);
	rc = ruleset_check(&rs, source, count, patterns_max, &problems, &err);
	assert_string_equal(err.text, "");
	assert_int_equal(problems.count, told.count);
	assert_int_equal(rc == 0, rs != NULL);
	assert_int_equal(rc == 0, told.count == 0);
	*more = problems.more;
	ruleset_free(rs);
	return rc;
}

static struct rule_source file(const char *name, const char *text)
{
	return (struct rule_source){name, text, strlen(text), false};
}

/* Exactly once, at the beginning of a line. */
static void assert_told(const char *place, const char *part)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < told.count; i++)
		found += !strncmp(told.line[i], place, strlen(place)) && strstr(told.line[i], part) != NULL;
	if (found != 1)
		fail_msg("'%s...%s': told %u times", place, part, found);
}

/* An error of each step of a compile, between rules that are good. */
static void test_all_at_once(void **state)
{
	const struct rule_source source[] = {
		file("a.yaml", "rules:\n- {id: good, when: {page: {regex: ab}}, then: tag}\n"
			       "- {id: field, when: {pgae: /x}, then: tag}\n"
			       "- {id: regex, when: {page: {regex: '('}}, then: tag}\n"
			       "- {id: verb, when: {page: {regex: '(*UTF8)a'}}, then: tag}\n"
			       "- {id: type, when: {all: [{type: click}, {amount: {gt: 5}}]}, then: tag}\n"
			       "- {id: good, when: {page: /x}, then: tag}\n"),
		file("b.yaml", "rules:\n- {id: x\n"),
		file("c.yaml", "rules:\n- {id: then, when: {page: /x}, then: tagg}\n"),
		file("d.yaml", "rules:\n- {id: last, when: {page: /x}, then: tag}\n"),
	};
	bool more;

	(void)state;
	assert_int_equal(check(source, 4, 100, &more), -EINVAL);
	assert_false(more);
	assert_int_equal(told.count, 7);
	assert_told("a.yaml:3:", "rule field: unknown field pgae; did you mean page?");
	assert_told("a.yaml:4:", "rule regex: regex: ");
	assert_told("a.yaml:5:", "rule verb: regex: (*VERB)s");
	assert_told("a.yaml:6:", "rule type: matches no event");
	assert_told("a.yaml:7:", "rule good: this id is taken by the rule at a.yaml:2");
	assert_told("b.yaml:", "");
	assert_told("c.yaml:2:", "rule then: unknown action tagg");
	assert_int_equal(check(source + 3, 1, 100, &more), 0);
}

/* Two rules with the same bad expression are both told; what is wrong with all together is told once. */
static void test_together(void **state)
{
	const struct rule_source same =
		file("a.yaml", "rules:\n- {id: a, when: {page: {regex: '(*UTF8)a'}}, then: tag}\n"
			       "- {id: b, when: {page: {regex: '(*UTF8)a'}}, then: tag}\n");
	const struct rule_source many =
		file("a.yaml", "rules:\n- {id: a, when: {page: {regex: ab}}, then: tag}\n"
			       "- {id: b, when: {page: {regex: abc}}, then: tag}\n"
			       "- {id: c, when: {page: {regex: abcd}}, then: tag}\n");
	bool more;

	(void)state;
	assert_int_equal(check(&same, 1, 100, &more), -EINVAL);
	assert_int_equal(told.count, 2);
	assert_told("a.yaml:2:", "rule a: ");
	assert_told("a.yaml:3:", "rule b: ");
	assert_int_equal(check(&many, 1, 1, &more), -EINVAL);
	assert_int_equal(told.count, 1);
	assert_told("a.yaml:3:", "rule b: more than 1 text patterns");
	assert_int_equal(check(&many, 1, 3, &more), 0);
}

/* As many as there are, up to the bound; beyond it, that there are more. */
static void test_bound(void **state)
{
	char text[8192];
	size_t n = (size_t)snprintf(text, sizeof text, "rules:\n");
	struct rule_source source;
	bool more;

	(void)state;
	for (uint32_t i = 0; i <= RULE_PROBLEMS_MAX; i++) {
		source = file("a.yaml", text);
		if (i) {
			assert_int_equal(check(&source, 1, 100, &more), -EINVAL);
			assert_int_equal(told.count, i);
			assert_false(more);
		}
		n += (size_t)snprintf(
			text + n, sizeof text - n, "- {id: r%u, when: {pgae: /x}, then: tag}\n", i);
	}
	source = file("a.yaml", text);
	assert_int_equal(check(&source, 1, 100, &more), -EINVAL);
	assert_int_equal(told.count, RULE_PROBLEMS_MAX);
	assert_true(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
