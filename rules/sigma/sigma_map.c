/* The mapping file: which events Sigma's log sources are, and where its fields stand in them. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "attr.h"
#include "nearest.h"
#include "sigma_priv.h"

static const char *const source_key[3] = {"category", "product", "service"};
const char *const sigma_op_name[SX_OP_COUNT] = {
	"eq", "prefix", "suffix", "contains", "regex", "cidr", "present", "lt", "le", "gt", "ge"};

static int map_err(struct sigma *sg, const struct ynode *at, const char *text, const char *what)
{
	return ynode_err(&sg->map.tree, at, sg->err, "%s%.100s", text, what);
}

static int only_read(struct sigma *sg, const struct ynode *n, uint32_t *only)
{
	const struct ynode *first = n->kind == YNODE_SEQ ? n->child : n;

	if (n->kind == YNODE_MAP || !first)
		return map_err(
			sg, n, "only: expected a test or a list of tests, as in [contains, suffix]", "");
	for (const struct ynode *it = first; it; it = n->kind == YNODE_SEQ ? it->next : NULL) {
		uint32_t op = 0;

		while (op < SX_OP_COUNT &&
			(it->kind != YNODE_SCALAR || strcmp(sigma_op_name[op], it->text) != 0))
			op++;
		if (op == SX_OP_COUNT)
			return map_err(sg, it,
				"only: expected eq, prefix, suffix, contains, regex, cidr, present, lt, le, ",
				"gt or ge");
		*only |= 1u << op;
	}
	return 0;
}

/* `Sigma's name: ours`, or `Sigma's name: {field: ours, only: [...]}`. */
static int target_read(struct sigma *sg, const struct ynode *n, struct sigma_target *t)
{
	const struct ynode *field = n->kind == YNODE_MAP ? ynode_get(n, "field") : n;
	const struct ynode *only = n->kind == YNODE_MAP ? ynode_get(n, "only") : NULL;

	if (n->kind == YNODE_MAP)
		YNODE_EACH (it, n)
			if (it != field && it != only)
				return map_err(
					sg, it, "a field's row has the keys field and only, not ", it->key);
	if (!field || field->kind != YNODE_SCALAR)
		return map_err(sg, n,
			"expected a field of the events, as in page or {field: page, only: contains}, for ",
			n->key);
	t->sigma = n->key;
	t->field = field->text;
	t->attr = !strncmp(field->text, ATTR_PREFIX, strlen(ATTR_PREFIX));
	t->id = field_by_name(field->text, field->text_bytes);
	if (!t->id && !t->attr && strcmp(field->text, "src_addr") != 0) {
		struct nearest near = nearest_to(field->text);

		for (uint32_t f = 1; f < FIELD_ID_MAX; f++)
			nearest_offer(&near, field_table[f].name);
		return ynode_err(&sg->map.tree, field, sg->err,
			"%.100s is no field of the events%s%s%s; other keys of theirs are attributes.%.100s",
			field->text, near.name ? "; did you mean " : "", near.name ? near.name : "",
			near.name ? "?" : "", field->text);
	}
	return only ? only_read(sg, only, &t->only) : 0;
}

static int targets_read(struct sigma *sg, const struct ynode *n, struct sigma_target **out)
{
	if (n->kind != YNODE_MAP)
		return map_err(sg, n, "fields: expected rows as in c-ip: ip", "");
	YNODE_EACH (it, n) {
		struct sigma_target *t = rule_pool_get(&sg->pool, 1, sizeof *t);
		int rc = t ? target_read(sg, it, t) : sigma_no_memory(sg);

		if (rc)
			return rc;
		t->next = *out;
		*out = t;
	}
	return 0;
}

static int keywords_read(struct sigma *sg, const struct ynode *n, const struct ynode **out)
{
	if (n->kind != YNODE_SEQ || !n->count)
		return map_err(sg, n, "keywords: expected a list of text fields, as in [page, referrer]", "");
	YNODE_EACH (it, n) {
		enum field_id id =
			it->kind == YNODE_SCALAR ? field_by_name(it->text, it->text_bytes) : FIELD_NONE;

		if (it->kind != YNODE_SCALAR || !(id ? field_table[id].kind == FIELD_KIND_TEXT
						     : !strncmp(it->text, ATTR_PREFIX, strlen(ATTR_PREFIX))))
			return map_err(sg, it, "keywords: expected text fields or attributes", "");
	}
	*out = n;
	return 0;
}

