/* What a journal record becomes in Kafka: topic kind, key, value, headers. Bytes only: nothing here knows
 * librdkafka, so that another transport can use it. */
#ifndef SLUICE_KAFKA_MESSAGE_H
#define SLUICE_KAFKA_MESSAGE_H

#include <stdint.h>

#include "address.h"
#include "alert.h"
#include "drops.h"
#include "record.h"
#include "record_key.h"

enum kafka_topic {
	KAFKA_TOPIC_ALERTS,
	KAFKA_TOPIC_DEAD,
	KAFKA_TOPIC_POSITIONS,
	KAFKA_TOPIC_ENRICHED,
	KAFKA_TOPIC_EVENT, /* of accepted events: this + enum event_type */
	KAFKA_TOPIC_COUNT = KAFKA_TOPIC_EVENT + EVENT_TYPE_MAX,
};

struct kafka_header {
	const char *name;
	const void *value;
	uint32_t bytes;
};

#define KAFKA_HEADERS_MAX 8

/* Points into the record, into what the caller handed in, and into `text`: valid as long as they are, not
 * copyable. */
struct kafka_message {
	uint32_t topic;	 /* enum kafka_topic */
	const void *key; /* NULL: none, then spread tells records of different partitions apart */
	uint32_t key_bytes;
	const void *value;
	uint32_t value_bytes;
	uint32_t spread;
	uint32_t header_count;
	struct kafka_header header[KAFKA_HEADERS_MAX];
	char address[ADDRESS_TEXT_BYTES];
	char text[SOURCE_TEXT_BYTES]; /* event id or source */
	char alert_key[ALERT_RULE_ID_BYTES + 512];
};

/* A RECORD_EVENT. -EINVAL: its type has no topic. */
int kafka_message_event(struct kafka_message *msg, const struct record *rec, const struct record_key *key,
	const struct address *at);
/* The same with another value: its enriched JSON, which stands in json. */
int kafka_message_enriched(struct kafka_message *msg, const struct record *rec, const struct record_key *key,
	const struct address *at, const struct json_out *json);
/* A RECORD_REFUSED. */
void kafka_message_dead(struct kafka_message *msg, const struct record *rec, const struct address *at);
/* An alert whose JSON stands in json. */
void kafka_message_alert(struct kafka_message *msg, const struct alert *a, const struct json_out *json);

#endif
