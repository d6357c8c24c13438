/* A rule's `detection`: its selections, and the condition that joins them. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "nearest.h"
#include "sigma_priv.h"

#define DEPTH_MAX 32u /* of brackets and `not` */
#define WORD_BYTES_MAX 128u

struct selection {
	const char *name;
	const struct ynode *n;
	const struct sx *x; /* once it has been used */
};

struct reader {
	struct sigma *sg;
	const struct sigma_logsource *row;
	struct selection *selection;
	uint32_t selection_count;
	/* The condition in work. */
	const struct ynode *n;
	const char *p;
	char word[WORD_BYTES_MAX]; /* the token in hand; empty: the end */
	uint32_t word_at;
	uint32_t depth;
};

/* ---- selections ---- */

static int lines_read(struct reader *rd, const struct ynode *n, const struct sx **out)
{
	struct sx *all = sx_new(rd->sg, SX_ALL);

	if (!all)
		return -ENOMEM;
	if (!n->count)
		return sigma_refuse(rd->sg, SIGMA_WHY_condition, n, "a selection without tests");
	YNODE_EACH (it, n) {
		const struct sx *x = NULL;
		int rc = sigma_value_read(rd->sg, rd->row, it, &x);

		rc = rc ? rc : sx_append(rd->sg, all, x);
		if (rc)
			return rc;
	}
	*out = sx_simple(rd->sg, all);
	return *out ? 0 : -ENOMEM;
}

static int items_read(struct reader *rd, const struct ynode *n, const struct sx **out)
{
	struct sx *any = sx_new(rd->sg, SX_ANY);

	if (!any)
		return -ENOMEM;
	if (!n->count)
		return sigma_refuse(rd->sg, SIGMA_WHY_condition, n, "a selection without tests");
	YNODE_EACH (it, n) {
		const struct sx *x = NULL;
		int rc;

		if (it->kind == YNODE_SEQ)
			return sigma_refuse(rd->sg, SIGMA_WHY_condition, it, "a list in a list");
		rc = it->kind == YNODE_MAP ? lines_read(rd, it, &x)
					   : sigma_keywords_read(rd->sg, rd->row, it, false, &x);
		rc = rc ? rc : sx_append(rd->sg, any, x);
		if (rc)
			return rc;
	}
	*out = sx_simple(rd->sg, any);
	return *out ? 0 : -ENOMEM;
}

static int selection_use(struct reader *rd, struct selection *s)
{
	if (s->x)
		return 0;
	if (s->n->kind == YNODE_MAP)
		return lines_read(rd, s->n, &s->x);
	if (s->n->kind == YNODE_SEQ)
		return items_read(rd, s->n, &s->x);
	return sigma_keywords_read(rd->sg, rd->row, s->n, false, &s->x);
}

/* ---- the condition ---- */

