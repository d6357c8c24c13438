/* Transactions: every blocking call in slices, every error sorted into "abort and try again", "make a new
 * producer" or "refuse". The part's sink thread. */
#include "kafka_priv.h"

#include <errno.h>
#include <string.h>

#include "clock.h"
#include "crash.h"
#include "position.h"

#define TX_INIT_LIMIT_MS 60000u
#define TX_NOTICE_MS 5000u

static uint64_t now_ms(void)
{
	return clock_mono_ns() / 1000000u;
}

void kafka_crash_point(const struct kafka_part *kp, const char *step)
{
	char name[48];

	if (__builtin_expect(atomic_load_explicit(&crash_state, memory_order_relaxed) == 0, 1))
		return;
	snprintf(name, sizeof name, "%s_%s", kafka_lane_name[kp->lane], step);
	crash_point(name);
}

/* Sorts an error; consumes e. */
static int tx_error(struct kafka_producer *tx, rd_kafka_error_t *e, const char *what, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_error_code(e);
	int rc = -EIO;

	if (rd_kafka_error_txn_requires_abort(e))
		rc = -EAGAIN;
	else if (code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED ||
		 code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT ||
		 code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED)
		rc = -EINVAL;
	err_set(err, rc, "%s: %s%s%s%s", what, rd_kafka_error_string(e),
		code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT
			? ": kafka.tx_timeout is above the brokers' transaction.max.timeout.ms"
			: "",
		*tx->broker_error ? "; last broker error: " : "", tx->broker_error);
	rd_kafka_error_destroy(e);
	return rc;
}

/* A message that cannot be delivered spoils the transaction, whatever the other calls say. */
static int tx_failed(struct kafka_producer *tx, struct err *err)
{
	char text[256];

	if (rd_kafka_fatal_error(tx->rk, text, sizeof text))
		return err_set(err, -EIO, "producer failed: %s", text);
	if (tx->failed)
		return err_set(err, -EAGAIN, "%u messages not delivered: %s", tx->failed,
			rd_kafka_err2str(tx->failed_err));
	return 0;
}

int kafka_tx_init(struct kafka_part *kp, struct err *err)
{
	struct kafka_producer *tx = &kp->tx;
	uint64_t start = now_ms();
	bool told = false;

	for (;;) {
		rd_kafka_error_t *e = rd_kafka_init_transactions(tx->rk, KAFKA_SLICE_MS);

		if (!e)
			return 0;
		rd_kafka_poll(tx->rk, 0);
		if (!rd_kafka_error_is_retriable(e) || now_ms() - start > TX_INIT_LIMIT_MS)
			return tx_error(tx, e, "init_transactions", err);
		if (sink_gives_up()) {
			rd_kafka_error_destroy(e);
			return err_set(err, -ECANCELED, "stopped while connecting");
		}
		if (!told && now_ms() - start > TX_NOTICE_MS) {
			struct err note;

			tx_error(tx, e, "still waiting for the transaction coordinator", &note);
			sink_error(kp->part, note.text);
			told = true;
		} else {
			rd_kafka_error_destroy(e);
		}
	}
}

int kafka_tx_begin(struct kafka_part *kp, struct err *err)
{
	struct kafka_producer *tx = &kp->tx;
	rd_kafka_error_t *e;

	if (tx->in_tx)
		return 0;
	tx->failed = 0;
	e = tx->plain ? NULL : rd_kafka_begin_transaction(tx->rk);
	if (e)
		return tx_error(tx, e, "begin_transaction", err);
	tx->in_tx = true;
	kafka_crash_point(kp, "begun");
	return 0;
}

static int produce_error(struct kafka_producer *tx, const char *topic, rd_kafka_error_t *e, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_error_code(e);
	char text[256];

	err_set(err, 0, "%s", rd_kafka_error_string(e));
	err_prefix(err, "topic %s", topic);
	rd_kafka_error_destroy(e);
	if (rd_kafka_fatal_error(tx->rk, text, sizeof text))
		return -EIO;
	/* Larger than the client may ever send: no retry changes that. */
	return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? -EINVAL : -EAGAIN;
}

