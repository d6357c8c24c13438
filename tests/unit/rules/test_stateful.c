/* Rules with state: what each construct becomes, and for each mistake an error with its place; matches, steps
 * and keyrings; samples. */
#include <errno.h>
#include <stdio.h>

#include "record.h"
#include "rule_event_make.h"

#define HEAD "rules:\n- id: r1\n  when: {type: transaction}\n  then: alert\n"

/* A mistake in what stands in line 5 beside a `when` and `then: alert`, and the column of the mistake. */
static void refused_state(const char *state, int column, const char *part)
{
	char yaml[4000], place[64];

	snprintf(yaml, sizeof yaml, HEAD "  %s\n  by: ip\n", state);
	snprintf(place, sizeof place, "f.yaml:5:%d: rule r1: ", column);
	refused(yaml, place, part);
}

static struct ruleset *with(const char *state)
{
	char yaml[4000];

	snprintf(yaml, sizeof yaml, HEAD "  %s\n  by: ip\n", state);
	return compiled(yaml);
}

static void test_count(void **state)
{
	struct ruleset *rs = with("count: {at_least: 5, within: 60s}\n  suppress: 5m\n  evidence: 3\n"
				  "  limits: {keys: 10, memory: 1MiB, events: 7}");
	const struct rule_state *s;

	(void)state;
	assert_int_equal(ruleset_state_count(rs), 1);
	assert_int_equal(ruleset_match_count(rs), 1);
	assert_int_equal(ruleset_keyring_count(rs), 1);
	s = ruleset_state(rs, 0);
	assert_int_equal(s->kind, RULE_STATE_COUNT);
	assert_int_equal(s->order, RULE_ORDER_ARRIVAL);
	assert_int_equal(s->at_least, 5);
	assert_int_equal(s->within_ms, 60000);
	assert_int_equal(s->suppress_ms, 300000);
	assert_int_equal(s->evidence_max, 3);
	assert_int_equal(s->keys_max, 10);
	assert_int_equal(s->memory_bytes_max, 1 << 20);
	assert_int_equal(s->events_max, 7);
	assert_int_equal(s->match, 0);
	assert_int_equal(s->rule, 0);
	assert_int_equal(s->field, FIELD_NONE);
	assert_true(ruleset_rule(rs, 0)->stateful);
	assert_false(rule_alerts(ruleset_rule(rs, 0)));
	assert_false(rule_tags(ruleset_rule(rs, 0)));
	assert_int_equal(ruleset_keyring(rs, 0)->count, 1);
	assert_int_equal(ruleset_keyring(rs, 0)->field[0], FIELD_ip);
	assert_int_equal(ruleset_keyring(rs, 0)->fields, FBIT(ip) | FBIT(ts) | FBIT(event_id));
	assert_int_equal(ruleset_keyring(rs, 0)->types, 1 << EVENT_TYPE_transaction);
	assert_int_equal(ruleset_uses(rs)[0].state, 0);
	assert_int_equal(ruleset_uses(rs)[0].step, 0);
	ruleset_free(rs);
	rs = with("count: {at_least: 5000, within: 1d}\n  order: event_time");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->order, RULE_ORDER_EVENT_TIME);
	assert_int_equal(s->events_max, 5000);
	assert_int_equal(s->evidence_max, 10);
	assert_int_equal(s->keys_max, 100000);
	assert_int_equal(s->memory_bytes_max, 64 << 20);
	assert_int_equal(s->suppress_ms, 0);
	ruleset_free(rs);
	rs = with("suppress: 5m");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->kind, RULE_STATE_COUNT);
	assert_int_equal(s->at_least, 1);
	assert_int_equal(s->suppress_ms, 300000);
	assert_int_equal(s->within_ms, 300000);
	ruleset_free(rs);
}

