/* Another number of partitions: the change itself (repartition.c, `sluiced --repartition`, while no daemon
 * runs) and what it leaves to be delivered (epoch_before.c, in the daemon).
 *
 *   DATA_DIR/lock         flock(2) by the daemon, or by the change
 *   DATA_DIR/next/        journal, output, state, sinks of the new epoch, being made; of no use to anybody
 * else DATA_DIR/repartition  there from when next/ is whole until all of it is in its place: no daemon starts
 *   DATA_DIR/before/      journal, output, state, sinks of the epoch before, until every sink has delivered
 * it DATA_DIR/before.done  the same, being removed */
#ifndef SLUICE_EPOCH_H
#define SLUICE_EPOCH_H

#include <pthread.h>
#include <stdbool.h>

#include "config.h"
#include "sink.h"

#define EPOCH_PATH_BYTES 300u

/* Locks the data directory, which is there. Descriptor, -EBUSY or -errno. */
int epoch_lock(const char *data_dir, struct err *err);
/* -EBUSY: a change has been interrupted, and has to be finished first. */
int epoch_check(const char *data_dir, struct err *err);

/* Brings the data directory to cfg->journal.partitions, and finishes an interrupted change. raise: partitions
 * may stand as far apart as they do. What it has done goes to standard output. 0 or -errno. */
int repartition(const struct config *cfg, bool raise, struct err *err);

/* ---- epoch_before.c: the daemon's ---- */
struct epoch_before {
	struct sink_env env; /* journal NULL: there is none */
	char dir[EPOCH_PATH_BYTES];
	char done[EPOCH_PATH_BYTES];
	bool over; /* delivered, and moved away */
	bool sweeping;
	pthread_t sweeper; /* removes `done` */
};
/* Opens the logs of DATA_DIR/before, if there are any; removes what a crash left of older ones. */
int epoch_before_open(struct epoch_before *b, const struct config *cfg, struct err *err);
/* When every sink has delivered them the directory goes; what is open stays readable. Server thread, now and
 * then. */
void epoch_before_tick(struct epoch_before *b, const struct sink_group *group);
void epoch_before_close(struct epoch_before *b);

/* Moves dead letters out of DATA_DIR/before to DATA_DIR/sinks/FOLDER-EPOCH/. May be called again after a crash.
 * 0 or -errno. */
int epoch_letters_keep(const char *data_dir, const char *before, uint64_t epoch, struct err *err);

#endif
