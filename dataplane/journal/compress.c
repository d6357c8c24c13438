/* Making compressed segments (docs/journal-format.md). One thread a journal, with a low priority, reads
 * segments that its keepers name, checks every block, writes frames beside them, syncs, and reads back what
 * it has written as a reader would. It changes no name and takes no lock that a writer could wait for: the
 * keeper gives the file its name and frees the raw one. Memory: about 5 MiB, all of the thread's. */
#include <zstd.h>

#include "journal_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "durable.h"

#define FRAME_RAW_BYTES (512u << 10) /* of a frame, unless the largest block is larger */
#define LEVEL 1
#define NICER 10 /* than the daemon: a tenth of a core that others want */
#define FAILED_TIMES_MAX 3u
#define GAIN_TENTHS 9	       /* of a segment: what is more stays raw */
#define RETRY_NS 5000000000ull /* after a full disk or an error */

struct compress_work {
	ZSTD_CCtx *cctx;
	uint8_t *raw, *packed; /* of a frame */
	uint32_t raw_max, raw_bytes;
	size_t packed_max;
	uint64_t raw_at;
	int fd;
	uint64_t bytes; /* of the file */
	struct walk walk;
	uint32_t last_crc; /* header of the last block */
};

static const char *const answer_text[] = {"", "the disk is full", "a block is damaged",
	"an error of the disk", "it would hardly be smaller", "it is not needed any more"};

/* ---- the thread ---- */

static bool compress_ended(const struct journal_part *part)
{
	return atomic_load(&part->compress.cancel) || atomic_load(&part->journal->compressor.stop);
}

/* The most that a compressed segment may have; what would have more stays raw, and is not written further. */
static uint64_t gainful_bytes(uint64_t segment_bytes)
{
	return segment_bytes / 10 * GAIN_TENTHS;
}

static int frame_write(struct compress_work *w, const struct block_place *at, uint64_t segment)
{
	struct frame_header h = {.skip_magic = FRAME_SKIP_MAGIC,
		.skip_bytes = sizeof h - 8,
		.magic = FRAME_MAGIC,
		.version = FRAME_VERSION,
		.epoch = at->epoch,
		.key = at->key,
		.segment = segment,
		.raw_at = w->raw_at,
		.raw_bytes = w->raw_bytes,
		.partition = at->partition};
	size_t n = ZSTD_compressCCtx(w->cctx, w->packed, w->packed_max, w->raw, w->raw_bytes, LEVEL);
	int rc;

	if (ZSTD_isError(n))
		return -ENOMEM;
	h.packed_bytes = (uint32_t)n;
	if (w->bytes + sizeof h + n > gainful_bytes(at->segment_bytes))
		return -E2BIG;
	h.packed_crc = crc32c(0, w->packed, n);
	h.header_crc = frame_header_crc(&h);
	rc = durable_write_all(w->fd, &h, sizeof h);
	if (rc == 0)
		rc = durable_write_all(w->fd, w->packed, n);
	w->bytes += sizeof h + n;
	w->raw_at += w->raw_bytes;
	w->raw_bytes = 0;
	crash_point("journal_compress_frame");
	return rc;
}

static enum compress_answer answer_of(int rc)
{
	if (rc == -E2BIG)
		return COMPRESS_NO_GAIN;
	return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG ? COMPRESS_DISK_FULL : COMPRESS_FAILED;
}

/* Blocks of the segment one after the other; each(): takes them; 0 or -errno. */
static enum compress_answer blocks_walk(struct compress_work *w, const struct journal_part *part,
	int (*each)(struct compress_work *w, const struct compress_job *job, const struct block_header *h))
{
	const struct compress_job *job = &part->compress;
	struct block_place *at = &w->walk.at;

	at->seq = job->first_seq;
	at->offset = job->first_offset;
	while (at->segment == job->number) {
		const struct block_header *h;
		struct err err;
		int rc;

		if (compress_ended(part))
			return COMPRESS_ENDED;
		rc = walk_peek(&w->walk, UINT64_MAX, true, &h, &err);
		if (rc < 0)
			return answer_of(rc);
		if (rc != WALK_BLOCK || (!at->chained && h->block_seq != job->first_seq))
			return compress_ended(part) ? COMPRESS_ENDED : COMPRESS_DAMAGED;
		rc = each ? each(w, job, h) : 0;
		if (rc != 0)
			return answer_of(rc);
		block_place_step(at, h);
	}
	return at->seq == job->end_seq && at->offset == job->end_offset ? COMPRESS_OK : COMPRESS_DAMAGED;
}

