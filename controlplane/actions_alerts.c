/* Commands about alerts: the latest ones, one, and what people say of it. Each on a job thread of its own. */
#include "daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "alerts_read.h"
#include "clock.h"
#include "closings.h"
#include "log.h"
#include "nearest.h"

#define ALERTS_DEFAULT 50u
#define ALERTS_MAX 1000u
#define ALERT_OF_WINDOW "anomaly:" /* a rule's id has no colon */
#define RULE_GENERATIONS_BACK 8u   /* that are asked for a rule that is not in force any more */

/* A log may take minutes to read, and the end waits for all jobs. */
static bool draining(void *arg)
{
	struct daemon *d = arg;

	return atomic_load(&d->phase) != PHASE_RUNNING;
}

static struct alerts_source source_of(struct daemon *d)
{
	return (struct alerts_source){.input = d->journal,
		.output = d->state ? state_output(d->state) : NULL,
		.store = d->store,
		.plan = d->state ? state_plan(d->state) : NULL,
		.stopped = draining,
		.arg = d};
}

static const char *text_of(const json_t *alert, const char *name)
{
	const char *text = json_string_value(json_object_get(alert, name));

	return text ? text : "";
}

/* What senders wrote is in it: perhaps a zero byte. */
static json_t *key_json(const json_t *alert)
{
	const json_t *key = json_object_get(alert, "key");

	return json_text_n(json_is_string(key) ? json_string_value(key) : "", json_string_length(key));
}

static json_t *closed_json(struct daemon *d, const char *alert)
{
	enum closing_as as = closings_of(d->closings, alert);

	return as < CLOSING_AS_COUNT ? json_string(closing_as_name[as]) : json_null();
}

/* ---- list ---- */
static json_t *row_of_alert(struct daemon *d, const json_t *alert)
{
	json_int_t received = json_integer_value(json_object_get(alert, "received"));
	const json_t *events = json_object_get(alert, "evidence_total");

	return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "received", json_time(received), "rule",
		text_of(alert, "rule_id"), "severity", text_of(alert, "severity"), "key", key_json(alert),
		"events", json_integer(events ? json_integer_value(events) : 1), "last_time",
		json_time(json_integer_value(json_object_get(alert, "last_time"))), "closed",
		closed_json(d, text_of(alert, "alert_id")), "alert_id",
		json_text(text_of(alert, "alert_id")));
}

json_t *run_alerts_list(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	const struct alerts_source src = source_of(d);
	const char *rule = request_text(rq, "rule", NULL);
	uint64_t limit = request_uint(rq, "limit", ALERTS_DEFAULT);
	bool open = json_is_true(json_object_get(rq->args, "open"));
	json_t *found, *rows, *alert;
	size_t i;

	(void)peer;
	limit = limit < ALERTS_MAX ? limit : ALERTS_MAX;
	found = alerts_latest(
		&src, rule, open ? ALERTS_MAX : limit, request_uint(rq, "scan", ALERTS_SCAN_RECORDS), err);
	if (!found)
		return NULL;
	rows = json_array();
	json_array_foreach(found, i, alert)
	{
		if (json_array_size(rows) == limit)
			break;
		if (!open || closings_of(d->closings, text_of(alert, "alert_id")) == CLOSING_AS_COUNT)
			json_array_append_new(rows, row_of_alert(d, alert));
	}
	json_decref(found);
	return json_pack("{s:o}", "alerts", rows);
}

/* ---- show ---- */
static int history_add(void *arg, const struct closing *c)
{
	json_array_append_new(arg, json_pack("{s:o, s:s, s:I, s:I, s:s}", "time", json_time(c->time_ms), "as",
					   closing_as_name[c->as], "uid", (json_int_t)c->uid, "pid",
					   (json_int_t)c->pid, "note", c->note));
	return 0;
}

