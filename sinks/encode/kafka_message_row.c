/* Messages of the state stage's output: rows, its alerts, late events. Sink threads; pure. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kafka_message.h"

static void put_header(struct kafka_message *msg, const char *name, const void *value, size_t bytes)
{
	msg->header[msg->header_count++] = (struct kafka_header){name, value, (uint32_t)bytes};
}

static void put_text(struct kafka_message *msg, const char *name, const char *text)
{
	put_header(msg, name, text, strlen(text));
}

/* The message's first headers: those of all. */
static void begin(struct kafka_message *msg, uint32_t topic, const struct address *at, const char *content)
{
	msg->topic = topic;
	msg->spread = 0;
	msg->header_count = 0;
	put_header(msg, "sluice-address", msg->address, address_text(msg->address, at));
	put_text(msg, "content-type", content);
}

static void set_json(struct kafka_message *msg, const struct bytes *json)
{
	msg->value = json->data;
	msg->value_bytes = (uint32_t)json->bytes;
}

static uint32_t key_append(struct kafka_message *msg, uint32_t used, const void *data, uint32_t bytes)
{
	uint32_t room = KAFKA_KEY_BYTES_MAX - used;

	if (bytes > room)
		bytes = room;
	if (bytes)
		memcpy(msg->made_key + used, data, bytes);
	return used + bytes;
}

void kafka_message_row(struct kafka_message *msg, const struct record *rec, const struct window_def *def,
	const struct address *at, const struct bytes *json)
{
	const struct row *row = row_of(rec);
	const uint8_t *part;
	uint32_t bytes, used = 0;

	begin(msg, KAFKA_TOPIC_NAMED, at, "application/json");
	for (uint32_t i = 0; row_key_part(row, i, &part, &bytes); i++) {
		used = i ? key_append(msg, used, "|", 1) : used;
		used = key_append(msg, used, part, bytes);
	}
	/* Without group fields there is one key, the empty one: all rows of the window keep their order. */
	msg->key = msg->made_key;
	msg->key_bytes = used;
	set_json(msg, json);
	put_text(msg, "window", def->name);
	put_header(msg, "revision", msg->text,
		(size_t)snprintf(msg->text, sizeof msg->text, "%" PRIu32, row->revision));
}

void kafka_message_row_alert(struct kafka_message *msg, const struct record *rec, const struct address *at,
	const struct bytes *json)
{
	uint32_t bytes, used;
	const char *text = row_alert_text(rec, ROW_TEXT_RULE, &bytes);

	begin(msg, KAFKA_TOPIC_ALERTS, at, "application/json");
	used = key_append(msg, 0, text, bytes);
	used = key_append(msg, used, "/", 1);
	text = row_alert_text(rec, ROW_TEXT_KEY, &bytes);
	msg->key = msg->made_key;
	msg->key_bytes = key_append(msg, used, text, bytes);
	set_json(msg, json);
}

void kafka_message_late(struct kafka_message *msg, const struct record *rec, const struct record_key *key,
	const struct window_def *def, const struct address *at, const struct address *input)
{
	struct address from = *input;

	begin(msg, KAFKA_TOPIC_LATE, at, "application/json");
	msg->key = key->data;
	msg->key_bytes = key->bytes;
	msg->value = record_payload(rec);
	msg->value_bytes = rec->raw_bytes;
	put_text(msg, "reason", "late");
	if (def)
		put_text(msg, "window", def->name);
	else
		put_header(msg, "window", msg->text,
			(size_t)snprintf(msg->text, sizeof msg->text, "%016" PRIx64, row_late_window(rec)));
	from.offset = row_late_offset(rec);
	put_header(msg, "input-address", msg->input_address, address_text(msg->input_address, &from));
}
