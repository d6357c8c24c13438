/* Graphite's plaintext protocol, as carbon takes it (graphite.readthedocs.io, "Feeding In Your Data" and
 * "Graphite Tag Support"):
 *   PATH[;TAG=VALUE...] VALUE SECONDS
 * A line is an event. collectd's write_graphite sends it by UDP. */
#include "format_metric.h"

#include <string.h>

#include "json_out.h"

#define SECONDS_DIGITS_MAX 11 /* so that milliseconds fit 64 bits by far */

static const char *const device_names[] = {"device_id", "host", NULL};

struct graphite_line {
	struct metric_text path, value;
	int64_t ts_ms;
	struct metric_attrs tags;
};

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\v' || byte == '\f';
}

/* The next word at *p, which is then behind it; of no bytes: there is none. */
static struct metric_text word_next(const uint8_t **p, const uint8_t *end)
{
	const uint8_t *from;

	while (*p < end && is_blank(**p))
		++*p;
	from = *p;
	while (*p < end && !is_blank(**p))
		++*p;
	return metric_text_of(from, *p);
}

/* The path, and the tags behind it. */
static bool path_read(struct graphite_line *line, struct metric_text word)
{
	const uint8_t *p = word.at, *end = p + word.bytes, *stop, *equals;

	stop = memchr(p, ';', word.bytes);
	line->path = metric_text_of(p, stop ? stop : end);
	if (!line->path.bytes)
		return false;
	while (stop) {
		p = stop + 1;
		stop = memchr(p, ';', (size_t)(end - p));
		equals = memchr(p, '=', (size_t)((stop ? stop : end) - p));
		if (!equals || equals == p || equals + 1 == (stop ? stop : end) ||
			!metric_attr_add(&line->tags, metric_text_of(p, equals),
				metric_text_of(equals + 1, stop ? stop : end)))
			return false;
	}
	return true;
}

/* Seconds since 1970, perhaps with a fraction, cut to the millisecond; -1 is the time of receipt. */
static bool time_read(struct graphite_line *line, struct metric_text word, int64_t receive_ms)
{
	const uint8_t *p = word.at, *end = p + word.bytes;
	int64_t ms = 0;

	if (word.bytes == 2 && memcmp(p, "-1", 2) == 0) {
		line->ts_ms = receive_ms;
		return true;
	}
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		if (p - word.at == SECONDS_DIGITS_MAX)
			return false;
		ms = ms * 10 + (*p - '0');
	}
	if (p == word.at)
		return false;
	ms *= 1000;
	if (p < end && *p == '.') {
		int64_t unit = 100;

		for (p++; p < end && *p >= '0' && *p <= '9'; p++, unit /= 10)
			ms += unit * (*p - '0');
	}
	line->ts_ms = ms;
	return p == end;
}

static bool line_read(struct graphite_line *line, const struct format_reader *r)
{
	const uint8_t *p = r->piece, *end = p + r->piece_bytes;
	struct metric_text path = word_next(&p, end), time;

	line->value = word_next(&p, end);
	time = word_next(&p, end);
	return time.bytes && !word_next(&p, end).bytes && path_read(line, path) &&
	       metric_number_put(NULL, line->value.at, line->value.bytes, true) &&
	       time_read(line, time, r->receive_ms);
}

/* A line that holds more than blanks. */
static bool line_next(struct format_reader *r)
{
	while (format_line(r))
		for (uint32_t i = 0; i < r->piece_bytes; i++)
			if (!is_blank(r->piece[i]))
				return true;
	return false;
}

static void event_put(struct bytes *out, struct format_reader *r, const struct graphite_line *line)
{
	size_t start;

	metric_head_put(out, r, &line->tags, device_names, line->ts_ms);
	json_put_name(out, "name");
	start = out->bytes;
	metric_text_put(out, line->path);
	written_text(r, out, FIELD_name, start, line->path.bytes);
	json_put_name(out, "value");
	start = out->bytes;
	metric_number_put(out, line->value.at, line->value.bytes, true);
	written_value(r, out, FIELD_value, start);
	metric_attrs_end_put(out, r, &line->tags);
}

enum format_answer graphite_next(struct format_reader *r, struct bytes *out)
{
	struct graphite_line line;

	if (!line_next(r))
		return FORMAT_END;
	line.tags.count = 0; /* the tags' table stays as it is: what is in it is counted */
	if (!metric_line_ok(r) || !line_read(&line, r) || !metric_work_ok(out, 1, r->piece_bytes, &line.tags))
		return FORMAT_REFUSED;
	event_put(out, r, &line);
	return FORMAT_EVENT;
}
