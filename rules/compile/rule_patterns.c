/* Text tests of all rules: expressions become patterns, each once; values of eq and in go to dictionaries.
 * Each (pattern, subject) and each eq or in test gets a hit bit, its lit. Set-up only. */
#include <stdlib.h>
#include <errno.h>

#include "regex_shape.h"
#include "rule_cache.h"
#include "ruleset_priv.h"

struct collector {
	struct ruleset *rs;
	const struct match *match;
	uint32_t patterns_max;
	uint64_t size_sum, repeat_sum, pairs_sum;
	struct err *err;
};

typedef int cond_visit(struct collector *cl, struct cond *c);

static int walk(struct collector *cl, struct cond *c, cond_visit *visit)
{
	int rc = visit(cl, c);

	for (struct cond *it = c->child; it && !rc; it = it->next)
		rc = walk(cl, it, visit);
	return rc;
}

static int walk_rules(struct collector *cl, cond_visit *visit)
{
	int rc = 0;

	for (uint32_t i = 0; i < cl->rs->match_count && !rc; i++) {
		cl->match = &cl->rs->match[i];
		rc = walk(cl, cl->match->when, visit);
	}
	return rc;
}

/* How large it is; a literal's widths are its length. */
static int pattern_look(struct collector *cl, struct pattern *p, const struct cond *c)
{
	struct regex_shape shape;

	if (c->kind == COND_CONTAINS) {
		p->min_width = p->max_width = p->literal = c->text->bytes;
		cl->size_sum += c->text->bytes;
		return 0;
	}
	shape = regex_shape_of(p->expr);
	p->literal = shape.literal;
	if (shape.verb)
		return ruleset_rule_err(cl->match->rule, c, cl->err, "regex: (*VERB)s are not accepted");
	if (shape.size > REGEX_SIZE_MAX)
		return ruleset_rule_err(cl->match->rule, c, cl->err,
			"regex: its repeats make about %llu positions; at most %u",
			(unsigned long long)shape.size, REGEX_SIZE_MAX);
	if (shape.pairs > REGEX_PAIRS_MAX)
		return ruleset_rule_err(cl->match->rule, c, cl->err,
			"regex: about %llu pairs of its positions may follow each other; at most %u: many "
			"alternatives "
			"under a repeat, or many optional parts in a row, are better several rules",
			(unsigned long long)shape.pairs, REGEX_PAIRS_MAX);
	cl->size_sum += shape.size;
	cl->pairs_sum += shape.pairs;
	if (shape.size > c->text->bytes)
		cl->repeat_sum += shape.size - c->text->bytes;
	p->edge = shape.edge;
	p->word = shape.word;
	return 0;
}

static int pattern_room(struct ruleset *rs)
{
	uint32_t room = rs->pattern_room ? rs->pattern_room * 2 : 64;
	struct pattern *p;

	if (rs->pattern_count < rs->pattern_room)
		return 0;
	p = realloc(rs->pattern, room * sizeof *p);
	if (!p)
		return -ENOMEM;
	rs->pattern = p;
	rs->pattern_room = room;
	return 0;
}

/* The key of a pattern: its subject, its flags, then its expression. */
static char *pattern_key(struct ruleset *rs, const struct cond *c, uint32_t *bytes)
{
	char *key = rule_pool_get(&rs->pool, 1, 4 * (size_t)c->text->bytes + 3);

	if (!key)
		return NULL;
	key[0] = (char)c->subject;
	key[1] = c->nocase ? 'i' : 's';
	if (c->kind == COND_CONTAINS)
		regex_quote(key + 2, c->text->text, c->text->bytes);
	else
		memcpy(key + 2, c->text->text, c->text->bytes);
	*bytes = (uint32_t)strlen(key);
	return key;
}

