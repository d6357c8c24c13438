/* The state stage from inside: what its kinds of windows share. One thread, all memory the stage's.
 *
 * Events are taken in runs: each kind walks a run several times, so that hash slots, entries and sketches
 * come into the cache while other events are looked at. Nothing that comes out depends on where runs end. */
#ifndef SLUICE_STAGE_PRIV_H
#define SLUICE_STAGE_PRIV_H

#include "agg_narrow.h"
#include "agg_plain.h"
#include "agg_run.h"
#include "cursor.h"
#include "keysort.h"
#include "keytab.h"
#include "must.h"
#include "row.h"
#include "stage.h"
#include "watermark.h"

#define STAGE_RUN AGG_RUN
#define STAGE_NO_TIME INT64_MIN /* no watermark, no step yet */
#define STAGE_NEVER INT64_MAX
/* The memory bound is looked at whenever so many records have been taken, by their offset. */
#define STAGE_MEMORY_EVERY 1024u

#define STAGE_ARENAS_KEPT 8u

struct stage_window;
struct stage_attrs;

/* Events between two steps of the watermark, at most. */
struct stage_run {
	uint32_t count;
	uint64_t late_mask;
	uint64_t fields_differ;		  /* that some of its events have, and others do not */
	int64_t time_min_ms, time_max_ms; /* of its events; none: INT64_MAX, INT64_MIN */
	const struct record *rec[STAGE_RUN];
	const uint8_t *payload[STAGE_RUN]; /* of each record */
	uint64_t offset[STAGE_RUN];
	int64_t watermark_ms[STAGE_RUN];       /* before the event */
	uint64_t late_uid[STAGE_RUN];	       /* valid where late_mask has the bit */
	uint64_t of_type[WINDOW_FILTER_TYPES]; /* its events of each type, where a window asks for types */
};

/* An event that a window takes. */
struct stage_pick {
	uint32_t index; /* in the run */
	uint32_t tag;
	uint32_t key_bytes;
	bool other;	     /* its key is too long */
	const uint8_t *text; /* in the record: all of the key but its head; NULL: the key is made */
	const uint8_t *key;  /* in stage.keys */
	int64_t at;	     /* the kind's: pane number */
	void *place;	     /* the kind's: pane */
	const struct keytab_bucket *slot; /* where the key's search begins; until a key is added */
	struct keytab_entry *entry;	  /* at first a guess */
};

struct stage_kind {
	size_t bytes; /* of its struct, which begins with a struct stage_window */
	int (*setup)(struct stage_window *w, struct err *err);
	void (*free)(struct stage_window *w);
	void (*take)(struct stage_window *w, struct stage_run *run);
	/* The watermark has come to step_ms. */
	void (*reach)(struct stage_window *w, int64_t step_ms);
	/* Step at which its next rows are due, STAGE_NEVER if there are none. */
	int64_t (*due)(const struct stage_window *w);
	/* Puts out all that is due at step_ms, in order. 0 or what emit returned. */
	int (*emit)(struct stage_window *w, int64_t step_ms);
	/* The stage stands at step_ms: all that was due is out. */
	void (*settle)(struct stage_window *w, int64_t step_ms);
	/* Live keys and logical bytes. */
	void (*measure)(const struct stage_window *w, uint64_t *keys, uint64_t *bytes);
	/* Bound of each arena from now on. */
	void (*limit)(struct stage_window *w, size_t arena_bytes);
	void (*save)(const struct stage_window *w, struct bytes *out);
	/* False: no saved state of this window. */
	bool (*load)(struct stage_window *w, struct cursor *c);
};
extern const struct stage_kind stage_tumbling, stage_hopping, stage_session, stage_funnel;

struct stage_window {
	const struct stage_kind *kind;
	const struct window_def *def;
	struct stage *st;
	struct stage_window_stats *stats;
	uint32_t cell_bytes;
	bool text_key;			   /* the key is one TEXT field */
	bool text_keys;			   /* only TEXT fields */
	bool sketches;			   /* cells have memory beside themselves */
	struct stage_attrs *attrs;	   /* that it groups by; NULL: none */
	uint8_t attr_at[WINDOW_GROUP_MAX]; /* where there, of each group that is one */
	bool begins; /* the state that was loaded did not have it, and nothing was said of it yet */
};

#define STAGE_KEY_ROOM (WINDOW_KEY_BYTES_MAX + 8u)
#define STAGE_TEXT_MAX (WINDOW_KEY_BYTES_MAX - sizeof(uint16_t)) /* of a key that is one text */

/* While states of another number of partitions are loaded, one after the other. */
struct stage_gather {
	uint32_t partitions;
	bool panes; /* what any partition may hold goes to this one */
};

