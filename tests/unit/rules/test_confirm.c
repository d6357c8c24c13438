/* Expressions beyond Hyperscan: what PCRE2 confirms is what PCRE2 alone finds in each value, whatever stands
 * beside it in a burst; searches beyond their bound are counted and no match; what neither takes is refused
 * with both reasons. */
#include <stdio.h>

#include "rule_event_make.h"
#include "match_priv.h"

#define BURST 64u

static struct ruleset *compiled_regex(const char *regex, bool nocase)
{
	struct ruleset *rs;
	struct err err;
	char text[8000];

	snprintf(text, sizeof text,
		"rules:\n- {id: hit, when: {page: {regex: '%s'%s}}, then: tag}\n"
		"- {id: not, when: {type: click, not: {page: {regex: '%s'%s}}}, then: tag}\n"
		"- {id: text, when: {page: {contains: abc}}, then: tag}\n",
		regex, nocase ? ", nocase: true" : "", regex, nocase ? ", nocase: true" : "");
	if (ruleset_compile(&rs, &(struct rule_source){.name = "f.yaml", .text = text, .bytes = strlen(text)},
		    1, 100, &err))
		fail_msg("%s", err.text);
	return rs;
}

/* An oracle without bounds. */
static bool found(const char *regex, bool nocase, const char *text, size_t bytes)
{
	int problem;
	PCRE2_SIZE at;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED,
		PCRE2_DOTALL | (nocase ? PCRE2_CASELESS : 0), &problem, &at, NULL);
	pcre2_match_data *data;
	int rc;

	assert_non_null(code);
	data = pcre2_match_data_create_from_pattern(code, NULL);
	rc = pcre2_match(code, (PCRE2_SPTR)text, bytes, 0, 0, data, NULL);
	pcre2_match_data_free(data);
	pcre2_code_free(code);
	return rc >= 0;
}

static bool has_hit(const struct event *ev, uint16_t rule)
{
	for (uint32_t i = 0; i < ev->hit_count; i++)
		if (ev->hit[i] == rule)
			return true;
	return false;
}

/* Texts of a small alphabet, so that most things happen: short, empty, with line ends and bytes that are no
 * ASCII. */
static size_t text_make(char *out, uint64_t *seed)
{
	static const char alphabet[] = "aabbccx1\n\xff-";
	size_t n;

	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	n = *seed >> 60;
	for (size_t i = 0; i < n; i++) {
		*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
		out[i] = alphabet[(*seed >> 33) % (sizeof alphabet - 1)];
	}
	return n;
}

static void differs_from_none(const char *regex, bool nocase)
{
	static struct made_event made[BURST];
	struct event *burst[BURST];
	struct ruleset *rs = compiled_regex(regex, nocase);
	struct matcher *m = matcher_new(rs, NULL);
	uint64_t seed = 7, hits = 0;

	assert_non_null(m);
	assert_int_equal(ruleset_rule(rs, 0)->confirmed, 1);
	assert_int_equal(ruleset_rule(rs, 2)->confirmed, 0);
	for (uint32_t round = 0; round < 40; round++) {
		char text[BURST][16];
		size_t bytes[BURST];

		for (uint32_t k = 0; k < BURST; k++) {
			bytes[k] = text_make(text[k], &seed);
			made_reset(&made[k], EVENT_TYPE_click);
			made_text(&made[k], FIELD_page, text[k], bytes[k]);
			burst[k] = &made[k].ev;
		}
		matcher_run(m, burst, BURST);
		for (uint32_t k = 0; k < BURST; k++) {
			bool want = found(regex, nocase, text[k], bytes[k]);

			hits += want;
			if (has_hit(burst[k], 0) != want || has_hit(burst[k], 1) == want)
				fail_msg("%s on '%.*s': %s", regex, (int)bytes[k], text[k],
					want ? "not found" : "found");
		}
	}
	if (!hits)
		fail_msg("%s never matches", regex);
	assert_true(matcher_stats(m)->confirms >= hits);
	assert_int_equal(matcher_stats(m)->confirms_cut, 0);
	matcher_free(m);
	ruleset_free(rs);
}

static void test_same_as_pcre2(void **state)
{
	static const char *const regex[] = {"a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b", "(?<![^a])b",
		"b(?![^c])", "(a|b)\\1", "(?>a+)b", "a++c", "^(?=.*1)(?=.*x)", "(?=a)[ab]c",
		"(?<![ab])c(?![ab])", "(a)?(?(1)b|c)x", "\\b(?=a)", "(?!)|(?=x)x", "(?<=\\n)a", "a(?=\\n)",
		"(?=c)", "(?i)A(?=B)"};

	(void)state;
	for (size_t i = 0; i < sizeof regex / sizeof *regex; i++)
		differs_from_none(regex[i], false);
	differs_from_none("A(?=B)", true);
	differs_from_none("(A|x)\\1", true);
}

