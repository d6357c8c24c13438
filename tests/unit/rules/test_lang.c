/* Rule files: what is accepted, and for each mistake an error with its place and what would be right. */
#include <errno.h>
#include <stdio.h>

#include "record.h"
#include "rule_event_make.h"

/* A mistake in `when`, which begins in column 11 of line 3. */
static void refused_when(const char *when, int column, const char *part)
{
	char yaml[9000], place[64];

	snprintf(yaml, sizeof yaml, "rules:\n  - id: r1\n    when: %s\n    then: tag\n", when);
	snprintf(place, sizeof place, "f.yaml:3:%d: rule r1: ", column);
	refused(yaml, place, part);
}

static void test_file_errors(void **state)
{
	(void)state;
	refused("rule:\n- 1\n", "f.yaml:1:1: ", "unknown key rule; did you mean rules?");
	refused("- 1\n", "f.yaml:1:1: ", "expected `rules:`");
	refused("rules: 5\n", "f.yaml:1:8: ", "expected a list");
	refused("rules:\n- 5\n", "f.yaml:2:3: ", "expected a rule");
	refused("rules:\n- {when: {page: /}}\n", "f.yaml:2:3: ", "needs an id");
	refused("rules:\n- {id: A b}\n", "f.yaml:2:8: ", "expected 1 to 64 of a-z");
	refused("rules:\n- {id: a, then: tag}\n", "f.yaml:2:3: rule a: ", "needs `when`");
	refused("rules:\n- {id: a, when: {page: /}}\n", "f.yaml:2:3: rule a: ", "needs `then`");
	refused("rules:\n- {id: a, when: {page: /}, then: tug}\n",
		"f.yaml:2:34: rule a: ", "did you mean tag?");
	refused("rules:\n- {id: a, when: {page: /}, then: []}\n", "f.yaml:2:34: rule a: ", "at least one");
	refused("rules:\n- {id: a, when: {page: /}, then: [tag, tag]}\n",
		"f.yaml:2:40: rule a: ", "given twice");
	refused("rules:\n- {id: a, when: {page: /}, then: [{rute: x}]}\n",
		"f.yaml:2:36: rule a: ", "did you mean route?");
	refused("rules:\n- {id: a, when: {page: /}, then: [[tag]]}\n",
		"f.yaml:2:35: rule a: ", "expected alert, tag, drop or {route: topic}");
	refused("rules:\n- {id: a, when: {page: /}, then: [alert, route]}\n",
		"f.yaml:2:42: rule a: ", "to which topic?");
	refused("rules:\n- {id: a, when: {page: /}, then: [alert, {route: 'a b'}]}\n",
		"f.yaml:2:50: rule a: ", "expected a Kafka topic");
	refused("rules:\n- {id: a, when: {page: /}, then: {route: ..}}\n",
		"f.yaml:2:42: rule a: ", "expected a Kafka topic");
	refused("rules:\n- {id: a, when: {page: /}, then: [{route: a}, {route: b}]}\n",
		"f.yaml:2:55: rule a: ", "given twice");
	refused("rules:\n- {id: a, expires: soon, when: {page: /}, then: tag}\n",
		"f.yaml:2:20: rule a: ", "a date like 2027-01-31");
	refused("rules:\n- {id: a, owner: '', when: {page: /}, then: tag}\n",
		"f.yaml:2:18: rule a: ", "owner: expected 1 to 200");
	refused("rules:\n- {id: a, allow: {page: /}, when: {page: /}, then: tag}\n",
		"f.yaml:2:18: rule a: ", "allow: expected a list");
	refused("rules:\n- {id: a, severty: low}\n", "f.yaml:2:11: rule a: ", "did you mean severity?");
	refused("rules:\n- {id: a, severity: hihg, when: {page: /}, then: tag}\n",
		"f.yaml:2:21: rule a: ", "did you mean high?");
	refused("rules:\n- {id: a, title: \"x\\ny\", when: {page: /}, then: tag}\n",
		"f.yaml:2:18: rule a: ", "one line");
	refused("rules:\n- {id: a, when: {page: /}, then: tag}\n- {id: a, when: {page: /}, then: tag}\n",
		"f.yaml:3:3: rule a: ", "taken by the rule at f.yaml:2");
	refused("rules:\n- {id: a, id: b}\n", "f.yaml:2:11: ", "duplicate key id");
}