static void test_values(void **state)
{
	struct ruleset *rs = with("sum: {field: amount, at_least: 1000.5, within: 1h}");
	const struct rule_state *s = ruleset_state(rs, 0);

	(void)state;
	assert_int_equal(s->kind, RULE_STATE_SUM);
	assert_int_equal(s->field, FIELD_amount);
	assert_true(s->decimal);
	assert_int_equal(s->threshold, 1000500000);
	assert_true(ruleset_keyring(rs, 0)->fields & FBIT(amount));
	ruleset_free(rs);
	rs = compiled("rules:\n- {id: a, when: {type: telemetry}, by: device_id, then: alert,\n"
		      "   sum: {field: value, at_least: 10, within: 1h}}\n");
	s = ruleset_state(rs, 0);
	assert_false(s->decimal);
	assert_true(s->threshold_number == 10);
	ruleset_free(rs);
	rs = with("distinct: {field: card, at_least: 5, within: 60s}");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->kind, RULE_STATE_DISTINCT);
	assert_int_equal(s->field, FIELD_card);
	assert_int_equal(s->at_least, 5);
	ruleset_free(rs);
	rs = with("rate_change: {factor: 3.5, at_least: 600, within: 5m}");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->kind, RULE_STATE_RATE);
	assert_true(s->factor == 3.5);
	assert_int_equal(s->events_max, 1200);
	ruleset_free(rs);
	rs = with("travel: {speed_kmh: 1000}");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->kind, RULE_STATE_TRAVEL);
	assert_int_equal(s->place, FIELD_geo_country);
	assert_true(s->speed_kmh == 1000 && s->distance_km_min == 100);
	assert_int_equal(s->within_ms, 72136800);
	assert_true(ruleset_keyring(rs, 0)->fields & FBIT(geo_country));
	ruleset_free(rs);
	rs = with("travel: {speed_kmh: 900, min_km: 0, place: country}");
	assert_int_equal(ruleset_state(rs, 0)->place, FIELD_country);
	ruleset_free(rs);
}

static void test_anomaly(void **state)
{
	struct ruleset *rs = with("anomaly: {of: count, every: 1m, zscore: {windows: 60, k: 3}}");
	const struct rule_state *s = ruleset_state(rs, 0);

	(void)state;
	assert_int_equal(s->kind, RULE_STATE_ANOMALY);
	assert_int_equal(s->order, RULE_ORDER_EVENT_TIME);
	assert_int_equal(s->anomaly, RULE_ZSCORE);
	assert_int_equal(s->every_ms, 60000);
	assert_int_equal(s->windows, 60);
	assert_true(s->deviations == 3);
	assert_int_equal(s->samples_min, 30);
	assert_int_equal(s->field, FIELD_NONE);
	ruleset_free(rs);
	rs = with("anomaly: {of: amount, every: 10s, ewma: {alpha: 0.1, k: 4.5}, samples: 20}");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->anomaly, RULE_EWMA);
	assert_int_equal(s->field, FIELD_amount);
	assert_true(s->decimal && s->alpha == 0.1 && s->deviations == 4.5);
	assert_int_equal(s->samples_min, 20);
	assert_int_equal(s->side, RULE_SIDE_BOTH);
	assert_int_equal(s->at_least, 0);
	ruleset_free(rs);
	rs = with("anomaly: {of: count, every: 10s, side: above, at_least: 20, zscore: {windows: 9, k: 3}}");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->side, RULE_SIDE_ABOVE);
	assert_int_equal(s->at_least, 20);
	ruleset_free(rs);
	rs = with("unchanged: {field: card, at_least: 20, within: 1h}");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->kind, RULE_STATE_UNCHANGED);
	assert_int_equal(s->order, RULE_ORDER_EVENT_TIME);
	assert_int_equal(s->field, FIELD_card);
	assert_int_equal(s->at_least, 20);
	ruleset_free(rs);
	rs = with("anomaly: {of: count, every: 1h, seasonal: {period: 1d, k: 3}}");
	s = ruleset_state(rs, 0);
	assert_int_equal(s->anomaly, RULE_SEASONAL);
	assert_int_equal(s->period_ms, 86400000);
	assert_int_equal(s->samples_min, 3);
	ruleset_free(rs);
}

