/* The keeper of a partition: has the next segment ready before the writer needs it (a new file, or the oldest
 * one that no consumer needs), and writes the durable mark. So the writer waits for no file operation. */
#include "journal_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEEPER_PERIOD_NS 100000000ull
#define KEEPER_FULL_PERIOD_NS 20000000ull

void keeper_mark(struct journal_part *part, uint32_t flags)
{
	struct mark_slot was = part->mark;
	struct part_tail tail;
	int rc;

	sync_mark_tail(part, &tail);
	if (part->journal->params.durability != JOURNAL_COMMIT && !(flags & MARK_F_CLEAN))
		flags |= MARK_F_LAZY;
	if (tail.seq == part->mark.next_seq && flags == part->mark.flags)
		return;
	part->mark.next_seq = tail.seq;
	part->mark.next_offset = tail.offset;
	part->mark.segment = tail.segment;
	part->mark.file_offset = tail.file_offset;
	part->mark.last_crc = (uint32_t)tail.last_crc;
	part->mark.flags = flags;
	rc = store_mark_write(part->mark_fd, &part->mark);
	if (rc == 0)
		return;
	part->mark = was; /* to be tried again, in the same slot: the other one may be the only good one */
	log_error("journal", "cannot write the durable mark partition=%u error=\"%s\"", part->index,
		strerror(-rc));
}

/* Bytes of all segments in the table. Under the lock, as all up to keeper_release(). */
static uint64_t keeper_bytes(const struct journal_part *part)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < part->seg_count; i++)
		bytes += segment_disk_bytes(part, &part->seg[i]);
	return bytes;
}

/* There may be a further segment: of segments_max, where compressed ones count by their bytes. */
static bool keeper_fits(const struct journal_part *part)
{
	uint64_t segment_bytes = part->journal->meta.segment_bytes;

	return keeper_bytes(part) + segment_bytes <= part->journal->params.segments_max * segment_bytes &&
	       part->seg_count + 2 <= part->seg_capacity;
}

/* The oldest segment, which every consumer has passed, has been kept for as long as was asked for. */
static bool keeper_old_enough(const struct journal_part *part)
{
	const struct journal_params *params = &part->journal->params;
	int64_t age_ms = clock_wall_ms() - part->seg[1].receive_first_ms;

	if (age_ms <= (int64_t)params->dedup_window_ms)
		return false;
	return age_ms > (int64_t)params->retain_ms ||
	       (params->retain_bytes && keeper_bytes(part) > params->retain_bytes);
}

/* Takes the oldest segment out of the table if every record of it is below the floor. `lazy`: only if ids in
 * it need not be remembered any more either, and it has been kept for replay. */
static bool keeper_release(struct journal_part *part, bool lazy, struct segment_entry *gone)
{
	const struct journal_params *params = &part->journal->params;
	uint64_t floor = retention_floor(part->journal, part->index);
	const struct segment_entry *seg = part->seg;

	/* The last two stay: one is written to, and the one before ends with the last durable block. */
	if (part->seg_count < JOURNAL_SEGMENTS_LEAST || seg[1].first_offset > floor)
		return false;
	/* What is derived is kept as long as there is room: readers that start late want its end. */
	if (lazy && (params->derived || floor == UINT64_MAX || !keeper_old_enough(part)))
		return false;
	*gone = seg[0];
	compress_cancel(part, gone->number);
	part->seg_count--;
	memmove(part->seg, part->seg + 1, part->seg_count * sizeof *part->seg);
	atomic_store_explicit(&part->oldest_segment, part->seg[0].number, memory_order_release);
	stat_set(&part->stats.oldest_offset, part->seg[0].first_offset);
	return true;
}

static bool keeper_room(struct journal_part *part)
{
	bool fits;

	pthread_mutex_lock(&part->lock);
	fits = keeper_fits(part);
	pthread_mutex_unlock(&part->lock);
	return fits;
}

/* Removes the files of a segment that is not in the table any more. */
static void keeper_remove(const struct journal_part *part, const struct segment_entry *gone)
{
	char path[PATH_BYTES];

	segment_path(path, part->dir, gone->number);
	(void)unlink(path); /* of one that is compressed, too: a raw file that could not be set aside */
	compressed_path(path, part->dir, gone->number);
	if (gone->compressed_bytes)
		(void)unlink(path);
	segment_ids_remove(part->dir, gone->number);
}

/* Takes the oldest segment, and one more while they are more than segments_max (it has become smaller), out
 * of the table. 0: its file is that of segment next_number now; 1: it was compressed and is removed; -ENOSPC:
 * none may go. */
static int keeper_recycle(struct journal_part *part, bool lazy, uint64_t *freed, struct err *err)
{
	struct segment_entry gone = {0}, extra = {0};
	bool recycle, shrink = false;
	int rc;

	pthread_mutex_lock(&part->lock);
	recycle = keeper_release(part, lazy, &gone);
	if (recycle && !gone.compressed_bytes && !keeper_fits(part))
		shrink = keeper_release(part, false, &extra);
	pthread_mutex_unlock(&part->lock);
	if (!recycle)
		return err_set(err, -ENOSPC, "all %u segments are held by consumers",
			part->journal->params.segments_max);
	if (gone.compressed_bytes) {
		keeper_remove(part, &gone);
		*freed += gone.compressed_bytes;
		return 1;
	}
	if (shrink && !extra.compressed_bytes) {
		keeper_remove(part, &gone);
		gone = extra;
	}
	segment_ids_remove(part->dir, gone.number);
	rc = segment_recycle(part->dir, gone.number, part->next_number, err);
	if (rc != 0 && extra.compressed_bytes) /* if it still has its name */
		keeper_remove(part, &gone);
	if (extra.compressed_bytes) /* the older one first: a crash must leave no hole */
		keeper_remove(part, &extra);
	return rc;
}

