/* For tests and fuzz targets of the formats: what a format says of the places of its fields gives the same
 * event, bit for bit, as the parser finds in what was written. */
#ifndef SLUICE_WRITTEN_CHECK_H
#define SLUICE_WRITTEN_CHECK_H

#include "../parse/parse_util.h"

/* The event as the parser finds it, with EVENT_PAD_BYTES behind raw for it. Ends the process if the other way
 * gives another one. */
static inline void written_parse(struct json_parser *jp, const uint8_t *raw, uint32_t bytes,
	const struct json_written *written, int64_t now_ms, const struct parse_limits *limits,
	struct event *ev)
{
	static const struct parse_limits narrow = {3600000, 1000}; /* most times are refused */
	static struct json_parser *other;
	const struct parse_limits *const both[] = {&narrow, limits};

	if (!other)
		other = json_parser_new(0);
	if (!other)
		abort();
	for (int i = 0; i < 2; i++) {
		struct event taken;

		json_parser_reset(jp);
		json_parser_reset(other);
		json_parse_event(jp, raw, bytes, EVENT_TYPE_NONE, now_ms, both[i], ev);
		json_take_written(other, raw, bytes, written, EVENT_TYPE_NONE, now_ms, both[i], &taken);
		if (!events_same(ev, &taken)) {
			fprintf(stderr, "written: refused %u field %u, parsed: refused %u field %u: %.*s\n",
				taken.refused, taken.refused_field, ev->refused, ev->refused_field,
				(int)bytes, raw);
			abort();
		}
	}
}

#endif
