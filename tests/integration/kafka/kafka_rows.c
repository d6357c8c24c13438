/* The output log of the state stage to Kafka, by the real sink:
 *   kafka_rows feed DIR BROKERS PREFIX RF RECORDS PAUSE_MS   feeds RECORDS more to each partition, delivers
 * all, ends; 0: only delivers. Killed by the tests; SLUICE_CRASH kafka_rows check DIR BROKERS PREFIX what
 * read-committed readers see is what the log has: each row, alert and late event once, in its topic, with its
 *                                                            bytes, key and headers; and nothing else */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "eal_rig.h"
#include "hash.h"
#include "kafka_message.h"
#include "log.h"
#include "message_header.h"
#include "murmur2.h"
#include "row_json.h"
#include "rows_rig.h"

/* This program has the Kafka sinks only; the runner's table names all. */
const struct sink_ops sink_clickhouse_ops, sink_webhook_ops;

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

/* ---- feed ---- */

static void config_make(struct config *cfg, char **arg)
{
	struct config_kafka *k = &cfg->kafka;

	k->enabled = true;
	snprintf(k->brokers, sizeof k->brokers, "%s", arg[1]);
	snprintf(k->topic_click, sizeof k->topic_click, "%s.click", arg[2]);
	snprintf(k->topic_platform, sizeof k->topic_platform, "%s.platform", arg[2]);
	snprintf(k->topic_alerts, sizeof k->topic_alerts, "%s.alerts", arg[2]);
	snprintf(k->topic_dead, sizeof k->topic_dead, "%s.dead", arg[2]);
	snprintf(k->topic_enriched, sizeof k->topic_enriched, "%s.enriched", arg[2]);
	snprintf(k->topic_late, sizeof k->topic_late, "%s.late", arg[2]);
	snprintf(k->topic_positions, sizeof k->topic_positions, "%s.positions", arg[2]);
	snprintf(k->topic_aggregates, sizeof k->topic_aggregates, "%s.aggregates.", arg[2]);
	k->events = true;
	k->partitions = 12;
	k->partitions_other = 6;
	k->replication = strtoull(arg[3], NULL, 10);
	k->min_isr = k->replication > 1 ? k->replication - 1 : 1;
	k->aggregates_kept = 7 * 86400000ull;
	k->tx_events_max = 5000;
	k->tx_age = 100;
	k->tx_age_output = 30;
	k->tx_age_alerts = 5;
	k->tx_timeout = 60000;
	k->compression = 1;
}

static int report(const struct sink_group *group)
{
	int rc = group->part_count ? 0 : 1;

	for (uint32_t p = 0; p < group->part_count; p++) {
		const struct sink_stats *s = &group->part[p].stats;
		uint64_t durable = journal_durable_offset(group->part[p].journal, p);

		printf("%s partition=%u position=%lu durable=%lu rows=%lu late=%lu alerts=%lu suppressed=%lu "
		       "other=%lu commits=%lu retries=%lu errors=%lu\n",
			group->name, p, s->position, durable, s->rows, s->late, s->alerts, s->suppressed,
			s->other, s->commits, s->retries, s->errors);
		if (s->position != durable)
			rc = 3;
	}
	return rc;
}

static int feed(char **arg)
{
	static struct sink_group group[SINK_GROUP_MAX];
	static struct config cfg;
	static struct rows_rig rig;
	struct sink_env env = {.cfg = &cfg, .data_dir = cfg.node.data_dir};
	struct err err;
	int rc;

	log_init(LOG_LEVEL_INFO, false);
	signal(SIGTERM, on_signal);
	rig_eal("rows");
	config_make(&cfg, arg);
	rows_rig_open(&rig, arg[0], &env);
	if (sinks_register(&env, &err))
		return 1;
	rows_rig_start(&rig);
	if (sinks_start(group, &env, &err))
		return 1;
	rows_rig_feed(&rig, strtoull(arg[4], NULL, 10), (uint32_t)strtoull(arg[5], NULL, 10), &stop_asked);
	rows_rig_stop(&rig);
	sinks_stop(group, 180000);
	rc = report(&group[SINK_LOG_OUTPUT * SINK_ID_MAX + SINK_kafka]) |
	     report(&group[SINK_LOG_OUTPUT * SINK_ID_MAX + SINK_kafka_alerts]);
	sinks_free(group);
	rows_rig_close(&rig);
	return rc;
}

