/* Detectors of one group against plain references over the whole history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "anomaly.h"
#include "cursor.h"
#include "merge_rig.h"

#define HISTORY 400
#define SLIDE 1000

/* A window's value; absent ones are NaN. */
struct history {
	double value[HISTORY];
	uint32_t first; /* the group's first window */
};

static double floor_of(const struct anomaly_spec *spec, double mean)
{
	if (spec->scale == ANOMALY_COUNT)
		return sqrt(fmax(mean, 1));
	return spec->scale == ANOMALY_SHARE ? 0.01 : fmax(0.01 * fabs(mean), 1e-9);
}

static double filled(const struct anomaly_spec *spec, const struct history *h, int i)
{
	if (i < (int)h->first)
		return NAN;
	return isnan(h->value[i]) && spec->scale == ANOMALY_COUNT ? 0 : h->value[i];
}

static bool plain_mean(
	const struct anomaly_spec *spec, const struct history *h, int now, double *mean, double *variance)
{
	int slots = (int)(spec->period_ms / SLIDE);
	double sample[HISTORY];
	int n = 0, least, most;

	if (spec->kind == ANOMALY_SEASONAL) {
		for (int back = 1; back <= 7 && now - back * slots >= 0; back++)
			if (!isnan(filled(spec, h, now - back * slots)))
				sample[n++] = filled(spec, h, now - back * slots);
		least = 3;
	} else {
		most = spec->kind == ANOMALY_ZSCORE ? (int)spec->samples : HISTORY;
		for (int i = now - 1; i >= 0 && n < most; i--)
			if (!isnan(filled(spec, h, i)))
				sample[n++] = filled(spec, h, i);
		least = spec->kind == ANOMALY_ZSCORE ? most / 2 : (int)ceil(1 / spec->alpha);
		least = least > 5 ? least : 5;
	}
	if (n < least)
		return false;
	*mean = *variance = 0;
	if (spec->kind == ANOMALY_EWMA) {
		*mean = sample[n - 1];
		for (int i = n - 2; i >= 0; i--) {
			double d = sample[i] - *mean;

			*mean += spec->alpha * d;
			*variance = (1 - spec->alpha) * (*variance + spec->alpha * d * d);
		}
		return true;
	}
	for (int i = 0; i < n; i++)
		*mean += sample[i] / n;
	for (int i = 0; i < n; i++)
		*variance += (sample[i] - *mean) * (sample[i] - *mean) / n;
	return true;
}

static void history_make(struct history *h, uint64_t *seed)
{
	double level = rig_below(seed, 2000) + 0.5 * rig_below(seed, 2);
	uint32_t gaps = 1 + rig_below(seed, 6);

	h->first = rig_below(seed, 5);
	for (uint32_t i = 0; i < HISTORY; i++) {
		double noise = (double)rig_below(seed, 1000) / 1000 - 0.5;

		h->value[i] = floor(level + noise * level / 5 + (rig_below(seed, 30) ? 0 : level * 3));
		if (i < h->first || (i > h->first && !rig_below(seed, gaps)))
			h->value[i] = NAN;
	}
	if (!rig_below(seed, 4)) /* a long silence */
		for (uint32_t i = 100; i < 250; i++)
			h->value[i] = NAN;
}

static void reload(const struct anomaly_spec *spec, struct anomaly_base *b, int64_t last_end_ms)
{
	struct bytes saved = {0}, again = {0};
	struct anomaly_base loaded;
	struct cursor c;

	anomaly_base_save(spec, b, SLIDE, &saved);
	c = cursor_of(saved.data, saved.bytes);
	assert_true(anomaly_base_init(spec, &loaded));
	assert_int_equal(anomaly_base_load(spec, &loaded, SLIDE, last_end_ms, &c), 0);
	assert_int_equal(cursor_left(&c), 0);
	anomaly_base_save(spec, &loaded, SLIDE, &again);
	assert_int_equal(saved.bytes, again.bytes);
	assert_memory_equal(saved.data, again.data, saved.bytes);
	anomaly_base_free(b);
	*b = loaded;
	bytes_free(&saved);
	bytes_free(&again);
}

/* Returns how many were unusual. */
static uint32_t history_run(const struct anomaly_spec *spec, const struct history *h, uint64_t *seed)
{
	struct anomaly_base b;
	uint32_t unusual = 0;
	int last = -1;

	assert_true(anomaly_base_init(spec, &b));
	for (int i = 0; i < HISTORY; i++) {
		struct anomaly_sample s = {.value = h->value[i],
			.end_ms = (i + 1) * SLIDE,
			.first_end_ms = (h->first + 1) * SLIDE,
			.slide_ms = SLIDE,
			.missing = last < 0 ? 0 : (uint64_t)(i - last - 1)};
		struct anomaly_verdict v;
		double mean, variance, sd, edge;

		if (isnan(h->value[i]))
			continue;
		last = i;
		assert_true(anomaly_base_take(spec, &b, &s, &v));
		if (plain_mean(spec, h, i, &mean, &variance)) {
			sd = fmax(sqrt(variance), floor_of(spec, mean));
			edge = fabs(fabs(s.value - mean) - spec->factor * sd);
			assert_true(fabs(v.expected - mean) <= 1e-6 * (1 + fabs(mean)));
			assert_true(fabs(v.deviation - sd) <= 1e-6 * (1 + sd));
			assert_true(fabs(v.score - fabs(s.value - mean) / sd) <= 1e-5 * (1 + v.score));
			if (edge > 1e-6 * (1 + mean))
				assert_int_equal(v.unusual, fabs(s.value - mean) > spec->factor * sd);
		} else {
			assert_false(v.unusual);
			assert_true(v.score == 0);
		}
		unusual += v.unusual;
		if (!rig_below(seed, 20))
			reload(spec, &b, s.end_ms);
	}
	anomaly_base_free(&b);
	return unusual;
}

