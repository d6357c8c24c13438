/* Writing files and directories so that a crash leaves the old or the new: see durable.h. */
#include "durable.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash.h"
#include "reserve.h"

#define PATH_MAX_BYTES 1024u
#define WRITE_BYTES_MAX (1u << 20) /* at once: a large file does not hold the disk's queue in one request */

int durable_dir_sync(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) != 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* The directory's own name, in the one above it. */
static int parent_sync(const char *path)
{
	char parent[PATH_MAX_BYTES];
	char *slash;

	snprintf(parent, sizeof parent, "%s", path);
	slash = strrchr(parent, '/');
	if (!slash)
		return durable_dir_sync(".");
	slash[slash == parent] = '\0';
	return durable_dir_sync(parent);
}

int durable_dir_make(const char *dir, struct err *err)
{
	char path[PATH_MAX_BYTES];
	int rc;

	if (!*dir || strlen(dir) >= sizeof path)
		return err_set(
			err, -ENAMETOOLONG, "%.80s: a path has 1 to %u bytes", dir, PATH_MAX_BYTES - 1);
	snprintf(path, sizeof path, "%s", dir);
	for (char *p = path + 1;; p++) {
		char was = *p;

		if (was != '/' && was != '\0')
			continue;
		*p = '\0';
		if (mkdir(path, 0750) == 0) {
			rc = parent_sync(path);
			if (rc != 0)
				return err_set(err, rc, "%s: fsync above: %s", path, strerror(-rc));
		} else if (errno != EEXIST) {
			return err_set(err, -errno, "%s: mkdir: %s", path, strerror(errno));
		}
		*p = was;
		if (was == '\0')
			return 0;
	}
}

int durable_move(const char *from, const char *to, struct err *err)
{
	int rc;

	if (access(to, F_OK) == 0)
		return err_set(err, -EEXIST, "%s is there already: %s cannot be moved to it", to, from);
	if (rename(from, to) != 0)
		return err_set(err, -errno, "%s to %s: %s", from, to, strerror(errno));
	rc = parent_sync(to);
	if (rc == 0)
		rc = parent_sync(from);
	return rc ? err_set(err, rc, "%s: fsync above: %s", to, strerror(-rc)) : 0;
}

static int tree_entry(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	(void)s, (void)type, (void)ftw;
	return remove(path) && errno != ENOENT ? -1 : 0;
}

int durable_tree_remove(const char *path, struct err *err)
{
	if (nftw(path, tree_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
		return err_set(err, -errno, "%s: cannot remove it: %s", path, strerror(errno));
	return 0;
}

int durable_write_all(int fd, const void *from, size_t bytes)
{
	const uint8_t *data = from;

	while (bytes) {
		ssize_t n = write(fd, data, bytes < WRITE_BYTES_MAX ? bytes : WRITE_BYTES_MAX);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* The file under its temporary name, on the disk. */
static int temp_write(const char *temp, const struct durable_piece *piece, uint32_t count,
	const struct durable_points *points)
{
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640), rc = 0;

	if (fd < 0)
		return -errno;
	for (uint32_t i = 0; i < count && !rc; i++)
		rc = durable_write_all(fd, piece[i].data, piece[i].bytes);
	if (!rc && points)
		crash_point(points->written);
	if (!rc && fsync(fd))
		rc = -errno;
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

int durable_write(const char *dir, const char *name, const struct durable_piece *piece, uint32_t count,
	const struct durable_points *points, struct err *err)
{
	char path[PATH_MAX_BYTES], temp[PATH_MAX_BYTES + 8];
	uint64_t bytes = 0;
	int rc;

	if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
		return err_set(err, -ENAMETOOLONG, "%.80s/%.80s: longer than %u bytes", dir, name,
			PATH_MAX_BYTES - 1);
	snprintf(temp, sizeof temp, "%s.tmp", path);
	for (uint32_t i = 0; i < count; i++)
		bytes += piece[i].bytes;
	do
		rc = temp_write(temp, piece, count, points);
	while ((rc == -ENOSPC || rc == -EDQUOT) && unlink(temp) == 0 && reserve_release(bytes));
	if (rc)
		goto fail;
	if (points)
		crash_point(points->synced);
	if (rename(temp, path)) {
		rc = -errno;
		goto fail;
	}
	if (points)
		crash_point(points->renamed);
	rc = durable_dir_sync(dir);
	if (rc)
		return err_set(err, rc, "%s: fsync: %s", dir, strerror(-rc));
	if (points)
		crash_point(points->dir_synced);
	return 0;
fail:
	unlink(temp);
	return err_set(err, rc, "%s: %s", temp, strerror(-rc));
}
