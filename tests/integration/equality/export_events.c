/* Writes the events of a journal as the peer of the comparison reads them: in journal order, one partition
 *after the other . Format: perf/peers/flink, Event.java. Offline; one thread. export_events JOURNAL_DIR
 *OUT_FILE */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"

struct export
{
	FILE *out;
	uint64_t events;
};

static void put_text(FILE *out, const struct record *rec, enum field_id id)
{
	uint32_t bytes;
	const uint8_t *data = record_field(rec, id, &bytes);
	uint16_t length = data ? (uint16_t)bytes : 0xffff;

	fwrite(&length, sizeof length, 1, out);
	if (data)
		fwrite(data, 1, bytes, out);
}

static void put_event(FILE *out, const struct record *rec, uint64_t offset)
{
	int64_t fixed[3] = {rec->event_time_ms, (int64_t)offset, INT64_MIN};
	const char *type = type_table[rec->type].name;
	uint16_t length = type ? (uint16_t)strlen(type) : 0xffff;
	double value = NAN;
	uint32_t bytes;
	const uint8_t *number = record_field(rec, FIELD_amount, &bytes);

	if (number)
		memcpy(&fixed[2], number, sizeof fixed[2]);
	number = record_field(rec, FIELD_metric, &bytes);
	if (!number)
		number = record_field(rec, FIELD_value, &bytes);
	if (number)
		memcpy(&value, number, sizeof value);
	fwrite(fixed, sizeof fixed, 1, out);
	fwrite(&value, sizeof value, 1, out);
	put_text(out, rec, FIELD_user_id);
	put_text(out, rec, FIELD_page);
	put_text(out, rec, FIELD_country);
	put_text(out, rec, FIELD_source);
	fwrite(&length, sizeof length, 1, out);
	if (type)
		fwrite(type, 1, length, out);
}

static int each_block(void *arg, const struct journal_scan_block *b)
{
	struct export *e = arg;
	const uint8_t *at = b->block.data;

	if (!b->intact) {
		fprintf(stderr, "export_events: damaged block: %s\n", b->fault);
		return 1;
	}
	for (uint32_t i = 0; i < b->block.record_count; i++) {
		const struct record *rec = (const struct record *)at;

		at += rec->bytes;
		if (rec->kind != RECORD_EVENT || (rec->flags & RECORD_F_SUPPRESSED))
			continue;
		put_event(e->out, rec, b->block.first_offset + i);
		e->events++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct export e = {0};
	struct journal_meta meta;
	struct err err = {.text = ""};
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: export_events JOURNAL_DIR OUT_FILE\n");
		return 2;
	}
	e.out = fopen(argv[2], "wb");
	if (!e.out) {
		fprintf(stderr, "export_events: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	rc = journal_meta_read(argv[1], &meta, &err);
	for (uint32_t p = 0; rc == 0 && p < meta.partitions; p++)
		rc = journal_scan(argv[1], p, each_block, &e, &err);
	if (fclose(e.out) && rc == 0)
		rc = err_set(&err, -errno, "%s: %s", argv[2], strerror(errno));
	if (rc)
		fprintf(stderr, "export_events: %s\n", err.text);
	else
		printf("events=%" PRIu64 "\n", e.events);
	return rc ? 1 : 0;
}
