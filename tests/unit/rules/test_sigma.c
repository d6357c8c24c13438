/* Import of Sigma rules: what each construct becomes and what each refusal says (golden files beside it,
 * written anew with SIGMA_GOLDEN_UPDATE=1); that what was imported matches what Sigma says it does, by the
 * matcher and the state stage; and hostile input. argv[1]: the folder of the golden files. */
#include <stdio.h>

#include "rule_event_make.h"
#include "sigma.h"
#include "state_rules.h"

#define PATTERNS_MAX 20000

static const char *dir;

struct text {
	char *bytes;
	size_t count;
};

static struct text file_read(const char *name)
{
	struct text t = {0};
	char path[4096];
	struct err err;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	if (rule_file_load(path, &t.bytes, &t.count, &err))
		fail_msg("%s", err.text);
	return t;
}

static void line_keep(void *arg, const char *line)
{
	fprintf(arg, "%s\n", line);
}

/* Imports by the map of the golden files. The texts are the caller's. */
static int import(const struct sigma_source *source, uint32_t count, struct sigma_report *report,
	struct text *rules, struct text *lines)
{
	struct text map = file_read("fields.yaml");
	struct sigma_source map_source = {"fields.yaml", map.bytes, map.count};
	FILE *out = open_memstream(&rules->bytes, &rules->count);
	FILE *log = open_memstream(&lines->bytes, &lines->count);
	struct err err = {0};
	int rc;

	assert_non_null(out);
	assert_non_null(log);
	rc = sigma_import(out, &map_source, source, count, PATTERNS_MAX, report, line_keep, log, &err);
	if (rc)
		fprintf(log, "%s\n", err.text);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(fclose(log), 0);
	free(map.bytes);
	assert_true(rc != 0 || report->documents == report->imported + report->used + report->refused);
	return rc;
}

/* ---- golden ---- */

static void same_as_file(const char *name, const struct text *made)
{
	struct text want;
	char path[4096];

	if (getenv("SIGMA_GOLDEN_UPDATE")) {
		FILE *f;

		snprintf(path, sizeof path, "%s/%s", dir, name);
		f = fopen(path, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(made->bytes, 1, made->count, f), made->count);
		assert_int_equal(fclose(f), 0);
		return;
	}
	want = file_read(name);
	if (want.count != made->count || memcmp(want.bytes, made->bytes, made->count) != 0)
		fail_msg("%s is not what was made:\n%s", name, made->bytes);
	free(want.bytes);
}

static void test_golden(void **state)
{
	static const char *const names[] = {"rules.yml", "correlations.yml", "refused.yml"};
	struct text rules, lines, in[3];
	struct sigma_source source[3];
	struct sigma_report report;
	struct ruleset *rs;
	struct err err;

	(void)state;
	for (int i = 0; i < 3; i++) {
		in[i] = file_read(names[i]);
		source[i] = (struct sigma_source){names[i], in[i].bytes, in[i].count};
	}
	assert_int_equal(import(source, 3, &report, &rules, &lines), 0);
	same_as_file("imported.yaml", &rules);
	same_as_file("refused.txt", &lines);
	assert_int_equal(report.refused_for[SIGMA_WHY_correlation], 9);
	if (ruleset_compile(&rs,
		    &(struct rule_source){.name = "imported.yaml", .text = rules.bytes, .bytes = rules.count},
		    1, PATTERNS_MAX, &err))
		fail_msg("%s", err.text);
	assert_int_equal(ruleset_rule_count(rs), report.rules);
	ruleset_free(rs);
	for (int i = 0; i < 3; i++)
		free(in[i].bytes);
	free(rules.bytes);
	free(lines.bytes);
}

/* ---- meaning ---- */

static void report_line(void *arg, const char *line)
{
	(void)arg;
	print_error("%s\n", line);
}

