/* Loads what cep_save.c has written. Any bytes may come; what cannot be is refused. State thread. */
#include <errno.h>

#include "cep_priv.h"

static bool time_good(int64_t t)
{
	return t >= -CEP_TIME_MAX && t <= CEP_TIME_MAX;
}

static int64_t time_load(struct cursor *c)
{
	int64_t t = (int64_t)cursor_le64(c);

	if (!time_good(t))
		c->failed = true;
	return t;
}

static int64_t time_or_none(struct cursor *c)
{
	int64_t t = (int64_t)cursor_le64(c);

	if (t != CEP_NO_TIME && (t < -4 * CEP_TIME_MAX || t > 4 * CEP_TIME_MAX))
		c->failed = true;
	return t;
}

/* Newest first; the last of them is the second event of the match. */
static bool nodes_load(
	struct cep_machine *m, uint32_t partial, uint32_t count, bool strange, struct cursor *c)
{
	uint32_t before = 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *id = cursor_take(c, 16);
		int32_t behind = (int32_t)cursor_le32(c);
		struct cep_node *node;
		uint32_t handle;

		if (!id || c->failed)
			return false;
		behind = strange ? CEP_NODE_UNKNOWN : behind;
		if (i + 1 == count) {
			memcpy(cep_partial_at(m, partial)->id2, id, 16);
			cep_partial_at(m, partial)->behind2 = behind;
			break;
		}
		handle = agg_arena_swap(m->arena, sizeof *node);
		node = agg_arena_at(m->arena, handle);
		memcpy(node->id, id, sizeof node->id);
		node->behind = behind;
		node->next = 0;
		if (before)
			((struct cep_node *)agg_arena_at(m->arena, before))->next = handle;
		else
			cep_partial_at(m, partial)->more = handle;
		before = handle;
		m->bytes += sizeof *node;
	}
	return true;
}

static uint32_t short_load(struct cursor *c)
{
	uint32_t low = cursor_u8(c);

	return low | (uint32_t)cursor_u8(c) << 8;
}

/* A partial match that could be: of a step that is not negated, begun before now and not over. */
static bool partial_load(struct cep_machine *m, struct cep_key *key, bool strange, struct cursor *c)
{
	int64_t start_ms = time_load(c);
	uint64_t offset = cursor_le64(c);
	const uint8_t *id = cursor_take(c, 16);
	uint32_t last_ms = cursor_le32(c), step = cursor_u8(c), apart = cursor_u8(c);
	uint32_t times = short_load(c), events = short_load(c), named = short_load(c), handle;
	struct cep_partial *p;

	if (!id || c->failed || start_ms > key->now_ms || last_ms > key->now_ms - start_ms ||
		step >= m->def.step_count || apart > 1 || !times || times > m->step[step].max || !events ||
		events > RULE_STEPS_MAX * RULE_TIMES_MAX)
		return false;
	handle = cep_partial_new(m, key); /* also what turns out not good: it is freed with its key */
	p = cep_partial_at(m, handle);
	p->start_ms = start_ms;
	p->offset = strange || offset > CEP_PARTIAL_UNKNOWN ? CEP_PARTIAL_UNKNOWN : offset;
	memcpy(p->id, id, sizeof p->id);
	p->last_ms = last_ms;
	p->step = step & (RULE_STEPS_MAX - 1);
	p->apart = apart & 1;
	p->times = times & 1023;
	p->events = events & 8191;
	return named == cep_partial_named(m, p) && nodes_load(m, handle, named, strange, c);
}

static bool items_good(const struct cep_machine *m, const struct cep_key *key)
{
	const struct cep_valued *item = cep_items(m, &key->list, sizeof *item);
	const int64_t *time = cep_items(m, &key->list, sizeof *time);
	bool ordered = m->def.kind != RULE_STATE_DISTINCT, dated = m->def.kind == RULE_STATE_COUNT;

	for (uint32_t i = 0; i < key->list.count; i++) {
		int64_t t = dated ? time[i] : item[i].time_ms;

		if (!time_good(t) || t > key->now_ms)
			return false;
		if (i && ordered && t < (dated ? time[i - 1] : item[i - 1].time_ms))
			return false;
		if (m->def.kind == RULE_STATE_RATE &&
			(item[i].value <= 0 || item[i].value > (int64_t)1 << 48))
			return false;
		if (m->def.kind == RULE_STATE_UNCHANGED && item[i].value != item[0].value)
			return false;
		if (m->def.kind == RULE_STATE_TRAVEL && (item[i].value < 0 || !cep_country_is(item[i].value)))
			return false;
	}
	return true;
}

