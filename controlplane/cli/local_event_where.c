/* `event`: what a record says, which sinks have it, and what the output log has of it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "alert.h"
#include "clickhouse.h"
#include "event_config.h"
#include "ip_text.h"
#include "local_event.h"
#include "record_key.h"
#include "row.h"
#include "row_json.h"

#define SINCE_MARGIN_MS 60000 /* receive times of the output log against those of the journal */

static struct address address_of(const struct event_search *s, uint64_t offset)
{
	return (struct address){s->meta.node, s->meta.epoch, s->partition, offset};
}

/* ---- rules ---- */
static void rules_add(struct event_search *s, const struct ruleset *rs, const struct record *rec,
	uint32_t generation, const char *address)
{
	uint32_t rules = ruleset_rule_count(rs);

	for (uint32_t i = 0; i < rec->hit_count; i++) {
		const struct rule_info *rule;
		uint16_t hit;

		memcpy(&hit, record_hits(rec) + i, sizeof hit);
		if (hit >= rules) /* a step of a rule with state */
			continue;
		rule = ruleset_rule(rs, hit);
		json_array_append_new(s->rules,
			json_pack("{s:s, s:o, s:o, s:s, s:b, s:b, s:I, s:s}", "address", address, "rule",
				json_text(rule->id), "title", json_text(rule->title ? rule->title : ""),
				"severity", rule_severity_name[rule->severity], "with_state", rule->stateful,
				"alerts", rule_alerts(rule), "generation", (json_int_t)generation, "ruleset",
				ruleset_version(rs)));
	}
}

/* Alerts of rules on single events are made of the record itself. */
static int alerts_add(struct event_search *s, const struct ruleset *rs, const struct record *rec,
	uint32_t generation, uint64_t offset)
{
	const struct address at = address_of(s, offset);
	struct record_key key;
	struct alert alert;

	record_key_of(&key, rec);
	for (uint32_t i = 0; i < rec->hit_count; i++) {
		int rc = alert_of_hit(&alert, rec, i, &key, &at, rs, generation, &s->err);

		if (rc < 0)
			return rc;
		if (rc)
			json_array_append_new(s->alerts,
				json_pack("{s:o, s:o, s:s, s:I, s:s}", "alert_id", json_text(alert.id),
					"rule", json_text(alert.rule_id), "severity", alert.severity,
					"last_time", (json_int_t)alert.last_time_ms, "log", "journal"));
	}
	return 0;
}

static const char *route_of(const struct ruleset *rs, const struct record *rec)
{
	for (uint32_t i = 0; rs && i < rec->hit_count; i++) {
		uint16_t hit;

		memcpy(&hit, record_hits(rec) + i, sizeof hit);
		if (hit < ruleset_rule_count(rs) && rule_route(ruleset_rule(rs, hit)))
			return rule_route(ruleset_rule(rs, hit));
	}
	return NULL;
}

/* ---- sinks ---- */

/* Topic or table of the record; null where the configuration is not known or it goes nowhere. */
static json_t *target_of(
	struct event_search *s, const char *sink, const struct ruleset *rs, const struct record *rec)
{
	bool refused = rec->kind == RECORD_REFUSED;
	struct event_topics topics;
	struct clickhouse_place place;
	const char *route = route_of(rs, rec);
	struct err ignored;

	if (!strcmp(sink, "clickhouse")) {
		clickhouse_place_of(&place, s->data, rec, s->partition, 0);
		return s->cfg_known ? json_sprintf("%s.%s", s->cfg.clickhouse.database, place.table)
				    : json_string(place.table);
	}
	if (strcmp(sink, "kafka") != 0 || !s->cfg_known)
		return json_null();
	if (refused)
		return json_string(s->cfg.kafka.topic_dead);
	if (route)
		return json_string(route);
	if (!s->cfg.kafka.events || rec->type >= EVENT_TYPE_MAX ||
		event_config_topics(&topics, &s->cfg.kafka, &ignored) || !topics.name[rec->type])
		return json_null();
	return json_string(topics.name[rec->type]);
}

