/* Runs the samples that rules bring along through a matcher, as live events would go; those of rules with
 * state then through what the caller hands in. Control thread, CLI. */
#include <stdio.h>
#include <stdlib.h>

#include "match_priv.h"

struct runner {
	const struct ruleset *rs;
	struct matcher *m;
	const struct rule_tester *tester;
	struct rule_test_counts counts;
	void (*report)(void *arg, const char *line);
	void *arg;
};

static const char *action_name(uint8_t action)
{
	switch (action) {
	case RULE_ACTION_ALERT:
		return "alert";
	case RULE_ACTION_TAG:
		return "tag";
	case RULE_ACTION_DROP:
		return "drop";
	case RULE_ACTION_ROUTE:
		return "route";
	default:
		return "none";
	}
}

static void count(struct runner *run, const char *failure)
{
	if (!failure) {
		run->counts.passed++;
		return;
	}
	run->counts.failed++;
	if (run->report)
		run->report(run->arg, failure);
}

/* By the rule's own counter: an event's hit list may be cut. */
static bool sample_hits(struct matcher *m, const struct rule_sample *sample, uint32_t rule)
{
	uint64_t before = matcher_rule_hits(m)[rule];
	struct event ev = sample->ev, *burst = &ev;

	matcher_run(m, &burst, 1);
	return matcher_rule_hits(m)[rule] != before;
}

static void sample_run(
	struct runner *run, const struct rule *rule, uint32_t index, const struct rule_sample *s)
{
	bool hit = sample_hits(run->m, s, index);
	char line[600];

	snprintf(line, sizeof line, "%s:%u: rule %s: expected %s, but the rule %s this %s event",
		rule->info.file, s->line, rule->info.id, action_name(s->expect),
		hit ? "matches" : "does not match", type_table[s->ev.type].name);
	count(run, hit == (s->expect != 0) ? NULL : line);
}

/* ---- rules with state ---- */

/* Matches one event after the other; hit lists are copied, since the matcher's last until the next call. */
static uint16_t *events_match(
	struct runner *run, const struct rule_sample *s, struct event *event, uint32_t count)
{
	size_t room = 0, used = 0;
	uint16_t *hit = NULL;

	for (uint32_t i = 0; i < count; i++, s = s->next) {
		struct event *ev = &event[i];

		*ev = s->ev;
		matcher_run(run->m, &ev, 1);
		if (used + ev->hit_count >= room) {
			uint16_t *more = realloc(hit, (room = 2 * room + MATCH_HITS_MAX + 1) * sizeof *hit);

			if (!more) {
				free(hit);
				return NULL;
			}
			hit = more;
		}
		memcpy(hit + used, ev->hit, ev->hit_count * sizeof *hit);
		used += ev->hit_count;
	}
	for (uint32_t i = 0, at = 0; i < count; at += event[i++].hit_count)
		event[i].hit = hit + at;
	return hit;
}

/* Whether the event passes a condition of the rule; step: of that one, RULE_STEP_NONE: any. */
static bool event_passes(
	const struct ruleset *rs, const struct rule_test *test, const struct event *ev, uint32_t step)
{
	for (uint32_t i = 0; i < ev->hit_count; i++) {
		const struct rule_use *use = &rs->use[ev->hit[i]];

		if (use->state == test->state && (step == RULE_STEP_NONE || use->step == step))
			return true;
	}
	return false;
}

/* Events that pass, and have all these fields. */
static uint32_t passing(const struct ruleset *rs, const struct rule_test *test, uint64_t fields)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < test->count; i++)
		n += (test->event[i].field_mask & fields) == fields &&
		     event_passes(rs, test, &test->event[i], RULE_STEP_NONE);
	return n;
}

/* The first step that has to come and of which there is no event; NULL: none. */
static const char *step_missing(
	const struct ruleset *rs, const struct rule_test *test, const struct rule_state *state)
{
	for (uint32_t s = 0; s < state->step_count; s++) {
		const struct rule_step *step = &state->step[s];
		uint32_t i = 0;

		if (s && (state->kind == RULE_STATE_ABSENCE || step->follow == RULE_NOT_NEXT ||
				 step->follow == RULE_NOT_FOLLOWED_BY))
			continue;
		while (i < test->count && !event_passes(rs, test, &test->event[i], s))
			i++;
		if (i == test->count)
			return step->name;
	}
	return NULL;
}

/* What of the events no alert can come of, as far as it shows without following the state; "": it does not.
 */
