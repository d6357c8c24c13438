/* The Kafka sink: one transactional producer per journal partition; records, alerts, dead letters and the
 * journal position go out in the same transactions. One sink thread per partition (sinks/runner.c). See
 * docs/exactly-once.md. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "kafka_priv.h"
#include "log.h"
#include "position.h"

#define ABORTS_MAX 5	      /* in a row, before the producer is made anew */
#define ABORT_LIMIT_MS 30000u /* for one abort */
#define READ_WAIT_MS 50u

static int position_missing(struct kafka_part *kp, uint64_t oldest, uint64_t *position, struct err *err)
{
	char text[POSITION_TEXT_BYTES];

	if (kp->floor) {
		position_text(text, kp->floor);
		return err_set(err, -EINVAL,
			"no committed position in topic %s under key %s, but offset %" PRIu64
			" was delivered before: the topic has lost it, and to begin again would send twice. "
			"To go on from "
			"there: echo '%s|%s' | kcat -P -b BROKERS -t %s -p 0 -K '|'",
			kafka_config(kp)->topic_positions, kp->position_key, kp->floor, kp->position_key,
			text, kafka_config(kp)->topic_positions);
	}
	if (oldest == 0) {
		*position = 0; /* nothing of this journal has ever been delivered */
		return 0;
	}
	position_text(text, oldest);
	return err_set(err, -EINVAL,
		"no committed position in topic %s under key %s, but the journal begins at offset %" PRIu64
		": what was delivered is unknown. To go on with the oldest record that is left: echo '%s|%s' "
		"| "
		"kcat -P -b BROKERS -t %s -p 0 -K '|'",
		kafka_config(kp)->topic_positions, kp->position_key, oldest, kp->position_key, text,
		kafka_config(kp)->topic_positions);
}

/* A position that was seen committed, by this process or by the floor beside the journal, is gone: the topic
 * was deleted, or its brokers have lost records. Nobody knows what else they lost, and to go on from the
 * older one would send again what is there. */
static int position_lost(struct kafka_part *kp, uint64_t position, struct err *err)
{
	uint64_t before = kp->floor;

	if (kp->part->opened && atomic_load(&kp->part->stats.position) > before)
		before = atomic_load(&kp->part->stats.position);
	if (position >= before)
		return 0;
	return err_set(err, -EINVAL,
		"committed position %" PRIu64 " (topic %s, key %s) is older than %" PRIu64
		", which was committed before: the topic has lost records. To go on from a position of your "
		"choice, "
		"write it there, remove %s/kafka-p%u.floor and restart; what it lets out or sends twice is "
		"yours to know",
		position, kafka_config(kp)->topic_positions, kp->position_key, before,
		journal_dir(kp->part->journal), kp->at.partition);
}

/* The position must lie in what the journal has: anything else is a lost or foreign journal, never a skip. */
static int position_check(struct kafka_part *kp, uint64_t position, struct err *err)
{
	struct journal_partition_stats js;

	journal_stats(kp->part->journal, kp->at.partition, &js);
	if (position > js.durable_offset)
		return err_set(err, -EINVAL,
			"committed position %" PRIu64
			" (topic %s, key %s) lies beyond the journal's durable end %" PRIu64
			": the journal has lost data or is an older copy; restore it, or begin a new journal",
			position, kafka_config(kp)->topic_positions, kp->position_key, js.durable_offset);
	if (position < js.oldest_offset)
		return err_set(err, -EINVAL,
			"committed position %" PRIu64
			" (topic %s, key %s) lies before the journal's oldest record %" PRIu64
			": records between were removed undelivered",
			position, kafka_config(kp)->topic_positions, kp->position_key, js.oldest_offset);
	return 0;
}

