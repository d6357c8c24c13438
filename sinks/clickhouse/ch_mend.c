/* A block that its server has lost while it remembers the token.
 *
 * A table that is not replicated writes the token of a block to its log, then makes the part visible: two
 * steps, and a server that ends between them (kill -9, a panic) starts with a token that has no rows. From
 * then on the block is taken for a duplicate: it is confirmed, and never there. So a block that goes again is
 * counted by address once it is confirmed, and if there is nothing of it, it is put back.
 *
 * Not under another token: materialized views have their share, by the repeated INSERT at the latest, and
 * would get it twice. The rows go to a table of the same make beside it, whose only part is then attached to
 * the first one, which no view sees. Each attempt has a table with a name of its own, and removes those of
 * earlier attempts before it counts: what an earlier attempt has left in a socket of a server that stood
 * still finds no table any more. The part's sink thread. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ch_ddl.h"
#include "ch_part_priv.h"
#include "crash.h"
#include "crc32c.h"
#include "log.h"

#define BESIDE_BYTES 64
#define LEFT_MAX 64 /* tables of earlier attempts that are removed at once */

struct mend {
	struct ch_part *p;
	const struct ch_table *table;
	const char *token;
	char stem[BESIDE_BYTES]; /* of the names of tables for this block */
	char beside[BESIDE_BYTES];
};

static void table_name(FILE *out, const struct mend *m, const char *table)
{
	ch_ddl_name(out, m->p->cfg->database);
	fputc('.', out);
	ch_ddl_name(out, table);
}

/* "database = ... AND <column> = ..." */
static void where_table(FILE *out, const struct mend *m, const char *column, const char *table)
{
	fputs("database = ", out);
	ch_ddl_text(out, m->p->cfg->database);
	fprintf(out, " AND %s = ", column);
	ch_ddl_text(out, table);
}

/* Replicas keep their tokens with their parts, and one that lags behind would look like one that has lost. */
static int replicated(const struct mend *m, bool *yes, struct err *err)
{
	uint64_t count;
	size_t bytes;
	char *sql;
	FILE *out = open_memstream(&sql, &bytes);
	int rc;

	if (!out)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
	fputs("SELECT count() FROM system.tables WHERE ", out);
	where_table(out, m, "name", m->table->name);
	fputs(" AND NOT startsWith(engine, 'Replicated') AND NOT startsWith(engine, 'Shared') FORMAT "
	      "TabSeparated",
		out);
	rc = ch_ask_number(m->p, out, &sql, &count, err);
	*yes = count == 0;
	return rc;
}

/* A word of letters, digits, - and _ at *at, which is then behind its line. False at the end, or at anything
 * else. */
static bool next_word(const char **at, char out[BESIDE_BYTES])
{
	size_t n = 0;

	while (n < BESIDE_BYTES - 1 &&
		(isalnum((unsigned char)(*at)[n]) || (*at)[n] == '_' || (*at)[n] == '-'))
		n++;
	if (n == 0 || (*at)[n] != '\n')
		return false;
	memcpy(out, *at, n);
	out[n] = 0;
	*at += n + 1;
	return true;
}

static int table_drop(const struct mend *m, const char *name, struct err *err)
{
	size_t bytes;
	char *sql;
	FILE *out = open_memstream(&sql, &bytes);

	if (!out)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
	fputs("DROP TABLE IF EXISTS ", out);
	table_name(out, m, name);
	fputs(" SYNC", out);
	return ch_ask(m->p, out, &sql, err);
}

/* Tables of earlier attempts: once they are gone, nothing of those can come any more. */
static int leftovers_drop(const struct mend *m, struct err *err)
{
	char name[LEFT_MAX][BESIDE_BYTES];
	uint32_t count = 0;
	const char *at;
	size_t bytes;
	char *sql;
	FILE *out = open_memstream(&sql, &bytes);
	int rc;

	if (!out)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
	fputs("SELECT name FROM system.tables WHERE ", out);
	where_table(out, m, "substring(name, 1, 30)", m->stem);
	fprintf(out, " LIMIT %d FORMAT TabSeparated", LEFT_MAX);
	rc = ch_ask(m->p, out, &sql, err);
	at = m->p->http.answer.body;
	while (rc == 0 && count < LEFT_MAX && next_word(&at, name[count]))
		count++;
	if (rc == 0 && *at)
		return err_set(err, -EPROTO, "clickhouse: answer is not the names that were asked for");
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = table_drop(m, name[i], err);
	return rc;
}

