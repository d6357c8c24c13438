/* `status` and `sinks`: what runs, how fast, and what is behind. Server thread; pure. */
#include "views.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ledger.h"
#include "version.h"

json_t *view_json_tenths(double v)
{
	return json_real(round(v * 10) / 10);
}

static json_t *json_seconds(int64_t ms)
{
	return ms < 0 ? json_string("unknown") : json_real((double)ms / 1000);
}

static json_t *status_sink(const struct view *v, const struct view_sink *sink)
{
	uint64_t lag_events = 0, lag_bytes = 0, events = 0, alerts = 0, dead = 0, rows = 0, late = 0,
		 errors = 0, skipped = 0, given_up = 0;
	bool lag_alarm = false;
	json_t *row;
	int64_t lag_ms = 0;
	uint32_t state = SINK_RUNNING, running = 0;
	const char *error = "";

	for (uint32_t i = 0; i < sink->parts; i++) {
		const struct view_part *part = &sink->part[i];

		lag_events += part->lag_events;
		lag_bytes += part->lag_bytes;
		events += part->events;
		alerts += part->alerts;
		dead += part->dead;
		rows += part->rows;
		late += part->late;
		errors += part->errors;
		skipped += part->limits.skipped;
		given_up += part->limits.given_up;
		lag_alarm |= part->limits.lag_alarm;
		running += part->state == SINK_RUNNING;
		if (lag_ms >= 0 && (part->lag_ms < 0 || part->lag_ms > lag_ms))
			lag_ms = part->lag_ms;
		/* One that waits for another's try has nothing to say yet, and that other has. */
		if (part->state != SINK_RUNNING && (!*error || *part->error)) {
			state = part->state;
			error = part->error;
		}
	}
	row = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "sink",
		sink->name, "state", sink_state_name[state], "parts",
		json_sprintf("%u of %u", running, sink->parts), "lag_events", json_u64(lag_events),
		"lag_bytes", json_u64(lag_bytes), "lag_seconds", json_seconds(lag_ms), "events_per_s",
		view_json_tenths(v->rate.delivered[sink->group]), "events", json_u64(events), "alerts",
		json_u64(alerts), "dead", json_u64(dead), "rows", json_u64(rows), "late", json_u64(late),
		"errors", json_u64(errors), "error", json_text(error));
	json_object_set_new(row, "skipped", json_u64(skipped));
	json_object_set_new(row, "given_up", json_u64(given_up));
	json_object_set_new(row, "far_behind", json_boolean(lag_alarm));
	return row;
}

/* What this daemon cannot know or did not see, so that nobody takes its silence for an answer. */
static json_t *status_blind(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->ports; i++) {
		const struct port_stats *p = &v->port[i];
		const struct {
			const char *what;
			uint64_t value;
		} row[] = {{"rx_missed", p->rx_missed}, {"rx_no_mbuf", p->rx_no_mbuf},
			{"rx_errors", p->rx_errors}, {"kernel_drops", p->kernel_drops}};

		for (size_t k = 0; k < sizeof row / sizeof *row; k++)
			if (row[k].value == PORT_COUNTER_UNKNOWN)
				json_array_append_new(
					list, json_sprintf("port %s: %s is unknown", p->name, row[k].what));
	}
	if (v->blind.from_ms) {
		int64_t until = v->blind.until_ms ? v->blind.until_ms : v->now_ms;

		json_array_append_new(list, json_sprintf("%.1f s between the last durable block and %s",
						    (double)(until - v->blind.from_ms) / 1000,
						    v->blind.until_ms ? "the first frame after the restart"
								      : "now: no frame yet"));
	}
	return list;
}

static json_t *status_journal(const struct view *v)
{
	uint64_t durable = 0, used = 0, most = 0, max = 0, damaged = 0;
	uint32_t failed = 0, full = 0, disk_full = 0;
	json_t *journal;

	for (uint32_t p = 0; p < v->partitions; p++) {
		const struct journal_partition_stats *s = &v->partition[p];

		durable += s->durable_offset;
		used += s->segments_used;
		max += s->segments_max;
		most = s->segments_used > most ? s->segments_used : most;
		failed += s->failed != 0;
		full += s->full != 0;
		disk_full += s->disk_full != 0;
		damaged += s->damaged_records;
	}
	journal = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:I, s:I}", "dir", v->journal_dir, "partitions",
		(json_int_t)v->partitions, "durable_records", json_u64(durable), "segments_used",
		json_u64(used), "segments_max", json_u64(max), "fullest_partition", json_u64(most), "failed",
		(json_int_t)failed, "full", (json_int_t)full);
	json_object_set_new(journal, "disk_full", json_integer(disk_full));
	json_object_set_new(journal, "reserve_bytes", json_u64(v->reserve_bytes));
	json_object_set_new(journal, "reserve_missing", json_u64(v->reserve_wanted - v->reserve_bytes));
	json_object_set_new(journal, "damaged_records", json_u64(damaged));
	return journal;
}

static json_t *status_drops(const struct view *v)
{
	json_t *list = json_array();

	for (int i = 1; i < DROP_ID_MAX; i++) {
		uint64_t n = drop_table[i].name ? view_drop(v, (enum drop_reason)i) : 0;

		if (n)
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:o}", "reason", drop_table[i].name, "unit",
					      drop_unit_name(drop_table[i].unit), "count", json_u64(n)));
	}
	return list;
}

