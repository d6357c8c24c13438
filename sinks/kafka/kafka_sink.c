/* The Kafka sinks: the main lane, one transactional producer per partition of a log, whose records and
 * position go out in the same transactions; and that of alerts, with producers, positions and sink threads of
 * its own. One sink thread per lane and partition (sinks/runner.c). See docs/exactly-once.md. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "kafka_priv.h"
#include "log.h"
#include "sink_skip.h"

#define ABORTS_MAX 5 /* in a row, before the producer is made anew */
#define READ_WAIT_MS 50u
#define TRACE_WAIT_MS 1u

const char *const kafka_lane_name[] = {"kafka", "kafka_alerts"};

/* At least once: fenced, found and judged as ever, so that the mode may change at any start; what follows
 * goes out without transactions. */
static int plain_open(struct kafka_part *kp, struct err *err)
{
	if (kafka_config(kp)->mode != KAFKA_MODE_AT_LEAST_ONCE)
		return 0;
	kafka_producer_free(kp);
	kp->tx.plain = true;
	return kafka_producer_new(kp, err);
}

static void lane_init(struct kafka_part *kp, struct sink_part *part, enum kafka_lane lane)
{
	kp->part = part;
	kp->lane = lane;
	kp->at = (struct address){.node = journal_node(part->journal),
		.epoch = journal_epoch(part->journal),
		.partition = part->partition};
}

static int kafka_lane_open(struct sink_part *part, enum kafka_lane lane, uint64_t *position, struct err *err)
{
	struct kafka_part *kp = calloc(1, sizeof *kp);
	int rc;

	if (!kp)
		return err_set(err, -ENOMEM, "no memory");
	part->priv = kp;
	lane_init(kp, part, lane);
	if (part->log == SINK_LOG_OUTPUT)
		kp->input = (struct address){.node = journal_node(part->env->journal),
			.epoch = journal_epoch(part->env->journal),
			.partition = part->partition};
	rc = kafka_headers_parse(&kp->headers, kafka_config(kp)->headers, err);
	if (rc == 0)
		rc = kafka_resume(kp, position, err);
	if (rc == 0)
		rc = kafka_left_end(kp, *position, err);
	if (rc == 0)
		rc = plain_open(kp, err);
	if (rc)
		return rc;
	kp->committed = *position;
	kafka_span_reset(kp);
	/* Where records were given up, behind them: kafka_step() skips first. */
	rc = journal_reader_open(&kp->reader, part->journal, part->partition,
		journal_skip_wanted(part->journal, part->consumer, *position), err);
	if (rc == 0) {
		journal_reader_filter(kp->reader, kafka_span_wants, kp);
		journal_reader_wakes(kp->reader, kafka_span_wakes(kp));
	}
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

/* A transaction that was open when an instance before died hides, for as long as the broker waits for its
 * end, all that lies behind it in the positions topic: from the lanes of the epoch before, too, which come
 * first. */
static int kafka_lane_wait(struct sink_part *part, enum kafka_lane lane, struct err *err)
{
	struct kafka_part kp = {0};
	int rc;

	lane_init(&kp, part, lane);
	rc = kafka_fence(&kp, err);
	kafka_producer_free(&kp);
	return rc;
}

static int kafka_wait(struct sink_part *part, struct err *err)
{
	return kafka_lane_wait(part, KAFKA_LANE_MAIN, err);
}

static int kafka_alerts_wait(struct sink_part *part, struct err *err)
{
	return kafka_lane_wait(part, KAFKA_LANE_ALERTS, err);
}

static int kafka_prepare(const struct sink_env *env, enum sink_log log, struct err *err)
{
	return kafka_topics_prepare(env, KAFKA_LANE_MAIN, log, err);
}

static int kafka_alerts_prepare(const struct sink_env *env, enum sink_log log, struct err *err)
{
	return kafka_topics_prepare(env, KAFKA_LANE_ALERTS, log, err);
}

/* After an abort: the journal is read again from the committed position. */
static int kafka_retry(struct kafka_part *kp, struct err *err)
{
	struct err why = *err;
	int rc;

	atomic_fetch_add(&kp->part->stats.retries, 1);
	sink_error(kp->part, why.text);
	rc = kafka_tx_abort(kp, KAFKA_ABORT_LIMIT_MS, err);
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

static int span_commit(void *sink, struct err *err)
{
	return kafka_span_commit(sink, err);
}

/* One round. 1: everything is delivered, and a stop was asked for. */
static int kafka_step(struct kafka_part *kp, struct err *err)
{
	struct journal_block block;
	struct sink_span span = {kp->part, kp->reader, &kp->next, &kp->committed, span_commit, kp};
	uint32_t wait_ms = kafka_span_wait_ms(kp, READ_WAIT_MS);
	int rc;

	if (sink_gives_up())
		return err_set(err, -ECANCELED, "stop deadline");
	if (kp->next == kp->committed && sink_stopping(kp->part) && sink_drained(kp->part, kp->committed))
		return 1;
	if (sink_skip_wanted(kp->part, kp->next))
		return sink_skip(&span, err);
	if (kafka_span_due(kp))
		return kafka_span_commit(kp, err);
	rd_kafka_poll(kp->tx.rk, 0);
	if (kp->tx.trace && wait_ms > TRACE_WAIT_MS)
		wait_ms = TRACE_WAIT_MS; /* acknowledgements are seen when they are asked for */
	rc = journal_reader_next(kp->reader, &block, wait_ms, err);
	if (rc < 0)
		return sink_unreadable(&span, rc, err);
	kp->durable_ns = rc ? kafka_trace_durable(&kp->tx, block.durable_ns) : 0;
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
	if (rc == 1)
		return 0;
	if (rc != -ECANCELED)
		return rc;
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
	if (kp->committed > kp->floor)
		kafka_floor_write(kp, kp->committed, true);
	if (kp->reader)
		journal_reader_close(kp->reader);
	kafka_left_note(kp);
	kafka_producer_free(kp);
	ruleset_stand_leave(&kp->rules, part->env->rules);
	bytes_free(&kp->json);
	free(kp);
}

const struct sink_ops sink_kafka_ops = {
	.name = "kafka",
	.check = kafka_check,
	.prepare = kafka_prepare,
	.wait = kafka_wait,
	.open = kafka_open,
	.run = kafka_run,
	.close = kafka_close,
};

const struct sink_ops sink_kafka_alerts_ops = {
	.name = "kafka_alerts", /* what it reads kafka reads, too */
	.prepare = kafka_alerts_prepare,
	.wait = kafka_alerts_wait,
	.open = kafka_alerts_open,
	.run = kafka_run,
	.close = kafka_close,
};