/* An alert whose record is gone is still known by what was said of it. */
json_t *run_alerts_show(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	const struct alerts_source src = source_of(d);
	const char *id = request_text(rq, "id", "");
	json_t *history = json_array(), *alert;
	int rc;

	(void)peer;
	closings_each(d->closings, id, history_add, history);
	rc = alerts_find(&src, id, &alert, err);
	if (rc == -ENOENT && json_array_size(history))
		alert = json_pack("{s:o}", "alert_id", json_text(id));
	if (!alert) {
		json_decref(history);
		return NULL;
	}
	json_object_set_new(alert, "closed", closed_json(d, id));
	json_object_set_new(alert, "history", history);
	return alert;
}

/* ---- close ---- */

/* Of the rule as it was then, not of its canary, which has no alerts; "": its generation is gone, or it is no
 * rule's. */
static void version_of(struct daemon *d, const char *rule, uint32_t generation, char version[17])
{
	struct err ignored;
	const struct ruleset *rs = generation ? ruleset_store_get(d->store, generation, &ignored) : NULL;

	version[0] = 0;
	for (uint32_t i = 0; rs && i < ruleset_rule_count(rs); i++) {
		const struct rule_info *info = ruleset_rule(rs, i);

		if (!info->canary && strcmp(info->id, rule) == 0)
			snprintf(version, 17, "%016" PRIx64, info->content);
	}
	ruleset_store_release(d->store, rs);
}

static bool rule_offer(const struct ruleset *rs, const char *rule, struct nearest *near)
{
	for (uint32_t i = 0; rs && i < ruleset_rule_count(rs); i++) {
		const char *id = ruleset_rule(rs, i)->id;

		if (strcmp(id, rule) == 0)
			return true;
		nearest_offer(near, id);
	}
	return false;
}

/* For an alert that is in no log: a rule that is, or was. In force, in one of the latest generations, or of
 * alerts that are closed; what only looks like one would be counted for a rule that nobody has. */
static int rule_known(struct daemon *d, const char *rule, struct err *err)
{
	struct nearest near = nearest_to(rule);
	struct closing_counts here, others;
	char meant[CLOSING_RULE_BYTES + 40] = "";
	uint32_t generation;
	bool known;

	if (strncmp(rule, ALERT_OF_WINDOW, strlen(ALERT_OF_WINDOW)) == 0)
		return 0;
	closings_count(d->closings, rule, "", &here, &others);
	for (int i = 0; i < CLOSING_AS_COUNT; i++)
		if (here.n[i] || others.n[i])
			return 0;
	pthread_mutex_lock(&d->rules_lock);
	known = rule_offer(d->ruleset, rule, &near);
	generation = d->generation;
	if (!known && near.name)
		snprintf(meant, sizeof meant, "; did you mean %.200s?", near.name);
	pthread_mutex_unlock(&d->rules_lock);
	for (uint32_t i = 1; i <= RULE_GENERATIONS_BACK && i < generation && !known; i++) {
		struct err ignored;
		const struct ruleset *rs = ruleset_store_get(d->store, generation - i, &ignored);

		known = rule_offer(rs, rule, &near);
		ruleset_store_release(d->store, rs);
	}
	return known ? 0
		     : err_set(err, -EINVAL,
			       "--rule: no rule '%.100s' is in force, was lately, or has alerts that are "
			       "closed%s",
			       rule, meant);
}

/* So many characters of a set, then the one that ends them; behind it. NULL: not so. */
static const char *id_part(const char *p, const char *set, size_t least, size_t most, char end)
{
	size_t n = strspn(p, set);

	return n >= least && n <= most && p[n] == end ? p + n + (end != 0) : NULL;
}

/* Whether an alert of the rule could have this id: of one over single events its address and the rule, of
 * others a UUID (docs/operations.md). What nobody can look up any more is at least not made up. */
