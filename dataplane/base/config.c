/* The table of config.def as struct config: defaults, YAML, assignments. Start-up only. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_table.h"
#include "ytree.h"

#define CONFIG_FILE_BYTES_MAX (4u << 20)

static void section_defaults(const struct config_section *section, void *base)
{
	for (uint32_t i = 0; i < config_key_count; i++)
		if (!strcmp(config_key_table[i].section, section->name) && config_key_table[i].def)
			config_value_parse(&config_key_table[i], base, config_key_table[i].def, NULL);
}

void config_defaults(struct config *cfg)
{
	memset(cfg, 0, sizeof *cfg);
	for (uint32_t i = 0; i < config_section_count; i++)
		if (!config_section_table[i].is_list)
			section_defaults(
				&config_section_table[i], (char *)cfg + config_section_table[i].offset);
}

/* A value that is not there: `kafka:` and nothing behind it. */
static bool node_is_null(const struct ynode *node)
{
	return node->kind == YNODE_SCALAR && !node->quoted &&
	       (node->text_bytes == 0 || !strcmp(node->text, "~") || !strcmp(node->text, "null"));
}

/* The same place as `node`, but at its key: where an unknown key is. */
static struct ynode node_of_key(const struct ynode *node)
{
	return (struct ynode){.line = node->key_line, .column = node->key_column};
}

static int key_unknown(const struct ytree *tree, const struct config_section *section,
	const struct ynode *node, struct err *err)
{
	const char *near = config_nearest(section, node->key);
	struct ynode at = node_of_key(node);
	const char *dot = section ? "." : "", *prefix = section ? section->name : "";

	if (near)
		return ynode_err(tree, &at, err, "%s%s%.60s: unknown %s; did you mean %s?", prefix, dot,
			node->key, section ? "key" : "section", near);
	return ynode_err(tree, &at, err, "%s%s%.60s: unknown %s; docs/config.md and --print-config list all",
		prefix, dot, node->key, section ? "key" : "section");
}

/* Reads one mapping of keys into the section's struct. */
static int mapping_read(const struct ytree *tree, const struct config_section *section,
	const struct ynode *map, void *base, struct err *err)
{
	struct err inner;

	if (map->kind != YNODE_MAP)
		return ynode_err(tree, map, err, "%s: expected keys with values (key: value)", section->name);
	YNODE_EACH (it, map) {
		const struct config_key *key = config_key_find(section, it->key, strlen(it->key));

		if (!key)
			return key_unknown(tree, section, it, err);
		if (it->kind != YNODE_SCALAR || node_is_null(it)) {
			char expected[192];

			config_key_expected(key, expected, sizeof expected);
			return ynode_err(tree, it, err, "%s.%s: %s: expected %s%s", section->name, key->name,
				it->kind == YNODE_SCALAR ? "no value" : "not a single value", expected,
				it->kind == YNODE_SEQ && strstr(key->help, "separated by commas")
					? " (several in one text: \"a, b\")"
					: "");
		}
		if (config_value_parse(key, base, it->text, &inner))
			return ynode_err(tree, it, err, "%s", inner.text);
	}
	for (uint32_t i = 0; i < config_key_count; i++)
		if (!strcmp(config_key_table[i].section, section->name) && !config_key_table[i].def &&
			!ynode_get(map, config_key_table[i].name))
			return ynode_err(tree, map, err, "%s: the key %s is missing: %s", section->name,
				config_key_table[i].name, config_key_table[i].help);
	return 0;
}

static int list_read(const struct ytree *tree, const struct config_section *section, const struct ynode *seq,
	struct config *cfg, struct err *err)
{
	uint32_t count = 0;

