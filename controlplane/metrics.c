/* Metrics of a view as Prometheus text. Server thread; pure. */
#include "metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "views.h"

/* The items that each scope's rows take their field from. */
struct metrics_daemon {
	double uptime_seconds, blind_seconds;
	uint64_t input_ended, draining, generation, rules, canaries;
	uint64_t match_events, match_rescans, match_hits_truncated, match_confirms, match_confirms_cut;
	uint64_t control_requests, control_clients, control_dropped_slow, refused_calls;
	uint64_t acks, acks_durable, acks_refused, acks_no_path, acks_unsent, acks_rejects, acks_forgotten;
	uint64_t enrich_too_long, closings_damaged;
	uint64_t reserve_bytes, reserve_missing;
	uint64_t rules_dropped, keys_dropped, not_in_force, not_here;	     /* UINT64_MAX: no state stage */
	uint64_t merge_rows, merge_revisions, merge_alerts, merge_late_lost; /* UINT64_MAX: no state stage */
	uint64_t merge_incomplete, anomaly_groups, anomaly_evicted, anomaly_refused; /* so, too */
};

struct metrics_state {
	uint64_t up, failed, records, behind, appended, compared, mismatches, waiting;
	uint64_t checkpoints, checkpoint_failures, checkpoint_bytes;
	double watermark_seconds, checkpoint_age_seconds, checkpoint_gather_seconds, checkpoint_write_seconds;
};

struct metrics_window {
	uint64_t events, filtered, late, no_room, rows, revisions, other, cut, keys, memory_bytes;
	double closed_seconds;
};

struct metrics_sink {
	uint64_t up, position, parked, lag_events, lag_bytes;
	double lag_seconds;
	uint64_t events, suppressed, alerts, dead, rows, late, held, rejected, refused, bytes, commits,
		retries, errors;
	uint64_t skipped, skipped_life, given_up, lag_alarm, lag_limit;
};

struct metrics_enrich {
	uint64_t rows, hits, misses;
};

struct metrics_drop {
	uint64_t count;
};

struct metrics_listener_drop {
	uint64_t dropped, refused; /* UINT64_MAX: none */
};

#define ITEM_daemon struct metrics_daemon
#define ITEM_worker struct worker_stats
#define ITEM_port struct port_stats
#define ITEM_listener struct listener_stats
#define ITEM_partition struct journal_partition_stats
#define ITEM_sink struct metrics_sink
#define ITEM_drop struct metrics_drop
#define ITEM_listener_drop struct metrics_listener_drop
#define ITEM_rule struct view_rule
#define ITEM_enrich struct metrics_enrich
#define ITEM_state struct metrics_state
#define ITEM_window struct metrics_window
#define ITEM_rule_state struct view_rule_state
#define ITEM_canary struct view_canary

static double of_u64(uint64_t v)
{
	return v == UINT64_MAX ? NAN : (double)v;
}

static double of_double(double v)
{
	return v;
}

#define METRIC(name, type, scope, field, help)                                                               \
	static double name##_get(const void *item)                                                           \
	{                                                                                                    \
		const ITEM_##scope *it = item;                                                               \
                                                                                                             \
		return _Generic(it->field, double : of_double, default : of_u64)(it->field);                 \
	}
#include "metrics.def"
#undef METRIC

#define METRIC(name, type, scope, field, help) {#name, #type, METRIC_SCOPE_##scope, help, name##_get},
const struct metric metric_table[] = {
#include "metrics.def"
};
#undef METRIC
const uint32_t metric_count = sizeof metric_table / sizeof *metric_table;

const char *metric_scope_labels(enum metric_scope scope)
{
	static const char *const labels[] = {"", "worker", "port", "listener", "partition", "sink, partition",
		"reason, unit", "rule", "table", "partition", "window", "rule", "rule",
		"listener, reason, unit"};

	return labels[scope];
}

/* One sample line; labels: pairs of name and value, ended by NULL. */
static void sample(FILE *out, const struct metric *m, const void *item, const char *const *label)
{
	double v = m->get(item);

	if (isnan(v))
		return;
	fputs(m->name, out);
	for (int i = 0; label[i]; i += 2) {
		fprintf(out, "%c%s=\"", i ? ',' : '{', label[i]);
		for (const char *p = label[i + 1]; *p; p++) {
			if (*p == '"' || *p == '\\')
				fputc('\\', out);
			if (*p == '\n')
				fputs("\\n", out);
			else
				fputc(*p, out);
		}
		fputc('"', out);
	}
	fputs(label[0] ? "} " : " ", out);
	fprintf(out, v == floor(v) && fabs(v) < 9e15 ? "%.0f\n" : "%.6f\n", v);
}

