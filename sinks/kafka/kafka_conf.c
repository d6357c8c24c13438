/* librdkafka clients from the config: properties, passthrough options. Sink threads. */
#include "kafka_priv.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "kafka_log.h"
#include "murmur2.h"

#define LINGER_MS_MAX 100ul

/* What exactly-once rests on is not for options to change. */
static const char *const owned[] = {"acks", "bootstrap.servers", "delivery.timeout.ms",
	"enable.gapless.guarantee", "enable.idempotence", "isolation.level", "message.send.max.retries",
	"message.timeout.ms", "metadata.broker.list", "partitioner", "request.required.acks", "retries",
	"transaction.timeout.ms", "transactional.id"};

int kafka_topic_names(struct kafka_names *names, const struct config_kafka *cfg, struct err *err)
{
	int rc = event_config_topics(&names->event, cfg, err);

	names->name[KAFKA_TOPIC_ALERTS] = cfg->topic_alerts;
	names->name[KAFKA_TOPIC_DEAD] = cfg->topic_dead;
	names->name[KAFKA_TOPIC_LATE] = cfg->topic_late;
	names->name[KAFKA_TOPIC_POSITIONS] = cfg->topic_positions;
	names->name[KAFKA_TOPIC_ENRICHED] = cfg->enriched ? cfg->topic_enriched : NULL;
	for (int type = 0; type < EVENT_TYPE_MAX; type++)
		names->name[KAFKA_TOPIC_EVENT + type] = cfg->events ? names->event.name[type] : NULL;
	return rc;
}

int kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err)
{
	char text[256];

	if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
		return err_set(err, -EINVAL, "kafka: property %s=%s: %s", name, value, text);
	return 0;
}

/* One k=v of kafka.options. */
static int conf_option(rd_kafka_conf_t *conf, const char *at, size_t bytes, struct err *err)
{
	char pair[sizeof(config_str)];
	char *equal;

	memcpy(pair, at, bytes);
	pair[bytes] = 0;
	equal = strchr(pair, '=');
	if (!equal || equal == pair)
		return err_set(err, -EINVAL, "kafka.options: '%s' is not of the form property=value", pair);
	*equal = 0;
	for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
		if (!strcmp(pair, owned[i]))
			return err_set(err, -EINVAL,
				"kafka.options: %s cannot be set: exactly-once delivery depends on it, or a "
				"key of its "
				"own sets it",
				pair);
	if (kafka_conf_set(conf, pair, equal + 1, err)) {
		err_prefix(err, "kafka.options");
		return -EINVAL;
	}
	return 0;
}

static int conf_options(rd_kafka_conf_t *conf, const char *options, struct err *err)
{
	while (*options) {
		size_t bytes = strcspn(options, ",");

		if (bytes) {
			int rc = conf_option(conf, options, bytes, err);

			if (rc)
				return rc;
		}
		options += bytes + (options[bytes] == ',');
	}
	return 0;
}

/* Threads of librdkafka block all signals. SIGSYS says that a system call was refused: blocked it would end
 * the process. */
