/* Where consumers with limits, which have their positions elsewhere, stood last: p<k>/consumers. Until such a
 * one has found its position again, which may take as long as its target is away, the journal keeps what it
 * may need: with this file from where it stood on, and without it everything, so that a journal that is full
 * of what was delivered long ago would have room for nothing new.
 *
 * A position only grows, so an old file is as good, but for room. It is written where it stands, and not
 * synced: one that is torn, or missing, says nothing. The keeper's, and journal_stop()'s after it. */
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

int stood_open(struct journal_part *part, struct err *err)
{
	char path[PATH_BYTES + 16];

	part->stood = calloc(1, sizeof *part->stood);
	if (!part->stood)
		return err_set(err, -ENOMEM, "journal: out of memory");
	stood_path(part->dir, path);
	part->stood_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (part->stood_fd < 0) {
		log_warn("journal", "%s: %s: more may be held after the next start than is needed", path,
			strerror(errno));
		return 0;
	}
	if (pread(part->stood_fd, part->stood, sizeof *part->stood, 0) != (ssize_t)sizeof *part->stood ||
		!stood_good(part->stood, part->journal->meta.epoch, part->index))
		memset(part->stood, 0, sizeof *part->stood);
	return 0;
}

static struct stood_at *stood_find(struct stood_file *f, const char *name)
{
	for (uint32_t i = 0; i < f->count; i++)
		if (strcmp(f->at[i].name, name) == 0)
			return &f->at[i];
	return NULL;
}

/* Beyond what was recovered it is not of this journal. */
uint64_t stood_position(const struct journal_part *part, const char *name)
{
	const struct stood_at *at = part->stood ? stood_find(part->stood, name) : NULL;

	return at && at->position <= part->recovered.offset ? at->position : 0;
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

		if (c->partition != part->index || position == CONSUMER_UNKNOWN ||
			!atomic_load_explicit(&c->may_skip, memory_order_acquire))
			continue;
		at = stood_find(f, c->name);
		if (!at && f->count < STOOD_MAX) {
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
	struct stood_file *f = part->stood;

	if (part->stood_fd < 0 || (!now && ns - part->stood_ns < STOOD_EVERY_NS))
		return;
	part->stood_ns = ns;
	if (!stood_gather(part, f))
		return;
	f->magic = STOOD_MAGIC;
	f->version = JOURNAL_FORMAT_VERSION;
	f->epoch = part->journal->meta.epoch;
	f->partition = part->index;
	f->crc = stood_crc(f);
	if (pwrite(part->stood_fd, f, sizeof *f, 0) != (ssize_t)sizeof *f)
		memset(f, 0, sizeof *f); /* it is tried again: what is there now may be torn, which is seen */
}

int journal_stood_forget(const char *dir, uint32_t partition, struct err *err)
{
	char part_dir[PATH_BYTES], path[PATH_BYTES + 16];

	store_part_dir(part_dir, dir, partition);
	stood_path(part_dir, path);
	if (unlink(path) != 0 && errno != ENOENT)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	return 0;
}
