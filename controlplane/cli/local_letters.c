/* `letters`: the dead letters of the ClickHouse sink as they lie there; no daemon needed. */
#include "cli.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAST_DEFAULT 10

/* How many of a table and a reason. */
static void reason_count(json_t *reasons, const char *table, const char *name)
{
	json_t *row;
	size_t i;

	json_array_foreach(reasons, i, row)
	{
		json_int_t n = json_integer_value(json_object_get(row, "letters"));

		if (strcmp(json_string_value(json_object_get(row, "table")), table) ||
			strcmp(json_string_value(json_object_get(row, "reason")), name))
			continue;
		json_object_set_new(row, "letters", json_integer(n + 1));
		return;
	}
	json_array_append_new(reasons,
		json_pack("{s:s, s:s, s:I}", "table", table, "reason", name, "letters", (json_int_t)1));
}

static void letter_take(json_t *reasons, json_t *letters, json_t *letter, size_t last)
{
	const char *table = json_string_value(json_object_get(letter, "table"));
	const char *name = json_string_value(json_object_get(letter, "name"));

	if (!table || !name)
		return;
	reason_count(reasons, table, name);
	json_array_append(letters, letter);
	if (json_array_size(letters) > last)
		json_array_remove(letters, 0);
}

/* A last line without its end is being written, or was cut off by a crash: no letter yet. */
static int file_read(const char *path, json_t *reasons, json_t *letters, size_t last, struct err *err)
{
	FILE *in = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int rc = 0;

	if (!in)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	while (rc == 0 && (n = getline(&line, &room, in)) > 0 && line[n - 1] == '\n') {
		json_t *letter = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);

		if (letter)
			letter_take(reasons, letters, letter, last);
		else
			rc = err_set(err, -EBADMSG, "%s: a line is no dead letter", path);
		json_decref(letter);
	}
	free(line);
	fclose(in);
	return rc;
}

enum cli_exit local_letters(const struct cli *cli, FILE *out, struct err *err)
{
	const json_t *wanted = json_object_get(cli->args, "last");
	size_t last = wanted ? (size_t)json_integer_value(wanted) : LAST_DEFAULT;
	json_t *reasons = json_array(), *letters = json_array();
	char dir[4096], pattern[4200];
	enum cli_exit code = cli_data_dir(cli, dir, sizeof dir, err);
	glob_t found = {0};
	int rc = 0;

	if (code == CLI_OK) {
		snprintf(pattern, sizeof pattern, "%s/sinks/clickhouse*/p*.letters", dir);
		rc = glob(pattern, 0, NULL, &found);
		snprintf(pattern, sizeof pattern, "%s/before/sinks/clickhouse*/p*.letters", dir);
		if (rc == 0 || rc == GLOB_NOMATCH)
			rc = glob(pattern, rc == 0 ? GLOB_APPEND : 0, NULL, &found);
		rc = rc == GLOB_NOSPACE ? err_set(err, -ENOMEM, "no memory") : 0;
	}
	for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
		rc = file_read(found.gl_pathv[i], reasons, letters, last, err);
	globfree(&found);
	if (code != CLI_OK || rc) {
		json_decref(reasons);
		json_decref(letters);
		return code != CLI_OK ? code : CLI_FAILED;
	}
	cli_print(cli, out, json_pack("{s:o, s:o}", "reasons", reasons, "letters", letters));
	return CLI_OK;
}
