/* `journal ls|dump|verify`: reads a journal directory as it lies there, also of a stopped or running daemon.
 * Every byte is checked by journal_scan() before it is looked at. */
#include "cli.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "drops.h"
#include "journal.h"
#include "json_print.h"
#include "value_text.h"

enum cli_exit cli_journal_dir(const struct cli *cli, char *dir, size_t cap, struct err *err)
{
	const char *given = json_string_value(json_object_get(cli->args, "dir")), *theirs;
	struct client_link link;
	json_t *none, *status = NULL;
	enum cli_exit code;

	if (given) {
		snprintf(dir, cap, "%s", given);
		return CLI_OK;
	}
	code = client_connect(&link, cli->socket, err);
	if (code != CLI_OK) {
		err_prefix(err, "no --dir given, and");
		return code;
	}
	none = json_object();
	code = client_call(&link, "status", none, &status, err);
	json_decref(none);
	client_close_link(&link);
	theirs = json_string_value(json_object_get(json_object_get(status, "journal"), "dir"));
	if (code == CLI_OK && !theirs) {
		err_set(err, -EPROTO, "the daemon did not say where its journal is");
		code = CLI_FAILED;
	}
	if (code == CLI_OK)
		snprintf(dir, cap, "%s", theirs);
	json_decref(status);
	return code;
}

int cli_journal_meta(const char *dir, struct journal_meta *meta, struct err *err)
{
	int rc = journal_meta_read(dir, meta, err);
	char inner[PATH_MAX];
	struct err why;

	if (rc != -ENOENT)
		return rc;
	snprintf(inner, sizeof inner, "%.*s%sjournal", PATH_MAX - 20, dir,
		*dir && dir[strlen(dir) - 1] == '/' ? "" : "/");
	if (journal_meta_read(inner, meta, &why) == 0) {
		memcpy(why.text, err->text, sizeof why.text);
		err_set(err, rc, "%.200s: did you mean %.250s?", why.text, inner);
	}
	return rc;
}

/* ---- ls, verify ---- */

struct survey {
	json_t *segments;
	uint32_t partition;
	uint64_t segment, blocks, records, bytes, first, next; /* of the segment under way */
	uint64_t total_blocks, total_records, total_bytes, oldest, end;
	uint64_t kind[8];
	bool any, damaged;
	char fault[300];
};

static void survey_segment_end(struct survey *s)
{
	if (s->blocks)
		json_array_append_new(
			s->segments, json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "partition",
					     (json_int_t)s->partition, "segment", json_u64(s->segment),
					     "first_offset", json_u64(s->first), "next_offset",
					     json_u64(s->next), "blocks", json_u64(s->blocks), "records",
					     json_u64(s->records), "bytes", json_u64(s->bytes)));
	s->blocks = s->records = s->bytes = 0;
}

static void survey_records(struct survey *s, const struct journal_block *block)
{
	const uint8_t *p = block->data;

	for (uint32_t i = 0; i < block->record_count; i++) {
		const struct record *rec = (const struct record *)p;

		s->kind[rec->kind & 7]++;
		p += rec->bytes;
	}
}

static int survey_block(void *arg, const struct journal_scan_block *b)
{
	struct survey *s = arg;

	if (!b->intact) {
		s->damaged = true;
		snprintf(s->fault, sizeof s->fault, "segment %" PRIu64 ", file offset %" PRIu64 ": %s",
			b->segment, b->file_offset, b->fault ? b->fault : "damaged");
		return 0;
	}
	if (s->blocks && b->segment != s->segment)
		survey_segment_end(s);
	if (!s->blocks) {
		s->segment = b->segment;
		s->first = b->block.first_offset;
	}
	if (!s->any)
		s->oldest = b->block.first_offset;
	s->any = true;
	s->blocks++;
	s->records += b->block.record_count;
	s->bytes += b->block.bytes;
	s->next = s->end = b->block.first_offset + b->block.record_count;
	s->total_blocks++;
	s->total_records += b->block.record_count;
	s->total_bytes += b->block.bytes;
	survey_records(s, &b->block);
	return 0;
}

static json_t *survey_row(const struct survey *s)
{
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "partition",
		(json_int_t)s->partition, "oldest_offset", json_u64(s->oldest), "next_offset",
		json_u64(s->end), "blocks", json_u64(s->total_blocks), "records", json_u64(s->total_records),
		"events", json_u64(s->kind[RECORD_EVENT]), "refused", json_u64(s->kind[RECORD_REFUSED]),
		"shadows", json_u64(s->kind[RECORD_SHADOW & 7]), "other",
		json_u64(s->kind[RECORD_CONTROL] + s->kind[RECORD_TICK]), "bytes", json_u64(s->total_bytes),
		"state", s->damaged ? "damaged" : "intact");
}

