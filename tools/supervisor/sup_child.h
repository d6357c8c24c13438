/* One supervised process: start, readiness, restart with backoff, orderly end. The supervisor's only thread
 * owns every child; the child dies with the supervisor (parent death signal). */
#ifndef SLUICE_SUP_CHILD_H
#define SLUICE_SUP_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define SUP_ARGS_MAX 160
#define SUP_BACKOFF_FIRST_MS 250
#define SUP_BACKOFF_MAX_MS 15000
#define SUP_STEADY_MS 30000 /* up for so long: the next crash starts at the first backoff again */

enum sup_state {
	SUP_DOWN,     /* never started, or ended for good */
	SUP_STARTING, /* runs, does not answer yet */
	SUP_READY,
	SUP_BACKOFF, /* crashed; waits for its next start */
};

struct sup_child {
	const char *name;
	char *arg[SUP_ARGS_MAX]; /* NULL-terminated; owned */
	uint32_t arg_count;
	char log_path[320];
	bool restart;
	bool (*ready)(const struct sup_child *c); /* cheap; asked every tick while starting */
	char ready_arg[256];
	/* state */
	enum sup_state state;
	pid_t pid;
	int64_t log_start; /* size of the log when this run began */
	uint64_t started_ms, next_start_ms;
	uint32_t backoff_ms, restarts;
	int status; /* of wait(2), of the last end */
};

/* Appends an argument. Aborts when memory or the table ends: both are set-up. */
void sup_child_arg(struct sup_child *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* now_ms: any monotonic clock. */
int sup_child_start(struct sup_child *c, uint64_t now_ms, struct err *err);
/* Once a tick: readiness, and a start that is due. True if the state has changed. */
bool sup_child_tick(struct sup_child *c, uint64_t now_ms, struct err *err);
/* To be told of each wait(2) result that is this child's. Goes to SUP_BACKOFF or SUP_DOWN. */
void sup_child_ended(struct sup_child *c, int status, uint64_t now_ms);
/* SIGTERM and, after grace_ms, SIGKILL; returns when it has ended. True if SIGTERM was enough. */
bool sup_child_stop(struct sup_child *c, uint64_t grace_ms);
/* For a process that ends by itself: false (and killed) if it has not within wait_ms. */
bool sup_child_wait(struct sup_child *c, uint64_t wait_ms);
/* Text of how it ended: "exit status 3", "signal 9". */
const char *sup_child_end_text(const struct sup_child *c, char *out, uint32_t bytes);
/* True if the text stands in what this run has logged. */
bool sup_child_logged(const struct sup_child *c, const char *text);
void sup_child_free(struct sup_child *c);

#endif