static bool list_load(struct cep_machine *m, struct cep_key *key, bool strange, struct cursor *c)
{
	uint32_t count = cursor_le32(c), most = m->events_max;

	if (m->def.kind == RULE_STATE_RATE)
		most = 2 * CEP_RATE_PARTS + 2;
	if (m->def.kind == RULE_STATE_TRAVEL)
		most = 1;
	if (m->def.kind == RULE_STATE_ANOMALY)
		most = 0;
	if (c->failed || count > most || (count && key->now_ms == CEP_NO_TIME))
		return false;
	if (cep_is_sequence(m)) {
		for (uint32_t i = 0; i < count; i++)
			if (!partial_load(m, key, strange, c))
				return false;
		return true;
	}
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *data;

		data = cursor_take(c, m->item_bytes);
		if (!data)
			return false;
		memcpy(cep_list_add(m, &key->list, m->item_bytes, i), data, m->item_bytes);
	}
	return items_good(m, key);
}

static bool seen_load(struct cep_machine *m, struct cep_key *key, bool strange, struct cursor *c)
{
	uint32_t count = cursor_le32(c), most = m->def.evidence_max;

	if (m->def.kind == RULE_STATE_TRAVEL)
		most = 1;
	if (cep_is_sequence(m))
		return !count && !c->failed;
	if (c->failed || count > most || (m->def.kind == RULE_STATE_TRAVEL && count != key->list.count))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *data = cursor_take(c, sizeof(struct cep_seen));
		struct cep_seen *seen;

		if (!data)
			return false;
		seen = cep_list_add(m, &key->seen, sizeof *seen, i);
		memcpy(seen, data, sizeof *seen);
		if (strange)
			seen->offset = CEP_OFFSET_UNKNOWN;
	}
	return true;
}

static bool bucket_load(struct cep_machine *m, struct cep_bucket *b, struct cursor *c)
{
	const uint8_t *sum;
	uint64_t bits;

	b->end_ms = time_or_none(c);
	b->first_end_ms = time_load(c);
	b->last_end_ms = time_load(c);
	b->taken = cursor_le64(c);
	b->events = cursor_le64(c);
	bits = cursor_le64(c);
	memcpy(&b->number, &bits, sizeof bits);
	sum = cursor_take(c, sizeof b->sum);
	if (!sum || (b->end_ms == CEP_NO_TIME) != !b->events || b->first_end_ms > b->last_end_ms)
		return false;
	if (b->end_ms != CEP_NO_TIME && (!time_good(b->end_ms) || (b->taken && b->end_ms <= b->last_end_ms)))
		return false;
	memcpy(b->sum, sum, sizeof b->sum);
	return anomaly_base_load(&m->spec, &b->base, m->def.every_ms, b->last_end_ms, c) == 0;
}

/* What a key that is another partition's now has in the saved state. */
static bool mine(
	const struct cep_machine *m, const struct cep_gather *gather, const uint8_t *key, uint32_t bytes)
{
	uint64_t hash;

	if (!gather)
		return true;
	hash = cep_key_hash(&m->keyring, key, bytes);
	return hash_partition(hash, gather->partitions) == m->cep->params.partition;
}

/* A version that did not number anew what it had gathered may have left larger ones than can be gathered. */
static uint64_t touched_max(const struct cep_gather *gather)
{
	return gather ? CEP_TOUCHED_MAX : INT64_MAX / 2;
}