struct stage {
	struct stage_params params;
	const struct stage_gather *gather; /* NULL: an ordinary load */
	stage_emit emit;
	void *arg;
	int64_t plan_step_ms;
	int64_t watermark_ms, step_ms;
	int64_t step_next_ms;	     /* no step before it: STAGE_NO_TIME: look */
	int64_t receive_ms;	     /* of the block in hand */
	struct stage_source *source; /* of the last event; NULL: look */
	bool types;		     /* a window asks for types of events */
	bool full;		     /* of memory: as of the last look */
	uint32_t panes_max;	     /* of a definition: PANE_LIST_MAX, or while it is loaded ..._LOAD_MAX */
	bool begun;		     /* stats.input_offset says something */
	struct stage_run run;
	struct agg_run aggs; /* over `run` */
	struct stage_pick pick[STAGE_RUN];
	struct agg_items items, narrow_items;
	struct stage_attrs *attrs; /* of all windows; NULL: none groups by any */
	uint8_t *keys;		   /* of a run's events: STAGE_KEY_ROOM for each */
	struct bytes rows;	   /* a ROW_PARTIALS in the making, or empty */
	struct bytes out;
	struct huge_pool pool;
	struct agg_arena *arena[STAGE_ARENAS_KEPT]; /* empty ones, for the next panes */
	uint32_t arena_count;
	struct keysort_item *sort[2]; /* of sort_room items each */
	size_t sort_room;
	struct stage_window *window[WINDOWS_MAX];
	struct cep *rules; /* NULL: none */
	struct cep_place place;
	struct bytes alerts; /* that wait to be put out: u64 offset, record, of each */
	size_t alerts_at;
	struct err rules_err;
	struct stage_stats stats;
};

/* Index of the first of ascending items, each of which begins with its time or number, that is not below. */
static inline uint32_t stage_first_from(const void *items, uint32_t count, size_t stride, int64_t least)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (*(const int64_t *)((const uint8_t *)items + middle * stride) < least)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Step at which what ends at end_ms comes out. */
static inline int64_t stage_step_of(const struct stage *st, int64_t end_ms)
{
	return stage_floor(end_ms + st->plan_step_ms - 1, st->plan_step_ms);
}

static inline size_t stage_arena_bytes(const struct stage *st)
{
	return st->full ? 0 : SIZE_MAX;
}

/* Of a key in tables of this window. */
static inline uint32_t stage_tag(const uint8_t *key, uint32_t bytes)
{
	uint16_t head = 0;

	if (bytes < sizeof head)
		return keytab_tag(0, key, bytes);
	memcpy(&head, key, sizeof head);
	return keytab_tag(head, key + sizeof head, bytes - (uint32_t)sizeof head);
}

/* Both with at least 8 readable bytes before them. bytes: not 0. */
static inline bool stage_text_same(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	uint64_t differs = 0;
	size_t at = 0;

	if (bytes - 8 <= 8)
		return !((hash_load(a, 8) ^ hash_load(b, 8)) |
			 (hash_load(a + bytes - 8, 8) ^ hash_load(b + bytes - 8, 8)));
	for (; at + 8 < bytes; at += 8)
		differs |= hash_load(a + at, 8) ^ hash_load(b + at, 8);
	differs |= (hash_load(a + bytes - 8, 8) ^ hash_load(b + bytes - 8, 8)) >> (8 * (-bytes & 7));
	return !differs;
}

/* All events of the run, and those that pass the window's filter. */
static inline uint64_t stage_events(const struct stage_run *run)
{
	return UINT64_MAX >> (STAGE_RUN - run->count);
}
static inline uint64_t stage_passed(const struct stage_window *w, const struct stage_run *run)
{
	return window_filter_run(w->def->filter, run->rec, run->of_type, stage_events(run));
}
/* Those of `events` that have the field. */
uint64_t stage_having(const struct stage_run *run, enum field_id field, uint64_t events);

static inline bool stage_filter(const struct stage_window *w, const struct record *rec)
{
	return !w->def->filter || window_filter_match(w->def->filter, rec);
}

static inline struct agg_order stage_order(const struct stage *st, const struct stage_run *run, uint32_t i)
{
	return (struct agg_order){run->rec[i]->event_time_ms, st->params.partition, run->offset[i]};
}

/* The event is late for all windows of this definition. */
void stage_late(struct stage_window *w, struct stage_run *run, uint32_t i);
/* The same for want of a pane: it came in time. */
void stage_no_room(struct stage_window *w, struct stage_run *run, uint32_t i);

