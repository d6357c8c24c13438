/* The schema over one well-formed event: its type, then a verdict, spans and tail for the fields of that
 * type, in the order that json.h states. Worker thread; reads jp->doc, writes the event and the tail arena.
 */
#include <string.h>

#include "json_priv.h"

/* Where the decoded text of v is; escapes are decoded to the tail. Returns NULL if that makes the event too
 * long. */
static const uint8_t *text_place(
	struct json_parser *jp, struct event *ev, const struct value *v, struct span *span)
{
	uint32_t bytes = v->end - v->start;
	uint8_t *out = jp->tail + jp->tail_used + ev->tail_bytes;

	if (!v->escaped) {
		*span = (struct span){(uint16_t)v->start, (uint16_t)bytes};
		return ev->raw + v->start;
	}
	if (jp->tail_bytes - jp->tail_used - ev->tail_bytes < bytes)
		return NULL;
	bytes = text_decode(out, ev->raw + v->start, bytes);
	if (ev->raw_bytes + ev->tail_bytes + bytes > EVENT_BYTES_MAX)
		return NULL;
	*span = (struct span){(uint16_t)(ev->raw_bytes + ev->tail_bytes), (uint16_t)bytes};
	ev->tail_bytes += bytes;
	return out;
}

static enum drop_reason judge_uuid(
	struct json_parser *jp, struct event *ev, const struct value *v, enum field_id field)
{
	const uint8_t *text;
	uint8_t id[16];

	if (v->kind != VALUE_TEXT)
		return DROP_bad_type;
	text = text_place(jp, ev, v, &ev->field[field]);
	if (!text)
		return DROP_too_long;
	if (!uuid_from_text(text, ev->field[field].bytes, id))
		return DROP_bad_event_id;
	if (field == FIELD_event_id)
		memcpy(ev->event_id, id, sizeof id);
	return DROP_NONE;
}

static enum drop_reason judge_time(
	struct json_parser *jp, struct event *ev, const struct value *v, enum field_id field)
{
	int64_t ms;

	if (v->kind == VALUE_NUMBER) {
		struct number n;

		number_walk(ev->raw + v->start, ev->raw + v->end, &n);
		if (!n.integer || n.negative || n.cut || n.mantissa > TIME_MS_MAX)
			return DROP_bad_timestamp;
		ms = (int64_t)n.mantissa;
		ev->field[field] = (struct span){(uint16_t)v->start, (uint16_t)(v->end - v->start)};
	} else if (v->kind == VALUE_TEXT) {
		const uint8_t *text = text_place(jp, ev, v, &ev->field[field]);

		if (!text)
			return DROP_too_long;
		if (!time_from_text(text, ev->field[field].bytes, &ms))
			return DROP_bad_timestamp;
	} else {
		return DROP_bad_type;
	}
	if (field == FIELD_ts)
		ev->event_time_ms = ms;
	return DROP_NONE;
}

static enum drop_reason judge_text(
	struct json_parser *jp, struct event *ev, const struct value *v, enum field_id field)
{
	const struct field_info *info = &field_table[field];
	const uint8_t *text;
	uint32_t bytes;

	if (v->kind != VALUE_TEXT)
		return DROP_bad_type;
	text = text_place(jp, ev, v, &ev->field[field]);
	bytes = ev->field[field].bytes;
	if (!text || bytes > info->len_max)
		return DROP_too_long;
	return bytes < info->len_min || !text_fits(field, text, bytes) ? DROP_bad_value : DROP_NONE;
}

/* NUMBER and DECIMAL: 8 bytes each in the tail. */
static enum drop_reason judge_number(
	struct json_parser *jp, struct event *ev, const struct value *v, enum field_id field)
{
	const uint8_t *text = ev->raw + v->start;
	struct number n;
	uint8_t number[8];

