/* Strict, schema-directed JSON: one event's bytes in, a struct event of spans out.
 *
 * Accepts exactly the objects that RFC 8259 allows (UTF-8, no BOM, nothing but whitespace around the object,
 * nesting up to EVENT_DEPTH_MAX) and the schema wants. What is wrong is named; if several things are, the
 * first of this order counts:
 *   1. raw bytes > EVENT_BYTES_MAX                                        too_long
 *   2. bytes that are not UTF-8, anywhere                                 bad_utf8
 *   3. the first place where the text stops being a JSON object           bad_json, too_deep;
 *      bad_utf8 for an escaped surrogate without its other half
 *   4. the key `type`: twice, no text, not in the schema                  duplicate_key, bad_type,
 * unknown_type (also unknown_type: another type than the listener's)
 *   5. the fields of the type, ascending by id, each: twice, of another   duplicate_key, bad_type,
 * bad_event_id, JSON type, or with a bad value                                     bad_timestamp, too_long,
 * bad_value
 *   6. required fields, ascending by id                                   missing_field
 *   7. event time against receive time                                    timestamp_past, timestamp_future
 *
 * A key is known by its decoded name. The same key twice is duplicate_key even if one value is null; two keys
 * of one field (ts and timestamp) are if both have values. null = absent. Keys below `attributes` are known
 * only if the type uses the field `attributes`. Everything else is kept and need only be JSON.
 *
 * Worker thread; a parser belongs to one worker. */
#ifndef SLUICE_JSON_H
#define SLUICE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "drops.h"
#include "event.h"

struct json_parser;

struct parse_limits {
	int64_t past_max_ms; /* 0 = any */
	int64_t future_max_ms;
};

/* Written by the worker, read racily by control threads. */
struct json_stats {
	uint64_t fast;	  /* events that a learned shape took */
	uint64_t written; /* events that were not read at all: json_take_written() */
	uint64_t slow;	  /* all others, refused ones included */
	uint64_t learned; /* shapes learned */
};

/* What whoever wrote an event's JSON knows of it, so that nobody has to read it again. The writer vouches for
 * the text (RFC 8259, UTF-8, nesting), and that no others of its own keys but `type` stand in it. */
struct json_written {
	uint64_t field_mask;   /* FBIT of each field with a value; 0: not known, it has to be parsed */
	uint64_t escaped_mask; /* of those, texts with a backslash in what was written */
	int64_t ts_ms;	       /* with FBIT(ts), which is written as a number */
	uint8_t type;
	struct span field[FIELD_ID_MAX]; /* in what was written: of a text what is between its quotes */
};

/* tail_bytes: arena for decoded strings and numbers; raised to what one event can need. NULL = no memory. */
struct json_parser *json_parser_new(uint32_t tail_bytes);
void json_parser_free(struct json_parser *jp);
const struct json_stats *json_parser_stats(const struct json_parser *jp);

/* Which code it uses; a new parser uses all that the CPU has. Forgets what was learned. */
void json_parser_use(struct json_parser *jp, bool avx2, bool shapes);

/* Start of a chunk of a burst: the tails of all events parsed before become invalid. */
void json_parser_reset(struct json_parser *jp);
/* True if the arena surely holds the tail of one more event of this size; after a reset it does. Parsing
 * without room refuses as too_long what would have needed it. */
bool json_parser_room(const struct json_parser *jp, uint32_t raw_bytes);

/* raw[bytes .. bytes + EVENT_PAD_BYTES) must be readable; what is there does not matter. type_hint: the
 * listener's type, EVENT_TYPE_NONE = by the key `type`, else platform if `source` has a value, else click.
 * Fills all of ev but src_* and dst_*. Accepted: ev->refused = 0. Refused: ev->refused is an enum
 * drop_reason, refused_field the field or 0, type as far as known, and field_mask 0. */
void json_parse_event(struct json_parser *jp, const uint8_t *raw, uint32_t bytes, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev);

/* The same for bytes of which `written` says where all is: the same event, without a look at the text. */
void json_take_written(struct json_parser *jp, const uint8_t *raw, uint32_t bytes,
	const struct json_written *written, enum event_type type_hint, int64_t receive_time_ms,
	const struct parse_limits *limits, struct event *ev);

/* The same for the line that begins at raw and ends at the next line feed or after `left` bytes, if a learned
 * shape takes it: without having looked for its end. Returns its bytes, which are ev->raw_bytes; 0: none
 * takes it, and ev is undefined. raw[left .. left + EVENT_PAD_BYTES) must be readable. */
uint32_t json_parse_line(struct json_parser *jp, const uint8_t *raw, uint32_t left, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev);

#endif
