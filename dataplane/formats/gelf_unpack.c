/* Compressed payloads of GELF by zlib, whose memory is an arena on the stack: a worker allocates nothing. */
#include "gelf_priv.h"

#include <stdalign.h>
#include <zlib.h>

#define ARENA_BYTES                                                                                          \
	65536 /* zlib's inflate wants 7 KiB, and 32 KiB more where the output is not taken at once */

struct arena {
	uint32_t used;
	alignas(16) uint8_t data[ARENA_BYTES];
};

static voidpf arena_take(voidpf opaque, uInt items, uInt size)
{
	struct arena *a = opaque;
	uint64_t bytes = ((uint64_t)items * size + 15) & ~15ull;
	void *p = a->data + a->used;

	if (bytes > ARENA_BYTES - a->used)
		return Z_NULL;
	a->used += (uint32_t)bytes;
	return p;
}

static void arena_leave(voidpf opaque, voidpf p)
{
	(void)opaque;
	(void)p;
}

enum gelf_packing gelf_packing(const uint8_t *data, uint32_t bytes)
{
	if (bytes < 2)
		return GELF_PLAIN;
	if (data[0] == 0x1f && data[1] == 0x8b)
		return GELF_GZIP;
	/* RFC 1950: deflate, a window that it has, and the check */
	if ((data[0] & 0x0f) == 8 && data[0] >> 4 <= 7 && (data[0] << 8 | data[1]) % 31 == 0)
		return GELF_ZLIB;
	return GELF_PLAIN;
}

bool gelf_unpack(
	uint8_t to[EVENT_BYTES_MAX], uint32_t *to_bytes, const uint8_t *data, uint32_t bytes, bool *too_long)
{
	struct arena arena;
	z_stream z = {.zalloc = arena_take, .zfree = arena_leave, .opaque = &arena};
	int rc;

	arena.used = 0;
	*too_long = false;
	z.next_in = (z_const Bytef *)data;
	z.avail_in = bytes;
	z.next_out = to;
	z.avail_out = EVENT_BYTES_MAX;
	if (inflateInit2(&z, 15 + 32) != Z_OK) /* either header */
		return false;
	rc = inflate(&z, Z_FINISH);
	*to_bytes = EVENT_BYTES_MAX - z.avail_out;
	*too_long = rc != Z_STREAM_END && z.avail_out == 0;
	inflateEnd(&z);
	return rc == Z_STREAM_END && z.avail_in == 0;
}