static const char login[] = "rules:\n"
			    "- {id: other, when: {page: /x}, then: tag}\n"
			    "- id: probe\n"
			    "  when: {type: click}\n"
			    "  then: [alert, tag]\n"
			    "  by: [country, device]\n"
			    "  sequence:\n"
			    "    within: 10m\n"
			    "    skip: none\n"
			    "    steps:\n"
			    "    - {name: fail, when: {page: /fail}, times: {at_least: 3, at_most: 5}}\n"
			    "    - {not: {page: /logout}, follow: next}\n"
			    "    - {name: ok, when: {page: /ok}, follow: next, times: 2}\n"
			    "    - {not: {page: /help}}\n"
			    "    - {when: {page: /pay}}\n"
			    "- id: plain\n"
			    "  then: alert\n"
			    "  by: user_id\n"
			    "  order: arrival\n"
			    "  sequence: {within: 1h, steps: [{when: {page: /a}}, {when: {page: /b}}]}\n"
			    "- id: silent\n"
			    "  when: {page: /order}\n"
			    "  then: alert\n"
			    "  by: user_id\n"
			    "  absence: {within: 5m, then: {page: /paid}}\n";

static void click_hits(
	struct matcher *m, const char *page, uint32_t count, const uint16_t *hit, uint8_t actions)
{
	static struct made_event e;
	struct event *ev = &e.ev;

	made_reset(&e, EVENT_TYPE_click);
	made_text(&e, FIELD_page, page, strlen(page));
	matcher_run(m, &ev, 1);
	assert_int_equal(ev->hit_count, count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(ev->hit[i], hit[i]);
	assert_int_equal(ev->actions, actions);
}

static void test_sequence(void **state)
{
	static const struct {
		uint8_t follow;
		uint16_t min, max;
	} want[] = {{RULE_FOLLOWED_BY, 3, 5}, {RULE_NOT_NEXT, 1, 1}, {RULE_NEXT, 2, 2},
		{RULE_NOT_FOLLOWED_BY, 1, 1}, {RULE_FOLLOWED_BY, 1, 1}};
	struct ruleset *rs = compiled(login);
	const struct rule_use *use = ruleset_uses(rs);
	const struct rule_state *s = ruleset_state(rs, 0);
	struct matcher *m = matcher_of(rs);

	(void)state;
	assert_int_equal(ruleset_rule_count(rs), 4);
	assert_int_equal(ruleset_match_count(rs), 4 + 5 + 1 + 1);
	assert_int_equal(ruleset_state_count(rs), 3);
	assert_int_equal(ruleset_keyring_count(rs), 2);
	assert_int_equal(s->kind, RULE_STATE_SEQUENCE);
	assert_int_equal(s->order, RULE_ORDER_EVENT_TIME);
	assert_int_equal(s->skip, RULE_SKIP_NONE);
	assert_int_equal(s->step_count, 5);
	assert_int_equal(s->match, 4);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(s->step[i].match, 4 + i);
		assert_int_equal(s->step[i].follow, want[i].follow);
		assert_int_equal(s->step[i].times_min, want[i].min);
		assert_int_equal(s->step[i].times_max, want[i].max);
		assert_int_equal(use[4 + i].state, 0);
		assert_int_equal(use[4 + i].step, i);
		assert_int_equal(use[4 + i].keyring, 0);
	}
	assert_string_equal(s->step[0].name, "fail");
	assert_string_equal(s->step[4].name, "step5");
	assert_int_equal(use[0].state, RULE_STATE_NONE);
	assert_int_equal(use[1].state, 0);
	assert_int_equal(use[1].step, RULE_STEP_NONE);
	s = ruleset_state(rs, 1); /* without `when` the first step is the rule's own */
	assert_int_equal(s->order, RULE_ORDER_ARRIVAL);
	assert_int_equal(s->skip, RULE_SKIP_PAST_LAST);
	assert_int_equal(s->match, 2);
	assert_int_equal(s->step[0].match, 2);
	assert_int_equal(s->step[1].match, 9);
	assert_int_equal(use[2].step, 0);
	s = ruleset_state(rs, 2);
	assert_int_equal(s->kind, RULE_STATE_ABSENCE);
	assert_int_equal(s->order, RULE_ORDER_EVENT_TIME);
	assert_int_equal(s->within_ms, 300000);
	assert_int_equal(s->match, 3);
	assert_int_equal(s->step[0].match, 3);
	assert_int_equal(s->step[1].match, 10);
	assert_int_equal(s->step[1].follow, RULE_NOT_FOLLOWED_BY);
	assert_int_equal(use[10].state, 2);
	assert_int_equal(use[10].step, 1);
	click_hits(m, "/fail", 2, (const uint16_t[]){1, 4}, RULE_ACTION_STATE | RULE_ACTION_TAG);
	click_hits(m, "/x", 2, (const uint16_t[]){0, 1}, RULE_ACTION_STATE | RULE_ACTION_TAG);
	click_hits(m, "/paid", 2, (const uint16_t[]){1, 10}, RULE_ACTION_STATE | RULE_ACTION_TAG);
	click_hits(m, "/b", 2, (const uint16_t[]){1, 9}, RULE_ACTION_STATE | RULE_ACTION_TAG);
	matcher_free(m);
	ruleset_free(rs);
}

