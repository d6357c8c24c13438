/* The reserve on disk: see reserve.h. */
#include "reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "log.h"

#define STEP_BYTES (4u << 20)

static struct {
	pthread_mutex_t lock;
	int fd; /* -1: there is none */
	dev_t device;
	uint64_t bytes, wanted;
} reserve = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* Free for everyone, not only for root. */
static uint64_t room_of(const struct statvfs *s)
{
	return (uint64_t)s->f_bavail * s->f_frsize;
}

/* A quarter of the file system at most: a small disk is not for the reserve alone. */
static uint64_t reserve_limit(uint64_t bytes)
{
	struct statvfs s;
	uint64_t quarter = fstatvfs(reserve.fd, &s) ? bytes : (uint64_t)s.f_blocks * s.f_frsize / 4;

	return bytes < quarter ? bytes : quarter / STEP_BYTES * STEP_BYTES;
}

static uint64_t reserve_room(void)
{
	struct statvfs s;

	return fstatvfs(reserve.fd, &s) ? 0 : room_of(&s);
}

/* Under the lock. */
static int reserve_grow(uint64_t to)
{
	int rc = to ? posix_fallocate(reserve.fd, 0, (off_t)to) : 0;

	if (rc != 0) {
		if (ftruncate(reserve.fd, (off_t)reserve.bytes) != 0) /* then it has more than it says */
			log_warn("control", "the reserve cannot be cut: %s", strerror(errno));
		return -rc;
	}
	reserve.bytes = to;
	return 0;
}

static int reserve_begin(const char *path, uint64_t bytes, struct err *err)
{
	struct stat s;
	uint64_t room;
	int rc;

	if (fstat(reserve.fd, &s) != 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	/* Not the size of an old one: it may have holes. */
	if (ftruncate(reserve.fd, 0) != 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	reserve.device = s.st_dev;
	if (reserve_limit(bytes) < bytes) {
		bytes = reserve_limit(bytes);
		log_warn("control",
			"journal.reserve is more than a quarter of the disk: the reserve is %" PRIu64
			" bytes path=%s",
			bytes, path);
	}
	reserve.wanted = bytes;
	reserve.bytes = 0;
	room = reserve_room();
	rc = reserve_grow(room < bytes ? room / STEP_BYTES * STEP_BYTES : bytes);
	if (rc != 0 && rc != -ENOSPC && rc != -EDQUOT)
		return err_set(err, rc, "%s: %s", path, strerror(-rc));
	if (reserve.bytes < bytes)
		log_error("control", "DISK FULL: the reserve has %" PRIu64 " of %" PRIu64 " bytes path=%s",
			reserve.bytes, bytes, path);
	return 0;
}

int reserve_open(const char *dir, uint64_t bytes, struct err *err)
{
	char path[512];
	int rc;

	snprintf(path, sizeof path, "%.480s/reserve", dir);
	if (bytes == 0) {
		(void)unlink(path);
		return 0;
	}
	pthread_mutex_lock(&reserve.lock);
	reserve.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	rc = reserve.fd < 0 ? err_set(err, -errno, "%s: %s", path, strerror(errno))
			    : reserve_begin(path, bytes, err);
	pthread_mutex_unlock(&reserve.lock);
	if (rc != 0)
		reserve_close();
	return rc;
}

void reserve_close(void)
{
	pthread_mutex_lock(&reserve.lock);
	if (reserve.fd >= 0)
		close(reserve.fd);
	reserve.fd = -1;
	reserve.bytes = reserve.wanted = 0;
	pthread_mutex_unlock(&reserve.lock);
}

bool reserve_release(uint64_t bytes)
{
	bool done = false;
	uint64_t room, need, to;

	pthread_mutex_lock(&reserve.lock);
	if (reserve.fd >= 0 && reserve.bytes > 0) {
		room = reserve_room();
		need = bytes > room ? bytes - room : 0;
		need = (need + STEP_BYTES) / STEP_BYTES * STEP_BYTES; /* a step at least, and directories */
		if (need > reserve.bytes && bytes <= room + reserve.bytes)
			need = reserve.bytes;
		to = reserve.bytes - need;
		done = need <= reserve.bytes && ftruncate(reserve.fd, (off_t)to) == 0 &&
		       fsync(reserve.fd) == 0;
		if (done) {
			reserve.bytes = to;
			log_warn("control",
				"DISK FULL: the reserve gives %" PRIu64 " bytes, and has %" PRIu64, need, to);
		}
	}
	pthread_mutex_unlock(&reserve.lock);
	return done;
}

void reserve_refill(void)
{
	pthread_mutex_lock(&reserve.lock);
	if (reserve.fd >= 0 && reserve.bytes < reserve.wanted) {
		uint64_t room = reserve_room(), missing = reserve.wanted - reserve.bytes;

		if (room >= missing + STEP_BYTES / 4 && reserve_grow(reserve.wanted) == 0)
			log_info("control", "the reserve is whole again bytes=%" PRIu64, reserve.bytes);
	}
	pthread_mutex_unlock(&reserve.lock);
}

void reserve_stats(uint64_t *bytes, uint64_t *wanted)
{
	pthread_mutex_lock(&reserve.lock);
	*bytes = reserve.bytes;
	*wanted = reserve.wanted;
	pthread_mutex_unlock(&reserve.lock);
}

int disk_room(const char *dir, uint64_t bytes, struct err *err)
{
	struct statvfs s;
	struct stat at;
	uint64_t missing = 0;

	if (statvfs(dir, &s) != 0 || stat(dir, &at) != 0)
		return err_set(err, -errno, "%s: %s", dir, strerror(errno));
	pthread_mutex_lock(&reserve.lock);
	if (reserve.fd >= 0 && reserve.device == at.st_dev)
		missing = reserve.wanted - reserve.bytes;
	pthread_mutex_unlock(&reserve.lock);
	if (room_of(&s) >= bytes + missing)
		return 0;
	return err_set(err, -ENOSPC, "%s: %" PRIu64 " bytes are free, %" PRIu64 " are needed%s", dir,
		room_of(&s), bytes + missing, missing ? ", a part of it for the reserve" : "");
}
