/* Records for tests of the state stage's aggregates: made by the same function that workers use. */
#ifndef SLUICE_AGG_RECORD_H
#define SLUICE_AGG_RECORD_H

#include <stdlib.h>
#include <string.h>

#include "record.h"

struct agg_record {
	struct event ev;
	uint8_t raw[4096], tail[64];
	_Alignas(8) uint8_t bytes[8192];
};

static inline void agg_record_start(struct agg_record *r)
{
	r->ev = (struct event){.raw = r->raw, .tail = r->tail, .type = EVENT_TYPE_platform};
}

static inline void agg_record_text(struct agg_record *r, enum field_id field, const void *text, size_t bytes)
{
	if (r->ev.raw_bytes + bytes > sizeof r->raw)
		abort();
	r->ev.field_mask |= 1ull << field;
	r->ev.field[field] = (struct span){(uint16_t)r->ev.raw_bytes, (uint16_t)bytes};
	memcpy(r->raw + r->ev.raw_bytes, text, bytes);
	r->ev.raw_bytes += (uint32_t)bytes;
}

/* After all texts: 8 bytes, a double or int64 millionths. */
static inline void agg_record_number(struct agg_record *r, enum field_id field, const void *number)
{
	if (r->ev.tail_bytes + 8 > sizeof r->tail)
		abort();
	r->ev.field_mask |= 1ull << field;
	r->ev.field[field] = (struct span){(uint16_t)(r->ev.raw_bytes + r->ev.tail_bytes), 8};
	memcpy(r->tail + r->ev.tail_bytes, number, 8);
	r->ev.tail_bytes += 8;
}

static inline const struct record *agg_record_done(struct agg_record *r)
{
	if (record_bytes_of(&r->ev) > sizeof r->bytes)
		abort();
	record_write_event(r->bytes, &r->ev, 7, 1715200123999, 0);
	return (const struct record *)r->bytes;
}

#endif
