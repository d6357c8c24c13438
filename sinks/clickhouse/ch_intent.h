/* What a partition is about to send, made durable before the first byte leaves, and how far it has come: the
 * file DATA_DIR/sinks/clickhouse/p<k>.intent, for the output log
 * DATA_DIR/sinks/clickhouse-output/p<k>.intent.
 *
 * Two slots of 4 KiB, written in turn and each followed by fdatasync. A crash can tear only the slot that was
 * being written, which is the older one; so the newest intact slot always tells the last durable step.
 * Against writing a new file and renaming it this is one flush instead of two and no directory change; the
 * file is made once. Its one weakness, a slot that rots later and so hides a newer step, is seen as `damaged`
 * and asked about at the server.
 *
 * One thread (the partition's sink). */
#ifndef SLUICE_CH_INTENT_H
#define SLUICE_CH_INTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define CH_ENDPOINT_BYTES 264
#define CH_PARKED_MAX 8

/* A range of offsets that may or may not be at the server that it was sent to. */
struct ch_range {
	uint64_t from, to;     /* [from, to) */
	int64_t first_send_ms; /* wall clock */
	uint32_t insert_count; /* INSERTs of the range: tables x months */
	uint32_t body_crc;     /* over all bodies: does it re-encode to the same? */
	/* Went in pieces (ch_split.c): blocks before number `settled` are at the server, and of that one all
	 * before split_from; [split_from, split_to) may be. 0, 0: that one is whole. */
	uint32_t settled;
	uint64_t split_from, split_to;
	uint32_t confirmed; /* 1 + the block (or its piece that may be there) of which its server has said yes
			       though it was not there: it is being put back (ch_mend.c). 0: none */
	char endpoint[CH_ENDPOINT_BYTES]; /* host:port */
};

/* The durable facts. */
struct ch_intent {
	uint64_t sequence; /* of the step; 0 = none yet */
	uint64_t epoch;	   /* of the journal */
	uint32_t partition;
	char node[65];
	/* Everything before `range` is delivered, but for what is parked. */
	bool pending; /* false: so is the range itself. true: it may or may not be */
	struct ch_range range;
	/* Ranges before it whose servers went away before they had said yes: each waits for its own. */
	uint32_t parked_count;
	struct ch_range parked[CH_PARKED_MAX];
};

struct ch_intent_file {
	int fd;
	char path[300];
	struct ch_intent last;
	bool existed; /* at open the file held a step */
	bool damaged; /* a slot that was written once cannot be read */
};

/* Opens or makes the file and its directories. folder: of CH_INTENT_... 0, or -errno. */
#define CH_INTENT_INPUT "clickhouse"
#define CH_INTENT_OUTPUT "clickhouse-output"
int ch_intent_open(struct ch_intent_file *f, const char *data_dir, const char *folder, uint32_t partition,
	struct err *err);
void ch_intent_close(struct ch_intent_file *f);
/* Only reads what is there, of a running sink as well: f->last, f->existed, f->damaged. Nothing stays open.
 */
int ch_intent_peek(struct ch_intent_file *f, const char *data_dir, const char *folder, uint32_t partition,
	struct err *err);

/* Makes `next` the last durable step: its sequence becomes that of the last + 1. */
int ch_intent_write(struct ch_intent_file *f, const struct ch_intent *next, struct err *err);

#endif
