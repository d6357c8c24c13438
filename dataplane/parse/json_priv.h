/* Inside of the JSON parser: what its files share. Not for other folders.
 *
 *   json.c        entry: fast path, else slow path          json_fast.c   AVX2: an event against a learned
 * shape json_walk.c   the grammar: values of known keys, trace  json_shape.c  learns shapes from accepted
 * events json_judge.c  the schema: verdict, spans, tail          json_text.c, json_decimal.c, json_time.c,
 * json_utf8.c */
#ifndef SLUICE_JSON_PRIV_H
#define SLUICE_JSON_PRIV_H

#include "avx2.h"
#include "json.h"
#include "json_scan.h"
#include "number.h"
#include "utf8.h"

#define KEY_NONE 0xff
#define KEYS_MAX 62	 /* known keys and `type`: a bit each in a 64-bit mask */
#define KEY_BYTES_MAX 64 /* of a known key */
#define KEY_SLOTS 256	 /* of the key hash table, power of two */
#define TRACE_MAX 48	 /* texts and numbers of an event that can be learned */
#define SHAPE_STEPS_MAX 64
#define SHAPES_MAX 24
#define SIGHTINGS 64		      /* hashes of shapes seen once, power of two */
#define TIME_MS_MAX 253402300799999ll /* 9999-12-31T23:59:59.999Z */

enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_NUMBER, VALUE_TEXT, VALUE_ARRAY, VALUE_OBJECT };

/* A JSON value by its place in raw: of a text what is between the quotes, of all others everything. */
struct value {
	uint32_t start, end;
	uint8_t kind; /* enum value_kind */
	uint8_t key;  /* index of its key, or KEY_NONE */
	bool escaped; /* VALUE_TEXT: has a backslash */
};

/* What a walk found. */
struct doc {
	uint64_t seen;	   /* bit per key index */
	uint64_t repeated; /* of those: seen again */
	uint64_t top;	   /* of those: keys of the event itself */
	bool foreign;	   /* it has keys without an index, too */
	uint32_t trace_count;
	bool plain;		       /* no escape in it, and the trace is complete */
	struct value value[KEYS_MAX];  /* first value of each key seen */
	struct value trace[TRACE_MAX]; /* every text and number value, in order */
};

enum slot_kind {
	SLOT_TEXT,	  /* to the next quote; field 0: value of an unknown key */
	SLOT_TEXT_WIDE,	  /* the same, where values longer than 32 bytes have been met */
	SLOT_UUID,	  /* 36 bytes: event_id */
	SLOT_TIME_MS,	  /* 13 digits: ts */
	SLOT_NONE,	  /* more literal bytes follow */
	SLOT_END,	  /* the event ends */
	SLOT_TIME_TEXT,	  /* RFC 3339: ts */
	SLOT_NUMBER,	  /* a double for the tail */
	SLOT_DECIMAL,	  /* millionths for the tail */
	SLOT_ADDRESS,	  /* text that must be an IP address */
	SLOT_SKIP_NUMBER, /* number of an unknown key */
	SLOT_OPEN,	  /* field's object starts here */
	SLOT_CLOSE,	  /* field's object ends here */
};

/* One step of a shape: literal bytes that must stand there, then a value. */
struct shape_step {
	uint8_t literal[32];
	uint8_t mask[32]; /* 0xff where literal counts */
	uint64_t literal_bytes;
	uint64_t rest_min; /* fewest bytes that can follow the value */
	uint64_t len_min;
	uint64_t len_span; /* len_max - len_min */
	uint64_t span_at;  /* place of the field's span in struct event */
	uint16_t tail_at;  /* SLOT_NUMBER, SLOT_DECIMAL: place of its 8 bytes in the tail */
	uint8_t kind;	   /* enum slot_kind */
	uint8_t field;
} __attribute__((aligned(32)));

/* All that events of one sender have in common. Made from an event that the slow path has accepted: whatever
 * fits has the same keys, hence the same type and no duplicate or missing key. */
struct shape {
	struct shape_step step[SHAPE_STEPS_MAX];
	uint8_t probe[32], probe_mask[32]; /* last literal at a fixed place: tells shapes apart early */
	uint32_t probe_at;
	uint32_t step_count;
	uint32_t min_bytes;
	uint32_t tail_bytes;
	uint64_t field_mask;
	uint64_t hash;
	uint8_t type, hint;
	bool known; /* as in struct event */
} __attribute__((aligned(32)));

