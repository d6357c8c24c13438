/* One detector of one group: mean and deviation of what came before, and the verdict. Merge thread; pure.
 * Means are made anew from the values in the order in which they came, so that they do not drift and come out
 * the same after a load. Memory: the base owns its ring and seasons. */
#include "anomaly.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"

#define SEASONS (ANOMALY_PERIODS + 1)
#define VARIANCE_MAX (4 * ANOMALY_VALUE_MAX * ANOMALY_VALUE_MAX)

/* q^n by squaring: the C library's pow() may differ between machines. */
static double power(double q, uint64_t n)
{
	double v = 1;

	for (; n; n >>= 1, q *= q)
		if (n & 1)
			v *= q;
	return v;
}

static double deviation_of(const struct anomaly_spec *spec, double mean, double variance)
{
	double sd = sqrt(variance), least;

	switch (spec->scale) {
	case ANOMALY_COUNT:
		least = sqrt(mean > 1 ? mean : 1);
		break;
	case ANOMALY_SHARE:
		least = 0.01;
		break;
	default:
		least = 0.01 * fabs(mean);
		least = least > 1e-9 ? least : 1e-9;
		break;
	}
	return sd > least ? sd : least;
}

static void judge(const struct anomaly_spec *spec, double value, double mean, double variance,
	struct anomaly_verdict *v)
{
	double away = fabs(value - mean);

	v->expected = mean;
	v->deviation = deviation_of(spec, mean, variance);
	v->score = away / v->deviation;
	v->unusual = away > spec->factor * v->deviation;
}

static void mean_of(const double *value, uint32_t count, double *mean, double *variance)
{
	double sum = 0, squares = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += value[i];
	*mean = sum / count;
	for (uint32_t i = 0; i < count; i++)
		squares += (value[i] - *mean) * (value[i] - *mean);
	*variance = squares / count;
}

/* ---- zscore ---- */

static void ring_put(const struct anomaly_spec *spec, struct anomaly_base *b, double value)
{
	if (b->count < spec->samples) {
		b->ring[(b->at + b->count++) % spec->samples] = value;
	} else {
		b->ring[b->at] = value;
		b->at = (b->at + 1) % spec->samples;
	}
}

static void zscore_take(const struct anomaly_spec *spec, struct anomaly_base *b,
	const struct anomaly_sample *s, struct anomaly_verdict *v)
{
	uint64_t zeros = spec->scale == ANOMALY_COUNT ? s->missing : 0;
	uint64_t least = spec->samples / 2 > 5 ? spec->samples / 2 : 5;

	for (uint64_t i = zeros < spec->samples ? zeros : spec->samples; i; i--)
		ring_put(spec, b, 0);
	if (b->count >= least) {
		double sum = 0, squares = 0, mean;

		for (uint64_t i = 0; i < b->count; i++)
			sum += b->ring[(b->at + i) % spec->samples];
		mean = sum / (double)b->count;
		for (uint64_t i = 0; i < b->count; i++) {
			double d = b->ring[(b->at + i) % spec->samples] - mean;

			squares += d * d;
		}
		judge(spec, s->value, mean, squares / (double)b->count, v);
	}
	ring_put(spec, b, s->value);
}

/* ---- ewma ---- */

static void ewma_take(const struct anomaly_spec *spec, struct anomaly_base *b, const struct anomaly_sample *s,
	struct anomaly_verdict *v)
{
	uint64_t zeros = spec->scale == ANOMALY_COUNT && b->count ? s->missing : 0;
	double least = 1 / spec->alpha > 5 ? 1 / spec->alpha : 5, keep = 1 - spec->alpha, d;

	if (zeros) { /* as if each had been taken by the formula below */
		double faded = power(keep, zeros);

		b->variance = faded * b->variance + b->mean * b->mean * faded * (1 - faded);
		b->mean *= faded;
		b->count = b->count > UINT64_MAX - zeros ? UINT64_MAX : b->count + zeros;
	}
	if ((double)b->count >= least)
		judge(spec, s->value, b->mean, b->variance, v);
	if (!b->count) {
		b->mean = s->value;
		b->variance = 0;
	} else {
		d = s->value - b->mean;
		b->mean += spec->alpha * d;
		b->variance = keep * (b->variance + spec->alpha * d * d);
	}
	b->count += b->count < UINT64_MAX;
}