/* The block in a table of its own. */
static int beside_fill(struct mend *m, struct err *err)
{
	struct ch_table beside = *m->table;
	size_t bytes;
	char *sql;
	FILE *out = open_memstream(&sql, &bytes);
	int rc;

	beside.name = m->beside;
	if (!out)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
	fputs("CREATE TABLE ", out);
	table_name(out, m, m->beside);
	fputs(" AS ", out);
	table_name(out, m, m->table->name);
	rc = ch_ask(m->p, out, &sql, err);
	if (rc)
		return rc;
	out = open_memstream(&sql, &bytes);
	if (!out)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
	ch_ddl_insert(out, m->p->cfg, &beside);
	if (fclose(out)) {
		free(sql);
		return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
	}
	rc = ch_http_insert(&m->p->http, sql, m->token, m->p->body.data, m->p->body.bytes, err);
	free(sql);
	/* Neither for its size nor for what is in it: it was taken before. */
	return rc == -EBADMSG || rc == -E2BIG ? -EAGAIN : rc;
}

/* Its part to the table. None: what has come to the end of its time is removed soon. */
static int beside_attach(const struct mend *m, struct err *err)
{
	char partition[BESIDE_BYTES];
	const char *at;
	size_t bytes;
	char *sql;
	FILE *out = open_memstream(&sql, &bytes);
	int rc;

	if (!out)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
	fputs("SELECT DISTINCT partition_id FROM system.parts WHERE active AND ", out);
	where_table(out, m, "table", m->beside);
	fputs(" FORMAT TabSeparated", out);
	rc = ch_ask(m->p, out, &sql, err);
	at = m->p->http.answer.body;
	if (rc || !*at)
		return rc;
	if (!next_word(&at, partition) || *at)
		return err_set(
			err, -EPROTO, "clickhouse: answer is not the one partition that was asked for");
	out = open_memstream(&sql, &bytes);
	if (!out)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
	fputs("ALTER TABLE ", out);
	table_name(out, m, m->table->name);
	fputs(" ATTACH PARTITION ID ", out);
	ch_ddl_text(out, partition);
	fputs(" FROM ", out);
	table_name(out, m, m->beside);
	return ch_ask(m->p, out, &sql, err);
}

static void names_make(struct mend *m)
{
	uint32_t low = crc32c(0, m->token, strlen(m->token));
	uint32_t high = crc32c(~low, m->token, strlen(m->token));
	uint64_t attempt;

	if (getrandom(&attempt, sizeof attempt, 0) != (ssize_t)sizeof attempt)
		attempt = m->p->http.query_seed + m->p->http.query_count;
	snprintf(m->stem, sizeof m->stem, "sluice_again_%08" PRIx32 "%08" PRIx32 "_", high, low);
	snprintf(m->beside, sizeof m->beside, "%s%016" PRIx64, m->stem, attempt);
}

static int put_back(struct mend *m, struct err *err)
{
	int rc = beside_fill(m, err);

	if (rc == 0) {
		crash_point("ch_beside");
		rc = beside_attach(m, err);
	}
	if (rc == 0) {
		crash_point("ch_attached");
		rc = table_drop(m, m->beside, err);
	}
	return rc;
}

int ch_block_prove(struct ch_part *p, const struct ch_block *block, uint64_t from, uint64_t to,
	const char *token, struct err *err)
{
	struct mend m = {.p = p, .table = block->table, .token = token};
	uint64_t there = 0, running = 0;
	bool yes = false;
	int rc;

	names_make(&m);
	rc = leftovers_drop(&m, err); /* also those of an attempt that has done it */
	if (rc == 0)
		rc = ch_block_count(p, block, from, to, &there, err);
	if (rc || there)
		return rc;
	rc = replicated(&m, &yes, err);
	if (rc || yes)
		return rc;
	rc = ch_token_running(p, token, &running, err);
	if (rc == 0 && running)
		rc = err_set(err, -EAGAIN, "an earlier INSERT of it still runs");
	if (rc == 0)
		rc = ch_block_count(p, block, from, to, &there, err); /* it may have ended meanwhile */
	if (rc == 0 && !there) {
		log_warn("clickhouse",
			"partition=%u table=%s range=%lu-%lu: the server has the token of a block and none "
			"of its "
			"rows (it ended between the two): put back",
			p->part->partition, block->table->name, from, to);
		rc = put_back(&m, err);
	}
	if (rc)
		err_prefix(err,
			"range %lu-%lu of %s: its server has confirmed a block and has no row of it, which "
			"is put back "
			"by way of a table %s...",
			from, to, block->table->name, m.stem);
	return rc;
}
