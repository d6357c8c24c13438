/* For tests of the state stage: random streams of events as blocks, definitions from text, and what came out.
 */
#ifndef SLUICE_STAGE_RIG_H
#define SLUICE_STAGE_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "stage.h"
#include "row.h"

#define RIG_NONE UINT32_MAX /* a field that the event does not have */
#define RIG_TIME 1700000000000ll

struct rig_event {
	uint8_t kind; /* enum record_kind */
	uint8_t type; /* enum event_type */
	bool suppressed;
	int64_t time_ms, receive_ms;
	uint32_t user, page; /* numbers of names, or RIG_NONE */
	int64_t amount;	     /* millionths; INT64_MIN: none */
	double metric;
	bool has_metric;
	uint16_t port;
	uint32_t block; /* the event's */
};
struct rig_block {
	uint64_t first;
	uint32_t count;
	int64_t watermark_ms, receive_ms;
	size_t at, bytes; /* in stream.bytes */
};
struct rig_stream {
	struct rig_event *event;
	uint32_t events, room;
	struct rig_block *block;
	uint32_t blocks, block_room;
	struct bytes bytes;
};

/* What random streams are like. */
struct rig_shape {
	uint32_t events, users, pages;
	int64_t disorder_ms; /* most events lie within it, some farther */
	int64_t pace_ms;     /* between events, at most */
	uint32_t block_events;
	const int64_t *amount; /* one of these; NULL: any */
	uint32_t amounts;
};

uint64_t stage_random(uint64_t *seed);
static inline uint32_t stage_below(uint64_t *seed, uint64_t n)
{
	return (uint32_t)(stage_random(seed) % n);
}

void rig_stream_make(struct rig_stream *s, const struct rig_shape *shape, uint64_t *seed);
/* One event more; blocks are closed by rig_block_end(). */
void rig_stream_put(struct rig_stream *s, const struct rig_event *ev);
/* A click, with times from RIG_TIME. */
void rig_stream_click(struct rig_stream *s, int64_t t, int64_t received, uint32_t user, uint32_t page);
void rig_block_end(struct rig_stream *s, int64_t watermark_ms);
void rig_stream_free(struct rig_stream *s);
struct journal_block rig_block(const struct rig_stream *s, uint32_t i);

/* NUL-terminated names that the streams use: u7, /p3; `text` has room for 16 bytes. */
void rig_user_name(char text[16], uint32_t user);
void rig_page_name(char text[16], uint32_t page);

/* Definitions from texts; step_ms of the plan. Fails the test if one cannot be. */
struct window_plan *rig_plan(int64_t step_ms, uint32_t count, const char *const *text);

/* Collects records back to back. */
int rig_collect(void *bytes, const struct record *rec);
/* The same of a stage, each partial row as a record of its own: what rig_stage() is given. */
int rig_collect_rows(void *bytes, const struct record *rec);
struct stage *rig_stage(
	const struct window_plan *plan, uint64_t out_of_orderness_ms, size_t memory_bytes, struct bytes *out);
/* The same with rig_collect(). */
struct stage *rig_stage_raw(
	const struct window_plan *plan, uint64_t out_of_orderness_ms, size_t memory_bytes, struct bytes *out);
void rig_run(struct stage *st, const struct rig_stream *s, uint32_t first, uint32_t end);
/* A new stage with the state of `st`, which is freed. */
struct stage *rig_reload(struct stage *st, const struct window_plan *plan, uint64_t out_of_orderness_ms,
	size_t memory_bytes, struct bytes *out);
/* Runs the stream with and without saves and loads between blocks, each load as in another process, of
 * another processor: neither shows anywhere. */
void rig_check_reload(const struct rig_stream *s, const struct window_plan *plan,
	uint64_t out_of_orderness_ms, size_t memory_bytes, uint64_t *seed);

/* Walks collected records: *at = 0 first; NULL at the end. Each is checked to be well-formed. */
const struct record *rig_next(const struct bytes *out, size_t *at);
/* events + filtered + late of each definition is what came in. */
void rig_check_conservation(const struct stage *st);

#endif
