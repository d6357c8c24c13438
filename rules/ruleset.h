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
#include "record.h"
#include "rule_state.h"

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
	bool stateful;	    /* its alerts are the state stage's; a hit says that an event passes its `when` */
	bool expired;	    /* not in force: ruleset_expire() */
	int64_t expires_ms; /* 0: never */
	const char *owner;  /* NULL: none */
	const char *route;  /* Kafka topic of RULE_ACTION_ROUTE, a valid name; NULL: none */
	uint32_t confirmed; /* of its tests, those that PCRE2 confirms */
	uint64_t content;   /* hash of what it says, with its lists; without comments and layout */
	bool canary;	    /* it only counts: no alert, no tag, nothing dropped */
	uint8_t change;	    /* enum rule_change */
	uint32_t other;	    /* RULE_CHANGED: index of the canary of this rule, or of the rule that it is of */
};

/* What a canary would change: of rules in force, and of the canary's own. */
enum rule_change {
	RULE_SAME,    /* or there is no canary */
	RULE_NEW,     /* a canary's: no rule in force has its id */
	RULE_CHANGED, /* both: the same id, other contents */
	RULE_GONE     /* in force: the canary's files do not have it */
};

/* What a hit of the rule makes of a record, without state. */
static inline bool rule_alerts(const struct rule_info *rule)
{
	return rule->actions & RULE_ACTION_ALERT && !rule->stateful && !rule->canary;
}
static inline bool rule_tags(const struct rule_info *rule)
{
	return (rule->actions & RULE_ACTION_TAG && !rule->canary) || rule_alerts(rule);
}

/* The topic that a hit sends its event to; NULL: that of its type. */
static inline const char *rule_route(const struct rule_info *rule)
{
	return rule->canary || rule->expired ? NULL : rule->route;
}

struct ruleset; /* immutable; any thread may read it */

/* One source file: rules, or a list of values that rules name by {file: ...}. */
struct rule_source {
	const char *name; /* for error texts; rules find lists by it, see rule_list_path() */
	const char *text;
	size_t bytes;
	bool list;
};

/* Rule files and the lists that they name, read from disk, each list once. */
struct rule_files {
	struct rule_source *source;
	uint32_t count;
	uint64_t bytes; /* of all */
};
/* A file's bytes, at most as many as a rule file may have; *text is the caller's to free, also after an
 * error.
 */
int rule_file_load(const char *path, char **text, size_t *bytes, struct err *err);
/* Reads the files at path[] and then their lists. -EINVAL, -ENOMEM, or what open(2) gave; out is then empty.
 */
int rule_files_read(struct rule_files *out, const char *const *path, uint32_t count, struct err *err);
/* The *.yaml of a directory in name order. */
int rule_files_read_dir(struct rule_files *out, const char *dir, struct err *err);
void rule_files_free(struct rule_files *files);

/* Compiles all files together. limits: patterns_max text patterns. On success *out is owned by the caller.
 * Errors say file:line:column, rule id, and what would be right. Returns 0, -EINVAL, -ENOMEM. */
int ruleset_compile(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, struct err *err);

/* Errors of a check, told one by one: as ruleset_compile() says them, "file:line:column: rule id: ...". */
#define RULE_PROBLEMS_MAX 50u
struct rule_problems {
	void (*line)(void *arg, const char *line);
	void *arg;
	uint32_t count; /* told */
	bool more;	/* than RULE_PROBLEMS_MAX: the rest was not looked for */
};
/* ruleset_compile() that looks at the other rules and files after an error, so that all are told at once.
 * What is wrong with all rules together, as a bound of theirs, is told last and ends it. err is filled for
 * want of memory only. */
int ruleset_check(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, struct rule_problems *problems, struct err *err);

/* The rules in force of the first ruleset, beside them as canaries those of the second that are new or
 * changed against them (ids may stand there twice then, once in force and once as a canary). What is a canary
 * of either is left out. -EINVAL too if none would be. */
int ruleset_canary(struct ruleset **out, const struct ruleset *in_force, const struct ruleset *other,
	uint32_t patterns_max, struct err *err);
/* One side of a ruleset with canaries, as a ruleset of its own: the rules in force, or all that the canary
 * would put in force. Rules that have expired have to be told again. */
int ruleset_part(
	struct ruleset **out, const struct ruleset *rs, bool canary, uint32_t patterns_max, struct err *err);
