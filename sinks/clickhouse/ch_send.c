/* The INSERTs of a range, each with its token, and the questions to the server when nothing else can tell
 * what it has.
 *
 * Why not ask the server for max(_offset) and go on from there? It proves nothing: a range is several INSERTs
 * (tables, months), of which any may be missing below the maximum; suppressed records, ticks and control
 * records leave no row at all; and rows are deleted by TTL or by their owner. So the position is our own
 * file, and the server is only asked about exactly known ranges, or whether it has anything behind a
 * position. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ch_check.h"
#include "ch_ddl.h"
#include "ch_part_priv.h"
#include "clock.h"
#include "crash.h"
#include "log.h"

/* A repeated INSERT is recognised among the last clickhouse.dedup_window blocks of its table. Up to 100
 * blocks a second from all writers together, an age below dedup_window * 10 ms is safe without asking; older
 * ones are asked about. */
#define TRUST_MS_PER_BLOCK 10

/* Which block this is, or which piece of it, whoever sends it and whenever. */
static void token_text(char *out, size_t out_bytes, const struct ch_block *block, const struct ch_part *p,
	uint64_t from, uint64_t to)
{
	int n = snprintf(out, out_bytes, "%016lx/%s/%u/%s/%s/%06u/%lu-%lu", p->rows.epoch, p->rows.node,
		p->rows.partition, block->table->logs == CH_LOG_OUTPUT ? "rows" : "events",
		block->table->token, block->month, p->range.from, p->range.to);

	if (from != p->range.from || to != p->range.to)
		snprintf(out + n, out_bytes - (size_t)n, "/%lu-%lu", from, to);
}

/* "_node = ... AND _epoch = ... AND _partition = ..." */
static void where_partition(FILE *out, const struct ch_part *p)
{
	fputs("_node = ", out);
	ch_ddl_text(out, p->rows.node);
	fprintf(out, " AND _epoch = %lu AND _partition = %u", p->rows.epoch, p->rows.partition);
}

int ch_ask(struct ch_part *p, struct ch_statement *sql, const char *token, struct err *err)
{
	return ch_statement_run(sql, &p->http, token, p->http.timeout_ms, err);
}

int ch_ask_number(struct ch_part *p, struct ch_statement *sql, uint64_t *count, struct err *err)
{
	const char *body;
	char *end;
	int rc = ch_ask(p, sql, NULL, err);

	*count = 0;
	if (rc)
		return rc;
	body = p->http.answer.body;
	errno = 0;
	*count = strtoull(body, &end, 10);
	if (errno || end == body || strcmp(end, "\n") != 0)
		return err_set(err, -EPROTO, "clickhouse: answer is not the number that was asked for");
	return 0;
}

static void from_table(FILE *out, const struct ch_part *p, const struct ch_table *table, const char *what)
{
	fprintf(out, "SELECT %s FROM ", what);
	ch_ddl_name(out, p->cfg->database);
	fputc('.', out);
	ch_ddl_name(out, table->name);
	fputs(" WHERE ", out);
	where_partition(out, p);
}

static void where_block(FILE *out, const struct ch_block *block, uint64_t from, uint64_t to)
{
	const char *time = block->table->time;

	fprintf(out,
		" AND _offset >= %lu AND _offset < %lu AND %s >= fromUnixTimestamp64Milli(toInt64(%ld), "
		"'UTC') AND %s <= fromUnixTimestamp64Milli(toInt64(%ld), 'UTC')",
		from, to, time, block->time_min_ms, time, block->time_max_ms);
}

int ch_block_count(struct ch_part *p, const struct ch_block *block, uint64_t from, uint64_t to,
	uint64_t *count, struct err *err)
{
	struct ch_statement sql;

	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	from_table(sql.out, p, block->table, "count()");
	where_block(sql.out, block, from, to);
	fputs(CH_WHOLE_ANSWER, sql.out);
	return ch_ask_number(p, &sql, count, err);
}

int ch_block_there(struct ch_part *p, const struct ch_block *block, uint64_t from, uint64_t to, bool *there,
	struct err *err)
{
	uint64_t count = 0;
	struct ch_statement sql;
	int rc;

	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fputs("SELECT count() FROM (", sql.out);
	from_table(sql.out, p, block->table, "1");
	where_block(sql.out, block, from, to);
	fputs(" LIMIT 1)" CH_WHOLE_ANSWER, sql.out);
	rc = ch_ask_number(p, &sql, &count, err);
	*there = count != 0;
	return rc;
}

