/* The language of `where`: tests of fields joined by `and`, compiled to a small array. Parsing is set-up;
 * matching runs in a partition's thread for every event: pure, no allocation, reads the record only. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "nearest.h"
#include "value_text.h"
#include "window_priv.h"

/* A text of 2047 bytes holds no more: a test with the `and` behind it has 9 of them, a value with its
 * comma 2. */
#define TESTS_MAX 256
#define VALUES_MAX 1024

enum op { OP_EQ, OP_NE, OP_IN, OP_LT, OP_LE, OP_GT, OP_GE, OP_EXISTS };

struct value {
	union {
		double number;	  /* NUMBER */
		int64_t integer;  /* DECIMAL: millionths; TIME: ms */
		struct span text; /* TEXT: in pool */
	};
};

struct test {
	uint8_t field, kind, op;
	uint16_t value_count;
	uint16_t value; /* first of its values */
};

struct window_filter {
	uint32_t types; /* 1 << enum event_type */
	uint32_t test_count, value_count, pool_bytes;
	struct test test[TESTS_MAX];
	struct value value[VALUES_MAX];
	uint8_t pool[sizeof(config_text)];
};

/* ---- matching ---- */

static bool order_holds(enum op op, int order)
{
	switch (op) {
	case OP_LT:
		return order < 0;
	case OP_LE:
		return order <= 0;
	case OP_GT:
		return order > 0;
	case OP_GE:
		return order >= 0;
	default:
		return false;
	}
}

static bool number_passes(const struct window_filter *f, const struct test *t, double v)
{
	const struct value *want = &f->value[t->value];
	bool found = false;

	if (t->op >= OP_LT)
		return v == v && order_holds((enum op)t->op, (v > want->number) - (v < want->number));
	for (uint32_t i = 0; i < t->value_count && !found; i++)
		found = want[i].number == v;
	return found == (t->op != OP_NE);
}

static bool integer_passes(const struct window_filter *f, const struct test *t, int64_t v)
{
	const struct value *want = &f->value[t->value];
	bool found = false;

	if (t->op >= OP_LT)
		return order_holds((enum op)t->op, (v > want->integer) - (v < want->integer));
	for (uint32_t i = 0; i < t->value_count && !found; i++)
		found = want[i].integer == v;
	return found == (t->op != OP_NE);
}

static bool text_passes(
	const struct window_filter *f, const struct test *t, const uint8_t *text, uint32_t bytes)
{
	const struct value *want = &f->value[t->value];
	bool found = false;

	for (uint32_t i = 0; i < t->value_count && !found; i++)
		found = want[i].text.bytes == bytes && !memcmp(f->pool + want[i].text.offset, text, bytes);
	return found == (t->op != OP_NE);
}

static bool test_passes(const struct window_filter *f, const struct test *t, const struct record *rec)
{
	uint32_t bytes;
	const uint8_t *p = record_field(rec, (enum field_id)t->field, &bytes);
	int64_t integer;
	double number;

	if (!p || t->op == OP_EXISTS)
		return p != NULL;
	switch (t->kind) {
	case FIELD_KIND_NUMBER:
		memcpy(&number, p, sizeof number);
		return number_passes(f, t, number);
	case FIELD_KIND_DECIMAL:
		memcpy(&integer, p, sizeof integer);
		return integer_passes(f, t, integer);
	case FIELD_KIND_TIME: /* there is one: the event's */
		return integer_passes(f, t, rec->event_time_ms);
	default:
		return text_passes(f, t, p, bytes);
	}
}

static bool tests_pass(const struct window_filter *f, const struct record *rec)
{
	for (uint32_t i = 0; i < f->test_count; i++)
		if (!test_passes(f, &f->test[i], rec))
			return false;
	return true;
}

bool window_filter_match(const struct window_filter *f, const struct record *rec)
{
	return !f || ((f->types >> rec->type % WINDOW_FILTER_TYPES & 1) && tests_pass(f, rec));
}

uint64_t window_filter_run(const struct window_filter *f, const struct record *const *rec,
	const uint64_t of_type[WINDOW_FILTER_TYPES], uint64_t events)
{
	uint64_t of_types = 0, passed;

	if (!f)
		return events;
	if (f->types == WINDOW_TYPES_ALL)
		of_types = events;
	for (uint32_t left = of_types ? 0 : f->types; left; left &= left - 1)
		of_types |= of_type[__builtin_ctz(left)];
	passed = events & of_types;
	for (uint64_t left = f->test_count ? passed : 0; left; left &= left - 1)
		if (!tests_pass(f, rec[__builtin_ctzll(left)]))
			passed &= ~(left & -left);
	return passed;
}

