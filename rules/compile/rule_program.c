/* Conditions become programs over hit bits; and for each match, the bits that announce it: if the condition
 * can only hold when one of a set of bits is set, the match is looked at when one is, else for each event of
 * its types. Set-up only. */
#include <errno.h>

#include "ruleset_priv.h"

static uint32_t cond_count(const struct cond *c)
{
	uint32_t n = 1;

	for (const struct cond *it = c->child; it; it = it->next)
		n += cond_count(it);
	return n;
}

static void fold_text(struct cond *c)
{
	char *text = (char *)c->text->text;

	for (uint32_t i = 0; c->nocase && i < c->text->bytes; i++)
		text[i] = ascii_fold(text[i]);
}

static void emit(struct ruleset *rs, struct cond *c)
{
	static const uint8_t ops[] = {[COND_ALL] = PROG_ALL,
		[COND_ANY] = PROG_ANY,
		[COND_NOT] = PROG_NOT,
		[COND_TYPE] = PROG_TYPE,
		[COND_PRESENT] = PROG_PRESENT,
		[COND_TEXTS] = PROG_LIT,
		[COND_NUMBERS] = PROG_NUMBERS,
		[COND_RANGE] = PROG_RANGE,
		[COND_PREFIX] = PROG_PREFIX,
		[COND_SUFFIX] = PROG_SUFFIX,
		[COND_CONTAINS] = PROG_LIT,
		[COND_REGEX] = PROG_LIT,
		[COND_CIDR] = PROG_CIDR};
	uint32_t at = rs->prog_count++;
	struct prog_node *n = &rs->prog[at];

	n->op = ops[c->kind];
	n->subject = (uint8_t)c->subject;
	if (n->op == PROG_TYPE)
		n->types = (uint16_t)c->type_mask;
	else if (n->op == PROG_PRESENT && !c->present)
		n->op = PROG_ABSENT;
	else if (n->op == PROG_LIT)
		n->arg = c->lit;
	if (n->op >= PROG_NUMBERS) {
		n->arg = rs->operand_count;
		rs->operand[rs->operand_count++] = c;
	}
	if (n->op == PROG_PREFIX || n->op == PROG_SUFFIX)
		fold_text(c);
	for (struct cond *it = c->child; it; it = it->next)
		emit(rs, it);
	rs->prog[at].skip = rs->prog_count - at;
}

/* A rule is only looked at for its own types, so that tests of the type beside all others always hold. */
static void emit_rule(struct ruleset *rs, struct cond *when)
{
	uint32_t at = rs->prog_count, tests = 0;
	struct cond *last = NULL;

	for (struct cond *it = when->kind == COND_ALL ? when->child : NULL; it; it = it->next)
		if (it->kind != COND_TYPE) {
			tests++;
			last = it;
		}
	if (when->kind != COND_ALL || tests == 1) {
		emit(rs, last ? last : when);
		return;
	}
	rs->prog[rs->prog_count++].op = PROG_ALL;
	for (struct cond *it = when->child; it; it = it->next)
		if (it->kind != COND_TYPE)
			emit(rs, it);
	rs->prog[at].skip = rs->prog_count - at;
}

/* How many bits announce the condition; LIT_NONE: none do. */
static uint32_t trigger_count(const struct cond *c)
{
	uint32_t best = LIT_NONE, sum = 0, n;

	switch (c->kind) {
	case COND_TEXTS:
	case COND_CONTAINS:
	case COND_REGEX:
		return 1;
	case COND_ALL:
		for (const struct cond *it = c->child; it; it = it->next) {
			n = trigger_count(it);
			best = n < best ? n : best;
		}
		return best;
	case COND_ANY:
		for (const struct cond *it = c->child; it; it = it->next) {
			n = trigger_count(it);
			if (n == LIT_NONE)
				return LIT_NONE;
			sum += n;
		}
		return sum;
	default:
		return LIT_NONE;
	}
}

typedef void trigger_visit(struct ruleset *rs, uint32_t lit, uint32_t rule);

static void triggers(struct ruleset *rs, const struct cond *c, uint32_t rule, trigger_visit *visit)
{
	uint32_t count = trigger_count(c);

	if (c->kind == COND_ALL) {
		for (const struct cond *it = c->child; it; it = it->next)
			if (trigger_count(it) == count) {
				triggers(rs, it, rule, visit);
				return;
			}
	} else if (c->kind == COND_ANY) {
		for (const struct cond *it = c->child; it; it = it->next)
			triggers(rs, it, rule, visit);
	} else {
		visit(rs, c->lit, rule);
	}
}

