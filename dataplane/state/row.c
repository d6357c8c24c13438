/* Rows of the output log: writing, checking, group keys. Pure, no allocation but in struct bytes; any thread.
 */
#include "row.h"

#include <string.h>

#include "hash.h"
#include "window.h"

#define LATE_TAIL_BYTES 16u

static uint8_t *append(uint8_t *at, const void *data, uint32_t bytes)
{
	if (bytes)
		memcpy(at, data, bytes);
	return at + bytes;
}

/* ---- checks ---- */

int row_key_parts(const uint8_t *key, uint32_t bytes)
{
	uint32_t at = 0;
	int parts = 0;

	for (; at < bytes; parts++) {
		uint16_t n;

		if (bytes - at < sizeof n)
			return -1;
		memcpy(&n, key + at, sizeof n);
		at += (uint32_t)sizeof n;
		if (n == ROW_KEY_ABSENT)
			continue;
		if (bytes - at < n)
			return -1;
		at += n;
	}
	return parts;
}

/* A key of one part that is not absent, as most are. */
static inline bool key_single(const uint8_t *key, uint32_t bytes)
{
	uint16_t n;

	if (bytes < sizeof n)
		return false;
	memcpy(&n, key, sizeof n);
	return n + sizeof n == bytes && n != ROW_KEY_ABSENT;
}

bool row_key_valid(const uint8_t *key, uint32_t bytes)
{
	int parts;

	if (key_single(key, bytes))
		return true;
	parts = row_key_parts(key, bytes);
	return parts >= 0 && parts <= WINDOW_GROUP_MAX + 1; /* + the step of a funnel */
}

/* What only a record with no event in it may look like: its payload starts right behind the header, aligned.
 */
static bool head_plain(const struct record *rec)
{
	return !rec->field_mask && !rec->hit_count;
}

static bool alert_valid(const struct record *rec)
{
	const struct row_alert *a = row_alert_of(rec);

	if (rec->payload_bytes < sizeof *a || a->evidence_count > a->evidence_total)
		return false;
	return rec->payload_bytes == sizeof *a + a->rule_bytes + a->title_bytes + a->severity_bytes +
					     a->key_bytes +
					     (uint64_t)a->evidence_count * sizeof(struct row_evidence);
}

static bool rule_alert_valid(const struct record *rec)
{
	const struct row_rule_alert *a = row_rule_alert_of(rec);

	if (rec->payload_bytes < sizeof *a || a->head.evidence_count > a->head.evidence_total || a->reserved)
		return false;
	return rec->payload_bytes ==
	       sizeof *a + a->head.rule_bytes + a->head.title_bytes + a->head.severity_bytes +
		       a->head.key_bytes + a->version_bytes +
		       (uint64_t)a->head.evidence_count * sizeof(struct row_rule_evidence);
}

static bool plain_row_valid(const struct record *rec)
{
	const struct row *row = row_of(rec);

	if (rec->payload_bytes < sizeof *row || rec->payload_bytes != sizeof *row + (uint64_t)row->key_bytes +
									      row->agg_bytes +
									      (uint64_t)row->delta_bytes)
		return false;
	if (row->reserved || row->start_ms > row->end_ms || (row->delta_bytes && !row->revision))
		return false;
	return row_key_valid(row_key(row), row->key_bytes);
}

/* row_key_order() of a key behind which nothing may be read. */
static __attribute__((noinline)) unsigned __int128 key_order_end(const uint8_t *key, uint32_t bytes)
{
	uint8_t copy[16] = {0};

	append(copy, key, bytes < sizeof copy ? bytes : (uint32_t)sizeof copy);
	return row_key_order(copy, bytes);
}

