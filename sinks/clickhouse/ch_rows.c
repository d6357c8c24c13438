/* From records to blocks of rows. Adding is all or nothing. */
#include "ch_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alert.h"
#include "ch_source_priv.h"
#include "ch_window.h"
#include "record_key.h"

/* A row's columns take so many times its packed bytes at most: registers are 3 bytes for 6 bits. */
#define ROW_GROWTH 8u
/* The same of an alert: 16 bytes or more become the text of an address, and an id. */
#define EVIDENCE_GROWTH (ADDRESS_TEXT_BYTES / 16u + 1)

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
	for (uint32_t i = 0; i < rows->block_count; i++) {
		native_block_clear(&rows->block[i]->native);
		rows->block[i]->held_count = 0;
	}
	rows->block_count = 0;
	rows->row_count = rows->row_bytes = 0;
	rows->edition++;
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
	for (uint32_t i = 0; i < rows->window_count; i++)
		ch_window_free(rows->window[i]);
	free(rows->window);
	rows->window = NULL;
	rows->window_count = 0;
	free(rows->item);
	rows->item = NULL;
	ruleset_stand_leave(&rows->ruleset, rows->rules);
}

/* ---- blocks ---- */

static void block_set_columns(struct ch_block *block)
{
	const struct ch_table *table = block->table;

	native_block_init(&block->native);
	for (uint32_t i = 0; i < table->column_count; i++)
		native_column_add(&block->native, table->column[i].name, table->column[i].type);
}

static struct ch_block *block_find(struct ch_rows *rows, const struct ch_table *table, int64_t time_ms)
{
	for (uint32_t i = rows->block_count; i > 0; i--) {
		struct ch_block *block = rows->block[i - 1];

		if (block->table == table && time_ms >= block->from_ms && time_ms < block->to_ms)
			return block;
	}
	return NULL;
}

/* Puts a block in place `block_count`: a spare of the same table, another spare made new, or fresh memory. */
static struct ch_block *block_new(struct ch_rows *rows, const struct ch_table *table, int64_t time_ms)
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
	block->month = ch_month_of(time_ms);
	ch_month_span(time_ms, &block->from_ms, &block->to_ms);
	block->time_min_ms = INT64_MAX;
	block->time_max_ms = INT64_MIN;
	rows->block_count++;
	return block;
}

static struct ch_block *block_get(struct ch_rows *rows, const struct ch_table *table, int64_t time_ms)
{
	struct ch_block *block = block_find(rows, table, time_ms);

	if (!block)
		block = block_new(rows, table, time_ms);
	if (block && time_ms < block->time_min_ms)
		block->time_min_ms = time_ms;
	if (block && time_ms > block->time_max_ms)
		block->time_max_ms = time_ms;
	return block;
}

static int table_put(struct ch_rows *rows, enum ch_table_id id, int64_t time_ms, const struct ch_source *src)
{
	const struct ch_table *table = ch_table_get(id);
	struct ch_block *block = block_get(rows, table, ch_time_clamp(time_ms));

	if (!block)
		return -ENOMEM;
	ch_put_record(&block->native, table, src);
	rows->row_count++;
	return block->native.failed ? -ENOMEM : 0;
}

static int block_settle(const struct ch_rows *rows, struct ch_block *block)
{
	struct ch_run run;

	if (!block->held_count)
		return 0;
	run = ch_run_of(rows, block->held, block->held_count);
	block->held_count = 0;
	ch_put_events(&block->native, block->table, &run);
	return block->native.failed ? -ENOMEM : 0;
}

int ch_rows_settle(struct ch_rows *rows, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < rows->block_count; i++)
		rc |= block_settle(rows, rows->block[i]);
	return rc ? err_set(err, -ENOMEM, "clickhouse: no memory for rows") : 0;
}

