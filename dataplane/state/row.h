/* Rows: what the state stage writes into the output log, as records of these kinds (record.h):
 *
 *   RECORD_ROW   payload: struct row, key, packed aggregates, packed delta; of a ROW_ALERT: struct
 *                row_alert, texts, evidence. record.type = enum row_type. key_hash = hash of the key;
 *                event_time_ms = end_ms (alert: last_ms); receive_time_ms = that of the input block
 *                whose watermark closed it.
 *   RECORD_LATE  an event that came too late for all its windows of at least one definition: its
 *                record, copied under another kind; the last 16 bytes of the payload are the uid of the
 *                first such definition and the input offset. One for each such event.
 *   RECORD_MARK  event_time_ms = step: no more rows of this step or earlier follow in this partition.
 *
 * Partition p < P of the output log holds partial rows, late events and marks of input partition p, in the
 * order (step, window uid, end, start, key, revision); partition P holds merged rows, anomaly alerts, and
 * marks of its own. Little endian; whoever reads a log passes row_valid() first. Pure; any thread. */
#ifndef SLUICE_ROW_H
#define SLUICE_ROW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "record.h"

enum row_type {		 /* on disk: explicit, never reused; below EVENT_TYPE_MAX */
	ROW_PARTIAL = 1, /* one partition's share of a window and key; revision > 0: only what came since */
	ROW_WINDOW = 2,	 /* merged: tumbling, hopping */
	ROW_SESSION = 3, /* merged */
	ROW_FUNNEL = 4,	 /* merged; the key's last field is the step's name */
	ROW_ALERT = 5,	 /* payload: struct row_alert, then texts */
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
enum row_text { ROW_TEXT_RULE, ROW_TEXT_TITLE, ROW_TEXT_SEVERITY, ROW_TEXT_KEY };
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

/* True if a ROW, LATE or MARK record that has passed record_valid() is well-formed inside: every accessor
 * below stays in it. False for other kinds. The packed aggregates are not looked into: agg_values() does. */
bool row_valid(const struct record *rec);

/* Appends a whole RECORD_ROW with header and padding to out; key, agg and delta have the lengths that *row
 * says. out->bytes must be a multiple of 8, as other records leave it. Without memory: out->failed. */
void row_put(struct bytes *out, enum row_type type, const struct row *row, const void *key, const void *agg,
	const void *delta, uint64_t key_hash, int64_t receive_time_ms);
/* The same in two steps, for aggregates that are packed in place: header, row and key, behind which whoever
 * builds the row appends its cell (then its delta, if *row says how long it is); and what follows from that.
 * Returns where the record begins. */
size_t row_begin(struct bytes *out, const struct row *row, const void *key);
void row_end(struct bytes *out, size_t at, enum row_type type, uint64_t key_hash, int64_t receive_time_ms);
void row_put_mark(struct bytes *out, int64_t step_ms, int64_t receive_time_ms);
/* A copy of an event's record as RECORD_LATE. */
void row_put_late(struct bytes *out, const struct record *rec, uint64_t window_uid, uint64_t input_offset);
/* Input offset and window of a RECORD_LATE. */
uint64_t row_late_offset(const struct record *rec);
uint64_t row_late_window(const struct record *rec);
/* text: by enum row_text, with the lengths that *a says. key_hash is made of the key's text. */
void row_put_alert(struct bytes *out, const struct row_alert *a, const char *const text[4],
	const struct row_evidence *evidence, int64_t receive_time_ms);
static inline const struct row_alert *row_alert_of(const struct record *rec)
{
	return (const struct row_alert *)record_payload(rec);
}
/* Borrowed; without a terminating zero. */
const char *row_alert_text(const struct row_alert *a, enum row_text which, uint32_t *bytes);
/* The i-th piece of evidence; i < evidence_count. */
struct row_evidence row_alert_evidence(const struct row_alert *a, uint32_t i);

/* Makes a record of a row, which has no delta, in place what row_put() would write of it under this type. */
void row_retype(struct record *rec, enum row_type type);

/* Order of rows in a partition of the log: (step, uid, end, start, key, revision); memcmp-like. */
int row_compare(const struct row *a, const struct row *b);
/* The same but for the revision: 0 for rows of one window and key in one step. */
static inline int row_place_compare(const struct row *a, const struct row *b);
/* Bytes of the keys alone. */
static inline int row_key_compare(const struct row *a, const struct row *b);

/* Builds a group key from an event's fields; returns its bytes, or 0 if it does not fit `cap` (without group
 * fields: 0, the only key). Text fields by their decoded bytes, the others by their canonical text
 * (value_text.h; times: ms). */
uint32_t row_key_make(uint8_t *out, uint32_t cap, const enum field_id *group, uint32_t group_count,
	const struct record *rec);
/* The i-th part of a key: bytes, or NULL with 0 if absent. False: there is no such part. */
bool row_key_part(const struct row *row, uint32_t index, const uint8_t **data, uint32_t *bytes);

/* ---- inline ---- */

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

static inline int row_key_compare(const struct row *a, const struct row *b)
{
	const uint8_t *x = row_key(a), *y = row_key(b);
	uint32_t least = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;

	if (least >= 8 && least <= 16) { /* most are: two words, which may overlap */
		ROW_COMPARE(row_key_word(x), row_key_word(y));
		ROW_COMPARE(row_key_word(x + least - 8), row_key_word(y + least - 8));
	} else {
		int d = least ? memcmp(x, y, least) : 0;

		if (d)
			return d;
	}
	ROW_COMPARE(a->key_bytes, b->key_bytes);
	return 0;
}

static inline int row_place_compare(const struct row *a, const struct row *b)
{
	ROW_COMPARE(a->step_ms, b->step_ms);
	ROW_COMPARE(a->window_uid, b->window_uid);
	ROW_COMPARE(a->end_ms, b->end_ms);
	ROW_COMPARE(a->start_ms, b->start_ms);
	return row_key_compare(a, b);
}

#endif
