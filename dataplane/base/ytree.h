/* A YAML document as a tree with the place of each node, for config and rule files. Reads one document;
 * anchors, aliases, tags and merge keys are refused, as are duplicate keys; depth, node count and text size
 * are bounded, so that hostile input ends in an error. Set-up only (allocates). */
#ifndef SLUICE_YTREE_H
#define SLUICE_YTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define YTREE_DEPTH_MAX 32
#define YTREE_NODES_MAX 2000000
#define YTREE_BYTES_MAX (64u << 20)

enum ynode_kind { YNODE_SCALAR, YNODE_MAP, YNODE_SEQ };

struct ynode {
	enum ynode_kind kind;
	bool quoted;	       /* scalar in quotes: text, never a number, boolean or null */
	uint32_t line, column; /* 1-based place of the node's first byte */
	const char *key;       /* in a mapping: this entry's key, NUL-terminated; else NULL */
	uint32_t key_line, key_column;
	const char *text; /* scalar: NUL-terminated; may hold no NUL inside */
	size_t text_bytes;
	uint32_t count;	     /* map, seq: number of children */
	struct ynode *child; /* first child, or NULL */
	struct ynode *next;  /* next sibling, or NULL */
};

struct ytree {
	struct ynode *root; /* NULL for an empty document */
	const char *name;   /* as given, for error texts; copied */
	void *arena;
};

/* Parses text (need not be NUL-terminated). Returns 0, or -EINVAL with "name:line:column: ..." in err, or
 * -ENOMEM. On success the caller owns *tree and ends it with ytree_free(). */
int ytree_parse(struct ytree *tree, const char *text, size_t bytes, const char *name, struct err *err);
/* The same for a part of a longer text: line is the part's first one there, from 1 on. */
int ytree_parse_part(
	struct ytree *tree, const char *text, size_t bytes, uint32_t line, const char *name, struct err *err);
void ytree_free(struct ytree *tree);

/* The child of a mapping by key, or NULL. */
const struct ynode *ynode_get(const struct ynode *map, const char *key);

/* Fills err with "name:line:column: " and the text; returns -EINVAL. */
int ynode_err(const struct ytree *tree, const struct ynode *node, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define YNODE_EACH(it, parent) for (const struct ynode *it = (parent)->child; it; it = it->next)

#endif
