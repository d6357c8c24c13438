/* Reads blocks one after another from segment files, in large pieces. One thread per walk.
 *
 * Segments that were full when the journal was opened are read through the page cache, so that the kernel
 * reads ahead, and others find the pages. The state stage's replay, which reads most of all, gives the pages
 * of raw files back behind its place: that ever new ones are filled took a third to a half of its time
 * (perf/budget.md, Recovery), and drives out what others need. A sink that is behind then reads from the disk
 * what the replay has read. The segment that is written to is read past the page cache, as it is written.
 *
 * A segment that was compressed is read frame by frame: its bytes in the buffer are those that the raw file
 * had, so that nobody behind this file sees which it was.
 */
#include "journal_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Pages are given back so much at a time, up to a multiple of what the kernel keeps together at most: of what
 * lies partly behind the border it drops nothing, then or later. */
#define BEHIND_BYTES (4u << 20)
#define FOLIO_BYTES (2u << 20)

int walk_init(struct walk *w, const char *part_dir, const struct block_place *at, struct err *err)
{
	void *p;

	*w = (struct walk){.fd = -1, .buf_bytes = at->block_bytes};
	compressed_init(&w->compressed);
	if (w->buf_bytes < 1u << 20)
		w->buf_bytes = 1u << 20;
	if (posix_memalign(&p, BLOCK_ALIGN, w->buf_bytes))
		return err_set(err, -ENOMEM, "journal: no memory to read blocks");
	w->buf = p;
	memcpy(w->part_dir, part_dir, strnlen(part_dir, PATH_BYTES - 1));
	walk_seek(w, at);
	return 0;
}

static uint64_t folio_of(uint64_t at)
{
	return at & ~(uint64_t)(FOLIO_BYTES - 1);
}

/* Of the file that is open. */
static bool walk_gives_back(const struct walk *w)
{
	return w->gives_back && w->fd >= 0 && w->fd_segment < w->cached_below;
}

/* What is read next is read from w->buf_at. */
static void walk_pass(struct walk *w)
{
	const uint64_t to = folio_of(w->buf_at);

	if (!walk_gives_back(w))
		return;
	if (to < w->passed)
		w->passed = to;
	if (to - w->passed < BEHIND_BYTES)
		return;
	(void)posix_fadvise(w->fd, (off_t)w->passed, (off_t)(to - w->passed), POSIX_FADV_DONTNEED);
	w->passed = to;
}

/* Gives back what is left, to the file's end: what was read ahead, too, unless it is still on its way. */
static void walk_close(struct walk *w)
{
	if (w->fd < 0)
		return;
	if (walk_gives_back(w))
		(void)posix_fadvise(w->fd, (off_t)w->passed, 0, POSIX_FADV_DONTNEED);
	close(w->fd);
	w->fd = -1;
}

void walk_free(struct walk *w)
{
	walk_close(w);
	free(w->buf);
	compressed_free(&w->compressed);
	*w = (struct walk){.fd = -1, .compressed.fd = -1};
}

void walk_seek(struct walk *w, const struct block_place *at)
{
	w->at = *at;
	w->filled = 0;
}

/* Bytes at the place that the buffer has and that may be trusted. */
static uint32_t walk_have(const struct walk *w)
{
	uint64_t skip = w->at.file_offset - w->buf_at;

	if (w->fd_segment != w->at.segment || w->at.file_offset < w->buf_at || skip >= w->filled ||
		(w->at.chained && w->at.seq >= w->buf_limit))
		return 0;
	return w->filled - (uint32_t)skip;
}

static bool walk_is_open(const struct walk *w)
{
	return (w->fd >= 0 || w->compressed.fd >= 0) && w->fd_segment == w->at.segment;
}

/* The segment's file: raw, or compressed. */
static int walk_open(struct walk *w, struct err *err)
{
	walk_close(w);
	compressed_close(&w->compressed);
	w->filled = 0; /* it is of another segment, whatever comes of this one */
	w->fd = w->at.segment < w->cached_below ? segment_open_cached(w->part_dir, w->at.segment, err)
						: segment_open(w->part_dir, w->at.segment, false, err);
	w->fd_segment = w->at.segment;
	w->passed = folio_of(w->at.file_offset);
	if (w->fd == -ENOENT) {
		int rc = compressed_open(&w->compressed, w->part_dir, w->at.segment, w->buf_bytes, err);

		w->fd = -1;
		return rc;
	}
	return w->fd < 0 ? w->fd : 0;
}

bool walk_moved(struct walk *w)
{
	char path[PATH_BYTES];

	if (w->fd < 0)
		return false;
	segment_path(path, w->part_dir, w->fd_segment);
	if (access(path, F_OK) == 0)
		return false;
	walk_close(w);
	w->filled = 0;
	return true;
}

static int read_compressed(struct walk *w, struct err *err)
{
	ssize_t n = compressed_read(&w->compressed, &w->at, w->buf, &w->buf_at);

	w->buf_limit = UINT64_MAX;
	w->filled = n > 0 ? (uint32_t)n : 0;
	return n < 0 ? err_set(err, (int)n, "%s: compressed segment %" PRIu64 ": read: %s", w->part_dir,
			       w->fd_segment, strerror((int)-n))
		     : 0;
}