static int block_add(struct compress_work *w, const struct compress_job *job, const struct block_header *h)
{
	if (w->raw_bytes && w->raw_bytes + h->total_bytes > w->raw_max) {
		int rc = frame_write(w, &w->walk.at, job->number);

		if (rc != 0) /* the frame is still there: no room behind it */
			return rc;
	}
	memcpy(w->raw + w->raw_bytes, h, h->total_bytes);
	w->raw_bytes += h->total_bytes;
	return 0;
}

static int walk_begin(struct compress_work *w, const struct journal_part *part, struct err *err)
{
	struct block_place at;

	part_place_init(&part->journal->meta, part->index, &at);
	at.segment = part->compress.number;
	return walk_init(&w->walk, part->dir, &at, err);
}

/* What lies on the disk is what a reader would take: each block by all checks, up to the same last one, whose
 * header's CRC covers those of all before it. */
static enum compress_answer compress_verify(
	struct compress_work *w, const struct journal_part *part, const char *path)
{
	enum compress_answer answer = COMPRESS_FAILED;
	struct err err;

	if (walk_begin(w, part, &err) == 0 &&
		compressed_open_path(&w->walk.compressed, path, w->walk.buf_bytes, &err) == 0) {
		w->walk.fd_segment = part->compress.number;
		answer = blocks_walk(w, part, NULL);
		if (answer == COMPRESS_DAMAGED ||
			(answer == COMPRESS_OK && w->walk.at.prev_crc != w->last_crc))
			answer = COMPRESS_FAILED; /* the raw one was good */
	}
	walk_free(&w->walk);
	return answer;
}

static enum compress_answer compress_write(struct compress_work *w, struct journal_part *part)
{
	enum compress_answer answer = COMPRESS_FAILED;
	struct err err;

	w->raw_bytes = 0;
	w->raw_at = w->bytes = 0;
	if (walk_begin(w, part, &err) == 0)
		answer = blocks_walk(w, part, block_add);
	if (answer == COMPRESS_OK) {
		int rc = frame_write(w, &w->walk.at, part->compress.number);

		w->last_crc = w->walk.at.prev_crc;
		crash_point("journal_compress_written");
		answer = rc ? answer_of(rc) : fsync(w->fd) ? answer_of(-errno) : COMPRESS_OK;
		crash_point("journal_compress_synced");
		(void)posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED); /* to be read from the disk now */
	}
	walk_free(&w->walk);
	return answer;
}

/* DIR/p<k>/compress.tmp out of a segment: whole, synced and read back, or not there. */
static void compress_run(struct compress_work *w, struct journal_part *part)
{
	struct compress_job *job = &part->compress;
	char path[PATH_BYTES + 16];
	struct err err;

	/* Once more: what the keeper saw has perhaps gone to others. */
	if (disk_room(part->dir, gainful_bytes(part->journal->meta.segment_bytes), &err) == -ENOSPC) {
		job->answer = COMPRESS_DISK_FULL;
		return;
	}
	snprintf(path, sizeof path, "%s/" COMPRESS_TEMP, part->dir);
	w->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (w->fd < 0) {
		job->answer = answer_of(-errno);
		return;
	}
	job->answer = compress_write(w, part);
	close(w->fd);
	if (job->answer == COMPRESS_OK)
		job->answer = compress_verify(w, part, path);
	job->bytes = w->bytes;
	if (job->answer != COMPRESS_OK)
		(void)unlink(path);
}

static void work_free(struct compress_work *w)
{
	ZSTD_freeCCtx(w->cctx);
	free(w->raw);
	free(w->packed);
}

static int work_init(struct compress_work *w, uint32_t block_bytes)
{
	*w = (struct compress_work){.fd = -1};
	w->raw_max = block_bytes > FRAME_RAW_BYTES ? block_bytes : FRAME_RAW_BYTES;
	w->packed_max = ZSTD_compressBound(w->raw_max);
	w->cctx = ZSTD_createCCtx();
	w->raw = malloc(w->raw_max);
	w->packed = malloc(w->packed_max);
	if (w->cctx && w->raw && w->packed)
		return 0;
	work_free(w);
	return -ENOMEM;
}