/* The one rule that the document becomes, with these tests of the rule language behind it, passes them. */
static void means(const char *sigma, const char *tests)
{
	struct sigma_report report;
	struct text rules, lines;
	struct rule_test_counts counts;
	struct ruleset *rs;
	struct err err;
	char *text;

	import(&(struct sigma_source){"s.yml", sigma, strlen(sigma)}, 1, &report, &rules, &lines);
	if (report.rules != 1)
		fail_msg("%s", lines.bytes);
	assert_true(asprintf(&text, "%s    tests:\n%s", rules.bytes, tests) > 0);
	if (ruleset_compile(&rs, &(struct rule_source){.name = "s.yaml", .text = text, .bytes = strlen(text)},
		    1, PATTERNS_MAX, &err))
		fail_msg("%s\n%s", err.text, text);
	counts = ruleset_run_tests(rs, &state_rules_tester, report_line, NULL);
	if (counts.failed || counts.not_run || !counts.passed)
		fail_msg("%s", text);
	ruleset_free(rs);
	free(text);
	free(rules.bytes);
	free(lines.bytes);
}

#define WEB "title: t\nlogsource: {category: webserver}\ndetection:\n  condition: s\n  s:\n    "
#define HIT(event) "      - {send: [ {type: click, user_id: u, " event "} ], expect: alert}\n"
#define MISS(event) "      - {send: [ {type: click, user_id: u, " event "} ], expect: none}\n"

static void test_texts(void **state)
{
	(void)state;
	means(WEB "url: /Login", HIT("page: /lOGIN") MISS("page: /login2") MISS("page: /a/login"));
	means(WEB "url|cased: /Login", HIT("page: /Login") MISS("page: /login"));
	means(WEB "url|startswith: /a", HIT("page: /Abc") MISS("page: x/abc"));
	means(WEB "url|endswith: .php", HIT("page: /x.PHP") MISS("page: /x.php7"));
	means(WEB "url|contains: ab", HIT("page: xABy") MISS("page: a-b"));
	means(WEB "url|contains|all: [ab, cd]", HIT("page: cdab") MISS("page: ab") MISS("page: cd"));
	means(WEB "url: [a, 'b*']", HIT("page: A") HIT("page: bcd") MISS("page: ab"));
	means(WEB "url|neq: [a, b]", HIT("page: c") MISS("page: B"));
	means(WEB "agent|neq: a", HIT("page: c") HIT("user_agent: b") MISS("user_agent: A"));
	means(WEB "url: ''", HIT("page: ''") MISS("page: a") MISS("referrer: a"));
	means(WEB "from: null", HIT("page: a") MISS("referrer: a"));
	means(WEB "from|exists: true", HIT("referrer: a") MISS("page: a"));
	means(WEB "status: 404", HIT("status: 404") HIT("status: '404'") MISS("status: 4040"));
	means(WEB "status: [200, '3*']", HIT("status: 301") HIT("status: 200") MISS("status: 404"));
	means(WEB "status|gt: 400", HIT("status: 401") MISS("status: 400"));
	means(WEB "client|cidr: [10.0.0.0/8, '2001:db8::/32']",
		HIT("ip: 10.1.2.3") HIT("ip: '2001:db8::1'") MISS("ip: 11.1.2.3"));
}

static void test_wildcards(void **state)
{
	(void)state;
	means(WEB "url: 'a*z'",
		HIT("page: aZ") HIT("page: abcz") HIT("page: \"a\\nz\"") MISS("page: abczz1"));
	means(WEB "url: 'a?z'",
		HIT("page: abz") HIT("page: aöz") HIT("page: a€z") MISS("page: az") MISS("page: abbz"));
	means(WEB "url: '*a?z*'", HIT("page: xabzx") MISS("page: xabbz"));
	means(WEB "url: '?'", HIT("page: ö") MISS("page: ''") MISS("page: ab"));
	means(WEB "url: 'a\\*'", HIT("page: a*") MISS("page: ab"));
	means(WEB "url: 'a\\\\*'", HIT("page: 'a\\'") HIT("page: 'a\\b'") MISS("page: a*"));
	means(WEB "url: 'a\\\\\\*'", HIT("page: 'a\\*'") MISS("page: 'a\\b'"));
	means(WEB "url: 'a\\b'", HIT("page: 'a\\b'") MISS("page: ab"));
	means(WEB "url|contains: '.+('", HIT("page: 'x.+(y'") MISS("page: 'xx+(y'"));
	means(WEB "url: '*a*b*'", HIT("page: xAxxBx") MISS("page: ba"));
	means(WEB "url|re: '^/v[0-9]/.x'",
		HIT("page: /v1/ax") MISS("page: /V1/ax") MISS("page: \"/v1/\\nx\""));
	means(WEB "url|re|i|s: 'v.x'", HIT("page: \"aV\\nxb\"") MISS("page: vx"));
	means(WEB "url|re|m: '^b$'", HIT("page: \"a\\nb\\nc\"") MISS("page: ab"));
	means(WEB "agent|windash|contains: ' -enc /x'",
		HIT("user_agent: 'a /enc -x'") HIT("user_agent: 'a –enc ―x'") MISS("user_agent: 'a enc x'"));
	means(WEB "agent|windash: 'a-b'", HIT("user_agent: a-b") MISS("user_agent: a/b"));
}

