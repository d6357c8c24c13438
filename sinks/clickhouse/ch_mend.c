/* A block that its server has lost while it remembers the token.
 *
 * A table that is not replicated writes the token of a block to its log, then makes the part visible: two
 * steps, and a server that ends between them (kill -9, a panic) starts with a token that has no rows. From
 * then on the block is taken for a duplicate: it is confirmed, and never there. So when a block that may have
 * been sent before is confirmed, its server is asked for one of its rows, and if there is none, it is put
 * back.
 *
 * Not under another token: materialized views have their share, by the repeated INSERT at the latest, and
 * would get it twice. The rows go to a table of the same make beside it, whose only part is then attached to
 * the first one, which no view sees. That is no INSERT, and no token keeps it single. What does:
 * - Before anything of it the range says so durably (confirmed): from then on nothing but this is done with
 * the block. It goes neither again, nor in pieces, nor to another server.
 * - All its statements carry the block's token, so those that still run at a server that did not answer are
 * found.
 * - Every attempt has a table with a name of its own, and removes those of earlier attempts before it looks
 * for rows: a statement of theirs that is still in a socket of a server which stood still finds no table any
 * more.
 *
 * The part's sink thread. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ch_ddl.h"
#include "ch_part_priv.h"
#include "crash.h"
#include "hash.h"
#include "log.h"
#include "random.h"

#define WORD_BYTES 64
#define STEM_BYTES 30 /* "sluice_again_" and 16 digits and "_" */
#define LEFT_MAX 64   /* tables of earlier attempts in one answer */

struct mend {
	struct ch_part *p;
	const struct ch_sent *sent;
	char stem[WORD_BYTES]; /* of the names of tables for this block */
	char beside[WORD_BYTES];
};

/* What kind of table it is. */
enum { PLAIN = 1, HAS_TTL = 2 };

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

/* Only a plain MergeTree keeps rows as they came: others merge, or replace them, and replicas keep their
 * tokens with their parts, and may lag behind. 0 for these, else PLAIN and HAS_TTL. */
static int table_kind(const struct mend *m, uint64_t *kind, struct err *err)
{
	struct ch_statement sql;

	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fprintf(sql.out,
		"SELECT count() + %d * countIf(position(engine_full, ' TTL ') > 0) FROM system.tables WHERE ",
		HAS_TTL);
	where_table(sql.out, m, "name", m->sent->block->table->name);
	fputs(" AND engine = 'MergeTree'" CH_WHOLE_ANSWER, sql.out);
	return ch_ask_number(m->p, &sql, kind, err);
}

/* Rows may be there that its user does not see; so for one who may not know who sees what. */
static int rows_hidden(const struct mend *m, bool *hidden, struct err *err)
{
	uint64_t count = 0;
	struct ch_statement sql;
	int rc;

	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fputs("SELECT count() FROM system.row_policies WHERE database = ", sql.out);
	ch_ddl_text(sql.out, m->p->cfg->database);
	fputs(" AND table IN ('', '*', ", sql.out);
	ch_ddl_text(sql.out, m->sent->block->table->name);
	fputs(")" CH_WHOLE_ANSWER, sql.out);
	rc = ch_ask_number(m->p, &sql, &count, err);
	*hidden = count != 0 || (rc == -EINVAL && m->p->http.answered);
	return *hidden ? 0 : rc;
}

/* A word of letters, digits, - and _ at *at, which is then behind its line. False at the end, or at anything
 * else. */
static bool next_word(const char **at, char out[WORD_BYTES])
{
	size_t n = 0;

	while (n < WORD_BYTES - 1 && (isalnum((unsigned char)(*at)[n]) || (*at)[n] == '_' || (*at)[n] == '-'))
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
	struct ch_statement sql;

	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fputs("DROP TABLE IF EXISTS ", sql.out);
	table_name(sql.out, m, name);
	fputs(" SYNC", sql.out);
	return ch_ask(m->p, &sql, m->sent->token, err);
}

static int leftovers_find(
	const struct mend *m, char name[LEFT_MAX][WORD_BYTES], uint32_t *count, struct err *err)
{
	const char *at;
	struct ch_statement sql;
	int rc;

	*count = 0;
	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fputs("SELECT name FROM system.tables WHERE ", sql.out);
	where_table(sql.out, m, "substring(name, 1, 30)", m->stem);
	fprintf(sql.out, " LIMIT %d" CH_WHOLE_ANSWER, LEFT_MAX);
	rc = ch_ask(m->p, &sql, NULL, err);
	if (rc)
		return rc;
	at = m->p->http.answer.body;
	while (*count < LEFT_MAX && next_word(&at, name[*count]) &&
		strncmp(name[*count], m->stem, STEM_BYTES) == 0)
		(*count)++;
	return *at ? err_set(err, -EPROTO, "clickhouse: answer is not the names that were asked for") : 0;
}

