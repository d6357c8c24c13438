/* The state stage in `status`, and `windows`. Server thread; pure. */
#include "views.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t view_state_behind(const struct view *v, uint32_t partition)
{
	uint64_t durable = v->partition[partition].durable_offset;
	uint64_t taken = v->state_part[partition].stage.input_offset;

	return durable > taken ? durable - taken : 0;
}

/* ---- status ---- */

/* Records of the replay: how many there are, how many are done. */
static double state_progress(const struct view *v)
{
	uint64_t all = 0, done = 0;

	for (uint32_t p = 0; p < v->state_parts; p++) {
		const struct state_part_stats *s = &v->state_part[p];
		uint64_t at = s->stage.input_offset < s->replay_to ? s->stage.input_offset : s->replay_to;

		all += s->replay_to - s->replay_from;
		done += at > s->replay_from ? at - s->replay_from : 0;
	}
	return all ? 100.0 * (double)done / (double)all : 100.0;
}

static const char *state_error(const struct view *v)
{
	for (uint32_t p = 0; p < v->state_parts; p++)
		if (v->state_part[p].error[0])
			return v->state_part[p].error;
	return v->state.merge_error;
}

/* One that has failed, else one that recovers, says how the whole is. */
static enum state_phase state_worst(const struct view *v)
{
	static const int rank[] = {[STATE_FAILED] = 4,
		[STATE_RECOVERING] = 3,
		[STATE_OFF] = 2,
		[STATE_STOPPED] = 1,
		[STATE_RUNNING] = 0};
	enum state_phase worst = v->state.merge_phase;

	for (uint32_t p = 0; p < v->state_parts; p++)
		if (rank[v->state_part[p].phase] > rank[worst])
			worst = v->state_part[p].phase;
	return worst;
}

json_t *view_state_json(const struct view *v)
{
	uint64_t behind = 0, rows = 0, late = 0, waiting = 0;
	int64_t checkpoint_ms = INT64_MAX;
	enum state_phase phase;
	json_t *out;

	if (!v->state_parts)
		return json_pack("{s:s}", "phase", state_phase_name[STATE_OFF]);
	phase = state_worst(v);
	for (uint32_t p = 0; p < v->state_parts; p++) {
		const struct state_part_stats *s = &v->state_part[p];

		behind += view_state_behind(v, p);
		rows += s->run.rows;
		late += s->run.late;
		waiting += s->waiting;
		checkpoint_ms = s->checkpoint_ms < checkpoint_ms ? s->checkpoint_ms : checkpoint_ms;
	}
	out = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "phase", state_phase_name[phase],
		"records_per_s", view_json_tenths(v->rate.stage_records), "behind", json_u64(behind), "rows",
		json_u64(rows), "late", json_u64(late), "merged_rows", json_u64(v->state.merge.rows_out),
		"merged_up_to", json_time(v->state.merge.step_ms), "oldest_checkpoint",
		json_time(checkpoint_ms), "waiting_for_room", (json_int_t)(waiting + v->state.merge_waiting));
	if (phase == STATE_RECOVERING)
		json_object_set_new(out, "recovered_percent", view_json_tenths(state_progress(v)));
	json_object_set_new(out, "error", json_text(state_error(v)));
	return out;
}

/* ---- windows ---- */

void view_window_sum(const struct view *v, uint64_t uid, struct view_window *sum)
{
	*sum = (struct view_window){.closed_ms = INT64_MAX};
	for (uint32_t p = 0; p < v->state_parts; p++) {
		const struct stage_stats *s = &v->state_part[p].stage;

		for (uint32_t i = 0; i < s->window_count && i < WINDOWS_MAX; i++) {
			const struct stage_window_stats *w = &s->window[i];

			if (w->uid != uid)
				continue;
			sum->events += w->events;
			sum->filtered += w->filtered;
			sum->late += w->late;
			sum->no_room += w->no_room;
			sum->late_allowed += w->late_allowed;
			sum->late_panes += w->late_panes;
			sum->rows += w->rows;
			sum->revisions += w->revisions;
			sum->other += w->other;
			sum->cut += w->cut;
			sum->keys += w->keys;
			sum->memory_bytes += w->memory_bytes;
			if (w->closed_ms < sum->closed_ms)
				sum->closed_ms = w->closed_ms;
		}
	}
	if (sum->closed_ms == INT64_MAX)
		sum->closed_ms = 0;
}

