/* Bytes that grow, for what is built away from the RX path: rows, checkpoints, messages. One owner, one
 * thread. When memory ends the buffer turns `failed`, later puts do nothing, and who hands it on says
 * -ENOMEM. Numbers are little endian. */
#ifndef SLUICE_BYTES_H
#define SLUICE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
	uint8_t *data;
	size_t bytes;
	size_t capacity;
	bool failed;
	bool fixed; /* data is given and does not grow: what does not fit is as without memory */
};

static inline void bytes_reset(struct bytes *b) /* keeps the memory */
{
	b->bytes = 0;
	b->failed = false;
}

static inline void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}

/* bytes_room() where there is none yet. */
static __attribute__((noinline, unused)) uint8_t *bytes_room_more(struct bytes *b, size_t n)
{
	size_t need = b->bytes + n, capacity = b->capacity ? b->capacity : 256;
	uint8_t *data;

	if (b->failed || need < b->bytes || (b->fixed && need > b->capacity)) {
		b->failed = true;
		return NULL;
	}
	while (capacity < need)
		capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
	if (!b->fixed && capacity > b->capacity) {
		data = realloc(b->data, capacity);
		if (!data) {
			b->failed = true;
			return NULL;
		}
		b->data = data;
		b->capacity = capacity;
	}
	b->bytes = need;
	return b->data + need - n;
}

/* Room for `n` more bytes, which count as put; NULL without memory. Not filled. */
static inline uint8_t *bytes_room(struct bytes *b, size_t n)
{
	uint8_t *to;

	if (__builtin_expect(b->failed || n >= b->capacity - b->bytes, 0))
		return bytes_room_more(b, n);
	to = b->data + b->bytes; /* there are data: nothing is added to NULL */
	b->bytes += n;
	return to;
}

static inline void bytes_put(struct bytes *b, const void *data, size_t n)
{
	uint8_t *to = bytes_room(b, n);

	if (to && n)
		memcpy(to, data, n);
}

static inline void bytes_put_u8(struct bytes *b, uint8_t v)
{
	bytes_put(b, &v, sizeof v);
}

static inline void bytes_put_u16(struct bytes *b, uint16_t v)
{
	bytes_put(b, &v, sizeof v);
}

static inline void bytes_put_u32(struct bytes *b, uint32_t v)
{
	bytes_put(b, &v, sizeof v);
}

static inline void bytes_put_u64(struct bytes *b, uint64_t v)
{
	bytes_put(b, &v, sizeof v);
}

static inline void bytes_put_i64(struct bytes *b, int64_t v)
{
	bytes_put(b, &v, sizeof v);
}

static inline void bytes_put_f64(struct bytes *b, double v)
{
	bytes_put(b, &v, sizeof v);
}

#endif
