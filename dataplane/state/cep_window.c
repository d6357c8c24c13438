/* Rules that count what lies in the last `within`: count, sum, distinct, rate, unchanged. State thread. Each
 * event moves the key's `now`, what is too old goes, and the rule is asked again: so it alerts with every
 * event that finds it true, as long as it is not suppressed. */
#include "cep_priv.h"

/* Where an item of this time goes: behind those that are not later. Mostly at the end. */
static uint32_t place_of(const struct cep_valued *item, uint32_t count, int64_t t)
{
	while (count && item[count - 1].time_ms > t)
		count--;
	return count;
}

static uint32_t place_of_time(const int64_t *item, uint32_t count, int64_t t)
{
	while (count && item[count - 1] > t)
		count--;
	return count;
}

static void now_raise(struct cep_key *key, int64_t t)
{
	if (t > key->now_ms)
		key->now_ms = t;
}

static struct cep_alert alert_of(const struct cep_machine *m, const struct cep_key *key, int64_t first_ms,
	double value, double expected)
{
	(void)m;
	return (struct cep_alert){.at_ms = key->now_ms,
		.first_ms = first_ms,
		.last_ms = key->now_ms,
		.value = value,
		.expected = expected,
		.score = expected != 0 ? value / expected : 0};
}

static int window_alert(
	struct cep_machine *m, struct cep_key *key, const struct cep_event *ev, struct cep_alert *a)
{
	if (!cep_alert_due(m, key, a->at_ms))
		return 0;
	a->last_id = ev->id;
	cep_alert_seen(m, key, key->now_ms - m->within_ms, a);
	return cep_alert_put(m, key, a);
}

/* ---- count ---- */
int cep_count_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *list = &key->list;
	const int64_t *time = cep_items(m, list, sizeof *time);
	struct cep_alert a;
	uint32_t gone = 0;

	now_raise(key, ev->time_ms);
	*(int64_t *)cep_list_add(m, list, sizeof *time, place_of_time(time, list->count, ev->time_ms)) =
		ev->time_ms;
	cep_seen_add(m, key, ev);
	time = cep_items(m, list, sizeof *time);
	while (key->now_ms - time[gone] >= m->within_ms)
		gone++;
	if (list->count - gone > m->events_max) {
		gone++;
		m->stats.cut++;
	}
	if (gone)
		cep_list_drop(m, list, sizeof *time, gone);
	if (list->count < m->def.at_least)
		return 0;
	time = cep_items(m, list, sizeof *time);
	a = alert_of(m, key, time[0], list->count, (double)m->def.at_least);
	a.total = list->count;
	return window_alert(m, key, ev, &a);
}

/* ---- sum ---- */
static double number_of(int64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

static void sum_drop(struct cep_machine *m, struct cep_key *key, uint32_t count)
{
	const struct cep_valued *item = cep_items(m, &key->list, sizeof *item);

	for (uint32_t i = 0; i < count && m->def.decimal; i++)
		cep_sum_add(key->sum, -(__int128)item[i].value);
	cep_list_drop(m, &key->list, sizeof *item, count);
}

/* Decimals exactly; doubles anew each time, in the order of their times, so that it does not matter what has
 * come and gone before. */
static bool sum_reached(const struct cep_machine *m, const struct cep_key *key, double *value)
{
	const struct cep_valued *item = cep_items(m, &key->list, sizeof *item);

	*value = 0;
	if (m->def.decimal) {
		*value = (double)cep_sum(key->sum) / (double)FIELD_DECIMAL_ONE;
		return cep_sum(key->sum) >= m->def.threshold;
	}
	for (uint32_t i = 0; i < key->list.count; i++)
		*value += number_of(item[i].value);
	return *value >= m->def.threshold_number;
}

int cep_sum_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *list = &key->list;
	struct cep_valued *item = cep_items(m, list, sizeof *item);
	struct cep_alert a;
	uint32_t gone = 0;
	double value;

	now_raise(key, ev->time_ms);
	item = cep_list_add(m, list, sizeof *item, place_of(item, list->count, ev->time_ms));
	*item = (struct cep_valued){ev->time_ms, ev->value};
	if (m->def.decimal)
		cep_sum_add(key->sum, ev->value);
	cep_seen_add(m, key, ev);
	item = cep_items(m, list, sizeof *item);
	while (key->now_ms - item[gone].time_ms >= m->within_ms)
		gone++;
	if (list->count - gone > m->events_max) {
		gone++;
		m->stats.cut++;
	}
	if (gone)
		sum_drop(m, key, gone);
	if (!list->count || !sum_reached(m, key, &value))
		return 0;
	item = cep_items(m, list, sizeof *item);
	a = alert_of(m, key, item[0].time_ms, value,
		m->def.decimal ? field_decimal_double(m->def.threshold) : m->def.threshold_number);
	a.total = list->count;
	return window_alert(m, key, ev, &a);
}

/* ---- distinct ---- */

/* Drops the values that were seen too long ago; returns the place of this one, or count. */
static uint32_t distinct_find(struct cep_machine *m, struct cep_key *key, int64_t value)
{
	struct cep_valued *item = cep_items(m, &key->list, sizeof *item);
	uint32_t kept = 0, found = UINT32_MAX;

	for (uint32_t i = 0; i < key->list.count; i++) {
		if (key->now_ms - item[i].time_ms >= m->within_ms)
			continue;
		if (item[i].value == value)
			found = kept;
		if (kept != i)
			item[kept] = item[i];
		kept++;
	}
	if (kept != key->list.count)
		cep_list_keep(m, &key->list, sizeof *item, kept);
	return found;
}