static json_t *windows_list(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->plan->count; i++) {
		const struct window_def *def = v->plan->def[i];
		struct view_window w;

		view_window_sum(v, def->uid, &w);
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
					"s:o, s:o, s:o}",
				      "window", def->name, "kind", window_kind_name[def->kind], "uid",
				      json_sprintf("%016" PRIx64, def->uid), "keys", json_u64(w.keys),
				      "memory", json_u64(w.memory_bytes), "events", json_u64(w.events),
				      "filtered", json_u64(w.filtered), "late", json_u64(w.late), "no_room",
				      json_u64(w.no_room), "late_allowed", json_u64(w.late_allowed),
				      "late_panes", json_u64(w.late_panes), "rows", json_u64(w.rows),
				      "revisions", json_u64(w.revisions), "other", json_u64(w.other), "cut",
				      json_u64(w.cut), "closed_up_to", json_time(w.closed_ms)));
	}
	return list;
}

static json_t *windows_partitions(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t p = 0; p < v->state_parts; p++) {
		const struct state_part_stats *s = &v->state_part[p];

		json_array_append_new(list,
			json_pack("{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "partition",
				(json_int_t)p, "state", state_phase_name[s->phase], "watermark",
				json_time(s->stage.watermark_ms), "step", json_time(s->stage.step_ms),
				"behind", json_u64(view_state_behind(v, p)), "emitted",
				json_u64(s->output_offset), "compared", json_u64(s->compared), "mismatches",
				json_u64(s->mismatches), "checkpoint", json_u64(s->checkpoint_seq),
				"checkpoint_failures", json_u64(s->checkpoint_failures), "waiting",
				s->waiting));
	}
	return list;
}

static const char *listener_name(const struct view *v, uint16_t port)
{
	for (uint32_t i = 0; i < v->cfg->listeners_count; i++)
		if (v->cfg->listeners[i].udp_port == port)
			return v->cfg->listeners[i].name;
	return "?";
}

static json_t *windows_sources(const struct view *v)
{
	json_t *list = json_array();

	for (uint32_t p = 0; p < v->state_parts; p++) {
		const struct stage_stats *s = &v->state_part[p].stage;

		for (uint32_t i = 0; i < s->source_count && i < STAGE_SOURCES_MAX; i++)
			json_array_append_new(
				list, json_pack("{s:s, s:I, s:I, s:s, s:o, s:o, s:o}", "listener",
					      listener_name(v, s->source[i].port), "udp_port",
					      (json_int_t)s->source[i].port, "partition", (json_int_t)p,
					      "state", s->source[i].idle ? "idle" : "active", "events",
					      json_u64(s->source[i].events), "event_time_max",
					      json_time(s->source[i].event_time_max_ms), "last_received",
					      json_time(s->source[i].receive_last_ms)));
	}
	return list;
}

/* The partition that holds the merge back; of its sources, those that are silent. */
static json_t *windows_held_by(const struct view *v)
{
	uint32_t p = v->state.merge.held_by;
	const struct stage_stats *s;
	char idle[256] = "";

	if (p >= v->state_parts)
		return json_null();
	s = &v->state_part[p].stage;
	for (uint32_t i = 0; i < s->source_count && i < STAGE_SOURCES_MAX; i++) {
		size_t n = strlen(idle);

		if (s->source[i].idle)
			snprintf(idle + n, sizeof idle - n, "%s%s",
				n ? ", " : "; idle: ", listener_name(v, s->source[i].port));
	}
	return json_sprintf("partition %u%s%s", p, s->source_count ? "" : "; no events yet", idle);
}

json_t *view_windows(const struct view *v, const struct request *rq, struct err *err)
{
	const struct state_stats *s = &v->state;

	(void)rq;
	if (!v->state_parts) {
		err_set(err, -ENOENT, "the state stage is off: state.enabled");
		return NULL;
	}
	return json_pack("{s:o, s:{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}, s:o, s:o}", "windows",
		windows_list(v), "merge", "state", state_phase_name[s->merge_phase], "up_to",
		json_time(s->merge.step_ms), "held_back_by", windows_held_by(v), "rows",
		json_u64(s->merge.rows_out), "revisions", json_u64(s->merge.revisions), "alerts",
		json_u64(s->merge.alerts), "late_lost", json_u64(s->merge.late_lost), "incomplete",
		json_u64(s->merge.incomplete), "retained", json_u64(s->merge.retained), "partitions",
		windows_partitions(v), "sources", windows_sources(v));
}
