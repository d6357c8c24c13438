/* JSON text into bytes that grow (bytes.h); punctuation and literals by bytes_put(). Without memory the
 * buffer turns `failed`, which its owner looks at once at the end. The text is not zero-terminated. */
#ifndef SLUICE_JSON_OUT_H
#define SLUICE_JSON_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/* A quoted string. Any bytes: what is not UTF-8 becomes U+FFFD, so that the result is valid JSON. */
void json_put_string(struct bytes *out, const void *text, size_t bytes);
/* Puts the front of a text as far as its bytes stand for themselves between quotes: ASCII without control
 * bytes, quotes and backslashes. Returns how many these are. */
size_t json_put_plain(struct bytes *out, const void *text, size_t bytes);
/* The bytes at the front of a text, to the end of a character, of which json_put_string() makes a value of at
 * most value_max bytes written in at most written_max, quotes apart. */
size_t json_text_fit(const void *text, size_t bytes, size_t value_max, size_t written_max);
void json_put_i64(struct bytes *out, int64_t v);
void json_put_u64(struct bytes *out, uint64_t v);
/* Milliseconds since the epoch as a quoted RFC 3339 time in UTC; null if its year is not of four digits. */
void json_put_time(struct bytes *out, int64_t ms);
/* As json_put_name(), of any name. */
void json_put_name_any(struct bytes *out, const char *name);
/* "name": with a comma before it unless it follows a '{'. name must need no escapes. */
static inline void json_put_name(struct bytes *out, const char *name)
{
	size_t bytes = __builtin_strlen(name), comma = out->bytes && out->data[out->bytes - 1] != '{';
	uint8_t *to = bytes_room(out, comma + bytes + 3);

	if (!to)
		return;
	*to = ',';
	to += comma;
	*to++ = '"';
	__builtin_memcpy(to, name, bytes);
	to[bytes] = '"';
	to[bytes + 1] = ':';
}

#endif
