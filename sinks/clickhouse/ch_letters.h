/* Rows that a table will never take, put aside: DATA_DIR/sinks/clickhouse/p<k>.letters (clickhouse-output: of
 * the output log), one line of JSON a record and table. Appended and flushed before the sink goes on; nothing
 * removes them. The part's sink thread; sluicectl reads. */
#ifndef SLUICE_CH_LETTERS_H
#define SLUICE_CH_LETTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "err.h"
#include "record.h"

struct ch_letter {
	struct address at;
	const char *table; /* name */
	uint32_t code;	   /* of the server's refusal */
	const char *error; /* its text */
	uint64_t rows;	   /* of this record in this table */
	const struct record *rec;
};

struct ch_letters {
	int fd; /* -1: none written yet */
	uint64_t bytes, bytes_max;
	char path[300];
};

/* Beside the intent file of that path: p<k>.intent. What a crash has cut off is removed. */
int ch_letters_open(struct ch_letters *l, const char *intent_path, uint64_t bytes_max, struct err *err);
void ch_letters_close(struct ch_letters *l);

/* Durable when it returns 0. -EINVAL: bytes_max would be exceeded. */
int ch_letters_add(struct ch_letters *l, const struct ch_letter *letter, struct err *err);

/* Calls back for each letter of [from, to) of a log's epoch, as it was written. A line that is no dead
 * letter: -EINVAL. */
int ch_letters_each(const struct ch_letters *l, uint64_t epoch, uint64_t from, uint64_t to,
	void (*each)(void *arg, uint64_t offset, const char *table, uint64_t rows), void *arg,
	struct err *err);

#endif