static void sample_indexed(
	FILE *out, const struct metric *m, const void *item, const char *name, uint32_t index)
{
	char number[16];

	snprintf(number, sizeof number, "%u", index);
	sample(out, m, item, (const char *const[]){name, number, NULL});
}

static void print_daemon(const struct view *v, const struct metric *m, FILE *out)
{
	struct metrics_daemon d = {
		.uptime_seconds = v->uptime_seconds,
		.input_ended = v->input_ended,
		.draining = v->phase == PHASE_DRAINING,
		.generation = v->generation,
		.rules = v->rules - v->canaries,
		.canaries = v->canaries,
		.match_events = v->match.events,
		.match_rescans = v->match.rescans,
		.match_hits_truncated = v->match.hits_truncated,
		.match_confirms = v->match.confirms,
		.match_confirms_cut = v->match.confirms_cut,
		.acks = v->ack.acks,
		.acks_durable = v->ack.durable,
		.acks_refused = v->ack.refused,
		.acks_no_path = v->ack.no_path,
		.acks_unsent = v->ack.unsent,
		.acks_rejects = v->ack.rejects,
		.acks_forgotten = v->ack.forgotten,
		.control_requests = v->server.requests,
		.control_clients = v->server.clients,
		.control_dropped_slow = v->server.dropped_slow,
		.refused_calls = v->refused_calls,
		.merge_rows = v->state_parts ? v->state.merge.rows_out : UINT64_MAX,
		.merge_revisions = v->state_parts ? v->state.merge.revisions : UINT64_MAX,
		.merge_alerts = v->state_parts ? v->state.merge.alerts : UINT64_MAX,
		.merge_late_lost = v->state_parts ? v->state.merge.late_lost : UINT64_MAX,
		.merge_incomplete = v->state_parts ? v->state.merge.incomplete : UINT64_MAX,
		.anomaly_groups = v->state_parts ? v->state.merge.groups : UINT64_MAX,
		.anomaly_evicted = v->state_parts ? v->state.merge.groups_evicted : UINT64_MAX,
		.anomaly_refused = v->state_parts ? v->state.merge.groups_refused : UINT64_MAX,
		.enrich_too_long = v->enrich_too_long,
		.reserve_bytes = v->reserve_bytes,
		.reserve_missing = v->reserve_wanted - v->reserve_bytes,
		.closings_damaged = v->closings_damaged,
		.rules_dropped = v->state_parts ? v->rule_totals.rules_dropped : UINT64_MAX,
		.keys_dropped = v->state_parts ? v->rule_totals.keys_dropped : UINT64_MAX,
		.not_in_force = v->state_parts ? v->rule_totals.not_in_force : UINT64_MAX,
		.not_here = v->state_parts ? v->rule_totals.not_here : UINT64_MAX,
	};

	if (v->blind.from_ms)
		d.blind_seconds =
			(double)((v->blind.until_ms ? v->blind.until_ms : v->now_ms) - v->blind.from_ms) /
			1000;
	sample(out, m, &d, (const char *const[]){NULL});
}

static void print_listeners(const struct view *v, const struct metric *m, FILE *out)
{
	for (uint32_t i = 0; i < v->cfg->listeners_count; i++) {
		struct listener_stats sum;

		view_listener_sum(v, i, &sum);
		sample(out, m, &sum, (const char *const[]){"listener", v->cfg->listeners[i].name, NULL});
	}
}

static void print_sinks(const struct view *v, const struct metric *m, FILE *out)
{
	for (uint32_t i = 0; i < v->sinks; i++)
		for (uint32_t k = 0; k < v->sink[i].parts; k++) {
			const struct view_part *part = &v->sink[i].part[k];
			struct metrics_sink s = {.up = part->state == SINK_RUNNING,
				.position = part->position,
				.parked = part->parked,
				.lag_events = part->lag_events,
				.lag_bytes = part->lag_bytes,
				.lag_seconds = part->lag_ms < 0 ? NAN : (double)part->lag_ms / 1000,
				.events = part->events,
				.suppressed = part->suppressed,
				.alerts = part->alerts,
				.dead = part->dead,
				.rows = part->rows,
				.late = part->late,
				.held = part->held,
				.rejected = part->rejected,
				.refused = part->refused,
				.bytes = part->bytes,
				.commits = part->commits,
				.retries = part->retries,
				.errors = part->errors,
				.skipped = part->skipped,
				.skipped_life = part->limits.skipped,
				.given_up = part->limits.given_up,
				.lag_alarm = part->limits.lag_alarm,
				.lag_limit = part->limits.lag_limit ? part->limits.lag_limit : UINT64_MAX};
			char number[16];

			snprintf(number, sizeof number, "%u", part->partition);
			sample(out, m, &s,
				(const char *const[]){"sink", v->sink[i].name, "partition", number, NULL});
		}
}

