/* One partition's delivery, between open and close. */
#ifndef SLUICE_CH_PART_PRIV_H
#define SLUICE_CH_PART_PRIV_H

#include "ch_catalog.h"
#include "ch_http.h"
#include "ch_intent.h"
#include "ch_letters.h"
#include "ch_rows.h"
#include "ch_statement.h"
#include "ch_window.h"
#include "sink.h"

/* A server of clickhouse.url. */
struct ch_target {
	struct ch_endpoint endpoint;
	bool fit;	     /* it answered, and its tables are as they should be */
	uint64_t asked_ns;   /* when first, by clock_mono_ns(); 0: not yet */
	uint64_t again_ns;   /* not to be asked before */
	uint64_t backoff_ms; /* how long it was left alone last */
	char fault[160];     /* why; "" = it is not */
};

struct ch_part {
	struct sink_part *part;
	const struct config_clickhouse *cfg;
	uint32_t target_count, current; /* current: the one that ranges go to */
	struct ch_target target[CH_ENDPOINTS_MAX];
	struct ch_http http;
	struct ch_intent_file intent;
	struct journal_reader *reader;
	uint64_t reader_at; /* offset of the next record that the reader gives */
	struct ch_rows rows;
	struct ch_rows slice; /* a piece of them */
	struct ch_letters letters;
	/* The bodies of `rows`, one after the other, once ch_range_crc() has made them: that edition's. */
	struct bytes bodies;
	uint64_t bodies_edition;
	size_t body_end[CH_BLOCKS_MAX];
	struct bytes piece;  /* that of a block of `slice` */
	const uint8_t *body; /* the one in work */
	size_t body_bytes;
	struct ch_range range; /* the one being gathered or sent */
	uint32_t refused_code; /* of the server, for the INSERT that failed last */
	bool in_parked;	       /* it is number parked_index of those that are parked */
	uint32_t parked_index;
	bool ambiguous;	      /* a send of it was not answered: it may be on its way at its server still */
	bool recoded;	      /* it encodes differently than when it was first sent */
	bool believed;	      /* said once: what it confirms cannot be looked at */
	uint32_t block_index; /* of its block in work */
	bool misfit;	      /* the tables last looked at do not fit: they may be mended at any time */
	bool ours;	      /* what failed last is no server's fault: another one would not do better */
	uint64_t generation;  /* rulesets: of the block at hand */
	uint64_t marked_ns;   /* when the position was last made durable */
	struct ch_catalog *catalog; /* what the log's records go to */
};

/* Fills rows, which are of p, with exactly [from, to): a range whose end is known. */
int ch_range_reload(struct ch_part *p, struct ch_rows *rows, uint64_t from, uint64_t to, struct err *err);
/* Calls back with the record at an offset. */
int ch_range_record(struct ch_part *p, uint64_t offset, void (*each)(void *arg, const struct record *rec),
	void *arg, struct err *err);
/* Gathers a new range from `from` on: ends by count, size, age, stop, or before what cannot be read. *to: its
 * end (== from: nothing came). */
int ch_range_gather(struct ch_part *p, uint64_t from, uint64_t *to, struct err *err);

/* Sends the INSERTs of p->rows for p->range, which is durable as pending. `resumed`: it may have been sent
 * before. */
int ch_range_send(struct ch_part *p, bool resumed, struct err *err);
/* Sends a block of p->range, or the piece [from, to) of one. -EBADMSG, -E2BIG: refused for what is in it, or
 * for its size; its server has answered so. */
int ch_block_deliver(struct ch_part *p, const struct ch_block *block, uint64_t from, uint64_t to,
	bool resumed, struct err *err);
/* How many rows of the block's table and month its server has of [from, to). */
int ch_block_count(struct ch_part *p, const struct ch_block *block, uint64_t from, uint64_t to,
	uint64_t *count, struct err *err);
#define CH_WHOLE_ANSWER CH_WHOLE_SETTINGS " FORMAT TabSeparated"
/* Runs what was written, and frees it. token: by which ch_token_running() finds it; NULL: none. */
int ch_ask(struct ch_part *p, struct ch_statement *sql, const char *token, struct err *err);
/* The same, without a token, of a SELECT of one number. */
int ch_ask_number(struct ch_part *p, struct ch_statement *sql, uint64_t *count, struct err *err);
/* INSERTs p->body into a table. */
int ch_body_insert(struct ch_part *p, const struct ch_table *table, const char *token, struct err *err);
/* Whether its server has any row of them. */
int ch_block_there(struct ch_part *p, const struct ch_block *block, uint64_t from, uint64_t to, bool *there,
	struct err *err);
