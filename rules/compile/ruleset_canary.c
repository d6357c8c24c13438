/* Rulesets with canaries: rules that are counted beside those in force. Set-up only. A canary's sources are
 * kept whole, also what is the same in them, for they are what is put in force in the end. */
#include <errno.h>
#include <stdlib.h>

#include "ruleset_priv.h"

/* Of the rules in force by id; then of canaries by id, so that none is there twice. */
static int ids_add(struct textmap *map, struct rule *const *rule, uint32_t count, struct err *err)
{
	for (uint32_t i = 0; i < count; i++) {
		struct textmap_slot *slot =
			textmap_add(map, rule[i]->info.id, (uint32_t)strlen(rule[i]->info.id));

		if (!slot)
			return ruleset_no_memory(err);
		slot->value = i;
	}
	return 0;
}

/* What is in force under its id: the same, another, or nothing. */
static int canary_add(struct ruleset *rs, struct rule *rule, uint32_t in_force, struct err *err)
{
	struct rule *other = in_force == TEXTMAP_NONE ? NULL : rs->rule[in_force];

	if (other && other->info.content == rule->info.content) {
		other->info.change = RULE_SAME;
		return 0;
	}
	if (rs->rule_count == RULE_COUNT_MAX)
		return ruleset_rule_err(
			rule, NULL, err, "more than %u rules, with those in force", RULE_COUNT_MAX);
	rule->info.canary = true;
	rule->info.change = other ? RULE_CHANGED : RULE_NEW;
	if (other) {
		rule->info.other = in_force;
		other->info.change = RULE_CHANGED;
		other->info.other = rs->rule_count;
	}
	rs->rule[rs->rule_count++] = rule;
	rs->canary_count++;
	return 0;
}

int ruleset_canary_join(struct ruleset *rs, const struct rule_list *canary, struct err *err)
{
	struct textmap map = {0}, seen = {0};
	int rc;

	if (!canary->tail)
		return 0;
	rc = ids_add(&map, rs->rule, rs->rule_count, err);
	for (uint32_t i = 0; i < rs->rule_count; i++)
		rs->rule[i]->info.change = RULE_GONE;
	for (struct rule *it = canary->head; it && !rc; it = it->next) {
		uint32_t bytes = (uint32_t)strlen(it->info.id);
		const struct textmap_slot *slot = textmap_find(&map, it->info.id, bytes);
		uint32_t before = seen.count;

		if (!textmap_add(&seen, it->info.id, bytes))
			rc = ruleset_no_memory(err);
		else if (seen.count == before)
			rc = ruleset_rule_err(it, NULL, err, "this id stands there twice");
		else
			rc = canary_add(rs, it, slot ? slot->value : TEXTMAP_NONE, err);
	}
	textmap_free(&map);
	textmap_free(&seen);
	rs->list.version = hash_bytes(&canary->version, sizeof canary->version, hash_u64(rs->list.version));
	return rc;
}

/* The sources of one side. */
static const struct rule_source *side(const struct ruleset *rs, bool canary, uint32_t *count)
{
	*count = canary ? rs->source_count - rs->canary_from : rs->canary_from;
	return rs->source + (canary ? rs->canary_from : 0);
}

int ruleset_canary(struct ruleset **out, const struct ruleset *in_force, const struct ruleset *other,
	uint32_t patterns_max, struct err *err)
{
	uint32_t from, more;
	const struct rule_source *now = side(in_force, false, &from), *then = side(other, false, &more);
	const struct compile_how how = {.patterns_max = patterns_max, .canary_from = from};
	struct rule_source *source = calloc((size_t)from + more + 1, sizeof *source);
	int rc;

	*out = NULL;
	if (!source)
		return ruleset_no_memory(err);
	memcpy(source, now, from * sizeof *source);
	memcpy(source + from, then, more * sizeof *source);
	rc = ruleset_compile_how(out, source, from + more, &how, err);
	free(source);
	if (rc || (*out)->canary_count)
		return rc;
	ruleset_free(*out);
	*out = NULL;
	return err_set(err, -EINVAL, "nothing to try: no rule is new or changed against those in force");
}

int ruleset_part(
	struct ruleset **out, const struct ruleset *rs, bool canary, uint32_t patterns_max, struct err *err)
{
	uint32_t count;
	const struct rule_source *source = side(rs, canary, &count);

	return ruleset_compile(out, source, count, patterns_max, err);
}

uint32_t ruleset_canary_count(const struct ruleset *rs)
{
	return rs->canary_count;
}