/* Scans all partitions. *damaged counts those with a fault, which `faults` describes. */
static int survey_all(const char *dir, json_t *rows, json_t *segments, json_t *faults,
	const struct journal_meta *meta, uint32_t *damaged, struct err *err)
{
	for (uint32_t p = 0; p < meta->partitions; p++) {
		struct survey s = {.segments = segments, .partition = p};
		int rc = journal_scan(dir, p, survey_block, &s, err);

		if (rc < 0)
			return rc;
		survey_segment_end(&s);
		json_array_append_new(rows, survey_row(&s));
		if (s.damaged) {
			(*damaged)++;
			json_array_append_new(faults, json_sprintf("partition %u: %s", p, s.fault));
		}
	}
	return 0;
}

static enum cli_exit survey_run(const struct cli *cli, bool verify, FILE *out, struct err *err)
{
	json_t *rows, *segments, *faults, *result;
	struct journal_meta meta;
	char dir[4096];
	uint32_t damaged = 0;
	enum cli_exit code = cli_journal_dir(cli, dir, sizeof dir, err);
	int rc;

	if (code != CLI_OK)
		return code;
	if (cli_journal_meta(dir, &meta, err))
		return CLI_FAILED;
	rows = json_array();
	segments = json_array();
	faults = json_array();
	rc = survey_all(dir, rows, segments, faults, &meta, &damaged, err);
	result = json_pack("{s:o, s:s, s:o, s:I, s:O}", "dir", json_text(dir), "node", meta.node, "epoch",
		json_sprintf("%016" PRIx64, meta.epoch), "damaged", (json_int_t)damaged, "partitions", rows);
	if (verify)
		json_object_set(result, "faults", faults);
	else
		json_object_set(result, "segments", segments);
	if (rc == 0)
		cli_print(cli, out, json_incref(result));
	json_decref(result);
	json_decref(rows);
	json_decref(segments);
	json_decref(faults);
	if (rc)
		return CLI_FAILED;
	if (verify && damaged)
		err_set(err, -EILSEQ, "%u partitions are damaged", damaged);
	return verify && damaged ? CLI_FAILED : CLI_OK;
}

enum cli_exit local_journal_ls(const struct cli *cli, FILE *out, struct err *err)
{
	return survey_run(cli, false, out, err);
}

enum cli_exit local_journal_verify(const struct cli *cli, FILE *out, struct err *err)
{
	return survey_run(cli, true, out, err);
}

/* ---- dump ---- */

struct dump {
	FILE *out;
	uint64_t from, left;
	bool ids, damaged;
	char fault[200];
};

static json_t *payload_json(const struct record *rec, const char **key)
{
	const uint8_t *raw = record_payload(rec);
	uint32_t bytes = rec->kind == RECORD_EVENT || rec->kind == RECORD_REFUSED ? rec->raw_bytes
										  : rec->payload_bytes;
	json_t *v = json_stringn((const char *)raw, bytes);
	char *hex;

	*key = "payload";
	if (v)
		return v;
	*key = "payload_hex"; /* not UTF-8: a dead letter */
	hex = malloc(2 * (size_t)bytes + 1);
	if (!hex)
		return json_null();
	for (uint32_t i = 0; i < bytes; i++)
		snprintf(hex + 2 * (size_t)i, 3, "%02x", raw[i]);
	v = json_string(bytes ? hex : "");
	free(hex);
	return v;
}

/* What enrichment added; NULL if it added nothing. */
static json_t *enrichment_json(const struct record *rec)
{
	json_t *o = rec->field_mask & event_enriched_mask ? json_object() : NULL;

	for (int f = 1; o && f < FIELD_ID_MAX; f++) {
		uint32_t bytes;
		const uint8_t *text = record_field(rec, (enum field_id)f, &bytes);

		if (text && event_enriched_mask >> f & 1)
			json_object_set_new(o, field_table[f].name, json_text_n((const char *)text, bytes));
	}
	return o;
}

