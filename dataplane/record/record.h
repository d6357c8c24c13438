/* The journal record: what a worker writes into a batch, a partition's writer copies into a block, and sinks
 * slice. Little endian, 8-byte aligned, self-contained:
 *
 *   struct record                      88 bytes
 *   struct span field[popcount(field_mask)]   in ascending field id; offsets count from the payload's first
 * byte uint16_t hit[hit_count]            rule indexes in the block's ruleset generation, ascending uint8_t
 * payload[payload_bytes]     the raw bytes as they came, then the tail (decoded strings, numbers) zero bytes
 * up to a multiple of 8
 *
 * A record's offset is not in it: it is the block's first offset plus its index there. */
#ifndef SLUICE_RECORD_H
#define SLUICE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "event.h"
#include "hash.h"

/* Ids on disk: explicit, never reused. */
enum record_kind {
	RECORD_EVENT = 1,   /* an accepted event */
	RECORD_REFUSED = 2, /* a dead letter: reason, reason_field, source, the first raw bytes; no fields */
	RECORD_CONTROL = 3, /* payload: text "key=value ..."; made by a partition's writer */
	RECORD_TICK = 4,    /* event_time_ms = explicit watermark of an idle partition */
	/* In output logs only (dataplane/state/row.h): */
	RECORD_ROW = 5,	 /* a row of the state stage; type is an enum row_type */
	RECORD_LATE = 6, /* an event that came too late for its windows */
	RECORD_MARK = 7, /* event_time_ms = step up to which all rows are out */
	/* In the journal again: an event once more, in the partition of a key that rules with state have
	 * (rules/rule_shadow.h): its times, id, type, source and flags; of its fields only those that these
	 * rules read, one after the other as payload, raw_bytes 0 (of event_id and ts only the bits); of its
	 * hits those that belong to these rules. key_hash: of that key; reason_field: the key's first field.
	 * For the state stage alone. */
	RECORD_SHADOW = 8,
};

enum record_flags {
	RECORD_F_ID_MADE = 1 << 0, /* event_id was missing; made from the address by the writer, or by the
				      worker: from the producer and its number, or see ID_WORKER */
	RECORD_F_SUPPRESSED =
		1 << 1, /* a drop rule matched beside a rule that alerts or has state: raw sinks skip it */
	RECORD_F_CUT = 1 << 2, /* RECORD_REFUSED: payload is shorter than what came */
	/* RECORD_EVENT, RECORD_REFUSED: the tail ends in a struct record_producer. Without a field event_id,
	 * and if refused, event_id is record_producer_id(). */
	RECORD_F_PRODUCER = 1 << 3,
	RECORD_F_ACK = 1 << 4, /* the producer wants to know when the record is durable */
	/* RECORD_EVENT: the top-level keys of the raw bytes are fields of its type and `type`, nothing else;
	 * without it there may be others. */
	RECORD_F_KNOWN = 1 << 5,
	/* Beside ID_MADE, without PRODUCER: rules with state are to see the event, and its shadows have this
	 * id, too. They may be written, and read, before it has an address: the worker has made it of a
	 * random seed and a count of its own. */
	RECORD_F_ID_WORKER = 1 << 6,
};

enum rule_action {
	RULE_ACTION_TAG = 1,
	RULE_ACTION_DROP = 2,
	RULE_ACTION_ALERT = 4,
	RULE_ACTION_STATE = 8, /* of an event: a rule with state has to see it */
	RULE_ACTION_ROUTE = 16 /* to a topic of its own instead of that of its type */
};

struct record {
	uint32_t bytes; /* whole record with padding; multiple of 8 */
	uint8_t kind;	/* enum record_kind */
	uint8_t type;	/* enum event_type */
	uint16_t flags;
	int64_t event_time_ms;
	int64_t receive_time_ms;
	uint8_t event_id[16]; /* RFC 9562 byte order; zero in kinds without identity */
	uint64_t key_hash;
	uint64_t field_mask;
	uint8_t src_addr[16]; /* IPv6 or IPv4-mapped */
	uint16_t src_port;
	uint16_t dst_port;    /* the listener's UDP port */
	uint8_t reason;	      /* RECORD_REFUSED: enum drop_reason */
	uint8_t reason_field; /* RECORD_REFUSED: enum field_id or 0 */
	uint16_t hit_count;
	uint32_t raw_bytes;	/* raw part of the payload */
	uint32_t payload_bytes; /* raw + tail */
};
_Static_assert(sizeof(struct record) == 88, "record layout is on disk");

#define RECORD_ALIGN 8u

/* Who sent an event, and as the how-manieth of its own (docs/protocol.md). The last bytes of the payload. */
struct record_producer {
	uint64_t id, sequence;
};

static inline const struct span *record_spans(const struct record *rec)
{
	return (const struct span *)(rec + 1);
}

static inline const uint16_t *record_hits(const struct record *rec)
{
	return (const uint16_t *)(record_spans(rec) + __builtin_popcountll(rec->field_mask));
}

static inline const uint8_t *record_payload(const struct record *rec)
{
	return (const uint8_t *)(record_hits(rec) + rec->hit_count);
}

/* Decoded bytes of a field; NULL (and 0) if the record does not have it. NUMBER: 8 bytes, a double; DECIMAL:
 * 8 bytes, see record_decimal(). payload: record_payload(rec). */
