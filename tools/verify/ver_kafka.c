/* What read_committed consumers see in Kafka: every partition of each topic, from its beginning to its end.
 */
#include <errno.h>
#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <string.h>

#include "clock.h"
#include "hash.h"
#include "ver_read.h"

#define BATCH 1000

struct reader {
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	const struct ver_journal *j;
	struct ver_set *set;
	enum ver_kind kind;
	int32_t partitions, ended;
	char ends[10000]; /* partition has been read to its end */
};

static rd_kafka_t *client(const char *brokers, struct err *err)
{
	static const char *const pairs[][2] = {{"isolation.level", "read_committed"},
		{"enable.partition.eof", "true"}, {"group.id", "sluice-verify"},
		{"enable.auto.commit", "false"}, {"auto.offset.reset", "earliest"},
		{"fetch.wait.max.ms", "100"}, {"queued.max.messages.kbytes", "262144"},
		{"check.crcs", "true"}};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256] = "";
	bool bad =
		rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) != RD_KAFKA_CONF_OK;
	rd_kafka_t *rk = NULL;

	for (size_t i = 0; !bad && i < sizeof pairs / sizeof *pairs; i++)
		bad = rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], text, sizeof text) !=
		      RD_KAFKA_CONF_OK;
	if (!bad)
		rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	if (!rk) {
		rd_kafka_conf_destroy(conf);
		err_set(err, -EINVAL, "%s: %s", brokers, text);
	}
	return rk;
}

static int partition_count(rd_kafka_t *rk, const char *topic, int32_t *out, struct err *err)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_resp_err_t e = rd_kafka_metadata(rk, 0, rkt, &md, 20000);
	int rc = 0;

	*out = 0;
	if (e)
		rc = err_set(err, -EIO, "%s: %s", topic, rd_kafka_err2str(e));
	else if (md->topic_cnt == 1 && md->topics[0].err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		printf("kafka topic %s does not exist\n", topic);
	else if (md->topic_cnt != 1 || md->topics[0].err)
		rc = err_set(err, -EIO, "%s: %s", topic,
			md->topic_cnt == 1 ? rd_kafka_err2str(md->topics[0].err) : "no answer");
	else
		*out = md->topics[0].partition_cnt;
	if (md)
		rd_kafka_metadata_destroy(md);
	rd_kafka_topic_destroy(rkt);
	return rc;
}

static bool header(const rd_kafka_headers_t *h, const char *name, const char **value, size_t *bytes)
{
	const void *v;

	if (!h || rd_kafka_header_get_last(h, name, &v, bytes) || !v)
		return false;
	*value = v;
	return true;
}

/* The rule that an alert names; its place is in the header. */
static int alert_rule(struct ver_row *row, const rd_kafka_message_t *m)
{
	json_t *root = json_loadb(m->payload, m->len, JSON_ALLOW_NUL, NULL);
	const char *rule = json_string_value(json_object_get(root, "rule_id"));

	row->flags = VER_F_NO_ID; /* the address says which event it was */
	if (rule)
		row->extra = hash_bytes(rule, strlen(rule), 0);
	json_decref(root);
	return rule ? 0 : -EINVAL;
}

static int take(struct reader *r, const rd_kafka_message_t *m, struct err *err)
{
	struct ver_row row = {0};
	rd_kafka_headers_t *h = NULL;
	const char *text;
	size_t bytes;
	int ours;

	rd_kafka_message_headers(m, &h);
	if (!header(h, "sluice-address", &text, &bytes)) {
		r->set->others++; /* another producer's */
		return 0;
	}
	ours = ver_address(&row, text, bytes, r->j->node, r->j->epoch);
	if (ours < 0)
		return err_set(err, -EINVAL, "partition %d offset %ld: header sluice-address is no address",
			m->partition, (long)m->offset);
	if (!ours) {
		r->set->others++;
		return 0;
	}
	row.digest = r->kind == VER_ALERT ? 0 : hash_bytes(m->payload, m->len, 0);
	if (r->kind == VER_DEAD && header(h, "reason", &text, &bytes)) {
		row.extra = hash_bytes(text, bytes, 0);
		ver_uuid_find(&row, m->payload, m->len);
	} else if (r->kind == VER_ALERT && alert_rule(&row, m)) {
		return err_set(
			err, -EINVAL, "partition %d offset %ld: no alert", m->partition, (long)m->offset);
	} else if (r->kind < VER_DEAD &&
		   (!header(h, "event-id", &text, &bytes) || !ver_uuid(&row, text, bytes))) {
		return err_set(err, -EINVAL, "partition %d offset %ld: no header event-id", m->partition,
			(long)m->offset);
	}
	return ver_set_add(r->set, &row, err);
}

