/* Which event types a rule can match: rules of other types cost nothing, and a rule of no type is a mistake.
 * Set-up only. */
#include "ruleset_priv.h"

struct types {
	uint32_t may;  /* types for which the condition can hold */
	uint32_t must; /* types for which it holds in any case */
};

static uint32_t types_all(void)
{
	uint32_t all = 0;

	for (uint32_t i = 1; i < EVENT_TYPE_MAX; i++)
		if (type_table[i].name)
			all |= 1u << i;
	return all;
}

static uint32_t types_with(enum field_id field)
{
	uint32_t mask = 0;

	if (field == FIELD_NONE) /* an attribute, or the source address: any type may have it */
		return types_all();
	for (uint32_t i = 1; i < EVENT_TYPE_MAX; i++)
		if (type_table[i].name && type_table[i].uses & 1ull << field)
			mask |= 1u << i;
	return mask;
}

static struct types types_of(const struct cond *c)
{
	uint32_t all = types_all();
	struct types t = {c->kind == COND_ANY ? 0 : all, c->kind == COND_ANY ? 0 : all}, child;

	switch (c->kind) {
	case COND_ALL:
	case COND_ANY:
		for (const struct cond *it = c->child; it; it = it->next) {
			child = types_of(it);
			t.may = c->kind == COND_ALL ? t.may & child.may : t.may | child.may;
			t.must = c->kind == COND_ALL ? t.must & child.must : t.must | child.must;
		}
		return t;
	case COND_NOT:
		child = types_of(c->child);
		return (struct types){all & ~child.must, all & ~child.may};
	case COND_TYPE:
		return (struct types){c->type_mask, c->type_mask};
	case COND_PRESENT:
		if (!c->present)
			return (struct types){all, all & ~types_with(c->field)};
		return (struct types){types_with(c->field), 0};
	default:
		return (struct types){types_with(c->field), 0};
	}
}

/* The first line of the outermost AND that leaves no type, for the error's place. */
static const struct cond *culprit(const struct cond *when)
{
	uint32_t left = types_all();

	if (when->kind == COND_ALL)
		for (const struct cond *it = when->child; it; it = it->next) {
			left &= types_of(it).may;
			if (!left)
				return it;
		}
	return when;
}

static int type_none(const struct match *match, struct err *err)
{
	const struct cond *at = culprit(match->when);

	if (at->field)
		return ruleset_rule_err(match->rule, at, err,
			"matches no event: no event type that is left here has the field %s",
			field_table[at->field].name);
	return ruleset_rule_err(match->rule, at, err, "matches no event: no event type is left here");
}

int ruleset_types(struct ruleset *rs, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < rs->match_count && !rc; i++) {
		struct match *match = &rs->match[i];

		match->types = types_of(match->when).may;
		if (!match->types)
			rc = ruleset_problem(rs, type_none(match, err), err);
	}
	return rc;
}
