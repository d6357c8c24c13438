/* Runs the samples that rules bring along through a matcher, as live events would go. Control thread, CLI. */
#include <stdio.h>

#include "match_priv.h"
#include "record.h"

static const char *action_name(uint8_t action)
{
	switch (action) {
	case RULE_ACTION_ALERT:
		return "alert";
	case RULE_ACTION_TAG:
		return "tag";
	case RULE_ACTION_DROP:
		return "drop";
	default:
		return "none";
	}
}

/* By the rule's own counter: an event's hit list may be cut. */
static bool sample_hits(struct matcher *m, const struct rule_sample *sample, uint32_t rule)
{
	uint64_t before = matcher_rule_hits(m)[rule];
	struct event ev = sample->ev, *burst = &ev;

	matcher_run(m, &burst, 1);
	return matcher_rule_hits(m)[rule] != before;
}

static bool sample_run(struct matcher *m, const struct rule *rule, uint32_t index,
	const struct rule_sample *s, char *line, size_t line_bytes)
{
	bool hit = sample_hits(m, s, index);

	if (hit == (s->expect != 0))
		return true;
	snprintf(line, line_bytes, "%s:%u: rule %s: expected %s, but the rule %s this %s event",
		rule->info.file, s->line, rule->info.id, action_name(s->expect),
		hit ? "matches" : "does not match", type_table[s->ev.type].name);
	return false;
}

uint32_t ruleset_run_tests(const struct ruleset *rs, void (*report)(void *arg, const char *line), void *arg)
{
	struct err err = {0};
	struct matcher *m = matcher_new(rs, &err);
	uint32_t failed = 0;
	char line[600];

	if (!m) {
		if (report)
			report(arg, err.text);
		return 1;
	}
	for (uint32_t i = 0; i < rs->rule_count; i++)
		for (const struct rule_sample *s = rs->rule[i]->sample; s; s = s->next)
			if (!sample_run(m, rs->rule[i], i, s, line, sizeof line)) {
				failed++;
				if (report)
					report(arg, line);
			}
	matcher_free(m);
	return failed;
}
