/* The CSV reader of csv.h. Any thread that owns the buffer; pure but for decoding in place. */
#include "csv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

void csv_start(struct csv *csv, char *data, size_t bytes)
{
	size_t mark = bytes >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	*csv = (struct csv){data + mark, data + bytes, 1, 1};
}

static int csv_err(const struct csv *csv, const char *what, struct err *err)
{
	return err_set(err, -EINVAL, "line %" PRIu64 ": %s", csv->line, what);
}

/* Goes behind a line end, if there is one here. */
static bool take_line_end(struct csv *csv)
{
	size_t left = (size_t)(csv->end - csv->at);

	if (left >= 1 && csv->at[0] == '\n')
		csv->at++;
	else if (left >= 2 && csv->at[0] == '\r' && csv->at[1] == '\n')
		csv->at += 2;
	else
		return false;
	csv->line++;
	return true;
}

/* Behind the opening quote. Moves the bytes together where quotes are doubled. */
static int quoted_cell(struct csv *csv, struct csv_cell *cell, struct err *err)
{
	char *out = csv->at;

	cell->text = out;
	for (; csv->at < csv->end; csv->at++) {
		if (*csv->at == '"') {
			csv->at++;
			if (csv->at == csv->end || *csv->at != '"') {
				cell->bytes = (size_t)(out - cell->text);
				return 0;
			}
		} else if (*csv->at == '\0') {
			return csv_err(csv, "NUL byte", err);
		}
		csv->line += *csv->at == '\n';
		*out++ = *csv->at;
	}
	csv->line = csv->row_line;
	return csv_err(csv, "a quote in the row that begins here is never closed", err);
}

static int bare_cell(struct csv *csv, struct csv_cell *cell, struct err *err)
{
	cell->text = csv->at;
	for (; csv->at < csv->end; csv->at++) {
		char c = *csv->at;

		if (c == ',' || c == '\n' || (c == '\r' && csv->end - csv->at > 1 && csv->at[1] == '\n'))
			break;
		if (c == '"')
			return csv_err(csv, "a quote inside a value that does not begin with one", err);
		if (c == '\r')
			return csv_err(csv, "a carriage return without a line feed", err);
		if (c == '\0')
			return csv_err(csv, "NUL byte", err);
	}
	cell->bytes = (size_t)(csv->at - cell->text);
	return 0;
}

int csv_row(struct csv *csv, struct csv_cell cell[CSV_COLUMNS_MAX], struct err *err)
{
	int count = 0, rc;

	while (take_line_end(csv))
		;
	if (csv->at == csv->end)
		return 0;
	csv->row_line = csv->line;
	for (;;) {
		bool quoted = csv->at < csv->end && *csv->at == '"';

		if (count == CSV_COLUMNS_MAX)
			return csv_err(csv, "more columns than can be read", err);
		csv->at += quoted;
		rc = quoted ? quoted_cell(csv, &cell[count], err) : bare_cell(csv, &cell[count], err);
		if (rc)
			return rc;
		count++;
		if (csv->at == csv->end || take_line_end(csv))
			return count;
		if (*csv->at != ',')
			return csv_err(csv, "bytes behind a closing quote", err);
		csv->at++;
	}
}