static int logsource_key(struct sigma *sg, const struct ynode *n, struct sigma_logsource *row)
{
	for (int i = 0; i < 3; i++)
		if (!strcmp(n->key, source_key[i])) {
			if (n->kind != YNODE_SCALAR)
				return map_err(sg, n, n->key, ": expected a name");
			row->key[i] = n->text;
			return 0;
		}
	if (!strcmp(n->key, "when")) {
		row->when = n;
		if (n->kind != YNODE_MAP || !n->count)
			return map_err(sg, n, "when: expected tests, as in {type: click}", "");
		return 0;
	}
	if (!strcmp(n->key, "fields"))
		return targets_read(sg, n, &row->field);
	if (!strcmp(n->key, "keywords"))
		return keywords_read(sg, n, &row->keywords);
	if (!strcmp(n->key, "others")) {
		row->others = n->kind == YNODE_SCALAR && !strcmp(n->text, "attributes");
		return row->others ? 0 : map_err(sg, n, "others: expected attributes", "");
	}
	return map_err(sg, n,
		"a log source has the keys category, product, service, when, fields, keywords, others, not ",
		n->key);
}

static int logsources_read(struct sigma *sg, const struct ynode *n)
{
	struct sigma_logsource **tail = &sg->map.logsource;

	if (n->kind != YNODE_SEQ || !n->count)
		return map_err(sg, n, "logsources: expected a list of mappings", "");
	YNODE_EACH (it, n) {
		struct sigma_logsource *row = rule_pool_get(&sg->pool, 1, sizeof *row);

		if (!row)
			return sigma_no_memory(sg);
		if (it->kind != YNODE_MAP)
			return map_err(sg, it,
				"expected a log source, as in {category: webserver, when: {type: click}}",
				"");
		YNODE_EACH (key, it) {
			int rc = logsource_key(sg, key, row);

			if (rc)
				return rc;
		}
		if (!row->when)
			return map_err(
				sg, it, "a log source needs `when`, the tests that pick its events", "");
		*tail = row;
		tail = &row->next;
	}
	return 0;
}

int sigma_map_read(struct sigma *sg, const struct sigma_source *source)
{
	struct sigma_map *map = &sg->map;
	int rc = ytree_parse(&map->tree, source->text, source->bytes, source->name, sg->err);

	if (rc)
		return rc;
	if (!map->tree.root || map->tree.root->kind != YNODE_MAP)
		return map_err(sg, map->tree.root, "expected a mapping with logsources and fields", "");
	YNODE_EACH (it, map->tree.root) {
		if (!strcmp(it->key, "fields"))
			rc = targets_read(sg, it, &map->field);
		else if (!strcmp(it->key, "keywords"))
			rc = keywords_read(sg, it, &map->keywords);
		else if (!strcmp(it->key, "logsources"))
			rc = logsources_read(sg, it);
		else
			rc = map_err(sg, it,
				"a mapping file has the keys logsources, fields and keywords, not ", it->key);
		if (rc)
			return rc;
	}
	return map->logsource ? 0 : map_err(sg, map->tree.root, "logsources is missing", "");
}

/* ---- look-ups ---- */

static const char *text_of(const struct ynode *map, const char *key)
{
	const struct ynode *n = ynode_get(map, key);

	return n && n->kind == YNODE_SCALAR && n->text_bytes ? n->text : NULL;
}

const struct sigma_logsource *sigma_map_logsource(struct sigma *sg, const struct ynode *logsource)
{
	const char *mine[3];

	if (logsource->kind != YNODE_MAP) {
		sigma_refuse(sg, SIGMA_WHY_logsource, logsource, "logsource: expected a mapping");
		return NULL;
	}
	for (int i = 0; i < 3; i++)
		mine[i] = text_of(logsource, source_key[i]);
	for (const struct sigma_logsource *row = sg->map.logsource; row; row = row->next) {
		bool fits = true;

		for (int i = 0; i < 3; i++)
			if (row->key[i] && (!mine[i] || strcasecmp(row->key[i], mine[i]) != 0))
				fits = false;
		if (fits)
			return row;
	}
	sigma_refuse(sg, SIGMA_WHY_logsource, logsource,
		"logsource: no row of %s is for category %.60s, product %.60s, service %.60s",
		sg->map.tree.name, mine[0] ? mine[0] : "-", mine[1] ? mine[1] : "-", mine[2] ? mine[2] : "-");
	return NULL;
}

static const struct sigma_target *target_find(const struct sigma_target *t, const char *name)
{
	while (t && strcmp(t->sigma, name) != 0)
		t = t->next;
	return t;
}

const struct sigma_target *sigma_map_field(
	struct sigma *sg, const struct sigma_logsource *row, const char *name, const struct ynode *at)
{
	const struct sigma_target *t = target_find(row->field, name);
	struct sigma_target *made;
	char *field;

	if (!t)
		t = target_find(sg->map.field, name);
	if (t)
		return t;
	if (!row->others) {
		sigma_refuse_key(sg, SIGMA_WHY_field, at, "%s has no row for the field %.100s",
			sg->map.tree.name, name);
		return NULL;
	}
	made = rule_pool_get(&sg->pool, 1, sizeof *made);
	field = rule_pool_get(&sg->pool, 1, strlen(name) + sizeof ATTR_PREFIX);
	if (!made || !field) {
		sigma_no_memory(sg);
		return NULL;
	}
	stpcpy(stpcpy(field, ATTR_PREFIX), name);
	*made = (struct sigma_target){.sigma = name, .field = field, .attr = true};
	return made;
}
