/* See frame.h. */
#include "frame.h"

#include <string.h>

#include "cursor.h"

static const uint8_t frame_magic[4] = {'S', 'L', 'C', 'E'};

enum { KIND_DATA = 1, KIND_ACK = 2, KIND_REJECT = 3 };
enum { FLAG_ACK = 1, FLAG_MAC = 2 };
#define ENCODING_JSON 1u

/* The events are there, `count` of them, and nothing behind. */
static bool events_good(const uint8_t *at, const uint8_t *end, uint32_t count)
{
	for (; count; count--) {
		uint16_t size;

		if (end - at < 2)
			return false;
		memcpy(&size, at, 2);
		at += 2;
		if (size == 0 || end - at < size)
			return false;
		at += size;
	}
	return at == end;
}

static bool all_zero(const uint8_t *p, size_t bytes)
{
	uint8_t any = 0;

	for (size_t i = 0; p && i < bytes; i++)
		any |= p[i];
	return p && !any;
}

/* What is behind the 16 bytes that every kind begins with. */
static enum drop_reason data_open(struct frame *f, struct cursor c, uint8_t flags, const uint8_t *end)
{
	uint16_t count;
	uint8_t encoding;

	f->sequence = cursor_le64(&c);
	count = cursor_le16(&c);
	encoding = cursor_u8(&c);
	if (!all_zero(cursor_take(&c, 5), 5) || c.failed || encoding != ENCODING_JSON)
		return DROP_bad_frame;
	if (f->producer == 0 || count == 0 || count > FRAME_EVENTS_MAX || f->sequence == 0 ||
		f->sequence > FRAME_SEQUENCE_MAX - count)
		return DROP_bad_frame;
	if (!(flags & FLAG_MAC) && f->key)
		return DROP_bad_frame;
	if (!events_good(c.at, end, count))
		return DROP_bad_frame;
	f->at = c.at;
	f->left = count;
	return DROP_NONE;
}

enum drop_reason frame_open(
	struct frame *f, const uint8_t *data, uint32_t bytes, const struct frame_keys *keys)
{
	struct cursor c = cursor_of(data, bytes);
	const uint8_t *magic = cursor_take(&c, sizeof frame_magic), *end = data + bytes;
	uint8_t version = cursor_u8(&c), kind = cursor_u8(&c), flags = cursor_u8(&c);

	*f = (struct frame){0};
	f->key = cursor_u8(&c);
	if (!magic || memcmp(magic, frame_magic, sizeof frame_magic) != 0)
		return DROP_bad_frame;
	f->producer = cursor_le64(&c);
	if (c.failed)
		return DROP_bad_frame;
	f->ack = flags & FLAG_ACK;
	if (version != FRAME_VERSION)
		return DROP_frame_version;
	if (kind != KIND_DATA || flags & ~(FLAG_ACK | FLAG_MAC))
		return DROP_bad_frame;
	if (keys->count) {
		if (!(flags & FLAG_MAC) || bytes < FRAME_HEADER_BYTES + FRAME_MAC_BYTES ||
			!frame_mac_good(keys, f->key, data, bytes - FRAME_MAC_BYTES))
			return DROP_bad_mac;
	} else if (flags & FLAG_MAC) {
		return DROP_bad_mac; /* by no key that is known here */
	}
	if (flags & FLAG_MAC)
		end -= FRAME_MAC_BYTES;
	return data_open(f, c, flags, end);
}

static uint8_t *put(uint8_t *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
	return to + bytes;
}

uint32_t frame_ack_bytes(uint32_t ranges, uint32_t refusals, bool mac)
{
	return FRAME_ACK_HEADER_BYTES + ranges * 16 + refusals * 10 + (mac ? FRAME_MAC_BYTES : 0);
}

uint32_t frame_ack_write(uint8_t *out, uint64_t producer, const struct frame_range *range, uint32_t ranges,
	const struct frame_refusal *refusal, uint32_t refusals, const struct frame_keys *keys, uint8_t key)
{
	const uint8_t head[4] = {FRAME_VERSION, KIND_ACK, key ? FLAG_MAC : 0, key};
	uint16_t count[2] = {(uint16_t)ranges, (uint16_t)refusals};
	uint8_t *to = put(out, frame_magic, sizeof frame_magic);

	to = put(to, head, sizeof head);
	to = put(to, &producer, 8);
	to = put(to, count, sizeof count);
	memset(to, 0, 4);
	to += 4;
	for (uint32_t i = 0; i < ranges; i++) {
		to = put(to, &range[i].first, 8);
		to = put(to, &range[i].bits, 8);
	}
	for (uint32_t i = 0; i < refusals; i++) {
		to = put(to, &refusal[i].sequence, 8);
		to = put(to, &refusal[i].reason, 2);
	}
	if (key) {
		frame_mac_make(keys, key, out, (uint32_t)(to - out), to);
		to += FRAME_MAC_BYTES;
	}
	return (uint32_t)(to - out);
}

void frame_reject_write(uint8_t *out, uint64_t producer, enum drop_reason reason)
{
	const uint8_t head[4] = {FRAME_VERSION, KIND_REJECT, 0, 0};
	uint16_t why = (uint16_t)reason;
	uint8_t *to = put(put(out, frame_magic, sizeof frame_magic), head, sizeof head);

	to = put(to, &producer, 8);
	to = put(to, &why, 2);
	memset(to, 0, 6);
}
