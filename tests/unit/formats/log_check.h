/* For tests of the formats of log lines: a datagram in memory of its own size, what is written for it, and
 * what the parser says of that. */
#ifndef SLUICE_LOG_CHECK_H
#define SLUICE_LOG_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format_priv.h"
#include "json.h"
#include "written_check.h"

static const uint8_t sender_v4[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7};
static const uint8_t sender_v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 9};

/* What a format answers to one datagram. The text lives until the next call. */
struct log_answer {
	enum format_answer answer;
	bool too_long;
	const char *text; /* of an event, zero-terminated */
	uint32_t bytes;
	uint8_t refused; /* the parser's verdict */
};

static inline struct log_answer log_ask(
	format_next *next, const void *data, size_t bytes, int64_t now_ms, const uint8_t *sender)
{
	static uint8_t room[EVENT_BYTES_MAX + 2 * EVENT_PAD_BYTES];
	static struct json_parser *parser;
	struct parse_limits limits = {0, INT64_MAX};
	struct bytes out = {room, 0, EVENT_BYTES_MAX, false, true};
	uint8_t *copy = malloc(bytes ? bytes : 1);
	struct format_reader r;
	struct log_answer a = {0};
	struct event ev;

	if (!parser)
		parser = json_parser_new(0);
	if (!copy || !parser)
		abort();
	memcpy(copy, data, bytes);
	memset(room, '"', sizeof room);
	r = format_open(copy, (uint32_t)bytes, now_ms, sender);
	a.answer = next(&r, &out);
	a.too_long = out.failed;
	if (a.answer != FORMAT_END) { /* one message a datagram, and all of it is the piece */
		struct bytes more = {room, 0, 0, false, true};

		assert_ptr_equal(r.piece, copy);
		assert_int_equal(r.piece_bytes, bytes);
		assert_int_equal(next(&r, &more), FORMAT_END);
	}
	free(copy);
	if (a.answer != FORMAT_EVENT || a.too_long)
		return a;
	memset(room + out.bytes, 0, EVENT_PAD_BYTES);
	assert_true(r.written.field_mask);
	written_parse(parser, room, (uint32_t)out.bytes, &r.written, now_ms, &limits, &ev);
	a.text = (const char *)room;
	a.bytes = (uint32_t)out.bytes;
	a.refused = ev.refused;
	return a;
}

/* One row: a datagram and the exact event, or NULL: refused. */
struct log_row {
	const char *in, *want;
};

static inline void log_rows_check(format_next *next, const struct log_row *row, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct log_answer a = log_ask(next, row[i].in, strlen(row[i].in), NOW_MS, sender_v4);

		if (!row[i].want) {
			if (a.answer != FORMAT_REFUSED)
				fail_msg("%s\n  not refused: %s", row[i].in, a.text ? a.text : "");
			continue;
		}
		if (a.answer != FORMAT_EVENT || a.too_long || strcmp(a.text, row[i].want) || a.refused)
			fail_msg("%s\n  gave %s\n  want %s\n  refused %u", row[i].in,
				a.text ? a.text : "nothing", row[i].want, a.refused);
	}
}

#endif