/* ---- seasonal ---- */

uint32_t anomaly_season_slots(const struct anomaly_spec *spec, int64_t slide_ms)
{
	return slide_ms > 0 && spec->period_ms % slide_ms == 0 &&
			       spec->period_ms / slide_ms <= ANOMALY_SLOTS_MAX
		       ? (uint32_t)(spec->period_ms / slide_ms)
		       : 0;
}

static int64_t period_of(const struct anomaly_spec *spec, int64_t end_ms)
{
	int64_t q = end_ms / spec->period_ms;

	return q - (end_ms % spec->period_ms < 0);
}

static struct anomaly_season *season_of(struct anomaly_base *b, int64_t period)
{
	return &b->season[(uint64_t)period % SEASONS];
}

static bool season_start(struct anomaly_base *b, int64_t period, uint32_t slots)
{
	struct anomaly_season *now = season_of(b, period);

	for (int i = 0; i < SEASONS; i++) /* what nothing will be compared with any more */
		if (b->season[i].value && b->season[i].period < period - ANOMALY_PERIODS) {
			free(b->season[i].value);
			b->season[i] = (struct anomaly_season){0};
		}
	if (now->value)
		return now->period == period;
	now->value = malloc(slots * sizeof(double));
	if (!now->value)
		return false;
	now->period = period;
	for (uint32_t i = 0; i < slots; i++)
		now->value[i] = NAN;
	return true;
}

static bool seasonal_take(const struct anomaly_spec *spec, struct anomaly_base *b,
	const struct anomaly_sample *s, struct anomaly_verdict *v)
{
	uint32_t slots = anomaly_season_slots(spec, s->slide_ms), slot, count = 0;
	int64_t period = period_of(spec, s->end_ms);
	double value[ANOMALY_PERIODS], mean, variance;

	if (!slots) /* such a window has no place in a period */
		return true;
	slot = (uint32_t)((s->end_ms - period * spec->period_ms) / s->slide_ms);
	if (!season_start(b, period, slots))
		return false;
	for (int64_t back = ANOMALY_PERIODS; back > 0; back--) {
		const struct anomaly_season *then = season_of(b, period - back);
		double x = then->value && then->period == period - back ? then->value[slot] : NAN;

		if (isnan(x) && spec->scale == ANOMALY_COUNT &&
			s->end_ms - back * spec->period_ms >= s->first_end_ms)
			x = 0;
		if (!isnan(x))
			value[count++] = x;
	}
	if (count >= ANOMALY_SEASONAL_MIN) {
		mean_of(value, count, &mean, &variance);
		judge(spec, s->value, mean, variance, v);
	}
	season_of(b, period)->value[slot] = s->value;
	b->count += b->count < UINT64_MAX;
	return true;
}

/* ---- all kinds ---- */

bool anomaly_base_init(const struct anomaly_spec *spec, struct anomaly_base *b)
{
	memset(b, 0, sizeof *b);
	if (spec->kind == ANOMALY_ZSCORE) {
		b->ring = calloc(spec->samples, sizeof(double));
		return b->ring != NULL;
	}
	if (spec->kind == ANOMALY_SEASONAL) {
		b->season = calloc(SEASONS, sizeof *b->season);
		return b->season != NULL;
	}
	return true;
}

void anomaly_base_free(struct anomaly_base *b)
{
	for (int i = 0; b->season && i < SEASONS; i++)
		free(b->season[i].value);
	free(b->season);
	free(b->ring);
	memset(b, 0, sizeof *b);
}

size_t anomaly_base_bytes(const struct anomaly_spec *spec, int64_t slide_ms)
{
	size_t bytes = sizeof(struct anomaly_base);

	if (spec->kind == ANOMALY_ZSCORE)
		bytes += spec->samples * sizeof(double);
	if (spec->kind == ANOMALY_SEASONAL)
		bytes += SEASONS * (sizeof(struct anomaly_season) +
					   anomaly_season_slots(spec, slide_ms) * sizeof(double));
	return bytes;
}

