/* The stateful part of a rule: its key, what is counted under it, bounds. Set-up only. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "config_table.h"
#include "rule_read_priv.h"

#define DAY_MS 86400000ull
#define WITHIN_MS_MAX (30 * DAY_MS)
#define AT_LEAST_MAX 1000000u
#define KEYS_MAX 10000000u
#define KEYS_DEFAULT 100000u
#define MEMORY_BYTES_MIN (64u << 10)
#define MEMORY_BYTES_MAX (16ull << 30)
#define MEMORY_BYTES_DEFAULT (64ull << 20)
#define EVENTS_MAX 1000000u
#define EVENTS_DEFAULT 1000u
#define EVIDENCE_DEFAULT 10u
#define EARTH_HALF_KM 20038.0  /* no two places are further apart */
#define PERIOD_SLOTS_MAX 20160 /* buckets in a period: two weeks of minutes */

static const char *const kind_key[] = {"count", "sum", "distinct", "rate_change", "sequence", "absence",
	"travel", "anomaly", "unchanged", NULL};
static const char *const bound_key[] = {"by", "order", "suppress", "evidence", "limits", NULL};

static bool in_list(const char *const *list, const char *word)
{
	while (*list && strcmp(*list, word))
		list++;
	return *list != NULL;
}

bool state_key(const char *key)
{
	return in_list(kind_key, key) || in_list(bound_key, key);
}

/* ---- fields ---- */

#define KIND_BIT(kind) (1u << FIELD_KIND_##kind)

/* A field of the schema of one of the kinds. what: what it is wanted for. */
static int field_of(
	struct rule_reader *rd, const struct ynode *n, uint32_t kinds, const char *what, uint8_t *out)
{
	const char *names[FIELD_ID_MAX];
	enum field_id field;

	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "%s: expected the name of a field", what);
	if (!strncmp(n->text, ATTR_PREFIX, strlen(ATTR_PREFIX)))
		return rule_err(rd, n,
			"%s: %.80s is no field of the schema: attributes stand in an event's JSON only, and "
			"state "
			"needs a value that is in each record",
			what, n->text);
	field = field_by_name(n->text, n->text_bytes);
	if (!field)
		return rule_err_unknown(rd, n, false, "field", names, rule_field_names(names, FIELD_ID_MAX));
	if (!(kinds & 1u << field_table[field].kind))
		return rule_err(rd, n, "%s: %s is a %s field, which cannot be used here", what, n->text,
			field_kind_name[field_table[field].kind]);
	*out = (uint8_t)field;
	return 0;
}

static int by_add(struct rule_reader *rd, const struct ynode *n, struct rule_stateful *st)
{
	int rc;

	if (st->by_count == RULE_BY_MAX)
		return rule_err(rd, n, "by: more than %d fields", RULE_BY_MAX);
	rc = field_of(
		rd, n, KIND_BIT(TEXT) | KIND_BIT(NUMBER) | KIND_BIT(DECIMAL), "by", &st->by[st->by_count]);
	for (uint32_t i = 0; i < st->by_count && !rc; i++)
		if (st->by[i] == st->by[st->by_count])
			rc = rule_err(rd, n, "by: %s is given twice", n->text);
	st->by_count++;
	return rc;
}

static int by_read(struct rule_reader *rd, const struct ynode *n, const char *kind, struct rule_stateful *st)
{
	const struct ynode *by = ynode_get(n, "by");
	int rc = 0;

	if (!by)
		return rule_err(
			rd, n, "%s needs `by`, the field or fields whose values are looked at apart", kind);
	if (by->kind == YNODE_MAP || (by->kind == YNODE_SEQ && !by->count))
		return rule_err(rd, by, "by: expected a field or a list of fields, as in [ip, card]");
	if (by->kind == YNODE_SCALAR)
		return by_add(rd, by, st);
	YNODE_EACH (it, by)
		if (!rc)
			rc = by_add(rd, it, st);
	return rc;
}

/* ---- kinds ---- */

static int within_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	const struct ynode *at;
	int rc = read_child(rd, n, "within", &at);

	return rc ? rc : read_duration(rd, at, 1, WITHIN_MS_MAX, &spec->within_ms);
}