/* Alarm and its end. */
static void keeper_disk_full(struct journal_part *part, bool full, const struct err *err)
{
	if (full == (bool)part->stats.disk_full)
		return;
	__atomic_store_n(&part->stats.disk_full, full, __ATOMIC_RELAXED);
	if (full)
		log_error("journal",
			"DISK FULL: no room for a further segment, what there is goes on being used "
			"partition=%u "
			"reason=\"%s\"",
			part->index, err->text);
	else
		log_info("journal", "the disk has room for segments again partition=%u", part->index);
}

static int keeper_open_next(struct journal_part *part, struct err *err)
{
	int rc = segment_open(part->dir, part->next_number, true, err);

	part->next_fd = rc;
	return rc < 0 ? rc : 0;
}

/* A further segment file. A disk that has no room is not written full to find that out, many times a second.
 */
static int keeper_make(struct journal_part *part, uint32_t segments, uint64_t freed, struct err *err)
{
	uint64_t bytes = part->journal->meta.segment_bytes;
	int rc;

	if (part->spare) {
		part->spare = false;
		if (segment_use_spare(part->dir, part->next_number, err) == 0)
			return 0;
		log_warn("journal", "%s", err->text);
	}
	/* What has just been given back may be taken again, whatever the reserve lacks. */
	rc = freed >= bytes ? 0 : disk_room(part->dir, bytes, err);
	/* With fewer none of the output log could be used again: what is stored could not leave. */
	if (rc == -ENOSPC && part->journal->params.derived && segments < JOURNAL_SEGMENTS_LEAST &&
		reserve_release(bytes))
		rc = 0;
	if (rc == 0)
		rc = segment_make(part->dir, part->next_number, bytes, err);
	keeper_disk_full(part, rc == -ENOSPC || rc == -EDQUOT, err);
	return rc;
}

/* Gets the file of segment next_number. -ENOSPC: there is none at the moment. */
static int keeper_obtain(struct journal_part *part, struct err *err)
{
	bool room = keeper_room(part);
	uint64_t freed = 0;
	uint32_t segments;
	int rc;

	while ((rc = keeper_recycle(part, room, &freed, err)) == 1)
		room = keeper_room(part);
	freed = 0;
	pthread_mutex_lock(&part->lock);
	segments = part->seg_count;
	pthread_mutex_unlock(&part->lock);
	while (rc == -ENOSPC && room) {
		struct err ignored;
		int went;

		rc = keeper_make(part, segments, freed, err);
		if (rc == 0 || freed >= part->journal->meta.segment_bytes)
			break;
		/* A disk that is full before segments_max is reached: remembered ids are worth less than
		 * events. */
		went = keeper_recycle(part, false, &freed, &ignored);
		if (went == 0)
			rc = 0;
		room = went == 1; /* so many bytes more */
	}
	return rc == 0 ? keeper_open_next(part, err) : rc;
}

static void keeper_prepare(struct journal_part *part)
{
	int state = atomic_load_explicit(&part->next_state, memory_order_acquire);
	struct err err;
	int rc;

	if (part->stats.disk_full && disk_room(part->dir, part->journal->meta.segment_bytes, &err) == 0)
		keeper_disk_full(part, false, &err);
	if (state == NEXT_READY)
		return;
	rc = keeper_obtain(part, &err);
	if ((rc == -ENOSPC || rc == -EDQUOT) &&
		retention_give_up(part)) /* the oldest segment is nobody's now */
		rc = keeper_obtain(part, &err);
	if (rc == 0) {
		if (state == NEXT_FULL)
			log_info("journal", "a segment is free again partition=%u", part->index);
		/* Release: pairs with the writer's acquire before it takes next_fd. */
		atomic_store_explicit(&part->next_state, NEXT_READY, memory_order_release);
		return;
	}
	if (state != NEXT_FULL)
		log_warn("journal", "no free segment partition=%u reason=\"%s\"", part->index, err.text);
	atomic_store_explicit(&part->next_state, NEXT_FULL, memory_order_release);
}

void *keeper_main(void *arg)
{
	struct journal_part *part = arg;

	pthread_mutex_lock(&part->lock);
	while (!part->keeper_stop) {
		uint64_t ns = clock_mono_ns();
		struct timespec until;

		pthread_mutex_unlock(&part->lock);
		sync_full_segments(part);
		keeper_mark(part, 0); /* first: never behind a segment that goes */
		retention_lag(part);  /* before something is given up: its alarm comes first */
		keeper_prepare(part);
		stood_keep(part, false);
		segment_ids_keep(part);
		compress_keep(part);
		ns += atomic_load(&part->next_state) == NEXT_FULL ? KEEPER_FULL_PERIOD_NS : KEEPER_PERIOD_NS;
		until = (struct timespec){(time_t)(ns / 1000000000ull), (long)(ns % 1000000000ull)};
		pthread_mutex_lock(&part->lock);
		/* One wait, not a loop: a wake-up too many costs one look. */
		if (!part->keeper_stop && atomic_load(&part->next_state) != NEXT_WANTED)
			(void)pthread_cond_timedwait(&part->keeper_cond, &part->lock, &until);
	}
	pthread_mutex_unlock(&part->lock);
	return NULL;
}
