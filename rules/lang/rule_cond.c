/* `when:` of a rule: lines are AND; any, all and not nest. Set-up only. */
#include <errno.h>
#include <string.h>

#include "rule_read_priv.h"

static int type_add(struct rule_reader *rd, const struct ynode *n, uint32_t *mask)
{
	const char *names[EVENT_TYPE_MAX];
	enum event_type type;

	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "type: expected the name of an event type");
	type = event_type_by_name(n->text, n->text_bytes);
	if (!type)
		return rule_err_unknown(
			rd, n, false, "event type", names, rule_type_names(names, EVENT_TYPE_MAX));
	*mask |= 1u << type;
	return 0;
}

static int type_read(struct rule_reader *rd, const struct ynode *n, struct cond *all)
{
	static const char *const ops[] = {"eq", "in"};
	const struct ynode *value = n;
	struct cond *c = cond_new(rd, COND_TYPE, n);
	int rc = 0;

	if (!c)
		return rule_no_memory(rd);
	if (n->kind == YNODE_MAP) {
		YNODE_EACH (it, n)
			if (strcmp(it->key, "eq") && strcmp(it->key, "in"))
				return rule_err_unknown(rd, it, true, "test of type", ops, 2);
		if (n->count != 1)
			return rule_err(rd, n, "type: give eq or in");
		value = n->child;
	}
	if (value != n && !strcmp(value->key, "in")) {
		if (value->kind != YNODE_SEQ || !value->count)
			return rule_err(rd, value, "in: expected a list of event types");
		YNODE_EACH (it, value)
			if (!rc)
				rc = type_add(rd, it, &c->type_mask);
	} else {
		rc = type_add(rd, value, &c->type_mask);
	}
	cond_append(all, c);
	return rc;
}

static int lines_read(struct rule_reader *rd, const struct ynode *n, uint32_t depth, struct cond **out);

/* A list of mappings, as the children of a group. */
static int items_read(struct rule_reader *rd, const struct ynode *n, uint32_t depth, struct cond *group)
{
	YNODE_EACH (it, n) {
		struct cond *c = NULL;
		int rc = lines_read(rd, it, depth + 1, &c);

		if (rc)
			return rc;
		cond_append(group, c);
	}
	return 0;
}

/* One mapping, or a list of which none may hold. */
static int not_read(struct rule_reader *rd, const struct ynode *n, uint32_t depth, struct cond **out)
{
	struct cond *not = cond_new(rd, COND_NOT, n), *group = NULL;
	int rc;

	if (n->kind == YNODE_SEQ) {
		group = cond_new(rd, COND_ANY, n);
		rc = group ? items_read(rd, n, depth, group) : 0;
	} else {
		rc = lines_read(rd, n, depth + 1, &group);
	}
	if (rc)
		return rc;
	if (!not || !group)
		return rule_no_memory(rd);
	not ->child = group;
	*out = not ;
	return 0;
}

/* any, all: a list of mappings. not: one mapping, or a list of which none may hold. */
static int group_read(struct rule_reader *rd, const struct ynode *n, uint32_t depth, struct cond *all)
{
	bool not = !strcmp(n->key, "not"), list = n->kind == YNODE_SEQ && n->count;
	struct cond *group;
	int rc;

	if (depth == RULE_DEPTH_MAX)
		return rule_err_key(rd, n, "any, all and not are nested more than %d deep", RULE_DEPTH_MAX);
	if (!list && (!not || n->kind != YNODE_MAP))
		return rule_err(rd, n, "%s: expected a list, each item a mapping of tests%s", n->key,
			not ? "; or one mapping" : "");
	if (not ) {
		rc = not_read(rd, n, depth, &group);
	} else {
		group = cond_new(rd, !strcmp(n->key, "all") ? COND_ALL : COND_ANY, n);
		rc = group ? items_read(rd, n, depth, group) : rule_no_memory(rd);
	}
	if (rc)
		return rc;
	cond_append(all, group);
	return 0;
}

static int line_read(struct rule_reader *rd, const struct ynode *n, uint32_t depth, struct cond *all)
{
	const char *names[FIELD_ID_MAX + 5] = {"type", "any", "all", "not", "src_addr"};
	enum field_id field;

	if (!strcmp(n->key, "any") || !strcmp(n->key, "all") || !strcmp(n->key, "not"))
		return group_read(rd, n, depth, all);
	if (!strcmp(n->key, "type"))
		return type_read(rd, n, all);
	if (!strcmp(n->key, "src_addr"))
		return address_read(rd, n, all);
	if (!strncmp(n->key, ATTR_PREFIX, strlen(ATTR_PREFIX)))
		return attr_read(rd, n, all);
	field = field_by_name(n->key, strlen(n->key));
	if (!field)
		return rule_err_unknown(
			rd, n, true, "field", names, 5 + rule_field_names(names + 5, FIELD_ID_MAX));
	return field_read(rd, n,
		&(struct field_reader){.field = field,
			.name = field_table[field].name,
			.kind = field_table[field].kind,
			.len_max = field_table[field].len_max,
			.all = all});
}

static int lines_read(struct rule_reader *rd, const struct ynode *n, uint32_t depth, struct cond **out)
{
	struct cond *all;
	int rc;

	if (n->kind != YNODE_MAP)
		return rule_err(rd, n, "expected a mapping of tests, as in {page: /login}");
	if (!n->count)
		return rule_err(rd, n, "no test: this would match every event");
	all = cond_new(rd, COND_ALL, n);
	if (!all)
		return rule_no_memory(rd);
	YNODE_EACH (it, n) {
		if (rd->conds > RULE_CONDS_MAX)
			return rule_err(rd, it,
				"more than %d tests in one rule; long lists of values are written "
				"{in: [...]}",
				RULE_CONDS_MAX);
		if (++rd->all->conds > RULE_CONDS_SUM_MAX)
			return rule_err(rd, it, "more than %u tests in all rules", RULE_CONDS_SUM_MAX);
		rc = line_read(rd, it, depth, all);
		if (rc)
			return rc;
	}
	*out = all->child->next ? all : all->child;
	return 0;
}

/* Takes over what a group holds, or the one condition. */
static void cond_join(struct cond *all, struct cond *c)
{
	cond_append(all, c->kind == COND_ALL ? c->child : c);
}

int conds_read(struct rule_reader *rd, const struct ynode *when, const struct ynode *step,
	const struct ynode *allow, struct cond **out)
{
	const struct ynode *at = when ? when : step ? step : allow;
	struct cond *all, *c;
	int rc = 0;

	rd->conds = 0;
	all = cond_new(rd, COND_ALL, at);
	if (!all)
		return rule_no_memory(rd);
	for (int i = 0; i < 2; i++) {
		const struct ynode *n = i ? step : when;

		if (!n)
			continue;
		rc = lines_read(rd, n, 0, &c);
		if (rc)
			return rc;
		cond_join(all, c);
	}
	if (allow && (allow->kind != YNODE_SEQ || !allow->count))
		return rule_err(rd, allow, "allow: expected a list, each item a mapping of tests");
	if (allow) {
		rc = not_read(rd, allow, 0, &c);
		if (rc)
			return rc;
		cond_append(all, c);
	}
	*out = all->child->next ? all : all->child;
	return 0;
}