/* ---- check ---- */

/* What is wanted of an offset, and what was seen. */
struct fate {
	char topic; /* index into topics + 1; 0: none */
	uint8_t seen;
	uint64_t value, key;
};

static const char *const topics[] = {
	"aggregates.pages", "aggregates.visits", "aggregates.buy", "aggregates.pages_old", "alerts", "late"};
#define TOPICS (sizeof topics / sizeof *topics)

static struct rows_rig rig;
static struct journal_meta meta, input_meta;
static struct fate *fates[ROWS_PARTITIONS];
static uint64_t counts[ROWS_PARTITIONS], wanted, messages, wrong;

#define WRONG(...)                                                                                           \
	do {                                                                                                 \
		if (wrong++ < 20)                                                                            \
			printf("wrong: " __VA_ARGS__);                                                       \
	} while (0)

static void message_make(struct kafka_message *msg, struct bytes *json, const struct record *rec,
	const struct rows_record *r, const struct address *at)
{
	const struct address input = {at->node, input_meta.epoch, at->partition, 0};
	struct record_key key;
	struct err err;

	bytes_reset(json);
	switch (r->fate) {
	case ROWS_ROW:
		if (row_put_json(json, rec, rig.def[r->window], at->node, &err))
			exit(1);
		kafka_message_row(msg, rec, rig.def[r->window], at, json);
		break;
	case ROWS_ALERTED:
		row_alert_put_json(json, rec, row_alert_of(rec)->window_uid ? rig.def[ROWS_PAGES]->name : "",
			at->node, input_meta.epoch);
		kafka_message_row_alert(msg, rec, at, json);
		break;
	default:
		record_key_of(&key, rec);
		kafka_message_late(msg, rec, &key, rig.def[ROWS_PAGES], at, &input);
	}
}

static char topic_of(const struct rows_record *r)
{
	static const char of_window[ROWS_WINDOWS] = {
		[ROWS_PAGES] = 1, [ROWS_VISITS] = 2, [ROWS_BUY] = 3, [ROWS_OLD] = 4};

	return r->fate == ROWS_ROW	 ? of_window[r->window]
	       : r->fate == ROWS_ALERTED ? 5
	       : r->fate == ROWS_LATE	 ? 6
					 : 0;
}

static int block_take(void *arg, const struct journal_scan_block *b)
{
	static struct kafka_message msg;
	static struct bytes json;
	struct bytes record = {0};
	const uint8_t *data = b->block.data;

	(void)arg;
	for (uint32_t i = 0; b->intact && i < b->block.record_count; i++) {
		uint32_t p = b->block.partition;
		uint64_t n = b->block.first_offset + i;
		struct rows_record r = rows_rig_record(&rig, p, n, &record);
		struct fate *f;

		if (memcmp(data, record.data, record.bytes) != 0) {
			printf("log: partition %u offset %lu is not what was written\n", p, n);
			exit(1);
		}
		data += record.bytes;
		fates[p] = realloc(fates[p], (n + 1) * sizeof **fates);
		f = &fates[p][n];
		*f = (struct fate){.topic = topic_of(&r)};
		counts[p] = n + 1;
		if (!f->topic)
			continue;
		message_make(&msg, &json, (const struct record *)record.data, &r,
			&(struct address){meta.node, meta.epoch, p, n});
		f->value = hash_bytes(msg.value, msg.value_bytes, 1);
		f->key = hash_bytes(msg.key, msg.key_bytes, 2);
		wanted++;
	}
	bytes_free(&record);
	return b->intact ? 0 : 1;
}

