/* A lower bound of what has been committed, beside the journal: DIR/<lane>-p<k>.floor. The position itself
 * lives in Kafka, in the transactions; the floor only tells a topic that has lost it from a journal that was
 * never delivered. It may lag behind, so it is written now and then, and a file that cannot be read says
 * nothing. Whichever thread of the lane commits. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "crc32c.h"
#include "kafka_priv.h"
#include "log.h"

#define FLOOR_MAGIC 0x726f6f6c66636c73ull /* "slcfloor" */
#define FLOOR_EVERY_NS 1000000000ull

/* On disk, little endian; smaller than a sector, so it is written whole or not at all. */
struct floor_file {
	uint64_t magic;
	uint64_t epoch;
	uint64_t position;
	uint32_t crc; /* of what stands before it */
	uint32_t zero;
};

static void floor_path(const struct kafka_part *kp, char *path, size_t bytes)
{
	snprintf(path, bytes, "%s/%s-p%u.floor", journal_dir(kp->part->journal), kafka_lane_name[kp->lane],
		kp->at.partition);
}

uint64_t kafka_floor_read(const struct kafka_part *kp)
{
	struct floor_file f;
	char path[512];
	ssize_t got;
	int fd;

	floor_path(kp, path, sizeof path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, &f, sizeof f);
	close(fd);
	if (got != sizeof f || f.magic != FLOOR_MAGIC ||
		f.crc != crc32c(0, &f, offsetof(struct floor_file, crc))) {
		log_warn("kafka", "partition=%u %s is damaged and says nothing", kp->at.partition, path);
		return 0;
	}
	return f.epoch == kp->at.epoch ? f.position : 0;
}

void kafka_floor_write(struct kafka_part *kp, uint64_t committed, bool now)
{
	struct floor_file f = {.magic = FLOOR_MAGIC, .epoch = kp->at.epoch, .position = committed};
	uint64_t time_ns = clock_mono_ns();
	char path[512];
	bool good;
	int fd;

	if (committed == kp->floor || (!now && kp->floor && time_ns - kp->floor_ns < FLOOR_EVERY_NS))
		return;
	f.crc = crc32c(0, &f, offsetof(struct floor_file, crc));
	floor_path(kp, path, sizeof path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	good = fd >= 0 && pwrite(fd, &f, sizeof f, 0) == (ssize_t)sizeof f && fdatasync(fd) == 0;
	if (!good)
		log_warn("kafka", "partition=%u %s: %s", kp->at.partition, path, strerror(errno));
	if (fd >= 0)
		close(fd);
	kp->floor_ns = time_ns;
	if (good)
		kp->floor = committed;
}
