/* One line of a selection, `field|modifier...: value`, and keywords. Modifiers are applied in their order, as
 * the specification has it; what is left is a test of the field that the mapping names. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ip_text.h"
#include "nearest.h"
#include "sigma_priv.h"

#define STEPS_MAX 8u
#define FIELD_NAME_BYTES_MAX 256u

enum modifier {
	MOD_ALL,
	MOD_NEQ,
	MOD_CASED,
	MOD_CONTAINS,
	MOD_STARTSWITH,
	MOD_ENDSWITH,
	MOD_WINDASH,
	MOD_BASE64,
	MOD_BASE64OFFSET,
	MOD_UTF16LE,
	MOD_WIDE,
	MOD_UTF16BE,
	MOD_UTF16,
	MOD_RE,
	MOD_I,
	MOD_M,
	MOD_S,
	MOD_CIDR,
	MOD_EXISTS,
	MOD_LT,
	MOD_LTE,
	MOD_GT,
	MOD_GTE,
	MOD_COUNT
};
static const char *const modifier_name[MOD_COUNT] = {"all", "neq", "cased", "contains", "startswith",
	"endswith", "windash", "base64", "base64offset", "utf16le", "wide", "utf16be", "utf16", "re", "i",
	"m", "s", "cidr", "exists", "lt", "lte", "gt", "gte"};
/* What one event cannot tell, or what is no test of one value. */
static const char *const modifier_refused[][2] = {
	{"fieldref", "a rule compares a field with values, not with another field of the event"},
	{"expand", "placeholders are not replaced: write the values into the rule"},
	{"minute", "no test looks at parts of a time"}, {"hour", "no test looks at parts of a time"},
	{"day", "no test looks at parts of a time"}, {"week", "no test looks at parts of a time"},
	{"month", "no test looks at parts of a time"}, {"year", "no test looks at parts of a time"}};
#define REFUSED_COUNT (sizeof modifier_refused / sizeof *modifier_refused)

struct line {
	struct sigma *sg;
	const struct ynode *n;
	const struct sigma_target *target; /* NULL: keywords */
	uint32_t set;			   /* 1 << enum modifier */
	uint8_t step[STEPS_MAX];	   /* those that change the text, in their order */
	uint32_t step_count;
};

static bool has(const struct line *ln, enum modifier m)
{
	return ln->set >> m & 1;
}

static int modifier_unknown(struct line *ln, const char *word)
{
	struct nearest near = nearest_to(word);

	for (size_t i = 0; i < REFUSED_COUNT; i++)
		if (!strcmp(word, modifier_refused[i][0]))
			return sigma_refuse_key(
				ln->sg, SIGMA_WHY_modifier, ln->n, "|%s: %s", word, modifier_refused[i][1]);
	for (int m = 0; m < MOD_COUNT; m++)
		nearest_offer(&near, modifier_name[m]);
	return sigma_refuse_key(ln->sg, SIGMA_WHY_modifier, ln->n, "|%.60s: no modifier of Sigma 2%s%s%s",
		word, near.name ? "; did you mean |" : "", near.name ? near.name : "", near.name ? "?" : "");
}

/* One value is of one type. */
static int modifiers_check(struct line *ln)
{
	static const uint32_t types[] = {1u << MOD_RE | 1u << MOD_I | 1u << MOD_M | 1u << MOD_S,
		1u << MOD_CIDR, 1u << MOD_EXISTS,
		1u << MOD_LT | 1u << MOD_LTE | 1u << MOD_GT | 1u << MOD_GTE};
	uint32_t anywhere = 1u << MOD_ALL | 1u << MOD_NEQ, regex = 1u << MOD_CONTAINS;

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		uint32_t others = ln->set & ~types[i] & ~anywhere & ~(i ? 0 : regex);

		if (ln->set & types[i] && others)
			return sigma_refuse_key(ln->sg, SIGMA_WHY_modifier, ln->n,
				"|%s and |%s do not go together",
				modifier_name[__builtin_ctz(ln->set & types[i])],
				modifier_name[__builtin_ctz(others)]);
	}
	if (ln->set & (1u << MOD_I | 1u << MOD_M | 1u << MOD_S) && !has(ln, MOD_RE))
		return sigma_refuse_key(ln->sg, SIGMA_WHY_modifier, ln->n, "|i, |m and |s stand behind |re");
	if (__builtin_popcount(ln->set & types[3]) > 1)
		return sigma_refuse_key(
			ln->sg, SIGMA_WHY_modifier, ln->n, "one of |lt, |lte, |gt, |gte for one value");
	return 0;
}