static bool key_load(struct cep_machine *m, const struct cep_gather *gather, uint32_t *ref, struct cursor *c)
{
	uint8_t *to = m->cep->key;
	const uint8_t *data = cursor_take(c, 2), *sum;
	uint32_t bytes, tag;
	struct cep_key *key;
	bool keep, good;

	if (!data)
		return false;
	bytes = data[0] | (uint32_t)data[1] << 8;
	data = cursor_take(c, bytes);
	if (!data || !bytes || bytes > CEP_KEY_BYTES_MAX || !cep_key_good(&m->keyring, data, bytes))
		return false;
	memcpy(to, data, bytes);
	memset(to + bytes, 0, 8);
	tag = keytab_tag(0, to, bytes);
	if (keytab_find(&m->keys, tag, to, bytes, NULL))
		return false;
	keep = mine(m, gather, to, bytes);
	key = cep_key_new(m, tag, to, bytes);
	key->used = cursor_le64(c);
	good = key->used <= touched_max(gather);
	if (gather) /* no two alike */
		key->used = key->used * gather->count + gather->index;
	key->now_ms = time_or_none(c);
	key->quiet_ms = time_or_none(c);
	sum = cursor_take(c, sizeof key->sum);
	if (sum && !cep_is_sequence(m))
		memcpy(key->sum, sum, sizeof key->sum);
	good = good && sum && (key->now_ms == CEP_NO_TIME || time_good(key->now_ms)) &&
	       list_load(m, key, gather, c) && seen_load(m, key, gather, c) &&
	       (m->def.kind != RULE_STATE_ANOMALY || bucket_load(m, cep_bucket(key), c));
	*ref = key->ref;
	if (!keep || !good) {
		cep_key_remove(m, key);
		*ref = 0;
		return good;
	}
	return true;
}

static bool waits_load(struct cep_machine *m, const struct cep_gather *gather, const uint32_t *ref,
	uint64_t keys, struct cursor *c)
{
	uint64_t count = cursor_le64(c);
	uint64_t before = 0;

	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *data = cursor_take(c, offsetof(struct cep_wait, key));
		struct cep_event ev;
		struct cep_wait w = {0};

		if (!data)
			return false;
		memcpy(&w, data, offsetof(struct cep_wait, key));
		w.key = cursor_le32(c);
		ev = (struct cep_event){
			w.time_ms, gather ? CEP_OFFSET_UNKNOWN : w.offset, w.id, cursor_le32(c), w.value};
		if (c->failed || w.key >= keys || !time_good(w.time_ms) ||
			(i && !gather && before != CEP_OFFSET_UNKNOWN && w.offset < before) || !m->wait ||
			ev.steps >> RULE_STEPS_MAX)
			return false;
		if (m->def.kind == RULE_STATE_TRAVEL && !cep_country_is(w.value))
			return false;
		before = w.offset;
		if (ref[w.key])
			cep_wait_add(m, cep_key_at(m, ref[w.key]), &ev);
	}
	return true;
}

static void heaps_fill(struct cep_machine *m)
{
	struct keytab_entry *e;
	uint32_t at = 0, ref;

	m->oldest.count = m->due.count = 0;
	while ((e = keytab_next(&m->keys, &at, &ref))) {
		struct cep_key *key = keytab_value(e);

		key->due_ms = CEP_NEVER;
		key->used_at = key->used;
		due_put(&m->oldest, (int64_t)key->used, ref);
		cep_key_due(m, key);
	}
}

/* Of keys of several partitions those used last stay, in the order of when that was. */
static void keys_bound(struct cep_machine *m)
{
	while (m->keys.count > m->def.keys_max)
		cep_key_evict(m);
	cep_memory(m);
}

/* In the same order from 1 on: else each gathering multiplies the numbers, and one day they are too large. */
static void used_renumber(struct cep_machine *m)
{
	heaps_fill(m);
	m->touched = 0;
	while (m->oldest.count)
		cep_key_at(m, due_take(&m->oldest).ref)->used = ++m->touched;
	heaps_fill(m);
}

static void counter_load(uint64_t *counter, uint64_t n, const struct cep_gather *gather)
{
	if (!gather)
		*counter = n;
	else if (gather->counts)
		*counter += n;
}

bool cep_machine_load(struct cep_machine *m, struct cursor *c, const struct cep_gather *gather)
{
	uint64_t *counter[CEP_COUNTERS], touched, keys;
	uint32_t *ref = NULL;
	bool good = true;

	cep_counters_of(&m->stats, counter);
	for (uint32_t i = 0; i < CEP_COUNTERS; i++) {
		uint64_t n = cursor_le64(c);

		counter_load(counter[i], n, gather);
	}
	if (m->canary) {
		counter_load(&m->base_hits, cursor_le64(c), gather);
		counter_load(&m->base_alerts, cursor_le64(c), gather);
	}
	touched = cursor_le64(c);
	if (touched > touched_max(gather))
		return false;
	touched = gather ? (touched + 1) * gather->count : touched;
	m->touched = touched > m->touched ? touched : m->touched;
	keys = cursor_le64(c);
	if (c->failed || keys > cursor_left(c) / 2 || (!gather && keys > m->def.keys_max))
		return false;
	ref = must_calloc(keys + 1, sizeof *ref);
	for (uint64_t i = 0; i < keys && good; i++)
		good = key_load(m, gather, &ref[i], c);
	good = good && waits_load(m, gather, ref, keys, c);
	free(ref);
	if (!good)
		return false;
	heaps_fill(m);
	keys_bound(m);
	if (!gather && m->touched > CEP_TOUCHED_MAX)
		used_renumber(m);
	return true;
}

