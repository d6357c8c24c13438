/* Names of event types in the configuration. Start-up only. */
#include "event_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TOPIC_BYTES_MAX 249

enum event_type event_config_listener_type(const struct config_listeners *listener)
{
	return event_type_by_name(listener->type, strlen(listener->type));
}

/* "a, b, c": the names of all types. */
static void type_names(char *out, size_t room)
{
	size_t used = 0;

	out[0] = 0;
	for (int i = 1; i < EVENT_TYPE_MAX && used < room; i++)
		if (type_table[i].name)
			used += (size_t)snprintf(
				out + used, room - used, "%s%s", used ? ", " : "", type_table[i].name);
}

static int type_unknown(const char *key, const char *name, const char *more, struct err *err)
{
	char known[256];

	type_names(known, sizeof known);
	return err_set(err, -EINVAL, "%s: '%.80s': expected one of %s%s", key, name, more, known);
}

/* One part of kafka.topics, NUL-terminated and writable. */
static int topic_set(struct event_topics *topics, char *part, uint32_t *given, struct err *err)
{
	char *topic = strchr(part, '=');
	enum event_type type;

	if (!topic)
		return err_set(err, -EINVAL, "kafka.topics: '%.80s': expected TYPE=TOPIC[,...]", part);
	*topic++ = 0;
	type = event_type_by_name(part, strlen(part));
	if (type == EVENT_TYPE_NONE)
		return type_unknown("kafka.topics", part, "", err);
	if (*given & 1u << type)
		return err_set(err, -EINVAL, "kafka.topics: '%s' is given twice", part);
	if (!config_name_ok(topic) || strlen(topic) > TOPIC_BYTES_MAX)
		return err_set(err, -EINVAL,
			"kafka.topics: '%.80s': expected a topic of 1 to %d letters, digits and ._-", topic,
			TOPIC_BYTES_MAX);
	*given |= 1u << type;
	topics->name[type] = topic;
	return 0;
}

int event_config_topics(struct event_topics *topics, const struct config_kafka *cfg, struct err *err)
{
	uint32_t given = 0;
	char *save = NULL;

	for (int i = 0; i < EVENT_TYPE_MAX; i++)
		topics->name[i] = !type_table[i].name	  ? NULL
				  : i == EVENT_TYPE_click ? cfg->topic_click
							  : cfg->topic_platform;
	memcpy(topics->text, cfg->topics, sizeof topics->text);
	for (char *part = strtok_r(topics->text, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		int rc = topic_set(topics, part, &given, err);

		if (rc)
			return rc;
	}
	return 0;
}

int event_config_check(const struct config *cfg, struct err *err)
{
	struct event_topics topics;
	int rc = event_config_topics(&topics, &cfg->kafka, err);

	for (int i = 1; i < EVENT_TYPE_MAX && !rc; i++) {
		const char *other =
			topics.name[i] ? config_topic_other(&cfg->kafka, topics.name[i], CONFIG_TOPIC_EVENTS)
				       : NULL;

		if (other)
			rc = err_set(err, -EINVAL,
				"kafka.topics: '%s' of %s is kafka.%s too: what they hold would be mixed",
				topics.name[i], type_table[i].name, other);
	}
	for (uint32_t i = 0; i < cfg->listeners_count && !rc; i++)
		if (strcmp(cfg->listeners[i].type, "auto") != 0 &&
			event_config_listener_type(&cfg->listeners[i]) == EVENT_TYPE_NONE)
			rc = type_unknown("listeners.type", cfg->listeners[i].type, "auto, ", err);
	return rc;
}
