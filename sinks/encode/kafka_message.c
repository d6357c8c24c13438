/* Encodes records as Kafka messages without copying their bytes. Sink threads; pure. */
#include "kafka_message.h"

#include <errno.h>
#include <string.h>

static void put_header(struct kafka_message *msg, const char *name, const void *value, size_t bytes)
{
	msg->header[msg->header_count++] = (struct kafka_header){name, value, (uint32_t)bytes};
}

static void put_address(struct kafka_message *msg, const struct address *at)
{
	put_header(msg, "sluice-address", msg->address, address_text(msg->address, at));
}

int kafka_headers_parse(uint32_t *headers, const char *list, struct err *err)
{
	static const char *const word[] = {
#define KAFKA_HEADER_WORD(name, text) text,
		KAFKA_HEADER_WORDS(KAFKA_HEADER_WORD)
#undef KAFKA_HEADER_WORD
	};
	size_t count = sizeof word / sizeof *word;

	*headers = 0;
	while (*list) {
		size_t bytes = strcspn(list, ","), i = 0;

		while (i < count && (strlen(word[i]) != bytes || memcmp(word[i], list, bytes) != 0))
			i++;
		if (i == count)
			return err_set(err, -EINVAL,
				"kafka.headers: '%.*s' is none of address, content-type, event-id, type, "
				"source",
				(int)bytes, list);
		*headers |= 1u << i;
		list += bytes + (list[bytes] == ',');
	}
	return 0;
}

static void put_event_headers(
	struct kafka_message *msg, uint32_t headers, const struct record *rec, const struct address *at)
{
	const char *type = type_table[rec->type].name;

	if (headers & 1u << KAFKA_HEADER_ADDRESS)
		put_address(msg, at);
	if (headers & 1u << KAFKA_HEADER_CONTENT)
		put_header(msg, "content-type", "application/json", 16);
	if (headers & 1u << KAFKA_HEADER_EVENT_ID) {
		uuid_text(msg->text, rec->event_id);
		put_header(msg, "event-id", msg->text, UUID_TEXT_BYTES - 1);
	}
	if (headers & 1u << KAFKA_HEADER_TYPE)
		put_header(msg, "type", type, strlen(type));
	if (headers & 1u << KAFKA_HEADER_SOURCE)
		put_header(msg, "source", msg->source,
			source_port_text(msg->source, rec->src_addr, rec->src_port));
}

int kafka_message_event(struct kafka_message *msg, uint32_t headers, const struct record *rec,
	const struct record_key *key, const struct address *at)
{
	if (rec->type >= EVENT_TYPE_MAX || !type_table[rec->type].name)
		return -EINVAL;
	msg->topic = KAFKA_TOPIC_EVENT + rec->type;
	msg->key = key->data;
	msg->key_bytes = key->bytes;
	msg->value = record_payload(rec);
	msg->value_bytes = rec->raw_bytes;
	msg->spread = 0;
	msg->header_count = 0;
	put_event_headers(msg, headers, rec, at);
	return 0;
}

int kafka_message_routed(struct kafka_message *msg, uint32_t headers, const struct record *rec,
	const struct record_key *key, const struct address *at, const char *rule_id)
{
	int rc = kafka_message_event(msg, headers, rec, key, at);

	msg->topic = KAFKA_TOPIC_NAMED;
	if (!rc)
		put_header(msg, "rule", rule_id, strlen(rule_id));
	return rc;
}

int kafka_message_enriched(struct kafka_message *msg, uint32_t headers, const struct record *rec,
	const struct record_key *key, const struct address *at, const struct bytes *json)
{
	int rc = kafka_message_event(msg, headers, rec, key, at);

	msg->topic = KAFKA_TOPIC_ENRICHED;
	msg->value = json->data;
	msg->value_bytes = (uint32_t)json->bytes;
	return rc;
}

void kafka_message_dead(struct kafka_message *msg, const struct record *rec, const struct address *at)
{
	const char *reason = rec->reason < DROP_ID_MAX ? drop_table[rec->reason].name : NULL;
	const char *field = rec->reason_field < FIELD_ID_MAX ? field_table[rec->reason_field].name : NULL;

	if (!reason)
		reason = "unknown"; /* written by a newer version */
	msg->topic = KAFKA_TOPIC_DEAD;
	msg->key = NULL;
	msg->key_bytes = 0;
	msg->value = record_payload(rec);
	msg->value_bytes = rec->raw_bytes;
	msg->spread = (uint32_t)rec->key_hash;
	msg->header_count = 0;
	put_address(msg, at);
	put_header(msg, "content-type", "application/octet-stream", 24);
	put_header(msg, "reason", reason, strlen(reason));
	if (field)
		put_header(msg, "field", field, strlen(field));
	put_header(msg, "source", msg->text, source_port_text(msg->text, rec->src_addr, rec->src_port));
	if (rec->flags & RECORD_F_CUT)
		put_header(msg, "cut", "true", 4);
}

void kafka_message_alert(struct kafka_message *msg, const struct alert *a, const struct bytes *json)
{
	size_t rule_bytes = strlen(a->rule_id); /* below ALERT_RULE_ID_BYTES: alert_of_hit() */
	size_t key_bytes = a->key->bytes;

	if (key_bytes > sizeof msg->made_key - rule_bytes - 1)
		key_bytes = sizeof msg->made_key - rule_bytes - 1;
	memcpy(msg->made_key, a->rule_id, rule_bytes);
	msg->made_key[rule_bytes] = '/';
	memcpy(msg->made_key + rule_bytes + 1, a->key->data, key_bytes);
	msg->topic = KAFKA_TOPIC_ALERTS;
	msg->key = msg->made_key;
	msg->key_bytes = (uint32_t)(rule_bytes + 1 + key_bytes);
	msg->value = json->data;
	msg->value_bytes = (uint32_t)json->bytes;
	msg->spread = 0;
	msg->header_count = 0;
	put_header(msg, "sluice-address", a->evidence, strlen(a->evidence));
	put_header(msg, "content-type", "application/json", 16);
}
