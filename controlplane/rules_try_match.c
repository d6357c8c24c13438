/* Bursts of events for `rules try`: matched with both rulesets; alerts of rules on single events are judged
 * at once, what rules with state are to see goes to the lanes. One thread. */
#include <string.h>
#include <time.h>

#include "hash.h"
#include "rule_shadow.h"
#include "rules_try_priv.h"
#include "watermark.h"

uint64_t try_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- what rules look back on ---- */
static int64_t bounded(int64_t ms)
{
	return ms < 0 ? 0 : ms < RULES_TRY_LOOK_BACK_MAX_MS ? ms : RULES_TRY_LOOK_BACK_MAX_MS;
}

static int64_t state_look_back(const struct rule_state *state)
{
	int64_t ms = bounded(state->within_ms);

	if (state->kind == RULE_STATE_RATE)
		ms *= 2;
	if (state->kind == RULE_STATE_ANOMALY) {
		int64_t buckets = (int64_t)state->windows + state->samples_min + 1;

		ms = state->every_ms > RULES_TRY_LOOK_BACK_MAX_MS / buckets ? RULES_TRY_LOOK_BACK_MAX_MS
									    : state->every_ms * buckets;
		ms = bounded(ms + bounded(state->period_ms));
	}
	return bounded(ms + bounded(state->suppress_ms));
}

int64_t rules_try_look_back(const struct ruleset *rs)
{
	int64_t most = 0;

	for (uint32_t i = 0; i < ruleset_state_count(rs); i++) {
		int64_t ms = state_look_back(ruleset_state(rs, i));

		most = ms > most ? ms : most;
	}
	return most;
}

/* The step that the watermark has come to, or TRY_NO_TIME. */
int64_t try_part_raise(struct try_part *part, int64_t to_ms)
{
	int64_t step_ms;

	if (to_ms <= part->watermark_ms || to_ms > STAGE_TIME_MAX)
		return TRY_NO_TIME;
	part->watermark_ms = to_ms;
	step_ms = stage_floor(to_ms, part->unit_ms);
	if (step_ms <= part->step_ms)
		return TRY_NO_TIME;
	part->step_ms = step_ms;
	return step_ms;
}

/* ---- a burst ---- */
static void side_match(struct try_reader *r, struct try_side *side)
{
	uint64_t start;

	for (uint32_t i = 0; i < r->count; i++) {
		r->event[i].actions = 0;
		r->event[i].hit_count = 0;
		r->event[i].hit = NULL;
	}
	start = try_cpu_ns();
	matcher_run(side->matcher, r->burst, r->count);
	r->t->out->match_ns[side->index] += try_cpu_ns() - start;
	for (uint32_t i = 0; i < r->count; i++) {
		side->hit[i] = r->event[i].hit;
		side->hit_count[i] = r->event[i].hit_count;
		side->actions[i] = r->event[i].actions;
	}
}

/* Rules on single events: which alert on event i, on which side. */
static void event_judge(struct try_reader *r, uint32_t i, uint64_t offset)
{
	struct try_run *t = r->t;

	for (int s = 0; s < TRY_SIDES; s++)
		for (uint32_t k = 0; k < t->side[s].hit_count[i]; k++) {
			uint32_t rule = t->side[s].hit[i][k], row;

			if (rule >= ruleset_rule_count(t->side[s].rs)) /* steps of rules with state */
				break;
			if (!rule_alerts(ruleset_rule(t->side[s].rs, rule)))
				continue;
			row = t->side[s].row[rule];
			if (!t->mark[row])
				t->touched[t->touched_count++] = row;
			t->mark[row] |= (uint8_t)(1u << s);
		}
	while (t->touched_count) {
		uint32_t row = t->touched[--t->touched_count];

		try_event_alert(t, &t->out->row[row], t->mark[row], &r->event[i], r->p, offset);
		t->mark[row] = 0;
	}
}

/* Keyrings of the rules in force then that the event hit. */
static uint32_t live_keyrings(const struct try_reader *r, const struct record *rec)
{
	const uint16_t *hit = record_hits(rec);
	uint32_t mask = 0;

	for (uint32_t i = 0; r->live.rs && i < rec->hit_count; i++) {
		const struct rule_use *use;

		if (hit[i] >= ruleset_match_count(r->live.rs))
			break;
		use = &ruleset_uses(r->live.rs)[hit[i]];
		if (use->state != RULE_STATE_NONE)
			mask |= 1u << use->keyring;
	}
	return mask;
}

static void shadow_put(struct try_reader *r, struct try_side *side, const struct try_seen *seen,
	const struct event *ev, const struct rule_shadow *shadow, bool expected)
{
	struct try_run *t = r->t;
	struct try_lane *lane = &side->lane[hash_partition(shadow->key_hash, t->partitions)];
	_Alignas(8) uint8_t room[sizeof(struct record)];
	struct record *head = (struct record *)room, *rec;

	/* As the journal has it: there are such in which an event whose id the writer made has shadows, which
	 * have none. */
	memset(head, 0, sizeof *head);
	if (!expected || !(seen->rec->flags & RECORD_F_ID_MADE) ||
		seen->rec->flags & (RECORD_F_PRODUCER | RECORD_F_ID_WORKER))
		memcpy(head->event_id, ev->event_id, sizeof head->event_id);
	head->key_hash = shadow->key_hash;
	head->event_time_ms = ev->event_time_ms;
	head->reason_field = ruleset_keyring(side->rs, shadow->keyring)->field[0];
	rec = try_lane_shadow(lane, seen->rec->receive_time_ms, try_place(t, r->p, seen->offset),
		expected ? try_mark_of(head) : 0, shadow->bytes);
	rule_shadow_write((uint8_t *)rec, side->rs, ev, shadow, seen->rec->receive_time_ms, 0);
	memcpy(rec->event_id, head->event_id, sizeof rec->event_id);
}