	if (seq->kind != YNODE_SEQ)
		return ynode_err(tree, seq, err, "%s: expected a list (- name: ...)", section->name);
	YNODE_EACH (it, seq) {
		char *base = (char *)cfg + section->offset + count * section->stride;
		int rc;

		if (count == section->max)
			return ynode_err(
				tree, it, err, "%s: more than %u entries", section->name, section->max);
		section_defaults(section, base);
		memcpy((char *)cfg + section->line_offset + count * sizeof it->line, &it->line,
			sizeof it->line);
		rc = mapping_read(tree, section, it, base, err);
		if (rc)
			return rc;
		count++;
	}
	memcpy((char *)cfg + section->count_offset, &count, sizeof count);
	return 0;
}

static int tree_read(struct config *cfg, const struct ytree *tree, struct err *err)
{
	if (!tree->root || node_is_null(tree->root))
		return 0;
	if (tree->root->kind != YNODE_MAP)
		return ynode_err(tree, tree->root, err, "expected sections (node:, ports:, listeners:, ...)");
	YNODE_EACH (it, tree->root) {
		const struct config_section *section = config_section_find(it->key, strlen(it->key));
		int rc = 0;

		if (!section)
			return key_unknown(tree, NULL, it, err);
		if (node_is_null(it))
			continue;
		if (section->is_list)
			rc = list_read(tree, section, it, cfg, err);
		else
			rc = mapping_read(tree, section, it, (char *)cfg + section->offset, err);
		if (rc)
			return rc;
	}
	return 0;
}

int config_parse(struct config *cfg, const char *text, size_t bytes, const char *name, struct err *err)
{
	struct ytree tree;
	int rc;

	config_defaults(cfg);
	snprintf(cfg->from.file, sizeof cfg->from.file, "%s", name);
	rc = ytree_parse(&tree, text, bytes, name, err);
	if (rc)
		return rc == -ENOMEM ? rc : -EINVAL;
	rc = tree_read(cfg, &tree, err);
	ytree_free(&tree);
	return rc;
}

int config_load(struct config *cfg, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	size_t n = 0;
	char *text;

	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	text = malloc(CONFIG_FILE_BYTES_MAX + 1);
	if (!text)
		rc = err_set(err, -ENOMEM, "%s: no memory", path);
	while (rc == 0) {
		ssize_t got = read(fd, text + n, CONFIG_FILE_BYTES_MAX + 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
		else if (got == 0)
			break;
		n += got > 0 ? (size_t)got : 0;
		if (n > CONFIG_FILE_BYTES_MAX)
			rc = err_set(err, -EINVAL, "%s: larger than %u bytes", path, CONFIG_FILE_BYTES_MAX);
	}
	close(fd);
	if (rc == 0)
		rc = config_parse(cfg, text, n, path, err);
	free(text);
	return rc;
}

int config_set(struct config *cfg, const char *assignment, struct err *err)
{
	const char *equals = strchr(assignment, '='), *dot = strchr(assignment, '.');
	const struct config_section *section;
	const struct config_key *key;
	char name[64];

	if (!equals || !dot || dot > equals)
		return err_set(err, -EINVAL, "'%.80s': expected section.key=value", assignment);
	snprintf(name, sizeof name, "%.*s", (int)(dot - assignment), assignment);
	section = config_section_find(assignment, (size_t)(dot - assignment));
	if (!section) {
		const char *near = config_nearest(NULL, name);

		return err_set(err, -EINVAL, "'%.80s': unknown section%s%s%s", assignment,
			near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
	if (section->is_list)
		return err_set(err, -EINVAL, "'%.80s': %s is a list: it can only be set in the file",
			assignment, section->name);
	snprintf(name, sizeof name, "%.*s", (int)(equals - dot - 1), dot + 1);
	key = config_key_find(section, dot + 1, (size_t)(equals - dot - 1));
	if (!key) {
		const char *near = config_nearest(section, name);

		return err_set(err, -EINVAL, "'%.80s': unknown key%s%s%s", assignment,
			near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
	return config_value_parse(key, (char *)cfg + section->offset, equals + 1, err);
}
