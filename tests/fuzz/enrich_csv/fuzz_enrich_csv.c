/* Any bytes as the CSV file of a lookup table: an error with the file's name, or a table in which every key
 * that the reader gives is found with its value. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "lookup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_rows(const struct lookup *lk, char *copy, size_t bytes)
{
	static struct csv_cell cell[CSV_COLUMNS_MAX];
	struct csv csv;
	uint32_t rows = 0;

	csv_start(&csv, copy, bytes);
	if (csv_row(&csv, cell, NULL) < 2)
		abort();
	while (csv_row(&csv, cell, NULL) > 0) {
		uint32_t n = (uint32_t)cell[0].bytes;
		const struct lookup_slot *s = lookup_find(lk, lookup_hash(cell[0].text, n), cell[0].text, n);

		if (!s || s->value_bytes != cell[1].bytes ||
			memcmp(lk->text + s->value_at, cell[1].text, cell[1].bytes) != 0)
			abort();
		rows++;
	}
	if (rows != lk->rows)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const struct lookup_want want = {"fuzz", "", "", 256, 64, 0};
	char *copy = malloc(bytes + 1), *again = malloc(bytes + 1);
	struct err err = {{0}};
	struct lookup lk;

	if (!copy || !again)
		abort();
	memcpy(copy, data, bytes);
	memcpy(again, data, bytes);
	if (lookup_parse(&lk, copy, bytes, &want, &err)) {
		if (strncmp(err.text, "fuzz: ", 6) != 0 || lk.slot || lk.text)
			abort();
	} else {
		check_rows(&lk, again, bytes);
		lookup_free(&lk);
	}
	free(copy);
	free(again);
	return 0;
}