/* A table of events: all of its rows come this way, so that their order is that of the records. */
static int event_hold(struct ch_rows *rows, const struct ch_source *src)
{
	const struct record *rec = src->rec;
	struct ch_block *block =
		block_get(rows, ch_table_get(ch_table_of_type(rec->type)), ch_time_clamp(rec->event_time_ms));

	if (!block)
		return -ENOMEM;
	block->held[block->held_count++] = (struct ch_row_at){rec, record_payload(rec), src->offset};
	rows->row_count++;
	return block->held_count == CH_RUN_MAX ? block_settle(rows, block) : 0;
}

/* ---- records ---- */

/* Makes rows->ruleset the one that the record's hits mean, and checks each hit against it. */
static int ruleset_load(
	struct ch_rows *rows, const struct record *rec, uint64_t offset, uint32_t generation, struct err *err)
{
	if (!rec->hit_count)
		return 0;
	if (!rows->ruleset.rs || rows->ruleset.generation != generation) {
		int rc = ch_rows_settle(rows, err); /* the tags of those are of the ruleset until now */

		if (rc)
			return rc;
		if (!rows->rules)
			return err_set(err, -EINVAL,
				"clickhouse: partition %u offset %lu has rule hits, but there are no "
				"rulesets",
				rows->partition, offset);
		if (!ruleset_stand_at(&rows->ruleset, rows->rules, generation, err)) {
			err_prefix(err, "clickhouse: ruleset generation %u of partition %u offset %lu",
				generation, rows->partition, offset);
			return -EINVAL;
		}
	}
	for (uint32_t i = 0; i < rec->hit_count; i++)
		if (record_hits(rec)[i] >= ruleset_match_count(rows->ruleset.rs))
			return err_set(err, -EINVAL,
				"clickhouse: partition %u offset %lu: hit of rule %u, but ruleset generation "
				"%u has only %u rules and steps",
				rows->partition, offset, record_hits(rec)[i], generation,
				ruleset_match_count(rows->ruleset.rs));
	return 0;
}

const struct rule_info *ch_rows_rule(const struct ch_rows *rows, uint16_t hit)
{
	return hit < ruleset_rule_count(rows->ruleset.rs) ? ruleset_rule(rows->ruleset.rs, hit) : NULL;
}

/* Bytes of memory that the record's rows will take at most, about. */
static uint64_t record_weight(const struct ch_rows *rows, const struct record *rec)
{
	uint64_t weight = rec->bytes + 256;

	for (uint32_t i = 0; i < rec->hit_count; i++) {
		const struct rule_info *rule = ch_rows_rule(rows, record_hits(rec)[i]);

		weight += rule ? strlen(rule->id) + 16 : 0;
		if (rule && rule_alerts(rule))
			weight += 512;
	}
	return weight;
}

static bool range_full(const struct ch_rows *rows, const struct record *rec, uint64_t weight)
{
	if (rows->row_count == 0)
		return false;
	/* A record needs two blocks at most: its raw row's and its alerts'. */
	return rows->block_count + 2 > CH_BLOCKS_MAX ||
	       (!rows->resent && rows->row_bytes + weight > CH_ROW_BYTES_MAX) ||
	       rows->row_count + 1 + rec->hit_count > CH_ROWS_MAX;
}

static void record_taken(struct ch_rows *rows, const struct record *rec, uint64_t weight)
{
	rows->row_bytes += weight;
	if (rec->receive_time_ms > rows->tally.last_time_ms)
		rows->tally.last_time_ms = rec->receive_time_ms;
}

static int alerts_add(struct ch_rows *rows, struct ch_source *src, struct err *err)
{
	struct address at = {rows->node, rows->epoch, rows->partition, src->offset};
	const struct record *rec = src->rec;
	struct record_key key;
	struct alert alert;

	record_key_of(&key, rec);
	for (uint32_t i = 0; i < rec->hit_count; i++) {
		int rc = alert_of_hit(
			&alert, rec, i, &key, &at, rows->ruleset.rs, rows->ruleset.generation, err);

		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		src->alert = &alert;
		rc = table_put(rows, CH_TABLE_alerts, rec->event_time_ms, src);
		src->alert = NULL;
		if (rc)
			return err_set(err, rc, "clickhouse: no memory for rows");
		rows->tally.alerts++;
	}
	return 0;
}

