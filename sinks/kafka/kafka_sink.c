/* The Kafka sinks: the main lane, one transactional producer per partition of a log, whose records and
 * position go out in the same transactions; and that of alerts, with producers, positions and sink threads of
 * its own. One sink thread per lane and partition (sinks/runner.c). See docs/exactly-once.md. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "kafka_priv.h"
#include "log.h"

#define ABORTS_MAX 5	      /* in a row, before the producer is made anew */
#define ABORT_LIMIT_MS 30000u /* for one abort */
#define READ_WAIT_MS 50u
#define BESIDE_MS 1u /* while something is committed beside, and the next span waits for it */

const char *const kafka_lane_name[] = {"kafka", "kafka_alerts"};

static int kafka_lane_open(struct sink_part *part, enum kafka_lane lane, uint64_t *position, struct err *err)
{
	struct kafka_part *kp = calloc(1, sizeof *kp);
	int rc;

	if (!kp)
		return err_set(err, -ENOMEM, "no memory");
	part->priv = kp;
	kp->part = part;
	kp->lane = lane;
	kp->at = (struct address){.node = journal_node(part->journal),
		.epoch = journal_epoch(part->journal),
		.partition = part->partition};
	if (part->log == SINK_LOG_OUTPUT)
		kp->input = (struct address){.node = journal_node(part->env->journal),
			.epoch = journal_epoch(part->env->journal),
			.partition = part->partition};
	rc = kafka_resume(kp, position, err);
	if (rc)
		return rc;
	kp->committed = *position;
	kafka_span_reset(kp);
	rc = journal_reader_open(&kp->reader, part->journal, part->partition, *position, err);
	if (rc == 0)
		journal_reader_filter(kp->reader, kafka_span_wants, kp);
	if (rc == 0 && lane == KAFKA_LANE_ALERTS && kp->producer_count > 1)
		rc = kafka_commit_start(kp, err);
	log_info(kafka_lane_name[lane], "partition=%u position=%" PRIu64 " epoch=%016" PRIx64,
		part->partition, *position, kp->at.epoch);
	return rc == -ERANGE ? -EINVAL : rc;
}

static int kafka_open(struct sink_part *part, uint64_t *position, struct err *err)
{
	return kafka_lane_open(part, KAFKA_LANE_MAIN, position, err);
}

static int kafka_alerts_open(struct sink_part *part, uint64_t *position, struct err *err)
{
	return kafka_lane_open(part, KAFKA_LANE_ALERTS, position, err);
}

static int kafka_prepare(const struct sink_env *env, enum sink_log log, struct err *err)
{
	return kafka_topics_prepare(env, KAFKA_LANE_MAIN, log, err);
}

static int kafka_alerts_prepare(const struct sink_env *env, enum sink_log log, struct err *err)
{
	return kafka_topics_prepare(env, KAFKA_LANE_ALERTS, log, err);
}

/* Before an abort: what is being committed beside comes to its end. Negative: not to one that is known. */
static int kafka_commit_end(struct kafka_part *kp, struct err *err)
{
	int rc = 0;

	do
		rc = kp->commit ? kafka_commit_take(kp, KAFKA_SLICE_MS, err) : 0;
	while (rc == 1);
	return rc == -EAGAIN ? 0 : rc;
}

/* After an abort: the journal is read again from the committed position. */
static int kafka_retry(struct kafka_part *kp, struct err *err)
{
	struct err why = *err;
	int rc;

	atomic_fetch_add(&kp->part->stats.retries, 1);
	sink_error(kp->part, why.text);
	rc = kafka_commit_end(kp, err);
	if (rc == 0)
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

/* With commits beside: what became of the last one, and the next if it is due. 1: there is something to wait
 * for, of which *wait_ms was told; else as kafka_step(). */
static int kafka_step_beside(struct kafka_part *kp, uint32_t *wait_ms, struct err *err)
{
	int rc = kafka_commit_take(kp, 0, err);

	if (rc < 0)
		return rc;
	if (rc == 0 && kafka_span_due(kp))
		return kafka_span_commit(kp, err);
	if (rc == 1)
		*wait_ms = kp->next == kp->begun ? BESIDE_MS * 5 : BESIDE_MS;
	return 1;
}

/* One round. 1: everything is delivered, and a stop was asked for. */
static int kafka_step(struct kafka_part *kp, struct err *err)
{
	struct journal_block block;
	uint32_t wait_ms = kafka_span_wait_ms(kp, READ_WAIT_MS);
	int rc = 0;

	if (sink_gives_up())
		return err_set(err, -ECANCELED, "stop deadline");
	if (kp->next == kp->committed && sink_stopping(kp->part) && sink_drained(kp->part, kp->committed))
		return 1;
	if (kp->commit) {
		rc = kafka_step_beside(kp, &wait_ms, err);
		if (rc <= 0)
			return rc;
	} else if (kafka_span_due(kp)) {
		return kafka_span_commit(kp, err);
	}
	rd_kafka_poll(kp->tx->rk, 0);
	if (kp->tx->trace && wait_ms > BESIDE_MS)
		wait_ms = BESIDE_MS; /* acknowledgements are seen when they are asked for */
	rc = journal_reader_next(kp->reader, &block, wait_ms, err);
	if (rc < 0)
		return rc == -EAGAIN || rc == -ECANCELED ? -EIO : rc;
	kp->durable_ns = rc ? kafka_trace_durable(kp->tx, block.durable_ns) : 0;
	return rc ? kafka_span_add(kp, &block, err) : 0;
}

static int kafka_run(struct sink_part *part, struct err *err)
{
	struct kafka_part *kp = part->priv;
	struct err other;
	int rc;

	do {
		rc = kafka_step(kp, err);
		if (rc == -EAGAIN)
			rc = kafka_retry(kp, err);
	} while (rc == 0);
	if (rc == 1)
		return 0;
	if (rc != -ECANCELED) {
		kafka_commit_end(kp, &other); /* counted, if it is one that comes to a good end */
		return rc;
	}
	kafka_commit_end(kp, err);
	/* One short try: an open transaction would hide later records from readers until it times out. */
	kafka_tx_abort(kp, 0, err);
	log_warn(kafka_lane_name[kp->lane],
		"partition=%u stop deadline passed, left at=%" PRIu64 " durable=%" PRIu64, part->partition,
		kp->committed, journal_durable_offset(part->journal, part->partition));
	return 0;
}

static void kafka_close(struct sink_part *part)
{
	struct kafka_part *kp = part->priv;

	if (!kp)
		return;
	part->priv = NULL;
	kafka_commit_stop(kp);
	if (kp->committed > kp->floor)
		kafka_floor_write(kp, kp->committed, true);
	if (kp->reader)
		journal_reader_close(kp->reader);
	kafka_producers_free(kp);
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

const struct sink_ops sink_kafka_alerts_ops = {
	.name = "kafka_alerts",
	.prepare = kafka_alerts_prepare,
	.open = kafka_alerts_open,
	.run = kafka_run,
	.close = kafka_close,
};
