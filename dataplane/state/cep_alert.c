/* Alerts of stateful rules: suppression, identity, and the record. State thread. */
#include "cep_priv.h"

#include <math.h>

#include "hash.h"

#define KEY_TEXT_BYTES (CEP_KEY_BYTES_MAX + RULE_BY_MAX * 64)

bool cep_alert_due(struct cep_machine *m, const struct cep_key *key, int64_t at_ms)
{
	if (key->quiet_ms == CEP_NO_TIME || at_ms >= key->quiet_ms)
		return true;
	m->stats.suppressed++;
	return false;
}

void cep_alert_seen(
	const struct cep_machine *m, const struct cep_key *key, int64_t after_ms, struct cep_alert *a)
{
	for (uint32_t i = 0; i < key->seen.count; i++) {
		const struct cep_seen *seen = cep_seen_at(m, &key->seen, i);

		if (seen->time_ms > after_ms && a->seen_count < RULE_EVIDENCE_MAX)
			a->seen[a->seen_count++] = *seen;
	}
	if (a->seen_count > a->total) { /* some were given up for events_max */
		uint32_t more = a->seen_count - (uint32_t)a->total;

		memmove(a->seen, a->seen + more, (a->seen_count - more) * sizeof *a->seen);
		a->seen_count -= more;
	}
}

/* A function of rule, key, and first and last event. */
static void alert_id(
	uint8_t id[16], const struct cep_machine *m, const struct keytab_entry *e, const struct cep_alert *a)
{
	for (uint64_t half = 0; half < 2; half++) {
		uint64_t h = hash_u64(m->def.uid ^ half);

		h = hash_bytes(keytab_key(&m->keys, e), e->key_bytes, h);
		h = hash_bytes(&a->first_ms, sizeof a->first_ms, h);
		h = hash_bytes(&a->last_ms, sizeof a->last_ms, h);
		if (a->last_id)
			h = hash_bytes(a->last_id, 16, h);
		if (a->seen_count)
			h = hash_bytes(a->seen[0].id, 16, h);
		memcpy(id + half * 8, &h, 8);
	}
}

/* "ip=203.0.113.7,card=x" */
static uint32_t key_text(char *out, const struct cep_machine *m, const struct keytab_entry *e)
{
	const uint8_t *key = keytab_key(&m->keys, e);
	uint32_t at = 0, used = 0;

	for (uint32_t i = 0; i < m->keyring.count && at + sizeof(uint16_t) <= e->key_bytes; i++) {
		const char *name = field_table[m->keyring.field[i]].name;
		size_t name_bytes = strnlen(name ? name : "key", 60);
		uint16_t bytes;

		memcpy(&bytes, key + at, sizeof bytes);
		at += (uint32_t)sizeof bytes;
		if (i)
			out[used++] = ',';
		memcpy(out + used, name ? name : "key", name_bytes);
		used += (uint32_t)name_bytes;
		out[used++] = '=';
		memcpy(out + used, key + at, bytes);
		used += bytes;
		at += bytes;
	}
	return used;
}

int cep_alert_put(struct cep_machine *m, struct cep_key *key, const struct cep_alert *a)
{
	struct cep *cep = m->cep;
	const struct keytab_entry *e = (const struct keytab_entry *)key - 1;
	struct row_rule_evidence evidence[RULE_EVIDENCE_MAX];
	char text[KEY_TEXT_BYTES];
	const char *const texts[5] = {m->id, m->title, m->severity, text, cep->version};
	struct row_rule_alert alert = {.head = {.first_ms = a->first_ms,
					       .last_ms = a->last_ms,
					       .score = a->score,
					       .value = a->value,
					       .expected = a->expected,
					       .evidence_count = a->seen_count}};

	if (m->def.suppress_ms > 0)
		key->quiet_ms =
			a->at_ms + (m->def.suppress_ms < CEP_SPAN_MAX ? m->def.suppress_ms : CEP_SPAN_MAX);
	m->stats.alerts++;
	if (!m->alert)
		return 0;
	alert.rule_uid = m->def.uid;
	alert.generation = cep->generation;
	alert.head.evidence_total = a->total < UINT32_MAX ? (uint32_t)a->total : UINT32_MAX;
	if (alert.head.evidence_total < a->seen_count)
		alert.head.evidence_total = a->seen_count;
	alert_id(alert.head.id, m, e, a);
	for (uint32_t i = 0; i < a->seen_count; i++) {
		bool known = a->seen[i].offset != CEP_OFFSET_UNKNOWN;

		evidence[i] =
			(struct row_rule_evidence){.partition = known ? cep->params.partition : UINT32_MAX,
				.offset = known ? a->seen[i].offset : 0,
				.time_ms = a->seen[i].time_ms};
		memcpy(evidence[i].event_id, a->seen[i].id, 16);
	}
	alert.head.rule_bytes = (uint16_t)strlen(m->id);
	alert.head.title_bytes = (uint16_t)strlen(m->title);
	alert.head.severity_bytes = (uint16_t)strlen(m->severity);
	alert.head.key_bytes = (uint16_t)key_text(text, m, e);
	alert.version_bytes = (uint16_t)strlen(cep->version);
	bytes_reset(&cep->out);
	row_put_rule_alert(&cep->out, &alert, texts, evidence, cep->receive_ms);
	must(!cep->out.failed);
	return cep->params.emit(cep->params.arg, cep->judged, (const struct record *)cep->out.data);
}
