/* Making of events: what sluice-gen sends and what must become of it. One thread; the maker owns all memory.
 */
#ifndef SLUICE_GEN_EVENT_H
#define SLUICE_GEN_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "drops.h"
#include "err.h"
#include "event.h"
#include "gen_opts.h"
#include "gen_rand.h"

#define GEN_EVENT_BYTES_MAX 900 /* of any event that is made; a datagram must hold it */

/* Masks of gen_bad.def: 1 << enum event_type. */
#define GEN_TYPE(name) (1u << EVENT_TYPE_##name)
#define GEN_ALL UINT32_MAX
#define GEN_OBJECT (GEN_ALL & ~(GEN_TYPE(click) | GEN_TYPE(transaction) | GEN_TYPE(telemetry)))
#define GEN_NUMBER                                                                                           \
	(GEN_TYPE(platform) | GEN_TYPE(conversion) | GEN_TYPE(custom) | GEN_TYPE(transaction) |              \
		GEN_TYPE(telemetry))

enum gen_bad_kind {
#define BAD(name, reason, types, help) GEN_BAD_##name,
#include "gen_bad.def"
#undef BAD
	GEN_BAD_COUNT
};

struct gen_bad_info {
	const char *name;
	enum drop_reason reason;
	uint32_t types;
	const char *help;
};
extern const struct gen_bad_info gen_bad_table[GEN_BAD_COUNT];

/* One event as sent, and its fate by the contract of the parser, the shipped rules and deduplication. */
struct gen_event {
	char raw[GEN_EVENT_BYTES_MAX];
	uint32_t bytes;
	uint8_t type;	  /* enum event_type */
	bool has_id;	  /* raw holds id as event_id */
	uint8_t reason;	  /* enum drop_reason; DROP_NONE: accepted, DROP_duplicate: an id sent before */
	const char *rule; /* id of the shipped rule that it is made to match, or NULL */
	char id[37];	  /* text of the UUID; "-" without one */
};

/* A key with its value as JSON text. */
struct gen_field {
	const char *key;
	uint32_t bytes;
	char value[360];
};

/* An event before it is put together: what the spoilers of gen_bad.c change. `attr` are the members of
 * attributes (of platform events; others have the whole object as a value). */
struct gen_draft {
	struct gen_field top[20];
	uint32_t top_count;
	struct gen_field attr[5];
	uint32_t attr_count;
	bool spaced; /* blanks between tokens */
};

struct gen_maker;

int gen_maker_new(struct gen_maker **out, const struct gen_opts *o, struct err *err);
void gen_maker_free(struct gen_maker *m);

struct gen_scenes; /* gen_scene.h */
/* NULL: --scenarios was not given. Borrowed. */
struct gen_scenes *gen_maker_scenes(struct gen_maker *m);

/* The next event; now_ms: wall clock, used when event times follow it. Borrowed until the next call. */
const struct gen_event *gen_maker_next(struct gen_maker *m, int64_t now_ms);

/* gen_text.c: bytes of values. Each sets the value of a field; the text must fit (bounds are the caller's
 * own constants and are asserted). */
void gen_field_raw(struct gen_field *f, const char *key, const char *json);
void gen_field_text(struct gen_field *f, const char *key, const char *text); /* quoted, not escaped */
void gen_field_number(struct gen_field *f, const char *key, int64_t number);
void gen_field_time(struct gen_field *f, const char *key, int64_t ms); /* RFC 3339, quoted */
void gen_uuid(struct gen_rng *rng, char out[37]);
struct gen_field *gen_draft_top(struct gen_draft *d, const char *key); /* NULL if not there */
uint32_t gen_draft_write(const struct gen_draft *d, char *out, uint32_t capacity);

/* gen_bad.c: spoils a good draft or, after writing, its text. id_kept: the text still holds its event_id. */
void gen_bad_draft(enum gen_bad_kind kind, struct gen_draft *d, struct gen_rng *rng, int64_t ts_ms);
void gen_bad_text(enum gen_bad_kind kind, struct gen_event *ev, struct gen_rng *rng);

/* gen_fraud.c: one of the rows of gen_fraud.def for this type, or NULL if there is none. Changes the draft
 * so that the rule hits and returns the id of the rule. */
const char *gen_fraud_draft(struct gen_draft *d, uint8_t type, struct gen_rng *rng);

#endif
