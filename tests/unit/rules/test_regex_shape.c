/* What may enter the gathered scan, and how large an expression is, incl. texts made to be misread. */
#include "regex_shape.h"
#include "rule_event_make.h"

static void test_edges(void **state)
{
	static const char *const edge[] = {"^a", "a$", "a|^b", "\\Aa", "a\\z", "a\\Z", "\\Ga", "(?m:^a)",
		"\\\\^a", "\\c[^a", "\\Q[\\E^a", "[a]^", "(?x)a # [\n^b", "a\\"};
	static const char *const none[] = {
		"a", "[^a]", "\\^a\\$", "a\\b", "\\Bx", "a.*b", "\\\\b", "a{1,3}(b|c)"};

	(void)state;
	for (size_t i = 0; i < sizeof edge / sizeof *edge; i++)
		if (!regex_shape_of(edge[i]).edge)
			fail_msg("%s has an edge", edge[i]);
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		if (regex_shape_of(none[i]).edge)
			fail_msg("%s has no edge", none[i]);
	assert_true(regex_shape_of("a\\b").word);
	assert_false(regex_shape_of("ab").word);
	assert_true(regex_shape_of("(*UTF8)a").verb);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *regex;
		uint64_t size;
	} cases[] = {{"", 0}, {"abc", 3}, {"a{5}", 5}, {"a{2,7}b", 8}, {"a{3,}", 3}, {"(ab){4}c", 9},
		{"((a{9}){9}){9}", 729}, {"[a-z{9}]{3}", 3}, {"[]x]{3}", 3}, {"[^]x]{3}", 3}, {"\\d{4}", 4},
		{"a*b+c?", 3}, {"a{x}", 4}, {"\\{5}", 3}, {"(a|b){3}", 6}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (regex_shape_of(cases[i].regex).size != cases[i].size)
			fail_msg("%s: %llu", cases[i].regex,
				(unsigned long long)regex_shape_of(cases[i].regex).size);
	assert_true(regex_shape_of("a{99999999999999999999999}").size > REGEX_SIZE_MAX);
	assert_true(regex_shape_of("((((((a{9999}){9999}){9999}){9999}){9999}){9999}").size > REGEX_SIZE_MAX);
}

static void test_pairs(void **state)
{
	static const struct {
		const char *regex;
		uint64_t pairs;
		uint32_t literal;
	} cases[] = {{"", 0, 0}, {"a", 0, 1}, {"abc", 2, 3}, {"a|b", 0, 1}, {"ab|cde", 3, 2},
		{"(a|b)c", 2, 1}, {"(a|b)(c|d)", 4, 1}, {"(a|b)+", 4, 1}, {"(a|b)*", 4, 0}, {"a?b?c?", 3, 0},
		{"a{3}", 2, 1}, {"a{1,3}b", 5, 1}, {"(a?){4}", 8, 0}, {"[ab]cd[ef]", 3, 2}, {"ab.*cde", 7, 3},
		{"\\d\\.x", 2, 2}, {"(?i)ab", 1, 2}, {"a*?b", 2, 1}, {"(ab|cd){2}", 8, 2}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct regex_shape shape = regex_shape_of(cases[i].regex);

		if (shape.pairs != cases[i].pairs || shape.literal != cases[i].literal)
			fail_msg("%s: %llu pairs, a text of %u", cases[i].regex,
				(unsigned long long)shape.pairs, shape.literal);
	}
	assert_true(regex_shape_of("(a{1099511627776}){1099511627776}").size > REGEX_SIZE_MAX);
	assert_true(regex_shape_of("((a?){4000}){4000}").pairs > REGEX_PAIRS_MAX);
}

static void test_quote(void **state)
{
	char out[64];

	(void)state;
	regex_quote(out, "aZ9.\xff\n", 6);
	assert_string_equal(out, "aZ9\\x2e\\xff\\x0a");
	regex_quote(out, "", 0);
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_edges), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_pairs), cmocka_unit_test(test_quote)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
