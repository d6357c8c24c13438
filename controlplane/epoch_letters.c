/* What stays of the epoch before when its directory goes: dead letters, which exist nowhere else. */
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "durable.h"
#include "epoch.h"

#define EPOCH_DIGITS 16

/* DIR/before/sinks/FOLDER/p<k>.letters */
static int letters_move(const char *data_dir, const char *from, uint64_t epoch, struct err *err)
{
	char folder[EPOCH_PATH_BYTES], to[2 * EPOCH_PATH_BYTES + 64];
	const char *name = strrchr(from, '/') + 1, *at = name - 1, *suffix;
	int n, rc;

	while (at > from && at[-1] != '/')
		at--;
	snprintf(folder, sizeof folder, "%.*s", (int)(name - 1 - at), at);
	suffix = strrchr(folder, '-');
	/* Of an earlier epoch yet: it keeps its name. */
	if (suffix && strspn(suffix + 1, "0123456789abcdef") == EPOCH_DIGITS && !suffix[1 + EPOCH_DIGITS])
		n = snprintf(to, sizeof to, "%s/sinks/%s", data_dir, folder);
	else
		n = snprintf(to, sizeof to, "%s/sinks/%s-%016" PRIx64, data_dir, folder, epoch);
	rc = durable_dir_make(to, err);
	if (rc != 0)
		return rc;
	if (snprintf(to + n, sizeof to - (size_t)n, "/%s", name) >= (int)(sizeof to - (size_t)n))
		return err_set(err, -ENAMETOOLONG, "%s: the path is too long", from);
	return durable_move(from, to, err);
}

int epoch_letters_keep(const char *data_dir, const char *before, uint64_t epoch, struct err *err)
{
	char pattern[EPOCH_PATH_BYTES + 32];
	glob_t found = {0};
	int rc = 0;

	snprintf(pattern, sizeof pattern, "%s/sinks/*/p*.letters", before);
	rc = glob(pattern, 0, NULL, &found);
	if (rc != 0 && rc != GLOB_NOMATCH)
		rc = err_set(err, -EIO, "%s: cannot be looked for", pattern);
	else
		rc = 0;
	for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
		rc = letters_move(data_dir, found.gl_pathv[i], epoch, err);
	globfree(&found);
	return rc;
}
