/* Saved state of stateful rules: everything that later output depends on, and the counters. Canonical:
 * machines by uid, keys in order, items in their own. State thread.
 *
 *   u64 magic, u32 version, u32 generation; totals; i64 step; u32 machines, of each: u64 uid, u32 kind, u64
 * bytes that follow: counters, of a canary two more, u64 touched, u64 keys, of each: u16 bytes, key, what
 * struct cep_key says, list, seen, bucket; u64 waiting events, each with the place of its key.
 *
 * Little endian. Read by cep_load.c. */

#include "cep_priv.h"

void cep_counters_of(struct cep_stats *s, uint64_t *counter[CEP_COUNTERS])
{
	uint64_t *all[CEP_COUNTERS] = {&s->hits, &s->no_key, &s->no_value, &s->late, &s->alerts,
		&s->suppressed, &s->evictions, &s->evicted_waiting, &s->expiries, &s->cut};

	memcpy(counter, all, sizeof all);
}

static void event_save(const uint8_t id[16], int32_t behind, struct bytes *out)
{
	bytes_put(out, id, 16);
	bytes_put_u32(out, (uint32_t)behind);
}

static void partial_save(const struct cep_machine *m, const struct cep_partial *p, struct bytes *out)
{
	uint32_t named = cep_partial_named(m, p);

	bytes_put_i64(out, p->start_ms);
	bytes_put_u64(out, p->offset == CEP_PARTIAL_UNKNOWN ? CEP_OFFSET_UNKNOWN : p->offset);
	bytes_put(out, p->id, sizeof p->id);
	bytes_put_u32(out, p->last_ms);
	bytes_put_u8(out, p->step);
	bytes_put_u8(out, p->apart);
	bytes_put_u16(out, p->times);
	bytes_put_u16(out, p->events);
	bytes_put_u16(out, (uint16_t)named);
	for (uint32_t handle = p->more; handle;) { /* newest first */
		const struct cep_node *node = agg_arena_at(m->arena, handle);

		event_save(node->id, node->behind, out);
		handle = node->next;
	}
	if (named)
		event_save(p->id2, p->behind2, out);
}

static void list_save(const struct cep_machine *m, const struct cep_key *key, struct bytes *out)
{
	bytes_put_u32(out, key->list.count);
	bytes_put(out, cep_items(m, &key->list, m->item_bytes), (size_t)key->list.count * m->item_bytes);
	bytes_put_u32(out, key->seen.count);
	for (uint32_t i = 0; i < key->seen.count; i++)
		bytes_put(out, cep_seen_at(m, &key->seen, i), sizeof(struct cep_seen));
}

static void chain_save(const struct cep_machine *m, const struct cep_key *key, struct bytes *out)
{
	bytes_put_u32(out, key->chain.count);
	for (uint32_t handle = key->chain.first; handle; handle = cep_partial_at(m, handle)->next)
		partial_save(m, cep_partial_at(m, handle), out);
	bytes_put_u32(out, 0); /* nothing seen */
}

static void bucket_save(const struct cep_machine *m, const struct cep_bucket *b, struct bytes *out)
{
	bytes_put_i64(out, b->end_ms);
	bytes_put_i64(out, b->first_end_ms);
	bytes_put_i64(out, b->last_end_ms);
	bytes_put_u64(out, b->taken);
	bytes_put_u64(out, b->events);
	bytes_put_f64(out, b->number);
	bytes_put(out, b->sum, sizeof b->sum);
	anomaly_base_save(&m->spec, &b->base, m->def.every_ms, out);
}