	if (v->kind != VALUE_NUMBER)
		return DROP_bad_type;
	number_walk(text, ev->raw + v->end, &n);
	if (!number_bytes(jp, field_table[field].kind, &n, text, v->end - v->start, number))
		return DROP_bad_value;
	if (ev->raw_bytes + ev->tail_bytes + sizeof number > EVENT_BYTES_MAX ||
		jp->tail_bytes - jp->tail_used - ev->tail_bytes < sizeof number)
		return DROP_too_long;
	memcpy(jp->tail + jp->tail_used + ev->tail_bytes, number, sizeof number);
	ev->field[field] = (struct span){(uint16_t)(ev->raw_bytes + ev->tail_bytes), sizeof number};
	ev->tail_bytes += (uint32_t)sizeof number;
	return DROP_NONE;
}

static enum drop_reason judge_object(struct event *ev, const struct value *v, enum field_id field)
{
	const struct field_info *info = &field_table[field];
	uint32_t bytes = v->end - v->start;

	if (v->kind != VALUE_OBJECT)
		return DROP_bad_type;
	if (bytes > info->len_max)
		return DROP_too_long;
	ev->field[field] = (struct span){(uint16_t)v->start, (uint16_t)bytes};
	return bytes < info->len_min ? DROP_bad_value : DROP_NONE;
}

static enum drop_reason judge_field(
	struct json_parser *jp, struct event *ev, const struct value *v, enum field_id field)
{
	switch (field_table[field].kind) {
	case FIELD_KIND_UUID:
		return judge_uuid(jp, ev, v, field);
	case FIELD_KIND_TIME:
		return judge_time(jp, ev, v, field);
	case FIELD_KIND_TEXT:
		return judge_text(jp, ev, v, field);
	case FIELD_KIND_NUMBER:
	case FIELD_KIND_DECIMAL:
		return judge_number(jp, ev, v, field);
	case FIELD_KIND_OBJECT:
		return judge_object(ev, v, field);
	case FIELD_KIND_COUNT:
		break;
	}
	return DROP_bad_type;
}

static bool key_has_value(const struct doc *doc, uint8_t key)
{
	return key != KEY_NONE && doc->seen >> key & 1 && doc->value[key].kind != VALUE_NULL;
}

static enum drop_reason judge_type(struct json_parser *jp, struct event *ev, enum event_type hint)
{
	const struct doc *doc = &jp->doc;
	const struct value *v = &doc->value[jp->type_key];
	const uint8_t *text;
	uint8_t decoded[6 * KEY_BYTES_MAX];
	uint32_t bytes;
	enum event_type type;

	if (doc->repeated >> jp->type_key & 1)
		return DROP_duplicate_key;
	if (!key_has_value(doc, jp->type_key)) {
		if (hint == EVENT_TYPE_NONE)
			hint = key_has_value(doc, jp->source_key) ? EVENT_TYPE_platform : EVENT_TYPE_click;
		ev->type = (uint8_t)hint;
		return DROP_NONE;
	}
	if (v->kind != VALUE_TEXT)
		return DROP_bad_type;
	text = ev->raw + v->start;
	bytes = v->end - v->start;
	if (v->escaped) {
		if (bytes > sizeof decoded)
			return DROP_unknown_type;
		bytes = text_decode(decoded, text, bytes);
		text = decoded;
	}
	type = event_type_by_name((const char *)text, bytes);
	if (type == EVENT_TYPE_NONE || (hint != EVENT_TYPE_NONE && type != hint))
		return DROP_unknown_type;
	ev->type = (uint8_t)type;
	return DROP_NONE;
}

/* The value of each field: fields present get their bit and value_of, fields that stand there twice their bit
 * in *twice. */
static uint64_t fields_gather(
	const struct json_parser *jp, enum event_type type, uint8_t value_of[FIELD_ID_MAX], uint64_t *twice)
{
	const struct doc *doc = &jp->doc;
	uint64_t present = 0;

	*twice = 0;
	for (uint64_t keys = doc->seen & jp->type_keys[type]; keys; keys &= keys - 1) {
		uint8_t key = (uint8_t)__builtin_ctzll(keys);
		uint64_t bit = 1ull << jp->key_field[key];

		if (doc->repeated >> key & 1)
			*twice |= bit;
		if (doc->value[key].kind == VALUE_NULL)
			continue;
		if (present & bit)
			*twice |= bit;
		present |= bit;
		value_of[jp->key_field[key]] = key;
	}
	return present;
}