/* Every item lies in the payload, with zeros behind it; keys are well-formed and ascend. */
static bool row_many_valid(const struct record *rec, uint32_t *last)
{
	const struct row_many *rows = (const struct row_many *)(rec + 1);
	const uint8_t *at = (const uint8_t *)(rows + 1), *before = NULL;
	const uint8_t *end = (const uint8_t *)(rec + 1) + rec->payload_bytes;
	unsigned __int128 before_order = 0;
	uint32_t before_bytes = 0;

	if (rec->payload_bytes < sizeof *rows || rec->payload_bytes % RECORD_ALIGN || !rows->count ||
		rows->start_ms > rows->end_ms)
		return false;
	for (uint32_t i = 0; i < rows->count; i++) {
		unsigned __int128 order;
		struct row_many_item item;
		uint32_t bytes, pad;

		if ((size_t)(end - at) < sizeof item)
			return false;
		memcpy(&item, at, sizeof item);
		at += sizeof item;
		bytes = (uint32_t)item.key_bytes + item.agg_bytes;
		pad = -bytes & (RECORD_ALIGN - 1);
		if ((size_t)(end - at) < bytes + pad)
			return false;
		/* the last bytes of the item's last word; without a branch, since any number is as likely */
		if (hash_load(at + bytes + pad - RECORD_ALIGN, RECORD_ALIGN) >> (8 * (7 - pad)) >> 8)
			return false;
		if (!key_single(at, item.key_bytes) && !row_key_valid(at, item.key_bytes))
			return false;
		order = end - at >= 16 ? row_key_order(at, item.key_bytes)
				       : key_order_end(at, item.key_bytes);
		if (before && order <= before_order &&
			(order < before_order ||
				row_keys_compare(before, before_bytes, at, item.key_bytes) >= 0))
			return false;
		before = at;
		before_bytes = item.key_bytes;
		before_order = order;
		at += bytes + pad;
	}
	*last = (uint32_t)(before - sizeof(struct row_many_item) - (const uint8_t *)(rec + 1));
	return at == end;
}

static bool late_valid(const struct record *rec)
{
	const struct span *span = record_spans(rec);

	if (!rec->type || rec->payload_bytes - rec->raw_bytes < LATE_TAIL_BYTES)
		return false;
	for (int i = 0; i < __builtin_popcountll(rec->field_mask); i++)
		if ((uint32_t)span[i].offset + span[i].bytes > rec->payload_bytes - LATE_TAIL_BYTES)
			return false;
	return true;
}

static bool definitions_valid(const struct record *rec)
{
	const struct row_definitions *head = (const struct row_definitions *)(rec + 1);
	const struct row_definition *list = (const struct row_definition *)(head + 1);

	if (rec->payload_bytes < sizeof *head || head->reserved ||
		rec->payload_bytes != sizeof *head + head->count * (uint64_t)sizeof *list)
		return false;
	for (uint32_t i = 1; i < head->count; i++)
		if (list[i].uid <= list[i - 1].uid)
			return false;
	return true;
}

bool row_valid_last(const struct record *rec, uint32_t *last)
{
	*last = 0;
	switch (rec->kind) {
	case RECORD_ROW:
		if (!head_plain(rec) || rec->type < ROW_PARTIAL || rec->type > ROW_RULE_ALERT)
			return false;
		if (rec->type == ROW_PARTIALS)
			return row_many_valid(rec, last);
		if (rec->type == ROW_RULE_ALERT)
			return rule_alert_valid(rec);
		return rec->type == ROW_ALERT ? alert_valid(rec) : plain_row_valid(rec);
	case RECORD_LATE:
		return late_valid(rec);
	case RECORD_MARK:
		return head_plain(rec) && !rec->type && (!rec->payload_bytes || definitions_valid(rec));
	default:
		return false;
	}
}

bool row_valid(const struct record *rec)
{
	uint32_t last;

	return row_valid_last(rec, &last);
}

/* ---- writing ---- */

/* Room for a whole record, its header and padding filled. NULL without memory. */
static struct record *record_room(struct bytes *out, enum record_kind kind, uint32_t payload_bytes)
{
	uint32_t bytes = (uint32_t)sizeof(struct record) + payload_bytes;
	uint32_t whole = (bytes + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1);
	struct record *rec = (struct record *)bytes_room(out, whole);

	if (!rec)
		return NULL;
	memset((uint8_t *)rec + whole - RECORD_ALIGN, 0, RECORD_ALIGN);
	memset(rec, 0, sizeof *rec);
	rec->bytes = whole;
	rec->kind = (uint8_t)kind;
	rec->payload_bytes = payload_bytes;
	return rec;
}

