/* Each kind of test against events, alone and nested; hit lists, actions, counters; many rules at once. */
#include <stdio.h>

#include "record.h"
#include "rule_event_make.h"

static struct made_event made;

static uint16_t run(struct matcher *m)
{
	struct event *burst = &made.ev;

	matcher_run(m, &burst, 1);
	return made.ev.hit_count;
}

/* Does `when` (YAML flow mapping) match the event in `made`? */
static bool matches(const char *when)
{
	char yaml[2048];
	struct ruleset *rs;
	struct matcher *m;
	bool hit;

	snprintf(yaml, sizeof yaml, "rules:\n- {id: a, then: [alert], when: %s}\n", when);
	rs = compiled(yaml);
	m = matcher_of(rs);
	hit = run(m) != 0;
	assert_int_equal(made.ev.actions, hit ? RULE_ACTION_ALERT : 0);
	assert_int_equal(matcher_rule_hits(m)[0], hit);
	matcher_free(m);
	ruleset_free(rs);
	return hit;
}

static void click(const char *user, const char *page, const char *referrer)
{
	made_reset(&made, EVENT_TYPE_click);
	made_text(&made, FIELD_user_id, user, strlen(user));
	made_text(&made, FIELD_page, page, strlen(page));
	if (referrer)
		made_tail(&made, FIELD_referrer, referrer, strlen(referrer));
	made_time(&made, 1715200123456);
}

static void platform(const char *source, double metric, const char *status)
{
	made_reset(&made, EVENT_TYPE_platform);
	made_text(&made, FIELD_source, source, strlen(source));
	if (status)
		made_text(&made, FIELD_status, status, strlen(status));
	made_number(&made, FIELD_metric, metric);
	made_time(&made, 1715200123456);
}

static void test_texts(void **state)
{
	(void)state;
	click("u1", "/Product/42", "");
	assert_true(matches("{page: /Product/42}"));
	assert_false(matches("{page: /product/42}"));
	assert_true(matches("{page: {eq: /PRODUCT/42, nocase: true}}"));
	assert_true(matches("{page: {in: [/a, /Product/42, /b]}}"));
	assert_false(matches("{page: {in: [/a, /Product/4, /Product/422]}}"));
	assert_true(matches("{page: {in: [/a, /pRODUCT/42], nocase: true}}"));
	assert_true(matches("{page: {contains: duct}}"));
	assert_false(matches("{page: {contains: DUCT}}"));
	assert_true(matches("{page: {contains: DUCT/4, nocase: true}}"));
	assert_false(matches("{page: {contains: '.'}}"));
	assert_true(matches("{page: {prefix: /Prod}}"));
	assert_false(matches("{page: {prefix: /prod}}"));
	assert_true(matches("{page: {prefix: /PROD, nocase: true}}"));
	assert_false(matches("{page: {prefix: /Product/422}}"));
	assert_true(matches("{page: {suffix: t/42}}"));
	assert_true(matches("{page: {suffix: T/42, nocase: true}}"));
	assert_false(matches("{page: {suffix: t/4}}"));
	assert_true(matches("{page: {regex: '[0-9]+'}}"));
	assert_true(matches("{page: {regex: '^/P.*2$'}}"));
	assert_false(matches("{page: {regex: '^product'}}"));
	assert_true(matches("{page: {regex: 'PRODUCT', nocase: true}}"));
	assert_true(matches("{referrer: ''}"));
	assert_true(matches("{referrer: {regex: '^$'}}"));
	assert_false(matches("{referrer: {regex: 'a'}}"));
	assert_true(matches("{page: {prefix: /P, suffix: '2', contains: duct}}"));
	assert_false(matches("{page: {prefix: /P, suffix: '3', contains: duct}}"));
	click("u1", "a\nb", NULL);
	assert_true(matches("{page: {regex: 'a.b'}}")); /* a newline is no way round a pattern */
}

static void test_numbers(void **state)
{
	(void)state;
	platform("device", 42.5, NULL);
	assert_true(matches("{metric: 42.5}"));
	assert_false(matches("{metric: 42}"));
	assert_true(matches("{metric: {in: [50, 1, 42.5, 3]}}"));
	assert_false(matches("{metric: {in: [50, 1, 3]}}"));
	assert_false(matches("{metric: {in: [1]}}"));
	assert_true(matches("{metric: {gt: 42, lt: 43}}"));
	assert_false(matches("{metric: {gt: 42.5}}"));
	assert_true(matches("{metric: {ge: 42.5, le: 42.5}}"));
	assert_false(matches("{metric: {lt: 42.5}}"));
	assert_true(matches("{metric: {lt: 1e3}}"));
	assert_true(matches("{ts: 1715200123456}"));
	assert_true(matches("{ts: {ge: 2024-05-08T20:28:43.456Z, lt: '2024-05-08T22:28:43.457+02:00'}}"));
	assert_false(matches("{ts: {gt: 2024-05-08T20:28:43.456Z}}"));
}

