/* Tests with many values: `in` and `cidr`, in the rule or in a file of their own, one value a line. Set-up
 * only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "ip_text.h"
#include "rule_read_priv.h"

#define LIST_VALUES_MAX 1000000u

/* The values of one test, in turn: of a YAML list, of a file, or a single one. */
struct values {
	const struct ynode *node; /* YAML: the next one */
	char *at, *end;		  /* file: what is left of its text */
	char *text;		  /* file: a copy of it, with its line ends cut off; to be freed */
	uint32_t line, count;
	struct ynode made;
	struct ytree file; /* stands for the rule file in errors */
	const struct ytree *rule_file;
};

bool rule_list_path(char *out, const char *rule_file, const char *file)
{
	const char *slash = strrchr(rule_file, '/');
	size_t dir = slash ? (size_t)(slash - rule_file) + 1 : 0, bytes = strlen(file);

	if (!bytes || *file == '/' || dir + bytes >= RULE_PATH_BYTES)
		return false;
	for (const char *p = file; *p; p += strcspn(p, "/"), p += *p == '/')
		if (!strncmp(p, "..", 2) && (!p[2] || p[2] == '/'))
			return false;
	memcpy(out, rule_file, dir);
	memcpy(out + dir, file, bytes + 1);
	return true;
}

/* The next line that is neither empty nor a comment; the carriage return before its end is none of it. */
static char *line_next(struct values *v)
{
	while (v->at < v->end) {
		char *line = v->at, *newline = memchr(line, '\n', (size_t)(v->end - line));
		char *stop = newline ? newline : v->end;

		v->at = newline ? newline + 1 : v->end;
		v->line++;
		if (stop > line && stop[-1] == '\r')
			stop--;
		*stop = 0;
		if (stop > line && *line != '#') {
			v->made.text_bytes = (size_t)(stop - line);
			return line;
		}
	}
	return NULL;
}

static const struct ynode *value_next(struct values *v)
{
	const struct ynode *n = v->node;

	if (!v->text) {
		v->node = n ? n->next : NULL;
		return n;
	}
	v->made.text = line_next(v);
	v->made.line = v->line;
	return v->made.text ? &v->made : NULL;
}

static const struct rule_source *list_find(const struct rule_reader *rd, const char *name)
{
	for (uint32_t i = 0; i < rd->source_count; i++)
		if (rd->source[i].list && !strcmp(rd->source[i].name, name))
			return &rd->source[i];
	return NULL;
}

static int file_begin(struct rule_reader *rd, struct values *v, const struct ynode *n, bool number)
{
	static const char *const names[] = {"file", NULL};
	const struct ynode *file = ynode_get(n, "file");
	const struct rule_source *list;
	char path[RULE_PATH_BYTES];
	int rc = read_keys(rd, n, names);

	if (rc)
		return rc;
	if (!file || file->kind != YNODE_SCALAR)
		return rule_err(rd, n, "%s: expected a list, as in [a, b], or {file: name.txt}", n->key);
	if (!rule_list_path(path, rd->tree->name, file->text))
		return rule_err(
			rd, file, "file: expected a name below the rule file's folder, without `..` in it");
	list = list_find(rd, path);
	if (!list)
		return rule_err(rd, file, "file: there is no list %s", path);
	rd->lists = hash_bytes(list->text, list->bytes, rd->lists);
	v->text = malloc(list->bytes + 1);
	if (!v->text)
		return rule_no_memory(rd);
	if (list->bytes)
		memcpy(v->text, list->text, list->bytes);
	v->at = v->text;
	v->end = v->text + list->bytes;
	v->made = (struct ynode){.kind = YNODE_SCALAR, .quoted = !number, .column = 1, .key = n->key};
	v->file.name = list->name;
	while (line_next(v)) /* how many; a NUL at a line's end changes nothing when it is read again */
		v->count++;
	if (!v->count)
		return rule_err(rd, file, "file: %s holds no value", path);
	memcpy(v->text, list->text, list->bytes);
	v->at = v->text;
	v->line = 0;
	rd->tree = &v->file;
	return 0;
}

/* list: a YAML list or a file is wanted; single: one value may stand there instead. */
static int values_begin(
	struct rule_reader *rd, struct values *v, const struct ynode *n, bool list, bool single, bool number)
{
	int rc = 0;

