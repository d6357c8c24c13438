/* struct daemon: the parts of sluiced and their life. Set up in the order of a table, ended in reverse. */
#ifndef SLUICE_DAEMON_H
#define SLUICE_DAEMON_H

#include <pthread.h>
#include <stdatomic.h>

#include "acker.h"
#include "closings.h"
#include "config.h"
#include "dataplane.h"
#include "dispatch.h"
#include "epoch.h"
#include "journal.h"
#include "ruleset.h"
#include "server.h"
#include "service.h"
#include "sink.h"
#include "state.h"
#include "view.h"

#define DAEMON_DRAIN_MS 30000u
#define DAEMON_DRAIN_NOW_MS 1000u

/* Totals of one tick, for rates. Server thread. */
struct daemon_sample {
	uint64_t ns;
	uint64_t frames, events, accepted, journaled, stage_records;
	uint64_t delivered[SINK_GROUP_MAX];
	uint64_t busy[VIEW_WORKERS_MAX], idle[VIEW_WORKERS_MAX];
};

/* The capture of frames that is running. Its lock is held while workers leave it. */
struct tap {
	pthread_mutex_t lock;
	struct capture *capture; /* NULL: none */
	uint64_t id;		 /* of the last one */
	uint64_t read_ns;	 /* when it was read last; monotonic */
	uint64_t end_ns;
};

struct daemon {
	struct config cfg; /* constant, but for keys that are `live`: config_reload.c */
	int argc;	   /* the command line, for a reload; borrowed */
	char **argv;
	struct journal_params journal_params;
	int64_t started_ms;    /* wall clock */
	uint64_t started_ns;   /* the same, monotonic: the wall clock may be set since */
	_Atomic int phase;     /* enum daemon_phase; DRAINING is set under rules_lock */
	_Atomic bool stop_now; /* do not wait for sinks */

	struct ruleset_store *store;
	pthread_mutex_t apply_lock; /* one change of rules or tables at a time */
	pthread_mutex_t rules_lock; /* of the next three, and held while a view borrows from them */
	struct ruleset *ruleset;    /* in force; owned */
	uint32_t generation;
	struct enrich_set *enrich;   /* in force, under both locks as well; NULL: nothing is configured */
	_Atomic bool rules_note_due; /* the generation in force is not noted in the journal yet */
	uint32_t applied;	     /* generation that rules-active names and that the start took; 0: none */

	struct closings *closings; /* what people said of alerts */

	struct journal *journal;
	struct journal_partition_stats *base; /* as opened, per partition */
	bool journal_running;
	struct state *state;			     /* NULL: off */
	struct journal_partition_stats *output_base; /* the output log as opened, per partition */
	struct dataplane *dp;
	bool workers_running;
	struct handoff handoff;
	bool handoff_made;
	struct ack_lanes *ack_lanes; /* NULL: no listener answers */
	struct acker *acker;
	struct sink_env env;
	struct epoch_before before;
	int dir_lock; /* of the data directory; -1: not taken */
	struct sink_group sinks[SINK_GROUP_MAX];
	bool sinks_running;

	struct tap tap;
	struct dispatch *dispatch;
	struct server *server;
	int signal_fd;
	pthread_t hangup; /* reloads the configuration for a signal */
	bool hangup_started;
	_Atomic bool hangup_running;
	pthread_t stopper;
	bool stopper_started;  /* server thread */
	uint64_t signalled_ns; /* monotonic, when a signal began to drain; 0: none has. Server thread */

	/* Server thread, each tick. */
	struct daemon_sample sample;
	struct view_rates rate;
	struct view_blind blind;
	bool link_down[sizeof((struct config *)0)->ports / sizeof(struct config_ports)]; /* as said last */
	uint64_t conflicts, conflicts_said_ns; /* of addresses: how many are said, and when that was */
	bool workers_move;		       /* each of them has gone round since the tick before */
	struct service service;
};

/* Sets everything up; on error all is undone. cfg is copied, the command line that it is of is borrowed. The
 * caller has blocked SIGTERM, SIGINT and SIGHUP. */
int daemon_start(struct daemon *d, const struct config *cfg, int argc, char **argv, struct err *err);
/* Serves the control socket until the daemon has drained. */
void daemon_run(struct daemon *d);
/* Begins to drain, or hastens a drain that is under way. Server thread. */
void daemon_stop(struct daemon *d, bool now);
void daemon_end(struct daemon *d);