/* What stands somewhere in a Base64 text, at each of the three offsets. */
static void test_coded(void **state)
{
	(void)state;
	means(WEB "url|base64offset|contains: 'foobar'",
		HIT("page: 'q=Zm9vYmFy'") HIT("page: 'YWZvb2Jhcg=='") HIT("page: 'YWFmb29iYXI='")
			MISS("page: 'Zm9vYmF6'"));
	means(WEB "url|base64|endswith: 'fo'", HIT("page: 'x=Zm8='") MISS("page: 'x=Zm9v'"));
	means(WEB "url|utf16le|base64offset|contains: 'ping'",
		HIT("page: 'cABpAG4AZwAgAC0AdAA='") MISS("page: cGluZyAtdA=="));
	means(WEB "url|utf16|base64: 'a'", HIT("page: '//5hAA=='") MISS("page: 'YQA='"));
	means(WEB "url|utf16be|base64: 'a\U0001F600'", HIT("page: 'AGHYPd4A'") MISS("page: 'YQA='"));
}

#define CONDITION(text)                                                                                      \
	"title: t\nlogsource: {category: webserver}\ndetection:\n  sel_a: {url|contains: a}\n"               \
	"  sel_b: {url|contains: b}\n  not_c: {url|contains: c}\n  _d: {url|contains: d}\n  "                \
	"condition: " text "\n"

static void test_conditions(void **state)
{
	(void)state;
	means(CONDITION("sel_a or sel_b and not_c"),
		HIT("page: a") HIT("page: bc") MISS("page: b") MISS("page: c"));
	means(CONDITION("(sel_a or sel_b) and not_c"), HIT("page: ac") HIT("page: bc") MISS("page: a"));
	means(CONDITION("not sel_a and not (sel_b or not_c)"),
		HIT("page: x") MISS("page: a") MISS("page: c"));
	means(CONDITION("not not sel_a"), HIT("page: a") MISS("page: b"));
	means(CONDITION("1 of sel_* and not not_c"), HIT("page: b") MISS("page: bc") MISS("page: d"));
	means(CONDITION("all of sel_*"), HIT("page: ba") MISS("page: a"));
	means(CONDITION("all of them"), HIT("page: abc") MISS("page: ab") MISS("page: bcd"));
	means(CONDITION("1 of them"), HIT("page: c") MISS("page: d"));
	means(CONDITION("ANY OF sel_* AND _d"), HIT("page: ad") MISS("page: a"));
	means(CONDITION("[sel_a, not_c and _d]"), HIT("page: a") HIT("page: cd") MISS("page: c"));
	means(WEB "- {url: a, from: b}\n    - word",
		HIT("page: A, referrer: B") HIT("referrer: swordfish") MISS("page: a"));
	means(WEB "'|all': [one, two]", HIT("page: one, referrer: two") MISS("page: one, referrer: on"));
}

#define PAY                                                                                                  \
	"---\ntitle: b\nname: b\nlogsource: {category: payments}\ndetection: {s: {amount|gt: 0}, "           \
	"condition: s}\n"
#define LOGIN                                                                                                \
	"---\ntitle: c\nname: c\nlogsource: {category: payments}\ndetection: {s: {shop: login}, condition: " \
	"s}\n"
#define SEND(expect, events) "      - {send: [ " events " ], expect: " expect "}\n"
#define TX(user, card, amount, at)                                                                           \
	"{type: transaction, user_id: " user ", card: " card ", ip: 192.0.2.1, amount: " amount ", ts: " at  \
	"}, "
#define IN(user, at) "{type: transaction, user_id: " user ", merchant: login, amount: 0, ts: " at "}, "

