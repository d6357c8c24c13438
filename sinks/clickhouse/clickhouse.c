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
#include <time.h>

#include "ch_part_priv.h"
#include "clock.h"
#include "crash.h"
#include "log.h"
#include "sink_skip.h"

#define MARK_NS 1000000000ull /* positions that no row depends on are made durable this often */

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

/* What is wrong with a window itself others say. */
static int ch_config_check(const struct config *cfg, struct err *err)
{
	struct window_plan *plan = NULL;
	struct ch_catalog *catalog = NULL;
	struct err ignored;
	int rc = ch_http_check(&cfg->clickhouse, err);

	if (rc == 0 && cfg->state.enabled && window_plan_make(&plan, cfg, &ignored) == 0)
		rc = ch_catalog_make(&catalog, CH_LOG_BOTH, plan, err);
	ch_catalog_free(catalog);
	window_plan_free(plan);
	return rc;
}

/* A server's tables are looked at before a part uses it: all servers need not be there at the same time. */
static int ch_prepare(const struct sink_env *env, enum sink_log log, struct err *err)
{
	struct ch_endpoint list[CH_ENDPOINTS_MAX];
	uint32_t count;

	(void)log;
	return ch_endpoints_parse(list, &count, env->cfg->clickhouse.url, err);
}

/* A range may be at a server, and can only be finished there. */
static int range_check(const struct ch_part *p, const struct ch_range *range, struct err *err)
{
	if (ch_target_find(p, range->endpoint) >= 0 || ch_target_lost(p, range->endpoint))
		return 0;
	return err_set(err, -EINVAL,
		"clickhouse: range %lu-%lu of partition %u may have reached %s: it must be finished there; "
		"leave it "
		"in clickhouse.url (now %s), or, if that server is gone for good, name it in clickhouse.lost",
		range->from, range->to, p->part->partition, range->endpoint, p->cfg->url);
}

/* Does what the file says belong to this journal, and can it be gone on from? */
static int intent_check(struct ch_part *p, struct err *err)
{
	const struct ch_intent *last = &p->intent.last;
	struct journal *j = p->part->journal;
	int rc = 0;

	if (last->epoch != journal_epoch(j) || strcmp(last->node, journal_node(j)) != 0 ||
		last->partition != p->part->partition)
		return err_set(err, -EINVAL,
			"clickhouse: %s is of node %s, journal %016lx, partition %u, not of this journal; "
			"move it away if the old "
			"journal is given up",
			p->intent.path, last->node, last->epoch, last->partition);
	if (last->range.to > journal_durable_offset(j, p->part->partition))
		return err_set(err, -EINVAL,
			"clickhouse: %s says that offset %lu was sent, but the journal ends at %lu: the "
			"journal has lost events",
			p->intent.path, last->range.to, journal_durable_offset(j, p->part->partition));
	if (last->pending)
		rc = range_check(p, &last->range, err);
	for (uint32_t i = 0; i < last->parked_count && !rc; i++)
		rc = range_check(p, &last->parked[i], err);
	return rc;
}

/* -EINVAL if any server has rows of this journal partition at or behind `position`. One that is away may have
 * some: it is waited for. */
static int position_check_all(struct ch_part *p, uint64_t position, struct err *err)
{
	uint32_t current = p->current;

	for (uint32_t i = 0; i < p->target_count; i++) {
		int rc = i == p->current ? 0 : ch_target_use(p, i, err);

		if (rc == 0)
			rc = ch_position_check(p, position, err);
		if (rc)
			return rc;
	}
	return p->current == current ? 0 : ch_target_use(p, current, err);
}

/* No readable step: only a journal that is whole, whose rows the server does not have, may start at 0. */
static int position_first(struct ch_part *p, struct err *err)
{
	uint64_t oldest = journal_consumer_oldest(p->part->journal, p->part->consumer);

	if (oldest > 0)
		return err_set(err, -EINVAL,
			"clickhouse: partition %u: %s is missing and the journal begins at offset %lu: what "
			"was delivered is "
			"unknown. Put the file back, or set the position by `sluicectl position "
			"clickhouse %u OFFSET%s`",
			p->part->partition, p->intent.path, oldest, p->part->partition,
			p->part->log == SINK_LOG_OUTPUT ? " --output" : "");
	return journal_durable_offset(p->part->journal, p->part->partition) ? position_check_all(p, 0, err)
									    : 0;
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
	*position = last->pending ? last->range.from : last->range.to;
	/* A damaged slot is what a crash within its write leaves (nothing was sent then), or a newer step
	 * that is now lost: the servers know which. */
	rc = p->intent.damaged ? position_check_all(p, last->range.to, err) : 0;
	return rc ? rc : ch_parked_rebind(p, err);
}

