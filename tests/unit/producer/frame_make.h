/* DATA datagrams for tests, made byte by byte as docs/protocol.md says. */
#ifndef SLUICE_FRAME_MAKE_H
#define SLUICE_FRAME_MAKE_H

#include <stdint.h>
#include <string.h>

#include "frame_key.h"

struct frame_make {
	uint8_t data[65536];
	uint32_t bytes;
};

static inline void make_begin(struct frame_make *m, uint64_t producer, uint64_t sequence, uint16_t count,
	uint8_t flags, uint8_t key)
{
	const uint8_t head[8] = {'S', 'L', 'C', 'E', 1, 1, flags, key};

	memset(m->data, 0, 32);
	memcpy(m->data, head, 8);
	memcpy(m->data + 8, &producer, 8);
	memcpy(m->data + 16, &sequence, 8);
	memcpy(m->data + 24, &count, 2);
	m->data[26] = 1;
	m->bytes = 32;
}

static inline void make_event(struct frame_make *m, const char *text)
{
	uint16_t bytes = (uint16_t)strlen(text);

	memcpy(m->data + m->bytes, &bytes, 2);
	memcpy(m->data + m->bytes + 2, text, bytes);
	m->bytes += 2u + bytes;
}

static inline void make_mac(struct frame_make *m, const struct frame_keys *keys, uint8_t key)
{
	frame_mac_make(keys, key, m->data, m->bytes, m->data + m->bytes);
	m->bytes += FRAME_MAC_BYTES;
}

#endif