static void test_correlations(void **state)
{
	(void)state;
	means("title: t\ncorrelation: {type: event_count, rules: b, group-by: user, timespan: 1m, condition: "
	      "{gt: 2}}\n" PAY,
		SEND("alert", TX("u", "c", "1", "1000") TX("u", "c", "1", "2000") TX("u", "c", "1", "3000"))
			SEND("none", TX("u", "c", "1", "1000") TX("u", "c", "1", "2000")) SEND("none",
				TX("u", "c", "1", "1000") TX("u", "c", "1", "2000") TX("v", "c", "1", "3000"))
				SEND("none", TX("u", "c", "1", "1000") TX("u", "c", "1", "2000")
						     TX("u", "c", "1", "90000")));
	means("title: t\ncorrelation: {type: value_count, rules: [b], group-by: [client], timespan: 1m, "
	      "condition: {field: "
	      "card, gte: 2}}\n" PAY,
		SEND("alert", TX("u", "c", "1", "1000") TX("v", "d", "1", "2000"))
			SEND("none", TX("u", "c", "1", "1000") TX("v", "c", "1", "2000")));
	means("title: t\ncorrelation: {type: value_sum, rules: b, group-by: user, timespan: 1m, condition: "
	      "{field: amount, "
	      "gt: 10}}\n" PAY,
		SEND("alert", TX("u", "c", "5", "1000") TX("u", "c", "5.000001", "2000"))
			SEND("none", TX("u", "c", "5", "1000") TX("u", "c", "5", "2000")));
	means("title: t\ncorrelation: {type: temporal_ordered, rules: [c, b], group-by: user, timespan: "
	      "1m}\n" PAY LOGIN,
		SEND("alert", IN("u", "1000") TX("u", "c", "5", "2000"))
			SEND("none", TX("u", "c", "5", "1000") IN("u", "2000"))
				SEND("none", IN("u", "1000") TX("v", "c", "5", "2000")));
	means("title: t\ncorrelation: {type: event_count, rules: [b, c], group-by: user, timespan: 1m, "
	      "condition: {gte: "
	      "2}}\n" PAY LOGIN,
		SEND("alert", IN("u", "1000") TX("u", "c", "5", "2000")));
}

/* ---- hostile ---- */

/* Imports nothing, and says this. */
static void import_refused(const char *sigma, size_t bytes, const char *part)
{
	struct sigma_report report;
	struct text rules, lines;

	import(&(struct sigma_source){"s.yml", sigma, bytes}, 1, &report, &rules, &lines);
	assert_int_equal(report.imported, 0);
	if (!strstr(lines.bytes, part))
		fail_msg("'%s' is not in: %.2000s", part, lines.bytes);
	free(rules.bytes);
	free(lines.bytes);
}

static char *repeated(const char *head, const char *part, size_t count, const char *end)
{
	size_t n = strlen(part);
	char *text = malloc(strlen(head) + n * count + strlen(end) + 1), *to = text;

	assert_non_null(text);
	to = stpcpy(to, head);
	for (size_t i = 0; i < count; i++)
		to = stpcpy(to, part);
	stpcpy(to, end);
	return text;
}

static void import_refused_repeat(
	const char *head, const char *part, size_t count, const char *end, const char *says)
{
	char *text = repeated(head, part, count, end);

	import_refused(text, strlen(text), says);
	free(text);
}

/* Small documents whose conditions come to many tests each. */
static void import_many_tests(void)
{
	static const char head[] = "---\ntitle: t\nlogsource: {category: webserver}\ndetection:\n";
	char *selections, *doc, name[24];
	FILE *f;
	size_t bytes;

	f = open_memstream(&selections, &bytes);
	assert_non_null(f);
	fputs(head, f);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "  s%d: {url: a}\n", i);
		fputs(name, f);
	}
	fputs("  condition: '", f);
	assert_int_equal(fclose(f), 0);
	doc = repeated(selections, "1 of s* or ", 500, "s0'\n");
	import_refused_repeat("", doc, 40, "", "more than 2000000 tests and groups in all documents");
	free(selections);
	free(doc);
}

