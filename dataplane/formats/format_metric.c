/* Events of measured values: shared by StatsD, InfluxDB's line protocol and Graphite. */
#include "format_metric.h"

#include <string.h>

#include "ip_text.h"
#include "json_out.h"
#include "number.h"
#include "utf8.h"

bool metric_attr_add(struct metric_attrs *attrs, struct metric_text key, struct metric_text value)
{
	if (attrs->count == METRIC_ATTRS_MAX)
		return false;
	attrs->row[attrs->count].key = key;
	attrs->row[attrs->count++].value = value;
	return true;
}

static bool text_same(const struct metric_text *a, const struct metric_text *b)
{
	return a->bytes == b->bytes && memcmp(a->at, b->at, a->bytes) == 0;
}

static bool text_is(const struct metric_text *text, const char *name)
{
	return text->bytes == strlen(name) && memcmp(text->at, name, text->bytes) == 0;
}

bool metric_attrs_have(const struct metric_attrs *attrs, const char *name)
{
	for (uint32_t i = 0; i < attrs->count; i++)
		if (text_is(&attrs->row[i].key, name))
			return true;
	return false;
}

void metric_text_inner_put(struct bytes *out, struct metric_text text)
{
	static const char hex[] = "0123456789abcdef";
	size_t protects = strlen(text.protects);
	const uint8_t *end = text.at + text.bytes;
	const uint8_t *p = text.at + json_put_plain(out, text.at, text.bytes), *from = p;

	for (; p < end; p++) {
		if (*p != '"' && *p != '\\' && *p >= 0x20)
			continue;
		bytes_put(out, from, (size_t)(p - from));
		if (*p == '\\' && p + 1 < end && memchr(text.protects, p[1], protects))
			p++;
		from = p + 1;
		if (*p < 0x20)
			bytes_put(out, (char[]){'\\', 'u', '0', '0', hex[*p >> 4], hex[*p & 15]}, 6);
		else if (*p == '"' || *p == '\\')
			bytes_put(out, (char[]){'\\', (char)*p}, 2);
		else
			from = p;
	}
	bytes_put(out, from, (size_t)(p - from));
}

void metric_text_put(struct bytes *out, struct metric_text text)
{
	bytes_put(out, "\"", 1);
	metric_text_inner_put(out, text);
	bytes_put(out, "\"", 1);
}

void metric_attrs_put(struct bytes *out, const struct metric_attrs *attrs)
{
	bool done[METRIC_ATTRS_MAX] = {false};

	for (uint32_t i = 0; i < attrs->count; i++) {
		const struct metric_text *key = &attrs->row[i].key;
		size_t value_at;
		bool many = false, field = text_is(key, "status");

		if (done[i])
			continue;
		if (out->bytes && out->data[out->bytes - 1] != '{')
			bytes_put(out, ",", 1);
		metric_text_put(out, *key);
		bytes_put(out, ":", 1);
		value_at = out->bytes;
		metric_text_put(out, attrs->row[i].value);
		for (uint32_t k = i + 1; k < attrs->count; k++) {
			if (done[k] || !text_same(key, &attrs->row[k].key))
				continue;
			done[k] = true;
			if (field)
				continue; /* an array is no text */
			if (!many && bytes_room(out, 1)) {
				memmove(out->data + value_at + 1, out->data + value_at,
					out->bytes - 1 - value_at);
				out->data[value_at] = '[';
			}
			many = true;
			bytes_put(out, ",", 1);
			metric_text_put(out, attrs->row[k].value);
		}
		if (many)
			bytes_put(out, "]", 1);
	}
}

void metric_head_put(struct bytes *out, struct format_reader *r, const struct metric_attrs *attrs,
	const char *const *names, int64_t ts_ms)
{
	const struct metric_text *device = NULL;
	char sender[IP_TEXT_BYTES];
	size_t start;

	for (; *names && !device; names++)
		for (uint32_t i = 0; i < attrs->count && !device; i++)
			if (attrs->row[i].value.bytes && text_is(&attrs->row[i].key, *names))
				device = &attrs->row[i].value;
	written_begin(r, EVENT_TYPE_telemetry, ts_ms);
	bytes_put(out, "{\"type\":\"telemetry\",\"device_id\":", 32);
	start = out->bytes;
	if (device)
		metric_text_put(out, *device);
	else
		json_put_string(out, sender, ip_to_text(sender, r->src_addr));
	written_text(r, out, FIELD_device_id, start, 0);
	json_put_name(out, "ts");
	start = out->bytes;
	json_put_i64(out, ts_ms);
	written_value(r, out, FIELD_ts, start);
}

void metric_end_put(
	struct bytes *out, struct format_reader *r, const struct metric_attrs *attrs, size_t attributes_at)
{
	if (attributes_at)
		written_value(r, out, FIELD_attributes, attributes_at);
	if (metric_attrs_have(attrs, "status"))
		r->written.field_mask = 0;
	bytes_put(out, "}", 1);
}

void metric_attrs_end_put(struct bytes *out, struct format_reader *r, const struct metric_attrs *attrs)
{
	size_t start = 0;

	if (attrs->count) {
		json_put_name(out, "attributes");
		start = out->bytes;
		bytes_put(out, "{", 1);
		metric_attrs_put(out, attrs);
		bytes_put(out, "}", 1);
	}
	metric_end_put(out, r, attrs, start);
}

static const uint8_t *digits_end(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

bool metric_number_put(struct bytes *out, const uint8_t *text, uint32_t bytes, bool plus)
{
	const uint8_t *p = text, *end = text + bytes, *whole, *whole_end, *part, *part_end, *power;
	bool negative = p < end && *p == '-';

	if (negative || (plus && p < end && *p == '+'))
		p++;
	whole = p;
	part = part_end = whole_end = p = digits_end(p, end);
	if (p < end && *p == '.') {
		part = p + 1;
		part_end = p = digits_end(part, end);
	}
	if (whole == whole_end && part == part_end)
		return false;
	power = p;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if (p == digits_end(p, end))
			return false;
		p = digits_end(p, end);
	}
	if (p != end)
		return false;
	if (!out)
		return true;
	while (whole_end - whole > 1 && *whole == '0')
		whole++;
	if (negative)
		bytes_put(out, "-", 1);
	if (whole < whole_end)
		bytes_put(out, whole, (size_t)(whole_end - whole));
	else
		bytes_put(out, "0", 1);
	if (part < part_end)
		bytes_put(out, ".", 1);
	bytes_put(out, part, (size_t)(part_end - part));
	bytes_put(out, power, (size_t)(end - power));
	return true;
}

bool metric_line_ok(const struct format_reader *r)
{
	return utf8_valid(r->piece, r->piece_bytes);
}

bool metric_work_ok(struct bytes *out, uint32_t events, uint32_t bytes_each, const struct metric_attrs *attrs)
{
	uint64_t each = (uint64_t)bytes_each + 2ull * attrs->count * attrs->count;

	if (events * each <= METRIC_WORK_MAX)
		return true;
	out->failed = true;
	return false;
}
