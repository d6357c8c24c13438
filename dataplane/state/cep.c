/* Stateful rules: records in, to the machines of their hits. State thread of a partition; see cep.h. */
#include "cep.h"

#include <errno.h>

#include "cep_priv.h"

#define PEND_AHEAD 36u /* events between the first request for memory and its use: three times twelve */
#define PEND_STEP 8u   /* that many are looked at in one go */

struct cep *cep_new(const struct cep_params *params)
{
	struct cep *cep = must_calloc(1, sizeof *cep);

	cep->params = *params;
	cep->step_ms = CEP_NO_TIME;
	cep->pend_key = must_calloc(CEP_PENDS, CEP_KEY_ROOM);
	return cep;
}

void cep_free(struct cep *cep)
{
	if (!cep)
		return;
	for (uint32_t i = 0; i < cep->count; i++)
		cep_machine_free(cep->machine[i]);
	free(cep->machine);
	free(cep->map);
	free(cep->rules);
	free(cep->pend_key);
	huge_pool_free(&cep->pool);
	bytes_free(&cep->out);
	for (int i = 0; i < 2; i++) {
		free(cep->ready[i]);
		free(cep->sort[i]);
	}
	free(cep);
}

uint32_t cep_generation(const struct cep *cep)
{
	return cep->generation;
}

/* ---- an event for a machine ---- */

/* True if this record is the one that the key's state is to see: of a shadow all hits are of one keyring. */
static inline bool is_here(const struct cep_machine *m, const struct record *rec)
{
	return rec->kind != RECORD_EVENT ||
	       (rec->type < EVENT_TYPE_MAX && !(rec->field_mask & m->not_home[rec->type]) &&
		       rec->field_mask >> m->keyring.field[0] & 1);
}

/* key_make() of one text, as most are: what row_key_make() makes of it. */
static inline uint32_t key_text(const struct record *rec, enum field_id field, uint8_t *key)
{
	uint32_t bytes;
	const uint8_t *text = record_field(rec, field, &bytes);
	uint16_t head = (uint16_t)bytes;

	if (!text || bytes > CEP_KEY_BYTES_MAX - sizeof head)
		return 0;
	memcpy(key, &head, sizeof head);
	key += sizeof head;
	if (bytes >= 8 && bytes <= 16) {
		uint64_t low = hash_load(text, 8), high = hash_load(text + bytes - 8, 8);

		memcpy(key, &low, 8);
		memcpy(key + bytes - 8, &high, 8);
	} else {
		memcpy(key, text, bytes);
	}
	memset(key + bytes, 0, 8);
	return (uint32_t)sizeof head + bytes;
}

/* Bytes of the event's key; 0: none. */
static uint32_t key_make(const struct rule_keyring *ring, const struct record *rec, uint8_t *key)
{
	enum field_id field[RULE_BY_MAX];
	uint32_t bytes;

	if (ring->count == 1 && field_table[ring->field[0]].kind == FIELD_KIND_TEXT)
		return key_text(rec, (enum field_id)ring->field[0], key);
	for (uint32_t i = 0; i < ring->count && i < RULE_BY_MAX; i++) {
		field[i] = (enum field_id)ring->field[i];
		if (!(rec->field_mask >> ring->field[i] & 1))
			return 0;
	}
	bytes = row_key_make(key, CEP_KEY_BYTES_MAX, field, ring->count, rec);
	memset(key + bytes, 0, 8);
	return bytes;
}

/* False: the event does not have what the rule looks at. */
static inline bool value_of(const struct cep_machine *m, const struct record *rec, int64_t *value)
{
	const uint8_t *data;
	uint32_t bytes;
	double number;

	*value = 0;
	if (m->value == CEP_VALUE_NONE)
		return true;
	data = record_field(rec, (enum field_id)m->field, &bytes);
	if (!data)
		return false;
	switch (m->value) {
	case CEP_VALUE_COUNTRY:
		*value = cep_country(data, bytes);
		return *value >= 0;
	case CEP_VALUE_NUMBER:
		memcpy(&number, data, sizeof number);
		number = number == 0 ? 0 : number; /* -0.0 is the same value */
		memcpy(value, &number, sizeof *value);
		return true;
	case CEP_VALUE_DECIMAL:
		memcpy(value, data, sizeof *value);
		return true;
	default:
		*value = (int64_t)hash_text(data, bytes);
		return m->value == CEP_VALUE_HASH;
	}
}