static rd_kafka_resp_err_t thread_started(
	rd_kafka_t *rk, rd_kafka_thread_type_t type, const char *name, void *opaque)
{
	sigset_t set;

	(void)rk, (void)type, (void)name, (void)opaque;
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t client_made(
	rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *text, size_t text_bytes)
{
	(void)conf, (void)opaque, (void)text, (void)text_bytes;
	return rd_kafka_interceptor_add_on_thread_start(rk, "sluice", thread_started, NULL);
}

/* All but where to connect to, and what is called back. */
static rd_kafka_conf_t *conf_base(const struct config_kafka *cfg, struct err *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	if (kafka_conf_set(conf, "client.id", "sluice", err) || kafka_conf_set(conf, "log_level", "5", err) ||
		kafka_conf_set(conf, "log.connection.close", "false", err) ||
		kafka_conf_set(conf, "allow.auto.create.topics", "false", err) ||
		kafka_conf_set(conf, "socket.timeout.ms", "15000", err) ||
		kafka_conf_set(conf, "reconnect.backoff.max.ms", "2000", err) ||
		kafka_security_set(conf, cfg, err) || conf_options(conf, cfg->options, err)) {
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	return conf;
}

rd_kafka_conf_t *kafka_conf_new(const struct config_kafka *cfg, struct err *err)
{
	rd_kafka_conf_t *conf;

	if (!*cfg->brokers) {
		err_set(err, -EINVAL, "kafka.brokers is empty: expected HOST:PORT[,...]");
		return NULL;
	}
	conf = conf_base(cfg, err);
	if (!conf)
		return NULL;
	rd_kafka_conf_set_log_cb(conf, kafka_log);
	rd_kafka_conf_interceptor_add_on_new(conf, "sluice", client_made, NULL);
	if (kafka_conf_set(conf, "bootstrap.servers", cfg->brokers, err)) {
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	return conf;
}

/* What is wrong with a window itself others say. */
static int windows_check(const struct config *cfg, struct err *err)
{
	struct window_plan *plan = NULL;
	struct err ignored;
	int rc = 0;

	if (!cfg->state.enabled || window_plan_make(&plan, cfg, &ignored))
		return 0;
	for (uint32_t i = 0; i < plan->count && !rc; i++)
		if (plan->def[i]->to_kafka)
			rc = kafka_window_check(&cfg->kafka, plan->def[i], err);
	window_plan_free(plan);
	return rc;
}

/* librdkafka reads certificates and keys when a client is made: one without a broker connects to nobody. */
int kafka_check(const struct config *cfg, struct err *err)
{
	uint32_t headers;
	rd_kafka_conf_t *conf;
	rd_kafka_t *rk;

	if (kafka_headers_parse(&headers, cfg->kafka.headers, err) || windows_check(cfg, err))
		return -EINVAL;
	conf = conf_base(&cfg->kafka, err);
	if (!conf)
		return -EINVAL;
	if (!kafka_security_tls(&cfg->kafka)) {
		rd_kafka_conf_destroy(conf);
		return 0;
	}
	rd_kafka_conf_set_log_cb(conf, NULL); /* the default would say that there is no broker */
	rk = kafka_client_new(RD_KAFKA_PRODUCER, conf, err);
	if (!rk) {
		err_prefix(err, "kafka.ca_file, cert_file or key_file");
		return -EINVAL;
	}
	rd_kafka_destroy(rk);
	return 0;
}

rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct err *err)
{
	char text[256];
	rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);

	if (!rk) {
		rd_kafka_conf_destroy(conf);
		err_set(err, -EINVAL, "kafka: %s", text);
	}
	return rk;
}

/* The partition of a record, with the topic's real partition count. Runs on threads of librdkafka: pure. */
static int32_t kafka_partition(const rd_kafka_topic_t *topic, const void *key, size_t key_bytes,
	int32_t partitions, void *topic_opaque, void *spread)
{
	(void)topic, (void)topic_opaque;
	if (!key)
		return (int32_t)((uintptr_t)spread % (uint32_t)partitions);
	return murmur2_partition(key, key_bytes, partitions);
}

static void kafka_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct kafka_producer *tx = opaque;

	(void)rk;
	if (!message->err) {
		tx->acked_offset = message->offset;
		kafka_trace_acked(tx, message->_private);
		return;
	}
	tx->failed++;
	tx->failed_err = message->err;
}

void kafka_broker_error(char text[KAFKA_BROKER_ERROR_BYTES], int code, const char *reason)
{
	if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || !*text)
		snprintf(text, KAFKA_BROKER_ERROR_BYTES, "%s", reason);
}

static void kafka_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	struct kafka_producer *tx = opaque;

	(void)rk;
	kafka_broker_error(tx->broker_error, code, reason);
}

static int producer_conf(struct kafka_producer *tx, rd_kafka_conf_t *conf, struct err *err)
{
	static const char *const compression[] = {"none", "lz4", "zstd", "gzip", "snappy"};
	const struct kafka_part *kp = tx->kp;
	const struct config_kafka *cfg = kafka_config(kp);
	char id[ADDRESS_TEXT_BYTES + 32], timeout[24];

	snprintf(id, sizeof id, "sluice/%s/%016lx/%u/%s", kp->at.node, kp->at.epoch, kp->at.partition,
		kafka_lane_name[kp->lane]);
	snprintf(timeout, sizeof timeout, "%lu", cfg->tx_timeout);
	rd_kafka_conf_set_opaque(conf, tx);
	rd_kafka_conf_set_dr_msg_cb(conf, kafka_delivered);
	rd_kafka_conf_set_error_cb(conf, kafka_error);
	/* Of transactions message.timeout.ms is left alone: librdkafka then sets it to the transaction's
	 * timeout, after which the broker has aborted anyway and the records are read from the journal again.
	 */
	if (tx->plain ? kafka_conf_set(conf, "message.timeout.ms", timeout, err)
		      : kafka_conf_set(conf, "transactional.id", id, err) ||
				kafka_conf_set(conf, "transaction.timeout.ms", timeout, err))
		return -EINVAL;
	if (kafka_conf_set(conf, "enable.idempotence", "true", err) ||
		kafka_conf_set(conf, "compression.type", compression[cfg->compression], err))
		return -EINVAL;
	return 0;
}

