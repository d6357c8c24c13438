/* Entry of the JSON parser: a learned shape if one fits, else the walk over the grammar and the judgement by
 * the schema; both give the same event. Worker thread; the event's bytes are borrowed, its tail is the
 * arena's. */
#include <string.h>

#include "json_priv.h"

const struct json_stats *json_parser_stats(const struct json_parser *jp)
{
	return &jp->stats;
}

void json_parser_reset(struct json_parser *jp)
{
	jp->tail_used = 0;
}

bool json_parser_room(const struct json_parser *jp, uint32_t raw_bytes)
{
	/* Decoding never makes a text longer; each number field adds a double. */
	uint32_t need = raw_bytes < EVENT_BYTES_MAX ? raw_bytes : EVENT_BYTES_MAX;

	return jp->tail_bytes - jp->tail_used >= need + (uint32_t)sizeof(double) * FIELD_ID_MAX;
}

static enum drop_reason event_walk_judge(struct json_parser *jp, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev)
{
	enum drop_reason reason;
	bool utf8;

	if (ev->raw_bytes > EVENT_BYTES_MAX)
		return DROP_too_long;
	utf8 = jp->avx2 ? utf8_valid_avx2(ev->raw, ev->raw_bytes) : utf8_valid(ev->raw, ev->raw_bytes);
	if (!utf8)
		return DROP_bad_utf8;
	reason = json_walk(jp, ev->raw, ev->raw_bytes);
	return reason ? reason : json_judge(jp, type_hint, receive_time_ms, limits, ev);
}

/* What every event has before it is judged. */
static inline void event_begin(struct json_parser *jp, const uint8_t *raw, uint32_t bytes, struct event *ev)
{
	ev->raw = raw;
	ev->raw_bytes = bytes;
	ev->tail = jp->tail + jp->tail_used;
	ev->tail_bytes = 0;
	ev->event_time_ms = 0;
	memset(ev->event_id, 0, sizeof ev->event_id);
	ev->type = EVENT_TYPE_NONE;
	ev->field_mask = 0;
	ev->known = false;
	ev->refused_field = FIELD_NONE;
	ev->actions = 0;
	ev->hit_count = 0;
	ev->hit = NULL;
}

/* The verdict. True: it is accepted. */
static inline bool event_end(struct json_parser *jp, enum drop_reason reason, struct event *ev)
{
	ev->refused = (uint8_t)reason;
	if (reason) {
		ev->field_mask = 0;
		ev->tail_bytes = 0;
		ev->event_time_ms = 0;
		memset(ev->event_id, 0, sizeof ev->event_id);
		return false;
	}
	jp->tail_used += ev->tail_bytes;
	return true;
}

void json_parse_slow(struct json_parser *jp, const uint8_t *raw, uint32_t bytes, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev)
{
	jp->stats.slow++;
	event_begin(jp, raw, bytes, ev);
	if (event_end(jp, event_walk_judge(jp, type_hint, receive_time_ms, limits, ev), ev) && jp->shapes_on)
		shape_learn(jp, ev, type_hint);
}

void json_parse_event(struct json_parser *jp, const uint8_t *raw, uint32_t bytes, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev)
{
	ev->producer = ev->sequence = 0; /* whoever knows of one says so afterwards */
	ev->ack = false;
	if (jp->shape_count)
		json_parse_fast(jp, raw, bytes, type_hint, receive_time_ms, limits, ev);
	else
		json_parse_slow(jp, raw, bytes, type_hint, receive_time_ms, limits, ev);
}

void json_take_written(struct json_parser *jp, const uint8_t *raw, uint32_t bytes,
	const struct json_written *written, enum event_type type_hint, int64_t receive_time_ms,
	const struct parse_limits *limits, struct event *ev)
{
	if (!written->field_mask || (type_hint != EVENT_TYPE_NONE && type_hint != written->type)) {
		json_parse_event(jp, raw, bytes, type_hint, receive_time_ms, limits, ev);
		return;
	}
	ev->producer = ev->sequence = 0;
	ev->ack = false;
	jp->stats.written++;
	event_begin(jp, raw, bytes, ev);
	(void)event_end(jp, json_judge_written(jp, written, receive_time_ms, limits, ev), ev);
}

uint32_t json_parse_line(struct json_parser *jp, const uint8_t *raw, uint32_t left, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev)
{
	return jp->shape_count ? json_line_fast(jp, raw, left, type_hint, receive_time_ms, limits, ev) : 0;
}