static void print_drops(const struct view *v, const struct metric *m, FILE *out)
{
	for (int i = 1; i < DROP_ID_MAX; i++) {
		struct metrics_drop drop;

		if (!drop_table[i].name)
			continue;
		drop.count = view_drop(v, (enum drop_reason)i);
		sample(out, m, &drop,
			(const char *const[]){"reason", drop_table[i].name, "unit",
				drop_unit_name(drop_table[i].unit), NULL});
	}
}

/* Reasons that have never been are left out: there are many, for each listener. */
static void print_listener_drops(const struct view *v, const struct metric *m, FILE *out)
{
	for (uint32_t i = 0; i < v->cfg->listeners_count; i++) {
		struct listener_stats sum;

		view_listener_sum(v, i, &sum);
		for (int k = 1; k < DROP_ID_MAX; k++) {
			struct metrics_listener_drop drop = {sum.dropped[k] ? sum.dropped[k] : UINT64_MAX,
				sum.refused[k] ? sum.refused[k] : UINT64_MAX};

			if (!drop_table[k].name)
				continue;
			sample(out, m, &drop,
				(const char *const[]){"listener", v->cfg->listeners[i].name, "reason",
					drop_table[k].name, "unit", drop_unit_name(drop_table[k].unit),
					NULL});
		}
	}
}

static void print_enrich(const struct view *v, const struct metric *m, FILE *out)
{
	for (uint32_t i = 0; i < v->enrich_tables; i++) {
		const struct view_enrich *t = &v->enrich[i];

		sample(out, m, &(struct metrics_enrich){t->info.rows, t->hits, t->misses},
			(const char *const[]){"table", t->info.name, NULL});
	}
}

/* NAN: none. */
static double seconds_of(int64_t ms)
{
	return ms > 0 ? (double)ms / 1000 : NAN;
}

/* Of a file that may be of an earlier run, hence by the wall clock: while it is set back, 0. */
static double age_of(const struct view *v, int64_t made_ms)
{
	if (!made_ms)
		return NAN;
	return v->now_ms > made_ms ? (double)(v->now_ms - made_ms) / 1000 : 0;
}

static struct metrics_state state_of_part(const struct view *v, uint32_t p)
{
	const struct state_part_stats *part = &v->state_part[p];

	return (struct metrics_state){.up = part->phase == STATE_RUNNING,
		.failed = part->phase == STATE_FAILED,
		.records = part->run.records,
		.behind = view_state_behind(v, p),
		.appended = part->appended,
		.compared = part->compared,
		.mismatches = part->mismatches,
		.waiting = part->waiting,
		.checkpoints = part->checkpoints,
		.checkpoint_failures = part->checkpoint_failures,
		.checkpoint_bytes = part->checkpoint_bytes,
		.checkpoint_gather_seconds = (double)part->checkpoint_gather_ns / 1e9,
		.checkpoint_write_seconds = (double)part->checkpoint_ns / 1e9,
		.watermark_seconds = seconds_of(part->stage.watermark_ms),
		.checkpoint_age_seconds = age_of(v, part->checkpoint_ms)};
}

static struct metrics_state state_of_merge(const struct view *v)
{
	const struct state_stats *merge = &v->state;

	return (struct metrics_state){.up = merge->merge_phase == STATE_RUNNING,
		.failed = merge->merge_phase == STATE_FAILED,
		.records = merge->merge.rows_in,
		.behind = UINT64_MAX,
		.appended = merge->merge_appended,
		.compared = merge->merge_compared,
		.mismatches = merge->merge_mismatches,
		.waiting = merge->merge_waiting,
		.checkpoints = merge->merge_checkpoints,
		.checkpoint_failures = merge->merge_checkpoint_failures,
		.checkpoint_bytes = merge->merge_checkpoint_bytes,
		.checkpoint_gather_seconds = (double)merge->merge_checkpoint_gather_ns / 1e9,
		.checkpoint_write_seconds = (double)merge->merge_checkpoint_ns / 1e9,
		.watermark_seconds = seconds_of(merge->merge.step_ms),
		.checkpoint_age_seconds = age_of(v, merge->merge_checkpoint_ms)};
}

