/* JSON text into a buffer that grows. A failed allocation sets `failed`, later calls do nothing, and the
 * owner looks at it once at the end. Owned by one thread. */
#ifndef SLUICE_JSON_OUT_H
#define SLUICE_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_out {
	char *text; /* not zero-terminated */
	size_t bytes;
	size_t capacity;
	bool failed;
};

static inline void json_out_reset(struct json_out *out)
{
	out->bytes = 0;
	out->failed = false;
}
void json_out_free(struct json_out *out);

/* Bytes as they are: punctuation and literals. */
void json_put(struct json_out *out, const void *text, size_t bytes);
/* A quoted string. Any bytes: what is not UTF-8 becomes U+FFFD, so that the result is valid JSON. */
void json_put_string(struct json_out *out, const void *text, size_t bytes);
void json_put_i64(struct json_out *out, int64_t v);
void json_put_u64(struct json_out *out, uint64_t v);
/* Milliseconds since the epoch as a quoted RFC 3339 time in UTC; null if its year is not of four digits. */
void json_put_time(struct json_out *out, int64_t ms);
/* "name": with a comma before it unless it follows a '{'. name must need no escapes. */
void json_put_name(struct json_out *out, const char *name);

#endif
