/* Event types that the configuration names: what the configuration's own table, which stands below the
 * schema, cannot check. Start-up only; pure. */
#ifndef SLUICE_EVENT_CONFIG_H
#define SLUICE_EVENT_CONFIG_H

#include "config.h"
#include "event.h"

/* Type of a listener; EVENT_TYPE_NONE for "auto" (and for names that event_config_check() refuses). */
enum event_type event_config_listener_type(const struct config_listeners *listener);

/* Topic of each event type by the keys of the section kafka. */
struct event_topics {
	config_str text;		  /* what `name` points into, beside the configuration */
	const char *name[EVENT_TYPE_MAX]; /* NULL where an id is not in use */
};

/* Fills *topics, which must not be copied; it borrows from cfg. Returns 0, or -EINVAL with err: a part of
 * kafka.topics that is not TYPE=TOPIC, an unknown type or one given twice, a name that no topic can have. */
int event_config_topics(struct event_topics *topics, const struct config_kafka *cfg, struct err *err);

/* All of the above, and topics of types against those of what is no event. After config_check(). */
int event_config_check(const struct config *cfg, struct err *err);

#endif