static json_t *record_json(const struct journal_block *block, const struct record *rec, uint64_t offset)
{
	static const char *const kind[] = {
		"?", "event", "refused", "control", "tick", "row", "late", "mark", "shadow"};
	/* by enum row_type */
	static const char *const row[] = {"?", "partial", "window", "session", "funnel", "alert", "partials"};
	const char *type = rec->kind != RECORD_ROW		  ? type_table[rec->type].name
			   : rec->type < sizeof row / sizeof *row ? row[rec->type]
								  : row[0];
	const char *payload_key;
	const char *reason = rec->reason < DROP_ID_MAX ? drop_table[rec->reason].name : NULL;
	const char *field = rec->reason_field < FIELD_ID_MAX ? field_table[rec->reason_field].name : NULL;
	char id[UUID_TEXT_BYTES], src[INET6_ADDRSTRLEN] = "";
	json_t *hits = json_array(), *out, *payload;

	uuid_text(id, rec->event_id);
	inet_ntop(AF_INET6, rec->src_addr, src, sizeof src);
	for (uint32_t i = 0; i < rec->hit_count; i++) {
		uint16_t hit;

		memcpy(&hit, record_hits(rec) + i, sizeof hit);
		json_array_append_new(hits, json_integer(hit));
	}
	out = json_pack("{s:I, s:o, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:i, s:o}", "partition",
		(json_int_t)block->partition, "offset", json_u64(offset), "kind",
		kind[rec->kind <= RECORD_SHADOW ? rec->kind : 0], "type", type ? type : "", "event_id", id,
		"event_time_ms", (json_int_t)rec->event_time_ms, "receive_time_ms",
		(json_int_t)rec->receive_time_ms, "source", src, "source_port", (json_int_t)rec->src_port,
		"udp_port", (json_int_t)rec->dst_port, "generation", (json_int_t)block->generation, "flags",
		(int)rec->flags, "hits", hits);
	if (rec->kind == RECORD_REFUSED) {
		json_object_set_new(out, "reason", json_string(reason ? reason : "?"));
		json_object_set_new(out, "field", json_string(field ? field : ""));
	}
	json_object_set_new(out, "enrichment", enrichment_json(rec)); /* nothing is not set */
	payload = payload_json(rec, &payload_key);
	json_object_set_new(out, payload_key, payload);
	return out;
}

static void dump_record(
	struct dump *d, const struct journal_block *block, const struct record *rec, uint64_t offset)
{
	char id[UUID_TEXT_BYTES];
	json_t *row;

	if (d->ids) {
		if (rec->kind != RECORD_EVENT)
			return;
		uuid_text(id, rec->event_id);
		fprintf(d->out, "%s\n", id);
	} else {
		row = record_json(block, rec, offset);
		/* Anybody can have sent what stands in it: no byte of it may command a terminal. */
		json_print_file(row, d->out, JSON_COMPACT | JSON_ENSURE_ASCII);
		fputc('\n', d->out);
		json_decref(row);
	}
	d->left--;
}

static int dump_block(void *arg, const struct journal_scan_block *b)
{
	struct dump *d = arg;
	const uint8_t *p = b->block.data;

	if (!b->intact) {
		d->damaged = true;
		snprintf(d->fault, sizeof d->fault, "segment %" PRIu64 ", file offset %" PRIu64 ": %s",
			b->segment, b->file_offset, b->fault ? b->fault : "damaged");
		return 0;
	}
	for (uint32_t i = 0; i < b->block.record_count && d->left; i++) {
		const struct record *rec = (const struct record *)p;

		if (b->block.first_offset + i >= d->from)
			dump_record(d, &b->block, rec, b->block.first_offset + i);
		p += rec->bytes;
	}
	return d->left ? 0 : 1;
}

static uint64_t uint_arg(const struct cli *cli, const char *name, uint64_t def)
{
	const json_t *v = json_object_get(cli->args, name);

	return v ? (uint64_t)json_integer_value(v) : def;
}

enum cli_exit local_journal_dump(const struct cli *cli, FILE *out, struct err *err)
{
	uint64_t only = uint_arg(cli, "partition", UINT64_MAX);
	struct journal_meta meta;
	char dir[4096];
	enum cli_exit code = cli_journal_dir(cli, dir, sizeof dir, err);

	if (code != CLI_OK)
		return code;
	if (cli_journal_meta(dir, &meta, err))
		return CLI_FAILED;
	if (only != UINT64_MAX && only >= meta.partitions) {
		err_set(err, -EINVAL, "--partition: the journal has 0 to %u", meta.partitions - 1);
		return CLI_USAGE;
	}
	for (uint32_t p = 0; p < meta.partitions; p++) {
		struct dump d = {.out = out,
			.from = uint_arg(cli, "from", 0),
			.left = uint_arg(cli, "count", UINT64_MAX),
			.ids = json_is_true(json_object_get(cli->args, "ids"))};

		if (only != UINT64_MAX && p != only)
			continue;
		if (d.left && journal_scan(dir, p, dump_block, &d, err) < 0)
			return CLI_FAILED;
		if (d.damaged) {
			err_set(err, -EILSEQ, "partition %u is damaged, all else was printed: %s", p,
				d.fault);
			code = CLI_FAILED;
		}
	}
	return code;
}
