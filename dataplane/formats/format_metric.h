/* What the formats of measured values share: events of type telemetry with tags as attributes. Not for other
 * folders. Worker thread; pure.
 *
 * Text is judged before it is written: a line must be UTF-8 (metric_line_ok()), so that names and tags stand
 * in the event as they were sent. */
#ifndef SLUICE_FORMAT_METRIC_H
#define SLUICE_FORMAT_METRIC_H

#include "format_priv.h"

#define METRIC_ATTRS_MAX 128
/* What one line may make a worker do: its events by what each of them repeats, in bytes, and by the pairs of
 * tags that are compared. Beyond it the line is refused as too_long, so that no datagram costs as much as
 * hundreds of others. */
#define METRIC_WORK_MAX (1u << 18)

/* A part of the line. A backslash before one of `protects` is not of the text itself. */
struct metric_text {
	const uint8_t *at;
	uint32_t bytes;
	const char *protects; /* "": none */
};

/* What lies from `from` to before `to`, as it stands there. */
static inline struct metric_text metric_text_of(const uint8_t *from, const uint8_t *to)
{
	return (struct metric_text){from, (uint32_t)(to - from), ""};
}

/* Tags, and what else a line says of its values, in its order. */
struct metric_attrs {
	uint32_t count;
	struct {
		struct metric_text key, value;
	} row[METRIC_ATTRS_MAX];
};

/* False: more than METRIC_ATTRS_MAX. */
bool metric_attr_add(struct metric_attrs *attrs, struct metric_text key, struct metric_text value);
/* Writes them as members of an object, each name once: the values of a repeated one become an array. */
void metric_attrs_put(struct bytes *out, const struct metric_attrs *attrs);
/* True if one of them has this name. */
bool metric_attrs_have(const struct metric_attrs *attrs, const char *name);

/* {"type":"telemetry","device_id":...,"ts":...: the device is the first tag of `names` (ended by NULL) that
 * is not empty, else the sender's address. */
void metric_head_put(struct bytes *out, struct format_reader *r, const struct metric_attrs *attrs,
	const char *const *names, int64_t ts_ms);
/* The end of the event. attributes_at: where in out its attributes start; 0: it has none. A tag `status` is a
 * field of the event, which the parser has to find. */
void metric_end_put(
	struct bytes *out, struct format_reader *r, const struct metric_attrs *attrs, size_t attributes_at);
/* The same, with the attributes before it, if there are any. */
void metric_attrs_end_put(struct bytes *out, struct format_reader *r, const struct metric_attrs *attrs);
/* A quoted string. */
void metric_text_put(struct bytes *out, struct metric_text text);
/* What it holds between its quotes. */
void metric_text_inner_put(struct bytes *out, struct metric_text text);

/* A decimal number: digits with a point before, among or behind them, an exponent; a sign '-', or '+' if
 * `plus`. Written in JSON's form, with the same digits: .5 as 0.5, +3 as 3, 007 as 7. False: it is none.
 * out NULL: only judged. */
bool metric_number_put(struct bytes *out, const uint8_t *text, uint32_t bytes, bool plus);

bool metric_line_ok(const struct format_reader *r);
/* False: the line's events are too much work; out->failed is then set, which names the refusal. */
bool metric_work_ok(
	struct bytes *out, uint32_t events, uint32_t bytes_each, const struct metric_attrs *attrs);

#endif