static json_t *status_events(const struct view *v)
{
	struct view_totals t;

	view_totals(v, &t);
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "frames", json_u64(t.frames), "datagrams",
		json_u64(t.datagrams), "events", json_u64(t.events), "accepted", json_u64(t.accepted),
		"refused", json_u64(t.refused), "journaled", json_u64(t.journaled), "duplicates",
		json_u64(t.duplicates));
}

static json_t *status_workers(const struct view *v)
{
	json_t *busy = json_array();

	for (uint32_t w = 0; w < v->workers && w < VIEW_WORKERS_MAX; w++)
		json_array_append_new(busy, view_json_tenths(v->rate.busy[w] * 100));
	return json_pack("{s:I, s:s, s:o}", "count", (json_int_t)v->workers, "power",
		v->cfg->worker.power == CONFIG_POWER_POLL ? "poll" : "adaptive", "busy_percent", busy);
}

json_t *view_status(const struct view *v, const struct request *rq, struct err *err)
{
	json_t *sinks = json_array(), *ledger = ledger_json(v), *result;

	(void)rq;
	(void)err;
	for (uint32_t i = 0; i < v->sinks; i++)
		json_array_append_new(sinks, status_sink(v, &v->sink[i]));
	result = json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:b}", "node", v->node, "epoch",
		json_sprintf("%016" PRIx64, v->epoch), "version", version_text, "phase",
		daemon_phase_name[v->phase], "started", json_time(v->started_ms), "uptime_seconds",
		json_real(v->uptime_seconds), "input_ended", v->input_ended);
	json_object_set_new(result, "workers", status_workers(v));
	json_object_set_new(result, "rules",
		json_pack("{s:s, s:I, s:I, s:I, s:I}", "version", v->version, "generation",
			(json_int_t)v->generation, "rules", (json_int_t)(v->rules - v->canaries), "canaries",
			(json_int_t)v->canaries, "patterns", (json_int_t)v->patterns));
	json_object_set_new(result, "per_second",
		json_pack("{s:o, s:o, s:o, s:o}", "frames", view_json_tenths(v->rate.frames), "events",
			view_json_tenths(v->rate.events), "accepted", view_json_tenths(v->rate.accepted),
			"journaled", view_json_tenths(v->rate.journaled)));
	json_object_set_new(result, "events", status_events(v));
	json_object_set_new(result, "journal", status_journal(v));
	json_object_set_new(result, "state", view_state_json(v));
	json_object_set_new(result, "sinks", sinks);
	json_object_set_new(result, "drops", status_drops(v));
	json_object_set_new(result, "blind_spots", status_blind(v));
	json_object_set_new(result, "ledger",
		json_pack("{s:O, s:O}", "balanced", json_object_get(ledger, "balanced"), "balance",
			json_object_get(ledger, "balance")));
	json_decref(ledger);
	return result;
}

json_t *view_sinks(const struct view *v, const struct request *rq, struct err *err)
{
	json_t *list = json_array();

	(void)rq;
	(void)err;
	for (uint32_t i = 0; i < v->sinks; i++)
		for (uint32_t k = 0; k < v->sink[i].parts; k++) {
			const struct view_part *p = &v->sink[i].part[k];
			json_t *row = json_pack("{s:s, s:I, s:s, s:o, s:o, s:o, s:o}", "sink",
				v->sink[i].name, "partition", (json_int_t)p->partition, "state",
				sink_state_name[p->state], "position", json_u64(p->position), "lag_events",
				json_u64(p->lag_events), "lag_bytes", json_u64(p->lag_bytes), "lag_seconds",
				json_seconds(p->lag_ms));

			json_object_set_new(row, "events", json_u64(p->events));
			json_object_set_new(row, "suppressed", json_u64(p->suppressed));
			json_object_set_new(row, "alerts", json_u64(p->alerts));
			json_object_set_new(row, "dead", json_u64(p->dead));
			json_object_set_new(row, "rows", json_u64(p->rows));
			json_object_set_new(row, "late", json_u64(p->late));
			json_object_set_new(row, "held", json_u64(p->held));
			json_object_set_new(row, "rejected", json_u64(p->rejected));
			json_object_set_new(row, "refused", json_u64(p->refused));
			json_object_set_new(row, "passed_over", json_u64(p->other));
			json_object_set_new(row, "skipped", json_u64(p->limits.skipped));
			json_object_set_new(row, "given_up", json_u64(p->limits.given_up));
			if (p->limits.last_to) /* the ranges themselves are remembered for a while */
				json_object_set_new(row, "last_skipped",
					json_sprintf("%" PRIu64 "-%" PRIu64 " (%s)", p->limits.last_from,
						p->limits.last_to - 1,
						journal_skip_name[p->limits.last_reason]));
			json_object_set_new(row, "far_behind", json_boolean(p->limits.lag_alarm));
			json_object_set_new(row, "commits", json_u64(p->commits));
			json_object_set_new(row, "retries", json_u64(p->retries));
			json_object_set_new(row, "errors", json_u64(p->errors));
			json_object_set_new(row, "parked", json_u64(p->parked));
			json_object_set_new(row, "note", json_text(p->note));
			json_object_set_new(row, "error", json_text(p->error));
			json_array_append_new(list, row);
		}
	return json_pack("{s:o}", "sinks", list);
}