static void no_alert_why(const struct ruleset *rs, const struct rule_test *test, char *out, size_t cap)
{
	const struct rule_state *state = &rs->state[test->state];
	const struct rule_keyring *kr = &rs->keyring[state->keyring];
	const uint8_t value[] = {state->field, state->place};
	uint32_t pass = passing(rs, test, 0);
	uint64_t fields = 0;
	const char *step;

	*out = 0;
	if (!pass) {
		snprintf(out, cap, ": none of them passes its `when`%s",
			state->step_count ? " or a step" : "");
		return;
	}
	for (uint32_t i = 0; i < kr->count; i++) {
		fields |= 1ull << kr->field[i];
		if (!passing(rs, test, 1ull << kr->field[i])) {
			snprintf(out, cap, ": of the %u that pass its `when` none has %s, a field of `by`",
				pass, field_table[kr->field[i]].name);
			return;
		}
	}
	for (uint32_t i = 0; i < sizeof value; i++)
		if (value[i] && !passing(rs, test, 1ull << value[i])) {
			snprintf(out, cap,
				": of the %u that pass its `when` none has %s, whose values it looks at",
				pass, field_table[value[i]].name);
			return;
		}
	step = step_missing(rs, test, state);
	if (step) {
		snprintf(out, cap, ": none of them passes step %s", step);
		return;
	}
	pass = passing(rs, test, fields);
	if (!pass)
		snprintf(out, cap, ": none that passes its `when` has all fields of `by`");
	else if (pass < state->at_least &&
		 (state->kind == RULE_STATE_COUNT || state->kind == RULE_STATE_RATE ||
			 state->kind == RULE_STATE_DISTINCT || state->kind == RULE_STATE_UNCHANGED))
		snprintf(out, cap, ": %u of them %s its `when` and %s a key; at_least is %llu", pass,
			pass == 1 ? "passes" : "pass", pass == 1 ? "has" : "have",
			(unsigned long long)state->at_least);
}

static void state_test_run(
	struct runner *run, const struct rule *rule, const struct rule_sample *s, struct rule_test *test)
{
	struct event *event = calloc(test->count, sizeof *event);
	uint16_t *hit = event ? events_match(run, s, event, test->count) : NULL;
	struct err err = {"out of memory"};
	char line[1100], why[200] = "";
	int alerts = -1;

	test->event = event;
	if (hit)
		alerts = run->tester->run(run->tester->arg, run->rs, test, &err);
	if (alerts == 0 && test->alert)
		no_alert_why(run->rs, test, why, sizeof why);
	if (alerts < 0)
		snprintf(line, sizeof line, "%s:%u: rule %s: cannot be run: %s", rule->info.file, test->line,
			rule->info.id, err.text);
	else
		snprintf(line, sizeof line, "%s:%u: rule %s: expected %s, but %u event%s give%s %d alert%s%s",
			rule->info.file, test->line, rule->info.id, test->alert ? "alert" : "none",
			test->count, test->count == 1 ? "" : "s", test->count == 1 ? "s" : "", alerts,
			alerts == 1 ? "" : "s", why);
	count(run, alerts >= 0 && (alerts > 0) == test->alert ? NULL : line);
	free(hit);
	free(event);
}

static void state_tests_run(struct runner *run, const struct rule *rule, uint32_t index)
{
	uint32_t state = 0;

	while (state < run->rs->state_count && run->rs->state[state].rule != index)
		state++;
	for (const struct rule_sample *s = rule->sample, *next; s; s = next) {
		struct rule_test test = {
			.rule = index, .state = state, .line = s->line, .alert = s->expect != 0};

		for (next = s; next && next->test == s->test; next = next->next)
			test.count++;
		if (run->tester)
			state_test_run(run, rule, s, &test);
		else
			run->counts.not_run++;
	}
}

struct rule_test_counts ruleset_run_tests(const struct ruleset *rs, const struct rule_tester *tester,
	void (*report)(void *arg, const char *line), void *arg)
{
	struct runner run = {.rs = rs, .tester = tester, .report = report, .arg = arg};
	struct err err = {0};

	run.m = matcher_new(rs, &err);
	if (!run.m) {
		count(&run, err.text);
		return run.counts;
	}
	for (uint32_t i = 0; i < rs->rule_count; i++) {
		const struct rule *rule = rs->rule[i];

		if (rule->info.expired)
			continue;
		if (rule->state)
			state_tests_run(&run, rule, i);
		for (const struct rule_sample *s = rule->state ? NULL : rule->sample; s; s = s->next)
			sample_run(&run, rule, i, s);
	}
	matcher_free(run.m);
	return run.counts;
}
