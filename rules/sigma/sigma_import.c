/* The import as a whole: files into documents, documents into rules, each compiled by itself before it
 * counts. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ruleset.h"
#include "sigma_priv.h"
#include "textmap.h"

const char *const sigma_why_name[SIGMA_WHY_COUNT] = {
#define SIGMA_WHY(name, help) #name,
	SIGMA_WHYS(SIGMA_WHY)
#undef SIGMA_WHY
};

/* All of one import. */
struct import {
	struct sigma sg;
	FILE *out;
	uint32_t patterns_max;
	uint64_t bytes, nodes;
	struct textmap ids; /* of rules that are written */
	struct sigma_report *report;
	void (*line)(void *arg, const char *text);
	void *arg;
};

/* ---- errors ---- */

int sigma_no_memory(struct sigma *sg)
{
	return err_set(sg->err, -ENOMEM, "out of memory for the import");
}

static int refuse_at(
	struct sigma *sg, enum sigma_why why, uint32_t line, uint32_t column, const char *fmt, va_list ap)
{
	const struct sigma_doc *doc = sg->now;
	char text[400];

	vsnprintf(text, sizeof text, fmt, ap);
	sg->why = why;
	return err_set(sg->err, -EINVAL, "%s:%u:%u: %.200s%s%.64s%s: %s",
		doc->tree.name ? doc->tree.name : "", line, column, doc->title ? doc->title : "no title",
		doc->id ? " (" : "", doc->id ? doc->id : "", doc->id ? ")" : "", text);
}

