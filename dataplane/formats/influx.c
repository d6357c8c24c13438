/* InfluxDB's line protocol (docs.influxdata.com, "Line protocol reference", versions 1 and 2):
 *   MEASUREMENT[,TAG=VALUE...] FIELD=VALUE[,FIELD=VALUE...] [NANOSECONDS]
 * Each field that is a number or a boolean is an event; fields of text go with each event of their line. A
 * line is taken or refused as a whole, before its first event: r->inner is then the field of the next one,
 * r->rest the time or the line's end, r->own the count of fields of text. */
#include "format_metric.h"

#include <string.h>

#include "json_out.h"

#define NS_PER_MS 1000000
#define NAME_PROTECTS ", "
#define KEY_PROTECTS ",= "
#define STRING_PROTECTS "\"\\"

static const char *const device_names[] = {"device_id", "host", NULL};

/* Bytes that end something or protect something. */
enum { COMMA = 1, EQUALS = 2, SPACE = 4, QUOTE = 8, BACKSLASH = 16 };

static const uint8_t byte_class[256] = {
	[','] = COMMA, ['='] = EQUALS, [' '] = SPACE, ['"'] = QUOTE, ['\\'] = BACKSLASH};

struct influx_field {
	struct metric_text key, value; /* without quotes */
	bool text;
};

struct influx_line {
	struct metric_text measurement;
	struct influx_field field; /* the event's; key.bytes 0: none */
	int64_t ts_ms;
	struct metric_attrs attrs; /* tags, and fields of text behind them */
};

/* The first byte of these classes that no backslash protects, or the end. */
static const uint8_t *token_end(const uint8_t *p, const uint8_t *end, uint8_t classes)
{
	for (; p < end; p++) {
		uint8_t class = byte_class[*p];

		if (class & classes)
			return p;
		if (class == BACKSLASH && p + 1 < end)
			p++;
	}
	return end;
}

/* p: behind the opening quote. The closing one; NULL: there is none. */
static const uint8_t *string_end(const uint8_t *p, const uint8_t *end)
{
	p = token_end(p, end, QUOTE);
	return p < end ? p : NULL;
}

static struct metric_text text_of(const uint8_t *from, const uint8_t *to, const char *protects)
{
	return (struct metric_text){from, (uint32_t)(to - from), protects};
}

/* ---- lines ---- */

/* The '\n' that ends the line at p, or the end: one within the string of a field belongs to the field. A
 * string without its end is none: its line ends where any other would. */
static const uint8_t *line_end(const uint8_t *p, const uint8_t *end)
{
	bool fields = false;
	const uint8_t *close;

	for (; p < end && *p != '\n'; p++) {
		if (*p == '\\' && p + 1 < end && p[1] != '\n') {
			p++;
		} else if (*p == ' ') {
			fields = true;
		} else if (fields && *p == '=' && p + 1 < end && p[1] == '"') {
			close = string_end(p + 2, end);
			if (!close) {
				close = memchr(p, '\n', (size_t)(end - p));
				return close ? close : end;
			}
			p = close;
		}
	}
	return p;
}

