/* The table of formats, and what they share. */
#include "format_priv.h"

#include "config.h"
#include "ndjson.h"

const struct format format_table[CONFIG_FORMAT_COUNT] = {
	[CONFIG_FORMAT_STATSD] = {statsd_next, EVENT_TYPE_telemetry},
	[CONFIG_FORMAT_INFLUX] = {influx_next, EVENT_TYPE_telemetry},
	[CONFIG_FORMAT_SYSLOG] = {syslog_next, EVENT_TYPE_log},
};

bool format_line(struct format_reader *r)
{
	struct ndjson lines = {r->at, r->end};
	bool more = ndjson_next(&lines, &r->piece, &r->piece_bytes);

	r->at = lines.at;
	return more;
}
