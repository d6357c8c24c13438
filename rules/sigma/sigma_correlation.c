/* Correlations: event_count, value_count, value_sum, temporal_ordered, and temporal of two rules. Others have
 * no equal in the rule language and are refused by name. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sigma_priv.h"

#define RULES_MAX 64u /* that one correlation names */

/* One correlation while it is written. */
struct correlation {
	struct sigma *sg;
	const struct sigma_doc *doc;
	const struct ynode *n;
	const char *type;
	struct sigma_doc *rule[RULES_MAX];
	uint32_t rule_count;
	const struct ynode *timespan, *condition;
};

static int refuse(struct correlation *co, const struct ynode *at, const char *text)
{
	return sigma_refuse(co->sg, SIGMA_WHY_correlation, at, "%s", text);
}

static int rule_find(struct correlation *co, const struct ynode *n)
{
	struct sigma_doc *found = n->kind == YNODE_SCALAR ? sigma_doc_find(co->sg, n->text) : NULL;

	if (!found)
		return sigma_refuse(co->sg, SIGMA_WHY_correlation, n,
			"rules: no rule that is imported here has the id or name %.80s",
			n->kind == YNODE_SCALAR ? n->text : "");
	if (found->correlation)
		return refuse(co, n,
			"rules: a correlation of correlations has no equal: what a rule finds is no event");
	if (co->rule_count == RULES_MAX)
		return refuse(co, n, "rules: more than 64");
	for (uint32_t i = 0; i < co->rule_count; i++)
		if (co->rule[i] == found)
			return refuse(co, n, "rules: the same rule twice");
	co->rule[co->rule_count++] = found;
	return 0;
}

static int rules_find(struct correlation *co)
{
	const struct ynode *rules = ynode_get(co->n, "rules");
	int rc = 0;

	if (!rules || rules->kind == YNODE_MAP || (rules->kind == YNODE_SEQ && !rules->count))
		return refuse(co, rules ? rules : co->n, "rules: expected the rules that are correlated");
	if (rules->kind == YNODE_SCALAR)
		return rule_find(co, rules);
	YNODE_EACH (it, rules)
		if (!rc)
			rc = rule_find(co, it);
	return rc;
}

int sigma_correlation_link(struct sigma *sg, struct sigma_doc *doc)
{
	struct correlation co = {.sg = sg, .doc = doc, .n = doc->correlation};
	const struct ynode *generate;
	int rc;

	if (co.n->kind != YNODE_MAP)
		return refuse(&co, co.n, "correlation: expected a mapping");
	generate = ynode_get(co.n, "generate");
	if (!generate)
		generate = ynode_get(doc->tree.root, "generate");
	rc = rules_find(&co);
	if (generate && generate->kind == YNODE_SCALAR && !strcmp(generate->text, "true"))
		return rc;
	for (uint32_t i = 0; i < co.rule_count; i++)
		if (!co.rule[i]->user)
			co.rule[i]->user = doc;
	return rc;
}

int sigma_correlation_used(struct sigma *sg, const struct sigma_doc *doc)
{
	struct correlation co = {.sg = sg, .doc = doc, .n = doc->correlation};
	int rc = rules_find(&co);

	for (uint32_t i = 0; i < co.rule_count; i++)
		co.rule[i]->used = true;
	return rc;
}

/* ---- keys ---- */

/* What an alias means for a rule: aliases: {alias: {rule: field}}. */
static const char *alias_of(const struct correlation *co, const char *name, const struct sigma_doc *rule)
{
	const struct ynode *alias = ynode_get(ynode_get(co->n, "aliases"), name), *field = NULL;

	if (alias && rule->name)
		field = ynode_get(alias, rule->name);
	if (alias && rule->id && !field)
		field = ynode_get(alias, rule->id);
	if (!alias)
		return name;
	return field && field->kind == YNODE_SCALAR ? field->text : NULL;
}

/* Our field of a key or a counted field: the same one for each rule. */
static int key_find(struct correlation *co, const struct ynode *n, const struct sigma_target **out)
{
	*out = NULL;
	if (n->kind != YNODE_SCALAR)
		return refuse(co, n, "expected the name of a field");
	for (uint32_t i = 0; i < co->rule_count; i++) {
		const char *name = alias_of(co, n->text, co->rule[i]);
		const struct sigma_target *t =
			name ? sigma_map_field(co->sg, co->rule[i]->source, name, n) : NULL;

		if (!name)
			return refuse(co, n, "aliases: the alias has no field for one of the rules");
		if (!t)
			return -EINVAL;
		if (!t->id)
			return sigma_refuse(co->sg, SIGMA_WHY_correlation, n,
				"%.60s is mapped to %.60s: state needs a field of the schema", name,
				t->field);
		if (*out && (*out)->id != t->id)
			return sigma_refuse(co->sg, SIGMA_WHY_correlation, n,
				"%.60s is %.60s for one rule and %.60s for another: one key is one field "
				"here",
				n->text, (*out)->field, t->field);
		*out = t;
	}
	return 0;
}

