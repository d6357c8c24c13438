/* Rows: what the state stage writes into the output log, as records of these kinds (record.h):
 *
 *   RECORD_ROW   payload: struct row, key, packed aggregates, packed delta; of a ROW_ALERT: struct
 *                row_alert, texts, evidence (ROW_RULE_ALERT: row_rule_alert). record.type = enum row_type.
 * key_hash = hash of the key; event_time_ms = end_ms (alert: last_ms); receive_time_ms = that of the input
 * block whose watermark closed it. ROW_PARTIALS: many partial rows in one record, see struct row_many;
 * key_hash 0. RECORD_LATE  an event that came too late for all its windows of at least one definition: its
 *                record, copied under another kind; the last 16 bytes of the payload are the uid of the
 *                first such definition and the input offset. One for each such event.
 *   RECORD_MARK  event_time_ms = step: no more rows of this step or earlier follow in this partition. With a
 *                payload, struct row_definitions and its items: from here on these definitions are in force
 * in it. Such a one may have no step: INT64_MIN.
 *
 * Partition p < P of the output log holds partial rows, late events and marks of input partition p, in the
 * order (step, window uid, end, start, key, revision), and alerts of stateful rules where they came out;
 * partition P holds merged rows, anomaly alerts, and marks of its own. Little endian; whoever reads a log
 * passes row_valid() first. Pure; any thread. */
#ifndef SLUICE_ROW_H
#define SLUICE_ROW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "record.h"
#include "value_text.h"

enum row_type {		 /* on disk: explicit, never reused; below EVENT_TYPE_MAX */
	ROW_PARTIAL = 1, /* one partition's share of a window and key; revision > 0: only what came since */
	ROW_WINDOW = 2,	 /* merged: tumbling, hopping */
	ROW_SESSION = 3, /* merged */
	ROW_FUNNEL = 4,	 /* merged; the key's last field is the step's name */
	ROW_ALERT = 5,	 /* payload: struct row_alert, then texts */
	ROW_PARTIALS =
		6, /* partial rows of one window, step and revision; payload: struct row_many, then items
		    */
	ROW_RULE_ALERT =
		7, /* of a stateful rule, in partitions p < P; payload: struct row_rule_alert, texts */
};

enum row_flags {
	/* key `other`: what exceeded keys_max. Its key has no group fields at all (key_bytes 0; of a merged
	 * funnel just the step), so that it is not the key of events that have none of the fields. */
	ROW_F_OTHER = 1,
	ROW_F_CUT = 2, /* a sketch or text of it had no memory: counts are right, the rest is a lower bound */
};

struct row {
	uint64_t window_uid;
	int64_t start_ms, end_ms; /* session: first and last event time + gap */
	int64_t step_ms;	  /* event-time step at which it was emitted */
	uint32_t revision;
	uint32_t flags;
	uint32_t key_bytes; /* group fields in order: u16 length, bytes; length 0xffff: the event has no such
			       field */
	uint32_t agg_bytes; /* packed cell */
	uint32_t delta_bytes; /* merged row with revision > 0: packed cell of what came since the revision
				 before */
	uint32_t reserved;
};
_Static_assert(sizeof(struct row) == 56, "row layout is on disk");

#define ROW_KEY_ABSENT 0xffffu

/* ROW_PARTIALS: what its rows share, then `count` >= 1 items, keys ascending. An item: struct row_many_item,
 * key, packed aggregates, zero bytes up to a multiple of 8. */
struct row_many {
	uint64_t window_uid;
	int64_t start_ms, end_ms, step_ms;
	uint32_t revision;
	uint32_t count;
};
_Static_assert(sizeof(struct row_many) == 40, "layout is on disk");
struct row_many_item {
	uint16_t key_bytes, agg_bytes;
	uint32_t flags; /* enum row_flags */
};
_Static_assert(sizeof(struct row_many_item) == 8, "layout is on disk");
#define ROW_MANY_BYTES 32768u	     /* a record of this many bytes takes no more rows */
#define ROW_MANY_ITEM_MAX UINT16_MAX /* of key_bytes, agg_bytes */

/* A mark's payload, where it has one: `count` items follow. */
struct row_definitions {
	uint32_t count, reserved;
};
struct row_definition {
	uint64_t uid;
	/* Windows that start before have not had all their events counted in this partition. INT64_MIN: as it
	 * was said before; if nothing was, all have. */
	int64_t from_ms;
};
_Static_assert(sizeof(struct row_definition) == 16, "layout is on disk");

static inline const struct row *row_of(const struct record *rec)
{
	return (const struct row *)record_payload(rec);
}
static inline const uint8_t *row_key(const struct row *row)
{
	return (const uint8_t *)(row + 1);
}
static inline const uint8_t *row_agg(const struct row *row)
{
	return row_key(row) + row->key_bytes;
}
static inline const uint8_t *row_delta(const struct row *row)
{
	return row_agg(row) + row->agg_bytes;
}

