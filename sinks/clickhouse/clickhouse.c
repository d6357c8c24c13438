/* The ClickHouse sink: journal ranges as INSERTs, each range written down before it is sent and marked when
 * all its INSERTs are confirmed. The argument: docs/exactly-once.md, ClickHouse.
 *
 * One thread a partition (sinks/runner.c), one HTTP connection, one io_uring. A failed INSERT ends ch_run();
 * the runner backs off and opens again, and open finds the pending range in the intent file: the way after an
 * error is the way after a crash. */
#include "clickhouse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ch_check.h"
#include "ch_ddl.h"
#include "ch_part_priv.h"
#include "clock.h"
#include "crash.h"
#include "log.h"

#define MARK_NS 1000000000ull /* positions that no row depends on are made durable this often */
#define OPEN_MS_MAX 5000u

/* On stop the socket waits on until the deadline, since a confirmed range is worth more than a quick end. */
static bool ch_gives_up(void *arg)
{
	(void)arg;
	return sink_gives_up();
}

static unsigned logs_of(enum sink_log log)
{
	return log == SINK_LOG_OUTPUT ? CH_LOG_OUTPUT : CH_LOG_INPUT;
}

static int ch_prepare(const struct sink_env *env, enum sink_log log, struct err *err)
{
	const struct config_clickhouse *cfg = &env->cfg->clickhouse;
	struct ch_catalog *catalog = NULL;
	struct ch_http http;
	int rc = ch_http_open(&http, cfg, ch_gives_up, NULL, err);

	if (rc == 0)
		rc = ch_catalog_make(&catalog, logs_of(log), env->plan, err);
	if (rc == 0)
		rc = ch_check_tables(&http, cfg, catalog, err);
	ch_catalog_free(catalog);
	ch_http_close(&http);
	return rc;
}

static void endpoint_text(char *out, size_t out_bytes, const struct ch_http *http)
{
	snprintf(out, out_bytes, "%s:%s", http->endpoint.host, http->endpoint.port);
}

/* Does what the file says belong to this journal, and can it be gone on from? */
static int intent_check(struct ch_part *p, struct err *err)
{
	const struct ch_intent *last = &p->intent.last;
	struct journal *j = p->part->journal;
	char endpoint[264];

	if (last->epoch != journal_epoch(j) || strcmp(last->node, journal_node(j)) != 0 ||
		last->partition != p->part->partition)
		return err_set(err, -EINVAL,
			"clickhouse: %s is of node %s, journal %016lx, partition %u, not of this journal; "
			"move it away if the old "
			"journal is given up",
			p->intent.path, last->node, last->epoch, last->partition);
	if (last->to > journal_durable_offset(j, p->part->partition))
		return err_set(err, -EINVAL,
			"clickhouse: %s says that offset %lu was sent, but the journal ends at %lu: the "
			"journal has lost events",
			p->intent.path, last->to, journal_durable_offset(j, p->part->partition));
	endpoint_text(endpoint, sizeof endpoint, &p->http);
	if (last->pending && strcmp(last->endpoint, endpoint) != 0)
		return err_set(err, -EINVAL,
			"clickhouse: range %lu-%lu of partition %u may have reached %s: it must be finished "
			"there before "
			"clickhouse.url can be %s",
			last->from, last->to, p->part->partition, last->endpoint, endpoint);
	return 0;
}

/* No readable step: only a journal that is whole, whose rows the server does not have, may start at 0. */
static int position_first(struct ch_part *p, struct err *err)
{
	struct journal_partition_stats stats;

	journal_stats(p->part->journal, p->part->partition, &stats);
	if (stats.oldest_offset > 0)
		return err_set(err, -EINVAL,
			"clickhouse: partition %u: %s is missing and the journal begins at offset %lu: what "
			"was delivered is "
			"unknown. Put the file back, or set the position by `sluicectl position "
			"clickhouse %u OFFSET%s`",
			p->part->partition, p->intent.path, stats.oldest_offset, p->part->partition,
			p->part->log == SINK_LOG_OUTPUT ? " --output" : "");
	return stats.durable_offset ? ch_position_check(p, 0, err) : 0;
}

static int position_find(struct ch_part *p, uint64_t *position, struct err *err)
{
	const struct ch_intent *last = &p->intent.last;
	int rc;

	*position = 0;
	if (!last->sequence)
		return position_first(p, err);
	rc = intent_check(p, err);
	if (rc)
		return rc;
	*position = last->pending ? last->from : last->to;
	/* A damaged slot is what a crash within its write leaves (nothing was sent then), or a newer step
	 * that is now lost: the server knows which. */
	return p->intent.damaged ? ch_position_check(p, last->to, err) : 0;
}

