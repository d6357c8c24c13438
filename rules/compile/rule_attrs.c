/* Names of attributes: each test gets its subject, and the names of all rules become a tree. Set-up only. */
#include <errno.h>

#include "ruleset_priv.h"

struct attr_maker {
	struct ruleset *rs;
	struct textmap map; /* path -> attribute */
	const struct match *match;
	const char *path[ATTRS_MAX];
	uint32_t count;
	struct err *err;
};

static int attr_number(struct attr_maker *am, struct cond *c)
{
	struct textmap_slot *slot = textmap_add(&am->map, c->attr, (uint32_t)strlen(c->attr));

	if (!slot)
		return ruleset_no_memory(am->err);
	if (slot->value == TEXTMAP_NONE) {
		if (am->count == ATTRS_MAX)
			return ruleset_rule_err(am->match->rule, c, am->err,
				"more than %d attributes are named in all rules", ATTRS_MAX);
		am->path[am->count] = c->attr;
		slot->value = am->count++;
	}
	c->subject = FIELD_ID_MAX + slot->value;
	am->rs->attr_types |= am->match->types;
	return 0;
}

static int conds_number(struct attr_maker *am, struct cond *c)
{
	int rc = 0;

	c->subject = c->field;
	if (c->attr)
		rc = attr_number(am, c);
	for (struct cond *it = c->child; it && !rc; it = it->next)
		rc = conds_number(am, it);
	return rc;
}

static int tree_make(struct attr_maker *am)
{
	struct attr_tree *tree = &am->rs->attrs;

	tree->edge = rule_pool_get(&am->rs->pool, attr_tree_edges(am->count), sizeof *tree->edge);
	if (!tree->edge)
		return ruleset_no_memory(am->err);
	attr_tree_make(tree, am->path, am->count);
	return 0;
}

int ruleset_attrs(struct ruleset *rs, struct err *err)
{
	struct attr_maker am = {.rs = rs, .err = err};
	int rc = 0;

	for (uint32_t i = 0; i < rs->match_count && !rc; i++) {
		am.match = &rs->match[i];
		rc = conds_number(&am, am.match->when);
	}
	if (!rc && am.count)
		rc = tree_make(&am);
	textmap_free(&am.map);
	return rc;
}
