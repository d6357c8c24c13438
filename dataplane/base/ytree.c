/* YAML tree on libyaml's event parser. Set-up only: control threads and tools. The tree, its texts and its
 * copy of the name live in one arena that ytree_free() ends; nothing points into the caller's text.
 *
 * Hostile text: libyaml's own nesting limit, then ours at each event, so that depth, nodes and bytes are
 * bounded before memory is spent; duplicate keys are found by sorting, not by comparing each with each. */
#include "ytree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#define CHUNK_BYTES (64u << 10)
#define CHUNK_FIRST_BYTES 2048u /* each next one is twice as large: there may be very many small trees */

struct chunk {
	struct chunk *next;
	size_t used, bytes;
	_Alignas(16) char data[];
};

struct arena {
	struct chunk *head;
};

/* One open container, and the key that waits for its value. */
struct level {
	struct ynode *node;
	struct ynode **tail;
	const char *key; /* NULL: a key comes next (in a mapping) */
	uint32_t key_line, key_column;
};

struct builder {
	struct ytree *tree;
	yaml_parser_t parser;
	struct level level[YTREE_DEPTH_MAX];
	uint32_t depth;
	uint32_t nodes;
	uint32_t line; /* of the text's first byte */
	bool done;     /* the document has ended */
	struct err *err;
};

static void *arena_get(struct arena *a, size_t bytes)
{
	struct chunk *c = a->head;
	size_t need = (bytes + 15) & ~(size_t)15;

	if (!c || c->bytes - c->used < need) {
		size_t room = c ? 2 * c->bytes : CHUNK_FIRST_BYTES, size;

		room = room < CHUNK_BYTES ? room : CHUNK_BYTES;
		size = need > room ? need : room;

		c = malloc(sizeof *c + size);
		if (!c)
			return NULL;
		*c = (struct chunk){.next = a->head, .bytes = size};
		a->head = c;
	}
	c->used += need;
	return c->data + c->used - need;
}

static char *arena_text(struct arena *a, const void *text, size_t bytes)
{
	char *p = arena_get(a, bytes + 1);

	if (p) {
		memcpy(p, text, bytes);
		p[bytes] = 0;
	}
	return p;
}

static int no_memory(struct builder *b)
{
	return err_set(b->err, -ENOMEM, "%s: out of memory", b->tree->name);
}

static int mark_err(struct builder *b, yaml_mark_t mark, const char *text)
{
	return err_set(
		b->err, -EINVAL, "%s:%zu:%zu: %s", b->tree->name, mark.line + b->line, mark.column + 1, text);
}

/* What libyaml found wrong. A reader error (bad UTF-8, control character) has only an offset. */
static int parser_err(struct builder *b, const char *text, size_t bytes)
{
	const yaml_parser_t *p = &b->parser;
	const char *problem = p->problem ? p->problem : "not YAML";

	if (p->error == YAML_MEMORY_ERROR)
		return no_memory(b);
	if (p->error == YAML_READER_ERROR) {
		yaml_mark_t mark = {0};

		for (size_t i = 0; i < p->problem_offset && i < bytes; i++) {
			mark.column = text[i] == '\n' ? 0 : mark.column + 1;
			mark.line += text[i] == '\n';
		}
		return mark_err(b, mark, problem);
	}
	if (p->context)
		return err_set(b->err, -EINVAL, "%s:%zu:%zu: %s (%s from line %zu)", b->tree->name,
			p->problem_mark.line + b->line, p->problem_mark.column + 1, problem, p->context,
			p->context_mark.line + b->line);
	return mark_err(b, p->problem_mark, problem);
}