/* Defaults that kafka.options may change, hence set before them. */
static int producer_defaults(struct kafka_part *kp, rd_kafka_conf_t *conf, struct err *err)
{
	uint64_t half_ms = kafka_age_ms(kp) / 2;
	char linger[24];

	/* Nothing can be seen before the commit, which sends what is left: so there is time to gather, and
	 * few large requests cost both ends less. Half the age, so that the commit does not wait for all of
	 * it; not for long, so that a full queue goes on. Alerts of a block go together, no more. */
	if (kp->lane == KAFKA_LANE_ALERTS)
		half_ms = half_ms < 20 ? half_ms : 20;
	snprintf(linger, sizeof linger, "%lu", half_ms < LINGER_MS_MAX ? half_ms : LINGER_MS_MAX);
	if (kp->lane == KAFKA_LANE_ALERTS && kafka_conf_set(conf, "socket.nagle.disable", "true", err))
		return -EINVAL;
	/* Per partition: four partitions hold at most 128 MiB of payload. */
	if (kafka_conf_set(conf, "queue.buffering.max.kbytes", "32768", err) ||
		kafka_conf_set(conf, "queue.buffering.max.messages", "60000", err) ||
		kafka_conf_set(conf, "linger.ms", linger, err) ||
		/* librdkafka's broker thread spins while a partition has a request without an answer and more
		 * messages that are due, unless requests of other partitions wait for their turn: so let few
		 * of them be under way at a time. */
		kafka_conf_set(conf, "max.in.flight.requests.per.connection", "2", err))
		return -EINVAL;
	return 0;
}

rd_kafka_topic_t *kafka_topic_open(struct kafka_producer *tx, const char *name, struct err *err)
{
	rd_kafka_topic_conf_t *conf = rd_kafka_topic_conf_new();
	rd_kafka_topic_t *topic;

	rd_kafka_topic_conf_set_partitioner_cb(conf, kafka_partition);
	topic = rd_kafka_topic_new(tx->rk, name, conf);
	if (!topic)
		err_set(err, -EINVAL, "kafka: topic %s: %s", name, rd_kafka_err2str(rd_kafka_last_error()));
	return topic;
}

static int producer_topics(struct kafka_producer *tx, struct err *err)
{
	const struct kafka_part *kp = tx->kp;
	struct kafka_names names;
	int rc = kafka_topic_names(&names, kafka_config(kp), err);

	for (int i = 0; i < KAFKA_TOPIC_COUNT && !rc; i++) {
		if (!names.name[i] || !kafka_topic_of(i, kp->lane, kp->part->log))
			continue;
		tx->topic[i] = kafka_topic_open(tx, names.name[i], err);
		if (!tx->topic[i])
			return -EINVAL;
	}
	return rc;
}

int kafka_producer_new(struct kafka_part *kp, struct err *err)
{
	struct kafka_producer *tx = &kp->tx;
	rd_kafka_conf_t *conf = kafka_conf_new(kafka_config(kp), err);

	if (!conf)
		return -EINVAL;
	if (producer_defaults(kp, conf, err) || conf_options(conf, kafka_config(kp)->options, err) ||
		producer_conf(tx, conf, err)) {
		rd_kafka_conf_destroy(conf);
		return -EINVAL;
	}
	tx->rk = kafka_client_new(RD_KAFKA_PRODUCER, conf, err);
	if (!tx->rk)
		return -EINVAL;
	kafka_trace_open(tx);
	return producer_topics(tx, err);
}

void kafka_producer_free(struct kafka_part *kp)
{
	struct kafka_producer *tx = &kp->tx;

	kafka_windows_free(kp);
	kafka_routes_free(kp);
	for (int i = 0; i < KAFKA_TOPIC_COUNT; i++)
		if (tx->topic[i])
			rd_kafka_topic_destroy(tx->topic[i]);
	if (!tx->rk)
		return;
	/* What is still queued belongs to a transaction that is not committed: the next producer reads it
	 * from the journal again. */
	rd_kafka_purge(
		tx->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_destroy(tx->rk);
	kafka_trace_close(tx);
	*tx = (struct kafka_producer){.kp = kp};
}
