/* CSV files to lookup tables: rows first, then slots, when their number is known. Control threads. */
#include "lookup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "bytes.h"
#include "csv.h"
#include "table_file.h"
#include "table_memory.h"
#include "textmap.h"
#include "utf8.h"

struct row {
	struct lookup_slot slot; /* tag unset */
	uint32_t line;
};

struct load {
	const struct lookup_want *want;
	struct err *err;
	int columns, key_column, value_column;
	struct bytes text;
	struct textmap values; /* value -> its place in text; keys borrowed from the CSV buffer */
	struct row *row;
	uint32_t row_count, row_capacity;
};

/* Bytes of a file for an error text. */
static void printable(char out[48], const char *text, size_t bytes)
{
	size_t n = bytes < 40 ? bytes : 40;

	for (size_t i = 0; i < n; i++)
		out[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	memcpy(out + n, bytes > n ? "..." : "", bytes > n ? 4 : 1);
}

/* The column of that name; "" = column `def`; -1 with err. */
static int column_find(
	struct load *ld, const struct csv_cell *cell, int count, const char *name, int def, const char *key)
{
	int found = -1;

	if (!*name && def < count)
		return def;
	for (int i = 0; i < count && *name; i++) {
		if (cell[i].bytes != strlen(name) || memcmp(cell[i].text, name, cell[i].bytes) != 0)
			continue;
		if (found >= 0) {
			err_set(ld->err, -EINVAL, "line 1: column '%s' is there twice", name);
			return -1;
		}
		found = i;
	}
	if (found < 0)
		err_set(ld->err, -EINVAL,
			"line 1: the header row has %d columns and none that lookups.%s wants%s%s", count,
			key, *name ? ": " : "", name);
	return found;
}

static int header_read(struct load *ld, struct csv *csv, struct csv_cell *cell)
{
	int count = csv_row(csv, cell, ld->err);

	if (count == 0)
		return err_set(ld->err, -EINVAL, "no header row");
	if (count < 0)
		return count;
	ld->columns = count;
	ld->key_column = column_find(ld, cell, count, ld->want->key_column, 0, "key_column");
	if (ld->key_column < 0)
		return -EINVAL;
	ld->value_column = column_find(ld, cell, count, ld->want->value_column, 1, "value_column");
	return ld->value_column < 0 ? -EINVAL : 0;
}

/* Appends a value, each distinct one once. 0 or -ENOMEM. */
static int value_place(struct load *ld, const struct csv_cell *value, uint32_t *at)
{
	struct textmap_slot *slot = textmap_add(&ld->values, value->text, (uint32_t)value->bytes);

	if (!slot)
		return -ENOMEM;
	if (slot->value == TEXTMAP_NONE) {
		slot->value = (uint32_t)ld->text.bytes;
		bytes_put(&ld->text, value->text, value->bytes);
	}
	*at = slot->value;
	return ld->text.failed ? -ENOMEM : 0;
}

static int row_check(struct load *ld, int count, const struct csv_cell *cell, uint64_t line)
{
	const struct csv_cell *key = &cell[ld->key_column], *value = &cell[ld->value_column];

	if (count != ld->columns)
		return err_set(ld->err, -EINVAL, "line %" PRIu64 ": %d columns, the header row has %d", line,
			count, ld->columns);
	if (key->bytes == 0)
		return err_set(ld->err, -EINVAL, "line %" PRIu64 ": the key is empty", line);
	if (key->bytes > ld->want->key_bytes_max)
		return err_set(ld->err, -EINVAL,
			"line %" PRIu64 ": the key has %zu bytes, its field at most %u", line, key->bytes,
			ld->want->key_bytes_max);
	if (value->bytes > ld->want->value_bytes_max)
		return err_set(ld->err, -EINVAL,
			"line %" PRIu64 ": the value has %zu bytes, its field at most %u", line, value->bytes,
			ld->want->value_bytes_max);
	if (!utf8_valid((const uint8_t *)key->text, (uint32_t)key->bytes) ||
		!utf8_valid((const uint8_t *)value->text, (uint32_t)value->bytes))
		return err_set(ld->err, -EINVAL, "line %" PRIu64 ": not UTF-8", line);
	if (line > UINT32_MAX)
		return err_set(ld->err, -EINVAL, "more lines than can be counted");
	return 0;
}

static int row_add(struct load *ld, const struct csv_cell *key, const struct csv_cell *value, uint32_t line)
{
	struct row *row;
	int rc;

	if (ld->row_count == ld->row_capacity) {
		uint32_t capacity = ld->row_capacity ? ld->row_capacity * 2 : 1024;

		row = realloc(ld->row, capacity * sizeof *row);
		if (!row)
			return -ENOMEM;
		ld->row = row;
		ld->row_capacity = capacity;
	}
	row = &ld->row[ld->row_count];
	row->line = line;
	row->slot = (struct lookup_slot){
		.key_bytes = (uint16_t)key->bytes, .value_bytes = (uint16_t)value->bytes};
	rc = value_place(ld, value, &row->slot.value_at);
	if (rc)
		return rc;
	row->slot.key_at = (uint32_t)ld->text.bytes;
	bytes_put(&ld->text, key->text, key->bytes);
	ld->row_count++;
	return ld->text.failed ? -ENOMEM : 0;
}

static int rows_read(struct load *ld, struct csv *csv, struct csv_cell *cell)
{
	int count, rc = 0;

	while (rc == 0 && (count = csv_row(csv, cell, ld->err))) {
		if (count < 0)
			return count;
		rc = row_check(ld, count, cell, csv->row_line);
		if (rc)
			return rc;
		rc = row_add(ld, &cell[ld->key_column], &cell[ld->value_column], (uint32_t)csv->row_line);
	}
	return rc ? err_set(ld->err, rc, "no memory") : 0;
}

/* Puts the row into its slot; a key that is there already is refused. line: by slot. */
static int slot_put(struct load *ld, struct lookup *lk, uint32_t *line, const struct row *row)
{
	const uint8_t *key = ld->text.data + row->slot.key_at;
	uint64_t hash = lookup_hash(key, row->slot.key_bytes);
	uint32_t i = (uint32_t)hash & lk->mask;
	char text[48];

	for (; lk->slot[i].key_bytes; i = (i + 1) & lk->mask) {
		const struct lookup_slot *s = &lk->slot[i];

		if (s->key_bytes != row->slot.key_bytes ||
			memcmp(ld->text.data + s->key_at, key, s->key_bytes) != 0)
			continue;
		printable(text, (const char *)key, row->slot.key_bytes);
		return err_set(ld->err, -EINVAL, "line %u: the key '%s' is in line %u already", row->line,
			text, line[i]);
	}
	lk->slot[i] = row->slot;
	lk->slot[i].tag = (uint32_t)(hash >> 32);
	line[i] = row->line;
	return 0;
}

static int slots_make(struct load *ld, struct lookup *lk)
{
	uint64_t slots = 16;
	uint32_t *line;
	int rc = 0;

	while (slots < 2ull * ld->row_count)
		slots *= 2;
	if (slots > 1ull << 31)
		return err_set(ld->err, -EINVAL, "more rows than a table can have");
	lk->mask = (uint32_t)slots - 1;
	lk->slot = table_alloc(slots * sizeof *lk->slot);
	line = calloc(slots, sizeof *line);
	if (lk->slot && line)
		memset(lk->slot, 0, slots * sizeof *lk->slot);
	else
		rc = err_set(ld->err, -ENOMEM, "no memory");
	for (uint32_t i = 0; i < ld->row_count && rc == 0; i++)
		rc = slot_put(ld, lk, line, &ld->row[i]);
	free(line);
	return rc;
}

int lookup_parse(
	struct lookup *out, char *data, size_t bytes, const struct lookup_want *want, struct err *err)
{
	struct csv_cell *cell = calloc(CSV_COLUMNS_MAX, sizeof *cell);
	struct load ld = {.want = want, .err = err};
	struct csv csv;
	int rc;

	memset(out, 0, sizeof *out);
	out->version = hash_bytes(data, bytes, 0); /* before cells are decoded in place */
	csv_start(&csv, data, bytes);
	rc = cell ? header_read(&ld, &csv, cell) : err_set(err, -ENOMEM, "no memory");
	if (rc == 0)
		rc = rows_read(&ld, &csv, cell);
	if (rc == 0)
		rc = slots_make(&ld, out);
	out->rows = ld.row_count;
	out->text_bytes = ld.text.bytes;
	out->text = table_take(&ld.text);
	if (rc == 0 && !out->text)
		rc = err_set(err, -ENOMEM, "no memory");
	textmap_free(&ld.values);
	free(ld.row);
	free(cell);
	if (rc) {
		err_prefix(err, "%s", want->file);
		lookup_free(out);
	}
	return rc;
}

int lookup_load(struct lookup *out, const struct lookup_want *want, struct err *err)
{
	size_t bytes = 0;
	char *data;
	int rc;

	memset(out, 0, sizeof *out);
	rc = table_file_read(&data, &bytes, want->file, want->file_bytes_max, err);
	if (rc == 0)
		rc = lookup_parse(out, data, bytes, want, err);
	free(data);
	return rc;
}

void lookup_free(struct lookup *lk)
{
	free(lk->slot);
	free(lk->text);
	memset(lk, 0, sizeof *lk);
}
