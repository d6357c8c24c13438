/* The table of formats, and what they share. */
#include "format_priv.h"

#include <errno.h>

#include "event_config.h"
#include "ndjson.h"

const struct format format_table[CONFIG_FORMAT_COUNT] = {
	[CONFIG_FORMAT_STATSD] = {statsd_next, EVENT_TYPE_telemetry},
	[CONFIG_FORMAT_INFLUX] = {influx_next, EVENT_TYPE_telemetry},
	[CONFIG_FORMAT_SYSLOG] = {syslog_next, EVENT_TYPE_log},
	[CONFIG_FORMAT_GELF] = {gelf_next, EVENT_TYPE_log},
	[CONFIG_FORMAT_GRAPHITE] = {graphite_next, EVENT_TYPE_telemetry},
};

bool format_line(struct format_reader *r)
{
	struct ndjson lines = {r->at, r->end};
	bool more = ndjson_next(&lines, &r->piece, &r->piece_bytes);

	r->at = lines.at;
	return more;
}

int format_config_check(const struct config *cfg, struct err *err)
{
	for (uint32_t i = 0; i < cfg->listeners_count; i++) {
		const struct config_listeners *listener = &cfg->listeners[i];
		enum event_type type = event_config_listener_type(listener), has;

		has = format_table[listener->format].type;
		if (type != EVENT_TYPE_NONE && has != EVENT_TYPE_NONE && type != has)
			return err_set(err, -EINVAL,
				"listeners: '%s': type: '%s': events of its format are of type %s",
				listener->name, listener->type, type_table[has].name);
	}
	return 0;
}