uint32_t window_filter_types(const struct window_filter *f)
{
	return f ? f->types : WINDOW_TYPES_ALL;
}

enum field_id window_filter_field(const struct window_filter *f, uint32_t i)
{
	return f && i < f->test_count ? (enum field_id)f->test[i].field : FIELD_NONE;
}

void window_filter_free(struct window_filter *f)
{
	free(f);
}

/* ---- words ---- */

enum word_kind { WORD_END, WORD_BARE, WORD_QUOTED, WORD_OP, WORD_MARK };

struct reader {
	const char *at;
	enum word_kind kind;
	config_text text; /* decoded, NUL-terminated */
	size_t bytes;
	struct window_filter *f;
	struct window_canon *canon;
	struct err *err;
};

static int expected(struct reader *rd, const char *what)
{
	if (rd->kind == WORD_END)
		return err_set(rd->err, -EINVAL, "the text ends: expected %s", what);
	return err_set(rd->err, -EINVAL, "'%.60s': expected %s", rd->text, what);
}

static int quoted_next(struct reader *rd)
{
	char quote = *rd->at++;

	while (*rd->at && *rd->at != quote) {
		if (*rd->at == '\\') {
			rd->at++;
			if (!*rd->at || !strchr("\\\"'", *rd->at))
				return err_set(rd->err, -EINVAL,
					"a backslash in quotes stands before a backslash or a quote only");
		}
		rd->text[rd->bytes++] = *rd->at++;
	}
	if (!*rd->at)
		return err_set(rd->err, -EINVAL, "a text in %c has no end", quote);
	rd->at++;
	rd->kind = WORD_QUOTED;
	return 0;
}

/* Moves to the next word. */
static int next(struct reader *rd)
{
	int rc = 0;

	rd->bytes = 0;
	while (*rd->at == ' ')
		rd->at++;
	if (!*rd->at) {
		rd->kind = WORD_END;
	} else if (*rd->at == '"' || *rd->at == '\'') {
		rc = quoted_next(rd);
	} else if (window_canon_bare(*rd->at)) {
		rd->kind = WORD_BARE;
		while (*rd->at && window_canon_bare(*rd->at))
			rd->text[rd->bytes++] = *rd->at++;
	} else {
		bool op = strchr("=<>!", *rd->at) != NULL;

		rd->kind = op ? WORD_OP : WORD_MARK;
		rd->text[rd->bytes++] = *rd->at++;
		if (op && *rd->at == '=')
			rd->text[rd->bytes++] = *rd->at++;
	}
	rd->text[rd->bytes] = 0;
	return rc;
}

static bool is_word(const struct reader *rd, enum word_kind kind, const char *text)
{
	return rd->kind == kind && !strcmp(rd->text, text);
}

/* ---- names ---- */

int window_field_unknown(const char *name, bool or_type, struct err *err)
{
	struct nearest near = nearest_to(name);

	if (!strncmp(name, ATTR_PREFIX, strlen(ATTR_PREFIX)))
		return err_set(
			err, -EINVAL, "'%.60s': attributes stand in `by` alone, here are fields", name);
	for (int i = 1; i < FIELD_ID_MAX; i++)
		nearest_offer(&near, field_table[i].name);
	if (or_type)
		nearest_offer(&near, "type");
	if (near.name)
		return err_set(err, -EINVAL, "'%.60s': unknown field; did you mean %s?", name, near.name);
	return err_set(err, -EINVAL, "'%.60s': unknown field; docs/events-fields.md lists all%s", name,
		or_type ? "" : "; what has no field there is attributes.NAME");
}

static int type_find(const char *name, size_t bytes, uint32_t *bit, struct err *err)
{
	enum event_type type = event_type_by_name(name, bytes);
	char word[64] = "";
	struct nearest near;

	*bit = 1u << type;
	if (type != EVENT_TYPE_NONE)
		return 0;
	memcpy(word, name, bytes < sizeof word ? bytes : sizeof word - 1);
	near = nearest_to(word);
	for (int i = 1; i < EVENT_TYPE_MAX; i++)
		nearest_offer(&near, type_table[i].name);
	if (near.name)
		return err_set(err, -EINVAL, "'%s': unknown event type; did you mean %s?", word, near.name);
	return err_set(err, -EINVAL, "'%s': unknown event type; docs/events-fields.md lists all", word);
}