static void distinct_cut(struct cep_machine *m, struct cep_key *key)
{
	struct cep_valued *item = cep_items(m, &key->list, sizeof *item);
	uint32_t count = key->list.count, oldest = 0;

	for (uint32_t i = 1; i < count; i++)
		if (item[i].time_ms < item[oldest].time_ms)
			oldest = i;
	memmove(item + oldest, item + oldest + 1, (count - 1 - oldest) * sizeof *item);
	cep_list_keep(m, &key->list, sizeof *item, count - 1);
	m->stats.cut++;
}

int cep_distinct_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *list = &key->list;
	struct cep_valued *item;
	struct cep_alert a;
	uint32_t at;

	now_raise(key, ev->time_ms);
	at = distinct_find(m, key, ev->value);
	if (at != UINT32_MAX) {
		item = (struct cep_valued *)cep_items(m, list, sizeof *item) + at;
		item->time_ms = ev->time_ms > item->time_ms ? ev->time_ms : item->time_ms;
	} else {
		*(struct cep_valued *)cep_list_add(m, list, sizeof *item, list->count) =
			(struct cep_valued){ev->time_ms, ev->value};
		if (list->count > m->events_max)
			distinct_cut(m, key);
		cep_seen_add(m, key, ev);
	}
	if (list->count < m->def.at_least)
		return 0;
	item = cep_items(m, list, sizeof *item);
	a = alert_of(m, key, key->now_ms, list->count, (double)m->def.at_least);
	for (uint32_t i = 0; i < list->count; i++)
		if (item[i].time_ms < a.first_ms)
			a.first_ms = item[i].time_ms;
	a.total = list->count;
	return window_alert(m, key, ev, &a);
}

/* ---- rate ---- */

/* Times are rounded down to a part of `within`, so that a key takes a bounded number of items whatever its
 * rate. */
static int64_t rate_part(const struct cep_machine *m)
{
	return (m->within_ms + CEP_RATE_PARTS - 1) / CEP_RATE_PARTS;
}

static int64_t floor_to(int64_t t, int64_t unit)
{
	int64_t rest = t % unit;

	return t - (rest < 0 ? rest + unit : rest);
}

static void rate_add(struct cep_machine *m, struct cep_key *key, int64_t t)
{
	struct cep_list *list = &key->list;
	struct cep_valued *item = cep_items(m, list, sizeof *item);
	uint32_t at = place_of(item, list->count, t);

	if (at && item[at - 1].time_ms == t) {
		item[at - 1].value++;
		return;
	}
	*(struct cep_valued *)cep_list_add(m, list, sizeof *item, at) = (struct cep_valued){t, 1};
}

int cep_rate_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *list = &key->list;
	int64_t unit = rate_part(m), now, first = 0;
	uint64_t count = 0, before = 0;
	const struct cep_valued *item;
	struct cep_alert a;
	uint32_t gone = 0;

	now_raise(key, ev->time_ms);
	now = floor_to(key->now_ms, unit);
	rate_add(m, key, floor_to(ev->time_ms, unit));
	cep_seen_add(m, key, ev);
	item = cep_items(m, list, sizeof *item);
	for (uint32_t i = list->count; i-- > 0;) {
		int64_t ago = now - item[i].time_ms;

		if (ago < m->within_ms) {
			count += (uint64_t)item[i].value;
			first = item[i].time_ms;
		} else if (ago < 2 * m->within_ms) {
			before += (uint64_t)item[i].value;
		} else {
			gone = i + 1;
			break;
		}
	}
	if (gone)
		cep_list_drop(m, list, sizeof *item, gone);
	if (count < m->def.at_least || (double)count < m->def.factor * (double)before)
		return 0;
	a = alert_of(m, key, first, (double)count, m->def.factor * (double)before);
	a.score = (double)count / (double)(before ? before : 1);
	a.total = count;
	return window_alert(m, key, ev, &a);
}

/* ---- unchanged ---- */

/* Items are those of the run that goes on: all have one value. Events come in order of event time. */
int cep_unchanged_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *list = &key->list;
	const struct cep_valued *item = cep_items(m, list, sizeof *item);
	struct cep_alert a;
	uint32_t gone = 0;

	now_raise(key, ev->time_ms);
	if (list->count && item->value != ev->value) {
		cep_list_clear(m, list, sizeof *item);
		cep_list_clear(m, &key->seen, sizeof(struct cep_seen));
	}
	item = cep_items(m, list, sizeof *item);
	*(struct cep_valued *)cep_list_add(m, list, sizeof *item, place_of(item, list->count, ev->time_ms)) =
		(struct cep_valued){ev->time_ms, ev->value};
	cep_seen_add(m, key, ev);
	item = cep_items(m, list, sizeof *item);
	while (key->now_ms - item[gone].time_ms >= m->within_ms)
		gone++;
	if (list->count - gone > m->events_max) {
		gone++;
		m->stats.cut++;
	}
	if (gone)
		cep_list_drop(m, list, sizeof *item, gone);
	if (list->count < m->def.at_least)
		return 0;
	item = cep_items(m, list, sizeof *item);
	a = alert_of(m, key, item[0].time_ms, list->count, (double)m->def.at_least);
	a.total = list->count;
	return window_alert(m, key, ev, &a);
}
