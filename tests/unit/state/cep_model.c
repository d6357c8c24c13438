/* The model: for each key the list of all its events, in the order in which they are judged. What a rule says
 * is found by going through that list from the beginning, each time. Slow, and in nothing like the engine. */
#include "cep_rig.h"

#include <math.h>
#include <string.h>

#define EVENTS_MAX 512

struct model_key {
	bool lives;
	uint64_t used;
	int64_t now, quiet; /* INT64_MIN: none */
	uint32_t count;
	struct rig_hit event[EVENTS_MAX];
	bool over[EVENTS_MAX];	   /* sequence: nothing that began here goes on */
	int64_t known[EVENTS_MAX]; /* `now` when the event had been judged */
	uint32_t waiting;
};

struct cep_model {
	struct rule_state rule;
	uint64_t touched;
	struct model_key key[CEP_RIG_KEYS];
	struct rig_hit wait[4 * EVENTS_MAX];
	uint32_t waits;
	struct cep_model_counts counts;
};

struct cep_model *cep_model_new(const struct rule_state *rule)
{
	struct cep_model *model = calloc(1, sizeof *model);

	model->rule = *rule;
	return model;
}

void cep_model_free(struct cep_model *model)
{
	free(model);
}

struct cep_model_counts cep_model_counts(const struct cep_model *model)
{
	struct cep_model_counts counts = model->counts;

	for (uint32_t i = 0; i < CEP_RIG_KEYS; i++)
		counts.keys += model->key[i].lives;
	return counts;
}

static bool waits(const struct cep_model *m)
{
	return m->rule.order == RULE_ORDER_EVENT_TIME || m->rule.kind == RULE_STATE_ABSENCE ||
	       m->rule.kind == RULE_STATE_UNCHANGED;
}

static void alert(struct cep_model *m, struct model_key *k, int64_t at, const struct rig_alert *a,
	struct rig_alerts *out)
{
	struct rig_alert one = *a;

	if (k->quiet != INT64_MIN && at < k->quiet) {
		m->counts.suppressed++;
		return;
	}
	if (m->rule.suppress_ms)
		k->quiet = at + m->rule.suppress_ms;
	one.key = (uint32_t)(k - m->key);
	rig_alert_add(out, &one);
}

/* ---- windows ---- */

/* Places of the events in [now - from, now - to), by time, those that came first before others of the same
 * time. */
static uint32_t inside(const struct model_key *k, int64_t from, int64_t to, uint32_t place[EVENTS_MAX])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->count; i++) {
		int64_t ago = k->now - k->event[i].time_ms;
		uint32_t at = n;

		if (ago >= from || ago < to)
			continue;
		while (at && k->event[place[at - 1]].time_ms > k->event[i].time_ms) {
			place[at] = place[at - 1];
			at--;
		}
		place[at] = i;
		n++;
	}
	return n;
}

static void take_count(struct cep_model *m, struct model_key *k, struct rig_alerts *out)
{
	uint32_t place[EVENTS_MAX], n = inside(k, m->rule.within_ms, 0, place), first = 0;
	double sum = 0;
	int64_t exact = 0;

	if (n > m->rule.events_max)
		first = n - m->rule.events_max;
	for (uint32_t i = first; i < n; i++) {
		sum += (double)k->event[place[i]].value * 0.1;
		exact += k->event[place[i]].value;
	}
	if (m->rule.kind == RULE_STATE_COUNT && n - first >= m->rule.at_least)
		alert(m, k, k->now,
			&(struct rig_alert){0, k->event[place[first]].time_ms, k->now, n - first, n - first},
			out);
	if (m->rule.kind == RULE_STATE_SUM && !m->rule.decimal && sum >= m->rule.threshold_number)
		alert(m, k, k->now,
			&(struct rig_alert){0, k->event[place[first]].time_ms, k->now, sum, n - first}, out);
	if (m->rule.kind == RULE_STATE_SUM && m->rule.decimal && exact >= m->rule.threshold)
		alert(m, k, k->now,
			&(struct rig_alert){
				0, k->event[place[first]].time_ms, k->now, (double)exact / 1e6, n - first},
			out);
}

