/* The enrichment stage. Worker thread: a burst's events in, the same events with more fields out. Table by
 * table over the whole burst, so that the tables' cache lines are fetched side by side; then each event that
 * something was found for gets a new tail in the enricher's arena: the old one and the values behind it. Owns
 * nothing of the events; texts are copied, so that nothing points into a table when the stage is done. */
#include "enrich_priv.h"

#include <string.h>

#include "ip_text.h"
#include "record.h"

static void found_add(struct enrich_found *f, enum field_id field, const uint8_t *text, uint32_t bytes)
{
	/* The first table that fills a field wins; an empty value fills nothing. */
	if (!bytes || f->mask >> field & 1 || f->count == ENRICH_FIELDS_MAX)
		return;
	f->mask |= 1ull << field;
	f->bytes += bytes;
	f->value[f->count].text = text;
	f->value[f->count].field = (uint8_t)field;
	f->value[f->count++].bytes = (uint8_t)bytes;
}

/* An address that is there but cannot be read is a miss: another one in its place would be a wrong answer. */
static bool address_of(const struct enrich_set *set, const struct event *ev, uint8_t out[16])
{
	if (set->geo_from != ENRICH_GEO_PACKET && set->ip && ev->field_mask >> set->ip & 1) {
		uint32_t bytes;
		const uint8_t *text = event_field(ev, set->ip, &bytes);

		if (!ip_from_text(out, text, bytes))
			memset(out, 0, 16);
		return true;
	}
	if (set->geo_from == ENRICH_GEO_EVENT)
		return false;
	memcpy(out, ev->src_addr, 16);
	return true;
}

/* Walks the trees of all addresses side by side, a bit of each in turn: each step is a fetch from memory, and
 * so many are under way at once. Leaves the numbers of the results in en->at; 0 = none. */
static void geo_walk(struct enricher *en, const struct geoip *geo, uint32_t n)
{
	uint32_t active = 0;

	for (uint32_t i = 0; i < n; i++)
		if (en->addr_ok[i])
			__builtin_prefetch(geoip_first(geo, en->addr[i]));
	for (uint32_t i = 0; i < n; i++) {
		en->at[i] = en->addr_ok[i] ? *geoip_first(geo, en->addr[i]) : GEOIP_LEAF;
		en->bit[i] = geoip_first_bit(en->addr[i]);
		if (!(en->at[i] & GEOIP_LEAF)) {
			__builtin_prefetch(&geo->link[en->at[i]]);
			en->active[active++] = (uint16_t)i;
		}
	}
	while (active) {
		uint32_t left = 0;

		for (uint32_t k = 0; k < active; k++) {
			uint16_t i = en->active[k];
			uint32_t at = geoip_next(geo, en->at[i], en->addr[i], en->bit[i]++);

			if (!(at & GEOIP_LEAF) && en->bit[i] < 128) {
				__builtin_prefetch(&geo->link[at]);
				en->active[left++] = i;
			}
			en->at[i] = at;
		}
		active = left;
	}
	for (uint32_t i = 0; i < n; i++) {
		en->at[i] = en->at[i] & GEOIP_LEAF ? en->at[i] & ~GEOIP_LEAF : 0;
		__builtin_prefetch(&geo->result[en->at[i]]);
	}
}

static void geo_run(
	struct enricher *en, const struct geoip *geo, uint32_t n, uint64_t *hits, uint64_t *misses)
{
	uint64_t hit = 0, miss = 0;

	geo_walk(en, geo, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct geoip_result *r = &geo->result[en->at[i]];
		uint32_t at = r->at;

		hit += en->at[i] != 0;
		miss += en->addr_ok[i] && !en->at[i];
		if (!en->at[i])
			continue;
		__builtin_prefetch(geo->text + at);
		for (int k = 0; k < GEOIP_TEXTS_MAX; k++) {
			found_add(&en->found[i], geo->field[k], geo->text + at, r->bytes[k]);
			at += r->bytes[k];
		}
	}
	*hits += hit;
	*misses += miss;
}

/* The key that an event has for a lookup; text NULL: none. */
static struct enrich_key key_of(const struct enrich_lookup *lk, const struct event *ev)
{
	struct enrich_key key = {NULL, 0};
	const uint8_t *end;

