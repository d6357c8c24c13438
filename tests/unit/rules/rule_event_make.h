/* Events and rulesets for the tests of rules/. */
#ifndef SLUICE_RULE_EVENT_MAKE_H
#define SLUICE_RULE_EVENT_MAKE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ruleset.h"

/* An event with memory of its own: raw bytes are padded as parsers promise, the tail is not. */
struct made_event {
	struct event ev;
	uint8_t raw[4096 + EVENT_PAD_BYTES];
	uint8_t tail[4096];
};

static inline void made_reset(struct made_event *m, uint8_t type)
{
	memset(&m->ev, 0, sizeof m->ev);
	m->ev.raw = m->raw;
	m->ev.tail = m->tail;
	m->ev.type = type;
	m->ev.raw_bytes = 1; /* the brace before the first field */
}

/* Text fields first: they fix raw_bytes. */
static inline void made_text(struct made_event *m, enum field_id field, const void *text, size_t bytes)
{
	assert_true(m->ev.raw_bytes + bytes <= 4096);
	assert_int_equal(m->ev.tail_bytes, 0);
	memcpy(m->raw + m->ev.raw_bytes, text, bytes);
	m->ev.field[field] = (struct span){(uint16_t)m->ev.raw_bytes, (uint16_t)bytes};
	m->ev.raw_bytes += (uint32_t)bytes;
	m->ev.field_mask |= 1ull << field;
}

/* As a text with escapes: decoded into the tail. */
static inline void made_tail(struct made_event *m, enum field_id field, const void *text, size_t bytes)
{
	assert_true(m->ev.tail_bytes + bytes <= sizeof m->tail);
	if (bytes)
		memcpy(m->tail + m->ev.tail_bytes, text, bytes);
	m->ev.field[field] = (struct span){(uint16_t)(m->ev.raw_bytes + m->ev.tail_bytes), (uint16_t)bytes};
	m->ev.tail_bytes += (uint32_t)bytes;
	m->ev.field_mask |= 1ull << field;
}

static inline void made_number(struct made_event *m, enum field_id field, double value)
{
	made_tail(m, field, &value, sizeof value);
}

static inline void made_time(struct made_event *m, int64_t ms)
{
	m->ev.event_time_ms = ms;
	m->ev.field_mask |= FBIT(ts);
}

static inline struct ruleset *compiled(const char *text)
{
	struct rule_source source = {"t.yaml", text, strlen(text), false};
	struct ruleset *rs = NULL;
	struct err err = {0};

	if (ruleset_compile(&rs, &source, 1, 10000, &err))
		fail_msg("%s", err.text);
	return rs;
}

static inline struct matcher *matcher_of(const struct ruleset *rs)
{
	struct err err = {0};
	struct matcher *m = matcher_new(rs, &err);

	if (!m)
		fail_msg("%s", err.text);
	return m;
}

/* These rules do not compile: the error begins with its place and has that part. */
static inline void refused(const char *yaml, const char *place, const char *part)
{
	struct rule_source source = {"f.yaml", yaml, strlen(yaml), false};
	struct ruleset *rs = NULL;
	struct err err = {0};

	assert_int_equal(ruleset_compile(&rs, &source, 1, 100, &err), -EINVAL);
	assert_null(rs);
	if (strncmp(err.text, place, strlen(place)) || !strstr(err.text, part))
		fail_msg("%s\nwant \"%s\" ... \"%s\"\nhave \"%s\"", yaml, place, part, err.text);
}

#endif
