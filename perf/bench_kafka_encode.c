/* The Kafka sink's encoding, per record: key, address and headers, and the partition by murmur2. The
 * transport (librdkafka, about 800 ns a message) is not in it. */
#include "bench_util.h"
#include "kafka_message.h"
#include "murmur2.h"

#define COUNT 65536u
#define SLOT 512u

static uint8_t *records;
static struct kafka_message msg;
static struct bytes json;
static const struct address base = {"sluice-1", 0x0123456789abcdefull, 3, 0};

static const struct record *record_at(uint32_t n)
{
	return (const struct record *)(records + (size_t)n * SLOT);
}

static void make_records(void)
{
	static const uint16_t hit[] = {0};
	uint64_t seed = 1;

	records = aligned_alloc(64, (size_t)COUNT * SLOT);
	for (uint32_t n = 0; records && n < COUNT; n++) {
		char raw[300], user[24];
		struct event ev = {
			.raw = (uint8_t *)raw, .type = EVENT_TYPE_click, .hit = hit, .hit_count = 1};
		uint64_t a = bench_random(&seed);

		snprintf(user, sizeof user, "u%lu", a % 1000000);
		ev.raw_bytes = (uint32_t)snprintf(
			raw, sizeof raw, "{\"user_id\":\"%s\",\"page\":\"%0120d\"}", user, 7);
		memcpy(ev.event_id, &a, sizeof a);
		ev.field_mask = FBIT(user_id);
		ev.field[FIELD_user_id] = (struct span){12, (uint16_t)strlen(user)};
		record_write_event(records + (size_t)n * SLOT, &ev, a, 1, 0);
	}
}

static void run_key(void *arg, uint32_t count)
{
	struct record_key key;

	(void)arg;
	for (uint32_t n = 0; n < count; n++) {
		record_key_of(&key, record_at(n));
		bench_keep(&key);
	}
}

static void run_message(void *arg, uint32_t count)
{
	struct address at = base;
	struct record_key key;

	(void)arg;
	for (uint32_t n = 0; n < count; n++) {
		at.offset = 1000000 + n;
		record_key_of(&key, record_at(n));
		kafka_message_event(&msg, KAFKA_HEADERS_DEFAULT, record_at(n), &key, &at);
		bench_keep(&msg);
	}
}

static void run_message_and_partition(void *arg, uint32_t count)
{
	struct address at = base;
	struct record_key key;
	int32_t sum = 0;

	(void)arg;
	for (uint32_t n = 0; n < count; n++) {
		at.offset = 1000000 + n;
		record_key_of(&key, record_at(n));
		kafka_message_event(&msg, KAFKA_HEADERS_DEFAULT, record_at(n), &key, &at);
		sum += murmur2_partition(msg.key, msg.key_bytes, 12);
		bench_keep(&sum);
	}
}

static void run_alert(void *arg, uint32_t count)
{
	struct record_key key;
	struct alert alert = {.id = "sluice-1/0123456789abcdef/3/1000000/card-testing",
		.evidence = "sluice-1/0123456789abcdef/3/1000000",
		.rule_id = "card-testing",
		.title = "Many small payments with different cards from one address",
		.severity = "high",
		.version = "0123456789abcdef",
		.generation = 3,
		.event_type = EVENT_TYPE_click,
		.key = &key};

	(void)arg;
	for (uint32_t n = 0; n < count; n++) {
		record_key_of(&key, record_at(n));
		bytes_reset(&json);
		alert_put_json(&json, &alert);
		kafka_message_alert(&msg, &alert, &json);
		bench_keep(&msg);
	}
}

int main(void)
{
	make_records();
	if (!records)
		return 1;
	bench_report("record key", run_key, NULL, COUNT, 0);
	bench_report("message: key, address, headers", run_message, NULL, COUNT, 0);
	bench_report("message and murmur2 partition", run_message_and_partition, NULL, COUNT, 0);
	bench_report("alert: JSON and message", run_alert, NULL, COUNT, 0);
	bytes_free(&json);
	free(records);
	return 0;
}
