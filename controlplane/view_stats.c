/* `stats`, `ports`, `ledger`, `metrics`, `config`, `version`, `rules list|show|stats`. Server thread; pure.
 */
#include "views.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_table.h"
#include "ledger.h"
#include "metrics.h"
#include "record.h"
#include "version.h"

static json_t *ratio(uint64_t over, uint64_t under, double scale)
{
	return under ? json_real(round((double)over * scale * 10 / (double)under) / 10) : json_null();
}

static json_t *json_node(int node)
{
	return node < 0 ? json_string("unknown") : json_integer(node);
}

static json_t *stats_workers(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t w = 0; w < v->workers; w++) {
		const struct worker_stats *s = &v->worker[w];
		uint64_t events = 0;
		json_t *row;

		for (uint32_t i = 0; i < v->cfg->listeners_count; i++)
			events += s->listener[i].events;
		row = json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "worker", (json_int_t)w, "frames",
			json_u64(s->frames), "bytes", json_u64(s->frame_bytes), "events", json_u64(events),
			"busy_percent", ratio(s->busy_cycles, s->busy_cycles + s->idle_cycles, 100),
			"cycles_per_event", ratio(s->busy_cycles, events, 1));
		json_object_set_new(
			row, "numa_node", json_node(w < VIEW_WORKERS_MAX ? v->worker_node[w] : -1));
		json_object_set_new(row, "polls", json_u64(s->polls));
		json_object_set_new(row, "polls_empty", json_u64(s->polls_empty));
		json_object_set_new(row, "sleeps", json_u64(s->sleeps));
		json_object_set_new(row, "given", json_u64(s->spread_given));
		json_object_set_new(row, "taken", json_u64(s->spread_taken));
		json_object_set_new(row, "batches", json_u64(s->batches_sealed));
		json_object_set_new(row, "neighbour_answered", json_u64(s->neighbour.answered));
		json_object_set_new(row, "neighbour_unsent", json_u64(s->neighbour.unsent));
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *stats_listeners(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->cfg->listeners_count; i++) {
		struct listener_stats s;
		uint64_t refused = 0, dropped = 0;

		view_listener_sum(v, i, &s);
		for (int k = 0; k < DROP_ID_MAX; k++) {
			refused += s.refused[k];
			dropped += s.dropped[k];
		}
		json_array_append_new(list,
			json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "listener",
				v->cfg->listeners[i].name, "udp_port",
				(json_int_t)v->cfg->listeners[i].udp_port, "datagrams", json_u64(s.datagrams),
				"bytes", json_u64(s.bytes), "events", json_u64(s.events), "accepted",
				json_u64(s.accepted), "refused", json_u64(refused), "refused_kept",
				json_u64(s.refused_kept), "dropped", json_u64(dropped)));
	}
	return list;
}

/* Why a listener's datagrams and events did not become event records, as far as workers can tell. */
static json_t *stats_listener_drops(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->cfg->listeners_count; i++) {
		struct listener_stats s;

		view_listener_sum(v, i, &s);
		for (int k = 1; k < DROP_ID_MAX; k++)
			if (drop_table[k].name && (s.dropped[k] || s.refused[k]))
				json_array_append_new(list,
					json_pack("{s:s, s:s, s:s, s:o, s:o}", "listener",
						v->cfg->listeners[i].name, "reason", drop_table[k].name,
						"unit", drop_unit_name(drop_table[k].unit), "dropped",
						json_u64(s.dropped[k]), "refused", json_u64(s.refused[k])));
	}
	return list;
}

static json_t *stats_partitions(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t p = 0; p < v->partitions; p++) {
		const struct journal_partition_stats *s = &v->partition[p];

		json_array_append_new(list,
			json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b}", "partition",
				(json_int_t)p, "durable", json_u64(s->durable_offset), "oldest",
				json_u64(s->oldest_offset), "bytes", json_u64(s->durable_bytes), "blocks",
				json_u64(s->blocks), "batched", json_u64(s->batch_records), "duplicates",
				json_u64(s->duplicates), "dedup_ids", json_u64(s->dedup_ids), "dedup_evicted",
				json_u64(s->dedup_evicted), "segments", json_u64(s->segments_used), "failed",
				s->failed != 0, "full", s->full != 0));
	}
	return list;
}

static json_t *json_counter(uint64_t v)
{
	return v == PORT_COUNTER_UNKNOWN ? json_string("unknown") : json_u64(v);
}

/* How senders find it. */
static const char *port_addresses(const struct config_ports *port)
{
	return port->addresses[0] ? port->addresses : "none: mirror, or static neighbour entries";
}