static void *compress_main(void *arg)
{
	struct journal *j = arg;
	struct compressor *c = &j->compressor;
	struct compress_work w;

	c->rc = work_init(&w, j->meta.block_bytes);
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICER); /* it alone */
	sem_post(&c->ready);
	while (c->rc == 0 && !atomic_load(&c->stop)) {
		if (sem_wait(&c->wake) != 0)
			continue;
		for (uint32_t i = 0; i < j->params.partitions; i++) {
			struct compress_job *job = &j->part[i].compress;

			/* Acquire: pairs with the keeper's release behind the job's fields. */
			if (atomic_load_explicit(&job->state, memory_order_acquire) != COMPRESS_POSTED)
				continue;
			compress_run(&w, &j->part[i]);
			/* Release: pairs with the keeper's acquire. */
			atomic_store_explicit(&job->state, COMPRESS_DONE, memory_order_release);
		}
	}
	if (c->rc == 0)
		work_free(&w);
	return NULL;
}

/* ---- start and stop ---- */

int compress_start(struct journal *j, struct err *err)
{
	struct compressor *c = &j->compressor;
	int rc;

	if (!j->params.compress_after_ms)
		return 0;
	sem_init(&c->wake, 0, 0);
	sem_init(&c->ready, 0, 0);
	rc = pthread_create(&c->thread, NULL, compress_main, j);
	if (rc != 0)
		return err_set(err, -rc, "journal: no thread to compress: %s", strerror(rc));
	c->runs = true;
	pthread_setname_np(c->thread, j->params.derived ? "compress-output" : "compress");
	/* Its set-up is done before the daemon gives up the rights for it. */
	while (sem_wait(&c->ready) != 0)
		;
	return c->rc ? err_set(err, c->rc, "journal: no memory to compress") : 0;
}

void compress_stop(struct journal *j)
{
	struct compressor *c = &j->compressor;

	if (!c->runs)
		return;
	atomic_store(&c->stop, true);
	sem_post(&c->wake);
	pthread_join(c->thread, NULL);
	sem_destroy(&c->wake);
	sem_destroy(&c->ready);
	c->runs = false;
}

int compress_meta(struct journal *j, struct err *err)
{
	bool any = j->params.compress_after_ms != 0;
	uint32_t version;

	for (uint32_t p = 0; p < j->params.partitions; p++)
		for (uint32_t i = 0; i < j->part[p].seg_count; i++)
			any |= j->part[p].seg[i].compressed_bytes != 0;
	version = any ? JOURNAL_VERSION_COMPRESSED : JOURNAL_FORMAT_VERSION;
	if (j->meta.version == version)
		return 0;
	j->meta.version = version;
	return store_meta_write(j->params.dir, &j->meta, err);
}

/* ---- the keeper ---- */

/* The oldest segment that all have passed and that is old enough. Under the lock. */
static bool compress_choose(const struct journal_part *part, struct compress_job *job)
{
	const struct journal_params *params = &part->journal->params;
	uint64_t floor = retention_floor(part->journal, part->index);
	int64_t now_ms = clock_wall_ms();

	for (uint32_t i = 0; i + 2 < part->seg_count; i++) {
		const struct segment_entry *seg = &part->seg[i], *next = seg + 1;

		if (seg->compressed_bytes || seg->raw_only)
			continue;
		/* The start reads raw ones from the mark on, and before it what has no ids beside it. */
		if (next->first_offset > floor || next->number >= part->mark.segment ||
			(params->dedup_window_ms && !seg->ids_done) ||
			now_ms - next->receive_first_ms < (int64_t)params->compress_after_ms)
			return false;
		job->number = seg->number;
		job->first_seq = seg->first_seq;
		job->first_offset = seg->first_offset;
		job->end_seq = next->first_seq;
		job->end_offset = next->first_offset;
		return true;
	}
	return false;
}

/* Entry of the job's segment; NULL: it was given up meanwhile. Under the lock. */
static struct segment_entry *compress_entry(struct journal_part *part)
{
	for (uint32_t i = 0; i < part->seg_count; i++)
		if (part->seg[i].number == part->compress.number)
			return &part->seg[i];
	return NULL;
}

