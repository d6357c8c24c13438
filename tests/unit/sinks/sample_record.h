/* Records for the tests of the encoders: made by the same function that workers use. */
#ifndef SLUICE_SAMPLE_RECORD_H
#define SLUICE_SAMPLE_RECORD_H

#include <string.h>

#include "record.h"

struct sample {
	_Alignas(8) uint8_t bytes[4096];
};

/* A click of `user` ("" = without user_id) with the given hits. Its raw bytes are just the user's name. */
static inline const struct record *sample_click(
	struct sample *s, const char *user, const uint16_t *hit, uint16_t hit_count)
{
	struct event ev = {
		.raw = (const uint8_t *)user, .raw_bytes = (uint32_t)strlen(user), .type = EVENT_TYPE_click};

	ev.event_time_ms = 1715200123456;
	ev.hit = hit;
	ev.hit_count = hit_count;
	memcpy(ev.event_id, "\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10", 16);
	memcpy(ev.src_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	ev.src_port = 4000;
	if (*user) {
		ev.field_mask = FBIT(user_id);
		ev.field[FIELD_user_id] = (struct span){0, (uint16_t)ev.raw_bytes};
	}
	record_write_event(s->bytes, &ev, 7, 1715200123999, 0);
	return (const struct record *)s->bytes;
}

#endif