static int at_least_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	const struct ynode *at;
	int rc = read_child(rd, n, "at_least", &at);

	return rc ? rc : read_uint(rd, at, 1, AT_LEAST_MAX, &spec->at_least);
}

static int count_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	static const char *const names[] = {"at_least", "within", NULL};
	struct rule_state *spec = &rule->state->spec;
	int rc = read_keys(rd, n, names);

	spec->kind = RULE_STATE_COUNT;
	rc = rc ? rc : at_least_read(rd, n, spec);
	return rc ? rc : within_read(rd, n, spec);
}

static int sum_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	static const char *const names[] = {"field", "at_least", "within", NULL};
	struct rule_state *spec = &rule->state->spec;
	const struct ynode *field, *at_least;
	double most = (double)(FIELD_DECIMAL_MAX / FIELD_DECIMAL_ONE);
	int rc = read_keys(rd, n, names);

	spec->kind = RULE_STATE_SUM;
	rc = rc ? rc : read_child(rd, n, "field", &field);
	rc = rc ? rc : read_child(rd, n, "at_least", &at_least);
	rc = rc ? rc : field_of(rd, field, KIND_BIT(NUMBER) | KIND_BIT(DECIMAL), "field", &spec->field);
	if (rc)
		return rc;
	spec->decimal = field_table[spec->field].kind == FIELD_KIND_DECIMAL;
	rc = read_double(rd, at_least, 0, spec->decimal ? most : 1e300, &spec->threshold_number);
	if (!rc && spec->threshold_number == 0)
		rc = rule_err(rd, at_least, "at_least: each sum is at least 0: expected more");
	if (spec->decimal) {
		spec->threshold = llround(spec->threshold_number * (double)FIELD_DECIMAL_ONE);
		spec->threshold_number = 0;
	}
	return rc ? rc : within_read(rd, n, spec);
}

/* Distinct, unchanged: how many events with other values, or with the same one. one: what holds for any
 * event. */
static int runs_read(struct rule_reader *rd, const struct ynode *n, const char *one, struct rule_state *spec)
{
	static const char *const names[] = {"field", "at_least", "within", NULL};
	const struct ynode *field;
	int rc = read_keys(rd, n, names);

	rc = rc ? rc : read_child(rd, n, "field", &field);
	rc = rc ? rc
		: field_of(rd, field, KIND_BIT(TEXT) | KIND_BIT(NUMBER) | KIND_BIT(DECIMAL), "field",
			  &spec->field);
	rc = rc ? rc : at_least_read(rd, n, spec);
	if (!rc && spec->at_least < 2)
		rc = rule_err(rd, ynode_get(n, "at_least"), "at_least: %s: expected 2 or more", one);
	return rc ? rc : within_read(rd, n, spec);
}

static int distinct_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	rule->state->spec.kind = RULE_STATE_DISTINCT;
	return runs_read(rd, n, "each event has 1 value", &rule->state->spec);
}

static int unchanged_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	rule->state->spec.kind = RULE_STATE_UNCHANGED;
	rule->state->spec.order = RULE_ORDER_EVENT_TIME;
	return runs_read(rd, n, "each event has the value that it has", &rule->state->spec);
}

static int rate_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	static const char *const names[] = {"factor", "at_least", "within", NULL};
	struct rule_state *spec = &rule->state->spec;
	const struct ynode *factor;
	int rc = read_keys(rd, n, names);

	spec->kind = RULE_STATE_RATE;
	rc = rc ? rc : read_child(rd, n, "factor", &factor);
	rc = rc ? rc : read_double(rd, factor, 1.001, 1e6, &spec->factor);
	rc = rc ? rc : at_least_read(rd, n, spec);
	return rc ? rc : within_read(rd, n, spec);
}