static int visit_pattern(struct collector *cl, struct cond *c)
{
	struct ruleset *rs = cl->rs;
	struct textmap_slot *slot;
	struct pattern *p;
	uint32_t bytes;
	char *key;
	int rc;

	if (c->kind != COND_CONTAINS && c->kind != COND_REGEX)
		return 0;
	key = pattern_key(rs, c, &bytes);
	slot = key ? textmap_add(&rs->pattern_map, key, bytes) : NULL;
	if (!slot || pattern_room(rs))
		return ruleset_no_memory(cl->err);
	if (slot->value == TEXTMAP_NONE) {
		if (rs->pattern_count == cl->patterns_max)
			return ruleset_rule_err(cl->match->rule, c, cl->err,
				"more than %u text patterns in all rules", cl->patterns_max);
		p = &rs->pattern[rs->pattern_count];
		*p = (struct pattern){.expr = key + 2,
			.subject = (uint8_t)c->subject,
			.rule = cl->match->rule,
			.cond = c,
			.flags = HS_FLAG_DOTALL | (c->nocase ? HS_FLAG_CASELESS : 0)};
		rc = pattern_look(cl, p, c);
		if (rc)
			return ruleset_problem(rs, rc, cl->err);
		if (cl->size_sum > REGEX_SIZE_SUM_MAX || cl->repeat_sum > REGEX_REPEAT_SUM_MAX ||
			cl->pairs_sum > REGEX_PAIRS_SUM_MAX)
			return ruleset_rule_err(cl->match->rule, c, cl->err,
				"the text patterns of all rules have more than %u positions, %u from "
				"repeats, or %u pairs of "
				"positions that follow each other",
				REGEX_SIZE_SUM_MAX, REGEX_REPEAT_SUM_MAX, REGEX_PAIRS_SUM_MAX);
		slot->value = rs->pattern_count++;
	}
	c->lit = slot->value;
	return 0;
}

/* ---- what Hyperscan says of the regexes ---- */
struct regexes {
	uint32_t count;
	struct pattern **pattern;
	const char **expr;
	unsigned *flags, *id;
	struct rule_width *width;
};

static bool regexes_of(struct regexes *rx, struct ruleset *rs)
{
	size_t room = rs->pattern_count + 1u;

	*rx = (struct regexes){.pattern = calloc(room, sizeof *rx->pattern),
		.expr = calloc(room, sizeof *rx->expr),
		.flags = calloc(room, sizeof *rx->flags),
		.id = calloc(room, sizeof *rx->id),
		.width = calloc(room, sizeof *rx->width)};
	if (!rx->pattern || !rx->expr || !rx->flags || !rx->id || !rx->width)
		return false;
	for (uint32_t i = 0; i < rs->pattern_count; i++) {
		struct pattern *p = &rs->pattern[i];

		if (p->cond->kind != COND_REGEX)
			continue;
		rx->pattern[rx->count] = p;
		rx->expr[rx->count] = p->expr;
		rx->flags[rx->count++] = p->flags;
	}
	return true;
}

static void regexes_free(struct regexes *rx)
{
	free(rx->pattern);
	free(rx->expr);
	free(rx->flags);
	free(rx->id);
	free(rx->width);
}

static int width_ask(struct ruleset *rs, struct pattern *p, struct rule_width *out, struct err *err)
{
	hs_compile_error_t *problem = NULL;
	hs_expr_info_t *info = NULL;
	int rc;

	if (hs_expression_info(p->expr, p->flags | HS_FLAG_ALLOWEMPTY, &info, &problem) != HS_SUCCESS) {
		*out = (struct rule_width){.confirm = 1};
		rc = ruleset_confirm(rs, p, problem ? problem->message : "refused by Hyperscan", err);
		hs_free_compile_error(problem);
		return rc;
	}
	*out = (struct rule_width){
		.min = info->min_width, .max = info->max_width, .at_eod = info->matches_at_eod != 0};
	free(info);
	return 0;
}

