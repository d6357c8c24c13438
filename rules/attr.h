/* Attributes of events by name, as in `attributes.plan`: names as a tree, and one walk over an event's JSON
 * that finds the values under all names of a tree. What is found are places in the raw bytes; nothing is
 * decoded until someone looks at it. Names are set-up; the walk is for any thread, pure, without allocation.
 */
#ifndef SLUICE_ATTR_H
#define SLUICE_ATTR_H

#include <stdbool.h>
#include <stdint.h>

#define ATTR_PREFIX "attributes."
#define ATTRS_MAX 64	   /* attributes that a tree has */
#define ATTR_BYTES_MAX 200 /* of an attribute's names and dots */
#define ATTR_NAMES_MAX 8   /* names of an attribute, one inside the other */

/* Node 0 is `attributes` itself. An edge leads from a node to what stands below it under a key; a key may
 * hold dots itself, so "a.b" is an edge beside the one from "a" to "b". */
#define ATTR_NONE 0xff
#define ATTR_NODES_MAX (ATTRS_MAX * ATTR_NAMES_MAX + 1)

struct attr_edge {
	uint64_t hash; /* 0: free */
	const char *key;
	uint32_t bytes;
	uint16_t from, to;
};

struct attr_tree {
	uint32_t count;		      /* attributes */
	uint8_t attr[ATTR_NODES_MAX]; /* of a node: its attribute, or ATTR_NONE */
	bool inner[ATTR_NODES_MAX];   /* of a node: edges begin here */
	uint32_t node_count;
	struct attr_edge *edge;
	uint32_t edge_mask;
	uint32_t key_bytes_max;
	uint64_t lengths; /* bit of each key's length; 63: that and longer */
};

/* What an event has under an attribute's name. */
enum attr_kind {
	ATTR_KIND_TEXT,
	ATTR_KIND_NUMBER,
	ATTR_KIND_WORD,
	ATTR_KIND_OTHER /* object, array: only there */
};

struct attr_value {
	uint16_t start, bytes; /* in raw; a text without its quotes */
	uint8_t kind;	       /* enum attr_kind */
	bool escaped;
	uint8_t rank; /* where it was found: enum attr_rank of attr_walk.c */
};

/* What is wrong with an attribute's names below `attributes.`; NULL: nothing. */
const char *attr_path_wrong(const char *path);
/* Edges that a tree of so many attributes needs room for, zero at first. */
uint32_t attr_tree_edges(uint32_t count);
/* The tree of these paths, each once, at most ATTRS_MAX, in *tree, which is zero but for its edges. The paths
 * are borrowed. */
void attr_tree_make(struct attr_tree *tree, const char *const *path, uint32_t count);

/* Finds the attributes of an event of this type (enum event_type): value[i] of each that it has, which are
 * the bits returned. The parser has accepted these bytes, at most EVENT_BYTES_MAX; whatever stands there all
 * the same, nothing beyond their end is read. */
uint64_t attr_walk(const struct attr_tree *tree, const uint8_t *raw, uint32_t raw_bytes, uint8_t type,
	struct attr_value *value);

/* Decodes the text of a value or key that is escaped, of at most ATTR_ESCAPED_MAX bytes: of none longer the
 * text may be as short as a sixth of that. Nothing beyond its end is read, whatever it is. out: room for as
 * many bytes and ATTR_DECODE_PAD more. Returns the bytes of the text. */
#define ATTR_ESCAPED_MAX 12288u
#define ATTR_DECODE_PAD 16u
uint32_t attr_decode(uint8_t *out, const uint8_t *text, uint32_t bytes);

#endif
