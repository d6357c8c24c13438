/* Makes alerts of rule hits, and their JSON. Sink threads; pure but for the output buffer. */
#include "alert.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int alert_of_hit(struct alert *out, const struct record *rec, uint32_t hit, const struct record_key *key,
	const struct address *at, const struct ruleset *rs, uint32_t generation, struct err *err)
{
	uint16_t index = record_hits(rec)[hit];
	const struct rule_info *rule;
	size_t bytes;

	if (index >= ruleset_match_count(rs)) {
		address_text(out->evidence, at);
		return err_set(err, -EINVAL,
			"record %s: hit of rule %u, but ruleset generation %u has only %u rules and steps: "
			"the stored "
			"ruleset "
			"is not the one that the journal was written with",
			out->evidence, index, generation, ruleset_match_count(rs));
	}
	if (index >= ruleset_rule_count(rs)) /* a step of a rule with state */
		return 0;
	rule = ruleset_rule(rs, index);
	if (!rule_alerts(rule))
		return 0;
	bytes = strlen(rule->id);
	if (bytes >= ALERT_RULE_ID_BYTES)
		return err_set(err, -EINVAL, "rule id of %zu bytes, at most %d can be written", bytes,
			ALERT_RULE_ID_BYTES - 1);
	bytes = address_text(out->evidence, at);
	memcpy(out->id, out->evidence, bytes);
	out->id[bytes] = '/';
	snprintf(out->id + bytes + 1, sizeof out->id - bytes - 1, "%s", rule->id);
	out->rule_id = rule->id;
	out->title = rule->title ? rule->title : "";
	out->severity = rule_severity_name[rule->severity];
	out->version = ruleset_version(rs);
	out->generation = generation;
	out->event_type = rec->type;
	out->key = key;
	out->first_time_ms = rec->event_time_ms;
	out->last_time_ms = rec->event_time_ms;
	return 1;
}

static void put_text(struct bytes *out, const char *name, const char *text)
{
	json_put_name(out, name);
	json_put_string(out, text, strlen(text));
}

static void put_number(struct bytes *out, const char *name, int64_t v)
{
	json_put_name(out, name);
	json_put_i64(out, v);
}

void alert_put_json(struct bytes *out, const struct alert *a)
{
	bytes_put(out, "{", 1);
	put_text(out, "alert_id", a->id);
	put_text(out, "rule_id", a->rule_id);
	put_text(out, "title", a->title);
	put_text(out, "severity", a->severity);
	put_number(out, "generation", a->generation);
	put_text(out, "ruleset", a->version);
	put_text(out, "type", type_table[a->event_type].name ? type_table[a->event_type].name : "");
	json_put_name(out, "key");
	json_put_string(out, a->key->data, a->key->bytes);
	put_number(out, "first_time", a->first_time_ms);
	put_number(out, "last_time", a->last_time_ms);
	json_put_name(out, "evidence");
	bytes_put(out, "[", 1);
	json_put_string(out, a->evidence, strlen(a->evidence));
	bytes_put(out, "]}", 2);
}
