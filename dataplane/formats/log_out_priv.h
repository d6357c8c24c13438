/* What the formats of log lines share: the event's JSON, JSON objects that senders put inside, times. Worker
 * thread; pure. Texts are any bytes: what is not UTF-8 is mended when it is written. Not for other folders.
 */
#ifndef SLUICE_LOG_OUT_PRIV_H
#define SLUICE_LOG_OUT_PRIV_H

#include <string.h>

#include "format_priv.h"
#include "json_out.h"

/* Borrowed bytes. p NULL: not there. */
struct text {
	const uint8_t *p;
	uint32_t bytes;
};

static inline struct text text_to(const uint8_t *p, const uint8_t *end)
{
	return (struct text){p, (uint32_t)(end - p)};
}

#define TEXT(literal)                                                                                        \
	{                                                                                                    \
		(const uint8_t *)(literal), sizeof(literal) - 1                                              \
	}

static inline bool text_same(struct text a, struct text b)
{
	return a.bytes == b.bytes && !memcmp(a.p, b.p, a.bytes);
}

static inline bool text_is(struct text s, const char *text)
{
	return s.bytes == strlen(text) && !memcmp(s.p, text, s.bytes);
}

/* A word of ours as it is written, in its quotes. */
struct log_word {
	char quoted[15];
	uint8_t bytes;
};
#define LOG_WORD(text)                                                                                       \
	{                                                                                                    \
		"\"" text "\"", sizeof text + 1                                                              \
	}

#define LOG_SEVERITY_NONE 8
#define LOG_ATTRIBUTES_MAX 60000 /* bytes: the field's limit */

struct log_event {
	int64_t ts_ms;	     /* milliseconds since the epoch */
	uint8_t severity;    /* 0..7 as in RFC 5424, or LOG_SEVERITY_NONE */
	struct text source;  /* bytes 0: the sender's address instead */
	struct text message; /* cut to the field's limit, with "cut":true among the attributes */
};

/* Writes the event up to and with the opening of `attributes`; then come members, then log_end(). Returns
 * where in out `attributes` starts. */
size_t log_begin(struct format_reader *r, struct bytes *out, const struct log_event *ev);
/* Fails out if `attributes` is longer than the field may be. */
void log_end(struct format_reader *r, struct bytes *out, size_t start);

/* A member of `attributes` with a name of ours; nothing if the text has no bytes. */
static inline void log_put_text(struct bytes *out, const char *name, struct text text)
{
	if (!text.bytes)
		return;
	json_put_name(out, name);
	json_put_string(out, text.p, text.bytes);
}

/* The opening of a member with a name of the sender's, up to its value: a name that is one of ours gets an
 * underscore before it. */
void log_put_name(struct bytes *out, struct text name);

/* A member of a JSON object. */
struct object_member {
	struct text name;  /* as written, between its quotes */
	struct text value; /* as written */
};

/* True if the text is a JSON object by RFC 8259, in UTF-8, that may stand as `attributes` as for depth. Needs
 * room in out for a copy (which is not put); without it: false. */
bool object_valid(struct bytes *out, struct text text);
/* Members of an object that is valid, one by one; *at: at its brace at first. False behind the last. */
bool object_next(const uint8_t **at, const uint8_t *end, struct object_member *m);
/* The member, its name as written, into `attributes`; as log_put_name() for names of ours. */
void log_put_member(struct bytes *out, const struct object_member *m);
/* Puts the members of a text that is a valid object into `attributes`: all of them, or none if it is not one
 * or they do not fit. start: of `attributes` in out. */
void log_put_object(struct bytes *out, struct text text, size_t start);

/* Milliseconds since the epoch of a date and time in UTC; false if there is no such day or time. */
bool time_from_parts(int64_t *ms, uint32_t year, uint32_t month, uint32_t day, const uint32_t hms[3]);
/* RFC 3339 as RFC 5424 section 6.2.3 narrows it. Sets *p behind it. */
bool time_from_rfc3339(const uint8_t **p, const uint8_t *end, int64_t *ms);
/* "Mmm dd [yyyy] hh:mm:ss[.fraction]", in UTC; without a year it is of the one that puts it closest to now.
 * Sets *p behind it. */
bool time_from_bsd(const uint8_t **p, const uint8_t *end, int64_t now_ms, int64_t *ms);

#endif
