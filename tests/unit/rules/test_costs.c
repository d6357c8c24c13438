/* The report of what patterns cost: what is costly is told with its place, what is not is not told. */
#include <stdio.h>

#include "rule_event_make.h"

struct told {
	char text[8000];
	uint32_t count;
};

static void line_keep(void *arg, const char *line)
{
	struct told *told = arg;

	strncat(told->text, line, sizeof told->text - strlen(told->text) - 2);
	strncat(told->text, "\n", 2);
	told->count++;
}

static struct rule_costs costs_of(const char *tests, struct told *told)
{
	struct rule_costs costs;
	struct ruleset *rs;
	struct err err;
	char *text;

	*told = (struct told){0};
	assert_true(asprintf(&text, "rules:\n- id: r1\n  then: tag\n  when:\n    any:\n%s", tests) > 0);
	if (ruleset_compile(&rs, &(struct rule_source){.name = "f.yaml", .text = text, .bytes = strlen(text)},
		    1, 1000, &err))
		fail_msg("%s", err.text);
	ruleset_costs(rs, &costs, line_keep, told);
	ruleset_free(rs);
	free(text);
	return costs;
}

static void test_cheap(void **state)
{
	struct told told;
	struct rule_costs costs = costs_of("    - page: {contains: abc}\n"
					   "    - page: {regex: 'ab[0-9]+', nocase: true}\n"
					   "    - referrer: {regex: '(abc|def).*x'}\n"
					   "    - page: {prefix: a}\n"
					   "    - page: a\n",
		&told);

	(void)state;
	assert_int_equal(told.count, 0);
	assert_int_equal(costs.costly, 0);
	assert_int_equal(costs.patterns, 3);
	assert_int_equal(costs.edge_patterns, 0);
	assert_int_equal(costs.databases, 4); /* two fields; values side by side, and alone */
	assert_true(costs.database_bytes > 1000);
	assert_true(costs.scratch_bytes > 100);
}

static void told_once(const char *test, const char *part)
{
	struct told told;
	struct rule_costs costs = costs_of(test, &told);

	if (told.count != 1 || costs.costly != 1 || strncmp(told.text, "f.yaml:6:", 9) != 0 ||
		!strstr(told.text, part))
		fail_msg("%s: %s", test, told.text);
}

static void test_costly(void **state)
{
	(void)state;
	told_once("    - page: {contains: a}\n", "one character");
	told_once("    - page: {regex: '^abc'}\n", "begins or ends");
	told_once("    - page: {regex: '(abc)?'}\n", "empty text");
	told_once("    - page: {regex: '[0-9]+x'}\n", "no text of 2 characters");
	told_once("    - page: {regex: 'abc|[de]f'}\n", "no text of 2 characters");
	told_once("    - page: {regex: 'abc.{1200}'}\n", "1203 positions");
}

/* Of many only the first are told; all are counted. */
static void test_many(void **state)
{
	char tests[8000] = "";
	struct told told;

	(void)state;
	for (char c = 'A'; c <= 'Z'; c++)
		for (int k = 0; k < 3; k++)
			snprintf(tests + strlen(tests), 60, "    - page: {regex: '[%c-Z]%d'}\n", c, k);
	assert_int_equal(costs_of(tests, &told).costly, 78);
	assert_int_equal(told.count, RULE_COSTLY_MAX);
}

static void progress_keep(void *arg, const char *subject, uint32_t patterns, uint32_t done, uint32_t count)
{
	char line[100];

	snprintf(line, sizeof line, "%s %u %u/%u", subject, patterns, done, count);
	line_keep(arg, line);
}

static void test_progress(void **state)
{
	struct told progress = {0}, told;

	(void)state;
	ruleset_progress_set(progress_keep, &progress);
	costs_of("    - page: {contains: abc}\n    - page: {contains: def}\n    - attributes.a.b: {contains: "
		 "abc}\n"
		 "    - country: AB\n",
		&told);
	ruleset_progress_set(NULL, NULL);
	assert_string_equal(progress.text, "page 2 0/2\na.b 1 1/2\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cheap), cmocka_unit_test(test_costly),
		cmocka_unit_test(test_many), cmocka_unit_test(test_progress)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
