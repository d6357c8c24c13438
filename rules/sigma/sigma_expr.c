/* Expressions of the import: made once, shared, written out by sigma_write.c. */
#include <errno.h>
#include <string.h>

#include "sigma_priv.h"

struct sx *sx_new(struct sigma *sg, enum sx_kind kind)
{
	struct sx *x;

	if (sg->nodes_sum == SIGMA_EXPR_SUM_MAX) {
		sg->full = true;
		sigma_refuse(sg, SIGMA_WHY_condition, NULL, "more than %u tests and groups in all documents",
			SIGMA_EXPR_SUM_MAX);
		return NULL;
	}
	sg->nodes_sum++;
	if (++sg->nodes > SIGMA_EXPR_MAX) {
		sg->full = true;
		sigma_refuse(sg, SIGMA_WHY_condition, NULL, "more than %u tests and groups", SIGMA_EXPR_MAX);
		return NULL;
	}
	x = rule_pool_get(&sg->pool, 1, sizeof *x);
	if (x)
		x->kind = kind;
	else
		sigma_no_memory(sg);
	return x;
}

int sx_append(struct sigma *sg, struct sx *parent, const struct sx *child)
{
	struct sx *copy = child ? sx_new(sg, child->kind) : NULL;
	const struct sx **at = &parent->child;

	if (!copy)
		return -ENOMEM;
	*copy = *child;
	copy->next = NULL;
	if (parent->last) {
		parent->last->next = copy;
	} else {
		*at = copy;
	}
	parent->last = copy;
	return 0;
}

int sx_text_append(struct sigma *sg, struct sx *test, const char *text, size_t bytes)
{
	struct sx_text *t = rule_pool_get(&sg->pool, 1, sizeof *t);

	if (!t)
		return sigma_no_memory(sg);
	t->text = rule_pool_text(&sg->pool, text, bytes);
	t->bytes = bytes;
	if (!t->text)
		return sigma_no_memory(sg);
	if (test->text_last)
		test->text_last->next = t;
	else
		test->text = t;
	test->text_last = t;
	test->count++;
	return 0;
}

struct sx *sx_test(struct sigma *sg, const char *field, enum sx_op op, const char *text, size_t bytes)
{
	struct sx *x = sx_new(sg, SX_TEST);

	if (!x)
		return NULL;
	x->field = field;
	x->op = op;
	return sx_text_append(sg, x, text, bytes) ? NULL : x;
}

const struct sx *sx_simple(struct sigma *sg, struct sx *group)
{
	struct sx *flat;

	if (group->child && !group->child->next)
		return group->child;
	flat = sx_new(sg, group->kind);
	for (const struct sx *it = flat ? group->child : NULL; it; it = it->next) {
		if (it->kind != group->kind) {
			if (sx_append(sg, flat, it))
				return NULL;
			continue;
		}
		for (const struct sx *sub = it->child; sub; sub = sub->next)
			if (sx_append(sg, flat, sub))
				return NULL;
	}
	return flat;
}
