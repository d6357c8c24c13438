/* Foreign formats: what a datagram of syslog, StatsD, ... says, written anew as JSON objects that the parser
 * then takes as if they had been sent so: with the places of their fields, so that it need not look for them.
 * There is one judge of what an event may hold, and everything behind it (journal, sinks, replay) knows one
 * form of raw bytes.
 *
 * Worker thread. A reader walks over one datagram; a format is pure: its answers come of the datagram, the
 * time and the sender's address alone. */
#ifndef SLUICE_FORMAT_H
#define SLUICE_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "config.h"
#include "err.h"
#include "event.h"
#include "json.h"

enum format_answer {
	FORMAT_END,	/* the datagram has nothing more */
	FORMAT_EVENT,	/* out holds one more object */
	FORMAT_REFUSED, /* the piece is not of this format: bad_format */
};

struct format_reader {
	const uint8_t *at, *end; /* what has not been read yet */
	const uint8_t *piece;	 /* the line, or the datagram, that the last answer is about */
	uint32_t piece_bytes;
	int64_t receive_ms;	     /* wall clock */
	const uint8_t *src_addr;     /* 16 bytes; IPv4 as ::ffff:a.b.c.d */
	uint32_t index, index_count; /* of events that one line makes: the format's own, 0 at first */
	const uint8_t *inner, *rest; /* within the line: the format's own */
	uint32_t own;		     /* of the line: the format's own */
	struct json_written written; /* of FORMAT_EVENT, unless out has failed: where its fields are in out */
};

/* The next event. out is empty when it is called; it is of fixed size: what does not fit makes out->failed,
 * and the caller refuses the piece as too_long. */
typedef enum format_answer format_next(struct format_reader *r, struct bytes *out);

struct format {
	format_next *next;    /* NULL: JSON, which needs none */
	enum event_type type; /* that its events have; EVENT_TYPE_NONE: any */
};

/* By listeners.format, of CONFIG_FORMAT_COUNT. */
extern const struct format format_table[];

/* Before the start: 0, or -EINVAL and the text, if a listener wants another type than its format has. */
int format_config_check(const struct config *cfg, struct err *err);

/* Opens a datagram. */
static inline struct format_reader format_open(
	const uint8_t *data, uint32_t bytes, int64_t receive_ms, const uint8_t *src_addr)
{
	return (struct format_reader){
		.at = data, .end = data + bytes, .receive_ms = receive_ms, .src_addr = src_addr};
}

/* The next line into piece, without its end ("\n" or "\r\n"), empty ones passed over; false: there is none.
 */
bool format_line(struct format_reader *r);

#endif
