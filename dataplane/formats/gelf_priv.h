/* What the files of GELF share. Not for other folders. */
#ifndef SLUICE_GELF_PRIV_H
#define SLUICE_GELF_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"

enum gelf_packing { GELF_PLAIN, GELF_ZLIB, GELF_GZIP };

/* How a payload is packed, by its first two bytes. */
enum gelf_packing gelf_packing(const uint8_t *data, uint32_t bytes);

/* Unpacks a whole payload into `to`. False: it is damaged, cut, has bytes behind its end, or is longer than
 * EVENT_BYTES_MAX, which sets *too_long. Takes some 64 KiB of stack. */
bool gelf_unpack(
	uint8_t to[EVENT_BYTES_MAX], uint32_t *to_bytes, const uint8_t *data, uint32_t bytes, bool *too_long);

#endif
