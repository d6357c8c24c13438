/* InfluxDB's line protocol (docs.influxdata.com, "Line protocol reference", versions 1 and 2):
 *   MEASUREMENT[,TAG=VALUE...] FIELD=VALUE[,FIELD=VALUE...] [NANOSECONDS]
 * Each field that is a number or a boolean is an event; fields of text go with each event of their line. A
 * line is taken or refused as a whole. It is read anew for each of its events: the reader keeps a count
 * alone. */
#include "format_metric.h"

#include <string.h>

#include "json_out.h"
#include "number.h"

#define NS_PER_MS 1000000
#define NAME_PROTECTS ", "
#define KEY_PROTECTS ",= "
#define STRING_PROTECTS "\"\\"

static const char *const device_names[] = {"device_id", "host", NULL};

struct influx_line {
	struct metric_text measurement;
	struct metric_text key, value; /* of the number or boolean that is asked for */
	uint32_t numbers;	       /* of these */
	bool has_time;
	int64_t ts_ms;
	struct metric_attrs attrs; /* tags, and fields of text behind them */
};

/* The first of these bytes that no backslash protects, or the end. */
static const uint8_t *token_end(const uint8_t *p, const uint8_t *end, const char *stops)
{
	size_t count = strlen(stops);

	for (; p < end && !memchr(stops, *p, count); p++)
		if (*p == '\\' && p + 1 < end)
			p++;
	return p < end ? p : end;
}

/* p: behind the opening quote. The closing one; NULL: there is none. */
static const uint8_t *string_end(const uint8_t *p, const uint8_t *end)
{
	p = token_end(p, end, "\"");
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

static const uint8_t *tags_read(struct influx_line *line, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *key, *equals;

	while (p < end && *p == ',') {
		key = p + 1;
		equals = token_end(key, end, KEY_PROTECTS);
		if (equals == key || equals == end || *equals != '=')
			return NULL;
		p = token_end(equals + 1, end, KEY_PROTECTS);
		if (p == equals + 1 || (p < end && *p == '='))
			return NULL;
		if (!metric_attr_add(&line->attrs, text_of(key, equals, KEY_PROTECTS),
			    text_of(equals + 1, p, KEY_PROTECTS)))
			return NULL;
	}
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

		if (digit > 9 || v > (most - digit) / 10)
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

/* Returns what is behind the fields. `wanted`: the number or boolean that goes into key and value. */
static const uint8_t *fields_read(
	struct influx_line *line, const uint8_t *p, const uint8_t *end, uint32_t wanted)
{
	struct metric_text key, value;
	const uint8_t *equals;

	for (;; p++) {
		equals = token_end(p, end, KEY_PROTECTS);
		if (equals == p || equals == end || *equals != '=')
			return NULL;
		key = text_of(p, equals, KEY_PROTECTS);
		if (equals + 1 < end && equals[1] == '"') {
			p = string_end(equals + 2, end);
			if (!p ||
				!metric_attr_add(&line->attrs, key, text_of(equals + 2, p, STRING_PROTECTS)))
				return NULL;
			p++;
		} else {
			p = token_end(equals + 1, end, ", ");
			value = text_of(equals + 1, p, "");
			if (bool_of(&value) < 0 && !number_of(&value))
				return NULL;
			if (line->numbers++ == wanted) {
				line->key = key;
				line->value = value;
			}
		}
		if (p == end || *p == ' ')
			return p;
		if (*p != ',')
			return NULL;
	}
}

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
	line->has_time = true;
	return true;
}

static bool line_read(struct influx_line *line, const struct format_reader *r)
{
	const uint8_t *p = r->piece, *end = p + r->piece_bytes;

	memset(line, 0, offsetof(struct influx_line, attrs));
	line->attrs.count = 0;
	line->measurement = text_of(p, token_end(p, end, NAME_PROTECTS), NAME_PROTECTS);
	p = tags_read(line, p + line->measurement.bytes, end);
	if (!line->measurement.bytes || !p)
		return false;
	while (p < end && *p == ' ')
		p++;
	p = fields_read(line, p, end, r->index);
	if (!p)
		return false;
	while (p < end && *p == ' ')
		p++;
	return p == end || time_read(line, p, end);
}

/* ---- events ---- */

static void name_put(struct bytes *out, const struct influx_line *line)
{
	static const char plain[] = "value"; /* says nothing that the measurement does not */
	bool of_field = line->numbers && !(line->key.bytes == strlen(plain) &&
						 memcmp(line->key.at, plain, line->key.bytes) == 0);

	json_put_name(out, "name");
	bytes_put(out, "\"", 1);
	metric_text_inner_put(out, line->measurement);
	if (of_field) {
		bytes_put(out, ".", 1);
		metric_text_inner_put(out, line->key);
	}
	bytes_put(out, "\"", 1);
}

static void event_put(struct bytes *out, const struct format_reader *r, const struct influx_line *line)
{
	metric_head_put(out, r, &line->attrs, device_names, line->has_time ? line->ts_ms : r->receive_ms);
	name_put(out, line);
	if (line->numbers) {
		int truth = bool_of(&line->value);

		json_put_name(out, "value");
		if (truth >= 0)
			json_put_i64(out, truth);
		else
			metric_number_put(out, line->value.at, number_of(&line->value), false);
	}
	if (line->attrs.count) {
		json_put_name(out, "attributes");
		bytes_put(out, "{", 1);
		metric_attrs_put(out, &line->attrs);
		bytes_put(out, "}", 1);
	}
	bytes_put(out, "}", 1);
}

enum format_answer influx_next(struct format_reader *r, struct bytes *out)
{
	struct influx_line line;

	if (!r->index_count) {
		r->index = 0;
		if (!line_next(r))
			return FORMAT_END;
		if (!metric_line_ok(r) || !line_read(&line, r))
			return FORMAT_REFUSED;
		if (!metric_work_ok(out, line.numbers, r->piece_bytes, &line.attrs))
			return FORMAT_REFUSED;
		r->index_count = line.numbers ? line.numbers : 1;
	} else {
		line_read(&line, r);
	}
	event_put(out, r, &line);
	if (++r->index == r->index_count)
		r->index_count = 0;
	return FORMAT_EVENT;
}