static struct cep_machine *machine_of(struct cep *cep, uint64_t uid)
{
	for (uint32_t i = 0; i < cep->count; i++)
		if (cep->machine[i]->def.uid == uid)
			return cep->machine[i];
	return NULL;
}

static int load_bad(const struct cep *cep, struct err *err)
{
	return err_set(err, -EINVAL,
		"saved state of rules, partition %u: not one that this version writes, or damaged",
		cep->params.partition);
}

static int machines_load(struct cep *cep, const struct cep_gather *gather, struct cursor *c, struct err *err)
{
	uint32_t count = cursor_le32(c);
	uint64_t before = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t uid = cursor_le64(c), bytes;
		uint32_t kind = cursor_le32(c);
		struct cep_machine *m = machine_of(cep, uid);
		const uint8_t *part;
		struct cursor in;

		bytes = cursor_le64(c);
		part = cursor_take(c, bytes);
		if (!part || (i && uid <= before) || (m && m->def.kind != kind) || (!m && !gather))
			return load_bad(cep, err);
		before = uid;
		in = cursor_of(part, bytes);
		if (m && (!cep_machine_load(m, &in, gather) || in.failed || cursor_left(&in)))
			return load_bad(cep, err);
	}
	return c->failed || cursor_left(c) ? load_bad(cep, err) : 0;
}

int cep_load_more(
	struct cep *cep, const struct cep_gather *gather, const uint8_t *data, size_t bytes, struct err *err)
{
	struct cursor c = cursor_of(data, bytes);
	uint64_t magic = cursor_le64(&c);
	uint32_t version = cursor_le32(&c), generation = cursor_le32(&c);
	struct cep_totals totals;
	const uint8_t *sums = cursor_take(&c, sizeof totals);
	int64_t step_ms = (int64_t)cursor_le64(&c);
	int rc = 0;

	if (magic != CEP_SAVE_MAGIC || version != CEP_SAVE_VERSION || !sums || c.failed ||
		(step_ms != CEP_NO_TIME && !time_good(step_ms)))
		return load_bad(cep, err);
	if (generation > cep->generation)
		rc = cep_switch(cep, generation, err);
	if (rc)
		return rc;
	memcpy(&totals, sums, sizeof totals);
	if (!gather) {
		cep->totals = totals;
	} else if (gather->counts) {
		cep->totals.rules_dropped += totals.rules_dropped;
		cep->totals.keys_dropped += totals.keys_dropped;
		cep->totals.not_in_force += totals.not_in_force;
		cep->totals.not_here += totals.not_here;
	}
	cep->step_ms = step_ms;
	return machines_load(cep, gather, &c, err);
}

void cep_gather_end(struct cep *cep)
{
	for (uint32_t i = 0; i < cep->count; i++)
		used_renumber(cep->machine[i]);
}

bool cep_saved_newer(const uint8_t *data, size_t bytes, uint32_t *is, uint32_t *reads)
{
	struct cursor c = cursor_of(data, bytes);
	bool ours = cursor_le64(&c) == CEP_SAVE_MAGIC;

	*is = cursor_le32(&c);
	*reads = CEP_SAVE_VERSION;
	return ours && !c.failed && *is > CEP_SAVE_VERSION;
}

bool cep_saved_empty(const uint8_t *data, size_t bytes)
{
	struct cursor c = cursor_of(data, bytes);
	bool good = cursor_le64(&c) == CEP_SAVE_MAGIC;

	(void)cursor_take(&c, 2 * sizeof(uint32_t) + sizeof((struct cep *)0)->totals + sizeof(int64_t));
	return cursor_le32(&c) == 0 && good && !c.failed && !cursor_left(&c);
}

int cep_load(struct cep *cep, const uint8_t *data, size_t bytes, struct err *err)
{
	return cep_load_more(cep, NULL, data, bytes, err);
}
