/* Bodies of INSERTs compressed as HTTP has it (Content-Encoding). One thread; memory is kept from body to
 * body. */
#ifndef SLUICE_CH_PACK_H
#define SLUICE_CH_PACK_H

#include <stddef.h>

#include "bytes.h"
#include "err.h"

enum ch_compression { CH_COMPRESSION_NONE, CH_COMPRESSION_LZ4, CH_COMPRESSION_ZSTD }; /* as in config.def */

struct ZSTD_CCtx_s;

struct ch_pack {
	enum ch_compression compression;
	struct ZSTD_CCtx_s *zstd;
	struct bytes out;
};

/* "lz4", "zstd"; NULL: none. */
const char *ch_pack_encoding(const struct ch_pack *pack);
/* pack->out = data, compressed; not with CH_COMPRESSION_NONE. 0 or -ENOMEM. */
int ch_pack(struct ch_pack *pack, const void *data, size_t bytes, struct err *err);
void ch_pack_free(struct ch_pack *pack);

#endif