/* True if a rule whose key lives with the event is hit. */
static bool hits_home(const struct try_side *side, const struct event *ev)
{
	const struct rule_use *use = ruleset_uses(side->rs);

	for (uint32_t i = 0; i < ev->hit_count; i++) {
		const struct rule_use *u = &use[ev->hit[i]];

		if (u->state != RULE_STATE_NONE &&
			rule_keyring_is_home(ruleset_keyring(side->rs, u->keyring), ev->type, ev->field_mask))
			return true;
	}
	return false;
}

/* An event to the keys of its hits. */
static void state_put(struct try_reader *r, struct try_side *side, const struct try_seen *seen)
{
	struct rule_shadow shadow[RULE_KEYRINGS_MAX];
	struct event *ev = &r->event[seen->event];
	const struct record *rec = seen->rec;
	uint32_t count, live;

	ev->hit = side->hit[seen->event];
	ev->hit_count = side->hit_count[seen->event];
	ev->actions = side->actions[seen->event];
	if (hits_home(side, ev)) {
		struct record *to = try_lane_take(&side->lane[r->p], rec->receive_time_ms, seen->watermark_ms,
			try_place(r->t, r->p, seen->offset), record_bytes_of(ev));

		(void)record_write_event((uint8_t *)to, ev, rec->key_hash, rec->receive_time_ms, rec->flags);
	}
	count = rule_shadows(side->rs, ev, shadow);
	live = count ? live_keyrings(r, rec) : 0;
	for (uint32_t i = 0; i < count; i++)
		shadow_put(r, side, seen, ev, &shadow[i], live & side->alike[shadow[i].keyring]);
}

static void side_put(struct try_reader *r, struct try_side *side)
{
	for (uint32_t i = 0; i < r->seen_count; i++) {
		const struct try_seen *seen = &r->seen[i];
		const struct record *rec = seen->rec;

		if (seen->event != UINT32_MAX && side->actions[seen->event] & RULE_ACTION_STATE)
			state_put(r, side, seen);
		else if (rec->kind == RECORD_SHADOW && stage_time_usable(rec->event_time_ms))
			try_lane_mark(&side->lane[r->p], rec->receive_time_ms, seen->watermark_ms,
				try_mark_of(rec));
		if (seen->step_ms != TRY_NO_TIME)
			try_lane_step(&side->lane[r->p], rec->receive_time_ms, seen->step_ms);
	}
}

void try_burst_run(struct try_reader *r)
{
	struct try_run *t = r->t;

	for (int s = 0; s < TRY_SIDES && r->count; s++)
		side_match(r, &t->side[s]);
	for (uint32_t i = 0; i < r->seen_count; i++) {
		const struct try_seen *seen = &r->seen[i];

		if (seen->event == UINT32_MAX)
			continue;
		if (seen->rec->receive_time_ms < t->params->from_ms) {
			t->out->warm_up_events++;
			continue;
		}
		event_judge(r, seen->event, seen->offset);
		t->out->events++;
	}
	for (int s = 0; s < TRY_SIDES; s++)
		if (t->side[s].lane)
			side_put(r, &t->side[s]);
	r->count = r->seen_count = 0;
	r->data_used = 0;
}

static uint32_t event_add(struct try_reader *r, const struct record *rec)
{
	uint8_t *copy = r->data + r->data_used;

	memcpy(copy, record_payload(rec), rec->payload_bytes);
	memset(copy + rec->payload_bytes, 0, EVENT_PAD_BYTES);
	r->data_used += rec->payload_bytes + (size_t)EVENT_PAD_BYTES;
	record_event(rec, copy, &r->event[r->count]);
	r->burst[r->count] = &r->event[r->count];
	return r->count++;
}

void try_record_take(struct try_reader *r, const struct record *rec, uint64_t offset)
{
	struct try_part *part = &r->part[r->p];
	bool event = rec->kind == RECORD_EVENT;
	bool timely = stage_time_usable(rec->event_time_ms) && stage_time_usable(rec->receive_time_ms);
	bool counts =
		event && rec->receive_time_ms >= r->t->start_ms && rec->payload_bytes <= EVENT_BYTES_MAX;
	struct try_seen *seen;

	if (!event && rec->kind != RECORD_SHADOW && rec->kind != RECORD_TICK)
		return;
	if (r->seen_count == TRY_SEEN_MAX || r->count == MATCH_EVENTS_MAX ||
		TRY_DATA_BYTES - r->data_used < rec->payload_bytes + (size_t)EVENT_PAD_BYTES)
		try_burst_run(r);
	seen = &r->seen[r->seen_count++];
	*seen = (struct try_seen){
		rec, offset, part->watermark_ms, TRY_NO_TIME, counts ? event_add(r, rec) : UINT32_MAX};
	if (event && timely)
		seen->step_ms =
			try_part_raise(part, stage_event_mark(rec->event_time_ms, rec->receive_time_ms,
						     part->out_of_orderness_ms));
	else if (rec->kind == RECORD_TICK && timely)
		seen->step_ms = try_part_raise(part, rec->event_time_ms);
}
