/* Any bytes as a record of the output log: refused, or every accessor stays inside. */
#include <stdlib.h>
#include <string.h>

/* The source itself, so that it is built for coverage. */
#include "row.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void touch(const void *data, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		sink ^= ((const uint8_t *)data)[i];
}

static void alert_touch(const struct record *rec)
{
	uint32_t bytes;

	for (int i = 0; i < 5; i++) {
		const char *text = row_alert_text(rec, (enum row_text)i, &bytes);

		touch(text, bytes);
	}
	for (uint32_t i = 0; i < row_alert_of(rec)->evidence_count; i++)
		sink ^= (uint8_t)row_alert_evidence(rec, i).offset;
}

static void row_touch(const struct row *row)
{
	const uint8_t *part;
	uint32_t bytes, i = 0;

	for (; row_key_part(row, i, &part, &bytes); i++)
		touch(part, bytes);
	if (i > WINDOW_GROUP_MAX + 1)
		abort();
	touch(row_agg(row), row->agg_bytes);
	touch(row_delta(row), row->delta_bytes);
	if (row_compare(row, row))
		abort();
}

static void many_touch(const struct record *rec)
{
	struct bytes one = {0};
	struct row_walk walk;

	row_walk_first(&walk, rec);
	do {
		bytes_reset(&one);
		row_walk_put(&walk, 1, &one);
		if (!row_valid((const struct record *)one.data))
			abort();
		row_touch(row_of((const struct record *)one.data));
	} while (row_walk_next(&walk));
	bytes_free(&one);
}

static void definitions_touch(const struct record *rec)
{
	uint32_t count;
	const struct row_definition *list = row_definitions(rec, &count);

	touch(list, count * (uint32_t)sizeof *list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record *rec = malloc(size ? size : 1); /* as large as it is: a byte beyond is seen */

	memcpy(rec, data, size);
	if (size >= sizeof *rec) {
		rec->bytes = (uint32_t)(size & ~7ul);
		rec->kind = (uint8_t)(RECORD_ROW + rec->kind % 3);
	}
	if (record_valid(rec, size) && row_valid(rec)) {
		if (rec->kind == RECORD_MARK)
			definitions_touch(rec);
		else if (rec->kind == RECORD_LATE)
			sink ^= (uint8_t)(row_late_offset(rec) ^ row_late_window(rec));
		else if (row_is_alert(rec))
			alert_touch(rec);
		else if (rec->kind == RECORD_ROW && rec->type == ROW_PARTIALS)
			many_touch(rec);
		else if (rec->kind == RECORD_ROW)
			row_touch(row_of(rec));
	}
	free(rec);
	return 0;
}