static void take_distinct(struct cep_model *m, struct model_key *k, struct rig_alerts *out)
{
	uint32_t place[EVENTS_MAX], n = inside(k, m->rule.within_ms, 0, place), different = 0;
	int64_t first = k->now;

	for (uint32_t i = 0; i < n; i++) {
		bool later = false;

		for (uint32_t j = i + 1; j < n; j++)
			later |= k->event[place[j]].value == k->event[place[i]].value;
		if (later)
			continue;
		different++;
		if (k->event[place[i]].time_ms < first)
			first = k->event[place[i]].time_ms;
	}
	if (different >= m->rule.at_least)
		alert(m, k, k->now, &(struct rig_alert){0, first, k->now, different, different}, out);
}

static void take_rate(struct cep_model *m, struct model_key *k, struct rig_alerts *out)
{
	int64_t unit = (m->rule.within_ms + 511) / 512, now = k->now / unit * unit, first = INT64_MAX;
	uint64_t count = 0, before = 0;

	for (uint32_t i = 0; i < k->count; i++) {
		int64_t t = k->event[i].time_ms / unit * unit, ago = now - t;

		if (ago < m->rule.within_ms) {
			count++;
			first = t < first ? t : first;
		} else if (ago < 2 * m->rule.within_ms) {
			before++;
		}
	}
	if (count >= m->rule.at_least && (double)count >= m->rule.factor * (double)before)
		alert(m, k, k->now, &(struct rig_alert){0, first, k->now, (double)count, count}, out);
}

/* The events from the last one back to the first that has another value, is too old or is one too many. */
static void take_unchanged(struct cep_model *m, struct model_key *k, struct rig_alerts *out)
{
	const struct rig_hit *last = &k->event[k->count - 1];
	uint32_t n = 0;

	while (n < k->count && n < m->rule.events_max && last[-(int)n].value == last->value &&
		k->now - last[-(int)n].time_ms < m->rule.within_ms)
		n++;
	if (n >= m->rule.at_least)
		alert(m, k, k->now, &(struct rig_alert){0, last[1 - (int)n].time_ms, k->now, n, n}, out);
}

/* ---- travel ---- */
static double km_between(int64_t a, int64_t b)
{
	/* middle of DE, FR, US, JP as in countries.def, by the spherical law of cosines */
	static const double place[4][2] = {{51, 9}, {46, 2}, {38, -97}, {36, 138}};
	double r = M_PI / 180, x;

	if (a == b)
		return 0;
	x = sin(place[a][0] * r) * sin(place[b][0] * r) +
	    cos(place[a][0] * r) * cos(place[b][0] * r) * cos((place[a][1] - place[b][1]) * r);
	return 6371.0088 * acos(x);
}

/* The event before it that was the latest then, the last to come of those. */
static void take_travel(struct cep_model *m, struct model_key *k, struct rig_alerts *out)
{
	const struct rig_hit *ev = &k->event[k->count - 1], *was = NULL;
	double km, hours;
	int64_t apart;

	for (uint32_t i = 0; i + 1 < k->count; i++)
		if (!was || k->event[i].time_ms >= was->time_ms)
			was = &k->event[i];
	if (!was)
		return;
	apart = llabs(ev->time_ms - was->time_ms);
	km = km_between(was->value, ev->value);
	hours = (double)apart / 3.6e6;
	if (was->value == ev->value || apart >= m->rule.within_ms || km < m->rule.distance_km_min ||
		km <= m->rule.speed_kmh * hours)
		return;
	alert(m, k, k->now,
		&(struct rig_alert){0, was->time_ms < ev->time_ms ? was->time_ms : ev->time_ms,
			was->time_ms < ev->time_ms ? ev->time_ms : was->time_ms,
			km / ((double)(apart ? apart : 1) / 3.6e6), 2},
		out);
}

/* ---- sequences ---- */
enum end { END_OPEN, END_MATCH, END_DEAD };

static bool is_not(const struct cep_model *m, uint32_t step)
{
	if (m->rule.kind == RULE_STATE_ABSENCE)
		return step == 1;
	return m->rule.step[step].follow >= RULE_NOT_NEXT;
}

static bool passes(const struct rig_hit *ev, uint32_t step)
{
	return ev->steps >> step & 1;
}