/* Of fields that are good each by itself: whether all are there that must be, and the event's time. */
static enum drop_reason fields_judge(
	struct event *ev, uint64_t present, int64_t receive_time_ms, const struct parse_limits *limits)
{
	uint64_t missing = type_table[ev->type].required & ~present;
	enum drop_reason reason;

	if (missing) {
		ev->refused_field = (uint8_t)__builtin_ctzll(missing);
		return DROP_missing_field;
	}
	ev->field_mask = present;
	if (!(present & FBIT(ts)))
		return DROP_NONE;
	reason = time_judge(ev->event_time_ms, receive_time_ms, limits);
	if (reason)
		ev->refused_field = FIELD_ts;
	return reason;
}

/* As judge_time() of the digits that were written. */
static enum drop_reason written_time(struct event *ev, const struct json_written *written)
{
	if (written->ts_ms < 0 || written->ts_ms > TIME_MS_MAX)
		return DROP_bad_timestamp;
	ev->field[FIELD_ts] = written->field[FIELD_ts];
	ev->event_time_ms = written->ts_ms;
	return DROP_NONE;
}

enum drop_reason json_judge(struct json_parser *jp, enum event_type type_hint, int64_t receive_time_ms,
	const struct parse_limits *limits, struct event *ev)
{
	uint8_t value_of[FIELD_ID_MAX];
	uint64_t present, twice;
	enum drop_reason reason = judge_type(jp, ev, type_hint);

	if (reason)
		return reason;
	present = fields_gather(jp, ev->type, value_of, &twice);
	for (uint64_t left = present | twice; left; left &= left - 1) {
		enum field_id field = (enum field_id)__builtin_ctzll(left);

		if (twice >> field & 1)
			reason = DROP_duplicate_key;
		else
			reason = judge_field(jp, ev, &jp->doc.value[value_of[field]], field);
		if (reason) {
			ev->refused_field = (uint8_t)field;
			return reason;
		}
	}
	ev->known = !jp->doc.foreign && !(jp->doc.top & ~(jp->type_keys[ev->type] | 1ull << jp->type_key));
	return fields_judge(ev, present, receive_time_ms, limits);
}

enum drop_reason json_judge_written(struct json_parser *jp, const struct json_written *written,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev)
{
	static const uint8_t kind_of[FIELD_KIND_COUNT] = {[FIELD_KIND_UUID] = VALUE_TEXT,
		[FIELD_KIND_TIME] = VALUE_NUMBER,
		[FIELD_KIND_TEXT] = VALUE_TEXT,
		[FIELD_KIND_NUMBER] = VALUE_NUMBER,
		[FIELD_KIND_OBJECT] = VALUE_OBJECT,
		[FIELD_KIND_DECIMAL] = VALUE_NUMBER};

	ev->type = written->type;
	ev->known = true; /* nothing else is written */
	for (uint64_t left = written->field_mask; left; left &= left - 1) {
		enum field_id field = (enum field_id)__builtin_ctzll(left);
		struct span span = written->field[field];
		struct value v = {.start = span.offset,
			.end = (uint32_t)span.offset + span.bytes,
			.kind = kind_of[field_table[field].kind],
			.key = KEY_NONE,
			.escaped = written->escaped_mask >> field & 1};
		enum drop_reason reason;

		if (field == FIELD_ts)
			reason = written_time(ev, written);
		else if (field_table[field].kind == FIELD_KIND_TEXT && !v.escaped)
			reason = judge_text(jp, ev, &v, field);
		else
			reason = judge_field(jp, ev, &v, field);
		if (reason) {
			ev->refused_field = (uint8_t)field;
			return reason;
		}
	}
	return fields_judge(ev, written->field_mask, receive_time_ms, limits);
}
