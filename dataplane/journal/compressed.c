/* Reading a compressed segment, p<k>/seg-<number>.zst: frames, each a skippable frame of zstd with a header
 * of ours and then one of zstd with the bytes of one or more whole blocks (docs/journal-format.md). The file
 * may be anything: every length is bounded by the journal's own sizes before it is used, and a frame that is
 * not whole costs the blocks in it, no more. One thread a file. */
#include <zstd.h>

#include "journal_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"

void compressed_path(char out[PATH_BYTES], const char *part_dir, uint64_t number)
{
	char *end;

	segment_path(out, part_dir, number);
	end = strrchr(out, '.');
	if (end)
		memcpy(end, ".zst", 5);
}

void segment_path_there(char out[PATH_BYTES], const char *part_dir, uint64_t number)
{
	segment_path(out, part_dir, number);
	if (access(out, F_OK) == 0)
		return;
	compressed_path(out, part_dir, number);
	if (access(out, F_OK) != 0)
		segment_path(out, part_dir, number);
}

uint64_t compressed_bytes(const char *part_dir, uint64_t number)
{
	char path[PATH_BYTES];
	struct stat s;

	segment_path(path, part_dir, number);
	if (stat(path, &s) == 0)
		return 0;
	compressed_path(path, part_dir, number);
	return stat(path, &s) == 0 && s.st_size > 0 ? (uint64_t)s.st_size : 0;
}

uint32_t frame_header_crc(const struct frame_header *h)
{
	struct frame_header copy = *h;

	copy.header_crc = 0;
	return crc32c(0, &copy, sizeof copy);
}

void compressed_init(struct compressed *c)
{
	*c = (struct compressed){.fd = -1};
}