/* Tables of earlier attempts: once they are gone, nothing of those can come any more. */
static int leftovers_drop(const struct mend *m, struct err *err)
{
	char name[LEFT_MAX][WORD_BYTES];
	uint32_t count;

	do {
		int rc = leftovers_find(m, name, &count, err);

		for (uint32_t i = 0; rc == 0 && i < count; i++)
			rc = table_drop(m, name[i], err);
		if (rc)
			return rc;
	} while (count == LEFT_MAX);
	return 0;
}

/* The block in a table of its own. */
static int beside_fill(struct mend *m, struct err *err)
{
	struct ch_table beside = *m->sent->block->table;
	struct ch_part *p = m->p;
	struct ch_statement sql;
	int rc;

	beside.name = m->beside;
	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fputs("CREATE TABLE ", sql.out);
	table_name(sql.out, m, m->beside);
	fputs(" AS ", sql.out);
	table_name(sql.out, m, m->sent->block->table->name);
	rc = ch_ask(p, &sql, m->sent->token, err);
	if (rc)
		return rc;
	rc = ch_body_insert(p, &beside, m->sent->token, err);
	return rc == -EBADMSG ? -EINVAL : rc; /* what was taken once: a constraint that is new */
}

/* The partition of its part; "" if it has none. */
static int beside_partition(const struct mend *m, char partition[WORD_BYTES], struct err *err)
{
	const char *at;
	struct ch_statement sql;
	int rc;

	partition[0] = 0;
	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fputs("SELECT DISTINCT _partition_id FROM ", sql.out);
	table_name(sql.out, m, m->beside);
	fputs(CH_WHOLE_ANSWER, sql.out);
	rc = ch_ask(m->p, &sql, NULL, err);
	at = m->p->http.answer.body;
	if (rc || !*at)
		return rc;
	if (!next_word(&at, partition) || *at)
		return err_set(
			err, -EPROTO, "clickhouse: answer is not the one partition that was asked for");
	return 0;
}

static int beside_attach(const struct mend *m, const char *partition, struct err *err)
{
	struct ch_statement sql;

	if (ch_statement_open(&sql, err))
		return -ENOMEM;
	fputs("ALTER TABLE ", sql.out);
	table_name(sql.out, m, m->sent->block->table->name);
	fputs(" ATTACH PARTITION ID ", sql.out);
	ch_ddl_text(sql.out, partition);
	fputs(" FROM ", sql.out);
	table_name(sql.out, m, m->beside);
	return ch_ask(m->p, &sql, m->sent->token, err);
}

static void names_make(struct mend *m)
{
	struct err err;
	uint64_t attempt;

	if (random_draw(&attempt, sizeof attempt, &err))
		attempt = m->p->http.query_seed + m->p->http.query_count;
	snprintf(m->stem, sizeof m->stem, "sluice_again_%016" PRIx64 "_",
		hash_bytes(m->sent->token, strlen(m->sent->token), 0));
	snprintf(m->beside, sizeof m->beside, "%s%016" PRIx64, m->stem, attempt);
}

/* What it confirms is believed, as nothing else can be had; said once. */
static int believe(struct ch_part *p, const struct ch_sent *s, const char *why)
{
	if (!p->believed)
		log_warn("clickhouse",
			"partition=%u table=%s: whether what is confirmed is there cannot be seen, and is "
			"believed: %.300s",
			p->part->partition, s->block->table->name, why);
	p->believed = true;
	return 0;
}

/* Whether no row of it means that there is none. *why: that it does not; NULL: nothing to be said of it. */
static int absence_counts(
	const struct mend *m, uint64_t *kind, bool *counts, const char **why, struct err *err)
{
	bool hidden = false;
	int rc = table_kind(m, kind, err);

	*counts = false;
	*why = NULL;
	if (rc || !(*kind & PLAIN)) /* merged away, or replaced, or not here yet */
		return rc;
	rc = rows_hidden(m, &hidden, err);
	*counts = !hidden;
	*why = "there are row policies, or reading system.row_policies is not granted";
	return rc;
}