/* How many of its rules are canaries. */
uint32_t ruleset_canary_count(const struct ruleset *rs);

/* Reads each *.yaml of a directory in name order and compiles. An empty directory gives the empty ruleset. */
int ruleset_compile_dir(struct ruleset **out, const char *dir, uint32_t patterns_max, struct err *err);

/* Compiled databases are kept in this folder (made if need be) and taken from it: see rule_cache.h. NULL:
 * not. Once, before the first compile and before threads. */
int ruleset_cache_set(const char *dir, struct err *err);

/* Called before each database is compiled, which may take seconds: of which field or attribute, of how many
 * patterns, and which of how many fields it is. From the thread that compiles. Set once, before the first
 * compile; NULL: not called. */
void ruleset_progress_set(
	void (*progress)(void *arg, const char *subject, uint32_t patterns, uint32_t done, uint32_t count),
	void *arg);

/* What the text patterns cost. */
struct rule_costs {
	uint32_t patterns, edge_patterns; /* edge: a scan for each event that has the field */
	uint32_t confirmed_patterns;	  /* of these, those that PCRE2 confirms */
	uint32_t databases;
	uint32_t costly; /* remarks, of which at most RULE_COSTLY_MAX are told */
	uint64_t database_bytes;
	uint64_t scratch_bytes; /* of each worker */
};
#define RULE_COSTLY_MAX 50u
/* line (may be NULL) gets "file:line:column: rule id: what costs, and what would cost less". */
void ruleset_costs(const struct ruleset *rs, struct rule_costs *out,
	void (*line)(void *arg, const char *line), void *arg);

/* The version that the rule files of a directory give, without compiling their patterns. */
int ruleset_dir_version(char version[17], const char *dir, struct err *err);

/* A ruleset without rules. */
struct ruleset *ruleset_empty(void);
void ruleset_free(struct ruleset *rs);

uint32_t ruleset_rule_count(const struct ruleset *rs);
uint32_t ruleset_pattern_count(const struct ruleset *rs);
/* index < ruleset_rule_count(). Hits of events and records below that are rules' own; higher ones, below
 * ruleset_match_count(), are steps of rules with state: no rule's, no tag, no alert. */
const struct rule_info *ruleset_rule(const struct ruleset *rs, uint32_t index);
/* Whether any rule has a rule_route(). */
bool ruleset_routes(const struct ruleset *rs);
/* 16 hex digits of the hash of rule contents: same rules in same order, and the same ones of them expired =
 * same version. */
const char *ruleset_version(const struct ruleset *rs);

/* ---- rules with state (rule_state.h), also of a ruleset from the store; not of expired rules ---- */
uint32_t ruleset_match_count(const struct ruleset *rs);
uint32_t ruleset_state_count(const struct ruleset *rs);
const struct rule_state *ruleset_state(const struct ruleset *rs, uint32_t index);
uint32_t ruleset_keyring_count(const struct ruleset *rs);
const struct rule_keyring *ruleset_keyring(const struct ruleset *rs, uint32_t index);
/* By hit index, ruleset_match_count() of them. */
const struct rule_use *ruleset_uses(const struct ruleset *rs);

/* Takes rules out of force that expire at now_ms (wall clock) or before, and changes the version if there are
 * more of them than before. Before a ruleset is shared: no matcher may exist. Returns how many are expired,
 * or -ENOMEM. */
int ruleset_expire(struct ruleset *rs, int64_t now_ms, struct err *err);

/* Tests of rules with state need the state stage, which stands above this layer: it hands in how to run one.
 */
struct rule_test {
	uint32_t rule;	/* index */
	uint32_t state; /* index */
	uint32_t line;	/* of the first event in the rule's file */
	bool alert;	/* expected: at least one; else none */
	uint32_t count;
	const struct event *event; /* matched: hits and actions are set; in the order given */
};
struct rule_tester {
	/* Feeds the events to fresh state, then moves the watermark beyond all that may still come of them.
	 * Returns the number of the rule's alerts, or -errno with err. */
	int (*run)(void *arg, const struct ruleset *rs, const struct rule_test *test, struct err *err);
	void *arg;
};
struct rule_test_counts {
	uint32_t passed, failed; /* failed: not run for want of memory, too */
	uint32_t not_run;	 /* of rules with state, without a tester */
};
/* Runs the `tests:` of each rule that is not expired. tester NULL: those of rules with state are not run.
 * report (may be NULL) gets a line for each that failed. A test of a stateless rule is one event. */
