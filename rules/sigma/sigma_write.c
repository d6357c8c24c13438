/* Expressions and heads of rules as YAML of the rule language. */
#include <errno.h>
#include <string.h>

#include "sigma_priv.h"

#define TITLE_BYTES_MAX 200u
#define COMMENT_BYTES_MAX 4000u

/* The character at text, at most 4 bytes of it; 0: none that YAML takes as it is. */
static uint32_t printable(const char *text, size_t bytes, uint32_t *code)
{
	uint8_t c = (uint8_t)*text;
	uint32_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

	*code = n > 1 ? c & (0x7fu >> n) : c;
	if (n > bytes || (c >= 0x80 && c < 0xc0))
		return 0;
	for (uint32_t i = 1; i < n; i++)
		*code = *code << 6 | ((uint8_t)text[i] & 0x3f);
	if (*code < 0x20 || (*code >= 0x7f && *code < 0xa0) || *code == 0x2028 || *code == 0x2029 ||
		*code == 0xfeff || (*code >= 0xfffe && *code < 0x10000))
		return 0;
	return n;
}

void yaml_text(FILE *f, const char *text, size_t bytes)
{
	bool plain = true;
	uint32_t code;

	for (size_t i = 0, n; i < bytes && plain; i += n) {
		n = printable(text + i, bytes - i, &code);
		plain = n != 0;
		n = n ? n : 1;
	}
	fputc(plain ? '\'' : '"', f);
	for (size_t i = 0, n; i < bytes; i += n) {
		n = printable(text + i, bytes - i, &code);
		if (plain && text[i] == '\'')
			fputs("''", f);
		else if (!plain && (text[i] == '"' || text[i] == '\\'))
			fprintf(f, "\\%c", text[i]);
		else if (n)
			fwrite(text + i, 1, n, f);
		else
			fprintf(f, "\\u%04x", code & 0xffff);
		if (!n)
			n = code < 0x80 ? 1 : code < 0x800 ? 2 : 3;
	}
	fputc(plain ? '\'' : '"', f);
}

/* What would end the comment, or is none of YAML's, is left out: keys are hostile as well as values. */
static void comment_text(FILE *f, const char *text, size_t bytes)
{
	uint32_t code;

	for (size_t i = 0, n; i < bytes; i += n) {
		n = printable(text + i, bytes - i, &code);
		if (n)
			fwrite(text + i, 1, n, f);
		else
			fputc(text[i] == '\t' ? ' ' : '?', f);
		n = n ? n : 1;
	}
}

static void comment_line(FILE *f, const char *what, const char *text, size_t bytes)
{
	fputs("  # ", f);
	comment_text(f, what, strlen(what));
	comment_text(f, text, bytes);
	fputc('\n', f);
}

void yaml_comment(FILE *f, const char *what, const struct ynode *n)
{
	size_t left = COMMENT_BYTES_MAX;

	if (n && n->kind == YNODE_SCALAR) {
		for (const char *p = n->text; *p && left; p += *p == '\n') {
			size_t bytes = strcspn(p, "\n"), taken = bytes < left ? bytes : left;

			comment_line(f, what, p, taken);
			left -= taken;
			p += bytes;
		}
	} else if (n) {
		YNODE_EACH (it, n)
			yaml_comment(f, what, it);
	}
}

/* ---- expressions ---- */

static void key_write(FILE *f, const char *key)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

	if (strspn(key, plain) == strlen(key))
		fputs(key, f);
	else
		yaml_text(f, key, strlen(key));
	fputs(": ", f);
}

static void raw_write(FILE *f, const struct ynode *n)
{
	const char *gap = "";

	if (n->kind == YNODE_SCALAR && !n->quoted && !strpbrk(n->text, "\n,[]{}:#&*!|>'\"%@`"))
		fputs(n->text, f); /* a number, a boolean or a word: what it is without quotes */
	else if (n->kind == YNODE_SCALAR)
		yaml_text(f, n->text, n->text_bytes);
	if (n->kind == YNODE_SCALAR)
		return;
	fputc(n->kind == YNODE_MAP ? '{' : '[', f);
	YNODE_EACH (it, n) {
		fputs(gap, f);
		if (n->kind == YNODE_MAP)
			key_write(f, it->key);
		raw_write(f, it);
		gap = ", ";
	}
	fputc(n->kind == YNODE_MAP ? '}' : ']', f);
}

static void value_write(FILE *f, const struct sx *x, const struct sx_text *t)
{
	if (x->plain)
		fputs(t->text, f);
	else
		yaml_text(f, t->text, t->bytes);
}

static void test_write(FILE *f, const struct sx *x)
{
	const char *gap = "";
	bool list = x->count > 1;

	key_write(f, x->field);
	if (x->op == SX_EQ && !list && !x->nocase) {
		value_write(f, x, x->text);
		fputc('\n', f);
		return;
	}
	fprintf(f, "{%s: ", x->op == SX_EQ && list ? "in" : sigma_op_name[x->op]);
	if (list)
		fputc('[', f);
	for (const struct sx_text *t = x->text; t; t = t->next) {
		fputs(gap, f);
		value_write(f, x, t);
		gap = ", ";
	}
	fputs(list ? "]" : "", f);
	fputs(x->nocase ? ", nocase: true}\n" : "}\n", f);
}

static const char *key_of(const struct sx *x)
{
	return x->kind == SX_TEST  ? x->field
	       : x->kind == SX_RAW ? x->raw->key
	       : x->kind == SX_ANY ? "any"
				   : "all";
}

