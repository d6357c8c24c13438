/* Tests of one field: the ops of its mapping, checked against its kind. Set-up only. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rule_read_priv.h"

#define KINDS(kind) (1u << FIELD_KIND_##kind)
/* An attribute is any JSON value: text by its characters, numbers and booleans by their text; ranges see
 * numbers. */
#define KINDS_ATTR (1u << RULE_KIND_ATTR)
#define KINDS_TEXT (KINDS(TEXT) | KINDS_ATTR)
#define KINDS_ORDER (KINDS(NUMBER) | KINDS(DECIMAL) | KINDS(TIME))
#define KINDS_VALUE (KINDS_TEXT | KINDS_ORDER | KINDS(UUID))
#define KINDS_RANGE (KINDS_ORDER | KINDS_ATTR)
#define KINDS_ALL (KINDS_VALUE | KINDS(OBJECT))

enum op {
	OP_EQ,
	OP_IN,
	OP_LT,
	OP_LE,
	OP_GT,
	OP_GE,
	OP_REGEX,
	OP_CONTAINS,
	OP_PREFIX,
	OP_SUFFIX,
	OP_PRESENT,
	OP_NOCASE,
	OP_CIDR,
	OP_COUNT
};

/* What a field's mapping may say, and for which kinds of fields. */
static const char *const op_name[OP_COUNT] = {"eq", "in", "lt", "le", "gt", "ge", "regex", "contains",
	"prefix", "suffix", "present", "nocase", "cidr"};
static const uint32_t op_kinds[OP_COUNT] = {KINDS_VALUE, KINDS_VALUE, KINDS_RANGE, KINDS_RANGE, KINDS_RANGE,
	KINDS_RANGE, KINDS_TEXT, KINDS_TEXT, KINDS_TEXT, KINDS_TEXT, KINDS_ALL, KINDS_TEXT, KINDS_TEXT};

void cond_subject(struct cond *c, const struct field_reader *fr)
{
	c->field = fr->field;
	c->attr = fr->attr;
}

struct cond *cond_new(struct rule_reader *rd, enum cond_kind kind, const struct ynode *at)
{
	struct cond *c = rule_pool_get(rd->pool, 1, sizeof *c);

	if (c) {
		c->kind = kind;
		c->line = at->line;
		c->column = at->column;
	}
	rd->conds++;
	return c;
}

void cond_append(struct cond *parent, struct cond *c)
{
	struct cond **at = &parent->child;

	while (*at)
		at = &(*at)->next;
	*at = c;
}

int set_text(
	struct rule_reader *rd, const struct ynode *n, const struct field_reader *f, struct rule_text *out)
{
	uint8_t uuid[16];

	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "%s: expected one text", f->name);
	if (value_is_null(n))
		return rule_err(rd, n,
			"%s: a value is missing; '' is the empty text, {present: false} tests absence",
			f->name);
	if (f->kind == FIELD_KIND_UUID) {
		if (!value_uuid(n->text, n->text_bytes, uuid))
			return rule_err(rd, n,
				"%s: expected a UUID like 6f1c2a34-0b5d-4e6f-8a9b-0c1d2e3f4a5b", f->name);
		out->text = rule_pool_text(rd->pool, (const char *)uuid, 16);
		out->bytes = 16;
	} else {
		if (n->text_bytes > f->len_max)
			return rule_err(rd, n, "%s: %zu bytes; the field holds at most %u", f->name,
				n->text_bytes, f->len_max);
		out->text = rule_pool_text(rd->pool, n->text, n->text_bytes);
		out->bytes = (uint32_t)n->text_bytes;
	}
	return out->text ? 0 : rule_no_memory(rd);
}

int set_number(struct rule_reader *rd, const struct ynode *n, const struct field_reader *f, double *out)
{
	int64_t ms;

	if (f->kind == FIELD_KIND_TIME) {
		if (!value_time(n, &ms))
			return rule_err(rd, n,
				"%s: expected milliseconds since the epoch or a time like "
				"2026-01-31T12:00:00Z",
				f->name);
		*out = (double)ms;
		return 0;
	}
	if (!value_number(n, out))
		return rule_err(rd, n, "%s: expected a number", f->name);
	return 0;
}

static int range_read(struct rule_reader *rd, struct field_reader *fr, const struct ynode *n, enum op op)
{
	bool high = op == OP_LT || op == OP_LE;
	double *bound = high ? &fr->high : &fr->low;
	double value;
	int rc = set_number(rd, n, fr, &value);

	if (rc)
		return rc;
	if (!isinf(*bound))
		return rule_err_key(rd, n, "%s and %s exclude each other: give one", high ? "lt" : "gt",
			high ? "le" : "ge");
	*bound = value;
	*(high ? &fr->high_open : &fr->low_open) = op == OP_LT || op == OP_GT;
	if (!fr->range)
		fr->range = n;
	return 0;
}

static int range_finish(struct rule_reader *rd, struct field_reader *fr)
{
	struct cond *c;

	if (!fr->range)
		return 0;
	if (fr->low > fr->high || (fr->low == fr->high && (fr->low_open || fr->high_open)))
		return rule_err_key(rd, fr->range, "no number lies in this range");
	c = cond_new(rd, COND_RANGE, fr->range);
	if (!c)
		return rule_no_memory(rd);
	cond_subject(c, fr);
	c->low = fr->low;
	c->high = fr->high;
	c->low_open = fr->low_open;
	c->high_open = fr->high_open;
	cond_append(fr->all, c);
	return 0;
}