static void place_add(struct event_search *s, const char *sink, const struct ruleset *rs,
	const struct record *rec, uint64_t offset, const char *address, uint64_t position)
{
	bool delivered = offset < position,
	     alerts_only = !strcmp(sink, "kafka_alerts") || !strcmp(sink, "webhook");
	bool passed = rec->kind != RECORD_REFUSED &&
		      (rec->kind != RECORD_EVENT || rec->flags & RECORD_F_SUPPRESSED);
	struct clickhouse_place place = {0};
	const char *state = "committed";
	json_t *row;

	if (!strcmp(sink, "clickhouse"))
		clickhouse_place_of(&place, s->data, rec, s->partition, offset);
	place.known = place.known && place.epoch == s->meta.epoch;
	if (!delivered)
		state = "not yet";
	else if (passed)
		state = "passed over";
	else if (place.known && place.parked)
		state = "waits for its server";
	else if (alerts_only)
		state = "its alerts";
	row = json_pack("{s:s, s:s, s:s, s:o, s:o}", "address", address, "sink", sink, "state", state,
		"target", passed ? json_null() : target_of(s, sink, rs, rec), "position", json_u64(position));
	/* Only of the last one it is known where it began and ended. */
	if (place.known && offset >= place.from && offset < place.to)
		json_object_set_new(row, "range",
			json_sprintf("%" PRIu64 "-%" PRIu64 "%s", place.from, place.to,
				place.pending ? " (under way)" : ""));
	json_array_append_new(s->places, row);
}

/* Of a daemon: all sinks of the journal. Of files: what the ClickHouse sink wrote down; Kafka's position is
 * in Kafka. */
static void places_add(struct event_search *s, const struct ruleset *rs, const struct record *rec,
	uint64_t offset, const char *address)
{
	struct clickhouse_place place;
	const json_t *row;
	size_t i;

	json_array_foreach(s->sinks, i, row)
	{
		const char *sink = json_string_value(json_object_get(row, "sink"));

		if (!sink || strchr(sink, '-') ||
			json_integer_value(json_object_get(row, "partition")) != s->partition)
			continue; /* of the output log, or of the epoch before */
		place_add(s, sink, rs, rec, offset, address,
			(uint64_t)json_integer_value(json_object_get(row, "position")));
	}
	if (s->sinks)
		return;
	clickhouse_place_of(&place, s->data, rec, s->partition, offset);
	if (place.known && place.epoch == s->meta.epoch)
		place_add(s, "clickhouse", rs, rec, offset, address, place.pending ? place.from : place.to);
}

/* ---- the record ---- */
int event_record_add(
	struct event_search *s, const struct journal_scan_block *b, const struct record *rec, uint64_t offset)
{
	static const char *const kind[] = {
		"?", "event", "refused", "control", "tick", "row", "late", "mark", "shadow"};
	const struct address at = address_of(s, offset);
	char address[ADDRESS_TEXT_BYTES], source[SOURCE_TEXT_BYTES], id[UUID_TEXT_BYTES];
	const struct ruleset *rs = NULL;
	struct record_key key;
	struct err ignored;
	json_t *row;

	address_text(address, &at);
	source_port_text(source, rec->src_addr, rec->src_port);
	uuid_text(id, rec->event_id);
	record_key_of(&key, rec);
	row = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:o}", "address", address, "kind",
		kind[rec->kind <= RECORD_SHADOW ? rec->kind : 0], "type",
		rec->type < EVENT_TYPE_MAX && type_table[rec->type].name ? type_table[rec->type].name : "",
		"event_id", id, "event_time_ms", (json_int_t)rec->event_time_ms, "receive_time_ms",
		(json_int_t)rec->receive_time_ms, "source", source, "udp_port", (json_int_t)rec->dst_port,
		"key", json_text_n((const char *)key.data, key.bytes));
	json_object_set_new(row, "id_made", json_boolean(rec->flags & RECORD_F_ID_MADE));
	json_object_set_new(row, "suppressed", json_boolean(rec->flags & RECORD_F_SUPPRESSED));
	if (rec->kind == RECORD_REFUSED)
		json_object_set_new(row, "reason",
			json_string(rec->reason < DROP_ID_MAX && drop_table[rec->reason].name
					    ? drop_table[rec->reason].name
					    : "?"));
	json_object_set_new(row, "partition", json_integer(s->partition));
	json_object_set_new(row, "offset", json_u64(offset));
	json_object_set_new(row, "segment", json_u64(b->segment));
	json_object_set_new(row, "file_offset", json_u64(b->file_offset));
	json_object_set_new(row, "block_first_offset", json_u64(b->block.first_offset));
	json_object_set_new(row, "block_records", json_integer(b->block.record_count));
	json_object_set_new(row, "generation", json_integer(b->block.generation));
	json_array_append_new(s->records, row);
	if (s->rulesets && rec->hit_count)
		rs = ruleset_stand_at(&s->ruleset, s->rulesets, b->block.generation, &ignored);
	if (rec->kind == RECORD_EVENT && rs) {
		rules_add(s, rs, rec, b->block.generation, address);
		if (alerts_add(s, rs, rec, b->block.generation, offset) < 0)
			return -EINVAL;
	}
	places_add(s, rs, rec, offset, address);
	return 0;
}

