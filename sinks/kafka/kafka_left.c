/* Transactions whose end nobody has told us. A broker that stood still aborts what has timed out meanwhile;
 * if its controller takes its partitions away just then, the coordinator of Apache Kafka 4.3 may count the
 * abort as complete though no partition has its marker. Records that the partition had taken stay open there,
 * and the next commit of the same producer id would commit them as well, beside those that are sent again. So
 * where a transaction ended so, and the position says that it was not committed, the next one is empty: a
 * record without content to each partition that it may have been in, and aborted, which ends what is open
 * there. Nobody sees them who reads what is committed. The part's sink thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "kafka_priv.h"
#include "log.h"

#define METADATA_LIMIT_NS 30000000000ull

/* From the close of a producer to the next open. */
struct kafka_left {
	uint64_t committed; /* where the transaction began */
	uint32_t count;
	char name[][KAFKA_LEFT_NAME_BYTES]; /* topics it may have records in */
};

static void name_add(struct kafka_left *left, rd_kafka_topic_t *topic)
{
	if (topic)
		snprintf(left->name[left->count++], sizeof *left->name, "%s", rd_kafka_topic_name(topic));
}

void kafka_left_note(struct kafka_part *kp)
{
	const struct kafka_producer *tx = &kp->tx;
	uint32_t most = KAFKA_TOPIC_COUNT + kp->window_count + kp->route_count;
	struct kafka_left *left;

	/* One that is there already is of the same position: nothing was committed since. */
	if (!tx->rk || tx->plain || !tx->in_tx || kp->part->kept)
		return;
	left = calloc(1, sizeof *left + most * sizeof *left->name);
	if (!left)
		return;
	left->committed = kp->committed;
	for (int i = 0; i < KAFKA_TOPIC_COUNT; i++)
		name_add(left, tx->topic[i]);
	for (uint32_t i = 0; i < kp->window_count; i++)
		name_add(left, kp->window[i].topic);
	for (uint32_t i = 0; i < kp->route_count; i++)
		name_add(left, kp->route[i].topic);
	kp->part->kept = left;
}

/* 0 as well for a topic that is gone. */
static int partition_count(struct kafka_part *kp, rd_kafka_topic_t *topic, int *count, struct err *err)
{
	uint64_t until_ns = clock_mono_ns() + METADATA_LIMIT_NS;
	const struct rd_kafka_metadata *md;
	rd_kafka_resp_err_t code;

	*count = 0;
	for (;;) {
		code = rd_kafka_metadata(kp->tx.rk, 0, topic, &md, KAFKA_SLICE_MS);
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			break;
		if (sink_gives_up())
			return err_set(err, -ECANCELED, "stopped while asking for partitions");
		if (clock_mono_ns() > until_ns)
			return err_set(err, -EIO, "topic %s: its partitions are not known: %s",
				rd_kafka_topic_name(topic), rd_kafka_err2str(code));
	}
	if (md->topic_cnt == 1 && md->topics[0].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		*count = md->topics[0].partition_cnt;
	code = md->topic_cnt == 1 && !*count ? md->topics[0].err : RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_metadata_destroy(md);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return 0;
	return err_set(err, -EIO, "topic %s: %s", rd_kafka_topic_name(topic), rd_kafka_err2str(code));
}

static int topic_empty(struct kafka_part *kp, const char *name, uint32_t *partitions, struct err *err)
{
	rd_kafka_topic_t *topic = kafka_topic_open(&kp->tx, name, err);
	int count = 0, rc;

	if (!topic)
		return -EIO;
	rc = partition_count(kp, topic, &count, err);
	for (int p = 0; p < count && !rc; p++)
		rc = kafka_tx_empty(kp, topic, p, err);
	*partitions += (uint32_t)count;
	rd_kafka_topic_destroy(topic);
	return rc;
}

int kafka_left_end(struct kafka_part *kp, uint64_t position, struct err *err)
{
	struct kafka_left *left = kp->part->kept;
	uint32_t partitions = 0;
	int rc = 0;

	if (left && position <= left->committed) { /* else it was committed */
		for (uint32_t i = 0; i < left->count && !rc; i++)
			rc = topic_empty(kp, left->name[i], &partitions, err);
		if (rc == 0)
			rc = kafka_tx_flush(&kp->tx, err);
		if (rc == 0)
			rc = kafka_tx_abort(kp, KAFKA_ABORT_LIMIT_MS, err);
		if (rc) {
			err_prefix(err, "ending what a transaction may have left open");
			return rc == -ECANCELED ? rc : -EIO;
		}
		log_info(kafka_lane_name[kp->lane],
			"partition=%u a transaction whose end is not known is not committed: what it may "
			"have "
			"left open is aborted in partitions=%" PRIu32,
			kp->at.partition, partitions);
	}
	free(left);
	kp->part->kept = NULL;
	return 0;
}