/* An alert of the state stage. Texts follow in the order of enum row_text, without ends; then the evidence,
 * unaligned. */
enum row_text { ROW_TEXT_RULE, ROW_TEXT_TITLE, ROW_TEXT_SEVERITY, ROW_TEXT_KEY, ROW_TEXT_VERSION };
struct row_alert {
	uint8_t id[16]; /* a function of rule, key and time: the same in every replay */
	int64_t first_ms, last_ms;
	double score, value, expected;
	uint64_t window_uid;			 /* 0: none */
	uint32_t evidence_count, evidence_total; /* addresses behind the texts, and how many there were */
	uint16_t rule_bytes, title_bytes, severity_bytes, key_bytes;
};
_Static_assert(sizeof(struct row_alert) == 80, "alert layout is on disk");
struct row_evidence { /* address of an input record */
	uint32_t partition;
	uint32_t reserved;
	uint64_t offset;
};

/* An alert of a stateful rule (cep.h). Texts: one more, the ruleset's version. */
struct row_rule_alert {
	struct row_alert head; /* window_uid 0 */
	uint64_t rule_uid;
	uint32_t generation; /* of rules that was in force */
	uint16_t version_bytes;
	uint16_t reserved;
};
_Static_assert(sizeof(struct row_rule_alert) == 96, "alert layout is on disk");
struct row_rule_evidence {
	uint32_t partition; /* UINT32_MAX: the address is not known any more, the id is */
	uint32_t reserved;
	uint64_t offset;
	int64_t time_ms; /* INT64_MIN: not kept */
	uint8_t event_id[16];
};

/* True if a ROW, LATE or MARK record that has passed record_valid() is well-formed inside: every accessor
 * below stays in it. False for other kinds. The packed aggregates are not looked into: agg_values() does. */
bool row_valid(const struct record *rec);
/* The same. *last: of a ROW_PARTIALS, bytes of its payload before its last item; else 0. */
bool row_valid_last(const struct record *rec, uint32_t *last);

/* Appends a whole RECORD_ROW with header and padding to out; key, agg and delta have the lengths that *row
 * says. out->bytes must be a multiple of 8, as other records leave it. Without memory: out->failed. */
void row_put(struct bytes *out, enum row_type type, const struct row *row, const void *key, const void *agg,
	const void *delta, uint64_t key_hash, int64_t receive_time_ms);
void row_put_mark(struct bytes *out, int64_t step_ms, int64_t receive_time_ms);
/* A mark that names definitions; uids ascend. */
void row_put_definitions(struct bytes *out, int64_t step_ms, int64_t receive_time_ms,
	const struct row_definition *list, uint32_t count);
/* What a mark names that has passed row_valid(); NULL: it is only a mark. */
static inline const struct row_definition *row_definitions(const struct record *rec, uint32_t *count);
/* A copy of an event's record as RECORD_LATE. */
void row_put_late(struct bytes *out, const struct record *rec, uint64_t window_uid, uint64_t input_offset);
/* Input offset and window of a RECORD_LATE. */
uint64_t row_late_offset(const struct record *rec);
uint64_t row_late_window(const struct record *rec);
/* text: by enum row_text, with the lengths that *a says. key_hash is made of the key's text. */
void row_put_alert(struct bytes *out, const struct row_alert *a, const char *const text[4],
	const struct row_evidence *evidence, int64_t receive_time_ms);
/* The same for a ROW_RULE_ALERT: five texts. The record's event_id is that of the last piece of evidence. */
void row_put_rule_alert(struct bytes *out, const struct row_rule_alert *a, const char *const text[5],
	const struct row_rule_evidence *evidence, int64_t receive_time_ms);

/* ---- both kinds of alerts ---- */
static inline bool row_is_alert(const struct record *rec)
{
	return rec->kind == RECORD_ROW && (rec->type == ROW_ALERT || rec->type == ROW_RULE_ALERT);
}
static inline const struct row_alert *row_alert_of(const struct record *rec)
{
	return (const struct row_alert *)record_payload(rec);
}
/* NULL: no alert of a stateful rule. */
static inline const struct row_rule_alert *row_rule_alert_of(const struct record *rec)
{
	return rec->type == ROW_RULE_ALERT ? (const struct row_rule_alert *)record_payload(rec) : NULL;
}
/* Borrowed; without a terminating zero. Empty if this kind has no such text. */
const char *row_alert_text(const struct record *rec, enum row_text which, uint32_t *bytes);
/* The i-th piece of evidence; i < evidence_count. Without an event id and a time where none is kept (zero).
 */
struct row_rule_evidence row_alert_evidence(const struct record *rec, uint32_t i);

