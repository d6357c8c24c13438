/* Rules that count what lies in the last `within`: count, sum, distinct, rate, unchanged. State thread. Each
 * event moves the key's `now`, what is too old goes, and the rule is asked again: so it alerts with every
 * event that finds it true, as long as it is not suppressed. */
#include <immintrin.h>

#include "avx2.h"
#include "cep_priv.h"

/* Where an item of this time goes, of `count` that are in order and begin with theirs: behind those that are
 * not later. Mostly at the end; else, with many of them, anywhere. */
static inline __attribute__((always_inline)) uint32_t place_among(
	const void *item, uint32_t item_bytes, uint32_t count, int64_t t)
{
	const uint8_t *at = item;
	int64_t time_ms;

	if (!count)
		return 0;
	memcpy(&time_ms, at + (size_t)(count - 1) * item_bytes, sizeof time_ms);
	if (time_ms <= t)
		return count;
	while (count > 1) {
		uint32_t half = count / 2;

		memcpy(&time_ms, at + (size_t)(half - 1) * item_bytes, sizeof time_ms);
		at += time_ms <= t ? (size_t)half * item_bytes : 0;
		count -= half;
	}
	memcpy(&time_ms, at, sizeof time_ms);
	return (uint32_t)((size_t)(at - (const uint8_t *)item) / item_bytes) + (time_ms <= t);
}

static uint32_t place_of(const struct cep_valued *item, uint32_t count, int64_t t)
{
	return place_among(item, sizeof *item, count, t);
}

static uint32_t place_of_time(const int64_t *item, uint32_t count, int64_t t)
{
	return place_among(item, sizeof *item, count, t);
}

static void now_raise(struct cep_key *key, int64_t t)
{
	if (t > key->now_ms)
		key->now_ms = t;
}

/* A rule that holds mostly goes on to hold, and is suppressed: only then is what an alert says put together.
 */
static bool alert_due(struct cep_machine *m, const struct cep_key *key)
{
	return cep_alert_due(m, key, key->now_ms);
}

struct finding {
	int64_t first_ms;
	uint64_t total;
	double value, expected, before; /* before: of a rate */
};

static __attribute__((noinline)) int window_alert(
	struct cep_machine *m, struct cep_key *key, const struct cep_event *ev, const struct finding *found)
{
	struct cep_alert a;

	cep_alert_clear(&a);
	a.at_ms = a.last_ms = key->now_ms;
	a.first_ms = found->first_ms;
	a.total = found->total;
	a.value = found->value;
	a.expected = found->expected;
	a.score = found->expected != 0 ? found->value / found->expected : 0;
	if (m->def.kind == RULE_STATE_RATE) /* to what was before, whatever the factor */
		a.score = found->before ? found->value / found->before : found->value;
	a.last_id = ev->id;
	cep_alert_seen(m, key, key->now_ms - m->within_ms, &a);
	return cep_alert_put(m, key, &a);
}

/* ---- count ---- */
int cep_count_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *list = &key->list;
	const int64_t *time = cep_items(m, list, sizeof *time);
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
	if (list->count < m->def.at_least || !alert_due(m, key))
		return 0;
	time = cep_items(m, list, sizeof *time);
	return window_alert(
		m, key, ev, &(struct finding){time[0], list->count, list->count, (double)m->def.at_least, 0});
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
	if (!list->count || !sum_reached(m, key, &value) || !alert_due(m, key))
		return 0;
	item = cep_items(m, list, sizeof *item);
	return window_alert(m, key, ev,
		&(struct finding){item[0].time_ms, list->count, value,
			m->def.decimal ? field_decimal_double(m->def.threshold) : m->def.threshold_number,
			0});
}

/* ---- distinct ---- */

/* What one walk over a key's values tells: where this one is, or UINT32_MAX, and when that was seen which was
 * seen longest ago. */
struct distinct_look {
	uint32_t found;
	int64_t oldest_ms;
};

/* No branch: where a value is nobody can guess. */
static struct distinct_look distinct_walk(
	const struct cep_valued *item, uint32_t from, uint32_t count, int64_t value, struct distinct_look at)
{
	for (uint32_t i = from; i < count; i++) {
		int64_t time_ms = item[i].time_ms;

		at.found = item[i].value == value ? i : at.found;
		at.oldest_ms = time_ms < at.oldest_ms ? time_ms : at.oldest_ms;
	}
	return at;
}

