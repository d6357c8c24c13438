/* Compares what read-committed readers see in Kafka with the journal on disk, record by record.
 *   kafka_check DIR BROKERS PREFIX
 * Every journaled event that is not suppressed (as it came, and enriched), every alert, every refused record
 * must be there exactly once, in its topic, at the partition of the Java client's choice, with its bytes, key
 * and headers; and nothing else may be there. With RIG_EVENTS_OFF in the environment, as the sink had it,
 * events are there enriched only, and their own topics are not made. Exit: 0 equal, 1 not. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "clock.h"
#include "hash.h"
#include "message_header.h"
#include "murmur2.h"
#include "record_key.h"
#include "sink_rig.h"

/* Fates of one journal offset: what is wanted and what was seen. */
struct fate {
	char topic; /* c, p, d, or 0: no message of its own */
	uint8_t seen;
	uint8_t alerts, alerts_seen; /* bit per rule */
	uint8_t enriched_seen, tags; /* tags: bit per rule that tags or alerts */
	bool gold;		     /* enrichment has given it a segment */
	uint16_t members;	     /* bytes of the object without its last brace */
	uint64_t members_hash;
	uint64_t value, key;
	uint8_t id[16];
};

struct log_part {
	struct fate *fate;
	uint64_t count, capacity;
};

static struct log_part parts[RIG_PARTITIONS];
static struct journal_meta meta;
static const char *prefix;
static uint64_t wrong, messages, wanted;
static uint64_t doubled;
static bool events_off, doubles_allowed;

#define WRONG(...)                                                                                           \
	do {                                                                                                 \
		if (wrong++ < 20)                                                                            \
			printf("wrong: " __VA_ARGS__);                                                       \
	} while (0)

static bool fate_is_event(const struct fate *f)
{
	return f->topic == 'c' || f->topic == 'p';
}

static void want_record(struct fate *f, const struct record *rec)
{
	struct record_key key;

	record_key_of(&key, rec);
	f->value = hash_bytes(record_payload(rec), rec->raw_bytes, 1);
	f->key = rec->kind == RECORD_REFUSED ? 0 : hash_bytes(key.data, key.bytes, 2);
	memcpy(f->id, rec->event_id, 16);
	if (rec->kind == RECORD_REFUSED)
		f->topic = 'd';
	else if (rec->kind == RECORD_EVENT && !(rec->flags & RECORD_F_SUPPRESSED))
		f->topic = rec->type == EVENT_TYPE_click ? 'c' : 'p';
	for (uint32_t i = 0; i < rec->hit_count; i++)
		if (record_hits(rec)[i]) /* rule 0 only tags */
			f->alerts |= (uint8_t)(1 << record_hits(rec)[i]);
	for (uint32_t i = 0; i < rec->hit_count; i++)
		f->tags |= (uint8_t)(1 << record_hits(rec)[i]);
	f->gold = rec->field_mask & FBIT(user_segment);
	f->members = (uint16_t)(rec->raw_bytes ? rec->raw_bytes - 1 : 0);
	f->members_hash = hash_bytes(record_payload(rec), f->members, 3);
	wanted += fate_is_event(f) + (f->topic != 0 && !(events_off && fate_is_event(f))) +
		  (uint64_t)__builtin_popcount(f->alerts);
}

static int take_block(void *arg, const struct journal_scan_block *b)
{
	struct log_part *lp = arg;
	const uint8_t *at = b->block.data;

	if (!b->intact) {
		/* The end of the journal looks like this too; what lies behind is not durable. */
		printf("journal ends: %s\n", b->fault ? b->fault : "?");
		return 0;
	}
	if (b->block.first_offset != lp->count) {
		printf("journal: offset %lu where %lu was expected\n", b->block.first_offset, lp->count);
		exit(1);
	}
	for (uint32_t i = 0; i < b->block.record_count; i++) {
		const struct record *rec = (const struct record *)at;

		if (lp->count == lp->capacity) {
			lp->capacity = lp->capacity ? lp->capacity * 2 : 4096;
			lp->fate = realloc(lp->fate, lp->capacity * sizeof *lp->fate);
			if (!lp->fate)
				exit(1);
		}
		memset(&lp->fate[lp->count], 0, sizeof *lp->fate);
		want_record(&lp->fate[lp->count++], rec);
		at += rec->bytes;
	}
	return 0;
}

