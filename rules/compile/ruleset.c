/* Sources in, ruleset out; and what others may ask about one. Control threads make and free rulesets, any
 * thread reads them. A ruleset owns everything it points to, the sources' text included. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ruleset_priv.h"
#include "ytree.h"

#define FILES_MAX 1000

int ruleset_rule_err(const struct rule *rule, const struct cond *cond, struct err *err, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_set(err, -EINVAL, "%s:%u:%u: rule %s: %s", rule->info.file,
		cond ? cond->line : rule->info.line, cond ? cond->column : rule->column, rule->info.id, text);
}

int ruleset_no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory for the ruleset");
}

void ruleset_free(struct ruleset *rs)
{
	if (!rs)
		return;
	hs_free_scratch(rs->scratch);
	for (uint32_t f = 0; f < SUBJECT_COUNT; f++) {
		hs_free_database(rs->gather_db[f]);
		hs_free_database(rs->single_db[f]);
		hs_free_database(rs->edge_db[f]);
		textmap_free(&rs->dict[f].exact);
		textmap_free(&rs->dict[f].folded);
	}
	textmap_free(&rs->pattern_map);
	free(rs->pattern);
	rule_pool_free(&rs->pool);
	free(rs);
}

static int ids_check(const struct ruleset *rs, struct err *err)
{
	struct textmap map = {0};
	int rc = 0;

	for (uint32_t i = 0; i < rs->rule_count && !rc; i++) {
		const struct rule_info *info = &rs->rule[i]->info;
		struct textmap_slot *slot = textmap_add(&map, info->id, (uint32_t)strlen(info->id));

		if (!slot)
			rc = ruleset_no_memory(err);
		else if (slot->value != TEXTMAP_NONE)
			rc = ruleset_rule_err(rs->rule[i], NULL, err, "this id is taken by the rule at %s:%u",
				rs->rule[slot->value]->info.file, rs->rule[slot->value]->info.line);
		else
			slot->value = i;
	}
	textmap_free(&map);
	return rc;
}

static int read_sources(
	struct ruleset *rs, const struct rule_source *source, uint32_t source_count, struct err *err)
{
	rs->source = rule_pool_get(&rs->pool, source_count, sizeof *rs->source);
	if (!rs->source)
		return ruleset_no_memory(err);
	for (uint32_t i = 0; i < source_count; i++) {
		int rc = rules_read(&rs->list, &rs->pool, &source[i], err);

		if (rc)
			return rc;
		rs->source[i].name = rule_pool_text(&rs->pool, source[i].name, strlen(source[i].name));
		rs->source[i].text = rule_pool_text(&rs->pool, source[i].text, source[i].bytes);
		rs->source[i].bytes = source[i].bytes;
		if (!rs->source[i].name || !rs->source[i].text)
			return ruleset_no_memory(err);
		rs->source_count++;
	}
	rs->rule = rule_pool_get(&rs->pool, rs->list.count, sizeof *rs->rule);
	if (!rs->rule)
		return ruleset_no_memory(err);
	for (struct rule *it = rs->list.head; it; it = it->next)
		rs->rule[rs->rule_count++] = it;
	snprintf(rs->version, sizeof rs->version, "%016llx", (unsigned long long)rs->list.version);
	return ids_check(rs, err);
}

static int compile(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, bool metadata_only, struct err *err)
{
	struct ruleset *rs = calloc(1, sizeof *rs);
	int rc;

	*out = NULL;
	if (!rs)
		return ruleset_no_memory(err);
	rs->metadata_only = metadata_only;
	rc = read_sources(rs, source, source_count, err);
	rc = rc ? rc : ruleset_types(rs, err);
	if (!rc && !metadata_only) {
		rc = ruleset_attrs(rs, err);
		rc = rc ? rc : ruleset_patterns(rs, patterns_max, err);
		rc = rc ? rc : ruleset_programs(rs, err);
		rc = rc ? rc : ruleset_databases(rs, err);
	}
	if (rc) {
		ruleset_free(rs);
		return rc;
	}
	*out = rs;
	return 0;
}

int ruleset_compile(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, struct err *err)
{
	return compile(out, source, source_count, patterns_max, false, err);
}

int ruleset_compile_metadata(
	struct ruleset **out, const struct rule_source *source, uint32_t source_count, struct err *err)
{
	return compile(out, source, source_count, 0, true, err);
}

struct ruleset *ruleset_empty(void)
{
	struct ruleset *rs;

	return ruleset_compile(&rs, NULL, 0, 0, NULL) ? NULL : rs;
}

static int file_load(const char *path, char **text, size_t *bytes, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	struct stat st;
	ssize_t n;

	*text = NULL;
	*bytes = 0;
	if (fd < 0 || fstat(fd, &st)) {
		rc = err_set(err, -errno, "%s: %m", path);
	} else if (!S_ISREG(st.st_mode) || st.st_size > YTREE_BYTES_MAX) {
		rc = err_set(err, -EINVAL, "%s: expected a file of at most %u bytes", path, YTREE_BYTES_MAX);
	} else {
		*text = malloc((size_t)st.st_size + 1);
		if (!*text)
			rc = ruleset_no_memory(err);
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

static int is_yaml(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && !strcmp(d->d_name + n - 5, ".yaml");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int ruleset_compile_dir(struct ruleset **out, const char *dir, uint32_t patterns_max, struct err *err)
{
	struct rule_source *source;
	struct dirent **entry = NULL;
	char **path;
	int count = scandir(dir, &entry, is_yaml, by_name), rc = 0;

	*out = NULL;
	if (count < 0)
		return err_set(err, -errno, "%s: %m", dir);
	source = calloc((size_t)count + 1, sizeof *source);
	path = calloc((size_t)count + 1, sizeof *path);
	if (!source || !path)
		rc = ruleset_no_memory(err);
	if (count > FILES_MAX)
		rc = err_set(err, -EINVAL, "%s: %d rule files; at most %d", dir, count, FILES_MAX);
	for (int i = 0; i < count && !rc; i++) {
		if (asprintf(&path[i], "%s/%s", dir, entry[i]->d_name) < 0) {
			path[i] = NULL;
			rc = ruleset_no_memory(err);
			break;
		}
		source[i].name = path[i];
		rc = file_load(path[i], (char **)&source[i].text, &source[i].bytes, err);
	}
	if (!rc)
		rc = ruleset_compile(out, source, (uint32_t)count, patterns_max, err);
	for (int i = 0; i < count; i++) {
		if (source)
			free((char *)source[i].text);
		if (path)
			free(path[i]);
		free(entry[i]);
	}
	free(source);
	free(path);
	free(entry);
	return rc;
}

uint32_t ruleset_rule_count(const struct ruleset *rs)
{
	return rs->rule_count;
}

uint32_t ruleset_pattern_count(const struct ruleset *rs)
{
	return rs->pattern_count;
}

const struct rule_info *ruleset_rule(const struct ruleset *rs, uint32_t index)
{
	return &rs->rule[index]->info;
}

const char *ruleset_version(const struct ruleset *rs)
{
	return rs->version;
}
