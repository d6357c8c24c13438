/* From records to column values: events, alerts, dead letters, late events. Rows: ch_row_values.c. */
#include <assert.h>
#include <string.h>

#include "alert.h"
#include "ch_source_priv.h"
#include "drops.h"
#include "extra_keys.h"
#include "record_key.h"
#include "row_json.h"

static void put_chars(struct native_block *b, uint32_t column, const char *text)
{
	native_put_text(b, column, text, strlen(text));
}

/* The value of each row, as `type`, in a column of that native type. */
#define PUT_EACH(b, i, native, run, type, value)                                                             \
	do {                                                                                                 \
		type *put_to = native_put_room(b, i, native, (run)->count);                                  \
                                                                                                             \
		for (uint32_t put_k = 0; put_to && put_k < (run)->count; put_k++) {                          \
			const struct ch_row_at *at = &(run)->at[put_k];                                      \
                                                                                                             \
			put_to[put_k] = (type)(value);                                                       \
		}                                                                                            \
	} while (0)

struct ch_run ch_run_of(const struct ch_rows *rows, const struct ch_row_at *at, uint32_t count)
{
	struct ch_run run = {.rows = rows, .at = at, .count = count};

	for (uint32_t k = 0; k < count; k++) {
		run.fields |= at[k].rec->field_mask;
		run.hits |= at[k].rec->hit_count != 0;
		run.others |= !(at[k].rec->flags & RECORD_F_KNOWN);
	}
	return run;
}

static void put_field_texts(
	struct native_block *b, uint32_t column, enum field_id field, const struct ch_run *run)
{
	struct native_text text[CH_RUN_MAX];

	if (!(run->fields >> field & 1)) { /* columns of other types, and of what is not enriched */
		native_put_same_text(b, column, NULL, 0, run->count);
		return;
	}
	for (uint32_t k = 0; k < run->count; k++) {
		uint32_t bytes;

		text[k].data = record_field_in(run->at[k].rec, run->at[k].payload, field, &bytes);
		text[k].bytes = bytes;
	}
	native_put_texts(b, column, text, run->count);
}

/* Doubles, or millionths: 8 bytes as they stand in the record. */
static void put_field_numbers(struct native_block *b, uint32_t column, enum native_type type,
	enum field_id field, const struct ch_run *run)
{
	uint8_t *null;
	uint64_t *to;

	if (!(run->fields >> field & 1)) {
		native_put_nulls(b, column, run->count);
		return;
	}
	to = native_put_room_null(b, column, type, run->count, &null);
	for (uint32_t k = 0; to && k < run->count; k++) {
		uint32_t bytes;
		const uint8_t *data = record_field_in(run->at[k].rec, run->at[k].payload, field, &bytes);

		null[k] = !data;
		to[k] = 0;
		if (data)
			memcpy(&to[k], data, sizeof to[k]);
	}
}

static void put_field(struct native_block *b, uint32_t column, enum field_id field, const struct ch_run *run)
{
	enum native_type type = b->column[column].type;

	switch (type) {
	case NATIVE_STRING:
	case NATIVE_LC_STRING:
		put_field_texts(b, column, field, run);
		break;
	case NATIVE_FLOAT64_NULL:
	case NATIVE_DECIMAL6_NULL:
		put_field_numbers(b, column, type, field, run);
		break;
	default:
		assert(!"a field kind without a column");
	}
}

/* Ids of the rules that hit with tag or alert. */
static void put_tags(
	struct native_block *b, uint32_t column, const struct ch_rows *rows, const struct record *rec)
{
	const uint16_t *hit = record_hits(rec);

	for (uint32_t i = 0; i < rec->hit_count; i++) {
		const struct rule_info *rule = ch_rows_rule(rows, hit[i]);

		if (rule && rule_tags(rule))
			native_put_item_text(b, column, rule->id, strlen(rule->id));
	}
	native_put_array_end(b, column);
}

#define EXTRA_USUAL 2000u /* raw bytes */

static __attribute__((noinline)) void put_extra_long(
	struct native_block *b, uint32_t column, const struct record *rec)
{
	char text[EVENT_BYTES_MAX + 2];
	size_t bytes = extra_keys_json(text, sizeof text, rec);

	native_put_text(b, column, text, bytes);
}

