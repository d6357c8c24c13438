/* Reading whole files. Control threads. */
#include "table_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int file_check(const struct stat *st, const char *path, uint64_t bytes_max, struct err *err)
{
	if (!S_ISREG(st->st_mode))
		return err_set(err, -EINVAL, "%s: not a regular file", path);
	if (st->st_size == 0)
		return err_set(err, -EINVAL, "%s: empty", path);
	if ((uint64_t)st->st_size > bytes_max)
		return err_set(err, -EINVAL,
			"%s: %" PRIu64 " bytes are more than enrich.file_bytes_max, %" PRIu64, path,
			(uint64_t)st->st_size, bytes_max);
	return 0;
}

static bool same_state(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int file_copy(
	int fd, char *data, size_t bytes, const struct stat *before, const char *path, struct err *err)
{
	struct stat after;
	size_t have = 0;

	while (have < bytes) {
		ssize_t n = read(fd, data + have, bytes - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, -errno, "%s: %s", path, strerror(errno));
		if (n == 0)
			break;
		have += (size_t)n;
	}
	if (have < bytes || fstat(fd, &after) || !same_state(before, &after))
		return err_set(err, -EINVAL,
			"%s: changed while it was read; write a new file and rename it over the old one",
			path);
	return 0;
}

int table_file_read(char **data, size_t *bytes, const char *path, uint64_t bytes_max, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
	struct stat st;

	*data = NULL;
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	rc = fstat(fd, &st) ? err_set(err, -errno, "%s: %s", path, strerror(errno))
			    : file_check(&st, path, bytes_max, err);
	if (rc == 0) {
		*bytes = (size_t)st.st_size;
		*data = malloc(*bytes + 1);
		rc = *data ? file_copy(fd, *data, *bytes, &st, path, err)
			   : err_set(err, -ENOMEM, "%s: no memory for %zu bytes", path, *bytes);
	}
	if (rc == 0) {
		(*data)[*bytes] = 0;
	} else {
		free(*data);
		*data = NULL;
	}
	close(fd);
	return rc;
}