static int event_add(struct ch_rows *rows, struct ch_source *src, struct err *err)
{
	if (src->rec->flags & RECORD_F_SUPPRESSED) {
		rows->tally.suppressed++;
	} else {
		int rc = event_hold(rows, src);

		if (rc)
			return err_set(err, rc, "clickhouse: no memory for rows");
		rows->tally.events++;
	}
	return src->rec->hit_count ? alerts_add(rows, src, err) : 0;
}

/* A record of the journal. */
static int input_add(struct ch_rows *rows, struct ch_source *src, uint32_t generation, struct err *err)
{
	const struct record *rec = src->rec;
	uint64_t weight;
	int rc;

	if (rec->kind != RECORD_EVENT && rec->kind != RECORD_REFUSED) {
		record_taken(rows, rec, 0); /* its time: without traffic there are no others */
		rows->tally.other++;
		return 0;
	}
	rc = rec->kind == RECORD_EVENT ? ruleset_load(rows, rec, src->offset, generation, err) : 0;
	if (rc)
		return rc;
	weight = rec->kind == RECORD_EVENT ? record_weight(rows, rec) : rec->bytes;
	if (range_full(rows, rec, weight))
		return 1;
	record_taken(rows, rec, weight);
	if (rec->kind == RECORD_EVENT)
		return event_add(rows, src, err);
	rc = table_put(rows, CH_TABLE_dead_letters, rec->receive_time_ms, src);
	if (rc)
		return err_set(err, rc, "clickhouse: no memory for rows");
	rows->tally.dead++;
	return 0;
}

/* ---- the state stage's output ---- */

/* The table of a window; made when a row first names it. */
static int window_get(
	struct ch_rows *rows, uint64_t uid, uint64_t offset, struct ch_window **out, struct err *err)
{
	const struct window_def *def = rows->plan ? window_plan_find(rows->plan, uid) : NULL;
	struct ch_window **list;
	int rc;

	for (uint32_t i = 0; i < rows->window_count; i++)
		if (rows->window[i]->def->uid == uid) {
			*out = rows->window[i];
			return 0;
		}
	if (!def)
		def = window_store_get(rows->windows, uid, err);
	if (!def) {
		err_prefix(err, "clickhouse: partition %u offset %lu of the output log names window %016lx",
			rows->partition, offset, uid);
		return -EINVAL;
	}
	list = realloc(rows->window, (rows->window_count + 1) * sizeof *list);
	if (list)
		rows->window = list;
	if (!rows->item)
		rows->item = malloc(AGG_REGISTERS_MAX * sizeof *rows->item);
	if (!list || !rows->item)
		return err_set(err, -ENOMEM, "clickhouse: no memory for rows");
	rc = ch_window_make(&list[rows->window_count], def, err);
	if (rc)
		return rc;
	*out = list[rows->window_count++];
	/* Tables of windows in force were checked before the sink began. */
	(*out)->checked = rows->plan && window_plan_find(rows->plan, uid) ? UINT32_MAX : 0;
	return 0;
}

/* -EINVAL for a row that cannot be added, before anything of it is. */
static int window_row_check(const struct ch_rows *rows, const struct ch_source *src, struct err *err)
{
	const struct row *row = row_of(src->rec);
	const struct ch_window *w = src->window;
	const char *fault = NULL;

	if (w->merges && row->revision && !row->delta_bytes)
		fault = "has a revision without a difference";
	else if (!agg_packed_valid(w->def->aggs, row_agg(row), row->agg_bytes) ||
		 (row->delta_bytes && !agg_packed_valid(w->def->aggs, row_delta(row), row->delta_bytes)))
		fault = "has other aggregates than its definition";
	if (!fault)
		return 0;
	return err_set(err, -EINVAL,
		"clickhouse: partition %u offset %lu of the output log: row of window %s %s", rows->partition,
		src->offset, w->def->name, fault);
}