/* A ROW_PARTIALS in steps: what its rows share, in an empty `out`; rows; the rest. Keys ascend. */
void row_many_begin(struct bytes *out, const struct row *row);
static inline uint8_t *row_many_room(struct bytes *out, uint32_t key_bytes, uint32_t agg_bytes);
static inline void row_many_put(struct bytes *out, const void *key, uint32_t key_bytes, uint32_t flags,
	uint8_t *to, const uint8_t *end);
void row_many_end(struct bytes *out, int64_t receive_time_ms);

/* One partition's share of a window and key, or many such shares. */
static inline bool row_partial(const struct record *rec)
{
	return rec->kind == RECORD_ROW && (rec->type == ROW_PARTIAL || rec->type == ROW_PARTIALS);
}

/* Rows of a record that passed row_valid(), no alert, one after the other: the only one, or those of a
 * ROW_PARTIALS. Borrows the record. */
struct row_walk {
	struct row row; /* its key does not follow */
	const uint8_t *key, *agg;
	const uint8_t *next; /* item */
	uint32_t left;	     /* rows behind this one */
};
/* To the first. */
void row_walk_first(struct row_walk *walk, const struct record *rec);
/* To the next; false: there is none. */
static inline bool row_walk_next(struct row_walk *walk);
/* To the last; `last` as row_valid_last() gave it. */
void row_walk_last(struct row_walk *walk, const struct record *rec, uint32_t last);
/* How many there are. */
uint32_t row_count(const struct record *rec);
/* The row as a record of its own, a ROW_PARTIAL, behind what is in out. */
void row_walk_put(const struct row_walk *walk, int64_t receive_time_ms, struct bytes *out);

/* Order of rows in a partition of the log: (step, uid, end, start, key, revision); memcmp-like. */
int row_compare(const struct row *a, const struct row *b);
/* The same but for the revision: 0 for rows of one window and key in one step. */
static inline int row_place_compare(const struct row *a, const struct row *b);
/* Bytes of the keys alone. */
static inline int row_key_compare(const struct row *a, const struct row *b);
/* The same of rows whose keys stand elsewhere. */
static inline int row_place_compare_at(
	const struct row *a, const uint8_t *a_key, const struct row *b, const uint8_t *b_key);

/* Parts of a key, or -1: any bytes. A row's key is well-formed, and has no more parts than a definition gives
 * it: every reader of keys asks one of these two, of logs as of saved states. */
int row_key_parts(const uint8_t *key, uint32_t bytes);
bool row_key_valid(const uint8_t *key, uint32_t bytes);

/* Builds a group key from an event's fields; returns its bytes, or 0 if it does not fit `cap` (without group
 * fields: 0, the only key). Text fields by their decoded bytes, the others by their canonical text
 * (value_text.h; times: ms). */
uint32_t row_key_make(uint8_t *out, uint32_t cap, const enum field_id *group, uint32_t group_count,
	const struct record *rec);
/* The same in steps: an event's field as a part of a key, borrowed from the record or made in `text`; NULL:
 * absent. And one part more behind *used bytes, NULL: absent; false: it does not fit. */
const uint8_t *row_key_field(
	const struct record *rec, enum field_id field, char text[DECIMAL_TEXT_BYTES], uint32_t *bytes);
static inline bool row_key_add(
	uint8_t *out, uint32_t cap, uint32_t *used, const uint8_t *part, uint32_t bytes);
/* The i-th part of a key: bytes, or NULL with 0 if absent. False: there is no such part. */
bool row_key_part(const struct row *row, uint32_t index, const uint8_t **data, uint32_t *bytes);

/* ---- inline ---- */

static inline const struct row_definition *row_definitions(const struct record *rec, uint32_t *count)
{
	const struct row_definitions *head = (const struct row_definitions *)(rec + 1);

	*count = rec->payload_bytes ? head->count : 0;
	return rec->payload_bytes ? (const struct row_definition *)(head + 1) : NULL;
}

static inline bool row_key_add(
	uint8_t *out, uint32_t cap, uint32_t *used, const uint8_t *part, uint32_t bytes)
{
	uint16_t n = part ? (uint16_t)bytes : ROW_KEY_ABSENT;

	if (cap - *used < sizeof n || cap - *used - sizeof n < bytes || bytes >= ROW_KEY_ABSENT)
		return false;
	memcpy(out + *used, &n, sizeof n);
	if (bytes)
		memcpy(out + *used + sizeof n, part, bytes);
	*used += (uint32_t)sizeof n + bytes;
	return true;
}

#define ROW_COMPARE(x, y)                                                                                    \
	do {                                                                                                 \
		if ((x) != (y))                                                                              \
			return (x) < (y) ? -1 : 1;                                                           \
	} while (0)