static void compress_failed(struct journal_part *part, enum compress_answer answer)
{
	struct compress_job *job = &part->compress;
	uint64_t *count[] = {[COMPRESS_DISK_FULL] = &part->stats.compress_disk_full,
		[COMPRESS_DAMAGED] = &part->stats.compress_damaged,
		[COMPRESS_FAILED] = &part->stats.compress_failed,
		[COMPRESS_NO_GAIN] = &part->stats.compress_no_gain,
		[COMPRESS_ENDED] = NULL};
	struct segment_entry *seg;

	if (!count[answer])
		return;
	stat_set(count[answer], *count[answer] + 1);
	if (job->said != answer)
		log_warn("journal",
			"a segment stays uncompressed partition=%u segment=%" PRIu64 " reason=\"%s\"%s",
			part->index, job->number, answer_text[answer],
			answer == COMPRESS_DISK_FULL || answer == COMPRESS_FAILED ? ": tried again" : "");
	job->said = answer;
	if (answer == COMPRESS_FAILED) {
		job->failed_times = job->failed_number == job->number ? job->failed_times + 1 : 1;
		job->failed_number = job->number;
	}
	/* One that fails again and again stays raw: those behind it have their turn. */
	if (answer == COMPRESS_DISK_FULL ||
		(answer == COMPRESS_FAILED && job->failed_times < FAILED_TIMES_MAX)) {
		job->retry_ns = clock_mono_ns() + RETRY_NS;
		return;
	}
	pthread_mutex_lock(&part->lock);
	seg = compress_entry(part);
	if (seg)
		seg->raw_only = true;
	pthread_mutex_unlock(&part->lock);
}

/* compress.tmp gets its name, durably. */
static int compress_name(const struct journal_part *part)
{
	char temp[PATH_BYTES + 16], path[PATH_BYTES];
	int rc = 0;

	snprintf(temp, sizeof temp, "%s/" COMPRESS_TEMP, part->dir);
	compressed_path(path, part->dir, part->compress.number);
	if (rename(temp, path) != 0) {
		rc = -errno;
		(void)unlink(temp);
		return rc;
	}
	crash_point("journal_compress_renamed");
	rc = durable_dir_sync(part->dir);
	crash_point("journal_compress_named");
	if (rc != 0)
		(void)unlink(path);
	return rc;
}

/* The keeper alone takes segments away: the entry that is found stays. */
static void compress_take(struct journal_part *part)
{
	const struct compress_job *job = &part->compress;
	struct segment_entry *seg;
	int rc;

	pthread_mutex_lock(&part->lock);
	seg = compress_entry(part);
	pthread_mutex_unlock(&part->lock);
	if (!seg) {
		char temp[PATH_BYTES + 16];

		snprintf(temp, sizeof temp, "%s/" COMPRESS_TEMP, part->dir);
		(void)unlink(temp);
		return;
	}
	rc = compress_name(part);
	if (rc != 0) {
		compress_failed(part, answer_of(rc));
		return;
	}
	pthread_mutex_lock(&part->lock);
	seg->compressed_bytes = job->bytes;
	pthread_mutex_unlock(&part->lock);
	stat_set(&part->stats.compressed, part->stats.compressed + 1);
	stat_set(&part->stats.compress_bytes_before,
		part->stats.compress_bytes_before + part->journal->meta.segment_bytes);
	stat_set(&part->stats.compress_bytes_after, part->stats.compress_bytes_after + job->bytes);
	part->compress.said = COMPRESS_OK;
	rc = segment_set_aside(part->dir, job->number, !part->spare);
	if (rc == 0)
		part->spare = true;
	else
		log_warn("journal",
			"the raw file of a compressed segment stays partition=%u segment=%" PRIu64
			" error=\"%s\"",
			part->index, job->number, strerror(-rc));
}

void compress_cancel(struct journal_part *part, uint64_t number)
{
	if (part->compress.number == number)
		atomic_store(&part->compress.cancel, true);
}

void compress_keep(struct journal_part *part)
{
	struct compress_job *job = &part->compress;
	int state = atomic_load_explicit(&job->state, memory_order_acquire);
	struct err err;
	bool found;

	if (!part->journal->compressor.runs || state == COMPRESS_POSTED)
		return;
	if (state == COMPRESS_DONE) {
		if (job->answer == COMPRESS_OK)
			compress_take(part);
		else
			compress_failed(part, job->answer);
		atomic_store_explicit(&job->state, COMPRESS_IDLE, memory_order_relaxed);
	}
	if (clock_mono_ns() < job->retry_ns)
		return;
	pthread_mutex_lock(&part->lock);
	found = compress_choose(part, job);
	pthread_mutex_unlock(&part->lock);
	if (!found)
		return;
	if (disk_room(part->dir, gainful_bytes(part->journal->meta.segment_bytes), &err) == -ENOSPC) {
		compress_failed(part, COMPRESS_DISK_FULL);
		return;
	}
	atomic_store(&job->cancel, false);
	atomic_store_explicit(&job->state, COMPRESS_POSTED, memory_order_release);
	sem_post(&part->journal->compressor.wake);
}
