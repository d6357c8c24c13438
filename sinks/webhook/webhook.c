/* The webhook sink: alerts of both logs as HTTP POSTs, at least once. A request is sent until it is answered;
 * then the position is written down (DATA_DIR/sinks/webhook/p<k>.mark, webhook-output for the output log). A
 * crash in between sends it again, with the same ids: HTTP has no transaction that could hold both. One sink
 * thread per partition. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "crash.h"
#include "durable.h"
#include "hash.h"
#include "log.h"
#include "sink_mark.h"
#include "sink_skip.h"
#include "wh_priv.h"

#define READ_WAIT_MS 50u
#define MARK_EVERY_MS 2000u /* a position that no alert depends on */
#define RETRY_MIN_MS 100u

struct wh_part {
	struct sink_part *part;
	const struct config_webhook *cfg;
	struct journal_reader *reader;
	struct address at; /* offset: of the record in work */
	char mark[512];
	struct ruleset_stand rules;
	struct wh_http http;
	struct wh_body body;
	struct bytes request;
	uint64_t committed, next;
	uint64_t since_ns;	 /* when the first record behind `committed`, or the first alert, was taken */
	struct sink_tally tally; /* of [committed, next) */
};

static int wh_prepare(const struct sink_env *env, enum sink_log log, struct err *err)
{
	(void)log;
	return wh_config_check(&env->cfg->webhook, err);
}

static int wh_check(const struct config *cfg, struct err *err)
{
	return wh_http_check(&cfg->webhook, err);
}

/* Where to go on. Without a mark, or behind what retention has removed while this sink was off: with the
 * oldest record; alerts that are too old are held back then. */
static int position_find(struct wh_part *wp, uint64_t *position, struct err *err)
{
	struct journal_partition_stats js;
	int rc = sink_mark_read(wp->mark, wp->at.epoch, position);

	journal_stats(wp->part->journal, wp->at.partition, &js);
	/* What was given up is skipped with its count: wh_step(). */
	js.oldest_offset = journal_consumer_oldest(wp->part->journal, wp->part->consumer);
	if (rc < 0)
		log_warn("webhook", "partition=%u %s: %s: beginning with the oldest record", wp->at.partition,
			wp->mark, rc == -EBADMSG ? "damaged" : strerror(-rc));
	if (rc == 1 && *position > js.durable_offset)
		return err_set(err, -EINVAL,
			"webhook: %s says that offset %" PRIu64
			" was reached, but partition %u ends at %" PRIu64
			": the journal has lost data; remove the file to go on with the oldest record",
			wp->mark, *position, wp->at.partition, js.durable_offset);
	if (rc == 1 && *position < js.oldest_offset)
		log_warn("webhook",
			"partition=%u offset %" PRIu64 " was reached, and the journal begins at %" PRIu64
			": alerts of the %" PRIu64 " records between are not sent",
			wp->at.partition, *position, js.oldest_offset, js.oldest_offset - *position);
	if (rc != 1 || *position < js.oldest_offset)
		*position = js.oldest_offset;
	return 0;
}

static int wh_open(struct sink_part *part, uint64_t *position, struct err *err)
{
	struct wh_part *wp = calloc(1, sizeof *wp);
	char dir[400];
	int rc;

	if (!wp)
		return err_set(err, -ENOMEM, "no memory");
	part->priv = wp;
	wp->part = part;
	wp->cfg = &part->env->cfg->webhook;
	wp->at = (struct address){.node = journal_node(part->journal),
		.epoch = journal_epoch(part->journal),
		.partition = part->partition};
	snprintf(dir, sizeof dir, "%.250s/sinks/webhook%s", part->env->data_dir,
		part->log == SINK_LOG_OUTPUT ? "-output" : "");
	snprintf(wp->mark, sizeof wp->mark, "%s/p%u.mark", dir, part->partition);
	rc = durable_dir_make(dir, err);
	if (rc == 0)
		rc = position_find(wp, position, err);
	if (rc == 0)
		rc = wh_http_open(&wp->http, wp->cfg, err);
	if (rc)
		return rc;
	wp->committed = *position;
	wp->next = *position;
	rc = journal_reader_open(&wp->reader, part->journal, part->partition,
		journal_skip_wanted(part->journal, part->consumer, *position), err);
	log_info("webhook", "partition=%u position=%" PRIu64 " epoch=%016" PRIx64, part->partition, *position,
		wp->at.epoch);
	return rc;
}

/* ---- sending ---- */

