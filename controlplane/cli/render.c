/* A JSON result for people. Scalars of an object become aligned lines, objects in it one line of key=value,
 * lists of objects tables with a column for each key. Times are shown as RFC 3339, long lists in tables by
 * their first entry. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#define CELL_BYTES_MAX 512
#define LIST_IN_TABLE 4		     /* texts of a list that a cell of a table shows */
#define COLUMN_WIDTH_MAX 60	     /* longer cells stand out of their column */
#define TIME_MS_LEAST 100000000000ll /* 1973: smaller numbers are durations */

/* Bytes of the control character at p, or 0: C0, DEL, and C1 (U+0080 to U+009F), with which terminals can be
 * commanded as well. */
static size_t control_at(const char *p)
{
	unsigned char c = (unsigned char)*p, next = (unsigned char)p[c != 0];

	if (c == 0xc2 && next >= 0x80 && next < 0xa0)
		return 2;
	return c < 0x20 || c == 0x7f;
}

void render_text(FILE *out, const char *text)
{
	for (size_t n; *text; text += n ? n : 1) {
		n = *text == '\n' || *text == '\t' ? 0 : control_at(text);
		fputc(n ? '?' : *text, out);
	}
}

/* A zero byte (\u0000 of a sender) does not end it. What looks like an absent value is put into quotes. */
static void cell_string(const json_t *v, char *out, size_t cap)
{
	size_t bytes = json_string_length(v);

	if (bytes >= cap)
		bytes = cap - 1;
	for (size_t i = 0; i < bytes; i++)
		out[i] = json_string_value(v)[i] ? json_string_value(v)[i] : '?';
	out[bytes] = 0;
	if (!strcmp(out, "-"))
		snprintf(out, cap, "\"-\"");
}