struct key_slot {
	const char *name;
	uint8_t bytes;
	uint8_t scope;
	uint8_t key; /* KEY_NONE: free */
};

struct json_parser {
	/* hot */
	uint8_t *tail;
	uint32_t tail_used, tail_bytes;
	uint32_t shape_count;
	bool avx2;
	bool shapes_on;
	uint8_t order[SHAPES_MAX]; /* indexes of shapes, last used first */
	struct json_stats stats;
	struct shape *shape; /* SHAPES_MAX, and one to draft in */
	/* slow path */
	struct doc doc;
	struct key_slot slot[KEY_SLOTS];
	uint8_t key_field[KEYS_MAX];
	uint64_t type_keys[EVENT_TYPE_MAX]; /* bit per key that is known for the type */
	uint8_t type_key, source_key, attributes_key;
	uint64_t sighting[SIGHTINGS];
	struct number_memory numbers;
};

void json_parser_forget(struct json_parser *jp); /* all shapes */

/* As utf8_valid(), with AVX2. May read EVENT_PAD_BYTES beyond. */
bool utf8_valid_avx2(const uint8_t *p, uint32_t bytes);

/* Exactly the number in millionths; false if it has other digits than 0 beyond the sixth decimal, or is
 * beyond FIELD_DECIMAL_MAX. */
bool number_decimal(const struct number *n, int64_t *millionths);

/* The 8 bytes of a NUMBER or DECIMAL field in the tail; false if it cannot hold this number. */
static inline bool number_bytes(struct json_parser *jp, enum field_kind kind, const struct number *n,
	const uint8_t *text, uint32_t bytes, uint8_t out[8])
{
	double number = 0;
	int64_t millionths = 0;
	bool decimal = kind == FIELD_KIND_DECIMAL;
	bool ok = decimal ? number_decimal(n, &millionths)
			  : number_double(&jp->numbers, n, text, bytes, &number);

	__builtin_memcpy(out, decimal ? (const void *)&millionths : (const void *)&number, 8);
	return ok;
}

/* True if the text has the form that the schema wants of this TEXT field (ip: an address). Length apart. */
bool text_fits(enum field_id field, const uint8_t *text, uint32_t bytes);

/* False if not RFC 3339 or before 1970. */
bool time_from_text(const uint8_t *text, uint32_t bytes, int64_t *ms);
/* DROP_NONE, timestamp_past or timestamp_future. */
static inline enum drop_reason time_judge(
	int64_t event_time_ms, int64_t receive_time_ms, const struct parse_limits *limits)
{
	/* Event times are 0..TIME_MS_MAX, so the difference cannot overflow for any sane clock. */
	int64_t ahead = event_time_ms - receive_time_ms;

	if (ahead > limits->future_max_ms)
		return DROP_timestamp_future;
	if (limits->past_max_ms && -ahead > limits->past_max_ms)
		return DROP_timestamp_past;
	return DROP_NONE;
}

/* 16 bytes from 36; false if it is no UUID. */
bool uuid_from_text(const uint8_t *text, uint32_t bytes, uint8_t out[16]);

/* Grammar: fills jp->doc. */
enum drop_reason json_walk(struct json_parser *jp, const uint8_t *raw, uint32_t bytes);
/* Schema: fills ev from jp->doc. */
enum drop_reason json_judge(struct json_parser *jp, enum event_type type_hint, int64_t receive_time_ms,
	const struct parse_limits *limits, struct event *ev);
/* The same from what its writer says. */
enum drop_reason json_judge_written(struct json_parser *jp, const struct json_written *written,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev);
/* Considers the event that was just accepted, whose walk is in jp->doc. */
void shape_learn(struct json_parser *jp, const struct event *ev, enum event_type type_hint);
/* The slow path, and the fast one, which ends in the slow one where no shape takes the event. As
 * json_parse_event. */
void json_parse_slow(struct json_parser *jp, const uint8_t *raw, uint32_t bytes, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev);
void json_parse_fast(struct json_parser *jp, const uint8_t *raw, uint32_t bytes, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev);
/* As json_parse_line. */
uint32_t json_line_fast(struct json_parser *jp, const uint8_t *raw, uint32_t left, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev);

#endif
