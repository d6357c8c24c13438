/* Rule files from disk, with the lists that they name. Set-up only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rule_ast.h"
#include "ytree.h"

#define FILES_MAX 1000u

int rule_file_load(const char *path, char **text, size_t *bytes, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	struct stat st;
	ssize_t n;

	*text = NULL;
	*bytes = 0;
	if (fd < 0 || fstat(fd, &st)) {
		rc = err_set(err, -errno, "%s: %m", path);
	} else if (S_ISDIR(st.st_mode)) {
		rc = err_set(err, -EISDIR, "%s: a folder: name the files in it", path);
	} else if (!S_ISREG(st.st_mode) || st.st_size > YTREE_BYTES_MAX) {
		rc = err_set(err, -EINVAL, "%s: expected a file of at most %u bytes", path, YTREE_BYTES_MAX);
	} else {
		*text = malloc((size_t)st.st_size + 1);
		if (!*text)
			rc = err_set(err, -ENOMEM, "%s: out of memory", path);
		while (!rc && *bytes < (size_t)st.st_size) {
			n = read(fd, *text + *bytes, (size_t)st.st_size - *bytes);
			if (n < 0)
				rc = err_set(err, -errno, "%s: %m", path);
			if (n <= 0)
				break;
			*bytes += (size_t)n;
		}
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Adds a file that is not there yet. */
static int file_add(struct rule_files *out, const char *path, bool list, struct err *err)
{
	struct rule_source *more, *source;
	char *text;
	int rc;

	for (uint32_t i = 0; list && i < out->count; i++)
		if (out->source[i].list && !strcmp(out->source[i].name, path))
			return 0;
	if (out->count == FILES_MAX)
		return err_set(err, -EINVAL, "%s: more than %u rule files and lists", path, FILES_MAX);
	more = realloc(out->source, (out->count + 1u) * sizeof *more);
	if (!more)
		return err_set(err, -ENOMEM, "%s: out of memory", path);
	out->source = more;
	source = &more[out->count++];
	*source = (struct rule_source){.name = strdup(path), .list = list};
	if (!source->name)
		return err_set(err, -ENOMEM, "%s: out of memory", path);
	rc = rule_file_load(path, &text, &source->bytes, err);
	source->text = text;
	out->bytes += source->bytes;
	if (!rc && out->bytes > RULE_SOURCES_BYTES_MAX)
		rc = err_set(err, -EINVAL, "%s: more than %u bytes in all rule files and lists", path,
			RULE_SOURCES_BYTES_MAX);
	return rc;
}

/* Each {file: ...} below `in` and `cidr`, wherever they stand; names that are none are found when the rules
 * are read. */
static int lists_add(struct rule_files *out, const struct ytree *tree, const struct ynode *n, struct err *err)
{
	const struct ynode *file = NULL;
	char path[RULE_PATH_BYTES];
	int rc = 0;

	if (n->key && n->kind == YNODE_MAP && (!strcmp(n->key, "in") || !strcmp(n->key, "cidr")))
		file = ynode_get(n, "file");
	if (file && file->kind == YNODE_SCALAR && rule_list_path(path, tree->name, file->text)) {
		rc = file_add(out, path, true, err);
		if (rc)
			err_prefix(err, "%s:%u:%u", tree->name, file->line, file->column);
	}
	for (const struct ynode *it = n->kind == YNODE_SCALAR ? NULL : n->child; it && !rc; it = it->next)
		rc = lists_add(out, tree, it, err);
	return rc;
}

static int file_lists(struct rule_files *out, uint32_t index, struct err *err)
{
	const struct rule_source *source = &out->source[index];
	struct err found_later;
	struct ytree tree;
	int rc;

	if (source->list || !memmem(source->text, source->bytes, "file", 4))
		return 0;
	rc = ytree_parse(&tree, source->text, source->bytes, source->name, &found_later);
	if (rc) /* no YAML: told when the rules are read */
		return rc == -EINVAL ? 0 : err_set(err, rc, "%s", found_later.text);
	rc = tree.root ? lists_add(out, &tree, tree.root, err) : 0;
	ytree_free(&tree);
	return rc;
}

int rule_files_read(struct rule_files *out, const char *const *path, uint32_t count, struct err *err)
{
	int rc = 0;

	*out = (struct rule_files){0};
	for (uint32_t i = 0; i < count && !rc; i++)
		rc = file_add(out, path[i], false, err);
	for (uint32_t i = 0; i < count && !rc; i++)
		rc = file_lists(out, i, err);
	if (rc)
		rule_files_free(out);
	return rc;
}

void rule_files_free(struct rule_files *files)
{
	for (uint32_t i = 0; i < files->count; i++) {
		free((char *)files->source[i].name);
		free((char *)files->source[i].text);
	}
	free(files->source);
	*files = (struct rule_files){0};
}

static int is_yaml(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && !strcmp(d->d_name + n - 5, ".yaml");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int rule_files_read_dir(struct rule_files *out, const char *dir, struct err *err)
{
	struct dirent **entry = NULL;
	char **path;
	int count = scandir(dir, &entry, is_yaml, by_name), rc = 0;

	*out = (struct rule_files){0};
	if (count < 0)
		return err_set(err, -errno, "rules.dir: '%s': %m", dir);
	path = calloc((size_t)count + 1, sizeof *path);
	if (!path)
		rc = err_set(err, -ENOMEM, "%s: out of memory", dir);
	for (int i = 0; i < count; i++) {
		if (!rc && asprintf(&path[i], "%s/%s", dir, entry[i]->d_name) < 0) {
			path[i] = NULL;
			rc = err_set(err, -ENOMEM, "%s: out of memory", dir);
		}
		free(entry[i]);
	}
	free(entry);
	if (!rc)
		rc = rule_files_read(out, (const char *const *)path, (uint32_t)count, err);
	for (int i = 0; path && i < count; i++)
		free(path[i]);
	free(path);
	return rc;
}
