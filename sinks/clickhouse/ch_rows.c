/* From records to columns. Adding is all or nothing: the blocks that a record needs are found first. */
#include "ch_rows.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alert.h"
#include "drops.h"
#include "extra_keys.h"
#include "record_key.h"

/* Everything that the columns of one row may ask for. */
struct row {
	const struct ch_rows *rows;
	const struct record *rec;
	uint64_t offset;
	const struct alert *alert; /* rows of alerts */
};

void ch_rows_init(struct ch_rows *rows, const char *node, uint64_t epoch, uint32_t partition,
	struct ruleset_store *rules)
{
	memset(rows, 0, sizeof *rows);
	rows->node = node;
	rows->epoch = epoch;
	rows->partition = partition;
	rows->rules = rules;
}

void ch_rows_clear(struct ch_rows *rows)
{
	for (uint32_t i = 0; i < rows->block_count; i++)
		native_block_clear(&rows->block[i]->native);
	rows->block_count = 0;
	rows->row_count = rows->row_bytes = 0;
	memset(&rows->tally, 0, sizeof rows->tally);
}

void ch_rows_free(struct ch_rows *rows)
{
	for (uint32_t i = 0; i < CH_BLOCKS_MAX; i++) {
		if (!rows->block[i])
			continue;
		native_block_free(&rows->block[i]->native);
		free(rows->block[i]);
		rows->block[i] = NULL;
	}
	rows->block_count = 0;
}

/* ---- blocks ---- */

static void block_set_columns(struct ch_block *block)
{
	const struct ch_table *table = ch_table_get(block->table);

	native_block_init(&block->native);
	for (uint32_t i = 0; i < table->column_count; i++)
		native_column_add(&block->native, table->column[i].name, table->column[i].type);
}

static struct ch_block *block_find(struct ch_rows *rows, enum ch_table_id table, uint32_t month)
{
	for (uint32_t i = rows->block_count; i > 0; i--)
		if (rows->block[i - 1]->table == table && rows->block[i - 1]->month == month)
			return rows->block[i - 1];
	return NULL;
}

/* Puts a block in place `block_count`: a spare of the same table, another spare made new, or fresh memory. */
static struct ch_block *block_new(struct ch_rows *rows, enum ch_table_id table, uint32_t month)
{
	struct ch_block **place = &rows->block[rows->block_count];
	struct ch_block *block;

	for (uint32_t i = rows->block_count; i < CH_BLOCKS_MAX && rows->block[i]; i++) {
		if (rows->block[i]->table == table) {
			block = rows->block[i];
			rows->block[i] = *place;
			*place = block;
			break;
		}
	}
	if (!*place || (*place)->table != table) {
		if (!*place)
			*place = calloc(1, sizeof **place);
		else
			native_block_free(&(*place)->native);
		if (!*place)
			return NULL;
		(*place)->table = table;
		block_set_columns(*place);
	}
	block = *place;
	block->month = month;
	block->time_min_ms = INT64_MAX;
	block->time_max_ms = INT64_MIN;
	rows->block_count++;
	return block;
}

static struct ch_block *block_get(struct ch_rows *rows, enum ch_table_id table, int64_t time_ms)
{
	uint32_t month = ch_month_of(time_ms);
	struct ch_block *block = block_find(rows, table, month);

	if (!block)
		block = block_new(rows, table, month);
	if (block && time_ms < block->time_min_ms)
		block->time_min_ms = time_ms;
	if (block && time_ms > block->time_max_ms)
		block->time_max_ms = time_ms;
	return block;
}

/* ---- columns ---- */

static void put_chars(struct native_block *b, uint32_t column, const char *text)
{
	native_put_text(b, column, text, strlen(text));
}

static void put_field(struct native_block *b, uint32_t column, enum field_id field, const struct record *rec)
{
	uint32_t bytes;
	const uint8_t *data = record_field(rec, field, &bytes);
	enum native_type type = b->column[column].type;
	int64_t millionths;
	double number;

	switch (type) {
	case NATIVE_STRING:
	case NATIVE_LC_STRING:
		native_put_text(b, column, data, bytes);
		break;
	case NATIVE_FLOAT64_NULL:
		if (data) {
			memcpy(&number, data, sizeof number);
			native_put_double(b, column, number);
		} else {
			native_put_null(b, column);
		}
		break;
	case NATIVE_DECIMAL6_NULL:
		if (record_decimal(rec, field, &millionths))
			native_put_decimal(b, column, millionths);
		else
			native_put_null(b, column);
		break;
	default:
		assert(!"a field kind without a column");
	}
}