static void detectors_equal_references(void **state)
{
	uint32_t unusual[3] = {0};
	uint64_t seed = 5;

	(void)state;
	for (uint32_t round = 0; round < 600; round++) {
		struct anomaly_spec spec = {.kind = (enum anomaly_kind)(round % 3),
			.scale = (enum anomaly_scale)(round / 3 % 3),
			.samples = 5 + rig_below(&seed, 60),
			.alpha = 0.02 + 0.9 * rig_below(&seed, 100) / 100,
			.period_ms = SLIDE * (1 + rig_below(&seed, 20)),
			.factor = 1 + rig_below(&seed, 4)};
		struct history h;

		history_make(&h, &seed);
		unusual[spec.kind] += history_run(&spec, &h, &seed);
	}
	assert_true(unusual[0] > 100 && unusual[1] > 100 && unusual[2] > 100);
}

/* A constant count may vary by what counting varies by; a constant value by a hundredth. */
static void deviation_has_a_floor(void **state)
{
	static const struct {
		enum anomaly_scale scale;
		double level, inside, outside;
	} row[] = {
		{ANOMALY_COUNT, 100, 129, 131},
		{ANOMALY_COUNT, 0, 3, 4},
		{ANOMALY_SHARE, 0, 0.029, 0.031},
		{ANOMALY_VALUE, 200, 205.9, 206.1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		for (int outside = 0; outside < 2; outside++) {
			struct anomaly_spec spec = {
				.kind = ANOMALY_ZSCORE, .scale = row[i].scale, .samples = 10, .factor = 3};
			struct anomaly_sample s = {.value = row[i].level};
			struct anomaly_verdict v;
			struct anomaly_base b;

			assert_true(anomaly_base_init(&spec, &b));
			for (int n = 0; n < 10; n++) {
				assert_true(anomaly_base_take(&spec, &b, &s, &v));
				assert_false(v.unusual);
			}
			s.value = outside ? row[i].outside : row[i].inside;
			assert_true(anomaly_base_take(&spec, &b, &s, &v));
			assert_int_equal(v.unusual, outside);
			anomaly_base_free(&b);
		}
}

static void absurd_values_are_left_out(void **state)
{
	static const double absurd[] = {NAN, INFINITY, -INFINITY, 1e300, -1.7e308};

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		struct anomaly_spec spec = {.kind = (enum anomaly_kind)kind,
			.scale = ANOMALY_VALUE,
			.samples = 5,
			.alpha = 0.5,
			.period_ms = SLIDE,
			.factor = 3};
		struct anomaly_base b;

		assert_true(anomaly_base_init(&spec, &b));
		for (int i = 0; i < 40; i++) {
			struct anomaly_sample s = {.value = i % 2 ? absurd[i / 2 % 5] : 1e150 * (i % 4 - 1),
				.end_ms = i * SLIDE,
				.slide_ms = SLIDE};
			struct anomaly_verdict v;

			assert_true(anomaly_base_take(&spec, &b, &s, &v));
			assert_true(isfinite(v.expected) && !isnan(v.score));
			assert_true(i % 2 == 0 || !v.unusual);
			reload(&spec, &b, s.end_ms);
		}
		anomaly_base_free(&b);
	}
}

/* What is cut off or not a number is refused; nothing is read beyond the end. */
static void damaged_saves_are_refused(void **state)
{
	uint64_t seed = 11;

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		struct anomaly_spec spec = {.kind = (enum anomaly_kind)kind,
			.samples = 7,
			.alpha = 0.5,
			.period_ms = 3 * SLIDE,
			.factor = 3};
		struct bytes saved = {0};
		struct anomaly_base b;

		assert_true(anomaly_base_init(&spec, &b));
		for (int i = 0; i < 20; i++) {
			struct anomaly_sample s = {.value = i, .end_ms = i * SLIDE, .slide_ms = SLIDE};
			struct anomaly_verdict v;

			assert_true(anomaly_base_take(&spec, &b, &s, &v));
		}
		anomaly_base_save(&spec, &b, SLIDE, &saved);
		anomaly_base_free(&b);
		for (size_t cut = 0; cut < saved.bytes; cut++) {
			uint8_t *copy = malloc(cut + 1);
			struct cursor c = cursor_of(copy, cut);

			memcpy(copy, saved.data, cut);
			assert_true(anomaly_base_init(&spec, &b));
			assert_int_equal(anomaly_base_load(&spec, &b, SLIDE, 19 * SLIDE, &c), -EINVAL);
			anomaly_base_free(&b);
			free(copy);
		}
		for (int i = 0; i < 3000; i++) { /* refused, or as good as any */
			struct anomaly_sample s = {.value = 1, .end_ms = 20 * SLIDE, .slide_ms = SLIDE};
			struct anomaly_verdict v;
			struct cursor c;
			uint32_t at = rig_below(&seed, (uint32_t)saved.bytes);
			uint8_t before = saved.data[at];

			saved.data[at] = (uint8_t)rig_random(&seed);
			c = cursor_of(saved.data, saved.bytes);
			assert_true(anomaly_base_init(&spec, &b));
			if (anomaly_base_load(&spec, &b, SLIDE, 19 * SLIDE, &c) == 0) {
				assert_true(anomaly_base_take(&spec, &b, &s, &v));
				assert_false(isnan(v.score));
			}
			anomaly_base_free(&b);
			saved.data[at] = before;
		}
		bytes_free(&saved);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(detectors_equal_references),
		cmocka_unit_test(deviation_has_a_floor),
		cmocka_unit_test(absurd_values_are_left_out),
		cmocka_unit_test(damaged_saves_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
