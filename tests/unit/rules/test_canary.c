/* Rulesets with canaries: which rules are, what they do to events, how they are stored, and both sides of
 * one. */
#include <stdio.h>

#include "rule_event_make.h"
#include "rule_shadow.h"

#define IN_FORCE                                                                                             \
	"rules:\n"                                                                                           \
	"- {id: same, when: {page: {contains: shop}}, then: [alert, tag]}\n"                                 \
	"- {id: wider, when: {page: {prefix: /a}}, then: alert}\n"                                           \
	"- {id: goes, when: {page: {prefix: /g}}, then: drop}\n"                                             \
	"- {id: state, when: {page: {prefix: /s}}, by: country, count: {at_least: 2, within: 1m}, "          \
	"then: [alert, tag]}\n"
#define OTHER                                                                                                \
	"rules:\n"                                                                                           \
	"- {id: state, when: {page: {prefix: /}}, by: country, count: {at_least: 2, within: 1m}, then: "     \
	"[alert, tag]}\n"                                                                                    \
	"- {id: same, when: {page: {contains: shop}}, then: [alert, tag]}\n"                                 \
	"- {id: wider, when: {page: {prefix: /}}, then: [alert, tag]}\n"                                     \
	"- {id: dropper, when: {page: {suffix: x}}, then: [drop, alert]}\n"

static struct ruleset *canary_of(const char *in_force, const char *other)
{
	struct ruleset *a = compiled(in_force), *b = compiled(other), *rs = NULL;
	struct err err = {0};

	if (ruleset_canary(&rs, a, b, 1000, &err))
		fail_msg("%s", err.text);
	ruleset_free(a);
	ruleset_free(b);
	return rs;
}

static const struct rule_info *info(const struct ruleset *rs, const char *id, bool canary)
{
	for (uint32_t i = 0; i < ruleset_rule_count(rs); i++)
		if (ruleset_rule(rs, i)->canary == canary && !strcmp(ruleset_rule(rs, i)->id, id))
			return ruleset_rule(rs, i);
	return NULL;
}

static void test_which(void **state)
{
	struct ruleset *rs = canary_of(IN_FORCE, OTHER), *a = compiled(IN_FORCE), *b = compiled(OTHER), *side;
	struct err err;

	(void)state;
	assert_int_equal(ruleset_rule_count(rs), 4 + 3);
	assert_int_equal(ruleset_canary_count(rs), 3);
	for (uint32_t i = 0; i < 7; i++) /* those in force stand first, where they stood */
		assert_int_equal(ruleset_rule(rs, i)->canary, i >= 4);
	assert_int_equal(info(rs, "same", false)->change, RULE_SAME);
	assert_null(info(rs, "same", true));
	assert_int_equal(info(rs, "goes", false)->change, RULE_GONE);
	assert_int_equal(info(rs, "dropper", true)->change, RULE_NEW);
	assert_int_equal(info(rs, "wider", false)->change, RULE_CHANGED);
	assert_ptr_equal(ruleset_rule(rs, info(rs, "wider", false)->other), info(rs, "wider", true));
	assert_ptr_equal(ruleset_rule(rs, info(rs, "wider", true)->other), info(rs, "wider", false));
	assert_false(rule_alerts(info(rs, "wider", true)) || rule_tags(info(rs, "wider", true)));
	assert_true(rule_alerts(info(rs, "wider", false)));

	assert_int_equal(ruleset_state_count(rs), 2); /* told apart, and told that they belong together */
	assert_true(ruleset_state(rs, 0)->uid == ruleset_state(rs, 1)->uid_other &&
		    ruleset_state(rs, 1)->uid == ruleset_state(rs, 0)->uid_other &&
		    ruleset_state(rs, 0)->uid != ruleset_state(rs, 1)->uid);
	assert_true(ruleset_state(rs, 0)->uid == ruleset_state(a, 0)->uid && ruleset_state(rs, 1)->canary);

	assert_string_not_equal(ruleset_version(rs), ruleset_version(a));
	assert_int_equal(ruleset_part(&side, rs, false, 1000, &err), 0);
	assert_string_equal(ruleset_version(side), ruleset_version(a));
	ruleset_free(side);
	assert_int_equal(ruleset_part(&side, rs, true, 1000, &err), 0);
	assert_string_equal(ruleset_version(side), ruleset_version(b));
	assert_int_equal(ruleset_canary_count(side), 0);
	ruleset_free(side);

	assert_int_equal(ruleset_canary(&side, rs, b, 1000, &err), 0); /* again, over a canary */
	assert_string_equal(ruleset_version(side), ruleset_version(rs));
	ruleset_free(side);
	assert_int_equal(ruleset_canary(&side, a, a, 1000, &err), -EINVAL);
	assert_null(side);
	assert_non_null(strstr(err.text, "no rule is new or changed"));
	ruleset_free(a);
	ruleset_free(b);
	ruleset_free(rs);
}