static int walk_read(struct walk *w, uint64_t seq_limit, uint32_t bytes_max, struct err *err)
{
	uint64_t want = bytes_max, room = w->at.segment_bytes - w->at.file_offset;
	uint64_t blocks = w->at.chained && seq_limit > w->at.seq ? seq_limit - w->at.seq : UINT32_MAX;
	int rc = walk_is_open(w) ? 0 : walk_open(w, err);

	if (rc != 0)
		return rc;
	if (w->compressed.fd >= 0)
		return read_compressed(w, err);
	if (want > room)
		want = room;
	if (blocks < want / w->at.block_bytes)
		want = blocks * w->at.block_bytes;
	w->buf_at = w->at.file_offset;
	w->buf_limit = seq_limit;
	w->filled = 0;
	walk_pass(w);
	while (w->filled < want) {
		ssize_t n =
			pread(w->fd, w->buf + w->filled, want - w->filled, (off_t)(w->buf_at + w->filled));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			char path[PATH_BYTES];

			segment_path(path, w->part_dir, w->fd_segment);
			return err_set(err, -errno, "%s: read: %s", path, strerror(errno));
		}
		w->filled += (uint32_t)n;
		if (n == 0 || n % BLOCK_ALIGN)
			break;
	}
	return 0;
}

/* At least `bytes` at the place, or NULL if the file ends before; if it has to be read, up to bytes_max. */
static const uint8_t *walk_bytes(
	struct walk *w, uint32_t bytes, uint32_t bytes_max, uint64_t seq_limit, int *rc, struct err *err)
{
	*rc = 0;
	if (walk_have(w) < bytes)
		*rc = walk_read(w, seq_limit, bytes_max, err);
	if (*rc != 0 || walk_have(w) < bytes)
		return NULL;
	return w->buf + (w->at.file_offset - w->buf_at);
}

static int head_peek(struct walk *w, uint64_t seq_limit, uint32_t bytes_max, const struct block_header **out,
	struct err *err)
{
	const uint8_t *p;
	int rc;

	w->fault = NULL;
	p = walk_bytes(w, BLOCK_ALIGN, bytes_max, seq_limit, &rc, err);
	if (rc == -ENOENT) {
		w->fault = "no segment file";
		return WALK_END;
	}
	if (rc != 0)
		return rc;
	if (!p) {
		w->fault = "the file ends here";
		return WALK_FAULT;
	}
	*out = (const struct block_header *)p;
	w->fault = block_header_fault(*out, &w->at);
	if (w->fault && w->compressed.fd >= 0 && w->compressed.fault)
		w->fault = w->compressed.fault;
	if (w->fault)
		return block_header_ours(*out, &w->at) ? WALK_FAULT : WALK_END;
	return WALK_BLOCK;
}

int walk_head(struct walk *w, uint64_t seq_limit, const struct block_header **out, struct err *err)
{
	int rc = head_peek(w, seq_limit, BLOCK_ALIGN, out, err);

	if (rc >= 0 && rc != WALK_BLOCK && walk_moved(w))
		rc = head_peek(w, seq_limit, BLOCK_ALIGN, out, err);
	return rc;
}

int walk_resync(struct walk *w, uint64_t segment, uint64_t seq_limit, const struct block_header **out,
	struct err *err)
{
	uint64_t seq_min = w->at.chained ? w->at.seq : 0, offset_min = w->at.offset;

	w->at.chained = false;
	for (w->at.file_offset += BLOCK_ALIGN; w->at.segment <= segment;
		w->at.segment++, w->at.file_offset = 0) {
		w->filled = 0;
		for (; w->at.file_offset < w->at.segment_bytes; w->at.file_offset += BLOCK_ALIGN) {
			int rc = walk_peek(w, seq_limit, true, out, err);

			if (rc < 0)
				return rc;
			if (rc == WALK_BLOCK && (*out)->block_seq >= seq_min &&
				(*out)->block_seq < seq_limit && (*out)->first_offset >= offset_min) {
				w->at.seq = (*out)->block_seq;
				w->at.prev_crc = (*out)->prev_crc;
				w->at.offset = (*out)->first_offset;
				w->at.chained = true;
				return WALK_BLOCK;
			}
			if (rc != WALK_BLOCK && w->filled == 0) /* no file, or it ends here */
				break;
		}
	}
	return WALK_END;
}

static int block_peek(
	struct walk *w, uint64_t seq_limit, bool payload, const struct block_header **out, struct err *err)
{
	const uint8_t *p;
	uint32_t total;
	int rc = head_peek(w, seq_limit, w->buf_bytes, out, err);

	if (rc != WALK_BLOCK)
		return rc;
	total = (*out)->total_bytes;
	p = walk_bytes(w, total, w->buf_bytes, seq_limit, &rc, err);
	if (rc != 0)
		return rc;
	if (!p) {
		w->fault = "the file ends inside the block";
		return WALK_FAULT;
	}
	*out = (const struct block_header *)p;
	/* Read again, perhaps: whoever reads a live file must not trust the first look. */
	w->fault = block_header_fault(*out, &w->at);
	if (!w->fault && (*out)->total_bytes != total)
		w->fault = "block length";
	if (!w->fault && payload)
		w->fault = block_payload_fault(*out, p + BLOCK_HEADER_BYTES);
	return w->fault ? WALK_FAULT : WALK_BLOCK;
}

int walk_peek(
	struct walk *w, uint64_t seq_limit, bool payload, const struct block_header **out, struct err *err)
{
	int rc = block_peek(w, seq_limit, payload, out, err);

	if (rc >= 0 && rc != WALK_BLOCK && walk_moved(w))
		rc = block_peek(w, seq_limit, payload, out, err);
	return rc;
}
