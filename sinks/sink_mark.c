/* Positions in files. Sink threads. */
#include "sink_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#include "crc32c.h"
#include "reserve.h"

#define MARK_MAGIC 0x726f6f6c66636c73ull /* "slcfloor": what such files were made for first */

struct mark_file {
	uint64_t magic;
	uint64_t epoch;
	uint64_t position;
	uint32_t crc; /* of what stands before it */
	uint32_t zero;
};
_Static_assert(sizeof(struct mark_file) == 32, "layout is on disk");

int sink_mark_read(const char *path, uint64_t epoch, uint64_t *position)
{
	struct mark_file f;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	got = read(fd, &f, sizeof f);
	close(fd);
	if (got != sizeof f || f.magic != MARK_MAGIC ||
		f.crc != crc32c(0, &f, offsetof(struct mark_file, crc)))
		return -EBADMSG;
	*position = f.position;
	return f.epoch == epoch;
}

int sink_mark_write(const char *path, uint64_t epoch, uint64_t position)
{
	struct mark_file f = {.magic = MARK_MAGIC, .epoch = epoch, .position = position};
	int rc, fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	if (fd < 0)
		return -errno;
	f.crc = crc32c(0, &f, offsetof(struct mark_file, crc));
	do {
		errno = EIO; /* of a short write */
		rc = pwrite(fd, &f, sizeof f, 0) != (ssize_t)sizeof f || fdatasync(fd) ? -errno : 0;
	} while ((rc == -ENOSPC || rc == -EDQUOT) && reserve_release(sizeof f));
	close(fd);
	return rc;
}
