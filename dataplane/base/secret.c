/* Reads secrets, and refuses files that are not kept as such; looks at files that others read. */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* No byte may end a header line early. */
static int secret_clean(const char *text, int lines)
{
	for (; *text; text++)
		if (((unsigned char)*text < 0x20 && !(lines && *text == '\n')) || *text == 0x7f)
			return 0;
	return 1;
}

/* No FIFO makes us wait for who writes it. */
static int file_open(const char *path, const char *key, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd >= 0 ? fd : err_set(err, -EINVAL, "%s: %s: %s", key, path, strerror(errno));
}

static int secret_read(
	char *out, size_t out_bytes, int fd, const char *path, const char *key, int lines, struct err *err)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: %s is no regular file", key, path);
	if (st.st_mode & 077)
		return err_set(err, -EINVAL, "%s: others may read %s; run: chmod 600 %s", key, path, path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(err, -EINVAL, "%s: %s belongs to user %u, not to user %u or root", key, path,
			st.st_uid, geteuid());
	n = read(fd, out, out_bytes);
	if (n < 0)
		return err_set(err, -errno, "%s: %s: %s", key, path, strerror(errno));
	if ((size_t)n == out_bytes)
		return err_set(err, -EINVAL, "%s: %s is longer than %zu bytes", key, path, out_bytes - 1);
	while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'))
		n--;
	out[n] = 0;
	if (strlen(out) != (size_t)n || !secret_clean(out, lines))
		return err_set(err, -EINVAL, "%s: %s holds control characters", key, path);
	return 0;
}

int secret_file_read(
	char *out, size_t out_bytes, const char *path, const char *key, int lines, struct err *err)
{
	int fd, rc;

	out[0] = 0;
	if (!path[0])
		return 0;
	fd = file_open(path, key, err);
	if (fd < 0)
		return fd;
	rc = secret_read(out, out_bytes, fd, path, key, lines, err);
	close(fd);
	return rc;
}

int public_file_check(const char *path, const char *key, struct err *err)
{
	int fd;

	if (!path[0])
		return 0;
	fd = file_open(path, key, err);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}
