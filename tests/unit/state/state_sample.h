/* Events as records for the tests of the state stage: made by the same function that workers use, from fields
 * by id. */
#ifndef SLUICE_STATE_SAMPLE_H
#define SLUICE_STATE_SAMPLE_H

#include <string.h>

#include "record.h"

struct state_sample {
	struct event ev;
	uint8_t raw[8192];
	_Alignas(8) uint8_t record[16384];
};

static inline void state_sample_init(struct state_sample *s, enum event_type type, int64_t time_ms)
{
	memset(&s->ev, 0, sizeof s->ev);
	s->ev.raw = s->raw;
	s->ev.type = (uint8_t)type;
	s->ev.event_time_ms = time_ms;
}

/* The bytes of a field as they stand in records: NUMBER: a double, DECIMAL: int64 millionths. All fields in
 * front of raw_bytes: who reads a record does not care. */
static inline void state_sample_bytes(
	struct state_sample *s, enum field_id id, const void *data, size_t bytes)
{
	memcpy(s->raw + s->ev.raw_bytes, data, bytes);
	s->ev.field[id] = (struct span){(uint16_t)s->ev.raw_bytes, (uint16_t)bytes};
	s->ev.field_mask |= 1ull << id;
	s->ev.raw_bytes += (uint32_t)bytes;
}

static inline void state_sample_text(struct state_sample *s, enum field_id id, const char *text)
{
	state_sample_bytes(s, id, text, strlen(text));
}

static inline void state_sample_number(struct state_sample *s, enum field_id id, double v)
{
	state_sample_bytes(s, id, &v, sizeof v);
}

static inline void state_sample_decimal(struct state_sample *s, enum field_id id, int64_t millionths)
{
	state_sample_bytes(s, id, &millionths, sizeof millionths);
}

/* Valid until the sample changes. */
static inline const struct record *state_sample_record(struct state_sample *s, int64_t receive_time_ms)
{
	record_write_event(s->record, &s->ev, 7, receive_time_ms, 0);
	return (const struct record *)s->record;
}

#endif