static int widths(struct ruleset *rs, struct err *err)
{
	struct rule_cache_key key;
	struct regexes rx;
	int rc = regexes_of(&rx, rs) ? 0 : ruleset_no_memory(err);

	if (!rc && rx.count) {
		key = rule_cache_key(rx.expr, rx.flags, rx.id, rx.count);
		if (!rule_cache_widths(&key, rx.width, rx.count)) {
			for (uint32_t i = 0; i < rx.count && !rc; i++)
				rc = ruleset_problem(
					rs, width_ask(rs, rx.pattern[i], &rx.width[i], err), err);
			rc = rc ? rc : ruleset_problems_end(rs, err);
			if (!rc)
				rule_cache_put_widths(&key, rx.width, rx.count);
		}
	}
	for (uint32_t i = 0; i < rx.count && !rc; i++) {
		struct pattern *p = rx.pattern[i];

		if (rx.width[i].confirm) {
			rc = p->confirm ? 0 : ruleset_confirm(rs, p, "refused by Hyperscan", err);
			continue;
		}
		p->min_width = rx.width[i].min;
		p->max_width = rx.width[i].max;
		/* Hyperscan's own view as a second opinion; to it a \b at the end is a test for the end as
		 * well. */
		p->edge = p->edge || !p->min_width || (rx.width[i].at_eod && !p->word);
		if (!p->min_width)
			p->flags |= HS_FLAG_ALLOWEMPTY;
	}
	regexes_free(&rx);
	return rc;
}

static int visit_subject(struct collector *cl, struct cond *c)
{
	struct ruleset *rs = cl->rs;

	if (c->kind != COND_CONTAINS && c->kind != COND_REGEX)
		return 0;
	cl->match->rule->info.confirmed += rs->pattern[c->lit].confirm != NULL;
	for (uint32_t t = 1; t < EVENT_TYPE_MAX; t++)
		if (cl->match->types & 1u << t)
			subject_set_add(
				&(rs->pattern[c->lit].edge ? rs->edge_mask : rs->gather_mask)[t], c->subject);
	return 0;
}

static int dict_add(struct collector *cl, struct cond *c, struct rule_text *value)
{
	struct ruleset *rs = cl->rs;
	struct dict *dict = &rs->dict[c->subject];
	struct textmap_slot *slot;
	char *key = (char *)value->text;

	if (c->nocase)
		for (uint32_t i = 0; i < value->bytes; i++)
			key[i] = ascii_fold(key[i]);
	slot = textmap_add(c->nocase ? &dict->folded : &dict->exact, key, value->bytes);
	if (!slot)
		return ruleset_no_memory(cl->err);
	if (slot->value != TEXTMAP_NONE && rs->dict_link[slot->value].lit == c->lit)
		return 0; /* the same value twice in one list */
	rs->dict_link[rs->dict_link_count] = (struct dict_link){c->lit, slot->value};
	slot->value = rs->dict_link_count++;
	return 0;
}

static int visit_count(struct collector *cl, struct cond *c)
{
	if (c->kind == COND_TEXTS)
		cl->rs->dict_link_count += c->text_count;
	return 0;
}

static int visit_lit(struct collector *cl, struct cond *c)
{
	int rc = 0;

	if (c->kind != COND_TEXTS)
		return 0;
	c->lit = cl->rs->lit_count++;
	for (uint32_t t = 1; t < EVENT_TYPE_MAX; t++)
		if (cl->match->types & 1u << t)
			subject_set_add(&cl->rs->dict_mask[t], c->subject);
	for (uint32_t i = 0; i < c->text_count && !rc; i++)
		rc = dict_add(cl, c, &c->text[i]);
	return rc;
}

int ruleset_patterns(struct ruleset *rs, uint32_t patterns_max, struct err *err)
{
	struct collector cl = {.rs = rs, .patterns_max = patterns_max, .err = err};
	int rc = walk_rules(&cl, visit_pattern);

	rc = rc ? rc : widths(rs, err);
	rc = rc ? rc : ruleset_problems_end(rs, err);
	rc = rc ? rc : walk_rules(&cl, visit_subject);
	if (rc)
		return rc;
	rs->lit_count = rs->pattern_count;
	walk_rules(&cl, visit_count);
	rs->dict_link = rule_pool_get(&rs->pool, rs->dict_link_count, sizeof *rs->dict_link);
	if (!rs->dict_link)
		return ruleset_no_memory(err);
	rs->dict_link_count = 0;
	return walk_rules(&cl, visit_lit);
}