/* A common `when`, and what is allowed, hold for each step. */
static void test_common_condition(void **state)
{
	struct ruleset *rs = compiled(
		"rules:\n- id: a\n  when: {page: {prefix: /p}}\n  allow: [{page: /p/ok}, {page: /p/b2}]\n"
		"  then: alert\n  by: user_id\n"
		"  sequence: {within: 1h, steps: [{when: {page: {suffix: a}}}, {when: {page: {contains: "
		"b}}}]}\n");
	struct matcher *m = matcher_of(rs);

	(void)state;
	assert_int_equal(ruleset_match_count(rs), 3);
	assert_int_equal(ruleset_uses(rs)[0].state, RULE_STATE_NONE); /* no strict step asks for it */
	click_hits(m, "/p/ab", 2, (const uint16_t[]){0, 2}, RULE_ACTION_STATE);
	click_hits(m, "/q/ba", 0, NULL, 0);
	click_hits(m, "/p/b2", 0, NULL, 0);
	click_hits(m, "/p/ok", 0, NULL, 0);
	click_hits(m, "/p/ba", 3, (const uint16_t[]){0, 1, 2}, RULE_ACTION_STATE);
	matcher_free(m);
	ruleset_free(rs);
}

static void test_anomaly_errors(void **state)
{
	(void)state;
	refused_state("anomaly: {of: count, every: 1m}", 12, "one of zscore, ewma, seasonal");
	refused_state("anomaly: {of: count, every: 1m, ewma: {alpha: 0.1, k: 3}, zscore: {windows: 9, k: 3}}",
		35, "exclude each other");
	refused_state(
		"anomaly: {of: card, every: 1m, zscore: {windows: 9, k: 3}}", 17, "card is a text field");
	refused_state("anomaly: {of: count, every: 1m, zscore: {windows: 4, k: 3}}", 53, "from 5 to 10000");
	refused_state("anomaly: {of: count, every: 1m, zscore: {windows: 9}}", 43, "k is missing");
	refused_state("anomaly: {of: count, every: 1m, ewma: {alpha: 1, k: 3}}", 49, "from 0.001 to 0.999");
	refused_state(
		"anomaly: {of: count, every: 7m, seasonal: {period: 1h, k: 3}}", 54, "a multiple of `every`");
	refused_state("anomaly: {of: count, every: 1m, zscore: {windows: 9, k: 3}, order: x}", 63,
		"unknown key of anomaly");
	refused_state("anomaly: {of: count, every: 1m, side: up, zscore: {windows: 9, k: 3}}", 41,
		"both, above, below");
	refused_state("unchanged: {field: card, at_least: 1, within: 5s}", 38, "expected 2 or more");
	refused("rules:\n- {id: a, when: {page: x}, then: alert, by: page, unchanged: {field: country, "
		"at_least: 2, within: 1m}, order: arrival}\n",
		"f.yaml:2:112: rule a: ", "always in event_time");
}