/* Until the next try: what the other side asks for, or longer and longer. False: given up on stop. */
static bool send_pause(const struct wh_part *wp, uint64_t *backoff_ms)
{
	uint64_t half = *backoff_ms / 2, wait_ms = half + hash_u64(clock_mono_ns()) % (half + 1), until_ns;

	if (wait_ms < wp->http.retry_after_ms)
		wait_ms = wp->http.retry_after_ms;
	*backoff_ms = *backoff_ms * 2 < wp->cfg->retry_max ? *backoff_ms * 2 : wp->cfg->retry_max;
	until_ns = clock_mono_ns() + wait_ms * 1000000u;
	while (clock_mono_ns() < until_ns && !sink_gives_up())
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	return !sink_gives_up();
}

/* Alerts [from, to) until there is an answer to them. WH_DONE, WH_REFUSED, or -errno: -EACCES: open again,
 * which reads token and headers anew. */
static int send_range(struct wh_part *wp, uint32_t from, uint32_t to, struct err *err)
{
	uint64_t backoff_ms = RETRY_MIN_MS < wp->cfg->retry_max ? RETRY_MIN_MS : wp->cfg->retry_max;

	wh_body_join(&wp->request, &wp->body, from, to);
	if (wp->request.failed)
		return err_set(err, -ENOMEM, "no memory for a request");
	for (;;) {
		enum wh_result result;

		if (sink_gives_up())
			return err_set(err, -ECANCELED, "stop deadline");
		result = wh_http_post(&wp->http, wp->request.data, wp->request.bytes, err);
		crash_point("webhook_sent");
		if (result == WH_DONE || result == WH_REFUSED) {
			atomic_store(&wp->part->stats.state, SINK_RUNNING);
			return result;
		}
		atomic_fetch_add(&wp->part->stats.retries, 1);
		if (result == WH_BARRED && !wp->http.retry_after_ms)
			return -EACCES;
		sink_error(wp->part, err->text);
		atomic_store(&wp->part->stats.state, SINK_BACKOFF);
		if (!send_pause(wp, &backoff_ms))
			return err_set(err, -ECANCELED, "stop deadline");
		if (result == WH_BARRED)
			return -EACCES;
	}
}

/* All that wait. A refusal of many is asked again one by one: it may be about one of them. */
static int send_all(struct wh_part *wp, struct err *err)
{
	uint32_t count = wp->body.count;
	int rc = count ? send_range(wp, 0, count, err) : WH_DONE;

	if (rc == WH_DONE) {
		wp->tally.alerts += count;
		wp->tally.bytes += wp->request.bytes;
		return 0;
	}
	for (uint32_t i = 0; i < count && rc >= 0; i++) {
		if (count > 1)
			rc = send_range(wp, i, i + 1, err);
		if (rc == WH_DONE)
			wp->tally.alerts++;
		if (rc != WH_REFUSED)
			continue;
		wp->tally.refused++;
		sink_error(wp->part, err->text);
		log_warn("webhook", "partition=%u an alert is refused for good, and passed over: %.*s",
			wp->at.partition, wp->request.bytes < 400 ? (int)wp->request.bytes : 400,
			(const char *)wp->request.data);
	}
	return rc < 0 ? rc : 0;
}

static int wh_flush(struct wh_part *wp, struct err *err)
{
	int rc = send_all(wp, err);

	if (rc)
		return rc;
	crash_point("webhook_answered");
	rc = sink_mark_write(wp->mark, wp->at.epoch, wp->next);
	if (rc)
		return err_set(err, rc, "webhook: %s: %s", wp->mark, strerror(-rc));
	wp->committed = wp->next;
	sink_committed(wp->part, wp->committed, &wp->tally);
	wp->tally = (struct sink_tally){0};
	bytes_reset(&wp->body.json);
	wp->body.count = 0;
	return 0;
}

/* ---- reading ---- */

static int alert_take(void *arg, const struct sink_alert *a, struct err *err)
{
	struct wh_part *wp = arg;
	int64_t now_ms = clock_wall_ms();

	if (!wh_alert_wanted(wp->cfg, a, now_ms)) {
		wp->tally.held++;
		return 0;
	}
	if (!wp->body.count)
		wp->since_ns = clock_mono_ns();
	if (wp->body.count == WH_BATCH_MAX) { /* a record of very many: what is sent may be sent again */
		int rc = send_all(wp, err);

		if (rc)
			return rc;
		bytes_reset(&wp->body.json);
		wp->body.count = 0;
	}
	return wh_body_add(&wp->body, wp->cfg, a, now_ms, err);
}

