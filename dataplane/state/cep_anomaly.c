/* Anomaly: how many events of a key there are in each every_ms of event time, or the mean of a value of
 * theirs, is unlike what it was (anomaly.h). State thread. A bucket is judged when the watermark's step has
 * passed its end, or before an event of a later one. Buckets without events are none, but for counts that lie
 * between others: those were 0. */
#include "cep_priv.h"

#include <math.h>

void cep_anomaly_setup(struct cep_machine *m)
{
	const struct rule_state *def = &m->def;
	double alpha = def->alpha > 0.001 ? def->alpha < 0.999 ? def->alpha : 0.999 : 0.001;
	int64_t every = def->every_ms, keep;

	m->spec = (struct anomaly_spec){.scale = def->field == FIELD_NONE ? ANOMALY_COUNT : ANOMALY_VALUE,
		.samples = def->windows < 5	  ? 5
			   : def->windows > 10000 ? 10000
						  : def->windows,
		.alpha = alpha,
		.period_ms = def->period_ms > 0 ? def->period_ms : every,
		.factor = def->deviations};
	if (def->anomaly == RULE_EWMA) {
		m->spec.kind = ANOMALY_EWMA;
		keep = every * (int64_t)(10 / alpha);
	} else if (def->anomaly == RULE_SEASONAL) {
		m->spec.kind = ANOMALY_SEASONAL;
		keep = m->spec.period_ms * (ANOMALY_PERIODS + 1);
	} else {
		m->spec.kind = ANOMALY_ZSCORE;
		keep = every * m->spec.samples;
	}
	m->keep_ms = keep < 2 * every ? 2 * every : keep;
}

static double bucket_value(const struct cep_machine *m, const struct cep_bucket *b)
{
	if (m->def.field == FIELD_NONE)
		return (double)b->events;
	if (m->def.decimal)
		return (double)cep_sum(b->sum) / (double)FIELD_DECIMAL_ONE / (double)b->events;
	return b->number / (double)b->events;
}

static int bucket_alert(struct cep_machine *m, struct cep_key *key, const struct cep_bucket *b, double value,
	const struct anomaly_verdict *v)
{
	struct cep_alert a = {.at_ms = b->end_ms,
		.first_ms = b->end_ms - m->def.every_ms,
		.last_ms = b->end_ms,
		.score = v->score,
		.value = value,
		.expected = v->expected,
		.total = b->events};

	if (!cep_alert_due(m, key, a.at_ms))
		return 0;
	cep_alert_seen(m, key, CEP_NO_TIME, &a);
	return cep_alert_put(m, key, &a);
}

static int bucket_close(struct cep_machine *m, struct cep_key *key)
{
	struct cep_bucket *b = cep_bucket(key);
	struct anomaly_sample s = {
		.value = bucket_value(m, b), .end_ms = b->end_ms, .slide_ms = m->def.every_ms};
	struct anomaly_verdict v;
	int rc = 0;

	if (!b->taken)
		b->first_end_ms = b->end_ms;
	else
		s.missing = (uint64_t)((b->end_ms - b->last_end_ms - 1) / m->def.every_ms);
	s.first_end_ms = b->first_end_ms;
	must(anomaly_base_take(&m->spec, &b->base, &s, &v));
	if (v.unusual && b->taken >= m->def.samples_min && b->events >= m->def.at_least &&
		(m->def.side == RULE_SIDE_BOTH || (m->def.side == RULE_SIDE_ABOVE) == (s.value > v.expected)))
		rc = bucket_alert(m, key, b, s.value, &v);
	b->taken++;
	b->last_end_ms = b->end_ms;
	b->end_ms = CEP_NO_TIME;
	b->events = b->sum[0] = b->sum[1] = 0;
	b->number = 0;
	cep_list_clear(m, &key->seen, sizeof(struct cep_seen));
	return rc;
}

int cep_anomaly_reach(struct cep_machine *m, struct cep_key *key, int64_t at_ms)
{
	int64_t end = cep_bucket(key)->end_ms;

	return end != CEP_NO_TIME && end <= at_ms ? bucket_close(m, key) : 0;
}

int cep_anomaly_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_bucket *b = cep_bucket(key);
	int64_t rest = ev->time_ms % m->def.every_ms;
	int rc = cep_anomaly_reach(m, key, ev->time_ms);
	double number;

	if (b->end_ms == CEP_NO_TIME)
		b->end_ms = ev->time_ms - (rest < 0 ? rest + m->def.every_ms : rest) + m->def.every_ms;
	key->now_ms = ev->time_ms;
	b->events++;
	if (m->def.field != FIELD_NONE && m->def.decimal) {
		cep_sum_add(b->sum, ev->value);
	} else if (m->def.field != FIELD_NONE) {
		memcpy(&number, &ev->value, sizeof number);
		b->number += number;
	}
	cep_seen_add(m, key, ev);
	return rc;
}