static void test_when_errors(void **state)
{
	char bomb[5000];

	(void)state;
	refused_when("{}", 11, "match every event");
	refused_when("/x", 11, "expected a mapping");
	refused_when("{pge: /x}", 12, "unknown field pge; did you mean page?");
	refused_when("{zzzzzzzzzz: /x}", 12, "known: type, any, all, not");
	refused_when("{attributes.: x}", 12, "names joined by dots");
	refused_when("{attributes.a..b: x}", 12, "names joined by dots");
	refused_when("{attributes.a.: x}", 12, "names joined by dots");
	refused_when("{attributes.a.b.c.d.e.f.g.h.i: x}", 12, "at most 8 names");
	refused_when("{attributes.a: [x]}", 26, "{in: [a, b]}");
	refused_when("{attributes.a: {gt: x}}", 31, "attributes.a: expected a number");
	refused_when("{attributes.a: {cidr: x}}", 33, "cidr: expected addresses like");
	refused_when("{ip: {cidr: 10.0.0.1/8}}", 23, "without bits behind the prefix");
	refused_when("{ip: {cidr: [10.0.0.0/8, [x]]}}", 36, "cidr: expected addresses like");
	refused_when("{ip: {cidr: []}}", 23, "empty list");
	refused_when("{src_addr: 10.0.0.1}", 22, "expected {cidr: 10.0.0.0/8}");
	refused_when("{src_addr: {eq: 10.0.0.1}}", 23, "unknown key of src_addr eq");
	refused_when("{page: {in: {file: x.txt}}}", 30, "there is no list x.txt");
	refused_when("{page: {in: {file: ../x}}}", 30, "below the rule file's folder");
	refused_when("{page: {in: {file: /etc/x}}}", 30, "below the rule file's folder");
	refused_when("{page: {in: {fil: x}}}", 24, "did you mean file?");
	refused_when("{attributes: x}", 24, "only {present: true}");
	refused_when("{page: [a]}", 18, "{in: [a, b]}");
	refused_when("{page: {}}", 18, "no test");
	refused_when("{page: }", 18, "a value is missing");
	refused_when("{page: {regx: a}}", 19, "did you mean regex?");
	refused_when("{page: {lt: 5}}", 19, "lt does not apply to page, which is a text field");
	refused_when(
		"{page: {cidr: 10.0.0.0/8}}", 19, "cidr does not apply to page: ip, src_addr and attributes");
	refused_when("{page: {contains: ''}}", 29, "matches everything");
	refused_when("{page: {in: []}}", 23, "empty list");
	refused_when("{page: {in: a}}", 23, "expected a list");
	refused_when("{page: {present: yes}}", 28, "true or false");
	refused_when("{page: {present: true, nocase: true}}", 34, "nocase needs");
	refused_when("{page: {eq: a, nocase: 1}}", 34, "true or false");
	refused_when("{country: {in: [DE, toolongtext]}}", 31, "at most 8");
	refused_when("{metric: {regex: a}}", 21, "number field");
	refused_when("{metric: abc}", 20, "expected a number");
	refused_when("{metric: '5'}", 20, "expected a number");
	refused_when("{metric: {lt: 5, le: 6}}", 28, "exclude each other");
	refused_when("{metric: {lt: 5, gt: 5}}", 21, "no number lies");
	refused_when("{metric: {lt: 1e999}}", 25, "expected a number");
	refused_when("{ts: 2024-13-01T00:00:00Z}", 16, "milliseconds since the epoch");
	refused_when("{event_id: x}", 22, "expected a UUID");
	refused_when("{type: clik}", 18, "did you mean click?");
	refused_when(
		"{type: click, source: web}", 33, "no event type that is left here has the field source");
	refused_when("{type: click, not: {type: click}}", 30, "matches no event");
	refused_when("{any: {page: x}}", 17, "expected a list");
	refused_when("{any: []}", 17, "expected a list");
	refused_when(
		"{not: {not: {not: {not: {not: {not: {not: {not: {not: {page: x}}}}}}}}}}", 60, "nested");
	refused_when("{page: {regex: '(a'}}", 26, "regex: ");
	refused_when("{page: {regex: '(a)\\2'}}", 26, "regex: ");
	refused_when("{page: {regex: '(?<=a+)b'}}", 26, "regex: ");
	refused_when("{page: {regex: '(*UTF8)b'}}", 26, "VERB");
	refused_when("{page: {regex: '((a{100}){100}){100}'}}", 26, "positions");
	refused_when(
		"{page: {regex: '((((((((((x{2}){2}){2}){2}){2}){2}){2}){2}){2}){2}){9}'}}", 26, "positions");
	memset(bomb, 'a', sizeof bomb);
	snprintf(bomb, sizeof bomb, "{page: {regex: '%4200d'}}", 1);
	refused_when(bomb, 26, "at most 4096");
}