static void rows_begin(struct ch_part *p, struct ch_rows *rows)
{
	const struct sink_env *env = p->part->env;
	struct journal *j = p->part->journal;

	ch_rows_init(rows, journal_node(j), journal_epoch(j), p->part->partition, env->rules);
	rows->log = p->part->log;
	rows->input_epoch = p->part->log == SINK_LOG_OUTPUT ? journal_epoch(env->journal) : 0;
	rows->plan = env->plan;
	rows->windows = env->windows;
}

static int ch_open(struct sink_part *part, uint64_t *position, struct err *err)
{
	const struct sink_env *env = part->env;
	struct ch_part *p = calloc(1, sizeof *p);
	int rc;

	part->priv = p;
	if (!p)
		return err_set(err, -ENOMEM, "clickhouse: no memory");
	p->part = part;
	p->cfg = &env->cfg->clickhouse;
	p->intent.fd = -1;
	p->http.sock.fd = -1;
	p->letters.fd = -1;
	rows_begin(p, &p->rows);
	rows_begin(p, &p->slice);
	rc = ch_http_open(&p->http, p->cfg, ch_gives_up, NULL, err);
	if (rc == 0)
		rc = ch_catalog_make(&p->catalog, logs_of(part->log), env->plan, err);
	if (rc == 0)
		rc = ch_intent_open(&p->intent, env->data_dir,
			part->log == SINK_LOG_OUTPUT ? CH_INTENT_OUTPUT : CH_INTENT_INPUT, part->partition,
			err);
	if (rc == 0)
		rc = ch_letters_open(&p->letters, p->intent.path, p->cfg->letters_max, err);
	if (rc == 0)
		rc = ch_targets_open(p, err);
	if (rc == 0)
		rc = ch_target_choose(p, err);
	if (rc == 0)
		rc = position_find(p, position, err);
	if (rc == 0)
		ch_parked_tell(p, atomic_load(&part->stats.position));
	p->marked_ns = clock_mono_ns();
	return rc;
}

/* The range at hand is [from, to), and goes to the current server. */
static void range_set(struct ch_part *p, uint64_t from, uint64_t to)
{
	p->range = (struct ch_range){.from = from,
		.to = to,
		.insert_count = p->rows.block_count,
		.first_send_ms = clock_wall_ms()};
	snprintf(p->range.endpoint, sizeof p->range.endpoint, "%s", p->target[p->current].endpoint.name);
}

/* Everything before range.to is delivered, but for what is parked: make that durable, then tell the journal.
 */
static int range_mark(struct ch_part *p, struct err *err)
{
	int rc = ch_step_write(p, false, err);

	if (rc)
		return rc;
	crash_point("ch_marked");
	p->marked_ns = clock_mono_ns();
	sink_committed(p->part, p->range.to, &p->rows.tally);
	return 0;
}

/* Behind what was given up, or is damaged (to_min). *position: everything before it is at the server. */
static int range_skip(
	struct ch_part *p, uint64_t *position, uint64_t to_min, enum journal_skip reason, struct err *err)
{
	uint64_t from = *position;
	int rc = journal_skip_take(p->part->journal, p->part->consumer, from, to_min, reason, position, err);

	if (rc || *position == from)
		return rc;
	ch_rows_clear(&p->rows);
	range_set(p, from, *position);
	return range_mark(p, err);
}

/* A range that may have been sent and cannot be read any more: it is skipped as a whole, since a part of it
 * would be another block. The server says how much of it has come. */
static int range_abandon(struct ch_part *p, enum journal_skip reason, struct err *err)
{
	uint64_t position = p->intent.last.range.from, end = p->intent.last.range.to, rows;
	int rc = ch_rows_there(p, position, end, &rows, err);

	if (rc)
		return rc;
	log_error("clickhouse",
		"partition=%u range=%lu-%lu may have been sent and cannot be read any more: it is skipped; "
		"the server "
		"has rows=%lu of it",
		p->part->partition, position, end, rows);
	return range_skip(p, &position, end, reason, err);
}

/* Records of the range at hand were given up, and are not there any more. */
static bool range_gone(const struct ch_part *p)
{
	struct journal_partition_stats stats;

	journal_stats(p->part->journal, p->part->partition, &stats);
	return sink_skip_wanted(p->part, p->range.from) && stats.oldest_offset > p->range.from;
}

/* The pending range could not be sent to the current server. 0: it is dealt with, *moved: by going to another
 * one, to which it is yet to be sent. Else `rc`, with err as it was. */