static int travel_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	static const char *const names[] = {"speed_kmh", "min_km", "place", NULL};
	struct rule_state *spec = &rule->state->spec;
	const struct ynode *speed, *place, *distance;
	int rc = read_keys(rd, n, names);

	spec->kind = RULE_STATE_TRAVEL;
	spec->place = FIELD_geo_country;
	spec->distance_km_min = 100;
	rc = rc ? rc : read_child(rd, n, "speed_kmh", &speed);
	rc = rc ? rc : read_double(rd, speed, 1, 100000, &spec->speed_kmh);
	if (rc)
		return rc;
	distance = ynode_get(n, "min_km");
	if (distance)
		rc = read_double(rd, distance, 0, EARTH_HALF_KM, &spec->distance_km_min);
	place = ynode_get(n, "place");
	if (!rc && place)
		rc = field_of(rd, place, KIND_BIT(TEXT), "place", &spec->place);
	if (!rc && spec->place != FIELD_country && spec->place != FIELD_geo_country)
		rc = rule_err(rd, place, "place: expected country or geo_country");
	/* After that every place can have been reached. */
	spec->within_ms = (int64_t)ceil(EARTH_HALF_KM / spec->speed_kmh * 3600000.0);
	return rc;
}

/* ---- anomaly ---- */

static int zscore_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	static const char *const names[] = {"windows", "k", NULL};
	const struct ynode *windows;
	uint64_t v = 0;
	int rc = read_keys(rd, n, names);

	spec->anomaly = RULE_ZSCORE;
	rc = rc ? rc : read_child(rd, n, "windows", &windows);
	rc = rc ? rc : read_uint(rd, windows, 5, 10000, &v);
	spec->windows = (uint32_t)v;
	spec->samples_min = v / 2 > 5 ? (uint32_t)v / 2 : 5;
	return rc;
}

static int ewma_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	static const char *const names[] = {"alpha", "k", NULL};
	const struct ynode *alpha;
	int rc = read_keys(rd, n, names);

	spec->anomaly = RULE_EWMA;
	rc = rc ? rc : read_child(rd, n, "alpha", &alpha);
	rc = rc ? rc : read_double(rd, alpha, 0.001, 0.999, &spec->alpha);
	spec->samples_min = !rc && spec->alpha < 0.2 ? (uint32_t)ceil(1 / spec->alpha) : 5;
	return rc;
}

static int seasonal_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	static const char *const names[] = {"period", "k", NULL};
	const struct ynode *period;
	int rc = read_keys(rd, n, names);

	spec->anomaly = RULE_SEASONAL;
	spec->samples_min = 3;
	rc = rc ? rc : read_child(rd, n, "period", &period);
	rc = rc ? rc : read_duration(rd, period, 1000, WITHIN_MS_MAX, &spec->period_ms);
	if (!rc && (spec->period_ms % spec->every_ms || spec->period_ms <= spec->every_ms ||
			   spec->period_ms / spec->every_ms > PERIOD_SLOTS_MAX))
		rc = rule_err(rd, period, "period: expected a multiple of `every`, 2 to %d times as long",
			PERIOD_SLOTS_MAX);
	return rc;
}

/* The one way of judging, with its k. */
static int way_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	static const char *const names[] = {"zscore", "ewma", "seasonal"};
	static int (*const read[])(struct rule_reader *, const struct ynode *, struct rule_state *) = {
		zscore_read, ewma_read, seasonal_read};
	const struct ynode *way = NULL, *k;
	int rc = 0;

	for (int i = 0; i < 3 && !rc; i++) {
		const struct ynode *at = ynode_get(n, names[i]);

		if (at && way)
			rc = rule_err_key(
				rd, at, "anomaly: %s and %s exclude each other: give one", way->key, at->key);
		else if (at)
			rc = read[i](rd, at, spec);
		way = at ? at : way;
	}
	if (rc)
		return rc;
	if (!way)
		return rule_err(rd, n, "anomaly: one of zscore, ewma, seasonal is missing");
	rc = read_child(rd, way, "k", &k);
	return rc ? rc : read_double(rd, k, 0.1, 1000, &spec->deviations);
}

static int side_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	static const char *const names[] = {"both", "above", "below"};

	for (uint8_t i = 0; n->kind == YNODE_SCALAR && i < 3; i++)
		if (!strcmp(names[i], n->text)) {
			spec->side = i;
			return 0;
		}
	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "side: expected both, above or below");
	return rule_err_unknown(rd, n, false, "side", names, 3);
}

