/* Strings as Native has them: length as LEB128, bytes. */
#ifndef SLUICE_NATIVE_STRING_H
#define SLUICE_NATIVE_STRING_H

#include <string.h>

#include "bytes.h"
#include "varint.h"

/* Most texts are short: two moves that may overlap, without a call. */
static inline void copy_text(uint8_t *to, const uint8_t *from, size_t bytes)
{
	if (bytes >= 16 && bytes <= 32) {
		memcpy(to, from, 16);
		memcpy(to + bytes - 16, from + bytes - 16, 16);
	} else if (bytes > 32) {
		memcpy(to, from, bytes);
	} else if (bytes >= 8) {
		memcpy(to, from, 8);
		memcpy(to + bytes - 8, from + bytes - 8, 8);
	} else if (bytes >= 4) {
		memcpy(to, from, 4);
		memcpy(to + bytes - 4, from + bytes - 4, 4);
	} else if (bytes) {
		to[0] = from[0];
		to[bytes / 2] = from[bytes / 2];
		to[bytes - 1] = from[bytes - 1];
	}
}

/* Returns its end. There is room for the text and VARINT_BYTES_MAX. */
static inline uint8_t *write_string(uint8_t *to, const void *text, size_t bytes)
{
	if (bytes <= 127)
		*to++ = (uint8_t)bytes;
	else
		to += varint_put(to, bytes);
	copy_text(to, text, bytes);
	return to + bytes;
}

static inline void put_string(struct bytes *out, const void *text, size_t bytes)
{
	uint8_t *to = bytes_room(out, bytes + VARINT_BYTES_MAX);

	if (to) /* what is too much is given back at once */
		out->bytes = (size_t)(write_string(to, text, bytes) - out->data);
}

#endif