/* Ids of the rules that hit with tag or alert. */
static void put_tags(struct native_block *b, uint32_t column, const struct row *row)
{
	const uint16_t *hit = record_hits(row->rec);

	for (uint32_t i = 0; i < row->rec->hit_count; i++) {
		const struct rule_info *rule = ruleset_rule(row->rows->ruleset, hit[i]);

		if (rule->actions & (RULE_ACTION_TAG | RULE_ACTION_ALERT))
			native_put_item_text(b, column, rule->id, strlen(rule->id));
	}
	native_put_array_end(b, column);
}

static void put_extra(struct native_block *b, uint32_t column, const struct record *rec)
{
	char text[EVENT_BYTES_MAX + 2];
	size_t bytes = extra_keys_json(text, sizeof text, rec);

	native_put_text(b, column, text, bytes);
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

static void put_alert_value(
	struct native_block *b, uint32_t i, enum ch_value value, const struct alert *alert)
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
	default:
		assert(!"a value that no row has");
	}
}

static void put_event_value(
	struct native_block *b, uint32_t i, const struct ch_column *column, const struct row *row)
{
	const struct record *rec = row->rec;

	switch (column->value) {
	case CH_VALUE_FIELD:
		put_field(b, i, column->field, rec);
		break;
	case CH_VALUE_EVENT_ID:
		native_put_uuid(b, i, rec->event_id);
		break;
	case CH_VALUE_EVENT_TIME:
		native_put_time(b, i, ch_time_clamp(rec->event_time_ms));
		break;
	case CH_VALUE_TYPE:
		put_chars(b, i, type_name(rec));
		break;
	case CH_VALUE_EXTRA:
		put_extra(b, i, rec);
		break;
	case CH_VALUE_TAGS:
		put_tags(b, i, row);
		break;
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
	default:
		put_alert_value(b, i, column->value, row->alert);
	}
}

/* Address and arrival: what every table has. False if the column is another. */
static bool put_common_value(struct native_block *b, uint32_t i, enum ch_value value, const struct row *row)
{
	const struct record *rec = row->rec;

	switch (value) {
	case CH_VALUE_FLAGS:
		native_put_uint(b, i, rec->flags);
		return true;
	case CH_VALUE_RECEIVE_TIME:
		native_put_time(b, i, ch_time_clamp(rec->receive_time_ms));
		return true;
	case CH_VALUE_SOURCE:
		native_put_ipv6(b, i, rec->src_addr);
		return true;
	case CH_VALUE_SOURCE_PORT:
		native_put_uint(b, i, rec->src_port);
		return true;
	case CH_VALUE_LISTENER_PORT:
		native_put_uint(b, i, rec->dst_port);
		return true;
	case CH_VALUE_NODE:
		put_chars(b, i, row->rows->node);
		return true;
	case CH_VALUE_EPOCH:
		native_put_uint(b, i, row->rows->epoch);
		return true;
	case CH_VALUE_PARTITION:
		native_put_uint(b, i, row->rows->partition);
		return true;
	case CH_VALUE_OFFSET:
		native_put_uint(b, i, row->offset);
		return true;
	default:
		return false;
	}
}

static int row_put(struct ch_rows *rows, enum ch_table_id id, int64_t time_ms, const struct row *row)
{
	const struct ch_table *table = ch_table_get(id);
	struct ch_block *block = block_get(rows, id, ch_time_clamp(time_ms));

	if (!block)
		return -ENOMEM;
	for (uint32_t i = 0; i < table->column_count; i++)
		if (!put_common_value(&block->native, i, table->column[i].value, row))
			put_event_value(&block->native, i, &table->column[i], row);
	native_row_end(&block->native);
	rows->row_count++;
	return block->native.failed ? -ENOMEM : 0;
}

/* ---- records ---- */