int cep_judge(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	int rc = 0;

	if (key->now_ms != CEP_NO_TIME && key->now_ms - ev->time_ms >= m->keep_ms) {
		m->stats.late++;
		return 0;
	}
	switch (m->def.kind) {
	case RULE_STATE_COUNT:
		rc = cep_count_take(m, key, ev);
		break;
	case RULE_STATE_SUM:
		rc = cep_sum_take(m, key, ev);
		break;
	case RULE_STATE_DISTINCT:
		rc = cep_distinct_take(m, key, ev);
		break;
	case RULE_STATE_RATE:
		rc = cep_rate_take(m, key, ev);
		break;
	case RULE_STATE_SEQUENCE:
	case RULE_STATE_ABSENCE:
		rc = cep_sequence_take(m, key, ev);
		break;
	case RULE_STATE_TRAVEL:
		rc = cep_travel_take(m, key, ev);
		break;
	case RULE_STATE_ANOMALY:
		rc = cep_anomaly_take(m, key, ev);
		break;
	case RULE_STATE_UNCHANGED:
		rc = cep_unchanged_take(m, key, ev);
		break;
	}
	cep_key_due(m, key);
	return rc;
}

/* ---- events on their way ---- */
static int pend_judge(struct cep *cep, const struct cep_pend *p)
{
	const uint8_t *bytes = cep->pend_key + (size_t)(p - cep->pend) * CEP_KEY_ROOM;
	const struct cep_event ev = {p->time_ms, p->offset, p->id, p->steps, p->value};
	struct cep_machine *m = p->m;
	struct cep_key *key = cep_key_guessed(m, p, bytes);
	int rc = 0;

	if (!key)
		key = cep_key_use(m, p, bytes);
	cep->judged = p->offset;
	if (m->wait)
		cep_wait_add(m, key, &ev);
	else
		rc = cep_judge(m, key, &ev);
	cep_memory(m);
	return rc;
}

/* Asks for the memory of those that are near enough, and judges those that are more than `left` from the end.
 */
static int pends_run(struct cep *cep, uint32_t left)
{
	int rc = 0;

	for (; cep->tail - cep->found > left / 3; cep->found++) {
		struct cep_pend *p = &cep->pend[cep->found % CEP_PENDS];

		p->guess = keytab_guess(&p->m->keys, keytab_prefetch_slot(&p->m->keys, p->tag), p->tag);
	}
	for (; cep->tail - cep->near > left / 3 * 2; cep->near++) {
		const struct cep_pend *p = &cep->pend[cep->near % CEP_PENDS];

		if (p->guess && !p->m->wait)
			cep_key_prefetch(p->m, keytab_value(p->guess));
	}
	for (; cep->tail - cep->head > left && !rc; cep->head++)
		rc = pend_judge(cep, &cep->pend[cep->head % CEP_PENDS]);
	cep->judged = UINT64_MAX;
	return rc;
}

int cep_flush(struct cep *cep)
{
	int rc = pends_run(cep, 0);

	cep->near = cep->found = cep->head = cep->tail;
	return rc;
}

static int machine_take(
	struct cep_machine *m, const struct record *rec, uint64_t offset, int64_t watermark_ms)
{
	struct cep *cep = m->cep;
	uint32_t at = cep->tail % CEP_PENDS;
	struct cep_pend *p = &cep->pend[at];
	uint8_t *key = cep->pend_key + (size_t)at * CEP_KEY_ROOM;

