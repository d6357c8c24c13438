/* Stateful rules from inside. A machine is a rule in force with the state of all its keys. Everything that
 * later output depends on is in the keys' logical content: where it lies, how much room it has, what the
 * heaps hold beside it, may differ between two runs, and is never looked at. One thread. */
#ifndef SLUICE_CEP_PRIV_H
#define SLUICE_CEP_PRIV_H

#include "agg_arena.h"
#include "anomaly.h"
#include "cep.h"
#include "cep_pool.h"
#include "cursor.h"
#include "due_heap.h"
#include "keysort.h"
#include "keytab.h"
#include "must.h"
#include "row.h"
#include "timewait.h"

#define CEP_NO_TIME INT64_MIN
#define CEP_NEVER INT64_MAX
#define CEP_TIME_MAX ((int64_t)1 << 52)	       /* of an event, either side of 0 */
#define CEP_SPAN_MAX ((int64_t)1 << 50)	       /* of a rule's times; longer ones are taken for this */
#define CEP_SEQUENCE_MAX ((int64_t)UINT32_MAX) /* of a sequence's: 49 days */
#define CEP_KEY_BYTES_MAX 2048u
#define CEP_LIST_BYTES_MAX 524288u /* of a key's items: the arena's largest block but one */
#define CEP_PARTIALS_MAX 10921u	   /* of a key */
#define CEP_RATE_PARTS 512	   /* times of a rate are rounded down to this part of its `within` */
#define CEP_NODE_UNKNOWN INT32_MIN
#define CEP_OFFSET_UNKNOWN UINT64_MAX
#define CEP_NONE 0xff

/* Items of a key, back to back in a block of the arena; those before `from` are gone. */
struct cep_list {
	uint32_t block; /* 0: none */
	uint32_t room, from, count;
};

/* What is remembered of an event to name it. */
struct cep_seen {
	int64_t time_ms;
	uint64_t offset; /* CEP_OFFSET_UNKNOWN: of another journal */
	uint8_t id[16];
};

struct cep_valued { /* sum, unchanged: in order of time, distinct: value = hash; rate: count; travel: country
		     */
	int64_t time_ms;
	int64_t value;
};

/* A sequence that has begun: a cache line of its own, linked with the key's others in the order in which they
 * began. Its events: the first two here, others in nodes, newest first, as many as an alert names. */
struct cep_partial {
	int64_t start_ms : 54; /* of the first event; CEP_TIME_MAX either side of 0 */
	uint64_t times : 10;   /* events of the step */
	uint64_t offset : 47;  /* of the first event; CEP_PARTIAL_UNKNOWN */
	uint64_t events : 13;  /* all; RULE_STEPS_MAX times RULE_TIMES_MAX fit */
	uint64_t step : 3;     /* that has events */
	uint64_t apart : 1;    /* other events have come since the last one taken */
	uint8_t id[16], id2[16];
	int32_t behind2;  /* offset of the second event, as in a node */
	uint32_t last_ms; /* behind start_ms: of the event taken last */
	uint32_t more;	  /* first node; 0: none */
	uint32_t next;	  /* partial match of the key; 0: none */
};
#define CEP_PARTIAL_UNKNOWN (((uint64_t)1 << 47) - 1) /* also of an address that is beyond it */
_Static_assert(
	sizeof(struct cep_partial) == CEP_PIECE_BYTES, "a partial match of up to two events takes 64 bytes");
_Static_assert(CEP_TIME_MAX < (int64_t)1 << 53 && RULE_TIMES_MAX < 1 << 10 &&
		       RULE_STEPS_MAX * RULE_TIMES_MAX < 1 << 13 && RULE_STEPS_MAX <= 1 << 3,
	"fields of a partial match");

struct cep_node {
	uint8_t id[16];
	int32_t behind; /* offset, counted from the first event's; CEP_NODE_UNKNOWN */
	uint32_t next;
};

/* A key's partial matches. */
struct cep_chain {
	uint32_t first, last; /* 0: none */
	uint32_t unused, count;
};