/* ---- the output log ---- */

/* A text of an array of the one object that is among those of the same name in all records. */
static bool names_record(const struct event_search *s, const json_t *list, const char *member)
{
	const json_t *text, *record;
	size_t i, k;

	json_array_foreach(list, i, text)
	{
		json_array_foreach(s->records, k, record)
		{
			if (json_is_string(text) && json_equal(text, json_object_get(record, member)))
				return true;
		}
	}
	return false;
}

static int output_alert(struct event_search *s, const struct record *rec, struct bytes *text)
{
	json_t *alert;

	bytes_reset(text);
	row_alert_put_json(text, rec, "", s->meta.node, s->meta.epoch);
	alert = json_read_back(text);
	if (!alert)
		return -ENOMEM;
	if (names_record(s, json_object_get(alert, "evidence"), "address") ||
		names_record(s, json_object_get(alert, "event_ids"), "event_id"))
		json_array_append_new(s->alerts,
			json_pack("{s:O, s:O, s:O, s:O, s:s}", "alert_id", json_object_get(alert, "alert_id"),
				"rule", json_object_get(alert, "rule_id"), "severity",
				json_object_get(alert, "severity"), "last_time",
				json_object_get(alert, "last_time"), "log", "output"));
	json_decref(alert);
	return 0;
}

static bool is_one_of(const struct event_search *s, const uint8_t event_id[16])
{
	char id[UUID_TEXT_BYTES];
	const json_t *record;
	size_t i;

	uuid_text(id, event_id);
	json_array_foreach(s->records, i, record)
	{
		if (!strcmp(json_string_value(json_object_get(record, "event_id")), id))
			return true;
	}
	return false;
}

static int output_block(
	struct event_search *s, const struct journal_scan_block *b, struct bytes *text, uint64_t *late)
{
	const uint8_t *at = b->block.data;
	int rc = 0;

	for (uint32_t i = 0; i < b->block.record_count && rc == 0; i++) {
		const struct record *rec = (const struct record *)at;

		at += rec->bytes;
		if (row_is_alert(rec) && row_valid(rec))
			rc = output_alert(s, rec, text);
		else if (rec->kind == RECORD_LATE && is_one_of(s, rec->event_id))
			++*late;
	}
	return rc;
}

int event_output_scan(struct event_search *s, int64_t since_ms, uint64_t *late, struct err *err)
{
	struct journal_meta meta;
	struct bytes text = {0};
	char dir[PATH_MAX];
	int rc = 0;

	snprintf(dir, sizeof dir, "%s/output", s->data);
	*late = 0;
	if (access(dir, R_OK | X_OK) || journal_meta_read(dir, &meta, err))
		return 0; /* the state stage has not run here */
	s->what = "output log";
	for (uint32_t p = 0; p < meta.partitions && rc == 0; p++) {
		struct journal_scanner *scanner;
		struct journal_scan_block b;
		uint64_t segment = 0;
		uint32_t done = 0;

		rc = journal_scanner_open_since(&scanner, dir, p, since_ms - SINCE_MARGIN_MS, err);
		if (rc)
			break;
		s->partition = p;
		while (rc == 0 && (rc = journal_scanner_next(scanner, &b, err)) == 1 && b.intact) {
			if (b.segment != segment)
				event_progress(s, done++, 0);
			segment = b.segment;
			rc = output_block(s, &b, &text, late);
		}
		rc = rc < 0 ? rc : 0;
		journal_scanner_close(scanner);
	}
	bytes_free(&text);
	return rc < 0 && !err->text[0] ? err_set(err, rc, "%s: %s", dir, strerror(-rc)) : rc;
}
