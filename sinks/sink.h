/* What a sink is: it reads one partition of a log and delivers each record exactly once to its target, with
 * its position committed together with the data. One thread per (sink, log, partition), run by runner.c; a
 * sink's failure or slowness touches nobody else: it reads the log later. Logs are journals: the input, and,
 * when the state stage is on, its output (dataplane/state/row.h).
 *
 * Encoding (bytes out of records: sinks/encode) is apart from transport (sinks/kafka, sinks/clickhouse). */
#ifndef SLUICE_SINK_H
#define SLUICE_SINK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"
#include "journal.h"
#include "ruleset.h"

/* Explicit: also the index in config and metrics. One row in sinks.def adds a sink. */
enum sink_id {
#define SINK(id, name, section, help) SINK_##name = (id),
#include "sinks.def"
#undef SINK
	SINK_ID_MAX = 8
};

/* WAITING: for the logs of the epoch before; DELIVERED: such a log, to its end. */
enum sink_state {
	SINK_OFF,
	SINK_CONNECTING,
	SINK_RUNNING,
	SINK_BACKOFF,
	SINK_REFUSED,
	SINK_STOPPED,
	SINK_WAITING,
	SINK_DELIVERED
};
extern const char *const sink_state_name[];

enum sink_log { SINK_LOG_INPUT, SINK_LOG_OUTPUT, SINK_LOG_COUNT };

struct window_plan;
struct window_store;

/* Borrowed by all sinks; outlives them. */
struct sink_env {
	const struct config *cfg;
	struct journal *journal; /* the input */
	struct ruleset_store *rules;
	/* Of the state stage; NULL when it is off: its log, the windows in force, and all that rows may name.
	 */
	struct journal *output;
	const struct window_plan *plan;
	struct window_store *windows;
	const char *data_dir; /* where sinks keep what belongs to these logs */
	/* The logs that these go on from, in another number of partitions, as long as a sink may not have
	 * delivered them: nobody writes them any more. A sink begins with its log here when it has delivered
	 * the one before to its end. NULL: there are none. */
	const struct sink_env *before;
};

static inline struct journal *sink_journal(const struct sink_env *env, enum sink_log log)
{
	return log == SINK_LOG_OUTPUT ? env->output : env->journal;
}

struct sink_part; /* one (sink, log, partition) */

struct sink_ops {
	const char *name;
	/* Before the start, in a process that may do nothing else: reads the files that the section names, as
	 * open() will, and says which key is wrong. Connects to nothing. NULL: there are none. */
	int (*check)(const struct config *cfg, struct err *err);
	/* Once a process and log, before any part: checks or makes topics and tables. May be retried, and run
	 * for both logs at once. -EINVAL = refusal: the target does not fit (wrong table, unknown position
	 * with local history); it is shown, and tried again only every minute, or when sink_part.refused_ms
	 * says. */
	int (*prepare)(const struct sink_env *env, enum sink_log log, struct err *err);
	/* Its log's turn has not come: what an instance before has left open at the target must hold nobody
	 * else up meanwhile. Tried once; NULL: there is nothing. */
	int (*wait)(struct sink_part *part, struct err *err);
	/* Connects, fences older instances, finds the committed position. Returns 0 and the first offset that
	 * is not yet delivered, or -errno (as above). */
	int (*open)(struct sink_part *part, uint64_t *position, struct err *err);
	/* Delivers until sink_stopping(part): then what is durable is delivered up to part's stop offset,
	 * within its stop deadline if it has one, and 0 is returned. -errno: the runner closes, backs off
	 * with jitter, opens again. */
	int (*run)(struct sink_part *part, struct err *err);
	/* After each open(), also one that failed. */
	void (*close)(struct sink_part *part);
};

/* Counters of one part: written by its thread, read by anyone. All cumulative in this process but position.
 */
struct sink_stats {
	_Atomic uint64_t start;	   /* position that the first open of this process found */
	_Atomic uint64_t position; /* next offset not yet delivered (committed) */
	_Atomic uint64_t parked; /* records before `position` that wait for the server that they may be at */
	_Atomic uint64_t found;	 /* records that a later open found committed though no answer had said so */
	_Atomic uint64_t events; /* RECORD_EVENT delivered as raw rows */
	_Atomic uint64_t suppressed; /* passed over by wish: RECORD_EVENT with RECORD_F_SUPPRESSED, rows of
					windows that are not for this sink */
	_Atomic uint64_t alerts;     /* alerts delivered; of the output log: one a record */
	_Atomic uint64_t dead;	     /* RECORD_REFUSED delivered */
	_Atomic uint64_t rows;	     /* merged rows of windows, sessions, funnels delivered */
	_Atomic uint64_t late;	     /* RECORD_LATE delivered */
	_Atomic uint64_t other;	     /* control records, ticks, marks and partial rows passed over */
	_Atomic uint64_t held;	     /* alerts that this sink is told not to send */
	_Atomic uint64_t rejected;   /* other records that the target will never take: kept as dead letters */
	_Atomic uint64_t refused;    /* alerts that the target will never take: passed over */
	_Atomic uint64_t skipped;    /* records given up or damaged, that it has passed over */
	_Atomic uint64_t bytes;	     /* encoded bytes delivered */
	_Atomic uint64_t commits;    /* transactions or ranges */
	_Atomic uint64_t retries;    /* sends that had to be repeated */
	_Atomic uint64_t errors;     /* times that run or open failed */
	_Atomic int64_t
		position_time_ms;	 /* receive time of the newest delivered record, for lag in seconds */
	_Atomic uint64_t position_bytes; /* journal bytes read so far this run */
	_Atomic uint32_t state;		 /* enum sink_state */
};

