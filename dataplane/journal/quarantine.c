/* Setting a damaged journal aside, on the operator's word (the file DIR/quarantine): everything moves to
 * DIR/damaged-<epoch>/ and a new journal with a new epoch begins, so that no offset comes back with other
 * data. Its intact blocks stay readable by the offline tools. Set-up thread. */
#include "journal_priv.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void quarantine_path(char out[PATH_BYTES], const char *dir)
{
	snprintf(out, PATH_BYTES, "%s/quarantine", dir);
}

bool quarantine_wanted(const char *dir)
{
	char path[PATH_BYTES];

	quarantine_path(path, dir);
	return access(path, F_OK) == 0;
}

static bool quarantine_takes(const char *name)
{
	if (name[0] == 'p' && name[1] >= '0' && name[1] <= '9')
		return true;
	return strcmp(name, "journal.meta") == 0;
}

static int quarantine_move(const char *dir, const char *aside, struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int rc = 0;

	if (!d)
		return err_set(err, -errno, "%s: %s", dir, strerror(errno));
	while (rc == 0 && (entry = readdir(d))) {
		char from[PATH_BYTES + 256], to[PATH_BYTES + 256];

		if (!quarantine_takes(entry->d_name))
			continue;
		snprintf(from, sizeof from, "%s/%s", dir, entry->d_name);
		snprintf(to, sizeof to, "%s/%s", aside, entry->d_name);
		if (rename(from, to) != 0)
			rc = err_set(err, -errno, "%s to %s: %s", from, to, strerror(errno));
	}
	closedir(d);
	return rc;
}

int quarantine_run(const char *dir, struct err *err)
{
	char aside[PATH_BYTES], path[PATH_BYTES];
	struct meta_file meta;
	struct err ignored;
	int rc = store_meta_read(dir, &meta, &ignored), n;

	n = snprintf(aside, sizeof aside, "%s/damaged-%016" PRIx64, dir,
		rc == 0 ? meta.epoch : (uint64_t)clock_wall_ms());
	if (n >= (int)sizeof aside)
		return err_set(err, -ENAMETOOLONG, "%s: path too long", dir);
	if (mkdir(aside, 0750) != 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: %s", aside, strerror(errno));
	rc = quarantine_move(dir, aside, err);
	if (rc != 0)
		return rc;
	quarantine_path(path, dir);
	if (unlink(path) != 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	rc = durable_dir_sync(dir);
	if (rc != 0)
		return err_set(err, rc, "%s: fsync: %s", dir, strerror(-rc));
	log_error("journal", "the damaged journal was set aside; a new one begins aside=%s", aside);
	return 0;
}
