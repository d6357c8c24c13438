/* A block that the server refuses for something in it, or for its size, goes on in pieces.
 *
 * A piece is the block's rows of records [a, b), with a token of its own. Pieces are sent from left to right,
 * and the range's step in the intent file names the piece under way (`settled`, [split_from, split_to))
 * before it is sent: all on its left is settled, nothing on its right was ever taken. So after a crash the
 * same piece goes out again under the same token, and pieces may grow and shrink as they like. A piece of one
 * record that is refused for what is in it becomes a dead letter. A refusal counts only if the server has no
 * row of what it refused: a view may refuse what the table has taken, and then no piece of it may be sent
 * again. The part's sink thread. */
#include <errno.h>
#include <string.h>

#include "ch_part_priv.h"
#include "crash.h"
#include "log.h"

struct piece {
	uint32_t index; /* of the block in the range */
	const char *token;
	uint32_t month;
	uint64_t from, to;
	const struct ch_block *block; /* its rows; NULL: none */
};

/* Of a journal or a file that cannot be read: no word of a server about rows. */
static int local_rc(struct ch_part *p, int rc)
{
	p->ours = rc != 0;
	return rc == -EBADMSG || rc == -E2BIG ? -EIO : rc;
}

int ch_range_save(struct ch_part *p, struct err *err)
{
	struct ch_intent next;

	if (!p->in_parked)
		return ch_step_write(p, true, err);
	next = p->intent.last;
	next.parked[p->parked_index] = p->range;
	return ch_intent_write(&p->intent, &next, err);
}

static int piece_make(struct ch_part *p, struct piece *piece, struct err *err)
{
	int rc = local_rc(p, ch_range_reload(p, &p->slice, piece->from, piece->to, err));

	piece->block = NULL;
	for (uint32_t i = 0; rc == 0 && i < p->slice.block_count; i++)
		if (p->slice.block[i]->month == piece->month &&
			strcmp(p->slice.block[i]->table->token, piece->token) == 0)
			piece->block = p->slice.block[i];
	return rc;
}

/* ---- dead letters ---- */

/* A record's row, in the range's tally, was not delivered. */
static void tally_refused(struct ch_part *p, const char *table, uint64_t rows)
{
	struct sink_tally *t = &p->rows.tally;

	if (strcmp(table, "alerts") ==
		0) { /* beside their events, or records of the output log that are alerts */
		t->alerts -= rows;
		t->refused += rows;
		return;
	}
	t->rejected++;
	if (strcmp(table, "dead_letters") == 0)
		t->dead--;
	else if (strcmp(table, "events_late") == 0)
		t->late--;
	else if (p->part->log == SINK_LOG_OUTPUT)
		t->rows--;
	else
		t->events--;
}

struct letter_of {
	struct ch_part *p;
	const struct piece *piece;
	const char *error;
	int rc;
	struct err *err;
};

static void letter_write(void *arg, const struct record *rec)
{
	struct letter_of *of = arg;
	struct ch_part *p = of->p;
	struct ch_letter letter = {.at = {p->rows.node, p->rows.epoch, p->rows.partition, of->piece->from},
		.table = of->piece->block->table->name,
		.code = p->refused_code,
		.error = of->error,
		.rows = of->piece->block->native.row_count,
		.rec = rec};

	of->rc = ch_letters_add(&p->letters, &letter, of->err);
	if (of->rc == 0)
		log_warn("clickhouse",
			"partition=%u table=%s offset=%lu is refused for good, and kept in %s: %.300s",
			p->rows.partition, letter.table, letter.at.offset, p->letters.path, letter.error);
}

static int piece_bury(struct ch_part *p, const struct piece *piece, struct err *err)
{
	struct err why = *err;
	struct letter_of of = {p, piece, why.text, 0, err};
	int rc = ch_range_record(p, piece->from, letter_write, &of, err);

	if (rc == 0)
		rc = of.rc;
	if (rc)
		return local_rc(p, rc);
	crash_point("ch_letter");
	sink_error(p->part, why.text);
	tally_refused(p, piece->block->table->name, piece->block->native.row_count);
	return 0;
}

struct letter_at {
	uint64_t offset;
	const char *table;
	bool there;
};

static void letter_look(void *arg, uint64_t offset, const char *table, uint64_t rows)
{
	struct letter_at *at = arg;

	(void)rows;
	at->there |= offset == at->offset && strcmp(table, at->table) == 0;
}

/* Whether its record was put aside before a crash. */
static int piece_buried(struct ch_part *p, const struct piece *piece, bool *buried, struct err *err)
{
	struct letter_at at = {piece->from, piece->block->table->name, false};
	int rc = ch_letters_each(&p->letters, p->rows.epoch, piece->from, piece->to, letter_look, &at, err);

	*buried = at.there;
	return local_rc(p, rc);
}

/* ---- pieces ---- */