static void key_save(const struct cep_machine *m, const struct keytab_entry *e, struct bytes *out)
{
	static const uint64_t no_sum[2];
	struct cep_key *key = keytab_value(e);

	bytes_put_u16(out, e->key_bytes);
	bytes_put(out, keytab_key(&m->keys, e), e->key_bytes);
	bytes_put_u64(out, key->used);
	bytes_put_i64(out, key->now_ms);
	bytes_put_i64(out, key->quiet_ms);
	if (cep_is_sequence(m)) {
		bytes_put(out, no_sum, sizeof no_sum);
		chain_save(m, key, out);
		return;
	}
	bytes_put(out, key->sum, sizeof key->sum);
	list_save(m, key, out);
	if (m->def.kind == RULE_STATE_ANOMALY)
		bucket_save(m, cep_bucket(key), out);
}

static size_t keys_sort(struct cep_machine *m)
{
	struct cep *cep = m->cep;
	struct keytab_entry *e;
	uint32_t at = 0, ref;
	size_t count = 0;

	if (cep->sort_room < m->keys.count) {
		cep->sort_room = m->keys.count + m->keys.count / 2;
		for (int i = 0; i < 2; i++) {
			free(cep->sort[i]);
			cep->sort[i] = must_realloc(NULL, cep->sort_room, sizeof *cep->sort[i]);
		}
	}
	while ((e = keytab_next(&m->keys, &at, &ref)))
		cep->sort[0][count++].entry = e;
	if (count)
		keysort(&m->keys, cep->sort[0], cep->sort[1], count);
	return count;
}

/* Returns how many of the events are of keys that live. */
static uint64_t waits_save(const struct cep_machine *m, const struct timewait_block *block, struct bytes *out)
{
	uint64_t live = 0;

	for (uint32_t i = 0; i < block->count; i++) {
		const struct cep_wait *w = (const struct cep_wait *)block->item + i;
		const struct keytab_entry *e = keytab_at(&m->keys, w->key);
		const struct cep_key *key = keytab_value(e);

		if (e->flags & KEYTAB_F_DEAD || key->serial != w->serial)
			continue;
		live++;
		bytes_put(out, w, offsetof(struct cep_wait, key));
		bytes_put_u32(out, key->mark);
		bytes_put_u32(out, w->steps);
	}
	return live;
}

void cep_machine_save(struct cep_machine *m, struct bytes *out)
{
	size_t count = keys_sort(m);
	uint64_t *counter[CEP_COUNTERS], live = 0;

	cep_counters_of(&m->stats, counter);
	for (uint32_t i = 0; i < CEP_COUNTERS; i++)
		bytes_put_u64(out, *counter[i]);
	if (m->canary) {
		bytes_put_u64(out, m->base_hits);
		bytes_put_u64(out, m->base_alerts);
	}
	bytes_put_u64(out, m->touched);
	bytes_put_u64(out, count);
	for (size_t i = 0; i < count; i++) {
		const struct keytab_entry *e = m->cep->sort[0][i].entry;

		((struct cep_key *)keytab_value(e))->mark = (uint32_t)i;
		key_save(m, e, out);
	}
	bytes_put_u64(out, m->waiting);
	for (size_t i = 0; i < m->waits.blocks; i++)
		live += waits_save(m, &m->waits.block[i], out);
	must(live == m->waiting);
}

void cep_save(const struct cep *cep, struct bytes *out)
{
	bytes_put_u64(out, CEP_SAVE_MAGIC);
	bytes_put_u32(out, CEP_SAVE_VERSION);
	bytes_put_u32(out, cep->generation);
	bytes_put(out, &cep->totals, sizeof cep->totals);
	bytes_put_i64(out, cep->step_ms);
	bytes_put_u32(out, cep->count);
	for (uint32_t i = 0; i < cep->count; i++) {
		struct cep_machine *m = cep->machine[i];
		uint64_t bytes;
		size_t at;

		bytes_put_u64(out, m->def.uid);
		bytes_put_u32(out, m->def.kind);
		at = out->bytes;
		bytes_put_u64(out, 0);
		cep_machine_save(m, out);
		if (out->failed)
			return;
		bytes = out->bytes - at - sizeof bytes;
		memcpy(out->data + at, &bytes, sizeof bytes);
	}
}