static int range_failed(struct ch_part *p, int rc, bool *moved, struct err *err)
{
	struct err why;
	bool absent;

	*moved = false;
	if (p->ours || p->target_count == 1 || rc == -ENOMEM || rc == -ECANCELED || sink_gives_up())
		return rc;
	sink_error(p->part, err->text);
	/* What was refused in so many words, and is not there, may go elsewhere at once. */
	absent = ch_range_absent(p);
	ch_target_away(p, p->current, rc, err);
	if (ch_target_choose(p, &why))
		return rc;
	if (!absent)
		return ch_range_park(p, err);
	log_warn("clickhouse", "partition=%u range=%lu-%lu goes to %s: %s has nothing of it",
		p->part->partition, p->range.from, p->range.to, p->target[p->current].endpoint.name,
		p->range.endpoint);
	snprintf(p->range.endpoint, sizeof p->range.endpoint, "%s", p->target[p->current].endpoint.name);
	p->range.first_send_ms = clock_wall_ms();
	*moved = true;
	return ch_step_write(p, true, err);
}

/* A range that was written down before: the same again, to the same end, at the server that may have it. */
static int range_resume(struct ch_part *p, struct err *err)
{
	struct ch_range range = p->intent.last.range;
	int target = ch_target_find(p, range.endpoint), rc = 0;
	uint64_t to;
	bool moved;

	if ((uint32_t)target != p->current && ch_target_use(p, (uint32_t)target, err)) {
		rc = ch_target_choose(p, err);
		return rc ? rc : ch_range_park(p, err);
	}
	rc = ch_range_again(p, &range, err);
	if (rc == -EBADMSG && p->ours && p->reader && journal_reader_resync(p->reader, &to, err) == 0)
		return range_abandon(p, JOURNAL_SKIP_DAMAGED, err);
	if (rc && range_gone(p))
		return range_abandon(p, JOURNAL_SKIP_FULL, err);
	if (rc)
		return range_failed(p, rc, &moved, err);
	ch_target_good(p);
	return range_mark(p, err);
}

static int range_deliver(struct ch_part *p, uint64_t from, uint64_t to, struct err *err)
{
	bool moved = true;
	int rc;

	range_set(p, from, to);
	rc = ch_range_crc(p, &p->range.body_crc, err);
	if (rc == 0)
		rc = ch_step_write(p, true, err);
	while (rc == 0 && moved) {
		crash_point("ch_intent");
		p->ambiguous = p->recoded = false;
		rc = ch_range_send(p, false, err);
		if (rc == 0) {
			ch_target_good(p);
			return range_mark(p, err);
		}
		rc = range_failed(p, rc, &moved, err);
	}
	return rc;
}

/* A range without rows (ticks, control records, suppressed events): nothing to send, only a position, and not
 * a flush for each. It is gathered again with what comes, if it is not marked here. */
static int range_pass(struct ch_part *p, uint64_t from, uint64_t to, struct err *err)
{
	bool full = to - from >= p->cfg->range_events;

	if (!full && !sink_stopping(p->part) && clock_mono_ns() - p->marked_ns < MARK_NS)
		return 0;
	range_set(p, from, to);
	return range_mark(p, err);
}

/* At a stop all is delivered but what waits for a server: as long as there is time it may come back. */
static bool run_ends(struct ch_part *p, uint64_t position)
{
	if (!sink_stopping(p->part) || !sink_drained(p->part, position))
		return false;
	if (!p->intent.last.parked_count || sink_gives_up())
		return true;
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	return false;
}

static int ch_run(struct sink_part *part, struct err *err)
{
	struct ch_part *p = part->priv;
	uint64_t position = atomic_load(&part->stats.position), to;
	int rc = 0;

	if (p->intent.last.pending) {
		rc = range_resume(p, err);
		position = p->intent.last.range.to;
	}
	while (rc == 0) {
		rc = ch_parked_tend(p, err);
		if (rc || run_ends(p, position))
			break;
		if (sink_skip_wanted(p->part, position)) {
			rc = range_skip(p, &position, 0, JOURNAL_SKIP_FULL, err);
			continue;
		}
		rc = ch_range_gather(p, position, &to, err);
		if (rc && sink_skip_wanted(p->part, position))
			rc = 0;
		else if (rc == -EBADMSG && journal_reader_resync(p->reader, &to, err) == 0)
			rc = range_skip(p, &position, to, JOURNAL_SKIP_DAMAGED, err);
		if (rc || to <= position)
			continue;
		rc = p->rows.block_count ? range_deliver(p, position, to, err)
					 : range_pass(p, position, to, err);
		position = p->intent.last.range.to > position ? p->intent.last.range.to : position;
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
	ch_letters_close(&p->letters);
	ch_http_close(&p->http);
	ch_rows_free(&p->rows);
	ch_rows_free(&p->slice);
	bytes_free(&p->bodies);
	bytes_free(&p->piece);
	ch_catalog_free(p->catalog);
	free(p);
}

const struct sink_ops sink_clickhouse_ops = {
	.name = "clickhouse",
	.check = ch_config_check,
	.prepare = ch_prepare,
	.open = ch_open,
	.run = ch_run,
	.close = ch_close,
};
