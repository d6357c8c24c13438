/* Runs one thread per (sink, partition): prepare, open, run, close, and backoff with jitter in between. */
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

const char *const sink_state_name[] = {"off", "connecting", "running", "backoff", "refused", "stopped"};

static const struct sink_ops *const ops_of[SINK_ID_MAX] = {
#define SINK(id, name, help) [id] = &sink_##name##_ops,
#include "sinks.def"
#undef SINK
};

static bool sink_enabled(const struct config *cfg, enum sink_id id)
{
	const bool enabled[SINK_ID_MAX] = {
#define SINK(id, name, help) [id] = cfg->name.enabled,
#include "sinks.def"
#undef SINK
	};

	return enabled[id];
}

/* The part whose thread this is. */
static _Thread_local struct sink_part *sink_self;

void sink_committed(struct sink_part *part, uint64_t position, const struct sink_tally *tally)
{
	struct sink_stats *s = &part->stats;

	atomic_fetch_add(&s->events, tally->events);
	atomic_fetch_add(&s->suppressed, tally->suppressed);
	atomic_fetch_add(&s->alerts, tally->alerts);
	atomic_fetch_add(&s->dead, tally->dead);
	atomic_fetch_add(&s->other, tally->other);
	atomic_fetch_add(&s->bytes, tally->bytes);
	atomic_fetch_add(&s->commits, 1);
	if (tally->last_time_ms)
		atomic_store(&s->position_time_ms, tally->last_time_ms);
	atomic_store(&s->position, position);
	journal_consumer_set(part->env->journal, part->consumer, position);
}

void sink_error(struct sink_part *part, const char *text)
{
	pthread_mutex_lock(&part->error_lock);
	snprintf(part->error, sizeof part->error, "%s", text);
	pthread_mutex_unlock(&part->error_lock);
	log_warn(part->ops->name, "partition=%u %s", part->partition, text);
}

bool sink_drained(const struct sink_part *part, uint64_t position)
{
	return position >= journal_durable_offset(part->env->journal, part->partition) ||
	       clock_mono_ns() > atomic_load(&part->stop_deadline_ns);
}

bool sink_gives_up(void)
{
	return sink_self && sink_stopping(sink_self) &&
	       clock_mono_ns() > atomic_load(&sink_self->stop_deadline_ns);
}

