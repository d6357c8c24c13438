/* StatsD: NAME:VALUE|TYPE[|@RATE], a line each (github.com/statsd/statsd, docs/metric_types.md), and what
 * DogStatsD adds to it (docs.datadoghq.com, "DogStatsD datagram format"): tags, several values of one name,
 * a timestamp, where it came from. Each value is an event. Its events (_e) and service checks (_sc) are no
 * measured values: refused. */
#include "format_metric.h"

#include <string.h>

#include "json_out.h"
#include "number.h"

#define TIMESTAMP_DIGITS_MAX 11 /* seconds: so that milliseconds fit 64 bits by far */

enum statsd_part {
	PART_RATE,
	PART_TAGS,
	PART_CONTAINER,
	PART_TIME,
	PART_EXTERNAL,
	PART_CARDINALITY,
	PART_COUNT
};

/* What follows the type, in any order, each once. */
static const struct {
	const char *prefix;
	const char *name; /* in attributes; NULL: not written there as it stands */
} part_table[PART_COUNT] = {
	[PART_RATE] = {"@", "sample_rate"},
	[PART_TAGS] = {"#", NULL},
	[PART_CONTAINER] = {"c:", "origin_container"},
	[PART_TIME] = {"T", NULL},
	[PART_EXTERNAL] = {"e:", "origin_external"},
	[PART_CARDINALITY] = {"card:", "cardinality"},
};

static const char *const type_names[] = {"c", "g", "ms", "h", "d", "s"};
static const char *const own_names[] = {"metric_type", "delta", "member", "sample_rate", "origin_container",
	"origin_external", "cardinality"};
static const char *const device_names[] = {"device_id", "host", "device", NULL};

struct statsd_line {
	struct metric_text name;
	const uint8_t *values, *values_end;
	const char *type;
	struct metric_text part[PART_COUNT]; /* without their prefix; at NULL: absent */
	int64_t ts_ms;
	struct metric_attrs tags;
};

static const uint8_t *stop_at(const uint8_t *p, const uint8_t *end, int byte)
{
	const uint8_t *stop = memchr(p, byte, (size_t)(end - p));

	return stop ? stop : end;
}

static bool tags_read(struct statsd_line *line)
{
	const uint8_t *p = line->part[PART_TAGS].at, *end = p + line->part[PART_TAGS].bytes, *stop, *colon;

	for (; p < end; p = stop < end ? stop + 1 : end) {
		stop = stop_at(p, end, ',');
		if (stop == p)
			continue;
		colon = stop_at(p, stop, ':');
		if (colon == p || !metric_attr_add(&line->tags, metric_text_of(p, colon),
					  metric_text_of(colon < stop ? colon + 1 : stop, stop)))
			return false;
	}
	for (size_t i = 0; i < sizeof own_names / sizeof *own_names; i++)
		if (metric_attrs_have(&line->tags, own_names[i]))
			return false;
	return true;
}

static bool time_read(struct statsd_line *line)
{
	const struct metric_text *text = &line->part[PART_TIME];
	int64_t seconds = 0;

	if (!text->bytes || text->bytes > TIMESTAMP_DIGITS_MAX)
		return false;
	for (uint32_t i = 0; i < text->bytes; i++) {
		if (text->at[i] < '0' || text->at[i] > '9')
			return false;
		seconds = seconds * 10 + (text->at[i] - '0');
	}
	line->ts_ms = seconds * 1000;
	return true;
}

/* Above 0 and not above 1. */
static bool rate_ok(const struct metric_text *rate)
{
	static const uint64_t power[NUMBER_DIGITS_MAX + 1] = {1ull, 10ull, 100ull, 1000ull, 10000ull,
		100000ull, 1000000ull, 10000000ull, 100000000ull, 1000000000ull, 10000000000ull,
		100000000000ull, 1000000000000ull, 10000000000000ull, 100000000000000ull, 1000000000000000ull,
		10000000000000000ull, 100000000000000000ull, 1000000000000000000ull, 10000000000000000000ull};
	uint8_t text[64];
	struct bytes json = {text, 0, sizeof text, false, true};
	struct number n;

	if (!metric_number_put(&json, rate->at, rate->bytes, false) || json.failed)
		return false;
	if (number_walk(text, text + json.bytes, &n) != text + json.bytes || n.negative || !n.mantissa)
		return false;
	if (n.exp10 >= 0)
		return n.exp10 == 0 && n.mantissa == 1;
	return n.exp10 < -NUMBER_DIGITS_MAX || n.mantissa <= power[-n.exp10];
}

static bool part_read(struct statsd_line *line, const uint8_t *p, const uint8_t *stop)
{
	for (int i = 0; i < PART_COUNT; i++) {
		size_t bytes = strlen(part_table[i].prefix);

		if ((size_t)(stop - p) < bytes || memcmp(p, part_table[i].prefix, bytes) != 0)
			continue;
		if (line->part[i].at)
			return false;
		line->part[i] = metric_text_of(p + bytes, stop);
		return true;
	}
	return false;
}