static json_t *stats_ports(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->ports; i++) {
		const struct port_stats *p = &v->port[i];
		json_t *row = json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "port", p->name,
			"device", json_text(p->device), "driver", p->driver, "link",
			p->link_up ? "up" : "down", "rx_packets", json_counter(p->rx_packets), "rx_bytes",
			json_counter(p->rx_bytes), "rx_missed", json_counter(p->rx_missed), "rx_no_mbuf",
			json_counter(p->rx_no_mbuf), "rx_errors", json_counter(p->rx_errors), "kernel_drops",
			json_counter(p->kernel_drops));

		json_object_set_new(row, "numa_node", json_node(p->numa_node));
		json_object_set_new(row, "addresses", json_text(port_addresses(&v->cfg->ports[i])));
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *stats_match(const struct view *v)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "events", json_u64(v->match.events), "scans",
		json_u64(v->match.scans), "rescans", json_u64(v->match.rescans), "hits_truncated",
		json_u64(v->match.hits_truncated), "confirms", json_u64(v->match.confirms), "confirms_cut",
		json_u64(v->match.confirms_cut));
}

json_t *view_stats(const struct view *v, const struct request *rq, struct err *err)
{
	(void)rq;
	(void)err;
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "workers", stats_workers(v), "listeners",
		stats_listeners(v), "listener_drops", stats_listener_drops(v), "ports", stats_ports(v),
		"partitions", stats_partitions(v), "match", stats_match(v));
}

json_t *view_ports(const struct view *v, const struct request *rq, struct err *err)
{
	(void)rq;
	(void)err;
	return json_pack("{s:o}", "ports", stats_ports(v));
}

json_t *view_ledger(const struct view *v, const struct request *rq, struct err *err)
{
	(void)rq;
	(void)err;
	return ledger_json(v);
}

json_t *view_version(const struct view *v, const struct request *rq, struct err *err)
{
	(void)v;
	(void)rq;
	(void)err;
	return json_pack("{s:s, s:i}", "version", version_text, "protocol", CONTROL_PROTOCOL);
}

/* {"text": ...} of what print writes. */
static json_t *text_result(
	const struct view *v, void (*print)(const struct view *v, FILE *out), struct err *err)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *mem = open_memstream(&text, &bytes);
	json_t *result;

	if (!mem) {
		err_set(err, -ENOMEM, "no memory");
		return NULL;
	}
	print(v, mem);
	fclose(mem);
	result = json_pack("{s:o}", "text", json_text_n(text, bytes));
	free(text);
	return result;
}

static void print_config(const struct view *v, FILE *out)
{
	config_print(v->cfg, out, false);
}

json_t *view_metrics(const struct view *v, const struct request *rq, struct err *err)
{
	(void)rq;
	return text_result(v, metrics_print, err);
}

json_t *view_config(const struct view *v, const struct request *rq, struct err *err)
{
	(void)rq;
	return text_result(v, print_config, err);
}

static json_t *rule_actions(uint8_t actions)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} row[] = {{RULE_ACTION_ALERT, "alert"}, {RULE_ACTION_TAG, "tag"}, {RULE_ACTION_DROP, "drop"},
		{RULE_ACTION_ROUTE, "route"}};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (actions & row[i].bit)
			json_array_append_new(list, json_string(row[i].name));
	return list;
}

static const char *rule_mode(const struct rule_info *info)
{
	if (info->expired)
		return "expired";
	return info->canary ? "canary" : "in force";
}

static json_t *rule_row(const struct view_rule *rule)
{
	return json_pack("{s:o, s:s, s:s, s:o, s:o, s:I, s:o}", "id", json_text(rule->info.id), "mode",
		rule_mode(&rule->info), "severity", rule_severity_name[rule->info.severity], "actions",
		rule_actions(rule->info.actions), "hits", json_u64(rule->hits), "by_pcre2",
		(json_int_t)rule->info.confirmed, "title",
		json_text(rule->info.title ? rule->info.title : ""));
}

static json_t *rules_head(const struct view *v)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I}", "version", v->version, "generation",
		(json_int_t)v->generation, "count", (json_int_t)(v->rules - v->canaries), "canaries",
		(json_int_t)v->canaries, "patterns", (json_int_t)v->patterns);
}

json_t *view_rules_list(const struct view *v, const struct request *rq, struct err *err)
{
	json_t *list = json_array(), *result = rules_head(v);

	(void)rq;
	(void)err;
	for (uint32_t i = 0; i < v->rules; i++)
		json_array_append_new(list, rule_row(&v->rule[i]));
	json_object_set_new(result, "rules", list);
	return result;
}

/* Counts of closed alerts, and what share of those that were judged was true. */
static json_t *closed_json(const struct closing_counts *c)
{
	double precision = closing_precision(c);

	return json_pack("{s:o, s:o, s:o, s:o}", "true", json_u64(c->n[CLOSED_TRUE]), "false",
		json_u64(c->n[CLOSED_FALSE]), "unsure", json_u64(c->n[CLOSED_UNSURE]), "precision",
		isnan(precision) ? json_null() : json_real(round(precision * 1000) / 1000));
}