static int anomaly_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	static const char *const names[] = {
		"of", "every", "zscore", "ewma", "seasonal", "samples", "at_least", "side", NULL};
	struct rule_state *spec = &rule->state->spec;
	const struct ynode *of = NULL, *every, *samples, *side;
	uint64_t v;
	int rc = read_keys(rd, n, names);

	spec->kind = RULE_STATE_ANOMALY;
	spec->order = RULE_ORDER_EVENT_TIME;
	rc = rc ? rc : read_child(rd, n, "of", &of);
	if (!rc && strcmp(of->kind == YNODE_SCALAR ? of->text : "", "count") != 0)
		rc = field_of(rd, of, KIND_BIT(NUMBER) | KIND_BIT(DECIMAL), "of", &spec->field);
	spec->decimal = spec->field && field_table[spec->field].kind == FIELD_KIND_DECIMAL;
	rc = rc ? rc : read_child(rd, n, "every", &every);
	rc = rc ? rc : read_duration(rd, every, 1000, DAY_MS, &spec->every_ms);
	rc = rc ? rc : way_read(rd, n, spec);
	if (rc)
		return rc;
	samples = ynode_get(n, "samples");
	if (samples) {
		rc = read_uint(rd, samples, 2, 10000, &v);
		spec->samples_min = (uint32_t)v;
	}
	if (!rc && ynode_get(n, "at_least"))
		rc = at_least_read(rd, n, spec);
	side = ynode_get(n, "side");
	return rc || !side ? rc : side_read(rd, side, spec);
}

/* ---- bounds ---- */

static int order_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	static const char *const names[] = {"arrival", "event_time"};

	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "order: expected arrival or event_time");
	for (uint8_t i = 0; i < 2; i++) {
		if (strcmp(names[i], n->text))
			continue;
		if (i == RULE_ORDER_ARRIVAL &&
			(spec->kind == RULE_STATE_ABSENCE || spec->kind == RULE_STATE_ANOMALY ||
				spec->kind == RULE_STATE_UNCHANGED))
			return rule_err(rd, n,
				"order: what has not come by a time is known by the watermark only: this "
				"rule is "
				"always in event_time");
		spec->order = i;
		return 0;
	}
	return rule_err_unknown(rd, n, false, "order", names, 2);
}

static int limits_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	static const char *const names[] = {"keys", "memory", "events", NULL};
	const struct ynode *it;
	uint64_t v;
	int rc = read_keys(rd, n, names);

	it = ynode_get(n, "keys");
	if (!rc && it)
		rc = read_uint(rd, it, 1, KEYS_MAX, &spec->keys_max);
	it = ynode_get(n, "memory");
	if (!rc && it &&
		(it->kind != YNODE_SCALAR || !config_bytes(it->text, &spec->memory_bytes_max) ||
			spec->memory_bytes_max < MEMORY_BYTES_MIN ||
			spec->memory_bytes_max > MEMORY_BYTES_MAX))
		rc = rule_err(rd, it, "memory: expected a size from 64KiB to 16GiB, as in 64MiB");
	it = ynode_get(n, "events");
	if (!rc && it) {
		rc = read_uint(rd, it, 1, EVENTS_MAX, &v);
		spec->events_max = (uint32_t)v;
		if (!rc && v < spec->at_least)
			rc = rule_err(rd, it, "events: at_least is %llu: a key has to remember so many",
				(unsigned long long)spec->at_least);
	}
	return rc;
}

static int bounds_read(struct rule_reader *rd, const struct ynode *n, struct rule_state *spec)
{
	const struct ynode *it;
	uint64_t v = EVIDENCE_DEFAULT, events = spec->at_least * (spec->kind == RULE_STATE_RATE ? 2 : 1);
	int rc = 0;

	spec->keys_max = KEYS_DEFAULT;
	spec->memory_bytes_max = MEMORY_BYTES_DEFAULT;
	spec->events_max = events > EVENTS_DEFAULT ? (uint32_t)events : EVENTS_DEFAULT;
	it = ynode_get(n, "order");
	if (it)
		rc = order_read(rd, it, spec);
	it = ynode_get(n, "suppress");
	if (!rc && it)
		rc = read_duration(rd, it, 1, WITHIN_MS_MAX, &spec->suppress_ms);
	it = ynode_get(n, "evidence");
	if (!rc && it)
		rc = read_uint(rd, it, 0, RULE_EVIDENCE_MAX, &v);
	spec->evidence_max = (uint32_t)v;
	it = ynode_get(n, "limits");
	return rc || !it ? rc : limits_read(rd, it, spec);
}

