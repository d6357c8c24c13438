/* Learning shapes: an event that the slow path has accepted, with its trace of values, becomes literal steps
 * with slots between. Worker thread; writes the parser's shapes.
 *
 * Cost under hostile input: only accepted events are considered; once there is a shape, only each 13th that
 * no shape took; and once all places are taken, only a shape that was seen before among those. So a stream of
 * ever new shapes evicts nothing and pays a few percent of the slow path. */
#include <string.h>

#include "hash.h"
#include "json_priv.h"

#define LEARN_EACH 13 /* prime: no rhythm of a few senders hides one of them */

/* A place of the event where literal bytes end and a slot begins. */
struct point {
	uint32_t start, end; /* of the value; OPEN and CLOSE: both where the object starts, ends */
	enum slot_kind kind;
	uint8_t field;
};

struct points {
	struct point at[TRACE_MAX + 2 * FIELD_ID_MAX];
	uint32_t count;
};

/* Inserts in order of start. Texts and numbers come in order; an object's start and end lie between them. */
static void point_add(struct points *points, struct point point)
{
	uint32_t i = points->count++;

	for (; i && points->at[i - 1].start > point.start; i--)
		points->at[i] = points->at[i - 1];
	points->at[i] = point;
}

/* The slot that a text or number value becomes. False if events of this form are not for shapes. */
static bool slot_of(const struct value *v, uint8_t field, struct point *point)
{
	*point =
		(struct point){v->start, v->end, v->kind == VALUE_TEXT ? SLOT_TEXT : SLOT_SKIP_NUMBER, field};
	if (field == FIELD_NONE)
		return true;
	switch (field_table[field].kind) {
	case FIELD_KIND_UUID:
		point->kind = SLOT_UUID;
		return field == FIELD_event_id;
	case FIELD_KIND_TIME:
		point->kind = v->kind == VALUE_TEXT ? SLOT_TIME_TEXT : SLOT_TIME_MS;
		return field == FIELD_ts && (v->kind == VALUE_TEXT || v->end - v->start == 13);
	case FIELD_KIND_NUMBER:
		point->kind = SLOT_NUMBER;
		return true;
	case FIELD_KIND_DECIMAL:
		point->kind = SLOT_DECIMAL;
		return true;
	default:
		if (field == FIELD_ip)
			point->kind = SLOT_ADDRESS;
		return true;
	}
}

static bool points_gather(const struct json_parser *jp, const struct event *ev, struct points *points)
{
	uint64_t keys = jp->type_keys[ev->type];

	points->count = 0;
	for (uint32_t i = 0; i < jp->doc.trace_count; i++) {
		const struct value *v = &jp->doc.trace[i];
		bool known = v->key < KEYS_MAX && keys >> v->key & 1;
		struct point point;

		if (v->key == jp->type_key)
			continue; /* stays literal: it decides the type */
		if (!slot_of(v, known ? jp->key_field[v->key] : FIELD_NONE, &point))
			return false;
		point_add(points, point);
	}
	for (uint64_t left = ev->field_mask; left; left &= left - 1) {
		uint8_t field = (uint8_t)__builtin_ctzll(left);
		uint32_t start = ev->field[field].offset, end = start + ev->field[field].bytes;

		if (field_table[field].kind != FIELD_KIND_OBJECT)
			continue;
		point_add(points, (struct point){start, start, SLOT_OPEN, field});
		point_add(points, (struct point){end, end, SLOT_CLOSE, field});
	}
	return true;
}

static bool step_add(struct shape *shape, const uint8_t *literal, uint32_t bytes)
{
	struct shape_step *step = &shape->step[shape->step_count];

	if (shape->step_count == SHAPE_STEPS_MAX)
		return false;
	shape->step_count++;
	memset(step, 0, sizeof *step);
	memcpy(step->literal, literal, bytes);
	memset(step->mask, 0xff, bytes);
	step->kind = SLOT_NONE;
	step->literal_bytes = bytes;
	return true;
}

/* Literal bytes in steps of at most 32; the slot that follows belongs to the last. */
static bool literal_add(struct shape *shape, const uint8_t *literal, uint32_t bytes)
{
	for (; bytes > 32; literal += 32, bytes -= 32)
		if (!step_add(shape, literal, 32))
			return false;
	return step_add(shape, literal, bytes);
}

static void slot_fill(struct shape_step *step, const struct point *point, const struct event *ev)
{
	const struct field_info *info = &field_table[point->field];

	step->kind = (uint8_t)point->kind;
	step->field = point->field;
	step->span_at = offsetof(struct event, field) + point->field * sizeof(struct span);
	step->len_span = EVENT_BYTES_MAX;
	if (point->field &&
		(point->kind == SLOT_TEXT || point->kind == SLOT_ADDRESS || point->kind == SLOT_CLOSE)) {
		step->len_min = info->len_min;
		step->len_span = info->len_max - info->len_min;
	}
	if (point->kind == SLOT_NUMBER || point->kind == SLOT_DECIMAL)
		step->tail_at = (uint16_t)(ev->field[point->field].offset - ev->raw_bytes);
}

