/* The conservation equations. Server thread; pure functions of a view. */
#include "ledger.h"

#include <inttypes.h>
#include <stdio.h>

#include "views.h"

struct ledger {
	json_t *equations, *unknown;
	uint64_t unbalanced; /* sum of absolute balances */
};

struct equation {
	json_t *out;
	char place[96];
	const char *what;
	uint64_t in, sum;
};

static void eq_begin(struct equation *eq, const char *what, uint64_t in)
{
	*eq = (struct equation){.out = json_object(), .what = what, .in = in};
}

static void eq_add(struct equation *eq, const char *name, uint64_t count)
{
	eq->sum += count;
	json_object_set_new(eq->out, name, json_u64(count));
}

/* One term for each reason of a unit with a count. */
static void eq_add_drops(struct equation *eq, const uint64_t *drops, enum drop_unit unit)
{
	for (int i = 1; i < DROP_ID_MAX; i++)
		if (drop_table[i].name && drop_table[i].unit == unit && drops[i])
			eq_add(eq, drop_table[i].name, drops[i]);
}

static void eq_end(struct equation *eq, struct ledger *l)
{
	int64_t balance = (int64_t)(eq->in - eq->sum);

	l->unbalanced += (uint64_t)(balance < 0 ? -balance : balance);
	json_array_append_new(
		l->equations, json_pack("{s:o, s:s, s:o, s:o, s:o, s:I}", "place", json_text(eq->place),
				      "what", eq->what, "in", json_u64(eq->in), "out", eq->out, "sum",
				      json_u64(eq->sum), "balance", (json_int_t)balance));
}

/* What the drivers handed over = what the workers took. */
static void ledger_ports(struct ledger *l, const struct view *v)
{
	uint64_t frames = 0, given = 0, taken = 0;
	struct equation eq;

	for (uint32_t w = 0; w < v->workers; w++) {
		frames += v->worker[w].frames;
		given += v->worker[w].spread_given;
		taken += v->worker[w].spread_taken;
	}
	eq_begin(&eq, "frames received", 0);
	snprintf(eq.place, sizeof eq.place, "ports");
	for (uint32_t i = 0; i < v->ports; i++) {
		if (v->port[i].rx_packets == PORT_COUNTER_UNKNOWN) {
			json_array_append_new(l->unknown,
				json_sprintf("ports: %s does not count its packets", v->port[i].name));
			json_decref(eq.out);
			return;
		}
		eq.in += v->port[i].rx_packets;
	}
	eq_add(&eq, "workers", frames);
	if (given > taken)
		eq_add(&eq, "between_workers", given - taken);
	eq_end(&eq, l);
}

static void ledger_workers(struct ledger *l, const struct view *v)
{
	for (uint32_t w = 0; w < v->workers; w++) {
		const struct worker_stats *s = &v->worker[w];
		struct equation eq;
		uint64_t datagrams = 0;

		for (uint32_t i = 0; i < v->cfg->listeners_count; i++)
			datagrams += s->listener[i].datagrams;
		/* A packet in fragments counts as its last frame; the others are joined to that one. */
		eq_begin(&eq, "frames", s->frames);
		snprintf(eq.place, sizeof eq.place, "worker %u", w);
		eq_add(&eq, "datagrams", datagrams);
		eq_add(&eq, "fragments_joined", s->decode.fragments_joined);
		eq_add(&eq, "fragments_held", s->decode.fragments_held);
		eq_add(&eq, "neighbour_answered", s->neighbour.answered);
		eq_add(&eq, "neighbour_unsent", s->neighbour.unsent);
		eq_add_drops(&eq, s->drops, DROP_UNIT_frame);
		eq_end(&eq, l);
	}
}

static void ledger_listeners(struct ledger *l, const struct view *v)
{
	for (uint32_t i = 0; i < v->cfg->listeners_count; i++) {
		struct listener_stats s;
		struct equation eq;

		view_listener_sum(v, i, &s);
		eq_begin(&eq, "datagrams", s.datagrams);
		snprintf(eq.place, sizeof eq.place, "listener %s", v->cfg->listeners[i].name);
		eq_add(&eq, "read", s.datagrams_read);
		if (s.datagrams_waiting)
			eq_add(&eq, "waiting", s.datagrams_waiting);
		eq_add_drops(&eq, s.dropped, DROP_UNIT_datagram);
		eq_end(&eq, l);
		eq_begin(&eq, "events", s.events);
		snprintf(eq.place, sizeof eq.place, "listener %s", v->cfg->listeners[i].name);
		eq_add(&eq, "accepted", s.accepted);
		eq_add(&eq, "refused_kept", s.refused_kept);
		eq_add_drops(&eq, s.dropped, DROP_UNIT_event);
		eq_end(&eq, l);
	}
}