static int by_write(struct correlation *co, FILE *f)
{
	const struct ynode *by = ynode_get(co->n, "group-by");
	const struct sigma_target *t;
	const char *gap = "    by: [";
	int rc = 0;

	if (!by || by->kind == YNODE_MAP || (by->kind == YNODE_SEQ && !by->count))
		return refuse(
			co, by ? by : co->n, "group-by is missing: state is kept by the values of a field");
	for (const struct ynode *it = by->kind == YNODE_SEQ ? by->child : by; it && !rc;
		it = by->kind == YNODE_SEQ ? it->next : NULL) {
		rc = key_find(co, it, &t);
		if (rc)
			break;
		fprintf(f, "%s%s", gap, t->field);
		gap = ", ";
	}
	fputs("]\n", f);
	return rc;
}

/* ---- conditions ---- */

static bool number_of(const struct ynode *n, double *out)
{
	char *end;

	if (!n || n->kind != YNODE_SCALAR || !n->text_bytes)
		return false;
	*out = strtod(n->text, &end);
	return !*end && isfinite(*out);
}

/* gte or gt alone; *above: gt. */
static int threshold_read(struct correlation *co, double *out, bool *above, const struct ynode **field)
{
	const struct ynode *found = NULL;

	*field = NULL;
	if (!co->condition || co->condition->kind != YNODE_MAP)
		return refuse(co, co->condition ? co->condition : co->n,
			"condition: expected a mapping, as in {gte: 10}");
	YNODE_EACH (it, co->condition) {
		if (!strcmp(it->key, "field")) {
			*field = it;
			continue;
		}
		if (strcmp(it->key, "gte") != 0 && strcmp(it->key, "gt") != 0)
			return sigma_refuse_key(co->sg, SIGMA_WHY_correlation, it,
				"condition: %.40s: a rule alerts as soon as enough has come; that there is "
				"no more, or less, is "
				"known only afterwards: gte and gt are imported",
				it->key);
		if (found)
			return sigma_refuse_key(
				co->sg, SIGMA_WHY_correlation, it, "condition: one of gte and gt");
		found = it;
	}
	if (!found || !number_of(found, out))
		return refuse(
			co, found ? found : co->condition, "condition: gte or gt with a number is missing");
	*above = !strcmp(found->key, "gt");
	return 0;
}

static int timespan_read(struct correlation *co)
{
	const struct ynode *n = co->timespan;
	size_t digits = n && n->kind == YNODE_SCALAR ? strspn(n->text, "0123456789") : 0;

	if (!digits || strlen(n->text) != digits + 1 || !strchr("smhd", n->text[digits]))
		return refuse(co, n ? n : co->n, "timespan: expected a number and s, m, h or d, as in 5m");
	return 0;
}

static int whole_threshold(struct correlation *co, double *v, const struct ynode **field)
{
	bool above;
	int rc = threshold_read(co, v, &above, field);

	if (rc)
		return rc;
	*v = above ? floor(*v) + 1 : ceil(*v);
	return *v >= 1 && *v <= 1e9 ? 0 : refuse(co, co->condition, "condition: expected a count from 1 on");
}

/* ---- kinds ---- */

/* One rule's events, or those of one of them. */
static int when_write(struct correlation *co, FILE *f)
{
	struct sx *any = sx_new(co->sg, SX_ANY);
	const struct sx *x;

	if (!any)
		return -ENOMEM;
	for (uint32_t i = 0; i < co->rule_count; i++)
		if (sx_append(co->sg, any, co->rule[i]->when))
			return -ENOMEM;
	x = sx_simple(co->sg, any);
	if (!x)
		return -ENOMEM;
	fputs("    when:\n", f);
	sx_write(co->sg, f, x, 6);
	return 0;
}

static int count_write(struct correlation *co, FILE *f)
{
	const struct ynode *field;
	double v;
	int rc = whole_threshold(co, &v, &field);

	if (!rc && field)
		rc = sigma_refuse_key(
			co->sg, SIGMA_WHY_correlation, field, "condition: event_count has no field");
	fprintf(f, "    count: {at_least: %.0f, within: %s}\n", rc ? 1.0 : v, co->timespan->text);
	return rc;
}

static int distinct_write(struct correlation *co, FILE *f)
{
	const struct sigma_target *t;
	const struct ynode *field;
	double v;
	int rc = whole_threshold(co, &v, &field);

	if (!rc && !field)
		rc = refuse(co, co->condition, "condition: field is missing");
	if (!rc && field->kind == YNODE_SEQ && field->count == 1)
		field = field->child;
	else if (!rc && field->kind == YNODE_SEQ)
		rc = refuse(co, field,
			"condition: field: the values of one field are counted, not of several together");
	rc = rc ? rc : key_find(co, field, &t);
	if (!rc)
		fprintf(f, "    distinct: {field: %s, at_least: %.0f, within: %s}\n", t->field, v,
			co->timespan->text);
	return rc;
}