/* Splits the key; the field's name is left in name. */
static int key_read(struct line *ln, char *name)
{
	const char *p = ln->n->key;
	size_t n = strcspn(p, "|");
	char word[20];

	if (n >= FIELD_NAME_BYTES_MAX)
		return sigma_refuse_key(ln->sg, SIGMA_WHY_field, ln->n,
			"a field's name of more than %u bytes", FIELD_NAME_BYTES_MAX - 1);
	memcpy(name, p, n);
	name[n] = 0;
	for (p += n; *p; p += n) {
		enum modifier m = 0;

		n = strcspn(++p, "|");
		snprintf(word, sizeof word, "%.*s", n < 19 ? (int)n : 19, p);
		while (m < MOD_COUNT && strcmp(word, modifier_name[m]) != 0)
			m++;
		if (m == MOD_COUNT)
			return modifier_unknown(ln, word);
		ln->set |= 1u << m;
		if (m < MOD_CONTAINS || m > MOD_UTF16)
			continue;
		if (ln->step_count == STEPS_MAX)
			return sigma_refuse_key(
				ln->sg, SIGMA_WHY_modifier, ln->n, "more than %u modifiers", STEPS_MAX);
		ln->step[ln->step_count++] = (uint8_t)m;
	}
	return modifiers_check(ln);
}

/* ---- values ---- */

static bool is_null(const struct ynode *n)
{
	return !n->quoted && (!n->text_bytes || !strcmp(n->text, "~") || !strcasecmp(n->text, "null"));
}

static bool is_number(const struct ynode *n)
{
	char *end;

	if (!n->text_bytes || strspn(n->text, "0123456789+-.eE") != n->text_bytes)
		return false;
	return isfinite(strtod(n->text, &end)) && !*end;
}

static int only_check(struct line *ln, const struct ynode *at, enum sx_op op)
{
	const struct sigma_target *t = ln->target;

	if (!t || !t->only || t->only >> op & 1)
		return 0;
	return sigma_refuse(ln->sg, SIGMA_WHY_field, at,
		"%.60s is mapped to %.60s, where the mapping file does not let it be asked by %s", t->sigma,
		t->field, sigma_op_name[op]);
}

/* Hangs a test below the line's; values of the same field that have to be equal share one. */
static int test_take(struct line *ln, const struct ynode *at, struct sx *group, struct sx *test)
{
	struct sx *last;
	int rc = test ? only_check(ln, at, test->asks) : -ENOMEM;

	if (rc)
		return rc;
	last = group->last;
	if (last && group->kind == SX_ANY && last->kind == SX_TEST &&
		(test->op == SX_EQ || test->op == SX_CIDR) && last->op == test->op &&
		last->nocase == test->nocase && last->plain == test->plain &&
		!strcmp(last->field, test->field))
		return sx_text_append(ln->sg, last, test->text->text, test->text->bytes);
	return sx_append(ln->sg, group, test);
}

static int plain_test(
	struct line *ln, const struct ynode *at, struct sx *group, enum sx_op op, const char *text)
{
	struct sx *test = sx_test(ln->sg, ln->target->field, op, text, strlen(text));

	if (test) {
		test->plain = op != SX_CIDR;
		test->asks = op;
	}
	return test_take(ln, at, group, test);
}

static int number_value(struct line *ln, const struct ynode *n, struct sx *group, enum sx_op op)
{
	if (!is_number(n))
		return sigma_refuse(ln->sg, SIGMA_WHY_value, n,
			"expected a number: %.60s holds or is compared by numbers", ln->target->field);
	return plain_test(ln, n, group, op, n->text);
}

static int regex_value(struct line *ln, const struct ynode *n, struct sx *group)
{
	const char *flags = "";
	struct sx *test;
	bool dot = false;
	char *text;

	for (const char *p = n->text; *p; p++) {
		dot = dot || *p == '.';
		if (*p == '\\' && p[1])
			p++;
	}
	if (dot && !has(ln, MOD_S)) /* here a dot takes a newline, too */
		flags = has(ln, MOD_M) ? "(?m-s)" : "(?-s)";
	else if (has(ln, MOD_M))
		flags = "(?m)";
	text = rule_pool_get(&ln->sg->pool, 1, n->text_bytes + 8);
	if (!text)
		return sigma_no_memory(ln->sg);
	stpcpy(stpcpy(text, flags), n->text);
	test = sx_test(ln->sg, ln->target->field, SX_REGEX, text, strlen(text));
	if (test) {
		test->nocase = has(ln, MOD_I);
		test->asks = SX_REGEX;
	}
	return test_take(ln, n, group, test);
}

static int bool_value(struct line *ln, const struct ynode *n, struct sx *group)
{
	if (!strcasecmp(n->text, "true") || !strcasecmp(n->text, "yes"))
		return plain_test(ln, n, group, SX_PRESENT, "true");
	if (!strcasecmp(n->text, "false") || !strcasecmp(n->text, "no"))
		return plain_test(ln, n, group, SX_PRESENT, "false");
	return sigma_refuse(ln->sg, SIGMA_WHY_value, n, "|exists: expected true or false");
}