/* Attributes of windows: add() for each window, make() behind the last, begin() for each run. */
void stage_attrs_add(struct stage_window *w);
void stage_attrs_make(struct stage *st);
void stage_attrs_begin(struct stage *st);
void stage_attrs_free(struct stage *st);
/* A key with attributes, of event `index` of the run. to: WINDOW_KEY_BYTES_MAX. 0: too long. */
uint32_t stage_key_of_attrs(const struct stage_window *w, uint32_t index, uint8_t *to);

/* Makes the group key of event p->index of the run, in stage.keys. */
void stage_key(const struct stage_window *w, struct stage_pick *p);
/* Two walks over picks of one table, which stays as it is: their keys, and the slots where these are looked
 * for; then the entries that they probably have. A key that is one text is left where it is, for
 * stage_key_is(): most are there already. Before any other use of the key, stage_key_want(). */
void stage_keys_look(
	const struct stage_window *w, const struct keytab *kt, struct stage_pick *pick, uint32_t count);
void stage_keys_guess(const struct keytab *kt, struct stage_pick *pick, uint32_t count);
static inline void stage_key_want(const struct stage_window *w, struct stage_pick *p)
{
	if (p->text)
		stage_key(w, p);
}
/* True if the entry has the pick's key. */
static inline bool stage_key_is(
	const struct keytab *kt, const struct keytab_entry *e, const struct stage_pick *p)
{
	if (!p->text)
		return !p->other && keytab_is(kt, e, p->key, p->key_bytes);
	return e->key_bytes == p->key_bytes && stage_text_same(keytab_key(kt, e) + sizeof(uint16_t), p->text,
						       p->key_bytes - sizeof(uint16_t));
}

/* The record of a window's rows of one step and revision, times and revision as *row says: the open one, or a
 * new one; and its end, which a mark is, too. 0 or what emit returned. */
int stage_rows_begin(struct stage_window *w, const struct row *row, int64_t step_ms);
int stage_rows_end(struct stage *st);
/* A row, behind the one before in order: key, cell, and *row's times, revision and flags. 0 or what emit
 * returned. */
int stage_row(struct stage_window *w, const struct row *row, int64_t step_ms, const void *key,
	uint32_t key_bytes, const void *cell, const struct agg_arena *arena);

/* A mark behind the rows of a step; event i of the run as late, behind the alerts of rules before it. 0 or
 * what emit returned. */
int stage_mark(struct stage *st, int64_t step_ms);
int stage_late_emit(struct stage *st, uint32_t i);

/* An empty arena, bound as all are now; and back, with all that is in it. What a pane took is kept for the
 * next ones, so that these do not begin with cleared pages. */
struct agg_arena *stage_arena_take(struct stage *st);
void stage_arena_give(struct stage *st, struct agg_arena *arena);

/* Room for `count` items in both stage.sort. */
void stage_sort_room(struct stage *st, size_t count);
/* All entries of a table, by key, in stage.sort[0]; returns their number. */
size_t stage_sort_keys(struct stage *st, const struct keytab *kt);

/* ---- stateful rules: stage_rules.c ---- */
/* watermark_ms: before the record. */
int stage_rules_take(struct stage *st, const struct record *rec, uint64_t offset, int64_t watermark_ms);
/* A block begins. 0, or -errno with err: a note of a generation that is not there. */
int stage_rules_note(struct stage *st, const struct journal_block *block, struct err *err);
int stage_rules_emit(void *arg, uint64_t offset, const struct record *rec);
/* Puts out the alerts of events up to this offset. */
int stage_rules_alerts(struct stage *st, uint64_t offset_last);
int stage_rules_reach(struct stage *st, int64_t step_ms);

/* ---- saved state ---- */
void stage_put_cell(
	const struct stage_window *w, const void *cell, const struct agg_arena *arena, struct bytes *out);
/* Into an initialized cell. The arena's bound is out of force meanwhile: what was saved had room. */
bool stage_get_cell(const struct stage_window *w, void *cell, struct agg_arena *arena, struct cursor *c);
void stage_put_key(const struct keytab *kt, const struct keytab_entry *e, struct bytes *out);
/* With these flags. */
void stage_put_key_flags(
	const struct keytab *kt, const struct keytab_entry *e, uint16_t flags, struct bytes *out);
/* Key and tag into *p, the key in st->keys; and its flags. False if it cannot be. */
bool stage_get_key(const struct stage_window *w, struct cursor *c, struct stage_pick *p, uint8_t *flags);
/* True if what was saved under this key is this partition's now: always, but when states are gathered. */
bool stage_gathers(const struct stage_window *w, const struct stage_pick *p, uint8_t flags);
static inline int64_t stage_get_time(struct cursor *c)
{
	int64_t t = (int64_t)cursor_le64(c);

	if (t > STAGE_TIME_MAX * 2 || t < -STAGE_TIME_MAX * 2)
		c->failed = true;
	return t;
}

#endif