/* Attributes, decoded, in rules of which another is of Hyperscan alone. */
static void test_samples(void **state)
{
	static const char text[] =
		"rules:\n- id: r1\n  when: {type: log, attributes.q: {regex: 'a(?!b)', nocase: true}}\n  "
		"then: alert\n  tests:\n"
		"  - {send: [ {type: log, attributes: {q: xAc}}, {type: log, attributes: {q: \"\\t\\\"a\"}} "
		"], expect: alert}\n"
		"  - {send: [ {type: log, attributes: {q: AB}}, {type: log, message: a} ], expect: none}\n";
	struct ruleset *rs;
	struct err err;

	(void)state;
	if (ruleset_compile(&rs, &(struct rule_source){.name = "f.yaml", .text = text, .bytes = strlen(text)},
		    1, 100, &err))
		fail_msg("%s", err.text);
	assert_int_equal(ruleset_run_tests(rs, NULL, NULL, NULL).failed, 0);
	assert_int_equal(ruleset_run_tests(rs, NULL, NULL, NULL).passed, 4);
	ruleset_free(rs);
}

/* A search that would take hours is given up, again and again, with the same memory. */
static void test_bounds(void **state)
{
	static struct made_event made;
	struct event *ev = &made.ev;
	struct ruleset *rs = compiled_regex("(a*)*(?=x)(?=y)b", false);
	struct matcher *m = matcher_new(rs, NULL);
	char text[2000];
	size_t used = 0;

	(void)state;
	assert_non_null(m);
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = 'b';
	for (uint32_t i = 0; i < 300; i++) {
		made_reset(&made, EVENT_TYPE_click);
		made_text(&made, FIELD_page, text, sizeof text);
		matcher_run(m, &ev, 1);
		assert_false(has_hit(ev, 0));
		assert_true(has_hit(ev, 1));
		if (i == 10)
			used = m->confirm.used;
	}
	assert_int_equal(matcher_stats(m)->confirms, 300);
	assert_int_equal(matcher_stats(m)->confirms_cut, 300);
	assert_int_equal(m->confirm.used, used);
	matcher_free(m);
	ruleset_free(rs);
}

/* Expressions of which each needs larger frames than the one before: it has more groups. */
static void test_groups(void **state)
{
	enum { RULES = 60 };
	static struct made_event made;
	struct event *ev = &made.ev;
	char *text = NULL;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);
	struct ruleset *rs;
	struct matcher *m;
	struct err err;

	(void)state;
	assert_non_null(f);
	fputs("rules:\n", f);
	for (uint32_t i = 0; i < RULES; i++) {
		fprintf(f, "- {id: r%u, when: {page: {regex: 'a%ub(?=c|", i, i);
		for (uint32_t k = 0; k < 130 + 10 * i; k++)
			fputs("(d)", f);
		fputs(")'}}, then: tag}\n", f);
	}
	fclose(f);
	if (ruleset_compile(
		    &rs, &(struct rule_source){.name = "f.yaml", .text = text, .bytes = bytes}, 1, 100, &err))
		fail_msg("%s", err.text);
	m = matcher_new(rs, NULL);
	assert_non_null(m);
	for (uint32_t i = 0; i < 3 * RULES; i++) {
		char value[32];
		int n = snprintf(value, sizeof value, "a%ubc", i % RULES);

		made_reset(&made, EVENT_TYPE_click);
		made_text(&made, FIELD_page, value, (size_t)n);
		matcher_run(m, &ev, 1);
		if (!has_hit(ev, (uint16_t)(i % RULES)))
			fail_msg("event %u, cut %llu", i, (unsigned long long)matcher_stats(m)->confirms_cut);
	}
	assert_int_equal(matcher_stats(m)->confirms_cut, 0);
	matcher_free(m);
	ruleset_free(rs);
	free(text);
}

static void test_refused(void **state)
{
	(void)state;
	refused("rules:\n- {id: r1, when: {page: {regex: '(?<=a+)b'}}, then: tag}\n",
		"f.yaml:2:33: rule r1: regex: ", "nor does PCRE2 take it: lookbehind");
	refused("rules:\n- {id: r1, when: {page: {regex: '(a)\\2'}}, then: tag}\n",
		"f.yaml:2:33: rule r1: regex: ", "nor does PCRE2");
	refused("rules:\n- {id: r1, when: {page: {regex: '(?<=a)\\C'}}, then: tag}\n",
		"f.yaml:2:33: rule r1: regex: ", "\\C");
	refused("rules:\n- {id: r1, when: {page: {regex: '(*UTF8)a(?=b)'}}, then: tag}\n",
		"f.yaml:2:33: rule r1: regex: ", "VERB");
	refused("rules:\n- {id: r1, when: {page: {regex: '(a'}}, then: tag}\n",
		"f.yaml:2:33: rule r1: regex: ", "missing closing parenthesis");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_as_pcre2),
		cmocka_unit_test(test_samples), cmocka_unit_test(test_bounds), cmocka_unit_test(test_groups),
		cmocka_unit_test(test_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