/* The pattern as a test of the line's field, or of one of the fields of keywords. */
static int pattern_take(struct line *ln, const struct ynode *n, const struct ynode *fields,
	const struct piece *p, struct sx *group)
{
	struct sx *any;
	int rc = 0;

	if (ln->target)
		return test_take(
			ln, n, group, pattern_test(ln->sg, ln->target->field, p, !has(ln, MOD_CASED)));
	p = pattern_around(ln->sg, (struct piece *)p, true, true);
	any = p ? sx_new(ln->sg, SX_ANY) : NULL;
	if (!any)
		return -ENOMEM;
	YNODE_EACH (it, fields)
		if (!rc)
			rc = test_take(ln, n, any, pattern_test(ln->sg, it->text, p, !has(ln, MOD_CASED)));
	return rc ? rc : sx_append(ln->sg, group, sx_simple(ln->sg, any));
}

static int step_refuse(struct line *ln, enum modifier m, const char *what)
{
	return sigma_refuse_key(ln->sg, SIGMA_WHY_modifier, ln->n, "|%s: %s", modifier_name[m], what);
}

/* The next pattern of the value under the modifiers; shift: of |base64offset. */
static int steps_run(struct line *ln, uint32_t shift, struct piece **p)
{
	bool wide = false;

	for (uint32_t i = 0; i < ln->step_count && *p; i++) {
		enum modifier m = ln->step[i];

		if (m >= MOD_BASE64 && ((*p)->kind != PIECE_TEXT || (*p)->next))
			return step_refuse(ln, m,
				"takes a text without wildcards: |contains and others stand behind it");
		if (wide && m != MOD_BASE64 && m != MOD_BASE64OFFSET)
			return step_refuse(ln, m,
				"UTF-16 is imported with |base64 or |base64offset right behind it only");
		wide = m >= MOD_UTF16LE;
		if (m == MOD_CONTAINS)
			*p = pattern_around(ln->sg, *p, true, true);
		else if (m == MOD_STARTSWITH || m == MOD_ENDSWITH)
			*p = pattern_around(ln->sg, *p, m == MOD_ENDSWITH, m == MOD_STARTSWITH);
		else if (m == MOD_WINDASH)
			*p = pattern_windash(ln->sg, *p);
		else if (m == MOD_BASE64 || m == MOD_BASE64OFFSET)
			*p = pattern_base64(ln->sg, *p, shift, m == MOD_BASE64);
		else
			*p = pattern_utf16(ln->sg, *p, m == MOD_UTF16BE, m == MOD_UTF16);
		if (*p && m == MOD_BASE64OFFSET && !(*p)->bytes)
			return step_refuse(ln, m,
				"the value is too short: no character of it is the same at each offset");
	}
	if (wide)
		return sigma_refuse_key(ln->sg, SIGMA_WHY_modifier, ln->n,
			"UTF-16 is imported with |base64 or |base64offset right behind it only: events are "
			"UTF-8");
	return *p ? 0 : -ENOMEM;
}

static int text_value(struct line *ln, const struct ynode *n, const struct ynode *fields, struct sx *group)
{
	uint32_t shifts = has(ln, MOD_BASE64OFFSET) ? 3 : 1;
	struct sx *any = group;
	int rc = 0;

	if (shifts > 1 && group->kind == SX_ALL) {
		any = sx_new(ln->sg, SX_ANY);
		if (!any)
			return -ENOMEM;
	}
	for (uint32_t shift = 0; shift < shifts && !rc; shift++) {
		struct piece *p = pattern_read(ln->sg, n->text, n->text_bytes);

		rc = p ? steps_run(ln, shift, &p) : -ENOMEM;
		rc = rc ? rc : pattern_take(ln, n, fields, p, any);
	}
	return rc || any == group ? rc : sx_append(ln->sg, group, sx_simple(ln->sg, any));
}

/* Fields that hold no text, and the address of the packet. */
static int other_value(struct line *ln, const struct ynode *n, struct sx *group)
{
	const struct sigma_target *t = ln->target;
	uint8_t first[16], last[16];
	char copy[64];

	if (!t->id) {
		snprintf(copy, sizeof copy, "%s", n->text);
		if (ln->step_count || !ip_range_from_text(first, last, copy))
			return sigma_refuse(ln->sg, SIGMA_WHY_value, n,
				"src_addr is compared with addresses and ranges only");
		return plain_test(ln, n, group, SX_CIDR, n->text);
	}
	if (ln->step_count)
		return sigma_refuse_key(ln->sg, SIGMA_WHY_value, ln->n, "%.60s holds no text", t->field);
	switch (field_table[t->id].kind) {
	case FIELD_KIND_NUMBER:
	case FIELD_KIND_DECIMAL:
		return number_value(ln, n, group, SX_EQ);
	case FIELD_KIND_OBJECT:
		return sigma_refuse(ln->sg, SIGMA_WHY_value, n,
			"%.60s is an object: only |exists and null apply", t->field);
	default:
		return test_take(ln, n, group, sx_test(ln->sg, t->field, SX_EQ, n->text, n->text_bytes));
	}
}