/* Plays the history from event `s` on. *full: nothing is missing but the end of its time. */
static enum end play(
	const struct cep_model *m, const struct model_key *k, uint32_t s, uint32_t *events, bool *full)
{
	const struct rule_state *rule = &m->rule;
	uint32_t step = 0, times = 1, last = s, pause = 0;

	*events = 1;
	for (uint32_t i = s + 1;; i++) {
		uint32_t next = step + 1;
		bool enough = times >= rule->step[step].times_min, killed = false;

		while (next < rule->step_count && is_not(m, next))
			next++;
		*full = enough && next == rule->step_count && next > step + 1;
		if (enough && next == rule->step_count && next == step + 1)
			return i == k->count ? END_MATCH : END_DEAD; /* it had matched before */
		if (i == k->count)
			return END_OPEN;
		if (k->known[i] - k->event[s].time_ms >= rule->within_ms)
			return END_DEAD;
		if (k->event[i].time_ms < k->event[last].time_ms)
			continue;
		for (uint32_t n = step + 1; n < next; n++)
			killed |= passes(&k->event[i], n) &&
				  (rule->kind == RULE_STATE_ABSENCE ||
					  rule->step[n].follow == RULE_NOT_FOLLOWED_BY || (enough && !pause));
		if (killed)
			return END_DEAD;
		if (enough && next < rule->step_count && passes(&k->event[i], next) &&
			(rule->step[next].follow == RULE_FOLLOWED_BY || !pause)) {
			step = next;
			times = 1;
		} else if (passes(&k->event[i], step) && times < rule->step[step].times_max) {
			times++;
		} else {
			pause++;
			if (next < rule->step_count && rule->step[next].follow == RULE_NEXT &&
				times == rule->step[step].times_max)
				return END_DEAD;
			continue;
		}
		pause = 0;
		last = i;
		(*events)++;
	}
}

/* Those whose time is over at `now` and that were full before event `count`. */
static void fire_full(struct cep_model *m, struct model_key *k, int64_t now, struct rig_alerts *out)
{
	for (uint32_t s = 0; s < k->count; s++) {
		uint32_t events;
		int64_t end = k->event[s].time_ms + m->rule.within_ms;
		bool full;

		if (k->over[s] || !passes(&k->event[s], 0) || end > now)
			continue;
		if (play(m, k, s, &events, &full) == END_OPEN && full)
			alert(m, k, end > k->now ? end : k->now,
				&(struct rig_alert){0, k->event[s].time_ms, end, events, events}, out);
		k->over[s] = true;
	}
}

static void take_sequence(struct cep_model *m, struct model_key *k, struct rig_alerts *out)
{
	const struct rig_hit *ev = &k->event[k->count - 1];
	bool past = m->rule.kind == RULE_STATE_SEQUENCE && m->rule.skip == RULE_SKIP_PAST_LAST;

	for (uint32_t s = 0; s < k->count; s++) {
		uint32_t events;
		bool full;

		if (k->over[s] || !passes(&k->event[s], 0))
			continue;
		if (play(m, k, s, &events, &full) != END_MATCH)
			continue;
		alert(m, k, ev->time_ms > k->now ? ev->time_ms : k->now,
			&(struct rig_alert){0, k->event[s].time_ms, ev->time_ms, events, events}, out);
		k->over[s] = true;
		for (uint32_t i = 0; i < k->count && past; i++)
			k->over[i] = true;
		if (past)
			return;
	}
}

/* ---- keys ---- */
static void judge(struct cep_model *m, const struct rig_hit *hit, struct rig_alerts *out)
{
	struct model_key *k = &m->key[hit->key];
	int64_t keep = m->rule.kind == RULE_STATE_RATE ? 2 * m->rule.within_ms : m->rule.within_ms;

	if (k->now != INT64_MIN && k->now - hit->time_ms >= keep) {
		m->counts.late++;
		return;
	}
	if (m->rule.kind == RULE_STATE_SEQUENCE || m->rule.kind == RULE_STATE_ABSENCE) {
		int64_t now = hit->time_ms > k->now ? hit->time_ms : k->now, before = k->now;

		k->now = now;
		fire_full(m, k, now, out);
		k->now = before;
	}
	assert_true(k->count < EVENTS_MAX);
	k->over[k->count] = false;
	k->event[k->count++] = *hit;
	k->now = hit->time_ms > k->now ? hit->time_ms : k->now;
	k->known[k->count - 1] = k->now;
	switch (m->rule.kind) {
	case RULE_STATE_COUNT:
	case RULE_STATE_SUM:
		take_count(m, k, out);
		break;
	case RULE_STATE_DISTINCT:
		take_distinct(m, k, out);
		break;
	case RULE_STATE_RATE:
		take_rate(m, k, out);
		break;
	case RULE_STATE_TRAVEL:
		take_travel(m, k, out);
		break;
	case RULE_STATE_UNCHANGED:
		take_unchanged(m, k, out);
		break;
	default:
		take_sequence(m, k, out);
	}
}