/* Rows of [from, to) in one table; 0 where rows have no addresses. */
static int table_rows(struct ch_part *p, const struct ch_table *table, uint64_t from, uint64_t to,
	uint64_t *count, struct err *err)
{
	struct ch_statement sql;

	*count = 0;
	if (table->aggregating)
		return 0;
	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	from_table(sql.out, p, table, "count()");
	fprintf(sql.out, " AND _offset >= %lu AND _offset < %lu" CH_WHOLE_ANSWER, from, to);
	return ch_ask_number(p, &sql, count, err);
}

int ch_rows_there(struct ch_part *p, uint64_t from, uint64_t to, uint64_t *rows, struct err *err)
{
	*rows = 0;
	for (uint32_t i = 0; i < p->catalog->count; i++) {
		uint64_t count;
		int rc = table_rows(p, &p->catalog->entry[i].table, from, to, &count, err);

		if (rc)
			return rc;
		*rows += count;
	}
	return 0;
}

int ch_position_check(struct ch_part *p, uint64_t position, struct err *err)
{
	for (uint32_t i = 0; i < p->catalog->count; i++) {
		const struct ch_table *table = &p->catalog->entry[i].table;
		uint64_t count;
		int rc = table_rows(p, table, position, UINT64_MAX, &count, err);

		if (rc)
			return rc;
		if (count)
			return err_set(err, -EINVAL,
				"clickhouse: partition %u: %s is missing or damaged, and %s.%s already has "
				"%lu rows of this journal "
				"from offset %lu on: sending again would double them. Put the file back, or "
				"set the position by "
				"`sluicectl position clickhouse %u OFFSET%s`",
				p->part->partition, p->intent.path, p->cfg->database, table->name, count,
				position, p->part->partition,
				p->part->log == SINK_LOG_OUTPUT ? " --output" : "");
	}
	return 0;
}

/* Whether a block that may be older than the server's memory of tokens is there already. */
static int block_landed(struct ch_part *p, const struct ch_block *block, uint64_t from, uint64_t to,
	bool *landed, struct err *err)
{
	uint64_t rows = block->native.row_count, count = 0;
	int rc = ch_block_count(p, block, from, to, &count, err);

	*landed = rc == 0 && count == rows;
	if (rc == 0 && count != 0 && count != rows)
		log_error("clickhouse",
			"partition=%u table=%s range=%lu-%lu: the server has %lu of %lu rows of a block that "
			"goes in as a whole; "
			"sent again with its token",
			p->part->partition, block->table->name, from, to, count, rows);
	return rc;
}

static bool token_trusted(const struct ch_part *p)
{
	int64_t age_ms = clock_wall_ms() - p->range.first_send_ms;

	return age_ms >= 0 && age_ms < (int64_t)(p->cfg->dedup_window * TRUST_MS_PER_BLOCK);
}

static void on_sent(void)
{
	crash_point("ch_sent");
}

static int body_write(struct ch_part *p, const struct ch_block *block, struct err *err)
{
	uint32_t i = p->block_index;

	if (p->bodies_edition == p->rows.edition && i < p->rows.block_count && block == p->rows.block[i]) {
		size_t from = i ? p->body_end[i - 1] : 0;

		p->body = p->bodies.data + from;
		p->body_bytes = p->body_end[i] - from;
		return 0;
	}
	p->piece.bytes = 0;
	if (native_block_write(&block->native, &p->piece))
		return err_set(err, -ENOMEM, "clickhouse: no memory for a block");
	p->body = p->piece.data;
	p->body_bytes = p->piece.bytes;
	return 0;
}

int ch_body_insert(struct ch_part *p, const struct ch_table *table, const char *token, struct err *err)
{
	struct ch_statement sql;
	int rc;

	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	ch_ddl_insert(sql.out, p->cfg, table);
	rc = ch_statement_end(&sql, err);
	if (rc)
		return rc;
	rc = ch_http_insert(&p->http, sql.text, token, p->body, p->body_bytes, err);
	free(sql.text);
	return rc;
}

static int block_send(struct ch_part *p, const struct ch_sent *s, struct err *err)
{
	int rc = body_write(p, s->block, err);

	if (rc)
		return rc;
	p->http.on_sent = on_sent;
	rc = ch_body_insert(p, s->block->table, s->token, err);
	if (rc) {
		p->ambiguous |= !p->http.answered;
		p->refused_code = p->http.answered ? p->http.answer.exception_code : 0;
		err_prefix(err, "range %lu-%lu to %s", s->from, s->to, s->block->table->name);
		return rc;
	}
	crash_point("ch_answered");
	p->rows.tally.bytes += p->body_bytes;
	return 0;
}

/* A block that failed is sent once more at once, for what one lost connection costs; then the range waits for
 * the runner's backoff. */
