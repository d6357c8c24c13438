/* See alerts_read.h. */
#include "alerts_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert.h"
#include "command.h"
#include "row_json.h"

#define CHUNK_FIRST 65536u /* records; each chunk is four times the one before it, and lies before it */
#define FIND_SCAN (1ull << 32)

struct seen {
	int64_t received_ms;
	uint64_t offset;
	uint32_t partition;
	json_t *alert; /* owned */
};

struct scan {
	const struct alerts_source *src;
	struct journal *log;
	const char *rule;    /* NULL: any */
	const uint8_t *id;   /* of an alert of the state stage; NULL: any */
	const char *id_text; /* of another; NULL: any */
	uint64_t limit;
	struct seen *list; /* of this partition: the newest `limit` */
	uint64_t count, room;
	struct bytes text;
	struct ruleset_stand rules;
	struct err err;
};

/* ---- one record ---- */
static int seen_add(struct scan *s, const struct record *rec, uint32_t partition, uint64_t offset)
{
	json_t *alert = json_read_back(&s->text);

	if (!alert)
		return err_set(&s->err, -ENOMEM, "no memory for an alert");
	json_object_set_new(alert, "received", json_integer(rec->receive_time_ms));
	if (s->count == s->limit) {
		json_decref(s->list[0].alert);
		memmove(s->list, s->list + 1, --s->count * sizeof *s->list);
	}
	if (s->count == s->room) {
		uint64_t room = s->room * 2 + 16;
		struct seen *more = realloc(s->list, room * sizeof *more);

		if (!more) {
			json_decref(alert);
			return err_set(&s->err, -ENOMEM, "no memory for alerts");
		}
		s->list = more;
		s->room = room;
	}
	s->list[s->count++] = (struct seen){rec->receive_time_ms, offset, partition, alert};
	return 0;
}

static int output_record(struct scan *s, const struct record *rec, uint32_t partition, uint64_t offset)
{
	const struct window_def *def;
	const char *rule;
	uint32_t bytes;

	if (!row_is_alert(rec) || !row_valid(rec) || s->id_text)
		return 0;
	rule = row_alert_text(rec, ROW_TEXT_RULE, &bytes);
	if ((s->rule && (strlen(s->rule) != bytes || memcmp(s->rule, rule, bytes) != 0)) ||
		(s->id && memcmp(s->id, row_alert_of(rec)->id, 16) != 0))
		return 0;
	def = s->src->plan ? window_plan_find(s->src->plan, row_alert_of(rec)->window_uid) : NULL;
	bytes_reset(&s->text);
	row_alert_put_json(&s->text, rec, def ? def->name : "", journal_node(s->src->input),
		journal_epoch(s->src->input));
	return seen_add(s, rec, partition, offset);
}

static int input_record(
	struct scan *s, const struct record *rec, uint32_t generation, uint32_t partition, uint64_t offset)
{
	const struct address at = {journal_node(s->log), journal_epoch(s->log), partition, offset};
	const struct ruleset *rs;
	struct record_key key;
	struct alert alert;
	struct err ignored;

