/* Names of attributes as a tree that a walk over an event's JSON follows. Set-up only; pure. */
#include <string.h>

#include "attr_priv.h"

#define TEXT_OF(x) #x
#define ATTR_TEXT(x) TEXT_OF(x)

const char *attr_path_wrong(const char *path)
{
	uint32_t names = 1;

	for (const char *p = path; *p; p++)
		names += *p == '.';
	if (!*path || *path == '.' || strstr(path, "..") || path[strlen(path) - 1] == '.')
		return "expected names joined by dots, as attributes.request.method";
	if (strlen(path) > ATTR_BYTES_MAX || names > ATTR_NAMES_MAX)
		return "at most " ATTR_TEXT(ATTR_NAMES_MAX) " names and " ATTR_TEXT(
			ATTR_BYTES_MAX) " bytes below attributes";
	return NULL;
}

/* Sets *to to the node at the end of the edge, which is made if need be: to the node `want`, or a new one if
 * that is 0. */
static void edge_add(struct attr_tree *tree, uint32_t from, const char *key, uint32_t bytes, uint32_t *to)
{
	uint64_t h = attr_hash(from, key, bytes);
	uint32_t i = (uint32_t)h & tree->edge_mask;

	for (; tree->edge[i].hash; i = (i + 1) & tree->edge_mask)
		if (tree->edge[i].from == from && tree->edge[i].bytes == bytes &&
			!memcmp(tree->edge[i].key, key, bytes)) {
			*to = tree->edge[i].to;
			return;
		}
	if (!*to) {
		*to = tree->node_count++;
		tree->attr[*to] = ATTR_NONE;
	}
	tree->edge[i] = (struct attr_edge){h, key, bytes, (uint16_t)from, (uint16_t)*to};
	tree->inner[from] = true;
	tree->lengths |= 1ull << (bytes < 63 ? bytes : 63);
	if (bytes > tree->key_bytes_max)
		tree->key_bytes_max = bytes;
}

static void path_add(struct attr_tree *tree, const char *path, uint8_t attr)
{
	const char *start[ATTR_NAMES_MAX + 1];
	uint32_t node[ATTR_NAMES_MAX + 1] = {0}, names = 0;

	start[names++] = path;
	for (const char *p = path; *p; p++)
		if (*p == '.')
			start[names++] = p + 1;
	start[names] = path + strlen(path) + 1;
	/* node[i]: after i names. First the way name by name, which makes the nodes, then the joined keys. */
	for (uint32_t i = 0; i < names; i++)
		edge_add(tree, node[i], start[i], (uint32_t)(start[i + 1] - start[i] - 1), &node[i + 1]);
	for (uint32_t i = 0; i < names; i++)
		for (uint32_t k = i + 2; k <= names; k++)
			edge_add(tree, node[i], start[i], (uint32_t)(start[k] - start[i] - 1), &node[k]);
	tree->attr[node[names]] = attr;
}

uint32_t attr_tree_edges(uint32_t count)
{
	uint32_t edges = count * ATTR_NAMES_MAX * (ATTR_NAMES_MAX + 1) / 2, slots = 16;

	while (slots < 2 * edges)
		slots *= 2;
	return slots;
}

void attr_tree_make(struct attr_tree *tree, const char *const *path, uint32_t count)
{
	tree->count = count;
	tree->edge_mask = attr_tree_edges(count) - 1;
	tree->node_count = 1;
	tree->attr[0] = ATTR_NONE;
	for (uint32_t i = 0; i < count; i++)
		path_add(tree, path[i], (uint8_t)i);
}
