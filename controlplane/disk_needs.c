/* Whether the disks have room for the least that the configuration needs: segments of each log, of which the
 * oldest can be used again, and the reserve. Said once, at the start: later it shows as a full journal. */
#include "daemon.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "log.h"
#include "reserve.h"

#define DISKS_MAX 32u

struct disk {
	dev_t device;
	char dir[320];	       /* the first that lies there */
	uint64_t all, missing; /* bytes that it should have, and those of them that are still to be made */
	uint32_t log[SINK_LOG_COUNT]; /* partitions */
	bool reserve;
};

struct disks {
	struct disk disk[DISKS_MAX];
	uint32_t count;
};

/* NULL: it is not there, or one too many. */
static struct disk *disk_of(struct disks *disks, const char *dir)
{
	struct disk *d = disks->disk;
	struct stat at;

	if (stat(dir, &at) != 0)
		return NULL;
	while (d < disks->disk + disks->count && d->device != at.st_dev)
		d++;
	if (d == disks->disk + DISKS_MAX)
		return NULL;
	if (d == disks->disk + disks->count) {
		disks->count++;
		*d = (struct disk){.device = at.st_dev};
		snprintf(d->dir, sizeof d->dir, "%s", dir);
	}
	return d;
}

/* Also those that are not in use yet. */
static uint32_t segment_files(const char *dir)
{
	DIR *list = opendir(dir);
	const struct dirent *entry;
	uint32_t count = 0;

	while (list && (entry = readdir(list)))
		count += !strncmp(entry->d_name, "seg-", 4) && strstr(entry->d_name, ".log");
	if (list)
		closedir(list);
	return count;
}

static void log_add(struct disks *disks, struct journal *j, enum sink_log log)
{
	struct journal_meta meta;
	struct err ignored;

	if (!j || journal_meta_read(journal_dir(j), &meta, &ignored))
		return;
	for (uint32_t p = 0; p < meta.partitions; p++) {
		char dir[320];
		struct disk *d;
		uint32_t there;

		snprintf(dir, sizeof dir, "%.256s/p%u", journal_dir(j), p);
		d = disk_of(disks, dir);
		if (!d)
			continue;
		there = segment_files(dir);
		d->all += JOURNAL_SEGMENTS_LEAST * meta.segment_bytes;
		d->missing += (there < JOURNAL_SEGMENTS_LEAST ? JOURNAL_SEGMENTS_LEAST - there : 0) *
			      meta.segment_bytes;
		d->log[log]++;
	}
}

static void reserve_add(struct disks *disks, const char *dir)
{
	struct disk *d = disk_of(disks, dir);
	uint64_t bytes, wanted;

	reserve_stats(&bytes, &wanted);
	if (!d || !wanted)
		return;
	d->all += wanted;
	d->missing += wanted - bytes;
	d->reserve = true;
}

static void disk_say(const struct disk *d)
{
	char of[2][96] = {"", ""};
	struct statvfs s;
	uint64_t room;

	if (statvfs(d->dir, &s) != 0)
		return;
	room = (uint64_t)s.f_bavail * s.f_frsize;
	if (room >= d->missing)
		return;
	if (d->log[SINK_LOG_INPUT])
		snprintf(of[0], sizeof of[0],
			", %u segments of journal.segment_bytes for each of %u journal.partitions",
			JOURNAL_SEGMENTS_LEAST, d->log[SINK_LOG_INPUT]);
	if (d->log[SINK_LOG_OUTPUT])
		snprintf(of[1], sizeof of[1], ", %u of state.segment_bytes for each of %u of the output log",
			JOURNAL_SEGMENTS_LEAST, d->log[SINK_LOG_OUTPUT]);
	log_warn("control",
		"DISK TOO SMALL: the configuration needs %" PRIu64 " bytes at the least, %" PRIu64
		" of them are still to be made and %" PRIu64
		" are free. It is%s%s%s "
		"path=%s",
		d->all, d->missing, room, of[0] + (of[0][0] == ','), of[1],
		d->reserve ? ", and journal.reserve" : "", d->dir);
}

int disk_needs_up(struct daemon *d, struct err *err)
{
	struct disks disks = {.count = 0};

	(void)err;
	log_add(&disks, d->journal, SINK_LOG_INPUT);
	log_add(&disks, d->state ? state_output(d->state) : NULL, SINK_LOG_OUTPUT);
	reserve_add(&disks, d->cfg.node.data_dir);
	for (uint32_t i = 0; i < disks.count; i++)
		disk_say(&disks.disk[i]);
	return 0;
}
