/* `rules import`: Sigma rules to rule files. No daemon needed. */
#include "cli.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "ruleset.h"
#include "sigma.h"

#define FILES_MAX 100000u
#define DEPTH_MAX 32

struct files {
	struct sigma_source *source;
	size_t count, bytes;
};

static void files_free(struct files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free((char *)files->source[i].name);
		free((char *)files->source[i].text);
	}
	free(files->source);
}

static int file_add(struct files *files, const char *path, struct err *err)
{
	struct sigma_source *more;
	char *text = NULL;
	int rc;

	if (files->count == FILES_MAX)
		return err_set(err, -EINVAL, "%s: more than %u files", path, FILES_MAX);
	more = realloc(files->source, (files->count + 1) * sizeof *more);
	if (!more)
		return err_set(err, -ENOMEM, "%s: out of memory", path);
	files->source = more;
	more += files->count++;
	*more = (struct sigma_source){.name = strdup(path)};
	rc = more->name ? rule_file_load(path, &text, &more->bytes, err)
			: err_set(err, -ENOMEM, "out of memory");
	more->text = text;
	files->bytes += more->bytes;
	if (!rc && files->bytes > SIGMA_BYTES_MAX)
		rc = err_set(err, -EINVAL, "%s: more than %u bytes in all files", path, SIGMA_BYTES_MAX);
	return rc;
}

static bool is_yaml(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && (!strcmp(dot, ".yml") || !strcmp(dot, ".yaml"));
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* A file, or all Sigma files of a folder and below it, in name order; links are not followed there. */
static int path_add(struct files *files, const char *path, struct err *err)
{
	char *const roots[] = {(char *)path, NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
	FTSENT *e;
	int rc = fts ? 0 : err_set(err, -errno, "%s: %m", path);

	while (!rc && (e = fts_read(fts))) {
		if (e->fts_info == FTS_NS || e->fts_info == FTS_ERR || e->fts_info == FTS_DNR)
			rc = err_set(err, -e->fts_errno, "%s: %s", e->fts_path, strerror(e->fts_errno));
		else if (e->fts_info == FTS_D && e->fts_level > DEPTH_MAX)
			fts_set(fts, e, FTS_SKIP);
		else if (e->fts_info == FTS_F && (e->fts_level == 0 || is_yaml(e->fts_name)))
			rc = file_add(files, e->fts_path, err);
	}
	if (fts)
		fts_close(fts);
	return rc;
}

static void report_line(void *arg, const char *line)
{
	json_array_append_new(arg, json_text(line));
}

static json_t *result_of(const struct sigma_report *report, json_t *lines)
{
	json_t *whys = json_object();

	for (int i = 0; i < SIGMA_WHY_COUNT; i++)
		if (report->refused_for[i])
			json_object_set_new(whys, sigma_why_name[i], json_integer(report->refused_for[i]));
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "documents", (json_int_t)report->documents,
		"imported", (json_int_t)report->imported, "used_by_correlations", (json_int_t)report->used,
		"refused", (json_int_t)report->refused, "rules_written", (json_int_t)report->rules,
		"refused_for", whys, "report", lines);
}

/* The text goes to its file, by a temporary one beside it, or to standard output. */
static int rules_put(const char *path, const char *text, size_t bytes, FILE *out, struct err *err)
{
	char name[4096];
	FILE *f;
	int bad;

	if (!path) {
		fwrite(text, 1, bytes, out);
		return 0;
	}
	if (snprintf(name, sizeof name, "%s.new", path) >= (int)sizeof name)
		return err_set(err, -EINVAL, "%.60s...: the name is too long", path);
	f = fopen(name, "wxe");
	if (!f)
		return err_set(err, -errno, "%s: %m", name);
	bad = fwrite(text, 1, bytes, f) != bytes;
	bad = fclose(f) || bad;
	if (!bad && rename(name, path) == 0)
		return 0;
	err_set(err, -errno, "%s: %m", path);
	remove(name);
	return -EIO;
}

static int import_run(
	const struct cli *cli, struct files *files, const struct files *map, FILE *out, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "out"));
	json_t *lines = json_array();
	struct sigma_report report;
	struct config cfg;
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);
	int rc = f ? 0 : err_set(err, -ENOMEM, "out of memory");

	config_defaults(&cfg);
	if (!rc)
		rc = sigma_import(f, map->source, files->source, (uint32_t)files->count,
			(uint32_t)cfg.rules.patterns_max, &report, report_line, lines, err);
	if (f && fclose(f) && !rc)
		rc = err_set(err, -ENOMEM, "out of memory");
	if (!rc && report.imported)
		rc = rules_put(path, text, bytes, out, err);
	free(text);
	if (rc) {
		json_decref(lines);
		return rc;
	}
	cli_print(cli, path ? out : stderr, result_of(&report, lines));
	return report.imported ? 0 : err_set(err, -EINVAL, "no rule could be imported");
}

enum cli_exit local_rules_import(const struct cli *cli, FILE *out, struct err *err)
{
	const json_t *paths = json_object_get(cli->args, "files");
	const char *map_path = json_string_value(json_object_get(cli->args, "map"));
	struct files files = {0}, map = {0};
	int rc;

	if (!map_path) {
		err_set(err, -EINVAL,
			"--map is missing: which fields are Sigma's? share/sluice/sigma/fields.yaml of the "
			"installation is one to start from");
		return CLI_USAGE;
	}
	rc = file_add(&map, map_path, err);
	for (size_t i = 0; i < json_array_size(paths) && !rc; i++)
		rc = path_add(&files, json_string_value(json_array_get(paths, i)), err);
	rc = rc ? rc : import_run(cli, &files, &map, out, err);
	files_free(&files);
	files_free(&map);
	return rc ? CLI_FAILED : CLI_OK;
}