static void cell_text(const json_t *v, char *out, size_t cap)
{
	const char *key;
	const json_t *member;
	size_t n = 0, i;

	out[0] = 0;
	switch (json_typeof(v)) {
	case JSON_STRING:
		cell_string(v, out, cap);
		break;
	case JSON_INTEGER:
		snprintf(out, cap, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		snprintf(out, cap, "%.6g", json_real_value(v));
		if (json_real_value(v) >= 1e5)
			snprintf(out, cap, "%.0f", json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		snprintf(out, cap, "%s", json_is_true(v) ? "yes" : "no");
		break;
	case JSON_NULL:
		snprintf(out, cap, "-");
		break;
	case JSON_OBJECT:
		json_object_foreach((json_t *)(uintptr_t)v, key, member)
		{
			char part[CELL_BYTES_MAX];

			cell_text(member, part, sizeof part);
			if (n + 1 < cap)
				n += (size_t)snprintf(out + n, cap - n, "%s%s=%s", n ? " " : "", key, part);
		}
		break;
	case JSON_ARRAY:
		json_array_foreach(v, i, member)
		{
			char part[CELL_BYTES_MAX];

			cell_text(member, part, sizeof part);
			if (n + 1 < cap)
				n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "", part);
		}
		break;
	}
	for (char *p = out; *p; p++)
		if ((n = control_at(p)))
			memset(p, '?', n);
}

/* Characters, not bytes. */
static int text_width(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void pad(FILE *out, int width)
{
	while (width-- > 0)
		fputc(' ', out);
}

static bool is_time(const char *key, const json_t *v)
{
	size_t n = strlen(key);

	return json_is_integer(v) && json_integer_value(v) >= TIME_MS_LEAST &&
	       (!strcmp(key, "received") || (n > 5 && !strcmp(key + n - 5, "_time")));
}

static void member_text(const char *key, const json_t *v, char *out, size_t cap)
{
	json_t *time;

	if (!is_time(key, v)) {
		cell_text(v, out, cap);
		return;
	}
	time = json_time(json_integer_value(v));
	cell_text(time, out, cap);
	json_decref(time);
}

/* A list of many texts, as the evidence of an alert, would make a line of several screens. */
static void column_text(const char *key, const json_t *v, char *out, size_t cap)
{
	size_t n = json_array_size(v);

	if (!v)
		v = json_null();
	if (n <= LIST_IN_TABLE || !json_is_string(json_array_get(v, 0))) {
		member_text(key, v, out, cap);
		return;
	}
	cell_text(json_array_get(v, 0), out, cap);
	n = strlen(out);
	snprintf(out + n, cap - n, ", ... (%zu)", json_array_size(v));
}

static bool is_table(const json_t *v)
{
	return json_is_array(v) && json_array_size(v) && json_is_object(json_array_get(v, 0));
}

/* How wide the columns of a table are, by the keys of its first row; a single long cell makes none of the
 * other lines longer. NULL: no memory. */
static int *widths_of(const json_t *rows, json_t *first)
{
	int *width = calloc(json_object_size(first) + 1, sizeof *width);
	char cell[CELL_BYTES_MAX];
	const json_t *row;
	size_t i, column;
	const char *key;
	json_t *value;

	if (!width)
		return NULL;
	column = 0;
	json_object_foreach(first, key, value)
	{
		width[column++] = text_width(key);
	}
	json_array_foreach(rows, i, row)
	{
		column = 0;
		json_object_foreach(first, key, value)
		{
			int mine;

			column_text(key, json_object_get(row, key), cell, sizeof cell);
			mine = text_width(cell);
			if (mine > width[column] && mine <= COLUMN_WIDTH_MAX)
				width[column] = mine;
			column++;
		}
	}
	return width;
}

/* Columns are the keys of the first row, in their order; others are not expected. */
static void render_table(FILE *out, const json_t *rows)
{
	json_t *first = json_array_get(rows, 0), *value;
	char cell[CELL_BYTES_MAX];
	const char *key;
	const json_t *row;
	int *width = widths_of(rows, first);

	if (!width) {
		fputs("  no memory for a table\n", out);
		return;
	}
	for (int line = -1; line < (int)json_array_size(rows); line++) {
		size_t column = 0;

		row = line < 0 ? NULL : json_array_get(rows, (size_t)line);
		json_object_foreach(first, key, value)
		{
			bool right = json_is_number(value) && !is_time(key, value),
			     last = ++column == json_object_size(first);
			int mine;

			if (row)
				column_text(key, json_object_get(row, key), cell, sizeof cell);
			else
				snprintf(cell, sizeof cell, "%s", key);
			mine = text_width(cell);
			fputs("  ", out);
			if (right)
				pad(out, width[column - 1] - mine);
			fputs(cell, out);
			if (!right && !last)
				pad(out, width[column - 1] - mine);
		}
		fputc('\n', out);
	}
	free(width);
}

static void render_object(FILE *out, json_t *object)
{
	char cell[4 * CELL_BYTES_MAX];
	const char *key;
	json_t *v;
	int width = 0;

	json_object_foreach(object, key, v) if (!is_table(v) && text_width(key) > width) width =
		text_width(key);
	json_object_foreach(object, key, v)
	{
		const json_t *line;
		size_t i;

		if (is_table(v)) {
			fprintf(out, "%s:\n", key);
			render_table(out, v);
		} else if (json_is_array(v) && json_array_size(v) > 1 &&
			   json_is_string(json_array_get(v, 0))) {
			fprintf(out, "%s:\n", key);
			json_array_foreach(v, i, line)
			{
				fputs("  ", out);
				render_text(out, json_string_value(line) ? json_string_value(line) : "-");
				fputc('\n', out);
			}
		} else {
			member_text(key, v, cell, sizeof cell);
			fprintf(out, "%s", key);
			pad(out, width - text_width(key) + 2);
			fprintf(out, "%s\n", cell[0] ? cell : "-");
		}
	}
}

void render_result(FILE *out, const json_t *result)
{
	const char *text = json_string_value(json_object_get(result, "text"));

	if (text && json_object_size(result) == 1)
		render_text(out, text);
	else if (is_table(result))
		render_table(out, result);
	else if (json_is_object(result))
		render_object(out, (json_t *)(uintptr_t)result);
}
