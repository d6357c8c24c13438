/* For tests of formats: all answers to a datagram, in exact-size memory, as lines of text. */
#ifndef SLUICE_FORMAT_UTIL_H
#define SLUICE_FORMAT_UTIL_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"
#include "format.h"
#include "json.h"
#include "written_check.h"

#define FORMAT_NOW_MS 1763700000000ll
#define FORMAT_TEXT_MAX 65536

static const uint8_t format_sender[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7};

/* What the parser says of an event: accepted, or its reason. */
static inline const char *format_judged(const struct bytes *out, const struct json_written *written)
{
	static const struct parse_limits limits = {0, 300000};
	struct json_parser *jp = json_parser_new(0);
	uint8_t *copy = malloc(out->bytes + EVENT_PAD_BYTES);
	const char *reason = NULL;
	struct event ev;

	assert_non_null(jp);
	assert_non_null(copy);
	memcpy(copy, out->data, out->bytes);
	memset(copy + out->bytes, '"', EVENT_PAD_BYTES);
	/* A tag `status` is a field that only the parser finds. */
	assert_true(written->field_mask || memmem(out->data, out->bytes, "\"status\"", 8));
	written_parse(jp, copy, (uint32_t)out->bytes, written, FORMAT_NOW_MS, &limits, &ev);
	if (ev.refused)
		reason = drop_table[ev.refused].name;
	json_parser_free(jp);
	free(copy);
	return reason;
}

/* Each event is a line of its JSON, behind "REASON: " if the parser refuses it; each refused piece a line
 * "bad_format: PIECE", or too_long. text is of FORMAT_TEXT_MAX bytes. */
static inline void format_answers(char *text, int format, const void *data, size_t bytes, size_t room)
{
	uint8_t *copy = malloc(bytes ? bytes : 1), *json = malloc(room);
	struct format_reader r;
	enum format_answer answer;
	struct bytes out;
	size_t at = 0;

	assert_non_null(copy);
	assert_non_null(json);
	memcpy(copy, data, bytes);
	r = format_open(copy, (uint32_t)bytes, FORMAT_NOW_MS, format_sender);
	text[0] = 0;
	for (;;) {
		const char *reason;

		out = (struct bytes){json, 0, room, false, true};
		answer = format_table[format].next(&r, &out);
		if (answer == FORMAT_END)
			break;
		assert_true(r.piece >= copy && r.piece + r.piece_bytes <= copy + bytes);
		reason = out.failed		    ? "too_long"
			 : answer == FORMAT_REFUSED ? "bad_format"
						    : format_judged(&out, &r.written);
		if (answer == FORMAT_REFUSED || out.failed)
			out = (struct bytes){(uint8_t *)(uintptr_t)r.piece, r.piece_bytes, 0, false, true};
		at += (size_t)snprintf(text + at, FORMAT_TEXT_MAX - at, "%s%s%.*s\n", reason ? reason : "",
			reason ? ": " : "", (int)out.bytes, (const char *)out.data);
		assert_true(at < FORMAT_TEXT_MAX);
	}
	free(copy);
	free(json);
}

struct format_case {
	const char *datagram;
	const char *answers;
};

static inline void format_check(int format, const struct format_case *c, size_t count)
{
	static char text[FORMAT_TEXT_MAX];
	bool bad = false;

	for (size_t i = 0; i < count; i++) {
		format_answers(text, format, c[i].datagram, strlen(c[i].datagram), EVENT_BYTES_MAX);
		if (strcmp(text, c[i].answers) == 0)
			continue;
		fprintf(stderr, "%s\n  gives   : %s  expected: %s", c[i].datagram, text, c[i].answers);
		bad = true;
	}
	assert_false(bad);
}

#endif