struct rule_test_counts ruleset_run_tests(const struct ruleset *rs, const struct rule_tester *tester,
	void (*report)(void *arg, const char *line), void *arg);

/* ---- matching: one matcher per worker and ruleset; all its memory is allocated here ---- */
struct matcher;
#define MATCH_EVENTS_MAX 256 /* events in one matcher_run() */

struct matcher *matcher_new(const struct ruleset *rs, struct err *err);
void matcher_free(struct matcher *m);
const struct ruleset *matcher_ruleset(const struct matcher *m);

struct matcher_stats {			 /* written by the worker; read racily by control */
	uint64_t events, scans, rescans; /* rescans: bursts over the hit budget, scanned field by field */
	uint64_t hits_truncated;	 /* events with more rule hits than MATCH_HITS_MAX */
	uint64_t confirms;		 /* searches by PCRE2 */
	uint64_t confirms_cut;		 /* of those that were given up at their bound: no match */
};
#define MATCH_HITS_MAX 1024
const struct matcher_stats *matcher_stats(const struct matcher *m);
/* Hits per match, ruleset_match_count() of them, rules first; written by the worker. */
const uint64_t *matcher_rule_hits(const struct matcher *m);

/* Evaluates all rules over n <= MATCH_EVENTS_MAX accepted events: sets actions, hit and hit_count of each. Of
 * a rule with state the actions are RULE_ACTION_STATE and what it tags; of a step RULE_ACTION_STATE. A canary
 * is counted (matcher_rule_hits()); only one with state is a hit, without a tag. The hit lists stay valid
 * until the next call. Worker thread: no allocation, lock, system call. */
void matcher_run(struct matcher *m, struct event *const *ev, uint32_t n);

/* ---- generations on disk: DIR/rulesets/<generation>.yaml, kept while the journal names them ---- */
struct ruleset_store;
/* Whether there is one that can be read, for those who must not make it. False: errno says why. */
bool ruleset_store_there(const char *dir);
/* Opens (makes) the directory. */
int ruleset_store_open(struct ruleset_store **out, const char *dir, struct err *err);
void ruleset_store_close(struct ruleset_store *st);
/* Removes what a crash may have left. For the process that puts generations there, before it does. */
int ruleset_store_clean(struct ruleset_store *st, struct err *err);
/* Writes rs durably (file and directory synced) under generation = highest so far + 1. A ruleset whose
 * version equals the newest generation's gets that generation again. Generations start at 1. */
int ruleset_store_put(
	struct ruleset_store *st, const struct ruleset *rs, uint32_t *generation, struct err *err);
/* The newest generation, or 0. */
uint32_t ruleset_store_newest(struct ruleset_store *st);
/* The ruleset of a generation, compiled for its metadata only or from cache; borrowed until it is released,
 * as often as it was got, or the store is closed. Thread-safe. NULL with err if it is not there or does not
 * compile. */
const struct ruleset *ruleset_store_get(struct ruleset_store *st, uint32_t generation, struct err *err);
/* rs may be NULL. Without users it stays compiled only as one of the few that had some last. Thread-safe. */
void ruleset_store_release(struct ruleset_store *st, const struct ruleset *rs);
/* For who reads a log and stands at one generation at a time; its own thread's. */
struct ruleset_stand {
	const struct ruleset *rs; /* NULL: at none */
	uint32_t generation;
};
/* From now on at this generation; what it stood at before is released. As ruleset_store_get(). */
const struct ruleset *ruleset_stand_at(
	struct ruleset_stand *stand, struct ruleset_store *st, uint32_t generation, struct err *err);
void ruleset_stand_leave(struct ruleset_stand *stand, struct ruleset_store *st);
/* Generations that are compiled now. */
uint32_t ruleset_store_compiled(struct ruleset_store *st);
/* A generation compiled to be put in force: owned by the caller. -ENOENT if it is not there. Thread-safe. */
int ruleset_store_load(struct ruleset_store *st, uint32_t generation, uint32_t patterns_max,
	struct ruleset **out, struct err *err);
/* Generations up to this one are given out, whether their files are there or not: the journal names it, and a
 * number must not come back with other rules. */
void ruleset_store_reserve(struct ruleset_store *st, uint32_t generation);
/* Removes generations below `floor`, never the newest. */
void ruleset_store_trim(struct ruleset_store *st, uint32_t floor);

#endif
