/* One frame a body. */
#include "ch_pack.h"

#include <errno.h>
#include <lz4frame.h>
#include <zstd.h>

/* Above the fastest level the sender's time grows faster than what it saves. */
#define ZSTD_LEVEL 1

static const LZ4F_preferences_t lz4_preferences = {
	.frameInfo = {.blockSizeID = LZ4F_max256KB, .blockMode = LZ4F_blockIndependent}};

const char *ch_pack_encoding(const struct ch_pack *pack)
{
	static const char *const name[] = {NULL, "lz4", "zstd"};

	return name[pack->compression];
}

static size_t pack_lz4(struct ch_pack *pack, const void *data, size_t bytes)
{
	size_t room = LZ4F_compressFrameBound(bytes, &lz4_preferences), n;
	uint8_t *to = bytes_room(&pack->out, room);

	if (!to)
		return 0;
	n = LZ4F_compressFrame(to, room, data, bytes, &lz4_preferences);
	return LZ4F_isError(n) ? 0 : n;
}

static size_t pack_zstd(struct ch_pack *pack, const void *data, size_t bytes)
{
	size_t room = ZSTD_compressBound(bytes), n;
	uint8_t *to = bytes_room(&pack->out, room);

	if (!pack->zstd)
		pack->zstd = ZSTD_createCCtx();
	if (!to || !pack->zstd)
		return 0;
	n = ZSTD_compressCCtx(pack->zstd, to, room, data, bytes, ZSTD_LEVEL);
	return ZSTD_isError(n) ? 0 : n;
}

int ch_pack(struct ch_pack *pack, const void *data, size_t bytes, struct err *err)
{
	size_t n;

	bytes_reset(&pack->out);
	n = pack->compression == CH_COMPRESSION_LZ4 ? pack_lz4(pack, data, bytes)
						    : pack_zstd(pack, data, bytes);
	if (!n)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a compressed body");
	pack->out.bytes = n;
	return 0;
}

void ch_pack_free(struct ch_pack *pack)
{
	ZSTD_freeCCtx(pack->zstd);
	pack->zstd = NULL;
	bytes_free(&pack->out);
}