static void test_errors(void **state)
{
	(void)state;
	refused_state("count: 5", 10, "count: expected a mapping with at_least");
	refused_state("count: {at_least: 5}", 10, "within is missing");
	refused_state("count: {within: 5s}", 10, "at_least is missing");
	refused_state("count: {at_leest: 5, within: 5s}", 11, "did you mean at_least?");
	refused_state("count: {at_least: 0, within: 5s}", 21, "a whole number from 1 to 1000000");
	refused_state("count: {at_least: '5', within: 5s}", 21, "a whole number");
	refused_state("count: {at_least: 5, within: 5}", 32, "a duration, as in 60s");
	refused_state("count: {at_least: 5, within: 31d}", 32, "to 30d");
	refused_state("sum: {field: page, at_least: 5, within: 5s}", 16, "page is a text field");
	refused_state("sum: {field: attributes.n, at_least: 5, within: 5s}", 16, "no field of the schema");
	refused_state("sum: {field: amunt, at_least: 5, within: 5s}", 16, "did you mean amount?");
	refused_state("sum: {field: amount, at_least: 0, within: 5s}", 34, "expected more");
	refused_state("sum: {field: amount, at_least: 1e18, within: 5s}", 34, "a number from 0 to 9.2e+12");
	refused_state("distinct: {field: ts, at_least: 5, within: 5s}", 21, "ts is a time field");
	refused_state("distinct: {field: card, at_least: 1, within: 5s}", 37, "expected 2 or more");
	refused_state("rate_change: {factor: 1, at_least: 5, within: 5s}", 25, "a number from 1.001");
	refused_state("travel: {}", 11, "speed_kmh is missing");
	refused_state("travel: {speed_kmh: 0}", 23, "a number from 1");
	refused_state("travel: {speed_kmh: 900, place: page}", 35, "country or geo_country");
	refused_state("absence: {within: 5m}", 12, "then is missing");
	refused_state("absence: {within: 5m, then: {pge: x}}", 32, "did you mean page?");
	refused("rules:\n- {id: a, when: {page: x}, then: alert, by: page, absence: {within: 1m, then: "
		"{page: y}}, order: arrival}\n",
		"f.yaml:2:98: rule a: ", "always in event_time");
	refused_state("suppress: 0s", 13, "a duration from 1ms");
	refused(HEAD "  count: {at_least: 2, within: 1m}\n", "f.yaml:2:3: rule r1: ", "count needs `by`");
	refused(HEAD "  suppress: 1m\n", "f.yaml:2:3: rule r1: ", "suppress needs `by`");
	refused(HEAD "  by: ip\n", "f.yaml:5:3: rule r1: ", "by says nothing without one of count");
	refused(HEAD "  limits: {keys: 5}\n", "f.yaml:5:3: rule r1: ", "limits says nothing without");
	refused(HEAD "  suppress: 1m\n  by: attributes.x\n",
		"f.yaml:6:7: rule r1: ", "no field of the schema");
	refused(HEAD "  suppress: 1m\n  by: attributes\n",
		"f.yaml:6:7: rule r1: ", "attributes is a object field");
	refused(HEAD "  suppress: 1m\n  by: event_id\n", "f.yaml:6:7: rule r1: ", "UUID field");
	refused(HEAD "  suppress: 1m\n  by: [ip, card, ip]\n", "f.yaml:6:18: rule r1: ", "given twice");
	refused(HEAD "  suppress: 1m\n  by: [ip, card, user_id, merchant, status]\n",
		"f.yaml:6:37: rule r1: ", "more than 4");
	refused(HEAD "  suppress: 1m\n  by: []\n", "f.yaml:6:7: rule r1: ", "expected a field or a list");
	refused(HEAD "  suppress: 1m\n  by: ip\n  limits: {memory: 1KiB}\n",
		"f.yaml:7:20: rule r1: ", "64KiB to 16GiB");
	refused(HEAD "  count: {at_least: 9, within: 1m}\n  by: ip\n  limits: {events: 5}\n",
		"f.yaml:7:20: rule r1: ", "at_least is 9");
	refused(HEAD "  count: {at_least: 9, within: 1m}\n  sum: {field: amount, at_least: 9, within: 1m}\n",
		"f.yaml:6:3: rule r1: ", "count and sum are two rules");
	refused("rules:\n- {id: a, when: {page: x}, by: page, suppress: 1m, then: [alert, drop]}\n",
		"f.yaml:2:58: rule a: ", "too late to drop");
	refused("rules:\n- {id: a, when: {page: x}, by: page, suppress: 1m, then: [alert, {route: x}]}\n",
		"f.yaml:2:58: rule a: ", "a rule of its own without state");
	refused("rules:\n- {id: a, when: {page: x}, by: page, suppress: 1m, then: tag}\n",
		"f.yaml:2:58: rule a: ", "`alert` is missing");
	refused("rules:\n- {id: a, by: page, count: {at_least: 2, within: 1m}, then: alert}\n",
		"f.yaml:2:3: rule a: ", "needs `when`");
}