/* Four items at a time, in the order 0, 2, 1, 3. A value is there once at most. */
AVX2_FN static struct distinct_look distinct_walk_avx2(
	const struct cep_valued *item, uint32_t count, int64_t value)
{
	const __m256i wanted = _mm256_set1_epi64x(value), four = _mm256_set1_epi64x(4);
	__m256i place = _mm256_setr_epi64x(0, 2, 1, 3), found = _mm256_set1_epi64x(-1);
	__m256i oldest = _mm256_set1_epi64x(INT64_MAX);
	struct distinct_look at = {UINT32_MAX, INT64_MAX};
	int64_t place_of[4], oldest_of[4], last = -1;

	for (uint32_t i = 0; i < count / 4 * 4; i += 4) {
		__m256i low = _mm256_loadu_si256((const __m256i *)(item + i));
		__m256i high = _mm256_loadu_si256((const __m256i *)(item + i + 2));
		__m256i time = _mm256_unpacklo_epi64(low, high), is = _mm256_unpackhi_epi64(low, high);

		found = _mm256_blendv_epi8(found, place, _mm256_cmpeq_epi64(is, wanted));
		oldest = _mm256_blendv_epi8(oldest, time, _mm256_cmpgt_epi64(oldest, time));
		place = _mm256_add_epi64(place, four);
	}
	_mm256_storeu_si256((__m256i *)place_of, found);
	_mm256_storeu_si256((__m256i *)oldest_of, oldest);
	for (int i = 0; i < 4; i++) {
		last = place_of[i] > last ? place_of[i] : last;
		at.oldest_ms = oldest_of[i] < at.oldest_ms ? oldest_of[i] : at.oldest_ms;
	}
	at.found = last < 0 ? UINT32_MAX : (uint32_t)last;
	return distinct_walk(item, count / 4 * 4, count, value, at);
}

static struct distinct_look distinct_look(const struct cep_valued *item, uint32_t count, int64_t value)
{
	if (count >= 16 && avx2_usable())
		return distinct_walk_avx2(item, count, value);
	return distinct_walk(item, 0, count, value, (struct distinct_look){UINT32_MAX, INT64_MAX});
}

/* Drops the values that were seen too long ago. */
static void distinct_expire(struct cep_machine *m, struct cep_key *key)
{
	struct cep_valued *item = cep_items(m, &key->list, sizeof *item);
	uint32_t kept = 0;

	for (uint32_t i = 0; i < key->list.count; i++)
		if (key->now_ms - item[i].time_ms < m->within_ms)
			item[kept++] = item[i];
	cep_list_keep(m, &key->list, sizeof *item, kept);
}

/* A value that the list does not have. Of one that is full the oldest goes, which may be this one: of several
 * the first. */
static void distinct_add(
	struct cep_machine *m, struct cep_key *key, int64_t oldest_ms, const struct cep_event *ev)
{
	const struct cep_valued fresh = {ev->time_ms, ev->value};
	struct cep_valued *item = cep_items(m, &key->list, sizeof *item);
	uint32_t count = key->list.count, oldest = 0;

	if (count < m->events_max) {
		*(struct cep_valued *)cep_list_add(m, &key->list, sizeof *item, count) = fresh;
		return;
	}
	m->stats.cut++;
	if (ev->time_ms < oldest_ms)
		return;
	while (item[oldest].time_ms != oldest_ms)
		oldest++;
	memmove(item + oldest, item + oldest + 1, (count - 1 - oldest) * sizeof *item);
	item[count - 1] = fresh;
}

int cep_distinct_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct distinct_look at = {UINT32_MAX, INT64_MAX};
	struct cep_list *list = &key->list;
	struct cep_valued *item = cep_items(m, list, sizeof *item);
	struct finding found;

	now_raise(key, ev->time_ms);
	if (list->count)
		at = distinct_look(item, list->count, ev->value);
	if (list->count && key->now_ms - at.oldest_ms >= m->within_ms) {
		distinct_expire(m, key);
		item = cep_items(m, list, sizeof *item);
		at = distinct_look(item, list->count, ev->value);
	}
	if (at.found != UINT32_MAX) {
		item += at.found;
		item->time_ms = ev->time_ms > item->time_ms ? ev->time_ms : item->time_ms;
	} else {
		distinct_add(m, key, at.oldest_ms, ev);
		cep_seen_add(m, key, ev);
	}
	if (list->count < m->def.at_least || !alert_due(m, key))
		return 0;
	item = cep_items(m, list, sizeof *item);
	found = (struct finding){key->now_ms, list->count, list->count, (double)m->def.at_least, 0};
	for (uint32_t i = 0; i < list->count; i++)
		if (item[i].time_ms < found.first_ms)
			found.first_ms = item[i].time_ms;
	return window_alert(m, key, ev, &found);
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
	if (count < m->def.at_least || (double)count < m->def.factor * (double)before || !alert_due(m, key))
		return 0;
	return window_alert(m, key, ev,
		&(struct finding){
			first, count, (double)count, m->def.factor * (double)before, (double)before});
}

/* ---- unchanged ---- */

/* Items are those of the run that goes on: all have one value. Events come in order of event time. */
int cep_unchanged_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *list = &key->list;
	const struct cep_valued *item = cep_items(m, list, sizeof *item);
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
	if (list->count < m->def.at_least || !alert_due(m, key))
		return 0;
	item = cep_items(m, list, sizeof *item);
	return window_alert(m, key, ev,
		&(struct finding){item[0].time_ms, list->count, list->count, (double)m->def.at_least, 0});
}