static int condition_err(struct reader *rd, const char *text, const char *what)
{
	return sigma_refuse_at(rd->sg, SIGMA_WHY_condition, rd->n->line,
		rd->n->column + rd->n->quoted + rd->word_at, "condition: %s%.80s", text, what);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_sign(char c)
{
	return c == '(' || c == ')' || c == '|';
}

static const char *space_end(const char *p)
{
	while (is_space(*p))
		p++;
	return p;
}

/* The next token: a bracket, a bar, or a word. */
static int next(struct reader *rd)
{
	size_t n = 0;

	rd->p = space_end(rd->p);
	rd->word_at = (uint32_t)(rd->p - rd->n->text);
	while (n < WORD_BYTES_MAX && rd->p[n] && !is_space(rd->p[n]) && !is_sign(rd->p[n]))
		n++;
	n = is_sign(*rd->p) ? 1 : n;
	if (n >= WORD_BYTES_MAX)
		return condition_err(rd, "a name of more than 127 bytes", "");
	memcpy(rd->word, rd->p, n);
	rd->word[n] = 0;
	rd->p += n;
	if (*rd->word == '|')
		return condition_err(rd,
			"aggregations behind | are of Sigma 1: what counts events is a correlation "
			"(event_count, value_count)",
			"");
	return 0;
}

static bool is(const struct reader *rd, const char *word)
{
	return !strcasecmp(rd->word, word);
}

static struct selection *selection_find(struct reader *rd, const char *name)
{
	for (uint32_t i = 0; i < rd->selection_count; i++)
		if (!strcmp(rd->selection[i].name, name))
			return &rd->selection[i];
	return NULL;
}

static int name_read(struct reader *rd, const struct sx **out)
{
	struct selection *s = selection_find(rd, rd->word);
	struct nearest near = nearest_to(rd->word);
	char text[2 * WORD_BYTES_MAX + 40];
	int rc;

	if (!s) {
		for (uint32_t i = 0; i < rd->selection_count; i++)
			nearest_offer(&near, rd->selection[i].name);
		snprintf(text, sizeof text, "there is no selection %s%s%.80s%s", rd->word,
			near.name ? "; did you mean " : "", near.name ? near.name : "", near.name ? "?" : "");
		return condition_err(rd, text, "");
	}
	rc = selection_use(rd, s);
	*out = s->x;
	return rc ? rc : next(rd);
}

/* Behind `1`, `any` or `all`: `of them`, `of PATTERN`. */
static int of_read(struct reader *rd, bool all, const struct sx **out)
{
	struct sx *group = sx_new(rd->sg, all ? SX_ALL : SX_ANY);
	bool them;
	int rc = group ? next(rd) : -ENOMEM; /* of */

	rc = rc ? rc : next(rd);
	if (rc)
		return rc;
	them = is(rd, "them");
	for (uint32_t i = 0; i < rd->selection_count && !rc; i++) {
		struct selection *s = &rd->selection[i];

		if (them ? *s->name == '_' : fnmatch(rd->word, s->name, FNM_NOESCAPE) != 0)
			continue;
		rc = selection_use(rd, s);
		rc = rc ? rc : sx_append(rd->sg, group, s->x);
	}
	if (!rc && !group->child)
		return condition_err(rd, "no selection is called ", rd->word);
	*out = rc ? NULL : sx_simple(rd->sg, group);
	if (!rc && !*out)
		rc = -ENOMEM;
	return rc ? rc : next(rd);
}

/* Whether `of` comes behind the word in hand. */
static bool of_follows(const struct reader *rd)
{
	const char *p = space_end(rd->p);

	return !strncasecmp(p, "of", 2) && is_space(p[2]);
}

static int or_read(struct reader *rd, const struct sx **out);

static int not_read(struct reader *rd, const struct sx **out)
{
	const struct sx *x = NULL;
	struct sx * not ;
	int rc;

	if (++rd->depth > DEPTH_MAX)
		return condition_err(rd, "nested too deeply", "");
	if (is(rd, "not")) {
		rc = next(rd);
		rc = rc ? rc : not_read(rd, &x);
		if (!rc && x->kind == SX_NOT) {
			*out = x->child;
		} else if (!rc) {
			not = sx_new(rd->sg, SX_NOT);
			rc = not ? sx_append(rd->sg, not, x) : -ENOMEM;
			*out = not ;
		}
	} else if (is(rd, "(")) {
		rc = next(rd);
		rc = rc ? rc : or_read(rd, out);
		if (!rc && !is(rd, ")"))
			rc = condition_err(rd, "a bracket is not closed", "");
		rc = rc ? rc : next(rd);
	} else if (!*rd->word || is(rd, ")") || is(rd, "and") || is(rd, "or")) {
		rc = condition_err(rd, "expected a selection, not ", *rd->word ? rd->word : "the end");
	} else if (of_follows(rd)) {
		if (!is(rd, "1") && !is(rd, "any") && !is(rd, "all"))
			return condition_err(rd, "1 of and all of are known, not this many: ", rd->word);
		rc = of_read(rd, is(rd, "all"), out);
	} else {
		rc = name_read(rd, out);
	}
	rd->depth--;
	return rc;
}

/* A row of operands with the same word between. */
static int row_read(struct reader *rd, bool all, const struct sx **out)
{
	struct sx *group = sx_new(rd->sg, all ? SX_ALL : SX_ANY);
	int rc = group ? 0 : -ENOMEM;

	while (!rc) {
		const struct sx *x = NULL;

		rc = all ? not_read(rd, &x) : row_read(rd, true, &x);
		rc = rc ? rc : sx_append(rd->sg, group, x);
		if (rc || !is(rd, all ? "and" : "or"))
			break;
		rc = next(rd);
	}
	*out = rc ? NULL : sx_simple(rd->sg, group);
	return rc ? rc : *out ? 0 : -ENOMEM;
}

static int or_read(struct reader *rd, const struct sx **out)
{
	return row_read(rd, false, out);
}

static int condition_read(struct reader *rd, const struct ynode *n, const struct sx **out)
{
	int rc;

	if (n->kind != YNODE_SCALAR)
		return sigma_refuse(rd->sg, SIGMA_WHY_condition, n, "condition: expected a text");
	rd->n = n;
	rd->p = n->text;
	rd->depth = 0;
	rc = next(rd);
	rc = rc ? rc : or_read(rd, out);
	if (!rc && *rd->word)
		rc = condition_err(rd, "expected and, or, or the end, not ", rd->word);
	return rc;
}

/* A list of conditions: one has to hold. */
static int conditions_read(struct reader *rd, const struct ynode *n, const struct sx **out)
{
	struct sx *any;

	if (n->kind != YNODE_SEQ)
		return condition_read(rd, n, out);
	if (!n->count)
		return sigma_refuse(rd->sg, SIGMA_WHY_condition, n, "condition: an empty list");
	any = sx_new(rd->sg, SX_ANY);
	if (!any)
		return -ENOMEM;
	YNODE_EACH (it, n) {
		const struct sx *x = NULL;
		int rc = condition_read(rd, it, &x);

		rc = rc ? rc : sx_append(rd->sg, any, x);
		if (rc)
			return rc;
	}
	*out = sx_simple(rd->sg, any);
	return *out ? 0 : -ENOMEM;
}

int sigma_detection_read(struct sigma *sg, const struct sigma_logsource *row, const struct ynode *detection,
	const struct sx **out)
{
	const struct ynode *condition = ynode_get(detection, "condition");
	struct reader rd = {.sg = sg, .row = row};

	if (detection->kind != YNODE_MAP)
		return sigma_refuse(sg, SIGMA_WHY_condition, detection, "detection: expected a mapping");
	if (ynode_get(detection, "timeframe"))
		return sigma_refuse_key(sg, SIGMA_WHY_condition, ynode_get(detection, "timeframe"),
			"timeframe is of Sigma 1: what counts events is a correlation");
	if (!condition)
		return sigma_refuse(sg, SIGMA_WHY_condition, detection, "detection: condition is missing");
	rd.selection = rule_pool_get(&sg->pool, detection->count, sizeof *rd.selection);
	if (!rd.selection)
		return sigma_no_memory(sg);
	YNODE_EACH (it, detection)
		if (it != condition)
			rd.selection[rd.selection_count++] = (struct selection){it->key, it, NULL};
	return conditions_read(&rd, condition, out);
}
