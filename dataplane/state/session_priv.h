/* Sessions from inside; what they are stands in window_session.c. */
#ifndef SLUICE_SESSION_PRIV_H
#define SLUICE_SESSION_PRIV_H

#include "due_heap.h"
#include "stage_priv.h"

/* Value of an entry; the cell follows. */
struct session {
	int64_t start_ms, last_ms;
	int64_t due_ms; /* of a key's first: the heap has it for this time */
	uint32_t next;	/* reference of the key's next session; 0: none. In no order. */
	uint32_t ref;	/* of this entry */
};

struct sessions {
	struct stage_window w;
	struct keytab keys;
	struct keytab_entry *other;
	struct agg_arena *arena;
	struct due_heap heap;
	struct due *ripe; /* taken out of the heap in this step */
	size_t ripe_room;
	struct closing {
		struct session s;
		const struct keytab_entry *key;
		void *cell;
		bool cut;
	} * closing;
	size_t closing_count, closing_room;
};

static inline void *session_cell(struct session *s)
{
	return s + 1;
}

static inline struct session *session_at(const struct sessions *ss, uint32_t ref)
{
	return ref ? keytab_value(keytab_at(&ss->keys, ref)) : NULL;
}

static inline struct keytab_entry *session_entry(struct session *s)
{
	return (struct keytab_entry *)s - 1;
}

static inline int64_t session_end(const struct sessions *ss, const struct session *s)
{
	return s->last_ms + ss->w.def->gap_ms;
}

static inline bool session_live(const struct sessions *ss, const struct session *s, int64_t wm)
{
	return session_end(ss, s) > wm;
}

/* Puts the key into the heap if this end comes before what it is there for. */
void session_key_due(struct sessions *ss, struct session *first, int64_t end_ms);
/* The first session of a key that has none, or of `other`. */
struct session *session_key_first(struct sessions *ss, const struct stage_pick *p, int64_t t, bool other);
/* Another session of a key. */
struct session *session_more(struct sessions *ss, struct session *first, int64_t t);
/* The event lies between two sessions: the later becomes part of the earlier, whose cell takes the other's.
 */
struct session *session_join(
	struct sessions *ss, struct session *first, struct session *a, struct session *b);

void session_save(const struct stage_window *w, struct bytes *out);
bool session_load(struct stage_window *w, struct cursor *c);

#endif
