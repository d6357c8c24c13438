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
#include "row.h"
#include "window.h"

enum kafka_topic {
	KAFKA_TOPIC_ALERTS,
	KAFKA_TOPIC_DEAD,
	KAFKA_TOPIC_LATE,
	KAFKA_TOPIC_POSITIONS,
	KAFKA_TOPIC_ENRICHED,
	KAFKA_TOPIC_EVENT, /* of accepted events: this + enum event_type */
	KAFKA_TOPIC_COUNT = KAFKA_TOPIC_EVENT + EVENT_TYPE_MAX,
	KAFKA_TOPIC_NAMED =
		KAFKA_TOPIC_COUNT, /* of a window's rows, of a rule: which one, the caller knows */
};

struct kafka_header {
	const char *name;
	const void *value;
	uint32_t bytes;
};

/* Headers of accepted events: the words of kafka.headers, in this order. */
#define KAFKA_HEADER_WORDS(X)                                                                                \
	X(ADDRESS, "address")                                                                                \
	X(CONTENT, "content-type")                                                                           \
	X(EVENT_ID, "event-id")                                                                              \
	X(TYPE, "type")                                                                                      \
	X(SOURCE, "source")
enum kafka_header_word {
#define KAFKA_HEADER_WORD(name, text) KAFKA_HEADER_##name,
	KAFKA_HEADER_WORDS(KAFKA_HEADER_WORD)
#undef KAFKA_HEADER_WORD
};
#define KAFKA_HEADERS_DEFAULT                                                                                \
	(1u << KAFKA_HEADER_ADDRESS | 1u << KAFKA_HEADER_CONTENT | 1u << KAFKA_HEADER_EVENT_ID)

/* Bits of a list as "address,type"; "": none. -EINVAL names the word that is not known. */
int kafka_headers_parse(uint32_t *headers, const char *list, struct err *err);

#define KAFKA_HEADERS_MAX 8
#define KAFKA_KEY_BYTES_MAX 2304 /* of a key that is put together; a longer one is cut */

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
	char source[SOURCE_TEXT_BYTES];
	char text[SOURCE_TEXT_BYTES]; /* event id, source, revision or uid */
	char input_address[ADDRESS_TEXT_BYTES];
	char made_key[KAFKA_KEY_BYTES_MAX]; /* of alerts and rows */
};

/* A RECORD_EVENT, with those headers. -EINVAL: its type has no topic. */
int kafka_message_event(struct kafka_message *msg, uint32_t headers, const struct record *rec,
	const struct record_key *key, const struct address *at);
/* The same for the topic of the rule of that id. */
int kafka_message_routed(struct kafka_message *msg, uint32_t headers, const struct record *rec,
	const struct record_key *key, const struct address *at, const char *rule_id);
/* The same with another value: its enriched JSON, which stands in json. */
int kafka_message_enriched(struct kafka_message *msg, uint32_t headers, const struct record *rec,
	const struct record_key *key, const struct address *at, const struct bytes *json);
/* A RECORD_REFUSED. */
void kafka_message_dead(struct kafka_message *msg, const struct record *rec, const struct address *at);
/* An alert whose JSON stands in json. */
void kafka_message_alert(struct kafka_message *msg, const struct alert *a, const struct bytes *json);

/* ---- records of the output log, at `at` in it: kafka_message_row.c ---- */
/* A merged row whose JSON stands in json: topic KAFKA_TOPIC_NAMED, key = parts of the group key joined by
 * '|'. */
void kafka_message_row(struct kafka_message *msg, const struct record *rec, const struct window_def *def,
	const struct address *at, const struct bytes *json);
/* A ROW_ALERT whose JSON stands in json. */
void kafka_message_row_alert(struct kafka_message *msg, const struct record *rec, const struct address *at,
	const struct bytes *json);
/* A RECORD_LATE: the event's bytes and key. def: the window that it was late for; NULL: unknown, named by its
 * uid. input: the log that it came from; its offset is taken from the record. */
void kafka_message_late(struct kafka_message *msg, const struct record *rec, const struct record_key *key,
	const struct window_def *def, const struct address *at, const struct address *input);

#endif