static inline uint64_t row_key_word(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return __builtin_bswap64(word);
}

/* The first 16 bytes of a key as a number, zeros behind its end: they compare as the keys do; where they are
 * equal the keys decide. 16 bytes can be read. */
static inline unsigned __int128 row_key_order(const uint8_t *key, uint32_t bytes)
{
	static const uint64_t mask[17] = {0, 0xffull << 56, 0xffffull << 48, 0xffffffull << 40,
		0xffffffffull << 32, 0xffffffffffull << 24, 0xffffffffffffull << 16, 0xffffffffffffffull << 8,
		UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
		UINT64_MAX, UINT64_MAX};
	uint32_t high = bytes < 8 ? bytes : 8, low = bytes < 16 ? bytes - high : 8;

	return (unsigned __int128)(row_key_word(key) & mask[high]) << 64 |
	       (row_key_word(key + 8) & mask[low]);
}

static inline int row_keys_compare(const uint8_t *x, uint32_t x_bytes, const uint8_t *y, uint32_t y_bytes)
{
	uint32_t least = x_bytes < y_bytes ? x_bytes : y_bytes;

	if (least >= 8 && least <= 16) { /* most are: two words, which may overlap */
		ROW_COMPARE(row_key_word(x), row_key_word(y));
		ROW_COMPARE(row_key_word(x + least - 8), row_key_word(y + least - 8));
	} else {
		int d = least ? memcmp(x, y, least) : 0;

		if (d)
			return d;
	}
	ROW_COMPARE(x_bytes, y_bytes);
	return 0;
}

static inline int row_key_compare(const struct row *a, const struct row *b)
{
	return row_keys_compare(row_key(a), a->key_bytes, row_key(b), b->key_bytes);
}

static inline int row_place_compare_at(
	const struct row *a, const uint8_t *a_key, const struct row *b, const uint8_t *b_key)
{
	ROW_COMPARE(a->step_ms, b->step_ms);
	ROW_COMPARE(a->window_uid, b->window_uid);
	ROW_COMPARE(a->end_ms, b->end_ms);
	ROW_COMPARE(a->start_ms, b->start_ms);
	return row_keys_compare(a_key, a->key_bytes, b_key, b->key_bytes);
}

static inline int row_place_compare(const struct row *a, const struct row *b)
{
	return row_place_compare_at(a, row_key(a), b, row_key(b));
}

static inline void row_walk_item(struct row_walk *walk)
{
	struct row_many_item item;

	memcpy(&item, walk->next, sizeof item);
	walk->row.key_bytes = item.key_bytes;
	walk->row.agg_bytes = item.agg_bytes;
	walk->row.flags = item.flags;
	walk->key = walk->next + sizeof item;
	walk->agg = walk->key + item.key_bytes;
	walk->next += (sizeof item + item.key_bytes + item.agg_bytes + RECORD_ALIGN - 1) &
		      ~(size_t)(RECORD_ALIGN - 1);
}

static inline bool row_walk_next(struct row_walk *walk)
{
	if (!walk->left)
		return false;
	walk->left--;
	row_walk_item(walk);
	return true;
}

/* Room for an item and two words behind it; returns where its aggregates go. */
static inline uint8_t *row_many_room(struct bytes *out, uint32_t key_bytes, uint32_t agg_bytes)
{
	size_t room = sizeof(struct row_many_item) + key_bytes + agg_bytes + 2 * sizeof(uint64_t);
	uint8_t *to = bytes_room(out, room);

	if (!to)
		return NULL;
	out->bytes -= room;
	return to + sizeof(struct row_many_item) + key_bytes;
}

/* The item whose key and aggregates have been written: these between `to`, from row_many_room(), and `end`.
 * Returns where the next one goes. */
static inline uint8_t *row_many_item(uint32_t key_bytes, uint32_t flags, uint8_t *to, uint8_t *end)
{
	struct row_many_item item = {(uint16_t)key_bytes, (uint16_t)(end - to), flags};
	uint8_t *at = to - key_bytes - sizeof item;

	memcpy(at, &item, sizeof item);
	memset(end, 0, sizeof(uint64_t));
	return at + ((size_t)(end - at + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1));
}

/* Items up to `end` are there. */
static inline void row_many_add(struct bytes *out, const uint8_t *end, uint32_t count)
{
	out->bytes = (size_t)(end - out->data);
	((struct row_many *)(out->data + sizeof(struct record)))->count += count;
}

/* The key as well, and the item is there. */
static inline void row_many_put(struct bytes *out, const void *key, uint32_t key_bytes, uint32_t flags,
	uint8_t *to, const uint8_t *end)
{
	memcpy(to - key_bytes, key, key_bytes);
	row_many_add(out, row_many_item(key_bytes, flags, to, (uint8_t *)(uintptr_t)end), 1);
}

#endif
