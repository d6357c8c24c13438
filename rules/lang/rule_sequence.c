/* `sequence` and `absence`: state whose steps have conditions of their own. Set-up only. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rule_read_priv.h"

#define STEP_NAME_BYTES_MAX 64
#define STEP_WITHIN_MS_MAX (30 * 86400000ull)

static const char *const follow_name[] = {"next", "followed_by", NULL};

/* A word of a list that ends with NULL, as its index. */
static int word_read(struct rule_reader *rd, const struct ynode *n, const char *const *words, uint32_t *out)
{
	uint32_t count = 0;

	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "%s: expected one word", n->key);
	for (; words[count]; count++)
		if (!strcmp(words[count], n->text)) {
			*out = count;
			return 0;
		}
	return rule_err_unknown(rd, n, false, n->key, words, count);
}

static int within_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	const struct ynode *within;
	int rc = read_child(rd, n, "within", &within);

	return rc ? rc : read_duration(rd, within, 1, STEP_WITHIN_MS_MAX, &spec->within_ms);
}

static int name_read(struct rule_reader *rd, const struct ynode *n, uint32_t index, struct rule_step *step)
{
	char made[16];

	if (!n) {
		snprintf(made, sizeof made, "step%u", index + 1);
		step->name = rule_pool_text(rd->pool, made, strlen(made));
		return step->name ? 0 : rule_no_memory(rd);
	}
	if (n->kind != YNODE_SCALAR || !n->text_bytes || n->text_bytes > STEP_NAME_BYTES_MAX)
		return rule_err(rd, n, "name: expected 1 to %d bytes of text", STEP_NAME_BYTES_MAX);
	for (size_t i = 0; i < n->text_bytes; i++)
		if ((unsigned char)n->text[i] < ' ')
			return rule_err(rd, n, "name: one line without control characters");
	step->name = rule_pool_text(rd->pool, n->text, n->text_bytes);
	return step->name ? 0 : rule_no_memory(rd);
}

/* A number, or {at_least, at_most}. */
static int times_read(struct rule_reader *rd, const struct ynode *n, struct rule_step *step)
{
	static const char *const names[] = {"at_least", "at_most", NULL};
	const struct ynode *least = n, *most = n;
	uint64_t low, high;
	int rc = 0;

	step->times_min = step->times_max = 1;
	if (!n)
		return 0;
	if (n->kind == YNODE_MAP) {
		rc = read_keys(rd, n, names);
		rc = rc ? rc : read_child(rd, n, "at_least", &least);
		rc = rc ? rc : read_child(rd, n, "at_most", &most);
	}
	rc = rc ? rc : read_uint(rd, least, 1, RULE_TIMES_MAX, &low);
	rc = rc ? rc : read_uint(rd, most, 1, RULE_TIMES_MAX, &high);
	if (rc)
		return rc;
	if (low > high)
		return rule_err(rd, most, "at_most: less than at_least");
	step->times_min = (uint16_t)low;
	step->times_max = (uint16_t)high;
	return 0;
}

/* How it follows; strict steps need to know among which events. */
static int follow_read(struct rule_reader *rd, const struct ynode *n, uint32_t index, bool negated,
	struct rule *rule, struct rule_step *step)
{
	uint32_t follow = RULE_FOLLOWED_BY;
	int rc = n ? word_read(rd, n, follow_name, &follow) : 0;

	if (rc)
		return rc;
	if (n && !index)
		return rule_err_key(rd, n, "follow: the first step follows nothing");
	if (follow == RULE_NEXT && !rule->state->stream)
		return rule_err(rd, n,
			"follow: next: next among which events? The rule's `when`, beside `sequence`, has to "
			"name them");
	step->follow = (uint8_t)(negated ? RULE_NOT_NEXT + follow : follow);
	return 0;
}

static int step_read(
	struct rule_reader *rd, const struct ynode *rule_node, const struct ynode *n, struct rule *rule)
{
	static const char *const plain[] = {"name", "when", "follow", "times", NULL};
	static const char *const negated[] = {"not", "name", "follow", NULL};
	struct rule_stateful *st = rule->state;
	uint32_t index = st->spec.step_count;
	struct rule_step *step = &st->spec.step[index];
	const struct ynode *when, *not ;
	int rc;