static void test_absent_and_logic(void **state)
{
	(void)state;
	click("u1", "/x", NULL);
	assert_true(matches("{referrer: {present: false}}"));
	assert_false(matches("{referrer: {present: true}}"));
	assert_true(matches("{page: {present: true}}"));
	assert_false(matches("{referrer: ''}"));
	assert_true(matches("{not: {referrer: {contains: a}}}")); /* a test of an absent field is false */
	assert_false(matches("{metric: {lt: 5}, any: [{type: platform}, {type: click}]}"));
	assert_true(matches("{type: click}"));
	assert_false(matches("{type: platform}"));
	assert_true(matches("{type: {in: [platform, click]}}"));
	assert_true(matches("{any: [{page: /y}, {page: /x, user_id: u1}]}"));
	assert_false(matches("{any: [{page: /y}, {page: /x, user_id: u2}]}"));
	assert_true(
		matches("{all: [{any: [{page: /y}, {page: /x}]}, {any: [{user_id: u1}, {user_id: u3}]}]}"));
	assert_false(matches("{page: /x, not: {user_id: u1}}"));
	assert_true(matches("{page: /x, not: [{user_id: u2}, {page: {contains: y}}]}"));
	assert_false(matches("{page: /x, not: [{user_id: u2}, {page: {contains: x}}]}"));
	assert_true(matches("{not: {not: {page: {regex: x}}}}"));
	assert_true(matches("{not: {type: platform}}"));
	assert_true(matches("{any: [{page: {contains: zzz}}, {user_id: {prefix: u}}]}"));
}

static void test_event_id(void **state)
{
	static const uint8_t id[16] = {0x6f, 0x1c, 0x2a, 0x34, 0x0b, 0x5d, 0x4e, 0x6f, 0x8a, 0x9b, 0x0c, 0x1d,
		0x2e, 0x3f, 0x4a, 0x5b};

	(void)state;
	click("u1", "/x", NULL);
	assert_false(matches("{event_id: 6f1c2a34-0b5d-4e6f-8a9b-0c1d2e3f4a5b}"));
	memcpy(made.ev.event_id, id, 16);
	made.ev.field_mask |= FBIT(event_id);
	assert_true(matches("{event_id: 6F1C2A34-0b5d-4e6f-8a9b-0c1d2e3f4a5b}"));
	assert_false(matches("{event_id: 6f1c2a34-0b5d-4e6f-8a9b-0c1d2e3f4a5c}"));
}

static void test_lists_and_actions(void **state)
{
	struct ruleset *rs = compiled("rules:\n"
				      "- {id: z, when: {page: {contains: b}}, then: drop}\n"
				      "- {id: y, when: {type: click}, then: tag}\n"
				      "- {id: x, when: {page: {regex: 'a+'}}, then: alert}\n"
				      "- {id: w, when: {source: {contains: a}}, then: alert}\n");
	struct matcher *m = matcher_of(rs);
	static struct made_event two;
	struct event *burst[3] = {&made.ev, &two.ev, &made.ev};

	(void)state;
	click("u1", "/aab", NULL);
	made_reset(&two, EVENT_TYPE_platform);
	made_text(&two, FIELD_source, "a", 1);
	matcher_run(m, burst, 2);
	assert_int_equal(made.ev.hit_count, 3);
	assert_int_equal(made.ev.hit[0], 0);
	assert_int_equal(made.ev.hit[1], 1);
	assert_int_equal(made.ev.hit[2], 2);
	assert_int_equal(made.ev.actions, RULE_ACTION_TAG | RULE_ACTION_DROP | RULE_ACTION_ALERT);
	assert_int_equal(two.ev.hit_count, 1);
	assert_int_equal(two.ev.hit[0], 3);
	assert_int_equal(two.ev.actions, RULE_ACTION_ALERT);
	made.ev.refused = 7;
	matcher_run(m, burst, 1);
	assert_int_equal(made.ev.hit_count, 0);
	assert_int_equal(made.ev.actions, 0);
	assert_int_equal(matcher_stats(m)->events, 3);
	matcher_free(m);
	ruleset_free(rs);
}

