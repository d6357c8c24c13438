/* Events for tests of the ClickHouse sink, written by the functions that workers use. Values are given as
 * text and go to the tail; the raw bytes are given apart. */
#ifndef SLUICE_MADE_EVENT_H
#define SLUICE_MADE_EVENT_H

#include <string.h>

#include "record.h"

struct made_event {
	struct event ev;
	uint8_t tail[8192];
	_Alignas(8) uint8_t record[16384];
};

static inline void made_begin(
	struct made_event *m, enum event_type type, const char *raw, int64_t time_ms, uint64_t id)
{
	memset(&m->ev, 0, sizeof m->ev);
	m->ev.raw = (const uint8_t *)raw;
	m->ev.raw_bytes = (uint32_t)strlen(raw);
	m->ev.tail = m->tail;
	m->ev.type = (uint8_t)type;
	m->ev.event_time_ms = time_ms;
	for (int i = 0; i < 8; i++) {
		m->ev.event_id[i] = (uint8_t)(0x10 + i);
		m->ev.event_id[8 + i] = (uint8_t)(id >> (8 * (7 - i)));
	}
	memcpy(m->ev.src_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\1\2\3", 16);
	m->ev.src_port = 40001;
	m->ev.dst_port = 9001;
}

static inline void made_bytes(struct made_event *m, enum field_id field, const void *data, size_t bytes)
{
	m->ev.field_mask |= 1ull << field;
	m->ev.field[field].offset = (uint16_t)(m->ev.raw_bytes + m->ev.tail_bytes);
	m->ev.field[field].bytes = (uint16_t)bytes;
	memcpy(m->tail + m->ev.tail_bytes, data, bytes);
	m->ev.tail_bytes += (uint32_t)bytes;
}

static inline void made_text(struct made_event *m, enum field_id field, const char *text)
{
	made_bytes(m, field, text, strlen(text));
}

static inline void made_number(struct made_event *m, enum field_id field, double v)
{
	made_bytes(m, field, &v, sizeof v);
}

static inline const struct record *made_end(struct made_event *m, uint16_t flags)
{
	record_write_event(m->record, &m->ev, 42, m->ev.event_time_ms + 7, flags);
	return (const struct record *)m->record;
}

static inline const struct record *made_refused(
	struct made_event *m, uint8_t reason, uint8_t field, uint32_t limit)
{
	m->ev.refused = reason;
	m->ev.refused_field = field;
	record_write_refused(m->record, &m->ev, 42, m->ev.event_time_ms + 7, limit);
	return (const struct record *)m->record;
}

#endif
