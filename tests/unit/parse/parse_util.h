/* For tests of the parser: events in exact-size memory with a hostile tail, and comparison of two results. */
#ifndef SLUICE_PARSE_UTIL_H
#define SLUICE_PARSE_UTIL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_priv.h"

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
		a->type != b->type || a->refused != b->refused || a->refused_field != b->refused_field)
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

/* Parses by all three, the fast one twice, and aborts if they differ. ev is valid until the next call, its
 * raw bytes as long as the caller keeps them. */
static inline void parse_all_ways(struct parsers *ps, const uint8_t *raw, uint32_t bytes,
	enum event_type hint, const struct parse_limits *limits, struct event *ev)
{
	struct event other[3];

	json_parser_reset(ps->fast);
	json_parser_reset(ps->slow);
	json_parser_reset(ps->base);
	memset(other, 0xa5, sizeof other);
	json_parse_event(ps->base, raw, bytes, hint, NOW_MS, limits, ev);
	json_parse_event(ps->slow, raw, bytes, hint, NOW_MS, limits, &other[0]);
	json_parse_event(ps->fast, raw, bytes, hint, NOW_MS, limits, &other[1]);
	json_parse_event(ps->fast, raw, bytes, hint, NOW_MS, limits, &other[2]);
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
}

#endif