/* Whether a line before x has the same key. */
static bool key_taken(const struct sx *first, const struct sx *x)
{
	for (const struct sx *it = first; it != x; it = it->next)
		if (it->kind != SX_NOT && !strcmp(key_of(it), key_of(x)))
			return true;
	return false;
}

static void items_write(struct sigma *sg, FILE *f, const struct sx *first, bool not, int indent);

static void line_write(struct sigma *sg, FILE *f, const struct sx *x, int indent)
{
	if (x->kind == SX_TEST) {
		test_write(f, x);
	} else if (x->kind == SX_RAW) {
		key_write(f, x->raw->key);
		raw_write(f, x->raw);
		fputc('\n', f);
	} else {
		fprintf(f, "%s:\n", key_of(x));
		items_write(sg, f, x->child, false, indent + 2);
	}
}

static void indent_write(FILE *f, int indent, bool *first)
{
	if (!*first)
		fprintf(f, "%*s", indent, "");
	*first = false;
}

/* Lines that hold together. What has the key of a line before goes into `all`, what must not hold into one
 * `not`. The caller has written the first line's indent. */
static void lines_write(struct sigma *sg, FILE *f, const struct sx *first, int indent)
{
	bool begin = true, all = false, not = false;

	for (const struct sx *it = first; it && sg->tests <= SIGMA_TESTS_MAX; it = it->next) {
		sg->tests++;
		if (it->kind == SX_NOT || key_taken(first, it)) {
			*(it->kind == SX_NOT ? &not : &all) = true;
			continue;
		}
		indent_write(f, indent, &begin);
		line_write(sg, f, it, indent);
	}
	if (all) {
		indent_write(f, indent, &begin);
		fputs("all:\n", f);
		for (const struct sx *it = first; it && sg->tests <= SIGMA_TESTS_MAX; it = it->next)
			if (it->kind != SX_NOT && key_taken(first, it)) {
				fprintf(f, "%*s- ", indent + 2, "");
				line_write(sg, f, it, indent + 4);
			}
	}
	if (not ) {
		indent_write(f, indent, &begin);
		fputs("not:\n", f);
		items_write(sg, f, first, true, indent + 2);
	}
}

/* What an item of a list says: its lines. */
static void item_write(struct sigma *sg, FILE *f, const struct sx *x, int indent)
{
	struct sx alone = *x;

	alone.next = NULL;
	fprintf(f, "%*s- ", indent, "");
	lines_write(sg, f, x->kind == SX_ALL ? x->child : &alone, indent + 2);
}

/* The items of `any`; or of `not`, which come from the NOTs of a row. */
static void items_write(struct sigma *sg, FILE *f, const struct sx *first, bool not, int indent)
{
	for (const struct sx *it = first; it && sg->tests <= SIGMA_TESTS_MAX; it = it->next) {
		const struct sx *sub = it->child;

		if (!not ) {
			item_write(sg, f, it, indent);
			continue;
		}
		if (it->kind != SX_NOT)
			continue;
		if (sub->kind != SX_ANY) {
			item_write(sg, f, sub, indent);
			continue;
		}
		for (const struct sx *each = sub->child; each && sg->tests <= SIGMA_TESTS_MAX;
			each = each->next)
			item_write(sg, f, each, indent);
	}
}

void sx_write(struct sigma *sg, FILE *f, const struct sx *x, int indent)
{
	struct sx alone = *x;

	alone.next = NULL;
	fprintf(f, "%*s", indent, "");
	lines_write(sg, f, x->kind == SX_ALL ? x->child : &alone, indent);
}

/* ---- heads ---- */

const char *sigma_severity(const struct ynode *level)
{
	static const char *const names[][2] = {{"informational", "info"}, {"low", "low"},
		{"medium", "medium"}, {"high", "high"}, {"critical", "critical"}};

	for (size_t i = 0; level && level->kind == YNODE_SCALAR && i < sizeof names / sizeof *names; i++)
		if (!strcmp(level->text, names[i][0]))
			return names[i][1];
	return NULL;
}

/* The first bytes of a title, without half a character at the end. */
static size_t title_bytes(const char *title)
{
	size_t n = strlen(title);

	if (n <= TITLE_BYTES_MAX)
		return n;
	n = TITLE_BYTES_MAX;
	while (n && ((uint8_t)title[n] & 0xc0) == 0x80)
		n--;
	return n;
}

void sigma_head_write(FILE *f, const struct sigma_doc *doc, const char *id)
{
	static const char *const kept[] = {"status", "author", "date", "modified", "license", "references",
		"tags", "falsepositives", "description"};
	const struct ynode *root = doc->tree.root;
	const struct ynode *logsource = ynode_get(root, "logsource"), none = {.kind = YNODE_MAP};
	const char *severity = sigma_severity(ynode_get(root, "level"));
	char what[40], place[300];

	if (logsource && logsource->kind != YNODE_MAP)
		logsource = NULL;
	snprintf(place, sizeof place, "%.250s:%u", doc->tree.name, doc->line);
	comment_line(f, "Sigma rule ", place, strlen(place));
	YNODE_EACH (it, logsource ? logsource : &none) {
		snprintf(what, sizeof what, "logsource: %.20s: ", it->key);
		yaml_comment(f, what, it);
	}
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
		snprintf(what, sizeof what, "%s: ", kept[i]);
		yaml_comment(f, what, ynode_get(root, kept[i]));
	}
	if (strlen(doc->title) > TITLE_BYTES_MAX)
		yaml_comment(f, "title: ", ynode_get(root, "title"));
	fprintf(f, "  - id: '%s'\n    title: ", id);
	yaml_text(f, doc->title, title_bytes(doc->title));
	fputc('\n', f);
	if (severity)
		fprintf(f, "    severity: %s\n", severity);
}