static int take_record(struct wh_part *wp, const struct record *rec, uint32_t generation, struct err *err)
{
	uint64_t before = wp->body.count + wp->tally.held + wp->tally.alerts + wp->tally.refused;
	int rc;

	if (wp->next == wp->committed)
		wp->since_ns = clock_mono_ns();
	rc = sink_alerts_each(wp->part, &wp->rules, rec, generation, &wp->at, alert_take, wp, err);
	/* Of the input an alert is beside its event. */
	if (wp->part->log == SINK_LOG_INPUT ||
		before == wp->body.count + wp->tally.held + wp->tally.alerts + wp->tally.refused)
		wp->tally.other++;
	if (rec->receive_time_ms)
		wp->tally.last_time_ms = rec->receive_time_ms;
	return rc;
}

static int take_block(struct wh_part *wp, const struct journal_block *block, struct err *err)
{
	const uint8_t *at = block->data;

	atomic_fetch_add(&wp->part->stats.position_bytes, block->bytes);
	for (uint32_t i = 0; i < block->record_count; i++) {
		const struct record *rec = (const struct record *)at;
		uint64_t offset = block->first_offset + i;
		int rc;

		at += rec->bytes;
		if (offset < wp->next)
			continue;
		if (offset != wp->next)
			return err_set(err, -EIO, "journal partition %u: offset %" PRIu64 " follows %" PRIu64,
				wp->at.partition, offset, wp->next);
		wp->at.offset = offset;
		rc = take_record(wp, rec, block->generation, err);
		if (rc)
			return rc;
		wp->next = offset + 1;
		if (wp->body.count >= wp->cfg->batch)
			rc = wh_flush(wp, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Milliseconds until what was taken is to be sent, or its position written; 0: now. */
static uint64_t due_in_ms(const struct wh_part *wp)
{
	uint64_t age_ms, limit_ms = wp->body.count ? wp->cfg->batch_age : MARK_EVERY_MS;

	if (wp->next == wp->committed)
		return READ_WAIT_MS;
	if (sink_stopping(wp->part) && sink_drained(wp->part, wp->next))
		return 0;
	age_ms = (clock_mono_ns() - wp->since_ns) / 1000000u;
	return age_ms < limit_ms ? limit_ms - age_ms : 0;
}

static int span_commit(void *sink, struct err *err)
{
	return wh_flush(sink, err);
}

/* One round. 1: everything is delivered, and a stop was asked for. */
static int wh_step(struct wh_part *wp, struct err *err)
{
	struct sink_span span = {wp->part, wp->reader, &wp->next, &wp->committed, span_commit, wp};
	uint64_t due_ms = due_in_ms(wp);
	struct journal_block block;
	int rc;

	if (sink_gives_up())
		return err_set(err, -ECANCELED, "stop deadline");
	if (wp->next == wp->committed && sink_stopping(wp->part) && sink_drained(wp->part, wp->committed))
		return 1;
	if (sink_skip_wanted(wp->part, wp->next))
		return sink_skip(&span, err);
	if (!due_ms)
		return wh_flush(wp, err);
	rc = journal_reader_next(
		wp->reader, &block, due_ms < READ_WAIT_MS ? (uint32_t)due_ms : READ_WAIT_MS, err);
	if (rc < 0)
		return sink_unreadable(&span, rc, err);
	return rc ? take_block(wp, &block, err) : 0;
}

static int wh_run(struct sink_part *part, struct err *err)
{
	struct wh_part *wp = part->priv;
	int rc;

	do
		rc = wh_step(wp, err);
	while (rc == 0);
	if (rc != -ECANCELED)
		return rc == 1 ? 0 : rc;
	log_warn("webhook", "partition=%u stop deadline passed, left at=%" PRIu64 " durable=%" PRIu64,
		part->partition, wp->committed, journal_durable_offset(part->journal, part->partition));
	return 0;
}

static void wh_close(struct sink_part *part)
{
	struct wh_part *wp = part->priv;

	if (!wp)
		return;
	part->priv = NULL;
	if (wp->reader)
		journal_reader_close(wp->reader);
	ruleset_stand_leave(&wp->rules, part->env->rules);
	wh_http_close(&wp->http);
	bytes_free(&wp->body.json);
	bytes_free(&wp->request);
	free(wp);
}

const struct sink_ops sink_webhook_ops = {
	.name = "webhook",
	.check = wh_check,
	.prepare = wh_prepare,
	.open = wh_open,
	.run = wh_run,
	.close = wh_close,
};