/* The fate that a message's address names, or NULL. */
static struct fate *fate_of(const char *address)
{
	char head[100];
	unsigned partition;
	unsigned long offset;
	int used = 0, n = snprintf(head, sizeof head, "%s/%016lx/", meta.node, meta.epoch);

	if (strncmp(address, head, (size_t)n) ||
		sscanf(address + n, "%u/%lu%n", &partition, &offset, &used) != 2 || address[n + used] ||
		partition >= meta.partitions || offset >= parts[partition].count)
		return NULL;
	return &parts[partition].fate[offset];
}

/* A second time: counted, and wrong unless it may be. */
static bool again(unsigned seen)
{
	doubled += seen != 0;
	return seen && !doubles_allowed;
}

static void check_alert(const rd_kafka_message_t *m, struct fate *f, const char *address)
{
	static const char *const rule[RIG_RULES] = {"only-tag", "alerting", "alert-and-drop"};

	for (uint32_t i = 0; i < RIG_RULES; i++) {
		size_t bytes = strlen(rule[i]);

		if (m->key_len < bytes + 1 || memcmp(m->key, rule[i], bytes) ||
			((char *)m->key)[bytes] != '/')
			continue;
		if (again(f->alerts_seen & 1 << i) || !(f->alerts & 1 << i))
			WRONG("alert %s of %s: %s\n", rule[i], address,
				f->alerts_seen & 1 << i ? "twice" : "not wanted");
		f->alerts_seen |= (uint8_t)(1 << i);
		if (!memmem(m->payload, m->len, address, strlen(address)))
			WRONG("alert %s of %s: no evidence in it\n", rule[i], address);
		return;
	}
	WRONG("alert of %s with key %.*s\n", address, (int)m->key_len, (char *)m->key);
}

static void check_record(const rd_kafka_message_t *m, struct fate *f, char topic, const char *address)
{
	char id[64] = "", want[UUID_TEXT_BYTES];

	if (again(f->seen++) || f->topic != topic)
		WRONG("%s in topic %c, %u times, wanted in %c\n", address, topic, f->seen,
			f->topic ? f->topic : '-');
	if (hash_bytes(m->payload, m->len, 1) != f->value)
		WRONG("%s: other bytes than the journal's\n", address);
	if ((m->key ? hash_bytes(m->key, m->key_len, 2) : 0) != f->key)
		WRONG("%s: key %.*s\n", address, (int)m->key_len, (char *)m->key);
	if (topic == 'd') {
		if (!header_text(m, "reason", id, sizeof id) || strcmp(id, "bad_json"))
			WRONG("%s: reason '%s'\n", address, id);
		return;
	}
	uuid_text(want, f->id);
	if (!header_text(m, "event-id", id, sizeof id) || strcmp(id, want))
		WRONG("%s: event-id '%s', wanted %s\n", address, id, want);
}

static void check_enriched(const rd_kafka_message_t *m, struct fate *f, const char *address)
{
	static const char *const tags[] = {"", "\"only-tag\"", "\"alerting\"", "\"only-tag\",\"alerting\""};
	char want[300];
	int n;

	if (again(f->enriched_seen++) || !fate_is_event(f))
		WRONG("%s enriched %u times, topic %c\n", address, f->enriched_seen,
			f->topic ? f->topic : '-');
	if (f->tags > 3) /* the third rule drops: its events are suppressed */
		return;
	n = snprintf(want, sizeof want, ",\"_enrichment\":{%s},\"_tags\":[%s],\"_address\":\"%s\"}",
		f->gold ? "\"user_segment\":\"gold\"" : "", tags[f->tags], address);
	if (m->len != (size_t)(f->members + n) || hash_bytes(m->payload, f->members, 3) != f->members_hash ||
		memcmp((const char *)m->payload + f->members, want, (size_t)n) != 0)
		WRONG("%s enriched: %.*s\n", address, (int)m->len, (const char *)m->payload);
	if ((m->key ? hash_bytes(m->key, m->key_len, 2) : 0) != f->key)
		WRONG("%s enriched: key %.*s\n", address, (int)m->key_len, (char *)m->key);
}

