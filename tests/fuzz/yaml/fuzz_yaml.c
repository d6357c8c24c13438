/* Any bytes as YAML: a tree that keeps the header's promises, or an error with a place. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ytree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(const struct ynode *node, uint32_t depth)
{
	uint32_t n = 0;

	if (depth > YTREE_DEPTH_MAX || !node->line || !node->column)
		abort();
	if (node->kind == YNODE_SCALAR) {
		if (node->child || strlen(node->text) != node->text_bytes)
			abort();
		return;
	}
	YNODE_EACH (it, node) {
		n++;
		if ((node->kind == YNODE_MAP) != (it->key != NULL))
			abort();
		if (it->key && ynode_get(node, it->key) != it)
			abort();
		check(it, depth + 1);
	}
	if (n != node->count)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct ytree tree;
	struct err err = {0};

	if (ytree_parse(&tree, (const char *)data, bytes, "fuzz", &err)) {
		if (strncmp(err.text, "fuzz:", 5) || tree.arena)
			abort();
		return 0;
	}
	if (tree.root)
		check(tree.root, 0);
	ytree_free(&tree);
	return 0;
}
