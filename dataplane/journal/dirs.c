/* Partitions on several disks: DIR/p<k> is then a link to a directory of its own in one of journal.dirs,
 * named after the journal's epoch, so that no two journals meet there. Whoever reads the journal follows the
 * links. Set-up thread. */
#include "journal_priv.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text_list.h"

static bool is_dir(const char *path)
{
	struct stat s;

	return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

int dirs_check(const char *list, struct err *err)
{
	char entry[256];

	for (uint32_t i = 0; list[0] && text_list_entry(list, i, entry, sizeof entry); i++) {
		if (entry[0] != '/')
			return err_set(err, -EINVAL, "journal.dirs: \"%s\" is not an absolute path", entry);
		if (!is_dir(entry))
			return err_set(err, -ENOENT,
				"journal.dirs: %s is not there, or is no directory: is its disk mounted?",
				entry);
	}
	return 0;
}

static void link_path(char out[PATH_BYTES], const char *dir, uint32_t partition)
{
	store_part_dir(out, dir, partition);
}

/* What the link of an attempt that did not come to its end names is nobody's. */
static int link_clear(const char *path, struct err *err)
{
	char target[PATH_BYTES];
	ssize_t n = readlink(path, target, sizeof target - 1);
	int rc;

	if (n < 0)
		return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", path, strerror(errno));
	target[n] = 0;
	rc = durable_tree_remove(target, err);
	if (rc == 0 && unlink(path) != 0)
		rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
	return rc;
}

int dirs_part_make(const struct journal *j, uint32_t partition, struct err *err)
{
	char entry[256], target[PATH_BYTES], path[PATH_BYTES];
	uint32_t count = 0;
	int rc;

	if (!j->params.dirs[0] || j->params.derived)
		return 0;
	while (text_list_entry(j->params.dirs, count, entry, sizeof entry))
		count++;
	(void)text_list_entry(j->params.dirs, partition % count, entry, sizeof entry);
	if (snprintf(target, sizeof target, "%s/journal-%016" PRIx64 "-p%u", entry, j->meta.epoch,
		    partition) >= (int)sizeof target)
		return err_set(err, -ENAMETOOLONG, "journal.dirs: %s: the path is too long", entry);
	link_path(path, j->params.dir, partition);
	rc = link_clear(path, err);
	if (rc == 0)
		rc = durable_dir_make(target, err);
	if (rc == 0 && symlink(target, path) != 0)
		rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (rc == 0) {
		rc = durable_dir_sync(j->params.dir);
		if (rc != 0)
			err_set(err, rc, "%s: fsync: %s", j->params.dir, strerror(-rc));
	}
	return rc;
}

int dirs_parts_check(const struct journal *j, struct err *err)
{
	for (uint32_t p = 0; p < j->params.partitions; p++) {
		char path[PATH_BYTES], target[PATH_BYTES];
		ssize_t n;

		link_path(path, j->params.dir, p);
		n = readlink(path, target, sizeof target - 1);
		if (n < 0) /* no link */
			continue;
		target[n] = 0;
		if (is_dir(target))
			continue;
		return err_set(err, -ENOENT,
			"journal: partition %u lies in %s, which is not there: is its disk mounted?", p,
			target);
	}
	return 0;
}

/* p<k> of a journal */
static bool is_part_name(const char *name)
{
	return name[0] == 'p' && name[1] && name[1 + strspn(name + 1, "0123456789")] == 0;
}

/* Any may be missing: what was begun and has crashed goes on. */
static int links_remove(const char *dir, struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int rc = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", dir, strerror(errno));
	while (rc == 0 && (entry = readdir(d))) {
		char path[PATH_BYTES + 256];
		struct stat s;

		snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
		if (is_part_name(entry->d_name) && lstat(path, &s) == 0 && S_ISLNK(s.st_mode))
			rc = link_clear(path, err);
	}
	closedir(d);
	return rc;
}

int journal_tree_remove(const char *tree, struct err *err)
{
	char dir[PATH_BYTES];
	int rc;

	if (snprintf(dir, sizeof dir, "%s/journal", tree) >= (int)sizeof dir)
		return err_set(err, -ENAMETOOLONG, "%s: the path is too long", tree);
	rc = links_remove(dir, err);
	return rc ? rc : durable_tree_remove(tree, err);
}