/* Value of a key's entry; of an anomaly a struct cep_bucket follows; of a sequence it ends before `seen`. */
struct cep_key {
	uint64_t used;	  /* the machine's `touched` when it was used last */
	int64_t now_ms;	  /* highest event time judged */
	int64_t quiet_ms; /* no alerts before it */
	int64_t due_ms;	  /* the heap has it for this time; CEP_NEVER: it does not */
	uint32_t ref;
	uint32_t serial; /* of this use of the entry */
	union {
		struct cep_list list;
		struct cep_chain chain; /* of a sequence */
	};
	uint32_t waiting; /* events */
	uint32_t mark;	  /* while it is saved: its place */
	uint64_t used_at; /* the heap has it for this */
	struct cep_list seen;
	uint64_t sum[2]; /* sum of a decimal: 128 bits */
};

struct cep_bucket { /* anomaly: what is being counted, and what was before */
	struct anomaly_base base;
	int64_t end_ms;			   /* CEP_NO_TIME: nothing is being counted */
	int64_t first_end_ms, last_end_ms; /* of buckets that were taken */
	uint64_t taken;
	uint64_t events;
	double number;	 /* sum of values in event order */
	uint64_t sum[2]; /* the same, decimals */
};

struct cep_event {
	int64_t time_ms;
	uint64_t offset;
	const uint8_t *id;
	uint32_t steps; /* bit i: passes step i; 0: an event between */
	int64_t value;	/* decimal, bits of a double, hash or country */
};

struct cep_wait { /* an event of a rule in order of event time */
	int64_t time_ms;
	uint64_t offset;
	uint8_t id[16];
	int64_t value;
	uint32_t key, serial, steps;
	uint32_t reserved;
};

struct cep_sequence {	/* of each step that is not negated */
	uint8_t next;	/* such a step; CEP_NONE: the last */
	uint8_t strict; /* next: at once */
	uint16_t min, max;
	uint32_t not_next, not_followed; /* steps that must not come before `next` does */
};

struct cep_way { /* between two countries; all zero: from one to itself, which is true */
	int16_t from, to;
	double km;
};
#define CEP_WAYS 64u

enum cep_value { /* what a rule looks at of an event, beside its time and key */
	CEP_VALUE_NONE,
	CEP_VALUE_COUNTRY,
	CEP_VALUE_DECIMAL,
	CEP_VALUE_NUMBER,
	CEP_VALUE_HASH,	   /* of a text */
	CEP_VALUE_STRANGE, /* a text where a number is wanted: no event has one */
};

struct cep_machine {
	struct cep *cep;
	struct rule_state def; /* its texts are not its own and not looked at */
	struct rule_keyring keyring;
	bool alert, wait;
	bool judging;  /* what has waited: its keys must stay where they are */
	bool untidy;   /* tidy() is wanted, but for that */
	bool open_end; /* a sequence whose end is that something does not come */
	char id[CEP_TEXT_BYTES], title[CEP_TEXT_BYTES], severity[16];
	uint8_t value, field; /* enum cep_value, and where it stands */
	bool due_by_keep;     /* a key is due when it is to be forgotten, never before */
	uint32_t item_bytes;
	uint32_t events_max;		   /* clamped */
	uint64_t not_home[EVENT_TYPE_MAX]; /* rule_keyring_not_home() of each type */
	int64_t within_ms, keep_ms;
	struct cep_sequence step[RULE_STEPS_MAX];
	struct anomaly_spec spec;
	struct huge_pool *pool;
	struct keytab keys;
	struct agg_arena *arena;
	struct cep_pool partials;
	uint64_t bytes; /* logical, of items, nodes and baselines */
	struct due_heap due, oldest;
	uint64_t touched;
	uint64_t looked; /* at keys beside those of events: what floods cost */
	uint32_t serial;
	struct timewait waits; /* struct cep_wait, in order of arrival; may hold some of keys that are gone */
	uint64_t waiting;
	uint32_t pick; /* within cep_take(): steps; the event is for this machine if picked is set */
	bool picked;
	struct cep_machine *picked_next; /* of the same event */
	bool kept;			 /* within a switch */
	uint64_t uid_next;		 /* within a switch */
	bool canary;
	uint64_t content;
	const struct cep_machine *in_force; /* of a canary: the rule in force under its id; NULL: none */
	uint64_t base_hits, base_alerts;    /* what that one had counted when this one began to */
	struct cep_stats stats;
	struct cep_way way[CEP_WAYS]; /* of travel, by a hash of both countries */
};

