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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* One large page: of small ones the kernel has to pin each, and the disk is told of each. Not more, as a
 * block that is to be durable waits behind it. */
#define FILL_BYTES (2u << 20)

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

struct segment_names {
	uint64_t *number;
	uint32_t count, capacity;
};

static int names_add(struct segment_names *names, uint64_t number)
{
	if (names->count == names->capacity) {
		uint32_t capacity = names->capacity ? 2 * names->capacity : 64;
		uint64_t *more = realloc(names->number, capacity * sizeof *more);

		if (!more)
			return -ENOMEM;
		names->number = more;
		names->capacity = capacity;
	}
	names->number[names->count++] = number;
	return 0;
}

/* Ascending, each once. One that is there twice was compressed when a crash came: the raw file counts. */
static void names_order(struct segment_names *names, const char *part_dir, bool clean)
{
	uint32_t kept = 0;

	if (names->count)
		qsort(names->number, names->count, sizeof *names->number, compare_u64);
	for (uint32_t i = 0; i < names->count; i++) {
		if (kept && names->number[kept - 1] == names->number[i]) {
			char path[PATH_BYTES];

			compressed_path(path, part_dir, names->number[i]);
			if (clean)
				(void)unlink(path);
			continue;
		}
		names->number[kept++] = names->number[i];
	}
	names->count = kept;
}

int segment_list(const char *part_dir, bool clean, uint64_t **numbers, uint32_t *count, struct err *err)
{
	static const char *const unfinished[] = {"next.tmp", SEGMENT_SPARE, COMPRESS_TEMP};
	struct segment_names names = {0};
	DIR *dir = opendir(part_dir);
	struct dirent *entry;
	int rc = 0;

	*numbers = NULL;
	*count = 0;
	if (!dir)
		return err_set(err, -errno, "%s: %s", part_dir, strerror(errno));
	while (rc == 0 && (entry = readdir(dir))) {
		uint64_t number;

		for (size_t i = 0; clean && i < sizeof unfinished / sizeof *unfinished; i++)
			if (strcmp(entry->d_name, unfinished[i]) == 0)
				(void)unlinkat(dirfd(dir), entry->d_name, 0);
		if (segment_number(entry->d_name, ".log", &number) ||
			segment_number(entry->d_name, ".zst", &number))
			rc = names_add(&names, number);
	}
	closedir(dir);
	if (rc != 0) {
		free(names.number);
		return err_set(err, rc, "%s: out of memory", part_dir);
	}
	names_order(&names, part_dir, clean);
	*numbers = names.number;
	*count = names.count;
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

	if (posix_memalign(&zero, FILL_BYTES, FILL_BYTES))
		return -ENOMEM;
	(void)madvise(zero, FILL_BYTES, MADV_HUGEPAGE);
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

static void spare_path(char out[PATH_BYTES], const char *part_dir)
{
	if (snprintf(out, PATH_BYTES, "%s/" SEGMENT_SPARE, part_dir) >= (int)PATH_BYTES)
		out[0] = '\0';
}

int segment_set_aside(const char *part_dir, uint64_t number, bool keep)
{
	char old[PATH_BYTES], path[PATH_BYTES];

	segment_path(old, part_dir, number);
	spare_path(path, part_dir);
	if ((keep ? rename(old, path) : unlink(old)) != 0)
		return -errno;
	crash_point("journal_compressed_freed");
	return 0;
}

static int segment_rename(const char *part_dir, const char *old, uint64_t to, struct err *err)
{
	char path[PATH_BYTES];
	int rc;

	segment_path(path, part_dir, to);
	if (rename(old, path) != 0)
		return err_set(err, -errno, "%s to %s: %s", old, path, strerror(errno));
	crash_point("journal_segment_recycled");
	/* Before a block goes into it: else the file could have its old name again after a crash. */
	rc = durable_dir_sync(part_dir);
	return rc ? err_set(err, rc, "%s: fsync: %s", part_dir, strerror(-rc)) : 0;
}

int segment_recycle(const char *part_dir, uint64_t from, uint64_t to, struct err *err)
{
	char old[PATH_BYTES];

	segment_path(old, part_dir, from);
	return segment_rename(part_dir, old, to, err);
}

int segment_use_spare(const char *part_dir, uint64_t to, struct err *err)
{
	char old[PATH_BYTES];

	spare_path(old, part_dir);
	return segment_rename(part_dir, old, to, err);
}