static int window_row_add(struct ch_rows *rows, struct ch_source *src, struct err *err)
{
	const struct row *row = row_of(src->rec);
	struct ch_window *w = NULL;
	struct ch_block *block;
	int rc = window_get(rows, row->window_uid, src->offset, &w, err);

	if (rc)
		return rc;
	if (!w->def->to_clickhouse) {
		rows->tally.suppressed++;
		return 0;
	}
	src->window = w;
	rc = window_row_check(rows, src, err);
	if (rc)
		return rc;
	if (range_full(rows, src->rec, ROW_GROWTH * (uint64_t)src->rec->bytes))
		return 1;
	record_taken(rows, src->rec, ROW_GROWTH * (uint64_t)src->rec->bytes);
	block = block_get(rows, &w->table, ch_time_clamp(row->start_ms));
	if (!block)
		return err_set(err, -ENOMEM, "clickhouse: no memory for rows");
	rc = ch_put_row(&block->native, src, rows->item, err);
	if (rc || block->native.failed) {
		block->native.failed = true;
		return rc ? rc : err_set(err, -ENOMEM, "clickhouse: no memory for rows");
	}
	rows->row_count++;
	rows->tally.rows++;
	return 0;
}

/* Name of a window that an alert or late event is about; what cannot be found is no reason to hold it back.
 */
static const char *window_name(const struct ch_rows *rows, uint64_t uid)
{
	const struct window_def *def = rows->plan ? window_plan_find(rows->plan, uid) : NULL;
	struct err err;

	if (!def && uid && rows->windows)
		def = window_store_get(rows->windows, uid, &err);
	return def ? def->name : "";
}

static int output_record_add(struct ch_rows *rows, struct ch_source *src, struct err *err)
{
	bool late = src->rec->kind == RECORD_LATE;
	/* An address is text here. */
	uint64_t weight = src->rec->bytes * (late ? 1ull : EVIDENCE_GROWTH) + 512;
	int rc;

	if (range_full(rows, src->rec, weight))
		return 1;
	record_taken(rows, src->rec, weight);
	src->window_name =
		window_name(rows, late ? row_late_window(src->rec) : row_alert_of(src->rec)->window_uid);
	rc = table_put(rows, late ? CH_TABLE_events_late : CH_TABLE_alerts, src->rec->event_time_ms, src);
	if (rc)
		return err_set(err, rc, "clickhouse: no memory for rows");
	rows->tally.late += late;
	rows->tally.alerts += !late;
	return 0;
}

/* Partial rows and marks are the merge stage's business. */
static int output_add(struct ch_rows *rows, struct ch_source *src, struct err *err)
{
	const struct record *rec = src->rec;
	bool row = rec->kind == RECORD_ROW;

	if (rec->kind != RECORD_LATE && (!row || row_partial(rec))) {
		record_taken(rows, rec, 0); /* its time only: most of a partition may be such records */
		rows->tally.other++;
		return 0;
	}
	if (!row_valid(rec))
		return err_set(err, -EINVAL,
			"clickhouse: partition %u offset %lu of the output log is no well-formed row",
			rows->partition, src->offset);
	return row && !row_is_alert(rec) ? window_row_add(rows, src, err) : output_record_add(rows, src, err);
}

int ch_rows_hold(
	struct ch_rows *rows, const struct record *rec, uint64_t offset, uint32_t generation, struct err *err)
{
	struct ch_source src = {.rows = rows, .rec = rec, .offset = offset, .window_name = ""};

	return rows->log == SINK_LOG_OUTPUT ? output_add(rows, &src, err)
					    : input_add(rows, &src, generation, err);
}

int ch_rows_add(
	struct ch_rows *rows, const struct record *rec, uint64_t offset, uint32_t generation, struct err *err)
{
	int rc = ch_rows_hold(rows, rec, offset, generation, err);

	return rc ? rc : ch_rows_settle(rows, err);
}