static inline const uint8_t *record_field_in(
	const struct record *rec, const uint8_t *payload, enum field_id id, uint32_t *bytes)
{
	uint64_t bit = 1ull << id;

	if (!(rec->field_mask & bit)) {
		*bytes = 0;
		return NULL;
	}
	struct span s = record_spans(rec)[__builtin_popcountll(rec->field_mask & (bit - 1))];
	*bytes = s.bytes;
	return payload + s.offset;
}

/* Where the field's span stands, in bytes from the beginning of this record and of all that have the same
 * fields. 0: they do not have it. */
static inline uint32_t record_span_at(const struct record *rec, enum field_id id)
{
	uint64_t bit = 1ull << id;

	if (!(rec->field_mask & bit))
		return 0;
	return (uint32_t)(sizeof *rec +
			  (size_t)__builtin_popcountll(rec->field_mask & (bit - 1)) * sizeof(struct span));
}

/* record_field_in() of a field whose span stands there. */
static inline const uint8_t *record_field_at(
	const struct record *rec, const uint8_t *payload, uint32_t span_at, uint32_t *bytes)
{
	struct span s;

	__builtin_memcpy(&s, (const uint8_t *)rec + span_at, sizeof s);
	*bytes = s.bytes;
	return payload + s.offset;
}

static inline const uint8_t *record_field(const struct record *rec, enum field_id id, uint32_t *bytes)
{
	return record_field_in(rec, record_payload(rec), id, bytes);
}

/* UUID version 8 (RFC 9562): 122 bits of a hash. */
static inline void record_hash_id(uint8_t id[16], uint64_t high, uint64_t low)
{
	__builtin_memcpy(id, &high, 8);
	__builtin_memcpy(id + 8, &low, 8);
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x80);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

/* The id of an event without one that is the number-th under this seed, which nobody else has. */
static inline void record_number_id(uint8_t id[16], uint64_t number, const uint64_t seed[2])
{
	record_hash_id(
		id, hash_bytes(&number, sizeof number, seed[0]), hash_bytes(&number, sizeof number, seed[1]));
}

/* The id of an event that its producer has numbered, and that has none of its own: the same each time that it
 * comes; another one if it is refused. Belongs into event_id before the record is written. */
void record_producer_id(uint8_t id[16], const struct event *ev);

/* Of a record with RECORD_F_PRODUCER; payload: record_payload(rec), or a copy. */
static inline struct record_producer record_producer_in(const struct record *rec, const uint8_t *payload)
{
	struct record_producer p;

	__builtin_memcpy(&p, payload + rec->payload_bytes - sizeof p, sizeof p);
	return p;
}

static inline struct record_producer record_producer(const struct record *rec)
{
	return record_producer_in(rec, record_payload(rec));
}

/* Millionths of a DECIMAL field; false (and 0) if the record does not have it. */
static inline bool record_decimal(const struct record *rec, enum field_id id, int64_t *millionths)
{
	uint32_t bytes;
	const uint8_t *p = record_field(rec, id, &bytes);

	*millionths = 0;
	if (p)
		__builtin_memcpy(millionths, p, sizeof *millionths);
	return p != NULL;
}

static inline uint32_t record_round(uint32_t bytes)
{
	return (bytes + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1);
}

static inline uint32_t record_head_bytes(uint64_t field_mask, uint32_t hit_count)
{
	return (uint32_t)(sizeof(struct record) +
			  (size_t)__builtin_popcountll(field_mask) * sizeof(struct span) +
			  hit_count * sizeof(uint16_t));
}

static inline uint32_t record_producer_bytes(const struct event *ev)
{
	return ev->producer ? (uint32_t)sizeof(struct record_producer) : 0;
}

/* Bytes that a record of this event needs, for RECORD_EVENT. */
static inline uint32_t record_bytes_of(const struct event *ev)
{
	return record_round(record_head_bytes(ev->field_mask, ev->hit_count) + ev->raw_bytes +
			    ev->tail_bytes + record_producer_bytes(ev));
}

/* Writes ev, which is not refused, as RECORD_EVENT to out, which has `bytes` bytes, record_bytes_of(ev), and
 * is 8-byte aligned. key_hash and receive time come from the caller. RX path: no call leaves it. */
void record_write_sized(uint8_t *out, uint32_t bytes, const struct event *ev, uint64_t key_hash,
	int64_t receive_time_ms, uint16_t flags);

/* The same for who has not asked for the bytes. Returns them. */
static inline uint32_t record_write_event(
	uint8_t *out, const struct event *ev, uint64_t key_hash, int64_t receive_time_ms, uint16_t flags)
{
	uint32_t bytes = record_bytes_of(ev);

	record_write_sized(out, bytes, ev, key_hash, receive_time_ms, flags);
	return bytes;
}

/* The event that a RECORD_EVENT was made of, before rules looked at it: no actions, no hits. payload: that of
 * the record, or a copy with EVENT_PAD_BYTES readable behind it if something will parse it; borrowed. */
void record_event(const struct record *rec, const uint8_t *payload, struct event *ev);

/* Writes a refused event: at most limit_bytes of its raw bytes. out has record_refused_bytes() bytes. */
uint32_t record_refused_bytes(const struct event *ev, uint32_t limit_bytes);
uint32_t record_write_refused(uint8_t *out, const struct event *ev, uint64_t key_hash,
	int64_t receive_time_ms, uint32_t limit_bytes);

/* True if the record at p, of which `left` bytes are readable, is well-formed: every length, span and count
 * stays inside. Everything read from disk passes this before any accessor is used. */
bool record_valid(const void *p, uint64_t left);

#endif
