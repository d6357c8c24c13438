/* Which alerts are sent, and as what. Pure but for the output buffer. */
#include <errno.h>
#include <string.h>

#include "row_json.h"
#include "wh_priv.h"

struct text {
	const char *data;
	size_t bytes;
};

static struct text text_of(const char *data)
{
	return (struct text){data, strlen(data)};
}

/* What both kinds of alerts have. */
struct shown {
	struct text rule, title, severity, key;
	int64_t first_ms, last_ms;
	char id[ADDRESS_TEXT_BYTES + ALERT_RULE_ID_BYTES];
};

static struct text row_text(const struct record *rec, enum row_text which)
{
	uint32_t bytes;
	const char *data = row_alert_text(rec, which, &bytes);

	return (struct text){data, bytes};
}

static void shown_of(struct shown *out, const struct sink_alert *a)
{
	if (a->hit) {
		out->rule = text_of(a->hit->rule_id);
		out->title = text_of(a->hit->title);
		out->severity = text_of(a->hit->severity);
		out->key = (struct text){(const char *)a->hit->key->data, a->hit->key->bytes};
		out->first_ms = a->hit->first_time_ms;
		out->last_ms = a->hit->last_time_ms;
		memcpy(out->id, a->hit->id, sizeof a->hit->id);
		return;
	}
	out->rule = row_text(a->rec, ROW_TEXT_RULE);
	out->title = row_text(a->rec, ROW_TEXT_TITLE);
	out->severity = row_text(a->rec, ROW_TEXT_SEVERITY);
	out->key = row_text(a->rec, ROW_TEXT_KEY);
	out->first_ms = row_alert_of(a->rec)->first_ms;
	out->last_ms = row_alert_of(a->rec)->last_ms;
	row_alert_id(out->id, row_alert_of(a->rec));
}

/* One that no name is known of counts as the lowest. */
static uint32_t severity_rank(struct text severity)
{
	for (uint32_t i = SEVERITY_CRITICAL; i > SEVERITY_INFO; i--)
		if (severity.bytes == strlen(rule_severity_name[i]) &&
			!memcmp(severity.data, rule_severity_name[i], severity.bytes))
			return i;
	return SEVERITY_INFO;
}

/* Whether the id is in a list as webhook.rules has it. */
static bool rule_listed(const char *list, struct text rule)
{
	while (*list) {
		size_t bytes = strcspn(list, ",");
		const char *at = list + strspn(list, " ");
		size_t n = bytes > (size_t)(at - list) ? bytes - (size_t)(at - list) : 0;

		while (n && at[n - 1] == ' ')
			n--;
		if (n && at[n - 1] == '*' ? rule.bytes >= n - 1 && !memcmp(at, rule.data, n - 1)
					  : n && n == rule.bytes && !memcmp(at, rule.data, n))
			return true;
		list += bytes + (list[bytes] == ',');
	}
	return false;
}

bool wh_alert_wanted(const struct config_webhook *cfg, const struct sink_alert *a, int64_t now_ms)
{
	struct shown s;

	shown_of(&s, a);
	/* By the wall clock that its record was taken at: event time may be a replay's. */
	if (cfg->age_max && now_ms - a->rec->receive_time_ms > (int64_t)cfg->age_max)
		return false;
	return severity_rank(s.severity) >= cfg->severity_min &&
	       (!cfg->rules[0] || rule_listed(cfg->rules, s.rule));
}

static void put_text(struct bytes *out, const char *name, struct text t)
{
	json_put_name(out, name);
	json_put_string(out, t.data, t.bytes);
}

static void put_first(struct bytes *out, const struct sink_alert *a)
{
	char text[ADDRESS_TEXT_BYTES] = "";
	struct row_rule_evidence e;

	if (a->hit) {
		put_text(out, "evidence", text_of(a->hit->evidence));
		return;
	}
	if (!row_alert_of(a->rec)->evidence_count)
		return;
	e = row_alert_evidence(a->rec, 0);
	if (e.partition == UINT32_MAX)
		return;
	address_text(text, &(struct address){a->at->node, a->input_epoch, e.partition, e.offset});
	put_text(out, "evidence", text_of(text));
}

/* Alertmanager's API v2. Labels make an alert what it is: the id is one, so that what is sent twice is one
 * alert. */
static void alertmanager_put(
	struct bytes *out, const struct config_webhook *cfg, const struct sink_alert *a, int64_t now_ms)
{
	int64_t end_ms;
	struct shown s;

	shown_of(&s, a);
	end_ms = (s.first_ms > now_ms ? s.first_ms : now_ms) + (int64_t)cfg->active;
	bytes_put(out, "{\"labels\":{", 11);
	put_text(out, "alertname", s.rule);
	put_text(out, "severity", s.severity);
	put_text(out, "key", s.key);
	put_text(out, "node", text_of(a->at->node));
	put_text(out, "alert_id", text_of(s.id));
	bytes_put(out, "},\"annotations\":{", 17);
	put_text(out, "summary", s.title.bytes ? s.title : s.rule);
	if (a->window[0])
		put_text(out, "window", text_of(a->window));
	put_first(out, a);
	json_put_name(out, "last_time");
	json_put_time(out, s.last_ms);
	bytes_put(out, "},\"startsAt\":", 13);
	json_put_time(out, s.first_ms);
	bytes_put(out, ",\"endsAt\":", 10);
	json_put_time(out, end_ms);
	bytes_put(out, "}", 1);
}

int wh_body_add(struct wh_body *b, const struct config_webhook *cfg, const struct sink_alert *a,
	int64_t now_ms, struct err *err)
{
	if (cfg->format == WH_FORMAT_JSON)
		sink_alert_put_json(&b->json, a);
	else
		alertmanager_put(&b->json, cfg, a, now_ms);
	if (b->json.failed)
		return err_set(err, -ENOMEM, "no memory for an alert");
	b->end[b->count++] = b->json.bytes;
	return 0;
}

void wh_body_join(struct bytes *out, const struct wh_body *b, uint32_t from, uint32_t to)
{
	bytes_reset(out);
	bytes_put(out, "[", 1);
	for (uint32_t i = from; i < to; i++) {
		size_t at = i ? b->end[i - 1] : 0;

		bytes_put(out, ",", i > from);
		bytes_put(out, b->json.data + at, b->end[i] - at);
	}
	bytes_put(out, "]", 1);
}