/* Makes a node and hangs it into the open container, or makes it the root. */
static int node_add(struct builder *b, enum ynode_kind kind, yaml_mark_t mark, struct ynode **out)
{
	struct level *top = b->depth ? &b->level[b->depth - 1] : NULL;
	struct ynode *node;

	if (++b->nodes > YTREE_NODES_MAX)
		return mark_err(b, mark, "too many nodes");
	node = arena_get(b->tree->arena, sizeof *node);
	if (!node)
		return no_memory(b);
	*node = (struct ynode){
		.kind = kind, .line = (uint32_t)mark.line + b->line, .column = (uint32_t)mark.column + 1};
	if (top) {
		node->key = top->key;
		node->key_line = top->key_line;
		node->key_column = top->key_column;
		top->key = NULL;
		*top->tail = node;
		top->tail = &node->next;
		top->node->count++;
	} else {
		b->tree->root = node;
	}
	*out = node;
	return 0;
}

static bool wants_key(const struct builder *b)
{
	return b->depth && b->level[b->depth - 1].node->kind == YNODE_MAP && !b->level[b->depth - 1].key;
}

static int on_scalar(struct builder *b, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	size_t bytes = ev->data.scalar.length;
	bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	struct ynode *node = NULL;
	char *copy;
	int rc;

	if (ev->data.scalar.anchor)
		return mark_err(b, ev->start_mark, "anchors (&name) are not accepted");
	if (ev->data.scalar.tag)
		return mark_err(b, ev->start_mark, "tags (!name) are not accepted");
	if (memchr(text, 0, bytes))
		return mark_err(b, ev->start_mark, "a NUL byte inside a text is not accepted");
	copy = arena_text(b->tree->arena, text, bytes);
	if (!copy)
		return no_memory(b);
	if (wants_key(b)) {
		struct level *top = &b->level[b->depth - 1];

		if (plain && !strcmp(copy, "<<"))
			return mark_err(b, ev->start_mark, "merge keys (<<) are not accepted");
		top->key = copy;
		top->key_line = (uint32_t)ev->start_mark.line + b->line;
		top->key_column = (uint32_t)ev->start_mark.column + 1;
		return 0;
	}
	rc = node_add(b, YNODE_SCALAR, ev->start_mark, &node);
	if (rc || !node)
		return rc;
	node->text = copy;
	node->text_bytes = bytes;
	node->quoted = !plain;
	return 0;
}

static int on_open(struct builder *b, const yaml_event_t *ev, enum ynode_kind kind)
{
	const yaml_char_t *anchor =
		kind == YNODE_MAP ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor;
	const yaml_char_t *tag = kind == YNODE_MAP ? ev->data.mapping_start.tag : ev->data.sequence_start.tag;
	struct ynode *node;
	int rc;

	if (anchor)
		return mark_err(b, ev->start_mark, "anchors (&name) are not accepted");
	if (tag)
		return mark_err(b, ev->start_mark, "tags (!name) are not accepted");
	if (wants_key(b))
		return mark_err(b, ev->start_mark, "a key must be a plain text");
	if (b->depth == YTREE_DEPTH_MAX)
		return mark_err(b, ev->start_mark, "nested too deeply");
	rc = node_add(b, kind, ev->start_mark, &node);
	if (rc)
		return rc;
	b->level[b->depth++] = (struct level){.node = node, .tail = &node->child};
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct ynode *x = *(struct ynode *const *)a, *y = *(struct ynode *const *)b;
	int order = strcmp(x->key, y->key);

	if (order)
		return order;
	if (x->key_line != y->key_line)
		return x->key_line < y->key_line ? -1 : 1;
	return x->key_column < y->key_column ? -1 : x->key_column > y->key_column;
}

