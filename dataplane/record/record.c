/* Writing and checking journal records. Worker threads write (no calls out, no allocation); readers check. */
#include "record.h"

#include <string.h>

#include "hash.h"

void record_producer_id(uint8_t id[16], const struct event *ev)
{
	const uint64_t from[2] = {ev->producer, ev->sequence};
	/* A dead letter must not hide the event, if it is good when it comes again. */
	uint64_t seed = ev->dst_port | (uint64_t)(ev->refused != 0) << 16;

	record_hash_id(id, hash_bytes(from, sizeof from, seed), hash_bytes(from, sizeof from, ~seed));
}

/* Behind the rest of the payload, whose last byte is before p. */
static void producer_write(struct record *rec, uint8_t *p, const struct event *ev)
{
	const struct record_producer from = {ev->producer, ev->sequence};

	memcpy(p, &from, sizeof from);
	rec->payload_bytes += (uint32_t)sizeof from;
	rec->flags |= (uint16_t)(RECORD_F_PRODUCER | (ev->ack ? RECORD_F_ACK : 0));
	if (rec->kind == RECORD_EVENT && !(rec->field_mask & FBIT(event_id)))
		rec->flags |= RECORD_F_ID_MADE;
}

/* src_addr, src_port, dst_port, reason, reason_field, hit_count. */
#define ORIGIN_BYTES (offsetof(struct record, raw_bytes) - offsetof(struct record, src_addr))
#define AS_IN_EVENT(member, of_event)                                                                        \
	_Static_assert(offsetof(struct record, member) - offsetof(struct record, src_addr) ==                \
			       offsetof(struct event, of_event) - offsetof(struct event, src_addr),          \
		"copied at once")
AS_IN_EVENT(src_port, src_port);
AS_IN_EVENT(dst_port, dst_port);
AS_IN_EVENT(reason, refused);
AS_IN_EVENT(reason_field, refused_field);
AS_IN_EVENT(hit_count, hit_count);
_Static_assert(ORIGIN_BYTES == 24, "nothing else is between");

static void record_fill_common(
	struct record *rec, const struct event *ev, uint64_t key_hash, int64_t receive_time_ms)
{
	rec->type = ev->type;
	rec->receive_time_ms = receive_time_ms;
	rec->key_hash = key_hash;
	memcpy(rec->src_addr, ev->src_addr, ORIGIN_BYTES);
}

/* Fields of a type have neighbouring ids: their spans are copied eight at once. What that writes too much is
 * written over by the payload, which follows. */
#define SPANS_AT_ONCE 8u
static inline struct span *record_put_spans(struct span *to, const struct event *ev)
{
	uint64_t mask = ev->field_mask;

	while (mask && ev->raw_bytes >= SPANS_AT_ONCE * sizeof *to) {
		const struct span *from = &ev->field[__builtin_ctzll(mask)];
		uint64_t rest = mask & (mask + (mask & -mask)); /* without the lowest run of bits */
		uint32_t count = (uint32_t)__builtin_popcountll(mask ^ rest);

		memcpy(to, from, SPANS_AT_ONCE * sizeof *to);
		for (uint32_t i = SPANS_AT_ONCE; i < count; i += SPANS_AT_ONCE)
			memcpy(to + i, from + i, SPANS_AT_ONCE * sizeof *to);
		to += count;
		mask = rest;
	}
	for (; mask; mask &= mask - 1) /* a payload shorter than that */
		*to++ = ev->field[__builtin_ctzll(mask)];
	return to;
}
_Static_assert(FIELD_ID_MAX < 64 && sizeof(struct event) - offsetof(struct event, field) >=
					    (FIELD_ID_MAX + SPANS_AT_ONCE) * sizeof(struct span),
	"spans from the last field on are inside the event");

/* Tail and producer, which most events do not have. */
static __attribute__((noinline)) void payload_end_write(
	struct record *rec, uint8_t *p, const struct event *ev)
{
	if (ev->tail_bytes)
		memcpy(p, ev->tail, ev->tail_bytes);
	if (ev->producer)
		producer_write(rec, p + ev->tail_bytes, ev);
}

void record_write_sized(uint8_t *out, uint32_t bytes, const struct event *ev, uint64_t key_hash,
	int64_t receive_time_ms, uint16_t flags)
{
	struct record *rec = (struct record *)out;
	uint8_t *p;

	memset(out + bytes - RECORD_ALIGN, 0, RECORD_ALIGN);
	record_fill_common(rec, ev, key_hash, receive_time_ms);
	rec->bytes = bytes;
	rec->kind = RECORD_EVENT;
	rec->flags = (uint16_t)(flags | (ev->known ? RECORD_F_KNOWN : 0));
	rec->event_time_ms = ev->event_time_ms;
	memcpy(rec->event_id, ev->event_id, sizeof rec->event_id);
	rec->field_mask = ev->field_mask;
	rec->raw_bytes = ev->raw_bytes;
	rec->payload_bytes = ev->raw_bytes + ev->tail_bytes;
	p = (uint8_t *)record_put_spans((struct span *)(rec + 1), ev);
	for (uint32_t i = 0; i < ev->hit_count; i++, p += sizeof *ev->hit)
		memcpy(p, &ev->hit[i], sizeof *ev->hit);
	if (__builtin_expect(ev->tail_bytes || ev->producer, 0))
		payload_end_write(rec, p + ev->raw_bytes, ev);
	memcpy(p, ev->raw, ev->raw_bytes); /* last: nothing has to be kept over this call */
}

