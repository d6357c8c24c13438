/* Runs one thread per (sink, log, partition): prepare, open, run, close, and backoff with jitter in between.
 */
#include "sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "hash.h"
#include "log.h"

#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 10000u
#define REFUSED_WAIT_MS 60000u
#define STOP_RETRY_MS 200u
#define SAY_AGAIN_MS 60000u

static const struct sink_ops *const ops_of[SINK_ID_MAX] = {
#define SINK(id, name, section, help) [id] = &sink_##name##_ops,
#include "sinks.def"
#undef SINK
};

static bool sink_enabled(const struct config *cfg, enum sink_id id)
{
	const bool enabled[SINK_ID_MAX] = {
#define SINK(id, name, section, help) [id] = cfg->section.enabled,
#include "sinks.def"
#undef SINK
	};

	return enabled[id];
}

/* What may be given up for it: docs/operations.md. */
static struct journal_limits sink_limits(const struct config *cfg, enum sink_id id)
{
	const struct journal_limits limits[SINK_ID_MAX] = {
#define SINK(id, name, section, help)                                                                        \
	[id] = {cfg->section.lag_limit, cfg->section.lag_policy == CONFIG_LAG_SKIP},
#include "sinks.def"
#undef SINK
	};

	return limits[id];
}

/* The part whose thread this is. */
static _Thread_local struct sink_part *sink_self;

/* What the log must keep for us. */
static void sink_retain(struct sink_part *part, uint64_t position)
{
	bool parked = atomic_load(&part->stats.parked) > 0;

	journal_consumer_set(part->journal, part->consumer, parked ? part->parked_from : position);
}

void sink_park(struct sink_part *part, uint64_t position, uint64_t records, uint64_t from)
{
	part->parked_from = from;
	atomic_store(&part->stats.parked, records);
	if (!part->opened)
		return;
	atomic_store(&part->stats.position, position);
	sink_retain(part, position);
}

void sink_note(struct sink_part *part, const char *text)
{
	pthread_mutex_lock(&part->error_lock);
	snprintf(part->note, sizeof part->note, "%s", text);
	pthread_mutex_unlock(&part->error_lock);
}

/* Counts what was skipped on the way to `position`, which is now committed. */
static void sink_skipped(struct sink_part *part, uint64_t position)
{
	uint64_t before = atomic_load(&part->stats.position);

	if (journal_skip_wanted(part->journal, part->consumer, before) == before)
		return;
	atomic_fetch_add(
		&part->stats.skipped, journal_skipped(part->journal, part->consumer, before, position));
	journal_skip_passed(part->journal, part->consumer, position);
}

void sink_committed(struct sink_part *part, uint64_t position, const struct sink_tally *tally)
{
	struct sink_stats *s = &part->stats;

	sink_skipped(part, position);
	atomic_fetch_add(&s->events, tally->events);
	atomic_fetch_add(&s->suppressed, tally->suppressed);
	atomic_fetch_add(&s->alerts, tally->alerts);
	atomic_fetch_add(&s->dead, tally->dead);
	atomic_fetch_add(&s->rows, tally->rows);
	atomic_fetch_add(&s->late, tally->late);
	atomic_fetch_add(&s->other, tally->other);
	atomic_fetch_add(&s->held, tally->held);
	atomic_fetch_add(&s->rejected, tally->rejected);
	atomic_fetch_add(&s->refused, tally->refused);
	atomic_fetch_add(&s->bytes, tally->bytes);
	atomic_fetch_add(&s->commits, 1);
	if (tally->last_time_ms)
		atomic_store(&s->position_time_ms, tally->last_time_ms);
	atomic_store(&s->position, position);
	/* What went wrong before is over; the log has it. */
	pthread_mutex_lock(&part->error_lock);
	part->error[0] = 0;
	pthread_mutex_unlock(&part->error_lock);
	sink_retain(part, position);
}

void sink_error(struct sink_part *part, const char *text)
{
	uint64_t now_ns = clock_mono_ns();
	bool said;

	pthread_mutex_lock(&part->error_lock);
	said = strcmp(part->error, text) == 0 && now_ns - part->said_ns < SAY_AGAIN_MS * 1000000ull;
	snprintf(part->error, sizeof part->error, "%s", text);
	if (!said)
		part->said_ns = now_ns;
	pthread_mutex_unlock(&part->error_lock);
	if (!said)
		log_warn(part->group->name, "partition=%u %s", part->partition, text);
}