/* Its name and where its values are. */
static bool line_read(struct statsd_line *line, const uint8_t *p, const uint8_t *end)
{
	line->name = metric_text_of(p, stop_at(p, end, ':'));
	p = line->name.at + line->name.bytes;
	if (p == end || !line->name.bytes || memchr(line->name.at, '|', line->name.bytes))
		return false;
	if (line->name.bytes > 2 && memcmp(line->name.at, "_e{", 3) == 0)
		return false; /* an event of DogStatsD's */
	line->values = p + 1;
	line->values_end = stop_at(p + 1, end, '|');
	return line->values_end < end;
}

/* What is behind the values: for each event of the line once more. p: behind the first '|'. */
static bool rest_read(struct statsd_line *line, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *stop = stop_at(p, end, '|');

	for (size_t i = 0; i < sizeof type_names / sizeof *type_names && !line->type; i++)
		if ((size_t)(stop - p) == strlen(type_names[i]) &&
			memcmp(p, type_names[i], (size_t)(stop - p)) == 0)
			line->type = type_names[i];
	if (!line->type)
		return false;
	while (stop < end) {
		p = stop + 1;
		stop = stop_at(p, end, '|');
		if (!part_read(line, p, stop))
			return false;
	}
	if (line->part[PART_RATE].at && !rate_ok(&line->part[PART_RATE]))
		return false;
	if (line->part[PART_TIME].at && !time_read(line))
		return false;
	return !line->part[PART_TAGS].at || tags_read(line);
}

/* A set has one member, of any bytes. Other types have numbers, ':' between them. 0: not so. */
static uint32_t values_count(const struct statsd_line *line)
{
	const uint8_t *p = line->values, *stop;
	uint32_t count = 0;

	if (*line->type == 's')
		return p < line->values_end;
	for (;; p = stop + 1) {
		stop = stop_at(p, line->values_end, ':');
		if (!metric_number_put(NULL, p, (uint32_t)(stop - p), true))
			return 0;
		count++;
		if (stop == line->values_end)
			return count;
	}
}

static void own_put(struct bytes *out, const struct statsd_line *line, const struct metric_text *value)
{
	json_put_name(out, "metric_type");
	json_put_string(out, line->type, strlen(line->type));
	if (*line->type == 'g' && (*value->at == '+' || *value->at == '-')) {
		json_put_name(out, "delta");
		bytes_put(out, "true", 4);
	}
	if (*line->type == 's') {
		json_put_name(out, "member");
		metric_text_put(out, *value);
	}
	for (int i = 0; i < PART_COUNT; i++) {
		if (!part_table[i].name || !line->part[i].at)
			continue;
		json_put_name(out, part_table[i].name);
		if (i == PART_RATE)
			metric_number_put(out, line->part[i].at, line->part[i].bytes, false);
		else
			metric_text_put(out, line->part[i]);
	}
}

/* The event of the value that r->inner is at; it is then at the next one. */
static void event_put(struct bytes *out, struct format_reader *r, const struct statsd_line *line)
{
	const uint8_t *values_end = r->rest - 1;
	bool set = *line->type == 's';
	struct metric_text value =
		metric_text_of(r->inner, set ? values_end : stop_at(r->inner, values_end, ':'));
	size_t start;

	metric_head_put(
		out, r, &line->tags, device_names, line->part[PART_TIME].at ? line->ts_ms : r->receive_ms);
	json_put_name(out, "name");
	start = out->bytes;
	metric_text_put(out, line->name);
	written_text(r, out, FIELD_name, start, 0);
	if (!set) {
		json_put_name(out, "value");
		start = out->bytes;
		metric_number_put(out, value.at, value.bytes, true);
		written_value(r, out, FIELD_value, start);
	}
	json_put_name(out, "attributes");
	start = out->bytes;
	bytes_put(out, "{", 1);
	own_put(out, line, &value);
	metric_attrs_put(out, &line->tags);
	bytes_put(out, "}", 1);
	metric_end_put(out, r, &line->tags, start);
	r->inner = value.at + value.bytes + 1;
}

enum format_answer statsd_next(struct format_reader *r, struct bytes *out)
{
	const uint8_t *end;
	struct statsd_line line;

	if (!r->index_count && !format_line(r))
		return FORMAT_END;
	/* the tags' table stays as it is: what is in it is counted */
	memset(&line, 0, offsetof(struct statsd_line, tags));
	line.tags.count = 0;
	end = r->piece + r->piece_bytes;
	if (!r->index_count) {
		if (!metric_line_ok(r) || !line_read(&line, r->piece, end) ||
			!rest_read(&line, line.values_end + 1, end))
			return FORMAT_REFUSED;
		r->inner = line.values;
		r->rest = line.values_end + 1;
		r->index = 0;
		r->index_count = values_count(&line);
		if (!r->index_count)
			return FORMAT_REFUSED;
		if (!metric_work_ok(
			    out, r->index_count, (uint32_t)(end - r->rest) + line.name.bytes, &line.tags)) {
			r->index_count = 0;
			return FORMAT_REFUSED;
		}
	} else {
		line.name = metric_text_of(r->piece, stop_at(r->piece, end, ':'));
		rest_read(&line, r->rest, end);
	}
	event_put(out, r, &line);
	if (++r->index == r->index_count)
		r->index_count = 0;
	return FORMAT_EVENT;
}