static int kafka_open(struct sink_part *part, uint64_t *position, struct err *err)
{
	struct kafka_part *kp = calloc(1, sizeof *kp);
	struct journal_partition_stats js;
	int rc;

	if (!kp)
		return err_set(err, -ENOMEM, "no memory");
	part->priv = kp;
	kp->part = part;
	kp->at = (struct address){.node = journal_node(part->journal),
		.epoch = journal_epoch(part->journal),
		.partition = part->partition};
	if (part->log == SINK_LOG_OUTPUT)
		kp->input = (struct address){.node = journal_node(part->env->journal),
			.epoch = journal_epoch(part->env->journal),
			.partition = part->partition};
	position_key(kp->position_key, "kafka", kp->at.node, kp->at.epoch, kp->at.partition);
	kp->floor = kafka_floor_read(kp);
	rc = kafka_producer_new(kp, err);
	if (rc == 0)
		rc = kafka_tx_init(kp, err);
	if (rc)
		return rc;
	rc = kafka_position_find(kp, position, err);
	if (rc == 0) {
		journal_stats(part->journal, part->partition, &js);
		rc = position_missing(kp, js.oldest_offset, position, err);
	} else if (rc == 1) {
		rc = position_check(kp, *position, err);
	}
	if (rc == 0)
		rc = position_lost(kp, *position, err);
	if (rc)
		return rc;
	kp->committed = *position;
	kp->next = *position;
	rc = journal_reader_open(&kp->reader, part->journal, part->partition, *position, err);
	log_info("kafka", "partition=%u position=%" PRIu64 " epoch=%016" PRIx64, part->partition, *position,
		kp->at.epoch);
	return rc == -ERANGE ? -EINVAL : rc;
}

/* After an abort: the journal is read again from the committed position. */
static int kafka_retry(struct kafka_part *kp, struct err *err)
{
	struct err why = *err;
	int rc;

	atomic_fetch_add(&kp->part->stats.retries, 1);
	sink_error(kp->part, why.text);
	rc = kafka_tx_abort(kp, ABORT_LIMIT_MS, err);
	if (rc)
		return rc;
	if (++kp->aborts > ABORTS_MAX)
		return err_set(err, -EIO, "%u transactions aborted in a row: %.300s", kp->aborts, why.text);
	kafka_span_reset(kp);
	for (uint32_t i = 0; i < 1u << kp->aborts && !sink_gives_up(); i++)
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	rc = journal_reader_seek(kp->reader, kp->committed, err);
	return rc ? -EIO : 0;
}

/* One round. 1: everything is delivered, and a stop was asked for. */
static int kafka_step(struct kafka_part *kp, struct err *err)
{
	struct journal_block block;
	int rc;

	if (sink_gives_up())
		return err_set(err, -ECANCELED, "stop deadline");
	if (kp->next == kp->committed && sink_stopping(kp->part) && sink_drained(kp->part, kp->committed))
		return 1;
	if (kafka_span_due(kp))
		return kafka_span_commit(kp, err);
	rd_kafka_poll(kp->rk, 0);
	rc = journal_reader_next(kp->reader, &block, kafka_span_wait_ms(kp, READ_WAIT_MS), err);
	if (rc < 0)
		return rc == -EAGAIN || rc == -ECANCELED ? -EIO : rc;
	return rc ? kafka_span_add(kp, &block, err) : 0;
}

static int kafka_run(struct sink_part *part, struct err *err)
{
	struct kafka_part *kp = part->priv;
	int rc;

	do {
		rc = kafka_step(kp, err);
		if (rc == -EAGAIN)
			rc = kafka_retry(kp, err);
	} while (rc == 0);
	if (rc != -ECANCELED)
		return rc == 1 ? 0 : rc;
	/* One short try: an open transaction would hide later records from readers until it times out. */
	kafka_tx_abort(kp, 0, err);
	log_warn("kafka", "partition=%u stop deadline passed, left at=%" PRIu64 " durable=%" PRIu64,
		part->partition, kp->committed, journal_durable_offset(part->journal, part->partition));
	return 0;
}

static void kafka_close(struct sink_part *part)
{
	struct kafka_part *kp = part->priv;

	if (!kp)
		return;
	part->priv = NULL;
	if (kp->committed > kp->floor)
		kafka_floor_write(kp, true);
	if (kp->reader)
		journal_reader_close(kp->reader);
	kafka_producer_free(kp);
	bytes_free(&kp->json);
	free(kp);
}

const struct sink_ops sink_kafka_ops = {
	.name = "kafka",
	.prepare = kafka_prepare,
	.open = kafka_open,
	.run = kafka_run,
	.close = kafka_close,
};