	if (!(ev->field_mask >> lk->key & 1))
		return key;
	key.text = event_field(ev, lk->key, &key.bytes);
	if (!lk->prefix_bytes)
		return key;
	if (key.bytes <= lk->prefix_bytes || memcmp(key.text, lk->prefix, lk->prefix_bytes) != 0)
		return (struct enrich_key){NULL, 0};
	end = key.text + key.bytes;
	key.text += lk->prefix_bytes;
	for (key.bytes = 0; key.text + key.bytes < end; key.bytes++) {
		uint8_t c = key.text[key.bytes];

		if (c == '/' || c == '?' || c == '#')
			break;
	}
	return key;
}

static void lookup_run(struct enricher *en, const struct enrich_lookup *lk, struct event *const *event,
	uint32_t n, uint64_t *hits, uint64_t *misses)
{
	uint64_t hit = 0, miss = 0;

	for (uint32_t i = 0; i < n; i++) {
		en->key[i] = key_of(lk, event[i]);
		if (!en->key[i].text)
			continue;
		en->hash[i] = lookup_hash(en->key[i].text, en->key[i].bytes);
		lookup_prefetch(&lk->table, en->hash[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		if (en->key[i].text)
			lookup_prefetch_key(&lk->table, en->hash[i]);
	for (uint32_t i = 0; i < n; i++) {
		const struct lookup_slot *slot;

		if (!en->key[i].text)
			continue;
		slot = lookup_find(&lk->table, en->hash[i], en->key[i].text, en->key[i].bytes);
		hit += slot != NULL;
		miss += !slot;
		if (slot)
			found_add(&en->found[i], lk->to, lk->table.text + slot->value_at, slot->value_bytes);
	}
	*hits += hit;
	*misses += miss;
}

/* False: the event would be too long with the values, and stays as it is. */
static bool tail_extend(struct enricher *en, struct event *ev, const struct enrich_found *f)
{
	uint32_t bytes = ev->tail_bytes + f->bytes;
	uint8_t *tail = en->tail + en->tail_used, *at = tail + ev->tail_bytes;

	if (ev->raw_bytes + bytes > EVENT_BYTES_MAX || bytes > en->tail_bytes - en->tail_used)
		return false;
	if (record_bytes_of(ev) + f->bytes + f->count * sizeof(struct span) + RECORD_ALIGN >
		en->record_bytes_max)
		return false;
	if (ev->tail_bytes)
		memcpy(tail, ev->tail, ev->tail_bytes);
	for (uint32_t k = 0; k < f->count; k++) {
		ev->field[f->value[k].field] =
			(struct span){(uint16_t)(ev->raw_bytes + (uint32_t)(at - tail)), f->value[k].bytes};
		memcpy(at, f->value[k].text, f->value[k].bytes);
		at += f->value[k].bytes;
	}
	ev->field_mask |= f->mask;
	ev->tail = tail;
	ev->tail_bytes = bytes;
	en->tail_used += bytes;
	return true;
}

void enrich_run(struct enricher *en, const struct enrich_set *set, struct event *const *event, uint32_t n,
	struct enrich_stats *stats)
{
	for (uint32_t i = 0; i < n; i++)
		en->found[i].mask = en->found[i].count = en->found[i].bytes = 0;
	if (set->geo[GEOIP_CITY].on || set->geo[GEOIP_ASN].on)
		for (uint32_t i = 0; i < n; i++)
			en->addr_ok[i] = address_of(set, event[i], en->addr[i]);
	for (uint32_t k = 0; k < GEOIP_KINDS; k++)
		if (set->geo[k].on)
			geo_run(en, &set->geo[k].table, n, &stats->hits[k], &stats->misses[k]);
	for (uint32_t k = 0; k < set->lookup_count; k++)
		lookup_run(en, &set->lookup[k], event, n, &stats->hits[ENRICH_LOOKUPS + k],
			&stats->misses[ENRICH_LOOKUPS + k]);
	en->tail_used = 0;
	for (uint32_t i = 0; i < n; i++)
		if (en->found[i].count && !tail_extend(en, event[i], &en->found[i]))
			stats->too_long++;
}