void record_event(const struct record *rec, const uint8_t *payload, struct event *ev)
{
	const struct span *span = record_spans(rec);

	ev->raw = payload;
	ev->tail = payload + rec->raw_bytes;
	ev->raw_bytes = rec->raw_bytes;
	ev->tail_bytes = rec->payload_bytes - rec->raw_bytes;
	ev->producer = ev->sequence = 0;
	ev->ack = rec->flags & RECORD_F_ACK;
	ev->known = rec->flags & RECORD_F_KNOWN;
	if (rec->flags & RECORD_F_PRODUCER) {
		struct record_producer from = record_producer_in(rec, payload);

		ev->producer = from.id;
		ev->sequence = from.sequence;
		ev->tail_bytes -= (uint32_t)sizeof from;
	}
	ev->field_mask = rec->field_mask;
	for (uint64_t mask = rec->field_mask; mask; mask &= mask - 1)
		ev->field[__builtin_ctzll(mask)] = *span++;
	memcpy(ev->event_id, rec->event_id, sizeof ev->event_id);
	ev->event_time_ms = rec->event_time_ms;
	ev->type = rec->type;
	ev->refused = ev->refused_field = 0;
	ev->actions = 0;
	ev->hit_count = 0;
	ev->hit = NULL;
	memcpy(ev->src_addr, rec->src_addr, sizeof ev->src_addr);
	ev->src_port = rec->src_port;
	ev->dst_port = rec->dst_port;
}

uint32_t record_refused_bytes(const struct event *ev, uint32_t limit_bytes)
{
	uint32_t keep = ev->raw_bytes < limit_bytes ? ev->raw_bytes : limit_bytes;

	return record_round((uint32_t)sizeof(struct record) + keep + record_producer_bytes(ev));
}

uint32_t record_write_refused(uint8_t *out, const struct event *ev, uint64_t key_hash,
	int64_t receive_time_ms, uint32_t limit_bytes)
{
	struct record *rec = (struct record *)out;
	uint32_t keep = ev->raw_bytes < limit_bytes ? ev->raw_bytes : limit_bytes;
	uint32_t bytes = record_refused_bytes(ev, limit_bytes);

	memset(out + bytes - RECORD_ALIGN, 0, RECORD_ALIGN);
	memset(rec, 0, sizeof *rec);
	record_fill_common(rec, ev, key_hash, receive_time_ms);
	rec->bytes = bytes;
	rec->kind = RECORD_REFUSED;
	rec->flags = keep < ev->raw_bytes ? RECORD_F_CUT : 0;
	rec->event_time_ms = receive_time_ms;
	rec->hit_count = 0;
	rec->raw_bytes = keep;
	rec->payload_bytes = keep;
	memcpy(rec + 1, ev->raw, keep);
	if (!ev->producer)
		return bytes;
	memcpy(rec->event_id, ev->event_id,
		sizeof rec->event_id); /* record_producer_id(), of no use to others */
	producer_write(rec, (uint8_t *)(rec + 1) + keep, ev);
	return bytes;
}

/* Fields whose value is a number of 8 bytes. */
#define FIELD(id, name, kind, len_min, len_max, column_type, help)                                           \
	| (uint64_t)(FIELD_KIND_##kind == FIELD_KIND_NUMBER || FIELD_KIND_##kind == FIELD_KIND_DECIMAL)      \
			<< (id)
#define KEY(field, scope, key)
#define TYPE(id, name, required)
#define USES(type, field)
#define PART_KEY(type, field)
#define ENRICHED(field)
static const uint64_t number_mask = 0
#include "event_fields.def"
	;

/* All of them end within the payload, and numbers have their size. */
static bool spans_valid(const struct record *rec)
{
	const struct span *span = record_spans(rec), *end = span + __builtin_popcountll(rec->field_mask);

	for (const struct span *s = span; s < end; s++)
		if ((uint32_t)s->offset + s->bytes > rec->payload_bytes)
			return false;
	for (uint64_t left = rec->field_mask & number_mask; left; left &= left - 1) {
		uint64_t below = (left & -left) - 1;

		if (span[__builtin_popcountll(rec->field_mask & below)].bytes != sizeof(double))
			return false;
	}
	return true;
}

bool record_valid(const void *p, uint64_t left)
{
	const struct record *rec = p;
	uint64_t need;

	if (left < sizeof *rec || rec->bytes > left || rec->bytes < sizeof *rec || rec->bytes % RECORD_ALIGN)
		return false;
	if (rec->kind < RECORD_EVENT || rec->kind > RECORD_SHADOW || rec->type >= EVENT_TYPE_MAX)
		return false;
	if (rec->field_mask >> FIELD_ID_MAX || rec->raw_bytes > rec->payload_bytes)
		return false;
	if (rec->flags & RECORD_F_PRODUCER &&
		rec->payload_bytes - rec->raw_bytes < sizeof(struct record_producer))
		return false;
	need = (uint64_t)record_head_bytes(rec->field_mask, rec->hit_count) + rec->payload_bytes;
	if (need > rec->bytes || rec->bytes - need >= RECORD_ALIGN)
		return false;
	return spans_valid(rec);
}