static int on_close(struct builder *b)
{
	const struct ynode *map = b->level[--b->depth].node;
	const struct ynode **list;
	uint32_t n = 0;
	int rc = 0;

	if (map->kind != YNODE_MAP || map->count < 2)
		return 0;
	list = malloc(map->count * sizeof *list);
	if (!list)
		return no_memory(b);
	YNODE_EACH (it, map)
		list[n++] = it;
	qsort(list, n, sizeof *list, by_key);
	for (uint32_t i = 1; i < n && !rc; i++)
		if (!strcmp(list[i - 1]->key, list[i]->key))
			rc = err_set(b->err, -EINVAL,
				"%s:%u:%u: duplicate key %.100s; the first is at line %u", b->tree->name,
				list[i]->key_line, list[i]->key_column, list[i]->key, list[i - 1]->key_line);
	free(list);
	return rc;
}

static int on_event(struct builder *b, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->done)
			return mark_err(b, ev->start_mark, "one document only");
		if (ev->data.document_start.tag_directives.start !=
			ev->data.document_start.tag_directives.end)
			return mark_err(b, ev->start_mark, "tag directives are not accepted");
		return 0;
	case YAML_DOCUMENT_END_EVENT:
		b->done = true;
		return 0;
	case YAML_SCALAR_EVENT:
		return on_scalar(b, ev);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, ev, YNODE_MAP);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, ev, YNODE_SEQ);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		return on_close(b);
	case YAML_ALIAS_EVENT:
		return mark_err(b, ev->start_mark, "aliases (*name) are not accepted");
	default:
		return 0;
	}
}

static int build(struct builder *b, const char *text, size_t bytes)
{
	yaml_event_t ev;
	bool end = false;
	int rc = 0;

	if (!yaml_parser_initialize(&b->parser))
		return no_memory(b);
	yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b->parser, (const unsigned char *)text, bytes);
	while (!rc && !end) {
		if (!yaml_parser_parse(&b->parser, &ev)) {
			rc = parser_err(b, text, bytes);
			break;
		}
		end = ev.type == YAML_STREAM_END_EVENT;
		rc = on_event(b, &ev);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&b->parser);
	return rc;
}

int ytree_parse_part(
	struct ytree *tree, const char *text, size_t bytes, uint32_t line, const char *name, struct err *err)
{
	struct builder *b;
	struct arena *arena;
	struct ynode *root;
	int rc;

	*tree = (struct ytree){0};
	if (bytes > YTREE_BYTES_MAX)
		return err_set(
			err, -EINVAL, "%s:%u:1: %zu bytes; at most %u", name, line, bytes, YTREE_BYTES_MAX);
	b = calloc(1, sizeof *b);
	arena = calloc(1, sizeof *arena);
	tree->arena = arena;
	if (arena)
		tree->name = arena_text(arena, name, strlen(name));
	if (!b || !tree->name) {
		rc = err_set(err, -ENOMEM, "%s: out of memory", name);
	} else {
		b->tree = tree;
		b->err = err;
		b->line = line;
		rc = build(b, text ? text : "", bytes);
	}
	free(b);
	if (rc) {
		ytree_free(tree);
		return rc;
	}
	root = tree->root;
	if (root && root->kind == YNODE_SCALAR && !root->quoted && !root->text_bytes)
		tree->root = NULL; /* "---" alone, or comments after it */
	return 0;
}

int ytree_parse(struct ytree *tree, const char *text, size_t bytes, const char *name, struct err *err)
{
	return ytree_parse_part(tree, text, bytes, 1, name, err);
}

void ytree_free(struct ytree *tree)
{
	struct arena *arena = tree->arena;

	if (arena)
		for (struct chunk *c = arena->head, *next; c; c = next) {
			next = c->next;
			free(c);
		}
	free(arena);
	*tree = (struct ytree){0};
}

const struct ynode *ynode_get(const struct ynode *map, const char *key)
{
	if (map && map->kind == YNODE_MAP)
		YNODE_EACH (it, map)
			if (!strcmp(it->key, key))
				return it;
	return NULL;
}

int ynode_err(const struct ytree *tree, const struct ynode *node, struct err *err, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_set(err, -EINVAL, "%s:%u:%u: %s", tree->name, node ? node->line : 1,
		node ? node->column : 1, text);
}