/* steps stands in line 5 from column 30 on. */
static void refused_steps(const char *steps, int column, const char *part)
{
	char yaml[4000], place[64];

	snprintf(yaml, sizeof yaml,
		"rules:\n- id: r1\n  then: alert\n  by: user_id\n  sequence: {within: 1m, steps: %s}\n",
		steps);
	snprintf(place, sizeof place, "f.yaml:5:%d: rule r1: ", column);
	refused(yaml, place, part);
}

static void test_step_errors(void **state)
{
	(void)state;
	refused_steps("5", 33, "a list of 1 to 8");
	refused_steps("[]", 33, "a list of 1 to 8");
	refused_steps("[5]", 34, "expected a step");
	refused_steps("[{when: {page: x}}]", 33, "two steps, or one with `times`");
	refused_steps("[{name: x}]", 34, "needs `when` or `not`");
	refused_steps("[{when: {page: x}, folow: next}]", 52, "did you mean follow?");
	refused_steps("[{when: {page: x}, follow: next}, {when: {page: y}}]", 52, "follows nothing");
	refused_steps("[{when: {page: x}}, {when: {page: y}, follow: next}]", 79, "next among which events?");
	refused_steps("[{when: {page: x}}, {when: {page: y}, follow: after}]", 79, "unknown follow after");
	refused_steps("[{not: {page: x}}, {when: {page: y}}]", 34, "begins with a step that happens");
	refused_steps("[{when: {page: x}}, {not: {page: y}}]", 33, "`absence`");
	refused_steps("[{when: {page: x}, times: 0}]", 59, "from 1 to 1000");
	refused_steps("[{when: {page: x}, times: {at_least: 3}}]", 59, "at_most is missing");
	refused_steps("[{when: {page: x}, times: {at_least: 3, at_most: 2}}]", 82, "less than at_least");
	refused_steps(
		"[{when: {page: x}}, {not: {page: y}, times: 2}, {when: {page: x}}]", 70, "unknown key of");
	refused_steps("[{when: {page: x}}, {when: {type: click, source: x}}]", 82, "matches no event");
	refused("rules:\n- {id: a, by: page, then: alert, sequence: {within: 1m, skip: all, steps: []}}\n",
		"f.yaml:2:63: rule a: ", "unknown skip all; known: past_last, none");
}

static void test_bounds(void **state)
{
	static const char *const field[] = {
		"user_id", "page", "referrer", "country", "device", "source", "status"};
	static char text[400000];
	struct rule_source source = {"f.yaml", text, 0, false};
	struct ruleset *rs;
	struct err err;
	size_t n = (size_t)snprintf(text, 100, "rules:\n");

	(void)state;
	for (int i = 0; i < 17; i++) /* 17 different keys */
		n += (size_t)snprintf(text + n, 200,
			"- {id: r%d, when: {page: x}, by: [%s, %s], suppress: 1m, then: alert}\n", i,
			field[i % 7], field[(i + 1 + i / 7) % 7]);
	source.bytes = n;
	assert_int_equal(ruleset_compile(&rs, &source, 1, 10, &err), -EINVAL);
	assert_non_null(strstr(err.text, "f.yaml:18:3: rule r16: by: more than 16 different keys"));
	n = (size_t)snprintf(text, 100, "rules:\n");
	for (int i = 0; i < 1025; i++)
		n += (size_t)snprintf(text + n, 200,
			"- {id: r%d, when: {page: x}, by: page, suppress: 1m, then: alert}\n", i);
	source.bytes = n;
	assert_int_equal(ruleset_compile(&rs, &source, 1, 10, &err), -EINVAL);
	assert_non_null(strstr(err.text, "f.yaml:1026:3: rule r1024: more than 1024 rules with state"));
}

