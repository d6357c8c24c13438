/* journal.meta, the lock, the durable mark. Set-up thread, and the keeper for the mark. */
#include "journal_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "crc32c.h"

int journal_lock(const char *dir, struct err *err)
{
	char path[PATH_BYTES];
	int fd;

	snprintf(path, sizeof path, "%s/lock", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int code = errno;

		close(fd);
		if (code == EWOULDBLOCK)
			return err_set(err, -EBUSY, "%s: journal is in use by another process", path);
		return err_set(err, -code, "%s: flock: %s", path, strerror(code));
	}
	return fd;
}

static uint32_t meta_crc(struct meta_file meta)
{
	meta.crc = 0;
	return crc32c(0, &meta, sizeof meta);
}

int store_meta_read(const char *dir, struct meta_file *meta, struct err *err)
{
	char path[PATH_BYTES];
	ssize_t n;
	int fd, code;

	snprintf(path, sizeof path, "%s/journal.meta", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	n = read(fd, meta, sizeof *meta);
	code = errno;
	close(fd);
	if (n < 0)
		return err_set(err, -code, "%s: %s", path, strerror(code));
	if (n != sizeof *meta || meta->magic != META_MAGIC || meta_crc(*meta) != meta->crc)
		return err_set(err, -EBADMSG, "%s: damaged (length, magic or CRC)", path);
	if (meta->version < JOURNAL_FORMAT_VERSION || meta->version > JOURNAL_VERSION_COMPRESSED)
		return err_set(err, -EPROTO, "%s: format version %u; this binary knows %u to %u", path,
			meta->version, JOURNAL_FORMAT_VERSION, JOURNAL_VERSION_COMPRESSED);
	if (!meta->epoch || !meta->partitions || meta->partitions > 65536 ||
		meta->block_bytes < 2 * BLOCK_ALIGN || meta->block_bytes % BLOCK_ALIGN ||
		meta->block_bytes > 1u << 30 || meta->segment_bytes % BLOCK_ALIGN ||
		meta->segment_bytes < 2ull * meta->block_bytes || memchr(meta->node, 0, 65) == NULL)
		return err_set(err, -EBADMSG, "%s: values out of range", path);
	return 0;
}

int store_meta_write(const char *dir, struct meta_file *meta, struct err *err)
{
	char temp[PATH_BYTES], path[PATH_BYTES];
	int fd, rc;

	meta->magic = META_MAGIC;
	if (!meta->version)
		meta->version = JOURNAL_FORMAT_VERSION;
	meta->crc = meta_crc(*meta);
	snprintf(temp, sizeof temp, "%s/journal.meta.tmp", dir);
	snprintf(path, sizeof path, "%s/journal.meta", dir);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", temp, strerror(errno));
	errno = EIO;
	if (write(fd, meta, sizeof *meta) != sizeof *meta || fsync(fd) != 0 || rename(temp, path) != 0) {
		rc = err_set(err, -errno, "%s: %s", temp, strerror(errno));
		close(fd);
		return rc;
	}
	close(fd);
	crash_point("journal_meta_renamed");
	rc = durable_dir_sync(dir);
	return rc ? err_set(err, rc, "%s: fsync: %s", dir, strerror(-rc)) : 0;
}

void store_part_dir(char out[PATH_BYTES], const char *dir, uint32_t partition)
{
	snprintf(out, PATH_BYTES, "%s/p%u", dir, partition);
}

int store_mark_open(const char *part_dir, bool create, bool write, struct err *err)
{
	char path[PATH_BYTES + 16];
	static const uint8_t zero[MARK_FILE_BYTES];
	int fd, flags = (write ? O_RDWR | O_DSYNC : O_RDONLY) | O_CLOEXEC;

	snprintf(path, sizeof path, "%s/durable", part_dir);
	fd = open(path, flags | (create ? O_CREAT : 0), 0640);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (create && (pwrite(fd, zero, sizeof zero, 0) != (ssize_t)sizeof zero || fsync(fd) != 0)) {
		int code = errno;

		close(fd);
		return err_set(err, -code, "%s: %s", path, strerror(code));
	}
	return fd;
}

static uint32_t mark_crc(struct mark_slot mark)
{
	mark.crc = 0;
	return crc32c(0, &mark, sizeof mark);
}

int store_mark_read(int fd, uint64_t epoch, uint32_t partition, struct mark_slot *mark)
{
	bool found = false;

	for (uint32_t i = 0; i < 2; i++) {
		struct mark_slot m;

		if (pread(fd, &m, sizeof m, i * BLOCK_ALIGN) != (ssize_t)sizeof m)
			continue;
		if (m.magic != MARK_MAGIC || m.version != JOURNAL_FORMAT_VERSION || m.crc != mark_crc(m) ||
			m.epoch != epoch || m.partition != partition)
			continue;
		if (!found || m.write_count > mark->write_count)
			*mark = m;
		found = true;
	}
	return found ? 0 : -ENODATA;
}

int store_mark_write(int fd, struct mark_slot *mark)
{
	ssize_t n;

	mark->magic = MARK_MAGIC;
	mark->version = JOURNAL_FORMAT_VERSION;
	mark->write_count++;
	mark->crc = mark_crc(*mark);
	n = pwrite(fd, mark, sizeof *mark, (off_t)(mark->write_count % 2 * BLOCK_ALIGN));
	if (n != (ssize_t)sizeof *mark)
		return n < 0 ? -errno : -EIO;
	crash_point("journal_mark_written");
	return 0;
}
