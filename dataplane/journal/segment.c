/* Segment files: p<k>/seg-<number>.log, all of one size, written full of zeros before use, because growing a
 * file costs an append five times its price. A recycled file keeps its old bytes: its blocks carry the old
 * number and count as free space. Keeper and set-up thread. */
#include "journal_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILL_BYTES (1u << 20)

void segment_path(char out[PATH_BYTES], const char *part_dir, uint64_t number)
{
	int n = snprintf(out, PATH_BYTES, "%s/seg-%010" PRIu64 ".log", part_dir, number);

	if (n >= (int)PATH_BYTES)
		out[0] = '\0';
}

bool segment_number(const char *name, const char *end_wanted, uint64_t *number)
{
	char *end;

	if (strncmp(name, "seg-", 4) != 0 || name[4] < '0' || name[4] > '9')
		return false;
	errno = 0;
	*number = strtoull(name + 4, &end, 10);
	return errno == 0 && strcmp(end, end_wanted) == 0;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

int segment_list(const char *part_dir, bool clean, uint64_t **numbers, uint32_t *count, struct err *err)
{
	DIR *dir = opendir(part_dir);
	uint32_t capacity = 0;
	struct dirent *entry;

	*numbers = NULL;
	*count = 0;
	if (!dir)
		return err_set(err, -errno, "%s: %s", part_dir, strerror(errno));
	while ((entry = readdir(dir))) {
		uint64_t number;

		if (clean && strcmp(entry->d_name, "next.tmp") == 0)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
		if (!segment_number(entry->d_name, ".log", &number))
			continue;
		if (*count == capacity) {
			uint64_t *more;

			capacity = capacity ? 2 * capacity : 64;
			more = realloc(*numbers, capacity * sizeof *more);
			if (!more) {
				closedir(dir);
				free(*numbers);
				*numbers = NULL;
				return err_set(err, -ENOMEM, "%s: out of memory", part_dir);
			}
			*numbers = more;
		}
		(*numbers)[(*count)++] = number;
	}
	closedir(dir);
	if (*count)
		qsort(*numbers, *count, sizeof **numbers, compare_u64);
	return 0;
}

/* Through the page cache: for a segment that nobody writes to any more. */
int segment_open_cached(const char *part_dir, uint64_t number, struct err *err)
{
	char path[PATH_BYTES];
	int fd;

	segment_path(path, part_dir, number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return fd;
}

int segment_open(const char *part_dir, uint64_t number, bool write, struct err *err)
{
	char path[PATH_BYTES];
	int flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC, fd;

	segment_path(path, part_dir, number);
	fd = open(path, flags | O_DIRECT);
	if (fd < 0 && errno == EINVAL) { /* a file system without it, as some tmpfs */
		log_warn("journal", "no O_DIRECT here; writing through the page cache path=%s", path);
		fd = open(path, flags);
	}
	/* A recycled file may have been read through the page cache as the segment that it was. */
	if (fd >= 0 && write)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return fd >= 0 ? fd : err_set(err, -errno, "%s: %s", path, strerror(errno));
}

static int fill_zeros(int fd, uint64_t from, uint64_t bytes)
{
	void *zero = NULL;
	int rc = 0;

	if (posix_memalign(&zero, BLOCK_ALIGN, FILL_BYTES))
		return -ENOMEM;
	memset(zero, 0, FILL_BYTES);
	while (bytes && !rc) {
		size_t want = bytes < FILL_BYTES ? bytes : FILL_BYTES;
		ssize_t n = pwrite(fd, zero, want, (off_t)from);

		if (n <= 0)
			rc = n < 0 ? -errno : -EIO;
		else {
			from += (uint64_t)n;
			bytes -= (uint64_t)n;
		}
	}
	free(zero);
	return rc;
}

int segment_zero(int fd, uint64_t from, uint64_t bytes)
{
	int rc = fill_zeros(fd, from, bytes);

	if (rc == 0 && fdatasync(fd) != 0)
		rc = -errno;
	return rc;
}

int segment_make(const char *part_dir, uint64_t number, uint64_t bytes, struct err *err)
{
	char temp[PATH_BYTES + 16], path[PATH_BYTES];
	int fd, rc = 0;

	snprintf(temp, sizeof temp, "%s/next.tmp", part_dir);
	segment_path(path, part_dir, number);
	fd = open(temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_DIRECT, 0640);
	if (fd < 0 && errno == EINVAL)
		fd = open(temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", temp, strerror(errno));
	/* Reserve first: a disk that cannot hold it says so before anything is written. */
	if (fallocate(fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP)
		rc = -errno;
	if (rc == 0)
		rc = segment_zero(fd, 0, bytes);
	if (rc == 0 && (fsync(fd) != 0 || rename(temp, path) != 0))
		rc = -errno;
	if (rc == 0)
		rc = durable_dir_sync(part_dir);
	close(fd);
	if (rc != 0) {
		(void)unlink(temp);
		return err_set(err, rc, "%s: %s", path, strerror(-rc));
	}
	crash_point("journal_segment_made");
	return 0;
}

int segment_recycle(const char *part_dir, uint64_t from, uint64_t to, struct err *err)
{
	char old[PATH_BYTES], path[PATH_BYTES];
	int rc;

	segment_path(old, part_dir, from);
	segment_path(path, part_dir, to);
	if (rename(old, path) != 0)
		return err_set(err, -errno, "%s to %s: %s", old, path, strerror(errno));
	crash_point("journal_segment_recycled");
	/* Before a block goes into it: else the file could have its old name again after a crash. */
	rc = durable_dir_sync(part_dir);
	return rc ? err_set(err, rc, "%s: fsync: %s", part_dir, strerror(-rc)) : 0;
}
