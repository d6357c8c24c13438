/* One partition's delivery, between open and close. */
#ifndef SLUICE_CH_PART_PRIV_H
#define SLUICE_CH_PART_PRIV_H

#include "ch_catalog.h"
#include "ch_http.h"
#include "ch_intent.h"
#include "ch_rows.h"
#include "sink.h"

struct ch_part {
	struct sink_part *part;
	const struct config_clickhouse *cfg;
	struct ch_http http;
	struct ch_intent_file intent;
	struct journal_reader *reader;
	uint64_t reader_at; /* offset of the next record that the reader gives */
	struct ch_rows rows;
	struct bytes body;
	struct ch_intent range;	    /* the one being gathered or sent */
	uint64_t generation;	    /* rulesets: of the block at hand */
	uint64_t marked_ns;	    /* when the position was last made durable */
	struct ch_catalog *catalog; /* what the log's records go to */
};

/* Fills p->rows with exactly [from, to): a range whose end is known. */
int ch_range_reload(struct ch_part *p, uint64_t from, uint64_t to, struct err *err);
/* Gathers a new range from `from` on: ends by count, size, age, or stop. *to: its end (== from: nothing
 * came). */
int ch_range_gather(struct ch_part *p, uint64_t from, uint64_t *to, struct err *err);

/* Sends the INSERTs of p->rows for p->range, which is durable as pending. `resumed`: it may have been sent
 * before. */
int ch_range_send(struct ch_part *p, bool resumed, struct err *err);
/* CRC over all bodies. 0 or -ENOMEM. */
int ch_range_crc(struct ch_part *p, uint32_t *crc, struct err *err);

/* -EINVAL if the server already has rows of this journal partition at or behind `position`: then the position
 * is not the one that was lost. */
int ch_position_check(struct ch_part *p, uint64_t position, struct err *err);

#endif
