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

static void state_test_run(
	struct runner *run, const struct rule *rule, const struct rule_sample *s, struct rule_test *test)
{
	struct event *event = calloc(test->count, sizeof *event);
	uint16_t *hit = event ? events_match(run, s, event, test->count) : NULL;
	struct err err = {"out of memory"};
	char line[1100];
	int alerts = -1;

	test->event = event;
	if (hit)
		alerts = run->tester->run(run->tester->arg, run->rs, test, &err);
	if (alerts < 0)
		snprintf(line, sizeof line, "%s:%u: rule %s: cannot be run: %s", rule->info.file, test->line,
			rule->info.id, err.text);
	else
		snprintf(line, sizeof line,
			"%s:%u: rule %s: expected %s, but these %u events give %d alert%s", rule->info.file,
			test->line, rule->info.id, test->alert ? "alert" : "none", test->count, alerts,
			alerts == 1 ? "" : "s");
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