static void visit_count(struct ruleset *rs, uint32_t lit, uint32_t rule)
{
	(void)rule;
	rs->lit_first[lit + 1]++;
}

/* lit_first[lit + 1] runs from the end of the previous list to the end of this one. */
static void visit_fill(struct ruleset *rs, uint32_t lit, uint32_t match)
{
	rs->lit_match[rs->lit_first[lit + 1]++] = (uint16_t)match;
}

/* Counts, then places: lit_first[lit] .. lit_first[lit + 1] are the rules of a bit. */
static int index_lits(struct ruleset *rs, struct err *err)
{
	uint32_t total = 0;

	rs->lit_first = rule_pool_get(&rs->pool, (size_t)rs->lit_count + 2, sizeof *rs->lit_first);
	if (!rs->lit_first)
		return ruleset_no_memory(err);
	for (uint32_t i = 0; i < rs->match_count; i++)
		if (trigger_count(rs->match[i].when) != LIT_NONE)
			triggers(rs, rs->match[i].when, i, visit_count);
	for (uint32_t lit = 0; lit <= rs->lit_count; lit++) {
		uint32_t count = rs->lit_first[lit + 1];

		rs->lit_first[lit + 1] = total;
		total += count;
	}
	rs->lit_match = rule_pool_get(&rs->pool, total, sizeof *rs->lit_match);
	if (!rs->lit_match)
		return ruleset_no_memory(err);
	for (uint32_t i = 0; i < rs->match_count; i++)
		if (trigger_count(rs->match[i].when) != LIT_NONE)
			triggers(rs, rs->match[i].when, i, visit_fill);
	return 0;
}

static int index_always(struct ruleset *rs, struct err *err)
{
	for (uint32_t t = 1; t < EVENT_TYPE_MAX; t++) {
		uint32_t n = 0;

		for (int fill = 0; fill < 2; fill++) {
			n = 0;
			for (uint32_t i = 0; i < rs->match_count; i++) {
				if (!(rs->match[i].types & 1u << t) ||
					trigger_count(rs->match[i].when) != LIT_NONE)
					continue;
				if (fill)
					rs->always[t][n] = (uint16_t)i;
				n++;
			}
			if (!fill)
				rs->always[t] = rule_pool_get(&rs->pool, n, sizeof *rs->always[t]);
			if (!rs->always[t])
				return ruleset_no_memory(err);
		}
		rs->always_count[t] = n;
	}
	return 0;
}

int ruleset_programs(struct ruleset *rs, struct err *err)
{
	size_t nodes = 0;
	int rc;

	for (uint32_t i = 0; i < rs->match_count; i++)
		nodes += cond_count(rs->match[i].when);
	rs->prog = rule_pool_get(&rs->pool, nodes, sizeof *rs->prog);
	rs->operand = rule_pool_get(&rs->pool, nodes, sizeof *rs->operand);
	rs->match_prog = rule_pool_get(&rs->pool, rs->match_count, sizeof *rs->match_prog);
	rs->match_types = rule_pool_get(&rs->pool, rs->match_count, sizeof *rs->match_types);
	rs->match_actions = rule_pool_get(&rs->pool, rs->match_count, sizeof *rs->match_actions);
	if (!rs->prog || !rs->operand || !rs->match_prog || !rs->match_types || !rs->match_actions)
		return ruleset_no_memory(err);
	for (uint32_t i = 0; i < rs->match_count; i++) {
		rs->match_prog[i] = rs->prog_count;
		rs->match_types[i] = (uint16_t)rs->match[i].types;
		rs->match_actions[i] = rs->match[i].actions;
		emit_rule(rs, rs->match[i].when);
	}
	for (uint32_t t = 1; t < EVENT_TYPE_MAX; t++)
		rs->alone_mask[t] = (struct subject_set){rs->edge_mask[t].fields | rs->dict_mask[t].fields,
			rs->edge_mask[t].attrs | rs->dict_mask[t].attrs};
	rc = index_lits(rs, err);
	return rc ? rc : index_always(rs, err);
}