/* 2,000 rules of every sort on one event: all hits counted, the list cut at MATCH_HITS_MAX and said so. */
static void test_many_rules(void **state)
{
	char *yaml = malloc(1 << 20);
	size_t n = (size_t)snprintf(yaml, 100, "rules:\n");
	struct ruleset *rs;
	struct matcher *m;

	(void)state;
	for (int i = 0; i < 1000; i++)
		n += (size_t)snprintf(yaml + n, (1 << 20) - n,
			"- {id: c%d, when: {page: {contains: 'k%03dk'}}, then: tag}\n"
			"- {id: e%d, when: {user_id: {in: [u%d, all]}}, then: alert}\n",
			i, i, i, i);
	rs = compiled(yaml);
	m = matcher_of(rs);
	click("u77", "/k007k012k", NULL);
	assert_int_equal(run(m), 3);
	assert_int_equal(made.ev.hit[0], 14);
	assert_int_equal(made.ev.hit[1], 24);
	assert_int_equal(made.ev.hit[2], 155);
	click("all", "/k007k", NULL);
	assert_int_equal(run(m), 1001);
	for (uint32_t i = 1; i < made.ev.hit_count; i++)
		assert_true(made.ev.hit[i - 1] < made.ev.hit[i]);
	assert_int_equal(matcher_stats(m)->hits_truncated, 0);
	matcher_free(m);
	ruleset_free(rs);
	n = (size_t)snprintf(yaml, 100, "rules:\n");
	for (int i = 0; i < 1100; i++)
		n += (size_t)snprintf(yaml + n, (1 << 20) - n,
			"- {id: c%d, when: {page: {prefix: /}}, then: %s}\n", i, i == 1099 ? "drop" : "tag");
	rs = compiled(yaml);
	m = matcher_of(rs);
	assert_int_equal(run(m), MATCH_HITS_MAX);
	assert_int_equal(made.ev.hit[1023], 1023);
	assert_int_equal(made.ev.actions, RULE_ACTION_TAG | RULE_ACTION_DROP); /* of all, the cut ones too */
	assert_int_equal(matcher_stats(m)->hits_truncated, 1);
	assert_int_equal(matcher_rule_hits(m)[1099], 1);
	matcher_free(m);
	ruleset_free(rs);
	free(yaml);
}

/* Values as long as events can be, in full bursts: several scans a field; and more hits than any budget. */
static void test_large_and_hostile(void **state)
{
	static struct event ev[MATCH_EVENTS_MAX], *burst[MATCH_EVENTS_MAX];
	struct ruleset *rs = compiled("rules:\n- {id: a, when: {page: {contains: needle}}, then: tag}\n"
				      "- {id: b, when: {page: {regex: '[xy]'}}, then: tag}\n"
				      "- {id: c, when: {page: {regex: 'e.*n.*z'}}, then: tag}\n");
	struct matcher *m = matcher_of(rs);
	char *raw = calloc(1, 65535 + EVENT_PAD_BYTES);

	(void)state;
	memset(raw, 'n', 65535);
	memcpy(raw + 65535 - 6, "needle", 6);
	for (uint32_t i = 0; i < MATCH_EVENTS_MAX; i++) {
		ev[i] = (struct event){.raw = (uint8_t *)raw,
			.tail = (uint8_t *)raw,
			.raw_bytes = 65535,
			.type = EVENT_TYPE_click,
			.field_mask = FBIT(page)};
		ev[i].field[FIELD_page] =
			(struct span){(uint16_t)(i % 2), (uint16_t)(65535 - i % 2 - (i % 3 == 0))};
		burst[i] = &ev[i];
	}
	matcher_run(m, burst, MATCH_EVENTS_MAX);
	for (uint32_t i = 0; i < MATCH_EVENTS_MAX; i++)
		assert_int_equal(ev[i].hit_count, i % 3 != 0);
	assert_int_equal(matcher_stats(m)->rescans, 0);
	memset(raw, 'x', 65535);
	matcher_run(m, burst, MATCH_EVENTS_MAX);
	for (uint32_t i = 0; i < MATCH_EVENTS_MAX; i++) {
		assert_int_equal(ev[i].hit_count, 1);
		assert_int_equal(ev[i].hit[0], 1);
	}
	assert_int_equal(matcher_stats(m)->rescans, 1);
	free(raw);
	matcher_free(m);
	ruleset_free(rs);
}

static void test_empty_ruleset(void **state)
{
	struct ruleset *rs = ruleset_empty();
	struct matcher *m = matcher_of(rs);

	(void)state;
	click("u1", "/", NULL);
	made.ev.actions = 7;
	assert_int_equal(run(m), 0);
	assert_int_equal(made.ev.actions, 0);
	assert_int_equal(ruleset_rule_count(rs), 0);
	assert_int_equal(ruleset_run_tests(rs, NULL, NULL, NULL).failed, 0);
	matcher_free(m);
	ruleset_free(rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_absent_and_logic), cmocka_unit_test(test_event_id),
		cmocka_unit_test(test_lists_and_actions), cmocka_unit_test(test_many_rules),
		cmocka_unit_test(test_large_and_hostile), cmocka_unit_test(test_empty_ruleset)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