	*v = (struct values){.rule_file = rd->tree};
	if (list && n->kind == YNODE_MAP) {
		rc = file_begin(rd, v, n, number);
	} else if (list && n->kind == YNODE_SEQ) {
		v->node = n->child;
		v->count = n->count;
		if (!v->count)
			rc = rule_err(rd, n, "%s: an empty list never matches", n->key);
	} else if (!list || single) {
		v->made = *n;
		v->made.next = NULL;
		v->node = &v->made;
		v->count = 1;
	} else {
		rc = rule_err(rd, n, "%s: expected a list, as in [a, b], or {file: name.txt}", n->key);
	}
	if (!rc && v->count > LIST_VALUES_MAX)
		rc = rule_err(rd, n, "%s: more than %u values", n->key, LIST_VALUES_MAX);
	rd->all->values += v->count;
	if (!rc && rd->all->values > RULE_VALUES_SUM_MAX)
		rc = rule_err(rd, n, "%s: more than %u values in all rules", n->key, RULE_VALUES_SUM_MAX);
	return rc;
}

static void values_end(struct rule_reader *rd, struct values *v)
{
	rd->tree = v->rule_file;
	free(v->text);
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int values_take(
	struct rule_reader *rd, struct field_reader *fr, struct values *v, struct cond *c, bool number)
{
	const struct ynode *n;
	int rc = 0;

	if (number)
		c->number = rule_pool_get(rd->pool, v->count, sizeof *c->number);
	else
		c->text = rule_pool_get(rd->pool, v->count, sizeof *c->text);
	if (!c->number && !c->text)
		return rule_no_memory(rd);
	while (!rc && (n = value_next(v)))
		rc = number ? set_number(rd, n, fr, &c->number[c->number_count++])
			    : set_text(rd, n, fr, &c->text[c->text_count++]);
	if (number)
		qsort(c->number, c->number_count, sizeof *c->number, by_number);
	return rc;
}

int values_read(struct rule_reader *rd, struct field_reader *fr, const struct ynode *n, bool list)
{
	bool number =
		fr->kind != RULE_KIND_ATTR && fr->kind != FIELD_KIND_TEXT && fr->kind != FIELD_KIND_UUID;
	struct cond *c = cond_new(rd, number ? COND_NUMBERS : COND_TEXTS, n);
	struct values v;
	int rc;

	if (!c)
		return rule_no_memory(rd);
	cond_subject(c, fr);
	c->nocase = fr->nocase;
	fr->nocase_used = true;
	rc = values_begin(rd, &v, n, list, false, number);
	rc = rc ? rc : values_take(rd, fr, &v, c, number);
	values_end(rd, &v);
	cond_append(fr->all, c);
	return rc;
}

/* ---- addresses ---- */

static int by_first(const void *a, const void *b)
{
	return memcmp(((const struct ip_range *)a)->first, ((const struct ip_range *)b)->first, 16);
}

/* Ascending, and apart from each other: a search then needs to look at one. */
static void ranges_join(struct cond *c)
{
	uint32_t kept = 0;

	qsort(c->range, c->range_count, sizeof *c->range, by_first);
	for (uint32_t i = 0; i < c->range_count; i++) {
		struct ip_range *last = kept ? &c->range[kept - 1] : NULL;

		if (!last || memcmp(c->range[i].first, last->last, 16) > 0)
			c->range[kept++] = c->range[i];
		else if (memcmp(c->range[i].last, last->last, 16) > 0)
			memcpy(last->last, c->range[i].last, 16);
	}
	c->range_count = kept;
}

static int range_take(struct rule_reader *rd, const struct ynode *n, struct ip_range *out)
{
	if (n->kind != YNODE_SCALAR || strlen(n->text) != n->text_bytes ||
		!ip_range_from_text(out->first, out->last, n->text))
		return rule_err(rd, n,
			"cidr: expected addresses like 10.0.0.0/8 or 2001:db8::/32, without bits behind the "
			"prefix");
	return 0;
}

int cidr_read(struct rule_reader *rd, struct field_reader *fr, const struct ynode *n)
{
	struct cond *c = cond_new(rd, COND_CIDR, n);
	const struct ynode *it;
	struct values v;
	int rc;

	if (!c)
		return rule_no_memory(rd);
	if (fr->field && fr->field != FIELD_ip)
		return rule_err_key(rd, n,
			"cidr does not apply to %s: ip, src_addr and attributes hold addresses", fr->name);
	cond_subject(c, fr);
	rc = values_begin(rd, &v, n, true, true, false);
	c->range = rc ? NULL : rule_pool_get(rd->pool, v.count, sizeof *c->range);
	if (!rc && !c->range)
		rc = rule_no_memory(rd);
	while (!rc && (it = value_next(&v)))
		rc = range_take(rd, it, &c->range[c->range_count++]);
	values_end(rd, &v);
	if (!rc)
		ranges_join(c);
	cond_append(fr->all, c);
	return rc;
}