void row_put(struct bytes *out, enum row_type type, const struct row *row, const void *key, const void *agg,
	const void *delta, uint64_t key_hash, int64_t receive_time_ms)
{
	uint32_t bytes = (uint32_t)sizeof *row + row->key_bytes + row->agg_bytes + row->delta_bytes;
	struct record *rec = record_room(out, RECORD_ROW, bytes);
	uint8_t *to = (uint8_t *)(rec + 1);

	if (!rec)
		return;
	rec->type = (uint8_t)type;
	rec->event_time_ms = row->end_ms;
	rec->receive_time_ms = receive_time_ms;
	rec->key_hash = key_hash;
	to = append(to, row, sizeof *row);
	to = append(to, key, row->key_bytes);
	to = append(to, agg, row->agg_bytes);
	append(to, delta, row->delta_bytes);
}

void row_many_begin(struct bytes *out, const struct row *row)
{
	struct row_many rows = {row->window_uid, row->start_ms, row->end_ms, row->step_ms, row->revision, 0};
	uint8_t *to = bytes_room(out, sizeof(struct record) + sizeof rows);

	if (to)
		memcpy(to + sizeof(struct record), &rows, sizeof rows);
}

void row_many_end(struct bytes *out, int64_t receive_time_ms)
{
	struct record *rec = (struct record *)out->data;
	const struct row_many *rows = (const struct row_many *)(rec + 1);

	if (out->failed)
		return;
	*rec = (struct record){.bytes = (uint32_t)out->bytes,
		.kind = RECORD_ROW,
		.type = ROW_PARTIALS,
		.event_time_ms = rows->end_ms,
		.receive_time_ms = receive_time_ms,
		.payload_bytes = (uint32_t)(out->bytes - sizeof *rec)};
}

void row_walk_first(struct row_walk *walk, const struct record *rec)
{
	const struct row_many *rows = (const struct row_many *)(rec + 1);
	const struct row *row = (const struct row *)(rec + 1);

	if (rec->type != ROW_PARTIALS) {
		*walk = (struct row_walk){.row = *row, .key = row_key(row), .agg = row_agg(row)};
		return;
	}
	*walk = (struct row_walk){.row = {.window_uid = rows->window_uid,
					  .start_ms = rows->start_ms,
					  .end_ms = rows->end_ms,
					  .step_ms = rows->step_ms,
					  .revision = rows->revision},
		.next = (const uint8_t *)(rows + 1),
		.left = rows->count - 1};
	row_walk_item(walk);
}

void row_walk_last(struct row_walk *walk, const struct record *rec, uint32_t last)
{
	row_walk_first(walk, rec);
	if (rec->type != ROW_PARTIALS)
		return;
	walk->next = (const uint8_t *)(rec + 1) + last;
	walk->left = 0;
	row_walk_item(walk);
}

uint32_t row_count(const struct record *rec)
{
	return rec->type == ROW_PARTIALS ? ((const struct row_many *)(rec + 1))->count : 1;
}

void row_walk_put(const struct row_walk *walk, int64_t receive_time_ms, struct bytes *out)
{
	row_put(out, ROW_PARTIAL, &walk->row, walk->key, walk->agg, NULL,
		hash_bytes(walk->key, walk->row.key_bytes, 0), receive_time_ms);
}

void row_put_mark(struct bytes *out, int64_t step_ms, int64_t receive_time_ms)
{
	struct record *rec = record_room(out, RECORD_MARK, 0);

	if (!rec)
		return;
	rec->event_time_ms = step_ms;
	rec->receive_time_ms = receive_time_ms;
}

void row_put_definitions(struct bytes *out, int64_t step_ms, int64_t receive_time_ms,
	const struct row_definition *list, uint32_t count)
{
	const struct row_definitions head = {.count = count};
	uint32_t bytes = (uint32_t)(count * sizeof *list);
	struct record *rec = record_room(out, RECORD_MARK, (uint32_t)sizeof head + bytes);

	if (!rec)
		return;
	rec->event_time_ms = step_ms;
	rec->receive_time_ms = receive_time_ms;
	append(append((uint8_t *)(rec + 1), &head, (uint32_t)sizeof head), list, bytes);
}