static void check_message(const rd_kafka_message_t *m, char topic, int partitions)
{
	char address[ADDRESS_TEXT_BYTES] = "";
	struct fate *f;

	messages++;
	if (!header_text(m, "sluice-address", address, sizeof address) || !(f = fate_of(address))) {
		WRONG("topic %c offset %ld: address '%s' is not in the journal\n", topic, m->offset, address);
		return;
	}
	if (m->key && m->partition != murmur2_partition(m->key, m->key_len, partitions))
		WRONG("%s: partition %d\n", address, m->partition);
	if (topic == 'a')
		check_alert(m, f, address);
	else if (topic == 'e')
		check_enriched(m, f, address);
	else
		check_record(m, f, topic, address);
}

static rd_kafka_t *reader_new(const char *brokers)
{
	static const char *const pairs[][2] = {{"group.id", "kafka_check"}, {"enable.auto.commit", "false"},
		{"isolation.level", "read_committed"}, {"enable.partition.eof", "true"},
		{"auto.offset.reset", "earliest"}, {"check.crcs", "true"}};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256];
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], text, sizeof text))
			printf("%s\n", text);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	if (!rk) {
		printf("%s\n", text);
		exit(1);
	}
	rd_kafka_poll_set_consumer(rk);
	return rk;
}

/* All partitions of PREFIX.<name> from the beginning to the end that read-committed readers see. */
static void read_topic(const char *brokers, const char *name)
{
	rd_kafka_t *rk = reader_new(brokers);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
	const struct rd_kafka_metadata *md = NULL;
	uint64_t until = clock_mono_ns() + READ_LIMIT_NS;
	rd_kafka_topic_t *topic;
	char full[256];
	int left = 0, partitions;

	snprintf(full, sizeof full, "%s.%s", prefix, name);
	topic = rd_kafka_topic_new(rk, full, NULL);
	if (rd_kafka_metadata(rk, 0, topic, &md, 60000) || md->topics[0].err ||
		!md->topics[0].partition_cnt) {
		printf("topic %s: no metadata\n", full);
		exit(1);
	}
	left = partitions = md->topics[0].partition_cnt;
	for (int p = 0; p < partitions; p++)
		rd_kafka_topic_partition_list_add(list, full, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_metadata_destroy(md);
	rd_kafka_assign(rk, list);
	while (left && clock_mono_ns() < until) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 500);

		if (m && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			left -= partition_ended(rk, m);
		else if (m && !m->err)
			check_message(m, *name, partitions);
		if (m)
			rd_kafka_message_destroy(m);
	}
	if (left)
		WRONG("topic %s: %d partitions not read to their end\n", full, left);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_topic_destroy(topic);
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
}

static void check_missing(void)
{
	for (uint32_t p = 0; p < meta.partitions; p++)
		for (uint64_t offset = 0; offset < parts[p].count; offset++) {
			const struct fate *f = &parts[p].fate[offset];

			if (f->topic && !f->seen && !(events_off && fate_is_event(f)))
				WRONG("partition %u offset %lu is missing in %c\n", p, offset, f->topic);
			if (fate_is_event(f) && !f->enriched_seen)
				WRONG("partition %u offset %lu: enriched event missing\n", p, offset);
			if (f->alerts & ~f->alerts_seen)
				WRONG("partition %u offset %lu: alert missing\n", p, offset);
		}
}

int main(int argc, char **argv)
{
	static const char *const topics[] = {"alerts", "dead", "enriched", "click", "platform"};
	char dir[300];
	struct err err = {0};

	if (argc != 4)
		return 2;
	prefix = argv[3];
	events_off = getenv("RIG_EVENTS_OFF") != NULL;
	doubles_allowed = getenv("RIG_AT_LEAST_ONCE") != NULL;
	snprintf(dir, sizeof dir, "%s/journal", argv[1]);
	if (journal_meta_read(dir, &meta, &err) || meta.partitions != RIG_PARTITIONS) {
		printf("journal: %s\n", err.text);
		return 1;
	}
	for (uint32_t p = 0; p < meta.partitions; p++)
		if (journal_scan(dir, p, take_block, &parts[p], &err)) {
			printf("journal: %s\n", err.text);
			return 1;
		}
	for (size_t i = 0; i < (events_off ? 3 : sizeof topics / sizeof *topics); i++)
		read_topic(argv[2], topics[i]);
	check_missing();
	printf("journal wants %lu messages, Kafka has %lu, doubled: %lu, wrong: %lu\n", wanted, messages,
		doubled, wrong);
	for (uint32_t p = 0; p < meta.partitions; p++)
		free(parts[p].fate);
	return wrong || wanted != messages - doubled || !wanted;
}