/* The next line that is no comment and not blank. */
static bool line_next(struct format_reader *r)
{
	const uint8_t *p = r->at, *stop;

	for (;;) {
		while (p < r->end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
			p++;
		r->at = p;
		if (p == r->end)
			return false;
		if (*p != '#')
			break;
		stop = memchr(p, '\n', (size_t)(r->end - p));
		p = stop ? stop : r->end;
	}
	stop = line_end(p, r->end);
	r->at = stop < r->end ? stop + 1 : stop;
	while (stop > p && (stop[-1] == '\r' || stop[-1] == ' '))
		stop--;
	r->piece = p;
	r->piece_bytes = (uint32_t)(stop - p);
	return true;
}

/* ---- what a line says ---- */

/* Measurement and tags. Returns where the fields begin; NULL: not so. */
static const uint8_t *head_read(struct influx_line *line, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *from = p, *equals;

	p = token_end(from, end, COMMA | SPACE);
	line->measurement = text_of(from, p, NAME_PROTECTS);
	if (p == from)
		return NULL;
	while (p < end && *p == ',') {
		from = p + 1;
		equals = token_end(from, end, COMMA | EQUALS | SPACE);
		if (equals == from || equals == end || *equals != '=')
			return NULL;
		p = token_end(equals + 1, end, COMMA | EQUALS | SPACE);
		if (p == equals + 1 || (p < end && *p == '='))
			return NULL;
		if (!metric_attr_add(&line->attrs, text_of(from, equals, KEY_PROTECTS),
			    text_of(equals + 1, p, KEY_PROTECTS)))
			return NULL;
	}
	while (p < end && *p == ' ')
		p++;
	return p;
}

/* 1, 0, or -1: no boolean. */
static int bool_of(const struct metric_text *value)
{
	static const char *const words[2][5] = {
		{"f", "F", "false", "False", "FALSE"}, {"t", "T", "true", "True", "TRUE"}};

	for (int truth = 0; truth < 2; truth++)
		for (int i = 0; i < 5; i++)
			if (value->bytes == strlen(words[truth][i]) &&
				memcmp(value->at, words[truth][i], value->bytes) == 0)
				return truth;
	return -1;
}

/* Digits of a 64-bit integer, without their suffix. */
static bool integer_ok(const uint8_t *p, uint32_t bytes, bool is_unsigned)
{
	bool negative = bytes && *p == '-';
	uint64_t v = 0, most = is_unsigned ? UINT64_MAX : negative ? 1ull << 63 : INT64_MAX;
	uint32_t i = negative;

	if (i == bytes || (negative && is_unsigned))
		return false;
	for (; i < bytes; i++) {
		uint32_t digit = (uint32_t)p[i] - '0';

		/* 18 digits are always fewer than that */
		if (digit > 9 || (i >= 18 && v > (most - digit) / 10))
			return false;
		v = v * 10 + digit;
	}
	return true;
}

/* The bytes of a field's value that are its number, 0 if it is none. */
static uint32_t number_of(const struct metric_text *value)
{
	uint8_t last = value->bytes ? value->at[value->bytes - 1] : 0;

	if (last == 'i' || last == 'u')
		return integer_ok(value->at, value->bytes - 1, last == 'u') ? value->bytes - 1 : 0;
	return metric_number_put(NULL, value->at, value->bytes, false) ? value->bytes : 0;
}

/* The field at p. Returns what is behind it; NULL: it is none. Numbers are not judged. */
static const uint8_t *field_read(struct influx_field *field, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *equals = token_end(p, end, COMMA | EQUALS | SPACE);

	if (equals == p || equals == end || *equals != '=')
		return NULL;
	field->key = text_of(p, equals, KEY_PROTECTS);
	field->text = equals + 1 < end && equals[1] == '"';
	if (field->text) {
		p = string_end(equals + 2, end);
		if (!p)
			return NULL;
		field->value = text_of(equals + 2, p, STRING_PROTECTS);
		return p + 1;
	}
	p = token_end(equals + 1, end, COMMA | SPACE);
	field->value = text_of(equals + 1, p, "");
	return p;
}

/* Nanoseconds, cut to the millisecond below. */
static bool time_read(struct influx_line *line, const uint8_t *p, const uint8_t *end)
{
	bool negative = *p == '-';
	int64_t ns = 0;

	if (!integer_ok(p, (uint32_t)(end - p), false))
		return false;
	for (p += negative; p < end; p++) /* below 0, as INT64_MIN has no opposite */
		ns = ns * 10 - (*p - '0');
	ns = negative ? ns : -ns;
	line->ts_ms = ns / NS_PER_MS - (ns % NS_PER_MS < 0);
	return true;
}

/* All fields: how many are numbers or booleans, what each event of the line repeats of the others. Returns
 * what is behind them; NULL: one is none. */
static const uint8_t *fields_judge(struct format_reader *r, struct influx_line *line, const uint8_t *p,
	uint32_t *numbers, uint32_t *repeated)
{
	const uint8_t *end = r->piece + r->piece_bytes, *from, *texts_end = NULL;
	struct influx_field field;

	for (;; p++) {
		from = p;
		p = field_read(&field, p, end);
		if (!p || (p < end && *p != ',' && *p != ' '))
			return NULL;
		if (!field.text) {
			if (bool_of(&field.value) < 0 && !number_of(&field.value))
				return NULL;
			++*numbers;
		} else {
			if (!metric_attr_add(&line->attrs, field.key, field.value))
				return NULL;
			r->own++;
			*repeated += (uint32_t)(p - from);
			texts_end = p;
		}
		if (p == end || *p == ' ')
			break;
	}
	/* Each event looks for the texts from the first field on. */
	if (texts_end)
		*repeated += (uint32_t)(texts_end - r->piece);
	return p;
}

/* The whole line, before its first event: fills what the reader keeps of it. False: it is refused. */
static bool line_judge(struct format_reader *r, struct bytes *out, struct influx_line *line)
{
	const uint8_t *end = r->piece + r->piece_bytes, *p;
	uint32_t numbers = 0, repeated;

	p = metric_line_ok(r) ? head_read(line, r->piece, end) : NULL;
	if (!p)
		return false;
	repeated = (uint32_t)(p - r->piece);
	r->inner = p;
	r->own = 0;
	p = fields_judge(r, line, p, &numbers, &repeated);
	if (!p)
		return false;
	while (p < end && *p == ' ')
		p++;
	r->rest = p;
	if ((p < end && !time_read(line, p, end)) || !metric_work_ok(out, numbers, repeated, &line->attrs))
		return false;
	r->index = 0;
	r->index_count = numbers ? numbers : 1;
	return true;
}

/* What the event at r->inner needs of a line that was found good. */
static void line_read(struct format_reader *r, struct influx_line *line)
{
	const uint8_t *end = r->piece + r->piece_bytes, *p = head_read(line, r->piece, end);
	struct influx_field field;
	uint32_t texts = 0;

	while (p && texts < r->own) {
		p = field_read(&field, p, end);
		if (p && field.text)
			texts += metric_attr_add(&line->attrs, field.key, field.value);
		if (p)
			p++;
	}
	for (p = r->inner; p && p < r->rest && !line->field.key.bytes;) {
		p = field_read(&field, p, end);
		if (p && !field.text)
			line->field = field;
		if (p)
			r->inner = ++p;
	}
	line->ts_ms = r->receive_ms;
	if (r->rest < end)
		time_read(line, r->rest, end);
}

/* ---- events ---- */

static void name_put(struct bytes *out, struct format_reader *r, const struct influx_line *line)
{
	static const char plain[] = "value"; /* says nothing that the measurement does not */
	const struct metric_text *key = &line->field.key;
	bool of_field =
		key->bytes && !(key->bytes == strlen(plain) && memcmp(key->at, plain, key->bytes) == 0);
	size_t start;

	json_put_name(out, "name");
	start = out->bytes;
	bytes_put(out, "\"", 1);
	metric_text_inner_put(out, line->measurement);
	if (of_field) {
		bytes_put(out, ".", 1);
		metric_text_inner_put(out, *key);
	}
	bytes_put(out, "\"", 1);
	written_text(r, out, FIELD_name, start, 0);
}

static void event_put(struct bytes *out, struct format_reader *r, const struct influx_line *line)
{
	const struct metric_text *value = &line->field.value;

	metric_head_put(out, r, &line->attrs, device_names, line->ts_ms);
	name_put(out, r, line);
	if (line->field.key.bytes) {
		int truth = bool_of(value);
		size_t start;

		json_put_name(out, "value");
		start = out->bytes;
		if (truth >= 0)
			json_put_i64(out, truth);
		else
			metric_number_put(out, value->at, number_of(value), false);
		written_value(r, out, FIELD_value, start);
	}
	metric_attrs_end_put(out, r, &line->attrs);
}

/* The table of attributes stays as it is: what is in it is counted. */
static void line_clear(struct influx_line *line)
{
	memset(line, 0, offsetof(struct influx_line, attrs));
	line->attrs.count = 0;
}

enum format_answer influx_next(struct format_reader *r, struct bytes *out)
{
	struct influx_line line;

	if (!r->index_count) {
		if (!line_next(r))
			return FORMAT_END;
		line_clear(&line);
		if (!line_judge(r, out, &line))
			return FORMAT_REFUSED;
	}
	line_clear(&line);
	line_read(r, &line);
	event_put(out, r, &line);
	if (++r->index == r->index_count)
		r->index_count = 0;
	return FORMAT_EVENT;
}
