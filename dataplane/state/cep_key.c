/* Keys of a machine: found, made, evicted, forgotten. Two heaps hold each key once, for the time when it is
 * due and for when it was used last; an event that puts either off does not touch them: a key that comes up
 * too early is put back. Entries of keys that are gone are told by the key itself. Stage's thread. */
#include "cep_priv.h"

#define HEAP_SLACK 64u
#define EVICTIONS_LOOK 4096u
#define REST_BYTES ((size_t)16 << 20) /* unused memory that is no reason to tidy up */

static uint32_t value_bytes(const struct cep_machine *m)
{
	if (cep_is_sequence(m))
		return (uint32_t)offsetof(struct cep_key, seen);
	return (uint32_t)(sizeof(struct cep_key) +
			  (m->def.kind == RULE_STATE_ANOMALY ? sizeof(struct cep_bucket) : 0));
}

void cep_keys_init(struct cep_machine *m)
{
	keytab_init(&m->keys, value_bytes(m), m->pool);
	m->partials = (struct cep_pool){.huge = m->pool};
	m->arena = agg_arena_new(SIZE_MAX);
	must(m->arena);
}

void cep_keys_free(struct cep_machine *m)
{
	uint32_t at = 0, ref;
	struct keytab_entry *e;

	while (m->def.kind == RULE_STATE_ANOMALY && (e = keytab_next(&m->keys, &at, &ref)))
		anomaly_base_free(&cep_bucket(keytab_value(e))->base);
	keytab_free(&m->keys);
	agg_arena_free(m->arena);
	cep_pool_free(&m->partials);
	free(m->due.due);
	free(m->oldest.due);
	m->due = m->oldest = (struct due_heap){0};
	m->arena = NULL;
	m->bytes = 0;
}

bool cep_key_good(const struct rule_keyring *ring, const uint8_t *key, uint32_t bytes)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < ring->count; i++) {
		uint16_t n;

		if (bytes - at < sizeof n)
			return false;
		memcpy(&n, key + at, sizeof n);
		at += (uint32_t)sizeof n;
		if (n > bytes - at)
			return false;
		at += n;
	}
	return at == bytes;
}

/* Millionths of what decimal_text() writes. */
static int64_t decimal_of(const char *text)
{
	bool minus = *text == '-';
	int64_t v = 0;
	int places = -1;

	for (text += minus; *text && places < 6; text++) {
		if (*text == '.') {
			places = 0;
			continue;
		}
		v = (int64_t)((uint64_t)v * 10 + (uint64_t)(*text - '0'));
		places += places >= 0;
	}
	for (places = places < 0 ? 0 : places; places < 6; places++)
		v = (int64_t)((uint64_t)v * 10);
	return minus ? (int64_t)(0 - (uint64_t)v) : v;
}

/* In keys numbers stand as text; the journal hashes their values. */
static uint64_t value_hash(enum field_kind kind, const uint8_t *value, uint32_t bytes, uint64_t h)
{
	char text[64];
	int64_t decimal;
	double number;

	if ((kind != FIELD_KIND_NUMBER && kind != FIELD_KIND_DECIMAL) || bytes >= sizeof text)
		return hash_bytes(value, bytes, h);
	memcpy(text, value, bytes);
	text[bytes] = 0;
	if (kind == FIELD_KIND_DECIMAL) {
		decimal = decimal_of(text);
		return hash_bytes(&decimal, sizeof decimal, h);
	}
	number = strtod(text, NULL);
	number = number == 0 ? 0 : number;
	return hash_bytes(&number, sizeof number, h);
}

/* As workers make it (rules/rule_shadow.h). */
uint64_t cep_key_hash(const struct rule_keyring *ring, const uint8_t *key, uint32_t bytes)
{
	uint64_t h = ring->count == 1 ? 0 : hash_bytes(ring->field, ring->count, 0);
	uint32_t at = 0;

	for (uint32_t i = 0; i < ring->count && at + sizeof(uint16_t) <= bytes; i++) {
		uint16_t n;

		memcpy(&n, key + at, sizeof n);
		at += (uint32_t)sizeof n;
		h = value_hash(field_table[ring->field[i]].kind, key + at, n, h);
		at += n;
	}
	return h;
}

