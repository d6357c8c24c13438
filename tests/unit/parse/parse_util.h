/* For tests of the parser: events in exact-size memory with a hostile tail, and comparison of two results. */
#ifndef SLUICE_PARSE_UTIL_H
#define SLUICE_PARSE_UTIL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_priv.h"
#include "partition_key.h"

#define NOW_MS 1763700000000ll
static const struct parse_limits limits_any = {0, 300000};

/* Copies bytes to the end of a block of their own size + EVENT_PAD_BYTES, all of it quotes behind them: what
 * reads further is caught by the address sanitizer, what believes the pad by a wrong result. */
static inline uint8_t *padded_copy(const void *data, size_t bytes)
{
	uint8_t *copy = malloc(bytes + EVENT_PAD_BYTES);

	if (!copy)
		abort();
	memcpy(copy, data, bytes);
	memset(copy + bytes, '"', EVENT_PAD_BYTES);
	return copy;
}

/* True if two parses of the same bytes gave the same event, as far as its fields are valid. */
static inline bool events_same(const struct event *a, const struct event *b)
{
	if (a->raw != b->raw || a->raw_bytes != b->raw_bytes || a->tail_bytes != b->tail_bytes ||
		a->field_mask != b->field_mask || a->event_time_ms != b->event_time_ms ||
		a->type != b->type || a->refused != b->refused || a->refused_field != b->refused_field ||
		(!a->refused && a->known != b->known))
		return false;
	if (a->actions || b->actions || a->hit_count || b->hit_count || a->hit || b->hit)
		return false;
	if (memcmp(a->event_id, b->event_id, sizeof a->event_id) != 0 ||
		memcmp(a->tail, b->tail, a->tail_bytes) != 0)
		return false;
	for (uint64_t left = a->field_mask; left; left &= left - 1) {
		int f = __builtin_ctzll(left);

		if (a->field[f].offset != b->field[f].offset || a->field[f].bytes != b->field[f].bytes ||
			a->field[f].offset + a->field[f].bytes > a->raw_bytes + a->tail_bytes)
			return false;
	}
	return true;
}

/* The three ways to parse: shapes, AVX2 without shapes, baseline. */
struct parsers {
	struct json_parser *fast, *slow, *base;
};

static inline struct parsers parsers_new(void)
{
	struct parsers ps = {json_parser_new(0), json_parser_new(0), json_parser_new(0)};

	if (!ps.fast || !ps.slow || !ps.base)
		abort();
	json_parser_use(ps.slow, true, false);
	json_parser_use(ps.base, false, false);
	return ps;
}

static inline void parsers_free(struct parsers *ps)
{
	json_parser_free(ps->fast);
	json_parser_free(ps->slow);
	json_parser_free(ps->base);
}

/* The line at raw, whose end is not looked for: if it is taken, it is what the baseline makes of the line.
 * True if it was. */
static inline bool parse_line(struct parsers *ps, const uint8_t *raw, uint32_t left, enum event_type hint,
	const struct parse_limits *limits)
{
	struct json_stats before = ps->fast->stats;
	struct event ev, line;
	uint32_t bytes;

	json_parser_reset(ps->fast);
	json_parser_reset(ps->base);
	memset(&line, 0xa5, sizeof line);
	bytes = json_parse_line(ps->fast, raw, left, hint, NOW_MS, limits, &line);
	ps->fast->stats = before; /* tests count their own calls */
	if (!bytes)
		return false;
	json_parse_event(ps->base, raw, bytes, hint, NOW_MS, limits, &ev);
	if (bytes > left || memchr(raw, '\n', bytes) || (bytes < left && raw[bytes] != '\n') || ev.refused ||
		!events_same(&ev, &line)) {
		fprintf(stderr, "a line of %u of %u bytes\n%.*s\n", bytes, left, (int)left, raw);
		abort();
	}
	return true;
}

/* Parses by all three, the fast one twice, and aborts if they differ. ev is valid until the next call, its
 * raw bytes as long as the caller keeps them. */
static inline void parse_all_ways(struct parsers *ps, const uint8_t *raw, uint32_t bytes,
	enum event_type hint, const struct parse_limits *limits, struct event *ev)
{
	struct event other[3];
	uint64_t taken;

	json_parser_reset(ps->fast);
	json_parser_reset(ps->slow);
	json_parser_reset(ps->base);
	memset(other, 0xa5, sizeof other);
	json_parse_event(ps->base, raw, bytes, hint, NOW_MS, limits, ev);
	json_parse_event(ps->slow, raw, bytes, hint, NOW_MS, limits, &other[0]);
	json_parse_event(ps->fast, raw, bytes, hint, NOW_MS, limits, &other[1]);
	taken = json_parser_stats(ps->fast)->fast;
	json_parse_event(ps->fast, raw, bytes, hint, NOW_MS, limits, &other[2]);
	taken = json_parser_stats(ps->fast)->fast - taken;
	for (int i = 0; i < 3; i++) {
		if (events_same(ev, &other[i]))
			continue;
		fprintf(stderr,
			"path %d: refused %u/%u field %u/%u mask %lx/%lx time %ld/%ld tail %u/%u\n%.*s\n", i,
			ev->refused, other[i].refused, ev->refused_field, other[i].refused_field,
			(unsigned long)ev->field_mask, (unsigned long)other[i].field_mask,
			(long)ev->event_time_ms, (long)other[i].event_time_ms, ev->tail_bytes,
			other[i].tail_bytes, (int)bytes, raw);
		abort();
	}
	/* A shape that takes an event takes it as a line, too, if it ends with the object. ev's tail is the
	 * baseline's, whose arena is used once more here: the same bytes go to the same place. */
	if (!parse_line(ps, raw, bytes, hint, limits) && taken && bytes && raw[bytes - 1] == '}') {
		fprintf(stderr, "not taken as a line\n%.*s\n", (int)bytes, raw);
		abort();
	}
}

#endif
