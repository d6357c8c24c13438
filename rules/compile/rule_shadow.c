/* Keys and shadow records. RX workers and the state stage: no allocation, no call out. */
#include "rule_shadow.h"

#include <string.h>

#include "hash.h"

/* Fields whose value stands in the record's head: only their bits are taken over. */
#define HEAD_FIELDS (FBIT(event_id) | FBIT(ts))

/* One more value of a key. */
static uint64_t key_add(uint64_t h, enum field_kind kind, const uint8_t *p, uint32_t bytes)
{
	double number;

	if (kind != FIELD_KIND_NUMBER || bytes != sizeof number)
		return hash_bytes(p, bytes, h);
	memcpy(&number, p, sizeof number);
	if (number == 0)
		number = 0;
	return hash_bytes(&number, sizeof number, h);
}

/* Keys of several fields are told from each other by their fields as well. */
static uint64_t key_begin(const struct rule_keyring *kr)
{
	return kr->count == 1 ? 0 : hash_bytes(kr->field, kr->count, 0);
}

bool rule_key_of_event(const struct rule_keyring *kr, const struct event *ev, uint64_t *hash)
{
	uint64_t h = key_begin(kr);

	for (uint32_t i = 0; i < kr->count; i++) {
		enum field_id field = (enum field_id)kr->field[i];
		uint32_t bytes;
		const uint8_t *p;

		if (!(ev->field_mask >> field & 1))
			return false;
		p = event_field(ev, field, &bytes);
		h = key_add(h, field_table[field].kind, p, bytes);
	}
	*hash = h;
	return true;
}

bool rule_key_of_record(const struct rule_keyring *kr, const struct record *rec, uint64_t *hash)
{
	uint64_t h = key_begin(kr);

	for (uint32_t i = 0; i < kr->count; i++) {
		enum field_id field = (enum field_id)kr->field[i];
		uint32_t bytes;
		const uint8_t *p = record_field(rec, field, &bytes);

		if (!p)
			return false;
		h = key_add(h, field_table[field].kind, p, bytes);
	}
	*hash = h;
	return true;
}

uint64_t rule_keyring_not_home(const struct rule_keyring *kr, uint8_t type)
{
	uint64_t before = 0;

	if (kr->count != 1 || type >= EVENT_TYPE_MAX)
		return UINT64_MAX;
	for (const uint8_t *f = type_table[type].part_key; *f; f++) {
		if (*f == kr->field[0])
			return before;
		before |= 1ull << *f;
	}
	return UINT64_MAX;
}

bool rule_keyring_is_home(const struct rule_keyring *kr, uint8_t type, uint64_t field_mask)
{
	return kr->count == 1 && field_mask >> kr->field[0] & 1 &&
	       !(field_mask & rule_keyring_not_home(kr, type));
}

/* Hits of the event that belong to the keyring. */
static uint32_t hits_of(const struct rule_use *use, const struct event *ev, uint8_t keyring, uint16_t *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ev->hit_count; i++) {
		const struct rule_use *u = &use[ev->hit[i]];

		if (u->state == RULE_STATE_NONE || u->keyring != keyring)
			continue;
		if (out)
			memcpy(out + n, &ev->hit[i], sizeof *out);
		n++;
	}
	return n;
}

static uint32_t values_bytes(const struct event *ev, uint64_t mask)
{
	uint32_t sum = 0;

	for (mask &= ~HEAD_FIELDS; mask; mask &= mask - 1)
		sum += ev->field[__builtin_ctzll(mask)].bytes;
	return sum;
}

static uint32_t head_bytes(uint64_t mask, uint32_t hits)
{
	return (uint32_t)(sizeof(struct record) + (size_t)__builtin_popcountll(mask) * sizeof(struct span) +
			  hits * sizeof(uint16_t));
}

/* An event that its producer has numbered has an id, whether it came with one or not. */
static uint64_t shadow_fields(const struct rule_keyring *kr, const struct event *ev)
{
	return (ev->field_mask | (ev->producer ? FBIT(event_id) : 0)) & kr->fields;
}

uint32_t rule_shadows(
	const struct ruleset *rs, const struct event *ev, struct rule_shadow out[RULE_KEYRINGS_MAX])
{
	const struct rule_use *use = ruleset_uses(rs);
	uint32_t keyrings = 0, n = 0;

	for (uint32_t i = 0; i < ev->hit_count; i++)
		if (use[ev->hit[i]].state != RULE_STATE_NONE)
			keyrings |= 1u << use[ev->hit[i]].keyring;
	for (; keyrings; keyrings &= keyrings - 1) {
		uint8_t k = (uint8_t)__builtin_ctz(keyrings);
		const struct rule_keyring *kr = ruleset_keyring(rs, k);
		uint64_t mask = shadow_fields(kr, ev);
		uint32_t bytes;

		if (rule_keyring_is_home(kr, ev->type, ev->field_mask) ||
			!rule_key_of_event(kr, ev, &out[n].key_hash))
			continue;
		bytes = head_bytes(mask, hits_of(use, ev, k, NULL)) + values_bytes(ev, mask);
		out[n].bytes = (bytes + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1);
		out[n++].keyring = k;
	}
	return n;
}

void rule_shadow_write(uint8_t *out, const struct ruleset *rs, const struct event *ev,
	const struct rule_shadow *shadow, int64_t receive_time_ms, uint16_t flags)
{
	const struct rule_keyring *kr = ruleset_keyring(rs, shadow->keyring);
	uint64_t mask = shadow_fields(kr, ev);
	struct record *rec = (struct record *)out;
	struct span *span = (struct span *)(rec + 1);
	uint16_t *hit = (uint16_t *)(span + __builtin_popcountll(mask));
	uint32_t hits, at = 0;
	uint8_t *payload;

	memset(out + shadow->bytes - RECORD_ALIGN, 0, RECORD_ALIGN);
	hits = hits_of(ruleset_uses(rs), ev, shadow->keyring, hit);
	payload = (uint8_t *)(hit + hits);
	*rec = (struct record){.bytes = shadow->bytes,
		.kind = RECORD_SHADOW,
		.type = ev->type,
		.flags = flags,
		.event_time_ms = ev->event_time_ms,
		.receive_time_ms = receive_time_ms,
		.key_hash = shadow->key_hash,
		.field_mask = mask,
		.src_port = ev->src_port,
		.dst_port = ev->dst_port,
		.reason_field = kr->field[0],
		.hit_count = (uint16_t)hits};
	memcpy(rec->event_id, ev->event_id, sizeof rec->event_id);
	memcpy(rec->src_addr, ev->src_addr, sizeof rec->src_addr);
	for (; mask; mask &= mask - 1) {
		enum field_id field = (enum field_id)__builtin_ctzll(mask);
		uint32_t bytes = 0;
		const uint8_t *p = NULL;

		if (!(HEAD_FIELDS >> field & 1))
			p = event_field(ev, field, &bytes);
		*span++ = (struct span){(uint16_t)at, (uint16_t)bytes};
		if (bytes)
			memcpy(payload + at, p, bytes);
		at += bytes;
	}
	rec->payload_bytes = at;
}