int sigma_refuse_at(
	struct sigma *sg, enum sigma_why why, uint32_t line, uint32_t column, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	refuse_at(sg, why, line, column, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int sigma_refuse(struct sigma *sg, enum sigma_why why, const struct ynode *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	refuse_at(sg, why, at ? at->line : sg->now->line, at ? at->column : 1, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int sigma_refuse_key(struct sigma *sg, enum sigma_why why, const struct ynode *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	refuse_at(sg, why, at->key ? at->key_line : at->line, at->key ? at->key_column : at->column, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* The document's last word: err says why. Whatever is no refusal ends the import. */
static int doc_refused(struct import *im, struct sigma_doc *doc, int rc)
{
	if (rc == -ENOMEM && !im->sg.full)
		return rc;
	doc->state = SIGMA_REFUSED;
	im->report->refused++;
	im->report->refused_for[im->sg.why]++;
	if (im->line)
		im->line(im->arg, im->sg.err->text);
	return 0;
}

/* ---- documents ---- */

static uint64_t nodes_of(const struct ynode *n)
{
	uint64_t sum = 1;

	if (n->kind != YNODE_SCALAR)
		YNODE_EACH (it, n)
			sum += nodes_of(it);
	return sum;
}

static const char *scalar_of(const struct ynode *root, const char *key)
{
	const struct ynode *n = ynode_get(root, key);

	return n && n->kind == YNODE_SCALAR && n->text_bytes ? n->text : NULL;
}

static int name_add(struct import *im, const char *name, uint32_t index)
{
	struct textmap_slot *slot = name ? textmap_add(&im->sg.names, name, (uint32_t)strlen(name)) : NULL;

	if (!name)
		return 0;
	if (!slot)
		return sigma_no_memory(&im->sg);
	if (slot->value == TEXTMAP_NONE)
		slot->value = index;
	return 0;
}

struct sigma_doc *sigma_doc_find(struct sigma *sg, const char *name)
{
	const struct textmap_slot *slot =
		sg->names.slot ? textmap_find(&sg->names, name, (uint32_t)strlen(name)) : NULL;

	return slot ? &sg->doc[slot->value] : NULL;
}

static int head_read(struct import *im, struct sigma_doc *doc, uint32_t index)
{
	struct sigma *sg = &im->sg;
	const struct ynode *root = doc->tree.root;
	const char *status;
	int rc;

	if (root->kind != YNODE_MAP)
		return sigma_refuse(sg, SIGMA_WHY_kind, root, "expected a Sigma rule, a mapping");
	doc->title = scalar_of(root, "title");
	doc->id = scalar_of(root, "id");
	doc->name = scalar_of(root, "name");
	doc->correlation = ynode_get(root, "correlation");
	rc = name_add(im, doc->id, index);
	rc = rc ? rc : name_add(im, doc->name, index);
	if (rc)
		return rc;
	if (ynode_get(root, "action"))
		return sigma_refuse_key(sg, SIGMA_WHY_kind, ynode_get(root, "action"),
			"action is of Sigma 1: write each rule whole");
	if (ynode_get(root, "filter"))
		return sigma_refuse_key(sg, SIGMA_WHY_kind, ynode_get(root, "filter"),
			"filters are not imported: the rules that it names match more than with it; use "
			"`allow`");
	if (!doc->title)
		return sigma_refuse(sg, SIGMA_WHY_kind, root, "title is missing");
	if (!doc->correlation && !ynode_get(root, "detection"))
		return sigma_refuse(sg, SIGMA_WHY_kind, root, "neither detection nor correlation");
	if (!doc->correlation && !ynode_get(root, "logsource"))
		return sigma_refuse(sg, SIGMA_WHY_logsource, root, "logsource is missing");
	if (ynode_get(root, "level") && !sigma_severity(ynode_get(root, "level")))
		return sigma_refuse(sg, SIGMA_WHY_value, ynode_get(root, "level"),
			"level: expected informational, low, medium, high or critical");
	status = scalar_of(root, "status");
	if (status && (!strcmp(status, "deprecated") || !strcmp(status, "unsupported")))
		return sigma_refuse(
			sg, SIGMA_WHY_status, ynode_get(root, "status"), "its status is %s", status);
	return 0;
}

static struct sigma_doc *doc_new(struct import *im)
{
	struct sigma *sg = &im->sg;
	struct sigma_doc *more;

	if (sg->doc_count == sg->doc_room) {
		sg->doc_room = sg->doc_room ? sg->doc_room * 2 : 64;
		more = realloc(sg->doc, sg->doc_room * sizeof *more);
		if (!more)
			return NULL;
		sg->doc = more;
	}
	sg->doc[sg->doc_count] = (struct sigma_doc){0};
	return &sg->doc[sg->doc_count++];
}

static int doc_read(struct import *im, const char *text, size_t bytes, uint32_t line, const char *name)
{
	struct sigma *sg = &im->sg;
	struct sigma_doc *doc;
	int rc;

	if (sg->doc_count == SIGMA_DOCUMENTS_MAX)
		return err_set(
			sg->err, -E2BIG, "%s:%u: more than %u documents", name, line, SIGMA_DOCUMENTS_MAX);
	doc = doc_new(im);
	if (!doc)
		return sigma_no_memory(sg);
	doc->line = line;
	sg->now = doc;
	rc = ytree_parse_part(&doc->tree, text, bytes, line, name, sg->err);
	if (!rc && !doc->tree.root) {
		ytree_free(&doc->tree);
		sg->doc_count--;
		return 0; /* nothing but comments */
	}
	im->report->documents++;
	sg->why = SIGMA_WHY_yaml;
	if (rc)
		return doc_refused(im, doc, rc);
	doc->line = doc->tree.root->line;
	im->nodes += nodes_of(doc->tree.root);
	if (im->nodes > SIGMA_NODES_MAX)
		return err_set(sg->err, -E2BIG, "%s:%u: more than %u keys and values in all documents", name,
			line, SIGMA_NODES_MAX);
	rc = head_read(im, doc, sg->doc_count - 1);
	return rc ? doc_refused(im, doc, rc) : 0;
}

/* A line of three dashes begins a document, wherever it stands: YAML has no text in which it could be
 * anything else. */
static int source_read(struct import *im, const struct sigma_source *source)
{
	const char *p = source->text, *end = p + source->bytes, *start = p;
	uint32_t line = 1, first = 1;
	int rc = 0;

	im->bytes += source->bytes;
	if (im->bytes > SIGMA_BYTES_MAX)
		return err_set(im->sg.err, -E2BIG, "%s: more than %u bytes in all files", source->name,
			SIGMA_BYTES_MAX);
	while (p < end && !rc) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));

		if (p > start && end - p >= 3 && !memcmp(p, "---", 3) &&
			(end - p == 3 || strchr(" \t\r\n", p[3]))) {
			rc = doc_read(im, start, (size_t)(p - start), first, source->name);
			start = p;
			first = line;
		}
		p = newline ? newline + 1 : end;
		line++;
	}
	return rc ? rc : doc_read(im, start, (size_t)(end - start), first, source->name);
}

/* ---- rules ---- */

int sigma_doc_convert(struct sigma *sg, struct sigma_doc *doc)
{
	const struct ynode *detection = ynode_get(doc->tree.root, "detection");
	const struct sx *x = NULL;
	struct sx *all;
	int rc;

	if (doc->when)
		return 0;
	sg->now = doc;
	if (doc->state == SIGMA_REFUSED)
		return sigma_refuse(sg, SIGMA_WHY_correlation, NULL, "is refused for itself, as said above");
	doc->source = sigma_map_logsource(sg, ynode_get(doc->tree.root, "logsource"));
	if (!doc->source)
		return -EINVAL;
	rc = sigma_detection_read(sg, doc->source, detection, &x);
	if (rc)
		return rc;
	all = sx_new(sg, SX_ALL);
	if (!all)
		return -ENOMEM;
	YNODE_EACH (it, doc->source->when) {
		struct sx raw = {.kind = SX_RAW, .raw = it};

		if (sx_append(sg, all, &raw))
			return -ENOMEM;
	}
	if (sx_append(sg, all, x))
		return -ENOMEM;
	doc->when = sx_simple(sg, all);
	return doc->when ? 0 : -ENOMEM;
}

/* Our id: Sigma's, else its name, else the title, in what characters an id may have. */
static void id_make(char out[65], const struct sigma_doc *doc, uint32_t order)
{
	const char *from = doc->id ? doc->id : doc->name ? doc->name : doc->title;
	size_t n = 0;

	for (; *from && n < 60; from++) {
		char c = *from >= 'A' && *from <= 'Z' ? (char)(*from | 0x20) : *from;
		bool kept =
			(c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';

		if (kept || (n && out[n - 1] != '-'))
			out[n++] = kept ? c : '-';
	}
	if (!n)
		out[n++] = '-';
	snprintf(out + n, 65 - n, "%s", order ? ".b" : "");
}

static int id_free(struct import *im, const char *id)
{
	if (!im->ids.slot || !textmap_find(&im->ids, id, (uint32_t)strlen(id)))
		return 0;
	return sigma_refuse(&im->sg, SIGMA_WHY_id, NULL, "the id %s is taken by a rule before this one", id);
}

/* Of the rules of a document that is imported. */
static int ids_take(struct import *im, const struct sigma_doc *doc, uint32_t rules)
{
	char id[65], *kept;

	for (uint32_t order = 0; order < rules; order++) {
		id_make(id, doc, order);
		kept = rule_pool_text(&im->sg.pool, id, strlen(id));
		if (!kept || !textmap_add(&im->ids, kept, (uint32_t)strlen(kept)))
			return sigma_no_memory(&im->sg);
	}
	return 0;
}

static int rule_write(struct import *im, struct sigma_doc *doc, FILE *f, uint32_t order, bool *more)
{
	struct sigma *sg = &im->sg;
	char id[65];
	int rc;

	id_make(id, doc, order);
	rc = id_free(im, id);
	if (rc)
		return rc;
	sigma_head_write(f, doc, id);
	if (doc->correlation) {
		rc = sigma_correlation_write(sg, f, doc, order, more);
	} else {
		rc = sigma_doc_convert(sg, doc);
		if (rc)
			return rc;
		fputs("    when:\n", f);
		sx_write(sg, f, doc->when, 6);
	}
	fputs("    then: [alert]\n", f);
	if (!rc && sg->tests > SIGMA_TESTS_MAX)
		rc = sigma_refuse(
			sg, SIGMA_WHY_condition, NULL, "more than %u tests in one rule", SIGMA_TESTS_MAX);
	return rc;
}

/* The text has to be a ruleset by itself. */
static int rule_check(struct import *im, const char *text, size_t bytes)
{
	const struct rule_source source = {.name = "", .text = text, .bytes = bytes};
	struct ruleset *rs = NULL;
	struct err err = {0};
	const char *at;
	int rc = ruleset_compile(&rs, &source, 1, im->patterns_max, &err);

	ruleset_free(rs);
	if (rc == 0)
		return 0;
	if (rc == -ENOMEM)
		return sigma_no_memory(&im->sg);
	at = strstr(err.text, ": rule ");
	at = at ? strstr(at + 2, ": ") : NULL;
	return sigma_refuse(&im->sg, SIGMA_WHY_compile, NULL, "%s", at ? at + 2 : err.text);
}

/* One rule of the document, checked, behind those that are there already. */
static int rule_import(struct import *im, struct sigma_doc *doc, FILE *all, uint32_t order, bool *more)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);
	int rc;

	if (!f)
		return sigma_no_memory(&im->sg);
	im->sg.tests = 0;
	im->sg.nodes = 0;
	im->sg.full = false;
	im->sg.now = doc;
	fputs("rules:\n", f);
	rc = rule_write(im, doc, f, order, more);
	if (fclose(f) && !rc)
		rc = sigma_no_memory(&im->sg);
	rc = rc ? rc : rule_check(im, text, bytes);
	if (!rc)
		fwrite(text + strlen("rules:\n"), 1, bytes - strlen("rules:\n"), all);
	free(text);
	return rc;
}

/* All rules of a document, or none of them. */
static int doc_import(struct import *im, struct sigma_doc *doc)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *all = open_memstream(&text, &bytes);
	uint32_t rules = 0;
	bool more = true;
	int rc = all ? 0 : sigma_no_memory(&im->sg);

	while (more && !rc) {
		more = false;
		rc = rule_import(im, doc, all, rules++, &more);
	}
	if (all && fclose(all) && !rc)
		rc = sigma_no_memory(&im->sg);
	if (!rc && doc->correlation)
		rc = sigma_correlation_used(&im->sg, doc);
	rc = rc ? rc : ids_take(im, doc, rules);
	if (!rc) {
		fwrite(text, 1, bytes, im->out);
		im->report->rules += rules;
		im->report->imported++;
		doc->state = SIGMA_IMPORTED;
	}
	free(text);
	return rc ? doc_refused(im, doc, rc) : 0;
}

static int docs_import(struct import *im)
{
	struct sigma *sg = &im->sg;
	int rc = 0;

	for (uint32_t i = 0; i < sg->doc_count && !rc; i++) {
		sg->now = &sg->doc[i];
		if (sg->doc[i].state == SIGMA_OPEN && sg->doc[i].correlation) {
			rc = sigma_correlation_link(sg, &sg->doc[i]);
			rc = rc ? doc_refused(im, &sg->doc[i], rc) : 0;
		}
	}
	for (uint32_t i = 0; i < sg->doc_count && !rc; i++)
		if (sg->doc[i].state == SIGMA_OPEN && !sg->doc[i].user)
			rc = doc_import(im, &sg->doc[i]);
	for (uint32_t i = 0; i < sg->doc_count && !rc; i++) {
		struct sigma_doc *doc = &sg->doc[i];

		if (doc->state != SIGMA_OPEN)
			continue;
		if (doc->used) {
			doc->state = SIGMA_USED;
			im->report->used++;
			continue;
		}
		sg->now = doc;
		sg->full = false;
		rc = doc_refused(im, doc,
			sigma_refuse(sg, SIGMA_WHY_correlation, NULL,
				"stands for the correlation %.100s, which is refused", doc->user->title));
	}
	return rc;
}

int sigma_import(FILE *out, const struct sigma_source *map, const struct sigma_source *source, uint32_t count,
	uint32_t patterns_max, struct sigma_report *report, void (*line)(void *arg, const char *text),
	void *arg, struct err *err)
{
	struct err own = {0};
	struct import im = {.sg = {.err = err ? err : &own},
		.out = out,
		.patterns_max = patterns_max,
		.report = report,
		.line = line,
		.arg = arg};
	int rc;

	*report = (struct sigma_report){0};
	fputs("# Made from Sigma rules by `sluicectl rules import`.\nrules:\n", out);
	rc = sigma_map_read(&im.sg, map);
	for (uint32_t i = 0; i < count && !rc; i++)
		rc = source_read(&im, &source[i]);
	rc = rc ? rc : docs_import(&im);
	if (!rc && ferror(out))
		rc = err_set(im.sg.err, -EIO, "the rules cannot be written");
	for (uint32_t i = 0; i < im.sg.doc_count; i++)
		ytree_free(&im.sg.doc[i].tree);
	free(im.sg.doc);
	ytree_free(&im.sg.map.tree);
	textmap_free(&im.sg.names);
	textmap_free(&im.ids);
	rule_pool_free(&im.sg.pool);
	return rc;
}