static int block_send_twice(struct ch_part *p, const struct ch_sent *s, bool *again, struct err *err)
{
	int rc = block_send(p, s, err);

	if (rc == 0 || rc == -EINVAL || rc == -EBADMSG || rc == -ENOMEM || rc == -ECANCELED ||
		sink_gives_up())
		return rc;
	if (rc == -ETIMEDOUT && p->target_count > 1) /* the next one may be better than the same again */
		return rc;
	sink_error(p->part, err->text);
	atomic_fetch_add(&p->part->stats.retries, 1);
	*again = true;
	return block_send(p, s, err);
}

int ch_block_deliver(struct ch_part *p, const struct ch_block *block, uint64_t from, uint64_t to,
	bool resumed, struct err *err)
{
	bool landed = false, again = resumed;
	char token[320];
	struct ch_sent sent = {block, from, to, token};
	int rc = 0;

	token_text(token, sizeof token, block, p, from, to);
	if (p->range.confirmed == p->block_index + 1) {
		rc = body_write(p, block, err);
		return rc ? rc : ch_block_mend(p, &sent, err);
	}
	/* Within the trusted age the token alone decides: also a block that is there goes out again,
	 * so that a view which a crash of the server kept from its share gets it now. */
	if (resumed && !token_trusted(p))
		rc = block_landed(p, block, from, to, &landed, err);
	if (rc || landed)
		return rc;
	rc = block_send_twice(p, &sent, &again, err);
	/* Rows of other times would not be found. */
	return rc || !again || p->recoded ? rc : ch_block_prove(p, &sent, err);
}

/* Tables of windows that are no longer in force, of which there are rows yet. */
static int windows_check(struct ch_part *p, struct err *err)
{
	for (uint32_t i = 0; i < p->rows.window_count; i++) {
		struct ch_window *w = p->rows.window[i];
		int rc;

		if ((w->checked >> p->current & 1) || !w->def->to_clickhouse)
			continue;
		rc = ch_check_window(&p->http, p->cfg, w, &p->misfit, err);
		ch_misfit_tell(p);
		if (rc)
			return rc;
		w->checked |= 1u << p->current;
	}
	return 0;
}

int ch_token_running(struct ch_part *p, const char *token, uint64_t *count, struct err *err)
{
	struct ch_statement sql;

	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fputs("SELECT count() FROM system.processes WHERE "
	      "startsWith(Settings['insert_deduplication_token'], ",
		sql.out);
	ch_ddl_text(sql.out, token);
	fputs(")" CH_WHOLE_ANSWER, sql.out);
	return ch_ask_number(p, &sql, count, err);
}

bool ch_send_under_way(struct ch_part *p, struct err *err)
{
	char token[128];
	uint64_t count = 1;
	struct err why;
	int rc;

	if (!p->ambiguous)
		return false;
	snprintf(token, sizeof token, "%016lx/%s/%u/", p->rows.epoch, p->rows.node, p->rows.partition);
	rc = ch_token_running(p, token, &count, &why);
	if (rc)
		err_set(err, -EAGAIN,
			"clickhouse: too large, and whether an earlier INSERT of it still runs is not known: "
			"%.300s",
			why.text);
	else if (count)
		err_set(err, -EAGAIN, "clickhouse: too large, but an earlier INSERT of it still runs");
	return rc || count;
}

int ch_range_send(struct ch_part *p, bool resumed, struct err *err)
{
	uint32_t first;
	int checked;

	p->ours = false;
	checked = windows_check(p, err);
	if (checked)
		return checked;
	/* What stands before one that is being put back was delivered before it. */
	first = p->range.confirmed > p->range.settled ? p->range.confirmed - 1 : p->range.settled;
	for (uint32_t i = first; i < p->rows.block_count; i++) {
		bool pieces = p->range.split_to > p->range.split_from;
		int rc;

		p->block_index = i;
		rc = pieces ? ch_block_split(p, i, err)
			    : ch_block_deliver(p, p->rows.block[i], p->range.from, p->range.to, resumed, err);

		if (rc == -E2BIG && ch_send_under_way(p, err))
			return -EAGAIN;
		if (rc == -EBADMSG || rc == -E2BIG)
			rc = ch_block_refused(p, i, rc, err);
		if (rc)
			return rc;
	}
	return 0;
}

bool ch_range_absent(struct ch_part *p)
{
	for (uint32_t i = 0; i < p->rows.block_count; i++) {
		uint64_t count;
		struct err err;

		if (p->ambiguous || p->range.confirmed || p->range.settled || p->range.split_to ||
			ch_block_count(p, p->rows.block[i], p->range.from, p->range.to, &count, &err) ||
			count)
			return false;
	}
	return true;
}