void row_put_late(struct bytes *out, const struct record *rec, uint64_t window_uid, uint64_t input_offset)
{
	uint32_t head = (uint32_t)(record_payload(rec) - (const uint8_t *)rec);
	uint32_t bytes = head + rec->payload_bytes + LATE_TAIL_BYTES;
	uint32_t whole = (bytes + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1);
	uint8_t *to = bytes_room(out, whole);
	struct record *late = (struct record *)to;

	if (!to)
		return;
	memset(to + whole - RECORD_ALIGN, 0, RECORD_ALIGN);
	to = append(to, rec, head + rec->payload_bytes);
	to = append(to, &window_uid, sizeof window_uid);
	append(to, &input_offset, sizeof input_offset);
	late->bytes = whole;
	late->kind = RECORD_LATE;
	late->flags &= (uint16_t) ~(RECORD_F_PRODUCER | RECORD_F_ACK); /* its payload ends otherwise now */
	late->payload_bytes = rec->payload_bytes + LATE_TAIL_BYTES;
}

static uint64_t late_word(const struct record *rec, uint32_t from_end)
{
	return hash_load(record_payload(rec) + rec->payload_bytes - from_end, sizeof(uint64_t));
}

uint64_t row_late_offset(const struct record *rec)
{
	return late_word(rec, 8);
}

uint64_t row_late_window(const struct record *rec)
{
	return late_word(rec, 16);
}

/* ---- alerts ---- */

static uint32_t text_bytes(const struct row_alert *a, uint32_t which)
{
	const uint16_t bytes[] = {a->rule_bytes, a->title_bytes, a->severity_bytes, a->key_bytes};

	return bytes[which];
}

const char *row_alert_text(const struct record *rec, enum row_text which, uint32_t *bytes)
{
	const struct row_alert *a = row_alert_of(rec);
	const struct row_rule_alert *rule = row_rule_alert_of(rec);
	const char *at = rule ? (const char *)(rule + 1) : (const char *)(a + 1);

	for (uint32_t i = 0; i < which; i++)
		at += text_bytes(a, i);
	if (which == ROW_TEXT_VERSION)
		*bytes = rule ? rule->version_bytes : 0;
	else
		*bytes = text_bytes(a, which);
	return at;
}

struct row_rule_evidence row_alert_evidence(const struct record *rec, uint32_t i)
{
	struct row_rule_evidence e = {0};
	struct row_evidence old;
	uint32_t bytes;
	const char *end;

	if (rec->type == ROW_RULE_ALERT) {
		end = row_alert_text(rec, ROW_TEXT_VERSION, &bytes);
		memcpy(&e, end + bytes + i * sizeof e, sizeof e);
	} else {
		end = row_alert_text(rec, ROW_TEXT_KEY, &bytes);
		memcpy(&old, end + bytes + i * sizeof old, sizeof old);
		e.partition = old.partition;
		e.offset = old.offset;
		e.time_ms = INT64_MIN;
	}
	return e;
}

/* The record's head, the alert's struct; where the texts go. NULL without memory. */
static uint8_t *alert_begin(struct bytes *out, enum row_type type, const struct row_alert *a, uint32_t head,
	uint32_t bytes, const char *key, int64_t receive_time_ms)
{
	struct record *rec = record_room(out, RECORD_ROW, bytes);

	if (!rec)
		return NULL;
	rec->type = (uint8_t)type;
	rec->event_time_ms = a->last_ms;
	rec->receive_time_ms = receive_time_ms;
	rec->key_hash = hash_bytes(key, a->key_bytes, 0);
	return append((uint8_t *)(rec + 1), a, head);
}