/* State is kept while id and stateful part are the same; what only picks events may change. */
static void test_uid(void **state)
{
	static const char *const same[] = {
		"when: {page: x}, by: user_id, count: {at_least: 5, within: 1m}, then: alert",
		"title: T, severity: low, when: {page: y}, by: [user_id], count: {within: 60s, at_least: 5}, "
		"then: [tag, alert]"};
	static const char *const other[] = {
		"when: {page: x}, by: user_id, count: {at_least: 6, within: 1m}, then: alert",
		"when: {page: x}, by: user_id, count: {at_least: 5, within: 2m}, then: alert",
		"when: {page: x}, by: page, count: {at_least: 5, within: 1m}, then: alert",
		"when: {page: x}, by: [user_id, page], count: {at_least: 5, within: 1m}, then: alert",
		"when: {page: x}, by: user_id, count: {at_least: 5, within: 1m}, suppress: 1m, then: alert",
		"when: {page: x}, by: user_id, count: {at_least: 5, within: 1m}, order: event_time, then: "
		"alert",
		"when: {page: x}, by: user_id, absence: {within: 1m, then: {page: y}}, then: alert",
		"when: {page: x}, by: user_id, absence: {within: 1m, then: {page: z}}, then: alert"};
	uint64_t uid[2 + sizeof other / sizeof *other];
	char yaml[500];

	(void)state;
	for (size_t i = 0; i < sizeof uid / sizeof *uid; i++) {
		struct ruleset *rs;

		snprintf(yaml, sizeof yaml, "rules:\n- {id: a, %s}\n", i < 2 ? same[i] : other[i - 2]);
		rs = compiled(yaml);
		uid[i] = ruleset_state(rs, 0)->uid;
		assert_int_not_equal(uid[i], 0);
		ruleset_free(rs);
	}
	assert_int_equal(uid[0], uid[1]);
	for (size_t i = 1; i < sizeof uid / sizeof *uid; i++)
		for (size_t k = i + 1; k < sizeof uid / sizeof *uid; k++)
			assert_int_not_equal(uid[i], uid[k]);
}

static void test_expired(void **state)
{
	struct ruleset *rs = compiled(
		"rules:\n"
		"- {id: a, when: {page: /x}, by: page, suppress: 1m, then: alert, expires: 2024-01-02}\n"
		"- {id: b, when: {page: /x}, by: user_id, suppress: 1m, then: [alert, tag], owner: me}\n"
		"- {id: c, when: {page: /x}, then: tag, expires: 2024-01-01T12:00:00Z, "
		"tests: [{send: [{page: /y}], expect: tag}]}\n");
	char before[17], after[17];
	struct matcher *m;
	struct err err;

	(void)state;
	memcpy(before, ruleset_version(rs), 17);
	assert_int_equal(ruleset_rule(rs, 0)->expires_ms, 1704153600000);
	assert_int_equal(ruleset_expire(rs, 1704000000000, &err), 0);
	assert_string_equal(ruleset_version(rs), before);
	assert_int_equal(ruleset_state_count(rs), 2);
	assert_int_equal(ruleset_expire(rs, 1704110400000, &err), 1);
	assert_true(ruleset_rule(rs, 2)->expired);
	memcpy(after, ruleset_version(rs), 17);
	assert_string_not_equal(after, before);
	assert_int_equal(ruleset_run_tests(rs, NULL, NULL, NULL).failed, 0);
	assert_int_equal(ruleset_expire(rs, 1804110400000, &err), 2);
	assert_string_not_equal(ruleset_version(rs), after);
	assert_int_equal(ruleset_expire(rs, 0, &err), 2); /* nothing comes back */
	assert_int_equal(ruleset_state_count(rs), 1);
	assert_int_equal(ruleset_state(rs, 0)->rule, 1);
	assert_int_equal(ruleset_keyring_count(rs), 1);
	assert_int_equal(ruleset_uses(rs)[0].state, RULE_STATE_NONE);
	assert_int_equal(ruleset_uses(rs)[1].state, 0);
	assert_string_equal(ruleset_rule(rs, 1)->owner, "me");
	m = matcher_of(rs);
	click_hits(m, "/x", 1, (const uint16_t[]){1}, RULE_ACTION_STATE | RULE_ACTION_TAG);
	matcher_free(m);
	ruleset_free(rs);
}