/* ---- heaps ---- */
static void due_rebuild(struct cep_machine *m)
{
	uint32_t at = 0, ref;
	struct keytab_entry *e;

	m->due.count = 0;
	m->looked += m->keys.count;
	while ((e = keytab_next(&m->keys, &at, &ref))) {
		const struct cep_key *key = keytab_value(e);

		if (key->due_ms != CEP_NEVER)
			due_put(&m->due, key->due_ms, ref);
	}
}

static void oldest_rebuild(struct cep_machine *m)
{
	uint32_t at = 0, ref;
	struct keytab_entry *e;

	m->oldest.count = 0;
	m->looked += m->keys.count;
	while ((e = keytab_next(&m->keys, &at, &ref))) {
		struct cep_key *key = keytab_value(e);

		key->used_at = key->used;
		due_put(&m->oldest, (int64_t)key->used, ref);
	}
}

static int64_t key_next(const struct cep_machine *m, struct cep_key *key)
{
	int64_t next = key->waiting ? CEP_NEVER : cep_key_keep(m, key), other = CEP_NEVER;

	if (cep_is_sequence(m))
		other = cep_sequence_due(m, key);
	else if (m->def.kind == RULE_STATE_ANOMALY && cep_bucket(key)->end_ms != CEP_NO_TIME)
		other = cep_bucket(key)->end_ms;
	return other < next ? other : next;
}

void cep_key_due_look(struct cep_machine *m, struct cep_key *key)
{
	int64_t next = key_next(m, key);

	if (next >= key->due_ms)
		return;
	key->due_ms = next;
	due_put(&m->due, next, key->ref);
	if (m->due.count > 2 * m->keys.count + HEAP_SLACK)
		due_rebuild(m);
}

/* ---- coming and going ---- */
void cep_key_remove(struct cep_machine *m, struct cep_key *key)
{
	if (cep_is_sequence(m)) {
		cep_partials_drop(m, key);
	} else {
		cep_list_clear(m, &key->list, m->item_bytes);
		cep_list_clear(m, &key->seen, sizeof(struct cep_seen));
	}
	if (m->def.kind == RULE_STATE_ANOMALY) {
		anomaly_base_free(&cep_bucket(key)->base);
		m->bytes -= anomaly_base_bytes(&m->spec, m->def.every_ms);
	}
	m->waiting -= key->waiting;
	keytab_remove(&m->keys, key->ref);
}

struct cep_key *cep_key_new(struct cep_machine *m, uint32_t tag, const uint8_t *bytes, uint32_t count)
{
	uint32_t ref;
	struct cep_key *key = keytab_value(keytab_add(&m->keys, tag, bytes, count, &ref));

	key->ref = ref;
	key->serial = m->serial++;
	key->now_ms = key->quiet_ms = CEP_NO_TIME;
	key->due_ms = CEP_NEVER;
	if (m->def.kind == RULE_STATE_ANOMALY) {
		must(anomaly_base_init(&m->spec, &cep_bucket(key)->base));
		cep_bucket(key)->end_ms = CEP_NO_TIME;
		m->bytes += anomaly_base_bytes(&m->spec, m->def.every_ms);
	}
	return key;
}

static size_t keytab_mapped(const struct keytab *kt)
{
	return kt->chunk_count < 10 ? (size_t)4096 << kt->chunk_count
				    : (size_t)(kt->chunk_count - 8) * HUGE_BLOCK_BYTES;
}

/* Keys and items of ever other sizes leave free blocks of all the sizes that there were. */
static void tidy(struct cep_machine *m)
{
	struct bytes saved = {0};
	struct cursor c;

	m->untidy = m->judging;
	if (m->judging)
		return;
	if (keytab_mapped(&m->keys) + agg_arena_mapped(m->arena) + cep_pool_mapped(&m->partials) <
		3 * cep_bytes(m) + REST_BYTES)
		return;
	m->looked += 2 * m->keys.count;
	for (uint32_t i = 0; i < CEP_PENDS; i++)
		m->cep->pend[i].guess = NULL;
	cep_machine_save(m, &saved);
	must(!saved.failed);
	cep_keys_free(m);
	timewait_free(&m->waits);
	m->waiting = m->stats.partials = 0;
	cep_keys_init(m);
	c = cursor_of(saved.data, saved.bytes);
	must(cep_machine_load(m, &c, NULL));
	bytes_free(&saved);
}

void cep_judging(struct cep_machine *m, bool begins)
{
	m->judging = begins;
	if (!begins && m->untidy)
		tidy(m);
}