/* What the workers wrote into batches = what the writers took from lanes. */
static void ledger_handoff(struct ledger *l, const struct view *v)
{
	struct view_totals t;
	struct equation eq;
	char name[32];

	view_totals(v, &t);
	eq_begin(&eq, "records batched", t.accepted + t.refused_kept + t.shadows);
	snprintf(eq.place, sizeof eq.place, "handoff");
	for (uint32_t p = 0; p < v->partitions; p++) {
		snprintf(name, sizeof name, "partition %u", p);
		eq_add(&eq, name, v->partition[p].batch_records);
	}
	eq_end(&eq, l);
}

static void ledger_partitions(struct ledger *l, const struct view *v)
{
	for (uint32_t p = 0; p < v->partitions; p++) {
		const struct journal_partition_stats *s = &v->partition[p], *base = &v->base[p];
		struct equation eq;

		eq_begin(&eq, "records", s->batch_records);
		snprintf(eq.place, sizeof eq.place, "partition %u", p);
		eq_add(&eq, "journaled_events", view_records(v, p, RECORD_EVENT));
		eq_add(&eq, "journaled_refused", view_records(v, p, RECORD_REFUSED));
		eq_add(&eq, "journaled_shadows", view_records(v, p, RECORD_SHADOW & 7));
		eq_add(&eq, "duplicate", s->duplicates);
		eq_add(&eq, "shadow_duplicate",
			s->drops[DROP_shadow_duplicate] - base->drops[DROP_shadow_duplicate]);
		eq_add(&eq, "shadow_lost", s->drops[DROP_shadow_lost] - base->drops[DROP_shadow_lost]);
		eq_add(&eq, "journal_full", s->drops[DROP_journal_full] - base->drops[DROP_journal_full]);
		eq_add(&eq, "journal_failed",
			s->drops[DROP_journal_failed] - base->drops[DROP_journal_failed]);
		eq_add(&eq, "refused_lost", s->refused_lost);
		eq_end(&eq, l);
	}
}

/* The state stage: what was journaled it took; each definition counted, left out or refused each event; what
 * it emitted is in the output log. */
static void ledger_state_part(struct ledger *l, const struct view *v, uint32_t p)
{
	const struct state_part_stats *s = &v->state_part[p];
	const struct journal_partition_stats *out = &v->output[p], *base = &v->output_base[p];
	uint64_t behind = view_state_behind(v, p);
	struct equation eq;

	eq_begin(&eq, "records since its start", v->partition[p].durable_offset - s->replay_to);
	snprintf(eq.place, sizeof eq.place, "state, partition %u", p);
	eq_add(&eq, "taken", s->run.records - s->replay.records);
	eq_add(&eq, "behind", behind);
	eq_end(&eq, l);
	if (!behind) {
		eq_begin(&eq, "events since its start", view_records(v, p, RECORD_EVENT));
		snprintf(eq.place, sizeof eq.place, "state, partition %u", p);
		eq_add(&eq, "taken", s->run.events - s->replay.events);
		eq_end(&eq, l);
	}
	eq_begin(&eq, "records emitted", s->run.row_records + s->run.late + s->run.marks + s->run.alerts);
	snprintf(eq.place, sizeof eq.place, "state, partition %u", p);
	eq_add(&eq, "appended", s->appended);
	eq_add(&eq, "compared", s->compared);
	eq_add(&eq, "skipped", s->skipped);
	eq_end(&eq, l);
	eq_begin(&eq, "records appended", s->appended);
	snprintf(eq.place, sizeof eq.place, "output log, partition %u", p);
	eq_add(&eq, "rows", out->records[RECORD_ROW] - base->records[RECORD_ROW]);
	eq_add(&eq, "late", out->records[RECORD_LATE] - base->records[RECORD_LATE]);
	eq_add(&eq, "marks", out->records[RECORD_MARK] - base->records[RECORD_MARK]);
	eq_add(&eq, "in_flight",
		s->output_offset > out->durable_offset ? s->output_offset - out->durable_offset : 0);
	eq_end(&eq, l);
}

