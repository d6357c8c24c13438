/* Commits beside the sink thread. A commit takes some ten milliseconds of waiting for brokers; alerts that
 * come meanwhile are sent, and acknowledged, in the next transaction, by another producer. One is committed
 * at a time, in the order of offsets, and the position goes into a transaction only when the one before it is
 * committed: so the newest position in the topic is the last one, and a transaction that fails takes the one
 * behind it along. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kafka_priv.h"

enum commit_state { COMMIT_IDLE, COMMIT_GIVEN, COMMIT_DONE };

struct kafka_commit {
	struct kafka_part *kp;
	pthread_t thread;
	pthread_mutex_t lock; /* for all below */
	pthread_cond_t moved;
	enum commit_state state;
	bool quit;
	struct kafka_producer *tx;
	uint64_t next;
	struct sink_tally tally;
	int rc;
	struct err err;
};

/* Position, commit, floor: what the sink thread does itself where there is no committer. */
static int commit_do(struct kafka_commit *c, struct err *err)
{
	int rc = kafka_tx_commit(c->tx, err);

	if (rc == 0)
		kafka_floor_write(c->kp, c->next, false);
	return rc;
}

static void *commit_thread(void *arg)
{
	struct kafka_commit *c = arg;

	sink_thread_joins(c->kp->part);
	pthread_mutex_lock(&c->lock);
	for (;;) {
		int rc;

		while (c->state != COMMIT_GIVEN && !c->quit)
			pthread_cond_wait(&c->moved, &c->lock);
		if (c->state != COMMIT_GIVEN)
			break;
		pthread_mutex_unlock(&c->lock);
		rc = commit_do(c, &c->err); /* nobody else touches what was given until it is done */
		pthread_mutex_lock(&c->lock);
		c->rc = rc;
		c->state = COMMIT_DONE;
		pthread_cond_signal(&c->moved);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

int kafka_commit_start(struct kafka_part *kp, struct err *err)
{
	struct kafka_commit *c = calloc(1, sizeof *c);
	pthread_condattr_t attr;
	int rc;

	if (!c)
		return err_set(err, -ENOMEM, "no memory");
	c->kp = kp;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->moved, &attr);
	pthread_condattr_destroy(&attr);
	rc = pthread_create(&c->thread, NULL, commit_thread, c);
	if (rc) {
		free(c);
		return err_set(err, -rc, "thread that commits: %s", strerror(rc));
	}
	pthread_setname_np(c->thread, "kafka-commit");
	kp->commit = c;
	return 0;
}

void kafka_commit_stop(struct kafka_part *kp)
{
	struct kafka_commit *c = kp->commit;

	if (!c)
		return;
	kp->commit = NULL;
	pthread_mutex_lock(&c->lock);
	c->quit = true;
	pthread_cond_broadcast(&c->moved);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	pthread_cond_destroy(&c->moved);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void kafka_commit_give(struct kafka_part *kp)
{
	struct kafka_commit *c = kp->commit;

	pthread_mutex_lock(&c->lock);
	c->tx = kp->tx;
	c->next = kp->next;
	c->tally = kp->tally;
	c->state = COMMIT_GIVEN;
	pthread_cond_signal(&c->moved);
	pthread_mutex_unlock(&c->lock);
	if (++kp->tx == kp->producer + kp->producer_count)
		kp->tx = kp->producer;
}

int kafka_commit_take(struct kafka_part *kp, uint32_t wait_ms, struct err *err)
{
	struct kafka_commit *c = kp->commit;
	struct timespec until;
	enum commit_state state;

	pthread_mutex_lock(&c->lock);
	if (c->state == COMMIT_GIVEN && wait_ms) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (long)wait_ms % 1000 * 1000000;
		until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		while (c->state == COMMIT_GIVEN && !pthread_cond_timedwait(&c->moved, &c->lock, &until))
			;
	}
	state = c->state;
	if (state == COMMIT_DONE)
		c->state = COMMIT_IDLE;
	pthread_mutex_unlock(&c->lock);
	if (state != COMMIT_DONE)
		return state == COMMIT_GIVEN;
	if (c->rc) {
		*err = c->err;
		return c->rc;
	}
	kp->committed = c->next;
	kp->aborts = 0;
	sink_committed(kp->part, kp->committed, &c->tally);
	return 0;
}
