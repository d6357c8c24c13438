/* The `anomaly` text of a window's definition. Any thread; pure. */
#include "anomaly.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_table.h"

const char *const anomaly_kind_name[] = {"zscore", "ewma", "seasonal", NULL};
static const char *const kind_expected[] = {
	"zscore(LABEL,N,K)", "ewma(LABEL,ALPHA,K)", "seasonal(LABEL,PERIOD,K)"};

struct labels {
	const char *wanted;
	bool found;
	char list[256];
};

static int label_look(void *arg, const struct agg_value *v)
{
	struct labels *l = arg;
	size_t used = strlen(l->list);

	if (!strcmp(v->label, l->wanted))
		l->found = true;
	snprintf(l->list + used, sizeof l->list - used, "%s%s", used ? ", " : "", v->label);
	return 0;
}

/* The labels of a set are those of its empty cell's values. */
static int labels_of(const struct agg_set *aggs, struct labels *l)
{
	struct agg_arena *arena = agg_arena_new(1 << 20);
	void *cell = calloc(1, agg_set_cell_bytes(aggs) + 8);
	struct bytes packed = {0};
	int rc = -ENOMEM;

	if (arena && cell) {
		agg_cell_init(aggs, cell);
		agg_cell_pack(aggs, cell, arena, &packed);
		if (!packed.failed)
			rc = agg_values(aggs, packed.data, packed.bytes, label_look, l);
	}
	bytes_free(&packed);
	free(cell);
	if (arena)
		agg_arena_free(arena);
	return rc;
}

static int label_check(struct anomaly_spec *s, const struct agg_set *aggs, struct err *err)
{
	struct labels l = {.wanted = s->label};
	int rc = labels_of(aggs, &l);

	if (rc)
		return err_set(err, rc, "%s: the labels of its aggregates cannot be made", s->text);
	if (!l.found)
		return err_set(err, -EINVAL, "%s: the window has no value `%s`; it has %s", s->text, s->label,
			l.list);
	s->scale = ANOMALY_VALUE;
	for (uint32_t i = 0; i < agg_set_count(aggs); i++) {
		const struct agg_spec *a = agg_set_spec(aggs, i);

		if (strcmp(a->label, s->label) != 0)
			continue;
		if (a->kind == AGG_top || a->kind == AGG_first || a->kind == AGG_last)
			return err_set(err, -EINVAL, "%s: `%s` is not a number", s->text, s->label);
		if (a->kind == AGG_count || a->kind == AGG_distinct)
			s->scale = ANOMALY_COUNT;
		if (a->kind == AGG_error_rate)
			s->scale = ANOMALY_SHARE;
	}
	return 0;
}

static bool number_between(const char *text, double low, double high, double *out)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	*out = strtod(text, &end);
	return !*end && isfinite(*out) && *out >= low && *out <= high;
}

static int second_parse(struct anomaly_spec *s, const char *text, struct err *err)
{
	static const struct config_key period = {.section = "windows",
		.name = "period",
		.kind = CONFIG_KIND_MS,
		.min = 1000,
		.max = 31536000000};
	uint64_t ms;
	double v;
	struct err why;

	switch (s->kind) {
	case ANOMALY_ZSCORE:
		if (!number_between(text, 5, 10000, &v) || v != floor(v))
			return err_set(err, -EINVAL, "%s: N is `%s`, not a whole number from 5 to 10000",
				s->text, text);
		s->samples = (uint32_t)v;
		return 0;
	case ANOMALY_EWMA:
		if (!number_between(text, 0.001, 0.999, &s->alpha))
			return err_set(err, -EINVAL, "%s: ALPHA is `%s`, not a number from 0.001 to 0.999",
				s->text, text);
		return 0;
	case ANOMALY_SEASONAL:
		if (config_value_parse(&period, &ms, text, &why) != 0)
			return err_set(err, -EINVAL, "%s: %s", s->text, why.text);
		s->period_ms = (int64_t)ms;
		return 0;
	}
	return -EINVAL;
}

/* s->text is without spaces; cut up in a copy. A label may hold parentheses and `=`, but no comma. */
static int spec_parse(struct anomaly_spec *s, const struct agg_set *aggs, struct err *err)
{
	char copy[ANOMALY_TEXT_BYTES], *open, *second, *third;
	size_t bytes = strlen(s->text);
	int kind = 0;

	memcpy(copy, s->text, bytes + 1);
	open = strchr(copy, '(');
	if (!open || copy[bytes - 1] != ')')
		return err_set(err, -EINVAL, "`%s`: expected %s, %s or %s", s->text, kind_expected[0],
			kind_expected[1], kind_expected[2]);
	*open = 0;
	copy[bytes - 1] = 0;
	while (anomaly_kind_name[kind] && strcmp(anomaly_kind_name[kind], copy) != 0)
		kind++;
	if (!anomaly_kind_name[kind])
		return err_set(err, -EINVAL,
			"`%s`: there is no detector `%s`; there are zscore, ewma, seasonal", s->text, copy);
	s->kind = (enum anomaly_kind)kind;
	second = strchr(open + 1, ',');
	third = second ? strchr(second + 1, ',') : NULL;
	if (!third || strchr(third + 1, ',') || second == open + 1)
		return err_set(err, -EINVAL, "`%s`: expected %s", s->text, kind_expected[kind]);
	*second++ = 0;
	*third++ = 0;
	if (strlen(open + 1) >= sizeof s->label)
		return err_set(err, -EINVAL, "`%s`: no label is so long", s->text);
	memcpy(s->label, open + 1, strlen(open + 1) + 1);
	if (!number_between(third, 0.1, 1000, &s->factor))
		return err_set(err, -EINVAL, "%s: K is `%s`, not a number from 0.1 to 1000", s->text, third);
	if (second_parse(s, second, err) != 0)
		return -EINVAL;
	return label_check(s, aggs, err);
}

int anomaly_set_parse(struct anomaly_set *out, const char *text, const struct agg_set *aggs, struct err *err)
{
	memset(out, 0, sizeof *out);
	while (*text) {
		struct anomaly_spec *s = &out->spec[out->count];
		const char *end = strchrnul(text, ';');
		size_t bytes = 0;
		int rc;

		if (out->count == ANOMALY_MAX)
			return err_set(err, -EINVAL, "more than %d detectors", ANOMALY_MAX);
		for (const char *p = text; p < end; p++) {
			if (isspace((unsigned char)*p))
				continue;
			if (bytes == sizeof s->text - 1)
				return err_set(err, -EINVAL, "a detector of more than %zu bytes",
					sizeof s->text - 1);
			s->text[bytes++] = *p;
		}
		text = *end ? end + 1 : end;
		if (!bytes)
			continue;
		rc = spec_parse(s, aggs, err);
		if (rc)
			return rc;
		for (uint32_t i = 0; i < out->count; i++)
			if (!strcmp(out->spec[i].text, s->text))
				return err_set(err, -EINVAL, "%s stands there twice", s->text);
		out->count++;
	}
	return 0;
}
