/* A ruleset as a table, for programs that test what sinks make of hits and need no compiler of rules.
 * Included by one source file of a program. */
#ifndef SLUICE_TABLE_RULES_H
#define SLUICE_TABLE_RULES_H

#include <errno.h>
#include <string.h>

#include "record.h"
#include "ruleset.h"

static const struct rule_info table_rules[] = {
	{.id = "tag-a", .title = "tags", .severity = SEVERITY_LOW, .actions = RULE_ACTION_TAG},
	{.id = "alert-b", .title = "B \"it's\"", .severity = SEVERITY_HIGH, .actions = RULE_ACTION_ALERT},
	{.id = "drop-c", .title = "drops", .severity = SEVERITY_INFO, .actions = RULE_ACTION_DROP},
	{.id = "both-d",
		.title = "D",
		.severity = SEVERITY_CRITICAL,
		.actions = RULE_ACTION_ALERT | RULE_ACTION_TAG},
};
#define TABLE_RULES (sizeof table_rules / sizeof *table_rules)
const char *const rule_severity_name[] = {"info", "low", "medium", "high", "critical"};

uint32_t ruleset_rule_count(const struct ruleset *rs)
{
	(void)rs;
	return TABLE_RULES;
}

uint32_t ruleset_match_count(const struct ruleset *rs)
{
	return ruleset_rule_count(rs) + 1; /* one step of a rule with state */
}

const struct rule_info *ruleset_rule(const struct ruleset *rs, uint32_t index)
{
	(void)rs;
	return &table_rules[index];
}

const char *ruleset_version(const struct ruleset *rs)
{
	(void)rs;
	return "00112233445566aa";
}

/* Generation 1 is there, others are not. */
const struct ruleset *ruleset_stand_at(
	struct ruleset_stand *stand, struct ruleset_store *st, uint32_t generation, struct err *err)
{
	*stand = (struct ruleset_stand){generation == 1 ? (const struct ruleset *)st : NULL, generation};
	if (!stand->rs)
		err_set(err, -ENOENT, "no ruleset of generation %u", generation);
	return stand->rs;
}

void ruleset_stand_leave(struct ruleset_stand *stand, struct ruleset_store *st)
{
	(void)st;
	stand->rs = NULL;
}

#endif