/* Fewest bytes of a slot's value. */
static uint64_t slot_bytes_min(const struct shape_step *step)
{
	switch (step->kind) {
	case SLOT_TEXT:
	case SLOT_ADDRESS:
		return step->len_min;
	case SLOT_UUID:
		return 36;
	case SLOT_TIME_MS:
		return 13;
	case SLOT_NUMBER:
	case SLOT_DECIMAL:
	case SLOT_SKIP_NUMBER:
		return 1;
	default:
		return 0;
	}
}

/* rest_min of each step, min_bytes, and the probe: the last step before which nothing varies in length. */
static void shape_measure(struct shape *shape)
{
	uint64_t rest = 0, at = 0;
	uint32_t last = 0;

	for (uint32_t i = shape->step_count; i-- > 0;) {
		shape->step[i].rest_min = rest;
		rest += slot_bytes_min(&shape->step[i]) + shape->step[i].literal_bytes;
	}
	shape->min_bytes = (uint32_t)rest;
	for (uint32_t i = 0; i < shape->step_count; i++) {
		const struct shape_step *step = &shape->step[i];

		shape->probe_at = (uint32_t)at;
		last = i;
		if (step->kind != SLOT_NONE && step->kind != SLOT_UUID && step->kind != SLOT_TIME_MS &&
			step->kind != SLOT_OPEN)
			break;
		at += step->literal_bytes + slot_bytes_min(step);
	}
	memcpy(shape->probe, shape->step[last].literal, sizeof shape->probe);
	memcpy(shape->probe_mask, shape->step[last].mask, sizeof shape->probe_mask);
}

static bool shape_draft(struct json_parser *jp, struct shape *shape, const struct event *ev, uint32_t bytes,
	enum event_type type_hint)
{
	struct points points;
	uint32_t at = 0;

	shape->step_count = 0;
	shape->hash = hash_u64(type_hint);
	if (!points_gather(jp, ev, &points))
		return false;
	for (uint32_t i = 0; i < points.count; i++) {
		const struct point *point = &points.at[i];

		if (!literal_add(shape, ev->raw + at, point->start - at))
			return false;
		slot_fill(&shape->step[shape->step_count - 1], point, ev);
		shape->hash = hash_bytes(ev->raw + at, point->start - at, shape->hash + point->kind);
		at = point->end;
	}
	if (!literal_add(shape, ev->raw + at, bytes - at))
		return false;
	shape->step[shape->step_count - 1].kind = SLOT_END;
	shape->hash = hash_bytes(ev->raw + at, bytes - at, shape->hash);
	shape->field_mask = ev->field_mask;
	shape->tail_bytes = ev->tail_bytes;
	shape->type = ev->type;
	shape->known = ev->known;
	shape->hint = (uint8_t)type_hint;
	shape_measure(shape);
	return true;
}

/* True if a hash was met before; remembers it. */
static bool sighting_note(struct json_parser *jp, uint64_t hash)
{
	uint64_t *place = &jp->sighting[hash % SIGHTINGS];
	bool met = *place == hash;

	*place = hash;
	return met;
}

void shape_learn(struct json_parser *jp, const struct event *ev, enum event_type type_hint)
{
	struct shape *draft = &jp->shape[SHAPES_MAX];
	uint32_t bytes = ev->raw_bytes;
	uint8_t index;

	if (!jp->doc.plain || (jp->shape_count && jp->stats.slow % LEARN_EACH))
		return;
	while (bytes && json_is_space(ev->raw[bytes - 1]))
		bytes--;
	if (bytes < 32)
		return;
	for (uint32_t i = 0; i < bytes; i++)
		if (ev->raw[i] < 0x20) /* line breaks and tabs between values */
			return;
	if (!shape_draft(jp, draft, ev, bytes, type_hint))
		return;
	for (uint32_t i = 0; i < jp->shape_count; i++)
		if (jp->shape[i].hash == draft->hash)
			return; /* known; this event did not fit for its values */
	if (jp->shape_count == SHAPES_MAX && !sighting_note(jp, draft->hash))
		return;
	if (jp->shape_count < SHAPES_MAX)
		jp->shape_count++;
	/* the place of the shape that was used longest ago, or a free one */
	index = jp->order[jp->shape_count - 1];
	jp->shape[index] = *draft;
	memmove(jp->order + 1, jp->order, jp->shape_count - 1);
	jp->order[0] = index;
	jp->stats.learned++;
}
