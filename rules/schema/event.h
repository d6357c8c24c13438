/* The schema as C: field and event-type enums, tables, and struct event, the parsed view of one event that a
 * worker's stages share. Everything here is made from event_fields.def. */
#ifndef SLUICE_EVENT_H
#define SLUICE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_kind {
	FIELD_KIND_UUID,
	FIELD_KIND_TIME,
	FIELD_KIND_TEXT,
	FIELD_KIND_NUMBER, /* a double */
	FIELD_KIND_OBJECT,
	FIELD_KIND_DECIMAL, /* an exact decimal number: int64 millionths */
	FIELD_KIND_COUNT
};
extern const char *const field_kind_name[FIELD_KIND_COUNT];

enum key_scope { KEY_SCOPE_TOP, KEY_SCOPE_ATTR };

#define FIELD(id, name, kind, len_min, len_max, column_type, help) FIELD_##name = (id),
#define KEY(field, scope, key)
#define TYPE(id, name, required)
#define USES(type, field)
#define PART_KEY(type, field)
#define ENRICHED(field)
enum field_id {
	FIELD_NONE = 0,
#include "event_fields.def"
	FIELD_ID_MAX = 48
};
#undef FIELD
#undef TYPE
#define FIELD(id, name, kind, len_min, len_max, column_type, help)
#define TYPE(id, name, required) EVENT_TYPE_##name = (id),
enum event_type {
	EVENT_TYPE_NONE = 0, /* in a record: refused before its type was known */
#include "event_fields.def"
	EVENT_TYPE_MAX = 16
};
#undef FIELD
#undef KEY
#undef TYPE
#undef USES
#undef PART_KEY
#undef ENRICHED

#define FBIT(name) (1ull << FIELD_##name)

/* The fields that enrichment fills: no sender can. */
#define FIELD(id, name, kind, len_min, len_max, column_type, help)
#define KEY(field, scope, key)
#define TYPE(id, name, required)
#define USES(type, field)
#define PART_KEY(type, field)
#define ENRICHED(field) | FBIT(field)
static const uint64_t event_enriched_mask = 0
#include "event_fields.def"
	;
#undef FIELD
#undef KEY
#undef TYPE
#undef USES
#undef PART_KEY
#undef ENRICHED

struct field_info {
	const char *name; /* NULL where an id is not in use */
	enum field_kind kind;
	uint32_t len_min, len_max;
	const char *column_type;
	const char *help;
};

struct key_info {
	enum field_id field;
	enum key_scope scope;
	const char *key;
	uint32_t key_bytes;
};

struct type_info {
	const char *name;		/* NULL where an id is not in use */
	uint64_t required;		/* FBIT mask */
	uint64_t uses;			/* FBIT mask */
	uint8_t column[FIELD_ID_MAX];	/* field ids in column order, 0-terminated */
	uint8_t part_key[FIELD_ID_MAX]; /* field ids of the partition key's chain, 0-terminated */
};

extern const struct field_info field_table[FIELD_ID_MAX];
extern const struct key_info key_table[];
extern const uint32_t key_count;
extern const struct type_info *const type_table; /* EVENT_TYPE_MAX of them */

/* FIELD_NONE / EVENT_TYPE_NONE if there is no such name. */
enum field_id field_by_name(const char *name, size_t bytes);
enum event_type event_type_by_name(const char *name, size_t bytes);

/* Readers of raw event bytes may read this much beyond their end. */
#define EVENT_PAD_BYTES 64
/* raw + tail of one event; larger is refused as too_long. Offsets then fit 16 bits. */
#define EVENT_BYTES_MAX 65535
/* A DECIMAL field: millionths, |v| <= FIELD_DECIMAL_MAX; 1.0 is FIELD_DECIMAL_ONE. */
#define FIELD_DECIMAL_ONE 1000000ll
#define FIELD_DECIMAL_MAX (9200000000000ll * FIELD_DECIMAL_ONE)
/* Nesting of objects and arrays in an event; deeper is refused as too_deep. */
#define EVENT_DEPTH_MAX 32

/* Place of a field's decoded value. Below raw_bytes: into the raw bytes (no escapes in it); from raw_bytes
 * on: into the tail, which in a record follows the raw bytes at once. */
struct span {
	uint16_t offset;
	uint16_t bytes;
};

/* One event of a burst. The raw bytes are borrowed (mbuf or test buffer), the tail from the worker's arena:
 * both live until the burst ends. Written by parse, then match, then read by handoff; one worker throughout.
 */
struct event {
	const uint8_t *raw;
	const uint8_t *tail; /* decoded strings; 8 bytes, little endian, of each NUMBER and DECIMAL field */
	uint32_t raw_bytes;
	uint32_t tail_bytes;
	uint64_t field_mask;		 /* FBIT of each field present */
	struct span field[FIELD_ID_MAX]; /* valid where field_mask has the bit; TIME and UUID: span of the
					    text in raw */
	uint8_t event_id[16];		 /* RFC 9562 byte order; valid with FBIT(event_id) */
	int64_t event_time_ms;
	const uint16_t *hit; /* ascending rule indexes of the ruleset in force; in the matcher's arena */
	/* src_addr to hit_count lie as in struct record, which takes them at once. */
	uint8_t src_addr[16]; /* IPv6, or IPv4-mapped (RFC 4291 2.5.5.2) */
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t refused;       /* enum drop_reason; 0 = accepted so far */
	uint8_t refused_field; /* enum field_id or 0 */
	uint16_t hit_count;
	uint8_t type;	 /* enum event_type */
	uint8_t actions; /* RULE_ACTION_* of the rules that hit (match stage) */
	bool ack;	 /* the producer wants to know when the event is durable */
	bool known; /* its top-level keys are fields of its type and `type`, nothing else; false: not known */
	uint64_t producer; /* docs/protocol.md; 0: none */
	uint64_t sequence;
};

/* Decoded bytes of a field that is present. NUMBER, DECIMAL: 8 bytes, see event_number(), event_decimal(). */
static inline const uint8_t *event_field(const struct event *ev, enum field_id id, uint32_t *bytes)
{
	struct span s = ev->field[id];

	*bytes = s.bytes;
	return s.offset < ev->raw_bytes ? ev->raw + s.offset : ev->tail + (s.offset - ev->raw_bytes);
}

/* A NUMBER field that is present. */
static inline double event_number(const struct event *ev, enum field_id id)
{
	double v;

	__builtin_memcpy(&v, ev->tail + (ev->field[id].offset - ev->raw_bytes), sizeof v);
	return v;
}

/* Millionths of a DECIMAL field that is present. */
static inline int64_t event_decimal(const struct event *ev, enum field_id id)
{
	int64_t v;

	__builtin_memcpy(&v, ev->tail + (ev->field[id].offset - ev->raw_bytes), sizeof v);
	return v;
}

/* The double nearest to a DECIMAL's value, exactly as its text would give it, up to 2^53 millionths. */
static inline double field_decimal_double(int64_t millionths)
{
	return (double)millionths / (double)FIELD_DECIMAL_ONE;
}

/* True if a field's value is 8 bytes in the tail. */
static inline bool field_kind_is_number(enum field_kind kind)
{
	return kind == FIELD_KIND_NUMBER || kind == FIELD_KIND_DECIMAL;
}

#endif
