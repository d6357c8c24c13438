/* The formats themselves: one file each. Not for other folders. */
#ifndef SLUICE_FORMAT_PRIV_H
#define SLUICE_FORMAT_PRIV_H

#include <string.h>

#include "format.h"

/* The event that is being written; its fields follow. */
static inline void written_begin(struct format_reader *r, enum event_type type, int64_t ts_ms)
{
	r->written.type = (uint8_t)type;
	r->written.ts_ms = ts_ms;
	r->written.field_mask = r->written.escaped_mask = 0;
}

/* What out has from `start` on is the value of a field: no text. */
static inline void written_value(
	struct format_reader *r, const struct bytes *out, enum field_id field, size_t start)
{
	r->written.field[field] = (struct span){(uint16_t)start, (uint16_t)(out->bytes - start)};
	r->written.field_mask |= 1ull << field;
}

/* The same for a text in its quotes, made of so many bytes, none of which was left out: if there are no more,
 * none is escaped. bytes 0: not known. */
static inline void written_text(
	struct format_reader *r, const struct bytes *out, enum field_id field, size_t start, size_t bytes)
{
	struct span *span = &r->written.field[field];

	if (out->failed) /* nobody will ask */
		return;
	*span = (struct span){(uint16_t)(start + 1), (uint16_t)(out->bytes - start - 2)};
	r->written.field_mask |= 1ull << field;
	if (span->bytes != bytes && memchr(out->data + span->offset, '\\', span->bytes))
		r->written.escaped_mask |= 1ull << field;
}

format_next statsd_next;   /* StatsD, with the tags and packed values of DogStatsD */
format_next influx_next;   /* InfluxDB's line protocol */
format_next syslog_next;   /* syslog of RFC 5424, and of RFC 3164 as it is sent */
format_next gelf_next;	   /* GELF, plain or compressed, in one datagram */
format_next graphite_next; /* Graphite's plaintext protocol */

#endif