bool anomaly_base_take(const struct anomaly_spec *spec, struct anomaly_base *b,
	const struct anomaly_sample *s, struct anomaly_verdict *v)
{
	memset(v, 0, sizeof *v);
	if (!(fabs(s->value) <= ANOMALY_VALUE_MAX))
		return true;
	switch (spec->kind) {
	case ANOMALY_ZSCORE:
		zscore_take(spec, b, s, v);
		return true;
	case ANOMALY_EWMA:
		ewma_take(spec, b, s, v);
		return true;
	case ANOMALY_SEASONAL:
		return seasonal_take(spec, b, s, v);
	}
	return true;
}

void anomaly_base_save(
	const struct anomaly_spec *spec, const struct anomaly_base *b, int64_t slide_ms, struct bytes *out)
{
	uint32_t slots = anomaly_season_slots(spec, slide_ms), seasons = 0;

	bytes_put_u64(out, b->count);
	switch (spec->kind) {
	case ANOMALY_ZSCORE: /* from the oldest on */
		for (uint64_t i = 0; i < b->count; i++)
			bytes_put_f64(out, b->ring[(b->at + i) % spec->samples]);
		break;
	case ANOMALY_EWMA:
		bytes_put_f64(out, b->mean);
		bytes_put_f64(out, b->variance);
		break;
	case ANOMALY_SEASONAL:
		for (int i = 0; i < SEASONS; i++)
			seasons += b->season[i].value != NULL;
		bytes_put_u32(out, seasons);
		for (int i = 0; i < SEASONS; i++)
			if (b->season[i].value) {
				bytes_put_i64(out, b->season[i].period);
				bytes_put(out, b->season[i].value, slots * sizeof(double));
			}
		break;
	}
}

static double cursor_f64(struct cursor *c)
{
	uint64_t bits = cursor_le64(c);
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

static int seasons_load(struct anomaly_base *b, uint32_t slots, int64_t period_last, struct cursor *c)
{
	uint32_t seasons = cursor_le32(c);
	int place = -1;

	if (seasons > (slots ? SEASONS : 0))
		return -EINVAL;
	while (seasons--) {
		int64_t period = (int64_t)cursor_le64(c);
		const uint8_t *p = cursor_take(c, slots * sizeof(double));
		struct anomaly_season *to = season_of(b, period);

		if (!p || period > period_last || to - b->season <= place) /* in order of place, each once */
			return -EINVAL;
		place = (int)(to - b->season);
		to->value = malloc(slots * sizeof(double));
		if (!to->value)
			return -ENOMEM;
		to->period = period;
		memcpy(to->value, p, slots * sizeof(double));
		for (uint32_t i = 0; i < slots; i++)
			if (fabs(to->value[i]) > ANOMALY_VALUE_MAX)
				return -EINVAL;
	}
	return 0;
}

int anomaly_base_load(const struct anomaly_spec *spec, struct anomaly_base *b, int64_t slide_ms,
	int64_t last_end_ms, struct cursor *c)
{
	int rc = 0;

	b->count = cursor_le64(c);
	switch (spec->kind) {
	case ANOMALY_ZSCORE:
		if (b->count > spec->samples || cursor_left(c) < b->count * sizeof(double))
			return -EINVAL;
		for (uint64_t i = 0; i < b->count; i++) {
			b->ring[i] = cursor_f64(c);
			if (!(fabs(b->ring[i]) <= ANOMALY_VALUE_MAX))
				return -EINVAL;
		}
		break;
	case ANOMALY_EWMA:
		b->mean = cursor_f64(c);
		b->variance = cursor_f64(c);
		if (!(fabs(b->mean) <= ANOMALY_VALUE_MAX) ||
			!(b->variance >= 0 && b->variance <= VARIANCE_MAX))
			return -EINVAL;
		break;
	case ANOMALY_SEASONAL:
		rc = seasons_load(b, anomaly_season_slots(spec, slide_ms), period_of(spec, last_end_ms), c);
		break;
	}
	return c->failed ? -EINVAL : rc;
}