	if (!is_here(m, rec)) {
		cep->totals.not_here++;
		return 0;
	}
	m->stats.hits++;
	p->key_bytes = (uint16_t)key_make(&m->keyring, rec, key);
	if (!p->key_bytes) {
		m->stats.no_key++;
		return 0;
	}
	if (!value_of(m, rec, &p->value)) {
		m->stats.no_value++;
		return 0;
	}
	if (m->wait && rec->event_time_ms < watermark_ms) {
		m->stats.late++;
		return 0;
	}
	p->m = m;
	p->guess = NULL;
	p->tag = keytab_tag(0, key, p->key_bytes);
	p->steps = (uint16_t)m->pick;
	p->time_ms = rec->event_time_ms;
	p->offset = offset;
	memcpy(p->id, rec->event_id, sizeof p->id);
	keytab_prefetch_slot(&m->keys, p->tag);
	cep->tail++;
	return cep->tail % PEND_STEP ? 0 : pends_run(cep, PEND_AHEAD);
}

int cep_take(struct cep *cep, const struct cep_place *place, const struct record *rec, uint64_t offset,
	int64_t watermark_ms, struct err *err)
{
	struct cep_machine *first = NULL, **last = &first;
	const uint16_t *hit = record_hits(rec);
	int rc = 0;

	if (!cep->generation)
		return 0;
	if (place->generation != cep->map_generation)
		rc = cep_map(cep, place->generation, err);
	if (rc)
		return rc;
	cep->receive_ms = place->receive_ms;
	for (uint32_t i = 0; i < rec->hit_count; i++) {
		struct cep_machine *m;
		struct cep_use use;

		if (hit[i] >= cep->map_count)
			return err_set(err, -EINVAL,
				"offset %llu: hit %u, but ruleset generation %u has only %u matches",
				(unsigned long long)offset, hit[i], place->generation, cep->map_count);
		use = cep->map[hit[i]];
		if (use.machine == RULE_STATE_NONE)
			continue;
		if (use.machine == CEP_NOT_IN_FORCE) {
			cep->totals.not_in_force++;
			continue;
		}
		m = cep->machine[use.machine];
		if (!m->picked) {
			*last = m;
			last = &m->picked_next;
			m->picked_next = NULL;
		}
		m->picked = true;
		m->pick |= use.step < RULE_STEPS_MAX ? 1u << use.step : 0;
	}
	for (struct cep_machine *m = first; m; m = m->picked_next) {
		if (!rc)
			rc = machine_take(m, rec, offset, watermark_ms);
		m->picked = false;
		m->pick = 0;
	}
	return rc;
}

int cep_reach(struct cep *cep, int64_t step_ms, int64_t receive_ms)
{
	int rc = cep_flush(cep);

	cep->step_ms = step_ms;
	cep->receive_ms = receive_ms;
	for (uint32_t i = 0; i < cep->count && !rc; i++) {
		struct cep_machine *m = cep->machine[i];

		if (m->waits.count)
			rc = cep_wait_reach(m, step_ms);
		if (!rc)
			rc = cep_keys_reach(m, step_ms);
	}
	return rc;
}

/* ---- numbers ---- */
uint32_t cep_count(const struct cep *cep)
{
	return cep->count;
}

const struct cep_stats *cep_stats(const struct cep *cep, uint32_t i)
{
	struct cep_machine *m = cep->machine[i];

	m->stats.keys = m->keys.count;
	m->stats.waiting = m->waiting;
	m->stats.memory_bytes = cep_bytes(m);
	m->stats.hits_in_force = m->in_force ? m->in_force->stats.hits - m->base_hits : 0;
	m->stats.alerts_in_force = m->in_force ? m->in_force->stats.alerts - m->base_alerts : 0;
	return &m->stats;
}

const char *cep_rule_id(const struct cep *cep, uint32_t i)
{
	return cep->machine[i]->id;
}

const struct cep_totals *cep_totals(const struct cep *cep)
{
	return &cep->totals;
}