void cep_key_evict(struct cep_machine *m)
{
	for (;;) {
		struct due top;
		struct cep_key *key;

		if (!m->oldest.count)
			oldest_rebuild(m);
		top = due_take(&m->oldest);
		m->looked++;
		key = cep_key_at(m, top.ref);
		if (keytab_at(&m->keys, top.ref)->flags & KEYTAB_F_DEAD ||
			key->used_at != (uint64_t)top.at_ms)
			continue;
		if (key->used != key->used_at) {
			key->used_at = key->used;
			due_put(&m->oldest, (int64_t)key->used, top.ref);
			continue;
		}
		m->stats.evicted_waiting += key->waiting;
		cep_key_remove(m, key);
		m->stats.evictions++;
		return;
	}
}

void cep_memory_evict(struct cep_machine *m)
{
	bool any = false;

	while (m->keys.count && cep_bytes(m) > m->def.memory_bytes_max) {
		cep_key_evict(m);
		any |= m->stats.evictions % EVICTIONS_LOOK == 0;
	}
	if (any)
		tidy(m);
}

struct cep_key *cep_key_use(struct cep_machine *m, const struct cep_pend *p, const uint8_t *bytes)
{
	const struct keytab_entry *e = keytab_find(&m->keys, p->tag, bytes, p->key_bytes, NULL);
	struct cep_key *key;

	if (e) {
		key = keytab_value(e);
		key->used = ++m->touched;
		return key;
	}
	if (m->keys.count >= m->def.keys_max) {
		cep_key_evict(m);
		if (m->stats.evictions % EVICTIONS_LOOK == 0)
			tidy(m);
	}
	key = cep_key_new(m, p->tag, bytes, p->key_bytes);
	key->used = key->used_at = ++m->touched;
	due_put(&m->oldest, (int64_t)key->used, key->ref);
	if (m->oldest.count > 2 * m->keys.count + HEAP_SLACK)
		oldest_rebuild(m);
	return key;
}

/* ---- time ---- */
struct ripe {
	int64_t at_ms;
	struct cep_key *key;
};

static int ripe_compare(const struct cep_machine *m, const struct ripe *a, const struct ripe *b)
{
	const struct keytab_entry *x = (const struct keytab_entry *)a->key - 1,
				  *y = (const struct keytab_entry *)b->key - 1;

	if (a->at_ms != b->at_ms)
		return a->at_ms < b->at_ms ? -1 : 1;
	return keysort_compare(keytab_key(&m->keys, x), x->key_bytes, keytab_key(&m->keys, y), y->key_bytes);
}

static int ripe_qsort(const void *a, const void *b, void *m)
{
	return ripe_compare(m, a, b);
}

/* What falls due is looked at in rounds: an entry of the heap says only that something may be. */
static int key_look(struct cep_machine *m, struct cep_key *key, int64_t step_ms)
{
	int rc = 0;

	if (cep_is_sequence(m))
		rc = cep_sequence_reach(m, key, step_ms);
	else if (m->def.kind == RULE_STATE_ANOMALY)
		rc = cep_anomaly_reach(m, key, step_ms);
	if (!key->waiting && cep_key_keep(m, key) <= step_ms) {
		cep_key_remove(m, key);
		m->stats.expiries++;
	} else {
		cep_key_due(m, key);
	}
	return rc;
}

int cep_keys_reach(struct cep_machine *m, int64_t step_ms)
{
	struct ripe *ripe = NULL;
	size_t count = 0, room = 0;
	int rc = 0;

	while (m->due.count && m->due.due[0].at_ms <= step_ms) {
		struct due top = due_take(&m->due);
		struct cep_key *key = cep_key_at(m, top.ref);

		if (keytab_at(&m->keys, top.ref)->flags & KEYTAB_F_DEAD || key->due_ms != top.at_ms)
			continue;
		key->due_ms = CEP_NEVER;
		if (count == room) {
			room = room * 2 + 256;
			ripe = must_realloc(ripe, room, sizeof *ripe);
		}
		ripe[count++] = (struct ripe){key_next(m, key), key};
	}
	if (count > 1)
		qsort_r(ripe, count, sizeof *ripe, ripe_qsort, m);
	for (size_t i = 0; i < count; i++) {
		int one = rc ? 0 : key_look(m, ripe[i].key, step_ms);

		rc = rc ? rc : one;
	}
	free(ripe);
	return rc;
}