static void print_state(const struct view *v, const struct metric *m, FILE *out)
{
	struct metrics_state s;

	for (uint32_t p = 0; p < v->state_parts; p++) {
		s = state_of_part(v, p);
		sample_indexed(out, m, &s, "partition", p);
	}
	s = state_of_merge(v);
	if (v->state_parts)
		sample(out, m, &s, (const char *const[]){"partition", "merge", NULL});
}

static void print_windows(const struct view *v, const struct metric *m, FILE *out)
{
	for (uint32_t i = 0; v->state_parts && i < v->plan->count; i++) {
		struct metrics_window item;
		struct view_window w;

		view_window_sum(v, v->plan->def[i]->uid, &w);
		item = (struct metrics_window){.events = w.events,
			.filtered = w.filtered,
			.late = w.late,
			.no_room = w.no_room,
			.rows = w.rows,
			.revisions = w.revisions,
			.other = w.other,
			.cut = w.cut,
			.keys = w.keys,
			.memory_bytes = w.memory_bytes,
			.closed_seconds = seconds_of(w.closed_ms)};
		sample(out, m, &item, (const char *const[]){"window", v->plan->def[i]->name, NULL});
	}
}

static void print_canaries(const struct view *v, const struct metric *m, FILE *out)
{
	struct view_canary c;

	for (uint32_t i = 0; v->canaries && i < v->rules; i++)
		if (view_canary(v, i, &c) && c.info->canary)
			sample(out, m, &c, (const char *const[]){"rule", c.info->id, NULL});
}

static void metric_print(const struct view *v, const struct metric *m, FILE *out)
{
	switch (m->scope) {
	case METRIC_SCOPE_daemon:
		print_daemon(v, m, out);
		break;
	case METRIC_SCOPE_worker:
		for (uint32_t i = 0; i < v->workers; i++)
			sample_indexed(out, m, &v->worker[i], "worker", i);
		break;
	case METRIC_SCOPE_port:
		for (uint32_t i = 0; i < v->ports; i++)
			sample(out, m, &v->port[i], (const char *const[]){"port", v->port[i].name, NULL});
		break;
	case METRIC_SCOPE_listener:
		print_listeners(v, m, out);
		break;
	case METRIC_SCOPE_partition:
		for (uint32_t i = 0; i < v->partitions; i++)
			sample_indexed(out, m, &v->partition[i], "partition", i);
		break;
	case METRIC_SCOPE_sink:
		print_sinks(v, m, out);
		break;
	case METRIC_SCOPE_drop:
		print_drops(v, m, out);
		break;
	case METRIC_SCOPE_listener_drop:
		print_listener_drops(v, m, out);
		break;
	case METRIC_SCOPE_state:
		print_state(v, m, out);
		break;
	case METRIC_SCOPE_window:
		print_windows(v, m, out);
		break;
	case METRIC_SCOPE_rule:
		for (uint32_t i = 0; i < v->rules; i++)
			if (!v->rule[i].info.canary)
				sample(out, m, &v->rule[i],
					(const char *const[]){"rule", v->rule[i].info.id, NULL});
		break;
	case METRIC_SCOPE_canary:
		print_canaries(v, m, out);
		break;
	case METRIC_SCOPE_rule_state:
		for (uint32_t i = 0; i < v->rule_states; i++)
			if (!v->rule[v->rule_state[i].rule].info.canary)
				sample(out, m, &v->rule_state[i],
					(const char *const[]){"rule", v->rule_state[i].id, NULL});
		break;
	case METRIC_SCOPE_enrich:
		print_enrich(v, m, out);
		break;
	}
}

void metrics_print(const struct view *v, FILE *out)
{
	for (uint32_t i = 0; i < metric_count; i++) {
		const struct metric *m = &metric_table[i];
		char *body = NULL;
		size_t bytes = 0;
		FILE *mem = open_memstream(&body, &bytes);

		if (!mem)
			return;
		metric_print(v, m, mem);
		fclose(mem);
		if (bytes) /* a family without samples is left out */
			fprintf(out, "# HELP %s %s\n# TYPE %s %s\n%s", m->name, m->help, m->name, m->type,
				body);
		free(body);
	}
}