static void test_sample_errors(void **state)
{
	static const struct {
		const char *tests, *part;
	} cases[] = {
		{"5", "expected a list"},
		{"[{send: [{page: x}]}]", "a test is"},
		{"[{send: [], expect: tag}]", "a test is"},
		{"[{snd: [], expect: tag}]", "did you mean send?"},
		{"[{send: [{page: x}], expect: alert}]", "`then` has no alert"},
		{"[{send: [{page: x}], expect: non}]", "did you mean none?"},
		{"[{send: [5], expect: tag}]", "expected an event"},
		{"[{send: [{times: 2, every: 1s, each: 5}], expect: tag}]", "expected an event"},
		{"[{send: [{times: 2, each: {page: x}}], expect: tag}]", "every is missing"},
		{"[{send: [{every: 1s, each: {page: x}}], expect: tag}]", "times is missing"},
		{"[{send: [{times: 0, every: 1s, each: {page: x}}], expect: tag}]", "from 1 to 10000"},
		{"[{send: [{times: 2, every: 1s, page: x, each: {page: x}}], expect: tag}]", "unknown key"},
		{"[{send: [{times: 9999, every: 1s, each: {page: x}}, {page: x}, {page: x}], expect: tag}]",
			"more than 10000 events"},
		{"[{send: [{times: 2, every: 1s, each: {ts: 1, page: [x]}}], expect: tag}]",
			"expected one value"},
		{"[{send: [{pgae: x}], expect: tag}]", "did you mean page?"},
		{"[{send: [{page: null}], expect: tag}]", "leave the key out"},
		{"[{send: [{page: [x]}], expect: tag}]", "expected one value"},
		{"[{send: [{ts: x}], expect: tag}]", "milliseconds"},
		{"[{send: [{ts: 1, timestamp: 1}], expect: tag}]", "given twice"},
		{"[{send: [{user_id: ''}], expect: tag}]", "holds 1 to 256"},
		{"[{send: [{page: x, geo_country: ELSEWHERE}], expect: tag}]", "holds 0 to 8"},
		{"[{send: [{event_id: 12}], expect: tag}]", "UUID"},
		{"[{send: [{source: web, attributes: {metric: x}}], expect: tag}]", "number"},
		{"[{send: [{type: click, source: web}], expect: tag}]", "no field source"},
		{"[{send: [{type: klick}], expect: tag}]", "did you mean click?"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char yaml[1000];

		snprintf(yaml, sizeof yaml, "rules:\n- id: a\n  when: {page: x}\n  then: tag\n  tests: %s\n",
			cases[i].tests);
		refused(yaml, "f.yaml:5:", cases[i].part);
	}
}

static void count_line(void *arg, const char *line)
{
	assert_non_null(strstr(line, "t.yaml:"));
	++*(uint32_t *)arg;
}

static void test_samples_run(void **state)
{
	struct ruleset *rs = compiled(
		"rules:\n"
		"- id: a\n"
		"  when: {page: {regex: 'x+'}, metric: {present: false}}\n"
		"  then: [tag, alert]\n"
		"  tests:\n"
		"  - {send: [{page: axb}, {page: x, user_id: u, ts: 2025-01-01T00:00:00Z}], expect: alert}\n"
		"  - {send: [{page: b}, {page: xx}], expect: none}\n"
		"  - {send: [{page: b}], expect: tag}\n"
		"- id: b\n"
		"  when: {metric: {gt: 5}, status: ok}\n"
		"  then: drop\n"
		"  tests:\n"
		"  - {send: [{source: web, attributes: {metric: 5.5, status: ok, other: 1}}], expect: drop}\n"
		"  - {send: [{source: web, attributes: {metric: 5, status: ok}}, {page: x}], expect: "
		"none}\n");
	uint32_t lines = 0;

	(void)state;
	assert_int_equal(ruleset_run_tests(rs, NULL, count_line, &lines).failed, 2);
	assert_int_equal(lines, 2);
	ruleset_free(rs);
}

/* Fields that enrichment fills stand in samples beside the sender's keys, or alone, and in no raw bytes. */
static void test_samples_enriched(void **state)
{
	struct ruleset *rs = compiled(
		"rules:\n"
		"- id: a\n"
		"  when: {geo_country: DE, page: {prefix: /p}}\n"
		"  then: tag\n"
		"  tests:\n"
		"  - {send: [{geo_country: DE, page: /p}, {page: /p, geo_country: DE, user_id: u}], expect: "
		"tag}\n"
		"  - {send: [{page: /p}, {geo_country: DE}, {page: /p, geo_country: FR}], expect: none}\n");
	uint32_t lines = 0;

	(void)state;
	assert_int_equal(ruleset_run_tests(rs, NULL, count_line, &lines).failed, 0);
	assert_int_equal(lines, 0);
	ruleset_free(rs);
}

static void test_metadata_and_version(void **state)
{
	static const char one[] =
		"rules:\n- {id: a, title: One, severity: high, when: {page: x}, then: [drop, alert]}\n";
	static const char same[] = "# comment\nrules:\n\n  - id: a\n    title: One\n    severity: high\n"
				   "    when: {page: x}\n    then: [drop, alert]\n";
	struct ruleset *a = compiled(one), *b = compiled(same), *c;
	const struct rule_info *info = ruleset_rule(b, 0);

	(void)state;
	assert_string_equal(info->id, "a");
	assert_string_equal(info->title, "One");
	assert_string_equal(info->file, "t.yaml");
	assert_int_equal(info->line, 4);
	assert_int_equal(info->severity, SEVERITY_HIGH);
	assert_int_equal(info->actions, RULE_ACTION_DROP | RULE_ACTION_ALERT);
	assert_string_equal(ruleset_version(a), ruleset_version(b));
	assert_int_equal(strlen(ruleset_version(a)), 16);
	c = compiled(
		"rules:\n- {id: a, title: One, severity: high, when: {page: 'x '}, then: [drop, alert]}\n");
	assert_string_not_equal(ruleset_version(a), ruleset_version(c));
	ruleset_free(a);
	ruleset_free(b);
	ruleset_free(c);
}

static void test_limits(void **state)
{
	struct rule_source source[2] = {{"a.yaml", NULL, 0, false}, {"b.yaml", NULL, 0, false}};
	struct ruleset *rs;
	struct err err;
	char *text = malloc(8 << 20);
	size_t n = 0;

	(void)state;
	source[0].text =
		"rules:\n- {id: a, when: {any: [{page: {contains: a}}, {page: {contains: b}}, {page: {regex: "
		"'\\x61'}}]}, then: tag}\n";
	source[0].bytes = strlen(source[0].text);
	source[1].text =
		"rules:\n- {id: b, when: {any: [{page: {contains: a}}, {page: {contains: c}}]}, then: tag}\n";
	source[1].bytes = strlen(source[1].text);
	assert_int_equal(ruleset_compile(&rs, source, 2, 4, &err), 0);
	assert_int_equal(ruleset_pattern_count(rs), 4); /* a is one pattern */
	ruleset_free(rs);
	assert_int_equal(ruleset_compile(&rs, source, 2, 3, &err), -EINVAL);
	assert_non_null(strstr(err.text, "b.yaml:2:"));
	assert_non_null(strstr(err.text, "rule b: more than 3 text patterns"));
	n = (size_t)snprintf(text, 100, "rules:\n");
	for (int i = 0; i < 65536; i++)
		n += (size_t)snprintf(text + n, 100, "- {id: r%d, when: {type: click}, then: tag}\n", i);
	source[0] = (struct rule_source){"a.yaml", text, n, false};
	assert_int_equal(ruleset_compile(&rs, source, 1, 3, &err), -EINVAL);
	assert_non_null(strstr(err.text, "more than 65535 rules"));
	n = (size_t)snprintf(text, 100, "rules:\n");
	for (int i = 0; i < 20; i++)
		n += (size_t)snprintf(
			text + n, 200, "- {id: r%d, when: {page: {regex: 'a%d.{4000}'}}, then: tag}\n", i, i);
	source[0] = (struct rule_source){"a.yaml", text, n, false};
	assert_int_equal(ruleset_compile(&rs, source, 1, 100, &err), -EINVAL);
	assert_string_equal(err.text,
		"a.yaml:17:34: rule r15: the text patterns of all rules have more than 2000000 "
		"positions, 60000 from repeats, or 2000000 pairs of positions that follow each other");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_file_errors),
		cmocka_unit_test(test_when_errors), cmocka_unit_test(test_sample_errors),
		cmocka_unit_test(test_samples_run), cmocka_unit_test(test_samples_enriched),
		cmocka_unit_test(test_metadata_and_version), cmocka_unit_test(test_limits)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