void row_put_alert(struct bytes *out, const struct row_alert *a, const char *const text[4],
	const struct row_evidence *evidence, int64_t receive_time_ms)
{
	uint32_t bytes = (uint32_t)sizeof *a + a->evidence_count * (uint32_t)sizeof *evidence;
	uint8_t *at;

	for (uint32_t i = 0; i < 4; i++)
		bytes += text_bytes(a, i);
	at = alert_begin(out, ROW_ALERT, a, sizeof *a, bytes, text[ROW_TEXT_KEY], receive_time_ms);
	if (!at)
		return;
	for (uint32_t i = 0; i < 4; i++)
		at = append(at, text[i], text_bytes(a, i));
	append(at, evidence, a->evidence_count * (uint32_t)sizeof *evidence);
}

void row_put_rule_alert(struct bytes *out, const struct row_rule_alert *a, const char *const text[5],
	const struct row_rule_evidence *evidence, int64_t receive_time_ms)
{
	uint32_t bytes =
		(uint32_t)sizeof *a + a->version_bytes + a->head.evidence_count * (uint32_t)sizeof *evidence;
	size_t begin = out->bytes;
	uint8_t *at;

	for (uint32_t i = 0; i < 4; i++)
		bytes += text_bytes(&a->head, i);
	at = alert_begin(
		out, ROW_RULE_ALERT, &a->head, sizeof *a, bytes, text[ROW_TEXT_KEY], receive_time_ms);
	if (!at)
		return;
	for (uint32_t i = 0; i < 4; i++)
		at = append(at, text[i], text_bytes(&a->head, i));
	at = append(at, text[ROW_TEXT_VERSION], a->version_bytes);
	if (a->head.evidence_count)
		memcpy(((struct record *)(out->data + begin))->event_id,
			evidence[a->head.evidence_count - 1].event_id, 16);
	append(at, evidence, a->head.evidence_count * (uint32_t)sizeof *evidence);
}

/* ---- order ---- */

int row_compare(const struct row *a, const struct row *b)
{
	int d = row_place_compare(a, b);

	if (d)
		return d;
	ROW_COMPARE(a->revision, b->revision);
	return 0;
}

/* ---- keys ---- */

const uint8_t *row_key_field(
	const struct record *rec, enum field_id field, char text[DECIMAL_TEXT_BYTES], uint32_t *bytes)
{
	const uint8_t *p = record_field(rec, field, bytes);
	int64_t millionths;
	double number;

	if (!p)
		return NULL;
	switch (field_table[field].kind) {
	case FIELD_KIND_NUMBER:
		memcpy(&number, p, sizeof number);
		*bytes = (uint32_t)number_text(text, number);
		return (const uint8_t *)text;
	case FIELD_KIND_DECIMAL:
		record_decimal(rec, field, &millionths);
		*bytes = (uint32_t)decimal_text(text, millionths);
		return (const uint8_t *)text;
	case FIELD_KIND_TIME: /* there is one: the event's */
		*bytes = (uint32_t)integer_text(text, rec->event_time_ms);
		return (const uint8_t *)text;
	case FIELD_KIND_UUID: /* there is one: the event's */
		*bytes = (uint32_t)uuid_text(text, rec->event_id);
		return (const uint8_t *)text;
	default: /* TEXT, OBJECT */
		return p;
	}
}

uint32_t row_key_make(uint8_t *out, uint32_t cap, const enum field_id *group, uint32_t group_count,
	const struct record *rec)
{
	char text[DECIMAL_TEXT_BYTES];
	uint32_t used = 0;

	for (uint32_t i = 0; i < group_count; i++) {
		uint32_t bytes;
		const uint8_t *p = row_key_field(rec, group[i], text, &bytes);

		if (!row_key_add(out, cap, &used, p, bytes))
			return 0;
	}
	return used;
}

bool row_key_part(const struct row *row, uint32_t index, const uint8_t **data, uint32_t *bytes)
{
	const uint8_t *key = row_key(row);
	uint32_t at = 0;

	for (uint32_t i = 0; at < row->key_bytes; i++) {
		uint16_t n;

		memcpy(&n, key + at, sizeof n);
		at += (uint32_t)sizeof n;
		*bytes = n == ROW_KEY_ABSENT ? 0 : n;
		*data = n == ROW_KEY_ABSENT ? NULL : key + at;
		if (i == index)
			return true;
		at += *bytes;
	}
	*data = NULL;
	*bytes = 0;
	return false;
}