/* ---- the whole ---- */

/* The key that says what kind of state it is; NULL: none. */
static int kind_find(struct rule_reader *rd, const struct ynode *n, const struct ynode **out)
{
	const struct ynode *other = NULL, *suppress = ynode_get(n, "suppress");

	*out = NULL;
	YNODE_EACH (it, n) {
		if (in_list(kind_key, it->key) && *out)
			return rule_err_key(
				rd, it, "%s and %s are two rules: give one of them", (*out)->key, it->key);
		if (in_list(kind_key, it->key))
			*out = it;
		else if (in_list(bound_key, it->key) && !other)
			other = it;
	}
	if (!*out)
		*out = suppress;
	if (other && !*out)
		return rule_err_key(rd, other,
			"%s says nothing without one of count, sum, distinct, rate_change, sequence, "
			"absence, "
			"travel, anomaly, unchanged, suppress",
			other->key);
	return 0;
}

static int kind_read(
	struct rule_reader *rd, const struct ynode *n, const struct ynode *kind, struct rule *rule)
{
	static int (*const read[])(struct rule_reader *, const struct ynode *, struct rule *) = {count_read,
		sum_read, distinct_read, rate_read, NULL, NULL, travel_read, anomaly_read, unchanged_read};
	struct rule_state *spec = &rule->state->spec;
	uint32_t i = 0;
	int rc;

	if (!strcmp(kind->key, "sequence"))
		return sequence_read(rd, n, rule);
	rc = conds_read(rd, ynode_get(n, "when"), NULL, ynode_get(n, "allow"), &rule->when);
	if (rc)
		return rc;
	if (!strcmp(kind->key, "absence"))
		return absence_read(rd, n, rule);
	if (!strcmp(kind->key, "suppress")) {
		spec->kind = RULE_STATE_COUNT;
		spec->at_least = 1;
		rc = read_duration(rd, kind, 1, WITHIN_MS_MAX, &spec->within_ms);
		return rc;
	}
	while (strcmp(kind_key[i], kind->key))
		i++;
	return read[i](rd, kind, rule);
}

/* `then` has been read. */
static int actions_check(struct rule_reader *rd, const struct ynode *n, const struct rule *rule)
{
	const struct ynode *then = ynode_get(n, "then");

	if (rule->info.actions & RULE_ACTION_DROP)
		return rule_err(rd, then,
			"then: drop: what a rule with state finds is known when its events are journaled, "
			"too late to "
			"drop them; it can alert and tag");
	if (rule->info.actions & RULE_ACTION_ROUTE)
		return rule_err(rd, then,
			"then: route: a rule with state would send each event that passes its `when` there; "
			"a "
			"rule of its own without state says that");
	if (!(rule->info.actions & RULE_ACTION_ALERT))
		return rule_err(rd, then, "then: state is kept for alerts: `alert` is missing");
	return 0;
}

int state_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	const struct ynode *kind;
	int rc = kind_find(rd, n, &kind);

	if (rc)
		return rc;
	if (!ynode_get(n, "when") && !(kind && !strcmp(kind->key, "sequence")))
		return rule_err(rd, n, "a rule needs `when`");
	if (!kind)
		return conds_read(rd, ynode_get(n, "when"), NULL, ynode_get(n, "allow"), &rule->when);
	rule->state = rule_pool_get(rd->pool, 1, sizeof *rule->state);
	if (!rule->state)
		return rule_no_memory(rd);
	rule->info.stateful = true;
	rc = actions_check(rd, n, rule);
	rc = rc ? rc : kind_read(rd, n, kind, rule);
	rc = rc ? rc : by_read(rd, n, kind->key, rule->state);
	return rc ? rc : bounds_read(rd, n, &rule->state->spec);
}