static __attribute__((noinline)) void put_extra_usual(
	struct native_block *b, uint32_t column, const struct record *rec)
{
	char text[EXTRA_USUAL + 2]; /* a stack of 64 KiB would be touched page by page */
	size_t bytes = extra_keys_json(text, sizeof text, rec);

	native_put_text(b, column, text, bytes);
}

static void put_extra(struct native_block *b, uint32_t column, const struct record *rec)
{
	if (rec->flags & RECORD_F_KNOWN)
		native_put_text(b, column, NULL, 0);
	else if (rec->raw_bytes <= EXTRA_USUAL)
		put_extra_usual(b, column, rec);
	else
		put_extra_long(b, column, rec);
}

static const char *type_name(const struct record *rec)
{
	const char *name = rec->type < EVENT_TYPE_MAX ? type_table[rec->type].name : NULL;

	return name ? name : "";
}

static const char *reason_name(const struct record *rec)
{
	const char *name = rec->reason < DROP_ID_MAX ? drop_table[rec->reason].name : NULL;

	return name ? name : "";
}

static const char *reason_field_name(const struct record *rec)
{
	const char *name = rec->reason_field < FIELD_ID_MAX ? field_table[rec->reason_field].name : NULL;

	return name ? name : "";
}

static void put_ids(struct native_block *b, uint32_t column, const struct ch_run *run)
{
	uint64_t *to = native_put_room(b, column, NATIVE_UUID, run->count);

	for (uint32_t k = 0; to && k < run->count; k++)
		native_uuid(to + 2 * (size_t)k, run->at[k].rec->event_id);
}

static void put_sources(struct native_block *b, uint32_t column, const struct ch_run *run)
{
	uint8_t *to = native_put_room(b, column, NATIVE_IPV6, run->count);

	for (uint32_t k = 0; to && k < run->count; k++)
		memcpy(to + 16 * (size_t)k, run->at[k].rec->src_addr, 16);
}

static void put_alert_value(struct native_block *b, uint32_t i, enum ch_value value,
	const struct alert *alert, const uint8_t event_id[16])
{
	switch (value) {
	case CH_VALUE_ALERT_ID:
		put_chars(b, i, alert->id);
		break;
	case CH_VALUE_RULE_ID:
		put_chars(b, i, alert->rule_id);
		break;
	case CH_VALUE_TITLE:
		put_chars(b, i, alert->title);
		break;
	case CH_VALUE_SEVERITY:
		put_chars(b, i, alert->severity);
		break;
	case CH_VALUE_GENERATION:
		native_put_uint(b, i, alert->generation);
		break;
	case CH_VALUE_RULESET:
		put_chars(b, i, alert->version);
		break;
	case CH_VALUE_KEY:
		native_put_text(b, i, alert->key->data, alert->key->bytes);
		break;
	case CH_VALUE_FIRST_TIME:
		native_put_time(b, i, ch_time_clamp(alert->first_time_ms));
		break;
	case CH_VALUE_LAST_TIME:
		native_put_time(b, i, ch_time_clamp(alert->last_time_ms));
		break;
	case CH_VALUE_SCORE:
	case CH_VALUE_NUMBER:
	case CH_VALUE_EXPECTED:
		native_put_null(b, i);
		break;
	case CH_VALUE_EVIDENCE:
		native_put_item_text(b, i, alert->evidence, strlen(alert->evidence));
		native_put_array_end(b, i);
		break;
	case CH_VALUE_EVIDENCE_IDS:
		native_put_item_uuid(b, i, event_id);
		native_put_array_end(b, i);
		break;
	case CH_VALUE_EVIDENCE_TOTAL:
		native_put_uint(b, i, 1);
		break;
	default:
		assert(!"a value that no row has");
	}
}

/* As Kafka has it, but '' where an address is not known; ids only where there are any. */
static void put_evidence(struct native_block *b, uint32_t i, const struct ch_source *src)
{
	for (uint32_t k = 0; k < row_alert_of(src->rec)->evidence_count; k++) {
		struct row_rule_evidence e = row_alert_evidence(src->rec, k);
		struct address at = {src->rows->node, src->rows->input_epoch, e.partition, e.offset};
		char text[ADDRESS_TEXT_BYTES];

		native_put_item_text(b, i, text, e.partition == UINT32_MAX ? 0 : address_text(text, &at));
	}
	native_put_array_end(b, i);
}