static int value_take(struct line *ln, const struct ynode *n, const struct ynode *fields, struct sx *group)
{
	static const enum sx_op ranges[] = {SX_LT, SX_LE, SX_GT, SX_GE};
	const struct sigma_target *t = ln->target;

	if (n->kind != YNODE_SCALAR)
		return sigma_refuse(ln->sg, SIGMA_WHY_value, n, "expected one text or number");
	if (is_null(n)) {
		if (!t || ln->set & ~(1u << MOD_NEQ))
			return sigma_refuse(
				ln->sg, SIGMA_WHY_value, n, "null stands with a field and without modifiers");
		return plain_test(ln, n, group, SX_PRESENT, "false");
	}
	for (int i = 0; i < 4; i++)
		if (has(ln, MOD_LT + i))
			return number_value(ln, n, group, ranges[i]);
	if (has(ln, MOD_EXISTS))
		return bool_value(ln, n, group);
	if (has(ln, MOD_CIDR))
		return plain_test(ln, n, group, SX_CIDR, n->text);
	if (has(ln, MOD_RE))
		return regex_value(ln, n, group);
	if (t && !t->attr && (!t->id || field_table[t->id].kind != FIELD_KIND_TEXT))
		return other_value(ln, n, group);
	return text_value(ln, n, fields, group);
}

static int values_take(struct line *ln, const struct ynode *fields, const struct sx **out)
{
	const struct ynode *n = ln->n;
	struct sx *group = sx_new(ln->sg, has(ln, MOD_ALL) ? SX_ALL : SX_ANY), *not ;
	int rc = group ? 0 : -ENOMEM;

	if (n->kind == YNODE_SEQ && !n->count)
		return sigma_refuse(ln->sg, SIGMA_WHY_value, n, "an empty list");
	if (n->kind != YNODE_SEQ && !rc)
		rc = value_take(ln, n, fields, group);
	if (n->kind == YNODE_SEQ)
		YNODE_EACH (it, n)
			if (!rc)
				rc = value_take(ln, it, fields, group);
	*out = rc ? NULL : sx_simple(ln->sg, group);
	if (rc || !*out)
		return rc ? rc : -ENOMEM;
	if (!has(ln, MOD_NEQ))
		return 0;
	not = sx_new(ln->sg, SX_NOT);
	*out = not ;
	return not ? sx_append(ln->sg, not, group->child && !group->child->next ? group->child : group)
		   : -ENOMEM;
}

static int keyword_fields(struct sigma *sg, const struct sigma_logsource *row, const struct ynode *n,
	const struct ynode **fields)
{
	*fields = row->keywords ? row->keywords : sg->map.keywords;
	return *fields ? 0
		       : sigma_refuse(sg, SIGMA_WHY_field, n,
				 "keywords: %s does not say which fields they are looked for in",
				 sg->map.tree.name);
}

int sigma_value_read(
	struct sigma *sg, const struct sigma_logsource *row, const struct ynode *n, const struct sx **out)
{
	const struct ynode *fields = NULL;
	struct line ln = {.sg = sg, .n = n};
	char name[FIELD_NAME_BYTES_MAX];
	int rc = key_read(&ln, name);

	if (rc)
		return rc;
	if (!*name) {
		if (ln.set & ~(1u << MOD_ALL | 1u << MOD_CONTAINS | 1u << MOD_CASED | 1u << MOD_WINDASH))
			return sigma_refuse_key(
				sg, SIGMA_WHY_modifier, n, "keywords take |all and |contains only");
		rc = keyword_fields(sg, row, n, &fields);
	} else {
		char *kept = rule_pool_text(&sg->pool, name, strlen(name));

		ln.target = kept ? sigma_map_field(sg, row, kept, n) : NULL;
		rc = ln.target ? 0 : -EINVAL;
	}
	return rc ? rc : values_take(&ln, fields, out);
}

int sigma_keywords_read(struct sigma *sg, const struct sigma_logsource *row, const struct ynode *n, bool all,
	const struct sx **out)
{
	const struct ynode *fields = NULL;
	struct line ln = {.sg = sg, .n = n, .set = all ? 1u << MOD_ALL : 0};
	int rc = keyword_fields(sg, row, n, &fields);

	return rc ? rc : values_take(&ln, fields, out);
}
