/* Names of attributes: each test gets its subject, and the names of all rules become a tree that a walk over
 * an event's JSON follows. Set-up only. */
#include <errno.h>

#include "ruleset_priv.h"

struct attr_maker {
	struct ruleset *rs;
	struct textmap map; /* path -> attribute */
	const struct match *match;
	const char *path[RULE_ATTRS_MAX];
	struct err *err;
};

static int attr_number(struct attr_maker *am, struct cond *c)
{
	struct attr_tree *tree = &am->rs->attrs;
	struct textmap_slot *slot = textmap_add(&am->map, c->attr, (uint32_t)strlen(c->attr));

	if (!slot)
		return ruleset_no_memory(am->err);
	if (slot->value == TEXTMAP_NONE) {
		if (tree->count == RULE_ATTRS_MAX)
			return ruleset_rule_err(am->match->rule, c, am->err,
				"more than %d attributes are named in all rules", RULE_ATTRS_MAX);
		am->path[tree->count] = c->attr;
		slot->value = tree->count++;
	}
	c->subject = FIELD_ID_MAX + slot->value;
	tree->types |= am->match->types;
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

/* Sets *to to the node at the end of the edge, which is made if need be: to the node `want`, or a new one if
 * that is 0. */
static void edge_add(struct attr_tree *tree, uint32_t from, const char *key, uint32_t bytes, uint32_t *to)
{
	uint64_t h = attr_hash(from, key, bytes);
	uint32_t i = (uint32_t)h & tree->edge_mask;

	for (; tree->edge[i].hash; i = (i + 1) & tree->edge_mask)
		if (tree->edge[i].from == from && tree->edge[i].bytes == bytes &&
			!memcmp(tree->edge[i].key, key, bytes)) {
			*to = tree->edge[i].to;
			return;
		}
	if (!*to) {
		*to = tree->node_count++;
		tree->attr[*to] = ATTR_NONE;
	}
	tree->edge[i] = (struct attr_edge){h, key, bytes, (uint16_t)from, (uint16_t)*to};
	tree->inner[from] = true;
	tree->lengths |= 1ull << (bytes < 63 ? bytes : 63);
	if (bytes > tree->key_bytes_max)
		tree->key_bytes_max = bytes;
}

static void path_add(struct attr_tree *tree, const char *path, uint8_t attr)
{
	const char *start[ATTR_NAMES_MAX + 1];
	uint32_t node[ATTR_NAMES_MAX + 1] = {0}, names = 0;

	start[names++] = path;
	for (const char *p = path; *p; p++)
		if (*p == '.')
			start[names++] = p + 1;
	start[names] = path + strlen(path) + 1;
	/* node[i]: after i names. First the way name by name, which makes the nodes, then the joined keys. */
	for (uint32_t i = 0; i < names; i++)
		edge_add(tree, node[i], start[i], (uint32_t)(start[i + 1] - start[i] - 1), &node[i + 1]);
	for (uint32_t i = 0; i < names; i++)
		for (uint32_t k = i + 2; k <= names; k++)
			edge_add(tree, node[i], start[i], (uint32_t)(start[k] - start[i] - 1), &node[k]);
	tree->attr[node[names]] = attr;
}

static int tree_make(struct attr_maker *am)
{
	struct attr_tree *tree = &am->rs->attrs;
	uint32_t edges = tree->count * ATTR_NAMES_MAX * (ATTR_NAMES_MAX + 1) / 2, slots = 16;

	while (slots < 2 * edges)
		slots *= 2;
	tree->edge = rule_pool_get(&am->rs->pool, slots, sizeof *tree->edge);
	if (!tree->edge)
		return ruleset_no_memory(am->err);
	tree->edge_mask = slots - 1;
	tree->node_count = 1;
	tree->attr[0] = ATTR_NONE;
	for (uint32_t i = 0; i < tree->count; i++)
		path_add(tree, am->path[i], (uint8_t)i);
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
	if (!rc && rs->attrs.count)
		rc = tree_make(&am);
	textmap_free(&am.map);
	return rc;
}