static bool id_formed(const char *id, const char *rule)
{
	static const char hex[] = "0123456789abcdef", digits[] = "0123456789";
	static const uint8_t length[] = {8, 4, 4, 4, 12};
	const char *p = strchr(id, '/');

	if (p) {
		p = id_part(p + 1, hex, 16, 16, '/');
		p = p ? id_part(p, digits, 1, 10, '/') : NULL;
		p = p ? id_part(p, digits, 1, 20, '/') : NULL;
		return p && strcmp(p, rule) == 0;
	}
	p = id;
	for (int i = 0; i < 5 && p; i++)
		p = id_part(p, hex, length[i], length[i], i < 4 ? '-' : 0);
	return p && strspn(id, "0-") < strlen(id);
}

/* What the alert is about: from the logs, or, where it is not there any more, by the rule that the request
 * names. */
static int closing_fill(struct daemon *d, const struct request *rq, struct closing *c, struct err *err)
{
	const struct alerts_source src = source_of(d);
	const char *rule = request_text(rq, "rule", "");
	json_t *alert;
	int rc = alerts_find(&src, c->alert, &alert, err);

	if (rc && rc != -ENOENT)
		return rc;
	if (rc && !rule[0])
		return err_set(err, -ENOENT,
			"no alert '%.100s' in the logs, or not any more; --rule closes it as one "
			"of that rule",
			c->alert);
	rc = 0;
	if (alert && rule[0] && strcmp(rule, text_of(alert, "rule_id")) != 0)
		rc = err_set(err, -EINVAL, "alert '%.100s' is of rule %.100s", c->alert,
			text_of(alert, "rule_id"));
	if (alert)
		rule = text_of(alert, "rule_id");
	if (rc == 0 && (!rule[0] || strlen(rule) >= sizeof c->rule))
		rc = err_set(err, -EINVAL, "rule: 1 to %zu bytes expected", sizeof c->rule - 1);
	if (rc == 0 && !alert)
		rc = rule_known(d, rule, err);
	if (rc == 0 && !alert && !id_formed(c->alert, rule))
		rc = err_set(err, -EINVAL,
			"'%.100s' is no id of an alert of rule %.100s: NODE/EPOCH/PARTITION/OFFSET/RULE or a "
			"UUID",
			c->alert, rule);
	if (rc == 0) {
		snprintf(c->rule, sizeof c->rule, "%s", rule);
		version_of(d, c->rule, (uint32_t)json_integer_value(json_object_get(alert, "generation")),
			c->version);
	}
	json_decref(alert);
	return rc;
}

json_t *run_alerts_close(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	const char *id = request_text(rq, "id", ""), *note = request_text(rq, "note", "");
	struct closing c = {.time_ms = clock_wall_ms(),
		.uid = peer->uid,
		.pid = (uint32_t)peer->pid,
		.as = closing_as_of(request_text(rq, "as", ""))};
	enum closing_as was;

	if (c.as == CLOSING_AS_COUNT) {
		err_set(err, -EINVAL, "--as: true, false or unsure expected");
		return NULL;
	}
	if (!id[0] || strlen(id) >= sizeof c.alert || strlen(note) >= sizeof c.note) {
		err_set(err, -EINVAL, "id: at most %zu bytes, --note: at most %zu", sizeof c.alert - 1,
			sizeof c.note - 1);
		return NULL;
	}
	snprintf(c.alert, sizeof c.alert, "%s", id);
	snprintf(c.note, sizeof c.note, "%s", note);
	if (closing_fill(d, rq, &c, err) || closings_put(d->closings, &c, &was, err))
		return NULL;
	log_info("alerts", "alert %s of rule %s closed as %s by uid=%u pid=%u", c.alert, c.rule,
		closing_as_name[c.as], c.uid, c.pid);
	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "alert_id", c.alert, "rule", c.rule, "version",
		c.version, "as", closing_as_name[c.as], "was",
		was < CLOSING_AS_COUNT ? json_string(closing_as_name[was]) : json_null());
}