/* Hands vu to librdkafka; a full queue is waited for, nothing is dropped. */
static int produce(struct kafka_producer *tx, rd_kafka_topic_t *topic, const rd_kafka_vu_t *vu, size_t count,
	struct err *err)
{
	for (;;) {
		rd_kafka_error_t *e = rd_kafka_produceva(tx->rk, vu, count);
		int rc;

		if (!e)
			return 0;
		if (rd_kafka_error_code(e) != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			return produce_error(tx, rd_kafka_topic_name(topic), e, err);
		rd_kafka_error_destroy(e);
		rd_kafka_poll(tx->rk, 20);
		rc = tx_failed(tx, err);
		if (rc)
			return rc;
		if (sink_gives_up())
			return err_set(err, -ECANCELED, "stopped while the send queue was full");
	}
}

static rd_kafka_topic_t *message_topic(struct kafka_part *kp, const struct kafka_message *msg)
{
	return msg->topic == KAFKA_TOPIC_NAMED ? kp->topic_named : kp->tx.topic[msg->topic];
}

int kafka_tx_produce(struct kafka_part *kp, const struct kafka_message *msg, struct err *err)
{
	rd_kafka_vu_t vu[6 + KAFKA_HEADERS_MAX];
	size_t n = 0;
	int rc = kafka_tx_begin(kp, err);

	if (rc)
		return rc;
	vu[n].vtype = RD_KAFKA_VTYPE_RKT;
	vu[n++].u.rkt = message_topic(kp, msg);
	vu[n].vtype = RD_KAFKA_VTYPE_PARTITION;
	vu[n++].u.i32 = msg->topic == KAFKA_TOPIC_POSITIONS ? 0 : RD_KAFKA_PARTITION_UA;
	vu[n].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
	vu[n++].u.i = RD_KAFKA_MSG_F_COPY;
	vu[n].vtype = RD_KAFKA_VTYPE_VALUE;
	vu[n].u.mem.ptr = (void *)(uintptr_t)msg->value;
	vu[n++].u.mem.size = msg->value_bytes;
	vu[n].vtype = RD_KAFKA_VTYPE_KEY;
	vu[n].u.mem.ptr = (void *)(uintptr_t)msg->key;
	vu[n++].u.mem.size = msg->key_bytes;
	vu[n].vtype = RD_KAFKA_VTYPE_OPAQUE;
	vu[n++].u.ptr = (void *)(uintptr_t)(msg->key ? kafka_trace_sent(&kp->tx, msg) : msg->spread);
	for (uint32_t i = 0; i < msg->header_count; i++) {
		vu[n].vtype = RD_KAFKA_VTYPE_HEADER;
		vu[n].u.header.name = msg->header[i].name;
		vu[n].u.header.val = msg->header[i].value;
		vu[n++].u.header.size = (ssize_t)msg->header[i].bytes;
	}
	rc = produce(&kp->tx, message_topic(kp, msg), vu, n, err);
	if (rc == 0)
		kp->tx.messages++;
	return rc;
}

int kafka_tx_empty(struct kafka_part *kp, rd_kafka_topic_t *topic, int32_t partition, struct err *err)
{
	/* a compacted topic, as that of positions, takes nothing without a key */
	static char key[] = "aborted";
	const rd_kafka_vu_t vu[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
		{.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, sizeof key - 1}},
	};
	int rc = kafka_tx_begin(kp, err);

	return rc ? rc : produce(&kp->tx, topic, vu, sizeof vu / sizeof *vu, err);
}

int kafka_tx_flush(struct kafka_producer *tx, struct err *err)
{
	uint64_t start = now_ms();
	bool told = false;

	while (rd_kafka_outq_len(tx->rk) > 0) {
		int rc;

		rd_kafka_flush(tx->rk, KAFKA_SLICE_MS);
		rc = tx_failed(tx, err);
		if (rc)
			return rc;
		if (sink_gives_up())
			return err_set(err, -ECANCELED, "stopped while waiting for acknowledgements");
		if (!told && now_ms() - start > TX_NOTICE_MS) {
			struct err note;

			err_set(&note, 0,
				"waiting for acknowledgements of %d messages; last broker error: %s",
				rd_kafka_outq_len(tx->rk), *tx->broker_error ? tx->broker_error : "none");
			sink_error(tx->kp->part, note.text);
			told = true;
		}
	}
	return tx_failed(tx, err);
}

int kafka_tx_position(struct kafka_part *kp, const char *key, uint64_t next, struct err *err)
{
	char text[POSITION_TEXT_BYTES];
	struct kafka_message *msg = &kp->msg;
	/* Without a transaction a position must not be there before what it stands for. */
	int rc = kp->tx.plain ? kafka_tx_flush(&kp->tx, err) : 0;

	if (rc)
		return rc;

	msg->topic = KAFKA_TOPIC_POSITIONS;
	msg->key = key;
	msg->key_bytes = (uint32_t)strlen(key);
	msg->value = text;
	msg->value_bytes = (uint32_t)position_text(text, next);
	msg->spread = 0;
	msg->header_count = 0;
	return kafka_tx_produce(kp, msg, err);
}

int kafka_tx_commit(struct kafka_producer *tx, struct err *err)
{
	uint64_t start = now_ms();
	int rc = kafka_tx_flush(tx, err);

	if (rc)
		return rc;
	kafka_crash_point(tx->kp, "before_commit");
	while (!tx->plain) {
		rd_kafka_error_t *e = rd_kafka_commit_transaction(tx->rk, KAFKA_SLICE_MS);

		if (!e)
			break;
		if (rd_kafka_error_is_retriable(e) && now_ms() - start < kafka_config(tx->kp)->tx_timeout &&
			!sink_gives_up()) {
			rd_kafka_error_destroy(e);
			continue;
		}
		/* Committed or not: only the positions topic knows, after a new producer has fenced this one.
		 */
		tx_error(tx, e, "commit_transaction", err);
		return sink_gives_up() ? -ECANCELED : -EIO;
	}
	kafka_crash_point(tx->kp, "committed");
	kafka_trace_ended(tx, true);
	tx->in_tx = false;
	tx->messages = 0;
	tx->broker_error[0] = 0;
	return 0;
}

int kafka_tx_abort(struct kafka_part *kp, uint64_t limit_ms, struct err *err)
{
	struct kafka_producer *tx = &kp->tx;
	uint64_t start = now_ms();

	/* What is under way cannot be taken back: a new producer goes on from the position. */
	if (tx->plain)
		return -EIO;
	while (tx->in_tx) {
		rd_kafka_error_t *e = rd_kafka_abort_transaction(tx->rk, KAFKA_SLICE_MS);

		if (!e) {
			tx->in_tx = false;
		} else if (rd_kafka_error_is_retriable(e) && now_ms() - start < limit_ms &&
			   !sink_gives_up()) {
			rd_kafka_error_destroy(e);
		} else {
			tx_error(tx, e, "abort_transaction", err);
			return sink_gives_up() ? -ECANCELED : -EIO;
		}
	}
	tx->messages = 0;
	tx->failed = 0;
	kafka_trace_ended(tx, false);
	return 0;
}