/* Alerts of the rule since it, or its state, is in force, without those of it that are closed. A canary has
 * none. */
static json_t *rule_open(const struct view *v, uint32_t index)
{
	const struct view_rule *rule = &v->rule[index];
	bool known = rule_alerts(&rule->info);
	uint64_t alerts = known ? rule->hits : 0, closed = 0;

	for (uint32_t i = 0; rule->info.stateful && i < v->rule_states; i++)
		if (v->rule_state[i].rule == index) {
			alerts = v->rule_state[i].sum.alerts;
			known = true;
		}
	for (int i = 0; i < CLOSING_AS_COUNT; i++)
		closed += rule->closed.n[i];
	return known && !rule->info.canary ? json_u64(alerts > closed ? alerts - closed : 0) : json_null();
}

static json_t *rule_show(const struct view *v, uint32_t i)
{
	const struct rule_info *info = &v->rule[i].info;
	json_t *row = rule_row(&v->rule[i]);

	json_object_set_new(row, "file", json_text(info->file ? info->file : ""));
	json_object_set_new(row, "line", json_integer(info->line));
	json_object_set_new(row, "index", json_integer(i));
	json_object_set_new(row, "generation", json_integer(v->generation));
	if (info->route)
		json_object_set_new(row, "route", json_text(info->route));
	json_object_set_new(row, "open", rule_open(v, i));
	json_object_set_new(row, "closed", closed_json(&v->rule[i].closed));
	json_object_set_new(row, "closed_other_versions", closed_json(&v->rule[i].closed_others));
	return row;
}

json_t *view_rules_show(const struct view *v, const struct request *rq, struct err *err)
{
	const char *id = request_text(rq, "id", "");

	for (uint32_t i = 0; i < v->rules; i++) { /* those in force first */
		const struct rule_info *info = &v->rule[i].info;
		json_t *row;

		if (strcmp(info->id, id) != 0)
			continue;
		row = rule_show(v, i);
		if (info->change != RULE_SAME)
			json_object_set_new(row, "canary", view_canary_of(v, i));
		return row;
	}
	err_set(err, -ENOENT, "no rule '%.100s' in force; `rules list` shows all", id);
	return NULL;
}

static json_t *rules_stateful(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->rule_states; i++) {
		const struct view_rule_state *rule = &v->rule_state[i];
		const struct cep_stats *s = &rule->sum;

		json_array_append_new(list,
			json_pack(
				"{s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
				"s:o, s:o}",
				"id", json_text(rule->id), "mode", rule_mode(&v->rule[rule->rule].info),
				"partitions", (json_int_t)rule->partitions, "hits", json_u64(s->hits),
				"alerts", json_u64(s->alerts), "suppressed", json_u64(s->suppressed), "late",
				json_u64(s->late), "no_key", json_u64(s->no_key), "no_value",
				json_u64(s->no_value), "keys", json_u64(s->keys), "partials",
				json_u64(s->partials), "waiting", json_u64(s->waiting), "evicted",
				json_u64(s->evictions), "evicted_waiting", json_u64(s->evicted_waiting),
				"expired", json_u64(s->expiries), "cut", json_u64(s->cut), "memory",
				json_u64(s->memory_bytes)));
	}
	return list;
}

json_t *view_rules_stats(const struct view *v, const struct request *rq, struct err *err)
{
	json_t *list = json_array(), *result = rules_head(v);

	(void)rq;
	(void)err;
	for (uint32_t i = 0; i < v->rules; i++) {
		json_t *row = json_pack("{s:o, s:s, s:o, s:o}", "id", json_text(v->rule[i].info.id), "mode",
			rule_mode(&v->rule[i].info), "hits", json_u64(v->rule[i].hits), "open",
			rule_open(v, i));
		json_t *closed = closed_json(&v->rule[i].closed);

		json_object_update(row, closed);
		json_decref(closed);
		json_array_append_new(list, row);
	}
	json_object_set_new(result, "match", stats_match(v));
	json_object_set_new(result, "rules", list);
	json_object_set_new(result, "changes",
		json_pack("{s:o, s:o, s:o, s:o}", "rules_dropped", json_u64(v->rule_totals.rules_dropped),
			"keys_dropped", json_u64(v->rule_totals.keys_dropped), "hits_not_in_force",
			json_u64(v->rule_totals.not_in_force), "hits_elsewhere",
			json_u64(v->rule_totals.not_here)));
	json_object_set_new(result, "stateful", rules_stateful(v));
	json_object_set_new(result, "canary", view_canary_json(v));
	return result;
}
