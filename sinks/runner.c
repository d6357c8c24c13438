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

/* Sleeps in short steps, so that a stop is seen soon. */
static void sink_sleep(struct sink_part *part, uint64_t ms)
{
	uint64_t until = clock_mono_ns() + ms * 1000000u;

	while (!sink_stopping(part) && clock_mono_ns() < until)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* One try: 0 after an orderly stop, else the error that ended it. *ran: whether it got as far as delivering.
 */
static int sink_try(struct sink_part *part, bool *ran, struct err *err)
{
	struct sink_group *group = part->group;
	uint64_t position;
	int rc = 0;

	atomic_store(&part->stats.state, SINK_CONNECTING);
	pthread_mutex_lock(&group->prepare_lock);
	if (!group->prepared) {
		rc = part->ops->prepare(part->env, err);
		group->prepared = rc == 0;
	}
	pthread_mutex_unlock(&group->prepare_lock);
	if (rc)
		return rc;
	rc = part->ops->open(part, &position, err);
	if (rc == 0) {
		*ran = true;
		atomic_store(&part->stats.position, position);
		journal_consumer_set(part->env->journal, part->consumer, position);
		atomic_store(&part->stats.state, SINK_RUNNING);
		rc = part->ops->run(part, err);
	}
	part->ops->close(part);
	return rc;
}

static void *sink_thread(void *arg)
{
	struct sink_part *part = arg;
	uint64_t backoff_ms = BACKOFF_MIN_MS;
	struct err err = {0};

	do {
		bool ran = false;
		int rc = sink_try(part, &ran, &err);
		uint64_t wait_ms;

		if (rc == 0)
			break;
		atomic_fetch_add(&part->stats.errors, 1);
		sink_error(part, err.text);
		if (ran)
			backoff_ms = BACKOFF_MIN_MS;
		wait_ms = backoff_ms / 2 + hash_u64(clock_mono_ns() ^ part->partition) % (backoff_ms / 2 + 1);
		if (rc == -EINVAL)
			wait_ms = REFUSED_WAIT_MS;
		atomic_store(&part->stats.state, rc == -EINVAL ? SINK_REFUSED : SINK_BACKOFF);
		backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
		/* At a stop, retries go on until the deadline: what is durable should still leave. */
		if (sink_stopping(part) && rc != -EINVAL)
			nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
		else
			sink_sleep(part, wait_ms);
	} while (!sink_stopping(part) || clock_mono_ns() < atomic_load(&part->stop_deadline_ns));
	atomic_store(&part->stats.state, SINK_STOPPED);
	return NULL;
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
		if (rc)
			return rc;
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
	for (int id = 0; id < SINK_ID_MAX; id++) {
		for (uint32_t p = 0; p < group[id].part_count; p++)
			pthread_join(group[id].part[p].thread, NULL);
		free(group[id].part);
		group[id].part = NULL;
		group[id].part_count = 0;
	}
}