static void ledger_state(struct ledger *l, const struct view *v)
{
	for (uint32_t p = 0; p < v->state_parts; p++) {
		const struct state_part_stats *s = &v->state_part[p];

		if (s->phase != STATE_RUNNING && s->phase != STATE_STOPPED) {
			json_array_append_new(l->unknown,
				json_sprintf("state, partition %u: %s", p, state_phase_name[s->phase]));
			continue;
		}
		ledger_state_part(l, v, p);
		for (uint32_t i = 0; i < s->stage.window_count && i < WINDOWS_MAX; i++) {
			const struct stage_window_stats *w = &s->stage.window[i], *base = &s->base.window[i];
			const struct window_def *def = window_plan_find(v->plan, w->uid);
			struct equation eq;

			eq_begin(&eq, "events", s->stage.events - s->base.events);
			snprintf(eq.place, sizeof eq.place, "window %s, partition %u", def ? def->name : "?",
				p);
			eq_add(&eq, "counted", w->events - base->events);
			eq_add(&eq, "filtered", w->filtered - base->filtered);
			eq_add(&eq, "late", w->late - base->late);
			eq_end(&eq, l);
		}
	}
}

/* Alerts of the input are made from events, beside them; those of the output log are records of their own. */
static void eq_add_delivered(struct equation *eq, enum sink_log log, const struct view_part *part)
{
	if (log == SINK_LOG_INPUT) {
		eq_add(eq, "events", part->events);
		eq_add(eq, "dead", part->dead);
		return;
	}
	eq_add(eq, "rows", part->rows);
	eq_add(eq, "late", part->late);
	eq_add(eq, "alerts", part->alerts);
	eq_add(eq, "held", part->held);
	eq_add(eq, "refused", part->refused);
}

static void ledger_sinks(struct ledger *l, const struct view *v)
{
	for (uint32_t i = 0; i < v->sinks; i++)
		for (uint32_t k = 0; k < v->sink[i].parts; k++) {
			const struct view_part *part = &v->sink[i].part[k];
			uint64_t durable = view_part_log(v, &v->sink[i], part)->durable_offset;
			struct equation eq;

			if (!part->opened) {
				json_array_append_new(
					l->unknown, json_sprintf("sink %s, partition %u: not connected yet; "
								 "its position is not "
								 "known",
							    v->sink[i].name, part->partition));
				continue;
			}
			eq_begin(&eq, "records since its start position", durable - part->start);
			snprintf(eq.place, sizeof eq.place, "sink %s, partition %u", v->sink[i].name,
				part->partition);
			eq_add_delivered(&eq, v->sink[i].log, part);
			eq_add(&eq, "suppressed", part->suppressed);
			eq_add(&eq, "other", part->other);
			eq_add(&eq, "found_committed", part->found);
			eq_add(&eq, "rejected", part->rejected);
			eq_add(&eq, "parked", part->parked);
			eq_add(&eq, "skipped", part->skipped);
			eq_add(&eq, "lag", part->lag_events);
			eq_end(&eq, l);
		}
}

/* Over the life of a log's partition: what its blocks say, whatever process wrote them. */
static json_t *life_of(const char *log, uint32_t partition, const struct journal_partition_stats *s)
{
	static const char *const kind_name[] = {
		"shadow", "event", "refused", "control", "tick", "row", "late", "mark"};
	json_t *records = json_object(), *drops = json_object();

	for (int k = 0; k <= RECORD_MARK; k++)
		if ((k && k <= RECORD_TICK) || s->records[k])
			json_object_set_new(records, kind_name[k], json_u64(s->records[k]));
	for (int i = 1; i < DROP_ID_MAX; i++)
		if (drop_table[i].name && s->drops[i])
			json_object_set_new(drops, drop_table[i].name, json_u64(s->drops[i]));
	return json_pack("{s:s, s:I, s:o, s:o, s:o}", "log", log, "partition", (json_int_t)partition,
		"durable", json_u64(s->durable_offset), "records", records, "drops", drops);
}

static json_t *ledger_life(const struct view *v)
{
	json_t *life = json_array();

	for (uint32_t p = 0; p < v->partitions; p++)
		json_array_append_new(life, life_of("input", p, &v->partition[p]));
	for (uint32_t p = 0; p < v->outputs; p++)
		json_array_append_new(life, life_of("output", p, &v->output[p]));
	return life;
}

json_t *ledger_json(const struct view *v)
{
	struct ledger l = {json_array(), json_array(), 0};

	ledger_ports(&l, v);
	ledger_workers(&l, v);
	ledger_listeners(&l, v);
	ledger_handoff(&l, v);
	ledger_partitions(&l, v);
	ledger_state(&l, v);
	ledger_sinks(&l, v);
	return json_pack("{s:b, s:o, s:o, s:o, s:o}", "balanced", l.unbalanced == 0, "balance",
		json_u64(l.unbalanced), "equations", l.equations, "unknown", l.unknown, "life",
		ledger_life(v));
}
