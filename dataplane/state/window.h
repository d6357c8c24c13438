/* What windows there are: definitions from the configuration, checked and compiled, identified by their
 * content. A definition's uid is the hash of its canonical text: rows and checkpoints name windows by uid, so
 * that a definition that has not changed keeps its state, and a row can be read as long as the definition is
 * kept (window_store). */
#ifndef SLUICE_WINDOW_H
#define SLUICE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "agg.h"
#include "config.h"
#include "err.h"
#include "event.h"
#include "record.h"

#define WINDOWS_MAX 32
#define WINDOW_GROUP_MAX 4
#define WINDOW_STEPS_MAX 8
#define WINDOW_KEY_BYTES_MAX 2048 /* a longer group key goes to `other` */

enum window_kind { WINDOW_TUMBLING, WINDOW_HOPPING, WINDOW_SESSION, WINDOW_FUNNEL };
extern const char *const window_kind_name[];

/* Event types and a conjunction of simple tests; enough for windows: rules are for more. A field that the
 * event does not have passes no test, as NULL does in SQL. */
struct window_filter;
/* NULL: everything. rec: an event, checked. Pure, no allocation. */
bool window_filter_match(const struct window_filter *f, const struct record *rec);
/* The same of a run's events: those of `events` that pass, as bits. of_type: by enum event_type, which events
 * are of it. */
#define WINDOW_FILTER_TYPES 32u
uint64_t window_filter_run(const struct window_filter *f, const struct record *const *rec,
	const uint64_t of_type[WINDOW_FILTER_TYPES], uint64_t events);

struct window_def {
	uint64_t uid;
	char name[64];
	char *text; /* canonical definition, one line; window_def_parse() gives the same definition again */
	enum window_kind kind;
	int64_t size_ms;  /* tumbling, hopping; funnel: the tumbling window of a user's first step */
	int64_t slide_ms; /* hopping; tumbling: = size_ms */
	int64_t gap_ms;	  /* session */
	int64_t lateness_ms;
	int64_t within_ms; /* funnel: all steps */
	uint32_t group_count;
	enum field_id group[WINDOW_GROUP_MAX]; /* session, funnel: one field, of the partition key's chain;
						  FIELD_NONE: an attribute */
	char *attr[WINDOW_GROUP_MAX];	       /* its name, as "attributes.plan"; NULL: a field */
	struct agg_set *aggs;
	struct window_filter *filter; /* `types` and `where` */
	uint32_t step_count;
	struct window_filter *step[WINDOW_STEPS_MAX]; /* funnel: tests of a step, beside `filter` */
	char step_name[WINDOW_STEPS_MAX][32];
	uint64_t keys_max;   /* of a partition; what exceeds it goes to the key `other` */
	config_text anomaly; /* compiled by the merge stage, and checked by it when a plan is made */
	bool to_kafka, to_clickhouse;
	char rollup[64];
};

/* What a group is called in rows, columns and alerts. i < group_count. */
static inline const char *window_group_name(const struct window_def *def, uint32_t i)
{
	return def->attr[i] ? def->attr[i] : field_table[def->group[i]].name;
}

/* The windows in force. Immutable. */
struct window_plan {
	uint32_t count;
	struct window_def *def[WINDOWS_MAX]; /* ascending by uid */
	int64_t step_ms;
};

/* From cfg->windows, or the shipped ones (windows.def) if there are none and state.defaults is set. -EINVAL
 * with "window NAME: KEY: ..." and what would be right. */
int window_plan_make(struct window_plan **out, const struct config *cfg, struct err *err);
/* A line for each test, group and aggregate that no event can have a value for, since none of the window's
 * event types has the field. */
void window_plan_fit(const struct window_plan *plan, void (*line)(void *arg, const char *text), void *arg);
void window_plan_free(struct window_plan *plan);
const struct window_def *window_plan_find(const struct window_plan *plan, uint64_t uid);
/* A stored text, any bytes. *out is the caller's, with this text and its hash. */
int window_def_parse(struct window_def **out, const char *text, struct err *err);
void window_def_free(struct window_def *def);

/* Definitions on disk, content-addressed: DIR/<uid as 16 hex digits>.window. Thread-safe. */
struct window_store;
int window_store_open(struct window_store **out, const char *dir, struct err *err);
void window_store_close(struct window_store *st);
int window_store_put(struct window_store *st, const struct window_def *def, struct err *err); /* durable */
/* All its files under a second name in `dir`, of the same file system; durable. */
int window_store_link(const struct window_store *st, const char *dir, struct err *err);
/* Borrowed until close. NULL with err: not there, or damaged. */
const struct window_def *window_store_get(struct window_store *st, uint64_t uid, struct err *err);
/* The plan of these uids, for replay under the definitions of a checkpoint. */
int window_store_plan(struct window_plan **out, struct window_store *st, const uint64_t *uid, uint32_t count,
	int64_t step_ms, struct err *err);

#endif