/* An event on its way to its key: taken, but not looked at before its key's memory has come into the cache.
 */
struct cep_pend {
	struct cep_machine *m;
	const struct keytab_entry *guess; /* what its key probably is; NULL: nothing is known */
	uint32_t tag;
	uint16_t key_bytes, steps;
	int64_t time_ms;
	uint64_t offset;
	int64_t value;
	uint8_t id[16];
};
_Static_assert(sizeof(struct cep_pend) == 64 && RULE_STEPS_MAX <= 16, "an event on its way is a cache line");
#define CEP_PENDS 64u /* more than are on their way at most */
#define CEP_KEY_ROOM (CEP_KEY_BYTES_MAX + 16u)

struct cep {
	struct cep_params params;
	uint32_t generation;
	char version[CEP_VERSION_BYTES];
	struct cep_machine **machine; /* ascending by uid */
	uint32_t count;
	/* What hits mean in the generation that records came with last. */
	uint32_t map_generation; /* 0: none */
	uint32_t map_count;
	struct cep_use {
		uint16_t machine; /* RULE_STATE_NONE: nothing; CEP_NOT_IN_FORCE */
		uint8_t step;
	} * map;
	struct cep_rules *rules; /* scratch */
	int64_t step_ms;
	int64_t receive_ms;
	uint64_t judged; /* offset of the event in hand; UINT64_MAX: a step */
	struct huge_pool pool;
	struct bytes out;
	struct cep_wait *ready[2];
	size_t ready_room;
	struct keysort_item *sort[2];
	size_t sort_room;
	_Alignas(8) uint8_t key[CEP_KEY_ROOM];
	/* Events from `head` to `tail`; up to `found` the entry, up to `near` the items have been asked for.
	 */
	struct cep_pend pend[CEP_PENDS];
	uint32_t head, near, found, tail;
	uint8_t *pend_key; /* CEP_KEY_ROOM each */
	struct cep_totals totals;
};
#define CEP_NOT_IN_FORCE 0xfffe

static inline __int128 cep_sum(const uint64_t sum[2])
{
	return (__int128)((unsigned __int128)sum[1] << 64 | sum[0]);
}

static inline void cep_sum_add(uint64_t sum[2], __int128 v)
{
	unsigned __int128 n = (unsigned __int128)cep_sum(sum) + (unsigned __int128)v;

	sum[0] = (uint64_t)n;
	sum[1] = (uint64_t)(n >> 64);
}

static inline struct cep_key *cep_key_at(const struct cep_machine *m, uint32_t ref)
{
	return keytab_value(keytab_at(&m->keys, ref));
}

static inline struct cep_bucket *cep_bucket(struct cep_key *key)
{
	return (struct cep_bucket *)(key + 1);
}

static inline bool cep_is_sequence(const struct cep_machine *m)
{
	return m->def.kind == RULE_STATE_SEQUENCE || m->def.kind == RULE_STATE_ABSENCE;
}

static inline struct cep_seen cep_seen_of(const struct cep_event *ev)
{
	struct cep_seen seen = {ev->time_ms, ev->offset, {0}};

	memcpy(seen.id, ev->id, sizeof seen.id);
	return seen;
}

/* ---- cep_list.c ---- */
static inline void *cep_items(const struct cep_machine *m, const struct cep_list *list, uint32_t item_bytes)
{
	return list->block ? (uint8_t *)agg_arena_at(m->arena, list->block) + (size_t)list->from * item_bytes
			   : NULL;
}
/* A new item before the one that is at place `at`, not filled; pointers to items are good until then. */
void *cep_list_add(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes, uint32_t at);
void cep_list_drop(
	struct cep_machine *m, struct cep_list *list, uint32_t item_bytes, uint32_t count); /* first */
/* The first `count` items stay; those behind are gone. */
void cep_list_keep(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes, uint32_t count);
void cep_list_clear(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes);
/* The events remembered for alerts. As many as evidence_max lie in a ring, the oldest at `from`; fewer begin
 * at the front of their block. */