/* view_take.c */
void daemon_view_take(void *arg, struct view *v);
void daemon_view_release(void *arg, struct view *v);
void daemon_tick(struct daemon *d);
void daemon_blind_start(struct daemon *d);

/* Fast and slow commands, by command id. */
extern const dispatch_run daemon_run_table[COMMAND_COUNT];
/* actions.c, actions_alerts.c, actions_state.c, config_reload.c */
#define DAEMON_DECLARE_view(id)
#define DAEMON_DECLARE_local(id)
#define DAEMON_DECLARE_fast(id)                                                                              \
	json_t *run_##id(void *daemon, const struct peer *, const struct request *, struct err *);
#define DAEMON_DECLARE_slow(id) DAEMON_DECLARE_fast(id)
#define COMMAND(id, words, access, where, help) DAEMON_DECLARE_##where(id)
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG

/* tap.c: each tick; and before the data plane goes. */
void tap_tick(struct daemon *d);
void tap_down(struct daemon *d);

/* enrich_active.c: tables of enrichment. up and down as the daemon's other parts; reload under apply_lock:
 * loads all tables and puts them in force, or changes nothing. *changed: the files hold something else than
 * before. */
int enrich_up(struct daemon *d, struct err *err);
void enrich_down(struct daemon *d);
int enrich_reload(struct daemon *d, const struct peer *peer, bool *changed, struct err *err);

/* config_reload.c: reads the configuration again on a thread of its own, for SIGHUP. Both on the server
 * thread or after it. */
void config_hangup(struct daemon *d);
void config_hangup_end(struct daemon *d); /* waits for it */

/* disk_needs.c: a warning, no more. */
int disk_needs_up(struct daemon *d, struct err *err);

/* rules_active.c: which ruleset a start takes, and the trail of changes; as the other parts. */
int rules_up(struct daemon *d, struct err *err);
void rules_down(struct daemon *d);
/* Remembers that `generation` was applied by command, so that a restart takes it as long as rules.dir is
 * unchanged. */
int rules_active_write(const struct config *cfg, uint32_t generation, struct err *err);
void rules_audit(const struct config *cfg, const struct peer *peer, const char *action, uint32_t from,
	const char *from_version, uint32_t to, const char *to_version);
#define RULES_NOTE_MS 5000u
/* Notes the generation in force in the journal of every partition; there, from then on, its rules with state
 * are in force. Under apply_lock or before threads. 0; -ETIMEDOUT: it is on its way, a partition is full;
 * -EIO: a partition has failed; -EBUSY: an earlier note is on its way, and rules_note_again() will try again.
 */
int rules_note(struct daemon *d, uint32_t timeout_ms, struct err *err);
void rules_note_again(struct daemon *d); /* server thread, each tick; does not wait */
/* Takes rules out of force that have expired by now; logs each of them, and those that ask for what no sink
 * does, and adds a line to warnings (may be NULL). */
int rules_expire(const struct config *cfg, struct ruleset *rs, json_t *warnings, struct err *err);
/* actions.c: the files of a request, compiled. */
int rules_of_files(struct daemon *d, const json_t *files, struct ruleset **out, struct err *err);
/* The same, or rules.dir if there are none; what has expired is out of force, and the samples hold. warnings
 * may be NULL. On error *out is NULL. */
int rules_tested(
	struct daemon *d, const json_t *files, json_t *warnings, struct ruleset **out, struct err *err);
/* rules_diff.c: a line in warnings with the rules of `now` that `then` does not have, if there are any. */
void rules_gone(const struct ruleset *now, const struct ruleset *then, const char *what, json_t *warnings);
/* Puts rs_take in force under a new generation. Under apply_lock. On error rs_take is freed and nothing
 * changes. */
int rules_publish(struct daemon *d, const struct peer *peer, const char *action, struct ruleset *rs_take,
	json_t *warnings, struct err *err);
/* The same; a restart will take it, too. The command's result, or NULL with err. */
json_t *rules_finish(struct daemon *d, const struct peer *peer, const char *action, struct ruleset *rs_take,
	json_t *warnings_take, struct err *err);
/* rules.dir compiled; the empty ruleset if it is not set. */
int rules_of_dir(const struct config *cfg, struct ruleset **out, struct err *err);

#endif