static void key_use(struct cep_model *m, uint32_t key)
{
	struct model_key *k = &m->key[key], *oldest = NULL;
	uint32_t lives = 0, kept = 0;

	for (uint32_t i = 0; i < CEP_RIG_KEYS; i++) {
		if (!m->key[i].lives)
			continue;
		lives++;
		if (!oldest || m->key[i].used < oldest->used)
			oldest = &m->key[i];
	}
	if (!k->lives) {
		if (lives >= m->rule.keys_max) {
			for (uint32_t i = 0; i < m->waits; i++)
				if (m->wait[i].key != (uint32_t)(oldest - m->key))
					m->wait[kept++] = m->wait[i];
			m->waits = kept;
			oldest->lives = false;
			m->counts.evictions++;
		}
		memset(k, 0, offsetof(struct model_key, event));
		k->waiting = 0;
		k->lives = true;
		k->now = k->quiet = INT64_MIN;
	}
	k->used = ++m->touched;
}

void cep_model_take(
	struct cep_model *model, const struct rig_hit *hit, int64_t watermark_ms, struct rig_alerts *out)
{
	if (waits(model) && hit->time_ms < watermark_ms) {
		model->counts.late++;
		return;
	}
	key_use(model, hit->key);
	if (!waits(model)) {
		judge(model, hit, out);
		return;
	}
	assert_true(model->waits < 4 * EVENTS_MAX);
	model->wait[model->waits++] = *hit;
	model->key[hit->key].waiting++;
}

static void judge_first(struct cep_model *m, int64_t step_ms, struct rig_alerts *out)
{
	for (;;) {
		struct rig_hit hit;
		uint32_t first = UINT32_MAX;

		for (uint32_t i = 0; i < m->waits; i++)
			if (m->wait[i].time_ms < step_ms &&
				(first == UINT32_MAX || m->wait[i].time_ms < m->wait[first].time_ms))
				first = i;
		if (first == UINT32_MAX)
			return;
		hit = m->wait[first];
		memmove(&m->wait[first], &m->wait[first + 1], (m->waits - first - 1) * sizeof hit);
		m->waits--;
		m->key[hit.key].waiting--;
		judge(m, &hit, out);
	}
}

/* Of a key, the end of what is over first. */
static int64_t first_end(struct cep_model *m, struct model_key *k)
{
	int64_t first = INT64_MAX;

	for (uint32_t s = 0; s < k->count; s++) {
		uint32_t events;
		bool full;

		if (!k->over[s] && passes(&k->event[s], 0) && play(m, k, s, &events, &full) == END_OPEN &&
			full && k->event[s].time_ms + m->rule.within_ms < first)
			first = k->event[s].time_ms + m->rule.within_ms;
	}
	return first;
}

void cep_model_reach(struct cep_model *model, int64_t step_ms, struct rig_alerts *out)
{
	int64_t keep =
		model->rule.kind == RULE_STATE_RATE ? 2 * model->rule.within_ms : model->rule.within_ms;
	bool sequence = model->rule.kind == RULE_STATE_SEQUENCE || model->rule.kind == RULE_STATE_ABSENCE;

	judge_first(model, step_ms, out);
	while (sequence) { /* in the order of ends, then of keys as text */
		struct model_key *k = NULL;
		int64_t end = INT64_MAX;

		for (uint32_t i = 0; i < CEP_RIG_KEYS; i++) {
			int64_t this = model->key[i].lives ? first_end(model, &model->key[i]) : INT64_MAX;

			if (this <= step_ms && this < end) {
				end = this;
				k = &model->key[i];
			}
		}
		if (!k)
			break;
		fire_full(model, k, step_ms, out);
	}
	for (uint32_t i = 0; i < CEP_RIG_KEYS; i++) {
		struct model_key *k = &model->key[i];
		int64_t until = k->now == INT64_MIN ? INT64_MIN : k->now + keep;

		if (!k->lives || k->waiting || k->now == INT64_MIN || until > step_ms || k->quiet > step_ms)
			continue;
		k->lives = false;
		model->counts.expiries++;
	}
}