/* Above v is the next number from v on: of decimals the next millionth. */
static int sum_write(struct correlation *co, FILE *f)
{
	const struct sigma_target *t;
	const struct ynode *field;
	bool above;
	double v;
	int rc = threshold_read(co, &v, &above, &field);

	if (!rc && !field)
		rc = refuse(co, co->condition, "condition: field is missing");
	rc = rc ? rc : key_find(co, field, &t);
	if (rc)
		return rc;
	if (above && field_table[t->id].kind == FIELD_KIND_DECIMAL)
		v += 0.000001;
	else if (above)
		v = nextafter(v, INFINITY);
	fprintf(f, "    sum: {field: %s, at_least: %.17g, within: %s}\n", t->field, v, co->timespan->text);
	return 0;
}

/* Each rule is a step, in their order; order 1: the other way round. */
static int sequence_write(struct correlation *co, FILE *f, uint32_t order)
{
	double all;

	if (co->condition && (co->condition->kind != YNODE_MAP || co->condition->count != 1 ||
				     strcmp(co->condition->child->key, "gte") != 0 ||
				     !number_of(co->condition->child, &all) || all != co->rule_count))
		return refuse(co, co->condition,
			"condition: that some of the rules match is no sequence: {gte: as many as there are "
			"rules}, or "
			"none, is imported");
	fprintf(f, "    sequence:\n      within: %s\n      steps:\n", co->timespan->text);
	for (uint32_t i = 0; i < co->rule_count; i++) {
		const struct sigma_doc *rule = co->rule[order ? co->rule_count - 1 - i : i];

		fputs("        - when:\n", f);
		sx_write(co->sg, f, rule->when, 12);
	}
	return 0;
}

static int temporal_write(struct correlation *co, FILE *f, uint32_t order, bool *more)
{
	bool ordered = !strcmp(co->type, "temporal_ordered");

	if (co->rule_count < 2)
		return refuse(co, co->n, "rules: two are needed that come one after the other");
	if (!ordered && co->rule_count > 2)
		return refuse(co, ynode_get(co->n, "type"),
			"temporal: more than two rules in any order have no equal here; temporal_ordered "
			"has");
	*more = !ordered && !order;
	return sequence_write(co, f, order);
}

static int kind_write(struct correlation *co, FILE *f, uint32_t order, bool *more)
{
	int rc;

	if (!strncmp(co->type, "temporal", 8))
		return temporal_write(co, f, order, more);
	rc = when_write(co, f);
	if (rc)
		return rc;
	if (!strcmp(co->type, "event_count"))
		return count_write(co, f);
	return !strcmp(co->type, "value_count") ? distinct_write(co, f) : sum_write(co, f);
}

static int type_read(struct correlation *co)
{
	static const char *const known[] = {
		"event_count", "value_count", "value_sum", "temporal_ordered", "temporal"};
	const struct ynode *type = ynode_get(co->n, "type");

	for (size_t i = 0; type && type->kind == YNODE_SCALAR && i < sizeof known / sizeof *known; i++)
		if (!strcmp(type->text, known[i])) {
			co->type = known[i];
			return 0;
		}
	return sigma_refuse(co->sg, SIGMA_WHY_correlation, type ? type : co->n,
		"type: %.40s has no equal: event_count, value_count, value_sum, temporal_ordered and "
		"temporal are imported",
		type && type->kind == YNODE_SCALAR ? type->text : "");
}

int sigma_correlation_write(
	struct sigma *sg, FILE *f, const struct sigma_doc *doc, uint32_t order, bool *more)
{
	struct correlation co = {.sg = sg, .doc = doc, .n = doc->correlation};
	int rc = type_read(&co);

	*more = false;
	rc = rc ? rc : rules_find(&co);
	co.timespan = ynode_get(co.n, "timespan");
	co.condition = ynode_get(co.n, "condition");
	rc = rc ? rc : timespan_read(&co);
	for (uint32_t i = 0; i < co.rule_count && !rc; i++) {
		rc = sigma_doc_convert(sg, co.rule[i]);
		sg->now = doc;
		if (rc && sg->err)
			err_prefix(
				sg->err, "%s:%u: correlation %.100s", doc->tree.name, doc->line, doc->title);
	}
	rc = rc ? rc : kind_write(&co, f, order, more);
	rc = rc ? rc : by_write(&co, f);
	if (!rc && strcmp(co.type, "temporal_ordered") != 0)
		fprintf(f, "    suppress: %s\n", co.timespan->text);
	return rc;
}