void compressed_close(struct compressed *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void compressed_free(struct compressed *c)
{
	compressed_close(c);
	ZSTD_freeDCtx(c->dctx);
	free(c->packed);
	compressed_init(c);
}

static void compressed_rewind(struct compressed *c)
{
	c->frame = (struct frame_header){0};
	c->next_at = 0;
	c->hole_from = 0;
	c->end = false;
	c->lost = NULL;
}

int compressed_open_path(struct compressed *c, const char *path, uint32_t raw_max, struct err *err)
{
	compressed_close(c);
	if (c->raw_max != raw_max) {
		compressed_free(c);
		c->packed_max = ZSTD_compressBound(raw_max);
		c->packed = malloc(c->packed_max);
		c->dctx = ZSTD_createDCtx();
		c->raw_max = raw_max;
	}
	if (!c->packed || !c->dctx) {
		compressed_free(c);
		return err_set(err, -ENOMEM, "%s: no memory to read it", path);
	}
	c->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (c->fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	(void)posix_fadvise(c->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	compressed_rewind(c);
	return 0;
}

int compressed_open(
	struct compressed *c, const char *part_dir, uint64_t number, uint32_t raw_max, struct err *err)
{
	char path[PATH_BYTES];

	compressed_path(path, part_dir, number);
	return compressed_open_path(c, path, raw_max, err);
}

/* Bytes of the file from `at` on, at most `want`; -errno. */
static ssize_t file_bytes(const struct compressed *c, uint64_t at, void *to, size_t want)
{
	size_t have = 0;

	while (have < want) {
		ssize_t n = pread(c->fd, (uint8_t *)to + have, want - have, (off_t)(at + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static bool frame_good(
	const struct compressed *c, const struct frame_header *h, const struct block_place *place)
{
	return h->skip_magic == FRAME_SKIP_MAGIC && h->skip_bytes == sizeof *h - 8 &&
	       h->magic == FRAME_MAGIC && h->version == FRAME_VERSION && h->epoch == place->epoch &&
	       h->key == place->key && h->partition == place->partition && h->segment == place->segment &&
	       h->header_crc == frame_header_crc(h) && h->raw_bytes && h->raw_bytes <= c->raw_max &&
	       h->raw_bytes % BLOCK_ALIGN == 0 && h->raw_at % BLOCK_ALIGN == 0 && h->raw_at >= c->hole_from &&
	       h->raw_at < place->segment_bytes && h->raw_bytes <= place->segment_bytes - h->raw_at &&
	       h->packed_bytes && h->packed_bytes <= c->packed_max;
}

/* Goes behind what is no header to the next one of ours. 0: there is none; 1; -errno. */
static int frame_search(struct compressed *c, const struct block_place *place)
{
	uint64_t at = c->next_at + 1;
	ssize_t n;

	while ((n = file_bytes(c, at, c->packed, c->packed_max)) >= (ssize_t)sizeof c->frame) {
		size_t last = (size_t)n - sizeof c->frame;

		for (size_t i = 0; i <= last; i++) {
			static const uint32_t magic = FRAME_SKIP_MAGIC;
			const uint8_t *p =
				memmem(c->packed + i, last - i + sizeof magic, &magic, sizeof magic);

			if (!p)
				break;
			i = (size_t)(p - c->packed);
			memcpy(&c->frame, p, sizeof c->frame);
			c->next_at = at + i;
			if (frame_good(c, &c->frame, place))
				return 1;
		}
		at += last + 1;
	}
	return n < 0 ? (int)n : 0;
}

/* The next frame behind the one that c has. */
static int frame_next(struct compressed *c, const struct block_place *place)
{
	ssize_t n;
	int rc = 1;

	c->hole_from = c->frame.raw_at + c->frame.raw_bytes;
	c->lost = NULL;
	n = file_bytes(c, c->next_at, &c->frame, sizeof c->frame);
	if (n < 0)
		return (int)n;
	if (n < (ssize_t)sizeof c->frame || !frame_good(c, &c->frame, place)) {
		c->lost = n ? "header of a compressed frame" : "the compressed file ends here";
		rc = n ? frame_search(c, place) : 0;
	}
	if (rc < 0)
		return rc;
	if (rc == 0) {
		c->end = true;
		c->frame = (struct frame_header){.raw_at = place->segment_bytes};
		return 0;
	}
	if (!c->lost && c->frame.raw_at > c->hole_from)
		c->lost = "a compressed frame is missing";
	c->body_at = c->next_at + sizeof c->frame;
	c->next_at = c->body_at + c->frame.packed_bytes;
	return 0;
}

/* NULL, or why the bytes of the frame are lost; *error: -errno of reading it. */
static const char *frame_body(struct compressed *c, uint8_t *buf, int *error)
{
	const struct frame_header *h = &c->frame;
	ssize_t n = file_bytes(c, c->body_at, c->packed, h->packed_bytes);

	*error = n < 0 ? (int)n : 0;
	if (n < (ssize_t)h->packed_bytes)
		return "the compressed file ends inside a frame";
	if (crc32c(0, c->packed, h->packed_bytes) != h->packed_crc)
		return "CRC of a compressed frame";
	/* In one call, to a buffer that has raw_bytes: neither window nor contents can be larger. */
	if (ZSTD_decompressDCtx(c->dctx, buf, h->raw_bytes, c->packed, h->packed_bytes) != h->raw_bytes)
		return "contents of a compressed frame";
	return NULL;
}

ssize_t compressed_read(struct compressed *c, const struct block_place *place, uint8_t *buf, uint64_t *from)
{
	uint64_t at = place->file_offset, bytes;
	int rc = 0;

	if (at < c->hole_from)
		compressed_rewind(c);
	while (rc == 0 && !c->end && at >= c->frame.raw_at + c->frame.raw_bytes)
		rc = frame_next(c, place);
	if (rc < 0) {
		compressed_rewind(c);
		return rc;
	}
	*from = at;
	c->fault = c->lost ? c->lost : "the compressed file ends here";
	bytes = c->frame.raw_at - at;
	if (at >= c->frame.raw_at && !c->end) {
		*from = c->frame.raw_at;
		c->fault = frame_body(c, buf, &rc);
		if (rc < 0 || !c->fault)
			return rc < 0 ? rc : (ssize_t)c->frame.raw_bytes;
		bytes = c->frame.raw_bytes;
	}
	if (bytes > c->raw_max)
		bytes = c->raw_max;
	memset(buf, 0, bytes);
	return (ssize_t)bytes;
}