static void message_check(const rd_kafka_message_t *m, size_t topic, int partitions)
{
	char text[ADDRESS_TEXT_BYTES] = "", head[ADDRESS_TEXT_BYTES], more[ADDRESS_TEXT_BYTES];
	unsigned partition = 0;
	unsigned long offset = 0;
	struct fate *f;
	int n = snprintf(head, sizeof head, "%s/%016lx/", meta.node, meta.epoch);

	messages++;
	if (!header_text(m, "sluice-address", text, sizeof text) || strncmp(text, head, (size_t)n) ||
		sscanf(text + n, "%u/%lu", &partition, &offset) != 2 || partition >= ROWS_PARTITIONS ||
		offset >= counts[partition]) {
		WRONG("%s: address '%s' is not in the log\n", topics[topic], text);
		return;
	}
	f = &fates[partition][offset];
	if (f->seen++ || (size_t)f->topic != topic + 1)
		WRONG("%s in %s, %u times\n", text, topics[topic], f->seen);
	if (hash_bytes(m->payload, m->len, 1) != f->value)
		WRONG("%s: other bytes than wanted: %.*s\n", text, (int)m->len, (char *)m->payload);
	if (!m->key || hash_bytes(m->key, m->key_len, 2) != f->key ||
		m->partition != murmur2_partition(m->key, m->key_len, partitions))
		WRONG("%s: key %.*s, partition %d\n", text, (int)m->key_len, (char *)m->key, m->partition);
	if (topic < 4 &&
		(!header_text(m, "revision", more, sizeof more) ||
			!header_text(m, "window", more, sizeof more) || strcmp(more, topics[topic] + 11)))
		WRONG("%s: window '%s'\n", text, more);
	if (topic == 5 && (!header_text(m, "input-address", more, sizeof more) || !strstr(more, "/")))
		WRONG("%s: no input-address\n", text);
}

static rd_kafka_t *reader_new(const char *brokers)
{
	static const char *const pairs[][2] = {{"group.id", "kafka_rows"}, {"enable.auto.commit", "false"},
		{"isolation.level", "read_committed"}, {"enable.partition.eof", "true"},
		{"auto.offset.reset", "earliest"}, {"check.crcs", "true"}};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256];
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], text, sizeof text);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	if (!rk)
		exit(1);
	rd_kafka_poll_set_consumer(rk);
	return rk;
}

static int partitions_of(rd_kafka_t *rk, const char *full)
{
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, full, NULL);
	int n = 0;

	if (!rd_kafka_metadata(rk, 0, topic, &md, 60000) && !md->topics[0].err)
		n = md->topics[0].partition_cnt;
	if (md)
		rd_kafka_metadata_destroy(md);
	rd_kafka_topic_destroy(topic);
	return n;
}

static void topic_read(const char *brokers, const char *prefix, size_t topic)
{
	rd_kafka_t *rk = reader_new(brokers);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
	uint64_t until = clock_mono_ns() + READ_LIMIT_NS;
	char full[256];
	int left, partitions;

	snprintf(full, sizeof full, "%s.%s", prefix, topics[topic]);
	left = partitions = partitions_of(rk, full);
	if (!partitions)
		WRONG("topic %s is not there\n", full);
	for (int p = 0; p < partitions; p++)
		rd_kafka_topic_partition_list_add(list, full, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, list);
	while (left && clock_mono_ns() < until) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 500);

		if (m && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			left -= partition_ended(rk, m);
		else if (m && !m->err)
			message_check(m, topic, partitions);
		if (m)
			rd_kafka_message_destroy(m);
	}
	if (left)
		WRONG("topic %s: not read to its end\n", full);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
}

static int check(char **arg)
{
	char dir[300], input[300];
	struct err err;

	rows_rig_windows(&rig);
	snprintf(dir, sizeof dir, "%s/output", arg[0]);
	snprintf(input, sizeof input, "%s/journal", arg[0]);
	if (journal_meta_read(dir, &meta, &err) || journal_meta_read(input, &input_meta, &err))
		return 1;
	for (uint32_t p = 0; p < ROWS_PARTITIONS; p++)
		if (journal_scan(dir, p, block_take, NULL, &err) < 0)
			return 1;
	for (size_t i = 0; i < TOPICS; i++)
		topic_read(arg[1], arg[2], i);
	for (uint32_t p = 0; p < ROWS_PARTITIONS; p++)
		for (uint64_t n = 0; n < counts[p]; n++)
			if (fates[p][n].topic && !fates[p][n].seen)
				WRONG("partition %u offset %lu is missing in %s\n", p, n,
					topics[fates[p][n].topic - 1]);
	printf("log wants %lu messages, Kafka has %lu, wrong: %lu\n", wanted, messages, wrong);
	return wrong || wanted != messages || !wanted;
}

int main(int argc, char **argv)
{
	if (argc == 8 && !strcmp(argv[1], "feed"))
		return feed(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "check"))
		return check(argv + 2);
	return 2;
}