static void put_evidence_ids(struct native_block *b, uint32_t i, const struct record *rec)
{
	for (uint32_t k = 0; row_rule_alert_of(rec) && k < row_alert_of(rec)->evidence_count; k++)
		native_put_item_uuid(b, i, row_alert_evidence(rec, k).event_id);
	native_put_array_end(b, i);
}

/* An alert that the state stage made; nothing of it comes from a ruleset or a single event. */
static void put_state_alert_value(
	struct native_block *b, uint32_t i, enum ch_value value, const struct ch_source *src)
{
	static const struct {
		enum ch_value value;
		enum row_text text;
	} text_of[] = {{CH_VALUE_RULE_ID, ROW_TEXT_RULE}, {CH_VALUE_TITLE, ROW_TEXT_TITLE},
		{CH_VALUE_SEVERITY, ROW_TEXT_SEVERITY}, {CH_VALUE_KEY, ROW_TEXT_KEY},
		{CH_VALUE_RULESET, ROW_TEXT_VERSION}};
	const struct row_rule_alert *rule = row_rule_alert_of(src->rec);
	const struct row_alert *a = row_alert_of(src->rec);
	char id[ADDRESS_TEXT_BYTES];
	uint32_t bytes;

	for (size_t k = 0; k < sizeof text_of / sizeof *text_of; k++)
		if (text_of[k].value == value) {
			const char *text = row_alert_text(src->rec, text_of[k].text, &bytes);

			native_put_text(b, i, text, bytes);
			return;
		}
	switch (value) {
	case CH_VALUE_ALERT_ID:
		row_alert_id(id, a);
		put_chars(b, i, id);
		break;
	case CH_VALUE_GENERATION:
		native_put_uint(b, i, rule ? rule->generation : 0);
		break;
	case CH_VALUE_TYPE:
		native_put_text(b, i, "", 0);
		break;
	case CH_VALUE_FIRST_TIME:
		native_put_time(b, i, ch_time_clamp(a->first_ms));
		break;
	case CH_VALUE_LAST_TIME:
		native_put_time(b, i, ch_time_clamp(a->last_ms));
		break;
	case CH_VALUE_SCORE:
		native_put_double(b, i, a->score);
		break;
	case CH_VALUE_NUMBER:
		native_put_double(b, i, a->value);
		break;
	case CH_VALUE_EXPECTED:
		native_put_double(b, i, a->expected);
		break;
	case CH_VALUE_EVIDENCE:
		put_evidence(b, i, src);
		break;
	case CH_VALUE_EVIDENCE_IDS:
		put_evidence_ids(b, i, src->rec);
		break;
	case CH_VALUE_EVIDENCE_TOTAL:
		native_put_uint(b, i, a->evidence_total);
		break;
	default:
		assert(!"a value that no alert of the state stage has");
	}
}

static void put_late_value(
	struct native_block *b, uint32_t i, enum ch_value value, const struct ch_source *src)
{
	struct record_key key;

	switch (value) {
	case CH_VALUE_KEY:
		record_key_of(&key, src->rec);
		native_put_text(b, i, key.data, key.bytes);
		break;
	case CH_VALUE_INPUT_EPOCH:
		native_put_uint(b, i, src->rows->input_epoch);
		break;
	case CH_VALUE_INPUT_PARTITION:
		native_put_uint(b, i, src->rows->partition);
		break;
	case CH_VALUE_INPUT_OFFSET:
		native_put_uint(b, i, row_late_offset(src->rec));
		break;
	default:
		assert(!"a value that no late event has");
	}
}

/* What the record itself says. False if the column is another. */
static bool put_own(
	struct native_block *b, uint32_t i, const struct ch_column *column, const struct ch_run *run)
{
	switch (column->value) {
	case CH_VALUE_FIELD:
		put_field(b, i, column->field, run);
		return true;
	case CH_VALUE_EVENT_ID:
		put_ids(b, i, run);
		return true;
	case CH_VALUE_EVENT_TIME:
		PUT_EACH(b, i, NATIVE_DATETIME64_MS, run, int64_t, ch_time_clamp(at->rec->event_time_ms));
		return true;
	case CH_VALUE_TYPE:
		for (uint32_t k = 0; k < run->count; k++)
			put_chars(b, i, type_name(run->at[k].rec));
		return true;
	case CH_VALUE_EXTRA:
		if (!run->others)
			native_put_same_text(b, i, NULL, 0, run->count);
		for (uint32_t k = 0; run->others && k < run->count; k++)
			put_extra(b, i, run->at[k].rec);
		return true;
	case CH_VALUE_TAGS:
		if (!run->hits)
			native_put_empty(b, i, run->count);
		for (uint32_t k = 0; run->hits && k < run->count; k++)
			put_tags(b, i, run->rows, run->at[k].rec);
		return true;
	default:
		return false;
	}
}