void sink_waits(const char *text)
{
	if (sink_self)
		sink_error(sink_self, text);
}

static bool sink_asked(const struct sink_part *part)
{
	return atomic_load_explicit(&part->stop, memory_order_acquire);
}

static bool sink_overdue(const struct sink_part *part)
{
	uint64_t now_ns = clock_mono_ns(), hurry = atomic_load(&part->hurry_deadline_ns);

	return sink_asked(part) &&
	       (now_ns > atomic_load(&part->stop_deadline_ns) || (hurry && now_ns > hurry));
}

bool sink_drained(const struct sink_part *part, uint64_t position)
{
	return position >= journal_durable_offset(part->journal, part->partition) || sink_overdue(part);
}

bool sink_gives_up(void)
{
	return sink_self && sink_overdue(sink_self);
}

/* Sleeps in short steps, so that a stop is seen soon. */
static void sink_sleep(struct sink_part *part, uint64_t ms)
{
	uint64_t until = clock_mono_ns() + ms * 1000000u;

	while (!sink_asked(part) && clock_mono_ns() < until)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* Takes the position that open found: the first is the start of this process's count, a later one that is
 * further than ours means a commit whose answer was lost. */
static void sink_position_opened(struct sink_part *part, uint64_t position)
{
	uint64_t before = atomic_load(&part->stats.position);

	if (!part->opened) /* what is parked is delivered by this process, too: the ledger counts it */
		atomic_store(&part->stats.start, position - atomic_load(&part->stats.parked));
	else if (position > before)
		atomic_fetch_add(&part->stats.found,
			position - before - journal_skipped(part->journal, part->consumer, before, position));
	if (part->opened)
		sink_skipped(part, position);
	else
		journal_skip_passed(part->journal, part->consumer, position);
	atomic_store(&part->stats.position, position);
	part->opened = true;
}

/* prepare(), by whichever part comes first; the others wait for it here, not behind a lock, so that they see
 * a stop. */
static int sink_prepare(struct sink_part *part, struct err *err)
{
	struct sink_group *group = part->group;
	int rc = 0;

	while (pthread_mutex_trylock(&group->prepare_lock)) {
		if (sink_gives_up())
			return err_set(err, -ECANCELED, "stopped before the target was ready");
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	if (!group->prepared && sink_gives_up()) {
		rc = err_set(err, -ECANCELED, "stopped before the target was ready");
	} else if (!group->prepared) {
		rc = part->ops->prepare(part->env, part->log, err);
		group->prepared = rc == 0;
	}
	pthread_mutex_unlock(&group->prepare_lock);
	return rc;
}

/* One try: 0 after an orderly stop, else the error that ended it. *progress: whether it delivered anything.
 */
static int sink_try(struct sink_part *part, bool *progress, struct err *err)
{
	uint64_t position;
	int rc;

	part->refused_ms = 0;
	atomic_store(&part->stats.state, SINK_CONNECTING);
	rc = sink_prepare(part, err);
	if (rc)
		return rc;
	rc = part->ops->open(part, &position, err);
	if (rc == -EINVAL && !part->opened) /* its position may be put back by hand, to anywhere */
		journal_stood_doubt(part->journal, part->consumer);
	if (rc == 0) {
		sink_position_opened(part, position);
		sink_retain(part, position);
		atomic_store(&part->stats.state, SINK_RUNNING);
		rc = part->ops->run(part, err);
		*progress = atomic_load(&part->stats.position) > position;
	}
	part->ops->close(part);
	return rc;
}

/* Waits before the next try. False: no next try. */
static bool sink_back_off(struct sink_part *part, int rc, uint64_t *backoff_ms)
{
	uint64_t half = *backoff_ms / 2;
	uint64_t wait_ms = half + hash_u64(clock_mono_ns() ^ part->partition) % (half + 1);

	atomic_store(&part->stats.state, rc == -EINVAL ? SINK_REFUSED : SINK_BACKOFF);
	*backoff_ms = *backoff_ms * 2 < BACKOFF_MAX_MS ? *backoff_ms * 2 : BACKOFF_MAX_MS;
	if (!sink_asked(part))
		sink_sleep(part, rc != -EINVAL	    ? wait_ms
				 : part->refused_ms ? part->refused_ms
						    : REFUSED_WAIT_MS);
	if (!sink_asked(part))
		return true;
	/* At a stop, tries go on until the deadline: what is durable should still leave. A refusal stands. */
	if (rc == -EINVAL || sink_gives_up())
		return false;
	nanosleep(&(struct timespec){.tv_nsec = STOP_RETRY_MS * 1000000u}, NULL);
	return !sink_gives_up();
}

static bool group_delivered(const struct sink_group *group)
{
	for (uint32_t p = 0; p < group->part_count; p++)
		if (!atomic_load_explicit(&group->part[p].delivered, memory_order_acquire))
			return false;
	return true;
}

bool sinks_before_delivered(const struct sink_group *group)
{
	bool any = false;

	for (int i = SINK_GROUP_BEFORE; i < SINK_GROUP_MAX; i++) {
		any |= group[i].part_count > 0;
		if (!group_delivered(&group[i]))
			return false;
	}
	return any;
}

/* Nothing of a log goes out before all of the log before it, so that a key's events and revisions stay in
 * order. False: stopped before. */
static bool sink_wait_turn(struct sink_part *part)
{
	struct err err = {.text = "unknown error"};

	if (!part->group->after || group_delivered(part->group->after))
		return true;
	atomic_store(&part->stats.state, SINK_WAITING);
	if (part->ops->wait && part->ops->wait(part, &err))
		sink_error(part, err.text);
	while (!group_delivered(part->group->after)) {
		if (sink_gives_up())
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	return true;
}

static void sink_end(struct sink_part *part, int rc)
{
	bool all =
		rc == 0 && part->ends && !atomic_load(&part->stats.parked) &&
		atomic_load(&part->stats.position) >= journal_durable_offset(part->journal, part->partition);

	atomic_store(&part->stats.state, all ? SINK_DELIVERED : SINK_STOPPED);
	/* Release: whoever sees it finds the positions that are committed. */
	atomic_store_explicit(&part->delivered, all, memory_order_release);
	if (all)
		log_info(part->group->name, "partition=%u delivered to its end", part->partition);
}

static void *sink_thread(void *arg)
{
	struct sink_part *part = arg;
	uint64_t backoff_ms = BACKOFF_MIN_MS;
	int rc = -ECANCELED;

	sink_self = part;
	if (!sink_wait_turn(part)) {
		sink_end(part, rc);
		return NULL;
	}
	do {
		struct err err = {.text = "unknown error"};
		bool progress = false;

		rc = sink_try(part, &progress, &err);
		if (rc == 0)
			break;
		sink_error(part, err.text); /* before it is counted: who sees the one sees the other */
		atomic_fetch_add(&part->stats.errors, 1);
		if (progress)
			backoff_ms = BACKOFF_MIN_MS;
	} while (sink_back_off(part, rc, &backoff_ms));
	sink_end(part, rc);
	return NULL;
}

int sinks_check(const struct config *cfg, struct err *err)
{
	int rc = 0;

	for (int id = 0; id < SINK_ID_MAX && rc == 0; id++)
		if (ops_of[id] && ops_of[id]->check && sink_enabled(cfg, (enum sink_id)id))
			rc = ops_of[id]->check(cfg, err);
	return rc;
}

/* Calls back for each (log, sink) that is on. */
static int groups_each(const struct sink_env *env,
	int (*each)(
		void *arg, const struct sink_env *env, enum sink_log log, enum sink_id id, struct err *err),
	void *arg, struct err *err)
{
	for (int log = 0; log < SINK_LOG_COUNT; log++)
		for (int id = 0; id < SINK_ID_MAX; id++) {
			int rc;

			if (!ops_of[id] || !sink_enabled(env->cfg, (enum sink_id)id) ||
				(log == SINK_LOG_OUTPUT && !env->output))
				continue;
			rc = each(arg, env, (enum sink_log)log, (enum sink_id)id, err);
			if (rc)
				return rc;
		}
	return 0;
}

/* arg: of an epoch before, which takes nothing new: what is in it is held until it is delivered. */
static int group_register(
	void *arg, const struct sink_env *env, enum sink_log log, enum sink_id id, struct err *err)
{
	struct journal *j = sink_journal(env, log);

	for (uint32_t p = 0; p < journal_partitions(j); p++) {
		int consumer = journal_consumer_add(j, p, ops_of[id]->name, err);
		struct journal_limits limits = sink_limits(env->cfg, id);

		if (consumer < 0)
			return consumer;
		if (!arg)
			journal_consumer_limit(j, consumer, &limits);
	}
	return 0;
}

int sinks_register(const struct sink_env *env, struct err *err)
{
	int rc = groups_each(env, group_register, NULL, err);

	return rc == 0 && env->before ? groups_each(env->before, group_register, (void *)env, err) : rc;
}

static int part_start(struct sink_group *group, uint32_t p, struct err *err)
{
	struct sink_part *part = &group->part[p];
	char name[24]; /* of which the kernel takes 15 */
	int rc;

	part->ops = group->ops;
	part->env = group->env;
	part->id = group->id;
	part->log = group->log;
	part->journal = sink_journal(group->env, group->log);
	part->partition = p;
	part->ends = group->ends;
	part->group = group;
	pthread_mutex_init(&part->error_lock, NULL);
	part->consumer = journal_consumer_add(part->journal, p, group->ops->name, err);
	if (part->consumer < 0)
		return part->consumer;
	rc = pthread_create(&part->thread, NULL, sink_thread, part);
	if (rc)
		return err_set(err, -rc, "sink %s: thread: %s", group->name, strerror(rc));
	snprintf(name, sizeof name, "%.8s%s%s/%u", group->ops->name,
		group->log == SINK_LOG_OUTPUT ? "-o" : "", group->ends ? "-b" : "", p);
	pthread_setname_np(part->thread, name);
	group->part_count++;
	return 0;
}

static int group_start(
	void *arg, const struct sink_env *env, enum sink_log log, enum sink_id id, struct err *err)
{
	struct sink_group *group = (struct sink_group *)arg + (int)log * SINK_ID_MAX + id;
	uint32_t partitions = journal_partitions(sink_journal(env, log));
	int rc = 0;

	group->ops = ops_of[id];
	group->id = id;
	group->log = log;
	group->env = env;
	snprintf(group->name, sizeof group->name, "%s%s%s", group->ops->name,
		log == SINK_LOG_OUTPUT ? "-output" : "", group->ends ? "-before" : "");
	pthread_mutex_init(&group->prepare_lock, NULL);
	group->part = calloc(partitions, sizeof *group->part);
	if (!group->part)
		return err_set(err, -ENOMEM, "sink %s: no memory", group->name);
	for (uint32_t p = 0; rc == 0 && p < partitions; p++)
		rc = part_start(group, p, err);
	return rc;
}

int sinks_start(struct sink_group *group, const struct sink_env *env, struct err *err)
{
	int rc = 0;

	for (int i = 0; i < SINK_GROUP_BEFORE && env->before; i++) {
		group[SINK_GROUP_BEFORE + i].ends = true;
		group[i].after = &group[SINK_GROUP_BEFORE + i];
	}
	if (env->before)
		rc = groups_each(env->before, group_start, group + SINK_GROUP_BEFORE, err);
	if (rc == 0)
		rc = groups_each(env, group_start, group, err);
	if (rc) {
		sinks_stop(group, 0);
		sinks_free(group);
	}
	return rc;
}

void sinks_stop(struct sink_group *group, uint64_t drain_ms)
{
	uint64_t deadline = clock_mono_ns() + drain_ms * 1000000u;

	for (int i = 0; i < SINK_GROUP_MAX; i++)
		for (uint32_t p = 0; p < group[i].part_count; p++) {
			atomic_store(&group[i].part[p].stop_deadline_ns, deadline);
			atomic_store_explicit(&group[i].part[p].stop, true, memory_order_release);
		}
	for (int i = 0; i < SINK_GROUP_MAX; i++)
		for (uint32_t p = 0; p < group[i].part_count; p++) {
			if (!group[i].part[p].joined)
				pthread_join(group[i].part[p].thread, NULL);
			group[i].part[p].joined = true;
		}
}

void sinks_hurry(struct sink_group *group, uint64_t deadline_ns)
{
	for (int i = 0; i < SINK_GROUP_MAX; i++)
		for (uint32_t p = 0; p < group[i].part_count; p++)
			atomic_store(&group[i].part[p].hurry_deadline_ns, deadline_ns);
}

void sinks_free(struct sink_group *group)
{
	for (int i = 0; i < SINK_GROUP_MAX; i++) {
		for (uint32_t p = 0; p < group[i].part_count && group[i].part; p++)
			free(group[i].part[p].kept);
		free(group[i].part);
		group[i].part = NULL;
		group[i].part_count = 0;
		group[i].ends = false;
		group[i].after = NULL;
	}
}
