/* CSV by RFC 4180, for tables that an operator writes: commas, optional double quotes with doubled quotes
 * inside, rows ended by LF or CRLF, the last one with or without. Stricter than most readers, so that damage
 * is seen and not guessed at: a quote in the middle of a bare value, bytes behind a closing quote, a bare
 * carriage return, a NUL byte and a quote that is never closed are errors. Blank lines are passed over, as is
 * a byte order mark.
 *
 * Decodes in place: cells point into the caller's buffer, which it changes, and stay valid as long as that
 * does. Set-up only; no allocation. Any bytes are safe. */
#ifndef SLUICE_CSV_H
#define SLUICE_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define CSV_COLUMNS_MAX 256

struct csv_cell {
	const char *text; /* not NUL-terminated */
	size_t bytes;
};

struct csv {
	char *at, *end;
	uint64_t line;	   /* of `at`, from 1 */
	uint64_t row_line; /* where the row that csv_row() gave last begins */
};

void csv_start(struct csv *csv, char *data, size_t bytes);

/* The next row: its number of cells (1 to CSV_COLUMNS_MAX), 0 at the end, -EINVAL with "line N: ..." in err.
 */
int csv_row(struct csv *csv, struct csv_cell cell[CSV_COLUMNS_MAX], struct err *err);

#endif