static int ch_open(struct sink_part *part, uint64_t *position, struct err *err)
{
	const struct sink_env *env = part->env;
	struct ch_part *p = calloc(1, sizeof *p);
	uint64_t timeout_ms = env->cfg->clickhouse.timeout;
	int rc;

	part->priv = p;
	if (!p)
		return err_set(err, -ENOMEM, "clickhouse: no memory");
	p->part = part;
	p->cfg = &env->cfg->clickhouse;
	p->intent.fd = -1;
	p->http.sock.fd = -1;
	ch_rows_init(&p->rows, journal_node(part->journal), journal_epoch(part->journal), part->partition,
		env->rules);
	p->rows.log = part->log;
	p->rows.input_epoch = part->log == SINK_LOG_OUTPUT ? journal_epoch(env->journal) : 0;
	p->rows.plan = env->plan;
	p->rows.windows = env->windows;
	rc = ch_http_open(&p->http, p->cfg, ch_gives_up, NULL, err);
	if (rc == 0)
		rc = ch_catalog_make(&p->catalog, logs_of(part->log), env->plan, err);
	if (rc == 0)
		rc = ch_intent_open(&p->intent, env->data_dir,
			part->log == SINK_LOG_OUTPUT ? CH_INTENT_OUTPUT : CH_INTENT_INPUT, part->partition,
			err);
	if (rc == 0)
		rc = ch_http_query(
			&p->http, "SELECT 1", timeout_ms < OPEN_MS_MAX ? timeout_ms : OPEN_MS_MAX, err);
	if (rc == 0)
		rc = position_find(p, position, err);
	p->marked_ns = clock_mono_ns();
	return rc;
}

/* A step about [from, to) of this journal. */
static void range_set(struct ch_part *p, uint64_t from, uint64_t to, bool pending)
{
	p->range = (struct ch_intent){.epoch = p->rows.epoch,
		.from = from,
		.to = to,
		.pending = pending,
		.insert_count = p->rows.block_count,
		.first_send_ms = clock_wall_ms(),
		.partition = p->part->partition};
	snprintf(p->range.node, sizeof p->range.node, "%s", p->rows.node);
	endpoint_text(p->range.endpoint, sizeof p->range.endpoint, &p->http);
}

/* Everything before range.to is at the server: make that durable, then tell the journal. */
static int range_mark(struct ch_part *p, struct err *err)
{
	int rc;

	p->range.pending = false;
	rc = ch_intent_write(&p->intent, &p->range, err);
	if (rc)
		return rc;
	crash_point("ch_marked");
	p->marked_ns = clock_mono_ns();
	sink_committed(p->part, p->range.to, &p->rows.tally);
	return 0;
}

/* A range that was written down before: the same again, to the same end. */
static int range_resume(struct ch_part *p, struct err *err)
{
	uint32_t crc;
	int rc;

	p->range = p->intent.last;
	atomic_fetch_add(&p->part->stats.retries, 1);
	log_info("clickhouse", "partition=%u range=%lu-%lu is sent again", p->part->partition, p->range.from,
		p->range.to);
	rc = ch_range_reload(p, p->range.from, p->range.to, err);
	if (rc == 0)
		rc = ch_range_crc(p, &crc, err);
	if (rc)
		return rc;
	if (crc != p->range.body_crc || p->rows.block_count != p->range.insert_count)
		log_error("clickhouse",
			"partition=%u range=%lu-%lu encodes differently than when it was first sent (another "
			"version or other "
			"rules); its tokens keep it single",
			p->part->partition, p->range.from, p->range.to);
	rc = ch_range_send(p, true, err);
	return rc ? rc : range_mark(p, err);
}

static int range_deliver(struct ch_part *p, uint64_t from, uint64_t to, struct err *err)
{
	int rc;

	range_set(p, from, to, true);
	rc = ch_range_crc(p, &p->range.body_crc, err);
	if (rc == 0)
		rc = ch_intent_write(&p->intent, &p->range, err);
	if (rc)
		return rc;
	crash_point("ch_intent");
	rc = ch_range_send(p, false, err);
	return rc ? rc : range_mark(p, err);
}

/* A range without rows (ticks, control records, suppressed events): nothing to send, only a position, and not
 * a flush for each. *to goes back to `from` if it is to be gathered again with what comes. */
static int range_pass(struct ch_part *p, uint64_t from, uint64_t to, struct err *err)
{
	bool full = to - from >= p->cfg->range_events;

	if (!full && !sink_stopping(p->part) && clock_mono_ns() - p->marked_ns < MARK_NS)
		return 0;
	range_set(p, from, to, false);
	return range_mark(p, err);
}

static int ch_run(struct sink_part *part, struct err *err)
{
	struct ch_part *p = part->priv;
	uint64_t position = atomic_load(&part->stats.position), to;
	int rc = 0;

	if (p->intent.last.pending) {
		rc = range_resume(p, err);
		position = p->intent.last.to;
	}
	while (rc == 0) {
		if (sink_stopping(part) && sink_drained(part, position))
			return 0;
		rc = ch_range_gather(p, position, &to, err);
		if (rc || to == position)
			continue;
		rc = p->rows.block_count ? range_deliver(p, position, to, err)
					 : range_pass(p, position, to, err);
		position = p->intent.last.to > position ? p->intent.last.to : position;
	}
	return rc;
}

static void ch_close(struct sink_part *part)
{
	struct ch_part *p = part->priv;

	part->priv = NULL;
	if (!p)
		return;
	if (p->reader)
		journal_reader_close(p->reader);
	ch_intent_close(&p->intent);
	ch_http_close(&p->http);
	ch_rows_free(&p->rows);
	bytes_free(&p->body);
	ch_catalog_free(p->catalog);
	free(p);
}

const struct sink_ops sink_clickhouse_ops = {
	.name = "clickhouse",
	.prepare = ch_prepare,
	.open = ch_open,
	.run = ch_run,
	.close = ch_close,
};
