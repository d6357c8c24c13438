/* The CSV reader: what RFC 4180 allows, what is refused with which line, and any table written by the rules
 * comes back as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "csv.h"

/* The rows of a text, cells in [], rows ended by |; or the error. */
static const char *read_all(const char *text, size_t bytes)
{
	static char out[4096];
	struct csv_cell cell[CSV_COLUMNS_MAX];
	char *copy = malloc(bytes ? bytes : 1);
	struct err err = {{0}};
	struct csv csv;
	size_t n = 0;
	int count;

	memcpy(copy, text, bytes);
	csv_start(&csv, copy, bytes);
	while ((count = csv_row(&csv, cell, &err)) > 0) {
		n += (size_t)snprintf(out + n, sizeof out - n, "%u:", (unsigned)csv.row_line);
		for (int i = 0; i < count; i++)
			n += (size_t)snprintf(
				out + n, sizeof out - n, "[%.*s]", (int)cell[i].bytes, cell[i].text);
		n += (size_t)snprintf(out + n, sizeof out - n, "|");
	}
	out[n] = 0;
	if (count < 0)
		snprintf(out, sizeof out, "%s", err.text);
	free(copy);
	return out;
}

static void test_rows(void **state)
{
	static const struct {
		const char *text, *rows;
	} row[] = {
		{"", ""},
		{"a", "1:[a]|"},
		{"a,b\n", "1:[a][b]|"},
		{"a,b\r\nc,d\r\n", "1:[a][b]|2:[c][d]|"},
		{"a,b\nc,d", "1:[a][b]|2:[c][d]|"},
		{",\n", "1:[][]|"},
		{"a,\n", "1:[a][]|"},
		{"\xef\xbb\xbfk,v\n", "1:[k][v]|"},
		{"\n\n a , b \n\r\nc,d\n\n", "3:[ a ][ b ]|5:[c][d]|"},
		{"\"a\",\"b,c\"\n", "1:[a][b,c]|"},
		{"\"say \"\"hi\"\"\",x\n", "1:[say \"hi\"][x]|"},
		{"\"\",\"\"\"\"\n", "1:[][\"]|"},
		{"\"two\r\nlines\",x\ny,z\n", "1:[two\r\nlines][x]|3:[y][z]|"},
		{"\"last\"", "1:[last]|"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		assert_string_equal(read_all(row[i].text, strlen(row[i].text)), row[i].rows);
}

static void test_errors(void **state)
{
	static const struct {
		const char *text;
		size_t bytes;
		const char *says;
	} row[] = {
		{"a\nb\"c\n", 6, "line 2: a quote inside"},
		{"a\n\"b\"c\n", 7, "line 2: bytes behind"},
		{"a\n\"b\nc\n", 7, "line 2: a quote in the row that begins here is never closed"},
		{"a\rb\n", 4, "line 1: a carriage return"},
		{"a\nb\r", 4, "line 2: a carriage return"},
		{"a\0b\n", 4, "line 1: NUL"},
		{"x\n\"a\0b\"\n", 8, "line 2: NUL"},
	};
	char wide[CSV_COLUMNS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (!strstr(read_all(row[i].text, row[i].bytes), row[i].says))
			fail_msg("%zu: %s", i, read_all(row[i].text, row[i].bytes));
	memset(wide, ',', sizeof wide);
	assert_non_null(strstr(read_all(wide, sizeof wide), "line 1: more columns"));
	assert_non_null(strstr(read_all(wide, sizeof wide - 2), "1:[]"));
}

/* Random tables of nasty bytes, written by the rules, are read back cell by cell. */
static void test_round_trip(void **state)
{
	static const char alphabet[] = "ab\",\n\r\xc3\xa9 ";
	struct csv_cell cell[CSV_COLUMNS_MAX];
	char want[16][8][12], text[8192];
	size_t length[16][8];
	struct err err;
	struct csv csv;

	(void)state;
	srandom(20);
	for (int round = 0; round < 20000; round++) {
		int rows = 1 + (int)(random() % 16), columns = 2 + (int)(random() % 6);
		size_t n = 0;

		for (int r = 0; r < rows; r++)
			for (int c = 0; c < columns; c++) {
				bool bare = true;

				length[r][c] = (size_t)random() % 12;
				for (size_t i = 0; i < length[r][c]; i++) {
					want[r][c][i] = alphabet[(size_t)random() % (sizeof alphabet - 1)];
					bare = bare && !strchr("\",\n\r", want[r][c][i]);
				}
				bare = bare && random() % 2;
				if (!bare)
					text[n++] = '"';
				for (size_t i = 0; i < length[r][c]; i++) {
					if (want[r][c][i] == '"')
						text[n++] = '"';
					text[n++] = want[r][c][i];
				}
				if (!bare)
					text[n++] = '"';
				if (c + 1 == columns && random() % 2)
					text[n++] = '\r';
				if (c + 1 < columns)
					text[n++] = ',';
				else if (r + 1 < rows || random() % 2 || text[n - 1] == '\r')
					text[n++] = '\n';
			}
		csv_start(&csv, text, n);
		for (int r = 0; r < rows; r++) {
			if (csv_row(&csv, cell, &err) != columns)
				fail_msg("round %d row %d: %s", round, r, err.text);
			for (int c = 0; c < columns; c++) {
				assert_int_equal(cell[c].bytes, length[r][c]);
				assert_memory_equal(cell[c].text, want[r][c], length[r][c]);
			}
		}
		assert_int_equal(csv_row(&csv, cell, &err), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