static uint8_t match_page(struct matcher *m, const char *page, uint16_t *hits)
{
	static struct made_event made;
	struct event *ev = &made.ev;

	made_reset(&made, EVENT_TYPE_click);
	made_text(&made, FIELD_page, page, strlen(page));
	made_text(&made, FIELD_country, "DE", 2);
	matcher_run(m, &ev, 1);
	*hits = ev->hit_count;
	return ev->actions;
}

/* An event looks as without the canary, but for what the canary's state needs. */
static void test_match(void **state)
{
	struct ruleset *rs = canary_of(IN_FORCE, OTHER);
	struct matcher *m = matcher_of(rs);
	const uint64_t *counted = matcher_rule_hits(m);
	uint16_t hits;

	(void)state;
	assert_int_equal(match_page(m, "/a/x", &hits), RULE_ACTION_ALERT | RULE_ACTION_STATE);
	assert_int_equal(hits, 2); /* wider, and the state's canary */
	assert_int_equal(match_page(m, "/g", &hits), RULE_ACTION_DROP | RULE_ACTION_STATE);
	assert_int_equal(match_page(m, "/s", &hits), RULE_ACTION_TAG | RULE_ACTION_STATE);
	assert_int_equal(hits, 2); /* state in force, and its canary */
	for (uint32_t i = 0; i < ruleset_rule_count(rs); i++) {
		const struct rule_info *rule = ruleset_rule(rs, i);
		uint64_t want = !strcmp(rule->id, "same") ? 0 : 1;

		if (rule->canary && strcmp(rule->id, "dropper") != 0)
			want = 3;
		if (counted[i] != want)
			fail_msg("%s, canary %d: %u hits", rule->id, rule->canary, (unsigned)counted[i]);
	}
	matcher_free(m);
	ruleset_free(rs);
}

/* Lists have the same name on both sides and other values. */
static void test_lists(void **state)
{
	static const char rules[] = "rules:\n- {id: r, when: {page: {in: {file: l.txt}}}, then: alert}\n";
	struct rule_source source[2][2] = {
		{{"d/r.yaml", rules, sizeof rules - 1, false}, {"d/l.txt", "/one\n", 5, true}},
		{{"d/r.yaml", rules, sizeof rules - 1, false}, {"d/l.txt", "/two\n", 5, true}}};
	struct ruleset *a, *b, *rs;
	struct matcher *m;
	uint16_t hits;
	struct err err;

	(void)state;
	assert_int_equal(ruleset_compile(&a, source[0], 2, 10, &err), 0);
	assert_int_equal(ruleset_compile(&b, source[1], 2, 10, &err), 0);
	assert_int_equal(ruleset_canary(&rs, a, b, 10, &err), 0);
	m = matcher_of(rs);
	assert_int_equal(match_page(m, "/one", &hits), RULE_ACTION_ALERT);
	assert_int_equal(match_page(m, "/two", &hits), 0);
	assert_int_equal(match_page(m, "/two", &hits), 0);
	assert_int_equal(matcher_rule_hits(m)[0], 1);
	assert_int_equal(matcher_rule_hits(m)[1], 2);
	matcher_free(m);
	ruleset_free(a);
	ruleset_free(b);
	ruleset_free(rs);
}

static void test_stored(void **state)
{
	char dir[] = "/tmp/sluice-canary-XXXXXX", command[64];
	struct ruleset *rs = canary_of(IN_FORCE, OTHER), *back;
	const struct ruleset *shown;
	struct ruleset_store *st;
	uint32_t generation, twice;
	struct err err;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(ruleset_store_open(&st, dir, &err), 0);
	assert_int_equal(ruleset_store_put(st, rs, &generation, &err), 0);
	assert_int_equal(ruleset_store_put(st, rs, &twice, &err), 0);
	assert_int_equal(twice, generation);
	shown = ruleset_store_get(st, generation, &err);
	assert_string_equal(ruleset_version(shown), ruleset_version(rs));
	assert_int_equal(ruleset_store_load(st, generation, 1000, &back, &err), 0);
	assert_int_equal(ruleset_canary_count(back), 3);
	for (uint32_t i = 0; i < ruleset_rule_count(rs); i++) {
		assert_string_equal(ruleset_rule(back, i)->id, ruleset_rule(rs, i)->id);
		assert_int_equal(ruleset_rule(back, i)->canary, ruleset_rule(rs, i)->canary);
		assert_int_equal(ruleset_rule(shown, i)->canary, ruleset_rule(rs, i)->canary);
	}
	ruleset_store_close(st);
	ruleset_free(back);
	ruleset_free(rs);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_which), cmocka_unit_test(test_match),
		cmocka_unit_test(test_lists), cmocka_unit_test(test_stored)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