static int handle(struct reader *r, const rd_kafka_message_t *m, struct err *err)
{
	switch (m->err) {
	case RD_KAFKA_RESP_ERR_NO_ERROR:
		return take(r, m, err);
	case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		if (m->partition >= 0 && m->partition < r->partitions && !r->ends[m->partition]) {
			r->ends[m->partition] = 1;
			r->ended++;
		}
		return 0;
	default:
		return err_set(err, -EIO, "%s", rd_kafka_message_errstr(m));
	}
}

static int read_all(struct reader *r, uint32_t timeout_s, struct err *err)
{
	uint64_t last_ns = clock_mono_ns();
	rd_kafka_message_t *batch[BATCH];
	int rc = 0;

	while (!rc && r->ended < r->partitions) {
		ssize_t n = rd_kafka_consume_batch_queue(r->queue, 500, batch, BATCH);

		for (ssize_t i = 0; i < n; i++) {
			if (!rc)
				rc = handle(r, batch[i], err);
			rd_kafka_message_destroy(batch[i]);
		}
		if (n > 0)
			last_ns = clock_mono_ns();
		else if (clock_mono_ns() - last_ns > timeout_s * 1000000000ull)
			rc = err_set(err, -ETIMEDOUT, "no answer for %u s, %d of %d partitions read",
				timeout_s, r->ended, r->partitions);
	}
	return rc;
}

static int read_topic(struct reader *r, const char *topic, uint32_t timeout_s, struct err *err)
{
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_resp_err_t e;
	int rc = partition_count(r->rk, topic, &r->partitions, err);

	if (rc || r->partitions == 0)
		return rc;
	if (r->partitions > (int32_t)sizeof r->ends)
		return err_set(err, -EINVAL, "%s: %d partitions", topic, r->partitions);
	list = rd_kafka_topic_partition_list_new(r->partitions);
	for (int32_t p = 0; p < r->partitions; p++)
		rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
	e = rd_kafka_assign(r->rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	if (e)
		return err_set(err, -EIO, "%s: %s", topic, rd_kafka_err2str(e));
	rc = read_all(r, timeout_s, err);
	rd_kafka_assign(r->rk, NULL);
	if (rc)
		err_prefix(err, "kafka topic %s", topic);
	return rc;
}

/* One topic or several, separated by commas, into one set. */
static int read_topics(struct reader *r, const char *topics, uint32_t timeout_s, struct err *err)
{
	char list[2000], *save = NULL;
	int rc = 0;

	if (strlen(topics) >= sizeof list)
		return err_set(err, -EINVAL, "too many topics: %.80s...", topics);
	memcpy(list, topics, strlen(topics) + 1);
	for (char *topic = strtok_r(list, ",", &save); topic && !rc; topic = strtok_r(NULL, ",", &save)) {
		r->ended = 0;
		memset(r->ends, 0, sizeof r->ends);
		rc = read_topic(r, topic, timeout_s, err);
	}
	return rc;
}

int ver_kafka_read(struct ver_set set[VER_KINDS], const struct ver_kafka *k, const struct ver_journal *j,
	struct err *err)
{
	rd_kafka_t *rk = client(k->brokers, err);
	int rc = rk ? 0 : -EINVAL;

	if (!rk)
		return rc;
	rd_kafka_poll_set_consumer(rk);
	for (int kind = 0; !rc && kind < VER_KINDS; kind++) {
		struct reader r = {.rk = rk,
			.queue = rd_kafka_queue_get_consumer(rk),
			.j = j,
			.set = &set[kind],
			.kind = (enum ver_kind)kind};

		set[kind].looked = true;
		rc = read_topics(&r, k->topic[kind], k->timeout_s, err);
		rd_kafka_queue_destroy(r.queue);
		ver_set_sort(&set[kind]);
	}
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
	return rc;
}