/* Nothing of it is there, and nothing of an earlier attempt can come. */
static int put_back(struct mend *m, uint64_t kind, struct err *err)
{
	const struct ch_sent *s = m->sent;
	char partition[WORD_BYTES];
	bool there = false;
	int rc;

	log_warn("clickhouse",
		"partition=%u table=%s range=%lu-%lu: the server has the token of a block and none of its "
		"rows "
		"(it ended between the two): it is put back",
		m->p->part->partition, s->block->table->name, s->from, s->to);
	rc = beside_fill(m, err);
	if (rc == 0) {
		crash_point("ch_beside");
		rc = beside_partition(m, partition, err);
	}
	if (rc == 0 && !partition[0] && !(kind & HAS_TTL))
		return err_set(err, -EAGAIN, "table %s has lost what was put into it", m->beside);
	if (rc == 0 && partition[0])
		rc = beside_attach(m, partition, err);
	if (rc == 0) {
		crash_point("ch_attached");
		rc = ch_block_there(m->p, s->block, s->from, s->to, &there, err);
	}
	/* Not once more: its server has said that it is attached. */
	if (rc == 0 && !there)
		log_error("clickhouse",
			"partition=%u table=%s range=%lu-%lu: what was put back cannot be seen%s",
			m->p->part->partition, s->block->table->name, s->from, s->to,
			kind & HAS_TTL ? ": its rows have come to the end of their time (TTL)" : "");
	return rc ? rc : table_drop(m, m->beside, err);
}

static int block_mend(struct mend *m, struct err *err)
{
	const struct ch_sent *s = m->sent;
	struct ch_part *p = m->p;
	uint64_t running = 0, kind = 0;
	bool there = false, counts = true;
	const char *why;
	int rc = ch_token_running(p, s->token, &running, err);

	if (rc == 0 && running)
		rc = err_set(err, -EAGAIN, "a statement of an earlier attempt still runs");
	if (rc == 0)
		rc = leftovers_drop(m, err);
	if (rc == 0)
		rc = ch_block_there(p, s->block, s->from, s->to, &there, err);
	if (rc || there)
		return rc;
	rc = absence_counts(m, &kind, &counts, &why, err);
	if (rc)
		return rc;
	if (!counts)
		return believe(p, s, why ? why : "its engine is another one now");
	return put_back(m, kind, err);
}

/* Of a question or a statement beside the INSERT: nothing that is about rows, or their number. */
static int rc_of_mend(int rc)
{
	return rc == -EBADMSG || rc == -E2BIG ? -EAGAIN : rc;
}

int ch_block_mend(struct ch_part *p, const struct ch_sent *s, struct err *err)
{
	struct mend m = {.p = p, .sent = s};
	int rc;

	names_make(&m);
	rc = block_mend(&m, err);
	if (rc == 0)
		p->range.confirmed =
			0; /* durably with the next step; until then the block is found to be there */
	else
		err_prefix(err,
			"range %lu-%lu of %s: its server has confirmed a block and has no row of it, which "
			"is "
			"put back by way of a table %s...",
			s->from, s->to, s->block->table->name, m.stem);
	return rc_of_mend(rc);
}

/* Limits on what may be read (TOO_MANY_ROWS, TOO_MANY_BYTES, which of a question count as what passes), and
 * rights: the same however often it is asked. What a proxy says is not its server's word. */
static bool refuses_to_say(const struct ch_part *p, int rc)
{
	uint32_t code = p->http.answer.exception_code;

	return p->http.answered && (rc == -EINVAL || code == 158 || code == 307);
}

static int block_prove(struct ch_part *p, const struct ch_sent *s, struct err *err)
{
	struct mend m = {.p = p, .sent = s};
	bool there = false, counts = false;
	uint64_t kind = 0;
	const char *why;
	int rc = ch_block_there(p, s->block, s->from, s->to, &there, err);

	if (rc && refuses_to_say(p, rc))
		return believe(p, s, err->text);
	if (rc || there)
		return rc;
	rc = absence_counts(&m, &kind, &counts, &why, err);
	if (rc)
		return rc;
	if (!counts)
		return why ? believe(p, s, why) : 0;
	p->range.confirmed = p->block_index + 1;
	rc = ch_range_save(p, err);
	if (rc == 0) /* into both slots: a version that cannot read this must not find the step before */
		rc = ch_range_save(p, err);
	if (rc) {
		p->ours = true;
		return rc;
	}
	crash_point("ch_confirmed");
	return ch_block_mend(p, s, err);
}

int ch_block_prove(struct ch_part *p, const struct ch_sent *s, struct err *err)
{
	bool ambiguous = p->ambiguous;
	int rc;

	p->ambiguous = true; /* views may have their share: no other server's business */
	rc = rc_of_mend(block_prove(p, s, err));
	if (rc == -EINVAL && !p->http.answered)
		rc = -EAGAIN;
	if (rc == 0)
		p->ambiguous = ambiguous;
	return rc;
}