static inline uint32_t cep_seen_next(const struct cep_machine *m, const struct cep_list *seen)
{
	return seen->count < m->def.evidence_max ? seen->count : seen->from;
}
/* The i-th of them, oldest first. */
static inline const struct cep_seen *cep_seen_at(
	const struct cep_machine *m, const struct cep_list *seen, uint32_t i)
{
	const struct cep_seen *item = agg_arena_at(m->arena, seen->block);
	uint32_t at = seen->from + i;

	return item + (at < seen->count ? at : at - seen->count);
}
/* Remembers an event for alerts; beyond evidence_max the oldest is forgotten. */
void cep_seen_add(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);

/* ---- cep_key.c ---- */
void cep_keys_init(struct cep_machine *m);
void cep_keys_free(struct cep_machine *m);
/* The event's key, marked as used: what was fetched for it, or NULL, if that is not it; key: its bytes. Of a
 * key that has gone since, or whose place another one has, it does not hold. */
static inline struct cep_key *cep_key_guessed(
	struct cep_machine *m, const struct cep_pend *p, const uint8_t *key)
{
	const struct keytab_entry *e = p->guess;
	struct cep_key *found;

	if (!e || e->flags & KEYTAB_F_DEAD || !keytab_is(&m->keys, e, key, p->key_bytes))
		return NULL;
	found = keytab_value(e);
	found->used = ++m->touched;
	return found;
}
/* The same by a search; made if it is not there, for which another may go. */
struct cep_key *cep_key_use(struct cep_machine *m, const struct cep_pend *p, const uint8_t *key);
struct cep_key *cep_key_new(struct cep_machine *m, uint32_t tag, const uint8_t *bytes, uint32_t count);
void cep_key_remove(struct cep_machine *m, struct cep_key *key);
/* Asks for its items. Always inline: gcc 12 takes a function that only prefetches for one without effect, and
 * drops calls of it that it has not inlined early. */
static inline __attribute__((always_inline)) void cep_key_prefetch(
	const struct cep_machine *m, const struct cep_key *key)
{
	const uint8_t *item;

	if (cep_is_sequence(m)) {
		cep_pool_prefetch(&m->partials, key->chain.first);
		return;
	}
	item = cep_items(m, &key->list, m->item_bytes);
	if (!item)
		return;
	item += (size_t)key->list.count * m->item_bytes; /* the last ones */
	__builtin_prefetch(item);
	__builtin_prefetch(item + 64);
	if (key->seen.block)
		__builtin_prefetch((struct cep_seen *)agg_arena_at(m->arena, key->seen.block) +
				   cep_seen_next(m, &key->seen));
}
/* When the key is forgotten, if nothing more comes. */
static inline int64_t cep_key_keep(const struct cep_machine *m, const struct cep_key *key)
{
	int64_t until = key->now_ms == CEP_NO_TIME ? CEP_NO_TIME : key->now_ms + m->keep_ms;

	return key->quiet_ms > until ? key->quiet_ms : until;
}
/* Puts the key into the heap if it has to be looked at earlier than that knows. */
void cep_key_due_look(struct cep_machine *m, struct cep_key *key);
static inline void cep_key_due(struct cep_machine *m, struct cep_key *key)
{
	if (!m->due_by_keep || cep_key_keep(m, key) < key->due_ms)
		cep_key_due_look(m, key);
}
void cep_key_evict(struct cep_machine *m); /* the one used least recently */
/* True if these bytes are a key of this keyring's fields; and the hash by which it belongs to a partition. */
bool cep_key_good(const struct rule_keyring *ring, const uint8_t *key, uint32_t bytes);
uint64_t cep_key_hash(const struct rule_keyring *ring, const uint8_t *key, uint32_t bytes);
/* Logical bytes. */
static inline uint64_t cep_bytes(const struct cep_machine *m)
{
	return keytab_logical_bytes(&m->keys) + m->bytes + m->waiting * sizeof(struct cep_wait);
}
/* After what may have taken memory: evicts. */
void cep_memory_evict(struct cep_machine *m);
static inline void cep_memory(struct cep_machine *m)
{
	if (__builtin_expect(cep_bytes(m) > m->def.memory_bytes_max, 0))
		cep_memory_evict(m);
}
/* Around what holds references to keys over calls of cep_memory(). */
void cep_judging(struct cep_machine *m, bool begins);
/* Looks at all keys that are due at step_ms. */
int cep_keys_reach(struct cep_machine *m, int64_t step_ms);