	if (n->kind != YNODE_MAP)
		return rule_err(rd, n, "expected a step, as in {name: login, when: {...}} or {not: {...}}");
	not = ynode_get(n, "not");
	rc = read_keys(rd, n, not ? negated : plain);
	when = not ? not : ynode_get(n, "when");
	if (!rc && !when)
		rc = rule_err(rd, n, "a step needs `when` or `not`");
	rc = rc ? rc : name_read(rd, ynode_get(n, "name"), index, step);
	rc = rc ? rc : follow_read(rd, ynode_get(n, "follow"), index, not != NULL, rule, step);
	rc = rc ? rc : times_read(rd, ynode_get(n, "times"), step);
	rc = rc ? rc
		: conds_read(rd, ynode_get(rule_node, "when"), when, ynode_get(rule_node, "allow"),
			  &st->when[index]);
	if (!rc)
		st->hash = node_hash(when, st->hash);
	st->spec.step_count++;
	return rc;
}

static int steps_check(struct rule_reader *rd, const struct ynode *steps, const struct rule_state *spec)
{
	const struct rule_step *first = &spec->step[0], *last = &spec->step[spec->step_count - 1];

	if (first->follow >= RULE_NOT_NEXT)
		return rule_err(rd, steps->child, "a sequence begins with a step that happens");
	if (last->follow >= RULE_NOT_NEXT)
		return rule_err(rd, steps,
			"a sequence ends with a step that happens; that something does not follow is a rule "
			"with "
			"`absence`");
	if (spec->step_count == 1 && first->times_min == 1)
		return rule_err(rd, steps, "a sequence needs two steps, or one with `times` from 2 on");
	return 0;
}

/* The rule's own condition is its `when` if strict steps need it, else that of the first step. */
static int own_condition(struct rule_reader *rd, const struct ynode *rule_node, struct rule *rule)
{
	const struct ynode *when = ynode_get(rule_node, "when");
	struct rule_stateful *st = rule->state;
	bool strict = false;

	for (uint32_t i = 1; i < st->spec.step_count; i++)
		strict = strict || st->spec.step[i].follow == RULE_NEXT ||
			 st->spec.step[i].follow == RULE_NOT_NEXT;
	st->stream = strict;
	if (when)
		return conds_read(rd, when, NULL, ynode_get(rule_node, "allow"), &rule->when);
	rule->when = st->when[0];
	st->when[0] = NULL;
	return 0;
}

int sequence_read(struct rule_reader *rd, const struct ynode *rule_node, struct rule *rule)
{
	static const char *const names[] = {"within", "skip", "steps", NULL};
	static const char *const skips[] = {"past_last", "none", NULL};
	const struct ynode *n = ynode_get(rule_node, "sequence"), *skip, *steps;
	struct rule_state *spec = &rule->state->spec;
	uint32_t word = RULE_SKIP_PAST_LAST;
	int rc = read_keys(rd, n, names);

	spec->kind = RULE_STATE_SEQUENCE;
	spec->order = RULE_ORDER_EVENT_TIME;
	rule->state->stream = ynode_get(rule_node, "when") != NULL;
	rc = rc ? rc : within_read(rd, n, spec);
	rc = rc ? rc : read_child(rd, n, "steps", &steps);
	if (rc)
		return rc;
	skip = ynode_get(n, "skip");
	if (skip)
		rc = word_read(rd, skip, skips, &word);
	spec->skip = (uint8_t)word;
	if (!rc && (steps->kind != YNODE_SEQ || !steps->count || steps->count > RULE_STEPS_MAX))
		rc = rule_err(rd, steps, "steps: expected a list of 1 to %d steps", RULE_STEPS_MAX);
	if (!rc)
		YNODE_EACH (it, steps) {
			rc = step_read(rd, rule_node, it, rule);
			if (rc)
				return rc;
		}
	rc = rc ? rc : steps_check(rd, steps, spec);
	return rc ? rc : own_condition(rd, rule_node, rule);
}

/* `when` is A and has been read; `then` below `absence` is B. */
int absence_read(struct rule_reader *rd, const struct ynode *rule_node, struct rule *rule)
{
	static const char *const names[] = {"within", "then", NULL};
	static const struct rule_step step[2] = {
		{.name = "when", .follow = RULE_FOLLOWED_BY, .times_min = 1, .times_max = 1},
		{.name = "then", .follow = RULE_NOT_FOLLOWED_BY, .times_min = 1, .times_max = 1}};
	const struct ynode *n = ynode_get(rule_node, "absence"), *then;
	struct rule_stateful *st = rule->state;
	int rc = read_keys(rd, n, names);

	st->spec.kind = RULE_STATE_ABSENCE;
	st->spec.order = RULE_ORDER_EVENT_TIME;
	st->spec.step_count = 2;
	memcpy(st->spec.step, step, sizeof step);
	rc = rc ? rc : within_read(rd, n, &st->spec);
	rc = rc ? rc : read_child(rd, n, "then", &then);
	rc = rc ? rc : conds_read(rd, NULL, then, NULL, &st->when[1]);
	if (!rc)
		st->hash = node_hash(then, st->hash);
	return rc;
}
