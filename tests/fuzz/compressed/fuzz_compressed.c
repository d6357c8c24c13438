/* A compressed segment of arbitrary bytes: whatever the file says, reads stay within the buffer, come to an
 * end, and give the same when they are repeated; and the block checks behind them find only whole blocks. The
 * input is pieces: a byte of wishes, two bytes of length, so many bytes. Each piece is laid into the file,
 * with a right frame header in front of it, or compressed, if its wishes ask for that; so what lies behind
 * the checks is reached. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "crc32c.h"
#include "journal_priv.h"

#define SEGMENT 262144u
#define BLOCK 16384u
#define RAW_MAX 65536u
#define FILE_MAX 524288u

/* The source itself, so that it is built for coverage. */
#include "compressed.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum wishes {
	HEADER = 1,	/* with a header in front */
	RIGHT = 2,	/* whose length and CRC are of the piece */
	COMPRESSED = 4, /* the piece is compressed first */
	LONGER = 8,	/* and says that it is longer than it is */
	FAR = 16,	/* the raw place is not the next one */
	ZEROS = 32,	/* a page of zeros instead of the piece */
};

static const struct block_place start = {
	.epoch = 7, .key = 9, .segment_bytes = SEGMENT, .block_bytes = BLOCK, .segment = 3};
static uint8_t file[FILE_MAX];
static size_t file_bytes_used;
static char path[64];

static void clean(void)
{
	(void)unlink(path);
}

static void put(const void *data, size_t bytes)
{
	if (file_bytes_used + bytes > FILE_MAX)
		return;
	memcpy(file + file_bytes_used, data, bytes);
	file_bytes_used += bytes;
}

static void piece_put(uint8_t wishes, const uint8_t *data, size_t bytes, uint64_t *raw_at)
{
	static uint8_t zeros[BLOCK_ALIGN], packed[RAW_MAX + 1024];
	struct frame_header h = {.skip_magic = FRAME_SKIP_MAGIC,
		.skip_bytes = sizeof h - 8,
		.magic = FRAME_MAGIC,
		.version = FRAME_VERSION,
		.epoch = start.epoch,
		.key = start.key,
		.segment = start.segment,
		.raw_at = *raw_at,
		.raw_bytes = (uint32_t)(bytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN};

	if (wishes & ZEROS) {
		data = zeros;
		bytes = h.raw_bytes = sizeof zeros;
	}
	if (wishes & COMPRESSED) {
		size_t n = ZSTD_compress(packed, sizeof packed, data, bytes, 1);

		if (ZSTD_isError(n))
			return;
		data = packed;
		bytes = n;
	}
	if (wishes & FAR)
		h.raw_at += (uint64_t)(wishes >> 6) * 77 * BLOCK_ALIGN;
	if (wishes & LONGER)
		h.raw_bytes *= 5;
	h.packed_bytes = wishes & RIGHT ? (uint32_t)bytes : (uint32_t)bytes * 3 + 1;
	h.packed_crc = crc32c(0, data, bytes);
	h.header_crc = frame_header_crc(&h);
	*raw_at = h.raw_at + h.raw_bytes;
	if (wishes & HEADER)
		put(&h, sizeof h);
	put(data, bytes);
}

static void file_make(const uint8_t *data, size_t size)
{
	uint64_t raw_at = 0;
	int fd;

	file_bytes_used = 0;
	while (size >= 3) {
		size_t bytes = data[1] + 256u * data[2];

		if (bytes > size - 3)
			bytes = size - 3;
		piece_put(data[0], data + 3, bytes, &raw_at);
		data += 3 + bytes;
		size -= 3 + bytes;
	}
	if (!path[0]) {
		snprintf(path, sizeof path, "/dev/shm/sluice-fuzz-%d.zst", (int)getpid());
		atexit(clean);
	}
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, file, file_bytes_used) != (ssize_t)file_bytes_used)
		abort();
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buf[RAW_MAX], again[RAW_MAX];
	struct block_place at = start;
	struct compressed c;
	struct err err;

	file_make(data, size);
	compressed_init(&c);
	if (compressed_open_path(&c, path, RAW_MAX, &err) != 0)
		abort();
	while (at.file_offset < SEGMENT) {
		uint64_t from, from_again;
		ssize_t n = compressed_read(&c, &at, buf, &from);
		struct block_place back = at;

		if (n < (ssize_t)BLOCK_ALIGN || n > (ssize_t)RAW_MAX || from > at.file_offset ||
			from + (uint64_t)n > SEGMENT || from + (uint64_t)n < at.file_offset + BLOCK_ALIGN)
			abort();
		for (ssize_t i = 0; c.fault && i < n; i++)
			if (buf[i])
				abort();
		back.file_offset = 0;
		(void)compressed_read(&c, &back, again, &from_again);
		if (compressed_read(&c, &at, again, &from_again) != n || from_again != from ||
			memcmp(buf, again, (size_t)n) != 0)
			abort();
		at.file_offset = from + (uint64_t)n;
	}
	compressed_free(&c);
	return 0;
}