	if (rec->kind != RECORD_EVENT || !rec->hit_count || s->id)
		return 0;
	rs = ruleset_stand_at(&s->rules, s->src->store, generation, &ignored);
	if (!rs)
		return 0;
	record_key_of(&key, rec);
	for (uint32_t i = 0; i < rec->hit_count; i++) {
		int rc = alert_of_hit(&alert, rec, i, &key, &at, rs, generation, &s->err);

		if (rc < 0)
			return rc;
		if (rc == 0 || (s->rule && strcmp(alert.rule_id, s->rule) != 0) ||
			(s->id_text && strcmp(alert.id, s->id_text) != 0))
			continue;
		bytes_reset(&s->text);
		alert_put_json(&s->text, &alert);
		rc = seen_add(s, rec, partition, offset);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- chunks ---- */

/* Alerts of records [from, to). 0, or -errno; what retention takes away meanwhile is not there. */
static int chunk_read(struct scan *s, uint32_t partition, uint64_t from, uint64_t to)
{
	struct journal_reader *reader;
	struct journal_block b;
	uint64_t offset = from;
	int rc = journal_reader_open(&reader, s->log, partition, from, &s->err);

	if (rc == -ERANGE)
		return 0;
	while (rc == 0 && offset < to) {
		const uint8_t *at;

		if (s->src->stopped && s->src->stopped(s->src->arg)) {
			rc = err_set(&s->err, -ECANCELED, "given up: the daemon is draining");
			break;
		}
		rc = journal_reader_next(reader, &b, 0, &s->err);
		if (rc <= 0)
			break;
		rc = 0;
		at = b.data;
		for (uint32_t i = 0; i < b.record_count && rc == 0; i++) {
			const struct record *rec = (const struct record *)at;

			at += rec->bytes;
			offset = b.first_offset + i;
			if (offset < from || offset >= to)
				continue;
			rc = s->log == s->src->output ? output_record(s, rec, partition, offset)
						      : input_record(s, rec, b.generation, partition, offset);
		}
		offset = b.first_offset + b.record_count;
	}
	journal_reader_close(reader);
	return rc == -ERANGE ? 0 : rc;
}

/* The newest chunk first. Each is collected by itself, and goes before what was found. */
static int partition_scan(struct scan *s, uint32_t partition, uint64_t records)
{
	struct journal_partition_stats stats;
	uint64_t to, chunk = CHUNK_FIRST, lowest;
	struct seen *found = NULL;
	uint64_t found_count = 0, want = s->limit;
	int rc = 0;

	journal_stats(s->log, partition, &stats);
	to = stats.durable_offset;
	lowest = to > records ? to - records : 0;
	lowest = lowest > stats.oldest_offset ? lowest : stats.oldest_offset;
	while (rc == 0 && to > lowest && found_count < want) {
		uint64_t from = to - lowest > chunk ? to - chunk : lowest;

		s->count = 0;
		s->limit = want - found_count;
		rc = chunk_read(s, partition, from, to);
		if (s->count) {
			struct seen *all = realloc(found, (found_count + s->count) * sizeof *all);

			if (!all) {
				rc = err_set(&s->err, -ENOMEM, "no memory for alerts");
				for (uint64_t i = 0; i < s->count; i++)
					json_decref(s->list[i].alert);
			} else {
				found = all;
				memmove(all + s->count, all, found_count * sizeof *all);
				memcpy(all, s->list, s->count * sizeof *all);
				found_count += s->count;
			}
		}
		to = from;
		chunk *= 4;
	}
	free(s->list);
	s->list = found;
	s->count = s->room = found_count;
	s->limit = want;
	return rc;
}

/* ---- all ---- */
struct seen_all {
	struct seen *list;
	uint64_t count;
};

static int newest_first(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->received_ms != y->received_ms)
		return x->received_ms < y->received_ms ? 1 : -1;
	if (x->partition != y->partition)
		return x->partition < y->partition ? -1 : 1;
	return x->offset < y->offset ? 1 : x->offset > y->offset ? -1 : 0;
}

static int log_scan(struct scan *s, struct journal *log, uint64_t records, struct seen_all *all)
{
	int rc = 0;

	s->log = log;
	for (uint32_t p = 0; log && p < journal_partitions(log) && rc == 0; p++) {
		struct seen *more;

		rc = partition_scan(s, p, records);
		more = s->count ? realloc(all->list, (all->count + s->count) * sizeof *more) : NULL;
		if (more) {
			all->list = more;
			memcpy(more + all->count, s->list, s->count * sizeof *more);
			all->count += s->count;
		} else {
			for (uint64_t i = 0; i < s->count; i++)
				json_decref(s->list[i].alert);
			rc = s->count && !rc ? err_set(&s->err, -ENOMEM, "no memory for alerts") : rc;
		}
		free(s->list);
		s->list = NULL;
		s->count = s->room = 0;
		if (s->id && all->count)
			break;
	}
	return rc;
}

/* Consumes what was found. */
static json_t *list_of(struct scan *s, struct seen_all *all, uint64_t limit, int rc, struct err *err)
{
	json_t *list = json_array();

	if (all->count)
		qsort(all->list, all->count, sizeof *all->list, newest_first);
	for (uint64_t i = 0; i < all->count; i++) {
		if (i < limit)
			json_array_append(list, all->list[i].alert);
		json_decref(all->list[i].alert);
	}
	free(all->list);
	bytes_free(&s->text);
	ruleset_stand_leave(&s->rules, s->src->store);
	if (rc == 0)
		return list;
	json_decref(list);
	*err = s->err;
	return NULL;
}

json_t *alerts_latest(
	const struct alerts_source *src, const char *rule, uint64_t limit, uint64_t scan, struct err *err)
{
	struct scan s = {.src = src, .rule = rule, .limit = limit};
	struct seen_all all = {0};
	int rc = limit ? log_scan(&s, src->input, scan, &all) : 0;

	if (rc == 0 && limit)
		rc = log_scan(&s, src->output, scan, &all);
	return list_of(&s, &all, limit, rc, err);
}

/* ---- one by its id ---- */

/* "node/epoch/partition/offset/rule" of this journal. */
static bool id_of_address(const struct journal *j, const char *id, uint32_t *partition, uint64_t *offset)
{
	struct address at = {journal_node(j), journal_epoch(j), 0, 0};
	char text[ADDRESS_TEXT_BYTES];
	const char *end = strrchr(id, '/');
	unsigned long long p, o;
	size_t bytes = address_text(text, &at);

	/* all but the partition and the offset, both 0 */
	if (!end || strncmp(id, text, bytes - 3) != 0 || sscanf(id + bytes - 3, "%llu/%llu/", &p, &o) != 2 ||
		p >= journal_partitions(j))
		return false;
	at.partition = (uint32_t)p;
	at.offset = o;
	bytes = address_text(text, &at);
	*partition = at.partition;
	*offset = o;
	return bytes == (size_t)(end - id) && memcmp(text, id, bytes) == 0;
}

int alerts_find(const struct alerts_source *src, const char *id, json_t **alert, struct err *err)
{
	struct scan s = {.src = src, .limit = 1};
	struct seen_all all = {0};
	json_t *list;
	uint8_t uuid[16];
	uint32_t partition;
	uint64_t offset;
	int rc = 0;

	if (uuid_of_text(id, uuid)) {
		s.id = uuid;
		rc = log_scan(&s, src->output, FIND_SCAN, &all);
	} else if (id_of_address(src->input, id, &partition, &offset)) {
		s.id_text = id;
		s.log = src->input;
		rc = chunk_read(&s, partition, offset, offset + 1);
		all = (struct seen_all){s.list, s.count};
	}
	list = list_of(&s, &all, 1, rc, err);
	*alert = json_incref(json_array_get(list, 0));
	json_decref(list);
	if (rc == 0 && !*alert)
		rc = err_set(err, -ENOENT, "no alert '%.100s' in the logs, or not any more", id);
	return rc;
}
