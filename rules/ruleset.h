/* Rules: YAML text in, an immutable compiled ruleset out; matching over bursts of events.
 *
 * Life: control thread compiles (ruleset_compile), stores it under a new generation (ruleset_store_put),
 * makes a matcher per worker (matcher_new), publishes; workers match; after quiescence the control thread
 * frees. */
#ifndef SLUICE_RULESET_H
#define SLUICE_RULESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "event.h"

enum rule_severity { SEVERITY_INFO, SEVERITY_LOW, SEVERITY_MEDIUM, SEVERITY_HIGH, SEVERITY_CRITICAL };
extern const char *const rule_severity_name[]; /* "info" ... "critical" */

/* What sinks, API and CLI show of a rule. Borrowed from its ruleset. */
struct rule_info {
	const char *id;
	const char *title;
	enum rule_severity severity;
	uint8_t actions; /* RULE_ACTION_* of record.h */
	const char *file;
	uint32_t line;
};

struct ruleset; /* immutable; any thread may read it */

/* One source file. */
struct rule_source {
	const char *name; /* for error texts */
	const char *text;
	size_t bytes;
};

/* Compiles all files together. limits: patterns_max text patterns. On success *out is owned by the caller.
 * Errors say file:line:column, rule id, and what would be right. Returns 0, -EINVAL, -ENOMEM. */
int ruleset_compile(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, struct err *err);

/* Reads each *.yaml of a directory in name order and compiles. An empty directory gives the empty ruleset. */
int ruleset_compile_dir(struct ruleset **out, const char *dir, uint32_t patterns_max, struct err *err);

/* A ruleset without rules. */
struct ruleset *ruleset_empty(void);
void ruleset_free(struct ruleset *rs);

uint32_t ruleset_rule_count(const struct ruleset *rs);
uint32_t ruleset_pattern_count(const struct ruleset *rs);
/* index < ruleset_rule_count(): the index that events' and records' hits hold. */
const struct rule_info *ruleset_rule(const struct ruleset *rs, uint32_t index);
/* 16 hex digits of the hash of rule contents: same rules in same order = same version. */
const char *ruleset_version(const struct ruleset *rs);

/* Runs the `tests:` samples of each rule. Returns the number that failed; report (may be NULL) gets a line
 * each. */
uint32_t ruleset_run_tests(const struct ruleset *rs, void (*report)(void *arg, const char *line), void *arg);

/* ---- matching: one matcher per worker and ruleset; all its memory is allocated here ---- */
struct matcher;
#define MATCH_EVENTS_MAX 256 /* events in one matcher_run() */

struct matcher *matcher_new(const struct ruleset *rs, struct err *err);
void matcher_free(struct matcher *m);

struct matcher_stats {			 /* written by the worker; read racily by control */
	uint64_t events, scans, rescans; /* rescans: bursts over the hit budget, scanned field by field */
	uint64_t hits_truncated;	 /* events with more rule hits than MATCH_HITS_MAX */
};
#define MATCH_HITS_MAX 1024
const struct matcher_stats *matcher_stats(const struct matcher *m);
/* Hits per rule, rule_count of them; written by the worker. */
const uint64_t *matcher_rule_hits(const struct matcher *m);

/* Evaluates all rules over n <= MATCH_EVENTS_MAX accepted events: sets actions, hit and hit_count of each.
 * The hit lists stay valid until the next call. Worker thread: no allocation, lock, system call. */
void matcher_run(struct matcher *m, struct event *const *ev, uint32_t n);

/* ---- generations on disk: DIR/rulesets/<generation>.yaml, kept while the journal names them ---- */
struct ruleset_store;
/* Opens (makes) the directory. */
int ruleset_store_open(struct ruleset_store **out, const char *dir, struct err *err);
void ruleset_store_close(struct ruleset_store *st);
/* Writes rs durably (file and directory synced) under generation = highest so far + 1. A ruleset whose
 * version equals the newest generation's gets that generation again. Generations start at 1. */
int ruleset_store_put(
	struct ruleset_store *st, const struct ruleset *rs, uint32_t *generation, struct err *err);
/* The newest generation, or 0. */
uint32_t ruleset_store_newest(struct ruleset_store *st);
/* The ruleset of a generation, compiled for its metadata only or from cache; borrowed until close.
 * Thread-safe. NULL with err if it is not there or does not compile. */
const struct ruleset *ruleset_store_get(struct ruleset_store *st, uint32_t generation, struct err *err);
/* A generation compiled to be put in force: owned by the caller. -ENOENT if it is not there. Thread-safe. */
int ruleset_store_load(struct ruleset_store *st, uint32_t generation, uint32_t patterns_max,
	struct ruleset **out, struct err *err);
/* Generations up to this one are given out, whether their files are there or not: the journal names it, and a
 * number must not come back with other rules. */
void ruleset_store_reserve(struct ruleset_store *st, uint32_t generation);
/* Removes generations below `floor`, never the newest. */
void ruleset_store_trim(struct ruleset_store *st, uint32_t floor);

#endif