struct sink_part {
	const struct sink_ops *ops;
	const struct sink_env *env;
	enum sink_id id;
	enum sink_log log;
	struct journal *journal; /* the log */
	uint32_t partition;
	int consumer;		/* of journal_consumer_add() */
	uint64_t parked_from;	/* its thread's: the first record that is parked, if any is */
	bool ends;		/* its log takes no more records: run() returns when all is delivered */
	_Atomic bool delivered; /* with ends: it is */
	bool opened;		/* its thread's: open has succeeded once */
	uint64_t refused_ms;	/* its thread's: set by open or run, when to try again after a refusal */
	struct sink_stats stats;
	_Atomic bool stop;
	_Atomic uint64_t stop_deadline_ns;  /* monotonic; with stop: give up then */
	_Atomic uint64_t hurry_deadline_ns; /* or then: sinks_hurry(). 0: none */
	pthread_mutex_t error_lock;
	char error[512];  /* what is wrong since the last commit, under error_lock */
	uint64_t said_ns; /* when the log was told of it last, under error_lock */
	char note[256];	  /* where it delivers to, if there is a choice, under error_lock */
	void *priv;	  /* the sink's own, from open to close */
	void *kept;	  /* the sink's own, from one open to the next; malloc()ed */
	pthread_t thread;
	bool joined; /* by sinks_stop(), which may be called again */
	struct sink_group *group;
};

/* What a delivered range counts, gathered while encoding and added on commit. */
struct sink_tally {
	uint64_t events, suppressed, alerts, dead, rows, late, other, held, rejected, refused, bytes;
	int64_t last_time_ms;
};

/* Called by a sink once everything before `position` is committed at the target. Moves counters and
 * retention. */
void sink_committed(struct sink_part *part, uint64_t position, const struct sink_tally *tally);
/* `records` of those before `position` are not delivered yet, the first is at `from`: the log keeps them. For
 * them sink_committed() is called with the same position as before. */
void sink_park(struct sink_part *part, uint64_t position, uint64_t records, uint64_t from);
/* For status; "": nothing to say. */
void sink_note(struct sink_part *part, const char *text);
static inline bool sink_stopping(const struct sink_part *part)
{
	return part->ends || atomic_load_explicit(&part->stop, memory_order_acquire);
}
/* True when the calling sink thread has been asked to stop and its deadline has passed. Every loop that waits
 * for the target looks at it, also in prepare() and open(), and ends with -ECANCELED. False on other threads.
 */
bool sink_gives_up(void);
/* Remembers (for status) and logs an error; the same one once a minute. */
void sink_error(struct sink_part *part, const char *text);
/* The same for the part whose thread calls, in prepare(): what it waits for. Nothing on other threads. */
void sink_waits(const char *text);
/* True when delivery has reached the durable end, or the stop deadline has passed. */
bool sink_drained(const struct sink_part *part, uint64_t position);

/* ---- the runner: a group is a sink with all partitions of a log ---- */
/* Group of (log, id): log * SINK_ID_MAX + id; of the epoch before: SINK_GROUP_BEFORE + that. */
#define SINK_GROUP_BEFORE (SINK_LOG_COUNT * SINK_ID_MAX)
#define SINK_GROUP_MAX (2 * SINK_GROUP_BEFORE)
struct sink_group {
	const struct sink_ops *ops;
	enum sink_id id;
	enum sink_log log;
	char name[32]; /* kafka, kafka-output; of the epoch before: kafka-before, kafka-output-before */
	const struct sink_env *env;
	uint32_t part_count;
	struct sink_part *part;
	pthread_mutex_t prepare_lock;
	bool prepared;
	bool ends;			/* of the epoch before: see sink_part */
	const struct sink_group *after; /* to be delivered first, or NULL */
};
/* check() of all enabled sinks. Before the start. */
int sinks_check(const struct config *cfg, struct err *err);
/* Registers the consumers of all enabled sinks in both logs, so that nothing they may still need is removed.
 * To be called before journal_start() of either: retention begins with that. */
int sinks_register(const struct sink_env *env, struct err *err);
/* Starts all enabled sinks on both logs. group has SINK_GROUP_MAX zeroed entries; what is off stays with
 * part_count 0. On error nothing runs. */
int sinks_start(struct sink_group *group, const struct sink_env *env, struct err *err);
/* Asks all to stop and waits: each delivers what is durable, for at most drain_ms. The parts stay readable
 * until sinks_free(), so that the control socket can show the drain. */
void sinks_stop(struct sink_group *group, uint64_t drain_ms);
/* Brings forward the deadline (monotonic) of a stop that is under way, or that is just about to begin. Any
 * thread. */
void sinks_hurry(struct sink_group *group, uint64_t deadline_ns);
void sinks_free(struct sink_group *group);
/* True if there were logs of the epoch before, and every sink has delivered them. Any thread. */
bool sinks_before_delivered(const struct sink_group *group);

extern const struct sink_ops sink_kafka_ops, sink_clickhouse_ops, sink_kafka_alerts_ops, sink_webhook_ops;

#endif