/* Sleeps in short steps, so that a stop is seen soon. */
static void sink_sleep(struct sink_part *part, uint64_t ms)
{
	uint64_t until = clock_mono_ns() + ms * 1000000u;

	while (!sink_stopping(part) && clock_mono_ns() < until)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* Takes the position that open found: the first is the start of this process's count, a later one that is
 * further than ours means a commit whose answer was lost. */
static void sink_position_opened(struct sink_part *part, uint64_t position)
{
	uint64_t before = atomic_load(&part->stats.position);

	if (!part->opened)
		atomic_store(&part->stats.start, position);
	else if (position > before)
		atomic_fetch_add(&part->stats.found, position - before);
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
		rc = part->ops->prepare(part->env, err);
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

	atomic_store(&part->stats.state, SINK_CONNECTING);
	rc = sink_prepare(part, err);
	if (rc)
		return rc;
	rc = part->ops->open(part, &position, err);
	if (rc == 0) {
		sink_position_opened(part, position);
		journal_consumer_set(part->env->journal, part->consumer, position);
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
	if (!sink_stopping(part))
		sink_sleep(part, rc == -EINVAL ? REFUSED_WAIT_MS : wait_ms);
	if (!sink_stopping(part))
		return true;
	/* At a stop, tries go on until the deadline: what is durable should still leave. A refusal stands. */
	if (rc == -EINVAL || sink_gives_up())
		return false;
	nanosleep(&(struct timespec){.tv_nsec = STOP_RETRY_MS * 1000000u}, NULL);
	return !sink_gives_up();
}

static void *sink_thread(void *arg)
{
	struct sink_part *part = arg;
	uint64_t backoff_ms = BACKOFF_MIN_MS;
	int rc;

	sink_self = part;
	do {
		struct err err = {.text = "unknown error"};
		bool progress = false;

		rc = sink_try(part, &progress, &err);
		if (rc == 0)
			break;
		atomic_fetch_add(&part->stats.errors, 1);
		sink_error(part, err.text);
		if (progress)
			backoff_ms = BACKOFF_MIN_MS;
	} while (sink_back_off(part, rc, &backoff_ms));
	atomic_store(&part->stats.state, SINK_STOPPED);
	return NULL;
}

int sinks_register(const struct sink_env *env, struct err *err)
{
	uint32_t partitions = journal_partitions(env->journal);

	for (int id = 0; id < SINK_ID_MAX; id++) {
		if (!ops_of[id] || !sink_enabled(env->cfg, (enum sink_id)id))
			continue;
		for (uint32_t p = 0; p < partitions; p++) {
			int consumer = journal_consumer_add(env->journal, p, ops_of[id]->name, err);

			if (consumer < 0)
				return consumer;
		}
	}
	return 0;
}

static int group_start(struct sink_group *group, enum sink_id id, const struct sink_env *env, struct err *err)
{
	uint32_t partitions = journal_partitions(env->journal);

	group->ops = ops_of[id];
	group->id = id;
	group->env = env;
	pthread_mutex_init(&group->prepare_lock, NULL);
	group->part = calloc(partitions, sizeof *group->part);
	if (!group->part)
		return err_set(err, -ENOMEM, "sink %s: no memory", group->ops->name);
	for (uint32_t p = 0; p < partitions; p++) {
		struct sink_part *part = &group->part[p];
		char name[24]; /* of which the kernel takes 15 */
		int rc;

		part->ops = group->ops;
		part->env = env;
		part->id = id;
		part->partition = p;
		part->group = group;
		pthread_mutex_init(&part->error_lock, NULL);
		part->consumer = journal_consumer_add(env->journal, p, group->ops->name, err);
		if (part->consumer < 0)
			return part->consumer;
		rc = pthread_create(&part->thread, NULL, sink_thread, part);
		if (rc)
			return err_set(err, -rc, "sink %s: thread: %s", group->ops->name, strerror(rc));
		snprintf(name, sizeof name, "%.8s/%u", group->ops->name, p);
		pthread_setname_np(part->thread, name);
		group->part_count++;
	}
	return 0;
}

int sinks_start(struct sink_group *group, const struct sink_env *env, struct err *err)
{
	for (int id = 0; id < SINK_ID_MAX; id++) {
		int rc;

		if (!ops_of[id] || !sink_enabled(env->cfg, (enum sink_id)id))
			continue;
		rc = group_start(&group[id], (enum sink_id)id, env, err);
		if (rc) {
			sinks_stop(group, 0);
			sinks_free(group);
			return rc;
		}
	}
	return 0;
}

void sinks_stop(struct sink_group *group, uint64_t drain_ms)
{
	uint64_t deadline = clock_mono_ns() + drain_ms * 1000000u;

	for (int id = 0; id < SINK_ID_MAX; id++)
		for (uint32_t p = 0; p < group[id].part_count; p++) {
			atomic_store(&group[id].part[p].stop_deadline_ns, deadline);
			atomic_store_explicit(&group[id].part[p].stop, true, memory_order_release);
		}
	for (int id = 0; id < SINK_ID_MAX; id++)
		for (uint32_t p = 0; p < group[id].part_count; p++) {
			if (!group[id].part[p].joined)
				pthread_join(group[id].part[p].thread, NULL);
			group[id].part[p].joined = true;
		}
}

void sinks_free(struct sink_group *group)
{
	for (int id = 0; id < SINK_ID_MAX; id++) {
		free(group[id].part);
		group[id].part = NULL;
		group[id].part_count = 0;
	}
}