/* A rule that is refused takes no id. */
static void test_ids(void **state)
{
	static const char text[] = "title: a\nid: same\nlogsource: {category: webserver}\n"
				   "detection: {s: {url|re: '('}, condition: s}\n---\n"
				   "title: b\nid: same\nlogsource: {category: webserver}\n"
				   "detection: {s: {url: b}, condition: s}\n---\n"
				   "title: c\nid: same\nlogsource: {category: webserver}\n"
				   "detection: {s: {url: c}, condition: s}\n";
	const struct sigma_source source = {"s.yml", text, sizeof text - 1};
	struct sigma_report report;
	struct text rules, lines;

	(void)state;
	assert_int_equal(import(&source, 1, &report, &rules, &lines), 0);
	assert_int_equal(report.imported, 1);
	assert_int_equal(report.refused_for[SIGMA_WHY_compile], 1);
	assert_int_equal(report.refused_for[SIGMA_WHY_id], 1);
	assert_non_null(strstr(rules.bytes, "title: 'b'"));
	free(rules.bytes);
	free(lines.bytes);
}

static void test_hostile(void **state)
{
	static const char nul[] = "title: a\0b\n";

	(void)state;
	import_refused_repeat(WEB "url: a\n  condition: ", "(", 100000, "s", "duplicate key");
	import_refused_repeat(
		"title: t\nlogsource: {category: webserver}\ndetection:\n  s: {url: a}\n  condition: '", "(",
		100000, "s'", "nested too deeply");
	import_refused_repeat(
		"title: t\nlogsource: {category: webserver}\ndetection:\n  s: {url: a}\n  condition: '",
		"not ", 100000, "s'", "nested too deeply");
	import_refused_repeat(
		"title: t\nlogsource: {category: webserver}\ndetection:\n  s: {url: [a, b*]}\n  condition: '",
		"1 of s* or ", 200000, "s'", "more than 100000 tests and groups");
	import_many_tests();
	import_refused_repeat(WEB "- url: a", "*a*b", 20000, "", "regex:");
	import_refused_repeat(WEB "url: [", "'*a*',", 5000, "x]", "more than 4096 tests");
	import_refused_repeat(WEB "url: ", "[", 100, "", "nested too deeply");
	import_refused_repeat("---\n", "- a\n---\n", 100001, "", "more than 100000 documents");
	import_refused_repeat("---\n",
		"a: [b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b,b]\n---\n", 70000, "",
		"more than 2000000 keys and values");
	import_refused_repeat("", " ", SIGMA_BYTES_MAX + 1, "", "more than 33554432 bytes");
	import_refused_repeat(WEB "url|", "base64|", 9, "contains: a", "more than 8 modifiers");
	import_refused(nul, sizeof nul - 1, "control characters");
	import_refused("a: &a [x]\nb: *a\n", 16, "anchors");
	import_refused("\xff\xfe", 2, "s.yml:1:1");
}

/* What a document says of itself goes into comments, and nothing of it out of them. */
static void test_comments(void **state)
{
	static const char text[] =
		"title: t\nid: \"a\\nb\"\nstatus: \"x\\n  - id: evil\"\n"
		"logsource:\n  category: webserver\n  \"\\n  - id\": evil\n  \"\\n    when\": '{type: "
		"click}'\n"
		"  \"\\r    then\": '[drop]'\n  \"\\x85\\u2028- id\": evil\n  \"twenty characters "
		"\xc3\xa9\xc3\xa9\": x\n"
		"detection:\n  s: {url: a}\n  condition: s\ntags: [\"a\\n  - id: evil\"]\n";
	const struct sigma_source source = {"s.yml", text, sizeof text - 1};
	struct sigma_report report;
	struct text rules, lines;
	struct ruleset *rs;
	struct err err;

	(void)state;
	assert_int_equal(import(&source, 1, &report, &rules, &lines), 0);
	assert_int_equal(report.rules, 1);
	if (ruleset_compile(&rs,
		    &(struct rule_source){.name = "f.yaml", .text = rules.bytes, .bytes = rules.count}, 1,
		    PATTERNS_MAX, &err))
		fail_msg("%s", err.text);
	assert_int_equal(ruleset_rule_count(rs), 1);
	assert_string_equal(ruleset_rule(rs, 0)->title, "t");
	assert_int_equal(ruleset_rule(rs, 0)->actions, RULE_ACTION_ALERT);
	ruleset_free(rs);
	free(rules.bytes);
	free(lines.bytes);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_comments), cmocka_unit_test(test_ids),
		cmocka_unit_test(test_golden), cmocka_unit_test(test_texts), cmocka_unit_test(test_wildcards),
		cmocka_unit_test(test_coded), cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_correlations), cmocka_unit_test(test_hostile)};

	if (argc != 2)
		return 2;
	dir = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
