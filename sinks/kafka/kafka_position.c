/* Finds the committed position. The order is what makes it right: the producer has been fenced in by
 * kafka_tx_init(); then a barrier record is committed to the positions topic, and the topic is read
 * read-committed until the barrier comes. Readers get records in order, and none behind a transaction that is
 * still open: so what is found before the barrier includes every position that was ever committed. (Reading
 * to the "end" would not do: an open transaction of another producer, or a zombie's, hides all that lies
 * behind its first record.) */
#include "kafka_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "position.h"

/* The newest position is almost always this near the end: the rest of the topic is read only if it is not. */
#define POSITION_TAIL 20000

static int position_barrier(struct kafka_part *kp, int64_t *offset, struct err *err)
{
	char key[ADDRESS_TEXT_BYTES + 16];
	int rc;

	snprintf(key, sizeof key, "%s/barrier", kp->position_key);
	kp->tx.acked_offset = -1;
	rc = kafka_tx_begin(kp, err);
	if (rc == 0)
		rc = kafka_tx_position(kp, key, 0, err);
	if (rc == 0)
		rc = kafka_tx_commit(&kp->tx, err);
	if (rc) {
		err_prefix(err, "positions topic %s", kafka_config(kp)->topic_positions);
		return rc == -EAGAIN ? -EIO : rc;
	}
	if (kp->tx.acked_offset < 0)
		return err_set(err, -EIO, "positions topic: acknowledgement without an offset");
	*offset = kp->tx.acked_offset;
	return 0;
}

/* What the newest records of this partition say: later ones replace earlier ones, so that a bad one can be
 * corrected by writing another. */
struct position_state {
	struct kafka_position position;
	int error; /* of the newest record */
	struct err err;
};

void kafka_position_key(const struct kafka_part *kp, enum kafka_lane lane, char out[ADDRESS_TEXT_BYTES])
{
	position_key(out, kafka_lane_name[lane], kp->at.node, kp->at.epoch, kp->at.partition);
}

static void position_take(
	struct kafka_part *kp, const char *key, const rd_kafka_message_t *m, struct position_state *state)
{
	int rc;

	if (m->key_len != strlen(key) || memcmp(m->key, key, m->key_len))
		return;
	*state = (struct position_state){0};
	if (!m->payload)
		return; /* deleted by hand */
	state->position.found = true;
	rc = position_parse(m->payload, m->len, &state->position.version, &state->position.next);
	if (rc)
		state->error =
			err_set(&state->err, -EINVAL, "positions topic %s, offset %ld, key %s: '%.*s' is %s",
				kafka_config(kp)->topic_positions, m->offset, key,
				m->len > 60 ? 60 : (int)m->len, (const char *)m->payload,
				rc == -ENOTSUP ? "of a newer version: this one cannot go on from it"
					       : "no position: write the right one behind it");
}

static bool position_error_final(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
	       code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	       code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

/* Reads from `from` to the barrier. */
static int position_scan(struct kafka_part *kp, rd_kafka_topic_t *topic, int64_t from, int64_t barrier,
	struct position_state state[KAFKA_LANE_COUNT], struct err *err)
{
	char key[KAFKA_LANE_COUNT][ADDRESS_TEXT_BYTES];
	uint64_t start = clock_mono_ns(), limit = (kafka_config(kp)->tx_timeout + 30000) * 1000000u;
	int64_t last = -1;
	int rc = 0;

	for (int lane = 0; lane < KAFKA_LANE_COUNT; lane++) {
		state[lane] = (struct position_state){0};
		kafka_position_key(kp, lane, key[lane]);
	}
	if (rd_kafka_consume_start(topic, 0, from) == -1)
		return err_set(err, -EIO, "positions topic: %s", rd_kafka_err2str(rd_kafka_last_error()));
	while (rc == 0 && last < barrier) {
		rd_kafka_message_t *m = rd_kafka_consume(topic, 0, KAFKA_SLICE_MS);

		if (m && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
			last = m->offset;
			start = clock_mono_ns();
			for (int lane = 0; lane < KAFKA_LANE_COUNT; lane++)
				position_take(kp, key[lane], m, &state[lane]);
		} else if (clock_mono_ns() - start > limit || (m && position_error_final(m->err))) {
			rc = err_set(err, -EIO, "positions topic %s: no record up to offset %ld (at %ld): %s",
				kafka_config(kp)->topic_positions, barrier, last,
				m ? rd_kafka_message_errstr(m) : "held up by an open transaction?");
		} else if (sink_gives_up()) {
			rc = err_set(err, -ECANCELED, "stopped while reading the position");
		}
		if (m)
			rd_kafka_message_destroy(m);
	}
	rd_kafka_consume_stop(topic, 0);
	return rc;
}

static rd_kafka_t *position_reader(struct kafka_part *kp, struct err *err)
{
	rd_kafka_conf_t *conf = kafka_conf_new(kafka_config(kp), err);

	if (!conf)
		return NULL;
	if (kafka_conf_set(conf, "isolation.level", "read_committed", err) ||
		kafka_conf_set(conf, "auto.offset.reset", "earliest", err) ||
		kafka_conf_set(conf, "fetch.wait.max.ms", "50", err) ||
		kafka_conf_set(conf, "check.crcs", "true", err) ||
		kafka_conf_set(conf, "queued.max.messages.kbytes", "2048", err)) {
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	return kafka_client_new(RD_KAFKA_CONSUMER, conf, err);
}

int kafka_position_find(
	struct kafka_part *kp, struct kafka_position position[KAFKA_LANE_COUNT], struct err *err)
{
	rd_kafka_topic_t *topic;
	rd_kafka_t *reader;
	struct position_state state[KAFKA_LANE_COUNT] = {0};
	int64_t barrier = 0;
	int rc = position_barrier(kp, &barrier, err);

	if (rc)
		return rc;
	reader = position_reader(kp, err);
	if (!reader)
		return -EINVAL;
	topic = rd_kafka_topic_new(reader, kafka_config(kp)->topic_positions, NULL);
	if (!topic)
		rc = err_set(err, -EIO, "positions topic: %s", rd_kafka_err2str(rd_kafka_last_error()));
	if (rc == 0 && barrier > POSITION_TAIL)
		rc = position_scan(kp, topic, barrier - POSITION_TAIL, barrier, state, err);
	if (rc == 0 && !(state[KAFKA_LANE_MAIN].position.found && state[KAFKA_LANE_ALERTS].position.found))
		rc = position_scan(kp, topic, RD_KAFKA_OFFSET_BEGINNING, barrier, state, err);
	if (topic)
		rd_kafka_topic_destroy(topic);
	rd_kafka_destroy(reader);
	for (int lane = 0; lane < KAFKA_LANE_COUNT; lane++) {
		position[lane] = state[lane].position;
		/* Beside one that cannot be read nothing begins: it may be what says where. */
		if (rc == 0 && state[lane].error &&
			(lane == (int)kp->lane || !state[kp->lane].position.found)) {
			rc = state[lane].error;
			*err = state[lane].err;
		}
	}
	return rc;
}