/* ---- kinds: an event that is not too old; 0 or what emit returned ---- */
int cep_count_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
int cep_sum_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
int cep_distinct_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
int cep_rate_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
int cep_unchanged_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
int cep_sequence_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
int cep_travel_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
int cep_anomaly_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
void cep_sequence_setup(struct cep_machine *m);
/* Sequences and absences whose last step is that something does not come: those whose time is over at at_ms;
 * others that are over are dropped. */
int cep_sequence_reach(struct cep_machine *m, struct cep_key *key, int64_t at_ms);
/* When the next of those is over; CEP_NEVER. */
int64_t cep_sequence_due(const struct cep_machine *m, const struct cep_key *key);
static inline struct cep_partial *cep_partial_at(const struct cep_machine *m, uint32_t handle)
{
	return cep_pool_at(&m->partials, handle);
}
/* How many of its events a partial match names beside the first. */
static inline uint32_t cep_partial_named(const struct cep_machine *m, const struct cep_partial *p)
{
	uint32_t most = m->def.evidence_max ? m->def.evidence_max - 1 : 0;

	return p->events - 1u < most ? (uint32_t)p->events - 1 : most;
}
/* A new one behind the others, all zero. */
uint32_t cep_partial_new(struct cep_machine *m, struct cep_key *key);
/* All of a key. */
void cep_partials_drop(struct cep_machine *m, struct cep_key *key);
void cep_anomaly_setup(struct cep_machine *m);
int cep_anomaly_reach(struct cep_machine *m, struct cep_key *key, int64_t at_ms);
/* Country of an ISO 3166 alpha-2 code of any case; negative: none. */
int cep_country(const uint8_t *code, uint32_t bytes);
bool cep_country_is(int64_t country);
double cep_country_km(int a, int b);

/* ---- cep_wait.c ---- */
void cep_wait_add(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);
/* Judges the events before step_ms. */
int cep_wait_reach(struct cep_machine *m, int64_t step_ms);
/* Judges one event of a key. */
int cep_judge(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev);

/* ---- cep_alert.c ---- */
struct cep_alert {
	int64_t at_ms; /* for suppression */
	int64_t first_ms, last_ms;
	double score, value, expected;
	uint64_t total;		/* events */
	const uint8_t *last_id; /* for the alert's id */
	uint32_t seen_count;
	struct cep_seen seen[RULE_EVIDENCE_MAX];
};
/* All but the events: most alerts have few of them. */
static inline void cep_alert_clear(struct cep_alert *a)
{
	memset(a, 0, offsetof(struct cep_alert, seen));
}
/* True if an alert at this time may come out; counts it as suppressed else. */
bool cep_alert_due(struct cep_machine *m, const struct cep_key *key, int64_t at_ms);
int cep_alert_put(struct cep_machine *m, struct cep_key *key, const struct cep_alert *a);
/* Takes the remembered events, those after from_ms only. */
void cep_alert_seen(
	const struct cep_machine *m, const struct cep_key *key, int64_t after_ms, struct cep_alert *a);

/* ---- cep_save.c, cep_load.c ---- */
#define CEP_SAVE_MAGIC 0x3150454353ull /* "SCEP1" */
#define CEP_SAVE_VERSION 1u
#define CEP_COUNTERS 10u
/* Of a state that is gathered: 256 times that is a time for a heap. */
#define CEP_TOUCHED_MAX (1ull << 52)
/* In the order in which they are saved. */
void cep_counters_of(struct cep_stats *s, uint64_t *counter[CEP_COUNTERS]);
void cep_machine_save(struct cep_machine *m, struct bytes *out);
bool cep_machine_load(struct cep_machine *m, struct cursor *c, const struct cep_gather *gather);

/* ---- cep_set.c ---- */
void cep_machine_free(struct cep_machine *m);
/* Makes cep->map that of a generation. 0 or -errno with err. */
int cep_map(struct cep *cep, uint32_t generation, struct err *err);

#endif
