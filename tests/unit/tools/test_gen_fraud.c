/* Every event that sluice-gen makes for a shipped rule is parsed and then found by that rule of rules/packs;
 * and each shipped rule that gen_fraud.def names is met. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gen_event.h"
#include "json.h"
#include "ruleset.h"

#define START_MS 1715200123456

static bool hits_rule(const struct ruleset *rs, const struct event *ev, const char *id)
{
	for (uint32_t i = 0; i < ev->hit_count; i++)
		if (!strcmp(ruleset_rule(rs, ev->hit[i])->id, id))
			return true;
	return false;
}

static void test_rules_find_them(void **state)
{
	static uint8_t raw[GEN_EVENT_BYTES_MAX + EVENT_PAD_BYTES];
	char *argv[] = {"sluice-gen", "--file", "-", "--count", "1", "--start-ts", "1715200123456",
		"--fraud-permille", "1000", "--mix",
		"click=80,platform=20,page_view=3,custom=3,transaction=5,telemetry=3,log=3",
		"--extra-permille", "200"};
	struct parse_limits limits = {0, 300000};
	struct json_parser *jp = json_parser_new(1 << 20);
	struct matcher *matcher;
	struct gen_maker *m;
	struct ruleset *rs;
	struct gen_opts o;
	struct err err = {""};
	static bool met[4096];
	uint32_t rules_met = 0;

	(void)state;
	assert_int_equal(gen_opts_parse(&o, sizeof argv / sizeof *argv, argv, &err), GEN_OPTS_RUN);
	assert_int_equal(gen_maker_new(&m, &o, &err), 0);
	if (ruleset_compile_dir(&rs, PACKS_DIR, 20000, &err))
		fail_msg("%s", err.text);
	matcher = matcher_new(rs, &err);
	assert_non_null(matcher);
	for (uint32_t i = 0; i < 20000; i++) {
		const struct gen_event *sent = gen_maker_next(m, 0);
		struct event ev, *list = &ev;

		assert_non_null(sent->rule);
		memcpy(raw, sent->raw, sent->bytes);
		json_parser_reset(jp);
		json_parse_event(jp, raw, sent->bytes, EVENT_TYPE_NONE, START_MS, &limits, &ev);
		assert_int_equal(ev.refused, 0);
		matcher_run(matcher, &list, 1);
		if (!hits_rule(rs, &ev, sent->rule))
			fail_msg("%s does not match %.*s", sent->rule, (int)sent->bytes, sent->raw);
		for (uint32_t r = 0; r < ruleset_rule_count(rs); r++)
			met[r] = met[r] || !strcmp(ruleset_rule(rs, r)->id, sent->rule);
	}
	for (uint32_t r = 0; r < ruleset_rule_count(rs); r++)
		rules_met += met[r];
	assert_int_equal(rules_met,
		22); /* all but the three that look at numbers: the values of gen_fraud.def are texts */
	matcher_free(matcher);
	ruleset_free(rs);
	gen_maker_free(m);
	json_parser_free(jp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules_find_them)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