int window_types_parse(uint32_t *types, const char *text, struct window_canon *canon, struct err *err)
{
	*types = 0;
	for (const char *p = text + strspn(text, " "); *p;) {
		size_t n = strcspn(p, ", ");
		uint32_t bit;
		int rc = type_find(p, n, &bit, err);

		if (rc)
			return rc;
		if (*types & bit)
			return err_set(err, -EINVAL, "'%.*s' is named twice", (int)n, p);
		*types |= bit;
		p += n;
		p += strspn(p, " ");
		if (*p && *p != ',')
			return err_set(err, -EINVAL, "'%.40s': expected a comma between types", p);
		p += *p == ',';
		p += strspn(p, " ");
	}
	for (int i = 1; i < EVENT_TYPE_MAX; i++) {
		if (!(*types >> i & 1))
			continue;
		if (canon->bytes)
			window_canon_put(canon, ",", 1);
		window_canon_put(canon, type_table[i].name, strlen(type_table[i].name));
	}
	if (!*types)
		*types = WINDOW_TYPES_ALL;
	return 0;
}

/* ---- values ---- */

static int number_value(struct reader *rd, double *out)
{
	char *end;

	*out = strtod(rd->text, &end);
	if (!rd->bytes || *end || rd->text[strspn(rd->text, "+-.eE0123456789")] || !isfinite(*out))
		return expected(rd, "a number");
	*out += 0.0; /* -0 is 0 */
	return 0;
}

static int decimal_value(struct reader *rd, int64_t *out)
{
	if (!decimal_of_text(rd->text, FIELD_DECIMAL_MAX, out))
		return expected(rd, "an amount as 12.5, with at most six decimals");
	return 0;
}

static int time_value(struct reader *rd, int64_t *out)
{
	size_t digits = strspn(rd->text, "0123456789");

	if (!digits || digits != rd->bytes || digits > 15)
		return expected(rd, "milliseconds since the epoch");
	*out = strtoll(rd->text, NULL, 10);
	return 0;
}

static int text_value(struct reader *rd, const struct test *t, struct span *out)
{
	struct window_filter *f = rd->f;

	if (rd->bytes > field_table[t->field].len_max)
		return err_set(rd->err, -EINVAL, "'%.40s' has %zu bytes; the field holds at most %u",
			rd->text, rd->bytes, field_table[t->field].len_max);
	*out = (struct span){(uint16_t)f->pool_bytes, (uint16_t)rd->bytes};
	memcpy(f->pool + f->pool_bytes, rd->text, rd->bytes);
	f->pool_bytes += (uint32_t)rd->bytes;
	window_canon_value(rd->canon, rd->text, rd->bytes);
	return 0;
}

/* The value that is the reader's word. */
static int value_read(struct reader *rd, struct test *t)
{
	struct value *v = &rd->f->value[rd->f->value_count];
	char text[DECIMAL_TEXT_BYTES];
	int rc;

	if (rd->kind != WORD_BARE && rd->kind != WORD_QUOTED)
		return expected(rd, "a value (in quotes if it is empty or holds blanks or any of ,()=<>!;)");
	if (rd->f->value_count == VALUES_MAX)
		return err_set(rd->err, -EINVAL, "more than %d values", VALUES_MAX);
	rd->f->value_count++;
	t->value_count++;
	switch (t->kind) {
	case FIELD_KIND_NUMBER:
		rc = number_value(rd, &v->number);
		if (!rc)
			window_canon_put(rd->canon, text, number_text(text, v->number));
		break;
	case FIELD_KIND_DECIMAL:
		rc = decimal_value(rd, &v->integer);
		if (!rc)
			window_canon_put(rd->canon, text, decimal_text(text, v->integer));
		break;
	case FIELD_KIND_TIME:
		rc = time_value(rd, &v->integer);
		if (!rc)
			window_canon_put(rd->canon, text, integer_text(text, v->integer));
		break;
	default:
		rc = text_value(rd, t, &v->text);
	}
	return rc ? rc : next(rd);
}

/* `type`: the bits of its values go into the filter's types. */
static int type_value(struct reader *rd, uint32_t *bits)
{
	uint32_t bit = 0;
	int rc;

	if (rd->kind != WORD_BARE && rd->kind != WORD_QUOTED)
		return expected(rd, "an event type");
	rc = type_find(rd->text, rd->bytes, &bit, rd->err);
	if (rc)
		return rc;
	*bits |= bit;
	window_canon_value(rd->canon, rd->text, rd->bytes);
	return next(rd);
}

/* ---- tests ---- */

static int one_value(struct reader *rd, struct test *t, uint32_t *types)
{
	return t->field ? value_read(rd, t) : type_value(rd, types);
}