/* Makes rows->ruleset the one that the record's hits mean, and checks each hit against it. */
static int ruleset_load(
	struct ch_rows *rows, const struct record *rec, uint64_t offset, uint32_t generation, struct err *err)
{
	if (!rec->hit_count)
		return 0;
	if (!rows->ruleset || rows->ruleset_generation != generation) {
		if (!rows->rules)
			return err_set(err, -EINVAL,
				"clickhouse: partition %u offset %lu has rule hits, but there are no "
				"rulesets",
				rows->partition, offset);
		rows->ruleset = ruleset_store_get(rows->rules, generation, err);
		if (!rows->ruleset) {
			err_prefix(err, "clickhouse: ruleset generation %u of partition %u offset %lu",
				generation, rows->partition, offset);
			return -EINVAL;
		}
		rows->ruleset_generation = generation;
	}
	for (uint32_t i = 0; i < rec->hit_count; i++)
		if (record_hits(rec)[i] >= ruleset_rule_count(rows->ruleset))
			return err_set(err, -EINVAL,
				"clickhouse: partition %u offset %lu: hit of rule %u, but ruleset generation "
				"%u has only %u rules",
				rows->partition, offset, record_hits(rec)[i], generation,
				ruleset_rule_count(rows->ruleset));
	return 0;
}

/* Bytes of memory that the record's rows will take at most, about. */
static uint64_t record_weight(const struct ch_rows *rows, const struct record *rec)
{
	uint64_t weight = rec->bytes + 256;

	for (uint32_t i = 0; i < rec->hit_count; i++) {
		const struct rule_info *rule = ruleset_rule(rows->ruleset, record_hits(rec)[i]);

		weight += strlen(rule->id) + 16;
		if (rule->actions & RULE_ACTION_ALERT)
			weight += 512;
	}
	return weight;
}

static bool range_full(const struct ch_rows *rows, const struct record *rec, uint64_t weight)
{
	if (rows->row_count == 0)
		return false;
	/* A record needs two blocks at most: its raw row's and its alerts'. */
	return rows->block_count + 2 > CH_BLOCKS_MAX || rows->row_bytes + weight > CH_ROW_BYTES_MAX ||
	       rows->row_count + 1 + rec->hit_count > CH_ROWS_MAX;
}

static int alerts_add(struct ch_rows *rows, struct row *row, struct err *err)
{
	struct address at = {rows->node, rows->epoch, rows->partition, row->offset};
	const struct record *rec = row->rec;
	struct record_key key;
	struct alert alert;

	record_key_of(&key, rec);
	for (uint32_t i = 0; i < rec->hit_count; i++) {
		int rc =
			alert_of_hit(&alert, rec, i, &key, &at, rows->ruleset, rows->ruleset_generation, err);

		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		row->alert = &alert;
		rc = row_put(rows, CH_TABLE_alerts, rec->event_time_ms, row);
		row->alert = NULL;
		if (rc)
			return err_set(err, rc, "clickhouse: no memory for rows");
		rows->tally.alerts++;
	}
	return 0;
}

static int event_add(struct ch_rows *rows, struct row *row, struct err *err)
{
	if (row->rec->flags & RECORD_F_SUPPRESSED) {
		rows->tally.suppressed++;
	} else {
		int rc = row_put(rows, ch_table_of_type(row->rec->type), row->rec->event_time_ms, row);

		if (rc)
			return err_set(err, rc, "clickhouse: no memory for rows");
		rows->tally.events++;
	}
	return alerts_add(rows, row, err);
}

int ch_rows_add(
	struct ch_rows *rows, const struct record *rec, uint64_t offset, uint32_t generation, struct err *err)
{
	struct row row = {rows, rec, offset, NULL};
	uint64_t weight;
	int rc;

	if (rec->kind != RECORD_EVENT && rec->kind != RECORD_REFUSED) {
		rows->tally.other++;
		return 0;
	}
	rc = rec->kind == RECORD_EVENT ? ruleset_load(rows, rec, offset, generation, err) : 0;
	if (rc)
		return rc;
	weight = rec->kind == RECORD_EVENT ? record_weight(rows, rec) : rec->bytes;
	if (range_full(rows, rec, weight))
		return 1;
	rows->row_bytes += weight;
	if (rec->receive_time_ms > rows->tally.last_time_ms)
		rows->tally.last_time_ms = rec->receive_time_ms;
	if (rec->kind == RECORD_EVENT)
		return event_add(rows, &row, err);
	rc = row_put(rows, CH_TABLE_dead_letters, rec->receive_time_ms, &row);
	if (rc)
		return err_set(err, rc, "clickhouse: no memory for rows");
	rows->tally.dead++;
	return 0;
}