/* How many statements run there whose token begins so. */
int ch_token_running(struct ch_part *p, const char *token, uint64_t *count, struct err *err);
/* True if a send of it was not answered and its server may be at it still, or cannot say: then nothing of it
 * may go under another token. */
bool ch_send_under_way(struct ch_part *p, struct err *err);
/* True if its server says that it has no row of p->rows, no send of which is under way. */
bool ch_range_absent(struct ch_part *p);
/* Makes all bodies; CRC over them. 0 or -ENOMEM. */
int ch_range_crc(struct ch_part *p, uint32_t *crc, struct err *err);

/* -EINVAL if the server already has rows of this journal partition at or behind `position`: then the position
 * is not the one that was lost. */
/* Rows of this journal partition in [from, to) that the server has, over all tables that have addresses. */
int ch_rows_there(struct ch_part *p, uint64_t from, uint64_t to, uint64_t *rows, struct err *err);
int ch_position_check(struct ch_part *p, uint64_t position, struct err *err);

/* ---- ch_mend.c: blocks that are confirmed and not there ---- */
/* A block, or a piece of one, as it goes to its server; p->body has it. */
struct ch_sent {
	const struct ch_block *block;
	uint64_t from, to; /* offsets that it has rows of */
	const char *token;
};
/* Its server has confirmed what had been sent before. If there is no row of it, it is put back. */
int ch_block_prove(struct ch_part *p, const struct ch_sent *s, struct err *err);
/* Goes on with that behind a failure: p->range.confirmed names it. */
int ch_block_mend(struct ch_part *p, const struct ch_sent *s, struct err *err);

/* ---- ch_split.c: blocks that are refused ---- */
/* Block number `index` of the range was refused by that code of ch_block_deliver(): it goes in pieces, and
 * rows that the table will never take are put aside. -EINVAL: a view refuses what its table has taken, or no
 * more may be put aside. */
int ch_block_refused(struct ch_part *p, uint32_t index, int why, struct err *err);
/* Makes p->range durable as it is, where it stands: pending or parked. */
int ch_range_save(struct ch_part *p, struct err *err);
/* Goes on with the pieces of it where p->range says. */
int ch_block_split(struct ch_part *p, uint32_t index, struct err *err);
/* Takes what was put aside of the range before a crash out of its tally. */
int ch_split_resumed(struct ch_part *p, struct err *err);

/* ---- ch_targets.c ---- */
/* Reads clickhouse.url. */
int ch_targets_open(struct ch_part *p, struct err *err);
/* Index of the server of that host:port, or -1. */
int ch_target_find(const struct ch_part *p, const char *name);
/* Whether clickhouse.lost names it. */
bool ch_target_lost(const struct ch_part *p, const char *name);
/* Asks it, looks at its tables if that was not done since it was away, and makes it the current one. */
int ch_target_use(struct ch_part *p, uint32_t i, struct err *err);
/* It failed, or refused (-EINVAL): left alone for a while. */
void ch_target_away(struct ch_part *p, uint32_t i, int rc, const struct err *err);
/* After a look at tables: tries go on soon after a misfit. */
void ch_misfit_tell(struct ch_part *p);
/* The current one has taken a range: what was wrong with it is over. */
void ch_target_good(struct ch_part *p);
/* Whether that while is over. */
bool ch_target_due(const struct ch_part *p, uint32_t i);
/* The first that answers, in order of preference. -EINVAL: all refuse. */
int ch_target_choose(struct ch_part *p, struct err *err);
/* Back to the most preferred one that is known to answer, else the first that does. */
int ch_target_best(struct ch_part *p, struct err *err);

/* ---- ch_parked.c: ranges that may be at a server which is not there ---- */
/* The newest step again with p->range in place of its range. */
int ch_step_write(struct ch_part *p, bool pending, struct err *err);
/* What is parked, for the runner. */
void ch_parked_tell(struct ch_part *p, uint64_t position);
/* Puts the pending range aside: it stays where it may be. */
int ch_range_park(struct ch_part *p, struct err *err);
/* Sends a range that may have been sent before, to its end; not marked yet. */
int ch_range_again(struct ch_part *p, const struct ch_range *range, struct err *err);
/* Asks servers whose time has come, finishes what is parked for those that are there, and goes back to the
 * preferred one. Fails if there is none to deliver to. */
int ch_parked_tend(struct ch_part *p, struct err *err);
/* Ranges of servers that are gone for good go to the current one. */
int ch_parked_rebind(struct ch_part *p, struct err *err);

#endif