/* ---- samples ---- */

static const char sampled[] =
	"rules:\n"
	"- id: s\n"
	"  when: {page: {prefix: /a}}\n"
	"  by: user_id\n"
	"  count: {at_least: 2, within: 1m}\n"
	"  then: alert\n"
	"  tests:\n"
	"  - {send: [{user_id: u, page: /a, ts: 1000}, {user_id: u, page: /b, ts: 2000}, {user_id: u, page: "
	"/ab, ts: 3000}], expect: alert}\n"
	"  - {send: [{user_id: u, page: /a, ts: 1000}], expect: none}\n"
	"  - {send: [{times: 5, every: 1s, each: {user_id: u%n, page: /a/%n, ts: 1000}}, {user_id: u, page: "
	"/a, "
	"ts: 6000}], expect: alert}\n"
	"- {id: t, when: {page: /a}, then: tag, tests: [{send: [{page: /a}], expect: tag}]}\n";

/* Counts hits: enough to see that the right events come, matched. */
static int hits_run(void *arg, const struct ruleset *rs, const struct rule_test *test, struct err *err)
{
	uint32_t hits = 0;

	(void)err;
	++*(uint32_t *)arg;
	assert_int_equal(ruleset_state(rs, test->state)->rule, test->rule);
	for (uint32_t i = 0; i < test->count; i++) {
		assert_int_equal(test->event[i].event_time_ms, 1000 * (i + 1));
		if (test->count == 6 && i < 5) {
			uint32_t bytes;
			const uint8_t *user = event_field(&test->event[i], FIELD_user_id, &bytes);

			assert_int_equal(bytes, 2);
			assert_int_equal(user[1], '0' + i);
		}
		hits += test->event[i].hit_count && test->event[i].hit[0] == 0;
		assert_int_equal(!(test->event[i].actions & RULE_ACTION_STATE), !test->event[i].hit_count);
	}
	return hits >= 2;
}

static int none_run(void *arg, const struct ruleset *rs, const struct rule_test *test, struct err *err)
{
	(void)arg, (void)rs, (void)test;
	return err_set(err, -ENOMEM, "no memory");
}

static void line_keep(void *arg, const char *line)
{
	snprintf(arg, 200, "%s", line);
}

static void test_samples(void **state)
{
	struct ruleset *rs = compiled(sampled);
	uint32_t ran = 0;
	struct rule_tester tester = {hits_run, &ran};
	struct rule_test_counts counts = ruleset_run_tests(rs, NULL, NULL, NULL);
	char line[200] = "";

	(void)state;
	assert_int_equal(counts.passed, 1);
	assert_int_equal(counts.failed, 0);
	assert_int_equal(counts.not_run, 3); /* never passed */
	counts = ruleset_run_tests(rs, &tester, line_keep, line);
	assert_int_equal(counts.passed, 4);
	assert_int_equal(counts.failed + counts.not_run, 0);
	assert_int_equal(ran, 3);
	tester.run = none_run;
	counts = ruleset_run_tests(rs, &tester, line_keep, line);
	assert_int_equal(counts.failed, 3);
	assert_string_equal(line, "t.yaml:10: rule s: cannot be run: no memory");
	ruleset_free(rs);
	refused(HEAD
		"  by: ip\n  suppress: 1m\n  tests: [{send: [{ip: 1.1.1.1, amount: 1}], expect: alert}]\n",
		"f.yaml:7:19: rule r1: ", "needs its time");
	refused(HEAD "  by: ip\n  suppress: 1m\n  tests: [{send: [{ts: 1}], expect: tag}]\n",
		"f.yaml:7:37: rule r1: ", "gives alert or none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_count), cmocka_unit_test(test_values),
		cmocka_unit_test(test_anomaly), cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_common_condition), cmocka_unit_test(test_anomaly_errors),
		cmocka_unit_test(test_errors), cmocka_unit_test(test_step_errors),
		cmocka_unit_test(test_bounds), cmocka_unit_test(test_uid), cmocka_unit_test(test_expired),
		cmocka_unit_test(test_samples)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