static int text_read(struct rule_reader *rd, struct field_reader *fr, const struct ynode *n, enum op op)
{
	static const enum cond_kind kinds[OP_COUNT] = {[OP_REGEX] = COND_REGEX,
		[OP_CONTAINS] = COND_CONTAINS,
		[OP_PREFIX] = COND_PREFIX,
		[OP_SUFFIX] = COND_SUFFIX};
	struct cond *c = cond_new(rd, kinds[op], n);
	int rc;

	if (!c)
		return rule_no_memory(rd);
	c->text = rule_pool_get(rd->pool, 1, sizeof *c->text);
	if (!c->text)
		return rule_no_memory(rd);
	if (n->kind == YNODE_SCALAR && !n->text_bytes)
		return rule_err(rd, n, "%s: an empty text matches everything", n->key);
	if (op == OP_REGEX) {
		if (n->kind != YNODE_SCALAR)
			return rule_err(rd, n, "regex: expected one text");
		if (n->text_bytes > REGEX_BYTES_MAX)
			return rule_err(
				rd, n, "regex: %zu bytes; at most %u", n->text_bytes, REGEX_BYTES_MAX);
		c->text->bytes = (uint32_t)n->text_bytes;
		c->text->text = rule_pool_text(rd->pool, n->text, n->text_bytes);
		if (!c->text->text)
			return rule_no_memory(rd);
	} else {
		rc = set_text(rd, n, fr, c->text);
		if (rc)
			return rc;
	}
	cond_subject(c, fr);
	c->text_count = 1;
	c->nocase = fr->nocase;
	fr->nocase_used = true;
	cond_append(fr->all, c);
	return 0;
}

static int present_read(struct rule_reader *rd, struct field_reader *fr, const struct ynode *n)
{
	struct cond *c = cond_new(rd, COND_PRESENT, n);

	if (!c)
		return rule_no_memory(rd);
	cond_subject(c, fr);
	if (!value_bool(n, &c->present))
		return rule_err(rd, n, "present: expected true or false");
	cond_append(fr->all, c);
	return 0;
}

static int op_read(struct rule_reader *rd, struct field_reader *fr, const struct ynode *n)
{
	enum op op = 0;

	while (op < OP_COUNT && strcmp(op_name[op], n->key))
		op++;
	if (op == OP_COUNT)
		return rule_err_unknown(rd, n, true, "test", op_name, OP_COUNT);
	if (!(op_kinds[op] & 1u << fr->kind))
		return rule_err_key(rd, n, "%s does not apply to %s, which is a %s field", op_name[op],
			fr->name, field_kind_name[fr->kind]);
	switch (op) {
	case OP_EQ:
	case OP_IN:
		return values_read(rd, fr, n, op == OP_IN);
	case OP_LT:
	case OP_LE:
	case OP_GT:
	case OP_GE:
		return range_read(rd, fr, n, op);
	case OP_PRESENT:
		return present_read(rd, fr, n);
	case OP_NOCASE:
		return 0; /* read before the others */
	case OP_CIDR:
		return cidr_read(rd, fr, n);
	default:
		return text_read(rd, fr, n, op);
	}
}

int field_read(struct rule_reader *rd, const struct ynode *n, struct field_reader *fr)
{
	const struct ynode *nocase = ynode_get(n, "nocase");
	int rc = 0;

	fr->low = -INFINITY;
	fr->high = INFINITY;
	if (n->kind == YNODE_SCALAR) {
		if (fr->kind == FIELD_KIND_OBJECT)
			return rule_err(
				rd, n, "%s is an object: only {present: true} or {present: false}", fr->name);
		return values_read(rd, fr, n, false);
	}
	if (n->kind == YNODE_SEQ)
		return rule_err(rd, n, "%s: a list of values is written {in: [a, b]}", fr->name);
	if (!n->count)
		return rule_err(rd, n, "%s: no test", fr->name);
	if (nocase && KINDS_TEXT & 1u << fr->kind && !value_bool(nocase, &fr->nocase))
		return rule_err(rd, nocase, "nocase: expected true or false");
	YNODE_EACH (it, n) {
		rc = op_read(rd, fr, it);
		if (rc)
			return rc;
	}
	if (nocase && !fr->nocase_used)
		return rule_err_key(
			rd, nocase, "nocase needs eq, in, regex, contains, prefix or suffix beside it");
	return range_finish(rd, fr);
}

/* attributes.NAME[.NAME...] */
int attr_read(struct rule_reader *rd, const struct ynode *n, struct cond *all)
{
	const char *path = n->key + strlen(ATTR_PREFIX), *wrong = attr_path_wrong(path);
	struct field_reader fr = {
		.name = n->key, .attr = path, .kind = RULE_KIND_ATTR, .len_max = EVENT_BYTES_MAX, .all = all};

	if (wrong)
		return rule_err_key(rd, n, "%.80s: %s", n->key, wrong);
	fr.attr = rule_pool_text(rd->pool, path, strlen(path));
	return fr.attr ? field_read(rd, n, &fr) : rule_no_memory(rd);
}

/* src_addr: where the packet came from. It is no field of an event, but each has one. */
int address_read(struct rule_reader *rd, const struct ynode *n, struct cond *all)
{
	static const char *const names[] = {"cidr", NULL};
	struct field_reader fr = {.name = "src_addr", .kind = FIELD_KIND_TEXT, .all = all};
	int rc = 0;

	if (n->kind != YNODE_MAP || !n->count)
		return rule_err(rd, n, "src_addr: expected {cidr: 10.0.0.0/8} or {cidr: [a, b]}");
	rc = read_keys(rd, n, names);
	return rc ? rc : cidr_read(rd, &fr, n->child);
}