static void put_letter_value(
	struct native_block *b, uint32_t i, enum ch_value value, const struct ch_source *src)
{
	const struct record *rec = src->rec;

	switch (value) {
	case CH_VALUE_REASON:
		put_chars(b, i, reason_name(rec));
		break;
	case CH_VALUE_REASON_FIELD:
		put_chars(b, i, reason_field_name(rec));
		break;
	case CH_VALUE_RAW:
		native_put_text(b, i, record_payload(rec), rec->raw_bytes);
		break;
	case CH_VALUE_CUT:
		native_put_uint(b, i, (rec->flags & RECORD_F_CUT) != 0);
		break;
	case CH_VALUE_WINDOW:
		put_chars(b, i, src->window_name);
		break;
	default:
		if (src->alert)
			put_alert_value(b, i, value, src->alert, rec->event_id);
		else
			put_late_value(b, i, value, src);
	}
}

bool ch_put_common(struct native_block *b, uint32_t i, enum ch_value value, const struct ch_run *run)
{
	const struct ch_rows *rows = run->rows;

	switch (value) {
	case CH_VALUE_FLAGS:
		PUT_EACH(b, i, NATIVE_UINT16, run, uint16_t, at->rec->flags & ~(unsigned)RECORD_F_KNOWN);
		return true;
	case CH_VALUE_RECEIVE_TIME:
		PUT_EACH(b, i, NATIVE_DATETIME64_MS, run, int64_t, ch_time_clamp(at->rec->receive_time_ms));
		return true;
	case CH_VALUE_SOURCE:
		put_sources(b, i, run);
		return true;
	case CH_VALUE_SOURCE_PORT:
		PUT_EACH(b, i, NATIVE_UINT16, run, uint16_t, at->rec->src_port);
		return true;
	case CH_VALUE_LISTENER_PORT:
		PUT_EACH(b, i, NATIVE_UINT16, run, uint16_t, at->rec->dst_port);
		return true;
	case CH_VALUE_NODE:
		native_put_same_text(b, i, rows->node, strlen(rows->node), run->count);
		return true;
	case CH_VALUE_EPOCH:
		PUT_EACH(b, i, NATIVE_UINT64, run, uint64_t, ((void)at, rows->epoch));
		return true;
	case CH_VALUE_PARTITION:
		PUT_EACH(b, i, NATIVE_UINT16, run, uint16_t, ((void)at, rows->partition));
		return true;
	case CH_VALUE_OFFSET:
		PUT_EACH(b, i, NATIVE_UINT64, run, uint64_t, at->offset);
		return true;
	default:
		return false;
	}
}

void ch_put_events(struct native_block *b, const struct ch_table *table, const struct ch_run *run)
{
	for (uint32_t i = 0; i < table->column_count; i++) {
		const struct ch_column *column = &table->column[i];
		bool put = put_own(b, i, column, run) || ch_put_common(b, i, column->value, run);

		assert(put);
		(void)put;
	}
	native_rows_end(b, run->count);
}

void ch_put_record(struct native_block *b, const struct ch_table *table, const struct ch_source *src)
{
	const struct ch_row_at at = {src->rec, record_payload(src->rec), src->offset};
	const struct ch_run run = ch_run_of(src->rows, &at, 1);
	bool state_alert = src->rec->kind == RECORD_ROW;

	for (uint32_t i = 0; i < table->column_count; i++) {
		const struct ch_column *column = &table->column[i];
		bool common = column->value == CH_VALUE_EVENT_ID || column->value == CH_VALUE_EVENT_TIME ||
			      column->value == CH_VALUE_WINDOW;

		if (ch_put_common(b, i, column->value, &run))
			continue;
		if (state_alert && !common)
			put_state_alert_value(b, i, column->value, src);
		else if (!put_own(b, i, column, &run))
			put_letter_value(b, i, column->value, src);
	}
	native_row_end(b);
}