/* (V, V): the reader's word is what stands behind `in`. */
static int list_read(struct reader *rd, struct test *t, uint32_t *types)
{
	int rc;

	if (!is_word(rd, WORD_MARK, "("))
		return expected(rd, "( behind in");
	window_canon_put(rd->canon, "(", 1);
	do {
		if (is_word(rd, WORD_MARK, ","))
			window_canon_put(rd->canon, ",", 1);
		rc = next(rd);
		if (!rc)
			rc = one_value(rd, t, types);
	} while (!rc && is_word(rd, WORD_MARK, ","));
	if (rc)
		return rc;
	if (!is_word(rd, WORD_MARK, ")"))
		return expected(rd, "a comma or ) in a list of values");
	window_canon_put(rd->canon, ")", 1);
	return next(rd);
}

static int op_find(struct reader *rd, struct test *t)
{
	static const char *const name[] = {"=", "!=", "in", "<", "<=", ">", ">=", "exists"};
	bool order =
		t->kind == FIELD_KIND_NUMBER || t->kind == FIELD_KIND_DECIMAL || t->kind == FIELD_KIND_TIME;
	bool value = order || t->kind == FIELD_KIND_TEXT || !t->field;

	for (t->op = 0; t->op <= OP_EXISTS; t->op++)
		if (is_word(rd, t->op == OP_IN || t->op == OP_EXISTS ? WORD_BARE : WORD_OP, name[t->op]))
			break;
	if (t->op > OP_EXISTS)
		return expected(rd, "=, !=, in (...), exists, <, <=, > or >= behind a field");
	if (!t->field && t->op > OP_IN)
		return err_set(rd->err, -EINVAL, "type %s: expected =, != or in (...)", name[t->op]);
	if (!value && t->op != OP_EXISTS)
		return err_set(rd->err, -EINVAL, "%s %s: a field of this kind can only be tested by exists",
			field_table[t->field].name, name[t->op]);
	if (!order && t->op >= OP_LT && t->op <= OP_GE)
		return err_set(rd->err, -EINVAL,
			"%s %s: not a number field; expected =, !=, in (...) or exists",
			field_table[t->field].name, name[t->op]);
	if (t->op == OP_IN || t->op == OP_EXISTS)
		window_canon_put(rd->canon, " ", 1);
	window_canon_put(rd->canon, name[t->op], strlen(name[t->op]));
	if (t->op == OP_IN)
		window_canon_put(rd->canon, " ", 1);
	return next(rd);
}

/* The reader's word is the field. */
static int test_read(struct reader *rd)
{
	struct window_filter *f = rd->f;
	struct test t = {.kind = FIELD_KIND_COUNT, .value = (uint16_t)f->value_count};
	uint32_t types = 0;
	int rc;

	if (rd->kind != WORD_BARE)
		return expected(rd, "a field");
	if (strcmp(rd->text, "type") != 0) {
		t.field = (uint8_t)field_by_name(rd->text, rd->bytes);
		if (!t.field)
			return window_field_unknown(rd->text, true, rd->err);
		t.kind = (uint8_t)field_table[t.field].kind;
	}
	window_canon_put(rd->canon, rd->text, rd->bytes);
	rc = next(rd);
	if (!rc)
		rc = op_find(rd, &t);
	if (!rc && t.op != OP_EXISTS)
		rc = t.op == OP_IN ? list_read(rd, &t, &types) : one_value(rd, &t, &types);
	if (rc)
		return rc;
	if (!t.field) {
		f->types &= t.op == OP_NE ? ~types : types;
		return 0;
	}
	if (f->test_count == TESTS_MAX)
		return err_set(rd->err, -EINVAL, "more than %d tests", TESTS_MAX);
	f->test[f->test_count++] = t;
	return 0;
}

static int tests_read(struct reader *rd)
{
	int rc = next(rd);

	if (!rc && rd->kind == WORD_END)
		return 0;
	while (!rc) {
		rc = test_read(rd);
		if (rc || rd->kind == WORD_END)
			break;
		if (!is_word(rd, WORD_BARE, "and"))
			return expected(rd, "and, or the end");
		window_canon_put(rd->canon, " and ", 5);
		rc = next(rd);
	}
	return rc;
}

int window_filter_parse(struct window_filter **out, uint32_t types, const char *text,
	struct window_canon *canon, struct err *err)
{
	struct reader rd = {.at = text, .canon = canon, .err = err};
	int rc;

	*out = NULL;
	if (strlen(text) >= sizeof(config_text))
		return err_set(err, -EINVAL, "longer than %zu bytes", sizeof(config_text) - 1);
	rd.f = calloc(1, sizeof *rd.f);
	if (!rd.f)
		return err_set(err, -ENOMEM, "no memory");
	rd.f->types = types;
	rc = tests_read(&rd);
	if (!rc && !rd.f->types)
		rc = err_set(err, -EINVAL, "no event type passes the tests of type");
	if (rc || (!rd.f->test_count && rd.f->types == WINDOW_TYPES_ALL))
		free(rd.f);
	else
		*out = rd.f;
	return rc;
}