/* -EINVAL unless the server has nothing of the piece that it refused. */
static int piece_absent(struct ch_part *p, const struct piece *piece, struct err *err)
{
	struct err why;
	uint64_t count;
	int rc = ch_block_count(p, piece->block, piece->from, piece->to, &count, &why);

	if (rc) {
		*err = why;
		return rc;
	}
	if (count == 0)
		return 0;
	p->ours = true; /* another server has none of these rows, and must not get them */
	err_prefix(err,
		"clickhouse: table %s has taken %lu rows of what is refused, so a materialized view refuses "
		"them",
		piece->block->table->name, count);
	return -EINVAL;
}

/* 0: [from, to) is settled. -EBADMSG, -E2BIG: refused, and nothing of it is there; settled all the same if it
 * is a dead letter now. */
static int piece_deliver(
	struct ch_part *p, const struct piece *piece, bool resumed, bool *settled, struct err *err)
{
	bool buried = false;
	int rc = resumed && piece->to - piece->from == 1 ? piece_buried(p, piece, &buried, err) : 0;

	*settled = buried;
	if (rc || buried)
		return rc;
	p->range.settled = piece->index;
	p->range.split_from = piece->from;
	p->range.split_to = piece->to;
	rc = ch_range_save(p, err);
	if (rc)
		return local_rc(p, rc);
	crash_point("ch_split");
	rc = ch_block_deliver(p, piece->block, piece->from, piece->to, resumed, err);
	*settled = rc == 0;
	if (rc != -EBADMSG && rc != -E2BIG)
		return rc;
	if (rc == -E2BIG && ch_send_under_way(p, err))
		return -EAGAIN;
	if (piece_absent(p, piece, err))
		return -EINVAL;
	if (piece->to - piece->from > 1)
		return rc;
	if (rc == -E2BIG) /* one record for which there is no memory now may fit later */
		return -EAGAIN;
	*settled = true;
	return piece_bury(p, piece, err);
}

/* Block `index` is settled. */
static int split_end(struct ch_part *p, uint32_t index, struct err *err)
{
	p->range.settled = index + 1;
	p->range.split_from = p->range.split_to = 0;
	return local_rc(p, ch_range_save(p, err));
}

/* What is known of where to cut. */
struct cut {
	uint64_t bad_to; /* in [from, bad_to) is something that is refused; not above `from`: nothing is known
			  */
	uint64_t size_max; /* pieces of more records are too large */
};

static void cut_learn(struct cut *cut, const struct piece *piece, int rc)
{
	if (rc == -E2BIG)
		cut->size_max = (piece->to - piece->from + 1) / 2;
	else
		cut->bad_to = piece->to;
}

/* Halves of what holds the row that is looked for; else all that is left. */
static uint64_t cut_at(const struct cut *cut, uint64_t from, uint64_t end)
{
	uint64_t size = end - from;

	if (cut->bad_to > from)
		size = (cut->bad_to - from + 1) / 2;
	return from + (size < cut->size_max ? size : cut->size_max);
}

static int block_pieces(struct ch_part *p, uint32_t index, struct cut cut, struct err *err)
{
	const struct ch_block *whole = p->rows.block[index];
	struct piece piece = {
		.index = index, .token = whole->table->token, .month = whole->month, .from = p->range.from};
	bool resumed = p->range.split_to > p->range.split_from;

	if (resumed)
		piece.from = p->range.split_from;
	while (piece.from < p->range.to) {
		bool settled = false;
		int rc;

		piece.to = resumed ? p->range.split_to : cut_at(&cut, piece.from, p->range.to);
		rc = piece_make(p, &piece, err);
		if (rc == 0 && piece.block)
			rc = piece_deliver(p, &piece, resumed, &settled, err);
		else
			settled = true;
		if (rc && rc != -EBADMSG && rc != -E2BIG)
			return rc;
		resumed = false;
		if (rc && !settled)
			cut_learn(&cut, &piece, rc);
		else
			piece.from = piece.to;
	}
	return split_end(p, index, err);
}

int ch_block_split(struct ch_part *p, uint32_t index, struct err *err)
{
	return block_pieces(p, index, (struct cut){.size_max = UINT64_MAX}, err);
}

int ch_block_refused(struct ch_part *p, uint32_t index, int why, struct err *err)
{
	struct piece piece = {.from = p->range.from, .to = p->range.to, .block = p->rows.block[index]};
	struct cut cut = {.size_max = UINT64_MAX};
	int rc = piece_absent(p, &piece, err);

	if (rc)
		return rc;
	log_warn("clickhouse", "partition=%u table=%s range=%lu-%lu goes in pieces: %.300s",
		p->rows.partition, piece.block->table->name, p->range.from, p->range.to, err->text);
	cut_learn(&cut, &piece, why);
	return block_pieces(p, index, cut, err);
}

static void letter_untally(void *arg, uint64_t offset, const char *table, uint64_t rows)
{
	(void)offset;
	tally_refused(arg, table, rows);
}

int ch_split_resumed(struct ch_part *p, struct err *err)
{
	return local_rc(p, ch_letters_each(&p->letters, p->rows.epoch, p->range.from, p->range.to,
				   letter_untally, p, err));
}
