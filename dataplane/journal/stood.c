/* Where consumers with limits, which have their positions elsewhere, stood last: p<k>/consumers. Until such a
 * one has found its position again, which may take as long as its target is away, the journal keeps what it
 * may need: with this file from where it stood on, and without it everything, so that a journal that is full
 * of what was delivered long ago would have room for nothing new.
 *
 * Positions grow, so an old file is as good, but for room. Where one is put back by hand the file has to be
 * forgotten, or follows, since a sink that refuses its position holds all that there is. It is written where
 * it stands, and not synced: one that is torn says nothing. Under part->skip_lock; the keeper's, and
 * journal_close()'s after it. */
#include "journal_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "crc32c.h"
#include "log.h"

#define STOOD_EVERY_NS 1000000000ull

static uint32_t stood_crc(const struct stood_file *file)
{
	struct stood_file f = *file;

	f.crc = 0;
	return crc32c(0, &f, sizeof f);
}

static bool stood_good(const struct stood_file *f, uint64_t epoch, uint32_t partition)
{
	if (f->magic != STOOD_MAGIC || f->version != JOURNAL_FORMAT_VERSION || f->crc != stood_crc(f) ||
		f->epoch != epoch || f->partition != partition || f->count > STOOD_MAX)
		return false;
	for (uint32_t i = 0; i < f->count; i++)
		if (!memchr(f->at[i].name, 0, SKIP_NAME_BYTES))
			return false;
	return true;
}

static void stood_path(const char *part_dir, char path[PATH_BYTES + 16])
{
	snprintf(path, PATH_BYTES + 16, "%s/consumers", part_dir);
}

/* Said once, until it is written again. */
static void stood_failed(struct journal_part *part, int error)
{
	if (!part->stood_failed)
		log_warn("journal", "%s/consumers: %s: more may be held after the next start than is needed",
			part->dir, strerror(error));
	part->stood_failed = true;
}

/* The first time, at a start, its room is taken, so that a full disk does not matter later. */
static void stood_write(struct journal_part *part)
{
	struct stood_file *f = part->stood;

	f->magic = STOOD_MAGIC;
	f->version = JOURNAL_FORMAT_VERSION;
	f->epoch = part->journal->meta.epoch;
	f->partition = part->index;
	f->crc = stood_crc(f);
	errno = EIO; /* of a short write */
	if (pwrite(part->stood_fd, f, sizeof *f, 0) == (ssize_t)sizeof *f) {
		part->stood_failed = false;
		return;
	}
	stood_failed(part, errno);
}

int stood_open(struct journal_part *part, struct err *err)
{
	char path[PATH_BYTES + 16];
	struct stood_file *f = calloc(1, sizeof *f);

	part->stood = f;
	if (!f)
		return err_set(err, -ENOMEM, "journal: out of memory");
	stood_path(part->dir, path);
	part->stood_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (part->stood_fd < 0) {
		stood_failed(part, errno);
		return 0;
	}
	if (pread(part->stood_fd, f, sizeof *f, 0) != (ssize_t)sizeof *f ||
		!stood_good(f, part->journal->meta.epoch, part->index))
		memset(f, 0, sizeof *f);
	return 0;
}

/* What lies beyond the end is not of this journal: other records will be there. */
void stood_recovered(struct journal_part *part)
{
	struct stood_file *f = part->stood;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < f->count; i++)
		if (f->at[i].position <= part->recovered.offset)
			f->at[kept++] = f->at[i];
	memset(f->at + kept, 0, (STOOD_MAX - kept) * sizeof f->at[0]);
	f->count = kept;
	if (part->stood_fd >= 0)
		stood_write(part);
}

static struct stood_at *stood_find(struct stood_file *f, const char *name)
{
	for (uint32_t i = 0; i < f->count; i++)
		if (strcmp(f->at[i].name, name) == 0)
			return &f->at[i];
	return NULL;
}

uint64_t stood_position(struct journal_part *part, const char *name)
{
	const struct stood_at *at;
	uint64_t position;

	pthread_mutex_lock(&part->skip_lock);
	at = stood_find(part->stood, name);
	position = at ? at->position : 0;
	pthread_mutex_unlock(&part->skip_lock);
	return position;
}

/* What consumers say now, into *f. True if that is news. */
static bool stood_gather(const struct journal_part *part, struct stood_file *f)
{
	const struct journal *j = part->journal;
	uint32_t count = atomic_load_explicit(&j->consumer_count, memory_order_acquire);
	bool news = false;

	for (uint32_t i = 0; i < count; i++) {
		const struct journal_consumer *c = &j->consumer[i];
		uint64_t position = atomic_load_explicit(&c->position, memory_order_acquire);
		struct stood_at *at;

		if (c->partition != part->index || !atomic_load_explicit(&c->may_skip, memory_order_acquire))
			continue;
		if (position == CONSUMER_UNKNOWN) /* as it was, or doubted */
			position = atomic_load_explicit(&c->stood, memory_order_relaxed);
		at = stood_find(f, c->name);
		if (!at && position && f->count < STOOD_MAX) {
			at = &f->at[f->count++];
			memcpy(at->name, c->name, sizeof at->name); /* which is shorter */
		}
		if (!at || at->position == position)
			continue;
		at->position = position;
		news = true;
	}
	return news;
}

void stood_keep(struct journal_part *part, bool now)
{
	uint64_t ns = clock_mono_ns();

	if (part->stood_fd < 0 || (!now && ns - part->stood_ns < STOOD_EVERY_NS))
		return;
	part->stood_ns = ns;
	pthread_mutex_lock(&part->skip_lock);
	if (stood_gather(part, part->stood) || part->stood_failed)
		stood_write(part);
	pthread_mutex_unlock(&part->skip_lock);
}

void journal_stood_doubt(struct journal *j, int consumer)
{
	atomic_store_explicit(&j->consumer[consumer].stood, 0, memory_order_relaxed);
}

int journal_stood_forget(const char *dir, uint32_t partition, struct err *err)
{
	char part_dir[PATH_BYTES], path[PATH_BYTES + 16];
	int rc;

	store_part_dir(part_dir, dir, partition);
	stood_path(part_dir, path);
	if (unlink(path) != 0)
		return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", path, strerror(errno));
	rc = durable_dir_sync(part_dir);
	return rc ? err_set(err, rc, "%s: %s", part_dir, strerror(-rc)) : 0;
}
